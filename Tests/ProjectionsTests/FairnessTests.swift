import Glibc
import Leads
import Testing

@testable import Ledger
@testable import Projections

/// The model `fairness` against numbers known beforehand and, for random logs, a plain recount.
@Suite(.timeLimit(.minutes(10))) struct FairnessTests {
    /// A lead that a pool gave to the first of those who were eligible, by their weights.
    private func decision(
        _ lead: String, _ pool: String, at: Int64, _ eligible: [(member: String, weight: Int64)], mode: String = "push"
    ) -> [LeadEvent] {
        let sum = eligible.reduce(0) { $0 + $1.weight }
        let candidates = eligible.map {
            #"{"member":"\#($0.member)","weight":\#($0.weight),"gain":\#(($0.weight << 32) / sum),"owed":0}"#
        }
        let data = """
            "member":"\(eligible[0].member)","mode":"\(mode)","decision":{"policy":"p","version":1,"pool":"\(pool)",\
            "candidates":[{"member":"away","refused":"leave"},\(candidates.joined(separator: ","))]}
            """
        return [
            LeadEvent(lead: lead, type: .captured, at: at),
            LeadEvent(lead: lead, type: .assigned, at: at, data: data),
        ]
    }

    private func report(_ models: Models, _ query: FairnessQuery = FairnessQuery()) throws -> FairnessReport {
        try models.read(FairnessProjection.self) { try $0.fairness(query) }
    }

    private func share(_ member: String, _ decisions: Int, entitled: Int128, _ received: Int) -> Fairness.Share {
        var share = Fairness.Share(member: member)
        share.decisions = decisions
        share.entitled = entitled
        share.received = received
        return share
    }

    private static let turn = Int128(1) << 32

    @Test func `entitlement is a share of each decision in which the member was eligible`() throws {
        let models = try models(
            decision("A", "emea", at: 10, [("ann", 3), ("bo", 1)])
                + decision("B", "emea", at: 20, [("bo", 1), ("ann", 3)])
                + decision("C", "emea", at: 30, [("ann", 3)])
                + decision("D", "apac", at: 40, [("cy", 1), ("ann", 1)]))
        let pools = try report(models).pools
        #expect(pools.map(\.pool) == ["apac", "emea"] && pools.map(\.decisions) == [1, 3])
        // 3/4 + 3/4 + 1 of ann's, 1/4 + 1/4 of bo's. Nobody who was refused is there.
        #expect(
            pools[1].fairness.members == [
                share("ann", 3, entitled: Self.turn * 5 / 2, 2), share("bo", 2, entitled: Self.turn / 2, 1),
            ])
        // Ratios 4/5 and 2: (14/5)^2 / (2 * (16/25 + 4)) = 196/232.
        #expect(pools[1].fairness.jainBillionths == 844_827_586)
        #expect(
            pools[0].fairness.members == [
                share("ann", 1, entitled: Self.turn / 2, 0), share("cy", 1, entitled: Self.turn / 2, 1),
            ])
    }

    @Test func `a window has its start and not its end, and a pool may be asked for alone`() throws {
        let models = try models(
            decision("A", "emea", at: 10, [("ann", 1)]) + decision("B", "emea", at: 20, [("ann", 1)])
                + decision("C", "apac", at: 20, [("ann", 1)]) + decision("D", "emea", at: 30, [("ann", 1)]))
        let window = try report(models, FairnessQuery(from: instant(10), to: instant(30), pool: "emea")).pools
        #expect(window.map(\.pool) == ["emea"] && window[0].decisions == 2)
        #expect(try report(models, FairnessQuery(from: instant(11))).pools.map(\.decisions) == [1, 2])
        #expect(try report(models, FairnessQuery(from: instant(31))).pools.isEmpty)
    }

    @Test func `a voided decision counts for nobody, however often it was taken back`() throws {
        let log = try LeadLog()
        let decisions =
            decision("A", "emea", at: 10, [("ann", 1), ("bo", 1)])
            + decision("B", "emea", at: 20, [("bo", 1), ("ann", 1)])
        let positions = try log.append(decisions)
        let models = try Models(of: log)
        try models.wait(for: log.log.end)
        #expect(try report(models).pools.first?.decisions == 2)
        let voided = LeadEvent(
            lead: "emea", type: .poolDecisionVoided, at: 50,
            data: #""decision":\#(positions[1]!),"reason":"spam","lead":"A","cause":3"#)
        try log.append([voided, voided])
        try models.wait(for: log.log.end)
        let pool = try #require(try report(models).pools.first)
        #expect(pool.decisions == 1 && pool.voided == 1)
        #expect(
            pool.fairness.members == [
                share("ann", 1, entitled: Self.turn / 2, 0), share("bo", 1, entitled: Self.turn / 2, 1),
            ])
    }

    @Test func `what is no turn entitles nobody: a match, the manager, by hand, an import`() throws {
        let manager =
            #""member":"boss","mode":"push","decision":{"policy":"p","version":1,"pool":"emea","manager":true,"candidates":[{"member":"ann","weight":1,"gain":4294967296,"owed":0}]}"#
        let models = try models(
            decision("A", "emea", at: 10, [("ann", 1)], mode: "match") + [
                LeadEvent(lead: "A", type: .assigned, at: 20, data: manager),
                LeadEvent(lead: "A", type: .assigned, at: 30, data: #""member":"bo","mode":"manual""#),
                LeadEvent(lead: "A", type: .assigned, at: 40, data: #""member":"bo","mode":"import""#),
            ])
        #expect(try report(models).pools.isEmpty)
    }

    @Test func `a lead that was pulled is a turn too`() throws {
        let models = try models(decision("A", "emea", at: 10, [("ann", 1)], mode: "pull"))
        #expect(try report(models).pools.first?.fairness.members == [share("ann", 1, entitled: Self.turn, 1)])
    }

    /// The others do not look at decisions.
    @Test(arguments: [
        #"{"pool":"p","candidates":[{"member":"ann","weight":1,"gain":4294967297}]}"#,
        #"{"pool":"p","candidates":[{"member":"ann","weight":1,"gain":-1}]}"#,
        #"{"pool":"p","candidates":[{"member":"bo","weight":1,"gain":1}]}"#,
        #"{"pool":"p","candidates":[{"weight":1,"gain":1}]}"#, #"{"pool":1,"candidates":[]}"#,
        #"{"pool":"p","candidates":{}}"#,
    ])
    func `a decision that nobody can have taken stops this model alone`(decision: String) throws {
        let log = try LeadLog()
        try log.append([
            LeadEvent(lead: "A", type: .captured, at: 0),
            LeadEvent(
                lead: "A", type: .assigned, at: 1, data: #""member":"ann","mode":"push","decision":\#(decision)"#),
        ])
        let models = try Models(of: log)
        func status(_ name: String) -> ProjectionStatus? { models.set.status.first { $0.name == name } }
        while status("fairness")?.state != .stopped {
            try #require(status("fairness")?.position != log.log.end); usleep(1_000)
        }
        #expect(status("fairness")?.position == Position(rawValue: 1))
        for name in ["leads", "response"] {
            while status(name)?.position != log.log.end { try #require(status(name)?.state != .stopped); usleep(1_000) }
        }
    }

    // MARK: A plain recount

    @Test(arguments: [UInt64(31), 32, 33]) func `random decisions give what a plain recount gives`(seed: UInt64) throws
    {
        print("seed \(seed)")
        let log = try LeadLog()
        var events = RandomEvents(seed: seed, leads: 40)
        let given = events.next(8_000)
        try log.append(given)
        let models = try Models(of: log)
        try models.wait(for: log.log.end)
        let voided = Set(
            given.filter { $0.type == .poolDecisionVoided }.compactMap { event in
                Int(event.data.split(separator: ",")[0].drop { !$0.isNumber })
            })
        var counted = 0
        for (from, to) in [(0, 10_000_000), (2_000_000, 5_000_000)] as [(Int64, Int64)] {
            var plain: [String: Fairness] = [:]
            var taken: [String: Int] = [:]
            for (position, event) in given.enumerated()
            where event.type == .assigned && from <= event.at && event.at < to {
                guard event.data.contains("decision"), !event.data.contains("match") else { continue }
                // "m0", "m1", "m2" and "p0", "p1" stand where the generator puts them.
                let words = event.data.split(whereSeparator: { !$0.isLetter && !$0.isNumber && $0 != "_" }).map(
                    String.init)
                func word(after name: String, from start: Int = 0) -> String {
                    words[words[start...].firstIndex(of: name)! + 1]
                }
                let pool = word(after: "pool")
                if voided.contains(position) {
                    taken[pool, default: 0] += 1
                    continue
                }
                let starts = words.indices.filter { words[$0] == "member" }.dropFirst().dropLast()
                plain[pool, default: Fairness()].add(
                    NamedTurn(
                        pool: pool,
                        gains: starts.map {
                            NamedTurn.Gain(member: words[$0 + 1], amount: Int64(word(after: "gain", from: $0))!)
                        }, winner: words[1]))
                counted += 1
            }
            let found = try report(models, FairnessQuery(from: instant(from), to: instant(to))).pools
            #expect(Set(found.map(\.pool)) == Set(plain.keys).union(taken.keys))
            for pool in found {
                #expect(pool.fairness == plain[pool.pool] ?? Fairness())
                #expect(pool.voided == taken[pool.pool] ?? 0)
            }
        }
        #expect(counted > 40, "\(counted)")
    }
}
