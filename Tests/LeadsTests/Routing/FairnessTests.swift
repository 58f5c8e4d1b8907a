import Testing

@testable import Leads

@Suite struct FairnessTests {
    static let half: Int64 = 1 << 31

    static func turn(_ winner: String, _ gains: [(String, Int64)]) -> NamedTurn {
        NamedTurn(pool: "p", gains: gains.map { NamedTurn.Gain(member: $0.0, amount: $0.1) }, winner: winner)
    }

    @Test func `entitlement counts only decisions in which the member was eligible`() throws {
        var fairness = Fairness()
        fairness.add(Self.turn("a", [("a", Self.half), ("b", Self.half)]))
        fairness.add(Self.turn("a", [("a", Turn.whole)]))
        let (a, b) = (fairness.members[0], fairness.members[1])
        #expect((a.decisions, a.received) == (2, 2))
        #expect(a.entitled == Int128(Self.half) * 3)
        #expect(a.lag == -Int128(Self.half))
        #expect((b.decisions, b.received) == (1, 0))
        #expect(b.lag == Int128(Self.half))
        // Ratios 4/3 and 0: (4/3)^2 / (2 * 16/9) = 1/2.
        #expect(fairness.jainBillionths == 500_000_000)
    }

    @Test func `equal ratios are perfectly fair, whatever the weights`() {
        var fairness = Fairness()
        let gains = [("a", Int64(3) << 30), ("b", Int64(1) << 30)]
        for winner in ["a", "a", "b", "a"] { fairness.add(Self.turn(winner, gains)) }
        #expect(fairness.jainBillionths == 1_000_000_000)
        for share in fairness.members { #expect(share.lag == 0) }
    }

    @Test func `without decisions there is no index`() {
        #expect(Fairness().jainBillionths == nil)
        #expect(Fairness().members.isEmpty)
    }
}
