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
    ///   - details: reads a lead for a rule set.
    ///   - store: takes a decision, and the state that it was taken in, and says which position its event will have. Where it
    ///     comes to lie elsewhere after all, it is to be undone (`undo(for:)`).
    /// - Returns: false if no rule set is in force yet: the trigger goes on waiting.
    @discardableResult
    package mutating func route(
        _ trigger: RoutingTrigger, at instant: Instant, details: (LeadNumber, LeadRecord, RoutingPlan) -> LeadDetails,
        store: (Decision, RouterState) -> UInt64
    ) throws(RouterFault) -> Bool {
        guard let plan = plan(at: instant) else { return false }
        let lead = details(trigger.lead, leads[trigger.lead], plan)
        let request = RoutingRequest(
            trigger: trigger, leadID: lead.id, facts: lead.facts, instant: instant, due: lead.due,
            isToManager: lead.isToManager)
        var decision = decide(request, by: plan)
        // An owner's match takes no place in a pool, nor does a manager's.
        if let pool = decision.pool, leads[trigger.lead].state.custody != .queue,
            try drainHead(pool, at: instant, details: details, store: store) > 0
        {
            decision = decide(request, by: plan)
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
    /// - Parameter place: where the last drain of this pool came to; nil: to the end, or this is the first.
    @discardableResult
    package mutating func drain(
        _ pool: PoolIndex, from place: inout DueQueue.Entry?, at instant: Instant,
        details: (LeadNumber, LeadRecord, RoutingPlan) -> LeadDetails, store: (Decision, RouterState) -> UInt64
    ) throws(RouterFault) -> Int {
        var (given, head) = try drainNext(pool, after: nil, at: instant, details: details, store: store)
        guard let last = head else {
            place = nil
            return given
        }
        let start = place.map { max($0, last) } ?? last
        let (more, end) = try drainNext(pool, after: start, at: instant, details: details, store: store)
        given += more
        place = end
        return given
    }

    /// Drains the first of a queue only, for an arrival that must not go before them.
    private mutating func drainHead(
        _ pool: PoolIndex, at instant: Instant,
        details: (LeadNumber, LeadRecord, RoutingPlan) -> LeadDetails, store: (Decision, RouterState) -> UInt64
    ) throws(RouterFault) -> Int {
        // At one instant nobody becomes eligible by what is decided, unless somebody is freed: what was looked at once need not be
        // looked at again for each arrival.
        if barren[pool] == instant { return 0 }
        let (given, _) = try drainNext(pool, after: nil, at: instant, details: details, store: store)
        if given == 0 { barren[pool] = instant }
        return given
    }

    /// - Returns: how many were given out, and the last one that was looked at; nil if there is nothing behind it, or nobody free.
    private mutating func drainNext(
        _ pool: PoolIndex, after place: DueQueue.Entry?, at instant: Instant,
        details: (LeadNumber, LeadRecord, RoutingPlan) -> LeadDetails, store: (Decision, RouterState) -> UInt64
    ) throws(RouterFault) -> (given: Int, last: DueQueue.Entry?) {
        guard let plan = plan(at: instant), plan.ruleSet.pools[pool].pushes else { return (0, nil) }
        let number = plan.pools[Int(pool.rawValue)].number
        guard !queues[number.index].isEmpty, hasFreeMember(pool, plan, at: instant) else { return (0, nil) }
        var given = 0
        var looked = 0
        var last = place
        while let entry = queues[number.index].next(after: last) {
            guard looked < RoutingLimits.drainScanMax else { return (given, last) }
            last = entry
            looked += 1
            let lead = details(entry.lead, leads[entry.lead], plan)
            let request = RoutingRequest(
                trigger: RoutingTrigger(.drain, lead: entry.lead, position: leads[entry.lead].since), leadID: lead.id,
                facts: lead.facts, instant: instant, due: lead.due)
            let decision = decide(request, by: plan)
            guard decision.member != nil else { continue }
            try apply(decision, at: store(decision, self))
            given += 1
            if !hasFreeMember(pool, plan, at: instant) { break }
        }
        return (given, nil)
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
