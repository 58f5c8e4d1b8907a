/// When members were, are and will be on leave, for clocks that count a holder's hours.
///
/// Unlike the router, which asks only who is away now, it keeps leaves that are over: an hour that was leave stays no business
/// time. A few bytes for each leave there ever was.
struct Absences: Sendable, Equatable {
    private var ranges: [String: [Range<Instant>]] = [:]

    /// In the order in which they were announced; nil: never on leave.
    subscript(member: String) -> [Range<Instant>]? { ranges[member] }

    mutating func leave(_ member: String, from: Instant, until: Instant?) {
        let until = until ?? .latest
        guard from < until else { return }
        ranges[member, default: []].append(from..<until)
    }

    /// Leave that lies behind stays; what is left of the present one, and what was to come, is called off.
    mutating func end(_ member: String, at instant: Instant) {
        guard let known = ranges[member] else { return }
        let kept = known.compactMap { range -> Range<Instant>? in
            if range.lowerBound >= instant { return nil }
            return range.lowerBound..<min(range.upperBound, instant)
        }
        ranges[member] = kept.isEmpty ? nil : kept
    }
}
