import JSON
import Leads
import PolicyDocuments
import Schemas
import Testing

@testable import leadledger_bench

/// What the routing benchmark publishes and sends.
@Suite struct RouteLoadTests {
    private func document(reroutesWaiting: Bool = false) throws -> PolicyDocument {
        do {
            return try PolicyDocument(
                Array(RouteRuleSet.document(reroutesWaiting: reroutesWaiting).utf8), isKnownZone: { $0 == "UTC" })
        } catch {
            Issue.record("the rule set is refused: \(error)")
            throw error
        }
    }

    private func lines(_ numbers: Range<Int>, seed: UInt64 = 1, wallClock: Int = 1_772_355_600) -> [[UInt8]] {
        var captures = RouteCaptures(seed: seed)
        return numbers.map { number in
            [UInt8](unsafeUninitializedCapacity: captures.lineBytes) { buffer, filled in
                captures.writeLine(
                    number: number, wallClock: wallClock, to: UnsafeMutableRawPointer(buffer.baseAddress!))
                filled = captures.lineBytes
            }
        }
    }

    @Test func `the rule set is one that the daemon takes, with what was asked for in it`() throws {
        let ruleSet = try document().ruleSet
        #expect(ruleSet.members.count == 1_000 && ruleSet.pools.count == 50 && ruleSet.territories.count == 200)
        #expect(ruleSet.pools.allSatisfy { $0.members.count == 20 })
        #expect(RouteRuleSet.document(reroutesWaiting: true).utf8.count < 700_000)
        #expect(!ruleSet.reroutesWaiting)
        #expect(try document(reroutesWaiting: true).ruleSet.reroutesWaiting)
    }

    @Test func `captures are taken by the schemas, each of a lead of its own, at the second that it is sent`() throws {
        let parameters = try JSONSchema(#require(Schemas.methods.first { $0.name == "append.params" }).text)
        let schema = try JSONSchema(#require(Schemas.events.first { $0.name == "lead.captured" }).text)
        var parser = JSONParser()
        let lineBytes = RouteCaptures(seed: 1).lineBytes
        for (number, line) in lines(0..<2_000).enumerated() {
            #expect(line.last == 0x0A && line.count == lineBytes)
            try parser.withDocument(line) { root in
                #expect(root["id"]?.int64 == 1_000_000_000 + Int64(number))
                let params = try #require(root["params"])
                #expect(parameters.validate(params) == nil)
                let event = try #require(params["events"]?.elements.first { _ in true })
                #expect(event.raw.count == EventTemplate.eventBytes)
                let digits = String(number)
                let padded = String(repeating: "0", count: 10 - digits.count) + digits
                #expect(event["subject"]?.string == "lead-q-\(padded)")
                #expect(event["type"]?.equals("lead.captured") == true)
                #expect(event["time"]?.equals("2026-03-01T09:00:00Z") == true)
                #expect(schema.validate(try #require(event["data"])) == nil)
            }
        }
        #expect(lines(0..<50) == lines(0..<50) && lines(0..<50) != lines(0..<50, seed: 2))
        let later = String(decoding: lines(0..<1, wallClock: 1_772_355_661)[0], as: UTF8.self)
        #expect(later.contains(#""time":"2026-03-01T09:01:01Z""#))
    }

    /// Goal: the load asks for what the rule set has. Method: the rules are asked for each capture, as the router does.
    @Test func `every pool gets its share of the captures, by rules of every kind and by the catch-all`() throws {
        let ruleSet = try document().ruleSet
        var pools: [PoolIndex: Int] = [:]
        var rules: [TerritoryIndex: Int] = [:]
        var caught = 0
        var parser = JSONParser()
        for line in lines(0..<20_000) {
            try parser.withDocument(line) { root in
                let event = try #require(root["params"]?["events"]?.elements.first { _ in true })
                let data = try #require(event["data"])
                var facts = LeadFacts(customFieldCount: 0)
                for (field, name) in [
                    (LeadField.country, "country"), (.region, "region"), (.channel, "channel"),
                ] as [(LeadField, String)] {
                    facts.set(field, .text(Array(try #require(data.member(named: name)).utf8)))
                }
                pools[ruleSet.pool(for: facts), default: 0] += 1
                if let first = ruleSet.matchingTerritories(facts).first {
                    rules[first, default: 0] += 1
                } else {
                    caught += 1
                }
            }
        }
        // The narrowest rule takes an eighth of its country: 48 of 20,000.
        #expect(rules.count == 200 && (rules.values.min() ?? 0) > 15, "\(rules.values.min() ?? 0)")
        #expect(pools.count == 50 && (pools.values.min() ?? 0) > 100 && (pools.values.max() ?? 0) < 2_000, "\(pools)")
        #expect(caught > 500)
    }

    @Test(arguments: [1, 3, 7, 1_000, 10_000, 999_983])
    func `a request is due at its instant, and not a nanosecond before`(rate: Int) {
        let schedule = SendSchedule(count: 2_000_000, rate: rate)
        #expect(schedule.instant(of: 0) == 0 && schedule.due(after: 0) == 1)
        #expect(schedule.instant(of: rate) == 1_000_000_000)
        for number in [1, 2, 3, 10, 99, 1_234, 500_000, 1_999_998] {
            let instant = schedule.instant(of: number)
            #expect(schedule.due(after: instant) == number + 1, "\(number)")
            #expect(schedule.due(after: instant - 1) == number, "\(number)")
        }
        #expect(schedule.due(after: .max) == 2_000_000)
    }

    @Test func `without a rate all are due at once`() {
        #expect(SendSchedule(count: 5).due(after: 0) == 5 && SendSchedule(count: 5).instant(of: 4) == 0)
    }
}
