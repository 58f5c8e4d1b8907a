// Parsing in four steps:
//  1. Copy the bytes into a padded buffer and let simdjson's first stage find where every token starts. It refuses what is not
//     UTF-8, strings without an end and control characters in strings.
//  2. One walk over the tokens judges the rest, which is the grammar, numbers, words, escapes and depth; it closes the gaps
//     between the tokens in place, decodes the strings that have escapes and writes the node table. simdjson's own second stage
//     is not used: it decodes and copies every string, converts numbers, and refuses those its types cannot hold.
//  3. The names of an object are compared by a set of hashes of its own; beyond 64 they go to a table for the whole document,
//     keyed by (object, name) under a secret seed, so an object with 100,000 members costs the same for each member as one
//     with a hundred.
//  4. On any refusal the scanner, a complete validator of its own, finds the first offence in the bytes as given. It runs on that
//     path only. A document with a name that stands twice is refused for that only if simdjson has nothing else against it.
//
// What the walk builds on: every byte that is not in a token's text is white space. A string token ends with the last quote before
// the next token's start. Any other token but punctuation goes on to the white space before the next token's start, and
// whatever stands there is looked at whole.

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
    uint8_t *strings = nullptr;    // decoded strings, of those that have escapes; allocated when first needed
    size_t strings_capacity = 0;
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

uint8_t *put_utf8(uint8_t *out, uint32_t scalar) {
    if (scalar < 0x80) {
        *out++ = static_cast<uint8_t>(scalar);
    } else if (scalar < 0x800) {
        *out++ = static_cast<uint8_t>(0xC0 | scalar >> 6);
        *out++ = static_cast<uint8_t>(0x80 | (scalar & 0x3F));
    } else if (scalar < 0x10000) {
        *out++ = static_cast<uint8_t>(0xE0 | scalar >> 12);
        *out++ = static_cast<uint8_t>(0x80 | (scalar >> 6 & 0x3F));
        *out++ = static_cast<uint8_t>(0x80 | (scalar & 0x3F));
    } else {
        *out++ = static_cast<uint8_t>(0xF0 | scalar >> 18);
        *out++ = static_cast<uint8_t>(0x80 | (scalar >> 12 & 0x3F));
        *out++ = static_cast<uint8_t>(0x80 | (scalar >> 6 & 0x3F));
        *out++ = static_cast<uint8_t>(0x80 | (scalar & 0x3F));
    }
    return out;
}

