import Synchronization

/// For how long a read model may be behind and still step back for those who append.
///
/// ```
///   calm:   a burst may hold it back for `calmNanoseconds` ----> overdue, comes forward
///                                                                      |
///   alert:  for `alertNanoseconds` <-----------------------------------+
///           until it was not overdue for `calmsAfterNanoseconds`
/// ```
///
/// A burst is over before it is noticed, so nobody has to be slowed down for it. A load that lasts would leave the model behind for
/// as long as it lasts: under one the model is kept near the end, and who appends gets what that leaves.
final class Patience: Sendable {
    private struct State {
        /// An end of the log, and when it was that. What is below it and not taken in has waited since then at least.
        var end: UInt64 = 0
        var at: UInt64 = 0
        var alertUntil: UInt64 = 0
    }

    private let state = Mutex(State())

    /// Whether the model is overdue. To be asked often: an age is found between the true one and twice that.
    ///
    /// It waits for nobody, since the appender asks: where another thread is asking, the answer is no.
    /// - Parameters:
    ///   - progress: what the model has taken in.
    ///   - end: the end of the log.
    ///   - now: on the monotonic clock, in nanoseconds.
    func isOver(progress: UInt64, end: UInt64, now: UInt64) -> Bool {
        state.withLockIfAvailable { state in
            if progress >= state.end {
                (state.end, state.at) = (end, now)
                return false
            }
            let bound =
                now < state.alertUntil ? ProjectionLimits.alertNanoseconds : ProjectionLimits.calmNanoseconds
            // Another thread may have looked at the clock before the one that set `at`.
            guard now > state.at, now - state.at > bound else { return false }
            state.alertUntil = now + ProjectionLimits.calmsAfterNanoseconds
            return true
        } ?? false
    }
}
