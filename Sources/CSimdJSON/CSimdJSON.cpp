// Parsing in four steps:
//  1. Copy the bytes into a padded buffer and let simdjson's DOM parser judge them: UTF-8, grammar, depth.
//     It also refuses numbers its types cannot hold, which are good JSON. Then the scanner below, a complete validator,
//     judges; if it finds no offence, every number is blanked to `0` in a second copy and that is parsed.
//  2. simdjson leaves behind where every token starts (stage 1) and all strings decoded, in order (stage 2).
//     One walk over the tokens closes the gaps between them in place and writes the node table.
//  3. The names of an object are compared by a set of hashes of its own; beyond 64 they go to a table for the whole document,
//     keyed by (object, name) under a secret seed, so an object with 100,000 members costs the same for each member as one
//     with a hundred.
//  4. On any refusal the scanner finds the first offence in the bytes as given. It runs on that path only.

#include "CSimdJSON.h"

#include <simdjson.h>

#include <cstdlib>
#include <cstring>
#include <new>
#include <sys/random.h>

using simdjson::dom::parser;

namespace {

constexpr unsigned depth_limit = 255;

// One entry of the name table. An entry whose generation is not the current one is free, so nothing is ever cleared.
struct name_entry {
    uint32_t generation;
    uint32_t node;
    uint64_t hash;
};

struct offence {
    int kind;
    size_t offset;
    const char *reason;
};

}  // namespace

struct csj_parser {
    parser dom{simdjson::SIMDJSON_MAXSIZE_BYTES};
    size_t bytes_max = 0;
    unsigned depth_max = 0;
    size_t capacity = 0;           // bytes that text, patched and dom have room for
    uint8_t *text = nullptr;       // capacity + padding
    uint8_t *patched = nullptr;    // capacity + padding, allocated when first needed
    size_t patched_capacity = 0;
    csj_node *nodes = nullptr;
    size_t nodes_capacity = 0;
    name_entry *names = nullptr;
    size_t names_capacity = 0;     // a power of two
    uint32_t generation = 0;
    uint64_t seed[2] = {0, 0};
    csj_document document = {};
};

