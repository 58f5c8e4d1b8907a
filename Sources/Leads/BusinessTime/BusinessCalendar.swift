/// Why hours make no calendar.
package enum BusinessCalendarProblem: Error, Equatable, Sendable {
    /// There is no interval at all: nothing would ever be due.
    case empty
    /// The interval at this place of the list does not start before it ends. A night shift is two entries.
    case interval(Int)

    package var message: String {
        switch self {
        case .empty: "a calendar needs at least one interval in which it is open"
        case .interval: "an interval must start before it ends, within one day; a night shift is two entries"
        }
    }
}

/// When somebody works: weekly hours in a time zone, holidays, and leave (SEMANTICS 6).
///
/// It is open at an instant iff the wall time there lies in one of its intervals [start, end), the date on the wall is no
/// holiday, and the instant lies in no leave. So an hour that clocks show twice counts twice, and one that they skip not at all.
///
///     let office = try BusinessCalendar(in: amsterdam, open: weekdays9to17, holidays: [newYear])
///     office.business(from: captured, to: contacted)      // microseconds
///     office.due(from: captured, target: 4 * 3_600_000_000)
///
/// All arithmetic is on integers and exact for the years 0000 to 9999; an instant outside counts as the nearest one inside.
/// The cost of each question is a few searches for each change of the zone's offset and each leave within the span, two a year
/// in most zones: it does not grow with the hours, days or holidays in it.
///
/// Invariant L1: `leave` is ascending, none is empty, and none touches the next.
package struct BusinessCalendar: Hashable, Sendable {
    package let zone: TimeZoneRules
    private let hours: WallHours
    private var leave: [Range<Instant>] = []

    /// Days within which a due instant or an opening must lie, and after which there is none (SEMANTICS 6).
    package static let horizonDays: Int64 = 4_000

    /// - Parameters:
    ///   - intervals: in any order; those that overlap or touch unite.
    ///   - holidays: dates on the wall, in any order; a date twice is one.
    package init(
        in zone: TimeZoneRules, open intervals: [OpenInterval], holidays: some Sequence<CivilDate> = EmptyCollection()
    ) throws(BusinessCalendarProblem) {
        if intervals.isEmpty { throw .empty }
        if let wrong = intervals.firstIndex(where: { $0.start >= $0.end }) { throw .interval(wrong) }
        self.init(zone, WallHours(WeeklyHours(intervals), holidays: holidays))
    }

    private init(_ zone: TimeZoneRules, _ hours: WallHours) {
        self.zone = zone
        self.hours = hours
    }

    /// Open without end, 24x7: business time is the time that goes by.
    package static let always = BusinessCalendar(
        .utc,
        WallHours(
            WeeklyHours(Weekday.allCases.map { OpenInterval($0, .midnight, .endOfDay) }), holidays: EmptyCollection()))

    /// The same calendar, closed during `absences` too: a member's own.
    package func closed(during absences: some Sequence<Range<Instant>>) -> BusinessCalendar {
        var calendar = self
        calendar.leave = []
        let all = leave + absences.filter { !$0.isEmpty }
        for absence in all.sorted(by: { $0.lowerBound < $1.lowerBound }) {
            if let last = calendar.leave.last, absence.lowerBound <= last.upperBound {
                calendar.leave[calendar.leave.count - 1] =
                    last.lowerBound..<max(last.upperBound, absence.upperBound)
            } else {
                calendar.leave.append(absence)
            }
        }
        return calendar
    }
}

// MARK: - Questions

extension BusinessCalendar {
    package func isOpen(at instant: Instant) -> Bool {
        let instant = instant.clamped
        if let absence = leave.lastElement(where: { $0.lowerBound <= instant }), instant < absence.upperBound {
            return false
        }
        return hours.isOpen(at: zone.wallTime(at: instant).microseconds)
    }