// Judges a string with escapes, of `size` bytes with its quotes, and decodes it to `out`, which takes at most as many. Returns the
// length, or -1 where the scanner finds an offence.
int64_t decode(const uint8_t *string, size_t size, uint8_t *out) {
    offence ignored;
    size_t at = 0;
    if (!scan_string(string, size, at, ignored) || at != size) return -1;
    uint8_t *const begin = out;
    for (at = 1; at < size - 1;) {
        uint8_t c = string[at++];
        if (c != '\\') {
            *out++ = c;
            continue;
        }
        switch (uint8_t e = string[at++]) {
        case 'b': *out++ = '\b'; break;
        case 'f': *out++ = '\f'; break;
        case 'n': *out++ = '\n'; break;
        case 'r': *out++ = '\r'; break;
        case 't': *out++ = '\t'; break;
        case 'u': {
            uint32_t unit = static_cast<uint32_t>(hex4(string, at, size));
            at += 4;
            if (unit >= 0xD800 && unit <= 0xDBFF) {
                // Its other half follows: that was judged.
                uint32_t low = static_cast<uint32_t>(hex4(string, at + 2, size));
                at += 6;
                unit = 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
            }
            out = put_utf8(out, unit);
            break;
        }
        default: *out++ = e;  // a quote, a backslash or a slash
        }
    }
    return out - begin;
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
    const uint8_t *bytes = p.strings + node.count;
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

// Whether a number or a word, all of its bytes, is one; says which kind and flags it has.
inline bool judge_scalar(const uint8_t *text, uint32_t start, uint32_t end, uint8_t &kind, uint8_t &flags) {
    const uint32_t size = end - start;
    const uint8_t first = text[start];
    flags = 0;
    if (first == '-' || is_digit(first)) {
        kind = CSJ_NUMBER;
        uint32_t at = start + (first == '-');
        const uint32_t digits = at;
        while (at < end && is_digit(text[at])) at++;
        if (at == end && at > digits && (text[digits] != '0' || at == digits + 1)) {
            flags = CSJ_FLAG_INTEGER;
            return true;
        }
        offence ignored;
        size_t whole = start;
        return scan_number(text, end, whole, ignored) && whole == end;
    }
    if (size == 4 && std::memcmp(text + start, "true", 4) == 0) {
        kind = CSJ_BOOLEAN;
        flags = CSJ_FLAG_TRUE;
        return true;
    }
    if (size == 5 && std::memcmp(text + start, "false", 5) == 0) {
        kind = CSJ_BOOLEAN;
        return true;
    }
    kind = CSJ_NULL;
    return size == 4 && std::memcmp(text + start, "null", 4) == 0;
}

// Writes a string's node, and decodes it where it has escapes. False where an escape is none.
__attribute__((noinline)) bool take_escaped(csj_parser &p, uint32_t start, uint32_t size, csj_node &node, uint32_t &string_at) {
    if (!std::memchr(p.text + start, '\\', size)) return true;
    int64_t length = decode(p.text + start, size, p.strings + string_at);
    if (length < 0) return false;
    uint32_t stored = static_cast<uint32_t>(length);
    std::memcpy(p.strings + string_at - 4, &stored, 4);
    node.count = string_at;
    node.flags |= CSJ_FLAG_ESCAPED;
    string_at += stored + 4;
    return true;
}

// Steps 2 and 3, for a text with a backslash somewhere or for one without.
template <bool has_escapes>
walk_result walk_text(csj_parser &p, const uint32_t *next, size_t tokens, uint32_t &duplicate) {
    uint8_t *const text = p.text;
    csj_node *const nodes = p.nodes;
    const uint32_t *const last = next + tokens;
    uint32_t string_at = 4;
    uint32_t stack[depth_limit + 1];
    name_set sets[depth_limit + 1];
    unsigned depth = 0;
    csj_node *container = nullptr;  // the innermost one
    csj_node *node = nodes;         // the next one
    uint32_t out = 0;
    bool has_table = false;

    // Takes the string that starts at `start`, into the next node. False if it is none.
    auto take_string = [&](uint32_t start, uint32_t end, uint8_t flags, uint32_t after) __attribute__((always_inline)) {
        while (text[end - 1] != '"') end--;
        const uint32_t size = end - start;
        if (size < 2) return false;
        *node = {out, out + size, after, 0, CSJ_STRING, flags, 0};
        if (has_escapes && !take_escaped(p, start, size, *node, string_at)) return false;
        if (__builtin_expect(out != start, 0)) std::memmove(text + out, text + start, size);
        out += size;
        return true;
    };

value: {
    const uint32_t start = *next++;
    const uint8_t c = text[start];  // `out` never passes `start`, so this byte has not been overwritten
    const uint32_t index = static_cast<uint32_t>(node - nodes);
    if (c == '"') {
        if (!take_string(start, *next, 0, index + 1)) return walk_result::refused;
        node++;
    } else if (c == '{' || c == '[') {
        if (depth == p.depth_max) return walk_result::refused;
        container = node++;
        *container = {out, 0, 0, 0, static_cast<uint8_t>(c == '{' ? CSJ_OBJECT : CSJ_ARRAY), 0, 0};
        sets[depth] = {};
        stack[depth++] = index;
        text[out++] = c;
        if (text[*next] == (c == '{' ? '}' : ']')) goto end;
        if (c == '{') goto name;
        container->count++;
        goto value;
    } else {
        uint32_t end = *next;
        while (end > start && is_space(text[end - 1])) end--;
        uint8_t kind, flags;
        if (!judge_scalar(text, start, end, kind, flags)) return walk_result::refused;
        const uint32_t size = end - start;
        if (__builtin_expect(out != start, 0)) std::memmove(text + out, text + start, size);
        *node++ = {out, out + size, index + 1, 0, kind, flags, 0};
        out += size;
    }
}

after: {
    if (depth == 0) {
        if (next != last) return walk_result::refused;
        p.document = {nodes, text, p.strings, static_cast<uint32_t>(node - nodes), out};
        return walk_result::done;
    }
    const bool in_object = container->kind == CSJ_OBJECT;
    const uint8_t c = text[*next];
    if (c != ',') {
        if (c != (in_object ? '}' : ']')) return walk_result::refused;
        goto end;
    }
    next++;
    text[out++] = c;
    if (in_object) goto name;
    container->count++;
    goto value;
}

name: {
    const uint32_t start = next[0], end = next[1];
    next += 2;
    if (text[start] != '"' || !take_string(start, end, CSJ_FLAG_NAME, 0)) return walk_result::refused;
    if (text[end] != ':') return walk_result::refused;
    // The hash reads beyond the name, and would wait for a byte written there just now.
    if (__builtin_expect(out != end, 0)) text[out] = ':';
    out++;
    const bytes_view bytes =
        has_escapes ? decoded(p, *node) : bytes_view{text + node->start + 1, node->end - node->start - 2};
    const uint32_t hash = csj_name_hash(bytes.start, bytes.length);
    node->next = hash;
    uint64_t &seen = sets[depth - 1].seen[hash >> 30];
    const uint64_t bit = uint64_t{1} << (hash >> 24 & 63);
    const uint32_t members = container->count++;
    if (__builtin_expect((seen & bit) != 0 || members >= few_names, 0)) {
        const uint32_t index = static_cast<uint32_t>(node - nodes);
        walk_result found = look_for_name(p, stack[depth - 1], members, index, tokens, has_table);
        if (found != walk_result::done) {
            duplicate = index;
            return found;
        }
    }
    seen |= bit;
    node++;
    goto value;
}

end: {
    text[out] = text[*next++];
    out++;
    container->end = out;
    container->next = static_cast<uint32_t>(node - nodes);
    if (--depth > 0) container = nodes + stack[depth - 1];
    goto after;
}
}

walk_result walk(csj_parser &p, size_t length, uint32_t &duplicate) {
    uint32_t *const starts = p.dom.implementation->structural_indexes.get();
    const size_t tokens = p.dom.implementation->n_structural_indexes;
    if (!reserve(p.nodes, p.nodes_capacity, tokens, false)) return walk_result::no_memory;
    // The end is where the next token would start, and the two after it, which are peeked at. Only white space is there, which no
    // state of the walk goes on from. simdjson has room for three more starts.
    starts[tokens] = starts[tokens + 1] = starts[tokens + 2] = static_cast<uint32_t>(length);
    if (!std::memchr(p.text, '\\', length)) return walk_text<false>(p, starts, tokens, duplicate);
    // A decoded string takes its length besides, and less than it does in the text; a hash reads 8 bytes whatever the length.
    if (!reserve(p.strings, p.strings_capacity, 2 * length + 16, false)) return walk_result::no_memory;
    return walk_text<true>(p, starts, tokens, duplicate);
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

// Has simdjson judge all of a document in which the walk stopped at a name that stands twice: what else is wrong with it is told
// first. It refuses numbers that its types cannot hold, which are good JSON; if the scanner finds no offence, it is given zeros
// in their place. False with `error` filled in, or true.
bool judge_rest(csj_parser &p, const uint8_t *bytes, size_t length, csj_error *error) {
    const size_t size = p.capacity + simdjson::SIMDJSON_PADDING;
    if (!reserve(p.patched, p.patched_capacity, size, false)
        || (p.dom.doc.capacity() < p.capacity && p.dom.doc.allocate(p.capacity))) {
        refuse(error, CSJ_NO_MEMORY, -1, "no memory");
        return false;
    }
    std::memcpy(p.patched, bytes, length);
    std::memset(p.patched + length, ' ', simdjson::SIMDJSON_PADDING);
    if (!p.dom.parse(p.patched, length, false).error()) return true;
    offence found = {CSJ_NOT_JSON, 0, ""};
    if (!scan(bytes, length, p.depth_max, p.patched, found)) {
        refuse(error, found.kind, static_cast<int64_t>(found.offset), found.reason);
        return false;
    }
    if (!p.dom.parse(p.patched, length, false).error()) return true;
    refuse(error, CSJ_NOT_JSON, -1, "not JSON");
    return false;
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
    std::free(p->strings);
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
    bool is_good = !p->dom.implementation->stage1(p->text, length, simdjson::stage1_mode::regular);

    // 2. and 3.
    uint32_t duplicate = 0;
    switch (is_good ? walk(*p, length, duplicate) : walk_result::refused) {
    case walk_result::done:
        return &p->document;
    case walk_result::no_memory:
        return refuse(error, CSJ_NO_MEMORY, -1, "no memory");
    case walk_result::duplicate: {
        if (!judge_rest(*p, bytes, length, error)) return nullptr;
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
