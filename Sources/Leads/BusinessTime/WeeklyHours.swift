/// One opening of a week: on `weekday` from `start` until just before `end`, as the wall shows it.
package struct OpenInterval: Hashable, Sendable {
    package var weekday: Weekday
    package var start: TimeOfDay
    package var end: TimeOfDay

    package init(_ weekday: Weekday, _ start: TimeOfDay, _ end: TimeOfDay) {
        self.weekday = weekday
        self.start = start
        self.end = end
    }
}

/// The openings of a week that repeats for ever on the wall: how long is open between two wall times, and where an amount of
/// open time is reached, both at the cost of a search among one week's openings, however long the span.
///
/// Wall times count in microseconds from 1970-01-01T00:00:00. Amounts count from the Monday before, 1969-12-29.
///
/// Invariant W1: the openings are ascending, none touches the next, and there is at least one.
struct WeeklyHours: Hashable, Sendable {
    struct Opening: Hashable, Sendable {
        /// Microseconds since Monday 00:00, half open.
        var start: Int64
        var end: Int64
        /// What is open in the week before `start`.
        var openBefore: Int64
    }

    let openings: [Opening]
    /// Microseconds; more than 0.
    let openPerWeek: Int64

    static let microsecondsPerWeek = 7 * Instant.microsecondsPerDay
    /// From the Monday on which the count of weeks begins to 1970-01-01.
    private static let sinceMonday = 3 * Instant.microsecondsPerDay

    /// The intervals may come in any order and overlap. Each starts before it ends, and there is at least one.
    init(_ intervals: [OpenInterval]) {
        precondition(!intervals.isEmpty && intervals.allSatisfy { $0.start < $0.end })
        let spans = intervals.map { interval in
            let day = Int64(interval.weekday.rawValue) * Instant.microsecondsPerDay
            return (start: day + interval.start.microseconds, end: day + interval.end.microseconds)
        }
        var openings: [Opening] = []
        var open: Int64 = 0
        for span in spans.sorted(by: { ($0.start, $0.end) < ($1.start, $1.end) }) {
            if let last = openings.last, span.start <= last.end {
                if span.end > last.end {
                    open += span.end - last.end
                    openings[openings.count - 1].end = span.end
                }
            } else {
                openings.append(Opening(start: span.start, end: span.end, openBefore: open))
                open += span.end - span.start
            }
        }
        self.openings = openings
        openPerWeek = open
    }

    var neverCloses: Bool { openPerWeek == WeeklyHours.microsecondsPerWeek }

    /// Open microseconds up to `wall`.
    func open(until wall: Int64) -> Int64 {
        let (week, rest) = place(of: wall)
        var open = week * openPerWeek
        if let opening = openings.lastElement(where: { $0.start <= rest }) {
            open += opening.openBefore + min(rest, opening.end) - opening.start
        }
        return open
    }

    /// The first wall time until which `amount` is open.
    func wall(reaching amount: Int64) -> Int64 {
        // The amount left in its week is 1 to all of it: at 0 the first wall time is in the week before.
        let (week, before) = (amount - 1).flooredQuotientAndRemainder(dividingBy: openPerWeek)
        let opening = openings.lastElement(where: { $0.openBefore <= before })!
        return week * WeeklyHours.microsecondsPerWeek + opening.start + (before + 1 - opening.openBefore)
            - WeeklyHours.sinceMonday
    }

    func isOpen(at wall: Int64) -> Bool {
        let (_, rest) = place(of: wall)
        guard let opening = openings.lastElement(where: { $0.start <= rest }) else { return false }
        return rest < opening.end
    }

    /// Where the opening around `wall` ends; the end of the week where it goes on in the next.
    /// `wall` itself where it is closed.
    func end(ofOpeningAt wall: Int64) -> Int64 {
        let (_, rest) = place(of: wall)
        guard let opening = openings.lastElement(where: { $0.start <= rest }), rest < opening.end else { return wall }
        return wall + opening.end - rest
    }

    private func place(of wall: Int64) -> (week: Int64, rest: Int64) {
        let (week, rest) = (wall + WeeklyHours.sinceMonday).flooredQuotientAndRemainder(
            dividingBy: WeeklyHours.microsecondsPerWeek)
        return (week, rest)
    }
}

extension Array {
    /// How many elements stand before the first that is not so; those that are stand before those that are not.
    func prefixCount(where isSo: (Element) -> Bool) -> Int {
        var low = 0
        var high = count
        while low < high {
            let middle = (low + high) / 2
            if isSo(self[middle]) { low = middle + 1 } else { high = middle }
        }
        return low
    }

    /// The last element that is so; those that are stand before those that are not.
    func lastElement(where isSo: (Element) -> Bool) -> Element? {
        let count = prefixCount(where: isSo)
        return count == 0 ? nil : self[count - 1]
    }
}
