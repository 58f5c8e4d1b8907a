import Testing

@testable import Leads

/// Calendars by cases with known answers (SEMANTICS 11.5 and beyond). `BusinessCalendarModelTests` does random ones.
@Suite struct BusinessCalendarTests {
    private static let workdays: [Weekday] = [.monday, .tuesday, .wednesday, .thursday, .friday]

    private func calendar(
        _ zone: String, _ days: [Weekday], _ hours: (String, String)..., holidays: [String] = []
    ) throws -> BusinessCalendar {
        try BusinessCalendar(
            in: ZoneFiles.zone(zone),
            open: days.flatMap { day in hours.map { OpenInterval(day, time($0.0), time($0.1)) } },
            holidays: holidays.map { try date($0) })
    }

    /// The business time of a day on the wall, in microseconds.
    private func business(_ calendar: BusinessCalendar, on day: String) throws -> Int64 {
        let day = try date(day)
        return calendar.business(
            from: calendar.zone.start(of: day), to: calendar.zone.start(of: CivilDate(dayNumber: day.dayNumber + 1)))
    }

    // MARK: The oracles of SEMANTICS 11.5

    @Test func `Los Angeles with other hours each day opens and closes as known`() throws {
        let calendar = try BusinessCalendar(
            in: ZoneFiles.zone("America/Los_Angeles"),
            open: [
                OpenInterval(.monday, time("09:00"), time("17:00")), OpenInterval(.tuesday, .midnight, .endOfDay),
                OpenInterval(.wednesday, time("09:00"), time("17:00")),
                OpenInterval(.thursday, time("09:00"), time("12:00")),
                OpenInterval(.thursday, time("13:00"), time("17:00")),
                OpenInterval(.saturday, time("10:00"), time("14:00")),
            ])
        var at = try instant("2015-01-10T10:00:00Z")
        #expect(!calendar.isOpen(at: at))
        let expected = [
            ("10T18:00", "10T22:00"), ("12T17:00", "13T01:00"), ("13T08:00", "14T08:00"), ("14T17:00", "15T01:00"),
            ("15T17:00", "15T20:00"), ("15T21:00", "16T01:00"),
        ]
        for (opening, closing) in expected {
            let open = try #require(calendar.nextOpening(after: at))
            #expect(open.text == "2015-01-\(opening):00Z")
            at = try #require(calendar.nextClosed(from: open))
            #expect(at.text == "2015-01-\(closing):00Z")
            #expect(calendar.business(from: open, to: at) == at.microseconds(since: open))
        }
    }

    @Test(arguments: [
        ("08:00", "18:00", "17:00", "2026-03-03T11:00:00Z"), ("08:00", "18:00", "16:00", "2026-03-03T10:00:00Z"),
        ("09:00", "17:00", "16:00", "2026-03-03T12:00:00Z"),
        // All of it on the same day: due where the hours end, not where they begin again.
        ("09:00", "17:00", "13:00", "2026-03-02T17:00:00Z"),
    ])
    func `four hours go on the next day where the first one ends`(
        opens: String, closes: String, created: String, due: String
    ) throws {
        let calendar = try calendar("UTC", BusinessCalendarTests.workdays, (opens, closes))
        // A Monday.
        let start = try instant("2026-03-02T\(created):00Z")
        #expect(calendar.due(from: start, target: 4 * hour)?.text == due)
        #expect(try calendar.business(from: start, to: instant(due)) == 4 * hour)
    }

    @Test func `a reversed or empty span has no business time`() throws {
        let calendar = try calendar("UTC", BusinessCalendarTests.workdays, ("08:00", "18:00"))
        let start = try instant("2026-03-02T10:00:00Z")
        #expect(calendar.business(from: start, to: start) == 0)
        #expect(calendar.business(from: start.advanced(byMicroseconds: hour), to: start) == 0)
    }

