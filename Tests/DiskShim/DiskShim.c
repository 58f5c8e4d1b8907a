/*
 * DiskShim: put before a program's libraries with LD_PRELOAD, it sees every call by which the program changes files below
 * one directory. It writes them down, in the order in which they returned, and lets one of them fail.
 *
 * SHIM_ROOT    the directory; other files are passed by
 * SHIM_TRACE   a file to which a record is appended for every call: see `struct record`
 * SHIM_BYTES   1: the records of writes carry the bytes
 * SHIM_ACKS    a file outside of the directory: what the program writes to it stands in the trace, too
 * SHIM_FAULT   CLASSES:KIND:N[:always]: the N-th call (from 1) of these classes fails so; with `always`, all later ones too
 *              classes  w write, m LMDB's meta page, z write past the page cache (io_submit), s sync, a allocate,
 *                       t truncate, r rename, o create, d create a directory, u remove
 *              kinds    EIO ENOSPC EINTR   nothing was done
 *                       short              half of a write was done
 *                       late               all of it was done, and is reported as EIO
 *                       kill               SIGKILL before the call
 *                       swallow            of the log: EIO, and what was written since the last sync is in memory only
 *                                          (SHIM_UNDO); once, as a kernel reports it once; with `always`, whatever is
 *                                          tried with the log after that fails and is not done
 * SHIM_UNDO    a file that keeps what the device has where memory has something else: pages of the log as they were. They
 *              come back when the page cache is told to forget them, and a page that is written again needs it no more
 * SHIM_PLANT   nosync     the log is opened with MDB_NOSYNC
 *              ignore     a commit of LMDB's that failed is reported as a success
 *              keepcache  the page cache never forgets
 *
 * A lock is held around every call: so there is one order, and it is the one in the trace. A write past the page cache is under
 * way while others are made; it stands where its end was told, as if it had come last and no sync before that had covered it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <libaio.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define ORIGINAL(name) ((__typeof__(&name))original(#name))

/* A record, little-endian, followed by the path (of a rename: old, 0, new) and the bytes. */
struct record {
    uint32_t magic; /* SHIM */
    uint8_t kind;   /* w write, s sync, t truncate, a allocate, o create a file, d create a directory, r rename, u remove,
                       k acknowledgement, F the fault fired (offset: the class), S one of `always` fired later */
    uint8_t flags;  /* 1: through a descriptor that writes through, 2: LMDB's meta page, 4: failed, 8: past the page cache */
    uint16_t path_length;
    uint32_t byte_count;
    uint32_t process;
    uint64_t inode;  /* of the file or directory, or of what was made or moved */
    uint64_t parent; /* of the directory whose names changed */
    uint64_t offset;
    uint64_t length;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char root[PATH_MAX], acks[PATH_MAX], undo_path[PATH_MAX];
static size_t root_length;
static int trace_fd = -1, with_bytes, plant_nosync, plant_ignore, plant_keepcache;

static char fault_classes[16];
static enum { NONE, FAIL, SHORT, LATE, KILL, SWALLOW } fault_kind;
static int fault_code, fault_always, fault_fired;
static long fault_at, calls_seen;

static void *original(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    if (found == NULL) abort();
    return found;
}

static void stop(const char *why) {
    dprintf(2, "DiskShim: %s\n", why);
    _exit(99);
}

/* ---- What the device has where memory has something else (SHIM_UNDO) ---- */

#define PAGE 4096
struct undo {
    int64_t offset;
    unsigned char bytes[PAGE];
};
static struct undo *dirty, *lost; /* since the last sync; dropped by the device */
static size_t dirty_count, lost_count;

static void add(struct undo **list, size_t *count, const struct undo *entry) {
    *list = realloc(*list, (*count + 1) * sizeof *entry);
    if (*list == NULL) stop("no memory");
    (*list)[(*count)++] = *entry;
}

static struct undo *find(struct undo *list, size_t count, int64_t offset) {
    for (size_t index = 0; index < count; index++)
        if (list[index].offset == offset) return &list[index];
    return NULL;
}

static void save_lost(void) {
    int fd = ORIGINAL(open)(undo_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    size_t size = lost_count * sizeof *lost;
    if (fd < 0 || (size > 0 && ORIGINAL(write)(fd, lost, size) != (ssize_t)size)) stop("cannot write SHIM_UNDO");
    close(fd);
}

static void load_lost(void) {
    int fd = ORIGINAL(open)(undo_path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    struct undo entry;
    while (read(fd, &entry, sizeof entry) == sizeof entry) add(&lost, &lost_count, &entry);
    close(fd);
}

/* The descriptor may be for writing only. */
static void read_page(int fd, struct undo *entry) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    int readable = ORIGINAL(open)(link, O_RDONLY | O_CLOEXEC);
    if (readable < 0 || pread(readable, entry->bytes, PAGE, entry->offset) < 0) stop("cannot read a page");
    close(readable);
}

/* Before a write: the pages as they are. What the device lacked, it gets with the next sync of the new content. */
static void before_write(int fd, off_t offset, size_t count) {
    if (undo_path[0] == 0) return;
    int changed = 0;
    for (int64_t page = offset / PAGE * PAGE; page < offset + (int64_t)count; page += PAGE) {
        struct undo *gone = find(lost, lost_count, page);
        if (find(dirty, dirty_count, page) == NULL) {
            struct undo entry = {.offset = page};
            if (gone != NULL) entry = *gone;
            else read_page(fd, &entry);
            add(&dirty, &dirty_count, &entry);
        }
        if (gone != NULL) {
            *gone = lost[--lost_count];
            changed = 1;
        }
    }
    if (changed) save_lost();
}

/* All pages of the log, or some of them, are on the device. */
static void after_sync(void) { dirty_count = 0; }

static void after_sync_of(off_t offset, size_t count) {
    for (int64_t page = offset / PAGE * PAGE; page < offset + (int64_t)count; page += PAGE) {
        struct undo *entry = find(dirty, dirty_count, page);
        if (entry != NULL) *entry = dirty[--dirty_count];
    }
}

static void lose_dirty(void) {
    if (undo_path[0] == 0) stop("swallow needs SHIM_UNDO");
    for (size_t index = 0; index < dirty_count; index++) add(&lost, &lost_count, &dirty[index]);
    after_sync();
    save_lost();
}

static void forget_pages(int fd, off_t offset, off_t count) {
    int writable = -1;
    for (size_t index = 0; index < lost_count;) {
        if (lost[index].offset < offset || (count > 0 && lost[index].offset >= offset + count)) {
            index++;
            continue;
        }
        if (writable < 0) {
            char link[64];
            snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
            writable = ORIGINAL(open)(link, O_WRONLY | O_CLOEXEC);
        }
        if (ORIGINAL(pwrite)(writable, lost[index].bytes, PAGE, lost[index].offset) != PAGE) stop("cannot write a page");
        lost[index] = lost[--lost_count];
    }
    if (writable >= 0) {
        close(writable);
        save_lost();
    }
}

/* ---- Set-up ---- */

static void take(char *place, size_t size, const char *name) {
    const char *value = getenv(name);
    if (value != NULL && (size_t)snprintf(place, size, "%s", value) >= size) stop("a variable is too long");
}

__attribute__((constructor)) static void begin(void) {
    char path[PATH_MAX] = "", plant[32] = "", fault[64] = "", kind[16], tail[16] = "";
    take(root, sizeof root, "SHIM_ROOT");
    take(acks, sizeof acks, "SHIM_ACKS");
    take(undo_path, sizeof undo_path, "SHIM_UNDO");
    take(path, sizeof path, "SHIM_TRACE");
    take(plant, sizeof plant, "SHIM_PLANT");
    take(fault, sizeof fault, "SHIM_FAULT");
    root_length = strlen(root);
    if (path[0] != 0) {
        trace_fd = ORIGINAL(open)(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (trace_fd < 0) stop("cannot open SHIM_TRACE");
    }
    with_bytes = getenv("SHIM_BYTES") != NULL;
    plant_nosync = strcmp(plant, "nosync") == 0;
    plant_ignore = strcmp(plant, "ignore") == 0;
    plant_keepcache = strcmp(plant, "keepcache") == 0;
    if (plant[0] != 0 && !plant_nosync && !plant_ignore && !plant_keepcache) stop("SHIM_PLANT is not understood");
    if (undo_path[0] != 0) load_lost();
    if (fault[0] == 0) return;
    int fields = sscanf(fault, "%15[a-z]:%15[A-Za-z]:%ld:%15s", fault_classes, kind, &fault_at, tail);
    if (fields < 3 || fault_at < 1) stop("SHIM_FAULT is not understood");
    fault_always = strcmp(tail, "always") == 0;
    fault_kind = FAIL;
    if (strcmp(kind, "EIO") == 0) fault_code = EIO;
    else if (strcmp(kind, "ENOSPC") == 0) fault_code = ENOSPC;
    else if (strcmp(kind, "EINTR") == 0) fault_code = EINTR;
    else if (strcmp(kind, "short") == 0) fault_kind = SHORT;
    else if (strcmp(kind, "late") == 0) fault_kind = LATE;
    else if (strcmp(kind, "kill") == 0) fault_kind = KILL;
    else if (strcmp(kind, "swallow") == 0) fault_kind = SWALLOW;
    else stop("SHIM_FAULT names no kind");
}

/* ---- The trace ---- */

static int is_below_root(const char *path) {
    return root_length > 0 && strncmp(path, root, root_length) == 0 && (path[root_length] == '/' || path[root_length] == 0);
}

/* The path of a descriptor; empty where it is none of ours. */
static int path_of(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t count = readlink(link, path, PATH_MAX - 1);
    path[count < 0 ? 0 : count] = 0;
    return is_below_root(path);
}

static int ends_with(const char *path, const char *end) {
    size_t length = strlen(path), end_length = strlen(end);
    return length >= end_length && strcmp(path + length - end_length, end) == 0;
}

static int is_log(const char *path) { return ends_with(path, "/log/data.mdb"); }

static void put(char kind, int flags, const char *path, size_t path_length, uint64_t inode, uint64_t parent, uint64_t offset,
                uint64_t length, const struct iovec *parts, int part_count, size_t byte_count) {
    if (trace_fd < 0) return;
    struct record record = {
        .magic = 0x4D494853, .kind = (uint8_t)kind, .flags = (uint8_t)flags, .path_length = (uint16_t)path_length,
        .byte_count = (uint32_t)byte_count, .process = (uint32_t)getpid(), .inode = inode, .parent = parent,
        .offset = offset, .length = length};
    struct iovec all[66] = {{&record, sizeof record}, {(void *)path, path_length}};
    int count = 2;
    for (int index = 0; index < part_count && byte_count > 0; index++) {
        if (count == 66) stop("a write of too many parts");
        size_t size = parts[index].iov_len < byte_count ? parts[index].iov_len : byte_count;
        all[count].iov_base = parts[index].iov_base;
        all[count++].iov_len = size;
        byte_count -= size;
    }
    size_t total = 0;
    for (int index = 0; index < count; index++) total += all[index].iov_len;
    if (ORIGINAL(writev)(trace_fd, all, count) != (ssize_t)total) stop("cannot write SHIM_TRACE");
}

static uint64_t inode_of(int fd) {
    struct stat status;
    return fstat(fd, &status) == 0 ? (uint64_t)status.st_ino : 0;
}

static uint64_t inode_at(const char *path, int of_parent) {
    char parent[PATH_MAX];
    struct stat status;
    snprintf(parent, sizeof parent, "%s", path);
    if (of_parent) {
        char *slash = strrchr(parent, '/');
        if (slash == NULL) return 0;
        *slash = 0;
    }
    return lstat(parent, &status) == 0 ? (uint64_t)status.st_ino : 0;
}

/* ---- The fault ---- */

/* Whether this call fails, and how: NONE, or a kind. Does not return where the process is to die. */
static int strike(char class, const char *path) {
    if (fault_kind == NONE) return NONE;
    if (fault_kind == SWALLOW && !is_log(path)) return NONE;
    if (fault_kind == SWALLOW && fault_fired && fault_always) {
        fault_code = EIO;
        return FAIL;
    }
    if (strchr(fault_classes, class) == NULL) return NONE;
    if (fault_kind == SHORT && class != 'w' && class != 'm' && class != 'z') return NONE;
    calls_seen++;
    if (fault_fired && !fault_always) return NONE;
    if (calls_seen < fault_at) return NONE;
    put(fault_fired ? 'S' : 'F', 0, path, strlen(path), 0, 0, (uint64_t)class, 0, NULL, 0, 0);
    fault_fired = 1;
    if (fault_kind == KILL) {
        kill(getpid(), SIGKILL);
        pause();
    }
    return fault_kind;
}

/* ---- Writes ---- */

enum how { WRITE, PWRITE, WRITEV, PWRITEV };

static ssize_t call(enum how how, int fd, const struct iovec *parts, int count, off_t offset) {
    switch (how) {
    case WRITE: return ORIGINAL(write)(fd, parts[0].iov_base, parts[0].iov_len);
    case PWRITE: return ORIGINAL(pwrite)(fd, parts[0].iov_base, parts[0].iov_len, offset);
    case WRITEV: return ORIGINAL(writev)(fd, parts, count);
    default: return ORIGINAL(pwritev)(fd, parts, count, offset);
    }
}

static ssize_t written(enum how how, int fd, const struct iovec *parts, int count, off_t offset) {
    char path[PATH_MAX];
    int is_ours = path_of(fd, path);
    int is_ack = !is_ours && acks[0] != 0 && strcmp(path, acks) == 0;
    if (!is_ours && !is_ack) return call(how, fd, parts, count, offset);
    pthread_mutex_lock(&lock);
    if (how == WRITE || how == WRITEV) offset = lseek(fd, 0, SEEK_CUR);
    size_t total = 0;
    for (int index = 0; index < count; index++) total += parts[index].iov_len;
    int is_synced = (fcntl(fd, F_GETFL) & O_DSYNC) != 0;
    int is_meta = is_ours && is_synced && total == 120 && offset < 2 * PAGE && ends_with(path, "/data.mdb");
    int fault = is_ours ? strike(is_meta ? 'm' : 'w', path) : NONE;
    if (is_ours && is_log(path) && fault != FAIL) before_write(fd, offset, total);

    ssize_t result;
    int code = 0;
    if (fault == FAIL) {
        result = -1;
        code = fault_code;
    } else if (fault == SHORT && total > 1) {
        result = ORIGINAL(pwrite)(fd, parts[0].iov_base, parts[0].iov_len > total / 2 ? total / 2 : parts[0].iov_len, offset);
        code = errno;
        if (result > 0 && (how == WRITE || how == WRITEV)) lseek(fd, offset + result, SEEK_SET);
    } else {
        result = call(how, fd, parts, count, offset);
        code = errno;
    }
    if (is_ours && result > 0 && is_log(path) && is_synced && fault == NONE) after_sync_of(offset, (size_t)result);
    size_t done = result > 0 ? (size_t)result : 0;
    int flags = (is_synced && fault != LATE && fault != SWALLOW ? 1 : 0) | (is_meta ? 2 : 0) | (fault != NONE ? 4 : 0);
    put(is_ack ? 'k' : 'w', flags, path, strlen(path), inode_of(fd), 0, (uint64_t)offset, done, parts, count,
        with_bytes || is_ack ? done : 0);
    if (fault == SWALLOW) lose_dirty();
    if (fault == LATE || fault == SWALLOW) {
        result = -1;
        code = EIO;
    }
    pthread_mutex_unlock(&lock);
    errno = code;
    return result;
}

ssize_t write(int fd, const void *bytes, size_t count) {
    struct iovec part = {(void *)bytes, count};
    return written(WRITE, fd, &part, 1, 0);
}
ssize_t pwrite(int fd, const void *bytes, size_t count, off_t offset) {
    struct iovec part = {(void *)bytes, count};
    return written(PWRITE, fd, &part, 1, offset);
}
ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t offset) { return pwrite(fd, bytes, count, offset); }
ssize_t writev(int fd, const struct iovec *parts, int count) { return written(WRITEV, fd, parts, count, 0); }
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) {
    return written(PWRITEV, fd, parts, count, offset);
}
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t offset) {
    return written(PWRITEV, fd, parts, count, offset);
}

