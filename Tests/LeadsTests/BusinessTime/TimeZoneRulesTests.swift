import Testing

@testable import Leads

/// What zones say, by cases that are known from elsewhere. `TimeZoneDatabaseTests` holds every zone against another reader.
@Suite struct TimeZoneRulesTests {
    // MARK: From an instant to the wall

    @Test(arguments: [
        ("Europe/Amsterdam", "2022-03-27T00:59:59.999999Z", 3_600), ("Europe/Amsterdam", "2022-03-27T01:00:00Z", 7_200),
        ("Europe/Amsterdam", "2022-10-30T00:59:59Z", 7_200), ("Europe/Amsterdam", "2022-10-30T01:00:00Z", 3_600),
        // By the rule, not by the list, which ends in 2037.
        ("Europe/Amsterdam", "2422-03-27T00:59:59Z", 3_600), ("Europe/Amsterdam", "2422-03-27T01:00:00Z", 7_200),
        ("Europe/Amsterdam", "9999-12-31T23:59:59Z", 3_600),
        ("America/New_York", "2026-03-08T06:59:59Z", -18_000), ("America/New_York", "2026-03-08T07:00:00Z", -14_400),
        ("America/New_York", "1800-01-01T00:00:00Z", -17_762), ("America/New_York", "0000-01-01T00:00:00Z", -17_762),
        ("Australia/Lord_Howe", "2026-01-01T00:00:00Z", 39_600),
        ("Australia/Lord_Howe", "2026-07-01T00:00:00Z", 37_800),
        ("Pacific/Apia", "2011-12-30T09:59:59Z", -36_000), ("Pacific/Apia", "2011-12-30T10:00:00Z", 50_400),
        ("Asia/Kathmandu", "2026-06-01T00:00:00Z", 20_700), ("Asia/Kathmandu", "1985-06-01T00:00:00Z", 19_800),
        // Clocks go back for Ramadan.
        ("Africa/Casablanca", "2025-02-01T00:00:00Z", 3_600), ("Africa/Casablanca", "2025-03-15T00:00:00Z", 0),
        ("Africa/Casablanca", "2025-05-01T00:00:00Z", 3_600),
        // Irish standard time is summer time, and the winter is what is marked as daylight saving.
        ("Europe/Dublin", "2060-07-01T00:00:00Z", 3_600), ("Europe/Dublin", "2060-01-01T00:00:00Z", 0),
    ])
    func `a zone knows its offset`(name: String, text: String, seconds: Int) throws {
        #expect(try ZoneFiles.zone(name).offsetSeconds(at: instant(text)) == seconds)
    }

    @Test func `an instant outside the years 0000 to 9999 counts as the nearest inside`() throws {
        let zone = try ZoneFiles.zone("Europe/Amsterdam")
        #expect(zone.offsetSeconds(at: Instant(microseconds: .max)) == 3_600)
        #expect(zone.offsetSeconds(at: Instant(microseconds: .min)) == 1_172)
        #expect(zone.wallTime(at: Instant(microseconds: .max)).date.year == 10_000)
        #expect(zone.wallTime(at: Instant(microseconds: .min)).microsecondOfDay == 1_172 * 1_000_000)
    }

    @Test func `the wall shows date, time and weekday`() throws {
        let wall = try ZoneFiles.zone("America/New_York").wallTime(at: instant("2026-07-06T02:30:00.25Z"))
        #expect(wall.date == (try date("2026-07-05")))
        #expect(wall.weekday == .sunday)
        #expect(wall.microsecondOfDay == 22 * hour + 30 * minute + 250_000)
        #expect(Weekday(dayNumber: 0) == .thursday)
        #expect(Weekday(dayNumber: -4) == .sunday)
    }

    // MARK: From the wall to instants

