// Folding an event into the router's state.

extension RouterState {
    /// Folds one event in. Events that mean nothing to routing may be given or left out; positions must go up.
    ///
    /// A fault leaves the state as it was, new numbers for ids apart, which mean nothing by themselves.
    package mutating func apply(_ event: RouterEvent) throws(RouterFault) {
        guard event.position >= end else { throw .outOfOrder(position: event.position, end: end) }
        if !barren.isEmpty { barren = [:] }
        switch event.body {
        case .lead(let lead):
            var change = LeadChange(lead, numbering: &self)
            change.recordedAt = event.recordedAt
            try apply(change, at: event.position, event.instant)

        case .memberPaused(let id, let until):
            members[memberNumber(id).index].pausedUntil = until?.microseconds ?? .max
        case .memberResumed(let id):
            let member = memberNumber(id)
            members[member.index].pausedUntil = nil
            free(member)
        case .memberOnLeave(let id, let from, let until):
            let leave = MemberBook.Leave(from: from.microseconds, until: until?.microseconds ?? .max)
            members[memberNumber(id).index].leaves.append(leave)
        case .memberReturned(let id):
            let member = memberNumber(id)
            members[member.index].leaves = []
            free(member)

        case .activated(let activation):
            if let broken = activation.ruleSet.invariantBroken {
                throw .unsoundRuleSet(position: event.position, invariant: broken)
            }
            let plan = RoutingPlan(activation, at: event.position, numbering: &self)
            plans.append(plan)
            for member in plan.members { free(member) }

        case .decisionVoided(let decision, let turn):
            guard voids[decision] != nil else {
                throw .nothingToVoid(position: event.position, decision: decision)
            }
            voids[decision] = nil
            let (pool, numbered) = numbered(turn)
            rotations[pool.index].takeBack(numbered)
        }
        end = event.position + 1
    }
}

/// A `LeadEvent` with the router's numbers, and what a decision that was just taken becomes when it is stored.
struct LeadChange {
    var lead: RoutingKey
    var type: EventType
    var variant = EventVariant.plain
    var backfill = false
    var member = MemberNumber.nobody
    var reason: String?
    var queue = PoolNumber.none
    var due: Instant?
    var score: Int32?
    var account: UInt32 = 0
    var other: RoutingKey?
    var turn: (pool: PoolNumber, turn: Turn)?
    var claimedInVain = false
    var reassigns = false
    /// Nil for a decision that was just taken, which asks no rule set.
    var recordedAt: Instant?

    init(_ type: EventType, of lead: RoutingKey) {
        self.type = type
        self.lead = lead
    }

    init(_ event: LeadEvent, numbering state: inout RouterState) {
        self.init(event.type, of: event.lead)
        variant = event.variant
        backfill = event.backfill
        if let id = event.member { member = state.memberNumber(id) }
        reason = event.reason
        if let id = event.queue { queue = state.poolNumber(id) }
        due = event.due
        score = event.score
        if let key = event.account { account = state.accountNumber(key) }
        other = event.other
        turn = event.turn.map { state.numbered($0) }
        claimedInVain = event.claimedInVain
        reassigns = event.reassigns
    }
}

extension RouterState {
    /// 1. The lifecycle says what becomes of the lead. 2. What routing knows of it follows. 3. Others' counts and balances follow.
    mutating func apply(_ change: LeadChange, at position: UInt64, _ instant: Instant) throws(RouterFault) {
        guard position >= end else { throw .outOfOrder(position: position, end: end) }
        let known = leads.number(of: change.lead)
        let verdict = Lifecycle.evolve(
            known == .none ? nil : leads[known].state, change.type, change.variant, backfill: change.backfill)
        let next: LeadState
        switch verdict {
        case .refused(let refusal): throw .refused(position: position, refusal)
        case .next(let state): next = state
        }
        guard isComplete(change) else { throw .incomplete(position: position) }

        if known == .none {
            create(change, next, at: position, instant)
        } else {
            move(known, change, next, at: position, instant)
        }
        end = position + 1
    }

    private func isComplete(_ change: LeadChange) -> Bool {
        switch change.type {
        case .assigned, .claimed: change.member != .nobody
        case .queued: change.queue != .none
        case .merged, .duplicateSuspected:
            change.other.map { leads.number(of: $0) != .none && $0 != change.lead } ?? false
        default: true
        }
    }

