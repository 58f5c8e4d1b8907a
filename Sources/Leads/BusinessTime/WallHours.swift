/// When a calendar is open on a wall whose clock is never changed: weekly hours, and the holidays on which they are void.
///
/// Both directions, from wall time to the amount open before it and back, cost a search among openings and one among holidays.
///
/// Invariant H1: `holidays` are ascending and each stands there once.
struct WallHours: Hashable, Sendable {
    private struct Holiday: Hashable, Sendable {
        /// Wall microseconds of its midnight.
        var start: Int64
        /// What the weekly hours have open on all holidays before this one.
        var lostBefore: Int64
        /// The amount that is open until `start`, holidays taken off.
        var openBefore: Int64

        var end: Int64 { start + Instant.microsecondsPerDay }
    }

    let week: WeeklyHours
    private let holidays: [Holiday]
    /// What the weekly hours have open on all holidays.
    private let lostInAll: Int64

    init(_ week: WeeklyHours, holidays dates: some Sequence<CivilDate>) {
        var holidays: [Holiday] = []
        var lost: Int64 = 0
        let days = Set(dates.lazy.map(\.dayNumber).filter(WallHours.days.contains))
        for day in days.sorted() {
            let start = Int64(day) * Instant.microsecondsPerDay
            let open = week.open(until: start)
            holidays.append(Holiday(start: start, lostBefore: lost, openBefore: open - lost))
            lost += week.open(until: start + Instant.microsecondsPerDay) - open
        }
        self.week = week
        self.holidays = holidays
        lostInAll = lost
    }

    /// Days that a wall can show within the years 0000 to 9999 UTC. Holidays elsewhere change nothing.
    private static let days = (Instant.earliest.dayNumber - 2)...(Instant.latest.dayNumber + 2)

    /// Open microseconds up to `wall`, counted as `WeeklyHours` does.
    func open(until wall: Int64) -> Int64 {
        let passed = holidays.prefixCount { $0.start < wall }
        if passed > 0, wall <= holidays[passed - 1].end { return holidays[passed - 1].openBefore }
        return week.open(until: wall) - lost(before: passed)
    }

    /// The first wall time until which `amount` is open.
    func wall(reaching amount: Int64) -> Int64 {
        // A holiday lies before that wall time iff less than `amount` is open when it starts.
        let passed = holidays.prefixCount { $0.openBefore < amount }
        return week.wall(reaching: amount + lost(before: passed))
    }

    func isOpen(at wall: Int64) -> Bool {
        guard week.isOpen(at: wall) else { return false }
        guard let holiday = holidays.lastElement(where: { $0.start <= wall }) else { return true }
        return wall >= holiday.end
    }

    /// The first closed wall time from `wall` on and before `end`.
    func closing(from wall: Int64, before end: Int64) -> Int64? {
        var wall = wall
        while wall < end {
            guard isOpen(at: wall) else { return wall }
            let next = holidays.prefixCount { $0.start <= wall }
            let holiday = next < holidays.count ? holidays[next].start : end
            // At most one step a week, and the first week that is not open throughout is the last.
            wall = min(holiday, week.neverCloses ? end : week.end(ofOpeningAt: wall))
        }
        return nil
    }

    private func lost(before holiday: Int) -> Int64 {
        holiday < holidays.count ? holidays[holiday].lostBefore : lostInAll
    }
}
