import Foundation
import JSON
import Leads
import Ledger
import TestSupport
import Testing

@testable import LeadLedger

/// What the desk decides, whichever way the leads come.
@Suite(.timeLimit(.minutes(10))) struct DeskDecidingTests {
    private let zones: TimeZoneDatabase

    init() throws { zones = try TimeZoneDatabase() }

    private func rules(members: [(id: String, more: String)], _ pool: String = "") -> String {
        var text = "policy: sales\nseed: s\nmembers:\n"
        for (id, more) in members { text += "  - { id: \(id), \(more) }\n" }
        let ids = members.map(\.id).joined(separator: ", ")
        return text + "pools:\n  - { id: all, members: [\(ids)]\(pool) }\ncatch_all: all\n"
    }

    private func decisions(_ place: DeskPlace) throws -> [PlainEvent] {
        try PlainEvent.all(of: place.log).filter { $0.data["decision"].isPresent }
    }

    // MARK: Batches

    /// Winners and numbers, without positions: captures that come together lie before all of their decisions.
    private func choice(_ event: PlainEvent) -> String {
        "\(event.subject) \(event.type) \(event.data.without(["basis", "unit", "position", "last", "version"]))"
    }

    @Test func `10,000 captures in one batch decide exactly as 10,000 single ones at the same instants`() throws {
        let count = 10_000
        var random = SeededGenerator(seed: announcedSeed("DeskDecidingTests.batch"))
        let members = (0..<12).map { index in
            var more = "weight: \(Int.random(in: 1...5, using: &random))"
            // Some are full after a while, or have enough for the day.
            if index < 3 { more += ", caps: { open: \(Int.random(in: 50...800, using: &random)) }" }
            if index == 3 { more += ", caps: { daily: 300 }" }
            return (id: "m\(index)", more: more)
        }
        let text = rules(members: members, ", strategies: [least_open, rotation]")
        let events = (0..<count).map { ForeignEvent(.captured, "L\($0)", #""channel":"web""#) }

        let batch = try DeskPlace(zones: zones)
        defer { batch.close() }
        batch.movesClock = false
        try batch.enforce(text)
        let units = events.map { batch.submit([$0]) }
        for unit in units { _ = try batch.outcome(of: unit) }
        try batch.rest()

        let single = try DeskPlace(zones: zones)
        defer { single.close() }
        single.movesClock = false
        try single.enforce(text)
        for event in events {
            try single.append([event])
            _ = try single.answer { .history(nil, $0) }
        }
        try single.rest()

        let (together, alone) = (try decisions(batch), try decisions(single))
        #expect(together.count == count && alone.count == count)
        // Alone each capture is followed by its decision; together some of them are not.
        #expect(alone.allSatisfy { $0.inUnit == 0 } && together.contains { $0.inUnit > 0 })
        let differing = zip(together, alone).first { choice($0) != choice($1) }
        #expect(differing == nil, "\(differing.map { "\(choice($0)), alone \(choice($1))" } ?? "")")
        #expect(Set(alone.compactMap { $0.data["member"].string }).count == 12)
    }

    // MARK: Fairness

    @Test func `30 leads over 4 equal members: nobody lags by a turn at any step`() throws {
        let place = try DeskPlace(zones: zones)
        defer { place.close() }
        try place.enforce(rules(members: ["a", "b", "c", "d"].map { ($0, "weight: 1") }))
        for lead in 0..<30 { try place.append([ForeignEvent(.captured, "L\(lead)", #""channel":"web""#)]) }
        try place.rest()
        let decisions = try decisions(place)
        #expect(decisions.count == 30)
        var lag = Lag()
        for decision in decisions {
            lag.add(try #require(decision.turn))
            #expect(lag.greatest < Lag.turn, "after \(decision)")
        }
    }

    // MARK: No readers left

    /// With one reader left the log can be read, but not the text of a rule set while the event that activates it is: that round is
    /// given up halfway. With none it does not begin.
    @Test(arguments: [0, 1])
    func `where the readers of the log are lent, routing waits, and goes on when they are back`(left: Int) throws {
        let place = try DeskPlace(zones: zones)
        defer { place.close() }
        func lendAll(_ body: () throws -> Void) throws {
            guard let snapshot = try? place.log.makeIndexSnapshot() else { return try body() }
            try lendAll(body)
            #expect(snapshot.progress >= .zero)
        }
        func lend(_ body: () throws -> Void) throws {
            guard left == 1 else { return try lendAll(body) }
            let kept = KeptSnapshot(try place.log.makeIndexSnapshot())
            try lendAll {
                kept.snapshot = nil
                try body()
            }
        }
        let text = rules(members: [("a", "weight: 1"), ("b", "weight: 1")])
        if left == 0 { try place.enforce(text) }
        try lend {
            if left == 1 { try place.enforce(text) }
            for lead in 0..<5 { try place.append([ForeignEvent(.captured, "L-\(lead)", #""channel":"web""#)]) }
            usleep(600_000)
            #expect(place.desk.status.state != .standing)
        }
        for _ in 0..<200 where place.desk.status.position < place.log.end.rawValue { usleep(50_000) }
        try place.rest()
        let decided = try decisions(place)
        #expect(Set(decided.map(\.subject)) == Set((0..<5).map { "L-\($0)" }) && decided.count == 5)
    }

    // MARK: Requests and decisions of one round

    /// Ann has `old`, and has not answered: when it is taken back, `new` has just come and was queued in the same round, and now
    /// there is a place for it. Others write before that round is stored, at whatever time the desk looks at its clock, so that
    /// nothing lies where it was foreseen.
    @Test func `a lead that is queued and could be given out at once names the event that queued it`() throws {
        var given = 0
        for first in 1...8 {
            for second in 1...8 { given += try drains(first, second) }
        }
        // As often as the first of the others came before the lead was taken back, which is nearly always.
        #expect(given >= 32)
    }

    /// - Parameters:
    ///   - first: how often the desk looks at its clock before `new` comes.
    ///   - second: how often from then on before the others come.
    /// - Returns: how often a lead of the queue was given out.
    private func drains(_ first: Int, _ second: Int) throws -> Int {
        let place = try DeskPlace(zones: zones)
        defer { place.close() }
        try place.enforce(
            """
            policy: sales
            seed: s
            members: [{ id: ann, caps: { open: 1 } }]
            pools: [{ id: push, members: [ann], response_targets: [first] }]
            catch_all: push
            response_targets:
              - { id: first, kind: first_response, within: 10m, measure: wall, ladder: [{ at_percent: 100, do: reassign }] }

            """)
        func captured(_ lead: String) -> [ForeignEvent] { [ForeignEvent(.captured, lead, #""channel":"web""#)] }
        place.clock.advance(1_000_000)
        try place.append(captured("old"))
        try place.rest()
        place.clock.advance(1_000_000)
        try place.rest()
        place.ambush(
            [captured("new")], after: first, then: [captured("x"), captured("y"), captured("z")], after: second)
        place.clock.advance(600_000_000)
        try place.append([ForeignEvent(.noted, "old")])
        for _ in 0..<3 {
            try place.rest()
            place.clock.advance(1_000_000)
        }
        let events = try PlainEvent.all(of: place.log)
        var drains = 0
        for event in events where event.data["decision"]["trigger"]["kind"].string == "drain" {
            let cause = events[try #require(event.data["decision"]["trigger"]["position"].integer)]
            #expect(cause.type == .queued && cause.subject == event.subject, "\(event) names \(cause)")
            #expect(event.causation == cause.position)
            drains += 1
        }
        #expect(try place.state().router.digest == place.foldedAnew().router.digest)
        return drains
    }

    @Test func `a claim that comes with decisions does not fill a cap twice`() throws {
        let place = try DeskPlace(zones: zones)
        defer { place.close() }
        try place.enforce(
            """
            policy: sales
            seed: s
            members: [{ id: ann, caps: { open: 1 } }]
            pools:
              - { id: push, members: [ann] }
              - { id: pull, members: [ann], push: false, pull: { lease: 1h } }
            territories: [{ id: pushed, when: 'country == "BR"', pool: push }]
            catch_all: pull

            """)
        try place.append([ForeignEvent(.captured, "waits", #""channel":"web""#)])
        try place.rest()
        // Between the same two reads of the log: a lead that is pushed to her, and her claim.
        let claim = try place.together([ForeignEvent(.captured, "pushed", #""channel":"web","country":"BR""#)]) {
            .claim(ClaimRequest(member: "ann"), actor: 8, $0)
        }
        _ = try place.wait(for: claim)
        try place.rest()
        let state = try place.state()
        #expect(state.router.openCount(of: state.router.member(named: "ann")) == 1)
    }
}

private final class KeptSnapshot {
    var snapshot: IndexSnapshot?

    init(_ snapshot: consuming IndexSnapshot) { self.snapshot = consume snapshot }
}

/// What each member of a pool was entitled to, less what they received, in 2^-32 of a turn.
struct Lag {
    static let turn = 1 << 32
    private(set) var byMember: [String: Int] = [:]
    var greatest: Int { byMember.values.map(\.magnitude).max().map { Int($0) } ?? 0 }

    mutating func add(_ turn: (pool: String, gains: [(member: String, amount: Int)], winner: String)) {
        for gain in turn.gains { byMember[gain.member, default: 0] += gain.amount }
        byMember[turn.winner, default: 0] -= Self.turn
    }
}
