import TestSupport
import Testing

@testable import Leads

/// Random histories: leads come, are routed, worked, lost and brought back, members leave and return, rule sets change. At every
/// position all invariants hold; at the end the state is that of a fresh fold, and the decisions are those of another run that
/// looked at the log in other portions.
@Suite struct RouterHistoryTests {
    static let histories = 1_000
    static let stepsPerHistory = 60

    @Test func `in random histories each live lead has one custody, balances add up to 0, and a replay gives the same`()
        throws
    {
        let seed = announcedSeed("RouterHistoryTests")
        var decisions = 0
        var queued = 0
        var voided = 0
        var drained = 0
        var managed = 0
        for number in 0..<Self.histories {
            var history = RandomHistory(seed: seed &+ UInt64(number))
            try history.run(steps: Self.stepsPerHistory)
            let world = history.world
            let place: Comment = "history \(number) of seed \(seed)"

            // 1. Folded from the first event, without any decision in between.
            var replayed = RouterState()
            for event in world.log { try replayed.apply(event) }
            #expect(replayed.digest == world.state.digest, place)
            #expect(replayed.invariantBroken == nil, place)
            #expect(replayed.waitingTriggers == world.state.waitingTriggers, place)

            // 2. Each decision is decided alike from a fresh fold up to its basis.
            if number % 20 == 0 { try history.decideAgain(place) }

            decisions += world.live.count
            queued += world.live.count { $0.member == nil }
            drained += world.live.count { $0.trigger.kind == .drain }
            managed += world.live.count { if case .manager = $0.outcome { true } else { false } }
            voided += world.log.count { if case .decisionVoided = $0.body { true } else { false } }
        }
        // What the histories were made for did happen.
        #expect(decisions > 10_000)
        #expect(queued > 500)
        #expect(drained > 200)
        #expect(voided > 100)
        #expect(managed > 20)
    }

    @Test func `a state whose counts, queues or balances are wrong is found out`() throws {
        let world = try RoutingWorld(RoutingWorld.rules(["a", "b"]))
        try world.capture("L0")
        try world.route()
        try world.capture("L1")
        try world.happen(.queued, "L1") { $0.queue = "sales" }
        #expect(world.state.invariantBroken == nil)

        var wrong = world.state
        wrong.members[wrong.member(named: world.decisions[2]!.member!).index].open += 1
        #expect(wrong.invariantBroken?.hasPrefix("open-counted") == true)
        wrong = world.state
        let pool = wrong.pool(named: "sales")
        wrong.queues[pool.index].remove(wrong.queues[pool.index].first!)
        #expect(wrong.invariantBroken?.hasPrefix("queues-hold") == true)
        wrong = world.state
        wrong.rotations[pool.index].apply(
            Turn(gains: [Turn.Gain(member: wrong.member(named: "a"), amount: 1)], winner: .nobody), at: 9)
        wrong.rotations[pool.index].takeBack(Turn(gains: [], winner: .nobody))
        #expect(wrong.digest != world.state.digest)
        wrong = world.state
        wrong.leads[wrong.lead(RoutingWorld.key("L1"))].holder = wrong.member(named: "a")
        #expect(wrong.invariantBroken?.hasPrefix("one-custody") == true)
    }

    @Test func `a batch of captures decides exactly as single ones at the same instants`() throws {
        let seed = announcedSeed("RouterHistoryTests.batch")
        for number in 0..<40 {
            var random = SeededGenerator(seed: seed &+ UInt64(number))
            var rules = RoutingWorld.rules(
                ["a", "b", "c", "d", "e"], weights: (0..<5).map { _ in UInt32.random(in: 1...5, using: &random) },
                strategies: Bool.random(using: &random) ? [.rotation] : [.leastOpen, .rotation])
            rules.members[0].caps.open = 10
            rules.members[1].caps.daily = 15
            rules.members[2].caps.rolling = RollingCap(count: 8, seconds: 3_600)
            let single = try RoutingWorld(rules)
            let batch = try RoutingWorld(rules)
            for lead in 0..<80 {
                try single.capture("L\(lead)")
                try single.route()
                try batch.capture("L\(lead)")
            }
            #expect(try batch.route() == 80)
            #expect(batch.live.map { Self.choice($0, batch) } == single.live.map { Self.choice($0, single) })
            #expect(batch.balances("sales") == single.balances("sales"))
        }
    }

    /// A decision without the positions, which differ where the captures stand before all assignments.
    static func choice(_ decision: Decision, _ world: RoutingWorld) -> DecisionRecord {
        var record = DecisionRecord(decision, world.state)
        record.basis = 0
        record.triggerPosition = 0
        for index in record.candidates.indices { record.candidates[index].last = nil }
        return record
    }

