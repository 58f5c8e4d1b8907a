import TestSupport
import Testing

@testable import Leads

/// Steps of ladders, who is told, and what follows; rule sets that apply to running clocks.
@Suite struct LadderTests {
    private func world(_ ladder: [(Int, LadderAction)], seconds: Int64 = 600) throws -> ClockWorld {
        try ClockWorld(ClockWorld.rules(ClockWorld.target("first", .firstResponse, seconds, ladder: ladder)))
    }

    @Test func `each step is said at its percentage of the target, the breach before those of 100`() throws {
        let world = try world(
            [
                (50, .notify(.holder)), (100, .notify(.team)), (100, .reassign), (150, .manager),
                (333, .notify(.manager)),
            ])
        try world.capture("L")
        try world.assign("L", to: "ann")
        try world.pass(until: march("02T09:05"))
        #expect(world.lines("L").count == 1, "at its instant a step is not yet due")
        try world.pass(hour)
        #expect(
            world.lines("L") == [
                "first_response-started-1 @02T09:00 first due 02T09:10",
                "first_response-step-50-1 @02T09:05 notify ann", "first_response-breached-1 @02T09:10",
                "first_response-step-100-1 @02T09:10 notify ann,bob",
                "first_response-step-100.2-1 @02T09:10 reassign ann", "first_response-step-150-1 @02T09:15 manager mia",
                "first_response-step-333-1 @02T09:33:18 notify mia",
            ])
        #expect(world.book.nextInstant() == nil)
    }

    @Test func `without a holder the pool's people are told`() throws {
        var rules = ClockWorld.rules(
            ClockWorld.target(
                "first", .firstResponse, 600,
                ladder: [(10, .notify(.holder)), (20, .notify(.team)), (30, .notify(.member(MemberIndex(3))))]))
        rules.pools[0].manager = MemberIndex(3)
        rules.members[1].isActive = false
        let world = try ClockWorld(rules)
        try world.capture("L")
        try world.pass(hour)
        #expect(
            world.lines("L").filter { $0.contains("step") }.map { $0.split(separator: " ").last.map(String.init) } == [
                "zoe", "ann", "zoe",
            ])
    }

    @Test func `an answer ends the ladder, also for steps that nobody noticed in time`() throws {
        let world = try world([(50, .notify(.holder)), (150, .recycle)])
        try world.capture("L")
        try world.capture("M")
        try world.pass(minute)
        try world.happen(.contacted, "M", by: "ann")
        world.isUp = false
        try world.pass(hour)
        try world.happen(.contacted, "L", by: "ann")
        world.isUp = true
        try world.settle()
        #expect(!(world.lines("L") + world.lines("M")).contains { $0.contains("step") })
    }

    @Test func `to queue again is said with the event that does it, and only what an owner has is taken`() throws {
        let world = try world([(100, .queueAgain), (200, .queueAgain)])
        try world.capture("L")
        try world.assign("L", to: "ann")
        try world.pass(hour)
        #expect(
            world.lines("L").suffix(3) == [
                "first_response-step-100-1 @02T09:10 queue_again ann",
                "first_response-step-100-1-moved to sales: escalated",
                "first_response-step-200-1 @02T09:20 queue_again ",
            ])
        #expect(world.router.standing(of: RoutingWorld.key("L")).state?.custody == .queue)
    }

    @Test func `recycled by its ladder a lead begins a new cycle as of now`() throws {
        let world = try world([(100, .recycle)])
        try world.capture("L")
        world.isUp = false
        try world.pass(24 * hour)
        world.isUp = true
        try world.settle()
        #expect(
            world.lines("L") == [
                "first_response-started-1 @02T09:00 first due 02T09:10", "first_response-breached-1 @02T09:10",
                "first_response-step-100-1 @02T09:10 recycle ",
                "first_response-step-100-1-moved to inbox: escalated",
                "first_response-stopped-1-2 @03T09:00: recycled",
                "first_response-started-2 @03T09:00 first due 03T09:10",
            ])
    }

    @Test func `after an end no step is said, and after reopening the rest`() throws {
        let world = try world([(50, .notify(.holder)), (150, .notify(.manager))])
        try world.capture("L")
        try world.pass(6 * minute)
        try world.happen(.lost, "L", reason: "x")
        try world.pass(hour)
        #expect(world.lines("L").filter { $0.contains("step") }.count == 1)
        try world.happen(.reopened, "L", variant: .resume)
        try world.pass(hour)
        #expect(world.lines("L").last == "first_response-step-150-1 @02T10:15 notify ")
    }

    // MARK: New rules for running clocks

    private func rules(_ seconds: Int64, _ ladder: [(Int, LadderAction)] = [], applies: Bool = true) -> RuleSet {
        var rules = ClockWorld.rules(ClockWorld.target("new", .firstResponse, seconds, ladder: ladder))
        rules.appliesToRunning = applies
        return rules
    }

    @Test func `a rule set that applies to running clocks replaces their target, and elapsed time and pauses stay`()
        throws
    {
        let world = try world([(50, .notify(.holder))])
        try world.capture("L")
        try world.pass(2 * minute)
        try world.pause("L", .firstResponse)
        try world.pass(2 * minute)
        try world.resume("L", .firstResponse)
        try world.pass(2 * minute)
        try world.activate(rules(1_200, [(50, .reassign), (60, .manager)]))
        #expect(world.lines("L").last == "first_response-replaced-1-2 @02T09:06 new due 02T09:22")
        guard case .replaced(let replaced)? = world.entry("first_response-replaced-1-2", "L") else { throw Missing() }
        #expect(replaced.elapsed == .init(wall: 6 * minute, business: 4 * minute))
        #expect(replaced.terms.version == world.positions[2])
        #expect(world.status("L", .firstResponse)?.elapsed == replaced.elapsed)
        try world.pass(hour)
        #expect(
            world.lines("L").suffix(3) == [
                "first_response-step-50-1 @02T09:12 reassign ", "first_response-step-60-1 @02T09:14 manager ",
                "first_response-breached-1 @02T09:22",
            ])
        guard case .breached(_, _, let elapsed)? = world.entry("first_response-breached-1", "L") else {
            throw Missing()
        }
        #expect(elapsed == .init(wall: 22 * minute, business: 20 * minute))
    }

    @Test func `a shorter target that has passed is breached when it begins to apply, not before`() throws {
        let world = try world([])
        try world.capture("L")
        try world.pass(8 * minute)
        try world.activate(rules(60))
        try world.pass(1)
        #expect(
            world.lines("L").suffix(2) == [
                "first_response-replaced-1-2 @02T09:08 new due 02T09:08", "first_response-breached-1 @02T09:08",
            ])
        // What was answered before that is in time, though it is recorded afterwards.
        try world.happen(.contacted, "L", by: "ann", at: march("02T09:07"))
        #expect(world.lines("L").last == "first_response-met-1-3 @02T09:07")
        guard case .met(let met)? = world.entry("first_response-met-1-3", "L") else { throw Missing() }
        #expect(met.elapsed == .init(wall: 7 * minute, business: 7 * minute))
    }

    @Test func `what is breached, or what the rule set does not apply to, keeps its target`() throws {
        let world = try world([])
        try world.capture("L")
        try world.pass(11 * minute)
        try world.capture("M")
        try world.activate(rules(3_600, applies: false))
        #expect(world.lines("M").count == 1)
        try world.activate(rules(3_600))
        #expect(world.lines("L").last == "first_response-breached-1 @02T09:10")
        #expect(world.lines("M").last == "first_response-replaced-2-4 @02T09:11 new due 02T10:11")
    }

    @Test func `an activation to come replaces clocks at its instant, also those that start until then`() throws {
        let world = try world([])
        try world.capture("L")
        try world.activate(rules(1_200), from: march("02T09:05"))
        try world.pass(minute)
        try world.capture("M")
        try world.pass(hour)
        #expect(world.lines("L")[1] == "first_response-replaced-1-2 @02T09:05 new due 02T09:20")
        #expect(world.lines("M")[1] == "first_response-replaced-3-2 @02T09:05 new due 02T09:21")
        try world.capture("N")
        #expect(world.lines("N").count == 1)
    }

    @Test func `a clock without a target in the new rule set is stopped`() throws {
        let world = try world([])
        try world.capture("L")
        try world.pass(minute)
        var empty = ClockWorld.rules(ClockWorld.target("a", .accept, 60))
        empty.appliesToRunning = true
        try world.activate(empty)
        #expect(world.lines("L").last == "first_response-stopped-1-2 @02T09:01: target_removed")
        #expect(world.status("L", .firstResponse) == nil)
    }

    @Test func `a replaced clock that is paused stays so`() throws {
        let world = try world([])
        try world.capture("L")
        try world.pass(minute)
        try world.pause("L", .firstResponse)
        try world.pass(minute)
        try world.activate(rules(1_200))
        #expect(world.lines("L").last == "first_response-replaced-1-2 @02T09:02 new due never")
        #expect(world.status("L", .firstResponse)?.state == .paused)
        try world.pass(minute)
        try world.resume("L", .firstResponse)
        #expect(world.status("L", .firstResponse)?.due == (try march("02T09:22")))
    }

    @Test func `rolled back, the earlier version is another change`() throws {
        var old = ClockWorld.rules(ClockWorld.target("old", .firstResponse, 600))
        old.appliesToRunning = true
        let world = try ClockWorld(old)
        try world.capture("L")
        try world.pass(minute)
        try world.activate(rules(1_200))
        try world.pass(minute)
        try world.activate(old, version: 0)
        #expect(world.lines("L").last == "first_response-replaced-1-3 @02T09:02 old due 02T09:10")
    }
}
