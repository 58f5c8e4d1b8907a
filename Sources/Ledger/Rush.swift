import Synchronization

/// The first seconds of a heavy load, which belong to those who append.
///
/// ```
///   events a second
///        ^        ______________________________
///        |       |       :                      |
///   bound|- - - -|- - - -:- - - - - - - - - - - |- - - - -
///        |_______|       :                      |______________
///                 held    followers follow again            after a pause the next rush may begin
/// ```
///
/// A thread that runs only where nobody else would still costs those who append a fifth: caches, memory, and that the kernel may
/// leave it a processor for up to a tick although others have work. So whoever follows and steps back (`WorkerThread.Priority`)
/// begins no transaction while a rush lasts, unless it is called forward; one that it was about to begin may still come. A load that
/// goes on is followed from then on, as it must; where the device stalls for longer than the pause, what comes after is another rush.
package final class Rush: Sendable {
    package struct Bounds: Sendable {
        /// What counts as a heavy load.
        package var eventsPerSecond: UInt64 = 20_000
        /// For how long followers stand still: a million events take two or three.
        package var nanosecondsMax: UInt64 = 3_000_000_000
        /// Without heavy load for so long, the next one is another rush.
        package var pauseNanoseconds: UInt64 = 1_000_000_000
        /// From one look at the load to the next.
        package var lookNanoseconds: UInt64 = 20_000_000
        /// After the last look at which the load was heavy, followers go on when nothing more was heard for so long. So seldom do
        /// those who stand still look for themselves whether they are wanted.
        package var silenceNanoseconds: UInt64 = 60_000_000

        package init() {}
    }

    private struct State {
        /// The last look, and the log's end at it.
        var lookedAt: UInt64 = 0
        var end: UInt64 = 0
        /// The heavy load: since when, and when it was seen last.
        var began: UInt64 = 0
        var seenAt: UInt64?
    }

    private let bounds: Bounds
    private let state: Mutex<State>
    private let until = Atomic<UInt64>(0)

    /// - Parameter end: the log's end now.
    package init(_ bounds: Bounds, end: UInt64) {
        self.bounds = bounds
        state = Mutex(State(end: end))
    }

    /// The log has grown. Called by the appender after each commit.
    /// - Parameter now: on the monotonic clock, in nanoseconds, as everywhere here.
    package func notice(end: UInt64, now: UInt64) {
        state.withLock { state in
            guard now >= state.lookedAt + bounds.lookNanoseconds else { return }
            let events = Double(end - state.end)
            let seconds = Double(now - state.lookedAt) / 1e9
            defer { (state.lookedAt, state.end) = (now, end) }
            guard events >= Double(bounds.eventsPerSecond) * seconds else { return }
            if state.seenAt.map({ now - $0 > bounds.pauseNanoseconds }) ?? true { state.began = now }
            state.seenAt = now
            until.store(
                min(state.began + bounds.nanosecondsMax, now + bounds.silenceNanoseconds), ordering: .relaxed)
        }
    }

    /// Until when who steps back is to stand still; nil while there is no rush. Then it may be longer still: ask again.
    package func end(after now: UInt64) -> UInt64? {
        let end = until.load(ordering: .relaxed)
        return end > now ? end : nil
    }
}
