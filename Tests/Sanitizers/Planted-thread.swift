import Glibc
import Synchronization

// Two threads and a variable with no lock between them: what the thread sanitizer must report. And beside it the same with a Mutex
// that both are waiting for all the time, of which it must say nothing (see MutexForTSan.c): this prints its sum, 200,000.

nonisolated(unsafe) var unguarded = 0

final class Guarded: Sendable {
    let value = Mutex(0)
}

@main enum Planted {
    static let guarded = Guarded()

    static func main() {
        var threads = [pthread_t(), pthread_t()]
        for index in threads.indices {
            pthread_create(
                &threads[index], nil,
                { _ in
                    for _ in 0..<100_000 {
                        unguarded += 1
                        Planted.guarded.value.withLock { $0 += 1 }
                    }
                    return nil
                }, nil)
        }
        for thread in threads { pthread_join(thread, nil) }
        print(guarded.value.withLock { $0 })
    }
}
