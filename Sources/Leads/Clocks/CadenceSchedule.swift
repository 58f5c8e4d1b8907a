/// When attempts to reach a lead are due after its assignment: at 0, 1 h, 4 h, 1 d, 3 d, say (SEMANTICS 6).
package struct CadenceSchedule: Hashable, Sendable {
    /// Microseconds after the assignment, ascending.
    package let offsets: [Int64]

    /// Nil unless there is at least one offset, none is negative, and each is greater than the one before.
    package init?(offsets: [Int64]) {
        guard let first = offsets.first, first >= 0, zip(offsets, offsets.dropFirst()).allSatisfy(<) else { return nil }
        self.offsets = offsets
    }

    /// When each attempt is due, in business time of `calendar` (24x7 for wall time): the instant until which its offset has gone
    /// by. The attempt at 0 is due at once, even where the calendar is closed. Nil for those more than 4,000 days away.
    package func attempts(after assignment: Instant, on calendar: BusinessCalendar) -> [Instant?] {
        offsets.map { calendar.due(from: assignment, target: $0) }
    }
}
