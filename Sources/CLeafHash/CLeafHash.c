#include "CLeafHash.h"

#include <string.h>

#if defined(__x86_64__)

#include <cpuid.h>
#include <immintrin.h>

int clh_available(void) {
    unsigned a, b, c, d;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b & (1u << 29))) return 0;  // SHA
    if (!__get_cpuid(1, &a, &b, &c, &d)) return 0;
    return (c & (1u << 9)) && (c & (1u << 19));  // SSSE3, SSE4.1
}

static const uint32_t K[64] __attribute__((aligned(64))) = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

// A message: a byte, the text (0x00 and the record for a leaf), 0x80, zeros, and the length in bits. Its first block and its
// last one or two are put together here; those between lie in the text, one byte before where they would without the byte.
typedef struct {
    const uint8_t *text;
    size_t blocks;  // in all
    size_t inPlace;  // blocks 1..<inPlace lie in the text
    uint8_t first[64];
    uint8_t last[128];
} Message;

static void prepare(Message *message, uint8_t byte, const uint8_t *text, size_t bytes) {
    size_t total = bytes + 1;
    message->text = text;
    message->blocks = (total + 9 + 63) / 64;
    message->inPlace = total / 64;
    memset(message->last, 0, sizeof message->last);
    size_t start = message->inPlace * 64;
    size_t rest = total - start;
    if (message->inPlace > 0) {
        message->first[0] = byte;
        memcpy(message->first + 1, text, 63);
        if (rest > 0) memcpy(message->last, text + start - 1, rest);
    } else {
        // The byte is in the last block, which is the first.
        message->last[0] = byte;
        if (bytes > 0) memcpy(message->last + 1, text, bytes);
    }
    message->last[rest] = 0x80;
    uint64_t bits = __builtin_bswap64((uint64_t)total * 8);
    memcpy(message->last + (message->blocks - message->inPlace) * 64 - 8, &bits, 8);
}

static inline const uint8_t *block(const Message *message, size_t index) {
    if (index >= message->inPlace) return message->last + (index - message->inPlace) * 64;
    return index == 0 ? message->first : message->text + index * 64 - 1;
}

// The state as the instructions want it: ABEF and CDGH.
#define ABEF _mm_set_epi32(0x6a09e667, (int)0xbb67ae85, 0x510e527f, (int)0x9b05688c)
#define CDGH _mm_set_epi32(0x3c6ef372, (int)0xa54ff53a, 0x1f83d9ab, 0x5be0cd19)

#define SHA __attribute__((target("sha,sse4.1,ssse3")))
#define SHA_INLINE static inline __attribute__((always_inline, target("sha,sse4.1,ssse3")))

SHA_INLINE void load(__m128i words[4], const uint8_t *block) {
    const __m128i bigEndian = _mm_set_epi64x(0x0c0d0e0f08090a0bll, 0x0405060700010203ll);
    for (int i = 0; i < 4; i++)
        words[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(block + 16 * i)), bigEndian);
}

// Four rounds, and what they prepare of the words of later ones.
SHA_INLINE void rounds(__m128i *abef, __m128i *cdgh, __m128i words[4], int i) {
    __m128i word = _mm_add_epi32(words[i & 3], _mm_load_si128((const __m128i *)(K + 4 * i)));
    *cdgh = _mm_sha256rnds2_epu32(*cdgh, *abef, word);
    if (i >= 3 && i < 15) {
        __m128i next = _mm_add_epi32(words[(i + 1) & 3], _mm_alignr_epi8(words[i & 3], words[(i - 1) & 3], 4));
        words[(i + 1) & 3] = _mm_sha256msg2_epu32(next, words[i & 3]);
    }
    *abef = _mm_sha256rnds2_epu32(*abef, *cdgh, _mm_shuffle_epi32(word, 0x0e));
    if (i >= 1 && i < 13) words[(i - 1) & 3] = _mm_sha256msg1_epu32(words[(i - 1) & 3], words[i & 3]);
}

// One block of one message, and one of each of two side by side.
SHA_INLINE void take(__m128i *a, __m128i *c, const uint8_t *block) {
    __m128i a0 = *a, c0 = *c, words[4];
    load(words, block);
#pragma unroll
    for (int i = 0; i < 16; i++) rounds(a, c, words, i);
    *a = _mm_add_epi32(*a, a0);
    *c = _mm_add_epi32(*c, c0);
}

SHA_INLINE void takePair(__m128i *a1, __m128i *c1, const uint8_t *block1, __m128i *a2, __m128i *c2,
                         const uint8_t *block2) {
    __m128i a10 = *a1, c10 = *c1, a20 = *a2, c20 = *c2, words1[4], words2[4];
    load(words1, block1);
    load(words2, block2);
#pragma unroll
    for (int i = 0; i < 16; i++) {
        rounds(a1, c1, words1, i);
        rounds(a2, c2, words2, i);
    }
    *a1 = _mm_add_epi32(*a1, a10);
    *c1 = _mm_add_epi32(*c1, c10);
    *a2 = _mm_add_epi32(*a2, a20);
    *c2 = _mm_add_epi32(*c2, c20);
}

