import TestSupport
import Testing

@testable import Leads

/// Clocks on office hours: daylight saving, split shifts, holidays, leave, and whose hours they are.
@Suite struct ClockHoursTests {
    private static func hours(_ id: String, _ zone: String, _ days: [[(Int, Int)]], _ holidays: [String] = []) throws
        -> CalendarSpec
    {
        CalendarSpec(
            id: id, zone: zone,
            week: days.map { $0.map { DayInterval(startMinute: $0.0, endMinute: $0.1) } },
            holidays: try holidays.map { try date($0) })
    }

    private func due(_ office: CalendarSpec, _ seconds: Int64, at start: String) throws -> String {
        let world = try ClockWorld(
            ClockWorld.rules(
                ClockWorld.target("first", .firstResponse, seconds) { $0.measure = .business }, office: office))
        world.now = try instant(start)
        let from = world.now
        try world.capture("L")
        guard case .started(let started)? = world.entry("first_response-started-1", "L") else { throw Missing() }
        #expect(started.terms.calendar == office.id && started.terms.zones == "2025b")
        // It is breached then, and the book asks for the very next microsecond.
        let due = try #require(started.due)
        #expect(world.book.instant(ofPercent: 100, of: .firstResponse, RoutingWorld.key("L")) == due)
        world.now = due
        try world.settle()
        #expect(world.book.nextInstant() == due.advanced(byMicroseconds: 1))
        try world.pass(1)
        guard case .breached(_, due, let elapsed)? = world.entry("first_response-breached-1", "L") else {
            throw Missing()
        }
        #expect(elapsed == .init(wall: due.microseconds(since: from), business: seconds * 1_000_000))
        return due.text
    }

    @Test func `four hours of an eight-hour day go on the next morning`() throws {
        #expect(try due(ClockWorld.office(), 4 * 3_600, at: "2026-03-02T16:00:00Z") == "2026-03-03T12:00:00Z")
        #expect(try due(ClockWorld.office(), 4 * 3_600, at: "2026-03-06T16:00:00Z") == "2026-03-09T12:00:00Z")
    }

    @Test func `an hour that is skipped counts not at all and one repeated counts twice`() throws {
        let night = try Self.hours("office", "Europe/Amsterdam", Array(repeating: [(60, 210)], count: 7))
        // 01:00 to 03:30 on the wall: an hour and a half on 2026-03-29, three and a half on 2026-10-25.
        #expect(try due(night, 5_400, at: "2026-03-28T12:00:00Z") == "2026-03-29T01:30:00Z")
        #expect(try due(night, 5_401, at: "2026-03-28T12:00:00Z") == "2026-03-29T23:00:01Z")
        #expect(try due(night, 3 * 3_600 + 1_800, at: "2026-10-24T12:00:00Z") == "2026-10-25T02:30:00Z")
    }

    @Test func `the office opens an hour earlier in UTC once the clocks went forward`() throws {
        let office = ClockWorld.office("America/New_York")
        // Friday 16:30 is 21:30Z; Monday 09:30 is 13:30Z.
        #expect(try due(office, 3_600, at: "2026-03-06T21:30:00Z") == "2026-03-09T13:30:00Z")
    }

    @Test func `a split shift and a holiday are left out`() throws {
        let split = try Self.hours(
            "office", "America/Sao_Paulo", Array(repeating: [(540, 720), (780, 1_080)], count: 5) + [[], []],
            ["2026-12-25"])
        // Thursday 11:00 to 12:00, 13:00 to 18:00, then Monday from 09:00.
        #expect(try due(split, 7 * 3_600, at: "2026-12-24T14:00:00Z") == "2026-12-28T13:00:00Z")
        #expect(try due(split, 1_800, at: "2026-12-24T15:15:00Z") == "2026-12-24T16:30:00Z")
    }

    @Test func `a pause and a weekend leave only what lies between`() throws {
        let world = try ClockWorld(
            ClockWorld.rules(ClockWorld.target("first", .firstResponse, 4 * 3_600) { $0.measure = .business }))
        world.now = try instant("2026-03-06T15:00:00Z")
        try world.capture("L")
        try world.pass(hour)
        try world.pause("L", .firstResponse)
        try world.pass(until: instant("2026-03-09T10:00:00Z"))
        try world.resume("L", .firstResponse)
        #expect(world.status("L", .firstResponse)?.due?.text == "2026-03-09T13:00:00Z")
        try world.pass(4 * hour)
        guard case .breached(_, _, let elapsed)? = world.entry("first_response-breached-1", "L") else {
            throw Missing()
        }
        #expect(elapsed == .init(wall: 70 * hour, business: 4 * hour))
    }

