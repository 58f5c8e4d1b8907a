/*
 * ScarcityShim: put before a program's libraries with LD_PRELOAD, it lets what the system gives run out.
 *
 * SCARCE        WHAT:N[:always]: the N-th call (from 1) is refused; with `always`, all later ones too
 *               malloc   memory: malloc, calloc, realloc and their aligned relatives (ENOMEM)
 *               mmap     address space (ENOMEM)
 *               thread   threads, as RLIMIT_NPROC does (EAGAIN)
 * SCARCE_MARK   a file that is made when the refusal comes
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* glibc's own: looking the originals up would allocate. */
extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

enum what { NOTHING, MALLOC, MMAP, THREAD };
static enum what what;
static long at;
static int always;
static const char *mark;
static atomic_long seen;

__attribute__((constructor)) static void begin(void) {
    const char *scarce = getenv("SCARCE");
    mark = getenv("SCARCE_MARK");
    if (scarce == NULL) return;
    const char *number = strchr(scarce, ':');
    if (number == NULL) abort();
    at = atol(number + 1);
    always = strstr(scarce, ":always") != NULL;
    what = strncmp(scarce, "malloc", 6) == 0 ? MALLOC : strncmp(scarce, "mmap", 4) == 0 ? MMAP : THREAD;
}

static int is_refused(enum what kind) {
    if (what != kind) return 0;
    long number = atomic_fetch_add(&seen, 1) + 1;
    if (number < at || (number > at && !always)) return 0;
    if (number == at && mark != NULL) {
        long fd = syscall(SYS_openat, AT_FDCWD, mark, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        if (fd >= 0) syscall(SYS_close, fd);
    }
    return 1;
}

static void *refuse(void) {
    errno = ENOMEM;
    return NULL;
}

void *malloc(size_t size) { return is_refused(MALLOC) ? refuse() : __libc_malloc(size); }
void *calloc(size_t count, size_t size) { return is_refused(MALLOC) ? refuse() : __libc_calloc(count, size); }
void *realloc(void *old, size_t size) { return is_refused(MALLOC) ? refuse() : __libc_realloc(old, size); }
void *memalign(size_t alignment, size_t size) {
    return is_refused(MALLOC) ? refuse() : __libc_memalign(alignment, size);
}
void *aligned_alloc(size_t alignment, size_t size) { return memalign(alignment, size); }
int posix_memalign(void **place, size_t alignment, size_t size) {
    void *found = memalign(alignment, size);
    if (found == NULL) return ENOMEM;
    *place = found;
    return 0;
}

void *mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset) {
    if (is_refused(MMAP)) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    return (void *)syscall(SYS_mmap, address, length, protection, flags, fd, offset);
}
void *mmap64(void *address, size_t length, int protection, int flags, int fd, off64_t offset) {
    return mmap(address, length, protection, flags, fd, offset);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*body)(void *), void *argument) {
    static int (*original)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    if (is_refused(THREAD)) return EAGAIN;
    if (original == NULL) original = dlsym(RTLD_NEXT, "pthread_create");
    return original(thread, attributes, body, argument);
}