/* ---- Writes past the page cache: one at a time, as DirectWriter makes them ---- */

static struct {
    io_context_t context; /* NULL: none is under way */
    char path[PATH_MAX];
    uint64_t inode, offset;
    struct iovec part;
    int fault;
} under_way;

/* `done` bytes of it; what is not known to have been done may have been. */
static void record_end(size_t done) {
    put('w', 8 | (under_way.fault != NONE ? 4 : 0), under_way.path, strlen(under_way.path), under_way.inode, 0,
        under_way.offset, done, &under_way.part, 1, with_bytes ? done : 0);
    under_way.context = NULL;
}

int io_submit(io_context_t context, long count, struct iocb **requests) {
    char path[PATH_MAX];
    if (count != 1 || !path_of(requests[0]->aio_fildes, path)) return ORIGINAL(io_submit)(context, count, requests);
    struct iocb *request = requests[0];
    if (request->aio_lio_opcode != IO_CMD_PWRITE) stop("io_submit of something else than a write");
    pthread_mutex_lock(&lock);
    if (under_way.context != NULL) stop("two writes past the page cache");
    int fault = strike('z', path);
    size_t size = request->u.c.nbytes, done = fault == SHORT ? size / 2 / PAGE * PAGE : size;
    int result = fault == FAIL ? -fault_code : 1;
    if (result == 1) {
        if (is_log(path)) before_write(request->aio_fildes, (off_t)request->u.c.offset, done);
        request->u.c.nbytes = done;
        result = ORIGINAL(io_submit)(context, 1, requests);
        request->u.c.nbytes = size;
    }
    memcpy(under_way.path, path, sizeof path);
    under_way.context = context;
    under_way.inode = inode_of(request->aio_fildes);
    under_way.offset = (uint64_t)request->u.c.offset;
    under_way.part = (struct iovec){request->u.c.buf, done};
    under_way.fault = result == 1 ? fault : FAIL;
    if (result != 1) record_end(0);
    pthread_mutex_unlock(&lock);
    return result;
}