    // MARK: Whose hours

    private func byHolder() throws -> ClockWorld {
        var rules = ClockWorld.rules(
            ClockWorld.target("accept", .accept, 2 * 3_600) {
                $0.measure = .business
                $0.calendar = .holder
            })
        rules.calendars.append(ClockWorld.office("Europe/Amsterdam", id: "ams"))
        rules.members[0].calendar = CalendarIndex(2)
        return try ClockWorld(rules)
    }

    @Test func `a holder's clock counts their hours, and their leave is none`() throws {
        let world = try byHolder()
        try world.capture("L")
        try world.pass(until: march("02T15:00"))
        try world.assign("L", to: "ann")
        #expect(world.lines("L").last == "accept-started-2 @02T15:00 accept due 03T09:00")
        guard case .started(let started)? = world.entry("accept-started-2", "L") else { throw Missing() }
        #expect(started.terms.calendar == "ams" && started.terms.holder == "ann")
        try world.leave("ann", from: march("03T00:00"), until: march("04T08:30"))
        #expect(world.status("L", .accept)?.due == (try march("04T09:30")))
        // Back early: what was to come of the leave is called off.
        try world.pass(until: march("03T12:00"))
        try world.comeBack("ann")
        #expect(world.status("L", .accept)?.due == (try march("03T13:00")))
        // Leave that is over stays none, for clocks that begin afterwards too.
        try world.pass(2 * hour)
        #expect(world.lines("L").last == "accept-breached-2 @03T13:00")
        guard case .breached(_, _, let elapsed)? = world.entry("accept-breached-2", "L") else { throw Missing() }
        #expect(elapsed == .init(wall: 22 * hour, business: 2 * hour))
    }

    @Test func `without a holder, or with one whom the rule set does not know, a holder's clock counts the pool's`()
        throws
    {
        let world = try byHolder()
        try world.capture("L")
        try world.assign("L", to: "stranger")
        #expect(world.lines("L").last == "accept-started-2 @02T09:00 accept due 02T11:00")
        guard case .started(let started)? = world.entry("accept-started-2", "L") else { throw Missing() }
        #expect(started.terms.calendar == "office" && started.terms.holder == nil)
    }

    @Test func `the region's hours are those of the first region that the lead is in, else the pool's`() throws {
        var rules = ClockWorld.rules(
            ClockWorld.target("first", .firstResponse, 3_600) {
                $0.measure = .business
                $0.calendar = .region
            },
            ClockWorld.target("qualify", .qualify, 3_600) {
                $0.measure = .business
                $0.calendar = .named(CalendarIndex(0))
            })
        rules.calendars.append(ClockWorld.office("America/Sao_Paulo", id: "brazil"))
        rules.regionCalendars = [
            RegionCalendar(condition: try condition(#"country == "BR""#), calendar: CalendarIndex(2))
        ]
        let world = try ClockWorld(rules)
        try world.capture("br", [.country: .text(Array("BR".utf8))])
        try world.capture("pt", [.country: .text(Array("PT".utf8))])
        #expect(world.lines("br")[0] == "first_response-started-1 @02T09:00 first due 02T13:00")
        #expect(world.lines("pt")[0] == "first_response-started-2 @02T09:00 first due 02T10:00")
        #expect(world.lines("br")[1] == "qualify-started-1 @02T09:00 qualify due 02T10:00")
    }

    @Test func `a due instant beyond the horizon is none, and nothing waits for it`() throws {
        let world = try ClockWorld(
            ClockWorld.rules(ClockWorld.target("first", .firstResponse, 3_600 * 24 * 4_001, ladder: [(200, .reassign)]))
        )
        try world.capture("L")
        #expect(world.lines("L") == ["first_response-started-1 @02T09:00 first due never"])
        try world.pass(minute)
        #expect(world.book.nextInstant() == nil)
        #expect(world.book.leadCount == 1)
    }
}
