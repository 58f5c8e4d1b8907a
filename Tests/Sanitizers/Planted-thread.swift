import Glibc
import Synchronization

// What the thread sanitizer must and must not report. With the argument `fault`: two threads and a variable with no lock between
// them. Without it: the same with a Mutex that both are waiting for all the time (see MutexForTSan.c).

nonisolated(unsafe) var unguarded = 0

final class Guarded: Sendable {
    let value = Mutex(0)
}

@main enum Planted {
    static let guarded = Guarded()
    static let isFaulty = CommandLine.arguments.dropFirst().first == "fault"

    static func main() {
        var threads = [pthread_t(), pthread_t()]
        for index in threads.indices {
            pthread_create(
                &threads[index], nil,
                { _ in
                    for _ in 0..<100_000 {
                        if Planted.isFaulty { unguarded += 1 }
                        Planted.guarded.value.withLock { $0 += 1 }
                    }
                    return nil
                }, nil)
        }
        for thread in threads { pthread_join(thread, nil) }
        print(guarded.value.withLock { $0 })
    }
}
