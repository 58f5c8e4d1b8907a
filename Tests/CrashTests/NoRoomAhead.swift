import TestSupport

/// A planted fault, to be preloaded: the log's file gets no room ahead of what is written, though it is told that it did. So a full
/// disk, or the limit of a file's length, is met in the middle of a commit.
enum NoRoomAhead {
    /// - Parameter claimsSuccess: whether a commit that failed is reported as a success.
    static func variables(_ library: String, claimsSuccess: Bool = false) -> [String: String] {
        ["LD_PRELOAD": library, "PLANT_CLAIMS_SUCCESS": claimsSuccess ? "1" : ""]
    }

    static func compile(to library: String, scratch: String) throws {
        try write(source, toFile: scratch + "/no-room-ahead.c")
        let result = try run(
            "cc",
            [
                "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o", library, scratch + "/no-room-ahead.c",
                "-ldl",
            ], scratch: scratch)
        guard result.status == .exited(0) else { throw SystemFailure("cc: \(result.errorOutput)", code: 0) }
    }

    private static let source = #"""
        #define _GNU_SOURCE
        #include <dlfcn.h>
        #include <fcntl.h>
        #include <limits.h>
        #include <stdio.h>
        #include <stdlib.h>
        #include <string.h>
        #include <unistd.h>

        static int is_log(int fd) {
            char link[64], path[PATH_MAX];
            snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
            ssize_t count = readlink(link, path, sizeof path - 1);
            path[count < 0 ? 0 : count] = 0;
            const char *end = "/log/data.mdb";
            return strlen(path) >= strlen(end) && strcmp(path + strlen(path) - strlen(end), end) == 0;
        }

        int posix_fallocate(int fd, off_t offset, off_t length) {
            int (*original)(int, off_t, off_t) = dlsym(RTLD_NEXT, "posix_fallocate");
            return is_log(fd) ? 0 : original(fd, offset, length);
        }

        int posix_fallocate64(int fd, off64_t offset, off64_t length) { return posix_fallocate(fd, offset, length); }

        int mdb_txn_commit(void *transaction) {
            int (*original)(void *) = dlsym(RTLD_NEXT, "mdb_txn_commit");
            int code = original(transaction);
            const char *claims = getenv("PLANT_CLAIMS_SUCCESS");
            return claims != NULL && claims[0] != 0 ? 0 : code;
        }

        """#
}
