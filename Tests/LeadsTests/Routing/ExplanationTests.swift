import Testing

@testable import Leads

/// Whole texts, so that what a person reads changes only on purpose.
@Suite struct ExplanationTests {
    @Test func `a decision among several names the rule, each candidate, the numbers and the choice`() throws {
        var rules = RoutingWorld.rules(["kim", "bo", "al", "lea"], strategies: [.leastOpen, .rotation])
        rules.members[0].caps.open = 1
        rules.members[2].isActive = false
        let world = try RoutingWorld(rules)
        try world.capture("L0")
        try world.happen(.assigned, "L0", by: "kim")
        try world.capture("L1")
        try world.happen(.assigned, "L1", by: "lea")
        try world.store(.memberPaused(member: "al", until: nil))
        _ = try world.give("L2")
        #expect(
            world.last.explanation == [
                "Decided at 2026-03-02T09:00:00Z: the lead came into the inbox (position 6).",
                "No territory is true of it: catch-all pool sales.",
                "Candidates: 4, eligible 2.",
                "  kim: refused, open leads 1 of 1. With an open cap of 2, kim would have been eligible.",
                "  bo: chosen; weight 1, open 0, owed 0.000 + 0.500 = 0.500 turns.",
                "  al: refused, inactive, paused.",
                "  lea: lost by least open; weight 1, open 1, owed 0.000 + 0.500 = 0.500 turns.",
                "Choice: least open leaves 1.",
                "Result: bo, who pays 1.000 turns.",
                "Rule set policy version 0, state before position 7, time zones 2025b, seed seed.",
            ])
    }

    @Test func `an owner who is refused is named before the pool, and a queue says why`() throws {
        var rules = RoutingWorld.rules(["kim", "bo"])
        rules.members[0].caps.daily = 1
        rules.members[1].cooldownSeconds = 600
        let world = try RoutingWorld(rules)
        try world.capture("L0", account: "acme")
        try world.happen(.assigned, "L0", by: "kim")
        _ = try world.give("L1")
        #expect(world.last.member == "bo")
        world.pass(90)
        try world.capture("L2", account: "acme", due: world.now.advanced(byMicroseconds: 300_000_000))
        try world.route()
        #expect(
            world.last.explanation == [
                "Decided at 2026-03-02T09:01:30Z: the lead came into the inbox (position 5).",
                "Tried kim, the account's owner: refused, leads today 1 of 1. With a daily cap of 2, kim would have been eligible.",
                "No territory is true of it: catch-all pool sales.",
                "Candidates: 2, eligible 0.",
                "  kim: refused, leads today 1 of 1. With a daily cap of 2, kim would have been eligible.",
                "  bo: refused, cooling down for 510 s. 510 s later, bo would have been eligible.",
                "Result: queue sales, since nobody is eligible, due 2026-03-02T09:06:30Z.",
                "Rule set policy version 0, state before position 6, time zones 2025b, seed seed.",
            ])
    }

    @Test func `an owner's match needs no pool`() throws {
        let world = try RoutingWorld(RoutingWorld.rules(["kim"]))
        try world.capture("L0")
        try world.happen(.assigned, "L0", by: "kim")
        try world.happen(.recycled, "L0")
        try world.route()
        #expect(
            world.last.explanation == [
                "Decided at 2026-03-02T09:00:00Z: the lead came into the inbox (position 3).",
                "Tried kim, the lead's earlier owner: eligible.",
                "Result: kim, as the owner. No turn is counted.",
                "Rule set policy version 0, state before position 4, time zones 2025b, seed seed.",
            ])
    }

    @Test func `territories that were tried in vain are named where they are known, a dozen at most`() {
        var record = DecisionRecord(
            leadID: "L", policy: "p", version: 1, basis: 2, instant: RoutingWorld.start, timeZoneVersion: "2025b",
            seed: "s", trigger: .arrival, triggerPosition: 1,
            outcome: .queued(queue: "q", reason: RoutingReasons.pullOnly, due: nil))
        record.pool = "q"
        record.matched = ["t3", "t5"]
        let all = (1...20).map { "t\($0)" }
        #expect(record.tried(of: all) == ["t1", "t2"])
        #expect(
            record.explanation(territories: all)[1...2] == [
                "Territories that were tried first and are not true of it: t1, t2.",
                "Territory t3 is the first that is true of it (true as well, but later: t5): pool q.",
            ])
        #expect(record.explanation[1] == record.explanation(territories: all)[2], "not known")
        record.matched = ["t1"]
        #expect(record.explanation(territories: all) == record.explanation, "none was tried before it")
        record.matched = []
        let names = all[..<12].joined(separator: ", ")
        #expect(
            record.explanation(territories: all)[1...2] == [
                "Territories that were tried first and are not true of it: \(names) and 8 more.",
                "No territory is true of it: catch-all pool q.",
            ])
        record.trigger = .drain
        #expect(
            record.tried(of: all) == nil && record.explanation(territories: all)[1] == "Waited in the queue of pool q.")
        record.pool = nil
        #expect(record.tried(of: all) == nil, "an owner was matched")
    }

    @Test func `what was looked at in the decision's own unit is said`() {
        var record = DecisionRecord(
            leadID: "L", policy: "p", version: 1, basis: 20, instant: RoutingWorld.start, timeZoneVersion: "2025b",
            seed: "s", trigger: .byHand, triggerPosition: 1, outcome: .matched("kim"))
        record.unit = 3
        #expect(
            record.explanation.last
                == "Rule set p version 1, state before position 20 and the 3 events before it in its unit, time zones 2025b, seed s."
        )
    }

    @Test func `a single reason says what would have changed it, several do not`() {
        func text(_ refusals: [DecisionRecord.Refusal]) -> String {
            var record = DecisionRecord(
                leadID: "L", policy: "p", version: 1, basis: 2, instant: RoutingWorld.start, timeZoneVersion: "2025b",
                seed: "s", trigger: .arrival, triggerPosition: 1,
                outcome: .queued(queue: "q", reason: RoutingReasons.nobodyEligible, due: nil))
            record.pool = "q"
            record.language = "de"
            var candidate = DecisionRecord.Candidate(member: "kim")
            candidate.refusals = refusals
            record.candidates = [candidate]
            return record.explanation[3]
        }
        let expected: [(DecisionRecord.Refusal, String)] = [
            (.init(.inactive), "inactive. If active, kim would have been eligible."),
            (.init(.notAMember), "not a member."),
            (.init(.outOfHours), "out of hours. Within working hours, kim would have been eligible."),
            (.init(.leave), "on leave. If not on leave, kim would have been eligible."),
            (.init(.paused), "paused. If not paused, kim would have been eligible."),
            (.init(.skill), "a required skill is missing. With the required skills, kim would have been eligible."),
            (.init(.language), "does not speak de. Speaking de, kim would have been eligible."),
            (
                .init(.openCap, count: 11, cap: 11),
                "open leads 11 of 11. With an open cap of 12, kim would have been eligible."
            ),
            (
                .init(.dailyCap, count: 7, cap: 5),
                "leads today 7 of 5. With a daily cap of 8, kim would have been eligible."
            ),
            (
                .init(.rollingCap, count: 3, cap: 3),
                "leads in the window 3 of 3. With a rolling cap of 4, kim would have been eligible."
            ),
            (.init(.coolDown, count: 60), "cooling down for 60 s. 60 s later, kim would have been eligible."),
            (.init(.conflict), "conflict. Without the conflict, kim would have been eligible."),
            (.init(.earlierHolder), "had it before. Had they not had it before, kim would have been eligible."),
        ]
        for (refusal, words) in expected { #expect(text([refusal]) == "  kim: refused, \(words)") }
        #expect(
            text([.init(.leave), .init(.openCap, count: 2, cap: 2)]) == "  kim: refused, on leave, open leads 2 of 2.")
    }

    @Test func `turns are rounded to thousandths`() {
        #expect(DecisionRecord.turns(0) == "0.000")
        #expect(DecisionRecord.turns(Turn.whole) == "1.000")
        #expect(DecisionRecord.turns(-Turn.whole / 3) == "-0.333")
        #expect(DecisionRecord.turns(Turn.whole * 2 / 3) == "0.667")
        #expect(DecisionRecord.turns(-1) == "0.000")
        #expect(DecisionRecord.turns(.min) == "-2147483648.000")
    }
}