    private mutating func create(_ change: LeadChange, _ next: LeadState, at position: UInt64, _ instant: Instant) {
        var record = LeadRecord(key: change.lead, captured: position, state: next, since: position)
        record.account = change.account
        record.score = change.score ?? 0
        let plan = plan(at: change.recordedAt ?? instant)
        let routes = !change.backfill && !(plan?.ruleSet.routesAtMarketingQualified ?? false)
        if routes { record.mark = Int64(position) + 1 }
        let number = leads.add(record)
        if routes { note(RoutingTrigger(.arrival, lead: number, position: position)) }
    }

    private mutating func move(
        _ lead: LeadNumber, _ change: LeadChange, _ next: LeadState, at position: UInt64, _ instant: Instant
    ) {
        let before = leads[lead]
        var record = before
        record.state = next
        let held = before.state.custody
        let holds = next.custody
        let holder = self.holder(before, change, next)
        // Another custody, or the same one given anew: to another owner, into a queue again, into the inbox again.
        let isGivenAnew =
            holds != held || holder != before.holder || change.type == .queued || change.type == .assigned
            || holds == .inbox && (change.type == .recycled || change.type == .rejected)

        // 1. What is said about the lead itself.
        if let score = change.score { record.score = score }
        if record.account == 0 { record.account = change.account }
        if change.claimedInVain, change.type == .leaseEnded {
            record.pulls = record.pulls &+ (record.pulls < .max ? 1 : 0)
        }
        if next.cycle != before.state.cycle {
            record.decision = 0
            record.earlierHolders = 0
            record.pulls = 0
        }

        // 2. Who has it.
        if before.holder != .nobody, holder != before.holder {
            if held == .owner { record.earlierOwner = before.holder }
            members[before.holder.index].open -= 1
            free(before.holder)
            if loses(change, before), next.cycle == before.state.cycle {
                holders.append((before.holder, record.earlierHolders))
                record.earlierHolders = UInt32(holders.count - 1)
            }
        }
        if holder != .nobody, holder != before.holder { members[holder.index].open += 1 }
        record.holder = holder
        own(before, held == .owner ? before.holder : .nobody, -1)
        own(record, holds == .owner ? holder : .nobody, 1)

        // 3. The mark of the present custody, and the queue and the trigger that go with it.
        if isGivenAnew {
            record.since = position
            switch holds {
            case .inbox:
                // What is backfilled asks for no decision; one that is asked for already stays so.
                if !change.backfill { record.mark = Int64(position) + 1 } else if held != .inbox { record.mark = 0 }
            case .queue:
                // A lease, or a merge, that ended: back where it was. Otherwise the event says where.
                if change.type == .queued {
                    record.queue = change.queue
                    record.mark = change.due?.microseconds ?? .max
                }
            case .leased: break
            case .owner, .nurture: record.mark = 0
            case .none: if next.stage.isEnded { record.mark = instant.microseconds }
            }
        } else if change.type == .marketingQualified, holds == .inbox, record.mark == 0, !change.backfill,
            plan(at: change.recordedAt ?? instant)?.ruleSet.routesAtMarketingQualified ?? false
        {
            record.mark = Int64(position) + 1
        } else if change.type == .escalated, change.reassigns, holds == .owner {
            record.mark = Int64(position) + 1
        }
        if held == .queue { queues[before.queue.index].remove(before.entry(as: lead)) }
        if holds == .queue { queues[record.queue.index].insert(record.entry(as: lead)) }
        leads[lead] = record
        if record.mark == Int64(position) + 1 {
            if holds == .inbox { note(RoutingTrigger(.arrival, lead: lead, position: position)) }
            if holds == .owner { note(RoutingTrigger(.takeBack, lead: lead, position: position)) }
        }

        // 4. What others have of it.
        switch change.type {
        case .assigned: assigned(lead, change, at: position, instant)
        case .released where before.holder != .nobody: members[before.holder.index].releases.insert(instant)
        case .won: count(lead, before, change) { $0.wins.insert(instant) }
        case .lost: count(lead, before, change) { $0.losses.insert(instant) }
        case .disqualified: disqualified(lead, change, at: position, instant)
        case .reopened: uncount(before, change.variant)
        case .merged: joined(lead, change)
        case .unmerged: parted(lead)
        case .duplicateSuspected: leads[lead].kin = leads.number(of: change.other!)
        default: break
        }
    }

    /// Who has the lead after a change.
    private func holder(_ before: LeadRecord, _ change: LeadChange, _ next: LeadState) -> MemberNumber {
        switch next.custody {
        case .leased: return change.type == .claimed ? change.member : before.holder
        case .owner:
            switch change.type {
            case .assigned: return change.member
            case .unmerged: return before.earlierOwner
            // An attempt or a contact takes a lead that nobody had.
            case .contactAttempted, .contacted: return before.state.custody == .owner ? before.holder : change.member
            default: return before.holder
            }
        case .none, .inbox, .queue, .nurture: return .nobody
        }
    }