int io_getevents(io_context_t context, long least, long most, struct io_event *events, struct timespec *timeout) {
    int result = ORIGINAL(io_getevents)(context, least, most, events, timeout);
    pthread_mutex_lock(&lock);
    if (result == 1 && under_way.context == context) {
        record_end((long)events[0].res > 0 ? events[0].res : 0);
        if (under_way.fault == LATE) events[0].res = (unsigned long)-EIO;
    }
    pthread_mutex_unlock(&lock);
    return result;
}

/* ---- Syncs, sizes ---- */

static int finish(int fault, int result, int code) {
    if (fault == FAIL) {
        errno = fault_code;
        return -1;
    }
    if (fault == LATE || fault == SWALLOW) {
        errno = EIO;
        return -1;
    }
    errno = code;
    return result;
}

static int synced(int fd, int (*sync)(int)) {
    char path[PATH_MAX];
    if (!path_of(fd, path)) {
        /* The directory above the root: its sync makes the root's name durable. */
        size_t length = strlen(path);
        if (length == 0 || strncmp(root, path, length) != 0 || root[length] != '/') return sync(fd);
    }
    pthread_mutex_lock(&lock);
    int fault = strike('s', path);
    if (fault == SWALLOW) lose_dirty();
    int result = fault == FAIL || fault == SWALLOW ? -1 : sync(fd), code = errno;
    if (result == 0 && is_log(path)) after_sync();
    put('s', fault != NONE || result != 0 ? 4 : 0, path, strlen(path), inode_of(fd), 0, 0, 0, NULL, 0, 0);
    pthread_mutex_unlock(&lock);
    return finish(fault, result, code);
}

