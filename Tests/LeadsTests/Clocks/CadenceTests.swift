import TestSupport
import Testing

@testable import Leads

/// Attempts at their offsets after an assignment, until there is a contact.
@Suite struct CadenceTests {
    private func rules(
        _ hours: [Int64], then: CadenceEnd = .queue, target: ResponseTarget? = nil, measure: TimeMeasure = .wall
    ) -> RuleSet {
        var rules = target.map { ClockWorld.rules($0) } ?? ClockWorld.rules()
        var cadence = Cadence(id: "chase", attemptSeconds: hours.map { $0 * 3_600 }, then: then)
        cadence.measure = measure
        rules.cadences = [cadence]
        rules.pools[0].cadence = CadenceIndex(0)
        return rules
    }

    private func assigned(_ rules: RuleSet) throws -> ClockWorld {
        let world = try ClockWorld(rules)
        try world.capture("L")
        try world.assign("L", to: "ann")
        return world
    }

    @Test func `each attempt is due at its offset and may take until the next, and the last one made ends it`() throws {
        let world = try assigned(rules([0, 1, 4]))
        try world.pass(30 * minute)
        try world.happen(.contactAttempted, "L", by: "ann")
        try world.pass(2 * hour)
        try world.happen(.contactAttempted, "L", by: "ann")
        #expect(world.lines("L").count == 4)
        try world.pass(3 * hour)
        try world.happen(.contactAttempted, "L", by: "ann")
        #expect(
            world.lines("L") == [
                "follow_up-started-2-1 @02T09:00 chase due 02T10:00", "follow_up-met-2-1-3 @02T09:30",
                "follow_up-started-2-2 @02T10:00 chase due 02T13:00", "follow_up-met-2-2-4 @02T11:30",
                "follow_up-started-2-3 @02T13:00 chase due 02T16:00", "follow_up-met-2-3-5 @02T14:30",
                "follow_up-ended-2 to sales: cadence_ended",
            ])
        #expect(world.router.standing(of: RoutingWorld.key("L")).state?.custody == .queue)
        #expect(world.book.leadCount == 0)
    }

    @Test func `an attempt made early needs no clock, and made early all of them end when the last is due`() throws {
        let world = try assigned(rules([0, 1, 4], then: .nurture))
        for _ in 0..<3 {
            try world.pass(minute)
            try world.happen(.contactAttempted, "L", by: "ann")
        }
        try world.pass(until: march("02T12:59"))
        #expect(
            world.lines("L") == [
                "follow_up-started-2-1 @02T09:00 chase due 02T10:00", "follow_up-met-2-1-3 @02T09:01",
            ])
        try world.pass(minute)
        #expect(world.lines("L").last == "follow_up-ended-2 to nurture: cadence_ended")
        #expect(world.router.standing(of: RoutingWorld.key("L")).state?.custody == .nurture)
    }

    @Test func `a contact ends the chase, in whichever direction`() throws {
        for outbound in [true, false] {
            let world = try assigned(rules([0, 1, 4], then: .recycle))
            try world.pass(90 * minute)
            try world.happen(.contactAttempted, "L", by: "ann")
            try world.happen(.contacted, "L", by: "bob") { $0.isOutbound = outbound }
            #expect(
                world.lines("L").suffix(3) == [
                    "follow_up-met-2-1-3 @02T10:30 late", "follow_up-started-2-2 @02T10:00 chase due 02T13:00",
                    "follow_up-met-2-2-4 @02T10:30",
                ])
            try world.pass(240 * hour)
            #expect(world.lines("L").count == 5)
            #expect(world.book.leadCount == 0)
        }
    }

    @Test func `an attempt that is not made is breached, once, and the next waits for it`() throws {
        let world = try assigned(rules([0, 1, 4]))
        try world.pass(24 * hour)
        #expect(
            world.lines("L") == [
                "follow_up-started-2-1 @02T09:00 chase due 02T10:00", "follow_up-breached-2-1 @02T10:00",
            ])
        try world.happen(.contactAttempted, "L", by: "ann")
        #expect(
            world.lines("L").suffix(3) == [
                "follow_up-met-2-1-3 @03T09:00 late", "follow_up-started-2-2 @02T10:00 chase due 02T13:00",
                "follow_up-breached-2-2 @02T13:00",
            ])
    }

    @Test func `another's attempt is none, and the target for follow-ups says how long, whose, and what else`() throws {
        let target = ClockWorld.target(
            "follow", .followUp, 600, ladder: [(200, .reassign)])
        let world = try assigned(rules([0, 1], target: target))
        try world.pass(5 * minute)
        try world.happen(.contactAttempted, "L", by: "bob")
        try world.happen(.contactAttempted, "L", by: "ann", variant: .automatic)
        try world.pass(hour)
        #expect(
            world.lines("L") == [
                "follow_up-started-2-1 @02T09:00 follow due 02T09:10", "follow_up-breached-2-1 @02T09:10",
                "follow_up-step-200-2-1 @02T09:20 reassign ann",
            ])
        try world.assign("L", to: "bob")
        #expect(
            world.lines("L").suffix(2) == [
                "follow_up-stopped-2-1-5 @02T10:05: reassigned", "follow_up-started-5-1 @02T10:05 follow due 02T10:15",
            ])
    }

    @Test func `a target for follow-ups without a cadence asks for the next attempt after each`() throws {
        let world = try ClockWorld(ClockWorld.rules(ClockWorld.target("follow", .followUp, 7_200)))
        try world.capture("L")
        try world.assign("L", to: "ann", .pull)
        try world.pass(hour)
        try world.happen(.contactAttempted, "L", by: "ann")
        try world.pass(hour)
        try world.happen(.contacted, "L", by: "ann")
        #expect(
            world.lines("L") == [
                "follow_up-started-2-1 @02T09:00 follow due 02T11:00", "follow_up-met-2-1-3 @02T10:00",
                "follow_up-started-2-2 @02T10:00 follow due 02T12:00", "follow_up-met-2-2-4 @02T11:00",
            ])
        #expect(world.book.leadCount == 0)
    }

    @Test func `who is contacted already, backfilled or taken back is not chased, and an end stops it for good`() throws
    {
        let world = try assigned(rules([0, 1, 4]))
        try world.happen(.lost, "L", reason: "x")
        #expect(world.lines("L").last == "follow_up-stopped-2-1-3 @02T09:00: lost")
        try world.happen(.reopened, "L", variant: .resume)
        try world.pass(hour)
        #expect(world.lines("L").count == 2)
        try world.happen(.contacted, "L", by: "ann")
        try world.assign("L", to: "bob")
        #expect(world.lines("L").count == 2)
        #expect(world.book.leadCount == 0)
    }

    @Test func `a cadence of business hours counts the pool's`() throws {
        let world = try assigned(rules([0, 7, 9], measure: .business))
        try world.happen(.contactAttempted, "L", by: "ann")
        try world.pass(until: march("03T09:30"))
        try world.happen(.contactAttempted, "L", by: "ann")
        try world.pass(24 * hour)
        #expect(
            world.lines("L") == [
                "follow_up-started-2-1 @02T09:00 chase due 02T16:00", "follow_up-met-2-1-3 @02T09:00",
                "follow_up-started-2-2 @02T16:00 chase due 03T10:00", "follow_up-met-2-2-4 @03T09:30",
                "follow_up-started-2-3 @03T10:00 chase due 03T12:00", "follow_up-breached-2-3 @03T12:00",
            ])
    }

    @Test func `a lone attempt has its own offset, or a day`() throws {
        #expect(try assigned(rules([0])).lines("L") == ["follow_up-started-2-1 @02T09:00 chase due 03T09:00"])
        let later = try assigned(rules([2]))
        try later.pass(3 * hour)
        #expect(later.lines("L") == ["follow_up-started-2-1 @02T11:00 chase due 02T13:00"])
    }
}
