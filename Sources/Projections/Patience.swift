import Synchronization

/// For how long a read model may be behind and still step back for those who append.
///
/// ```
///   calm:   a burst may hold it back for `calm` ----> overdue, comes forward
///                                                           |
///   alert:  for `alert` <-----------------------------------+
///           until it was not overdue for `calmsAfter`
/// ```
///
/// A burst is over before it is noticed, so nobody has to be slowed down for it. A load that lasts would leave the model behind for
/// as long as it lasts: under one the model is kept near the end, and who appends gets what that leaves.
final class Patience: Sendable {
    /// Nanoseconds.
    struct Bounds: Sendable {
        var calm = ProjectionLimits.calmNanoseconds
        var alert = ProjectionLimits.alertNanoseconds
        var calmsAfter = ProjectionLimits.calmsAfterNanoseconds

        static let endless = Bounds(calm: .max, alert: .max, calmsAfter: 0)
        static let none = Bounds(calm: 0, alert: 0, calmsAfter: 0)
    }

    private struct State {
        /// An end of the log, and when it was that. What is below it and not taken in has waited since then at least.
        var end: UInt64 = 0
        var at: UInt64 = 0
        var alertUntil: UInt64 = 0
    }

    private let bounds: Bounds
    private let state = Mutex(State())

    init(_ bounds: Bounds = Bounds()) { self.bounds = bounds }

    /// Whether the model is overdue. To be asked often: of the age of what waits it knows between the half and the whole.
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
            let bound = now < state.alertUntil ? bounds.alert : bounds.calm
            // Another thread may have looked at the clock before the one that set `at`.
            guard now > state.at, now - state.at > bound else { return false }
            state.alertUntil = now + bounds.calmsAfter
            return true
        } ?? false
    }
}
