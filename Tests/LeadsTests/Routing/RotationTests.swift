import Testing

@testable import Leads

@Suite struct RotationTests {
    @Test func `weights 5, 1 and 1 give one cycle of seven, and balances are back where they were`() throws {
        var orders: Set<String> = []
        for seed in 0..<40 {
            var rules = RoutingWorld.rules(["a", "b", "c"], weights: [5, 1, 1])
            rules.seed = "seed \(seed)"
            let world = try RoutingWorld(rules)
            var order = ""
            for lead in 0..<7 { order += try #require(try world.give("L\(lead)")) }
            orders.insert(order)
            let balances = world.balances("sales")
            #expect(balances.values.reduce(0, +) == 0)
            // floor(2^32 * w / 7) loses less than 1 a gain.
            for balance in balances.values { #expect(abs(balance) <= 7 * 3) }
        }
        #expect(orders == ["aabacaa", "aacabaa"])
    }

    @Test func `30 leads over 4 equal members keep every lag below one turn at every step`() throws {
        let world = try RoutingWorld(RoutingWorld.rules(["a", "b", "c", "d"]))
        var fairness = Fairness()
        for lead in 0..<30 {
            _ = try world.give("L\(lead)")
            fairness.add(try #require(world.last.turn))
            for share in fairness.members { #expect(share.lag.magnitude < 1 << 32, "\(share) after lead \(lead)") }
        }
        #expect(fairness.members.map(\.received).sorted() == [7, 7, 8, 8])
        #expect(try #require(fairness.jainBillionths) > 990_000_000)
    }

    @Test func `a member absent for 10 of 30 leads ends with lag below one turn and gets no burst on return`() throws {
        let world = try RoutingWorld(RoutingWorld.rules(["a", "b", "c", "d"]))
        var fairness = Fairness()
        var won: [String] = []
        for lead in 0..<30 {
            if lead == 10 { try world.store(.memberPaused(member: "a", until: nil)) }
            if lead == 20 { try world.store(.memberResumed(member: "a")) }
            won.append(try #require(try world.give("L\(lead)")))
            fairness.add(try #require(world.last.turn))
        }
        #expect(!won[10..<20].contains("a"))
        for share in fairness.members { #expect(share.lag.magnitude < 1 << 32) }
        // Of the ten after the return, an equal share is 2 or 3, and never two in a row.
        #expect((2...3).contains(won[20..<30].filter { $0 == "a" }.count))
        #expect(!zip(won[20...], won[21...]).contains { $0 == "a" && $1 == "a" })
        #expect(try #require(fairness.members.first { $0.member == "a" }).decisions == 20)
    }

    @Test func `a pick made by an earlier strategy pays the same way`() throws {
        let world = try RoutingWorld(RoutingWorld.rules(["a", "b"], strategies: [.leastOpen, .rotation]))
        let first = try #require(try world.give("L0"))
        let second = try #require(try world.give("L1"))
        #expect(first != second)
        try world.happen(.won, "L0")
        // One has an open lead less, and so is picked before rotation is asked.
        #expect(try world.give("L2") == first)
        #expect(world.last.path == [DecisionRecord.Step(by: .leastOpen, left: 1)])
        #expect(world.balances("sales")[first] == -(1 << 31))
        #expect(world.balances("sales")[second] == 1 << 31)
    }

    @Test func `owner match, manual and import neither gain nor pay`() throws {
        let world = try RoutingWorld(RoutingWorld.rules(["a", "b"]))
        try world.capture("L0")
        try world.happen(.assigned, "L0", by: "a")
        #expect(world.balances("sales") == ["a": 0, "b": 0])
        try world.happen(.recycled, "L0")
        try world.route()
        #expect(world.last.outcome == .matched("a"))
        #expect(world.balances("sales") == ["a": 0, "b": 0])
    }

    @Test func `voiding takes back gains and payment, once, and it stays the last assignment`() throws {
        var rules = RoutingWorld.rules(["a", "b", "c"], weights: [3, 2, 2])
        rules.voidingReasons = ["invalid"]
        let world = try RoutingWorld(rules)
        _ = try world.give("L0")
        let before = world.balances("sales")
        let winner = try #require(try world.give("L1"))
        let decision = world.end - 1
        try world.happen(.disqualified, "L1", reason: "invalid")
        #expect(world.state.decisionsToVoid.map(\.decision) == [decision])
        try world.void()
        #expect(world.balances("sales") == before)
        #expect(world.state.decisionsToVoid.isEmpty)
        let pool = world.state.pool(named: "sales")
        #expect(world.state.rotation(of: pool).lastAssignment(of: world.state.member(named: winner)) == decision + 1)
        // Reopening does not undo it, and a second disqualification has nothing to void.
        try world.happen(.reopened, "L1", variant: .resume)
        #expect(world.balances("sales") == before)
        try world.happen(.disqualified, "L1", reason: "invalid")
        #expect(world.state.decisionsToVoid.isEmpty)
        #expect(throws: RouterFault.nothingToVoid(position: world.end, decision: decision)) {
            try world.store(.decisionVoided(decision: decision, turn: world.decisions[decision]!.turn!))
        }
    }

    @Test func `disqualified for any other reason, or released, costs the turn`() throws {
        var rules = RoutingWorld.rules(["a", "b"])
        rules.voidingReasons = ["invalid"]
        let world = try RoutingWorld(rules)
        _ = try world.give("L0")
        let balances = world.balances("sales")
        try world.happen(.disqualified, "L0", reason: "no_budget")
        #expect(world.state.decisionsToVoid.isEmpty)
        #expect(world.balances("sales") == balances)
    }

    @Test func `balances live on across rule sets that drop a member and bring it back`() throws {
        let rules = RoutingWorld.rules(["a", "b", "c"])
        let world = try RoutingWorld(rules)
        for lead in 0..<4 { _ = try world.give("L\(lead)") }
        let a = try #require(world.balances("sales")["a"])
        try world.activate(RoutingWorld.rules(["b", "c"]))
        for lead in 4..<9 { _ = try world.give("L\(lead)") }
        #expect(world.balances("sales")["a"] == a)
        try world.activate(rules)
        #expect(world.balances("sales")["a"] == a)
        #expect(world.state.rotation(of: world.state.pool(named: "sales")).sum == 0)
    }

    @Test func `ties go to the earlier last assignment, never being the earliest, then by hash`() throws {
        let world = try RoutingWorld(RoutingWorld.rules(["a", "b", "c"]))
        let first = try #require(try world.give("L0"))
        #expect(world.last.path.map(\.by) == [.rotation, .last, .hash])
        #expect(world.last.path.map(\.left) == [3, 3, 1])
        _ = try world.give("L1")
        let third = try #require(try world.give("L2"))
        #expect(third != first)
        // All level again: the one served longest ago.
        #expect(try world.give("L3") == first)
        #expect(world.last.path.map(\.by) == [.rotation, .last])
    }

    @Test func `the order in which a document lists its members decides nothing`() throws {
        let names = ["a", "b", "c", "d", "e"]
        let weights: [UInt32] = [3, 1, 2, 1, 4]
        func run(_ order: [Int]) throws -> [String?] {
            let world = try RoutingWorld(
                RoutingWorld.rules(order.map { names[$0] }, weights: order.map { weights[$0] }))
            return try (0..<100).map { try world.give("L\($0)") }
        }
        let expected = try run([0, 1, 2, 3, 4])
        #expect(Set(expected).count == 5)
        #expect(try run([4, 3, 2, 1, 0]) == expected)
        #expect(try run([2, 0, 4, 1, 3]) == expected)
    }
}