    /// Whether who had the lead counts as an earlier holder from now on, whom take-backs pass over: one who gave it back or had
    /// it taken. Not one whose lead ended, was merged or nurtured, nor one who was away: they may have it again.
    private func loses(_ change: LeadChange, _ before: LeadRecord) -> Bool {
        guard before.state.custody == .owner else { return false }
        switch change.type {
        case .assigned, .rejected: return true
        case .queued, .released: return change.reason.map { !RoutingReasons.ofAbsence.contains($0) } ?? true
        default: return false
        }
    }

    /// One lead of an account more, or less, is owned by a member. The account's owner is who came to own a lead of it while its
    /// owner had none: so somebody who stands in during a leave does not take the account over.
    private mutating func own(_ record: LeadRecord, _ member: MemberNumber, _ change: Int32) {
        guard member != .nobody, record.account != 0 else { return }
        let pair = UInt64(record.account) << 32 | UInt64(member.rawValue)
        let owner = accountOwners[Int(record.account)]
        if change > 0, owner != member, accountLeads[UInt64(record.account) << 32 | UInt64(owner.rawValue)] == nil {
            accountOwners[Int(record.account)] = member
        }
        let count = (accountLeads[pair] ?? 0) + change
        accountLeads[pair] = count == 0 ? nil : count
    }

    private mutating func assigned(_ lead: LeadNumber, _ change: LeadChange, at position: UInt64, _ instant: Instant) {
        members[change.member.index].assignments.insert(instant)
        guard let (pool, turn) = change.turn else { return }
        let last = members[change.member.index].lastByPool
        members[change.member.index].lastByPool = max(last ?? instant, instant)
        rotations[pool.index].apply(turn, at: position)
        leads[lead].decision = position + 1
    }

    /// A win or a loss is the holder's; of a lead that nobody had, theirs who brought it about, and who so had it last.
    private mutating func count(
        _ lead: LeadNumber, _ before: LeadRecord, _ change: LeadChange, _ body: (inout MemberBook) -> Void
    ) {
        let member = before.holder != .nobody ? before.holder : change.member
        guard member != .nobody else { return }
        leads[lead].earlierOwner = member
        body(&members[member.index])
    }

    /// What is resumed was not lost, what is un-won not won after all. New business leaves the win.
    private mutating func uncount(_ before: LeadRecord, _ variant: EventVariant) {
        guard before.earlierOwner != .nobody else { return }
        let end = Instant(microseconds: before.mark)
        switch (before.state.stage, variant) {
        case (.won, .unWin): members[before.earlierOwner.index].wins.remove(end)
        case (.lost, .resume): members[before.earlierOwner.index].losses.remove(end)
        default: break
        }
    }

    private mutating func disqualified(
        _ lead: LeadNumber, _ change: LeadChange, at position: UInt64, _ instant: Instant
    ) {
        guard !change.backfill, let reason = change.reason, leads[lead].decision != 0,
            plan(at: change.recordedAt ?? instant)?.ruleSet.voidingReasons.contains(reason) ?? false
        else { return }
        voids[leads[lead].decision - 1] = PendingVoid(lead: lead, cause: position)
        leads[lead].decision = 0
    }

    private mutating func joined(_ lead: LeadNumber, _ change: LeadChange) {
        let survivor = leads.number(of: change.other!)
        leads[lead].kin = survivor
        leads[survivor].kin = lead
    }

    private mutating func parted(_ lead: LeadNumber) {
        let survivor = leads[lead].kin
        if leads[survivor].kin == lead { leads[survivor].kin = .none }
        leads[lead].kin = .none
    }
}

/// Reasons that the daemon itself gives when it moves a lead.
package enum RoutingReasons {
    /// The owner went on leave, and the rule set sends their leads back to the queue.
    package static let ownerOnLeave = "owner_on_leave"
    /// A new rule set does not know the owner.
    package static let ownerRemoved = "owner_removed"
    /// `lead.queued`: of the pool's members nobody is eligible.
    package static let nobodyEligible = "nobody_eligible"
    /// `lead.queued`: the pool does not push; its leads wait to be claimed.
    package static let pullOnly = "pull_only"

    /// `lead.queued`: nobody answered for so long that the pool's members may claim it.
    package static let openedToPull = "opened_to_pull"

    /// Whoever lost a lead for one of these did nothing, and may have it again.
    static let ofAbsence: Set<String> = [ownerOnLeave, ownerRemoved]
}
