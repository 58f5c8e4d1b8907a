// The rule at the end of a TZif file, in the notation of POSIX as RFC 8536 section 3.3.1 widens it: what the zone does after the
// last change that the file lists, for ever.
//
//     CET-1CEST,M3.5.0,M10.5.0/3        standard time CET, 1 h ahead of UTC; CEST, an hour more, from the last Sunday in March
//                                       at 02:00 of standard time to the last Sunday in October at 03:00 of daylight saving time
//     <+1030>-10:30<+11>-11,M10.1.0,M4.1.0
//     EET-2EEST,M3.4.4/50,M10.4.4/50    two hours into the second day after the fourth Thursday
//     <+0545>-5:45                      no daylight saving time
//
// Offsets there are positive in the west; ours are positive in the east.

/// A yearly rule: a standard offset, and perhaps daylight saving time between two days of each year.
struct YearlyRule: Hashable, Sendable {
    var standardOffsetSeconds: Int
    var daylight: Daylight?

    struct Daylight: Hashable, Sendable {
        var offsetSeconds: Int
        /// As the wall shows standard time.
        var start: Turn
        /// As the wall shows daylight saving time.
        var end: Turn
    }

    /// The moment of a year at which clocks are changed.
    struct Turn: Hashable, Sendable {
        var day: Day
        /// Seconds from that day's midnight, -167 to 167 hours.
        var seconds: Int
    }

    enum Day: Hashable, Sendable {
        /// `J60`: 1 to 365, 29 February not counted, so that 60 is always 1 March.
        case julian(Int)
        /// `59`: 0 to 365, 29 February counted.
        case ordinal(Int)
        /// `M3.5.0`: month, week 1 to 5 where 5 is the last, weekday from 0, a Sunday.
        case month(Int, week: Int, weekday: Int)

        func dayNumber(in year: Int) -> Int {
            let newYear = CivilDate(uncheckedYear: year, month: 1, day: 1).dayNumber
            switch self {
            case .julian(let day):
                return newYear + day - 1 + (day >= 60 && CivilDate.daysIn(month: 2, year: year) == 29 ? 1 : 0)
            case .ordinal(let day):
                return newYear + day
            case .month(let month, let week, let weekday):
                let first = CivilDate(uncheckedYear: year, month: month, day: 1).dayNumber
                // 1970-01-01 was a Thursday, 4 in this count.
                let firstWeekday = (first + 4).flooredQuotientAndRemainder(dividingBy: 7).remainder
                var day = first + (weekday + 7 - firstWeekday) % 7 + 7 * (week - 1)
                if day >= first + CivilDate.daysIn(month: month, year: year) { day -= 7 }
                return day
            }
        }
    }
}

extension YearlyRule {
    /// The stretch of one offset around a second since 1970, as far as it can be seen within two years.
    ///
    /// Daylight saving time lasts from each start to the next end. Where both fall on one second, those of the later year count,
    /// and within a year the end: so `EST5EDT,0/0,J365/25`, whose end is its next start, is daylight saving time for ever.
    func stretch(at second: Int64) -> TimeZoneRules.Stretch {
        guard let daylight else {
            return TimeZoneRules.Stretch(start: .min, end: .max, offsetSeconds: standardOffsetSeconds)
        }
        let day = second.flooredQuotientAndRemainder(dividingBy: 86_400).quotient
        let year = CivilDate(dayNumber: Int(day)).year
        var stretch = TimeZoneRules.Stretch(start: .min, end: .max, offsetSeconds: standardOffsetSeconds)
        // A turn lies within 9 days of its year, so the last one before `second` is of this year or the two before it.
        for year in (year - 2)...(year + 1) {
            let start = daylight.start.second(in: year, wallOffsetSeconds: standardOffsetSeconds)
            let end = daylight.end.second(in: year, wallOffsetSeconds: daylight.offsetSeconds)
            for (turn, offset) in [(start, daylight.offsetSeconds), (end, standardOffsetSeconds)] {
                if turn > second {
                    stretch.end = min(stretch.end, turn)
                } else if turn >= stretch.start {
                    stretch.start = turn
                    stretch.offsetSeconds = offset
                }
            }
        }
        // And the first one after it is of this year or the next, but where both of the next come before its first day.
        let horizon = CivilDate(uncheckedYear: year + 1, month: 12, day: 15).dayNumber
        stretch.end = min(stretch.end, Int64(horizon) * 86_400)
        return stretch
    }
}

