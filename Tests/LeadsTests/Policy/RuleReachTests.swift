import TestSupport
import Testing

@testable import Leads

@Suite struct RuleReachTests {
    private func verdicts(_ texts: [String], testsMax: Int = PolicyLimits.reachTestsMax) throws -> [RuleReach.Verdict] {
        var parser = ConditionParser()
        var reach = RuleReach(try texts.map { try parser.parse($0) }, testsMax: testsMax)
        return texts.indices.map { reach.verdict(on: $0) }
    }

    @Test(
        arguments: [
            (["true", "present amount"], [0]),
            (["present amount or not present amount", "true"], [0]),
            ([#"country == "BR""#, #"country == "BR""#], [0]),
            ([#"country in ["BR", "PT"]"#, #"country == "PT""#], [0]),
            ([#"country in ["BR", "PT"]"#, #"country == "PT" and amount > 5"#], [0]),
            (["amount > 5", "amount > 6"], [0]),
            (["amount >= 6", "amount > 5"], [0]),
            (["amount > 5", "amount <= 5", "present amount"], [0, 1]),
            ([#"country == "BR""#, #"country != "BR""#, #"country == "PT" or country == "BR""#], [0, 1]),
            ([#"channel starts_with "paid""#, #"channel starts_with "paid search""#], [0]),
            ([#"channel starts_with "pa""#, #"channel in "paid".."paz""#], [0]),
            ([#"not (country == "BR")"#, #"country == "BR""#, "true"], [0, 1]),
            (
                [
                    #"stage in ["captured","mql","offered","accepted"]"#,
                    #"stage in ["working","contacted","qualified","opportunity"]"#, "present stage",
                ], [0, 1]
            ),
            ([#"country == "BR" and amount > 5"#, "present channel", #"amount > 5 and country == "BR""#], [0]),
            (["custom.x == true", "custom.x == false", "custom.x != true"], [1]),
        ] as [([String], [Int])])
    func `a rule that earlier ones take every lead from is found, with those who take them`(
        _ texts: [String], _ takers: [Int]
    ) throws {
        let verdicts = try verdicts(texts)
        #expect(verdicts.last == .taken(by: takers))
        #expect(verdicts.dropLast().allSatisfy { $0 == .reachable })
    }

    @Test(arguments: [
        "false", #"country == "BR" and country == "PT""#, "amount > 5 and amount < 6",
        "present amount and not present amount",
        #"channel starts_with "ab" and channel < "ab""#, #"channel starts_with "b" and channel starts_with "a""#,
        #"custom.x == 5 and custom.x == "5""#,
    ])
    func `a condition that no lead fulfils is found`(_ text: String) throws {
        #expect(try verdicts(["present channel", text]).last == .neverTrue)
    }

    @Test(arguments: [
        ["amount > 5", "amount > 4"],
        [#"country == "BR""#, #"country in ["BR", "PT"]"#],
        [#"country != "BR""#, #"not (country == "BR")"#],
        ["present amount", "amount > 5 or present channel"],
        [#"channel starts_with "paid search""#, #"channel starts_with "paid""#],
        [#"channel < "b""#, #"channel >= "b""#, "true"],
        ["custom.x == true", "custom.x == false", "present custom.x"],
        ["amount >= 9223372036854775807", "amount > 9223372036854775806 or amount == 0"],
    ])
    func `a rule that some lead reaches is left alone`(_ texts: [String]) throws {
        #expect(try verdicts(texts).allSatisfy { $0 == .reachable })
    }

    @Test func `where the search may not look, the rule counts as reachable`() throws {
        #expect(try verdicts(["true", "true"], testsMax: 0) == [.reachable, .taken(by: [0])])
        #expect(try verdicts(["present amount", "present amount"], testsMax: 3) == [.reachable, .reachable])
    }

    /// Soundness: a rule that some random lead has as its first match is never called unreachable.
    @Test func `no rule that a random lead reaches is called unreachable`() throws {
        let seed = announcedSeed("RuleReachTests")
        var random = RandomConditions(seed: seed)
        var unreachable = 0, reached = 0
        for _ in 0..<300 {
            let rules = try (0..<5).map { _ in try random.expression(depth: 2) }
            var reach = RuleReach(rules)
            let verdicts = rules.indices.map { reach.verdict(on: $0) }
            unreachable += verdicts.count { $0 != .reachable }
            for _ in 0..<200 {
                let facts = random.facts()
                guard let first = rules.firstIndex(where: { $0.value { facts.values[$0] } }) else { continue }
                reached += 1
                #expect(
                    verdicts[first] == .reachable, "seed \(seed): \(rules[...first].map(\.text)) by \(facts.values)")
            }
        }
        #expect(unreachable > 100 && reached > 20_000, "seed \(seed): \(unreachable), \(reached)")
    }

    @Test func `two hundred rules over lists of countries are looked through`() throws {
        let texts = (0..<200).map { rule in
            let countries = (0..<20).map { "\"C\(rule * 7 + $0)\"" }.joined(separator: ", ")
            return "country in [\(countries)] and amount >= \(rule % 10) and not (channel == \"c\(rule)\")"
        }
        let verdicts = try verdicts(texts + ["country == \"C1\" and amount > 100 and channel == \"x\""])
        #expect(verdicts.dropLast().allSatisfy { $0 == .reachable })
        #expect(verdicts.last == .taken(by: [0]))
    }
}
