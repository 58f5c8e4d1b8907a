/// How a clock of a lead stands at an instant.
package struct ClockStatus: Sendable, Equatable {
    package enum State: Sendable, Equatable {
        case running, paused
        /// By an end of the lead; reopening resumes it.
        case stopped
        /// An answer is known, in time or not.
        case answered
    }

    package var clock: ClockKind
    /// Of a cadence, from 1.
    package var attempt: Int?
    package var state: State
    /// The position of the event that started it.
    package var cause: UInt64
    package var start: Instant
    package var terms: ClockEntry.Terms
    /// Nil: not within 4,000 days, or it does not run. After a breach the instant of that.
    package var due: Instant?
    package var isBreached: Bool
    package var elapsed: ResponseClock.Elapsed
}

extension ClockBook {
    /// The clocks of a lead that the log says were started, and that are neither met nor stopped for good.
    package func clocks(of lead: RoutingKey, at now: Instant) -> [ClockStatus] {
        guard let lead = self.lead(lead) else { return [] }
        return lead.clocks.compactMap { record in
            guard let terms = record.terms, !record.isMetLate else { return nil }
            let count = record.count(absences)
            let state: ClockStatus.State =
                switch record.state {
                case _ where record.answer != nil: .answered
                case .running: .running
                case .paused: .paused
                case .stopped: .stopped
                }
            return ClockStatus(
                clock: record.clock, attempt: record.attempt > 0 ? record.attempt : nil, state: state,
                cause: record.cause, start: record.start, terms: terms.stored, due: record.breachedAt ?? count.due,
                isBreached: record.breachedAt != nil, elapsed: count.elapsed(at: now))
        }
    }

    /// The instant at which so many percent of a running clock's target have passed: when a pool that pushes opens to claims.
    /// Nil without such a clock, while it is paused or stopped with time left, and where there is none within 4,000 days.
    package func instant(ofPercent percent: Int, of clock: ClockKind, _ lead: RoutingKey) -> Instant? {
        guard let lead = self.lead(lead), let index = lead.live(clock) else { return nil }
        return lead.clocks[index].count(absences).instant(ofPercent: percent)
    }

    /// When a paused clock will be due if it goes on at an instant. Nil as `ClockStatus.due` is.
    package func due(ofResumed clock: ClockKind, _ lead: RoutingKey, at instant: Instant) -> Instant? {
        guard let lead = self.lead(lead), let index = lead.live(clock) else { return nil }
        var record = lead.clocks[index]
        record.isResumed(at: instant)
        return record.breachedAt ?? record.count(absences).due
    }

    func lead(_ key: RoutingKey) -> LeadClocks? { slot(of: key).flatMap { slots[Int($0)].lead } }
}