namespace {

size_t grown(size_t current, size_t wanted) {
    size_t size = current < 1024 ? 1024 : current;
    while (size < wanted) size *= 2;
    return size;
}

bool reserve_text(csj_parser &p, size_t length) {
    if (p.capacity >= length && p.text) return true;
    size_t size = grown(p.capacity, length);
    auto *text = static_cast<uint8_t *>(std::malloc(size + simdjson::SIMDJSON_PADDING));
    if (!text) return false;
    std::free(p.text);
    p.text = text;
    p.capacity = 0;
    // simdjson refuses at a depth equal to its limit and does not count empty containers; the walk counts exactly.
    if (p.dom.allocate(size, p.depth_max + 1)) return false;
    if (p.dom.doc.allocate(size)) return false;
    p.capacity = size;
    return true;
}

template <typename T>
bool reserve(T *&array, size_t &capacity, size_t wanted, bool zeroed) {
    if (capacity >= wanted && array) return true;
    size_t size = grown(capacity, wanted);
    auto *fresh = static_cast<T *>(zeroed ? std::calloc(size, sizeof(T)) : std::malloc(size * sizeof(T)));
    if (!fresh) return false;
    std::free(array);
    array = fresh;
    capacity = size;
    return true;
}

inline bool is_space(uint8_t c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }
inline bool is_digit(uint8_t c) { return c >= '0' && c <= '9'; }

// The length of the well-formed UTF-8 sequence at `at`, 0 if there is none (table 3-7 of the Unicode standard).
size_t utf8_length(const uint8_t *p, size_t at, size_t n) {
    uint8_t a = p[at];
    auto tail = [&](size_t i, uint8_t low, uint8_t high) {
        return at + i < n && p[at + i] >= low && p[at + i] <= high;
    };
    if (a < 0x80) return 1;
    if (a >= 0xC2 && a <= 0xDF) return tail(1, 0x80, 0xBF) ? 2 : 0;
    if (a >= 0xE0 && a <= 0xEF) {
        uint8_t low = a == 0xE0 ? 0xA0 : 0x80, high = a == 0xED ? 0x9F : 0xBF;
        return tail(1, low, high) && tail(2, 0x80, 0xBF) ? 3 : 0;
    }
    if (a >= 0xF0 && a <= 0xF4) {
        uint8_t low = a == 0xF0 ? 0x90 : 0x80, high = a == 0xF4 ? 0x8F : 0xBF;
        return tail(1, low, high) && tail(2, 0x80, 0xBF) && tail(3, 0x80, 0xBF) ? 4 : 0;
    }
    return 0;
}

// Four hexadecimal digits at `at`, or -1.
int hex4(const uint8_t *p, size_t at, size_t n) {
    if (n - at < 4) return -1;
    int value = 0;
    for (size_t i = at; i < at + 4; i++) {
        uint8_t c = p[i];
        int digit = is_digit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
        if (digit < 0) return -1;
        value = value * 16 + digit;
    }
    return value;
}

// Scans a string from its opening quote. On success `at` is one past the closing quote.
bool scan_string(const uint8_t *p, size_t n, size_t &at, offence &found) {
    size_t opening = at++;
    while (at < n) {
        uint8_t c = p[at];
        if (c == '"') {
            at++;
            return true;
        }
        if (c < 0x20) return found = {CSJ_NOT_JSON, at, "unescaped control character in a string"}, false;
        if (c == '\\') {
            size_t escape = at++;
            if (at >= n) break;
            uint8_t e = p[at++];
            if (std::strchr("\"\\/bfnrt", e) && e) continue;
            if (e != 'u') return found = {CSJ_NOT_JSON, escape, "unknown escape in a string"}, false;
            int unit = at <= n ? hex4(p, at, n) : -1;
            if (unit < 0) return found = {CSJ_NOT_JSON, escape, "\\u needs four hexadecimal digits"}, false;
            at += 4;
            if (unit >= 0xDC00 && unit <= 0xDFFF) return found = {CSJ_NOT_JSON, escape, "lone surrogate escape"}, false;
            if (unit >= 0xD800 && unit <= 0xDBFF) {
                int low = n - at >= 6 && p[at] == '\\' && p[at + 1] == 'u' ? hex4(p, at + 2, n) : -1;
                if (low < 0xDC00 || low > 0xDFFF) return found = {CSJ_NOT_JSON, escape, "lone surrogate escape"}, false;
                at += 6;
            }
            continue;
        }
        size_t length = utf8_length(p, at, n);
        if (length == 0) return found = {CSJ_BAD_UTF8, at, "not valid UTF-8"}, false;
        at += length;
    }
    return found = {CSJ_NOT_JSON, opening, "string without an end"}, false;
}

// Scans a number. On success `at` is one past it.
bool scan_number(const uint8_t *p, size_t n, size_t &at, offence &found) {
    size_t start = at;
    auto digits = [&] {
        size_t first = at;
        while (at < n && is_digit(p[at])) at++;
        return at - first;
    };
    if (p[at] == '-') at++;
    size_t first = at;
    size_t whole = digits();
    bool good = whole == 1 || (whole > 1 && p[first] != '0');
    if (good && at < n && p[at] == '.') {
        at++;
        good = digits() > 0;
    }
    if (good && at < n && (p[at] == 'e' || p[at] == 'E')) {
        at++;
        if (at < n && (p[at] == '+' || p[at] == '-')) at++;
        good = digits() > 0;
    }
    if (!good) return found = {CSJ_NOT_JSON, start, "not a JSON number"}, false;
    return true;
}

// A complete validator of its own: false and the first offence, or true. It sees the same language as D1, duplicates apart.
// With `blanked`, a copy of the bytes, each number there becomes `0` and spaces.
bool scan(const uint8_t *p, size_t n, unsigned depth_max, uint8_t *blanked, offence &found) {
    enum { value, element_or_end, name_or_end, name, colon, after } state = value;
    bool in_object[depth_limit + 1];
    unsigned depth = 0;
    size_t at = 0;
    if (n >= 3 && p[0] == 0xEF && p[1] == 0xBB && p[2] == 0xBF) {
        return found = {CSJ_NOT_JSON, 0, "byte order mark"}, false;
    }
    for (;;) {
        while (at < n && is_space(p[at])) at++;
        if (at >= n) {
            if (state == after && depth == 0) return true;
            const char *reason = depth == 0 && state == value ? "no value" : "the text ends early";
            return found = {CSJ_NOT_JSON, n, reason}, false;
        }
        uint8_t c = p[at];
        if (c >= 0x80) {
            bool sound = utf8_length(p, at, n) != 0;
            int kind = sound ? CSJ_NOT_JSON : CSJ_BAD_UTF8;
            return found = {kind, at, sound ? "unexpected character" : "not valid UTF-8"}, false;
        }
        switch (state) {
        case value:
        case element_or_end:
            if (state == element_or_end && c == ']') {
                depth--;
                at++;
                state = after;
            } else if (c == '{' || c == '[') {
                if (depth == depth_max) return found = {CSJ_TOO_DEEP, at, "nested too deeply"}, false;
                in_object[depth++] = c == '{';
                at++;
                state = c == '{' ? name_or_end : element_or_end;
            } else if (c == '"') {
                if (!scan_string(p, n, at, found)) return false;
                state = after;
            } else if (c == '-' || is_digit(c)) {
                size_t start = at;
                if (!scan_number(p, n, at, found)) return false;
                if (blanked) {
                    std::memset(blanked + start, ' ', at - start);
                    blanked[start] = '0';
                }
                state = after;
            } else {
                const char *word = c == 't' ? "true" : c == 'f' ? "false" : c == 'n' ? "null" : nullptr;
                size_t length = word ? std::strlen(word) : 0;
                if (!word || n - at < length || std::memcmp(p + at, word, length) != 0) {
                    return found = {CSJ_NOT_JSON, at, "a value was expected"}, false;
                }
                at += length;
                state = after;
            }
            break;
        case name_or_end:
        case name:
            if (state == name_or_end && c == '}') {
                depth--;
                at++;
                state = after;
            } else if (c == '"') {
                if (!scan_string(p, n, at, found)) return false;
                state = colon;
            } else {
                return found = {CSJ_NOT_JSON, at, "a member name was expected"}, false;
            }
            break;
        case colon:
            if (c != ':') return found = {CSJ_NOT_JSON, at, "a colon was expected"}, false;
            at++;
            state = value;
            break;
        case after:
            if (depth == 0) return found = {CSJ_NOT_JSON, at, "more text after the value"}, false;
            if (c == ',') {
                state = in_object[depth - 1] ? name : value;
            } else if (c == (in_object[depth - 1] ? '}' : ']')) {
                depth--;
            } else {
                return found = {CSJ_NOT_JSON, at, "a comma or the end of the container was expected"}, false;
            }
            at++;
            break;
        }
    }
}

// Whether an escaped string, quotes included, has a surrogate without its other half.
bool has_lone_surrogate(const uint8_t *p, size_t length) {
    offence ignored;
    size_t at = 0;
    return !scan_string(p, length, at, ignored);
}

inline uint64_t mix(uint64_t a, uint64_t b) {
    __uint128_t product = static_cast<__uint128_t>(a) * b;
    return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

// Reads up to 7 bytes past the name: text and decoded strings both lie in padded buffers.
inline uint64_t seeded_hash(const csj_parser &p, const uint8_t *bytes, uint32_t length, uint32_t object) {
    uint64_t h = p.seed[0] ^ (static_cast<uint64_t>(object) << 32 | length);
    uint64_t word;
    for (; length > 8; bytes += 8, length -= 8) {
        std::memcpy(&word, bytes, 8);
        h = mix(h ^ word, p.seed[1]);
    }
    std::memcpy(&word, bytes, 8);
    if (length < 8) word &= (uint64_t{1} << (length * 8)) - 1;
    return mix(mix(h ^ word, p.seed[1]), 0x9E3779B97F4A7C15);
}

struct bytes_view {
    const uint8_t *start;
    uint32_t length;
};

inline bytes_view decoded(const csj_parser &p, const csj_node &node) {
    if (!(node.flags & CSJ_FLAG_ESCAPED)) return {p.text + node.start + 1, node.end - node.start - 2};
    const uint8_t *bytes = p.dom.doc.string_buf.get() + node.count;
    uint32_t length;
    std::memcpy(&length, bytes - 4, 4);
    return {bytes, length};
}

inline bool is_same(bytes_view a, bytes_view b) {
    return a.length == b.length && std::memcmp(a.start, b.start, a.length) == 0;
}

// The names of one object, while it is walked: which of 256 hash values occurred. Where a name's value did already, the
// names before it are compared, 32 bits of hash first; an object of more than `few_names` goes over to the table, so that
// nobody can make the comparisons many.
struct name_set {
    uint64_t seen[4];
};
constexpr uint32_t few_names = 64;

// Enters a name into the table. False if the object has it already.
bool enter_table(csj_parser &p, uint32_t object, uint32_t node_index) {
    bytes_view name = decoded(p, p.nodes[node_index]);
    const size_t mask = p.names_capacity - 1;
    uint64_t hash = seeded_hash(p, name.start, name.length, object);
    for (size_t slot = hash & mask;; slot = (slot + 1) & mask) {
        name_entry &entry = p.names[slot];
        if (entry.generation != p.generation) {
            entry = {p.generation, node_index, hash};
            return true;
        }
        // The hash covers the object; should two objects' names collide all the same, this refuses a good document
        // with a chance of 2^-64 a pair, so the objects are not compared again.
        if (entry.hash == hash && is_same(decoded(p, p.nodes[entry.node]), name)) return false;
    }
}

// Makes the table ready for a document of so many tokens. Of a member there are at least three, so at most 2/3 is in use.
bool open_table(csj_parser &p, size_t tokens) {
    size_t table = 16;
    while (table < tokens / 2 + 1) table *= 2;
    if (table > p.names_capacity) {
        if (!reserve(p.names, p.names_capacity, table, true)) return false;
        p.generation = 0;
    }
    if (++p.generation == 0) {
        std::memset(static_cast<void *>(p.names), 0, p.names_capacity * sizeof(name_entry));
        p.generation = 1;
    }
    return true;
}

enum class walk_result { done, refused, duplicate, no_memory };

// Whether `object`, of which `members` were walked, has the name of node `name` before it.
walk_result look_for_name(csj_parser &p, uint32_t object, uint32_t members, uint32_t name, size_t tokens, bool &has_table) {
    const csj_node *nodes = p.nodes;
    if (members < few_names) {
        bytes_view wanted = decoded(p, nodes[name]);
        for (uint32_t other = object + 1; other < name; other = nodes[other + 1].next) {
            if (nodes[other].next == nodes[name].next && is_same(decoded(p, nodes[other]), wanted)) {
                return walk_result::duplicate;
            }
        }
        return walk_result::done;
    }
    if (!has_table && !open_table(p, tokens)) return walk_result::no_memory;
    has_table = true;
    if (members == few_names) {
        // They differ: that was looked at when each came.
        for (uint32_t other = object + 1; other < name; other = nodes[other + 1].next) enter_table(p, object, other);
    }
    return enter_table(p, object, name) ? walk_result::done : walk_result::duplicate;
}

// Steps 2 and 3. The tokens were judged good, but surrogates and the exact depth are looked at here.
walk_result walk(csj_parser &p, size_t length, uint32_t &duplicate) {
    const uint32_t *starts = p.dom.implementation->structural_indexes.get();
    const size_t tokens = p.dom.implementation->n_structural_indexes;
    if (!reserve(p.nodes, p.nodes_capacity, tokens, false)) return walk_result::no_memory;

    uint8_t *const text = p.text;
    csj_node *const nodes = p.nodes;
    const uint8_t *const strings = p.dom.doc.string_buf.get();
    uint32_t string_at = 4;
    uint32_t stack[depth_limit + 1];
    name_set sets[depth_limit + 1];
    unsigned depth = 0;
    uint32_t used = 0, out = 0;
    bool has_table = false;
    bool expects_name = false;

    for (size_t i = 0; i < tokens; i++) {
        const uint32_t start = starts[i];
        const uint8_t c = text[start];  // `out` never passes `start`, so this byte has not been overwritten
        if (c == '"') {
            uint32_t end = i + 1 < tokens ? starts[i + 1] : static_cast<uint32_t>(length);
            while (text[end - 1] != '"') end--;
            const uint32_t size = end - start;
            uint32_t decoded_length;
            std::memcpy(&decoded_length, strings + string_at - 4, 4);
            const uint32_t count = string_at;
            string_at += decoded_length + 1 + 4;
            uint8_t flags = 0;
            if (decoded_length + 2 != size) {
                flags = CSJ_FLAG_ESCAPED;
                if (size < 2 || decoded_length + 2 > size || has_lone_surrogate(text + start, size)) {
                    return walk_result::refused;
                }
            }
            if (out != start) std::memmove(text + out, text + start, size);
            csj_node &node = nodes[used];
            if (!expects_name) {
                node = {out, out + size, used + 1, count, CSJ_STRING, flags, 0};
                out += size;
                used++;
                if (depth > 0 && nodes[stack[depth - 1]].kind == CSJ_ARRAY) nodes[stack[depth - 1]].count++;
                continue;
            }
            // A name, and the colon behind it.
            const uint32_t hash = csj_name_hash(flags ? strings + count : text + out + 1, decoded_length);
            node = {out, out + size, hash, count, CSJ_STRING, static_cast<uint8_t>(flags | CSJ_FLAG_NAME), 0};
            out += size;
            text[out++] = ':';
            i++;
            expects_name = false;
            const uint32_t object = stack[depth - 1];
            uint64_t &seen = sets[depth - 1].seen[hash >> 30];
            const uint64_t bit = uint64_t{1} << (hash >> 24 & 63);
            const uint32_t members = nodes[object].count++;
            if ((seen & bit) != 0 || members >= few_names) {
                walk_result found = look_for_name(p, object, members, used, tokens, has_table);
                if (found != walk_result::done) {
                    duplicate = used;
                    return found;
                }
            }
            seen |= bit;
            used++;
            continue;
        }
        switch (c) {
        case ',':
            expects_name = nodes[stack[depth - 1]].kind == CSJ_OBJECT;
            text[out++] = c;
            break;
        case '}':
        case ']': {
            text[out++] = c;
            csj_node &node = nodes[stack[--depth]];
            node.end = out;
            node.next = used;
            expects_name = false;
            break;
        }
        case '{':
        case '[':
            if (depth == p.depth_max) return walk_result::refused;
            if (depth > 0 && nodes[stack[depth - 1]].kind == CSJ_ARRAY) nodes[stack[depth - 1]].count++;
            sets[depth] = {};
            stack[depth++] = used;
            nodes[used++] = {out, 0, 0, 0, static_cast<uint8_t>(c == '{' ? CSJ_OBJECT : CSJ_ARRAY), 0, 0};
            text[out++] = c;
            expects_name = c == '{';
            break;
        default: {
            uint32_t end = i + 1 < tokens ? starts[i + 1] : static_cast<uint32_t>(length);
            while (is_space(text[end - 1])) end--;
            const uint32_t size = end - start;
            uint8_t kind, flags = 0;
            if (c == 't' || c == 'f') {
                kind = CSJ_BOOLEAN;
                flags = c == 't' ? CSJ_FLAG_TRUE : 0;
            } else if (c == 'n') {
                kind = CSJ_NULL;
            } else {
                kind = CSJ_NUMBER;
                flags = CSJ_FLAG_INTEGER;
                for (uint32_t k = start; k < end; k++) {
                    if (!is_digit(text[k]) && text[k] != '-') {
                        flags = 0;
                        break;
                    }
                }
            }
            if (out != start) std::memmove(text + out, text + start, size);
            nodes[used] = {out, out + size, used + 1, 0, kind, flags, 0};
            out += size;
            used++;
            if (depth > 0 && nodes[stack[depth - 1]].kind == CSJ_ARRAY) nodes[stack[depth - 1]].count++;
        }
        }
    }
    p.document = {nodes, text, strings, used, out};
    return walk_result::done;
}

// Where in the original bytes the token of a node starts.
int64_t original_offset(const csj_parser &p, const uint8_t *bytes, uint32_t node) {
    const uint32_t *starts = p.dom.implementation->structural_indexes.get();
    for (size_t i = 0; i < p.dom.implementation->n_structural_indexes; i++) {
        uint8_t c = bytes[starts[i]];
        if (c == ',' || c == ':' || c == '}' || c == ']') continue;
        if (node-- == 0) return starts[i];
    }
    return -1;
}

const csj_document *refuse(csj_error *error, int kind, int64_t offset, const char *reason) {
    *error = {kind, offset, reason, nullptr, 0};
    return nullptr;
}

}  // namespace

extern "C" csj_parser *csj_parser_create(size_t bytes_max, unsigned depth_max) {
    auto *p = new (std::nothrow) csj_parser;
    if (!p) return nullptr;
    p->bytes_max = bytes_max < simdjson::SIMDJSON_MAXSIZE_BYTES / 2 ? bytes_max : simdjson::SIMDJSON_MAXSIZE_BYTES / 2;
    p->depth_max = depth_max < depth_limit ? depth_max : depth_limit;
    // Without entropy (very early in boot) the address alone seeds the table; names then cost more at worst.
    if (getrandom(p->seed, sizeof p->seed, GRND_NONBLOCK) != sizeof p->seed) {
        p->seed[0] = reinterpret_cast<uintptr_t>(p) * 0x9E3779B97F4A7C15;
        p->seed[1] = mix(p->seed[0], 0xD6E8FEB86659FD93);
    }
    p->seed[1] |= 1;
    return p;
}

extern "C" void csj_parser_free(csj_parser *p) {
    if (!p) return;
    std::free(p->text);
    std::free(p->patched);
    std::free(p->nodes);
    std::free(p->names);
    delete p;
}

extern "C" const csj_document *csj_parse(csj_parser *p, const uint8_t *bytes, size_t length, csj_error *error) {
    *error = {CSJ_OK, -1, "", nullptr, 0};
    if (length > p->bytes_max) return refuse(error, CSJ_TOO_LARGE, -1, "the text is longer than this parser takes");
    if (!reserve_text(*p, length)) return refuse(error, CSJ_NO_MEMORY, -1, "no memory");
    offence found = {CSJ_NOT_JSON, 0, ""};
    if (length == 0 || bytes[0] == 0xEF) {
        // simdjson of later versions skips a byte order mark; here it is an offence like any other text outside a value.
        scan(bytes, length, p->depth_max, nullptr, found);
        return refuse(error, found.kind, static_cast<int64_t>(found.offset), found.reason);
    }

    // 1.
    std::memcpy(p->text, bytes, length);
    std::memset(p->text + length, ' ', simdjson::SIMDJSON_PADDING);
    if (p->dom.parse(p->text, length, false).error()) {
        if (!scan(bytes, length, p->depth_max, nullptr, found)) {
            return refuse(error, found.kind, static_cast<int64_t>(found.offset), found.reason);
        }
        if (!reserve(p->patched, p->patched_capacity, p->capacity + simdjson::SIMDJSON_PADDING, false)) {
            return refuse(error, CSJ_NO_MEMORY, -1, "no memory");
        }
        std::memcpy(p->patched, p->text, length + simdjson::SIMDJSON_PADDING);
        scan(bytes, length, p->depth_max, p->patched, found);
        if (p->dom.parse(p->patched, length, false).error()) {
            return refuse(error, CSJ_NOT_JSON, -1, "not JSON");
        }
    }

    // 2. and 3. Token starts are the same in both copies; the text that is kept is always the one as given.
    uint32_t duplicate = 0;
    switch (walk(*p, length, duplicate)) {
    case walk_result::done:
        return &p->document;
    case walk_result::no_memory:
        return refuse(error, CSJ_NO_MEMORY, -1, "no memory");
    case walk_result::duplicate: {
        bytes_view name = decoded(*p, p->nodes[duplicate]);
        refuse(error, CSJ_DUPLICATE_MEMBER, original_offset(*p, bytes, duplicate), "a member name twice in one object");
        error->name = name.start;
        error->name_length = name.length;
        return nullptr;
    }
    case walk_result::refused:
        break;
    }

    // 4.
    if (scan(bytes, length, p->depth_max, nullptr, found)) return refuse(error, CSJ_NOT_JSON, -1, "not JSON");
    return refuse(error, found.kind, static_cast<int64_t>(found.offset), found.reason);
}