int fdatasync(int fd) { return synced(fd, ORIGINAL(fdatasync)); }
int fsync(int fd) { return synced(fd, ORIGINAL(fsync)); }

int ftruncate(int fd, off_t length) {
    char path[PATH_MAX];
    if (!path_of(fd, path)) return ORIGINAL(ftruncate)(fd, length);
    pthread_mutex_lock(&lock);
    int fault = strike('t', path);
    int result = fault == FAIL ? -1 : ORIGINAL(ftruncate)(fd, length), code = errno;
    if (result == 0) put('t', 0, path, strlen(path), inode_of(fd), 0, (uint64_t)length, 0, NULL, 0, 0);
    pthread_mutex_unlock(&lock);
    return finish(fault, result, code);
}
int ftruncate64(int fd, off64_t length) { return ftruncate(fd, length); }

int posix_fallocate(int fd, off_t offset, off_t length) {
    char path[PATH_MAX];
    if (!path_of(fd, path)) return ORIGINAL(posix_fallocate)(fd, offset, length);
    pthread_mutex_lock(&lock);
    int fault = strike('a', path);
    int code = fault == FAIL ? fault_code : ORIGINAL(posix_fallocate)(fd, offset, length);
    if (code == 0) put('a', 0, path, strlen(path), inode_of(fd), 0, (uint64_t)offset, (uint64_t)length, NULL, 0, 0);
    pthread_mutex_unlock(&lock);
    return fault == LATE ? EIO : code;
}
int posix_fallocate64(int fd, off64_t offset, off64_t length) { return posix_fallocate(fd, offset, length); }

