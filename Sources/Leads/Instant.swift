/// A moment in time: microseconds since 1970-01-01T00:00:00Z, leap seconds not counted.
///
/// It promises that every value made by a parser of this module lies within the years 0000 to 9999 UTC, so that it can
/// be written as RFC 3339 again. Wall clocks are not read here: instants enter as values at the edge.
package struct Instant: Hashable, Sendable, BitwiseCopyable {
    package var microseconds: Int64

    @inlinable
    package init(microseconds: Int64) {
        self.microseconds = microseconds
    }

    @usableFromInline package static let microsecondsPerSecond: Int64 = 1_000_000
    @usableFromInline package static let microsecondsPerDay: Int64 = 86_400_000_000

    /// 0000-01-01T00:00:00Z.
    package static let earliest = Instant(microseconds: -62_167_219_200_000_000)
    /// 9999-12-31T23:59:59.999999Z.
    package static let latest = Instant(microseconds: 253_402_300_799_999_999)
}

extension Instant: Comparable {
    @inlinable
    package static func < (left: Instant, right: Instant) -> Bool {
        left.microseconds < right.microseconds
    }
}

// MARK: - Calendar (UTC)

extension Instant {
    /// Midnight UTC at the start of a calendar date.
    package init(startOf date: CivilDate) {
        self.init(microseconds: Int64(date.dayNumber) * Instant.microsecondsPerDay)
    }

    /// Days since 1970-01-01, rounded towards the past, so that an instant before 1970 falls on its own day too.
    package var dayNumber: Int {
        var (days, rest) = microseconds.quotientAndRemainder(dividingBy: Instant.microsecondsPerDay)
        if rest < 0 {
            days -= 1
            rest += Instant.microsecondsPerDay
        }
        return Int(days)
    }

    /// The calendar date in UTC.
    package var date: CivilDate { CivilDate(dayNumber: dayNumber) }

    package var startOfDay: Instant {
        Instant(microseconds: Int64(dayNumber) * Instant.microsecondsPerDay)
    }

    package var startOfMonth: Instant { Instant(startOf: date.startOfMonth) }

    /// The end of this instant's month, as the half-open periods of reports want it.
    package var startOfNextMonth: Instant { Instant(startOf: date.startOfNextMonth) }

    /// The month in UTC, `2018-01`.
    package var monthText: String { date.monthText }

    /// The exact time from `earlier` to this instant, in microseconds; negative if `earlier` is the later one.
    @inlinable
    package func microseconds(since earlier: Instant) -> Int64 {
        microseconds - earlier.microseconds
    }

    /// This instant moved by whole microseconds; stays at the end of the range instead of overflowing.
    package func advanced(byMicroseconds delta: Int64) -> Instant {
        let (sum, overflow) = microseconds.addingReportingOverflow(delta)
        return Instant(microseconds: overflow ? (delta < 0 ? .min : .max) : sum)
    }
}

/// A date of the proleptic Gregorian calendar, years 0000 to 9999 where parsed.
package struct CivilDate: Hashable, Sendable, BitwiseCopyable {
    package let year: Int
    package let month: Int
    package let day: Int

    /// Nil if there is no such date, as 2018-02-29.
    package init?(year: Int, month: Int, day: Int) {
        guard (0...9999).contains(year), (1...12).contains(month),
            day >= 1, day <= CivilDate.daysIn(month: month, year: year)
        else { return nil }
        self.init(uncheckedYear: year, month: month, day: day)
    }

    init(uncheckedYear year: Int, month: Int, day: Int) {
        self.year = year
        self.month = month
        self.day = day
    }

    /// The date that many days after 1970-01-01.
    ///
    /// Counts in eras of 400 years that start on 1 March, where the leap day comes last and every era is alike
    /// (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days).
    package init(dayNumber: Int) {
        let shifted = dayNumber + 719_468
        let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shiftedMonth = (5 * dayOfYear + 2) / 153
        let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
        self.init(
            uncheckedYear: yearOfEra + era * 400 + (month <= 2 ? 1 : 0),
            month: month,
            day: dayOfYear - (153 * shiftedMonth + 2) / 5 + 1)
    }

    /// Days since 1970-01-01 (Hinnant's days_from_civil).
    package var dayNumber: Int {
        let shiftedYear = month <= 2 ? year - 1 : year
        let era = (shiftedYear >= 0 ? shiftedYear : shiftedYear - 399) / 400
        let yearOfEra = shiftedYear - era * 400
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
        return era * 146_097 + dayOfEra - 719_468
    }

    package var startOfMonth: CivilDate { CivilDate(uncheckedYear: year, month: month, day: 1) }

    package var startOfNextMonth: CivilDate {
        month == 12
            ? CivilDate(uncheckedYear: year + 1, month: 1, day: 1)
            : CivilDate(uncheckedYear: year, month: month + 1, day: 1)
    }

    /// The difference of two calendar dates in days: -2 from 2018-03-08 to 2018-03-06, whatever the times of day.
    package static func days(from first: CivilDate, to second: CivilDate) -> Int {
        second.dayNumber - first.dayNumber
    }

    package static func daysIn(month: Int, year: Int) -> Int {
        switch month {
        case 2: (year % 4 == 0 && year % 100 != 0) || year % 400 == 0 ? 29 : 28
        case 4, 6, 9, 11: 30
        default: 31
        }
    }
}

extension CivilDate: Comparable {
    package static func < (left: CivilDate, right: CivilDate) -> Bool {
        left.dayNumber < right.dayNumber
    }
}