    @Test func `a repeated hour counts twice and a skipped one not at all`() throws {
        let night = try calendar("Europe/Amsterdam", Weekday.allCases, ("01:00", "02:30"))
        #expect(try business(night, on: "2022-10-30") == 2 * hour)
        #expect(try business(night, on: "2022-03-27") == hour)
        #expect(try business(night, on: "2022-03-28") == hour + 30 * minute)
        let gap = try calendar("Europe/Amsterdam", Weekday.allCases, ("02:15", "02:45"))
        #expect(try business(gap, on: "2022-03-27") == 0)
        #expect(try business(gap, on: "2022-10-30") == hour)
    }

    // MARK: Zones

    @Test func `hours in a repeated hour open twice`() throws {
        let calendar = try calendar("Europe/Amsterdam", Weekday.allCases, ("02:15", "02:45"))
        var at = try instant("2022-10-29T12:00:00Z")
        var openings: [String] = []
        for _ in 0..<3 {
            at = try #require(calendar.nextOpening(after: at))
            openings.append(at.text)
        }
        #expect(openings == ["2022-10-30T00:15:00Z", "2022-10-30T01:15:00Z", "2022-10-31T01:15:00Z"])
        // 30 minutes of the first showing, then 10 of the second.
        #expect(
            try calendar.due(from: instant("2022-10-29T12:00:00Z"), target: 40 * minute)?.text == "2022-10-30T01:25:00Z"
        )
    }

    @Test func `New York's working week has its forty hours when clocks change on Sunday, and its Sunday has not`()
        throws
    {
        let week = try calendar("America/New_York", BusinessCalendarTests.workdays, ("09:00", "17:00"))
        for start in ["2026-03-02", "2026-03-09", "2026-10-26", "2026-11-02"] {
            let monday = try week.zone.start(of: date(start))
            #expect(week.business(from: monday, to: monday.advanced(byMicroseconds: 168 * hour)) == 40 * hour)
        }
        #expect(try week.due(from: instant("2026-03-06T21:00:00Z"), target: 2 * hour)?.text == "2026-03-09T14:00:00Z")
        #expect(try week.due(from: instant("2026-10-30T20:00:00Z"), target: 2 * hour)?.text == "2026-11-02T15:00:00Z")
        let nights = try calendar("America/New_York", Weekday.allCases, ("00:00", "24:00"))
        #expect(try business(nights, on: "2026-03-08") == 23 * hour)
        #expect(try business(nights, on: "2026-11-01") == 25 * hour)
    }

    @Test func `Lord Howe's clocks move by half an hour`() throws {
        let calendar = try calendar("Australia/Lord_Howe", Weekday.allCases, ("01:00", "03:00"))
        #expect(try business(calendar, on: "2026-04-05") == 2 * hour + 30 * minute)
        #expect(try business(calendar, on: "2026-10-04") == hour + 30 * minute)
        #expect(try business(calendar, on: "2026-10-05") == 2 * hour)
    }

    @Test func `Apia has no Friday in the last week of 2011`() throws {
        let calendar = try calendar("Pacific/Apia", BusinessCalendarTests.workdays, ("09:00", "17:00"))
        #expect(try business(calendar, on: "2011-12-29") == 8 * hour)
        #expect(try business(calendar, on: "2011-12-30") == 0)
        #expect(try business(calendar, on: "2012-01-02") == 8 * hour)
        // From Thursday at 16:00, two hours: one is left for Monday, which comes a day sooner.
        let start = try #require(try calendar.zone.instants(showing: WallTime(date("2011-12-29"), time("16:00"))).first)
        let due = try #require(calendar.due(from: start, target: 2 * hour))
        #expect(calendar.zone.wallTime(at: due) == WallTime(try date("2012-01-02"), time("10:00")))
        #expect(due.microseconds(since: start) == (3 * 24 - 6) * hour)
    }

    @Test func `Kathmandu is five hours and three quarters ahead`() throws {
        let calendar = try calendar("Asia/Kathmandu", [.sunday, .monday], ("10:00", "17:00"))
        #expect(try calendar.nextOpening(after: instant("2026-07-03T00:00:00Z"))?.text == "2026-07-05T04:15:00Z")
        #expect(try calendar.due(from: instant("2026-07-05T11:00:00Z"), target: hour)?.text == "2026-07-06T05:00:00Z")
    }

    @Test func `Casablanca's clocks go back for Ramadan and forward after it`() throws {
        let calendar = try calendar("Africa/Casablanca", Weekday.allCases, ("02:00", "04:00"))
        #expect(try business(calendar, on: "2025-02-23") == 3 * hour)
        #expect(try business(calendar, on: "2025-04-06") == hour)
        #expect(try calendar.nextOpening(after: instant("2025-03-10T12:00:00Z"))?.text == "2025-03-11T02:00:00Z")
        #expect(try calendar.nextOpening(after: instant("2025-05-10T12:00:00Z"))?.text == "2025-05-11T01:00:00Z")
    }

    // MARK: Split shifts, holidays, leave

    @Test func `a split shift pauses at noon`() throws {
        let calendar = try calendar(
            "Europe/Amsterdam", BusinessCalendarTests.workdays, ("09:00", "12:00"), ("13:00", "17:00"))
        let start = try instant("2026-07-06T09:30:00Z")
        #expect(calendar.due(from: start, target: 30 * minute)?.text == "2026-07-06T10:00:00Z")
        #expect(calendar.due(from: start, target: 30 * minute + 1)?.text == "2026-07-06T11:00:00.000001Z")
        #expect(calendar.isOpen(at: start))
        #expect(try !calendar.isOpen(at: instant("2026-07-06T10:00:00Z")))
        #expect(try calendar.isOpen(at: instant("2026-07-06T11:00:00Z")))
        #expect(calendar.nextOpening(after: start)?.text == "2026-07-06T11:00:00Z")
    }

    @Test func `intervals that overlap or touch unite, over midnight too`() throws {
        let one = try BusinessCalendar(
            in: .utc,
            open: [
                OpenInterval(.friday, time("22:00"), .endOfDay), OpenInterval(.friday, time("20:00"), time("23:00")),
                OpenInterval(.saturday, .midnight, time("06:00")), OpenInterval(.friday, time("21:00"), time("22:00")),
            ])
        let start = try instant("2026-07-03T12:00:00Z")
        #expect(one.nextOpening(after: start)?.text == "2026-07-03T20:00:00Z")
        #expect(try one.nextClosed(from: instant("2026-07-03T20:00:00Z"))?.text == "2026-07-04T06:00:00Z")
        #expect(one.business(from: start, to: start.advanced(byMicroseconds: 7 * 24 * hour)) == 10 * hour)
    }

    @Test func `the week goes on from Sunday to Monday`() throws {
        let calendar = try BusinessCalendar(
            in: .utc,
            open: [OpenInterval(.sunday, time("23:00"), .endOfDay), OpenInterval(.monday, .midnight, time("01:00"))])
        let opening = try instant("2026-07-05T23:00:00Z")
        #expect(try calendar.nextOpening(after: instant("2026-07-03T12:00:00Z")) == opening)
        #expect(calendar.nextClosed(from: opening)?.text == "2026-07-06T01:00:00Z")
        #expect(calendar.due(from: opening, target: 2 * hour)?.text == "2026-07-06T01:00:00Z")
        #expect(calendar.due(from: opening, target: 3 * hour)?.text == "2026-07-13T00:00:00Z")
    }

    @Test func `a holiday is a date on the wall, and closes all of it when clocks change`() throws {
        let days = ["2022-10-30", "2022-03-27", "2022-03-27"]
        let calendar = try calendar("Europe/Amsterdam", Weekday.allCases, ("00:00", "24:00"), holidays: days)
        #expect(try business(calendar, on: "2022-03-27") == 0)
        #expect(try business(calendar, on: "2022-10-30") == 0)
        #expect(try business(calendar, on: "2022-03-26") == 24 * hour)
        let start = try instant("2022-03-26T22:00:00Z")
        #expect(calendar.nextClosed(from: start)?.text == "2022-03-26T23:00:00Z")
        #expect(calendar.nextOpening(after: start)?.text == "2022-03-27T22:00:00Z")
        #expect(calendar.due(from: start, target: hour)?.text == "2022-03-26T23:00:00Z")
        #expect(calendar.due(from: start, target: hour + 1)?.text == "2022-03-27T22:00:00.000001Z")
        #expect(try !calendar.isOpen(at: instant("2022-10-30T22:59:59.999999Z")))
        #expect(try calendar.isOpen(at: instant("2022-10-30T23:00:00Z")))
    }

    @Test func `holidays in a row, on closed days and on the day of the start are passed over`() throws {
        let calendar = try calendar(
            "Europe/Amsterdam", BusinessCalendarTests.workdays, ("09:00", "17:00"),
            holidays: ["2026-12-24", "2026-12-25", "2026-12-26", "2026-12-28", "2026-12-31", "2027-01-01"])
        #expect(try calendar.due(from: instant("2026-12-23T15:30:00Z"), target: hour)?.text == "2026-12-29T08:30:00Z")
        #expect(try calendar.due(from: instant("2026-12-24T10:00:00Z"), target: hour)?.text == "2026-12-29T09:00:00Z")
        #expect(
            try calendar.due(from: instant("2026-12-23T08:00:00Z"), target: 8 * hour)?.text == "2026-12-23T16:00:00Z")
        #expect(
            try calendar.due(from: instant("2026-12-30T12:00:00Z"), target: 5 * hour)?.text == "2027-01-04T09:00:00Z")
    }

    @Test func `leave closes a calendar from one instant to another`() throws {
        let office = try calendar("UTC", BusinessCalendarTests.workdays, ("09:00", "17:00"))
        let monday = try instant("2026-07-06T09:00:00Z")
        let away = office.closed(during: [
            try instant("2026-07-06T16:00:00Z")..<instant("2026-07-07T10:00:00.5Z"),
            try instant("2026-07-07T10:00:00.5Z")..<instant("2026-07-07T11:00:00Z"), monday..<monday,
        ])
        #expect(away.due(from: monday, target: 7 * hour)?.text == "2026-07-06T16:00:00Z")
        #expect(away.due(from: monday, target: 8 * hour)?.text == "2026-07-07T12:00:00Z")
        #expect(away.business(from: monday, to: monday.advanced(byMicroseconds: 48 * hour)) == 13 * hour)
        #expect(away.nextClosed(from: monday)?.text == "2026-07-06T16:00:00Z")
        #expect(away.nextOpening(after: monday)?.text == "2026-07-07T11:00:00Z")
        #expect(try !away.isOpen(at: instant("2026-07-06T16:00:00Z")))
        #expect(try away.isOpen(at: instant("2026-07-07T11:00:00Z")))
        #expect(away.closed(during: [] as [Range<Instant>]) == away)
        // More leave adds to it, and one without an end never lets it open again.
        let gone = away.closed(during: [try instant("2026-07-08T09:30:00Z")..<Instant(microseconds: .max)])
        #expect(gone.due(from: monday, target: 13 * hour + 30 * minute)?.text == "2026-07-08T09:30:00Z")
        #expect(gone.due(from: monday, target: 13 * hour + 30 * minute + 1) == nil)
        #expect(try gone.nextOpening(after: instant("2026-07-08T09:00:00Z")) == nil)
        #expect(try gone.nextClosed(from: instant("2026-07-09T09:00:00Z"))?.text == "2026-07-09T09:00:00Z")
    }

    // MARK: Ends

    @Test func `24x7 is the time that goes by, and never opens again`() throws {
        let start = try instant("2026-07-06T09:00:00.123456Z")
        #expect(
            BusinessCalendar.always.business(from: start, to: start.advanced(byMicroseconds: 987_654_321))
                == 987_654_321)
        #expect(
            BusinessCalendar.always.business(from: .earliest, to: .latest)
                == Instant.latest.microseconds(since: .earliest))
        #expect(BusinessCalendar.always.due(from: start, target: 1)?.text == "2026-07-06T09:00:00.123457Z")
        #expect(BusinessCalendar.always.isOpen(at: start))
        #expect(BusinessCalendar.always.nextClosed(from: start) == nil)
        #expect(BusinessCalendar.always.nextOpening(after: start) == nil)
        // In a zone with daylight saving time too: open throughout is open throughout.
        let amsterdam = try calendar("Europe/Amsterdam", Weekday.allCases, ("00:00", "24:00"))
        #expect(
            amsterdam.due(from: start, target: 3_000 * 24 * hour) == start.advanced(byMicroseconds: 3_000 * 24 * hour))
        #expect(amsterdam.nextClosed(from: start) == nil)
    }

    @Test func `nothing more than 4,000 days away is due`() throws {
        let start = try instant("2026-07-06T00:00:00Z")
        let horizon = 4_000 * 24 * hour
        #expect(BusinessCalendar.always.due(from: start, target: horizon) == start.advanced(byMicroseconds: horizon))
        #expect(BusinessCalendar.always.due(from: start, target: horizon + 1) == nil)
        #expect(BusinessCalendar.always.due(from: start, target: .max) == nil)
        let monday = try calendar("UTC", [.monday], ("00:00", "00:01"))
        #expect(monday.due(from: start, target: 571 * minute)?.text == "2037-06-08T00:01:00Z")
        #expect(monday.due(from: start, target: 573 * minute) == nil)
    }

    @Test func `a target of nothing is due at once, open or closed`() throws {
        let calendar = try calendar("UTC", [.monday], ("09:00", "17:00"))
        let sunday = try instant("2026-07-05T12:00:00Z")
        #expect(calendar.due(from: sunday, target: 0) == sunday)
        #expect(calendar.due(from: sunday, target: -1) == sunday)
        #expect(calendar.due(from: sunday, target: 1)?.text == "2026-07-06T09:00:00.000001Z")
    }

    @Test func `the first and last instants of the ledger have answers`() throws {
        let calendar = try calendar(
            "Pacific/Apia", Weekday.allCases, ("09:00", "17:00"), holidays: ["0000-01-01", "9999-12-31"]
        )
        .closed(during: [Instant(microseconds: .min)..<Instant.earliest.advanced(byMicroseconds: hour)])
        for instant in [Int64.min, Instant.earliest.microseconds - 1, Instant.latest.microseconds, .max] {
            let instant = Instant(microseconds: instant)
            _ = calendar.isOpen(at: instant)
            _ = calendar.nextOpening(after: instant)
            _ = calendar.nextClosed(from: instant)
            #expect(calendar.due(from: instant, target: .max) == nil)
            #expect(calendar.business(from: instant, to: instant) == 0)
        }
        let all = calendar.business(from: Instant(microseconds: .min), to: Instant(microseconds: .max))
        // 3,652,425 days of eight hours within ten thousand years, less what the ends cut off.
        #expect(abs(all - 3_652_425 * 8 * hour) <= 40 * hour)
        #expect(calendar.due(from: .latest, target: 1) == nil)
        #expect(calendar.nextOpening(after: .latest) == nil)
    }

    @Test func `a calendar that is never open, or an interval that does not end after it starts, is refused`() throws {
        #expect(throws: BusinessCalendarProblem.empty) { try BusinessCalendar(in: .utc, open: []) }
        let good = OpenInterval(.monday, time("09:00"), time("17:00"))
        for (start, end) in [("09:00", "09:00"), ("22:00", "06:00"), ("24:00", "24:00"), ("24:00", "00:00")] {
            #expect(throws: BusinessCalendarProblem.interval(1)) {
                try BusinessCalendar(in: .utc, open: [good, OpenInterval(.monday, time(start), time(end))])
            }
        }
        #expect(TimeOfDay(hour: 24, minute: 0, second: 1) == nil)
        #expect(TimeOfDay(hour: 9, minute: 60) == nil)
        #expect(TimeOfDay(hour: -1) == nil)
        #expect(TimeOfDay(seconds: 86_401) == nil)
        #expect(TimeOfDay(hour: 24) == .endOfDay)
    }
}
