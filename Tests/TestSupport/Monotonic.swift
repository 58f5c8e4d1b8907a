import Glibc

/// Time for tests: it never goes back.
package enum Monotonic {
    package static func milliseconds() -> Int64 { microseconds() / 1_000 }

    package static func microseconds() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Int64(time.tv_sec) * 1_000_000 + Int64(time.tv_nsec) / 1_000
    }

    package static func sleep(microseconds: Int) {
        var time = timespec(tv_sec: microseconds / 1_000_000, tv_nsec: microseconds % 1_000_000 * 1_000)
        nanosleep(&time, nil)
    }

    /// Looks every few milliseconds whether `condition` holds.
    package static func wait(
        for what: String, milliseconds: Int64 = 10_000, until condition: () throws -> Bool
    ) throws {
        let deadline = self.milliseconds() + milliseconds
        while try !condition() {
            guard self.milliseconds() < deadline else { throw TimedOut(what) }
            sleep(microseconds: 2_000)
        }
    }
}

/// Runs each of `bodies` on a thread of its own and waits for all of them: what blocks on a socket must not hold a thread
/// of the cooperative pool.
package func onThreads(_ bodies: [@Sendable () -> Void]) {
    var threads: [pthread_t] = []
    for body in bodies {
        var thread = pthread_t()
        let code = pthread_create(
            &thread, nil,
            { argument in
                Unmanaged<Body>.fromOpaque(argument!).takeRetainedValue().run()
                return nil
            }, Unmanaged.passRetained(Body(run: body)).toOpaque())
        precondition(code == 0, "pthread_create: \(code)")
        threads.append(thread)
    }
    for thread in threads { pthread_join(thread, nil) }
}

private final class Body: Sendable {
    let run: @Sendable () -> Void
    init(run: @escaping @Sendable () -> Void) { self.run = run }
}
