// Everything the router knows when it decides: a fold over the log, and nothing besides.
//
// Invariants (`invariantBroken` names the one that does not hold):
//   one-custody     Each lead's stage and custody are what the lifecycle makes of its events; a live one has exactly one custody.
//   open-counted    A member's open count is the number of leads that the member owns or has leased.
//   accounts-counted  `accountLeads` counts the leads of an account that each member owns.
//   queues-hold     A queue holds exactly the leads whose custody is that queue.
//   sums-to-zero    The balances of each pool add up to 0.
//   path-free       The state depends on the events alone: folded at once or one by one, with decisions taken in between or not,
//                   it has the same digest. What is only a hint where to look next is not part of it.

/// The router's state as of a position of the log. A value: a copy can be decided with, and thrown away.
package struct RouterState: Sendable {
    /// One more than the position of the last event folded in: the basis of a decision taken now.
    package internal(set) var end: UInt64 = 0

    var memberIDs = NumberedIDs()
    var poolIDs = NumberedIDs()
    /// By `MemberNumber`; number 0 is nobody, and stays empty.
    var members = [MemberBook()]
    /// By `PoolNumber`.
    var rotations = [RotationLedger()]
    var queues = [DueQueue()]
    var leads = LeadTable()
    /// By account number; 0 is none.
    var accountOwners = [MemberNumber.nobody]
    /// How many leads of an account a member owns, by account number and member number; none is left out.
    var accountLeads: [UInt64: Int32] = [:]
    var accountNumbers: [RoutingKey: UInt32] = [:]
    /// Lists of earlier holders: the member, and the next entry.
    var holders: [(member: MemberNumber, next: UInt32)] = [(.nobody, 0)]
    /// In the order of their positions.
    var plans: [RoutingPlan] = []
    /// Pool decisions that a disqualification voids and no `pool.decision_voided` has yet taken back.
    var voids: [UInt64: PendingVoid] = [:]

    // Hints, derived from the above.
    var triggers = TriggerList()
    /// Members for whom a place may have become free since the last `takeFreedPools`.
    var freed: [MemberNumber] = []
    /// Pools whose first waiting leads nobody could take at that instant. Emptied by whatever may change that.
    var barren: [PoolIndex: Instant] = [:]

    package init() {}

    struct PendingVoid: Sendable, Equatable {
        var lead: LeadNumber
        /// The disqualification's position.
        var cause: UInt64
    }
}

/// What the router remembers of a member.
struct MemberBook: Sendable, Equatable {
    /// Leads owned or leased, not ended, not in nurture.
    var open: Int32 = 0
    var isFreed = false
    /// Paused until then; nil: not paused. Without an end it is `Int64.max`.
    var pausedUntil: Int64?
    /// Half-open, in the order in which they were announced.
    var leaves: [Leave] = []
    var assignments = InstantWindow()
    /// The last assignment by a pool; nil: never.
    var lastByPool: Instant?
    var releases = InstantWindow()
    var wins = InstantWindow()
    var losses = InstantWindow()

    struct Leave: Sendable, Equatable {
        var from: Int64
        var until: Int64
    }

    func isPaused(at instant: Instant) -> Bool { pausedUntil.map { instant.microseconds < $0 } ?? false }

    func isOnLeave(at instant: Instant) -> Bool {
        leaves.contains { $0.from <= instant.microseconds && instant.microseconds < $0.until }
    }
}

// MARK: - Asking

extension RouterState {
    package var leadCount: Int { leads.count }
    package var memberCount: Int { memberIDs.ids.count }

    /// The rule set in force at an instant: of those activated until then, the one recorded last among the latest. Nil before the
    /// first.
    package func plan(at instant: Instant) -> RoutingPlan? {
        var found: RoutingPlan?
        for plan in plans where plan.from <= instant {
            if let best = found, plan.from < best.from { continue }
            found = plan
        }
        return found
    }

    /// The rule sets that are to come into force after an instant, as of now, in the order of their positions.
    package func plans(after instant: Instant) -> [RoutingPlan] { plans.filter { $0.from > instant } }