int posix_fadvise(int fd, off_t offset, off_t length, int advice) {
    char path[PATH_MAX];
    if (advice == POSIX_FADV_DONTNEED && undo_path[0] != 0 && !plant_keepcache && path_of(fd, path) && is_log(path)) {
        pthread_mutex_lock(&lock);
        forget_pages(fd, offset, length);
        pthread_mutex_unlock(&lock);
    }
    return ORIGINAL(posix_fadvise)(fd, offset, length, advice);
}
int posix_fadvise64(int fd, off64_t offset, off64_t length, int advice) { return posix_fadvise(fd, offset, length, advice); }

/* ---- Names ---- */

static int opened(int (*open_it)(const char *, int, ...), const char *path, int flags, mode_t mode) {
    struct stat status;
    if (!(flags & O_CREAT) || !is_below_root(path)) return open_it(path, flags, mode);
    pthread_mutex_lock(&lock);
    int is_new = lstat(path, &status) != 0;
    int fault = is_new ? strike('o', path) : NONE;
    int fd = fault == FAIL ? -1 : open_it(path, flags, mode), code = errno;
    if (fd >= 0 && is_new) put('o', 0, path, strlen(path), inode_of(fd), inode_at(path, 1), 0, 0, NULL, 0, 0);
    else if (fd >= 0 && (flags & O_TRUNC)) put('t', 0, path, strlen(path), inode_of(fd), 0, 0, 0, NULL, 0, 0);
    if (fault == LATE && fd >= 0) close(fd);
    pthread_mutex_unlock(&lock);
    return finish(fault, fd, code);
}