SHA static void compress(__m128i *abef, __m128i *cdgh, const Message *message, size_t from) {
    __m128i a = *abef, c = *cdgh;
    for (size_t index = from; index < message->blocks; index++) take(&a, &c, block(message, index));
    *abef = a;
    *cdgh = c;
}

SHA static void store(__m128i abef, __m128i cdgh, void *hash) {
    const __m128i bigEndian = _mm_set_epi64x(0x0c0d0e0f08090a0bll, 0x0405060700010203ll);
    __m128i feba = _mm_shuffle_epi32(abef, 0x1b), dchg = _mm_shuffle_epi32(cdgh, 0xb1);
    __m128i dcba = _mm_blend_epi16(feba, dchg, 0xf0), hgfe = _mm_alignr_epi8(dchg, feba, 8);
    _mm_storeu_si128((__m128i *)hash, _mm_shuffle_epi8(dcba, bigEndian));
    _mm_storeu_si128((__m128i *)hash + 1, _mm_shuffle_epi8(hgfe, bigEndian));
}

SHA void clh_one(uint8_t firstByte, const void *text, size_t bytes, void *hash) {
    Message message;
    prepare(&message, firstByte, text, bytes);
    __m128i a = ABEF, c = CDGH;
    compress(&a, &c, &message, 0);
    store(a, c, hash);
}

SHA void clh_pair(uint8_t firstByte, const void *first, size_t firstBytes, uint8_t secondByte, const void *second,
                  size_t secondBytes, void *firstHash, void *secondHash) {
    Message one, two;
    prepare(&one, firstByte, first, firstBytes);
    prepare(&two, secondByte, second, secondBytes);
    size_t both = one.blocks < two.blocks ? one.blocks : two.blocks;
    __m128i a1 = ABEF, c1 = CDGH, a2 = ABEF, c2 = CDGH;
    for (size_t index = 0; index < both; index++) {
        takePair(&a1, &c1, block(&one, index), &a2, &c2, block(&two, index));
    }
    compress(&a1, &c1, &one, both);
    compress(&a2, &c2, &two, both);
    store(a1, c1, firstHash);
    store(a2, c2, secondHash);
}

SHA void clh_blocks_pair(const void *first, size_t firstBlocks, const void *second, size_t secondBlocks,
                         void *firstState, void *secondState) {
    __m128i a1 = ABEF, c1 = CDGH, a2 = ABEF, c2 = CDGH;
    const uint8_t *one = first, *two = second;
    size_t both = firstBlocks < secondBlocks ? firstBlocks : secondBlocks, index = 0;
    for (; index < both; index++) takePair(&a1, &c1, one + index * 64, &a2, &c2, two + index * 64);
    for (size_t rest = index; rest < firstBlocks; rest++) take(&a1, &c1, one + rest * 64);
    for (size_t rest = index; rest < secondBlocks; rest++) take(&a2, &c2, two + rest * 64);
    _mm_storeu_si128((__m128i *)firstState, a1);
    _mm_storeu_si128((__m128i *)firstState + 1, c1);
    _mm_storeu_si128((__m128i *)secondState, a2);
    _mm_storeu_si128((__m128i *)secondState + 1, c2);
}

SHA void clh_finish(const void *state, const void *rest, size_t restBytes, size_t bytes, void *hash) {
    uint8_t last[128];
    size_t blocks = restBytes + 9 <= 64 ? 1 : 2;
    memset(last, 0, sizeof last);
    memcpy(last, rest, restBytes);
    last[restBytes] = 0x80;
    uint64_t bits = __builtin_bswap64((uint64_t)bytes * 8);
    memcpy(last + blocks * 64 - 8, &bits, 8);
    __m128i a = _mm_loadu_si128((const __m128i *)state), c = _mm_loadu_si128((const __m128i *)state + 1);
    for (size_t index = 0; index < blocks; index++) take(&a, &c, last + index * 64);
    store(a, c, hash);
}

#else

int clh_available(void) { return 0; }
void clh_one(uint8_t firstByte, const void *text, size_t bytes, void *hash) { __builtin_trap(); }
void clh_pair(uint8_t firstByte, const void *first, size_t firstBytes, uint8_t secondByte, const void *second,
              size_t secondBytes, void *firstHash, void *secondHash) {
    __builtin_trap();
}
void clh_blocks_pair(const void *first, size_t firstBlocks, const void *second, size_t secondBlocks,
                     void *firstState, void *secondState) {
    __builtin_trap();
}
void clh_finish(const void *state, const void *rest, size_t restBytes, size_t bytes, void *hash) { __builtin_trap(); }

#endif
