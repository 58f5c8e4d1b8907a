/// Who of a pool was entitled to how many leads, and got how many: over any window of decisions (SEMANTICS 5.1).
///
/// Counted from what the decisions recorded, so that it needs no rule set and no replay. Entitlement is the sum of gains, which are
/// floors of 2^32 * weight / sum: below the exact value by less than 2^-32 of a turn a decision.
package struct Fairness: Equatable, Sendable {
    package struct Share: Equatable, Sendable {
        package var member: String
        /// Decisions in which the member was eligible.
        package var decisions = 0
        /// In 2^-32 of a turn.
        package var entitled: Int128 = 0
        /// Decisions won.
        package var received = 0

        package init(member: String) { self.member = member }

        /// entitled - received, in 2^-32 of a turn: positive for who is owed.
        package var lag: Int128 { entitled - Int128(received) << 32 }
    }

    /// By member id.
    private var shares: [String: Share] = [:]

    package init() {}

    /// From sums that were made elsewhere, one for each member; of two for one, the first counts.
    package init(_ shares: some Sequence<Share>) {
        self.shares = Dictionary(shares.lazy.map { ($0.member, $0) }, uniquingKeysWith: { first, _ in first })
    }

    /// Adds one that was not voided. One without a turn (an owner match, a manager, a queue) entitles nobody.
    package mutating func add(_ turn: NamedTurn) {
        for gain in turn.gains {
            shares[gain.member, default: Share(member: gain.member)].entitled += Int128(gain.amount)
            shares[gain.member]!.decisions += 1
        }
        shares[turn.winner, default: Share(member: turn.winner)].received += 1
    }

    /// In the order of their ids' bytes.
    package var members: [Share] { shares.values.sorted { $0.member.utf8.lexicographicallyPrecedes($1.member.utf8) } }

    /// Jain's index over received / entitled of those entitled to anything, in 10^-9: 10^9 is perfectly fair, 10^9 / n all to one.
    /// Nil if nobody was entitled or nobody received.
    ///
    /// Doubles in the order of ids, rounded once.
    package var jainBillionths: Int64? {
        var sum = 0.0
        var squares = 0.0
        var count = 0.0
        for share in members where share.entitled > 0 {
            let ratio = Double(share.received) / (Double(share.entitled) / 4_294_967_296)
            sum += ratio
            squares += ratio * ratio
            count += 1
        }
        guard squares > 0 else { return nil }
        return Int64((sum * sum / (count * squares) * 1e9).rounded())
    }
}
