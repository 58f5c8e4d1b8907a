// A C door to simdjson: strict validation, minification and a flat table of nodes. The C++ stays behind it.
//
// Invariants of a document (the result of a successful `csj_parse`):
//  D1  The bytes were one complete JSON text (RFC 8259): valid UTF-8 without a byte order mark, no lone surrogate escape,
//      no member name twice in one object (names compared after unescaping), containers nested at most `depth_max` deep.
//  D2  `text` is that text without the white space between tokens and is otherwise unchanged, byte for byte.
//  D3  `nodes` are in text order; node 0 is the root. A container precedes what it contains; a member's name node
//      precedes its value node; `next` is the index after the whole subtree, so siblings are one step apart.
//  D4  All pointers stay valid until the next `csj_parse` or `csj_parser_free` of the same parser.
//
// Nothing here recurses over the input, and a parser whose buffers have grown to its documents allocates nothing.
// A parser serves one thread at a time.

#ifndef CSIMDJSON_H
#define CSIMDJSON_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    CSJ_NULL = 0,
    CSJ_BOOLEAN = 1,
    CSJ_NUMBER = 2,
    CSJ_STRING = 3,
    CSJ_ARRAY = 4,
    CSJ_OBJECT = 5,
};

enum {
    CSJ_FLAG_ESCAPED = 1,  // string: its text has escapes, so the decoded bytes differ from the text
    CSJ_FLAG_INTEGER = 2,  // number: digits and a sign only, no fraction and no exponent
    CSJ_FLAG_TRUE = 4,     // boolean: true
    CSJ_FLAG_NAME = 8,     // string: the name of a member
};

//   offset  size
//     0      4   start    first byte in `text`
//     4      4   end      one past the last byte in `text`
//     8      4   next     index of the node after this subtree; for a member's name, whose next is its value: its hash
//    12      4   count    members or elements; for a string with escapes: where its decoded bytes start in `strings`
//    16      1   kind
//    17      1   flags
//    18      2   zero
typedef struct {
    uint32_t start;
    uint32_t end;
    uint32_t next;
    uint32_t count;
    uint8_t kind;
    uint8_t flags;
    uint16_t zero;
} csj_node;

typedef struct {
    const csj_node *nodes;
    const uint8_t *text;
    const uint8_t *strings;  // strings with escapes, decoded; the 4 bytes before each are its length (host order)
    uint32_t node_count;
    uint32_t text_length;
} csj_document;

enum {
    CSJ_OK = 0,
    CSJ_NOT_JSON = 1,
    CSJ_BAD_UTF8 = 2,
    CSJ_TOO_DEEP = 3,
    CSJ_DUPLICATE_MEMBER = 4,
    CSJ_TOO_LARGE = 5,
    CSJ_NO_MEMORY = 6,
};

typedef struct {
    int kind;            // CSJ_OK or why the bytes were refused
    int64_t offset;      // of the first offence in the bytes as given, -1 where it is not known
    const char *reason;  // static text
    const uint8_t *name; // CSJ_DUPLICATE_MEMBER: the decoded name, else NULL; valid as long as a document is
    uint32_t name_length;
} csj_error;

typedef struct csj_parser csj_parser;

// The hash of a member's name, as its node has it. No secret: for tables of names that we chose ourselves. Reads up to 8 bytes
// from `bytes` whatever the length: texts and decoded strings are padded.
static inline uint32_t csj_name_hash(const uint8_t *bytes, uint32_t length) {
    uint64_t head, tail = 0;
    memcpy(&head, bytes, 8);
    if (length < 8) {
        head &= (UINT64_C(1) << (length * 8)) - 1;
    } else {
        memcpy(&tail, bytes + length - 8, 8);
    }
    return (uint32_t)(((head ^ tail * UINT64_C(0x9E3779B97F4A7C15) ^ length) * UINT64_C(0xD6E8FEB86659FD93)) >> 32);
}

// `depth_max` is at most 255. NULL if there is no memory.
csj_parser *csj_parser_create(size_t bytes_max, unsigned depth_max);
void csj_parser_free(csj_parser *parser);

// The document, or NULL with `error` filled in.
const csj_document *csj_parse(csj_parser *parser, const uint8_t *bytes, size_t length, csj_error *error);

#ifdef __cplusplus
}
#endif

#endif