extension YearlyRule.Turn {
    func second(in year: Int, wallOffsetSeconds: Int) -> Int64 {
        Int64(day.dayNumber(in: year)) * 86_400 + Int64(seconds) - Int64(wallOffsetSeconds)
    }
}

// MARK: - Reading

extension YearlyRule {
    /// Reads the rule that stands in `bytes[range]`, which holds at least one byte.
    init(_ bytes: [UInt8], in range: Range<Int>) throws(TimeZoneProblem) {
        var reader = RuleReader(bytes: bytes, at: range.lowerBound, end: range.upperBound)
        try reader.name()
        standardOffsetSeconds = try -reader.time(hoursMax: 24)
        guard reader.at < reader.end else { return }

        try reader.name()
        var offset = standardOffsetSeconds + 3_600
        if let next = reader.peek(), next != UInt8(ascii: ",") { offset = try -reader.time(hoursMax: 24) }
        try reader.take(",", "a comma and the start of daylight saving time")
        let start = try reader.turn()
        try reader.take(",", "a comma and the end of daylight saving time")
        let end = try reader.turn()
        guard reader.at == reader.end else { throw reader.problem("its end") }
        if offset != standardOffsetSeconds {
            daylight = Daylight(offsetSeconds: offset, start: start, end: end)
        }
    }
}

private struct RuleReader {
    let bytes: [UInt8]
    var at: Int
    let end: Int

    func peek() -> UInt8? { at < end ? bytes[at] : nil }

    func problem(_ expected: StaticStringText) -> TimeZoneProblem { TimeZoneProblem(.rule(expected), at: at) }

    mutating func take(_ byte: Unicode.Scalar, _ expected: StaticStringText) throws(TimeZoneProblem) {
        guard peek() == UInt8(ascii: byte) else { throw problem(expected) }
        at += 1
    }

    mutating func takes(_ byte: Unicode.Scalar) -> Bool {
        guard peek() == UInt8(ascii: byte) else { return false }
        at += 1
        return true
    }

    /// `CET`, or `<+0545>`: at least three characters.
    mutating func name() throws(TimeZoneProblem) {
        let isQuoted = takes("<")
        let start = at
        while let byte = peek(), RuleReader.isOfName(byte, isQuoted: isQuoted) { at += 1 }
        guard at - start >= 3 else { throw problem("an abbreviation of at least three characters") }
        if isQuoted { try take(">", "the > after the abbreviation") }
    }

    private static func isOfName(_ byte: UInt8, isQuoted: Bool) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"): true
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "+"), UInt8(ascii: "-"): isQuoted
        default: false
        }
    }

    /// `[+-]hh[:mm[:ss]]` in seconds.
    mutating func time(hoursMax: Int) throws(TimeZoneProblem) -> Int {
        let isNegative = takes("-")
        if !isNegative { _ = takes("+") }
        var seconds = try number(0...hoursMax, "hours") * 3_600
        if takes(":") {
            seconds += try number(0...59, "minutes") * 60
            if takes(":") { seconds += try number(0...59, "seconds") }
        }
        guard seconds <= hoursMax * 3_600 else { throw problem("a time within its bounds") }
        return isNegative ? -seconds : seconds
    }

    /// `J60`, `59` or `M3.5.0`, and perhaps `/time`; 02:00 where there is none.
    mutating func turn() throws(TimeZoneProblem) -> YearlyRule.Turn {
        let day: YearlyRule.Day
        if takes("M") {
            let month = try number(1...12, "a month from 1 to 12")
            try take(".", "a point and the week")
            let week = try number(1...5, "a week from 1 to 5")
            try take(".", "a point and the weekday")
            day = .month(month, week: week, weekday: try number(0...6, "a weekday from 0 to 6"))
        } else if takes("J") {
            day = .julian(try number(1...365, "a day from J1 to J365"))
        } else {
            day = .ordinal(try number(0...365, "Mm.w.d, Jn or a day from 0 to 365"))
        }
        return YearlyRule.Turn(day: day, seconds: takes("/") ? try time(hoursMax: 167) : 7_200)
    }

    mutating func number(_ range: ClosedRange<Int>, _ expected: StaticStringText) throws(TimeZoneProblem) -> Int {
        let start = at
        var number = 0
        while let byte = peek(), (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte), at - start < 3 {
            number = number * 10 + Int(byte - UInt8(ascii: "0"))
            at += 1
        }
        guard at > start, range.contains(number) else {
            at = start
            throw problem(expected)
        }
        return number
    }
}
