import TestSupport

/// A library, compiled here and put before the daemon's with LD_PRELOAD, that lets a device fail as real ones do. It acts
/// while its trigger file exists, so a test says when.
struct DeviceFault {
    enum Kind: String {
        /// fdatasync of the log fails, as after a write-back error.
        case sync = "FAULT_SYNC"
        /// The log's meta page is written, and reported as failed.
        case meta = "FAULT_META"
        /// No space can be allocated for the log.
        case logFull = "FAULT_LOG_FULL"
        /// No space can be allocated for any environment.
        case allFull = "FAULT_ALL_FULL"
        /// No space can be allocated for any read model.
        case modelsFull = "FAULT_MODELS_FULL"
    }

    let variables: [String: String]
    private let trigger: String
    private let journal: String

    init(_ kind: Kind, scratch: String) throws {
        trigger = scratch + "/fault.on"
        journal = scratch + "/fault.journal"
        let source = scratch + "/fault.c"
        let library = scratch + "/fault.so"
        try write(Self.source, toFile: source)
        let result = try run(
            "cc", ["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-D\(kind.rawValue)", "-o", library, source, "-ldl"],
            scratch: scratch)
        guard result.status == .exited(0) else { throw SystemFailure("cc: \(result.errorOutput)", code: 0) }
        variables = ["LD_PRELOAD": library, "FAULT_TRIGGER": trigger, "FAULT_JOURNAL": journal]
    }

    func begin() throws { try write("", toFile: trigger) }
    func end() { removeTree(trigger) }

    /// What happened to the log since the fault first struck: F for a failed call, S for a sync that was asked for later.
    var calls: String { (try? text(ofFile: journal)) ?? "" }

    private static let source = #"""
        #define _GNU_SOURCE
        #include <dlfcn.h>
        #include <errno.h>
        #include <fcntl.h>
        #include <stdio.h>
        #include <stdlib.h>
        #include <string.h>
        #include <unistd.h>

        static int ends_with(int fd, const char *end) {
            char link[64], path[4096];
            snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
            ssize_t count = readlink(link, path, sizeof path - 1);
            if (count < 0) return 0;
            path[count] = 0;
            size_t length = strlen(end);
            return (size_t)count >= length && strcmp(path + count - length, end) == 0;
        }
        static int is_on(void) {
            const char *trigger = getenv("FAULT_TRIGGER");
            return trigger != NULL && access(trigger, F_OK) == 0;
        }
        static int struck;
        static void note(const char *what) {
            int fd = open(getenv("FAULT_JOURNAL"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
            if (write(fd, what, 1) != 1) abort();
            close(fd);
        }

        #if defined(FAULT_SYNC) || defined(FAULT_META)
        int fdatasync(int fd) {
            int (*original)(int) = dlsym(RTLD_NEXT, "fdatasync");
            if (ends_with(fd, "/log/data.mdb")) {
                if (struck) note("S");
        #ifdef FAULT_SYNC
                /* Once, as the kernel does it: the next call would say that all is well. */
                if (!struck && is_on()) {
                    struck = 1;
                    note("F");
                    errno = EIO;
                    return -1;
                }
        #endif
            }
            return original(fd);
        }
        #endif

        #ifdef FAULT_META
        static ssize_t write_meta(int fd, const void *bytes, size_t count, off_t offset, const char *name) {
            ssize_t (*original)(int, const void *, size_t, off_t) = dlsym(RTLD_NEXT, name);
            ssize_t written = original(fd, bytes, count, offset);
            if (!struck && count == 120 && offset < 8192 && ends_with(fd, "/log/data.mdb") && is_on()) {
                struck = 1;
                note("F");
                errno = EIO;
                return -1;
            }
            return written;
        }
        ssize_t pwrite(int fd, const void *bytes, size_t count, off_t offset) {
            return write_meta(fd, bytes, count, offset, "pwrite");
        }
        ssize_t pwrite64(int fd, const void *bytes, size_t count, off_t offset) {
            return write_meta(fd, bytes, count, offset, "pwrite64");
        }
        #endif

        #if defined(FAULT_LOG_FULL) || defined(FAULT_ALL_FULL) || defined(FAULT_MODELS_FULL)
        static int is_full(int fd) {
        #if defined(FAULT_LOG_FULL)
            return ends_with(fd, "/log/data.mdb");
        #elif defined(FAULT_ALL_FULL)
            return ends_with(fd, "/data.mdb");
        #else
            return ends_with(fd, "/data.mdb") && !ends_with(fd, "/log/data.mdb") && !ends_with(fd, "/index/data.mdb");
        #endif
        }
        static int allocate(int fd, off_t offset, off_t length, const char *name) {
            int (*original)(int, off_t, off_t) = dlsym(RTLD_NEXT, name);
            if (is_full(fd) && is_on()) return ENOSPC;
            return original(fd, offset, length);
        }
        int posix_fallocate(int fd, off_t offset, off_t length) { return allocate(fd, offset, length, "posix_fallocate"); }
        int posix_fallocate64(int fd, off_t offset, off_t length) { return allocate(fd, offset, length, "posix_fallocate64"); }
        #endif

        /* Each kind uses some of these. */
        __attribute__((unused)) static void *uses[] = {(void *)ends_with, (void *)is_on, (void *)note, &struck};
        """#
}