    @Test func `a wall time is shown once, not at all, or twice`() throws {
        let zone = try ZoneFiles.zone("Europe/Amsterdam")
        #expect(
            try zone.instants(showing: WallTime(date("2022-06-01"), time("12:00"))) == [instant("2022-06-01T10:00:00Z")]
        )
        #expect(try zone.instants(showing: WallTime(date("2022-03-27"), time("02:30"))) == [])
        #expect(
            try zone.instants(showing: WallTime(date("2022-03-27"), time("03:00"))) == [instant("2022-03-27T01:00:00Z")]
        )
        #expect(
            try zone.instants(showing: WallTime(date("2022-10-30"), time("02:30"))) == [
                instant("2022-10-30T00:30:00Z"), instant("2022-10-30T01:30:00Z"),
            ])
        #expect(
            try zone.instants(showing: WallTime(date("2022-10-30"), time("03:00"))) == [instant("2022-10-30T02:00:00Z")]
        )
    }

    @Test func `half an hour is skipped and shown twice on Lord Howe, and a day is skipped in Apia`() throws {
        let howe = try ZoneFiles.zone("Australia/Lord_Howe")
        #expect(try howe.instants(showing: WallTime(date("2026-04-05"), time("01:29"))).count == 1)
        #expect(try howe.instants(showing: WallTime(date("2026-04-05"), time("01:30"))).count == 2)
        #expect(try howe.instants(showing: WallTime(date("2026-04-05"), time("02:00"))).count == 1)
        #expect(try howe.instants(showing: WallTime(date("2026-10-04"), time("02:00"))).isEmpty)
        #expect(try howe.instants(showing: WallTime(date("2026-10-04"), time("02:30"))).count == 1)
        let apia = try ZoneFiles.zone("Pacific/Apia")
        #expect(try apia.instants(showing: WallTime(date("2011-12-30"), time("12:00"))).isEmpty)
    }

    @Test func `a wall time that no instant of the ledger shows is shown at none`() throws {
        let zone = try ZoneFiles.zone("Europe/Amsterdam")
        for microseconds in [Int64.min, .max, Instant.earliest.microseconds - 2 * 24 * hour] {
            #expect(zone.instants(showing: WallTime(microseconds: microseconds)).isEmpty)
        }
        // The wall is ahead: the first hours of year 0 are of the year before.
        #expect(zone.instants(showing: WallTime(microseconds: Instant.earliest.microseconds)).isEmpty)
        #expect(zone.instants(showing: WallTime(microseconds: Instant.latest.microseconds + hour)) == [.latest])
    }

    @Test(arguments: [
        ("Europe/Amsterdam", "2022-03-27", "2022-03-26T23:00:00Z"), ("UTC", "2022-03-27", "2022-03-27T00:00:00Z"),
        // Clocks went from 24:00 to 01:00.
        ("America/Sao_Paulo", "2018-11-04", "2018-11-04T03:00:00Z"),
        // 24:00 was 23:00 again: the day begins when midnight comes for the second time.
        ("America/Sao_Paulo", "2018-02-18", "2018-02-18T03:00:00Z"),
        // 00:01 went back to 23:01 of the day before: the day begins, and for an hour it is yesterday again.
        ("America/St_Johns", "2006-10-29", "2006-10-29T02:30:00Z"),
        ("Pacific/Apia", "2011-12-29", "2011-12-29T10:00:00Z"), ("Pacific/Apia", "2011-12-30", "2011-12-30T10:00:00Z"),
        ("Pacific/Apia", "2011-12-31", "2011-12-30T10:00:00Z"), ("Pacific/Apia", "2012-01-01", "2011-12-31T10:00:00Z"),
        ("Asia/Kathmandu", "0000-01-01", "0000-01-01T00:00:00Z"),
    ])
    func `a local day starts when its date is first shown`(name: String, day: String, start: String) throws {
        #expect(try ZoneFiles.zone(name).start(of: date(day)) == instant(start))
    }

    // MARK: Changes

    @Test func `the changes of a year are listed with what was before and after`() throws {
        let zone = try ZoneFiles.zone("Europe/Amsterdam")
        for year in [2026, 2037, 2038, 2426] {
            let changes = zone.offsetChanges(
                in: Instant(
                    startOf: CivilDate(year: year, month: 1, day: 1)!)..<Instant(
                        startOf: CivilDate(year: year + 1, month: 1, day: 1)!))
            #expect(changes.map(\.before) == [3_600, 7_200], "\(year)")
            #expect(changes.map(\.after) == [7_200, 3_600], "\(year)")
        }
        let first = try instant("2026-03-29T01:00:00Z")
        let almost = try instant("2026-03-29T01:00:00.000001Z")
        #expect(zone.offsetChanges(in: first..<almost).map(\.at) == [first])
        #expect(zone.offsetChanges(in: almost..<almost.advanced(byMicroseconds: hour)).isEmpty)
        #expect(zone.offsetChanges(in: first..<first).isEmpty)
        #expect(TimeZoneRules.utc.offsetChanges(in: .earliest ..< .latest).isEmpty)
    }

    @Test func `all changes of ten thousand years are found, two each year where the rule goes on`() throws {
        let zone = try ZoneFiles.zone("America/New_York")
        let changes = zone.offsetChanges(in: Instant(microseconds: .min)..<Instant(microseconds: .max))
        #expect(changes.count { $0.at.date.year >= 2000 } == 16_000)
        #expect(zip(changes, changes.dropFirst()).allSatisfy { $0.at < $1.at && $0.after == $1.before })
        #expect(changes.allSatisfy { $0.before != $0.after })
    }

    @Test func `Casablanca's changes are those of Ramadan`() throws {
        let changes = try ZoneFiles.zone("Africa/Casablanca").offsetChanges(
            in: instant("2025-01-01T00:00:00Z")..<instant("2027-01-01T00:00:00Z"))
        #expect(
            changes.map(\.at.text) == [
                "2025-02-23T02:00:00Z", "2025-04-06T02:00:00Z", "2026-02-15T02:00:00Z", "2026-03-22T02:00:00Z",
            ])
    }
}
