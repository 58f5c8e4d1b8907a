/// The offsets from UTC of one IANA time zone, at every instant that the ledger can hold.
///
/// It is made from the bytes of a TZif file (`init(tzif:)`) and says for each instant what a wall clock in the zone shows, and
/// for each wall time at which instants it is shown: once, twice where clocks go back, never where they go forward.
/// The value does not know its name, nor the version of the data it came from: who reads the file keeps both.
///
/// Invariants:
/// - Z1: `changes` are strictly ascending, and each changes the offset.
/// - Z2: `changes` are before `ruleFrom`, and an offset lies within -24:59:59 to 25:59:59.
package struct TimeZoneRules: Hashable, Sendable {
    /// From the second `at` (since 1970, UTC) on, the offset is this one.
    struct Change: Hashable, Sendable {
        var at: Int64
        var offsetSeconds: Int
    }

    let changes: [Change]
    /// In force before the first change.
    let firstOffsetSeconds: Int
    /// What goes on for ever from the second `ruleFrom` on; nil: the offset of the last change.
    let rule: YearlyRule?
    let ruleFrom: Int64

    init(changes: [Change], firstOffsetSeconds: Int, rule: YearlyRule?, ruleFrom: Int64) {
        var kept: [Change] = []
        kept.reserveCapacity(changes.count)
        for change in changes where change.offsetSeconds != kept.last?.offsetSeconds ?? firstOffsetSeconds {
            kept.append(change)
        }
        if rule != nil, kept.last?.at == ruleFrom { kept.removeLast() }
        self.changes = kept
        self.firstOffsetSeconds = firstOffsetSeconds
        self.rule = rule
        self.ruleFrom = ruleFrom
    }

    package static let utc = TimeZoneRules(changes: [], firstOffsetSeconds: 0, rule: nil, ruleFrom: .max)

    /// All offsets that a zone may have: a wall time is never further from its instants than this, in seconds.
    static let offsetRange = -89_999...93_599
}

// MARK: - From an instant to the wall

extension TimeZoneRules {
    /// Seconds that wall clocks in the zone are ahead of UTC.
    package func offsetSeconds(at instant: Instant) -> Int {
        stretch(at: instant.clamped.flooredSeconds).offsetSeconds
    }

    package func wallTime(at instant: Instant) -> WallTime {
        let instant = instant.clamped
        return WallTime(
            microseconds: instant.microseconds + stretch(at: instant.flooredSeconds).offsetMicroseconds)
    }

    /// A change of the offset: from the instant `at` on it is `after`. Offsets in seconds.
    package struct OffsetChange: Hashable, Sendable {
        package var at: Instant
        package var before: Int
        package var after: Int
    }

    /// All changes of the offset in `range`, in order.
    package func offsetChanges(in range: Range<Instant>) -> [OffsetChange] {
        var changes: [OffsetChange] = []
        let last = range.upperBound.clamped
        // The first second that is not before `range`, and the first that is not in it.
        var second = -(Instant(microseconds: -range.lowerBound.clamped.microseconds).flooredSeconds)
        let end = -(Instant(microseconds: -last.microseconds).flooredSeconds)
        guard second < end else { return [] }
        var before = stretch(at: second - 1).offsetSeconds
        while second < end {
            let stretch = stretch(at: second)
            if stretch.offsetSeconds != before {
                let at = Instant(microseconds: second * Instant.microsecondsPerSecond)
                changes.append(OffsetChange(at: at, before: before, after: stretch.offsetSeconds))
                before = stretch.offsetSeconds
            }
            second = stretch.end
        }
        return changes
    }
}

// MARK: - From the wall to instants

extension TimeZoneRules {
    /// The instants at which clocks in the zone show `wall`, in order: none where they skip it, two where they show it again.
    ///
    /// Instants outside the years 0000 to 9999 are none.
    package func instants(showing wall: WallTime) -> [Instant] {
        var instants: [Instant] = []
        let twoDays = 2 * Instant.microsecondsPerDay
        guard wall.microseconds > Instant.earliest.microseconds - twoDays,
            wall.microseconds < Instant.latest.microseconds + twoDays
        else { return [] }
        forEachStretch(near: wall) { stretch in
            let shown = Instant(microseconds: wall.microseconds - stretch.offsetMicroseconds)
            if stretch.contains(shown.flooredSeconds), shown == shown.clamped { instants.append(shown) }
            return true
        }
        return instants
    }

    /// The first instant at which clocks in the zone show `date` or a later one: where the local day starts, be it at midnight,
    /// at the end of a gap over midnight, or with the next day where the date itself is skipped (Apia, 2011-12-30).
    package func start(of date: CivilDate) -> Instant {
        let midnight = WallTime(date)
        var start: Int64?
        forEachStretch(near: midnight) { stretch in
            let shown = Instant(microseconds: midnight.microseconds - stretch.offsetMicroseconds)
            guard shown.flooredSeconds < stretch.end else { return true }
            start =
                stretch.contains(shown.flooredSeconds)
                ? shown.microseconds : stretch.start * Instant.microsecondsPerSecond
            return false
        }
        // The stretches reach 26 hours beyond midnight in UTC, and by then every zone shows the date.
        return Instant(microseconds: start ?? midnight.microseconds).clamped
    }

    /// The stretches in which clocks could show `wall`, in order, until `body` returns false.
    private func forEachStretch(near wall: WallTime, _ body: (Stretch) -> Bool) {
        let second = Instant(microseconds: wall.microseconds).flooredSeconds
        var at = second - Int64(TimeZoneRules.offsetRange.upperBound) - 1
        let end = second - Int64(TimeZoneRules.offsetRange.lowerBound) + 1
        while at <= end {
            let stretch = stretch(at: at)
            guard body(stretch) else { return }
            at = stretch.end
        }
    }
}

// MARK: - Stretches

extension TimeZoneRules {
    /// Seconds since 1970, half open, in which the offset is the same. The next stretch may have the same one again.
    struct Stretch: Equatable {
        var start: Int64
        var end: Int64
        var offsetSeconds: Int

        var offsetMicroseconds: Int64 { Int64(offsetSeconds) * Instant.microsecondsPerSecond }

        func contains(_ second: Int64) -> Bool { start <= second && second < end }
    }

    /// The stretch around a second of the years -1 to 10000.
    func stretch(at second: Int64) -> Stretch {
        if let rule, second >= ruleFrom {
            var stretch = rule.stretch(at: second)
            stretch.start = max(stretch.start, ruleFrom)
            return stretch
        }
        // How many changes are not after `second`.
        var low = 0
        var high = changes.count
        while low < high {
            let middle = (low + high) / 2
            if changes[middle].at <= second { low = middle + 1 } else { high = middle }
        }
        return Stretch(
            start: low == 0 ? .min : changes[low - 1].at,
            end: low < changes.count ? changes[low].at : rule == nil ? .max : ruleFrom,
            offsetSeconds: low == 0 ? firstOffsetSeconds : changes[low - 1].offsetSeconds)
    }
}

extension Instant {
    /// The nearest instant of the years 0000 to 9999: arithmetic on time zones and calendars is exact there, and what comes from
    /// `advanced(byMicroseconds:)` may lie anywhere.
    var clamped: Instant { min(max(self, .earliest), .latest) }

    /// Whole seconds since 1970, rounded towards the past.
    var flooredSeconds: Int64 {
        microseconds.flooredQuotientAndRemainder(dividingBy: Instant.microsecondsPerSecond).quotient
    }
}
