// Tells the thread sanitizer of the one kind of lock that it cannot see.
//
// `Synchronization.Mutex` takes and gives its lock by an atomic in the caller's code, which the sanitizer instruments; but where
// two threads meet, by `_lockSlow` and `_unlockSlow` of libswiftSynchronization.so, which nobody instruments. Without this,
// whatever a contended Mutex guards is reported as a race (45 reports in one run of the suites, all of them of this kind).
//
// This library is put before that one with LD_PRELOAD and adds what is missing: after the lock was taken, an acquire at its
// address; before it is given, a release. It makes no race invisible: it adds the order that the lock really makes, no other.
//
// The names are Swift's mangled ones, and the arguments come as Swift passes them: the lock itself in the context register.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>

#define SWIFT __attribute__((swiftcall))
#define CONTEXT __attribute__((swift_context))

// Of the sanitizer's runtime, in programs that have it.
__attribute__((weak)) void __tsan_acquire(void *address);
__attribute__((weak)) void __tsan_release(void *address);

#define LOCK "$s15Synchronization12_MutexHandleV9_lockSlowyys6UInt32VF"
#define UNLOCK "$s15Synchronization12_MutexHandleV11_unlockSlowyyF"

typedef SWIFT void (*Lock)(uint32_t thread, CONTEXT void *handle);
typedef SWIFT void (*Unlock)(CONTEXT void *handle);

static void *original(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    if (found == NULL) abort();
    return found;
}

SWIFT void lock_slow(uint32_t thread, CONTEXT void *handle) __asm__(LOCK);
SWIFT void lock_slow(uint32_t thread, CONTEXT void *handle) {
    ((Lock)original(LOCK))(thread, handle);
    if (__tsan_acquire != NULL) __tsan_acquire(handle);
}

SWIFT void unlock_slow(CONTEXT void *handle) __asm__(UNLOCK);
SWIFT void unlock_slow(CONTEXT void *handle) {
    if (__tsan_release != NULL) __tsan_release(handle);
    ((Unlock)original(UNLOCK))(handle);
}
