import Glibc
import Synchronization

/// Nanoseconds of the monotonic clock.
func monotonicNanoseconds() -> UInt64 { nanoseconds(of: CLOCK_MONOTONIC) }

/// Nanoseconds of processor time that this thread has taken.
func threadNanoseconds() -> UInt64 { nanoseconds(of: CLOCK_THREAD_CPUTIME_ID) }

private func nanoseconds(of clock: clockid_t) -> UInt64 {
    var time = timespec()
    clock_gettime(clock, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
}

/// SIGINT and SIGTERM end a benchmark by way of its errors, so that the daemon it started ends and its directory goes.
enum Interruption {
    private static let wasAsked = Atomic<Bool>(false)

    static func install() {
        // Stored once before any signal can come: a handler must not be the one that initializes a global.
        wasAsked.store(false, ordering: .relaxed)
        for number in [SIGINT, SIGTERM] {
            var action = sigaction()
            action.__sigaction_handler.sa_handler = { _ in Interruption.wasAsked.store(true, ordering: .relaxed) }
            // Without SA_RESTART, so that a wait ends with EINTR.
            sigaction(number, &action, nil)
        }
        signal(SIGPIPE, SIG_IGN)
    }

    static func check() throws(BenchError) {
        if wasAsked.load(ordering: .relaxed) { throw BenchError("interrupted") }
    }
}

/// Waits for `milliseconds`.
func pause(milliseconds: Int) throws(BenchError) {
    try Interruption.check()
    usleep(UInt32(milliseconds) * 1_000)
}
