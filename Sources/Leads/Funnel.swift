// One lead's way through the stages, as the funnel counts it, and what a horizon says about it.
//
// Rules:
//   later-means-earlier  A stage counts as reached when it or a later open stage was, and all of them by a win that was not
//                        revoked. A lost or disqualified lead has reached nothing by its end.
//   first-crossing       A crossing is the lead's first over all its cycles, at the earliest instant.
//   skipped-is-entered   A stage that was passed over is entered at the instant at which it was passed over, and is marked, so
//                        that it stays out of time in stage.
//   captured-is-itself   A lead begins with its capture, which nothing can skip: the stage `captured` is entered at the
//                        earliest capture even where a win is dated before that.

/// The earliest instants of one lead's stages. Hand in what happened, in any order; ask for crossings then.
///
/// A win that is revoked later must be handed in as such from the start: minima cannot be taken back. So keep the wins, and
/// compute the crossings of a lead anew when one of its wins changes.
package struct StageCrossings: Sendable {
    /// Earliest instants by the stage's raw value (1...15), `Int64.max` where there is none.
    private var own: InlineArray<16, Int64>
    /// The earliest win that is not revoked.
    private var win: Int64

    package init() {
        own = InlineArray(repeating: .max)
        win = .max
    }

    /// The lead crossed into an open stage, or was lost or disqualified.
    package mutating func reached(_ stage: Stage, at instant: Instant) {
        precondition(stage != .won, "a win is handed in with whether it is revoked")
        let index = Int(stage.rawValue)
        own[index] = min(own[index], instant.microseconds)
    }

    package mutating func won(at instant: Instant, isRevoked: Bool) {
        guard !isRevoked else { return }
        win = min(win, instant.microseconds)
    }

    package struct Crossing: Equatable, Sendable {
        package var at: Instant
        /// Passed over: it was entered only because a later stage was reached.
        package var isSkipped: Bool
    }

    /// When the lead entered a stage, or nil if it never did. Works for the open stages, `won`, `lost` and `disqualified`.
    package func crossing(_ stage: Stage) -> Crossing? {
        if stage == .won { return win == .max ? nil : Crossing(at: Instant(microseconds: win), isSkipped: false) }
        let itself = own[Int(stage.rawValue)]
        var entry = itself
        if stage.isOpen, stage != .captured || itself == .max {
            for later in Int(stage.rawValue) + 1..<Int(Stage.opportunity.rawValue) + 1 {
                entry = min(entry, own[later])
            }
            entry = min(entry, win)
        }
        guard entry != .max else { return nil }
        return Crossing(at: Instant(microseconds: entry), isSkipped: entry < itself)
    }

    package func hasReached(_ stage: Stage) -> Bool { crossing(stage) != nil }

    /// How long the lead stayed in an open stage, from its crossing to that of the next stage that it was itself in (or the
    /// win), in microseconds; nil where the stage was skipped or never entered, or the lead has not moved on since, or moved
    /// on at an earlier instant (a win dated before the capture).
    package func microsecondsInStage(_ stage: Stage) -> Int64? {
        guard stage.isOpen, let entry = crossing(stage), !entry.isSkipped else { return nil }
        var left = win
        for later in Int(stage.rawValue) + 1..<Int(Stage.opportunity.rawValue) + 1 { left = min(left, own[later]) }
        guard left != .max, left >= entry.at.microseconds else { return nil }
        return left - entry.at.microseconds
    }
}

/// How long a cohort is followed after its entry.
package struct Horizon: Hashable, Sendable {
    /// What a lead counts as, at an as-of instant.
    package enum Verdict: Equatable, Sendable {
        /// The lead's horizon has not passed yet: counted apart, whatever it did so far.
        case younger
        /// It got there in time.
        case within
        /// It got there too late or not at all.
        case outside
    }

    package var microseconds: Int64

    package init(microseconds: Int64) { self.microseconds = microseconds }

    /// Exact days of 86,400 seconds.
    package init(days: Int) { self.init(microseconds: Int64(days) * Instant.microsecondsPerDay) }

    /// Within the horizon: reached - entry <= horizon, also where it is negative.
    package func contains(_ reached: Instant, from entry: Instant) -> Bool {
        reached.microseconds(since: entry) <= microseconds
    }

    /// Younger than the horizon: as-of - entry < horizon.
    package func isYounger(_ entry: Instant, asOf: Instant) -> Bool {
        asOf.microseconds(since: entry) < microseconds
    }

    package func verdict(entry: Instant, reached: Instant?, asOf: Instant) -> Verdict {
        if isYounger(entry, asOf: asOf) { return .younger }
        if let reached, contains(reached, from: entry) { return .within }
        return .outside
    }
}
