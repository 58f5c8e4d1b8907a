// From triggers to decisions, in the order that fairness needs: who waits in a queue goes before who comes later.

/// What the router's state does not hold of a lead: read from the log when it is needed.
package struct LeadDetails: Sendable {
    package var id: String
    package var facts: LeadFacts
    /// When it must be answered, if a target says so.
    package var due: Instant?
    /// A step of a ladder gives the lead to the manager.
    package var isToManager: Bool

    package init(id: String, facts: LeadFacts, due: Instant? = nil, isToManager: Bool = false) {
        self.id = id
        self.facts = facts
        self.due = due
        self.isToManager = isToManager
    }
}

extension RouterState {
    /// Decides a trigger that waits, and before it whatever of its pool's queue can go on by now: oldest due first, before newer
    /// arrivals. Each decision is folded in as soon as it is taken, so that the next one sees it.
    ///
    /// - Parameters:
    ///   - end: where what is stored ends. What `store` says from there on is foreseen, and nothing may refer to it: a lead that was
    ///     queued there is not given out yet, and who has to wait for it waits.
    ///   - details: reads a lead for a rule set.
    ///   - store: takes a decision, and the state that it was taken in, and says which position its event will have. Where it
    ///     comes to lie elsewhere after all, it is to be undone (`undo(for:)`).
    /// - Returns: false if no rule set is in force yet, or a lead that was just queued goes first: the trigger goes on waiting.
    @discardableResult
    package mutating func route(
        _ trigger: RoutingTrigger, at instant: Instant, storedUpTo end: UInt64 = .max,
        details: (LeadNumber, LeadRecord, RoutingPlan) -> LeadDetails, store: (Decision, RouterState) -> UInt64
    ) throws(RouterFault) -> Bool {
        guard let plan = plan(at: instant) else { return false }
        let lead = details(trigger.lead, leads[trigger.lead], plan)
        let request = RoutingRequest(
            trigger: trigger, leadID: lead.id, facts: lead.facts, instant: instant, due: lead.due,
            isToManager: lead.isToManager)
        var decision = decide(request, by: plan)
        // An owner's match takes no place in a pool, nor does a manager's.
        if let pool = decision.pool, leads[trigger.lead].state.custody != .queue {
            let head = try drainHead(pool, at: instant, storedUpTo: end, details: details, store: store)
            if head.mustWait { return false }
            if head.given > 0 { decision = decide(request, by: plan) }
        }
        try apply(decision, at: store(decision, self))
        return true
    }

    /// Gives out what can be given out of a pool's queue, in its order, and says how many that were. Who cannot be given out is
    /// left where it waits, without an event. The trigger of each is the event that queued it: places become free by hours and
    /// caps too, of which no event tells.
    ///
    /// It looks at the first `drainScanMax` leads, and at as many of those behind them, going on at `place`: so that no lead waits
    /// for ever behind many that ask for what nobody has.
    ///
    /// - Parameters:
    ///   - place: where the last drain of this pool came to; nil: to the end, or this is the first.
    ///   - end: see `route`.
    /// - Returns: how many were given out, and whether the next one was only just queued, so that the rest waits.
    @discardableResult
    package mutating func drain(
        _ pool: PoolIndex, from place: inout DueQueue.Entry?, at instant: Instant, storedUpTo end: UInt64 = .max,
        details: (LeadNumber, LeadRecord, RoutingPlan) -> LeadDetails, store: (Decision, RouterState) -> UInt64
    ) throws(RouterFault) -> (given: Int, mustWait: Bool) {
        let head = try drainNext(pool, after: nil, at: instant, storedUpTo: end, details: details, store: store)
        if head.mustWait { return (head.given, true) }
        guard let last = head.last else {
            place = nil
            return (head.given, false)
        }
        let start = place.map { max($0, last) } ?? last
        let more = try drainNext(pool, after: start, at: instant, storedUpTo: end, details: details, store: store)
        if !more.mustWait { place = more.last }
        return (head.given + more.given, more.mustWait)
    }

    /// Drains the first of a queue only, for an arrival that must not go before them.
    private mutating func drainHead(
        _ pool: PoolIndex, at instant: Instant, storedUpTo end: UInt64,
        details: (LeadNumber, LeadRecord, RoutingPlan) -> LeadDetails, store: (Decision, RouterState) -> UInt64
    ) throws(RouterFault) -> Drained {
        // At one instant nobody becomes eligible by what is decided, unless somebody is freed: what was looked at once need not be
        // looked at again for each arrival.
        if barren[pool] == instant { return Drained() }
        let drained = try drainNext(pool, after: nil, at: instant, storedUpTo: end, details: details, store: store)
        if drained.given == 0, !drained.mustWait { barren[pool] = instant }
        return drained
    }