    @Test func `equals who are all eligible never lag by a turn, however many there are`() throws {
        for count in [2, 3, 7, 20] {
            let world = try RoutingWorld(RoutingWorld.rules((0..<count).map { "m\($0)" }))
            var fairness = Fairness()
            for lead in 0..<count * 5 + 3 {
                _ = try world.give("L\(lead)")
                fairness.add(try #require(world.last.turn))
                for share in fairness.members { #expect(share.lag.magnitude < 1 << 32) }
            }
        }
    }
}

/// One random history over a small world.
struct RandomHistory {
    let world = RoutingWorld()
    private var random: SeededGenerator
    private var leads: [String] = []
    private let members = ["ann", "bob", "cat", "dan", "eve"]

    init(seed: UInt64) { random = SeededGenerator(seed: seed) }

    mutating func run(steps: Int) throws {
        try world.activate(rules())
        for _ in 0..<steps {
            try step()
            #expect(world.state.invariantBroken == nil, "seed \(random.seed)")
        }
        try world.route()
        try world.void()
        #expect(world.state.invariantBroken == nil, "seed \(random.seed)")
        // No lead falls through: what is left in the inbox waits for a trigger or was backfilled there.
        #expect(world.state.waitingTriggers.isEmpty)
    }

    /// Decides every decision again, from a fold of what it had seen.
    func decideAgain(_ place: Comment) throws {
        var state = RouterState()
        var at = 0
        for decision in world.live {
            while at < world.log.count, world.log[at].position < decision.basis {
                try state.apply(world.log[at])
                at += 1
            }
            let plan = try #require(state.plan(at: decision.instant))
            let request = RoutingRequest(
                trigger: decision.trigger, leadID: decision.leadID, facts: world.facts[decision.trigger.lead]!,
                instant: decision.instant, due: decision.due)
            let again = state.decide(request, by: plan)
            #expect(DecisionRecord(again, state) == DecisionRecord(decision, world.state), place)
        }
    }

    private mutating func chance(_ percent: Int) -> Bool { Int.random(in: 0..<100, using: &random) < percent }

    private mutating func rules() -> RuleSet {
        var rules = RoutingWorld.rules(
            members, weights: members.map { _ in UInt32.random(in: 1...4, using: &random) },
            strategies: [[.rotation], [.leastOpen, .rotation], [.performance, .rotation]].randomElement(using: &random)!
        )
        rules.voidingReasons = ["duplicate", "invalid"]
        for index in rules.members.indices {
            if chance(50) { rules.members[index].caps.open = Int.random(in: 1...4, using: &random) }
            if chance(20) { rules.members[index].caps.daily = Int.random(in: 1...9, using: &random) }
            if chance(20) { rules.members[index].caps.rolling = RollingCap(count: 2, seconds: 600) }
            if chance(20) { rules.members[index].cooldownSeconds = 120 }
        }
        rules.pools[0].hopsMax = Int.random(in: 0...2, using: &random)
        rules.pools[0].manager = MemberIndex(4)
        // Another pool, of fewer.
        var small = Pool(
            id: "small", members: [0, 1].map { PoolMember(member: MemberIndex($0), weight: 1) },
            calendar: CalendarIndex(0))
        small.whenEveryoneAbsent = chance(50) ? .queue : .ignoreAbsence
        rules.pools.append(small)
        if chance(50) { rules.catchAll = PoolIndex(1) }
        return rules
    }

    private mutating func step() throws {
        let member = members.randomElement(using: &random)!
        switch Int.random(in: 0..<100, using: &random) {
        case 0..<30:
            let id = "L\(leads.count)"
            leads.append(id)
            try world.capture(
                id, account: chance(20) ? "acme" : nil,
                due: chance(70) ? world.now.advanced(byMicroseconds: Int64.random(in: 0...9, using: &random)) : nil,
                backfill: chance(5))
        case 30..<60: try world.route()
        case 60..<64:
            try world.store(
                .memberPaused(member: member, until: chance(50) ? world.now.advanced(byMicroseconds: 300_000_000) : nil)
            )
        case 64..<69: try world.store(.memberResumed(member: member))
        case 69..<71: try world.store(.memberOnLeave(member: member, from: world.now, until: nil))
        case 71..<74: try world.store(.memberReturned(member: member))
        case 74..<76: try world.activate(rules())
        case 76..<79: world.pass(Int64.random(in: 1...4_000, using: &random))
        case 79..<81: try world.void()
        default: try happenSomething(member)
        }
    }

    /// Any event that a lead takes where it stands.
    private mutating func happenSomething(_ member: String) throws {
        guard let id = leads.randomElement(using: &random) else { return }
        let state = world.state[world.state.lead(RoutingWorld.key(id))].state
        let types: [EventType] = [
            .released, .rejected, .contacted, .won, .lost, .disqualified, .disqualified, .recycled, .reopened, .queued,
            .assigned, .claimed, .leaseEnded, .nurtureEnrolled, .nurtureExited, .escalated, .escalated, .merged,
            .unmerged,
            .offered, .marketingQualified, .erased,
        ]
        let allowed = types.filter { type in
            EventVariant.all(of: type).contains { variant in
                if case .next = Lifecycle.evolve(state, type, variant) { true } else { false }
            }
        }
        guard let type = allowed.randomElement(using: &random) else { return }
        let variant = EventVariant.all(of: type).filter {
            if case .next = Lifecycle.evolve(state, type, $0) { true } else { false }
        }.randomElement(using: &random)!
        let other = leads.randomElement(using: &random)!
        if type == .merged, other == id { return }
        if type == .erased, chance(80) { return }
        let isBackfilled = chance(5)
        let claimedInVain = chance(50)
        try world.happen(
            type, id, by: member,
            reason: ["invalid", "duplicate", "no_budget", "owner_on_leave"].randomElement(using: &random),
            variant: variant
        ) {
            $0.queue = "sales"
            $0.other = RoutingWorld.key(other)
            $0.backfill = isBackfilled && type == .released
            $0.claimedInVain = claimedInVain
            $0.reassigns = type == .escalated
        }
    }
}
