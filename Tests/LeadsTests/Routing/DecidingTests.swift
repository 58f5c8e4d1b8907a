import Testing

@testable import Leads

/// Who gets a lead and why, case by case.
@Suite struct DecidingTests {
    static func condition(_ text: String) throws -> Condition {
        var parser = ConditionParser()
        return Condition(try parser.parse(text))
    }

    static func codes(_ record: DecisionRecord, _ member: String) -> [String] {
        record.candidates.first { $0.member == member }!.refusals.map { $0.reason.code.description }
    }

    /// Two pools: `emea` for Germany and France, `sales` for the rest.
    static func territories() throws -> RuleSet {
        var rules = RoutingWorld.rules(["a", "b", "c"])
        rules.pools.append(
            Pool(id: "emea", members: [PoolMember(member: MemberIndex(1), weight: 1)], calendar: CalendarIndex(0)))
        rules.territories = [
            Territory(id: "dach", condition: try condition(#"country == "DE""#), pool: PoolIndex(1)),
            Territory(id: "europe", condition: try condition(#"country in ["DE", "FR"]"#), pool: PoolIndex(1)),
        ]
        return rules
    }

    // MARK: Where

    @Test func `the first territory that is true takes the lead, and all that are true are recorded`() throws {
        let world = try RoutingWorld(Self.territories())
        #expect(try world.give("L0", [.country: .text(Array("de".utf8))]) == "b")
        #expect(world.last.matched == ["dach", "europe"])
        #expect(world.last.pool == "emea")
        #expect(try world.give("L1", [.country: .text(Array("FR".utf8))]) == "b")
        #expect(world.last.matched == ["europe"])
        _ = try world.give("L2", [.country: .text(Array("BR".utf8))])
        #expect(world.last.matched == [])
        #expect(world.last.pool == "sales")
    }

    @Test func `nobody eligible sends it to the pool's queue, which drains in due order before newer arrivals`() throws
    {
        var rules = RoutingWorld.rules(["a"])
        rules.members[0].caps.open = 1
        let world = try RoutingWorld(rules)
        #expect(try world.give("L0") == "a")
        for (id, seconds) in [("late", 900), ("early", 60), ("undated", nil as Int64?)] {
            try world.capture(id, due: seconds.map { world.now.advanced(byMicroseconds: $0 * 1_000_000) })
            try world.route()
            #expect(world.last.member == nil)
        }
        let queue = world.state.queue(of: world.state.pool(named: "sales"))
        #expect(queue.inOrder.map { world.ids[$0.lead] } == ["early", "late", "undated"])
        // A place becomes free, and a newer lead arrives before the router looks.
        try world.happen(.won, "L0")
        try world.capture("newer")
        try world.route()
        #expect(world.live.suffix(2).map(\.leadID) == ["early", "newer"])
        #expect(world.live.suffix(2).map { $0.member == nil } == [false, true])
        #expect(world.live.suffix(2).first?.trigger.kind == .drain)
        #expect(world.state.invariantBroken == nil)
    }

    @Test func `who returns, or a cap that is raised by a new rule set, lets the queue go on`() throws {
        var rules = RoutingWorld.rules(["a"])
        rules.members[0].caps.open = 1
        let world = try RoutingWorld(rules)
        try world.store(.memberPaused(member: "a", until: nil))
        for id in ["L0", "L1"] { #expect(try world.give(id) == nil) }
        try world.store(.memberResumed(member: "a"))
        #expect(try world.route() == 1)
        #expect(world.live.last?.leadID == "L0")
        rules.members[0].caps.open = 5
        try world.activate(rules)
        #expect(try world.route() == 1)
        #expect(world.live.last?.leadID == "L1")
    }

    @Test func `a pool that does not push leaves its leads to be claimed`() throws {
        var rules = RoutingWorld.rules(["a"])
        rules.pools[0].pushes = false
        let world = try RoutingWorld(rules)
        #expect(try world.give("L0") == nil)
        #expect(world.last.outcome == .queued(queue: "sales", reason: "pull_only", due: nil))
        #expect(try world.route() == 0)
    }

    @Test func `without a rule set leads wait in the inbox, and the first one decides them all`() throws {
        let world = RoutingWorld()
        for id in ["L0", "L1"] { try world.capture(id) }
        #expect(try world.route() == 0)
        #expect(world.state.waitingTriggers.count == 2)
        // One that begins only in an hour changes nothing yet.
        try world.activate(RoutingWorld.rules(["a"]), from: world.now.advanced(byMicroseconds: 3_600_000_000))
        #expect(try world.route() == 0)
        world.pass(3_600)
        #expect(try world.route() == 2)
    }

    @Test func `each trigger decides once, and only in the inbox`() throws {
        let world = try RoutingWorld(RoutingWorld.rules(["a", "b"]))
        try world.capture("L0")
        try world.capture("L0")
        try world.capture("taken")
        try world.happen(.assigned, "taken", by: "a")
        try world.capture("past", backfill: true)
        #expect(try world.route() == 1)
        #expect(try world.route() == 0)
        try world.happen(.released, "L0", reason: "no_time")
        #expect(try world.route() == 1)
        #expect(world.state[world.state.lead(RoutingWorld.key("past"))].state.custody == .inbox)
    }

    @Test func `where the rule set routes at qualification, a capture waits for it`() throws {
        var rules = RoutingWorld.rules(["a"])
        rules.routesAtMarketingQualified = true
        let world = try RoutingWorld(rules)
        try world.capture("L0")
        #expect(try world.route() == 0)
        let cause = try world.happen(.marketingQualified, "L0")
        #expect(try world.route() == 1)
        #expect(world.last.triggerPosition == cause)
    }

    @Test func `what happened before the rule set was in force is routed by it when it is recorded`() throws {
        var rules = RoutingWorld.rules(["a"])
        rules.routesAtMarketingQualified = true
        rules.voidingReasons = ["invalid"]
        let world = try RoutingWorld(rules)
        func late(_ type: EventType, _ reason: String? = nil) throws {
            var event = LeadEvent(type, of: RoutingWorld.key("L0"))
            event.reason = reason
            try world.store(.lead(event), happenedSecondsAgo: 86_400)
        }
        try world.capture("L0")
        try late(.marketingQualified)
        #expect(try world.route() == 1)
        try late(.disqualified, "invalid")
        #expect(world.state.decisionsToVoid.count == 1)
    }

    // MARK: Whose

    @Test func `the account's owner comes first, then the duplicate's, then the lead's own`() throws {
        for (away, owner) in [([], "a"), (["a"], "b"), (["a", "b"], "c")] {
            let world = try RoutingWorld(RoutingWorld.rules(["a", "b", "c", "d"]))
            for (id, owner) in [("account", "a"), ("twin", "b"), ("L0", "c")] {
                try world.capture(id, account: id == "account" ? "acme" : nil)
                try world.happen(.assigned, id, by: owner)
            }
            try world.happen(.recycled, "L0")
            try world.happen(.duplicateSuspected, "L0") { $0.other = RoutingWorld.key("twin") }
            try world.happen(.enriched, "L0") { $0.account = RoutingWorld.key("acme") }
            for member in away { try world.store(.memberOnLeave(member: member, from: world.now, until: nil)) }
            try world.route()
            #expect(world.last.outcome == .matched(owner))
            #expect(world.last.owners.map(\.member) == away + [owner])
            for tried in world.last.owners.dropLast() { #expect(tried.refusals.map(\.reason) == [.leave]) }
        }
    }

    @Test func `who stands in for the account's owner does not take the account over`() throws {
        let world = try RoutingWorld(RoutingWorld.rules(["a", "b"]))
        for (id, owner) in [("L0", "a"), ("L1", "b")] {
            try world.capture(id, account: "acme")
            try world.happen(.assigned, id, by: owner)
        }
        try world.capture("L2", account: "acme")
        try world.route()
        #expect(world.last.outcome == .matched("a"))
        // Owning none any more, a stays its owner until somebody else comes to own one.
        for id in ["L0", "L2"] { try world.happen(.lost, id) }
        try world.capture("L3", account: "acme")
        try world.route()
        #expect(world.last.outcome == .matched("a"))
        try world.happen(.assigned, "L3", by: "b")
        try world.capture("L4", account: "acme")
        try world.route()
        #expect(world.last.outcome == .matched("b"))
    }

    @Test func `a merge brings the loser's owner to the survivor`() throws {
        let world = try RoutingWorld(RoutingWorld.rules(["a", "b"]))
        try world.capture("loser")
        try world.happen(.assigned, "loser", by: "b")
        try world.capture("survivor")
        try world.happen(.merged, "loser") { $0.other = RoutingWorld.key("survivor") }
        try world.route()
        #expect(world.last.outcome == .matched("b"))
        #expect(world.last.owners.map(\.match) == [.duplicate])
    }

    // MARK: Who may

    @Test func `every reason against a candidate is kept, with its numbers`() throws {
        var rules = RoutingWorld.rules(["a", "b"])
        rules.skills = ["crm"]
        rules.languages = ["de"]
        rules.calendars.append(
            CalendarSpec(
                id: "night", zone: "UTC",
                week: Array(repeating: [DayInterval(startMinute: 0, endMinute: 60)], count: 7)))
        rules.pools[0].requiredSkills = PolicySet([0])
        rules.pools[0].language = .require
        rules.members[0].calendar = CalendarIndex(1)
        rules.members[0].caps = Caps(open: 1, daily: 1, rolling: RollingCap(count: 1, seconds: 3_600))
        rules.members[0].cooldownSeconds = 600
        rules.members[0].conflict = try Self.condition(#"product == "x""#)
        rules.members[0].isActive = false
        let world = try RoutingWorld(rules)
        let facts: [LeadField: FactValue] = [
            .product: .text(Array("x".utf8)), .language: .text(Array("DE-ch".utf8)),
        ]
        try world.capture("L0", facts)
        // Had one by a pool just now; has it still; gave this one back.
        try world.capture("other")
        try world.happen(.assigned, "other", by: "a") {
            $0.turn = NamedTurn(pool: "sales", gains: [.init(member: "a", amount: Turn.whole)], winner: "a")
        }
        try world.happen(.assigned, "L0", by: "a")
        try world.happen(.released, "L0", reason: "no_time")
        try world.store(.memberPaused(member: "a", until: nil))
        try world.store(.memberOnLeave(member: "a", from: world.now, until: nil))
        world.pass(60)
        try world.route()
        let record = try #require(world.live.first { $0.leadID == "L0" }.map { DecisionRecord($0, world.state) })
        #expect(
            Self.codes(record, "a") == [
                "off", "hours", "leave", "pause", "skill", "lang", "open", "day", "roll", "cool", "clash", "held",
            ])
        let refusals = record.candidates[0].refusals
        #expect(refusals[6] == .init(.openCap, count: 1, cap: 1))
        #expect(refusals[7] == .init(.dailyCap, count: 2, cap: 1))
        #expect(refusals[8] == .init(.rollingCap, count: 2, cap: 1))
        #expect(refusals[9] == .init(.coolDown, count: 540))
        #expect(Self.codes(record, "b") == ["skill", "lang"])
    }

    @Test func `caps count from the edge: a day begins at midnight, a window leaves out its start`() throws {
        var rules = RoutingWorld.rules(["a"])
        rules.members[0].caps.daily = 1
        let world = try RoutingWorld(rules)
        world.now = try Instant(rfc3339: "2026-03-02T23:59:59.999999Z")
        #expect(try world.give("L0") == "a")
        #expect(try world.give("L1") == nil)
        world.now = try Instant(rfc3339: "2026-03-03T00:00:00Z")
        #expect(try world.give("L2") == nil, "the one that waits has the day's only place")
        #expect(world.live.suffix(2).map(\.leadID) == ["L1", "L2"])

        rules.members[0].caps = Caps(rolling: RollingCap(count: 1, seconds: 60))
        let rolling = try RoutingWorld(rules)
        #expect(try rolling.give("L0") == "a")
        rolling.now = rolling.now.advanced(byMicroseconds: 59_999_999)
        #expect(try rolling.give("L1") == nil)
        rolling.now = rolling.now.advanced(byMicroseconds: 1)
        try rolling.capture("L2")
        try rolling.route()
        #expect(rolling.live.suffix(2).map(\.leadID) == ["L1", "L2"])
        #expect(rolling.live.suffix(2).map { $0.member == nil } == [false, true])
    }

    @Test func `a lease counts as open, nurture and ends do not`() throws {
        let world = try RoutingWorld(RoutingWorld.rules(["a"]))
        let a = world.state.member(named: "a")
        for id in ["L0", "L1", "L2"] { try world.capture(id) }
        try world.happen(.assigned, "L0", by: "a")
        try world.happen(.claimed, "L1", by: "a")
        try world.happen(.contacted, "L2", by: "a")
        #expect(world.state.openCount(of: a) == 3)
        try world.happen(.leaseEnded, "L1")
        try world.happen(.nurtureEnrolled, "L0")
        #expect(world.state.openCount(of: a) == 1)
        try world.happen(.lost, "L2")
        #expect(world.state.openCount(of: a) == 0)
        #expect(world.state.leads(heldBy: a).isEmpty)
    }

    @Test func `everyone absent queues, or is looked past where the pool says so`() throws {
        var rules = RoutingWorld.rules(["a", "b"])
        rules.members[1].isActive = false
        let world = try RoutingWorld(rules)
        try world.store(.memberPaused(member: "a", until: nil))
        #expect(try world.give("L0") == nil)
        rules.pools[0].whenEveryoneAbsent = .ignoreAbsence
        try world.activate(rules)
        #expect(try world.route() == 1)
        #expect(world.last.member == "a")
        #expect(world.last.ignoresAbsence)
        #expect(Self.codes(world.last, "a") == ["pause"])
        #expect(!world.last.candidates[1].isEligible, "being inactive is no absence")
    }

    @Test func `pauses and leaves end when they say`() throws {
        let world = try RoutingWorld(RoutingWorld.rules(["a", "b"]))
        let later = world.now.advanced(byMicroseconds: 60_000_000)
        try world.store(.memberPaused(member: "a", until: later))
        try world.store(.memberOnLeave(member: "b", from: later, until: nil))
        #expect(try world.give("L0") == "b")
        #expect(try world.give("L1") == "b")
        world.pass(60)
        #expect(try world.give("L2") == "a")
        #expect(Self.codes(world.last, "b") == ["leave"])
    }

    @Test func `who waits behind hundreds that nobody can take is not forgotten`() throws {
        var rules = RoutingWorld.rules(["a"])
        rules.languages = ["en", "fr"]
        rules.members[0].languages = PolicySet([0])
        rules.members[0].caps.open = 1
        rules.pools[0].language = .require
        let world = try RoutingWorld(rules)
        func language(_ tag: String) -> [LeadField: FactValue] { [.language: .text(Array(tag.utf8))] }
        try world.capture("L0", language("en"))
        for number in 0..<2 * RoutingLimits.drainScanMax + 10 { try world.capture("F\(number)", language("fr")) }
        try world.capture("last", language("en"))
        try world.route()
        let last = world.state.lead(RoutingWorld.key("last"))
        #expect(world.state[last].state.custody == .queue)
        try world.happen(.lost, "L0", reason: "x")
        // Looked for again and again, as the desk does: each look goes further down.
        var looks = 0
        while world.state[last].state.custody == .queue, looks < 5 {
            try world.store(.memberResumed(member: "a"))
            try world.route()
            looks += 1
        }
        #expect(world.state[last].state.custody == .owner, "\(looks) looks")
        #expect(world.state.invariantBroken == nil)
    }

    // MARK: Taking back

    @Test func `a take-back passes over all who had it in this cycle, and goes to the manager after n hops`() throws {
        var rules = RoutingWorld.rules(["a", "b", "c", "boss"])
        rules.pools[0].members.removeLast()
        rules.pools[0].hopsMax = 2
        rules.pools[0].manager = MemberIndex(3)
        let world = try RoutingWorld(rules)
        var had = [try #require(try world.give("L0"))]
        for _ in 0..<2 {
            try world.happen(.escalated, "L0") { $0.reassigns = true }
            #expect(try world.route() == 1)
            let next = try #require(world.last.member)
            for member in had { #expect(Self.codes(world.last, member) == ["held"]) }
            had.append(next)
        }
        #expect(Set(had) == ["a", "b", "c"])
        try world.happen(.escalated, "L0") { $0.reassigns = true }
        #expect(try world.route() == 1)
        #expect(world.last.outcome == .manager("boss"))
        #expect(world.state.invariantBroken == nil)
        // The manager is the last one asked, and keeps it.
        try world.happen(.escalated, "L0") { $0.reassigns = true }
        #expect(try world.route() == 1)
        #expect(world.last.outcome == .manager("boss"))
        // Lost and resumed, the cycle goes on; recycled, all may have it again.
        try world.happen(.recycled, "L0")
        #expect(world.state.earlierHolders(of: world.state.lead(RoutingWorld.key("L0"))).isEmpty)
    }

    @Test func `who was away when the lead went back to the queue may have it again`() throws {
        let world = try RoutingWorld(RoutingWorld.rules(["a"]))
        _ = try world.give("L0")
        try world.store(.memberOnLeave(member: "a", from: world.now, until: nil))
        try world.happen(.queued, "L0", reason: RoutingReasons.ownerOnLeave) { $0.queue = "sales" }
        #expect(try world.route() == 0)
        try world.store(.memberReturned(member: "a"))
        #expect(try world.route() == 1)
        #expect(world.last.member == "a")
        try world.happen(.released, "L0", reason: "no_time")
        #expect(try world.route() == 1)
        #expect(Self.codes(world.last, "a") == ["held"])
    }

    // MARK: Strategies

    @Test func `skill counts preferred skills, the lead's language among them where it is preferred`() throws {
        var rules = RoutingWorld.rules(["a", "b", "c"], strategies: [.skill, .rotation])
        rules.skills = ["crm", "erp"]
        rules.languages = ["de"]
        rules.pools[0].preferredSkills = PolicySet([0, 1])
        rules.pools[0].language = .prefer
        rules.members[0].skills = PolicySet([0])
        rules.members[1].skills = PolicySet([0, 1])
        rules.members[2].skills = PolicySet([1])
        rules.members[2].languages = PolicySet([0])
        let world = try RoutingWorld(rules)
        #expect(try world.give("L0") == "b")
        #expect(world.last.candidates.map(\.skill) == [1, 2, 1])
        _ = try world.give("L1", [.language: .text(Array("de".utf8))])
        #expect(world.last.candidates.map(\.skill) == [1, 2, 2])
        #expect(world.last.member == "c", "as good as b, who has had a turn")
        #expect(world.last.path.map(\.left) == [2, 1])
    }

    @Test func `least open compares by weight, exactly`() throws {
        func candidate(_ open: Int32, _ weight: UInt32) -> Candidate {
            var candidate = Candidate(member: .nobody, weight: weight)
            candidate.open = open
            return candidate
        }
        #expect(RouterState.hasLessOpen(candidate(3_333, 10_000), candidate(1, 3)))
        #expect(!RouterState.hasLessOpen(candidate(1, 3), candidate(3_333, 10_000)))
        #expect(!RouterState.hasLessOpen(candidate(2, 6), candidate(1, 3)))
        #expect(!RouterState.hasLessOpen(candidate(.max, 10_000), candidate(.max, 10_000)))
        #expect(RouterState.hasLessOpen(candidate(.max - 1, 10_000), candidate(.max, 10_000)))
    }

    @Test func `performance compares weighted wins exactly, over 90 days, and looks away in its share of decisions`()
        throws
    {
        func candidate(_ weight: UInt32, _ won: Int32, _ ended: Int32) -> Candidate {
            var candidate = Candidate(member: .nobody, weight: weight)
            candidate.won = won
            candidate.ended = ended
            return candidate
        }
        // 2 of 3 is (3/5), 5 of 8 is (6/10): the same.
        #expect(!RouterState.performsBetter(candidate(1, 2, 3), candidate(1, 5, 8)))
        #expect(!RouterState.performsBetter(candidate(1, 5, 8), candidate(1, 2, 3)))
        #expect(RouterState.performsBetter(candidate(1, 3, 3), candidate(1, 5, 8)))
        #expect(RouterState.performsBetter(candidate(10_000, .max, .max), candidate(9_999, .max, .max)))

        var rules = RoutingWorld.rules(["a", "b"], strategies: [.performance, .rotation])
        rules.pools[0].explorePercent = 0
        let world = try RoutingWorld(rules)
        for (id, member, end) in [("L0", "a", EventType.won), ("L1", "b", .lost), ("L2", "a", .won)] {
            try world.capture(id)
            try world.happen(.assigned, id, by: member)
            try world.happen(end, id)
        }
        #expect(try world.give("L3") == "a")
        #expect(world.last.candidates.map(\.won) == [2, 0])
        #expect(world.last.candidates.map(\.ended) == [2, 1])
        try world.happen(.reopened, "L0", variant: .unWin)
        _ = try world.give("L4")
        #expect(world.last.candidates.map(\.won) == [1, 0], "a win that was revoked is none")
        world.pass(91 * 86_400)
        _ = try world.give("L5")
        #expect(world.last.candidates.map(\.ended) == [0, 0])

        rules.pools[0].explorePercent = 10
        try world.activate(rules)
        var explored = 0
        for lead in 0..<1_000 {
            _ = try world.give("E\(lead)")
            explored += world.last.explores ? 1 : 0
        }
        #expect((60...140).contains(explored), "\(explored) of 1,000 at 10 percent")
    }

    @Test func `one step of a queue that nobody knows is located anew`() throws {
        let world = try RoutingWorld(RoutingWorld.rules(["a"]))
        try world.capture("L0")
        try world.happen(.queued, "L0") { $0.queue = "elsewhere" }
        let plan = try #require(world.state.plan(at: world.now))
        let lead = world.state.lead(RoutingWorld.key("L0"))
        let decision = world.state.decide(
            RoutingRequest(
                trigger: RoutingTrigger(.drain, lead: lead, position: 2), leadID: "L0", facts: world.facts[lead]!,
                instant: world.now), by: plan)
        #expect(decision.member == world.state.member(named: "a"))
    }

    // MARK: Faults

    @Test func `what no log holds is a fault, and leaves the state as it was`() throws {
        let world = try RoutingWorld(RoutingWorld.rules(["a"]))
        try world.capture("L0")
        let digest = world.state.digest
        #expect(throws: RouterFault.refused(position: 2, .unknownLead)) { try world.happen(.won, "unknown") }
        #expect(throws: RouterFault.refused(position: 2, .transitionRefused)) { try world.happen(.released, "L0") }
        #expect(throws: RouterFault.incomplete(position: 2)) { try world.happen(.assigned, "L0") }
        #expect(throws: RouterFault.incomplete(position: 2)) { try world.happen(.queued, "L0") }
        #expect(throws: RouterFault.incomplete(position: 2)) {
            try world.happen(.merged, "L0") { $0.other = RoutingWorld.key("unknown") }
        }
        #expect(throws: RouterFault.outOfOrder(position: 1, end: 2)) {
            try world.state.apply(RouterEvent(position: 1, instant: world.now, body: .memberResumed(member: "a")))
        }
        var unsound = RoutingWorld.rules(["a"])
        unsound.pools[0].members = []
        #expect(throws: RouterFault.unsoundRuleSet(position: 2, invariant: "peopled")) { try world.activate(unsound) }
        #expect(world.state.digest == digest)
    }

    @Test func `a claim is asked for eligibility as a push is, and cools down after repeated releases`() throws {
        var rules = RoutingWorld.rules(["a", "b"])
        rules.pools[0].members.removeLast()
        rules.pools[0].pull = Pull()
        rules.pools[0].pull?.releaseCooldown = ReleaseCooldown(releases: 2, windowSeconds: 600, seconds: 300)
        let world = try RoutingWorld(rules)
        let plan = try #require(world.state.plan(at: world.now))
        func refusals(_ member: String, _ world: RoutingWorld) -> Refusals {
            let request = RoutingRequest(
                trigger: RoutingTrigger(.byHand, lead: .none, position: 0), leadID: "L9",
                facts: LeadFacts(customFieldCount: 0), instant: world.now)
            return world.state.eligibility(
                of: world.state.member(named: member), for: request, pool: PoolIndex(0), plan: plan, pulls: true
            ).refusals
        }
        #expect(refusals("b", world) == .notAMember)
        #expect(refusals("nobody", world) == .notAMember)
        for id in ["L0", "L1"] {
            #expect(refusals("a", world) == [])
            try world.capture(id)
            try world.happen(.assigned, id, by: "a")
            try world.happen(.released, id, reason: "no_time")
        }
        #expect(refusals("a", world) == .coolDown)
        world.pass(300)
        #expect(refusals("a", world) == [])
    }
}