    /// `none` if it was never captured.
    package func lead(_ key: RoutingKey) -> LeadNumber { leads.number(of: key) }
    package subscript(lead: LeadNumber) -> LeadRecord { leads[lead] }

    package func id(of member: MemberNumber) -> String { memberIDs[member.rawValue] }
    package func id(of pool: PoolNumber) -> String { poolIDs[pool.rawValue] }
    /// `nobody` if the log and the rule sets never named it.
    package func member(named id: String) -> MemberNumber { MemberNumber(rawValue: memberIDs.known(id)) }
    package func pool(named id: String) -> PoolNumber { PoolNumber(rawValue: poolIDs.known(id)) }

    /// Leads owned or leased, not ended, not in nurture.
    package func openCount(of member: MemberNumber) -> Int { Int(members[member.index].open) }
    package func rotation(of pool: PoolNumber) -> RotationLedger { rotations[pool.index] }
    package func queue(of pool: PoolNumber) -> DueQueue { queues[pool.index] }

    /// Who had the lead in this cycle and gave it back or had it taken, the latest first.
    package func earlierHolders(of lead: LeadNumber) -> [MemberNumber] {
        var found: [MemberNumber] = []
        var entry = leads[lead].earlierHolders
        while entry != 0 {
            found.append(holders[Int(entry)].member)
            entry = holders[Int(entry)].next
        }
        return found
    }

    func wasHeld(_ lead: LeadNumber, by member: MemberNumber) -> Bool {
        var entry = leads[lead].earlierHolders
        while entry != 0 {
            if holders[Int(entry)].member == member { return true }
            entry = holders[Int(entry)].next
        }
        return false
    }

    /// Who has the lead, or had it last.
    func owner(of lead: LeadNumber) -> MemberNumber {
        let record = leads[lead]
        return record.holder != .nobody ? record.holder : record.earlierOwner
    }

    package var hasDecisionsToVoid: Bool { !voids.isEmpty }

    /// Pool decisions that are to be voided, in the order of the disqualifications that say so.
    package var decisionsToVoid: [(decision: UInt64, lead: LeadNumber, cause: UInt64)] {
        voids.map { (decision: $0.key, lead: $0.value.lead, cause: $0.value.cause) }.sorted { $0.cause < $1.cause }
    }

    /// The leads that a member owns or has leased, in the order of their capture. Looks at every lead: for a member that leaves.
    package func leads(heldBy member: MemberNumber) -> [LeadNumber] {
        (1..<UInt32(leads.records.count)).map { LeadNumber(rawValue: $0) }.filter { leads[$0].holder == member }
    }
}

// MARK: - Numbering

extension RouterState {
    mutating func memberNumber(_ id: String) -> MemberNumber {
        let number = memberIDs.number(of: id)
        if Int(number) == members.count { members.append(MemberBook()) }
        return MemberNumber(rawValue: number)
    }

    mutating func poolNumber(_ id: String) -> PoolNumber {
        let number = poolIDs.number(of: id)
        if Int(number) == queues.count {
            queues.append(DueQueue())
            rotations.append(RotationLedger())
        }
        return PoolNumber(rawValue: number)
    }

    mutating func seat(of member: MemberNumber, in pool: PoolNumber) -> Int {
        rotations[pool.index].seat(for: member)
    }

    mutating func accountNumber(_ key: RoutingKey) -> UInt32 {
        if let known = accountNumbers[key] { return known }
        let number = UInt32(accountOwners.count)
        accountOwners.append(.nobody)
        accountNumbers[key] = number
        return number
    }

    mutating func numbered(_ turn: NamedTurn) -> (pool: PoolNumber, turn: Turn) {
        (
            poolNumber(turn.pool),
            Turn(
                gains: turn.gains.map { Turn.Gain(member: memberNumber($0.member), amount: $0.amount) },
                winner: memberNumber(turn.winner))
        )
    }
}
