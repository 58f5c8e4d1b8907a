/// Whether a member takes leads at an instant, and if not, why.
package enum Presence: Sendable, Equatable {
    case present
    /// The rule set says so.
    case inactive
    /// Nil: until somebody says so.
    case onLeave(until: Instant?)
    case paused(until: Instant?)
    case outOfHours

    package var word: String {
        switch self {
        case .present: "present"
        case .inactive: "inactive"
        case .onLeave: "on_leave"
        case .paused: "paused"
        case .outOfHours: "out_of_hours"
        }
    }

    package var until: Instant? {
        switch self {
        case .onLeave(let until), .paused(let until): until
        case .present, .inactive, .outOfHours: nil
        }
    }
}

extension RouterState {
    /// The weightiest reason of several, in the order of the cases.
    package func presence(
        of number: MemberNumber, _ member: Member, at instant: Instant, _ plan: RoutingPlan
    ) -> Presence {
        func end(_ microseconds: Int64) -> Instant? { microseconds == .max ? nil : Instant(microseconds: microseconds) }
        let book = members[number.index]
        if !member.isActive { return .inactive }
        let leaves = book.leaves.filter { $0.from <= instant.microseconds && instant.microseconds < $0.until }
        if let until = leaves.map(\.until).max() { return .onLeave(until: end(until)) }
        if book.isPaused(at: instant) { return .paused(until: book.pausedUntil.flatMap(end)) }
        return plan.environment.isOpen(member.calendar, instant) ? .present : .outOfHours
    }
}

extension Candidate {
    /// Every reason against them, as decisions write it: `leave open:12/12`.
    package var refusalText: String {
        var text = JSONText(bytes: [])
        appendRefusals(to: &text)
        // `"refused":"..."`
        return String(decoding: text.bytes.dropFirst(11).dropLast(), as: UTF8.self)
    }
}
