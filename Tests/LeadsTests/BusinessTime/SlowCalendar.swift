import TestSupport

@testable import Leads

/// Business time as SEMANTICS 6 states it, by looking at every minute (or second) of a short time: nothing can change within
/// one, so each is open or closed as a whole. Only what was found is put together into runs.
struct SlowCalendar {
    struct Run {
        var start: Int64
        var end: Int64
        var isOpen: Bool
    }

    /// Seconds of offset at a second since 1970.
    var offset: (Int64) -> Int
    var intervals: [OpenInterval]
    var holidays: [Int]
    var leave: [Range<Instant>]
    /// Microseconds that divide all that the calendar and the zone are made of, leave apart.
    var unit: Int64

    func isOpen(at microseconds: Int64) -> Bool {
        let wall = microseconds + Int64(offset(floorDivision(microseconds, 1_000_000))) * 1_000_000
        let day = floorDivision(wall, 86_400_000_000)
        let second = (wall - day * 86_400_000_000) / 1_000_000
        if holidays.contains(Int(day)) { return false }
        if leave.contains(where: { $0.contains(Instant(microseconds: microseconds)) }) { return false }
        // Day 4 was a Monday.
        let weekday = (day - 4) - floorDivision(day - 4, 7) * 7
        return intervals.contains {
            $0.weekday.rawValue == weekday && $0.start.seconds <= second && second < $0.end.seconds
        }
    }

    /// What every step of [start, end) shows, none being longer than a unit; those that show the same in a row are one run.
    func runs(from start: Int64, to end: Int64) -> [Run] {
        let edges = leave.flatMap { [$0.lowerBound.microseconds, $0.upperBound.microseconds] }.sorted()
        var runs: [Run] = []
        var at = start
        while at < end {
            var next = min(end, (floorDivision(at, unit) + 1) * unit)
            if let edge = edges.first(where: { $0 > at }), edge < next { next = edge }
            let isOpen = isOpen(at: at)
            if let last = runs.last, last.isOpen == isOpen {
                runs[runs.count - 1].end = next
            } else {
                runs.append(Run(start: at, end: next, isOpen: isOpen))
            }
            at = next
        }
        return runs
    }

    private func floorDivision(_ number: Int64, _ divisor: Int64) -> Int64 {
        let quotient = number / divisor
        return number % divisor < 0 ? quotient - 1 : quotient
    }
}

extension [SlowCalendar.Run] {
    func business(from start: Int64, to end: Int64) -> Int64 {
        reduce(0) { $1.isOpen ? $0 + Swift.max(0, Swift.min($1.end, end) - Swift.max($1.start, start)) : $0 }
    }

    /// Nil if it is not within these runs.
    func due(from start: Int64, target: Int64) -> Int64? {
        if target <= 0 { return start }
        var left = target
        for run in self where run.isOpen && run.end > start {
            let from = Swift.max(run.start, start)
            if run.end - from >= left { return from + left }
            left -= run.end - from
        }
        return nil
    }

    func nextOpening(after instant: Int64) -> Int64? {
        var wasOpen = true
        for run in self where run.end > instant {
            if run.isOpen, !wasOpen { return run.start }
            wasOpen = run.isOpen
        }
        return nil
    }

    func nextClosed(from instant: Int64) -> Int64? {
        first { $0.end > instant && !$0.isOpen }.map { Swift.max($0.start, instant) }
    }
}
