// Taking back decisions that were folded in before they were stored, and were not stored as foreseen: another client's event came
// between, or the log had no room. The newest first, nothing having been folded in since: then the state is, to the digest, what
// it was.

extension RouterState {
    /// What a decision is about to change.
    package struct Undo: Sendable {
        fileprivate var lead: LeadNumber
        fileprivate var before: LeadRecord
        fileprivate var end: UInt64
        fileprivate var holders: Int
        fileprivate var instant: Instant
        fileprivate var winner: MemberNumber
        fileprivate var lastByPool: Instant?
        fileprivate var turn: (pool: PoolNumber, turn: Turn, last: UInt64)?
        fileprivate var accountOwner: MemberNumber
        fileprivate var accountLeads: [(pair: UInt64, count: Int32?)]
    }

    /// To be asked before the decision is folded in.
    package func undo(for decision: Decision) -> Undo {
        let lead = leads.number(of: decision.lead)
        let before = leads[lead]
        let winner = decision.member ?? .nobody
        var undo = Undo(
            lead: lead, before: before, end: end, holders: holders.count, instant: decision.instant, winner: winner,
            lastByPool: members[winner.index].lastByPool, accountOwner: accountOwners[Int(before.account)],
            accountLeads: [])
        if let turn = decision.turn, let pool = decision.pool {
            let number = decision.plan.pools[Int(pool.rawValue)].number
            undo.turn = (number, turn, rotations[number.index].lastAssignment(of: winner))
        }
        if before.account != 0 {
            for member in Set([before.holder, winner]) where member != .nobody {
                let pair = UInt64(before.account) << 32 | UInt64(member.rawValue)
                undo.accountLeads.append((pair, accountLeads[pair]))
            }
        }
        return undo
    }

    package mutating func undo(_ undo: Undo) {
        let (before, after) = (undo.before, leads[undo.lead])
        barren = [:]
        // 1. The queues, and the trigger that waits again.
        if after.state.custody == .queue { queues[after.queue.index].remove(after.entry(as: undo.lead)) }
        if before.state.custody == .queue { queues[before.queue.index].insert(before.entry(as: undo.lead)) }
        leads[undo.lead] = before
        if before.mark > 0, before.state.custody == .inbox || before.state.custody == .owner {
            let kind: RoutingTrigger.Kind = before.state.custody == .inbox ? .arrival : .takeBack
            triggers.prepend(RoutingTrigger(kind, lead: undo.lead, position: UInt64(before.mark - 1)))
        }
        // 2. Who has it.
        if before.holder != after.holder {
            if after.holder != .nobody { members[after.holder.index].open -= 1 }
            if before.holder != .nobody { members[before.holder.index].open += 1 }
        }
        holders.removeLast(holders.count - undo.holders)
        if before.account != 0 {
            accountOwners[Int(before.account)] = undo.accountOwner
            for (pair, count) in undo.accountLeads { accountLeads[pair] = count }
        }
        // 3. What it counted for.
        if undo.winner != .nobody {
            members[undo.winner.index].assignments.remove(undo.instant)
            members[undo.winner.index].lastByPool = undo.lastByPool
            if let (pool, turn, last) = undo.turn { rotations[pool.index].undo(turn, last: last) }
        }
        end = undo.end
    }
}
