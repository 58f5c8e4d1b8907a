#ifndef CLEAFHASH_H
#define CLEAFHASH_H

#include <stddef.h>
#include <stdint.h>

// Leaf hashes, SHA-256(0x00 || record), and those that an event is found by, with the processor's own SHA-256 instructions.
//
// A record's hash is a chain in which each instruction waits for the one before it; two records at once keep the processor
// busy, which takes little more than one alone. That is why this exists beside swift-crypto, which hashes one at a time and
// allocates for each: where a record is read, its hash was most of the work.

/// Whether this processor has the instructions. Where it has not, nothing else here may be called.
int clh_available(void);

/// Writes the 32 bytes of SHA-256(byte || text): the leaf hash of a record where the byte is 0.
void clh_one(uint8_t firstByte, const void *text, size_t bytes, void *hash);

/// The same for two texts.
void clh_pair(uint8_t firstByte, const void *first, size_t firstBytes, uint8_t secondByte, const void *second,
              size_t secondBytes, void *firstHash, void *secondHash);

/// Hashes the first blocks, of 64 bytes each, of two messages whose ends are not known yet, and writes the 32 bytes of state that
/// `clh_finish` goes on from. A state is good for nothing else.
void clh_blocks_pair(const void *first, size_t firstBlocks, const void *second, size_t secondBlocks,
                     void *firstState, void *secondState);

/// Writes the hash of a message of `bytes` in all, of which `rest`, at most 119 bytes, comes behind the blocks of `state`.
void clh_finish(const void *state, const void *rest, size_t restBytes, size_t bytes, void *hash);

/// Has the processor fetch `bytes` from `place` on, for whoever reads them soon. A hint only: `place` may be anything.
static inline void clh_fetch(const void *place, size_t bytes) {
    for (size_t offset = 0; offset < bytes; offset += 64) __builtin_prefetch((const char *)place + offset, 0, 2);
}

/// The same for whoever writes them soon: no other core keeps them.
static inline void clh_fetch_to_write(const void *place, size_t bytes) {
    for (size_t offset = 0; offset < bytes; offset += 64) {
#ifdef __x86_64__
        // Compilers take it for a later addition, and would fetch for reading alone.
        __asm__ volatile("prefetchw %0" : : "m"(*((const char *)place + offset)));
#else
        __builtin_prefetch((const char *)place + offset, 1, 2);
#endif
    }
}

#endif