    /// What came of going through a queue.
    private struct Drained {
        var given = 0
        /// The last one that was looked at; nil if there is nothing behind it, or nobody free.
        var last: DueQueue.Entry?
        /// The next one could be given out, and was queued by what is not stored yet.
        var mustWait = false
    }

    private mutating func drainNext(
        _ pool: PoolIndex, after place: DueQueue.Entry?, at instant: Instant, storedUpTo end: UInt64,
        details: (LeadNumber, LeadRecord, RoutingPlan) -> LeadDetails, store: (Decision, RouterState) -> UInt64
    ) throws(RouterFault) -> Drained {
        guard let plan = plan(at: instant), plan.ruleSet.pools[pool].pushes else { return Drained() }
        let number = plan.pools[Int(pool.rawValue)].number
        guard !queues[number.index].isEmpty, hasFreeMember(pool, plan, at: instant) else { return Drained() }
        var drained = Drained(last: place)
        var looked = 0
        while let entry = queues[number.index].next(after: drained.last) {
            guard looked < RoutingLimits.drainScanMax else { return drained }
            drained.last = entry
            looked += 1
            let lead = details(entry.lead, leads[entry.lead], plan)
            let since = leads[entry.lead].since
            let request = RoutingRequest(
                trigger: RoutingTrigger(.drain, lead: entry.lead, position: since), leadID: lead.id,
                facts: lead.facts, instant: instant, due: lead.due)
            let decision = decide(request, by: plan)
            guard decision.member != nil else { continue }
            guard since < end else {
                drained.mustWait = true
                return drained
            }
            try apply(decision, at: store(decision, self))
            drained.given += 1
            if !hasFreeMember(pool, plan, at: instant) { break }
        }
        drained.last = nil
        return drained
    }

    /// The pools of a rule set in whose queue somebody waits, in its order.
    package func poolsWithQueue(_ plan: RoutingPlan) -> [PoolIndex] {
        plan.pools.indices.filter { !queues[plan.pools[$0].number.index].isEmpty }.map { PoolIndex($0) }
    }

    /// The leads in queues of pools that the rule set does not have and an earlier one had, in the order of each queue: nobody of
    /// theirs can take them. A queue that no rule set ever had is another system's affair.
    package func strandedLeads(_ plan: RoutingPlan) -> [LeadNumber] {
        queues.indices.filter { index -> Bool in
            let pool = PoolNumber(rawValue: UInt32(index))
            return !queues[index].isEmpty && plan.pool(numbered: pool) == nil
                && plans.contains { $0.pool(numbered: pool) != nil }
        }.flatMap { queues[$0].inOrder.map(\.lead) }
    }

    /// The leads that wait in the inbox or in a queue, in the order of their capture. Looks at every lead.
    package var waitingLeads: [LeadNumber] {
        (1..<UInt32(leads.records.count)).map { LeadNumber(rawValue: $0) }.filter {
            let custody = leads[$0].state.custody
            return custody == .inbox || custody == .queue
        }
    }

    /// Whether anybody in the pool could take some lead: nothing speaks against them but what depends on the lead.
    private func hasFreeMember(_ pool: PoolIndex, _ plan: RoutingPlan, at instant: Instant) -> Bool {
        let nobody = RoutingRequest(
            trigger: RoutingTrigger(.drain, lead: .none, position: 0), leadID: "",
            facts: LeadFacts(customFieldCount: plan.ruleSet.customFields.count), instant: instant)
        let asked = Assessment(nobody, plan: plan)
        var passes: Refusals = [.conflict, .earlierHolder, .skill, .language]
        if plan.ruleSet.pools[pool].whenEveryoneAbsent == .ignoreAbsence { passes.formUnion(.absence) }
        return CalendarMemo.with(calendars: plan.ruleSet.calendars.count) { memo in
            plan.pools[Int(pool.rawValue)].places.contains { place in
                var candidate = Candidate(member: place.number, weight: place.weight)
                assess(&candidate, plan.ruleSet.members[place.member], asked, plan, memo)
                return candidate.refusals.isSubset(of: passes)
            }
        }
    }
}
