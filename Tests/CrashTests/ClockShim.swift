import Glibc
import TestSupport

/// A library, compiled here and put before the daemon's with LD_PRELOAD, through which its wall clock is the test's. All
/// other clocks stay as they are.
final class ClockShim {
    let variables: [String: String]
    private let path: String
    /// What the library maps: nanoseconds that the clock stands at (0: it runs), then nanoseconds that are added to it.
    private let words: UnsafeMutablePointer<Int64>
    private static let bytes = 16

    init(scratch: String) throws {
        path = scratch + "/clock.words"
        let source = scratch + "/clock.c"
        let library = scratch + "/clock.so"
        try write([UInt8](repeating: 0, count: Self.bytes), toFile: path)
        try write(Self.source, toFile: source)
        let result = try run(
            "cc", ["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", library, source], scratch: scratch)
        guard result.status == .exited(0) else { throw SystemFailure("cc: \(result.errorOutput)", code: 0) }
        let descriptor = open(path, O_RDWR | O_CLOEXEC)
        guard descriptor >= 0 else { throw SystemFailure("open \(path)") }
        defer { close(descriptor) }
        let mapped = mmap(nil, Self.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0)
        guard let mapped, mapped != MAP_FAILED else { throw SystemFailure("mmap \(path)") }
        words = mapped.bindMemory(to: Int64.self, capacity: 2)
        variables = ["LD_PRELOAD": library, "CLOCK_WORDS": path]
    }

    deinit { munmap(words, Self.bytes) }

    /// From now on the daemon's clock is this far from the true one.
    func set(secondsAhead: Int64) {
        words[1] = secondsAhead * 1_000_000_000
        words[0] = 0
    }

    /// From now on it stands where it is.
    func freeze() {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        words[0] = Int64(now.tv_sec) * 1_000_000_000 + Int64(now.tv_nsec) + words[1]
    }

    private static let source = #"""
        #define _GNU_SOURCE
        #include <fcntl.h>
        #include <stdint.h>
        #include <stdlib.h>
        #include <sys/mman.h>
        #include <sys/syscall.h>
        #include <time.h>
        #include <unistd.h>

        static volatile int64_t *words;

        __attribute__((constructor)) static void find(void) {
            int fd = open(getenv("CLOCK_WORDS"), O_RDONLY | O_CLOEXEC);
            if (fd < 0) abort();
            void *mapped = mmap(NULL, 16, PROT_READ, MAP_SHARED, fd, 0);
            if (mapped == MAP_FAILED) abort();
            close(fd);
            words = mapped;
        }

        int clock_gettime(clockid_t clock, struct timespec *time) {
            int result = syscall(SYS_clock_gettime, clock, time);
            if (result != 0 || clock != CLOCK_REALTIME || words == NULL) return result;
            int64_t now = words[0] ? words[0] : (int64_t)time->tv_sec * 1000000000 + time->tv_nsec + words[1];
            time->tv_sec = now / 1000000000;
            time->tv_nsec = now % 1000000000;
            return 0;
        }
        """#
}