    /// Microseconds that are open from `start` until just before `end`; 0 where `end` is not after `start`.
    package func business(from start: Instant, to end: Instant) -> Int64 {
        var open: Int64 = 0
        forEachPiece(from: start.clamped, to: end.clamped) { piece in
            open += hours.open(until: piece.wallEnd) - hours.open(until: piece.wallStart)
            return true
        }
        return open
    }

    /// The first instant from `start` on until which `target` microseconds of business time have gone by since `start`, which is
    /// `start` itself where the target is not more than 0. Nil if there is none within 4,000 days or before the year 10000.
    package func due(from start: Instant, target: Int64) -> Instant? {
        let start = start.clamped
        guard target > 0 else { return start }
        return instant(reaching: target, from: start, limit: start.horizon)
    }

    /// The first instant after `instant` at which it opens, having been closed just before. Nil if there is none within 4,000
    /// days or before the year 10000.
    package func nextOpening(after instant: Instant) -> Instant? {
        let start = instant.clamped
        let limit = start.horizon
        guard let closed = closing(from: start, limit: limit) else { return nil }
        // Hours and leave begin and end on whole microseconds: what is open first is open for one of them at least.
        guard let open = self.instant(reaching: 1, from: closed, limit: limit) else { return nil }
        return Instant(microseconds: open.microseconds - 1)
    }

    /// The first instant from `instant` on at which it is closed. Nil if there is none within 4,000 days or before the year 10000.
    package func nextClosed(from instant: Instant) -> Instant? {
        closing(from: instant.clamped, limit: instant.clamped.horizon)
    }
}

extension Instant {
    fileprivate var horizon: Instant {
        advanced(byMicroseconds: BusinessCalendar.horizonDays * Instant.microsecondsPerDay).clamped
    }
}

// MARK: - Steps

extension BusinessCalendar {
    /// Microseconds, half open, without leave, in which the zone keeps one offset.
    private struct Piece {
        var start: Int64
        var end: Int64
        var offset: Int64

        var wallStart: Int64 { start + offset }
        var wallEnd: Int64 { end + offset }
    }

    private func instant(reaching target: Int64, from start: Instant, limit: Instant) -> Instant? {
        var left = target
        var found: Instant?
        forEachPiece(from: start, to: limit) { piece in
            let before = hours.open(until: piece.wallStart)
            let open = hours.open(until: piece.wallEnd) - before
            if left > open {
                left -= open
                return true
            }
            found = Instant(microseconds: hours.wall(reaching: before + left) - piece.offset)
            return false
        }
        return found
    }

    private func closing(from start: Instant, limit: Instant) -> Instant? {
        // As far as it is known to be open.
        var reached = start.microseconds
        var found: Instant?
        forEachPiece(from: start, to: limit) { piece in
            guard piece.start == reached else { return false }
            reached = piece.end
            guard let closed = hours.closing(from: piece.wallStart, before: piece.wallEnd) else { return true }
            found = Instant(microseconds: closed - piece.offset)
            return false
        }
        return found ?? (reached < limit.microseconds ? Instant(microseconds: reached) : nil)
    }

    /// The pieces of [start, end) in order, until `body` returns false. Both lie within the years 0000 to 9999.
    private func forEachPiece(from start: Instant, to end: Instant, _ body: (Piece) -> Bool) {
        var at = start.microseconds
        var next = leave.prefixCount { $0.upperBound <= start }
        while at < end.microseconds {
            var until = end.microseconds
            if next < leave.count {
                if leave[next].lowerBound.microseconds <= at {
                    at = leave[next].upperBound.microseconds
                    next += 1
                    continue
                }
                until = min(until, leave[next].lowerBound.microseconds)
            }
            let stretch = zone.stretch(at: Instant(microseconds: at).flooredSeconds)
            // Compared in seconds: the end of the last stretch is no microsecond that fits.
            if stretch.end <= Instant(microseconds: until).flooredSeconds {
                until = stretch.end * Instant.microsecondsPerSecond
            }
            guard body(Piece(start: at, end: until, offset: stretch.offsetMicroseconds)) else { return }
            at = until
        }
    }
}
