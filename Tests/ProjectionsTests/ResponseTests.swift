import Glibc
import Leads
import Testing

@testable import Ledger
@testable import Projections

/// The model `response`: clocks and leaks against numbers known beforehand and, for random logs, a plain recount.
@Suite(.timeLimit(.minutes(10))) struct ResponseTests {
    // MARK: Events

    private func captured(_ lead: String, at: Int64, _ channel: String = "web") -> LeadEvent {
        LeadEvent(lead: lead, type: .captured, at: at, data: #""channel":"\#(channel)","source":"s","campaign":"c""#)
    }

    private func assigned(_ lead: String, at: Int64, to member: String) -> LeadEvent {
        LeadEvent(lead: lead, type: .assigned, at: at, data: #""member":"\#(member)","mode":"push""#)
    }

    private func started(
        _ lead: String, at: Int64, due: Int64? = nil, _ kind: ResponseClockKind = .firstResponse, business: Bool = false
    ) -> LeadEvent {
        let measure = business ? #""measure":"business","calendar":"office""# : #""measure":"wall""#
        let due = due.map { #","due":"\#(text($0))""# } ?? ""
        return LeadEvent(
            lead: lead, type: .clockStarted, at: at,
            data: """
                "clock":"\(kind.name)","target":"t","policy":"p","version":4,"cause":0,"at":"\(text(at))","seconds":300,\
                \(measure)\(due)
                """)
    }

    /// Another event of a clock: what has elapsed by then in seconds, and further members.
    private func clock(
        _ type: EventType, _ lead: String, at: Int64, wall: Int64, business: Int64? = nil, _ more: String = "",
        _ kind: ResponseClockKind = .firstResponse
    ) -> LeadEvent {
        let hasInstant = type == .clockMet || type == .clockStopped
        return LeadEvent(
            lead: lead, type: type, at: at,
            data: """
                "clock":"\(kind.name)"\(hasInstant ? #","at":"\#(text(at))""# : ""),\
                "elapsed":{"wall":\(wall * 1_000_000),"business":\((business ?? wall) * 1_000_000)}\(more)
                """)
    }

    /// The breach of a clock that started five minutes before it was due.
    private func breach(_ lead: String, due: Int64 = 300) -> LeadEvent {
        clock(.clockBreached, lead, at: due, wall: 300, #","due":"\#(text(due))""#)
    }

    /// Open on weekdays from 9 to 17 in UTC. 2026-01-01, where the tests' instants begin, is a Thursday.
    private static let office: BusinessCalendar = {
        let (nine, five) = (TimeOfDay(hour: 9)!, TimeOfDay(hour: 17)!)
        return try! BusinessCalendar(
            in: .utc, open: Weekday.allCases.prefix(5).map { OpenInterval($0, nine, five) })
    }()

    private func report(
        _ models: Models, asOf: Int64, _ grouping: ResponseQuery.Grouping = .none,
        _ kind: ResponseClockKind = .firstResponse, from: Int64? = nil, to: Int64? = nil
    ) throws -> ResponseReport {
        try models.read(ResponseProjection.self) {
            try $0.response(
                ResponseQuery(
                    clock: kind, grouping: grouping, from: from.map(instant), to: to.map(instant), asOf: instant(asOf))
            ) { calendar in
                #expect(calendar == ClockCalendar(ruleSet: Position(rawValue: 4), calendar: "office"))
                return Self.office
            }
        }
    }

    /// `models(_:)` where a constant has its name.
    private func read(_ events: [LeadEvent]) throws -> Models { try models(events) }

    private func seconds(_ values: [Int64]) -> [Int64] { values.map { $0 / 1_000_000 } }

    // MARK: Clocks

    @Test func `clocks are answered, open or stopped, with the time of both measures`() throws {
        let models = try models([
            captured("A", at: 0), started("A", at: 0, due: 300),
            clock(.clockMet, "A", at: 300, wall: 300, business: 100),
            captured("B", at: 0), started("B", at: 10, due: 310), breach("B", due: 310),
            clock(.clockMet, "B", at: 700, wall: 690, #","late":true"#),
            captured("C", at: 0), started("C", at: 100, due: 400),
            captured("D", at: 0), started("D", at: 100),
            LeadEvent(lead: "D", type: .lost, at: 150, data: #""reason":"price""#),
            clock(.clockStopped, "D", at: 150, wall: 50),
            // Another kind, and a clock of the future.
            started("A", at: 20, .qualify), captured("E", at: 5_000), started("E", at: 5_000),
        ])
        let total = try report(models, asOf: 1_000).total
        #expect(seconds(total.wall.answered) == [300, 690] && seconds(total.business.answered) == [100, 690])
        #expect(seconds(total.wall.open) == [900] && seconds(total.wall.stopped) == [50])
        #expect(total.clocks == 4 && total.met == 1 && total.late == 1 && total.overdue == 1 && total.noLead == 0)
        #expect(total.wall.share(within: 300_000_000).share == Proportion(1, of: 4))
        #expect(try report(models, asOf: 1_000, .none, .qualify).total.clocks == 1)
    }

    @Test func `one that is open for less than five minutes stands apart`() throws {
        let models = try models([
            captured("A", at: 0), started("A", at: 0), captured("B", at: 0), started("B", at: 701),
            captured("C", at: 0), started("C", at: 700),
        ])
        let (share, tooEarly) = try report(models, asOf: 1_000).total.wall.share(within: 300_000_000)
        #expect(share == Proportion(0, of: 2) && tooEarly == 1)
    }

    @Test func `spam and duplicates stand apart unless they were answered, and come back with the lead`() throws {
        func spam(_ lead: String, _ reason: String = "spam") -> [LeadEvent] {
            [
                LeadEvent(lead: lead, type: .disqualified, at: 50, data: #""reason":"\#(reason)""#),
                clock(.clockStopped, lead, at: 50, wall: 50),
            ]
        }
        let given =
            ["A", "B", "C", "D", "E"].flatMap { [captured($0, at: 0), started($0, at: 0)] }
            + spam("A") + spam("B", "duplicate") + spam("C", "no_budget")
            // Answered before.
            + [
                clock(.clockMet, "D", at: 20, wall: 20),
                LeadEvent(lead: "D", type: .disqualified, at: 50, data: #""reason":"spam""#),
            ]
            // Its clock is not stopped yet.
            + [spam("E")[0]]
        let total = try report(models(given), asOf: 1_000).total
        #expect(total.noLead == 3 && total.clocks == 2)
        #expect(seconds(total.wall.stopped) == [50] && seconds(total.wall.answered) == [20])
        let back = [
            LeadEvent(lead: "A", type: .reopened, at: 80, data: #""kind":"resume""#, variant: .resume),
            clock(.clockResumed, "A", at: 80, wall: 50),
        ]
        let again = try report(models(given + back), asOf: 100).total
        #expect(again.noLead == 2 && seconds(again.wall.open) == [70])
    }

    @Test func `an answer that is recorded late but was in time corrects the breach`() throws {
        let breached = [
            captured("A", at: 0), started("A", at: 0, due: 300), breach("A"),
        ]
        #expect(try report(models(breached), asOf: 1_000).total.overdue == 1)
        let corrected = try report(models(breached + [clock(.clockMet, "A", at: 200, wall: 200)]), asOf: 1_000).total
        #expect(corrected.met == 1 && corrected.late == 0 && corrected.overdue == 0)
        // One that was late, and then turns out to have been earlier.
        let twice =
            breached + [
                clock(.clockMet, "A", at: 900, wall: 900, #","late":true"#), clock(.clockMet, "A", at: 200, wall: 200),
            ]
        #expect(try report(models(twice), asOf: 1_000).total.met == 1)
    }

    @Test func `a pause stops business time and not the wall's, a stop both`() throws {
        let models = try models([
            captured("A", at: 0), started("A", at: 0, due: 300), clock(.clockPaused, "A", at: 100, wall: 100),
            captured("B", at: 0), started("B", at: 0, due: 300), clock(.clockPaused, "B", at: 100, wall: 100),
            clock(.clockResumed, "B", at: 400, wall: 400, business: 100, #","due":"\#(text(600))""#),
            captured("C", at: 0), started("C", at: 0, due: 300), clock(.clockStopped, "C", at: 100, wall: 100),
            clock(.clockResumed, "C", at: 400, wall: 100, #","due":"\#(text(600))""#),
        ])
        let total = try report(models, asOf: 500).total
        #expect(seconds(total.wall.open) == [200, 500, 500] && seconds(total.business.open) == [100, 200, 200])
        #expect(total.overdue == 0)
        #expect(try report(models, asOf: 601).total.overdue == 2)
        let breached = try read([
            captured("A", at: 0), started("A", at: 0, due: 300), breach("A"),
            clock(.clockPaused, "A", at: 400, wall: 400),
        ])
        #expect(try report(breached, asOf: 500).total.overdue == 1)
    }

    /// Thursday 16:00 to Friday 10:00.
    @Test func `business time of open clocks is counted in their calendar, from their last event on`() throws {
        let (four, ten) = (Int64(16 * 3_600), Int64(34 * 3_600))
        let models = try models([
            captured("A", at: four), started("A", at: four, business: true),
            captured("B", at: four), started("B", at: four, business: true),
            clock(.clockPaused, "B", at: four + 1_800, wall: 1_800),
            clock(.clockResumed, "B", at: four + 2_700, wall: 2_700, business: 1_800),
        ])
        let total = try report(models, asOf: ten).total
        #expect(seconds(total.wall.open) == [64_800, 64_800])
        #expect(seconds(total.business.open) == [6_300, 7_200])
        // Back from the last event, as one that ran.
        #expect(try seconds(report(models, asOf: four + 2_000).total.business.open) == [1_100, 2_000])
    }

    @Test func `as of an earlier instant what was answered later is open`() throws {
        let models = try models([
            captured("A", at: 0), started("A", at: 0, due: 300),
            clock(.clockMet, "A", at: 400, wall: 400, #","late":true"#),
        ])
        let before = try report(models, asOf: 350).total
        #expect(seconds(before.wall.open) == [350] && before.overdue == 1 && before.late == 0)
        #expect(try report(models, asOf: 400).total.late == 1)
    }

    @Test func `a clock that another of its kind follows while it runs is stopped then`() throws {
        let models = try models([
            captured("A", at: 0), started("A", at: 0), started("A", at: 60), clock(.clockMet, "A", at: 90, wall: 30),
        ])
        let total = try report(models, asOf: 1_000).total
        #expect(seconds(total.wall.stopped) == [60] && seconds(total.wall.answered) == [30])
    }

    @Test func `the period is that of the start, and rows are by field, owner and hour`() throws {
        let models = try models([
            captured("A", at: 0, "mail"), assigned("A", at: 1, to: "ann"), started("A", at: 3_600),
            clock(.clockMet, "A", at: 3_700, wall: 100), assigned("A", at: 3_800, to: "bo"),
            captured("B", at: 0, "web"), started("B", at: 7_200), assigned("B", at: 7_201, to: "bo"),
            captured("C", at: 0, "web"), started("C", at: 86_400 + 3_600),
        ])
        func rows(_ grouping: ResponseQuery.Grouping) throws -> [String] {
            try report(models, asOf: 100_000, grouping).rows.map { "\($0.value?.label ?? "") \($0.clocks)" }
        }
        #expect(try rows(.none) == [])
        #expect(try rows(.lead(.channel)) == ["web 2", "mail 1"])
        // Of whoever had it when it was answered, or has it now.
        #expect(try rows(.lead(.owner)) == ["ann 1", "bo 1", "(none) 1"])
        #expect(try rows(.hour) == ["01 2", "02 1"])
        #expect(try report(models, asOf: 100_000, from: 3_600, to: 7_200).total.clocks == 1)
    }

    @Test(arguments: [
        #""clock":"never","at":"2026-01-01T00:00:00Z","version":1,"measure":"wall""#,
        #""clock":"accept","version":1,"measure":"wall""#,
        #""clock":"accept","at":"noon","version":1,"measure":"wall""#,
        #""clock":"accept","at":"2026-01-01T00:00:00Z","measure":"wall""#,
        #""clock":"accept","at":"2026-01-01T00:00:00Z","version":1,"measure":"lunar""#,
    ])
    func `a clock that cannot be understood stops this model alone`(data: String) throws {
        try stops([captured("A", at: 0), LeadEvent(lead: "A", type: .clockStarted, at: 1, data: data)], because: "its")
    }

    @Test func `an event of a clock that was never started stops this model alone`() throws {
        try stops([captured("A", at: 0), clock(.clockMet, "A", at: 9, wall: 9)], because: "first_response")
    }

    private func stops(_ events: [LeadEvent], because reason: String) throws {
        let log = try LeadLog()
        try log.append(events)
        let models = try Models(of: log)
        func status(_ name: String) -> ProjectionStatus? { models.set.status.first { $0.name == name } }
        while status("response")?.state != .stopped {
            try #require(status("response")?.position != log.log.end); usleep(1_000)
        }
        #expect(status("response")?.position == Position(rawValue: 1))
        let told = status("response")?.reason ?? ""
        #expect(told.contains(reason) || told.contains("it names no clock"), "\(told)")
        while status("leads")?.position != log.log.end {
            try #require(status("leads")?.state != .stopped); usleep(1_000)
        }
    }

    // MARK: Leaks

    private func leaks(
        _ models: Models, asOf: Int64 = 1_000, by dimension: LeadDimension? = nil, limit: Int = 10, from: Int64? = nil,
        to: Int64? = nil
    ) throws -> LeakReport {
        try models.read(ResponseProjection.self) {
            try $0.leaks(
                LeakQuery(
                    dimension: dimension, from: from.map(instant), to: to.map(instant), asOf: instant(asOf),
                    limit: limit))
        }
    }

    private func call(_ type: EventType, _ lead: String, at: Int64, _ variant: EventVariant = .plain) -> LeadEvent {
        LeadEvent(
            lead: lead, type: type, at: at,
            data: #""by":"cy","medium":"call","automatic":\#(variant == .automatic)"#, variant: variant)
    }

    @Test func `leads leak where nobody took the next step, won and disqualified ones apart`() throws {
        let models = try models([
            captured("inbox", at: 1), captured("queued", at: 2),
            LeadEvent(lead: "queued", type: .queued, at: 3, data: #""queue":"q""#),
            captured("owned", at: 4), assigned("owned", at: 5, to: "ann"),
            captured("mailed", at: 6), assigned("mailed", at: 7, to: "ann"),
            call(.contactAttempted, "mailed", at: 8, .automatic),
            captured("tried", at: 9), assigned("tried", at: 10, to: "bo"), call(.contactAttempted, "tried", at: 11),
            captured("reached", at: 12), call(.contacted, "reached", at: 13),
            captured("lost", at: 14), LeadEvent(lead: "lost", type: .lost, at: 15, data: #""reason":"price""#),
            captured("won", at: 16),
            LeadEvent(lead: "won", type: .won, at: 17, data: #""amount":1,"currency":"EUR""#),
            captured("spam", at: 18), LeadEvent(lead: "spam", type: .disqualified, at: 19, data: #""reason":"spam""#),
        ])
        let total = try leaks(models).total
        #expect(total.leads == 9)
        #expect(total[.neverAssigned].leads.map(\.id) == ["inbox", "queued", "lost"])
        #expect(total[.neverAttempted].leads.map(\.id) == ["owned", "mailed"])
        #expect(total[.neverContacted].leads.map(\.id) == ["tried"])
        #expect(total[.neverAttempted].leads.first == LeakedLead(id: "owned", capturedAt: instant(4), owner: "ann"))
        #expect(total[.neverAccepted].count == 0 && total[.dueUnanswered].count == 0)
    }

    @Test func `what marketing qualified leaks until it is accepted or worked on`() throws {
        func qualified(_ lead: String) -> [LeadEvent] {
            [captured(lead, at: 1), LeadEvent(lead: lead, type: .marketingQualified, at: 2)]
        }
        let models = try models(
            qualified("mql") + qualified("offered") + qualified("accepted") + qualified("worked") + [
                LeadEvent(lead: "offered", type: .offered, at: 3, data: #""to":"ann""#),
                LeadEvent(lead: "accepted", type: .accepted, at: 3, data: #""by":"ann""#),
                call(.contactAttempted, "worked", at: 3), captured("raw", at: 1),
            ])
        #expect(try leaks(models).total[.neverAccepted].leads.map(\.id) == ["mql", "offered"])
    }

    @Test func `a first response is due and unanswered from its due instant until it is answered, paused or stopped`()
        throws
    {
        let given =
            ["A", "B", "C", "D"].flatMap { [captured($0, at: 0), started($0, at: 0, due: 300)] }
            + [captured("E", at: 0), started("E", at: 0, due: 200)]
        #expect(try leaks(models(given), asOf: 300).total[.dueUnanswered].leads.map(\.id) == ["E"])
        let later =
            given + [
                clock(.clockMet, "A", at: 310, wall: 310, #","late":true"#),
                clock(.clockPaused, "B", at: 100, wall: 100),
                LeadEvent(lead: "C", type: .lost, at: 320, data: #""reason":"price""#),
                breach("D"),
            ]
        let due = try leaks(models(later), asOf: 400).total[.dueUnanswered]
        #expect(
            due.count == 2 && due.leads.map(\.id) == ["E", "D"] && due.leads.map(\.due) == [instant(200), instant(300)])
    }

    @Test func `leads behind a number are the oldest, as many as asked for, by any field and in a period`() throws {
        let models = try models(
            (0..<20).reversed().map { captured("L\($0)", at: Int64($0), $0 % 2 == 0 ? "even" : "") }
                + [assigned("L3", at: 50, to: "ann")])
        let report = try leaks(models, by: .channel, limit: 3)
        #expect(report.rows.map(\.value?.label) == ["even", "(none)"])
        #expect(report.rows[0][.neverAssigned].leads.map(\.id) == ["L0", "L2", "L4"])
        #expect(report.rows[0][.neverAssigned].count == 10 && report.rows[1][.neverAssigned].count == 9)
        #expect(report.total[.neverAssigned].leads.map(\.id) == ["L0", "L1", "L2"])
        #expect(try leaks(models, by: .owner).rows.map(\.value?.label) == ["(none)", "ann"])
        #expect(try leaks(models, limit: 0, from: 5, to: 8).total[.neverAssigned] == LeakedLeads(count: 3, leads: []))
        #expect(try leaks(models, asOf: 9).total.leads == 10)
    }

    // MARK: A plain recount

    @Test(arguments: [UInt64(41), 42, 43]) func `random clocks and leads give what a plain recount gives`(
        seed: UInt64
    ) throws {
        print("seed \(seed)")
        let log = try LeadLog()
        var events = RandomEvents(seed: seed, leads: 60)
        let given = events.next(6_000)
        try log.append(given)
        let models = try Models(of: log)
        try models.wait(for: log.log.end)
        let plain = PlainLeads(given)
        var clocks = 0
        for asOf in [Int64(10_000_000), 20_000_000, 5_000_000] {
            for kind in ResponseClockKind.allCases {
                let found = try report(models, asOf: asOf, .lead(.owner), kind, from: 1_000_000, to: 9_000_000)
                var expected: [String: PlainLeads.Row] = [:]
                for lead in plain.leads.values {
                    for clock in lead.clocks
                    where clock.kind == kind && clock.start >= 1_000_000 && clock.start < 9_000_000 {
                        lead.count(clock, asOf: asOf, Self.office, in: &expected)
                    }
                }
                #expect(Set(found.rows.compactMap { $0.value?.label }) == Set(expected.keys))
                for row in found.rows {
                    let wanted = try #require(expected[row.value?.label ?? ""])
                    #expect(row.wall.answered == wanted.answered.map(\.wall).sorted())
                    #expect(row.business.answered == wanted.answered.map(\.business).sorted())
                    #expect(row.wall.open == wanted.open.map(\.wall).sorted())
                    #expect(row.business.open == wanted.open.map(\.business).sorted())
                    #expect(row.wall.stopped == wanted.stopped.map(\.wall).sorted())
                    #expect(row.business.stopped == wanted.stopped.map(\.business).sorted())
                    #expect(row.noLead == wanted.noLead && row.late == wanted.late && row.overdue == wanted.overdue)
                    clocks += row.clocks
                }
            }
            let leaked = try leaks(models, asOf: asOf, limit: 1_000).total
            for leak in Leak.allCases {
                let wanted = plain.leads.filter { $0.value.leaks(asOf: asOf).contains(leak) }.map(\.key)
                #expect(
                    Set(leaked[leak].leads.map(\.id)) == Set(wanted) && leaked[leak].count == wanted.count, "\(leak)")
            }
        }
        #expect(clocks > 150, "\(clocks)")
    }
}

/// The leads of a log as the plainest reading of its events has them: everything that happened is kept, and looked through for each
/// question.
private struct PlainLeads {
    struct Clock {
        var kind: ResponseClockKind
        var start: Int64
        var isWall: Bool
        var due: Int64?
        var state = "running"
        var since: Int64
        var wall: Int64 = 0
        var business: Int64 = 0
        var isBreached = false
        var isLate = false
        var wasNone = false
        var owner = ""
    }

    struct Row {
        var answered: [(wall: Int64, business: Int64)] = []
        var open: [(wall: Int64, business: Int64)] = []
        var stopped: [(wall: Int64, business: Int64)] = []
        var noLead = 0
        var late = 0
        var overdue = 0
    }

    struct Lead {
        var clocks: [Clock] = []
        var owner = ""
        var isNone = false
        var events: [LeadEvent] = []
        var states: [LeadState] = []
    }

    private(set) var leads: [String: Lead] = [:]

    init(_ events: [LeadEvent]) {
        for event in events where event.type.stream == .lead {
            var lead = leads[event.lead] ?? Lead()
            lead.take(event)
            leads[event.lead] = lead
        }
    }
}

extension PlainLeads.Lead {
    mutating func take(_ event: LeadEvent) {
        let before = states.last
        guard case .next(let state) = Lifecycle.evolve(before, event.type, event.variant, backfill: event.isBackfill)
        else { preconditionFailure("the generator makes what can happen") }
        events.append(event)
        states.append(state)
        switch event.type {
        case .assigned: owner = Self.word("member", event.data)!
        case .contacted, .contactAttempted:
            if before?.custody != .owner, state.custody == .owner { owner = Self.word("by", event.data)! }
        case .disqualified: if ["spam", "duplicate"].contains(Self.word("reason", event.data)!) { isNone = true }
        case .reopened, .recycled: isNone = false
        default: if event.type.name.hasPrefix("lead.clock_") { takeClock(event) }
        }
    }

    private mutating func takeClock(_ event: LeadEvent) {
        let data = event.data
        let kind = ResponseClockKind(name: Self.word("clock", data)!)!
        let due = Self.word("due", data).map(Self.seconds)
        let at = Self.word("at", data).map(Self.seconds)
        let newest = clocks.lastIndex { $0.kind == kind }
        if event.type == .clockStarted {
            if let newest, ["running", "paused"].contains(clocks[newest].state) {
                clocks[newest].wall += max(0, at! - clocks[newest].since) * 1_000_000
                clocks[newest].since = max(at!, clocks[newest].since)
                clocks[newest].state = "stopped"
            }
            clocks.append(
                PlainLeads.Clock(
                    kind: kind, start: at!, isWall: data.contains(#""measure":"wall""#), due: due, since: at!))
            return
        }
        let index = newest!
        if event.type != .clockBreached {
            clocks[index].since = at ?? event.at
            clocks[index].wall = Self.number("wall", data)
            clocks[index].business = Self.number("business", data)
        }
        switch event.type {
        case .clockPaused: (clocks[index].state, clocks[index].due) = ("paused", nil)
        case .clockResumed:
            (clocks[index].state, clocks[index].due) = ("running", due)
            clocks[index].wasNone = false
        case .clockReplaced:
            (clocks[index].isWall, clocks[index].due) = (data.contains(#""measure":"wall""#), due)
        case .clockBreached: (clocks[index].isBreached, clocks[index].due) = (true, due)
        case .clockStopped:
            (clocks[index].state, clocks[index].wasNone, clocks[index].owner) = ("stopped", isNone, owner)
        default:
            clocks[index].state = "met"
            clocks[index].owner = owner
            clocks[index].wasNone = false
            clocks[index].isLate = data.contains(#""late":true"#)
            if !clocks[index].isLate { clocks[index].isBreached = false }
        }
    }

    fileprivate func count(
        _ clock: PlainLeads.Clock, asOf: Int64, _ office: BusinessCalendar, in rows: inout [String: PlainLeads.Row]
    ) {
        guard clock.start <= asOf else { return }
        let isOver = clock.since <= asOf && (clock.state == "met" || clock.state == "stopped")
        let name = isOver ? clock.owner : owner
        var row = rows[name.isEmpty ? "(none)" : name] ?? PlainLeads.Row()
        defer { rows[name.isEmpty ? "(none)" : name] = row }
        let isWaiting = clock.state == "running" || clock.state == "paused"
        if isWaiting && isNone || isOver && clock.state == "stopped" && clock.wasNone {
            row.noLead += 1
        } else if isOver, clock.state == "met" {
            row.answered.append((clock.wall, clock.business))
            if clock.isLate { row.late += 1 }
        } else if isOver {
            row.stopped.append((clock.wall, clock.business))
            if clock.isBreached { row.overdue += 1 }
        } else {
            let wall = (asOf - clock.since) * 1_000_000
            var business: Int64 = 0
            if clock.since > asOf || clock.state == "running" {
                business =
                    clock.isWall
                    ? wall
                    : office.business(from: instant(clock.since), to: instant(asOf))
                        - office.business(from: instant(asOf), to: instant(clock.since))
            }
            row.open.append((max(0, clock.wall + wall), max(0, clock.business + business)))
            let wasBreached = clock.state == "paused" && clock.isBreached && clock.since <= asOf
            if wasBreached || clock.due.map({ $0 < asOf }) ?? false { row.overdue += 1 }
        }
    }

    func leaks(asOf: Int64) -> Set<Leak> {
        let captured = events.filter { $0.type == .captured }.map(\.at).min()!
        guard captured <= asOf, let state = states.last else { return [] }
        func happened(_ types: EventType...) -> Bool {
            events.contains { types.contains($0.type) && $0.variant != .automatic }
        }
        var leaks: Set<Leak> = []
        if state.stage != .won && state.stage != .disqualified {
            let wasOwned = !owner.isEmpty
            if !wasOwned { leaks.insert(.neverAssigned) }
            if wasOwned, !happened(.contactAttempted, .contacted) { leaks.insert(.neverAttempted) }
            if happened(.contactAttempted), !happened(.contacted) { leaks.insert(.neverContacted) }
            let furthest = events.compactMap(\.type.stageReached).filter(\.isOpen).max()
            if furthest == .mql || furthest == .offered { leaks.insert(.neverAccepted) }
        }
        if state.stage.isOpen, let clock = clocks.last(where: { $0.kind == .firstResponse }), clock.state == "running",
            let due = clock.due, due < asOf
        {
            leaks.insert(.dueUnanswered)
        }
        return leaks
    }

    private static func word(_ name: String, _ data: String) -> String? {
        guard let start = data.range(of: "\"\(name)\":\"")?.upperBound else { return nil }
        return String(data[start...].prefix { $0 != "\"" })
    }

    private static func number(_ name: String, _ data: String) -> Int64 {
        Int64(data[data.range(of: "\"\(name)\":")!.upperBound...].prefix { $0.isNumber })!
    }

    private static func seconds(_ text: String) -> Int64 {
        (try! Instant(rfc3339: text).microseconds - LeadEvent.epoch) / 1_000_000
    }
}

extension String {
    /// Where `text` first stands.
    fileprivate func range(of text: String) -> Range<String.Index>? { firstRange(of: text) }
}
