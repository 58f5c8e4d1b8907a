import TestSupport
import Testing

@testable import Leads

/// What starts a clock, what meets it, and what stops it. Event 0 is the rule set's activation, 1 the first capture.
@Suite struct ClockBookTests {
    private static let response = ClockWorld.target("first", .firstResponse, 300)

    private func world(_ targets: ResponseTarget...) throws -> ClockWorld {
        var rules = ClockWorld.rules()
        rules.responseTargets = targets
        rules.pools[0].responseTargets = targets.indices.map { ResponseTargetIndex($0) }
        return try ClockWorld(rules)
    }

    // MARK: First response

    @Test func `a capture starts a first response, and a contact meets it`() throws {
        let world = try world(Self.response)
        try world.capture("L")
        try world.pass(2 * minute)
        try world.happen(.contacted, "L", by: "ann")
        try world.pass(hour)
        #expect(
            world.lines("L") == [
                "first_response-started-1 @02T09:00 first due 02T09:05", "first_response-met-1-2 @02T09:02",
            ])
        guard case .met(let met)? = world.entry("first_response-met-1-2", "L") else { throw Missing() }
        #expect(met.elapsed == .init(wall: 2 * minute, business: 2 * minute))
        #expect(met.by == "ann" && met.cause == world.positions[2])
        #expect(met.due == (try march("02T09:05")))
        #expect(world.book.leadCount == 0)
        #expect(world.book.nextInstant() == nil)
    }

    @Test func `at the due instant an answer is in time, a microsecond later it is not`() throws {
        let world = try world(Self.response)
        try world.capture("in time")
        try world.capture("late")
        try world.pass(until: march("02T09:05"))
        try world.happen(.contacted, "in time", by: "ann")
        #expect(world.lines("in time").last == "first_response-met-1-3 @02T09:05")
        #expect(world.lines("late").count == 1)
        try world.pass(1)
        #expect(world.lines("late").last == "first_response-breached-2 @02T09:05")
        try world.happen(.contacted, "late", by: "ann")
        #expect(world.lines("late").last == "first_response-met-2-4 @02T09:05:00.000001 late")
    }

    @Test func `a breach that nobody noticed is said at its instant before the answer that was too late`() throws {
        let world = try world(Self.response)
        try world.capture("L")
        world.isUp = false
        try world.pass(hour)
        try world.happen(.contacted, "L", by: "ann")
        world.isUp = true
        try world.settle()
        #expect(
            world.lines("L") == [
                "first_response-started-1 @02T09:00 first due 02T09:05", "first_response-breached-1 @02T09:05",
                "first_response-met-1-2 @02T10:00 late",
            ])
        guard case .breached(_, let due, let elapsed)? = world.entry("first_response-breached-1", "L") else {
            throw Missing()
        }
        #expect(due == (try march("02T09:05")))
        #expect(elapsed == .init(wall: 5 * minute, business: 5 * minute))
    }

    @Test func `an answer recorded late but timed in time corrects the breach`() throws {
        let world = try world(Self.response)
        try world.capture("L")
        try world.pass(hour)
        try world.happen(.contacted, "L", by: "ann", at: march("02T09:05")) { $0.backfill = true }
        #expect(
            world.lines("L").suffix(2) == [
                "first_response-breached-1 @02T09:05", "first_response-met-1-2 @02T09:05",
            ])
        #expect(world.book.leadCount == 0)
    }

    @Test func `a late answer is corrected by an earlier one that is recorded after it, once`() throws {
        let world = try world(Self.response)
        try world.capture("L")
        try world.pass(hour)
        try world.happen(.contacted, "L", by: "ann")
        #expect(world.lines("L").last == "first_response-met-1-2 @02T10:00 late")
        // Earlier, but late all the same.
        try world.happen(.contacted, "L", by: "ann", at: march("02T09:30"))
        try world.happen(.contacted, "L", by: "ann", at: march("02T09:04"))
        #expect(world.lines("L").last == "first_response-met-1-4 @02T09:04")
        try world.happen(.contacted, "L", by: "ann", at: march("02T09:03"))
        #expect(world.lines("L").count == 4)
        #expect(world.book.leadCount == 0)
    }

    @Test func `what is automatic, inbound, an attempt, another's or from before is no first response`() throws {
        let world = try world(Self.response)
        try world.capture("L")
        try world.assign("L", to: "ann")
        try world.pass(minute)
        try world.happen(.contacted, "L", by: "ann", variant: .automatic)
        try world.happen(.contacted, "L", by: "ann") { $0.isOutbound = false }
        try world.happen(.contactAttempted, "L", by: "ann")
        try world.happen(.contacted, "L", by: "bob")
        try world.happen(.contacted, "L", by: "ann", at: march("02T08:59"))
        #expect(world.lines("L").count == 1)
        try world.happen(.contacted, "L", by: "ann")
        #expect(world.lines("L").last == "first_response-met-1-8 @02T09:01")
    }

    @Test func `an attempt or a colleague answers where the target says so`() throws {
        let world = try world(
            ClockWorld.target("first", .firstResponse, 300) {
                $0.attemptAnswers = true
                $0.answeredBy = .team
            })
        try world.capture("L")
        try world.assign("L", to: "ann")
        try world.happen(.contactAttempted, "L", by: "zoe")
        #expect(world.lines("L").count == 1)
        try world.happen(.contactAttempted, "L", by: "bob")
        #expect(world.lines("L").last == "first_response-met-1-4 @02T09:00")
    }

    @Test func `who had the lead when they answered has answered, though it was recorded after they lost it`() throws {
        let world = try world(Self.response)
        try world.capture("L")
        try world.assign("L", to: "ann")
        try world.pass(10 * minute)
        try world.assign("L", to: "bob")
        try world.pass(10 * minute)
        try world.happen(.contacted, "L", by: "ann", at: march("02T09:15"))
        #expect(world.lines("L").last == "first_response-breached-1 @02T09:05")
        try world.happen(.contacted, "L", by: "ann", at: march("02T09:04"))
        #expect(world.lines("L").last == "first_response-met-1-5 @02T09:04")
    }

    @Test func `captured and contacted at once, the clock is started and met`() throws {
        let world = try world(Self.response)
        world.isUp = false
        try world.capture("L")
        try world.happen(.contacted, "L", by: "ann")
        world.isUp = true
        try world.settle()
        #expect(
            world.lines("L") == [
                "first_response-started-1 @02T09:00 first due 02T09:05", "first_response-met-1-2 @02T09:00",
            ])
    }

    @Test func `nothing starts by a backfilled event, an enquiry, or without a rule set in force at its instant`()
        throws
    {
        let world = try world(
            Self.response, ClockWorld.target("accept", .accept, 60), ClockWorld.target("new", .stageAge(.captured), 60),
            ClockWorld.target("mql", .stageAge(.mql), 60))
        try world.capture("old", backfill: true)
        try world.happen(.assigned, "old", by: "ann", pool: "sales") {
            $0.mode = .push
            $0.backfill = true
        }
        try world.happen(.marketingQualified, "old") { $0.backfill = true }
        try world.capture("old")
        try world.capture("before", at: march("02T08:59"))
        #expect(world.said.isEmpty)
        #expect(world.book.leadCount == 1, "the inbox alarm of the one")
        try world.pass(hour)
        #expect(world.alarms("before") == ["inbox-alarmed-5 @02T09:00:05"])
        #expect(world.lines("old").isEmpty)
        let empty = try ClockWorld()
        try empty.capture("L")
        try empty.pass(hour)
        #expect(empty.said.isEmpty && empty.book.leadCount == 0)
    }

    @Test func `the targets are the first of each kind whose condition is true, of the pool that takes the lead`()
        throws
    {
        var rules = ClockWorld.rules(
            ClockWorld.target("ads", .firstResponse, 60), ClockWorld.target("others", .firstResponse, 3_600),
            ClockWorld.target("qualify", .qualify, 7_200), ClockWorld.target("emea", .firstResponse, 600))
        rules.responseTargets[0].condition = try condition(#"channel == "ads""#)
        rules.pools[0].responseTargets.removeLast()
        var emea = Pool(
            id: "emea", members: [PoolMember(member: MemberIndex(3), weight: 1)], calendar: CalendarIndex(0))
        emea.responseTargets = [ResponseTargetIndex(3)]
        rules.pools.append(emea)
        rules.territories = [
            Territory(id: "emea", condition: try condition(#"country == "NL""#), pool: PoolIndex(1))
        ]
        let world = try ClockWorld(rules)
        try world.capture("ads", [.channel: .text(Array("ads".utf8))])
        try world.capture("mail", [.channel: .text(Array("mail".utf8))])
        try world.capture("dutch", [.channel: .text(Array("ads".utf8)), .country: .text(Array("nl".utf8))])
        #expect(
            world.lines("ads") == [
                "first_response-started-1 @02T09:00 ads due 02T09:01",
                "qualify-started-1 @02T09:00 qualify due 02T11:00",
            ])
        #expect(world.lines("mail")[0] == "first_response-started-2 @02T09:00 others due 02T10:00")
        #expect(world.lines("dutch") == ["first_response-started-3 @02T09:00 emea due 02T09:10"])
        guard case .started(let started)? = world.entry("first_response-started-3", "dutch") else { throw Missing() }
        #expect(started.pool == "emea")
    }

    @Test func `a clock counts by the rule set in force at its trigger's instant, whenever that was noticed`() throws {
        let world = try world(Self.response)
        world.isUp = false
        try world.capture("L")
        try world.pass(hour)
        try world.activate(ClockWorld.rules(ClockWorld.target("new", .firstResponse, 60)))
        try world.capture("M")
        world.isUp = true
        try world.settle()
        #expect(world.lines("L").first == "first_response-started-1 @02T09:00 first due 02T09:05")
        #expect(world.lines("M").first == "first_response-started-3 @02T10:00 new due 02T10:01")
    }

    // MARK: Accept

    @Test func `an assignment starts an accept clock, unless the member took the lead`() throws {
        let modes: [(AssignmentMode?, Bool, Bool)] = [
            (.push, false, true), (.match, false, true), (.manual, false, true), (nil, false, true),
            (.manual, true, false), (.pull, false, false), (.imported, false, false),
        ]
        for (mode, bySelf, starts) in modes {
            let world = try world(ClockWorld.target("accept", .accept, 60))
            try world.capture("L")
            try world.assign("L", to: "ann", mode, bySelf: bySelf)
            #expect(world.lines("L").count == (starts ? 1 : 0), "\(String(describing: mode)) \(bySelf)")
        }
    }

    @Test func `accepting, attempting or contacting by the holder meets the accept clock`() throws {
        let world = try world(ClockWorld.target("accept", .accept, 60))
        for (id, type) in [("a", EventType.accepted), ("b", .contactAttempted), ("c", .contacted)] {
            try world.capture(id)
            let start = try world.assign(id, to: "ann")
            if type != .accepted {
                try world.happen(type, id, by: "bob")
                try world.happen(type, id, by: "ann", variant: .automatic)
            }
            let answer = try world.happen(type, id, by: "ann") { $0.isOutbound = false }
            #expect(
                world.lines(id) == [
                    "accept-started-\(start) @02T09:00 accept due 02T09:01", "accept-met-\(start)-\(answer) @02T09:00",
                ])
        }
    }

    @Test func `a reassignment stops the accept clock and starts another, and first response goes on`() throws {
        let world = try world(
            Self.response, ClockWorld.target("accept", .accept, 60, ladder: [(100, .reassign)]))
        try world.capture("L")
        try world.assign("L", to: "ann")
        try world.pass(61 * 1_000_000)
        #expect(
            world.lines("L").suffix(2) == [
                "accept-breached-2 @02T09:01", "accept-step-100-2 @02T09:01 reassign ann",
            ])
        try world.assign("L", to: "bob")
        #expect(
            world.lines("L").suffix(2) == [
                "accept-stopped-2-3 @02T09:01:01: reassigned",
                "accept-started-3 @02T09:01:01 accept due 02T09:02:01",
            ])
        #expect(world.status("L", .firstResponse)?.cause == world.positions[1])
        try world.happen(.released, "L", reason: "busy")
        #expect(world.lines("L").last == "accept-stopped-3-4 @02T09:01:01: released")
        #expect(world.status("L", .firstResponse)?.state == .running)
    }

    @Test func `reassigned before the first accept clock was said, it is started and stopped`() throws {
        let world = try world(ClockWorld.target("accept", .accept, 60))
        try world.capture("L")
        world.isUp = false
        try world.assign("L", to: "ann")
        try world.pass(2 * minute)
        try world.assign("L", to: "bob")
        world.isUp = true
        try world.settle()
        #expect(
            world.lines("L") == [
                "accept-started-2 @02T09:00 accept due 02T09:01", "accept-breached-2 @02T09:01",
                "accept-stopped-2-3 @02T09:02: reassigned", "accept-started-3 @02T09:02 accept due 02T09:03",
            ])
    }

    // MARK: Qualify and age of a stage

    @Test func `qualify is met by qualified and by what lies beyond`() throws {
        for type in [EventType.qualified, .opportunityOpened, .won] {
            let world = try world(ClockWorld.target("q", .qualify, 600))
            try world.capture("L")
            try world.pass(minute)
            try world.happen(.contacted, "L", by: "ann")
            let answer = try world.happen(type, "L", by: "ann")
            #expect(world.lines("L").last == "qualify-met-1-\(answer) @02T09:01")
            #expect(world.book.leadCount == 0)
        }
    }

    @Test func `the age of a stage runs from entering it until it is left upwards`() throws {
        let world = try world(
            ClockWorld.target("new", .stageAge(.captured), 600), ClockWorld.target("offer", .stageAge(.offered), 600),
            ClockWorld.target("work", .stageAge(.working), 600))
        try world.capture("L")
        try world.pass(minute)
        try world.happen(.offered, "L")
        try world.pass(minute)
        try world.happen(.rejected, "L", reason: "budget")
        try world.pass(minute)
        try world.happen(.contactAttempted, "L", by: "ann")
        try world.happen(.contactAttempted, "L", by: "ann")
        try world.pass(minute)
        try world.happen(.won, "L")
        #expect(
            world.lines("L") == [
                "stage_age-started-1 @02T09:00 new due 02T09:10", "stage_age-met-1-2 @02T09:01",
                "stage_age-started-2 @02T09:01 offer due 02T09:11", "stage_age-stopped-2-3 @02T09:02: rejected",
                "stage_age-started-3 @02T09:02 new due 02T09:12", "stage_age-met-3-4 @02T09:03",
                "stage_age-started-4 @02T09:03 work due 02T09:13", "stage_age-met-4-6 @02T09:04",
            ])
    }

    // MARK: Ends and new cycles

    @Test func `an end stops what it does not meet, and reopening resumes it`() throws {
        let world = try world(
            Self.response, ClockWorld.target("q", .qualify, 600), ClockWorld.target("a", .accept, 600))
        try world.capture("L")
        try world.assign("L", to: "ann")
        try world.pass(minute)
        try world.happen(.lost, "L", reason: "no_budget")
        #expect(
            world.lines("L").suffix(3) == [
                "first_response-stopped-1-3 @02T09:01: lost", "qualify-stopped-1-3 @02T09:01: lost",
                "accept-stopped-2-3 @02T09:01: lost",
            ])
        #expect(world.status("L", .accept) == nil)
        #expect(world.status("L", .firstResponse)?.state == .stopped)
        try world.pass(24 * hour)
        #expect(!world.lines("L").contains { $0.contains("breached") })
        let reopened = try world.happen(.reopened, "L", variant: .resume)
        #expect(
            world.lines("L").filter { $0.contains("resumed") } == [
                "first_response-resumed-1-\(reopened) @03T09:01 due 03T09:05",
                "qualify-resumed-1-\(reopened) @03T09:01 due 03T09:10",
            ])
        try world.pass(until: march("03T09:06"))
        #expect(world.lines("L").contains("first_response-breached-1 @03T09:05"))
        guard case .breached(_, _, let elapsed)? = world.entry("first_response-breached-1", "L") else {
            throw Missing()
        }
        #expect(elapsed == .init(wall: 5 * minute, business: 5 * minute))
    }

    @Test func `a win meets qualify and stops first response, and a late answer from before the end still meets it`()
        throws
    {
        let world = try world(Self.response, ClockWorld.target("q", .qualify, 600))
        try world.capture("L")
        try world.pass(minute)
        let won = try world.happen(.won, "L", by: "ann")
        #expect(
            Set(world.lines("L").suffix(2)) == [
                "first_response-stopped-1-\(won) @02T09:01: won", "qualify-met-1-\(won) @02T09:01",
            ])
        try world.pass(hour)
        try world.happen(.contacted, "L", by: "ann", at: march("02T09:02")) { $0.backfill = true }
        #expect(!world.lines("L").contains { $0.hasPrefix("first_response-met") })
        let answer = try world.happen(.contacted, "L", by: "ann", at: march("02T09:00")) { $0.backfill = true }
        #expect(world.lines("L").last == "first_response-met-1-\(answer) @02T09:00")
        try world.happen(.reopened, "L", variant: .unWin)
        #expect(!world.lines("L").contains { $0.contains("resumed") })
    }

    @Test func `lost, reopened and lost again while nobody looked is said in its order`() throws {
        let world = try world(Self.response)
        try world.capture("L")
        world.isUp = false
        try world.pass(minute)
        try world.happen(.lost, "L", reason: "x")
        try world.pass(minute)
        try world.happen(.reopened, "L", variant: .resume)
        try world.pass(minute)
        try world.happen(.lost, "L", reason: "x")
        try world.pass(hour)
        try world.happen(.reopened, "L", variant: .resume)
        try world.pass(hour)
        world.isUp = true
        try world.settle()
        #expect(
            world.lines("L") == [
                "first_response-started-1 @02T09:00 first due 02T09:05",
                "first_response-stopped-1-2 @02T09:01: lost", "first_response-resumed-1-3 @02T09:02 due 02T10:06",
                "first_response-stopped-1-4 @02T09:03: lost", "first_response-resumed-1-5 @02T10:03 due 02T10:06",
                "first_response-breached-1 @02T10:06",
            ])
    }

    @Test func `a new cycle stops the clocks of the one before and starts its own`() throws {
        let world = try world(Self.response)
        try world.capture("L")
        try world.pass(minute)
        let recycled = try world.happen(.recycled, "L", reason: "later")
        #expect(
            world.lines("L").suffix(2) == [
                "first_response-stopped-1-\(recycled) @02T09:01: recycled",
                "first_response-started-\(recycled) @02T09:01 first due 02T09:06",
            ])
        try world.happen(.contacted, "L", by: "ann")
        try world.happen(.won, "L")
        let anew = try world.happen(.reopened, "L", variant: .newBusiness)
        #expect(world.lines("L").last == "first_response-started-\(anew) @02T09:01 first due 02T09:06")
    }

    @Test func `nurture waits, and what leaves it starts`() throws {
        let world = try world(Self.response, ClockWorld.target("new", .stageAge(.captured), 600))
        try world.capture("L")
        try world.happen(.recycled, "L", variant: .toNurture, reason: "later")
        #expect(world.book.leadCount == 0)
        try world.pass(hour)
        let left = try world.happen(.nurtureExited, "L")
        #expect(
            Set(world.lines("L").suffix(2)) == [
                "first_response-started-\(left) @02T10:00 first due 02T10:05",
                "stage_age-started-\(left) @02T10:00 new due 02T10:10",
            ])
    }

    @Test func `a merge is silent until it is undone, and an erasure is the end`() throws {
        let world = try world(Self.response)
        try world.capture("L")
        try world.capture("other")
        try world.pass(minute)
        world.isUp = false
        try world.happen(.merged, "L", into: "other")
        world.isUp = true
        try world.pass(hour)
        #expect(world.lines("L").count == 1)
        try world.happen(.unmerged, "L")
        #expect(
            world.lines("L").suffix(2) == [
                "first_response-stopped-1-3 @02T09:01: merged", "first_response-resumed-1-4 @02T10:01 due 02T10:05",
            ])
        try world.pass(4 * minute + 1)
        #expect(world.lines("L").last?.hasPrefix("first_response-breached-1 @02T10:05") == true)
        try world.happen(.erased, "L")
        try world.happen(.erased, "other")
        #expect(world.book.leadCount == 0)
    }

    // MARK: Pauses

    @Test func `a pause moves the due instant by as much as it lasts`() throws {
        let world = try world(Self.response)
        try world.capture("L")
        try world.pass(minute)
        try world.pause("L", .firstResponse)
        #expect(world.status("L", .firstResponse)?.state == .paused)
        #expect(world.status("L", .firstResponse)?.due == nil)
        try world.pass(hour)
        try world.resume("L", .firstResponse)
        #expect(world.status("L", .firstResponse)?.due == (try march("02T10:05")))
        try world.pass(hour)
        #expect(world.lines("L").last == "first_response-breached-1 @02T10:05")
        guard case .breached(_, _, let elapsed)? = world.entry("first_response-breached-1", "L") else {
            throw Missing()
        }
        #expect(elapsed == .init(wall: 65 * minute, business: 5 * minute))
    }

    @Test func `a paused clock is met and stopped as any other`() throws {
        let world = try world(Self.response)
        for id in ["a", "b"] {
            try world.capture(id)
            try world.pass(minute)
            try world.pause(id, .firstResponse)
            try world.pass(hour)
        }
        try world.happen(.contacted, "a", by: "ann")
        #expect(world.lines("a").last?.hasSuffix("@02T11:02") == true)
        try world.happen(.lost, "b", reason: "x")
        try world.happen(.reopened, "b", variant: .resume)
        #expect(world.status("b", .firstResponse)?.state == .running)
    }

    // MARK: The inbox

    @Test func `who lies in the inbox for more than five seconds raises one alarm for each stay`() throws {
        let world = try world(ClockWorld.target("accept", .accept, 60))
        // By when it was recorded: before that it cannot have waited for us.
        try world.capture("L", at: march("02T08:00"))
        try world.pass(5_000_000)
        #expect(world.said.isEmpty)
        try world.capture("L")
        try world.pass(1)
        #expect(world.alarms("L") == ["inbox-alarmed-1 @02T09:00:05"])
        try world.pass(minute)
        try world.assign("L", to: "ann", .pull)
        try world.pass(minute)
        try world.happen(.released, "L", reason: "x")
        try world.pass(4_000_000)
        try world.happen(.queued, "L", pool: "sales")
        try world.pass(minute)
        #expect(world.alarms("L").count == 1)
        #expect(world.book.leadCount == 0)
        try world.assign("L", to: "ann", .pull)
        try world.happen(.released, "L", reason: "x")
        try world.pass(hour)
        #expect(world.alarms("L").last == "inbox-alarmed-7 @02T09:03:14.000001")
        #expect(world.book.leadCount == 0)
    }

    @Test func `where leads are routed at qualification, nobody is late for a capture that waits for it`() throws {
        var rules = RoutingWorld.rules(["ann"])
        rules.routesAtMarketingQualified = true
        let world = try ClockWorld(rules)
        try world.capture("L")
        try world.pass(hour)
        #expect(world.alarms("L") == [])
        try world.happen(.marketingQualified, "L")
        try world.pass(minute)
        #expect(world.alarms("L") == ["inbox-alarmed-2 @02T10:00:05"])
        try world.happen(.marketingQualified, "L", at: nil) { $0.backfill = true }
        try world.pass(minute)
        #expect(world.alarms("L").count == 1)
    }

    // MARK: What comes between a decision and its entry

    @Test func `a clock whose lead was passed on before its start was stored is stopped again`() throws {
        var rules = ClockWorld.rules(
            ClockWorld.target("accept", .accept, 600), ClockWorld.target("follow", .followUp, 600))
        rules.pools[0].responseTargets = [ResponseTargetIndex(0), ResponseTargetIndex(1)]
        let world = try ClockWorld(rules)
        try world.capture("L")
        world.isUp = false
        try world.assign("L", to: "ann")
        let decided = world.book.due(at: world.now, limit: 9, background: world.background)
        #expect(decided.count == 2)
        try world.happen(.released, "L", reason: "x")
        for action in decided { try world.append(action) }
        world.isUp = true
        try world.settle()
        #expect(
            Set(world.lines("L").suffix(2)) == [
                "accept-stopped-2-3 @02T09:00: released", "follow_up-stopped-2-1-2 @02T09:00: superseded",
            ])
        #expect(world.book.clocks(of: RoutingWorld.key("L"), at: world.now).isEmpty)
    }

    @Test func `what was decided and not stored is decided again, by the same id`() throws {
        let world = try world(Self.response)
        world.isUp = false
        try world.capture("L")
        let decided = world.book.due(at: world.now, limit: 9, background: world.background)
        #expect(world.book.due(at: world.now, limit: 9, background: world.background) == decided)
        var restarted = ClockBook()
        for event in world.log { try restarted.apply(event) }
        #expect(restarted.due(at: world.now, limit: 9, background: world.background) == decided)
        #expect(decided.map(\.events[0].id) == ["first_response-started-1"])
        #expect(decided[0].events[0].causation == 1)
    }

    @Test func `a lead that cannot be read is an error, and nothing is lost by it`() throws {
        let world = try world(Self.response)
        world.isUp = false
        try world.capture("L")
        #expect(throws: Missing.self) {
            try world.book.due(at: world.now, limit: 9) { _, _, _ throws(Missing) in throw Missing() }
        }
        #expect(world.book.nextInstant() == world.now)
        #expect(world.book.due(at: world.now, limit: 9, background: world.background).count == 1)
    }

    // MARK: What cannot be folded

    @Test func `a stored clock by a rule set, target or calendar that is not there is refused, and changes nothing`()
        throws
    {
        let world = try world(Self.response)
        try world.capture("L")
        guard case .started(let started)? = world.entry("first_response-started-1", "L") else { throw Missing() }
        var book = ClockBook()
        for event in world.log.prefix(2) { try book.apply(event) }
        func refusal(_ change: (inout ClockEntry.Started) -> Void) -> ClockFault? {
            var changed = started
            change(&changed)
            let event = ClockEvent(
                position: 2, instant: world.now, recordedAt: world.now,
                body: .entry(RoutingWorld.key("L"), .started(changed)))
            do throws(ClockFault) { try book.apply(event) } catch { return error }
            return nil
        }
        #expect(refusal { $0.terms.version = 7 } == .unknownRuleSet(position: 2, version: 7))
        #expect(refusal { $0.terms.policy = "other" } == .unknownRuleSet(position: 2, version: 0))
        #expect(refusal { $0.terms.target = "other" } == .unknownTarget(position: 2, target: "other"))
        #expect(refusal { $0.clock = .accept } == .unknownTarget(position: 2, target: "first"))
        #expect(refusal { $0.terms.calendar = "moon" } == .unknownCalendar(position: 2, calendar: "moon"))
        #expect(refusal { $0.terms.seconds = -1 } == .unsound(position: 2))
        #expect(refusal { $0.attempt = 0 } == .unsound(position: 2))
        #expect(book.end == 2)
        #expect(refusal { _ in } == nil)
        #expect(throws: ClockFault.outOfOrder(position: 1, end: 3)) { try book.apply(world.log[1]) }
    }

    @Test func `entries about clocks that are not there, and numbers beyond all bounds, change nothing`() throws {
        let world = try world(Self.response)
        try world.capture("L")
        let none = ResponseClock.Elapsed(wall: 0, business: 0)
        guard case .started(var started)? = world.entry("first_response-started-1", "L") else { throw Missing() }
        started.cause = 77
        let before = world.book.due(at: try march("03T09:00"), limit: 9, background: world.background)
        for entry: ClockEntry in [
            .breached(.qualify, due: world.now, elapsed: none),
            .stopped(.accept, at: world.now, reason: nil, elapsed: none),
            .paused(.stageAge, reason: nil, elapsed: none),
            .resumed(.firstResponse, reason: nil, due: nil, elapsed: none),
            .met(.init(clock: .followUp, at: world.now, elapsed: none, late: false)), .started(started),
            .escalated(.init(clock: .accept, target: nil, step: .max, action: .notify)),
        ] {
            try world.store(entry, "L")
            if case .started = entry { continue }
            try world.store(entry, "nobody")
        }
        #expect(world.book.due(at: try march("03T09:00"), limit: 9, background: world.background) == before)

        started.terms.seconds = .max
        started.cause = 1
        var book = ClockBook()
        for event in world.log.prefix(2) { try book.apply(event) }
        try book.apply(
            ClockEvent(
                position: 2, instant: world.now, recordedAt: world.now,
                body: .entry(RoutingWorld.key("L"), .started(started))))
        #expect(book.clocks(of: RoutingWorld.key("L"), at: world.now).first?.due == nil)
        #expect(book.instant(ofPercent: .max, of: .firstResponse, RoutingWorld.key("L")) == nil)
    }
}

struct Missing: Error {}

func condition(_ text: String) throws -> Condition {
    var parser = ConditionParser()
    return Condition(try parser.parse(text))
}