#define OPEN(name)                                                \
    int name(const char *path, int flags, ...) {                  \
        mode_t mode = 0;                                          \
        if (flags & (O_CREAT | O_TMPFILE)) {                      \
            va_list arguments;                                    \
            va_start(arguments, flags);                           \
            mode = va_arg(arguments, mode_t);                     \
            va_end(arguments);                                    \
        }                                                         \
        return opened(ORIGINAL(name), path, flags, mode);         \
    }
OPEN(open)
OPEN(open64)

int mkdir(const char *path, mode_t mode) {
    if (!is_below_root(path)) return ORIGINAL(mkdir)(path, mode);
    pthread_mutex_lock(&lock);
    struct stat status;
    int fault = lstat(path, &status) != 0 ? strike('d', path) : NONE;
    int result = fault == FAIL ? -1 : ORIGINAL(mkdir)(path, mode), code = errno;
    if (result == 0) put('d', 0, path, strlen(path), inode_at(path, 0), inode_at(path, 1), 0, 0, NULL, 0, 0);
    pthread_mutex_unlock(&lock);
    return finish(fault, result, code);
}

int rename(const char *from, const char *to) {
    if (!is_below_root(from)) return ORIGINAL(rename)(from, to);
    pthread_mutex_lock(&lock);
    int fault = strike('r', from);
    uint64_t inode = inode_at(from, 0), parent = inode_at(from, 1);
    if (parent != inode_at(to, 1)) stop("a rename into another directory");
    int result = fault == FAIL ? -1 : ORIGINAL(rename)(from, to), code = errno;
    char both[2 * PATH_MAX];
    int length = snprintf(both, sizeof both, "%s%c%s", from, 0, to);
    if (result == 0) put('r', 0, both, (size_t)length, inode, parent, 0, 0, NULL, 0, 0);
    pthread_mutex_unlock(&lock);
    return finish(fault, result, code);
}

static int removed(const char *path, int (*remove_it)(const char *)) {
    if (!is_below_root(path)) return remove_it(path);
    pthread_mutex_lock(&lock);
    struct stat status;
    int fault = lstat(path, &status) == 0 ? strike('u', path) : NONE;
    uint64_t parent = inode_at(path, 1);
    int result = fault == FAIL ? -1 : remove_it(path), code = errno;
    if (result == 0) put('u', 0, path, strlen(path), 0, parent, 0, 0, NULL, 0, 0);
    pthread_mutex_unlock(&lock);
    return finish(fault, result, code);
}

int unlink(const char *path) { return removed(path, ORIGINAL(unlink)); }
int rmdir(const char *path) { return removed(path, ORIGINAL(rmdir)); }

/* ---- Planted bugs ---- */

typedef struct MDB_env MDB_env;
typedef struct MDB_txn MDB_txn;
int mdb_env_open(MDB_env *, const char *, unsigned int, mode_t);
int mdb_txn_commit(MDB_txn *);

int mdb_env_open(MDB_env *env, const char *path, unsigned int flags, mode_t mode) {
    if (plant_nosync && (ends_with(path, "/log") || ends_with(path, "/log.tmp"))) flags |= 0x10000;
    return ORIGINAL(mdb_env_open)(env, path, flags, mode);
}

int mdb_txn_commit(MDB_txn *transaction) {
    int code = ORIGINAL(mdb_txn_commit)(transaction);
    return plant_ignore && code == EIO ? 0 : code;
}
