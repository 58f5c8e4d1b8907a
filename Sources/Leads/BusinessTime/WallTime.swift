/// What a calendar and a clock on a wall show together: a local date and time of day, of no zone yet.
///
/// It is counted in microseconds from 1970-01-01T00:00:00 as the wall shows it, every day having 24 hours: so wall times
/// compare and subtract like instants, but the difference of two is not the time that went by between them.
package struct WallTime: Hashable, Sendable, BitwiseCopyable {
    package var microseconds: Int64

    package init(microseconds: Int64) {
        self.microseconds = microseconds
    }

    package init(_ date: CivilDate, _ time: TimeOfDay = .midnight) {
        microseconds = Int64(date.dayNumber) * Instant.microsecondsPerDay + time.microseconds
    }

    /// Days since 1970-01-01.
    package var dayNumber: Int {
        Int(microseconds.flooredQuotientAndRemainder(dividingBy: Instant.microsecondsPerDay).quotient)
    }

    package var date: CivilDate { CivilDate(dayNumber: dayNumber) }

    package var weekday: Weekday { Weekday(dayNumber: dayNumber) }

    /// Microseconds since midnight.
    package var microsecondOfDay: Int64 {
        microseconds.flooredQuotientAndRemainder(dividingBy: Instant.microsecondsPerDay).remainder
    }
}

extension WallTime: Comparable {
    package static func < (left: WallTime, right: WallTime) -> Bool { left.microseconds < right.microseconds }
}

/// A day of the week; ISO 8601 starts it on Monday.
package enum Weekday: Int, CaseIterable, Hashable, Sendable {
    case monday, tuesday, wednesday, thursday, friday, saturday, sunday

    /// The weekday of a day counted from 1970-01-01, which was a Thursday.
    package init(dayNumber: Int) {
        self = Weekday.allCases[(dayNumber + 3).flooredQuotientAndRemainder(dividingBy: 7).remainder]
    }
}

/// A time of day from 00:00 to 24:00, both included, to the second. 24:00 is where the last interval of a day ends.
package struct TimeOfDay: Hashable, Sendable, BitwiseCopyable {
    /// Seconds since midnight, 0 to 86,400.
    package let seconds: Int

    /// Nil unless it lies within 00:00 to 24:00.
    package init?(seconds: Int) {
        guard (0...86_400).contains(seconds) else { return nil }
        self.seconds = seconds
    }

    /// Nil if there is no such time: 24:00:00 is one, 24:00:01 and 09:60 are not.
    package init?(hour: Int, minute: Int = 0, second: Int = 0) {
        guard (0...24).contains(hour), (0...59).contains(minute), (0...59).contains(second) else { return nil }
        self.init(seconds: (hour * 60 + minute) * 60 + second)
    }

    private init(unchecked seconds: Int) {
        self.seconds = seconds
    }

    package static let midnight = TimeOfDay(unchecked: 0)
    package static let endOfDay = TimeOfDay(unchecked: 86_400)

    var microseconds: Int64 { Int64(seconds) * Instant.microsecondsPerSecond }
}

extension TimeOfDay: Comparable {
    package static func < (left: TimeOfDay, right: TimeOfDay) -> Bool { left.seconds < right.seconds }
}
