// Who of a pool is owed how many turns.
//
// Invariants:
//   sums-to-zero        The balances of a pool add up to 0: the winner pays exactly what was given, and a decision that is taken
//                       back takes both.
//   absent-is-neutral   Only who was eligible gains, so someone absent owes nothing and is owed nothing for the time away.
//   lives-on            Balances belong to (pool, member). A rule set that drops and brings back a member changes none.

/// What one decision moved: a gain for each eligible member, and the sum of them paid by who got the lead. In units of 2^-32 of a
/// turn.
package struct Turn: Equatable, Sendable {
    package struct Gain: Equatable, Sendable, BitwiseCopyable {
        package var member: MemberNumber
        package var amount: Int64

        package init(member: MemberNumber, amount: Int64) {
            self.member = member
            self.amount = amount
        }
    }

    package var gains: [Gain]
    package var winner: MemberNumber

    package init(gains: [Gain], winner: MemberNumber) {
        self.gains = gains
        self.winner = winner
    }

    /// What the winner pays: the sum given, at most 2^32.
    package var payment: Int64 { gains.reduce(0) { $0 &+ $1.amount } }

    /// One turn.
    package static let whole: Int64 = 1 << 32

    /// floor(2^32 * weight / sum). Exact: weights are below 2^31, so the product fits 63 bits.
    @inlinable
    package static func gain(weight: UInt32, of sum: UInt64) -> Int64 {
        Int64((UInt64(weight) << 32) / sum)
    }
}

/// The balances of one pool, each with the last time its member got a lead from this pool.
///
/// A member's *seat* is its place in these lists. Seats are given in the order in which members came into the pool, and kept:
/// nothing that is decided depends on their order.
package struct RotationLedger: Equatable, Sendable {
    package private(set) var members: [MemberNumber] = []
    /// In 2^-32 of a turn: what the member is owed, or, if negative, has had in advance.
    package private(set) var balances: [Int64] = []
    /// One more than the position of the member's last assignment in this pool; 0 is never.
    package private(set) var lastAssignments: [UInt64] = []
    private var seats: [MemberNumber: Int32] = [:]

    package init() {}

    /// The member's seat, a new one with balance 0 if there is none.
    package mutating func seat(for member: MemberNumber) -> Int {
        if let seat = seats[member] { return Int(seat) }
        let seat = members.count
        members.append(member)
        balances.append(0)
        lastAssignments.append(0)
        seats[member] = Int32(seat)
        return seat
    }

    package func balance(of member: MemberNumber) -> Int64 {
        seats[member].map { balances[Int($0)] } ?? 0
    }

    /// One more than the position of the last assignment; 0 is never.
    package func lastAssignment(of member: MemberNumber) -> UInt64 {
        seats[member].map { lastAssignments[Int($0)] } ?? 0
    }

    /// 0, always.
    package var sum: Int64 { balances.reduce(0, &+) }

    /// A decision taken at `position`: everybody eligible gains, the winner pays.
    package mutating func apply(_ turn: Turn, at position: UInt64) {
        move(turn, sign: 1)
        lastAssignments[seat(for: turn.winner)] = position + 1
    }

    /// The same decision voided. It stays the winner's last assignment: the turn is given back, not the place in the order.
    package mutating func takeBack(_ turn: Turn) {
        move(turn, sign: -1)
    }

    /// As `takeBack`, of a decision that was never stored: its place in the order goes too.
    ///
    /// - Parameter last: what the winner's `lastAssignment` was before it.
    package mutating func undo(_ turn: Turn, last: UInt64) {
        move(turn, sign: -1)
        lastAssignments[seat(for: turn.winner)] = last
    }

    /// Wraps rather than traps: a log that was tampered with is for the checker to find, not for the router to die of.
    private mutating func move(_ turn: Turn, sign: Int64) {
        var sum: Int64 = 0
        for gain in turn.gains {
            balances[seat(for: gain.member)] &+= gain.amount &* sign
            sum &+= gain.amount
        }
        balances[seat(for: turn.winner)] &-= sum &* sign
    }
}
