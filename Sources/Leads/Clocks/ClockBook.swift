// Every response clock of every lead: a fold over the log that says what the log still lacks.
//
// Invariants:
//   derived         The book follows from the events alone. Rebuilt from the log it says the same; `due` and `nextInstant` change
//                   nothing but what they would work out again.
//   owed-once       What is to be said exists once the causing event is folded in, and is gone once the entry that says it is.
//   computed        An action's time is the instant worked out for it, whenever it is noticed; its id names its cause.
//   bounded         A lead is remembered while it has a clock that can still run or be corrected, a cadence, or waits for the inbox
//                   alarm. That includes leads that ended with a clock unanswered: reopening resumes it.
//   woken           Each remembered lead with something to come has one valid entry in the heap, at the instant from which that is
//                   due. Neither `due` nor `nextInstant` looks at any other lead.

/// The response clocks of all leads as of a position of the log. A value; nothing here reads a wall clock.
///
///     for event in log { try book.apply(event) }
///     let actions = book.due(at: now, limit: 256) { lead, plan, position in background(of: lead, upTo: position) }
///     // append them, fold them in, ask again
///     let wake = book.nextInstant()
///
/// It starts each clock by the rule set in force at its trigger's instant, of those activated until the trigger is folded in, and
/// counts by that version for ever, unless a later one applies to running clocks: then `clock_replaced` is due for each clock
/// that runs or is paused and is not yet breached, follow-ups apart, which go on as they began.
///
/// Due means later: a breach and a step are said as soon as `now` is after their instant, since at the due instant itself an
/// answer is still in time. Once a clock is answered its steps are said no more, its breach still is if the answer was too late.
package struct ClockBook: Sendable {
    /// One more than the position of the last event folded in.
    package private(set) var end: UInt64 = 0

    /// In the order of their activations.
    private var plans: [ClockPlan] = []
    /// By version: the last one activated of it, which has the same rules as the others.
    private var planOfVersion: [UInt64: Int] = [:]
    /// Those that apply to running clocks, ascending by the instant from which they do.
    private(set) var replacing: [ClockPlan] = []
    private(set) var absences = Absences()

    private var slotOfLead: [RoutingKey: Int32] = [:]
    private(set) var slots: [Slot] = []
    private var freeSlots: [Int32] = []
    private var heap = WakeHeap()
    private var lastStamp: UInt64 = 0

    struct Slot: Sendable {
        var lead: LeadClocks?
        /// Of its valid entry in the heap; 0: it has none.
        var stamp: UInt64 = 0
        var wake: Wake?
    }

    struct Wake: Sendable, Equatable {
        var instant: Instant
        var cause: UInt64
    }

    package init() {}

    /// How many leads it remembers.
    package var leadCount: Int { slotOfLead.count }

    func slot(of lead: RoutingKey) -> Int32? { slotOfLead[lead] }

    /// The rule set in force at an instant, as `RouterState.plan(at:)` has it.
    package func plan(at instant: Instant) -> ClockPlan? {
        var found: ClockPlan?
        for plan in plans where plan.from <= instant {
            if let best = found, plan.from < best.from { continue }
            found = plan
        }
        return found
    }
}

// MARK: - Folding

extension ClockBook {
    /// Folds one event in. Events that mean nothing to clocks may be given or left out; positions go up. A fault leaves the book
    /// as it was.
    package mutating func apply(_ event: ClockEvent) throws(ClockFault) {
        guard event.position >= end else { throw .outOfOrder(position: event.position, end: end) }
        switch event.body {
        case .lead(let lead): apply(lead, event)
        case .entry(let lead, .started(let started)):
            guard started.attempt ?? 1 >= 1 else { throw .unsound(position: event.position) }
            let terms = try terms(started.terms, started.clock, pool: started.pool, at: event.position)
            if slotOfLead[lead] != nil {
                change(lead) { $0.begin(started, terms) }
            } else {
                var unknown = LeadClocks(key: lead)
                unknown.begin(started, terms)
                remember(unknown)
            }
        case .entry(let lead, .replaced(let replaced)):
            let known = slotOfLead[lead].flatMap { slots[Int($0)].lead }
            let record = known.flatMap { known in known.live(replaced.clock).map { known.clocks[$0] } }
            let terms = try terms(replaced.terms, replaced.clock, pool: record?.poolID, at: event.position)
            change(lead) { lead in
                if let index = lead.live(replaced.clock) {
                    lead.clocks[index].isReplaced(by: terms, at: event.instant)
                }
            }
        case .entry(let lead, let entry): change(lead) { $0.fold(entry, at: event.instant) }
        case .activated(let plan): activate(plan)
        case .memberOnLeave(let member, let from, let until):
            absences.leave(member, from: from, until: until)
            wakeLeads { $0.counts(leaveOf: member) }
        case .memberReturned(let member):
            absences.end(member, at: event.instant)
            wakeLeads { $0.counts(leaveOf: member) }
        }
        end = event.position + 1
    }

    private mutating func apply(_ event: LeadClockEvent, _ at: ClockEvent) {
        let moment = ClockMoment(
            position: at.position, instant: at.instant, recordedAt: at.recordedAt, plan: plan(at: at.instant),
            routing: plan(at: at.recordedAt))
        if let slot = slotOfLead[event.lead] {
            slots[Int(slot)].lead!.fold(event, moment)
            settle(slot)
        } else {
            var lead = LeadClocks(key: event.lead)
            lead.fold(event, moment)
            if !lead.isEmpty { remember(lead) }
        }
    }

    /// What a stored clock counts by.
    private func terms(
        _ stored: ClockEntry.Terms, _ clock: ClockKind, pool: String?, at position: UInt64
    ) throws(ClockFault) -> ClockTerms {
        guard stored.seconds >= 0 else { throw .unsound(position: position) }
        guard let index = planOfVersion[stored.version], plans[index].ruleSet.id == stored.policy else {
            throw .unknownRuleSet(position: position, version: stored.version)
        }
        let plan = plans[index]
        let target: ClockTerms.Target
        if let index = plan.ruleSet.responseTarget(named: stored.target),
            plan.ruleSet.responseTargets[index].kind.clock == clock
        {
            target = .response(index)
        } else if clock == .followUp, let index = plan.ruleSet.cadence(named: stored.target) {
            target = .cadence(index)
        } else {
            throw .unknownTarget(position: position, target: stored.target)
        }
        var terms = ClockTerms(
            plan: plan, target: target, pool: pool.flatMap { plan.ruleSet.pool(named: $0) }, seconds: stored.seconds,
            measure: stored.measure, calendar: nil, holder: stored.holder)
        if let id = stored.calendar {
            guard let calendar = plan.ruleSet.calendar(named: id) else {
                throw .unknownCalendar(position: position, calendar: id)
            }
            terms.calendar = calendar
        }
        return terms
    }

    private mutating func activate(_ plan: ClockPlan) {
        plans.append(plan)
        planOfVersion[plan.version] = plans.count - 1
        // Of those from one instant on, the one recorded last is in force; it alone is a change.
        replacing = plans.filter { other in
            other.ruleSet.appliesToRunning && self.plan(at: other.from)?.position == other.position
        }.sorted { $0.from < $1.from }
        wakeLeads { !$0.clocks.isEmpty }
    }
}

// MARK: - Remembering leads

extension ClockBook {
    /// Looks at every remembered lead: for what concerns many, and happens by hand.
    private mutating func wakeLeads(where isConcerned: (LeadClocks) -> Bool) {
        for slot in slots.indices {
            if let lead = slots[slot].lead, isConcerned(lead) { wake(Int32(slot)) }
        }
    }

    private mutating func change(_ key: RoutingKey, _ body: (inout LeadClocks) -> Void) {
        guard let slot = slotOfLead[key] else { return }
        body(&slots[Int(slot)].lead!)
        settle(slot)
    }

    private mutating func remember(_ lead: LeadClocks) {
        let slot: Int32
        if let free = freeSlots.popLast() {
            slot = free
        } else {
            slot = Int32(slots.count)
            slots.append(Slot())
        }
        slots[Int(slot)].lead = lead
        slotOfLead[lead.key] = slot
        wake(slot)
    }

    /// After a change: forgets the lead, or wakes it when something is due.
    private mutating func settle(_ slot: Int32) {
        if let lead = slots[Int(slot)].lead, lead.isEmpty {
            slotOfLead[lead.key] = nil
            slots[Int(slot)] = Slot()
            freeSlots.append(slot)
            pruneIfOutdated()
        } else {
            wake(slot)
        }
    }

    private mutating func wake(_ slot: Int32) {
        let wake = slots[Int(slot)].lead.flatMap { lead in
            obligations(of: lead).min(by: Obligation.precedes).map { Wake(instant: $0.ready, cause: $0.cause) }
        }
        guard wake != slots[Int(slot)].wake else { return }
        slots[Int(slot)].wake = wake
        guard let wake else {
            slots[Int(slot)].stamp = 0
            return
        }
        lastStamp += 1
        slots[Int(slot)].stamp = lastStamp
        heap.push(WakeHeap.Entry(instant: wake.instant, cause: wake.cause, slot: slot, stamp: lastStamp))
        pruneIfOutdated()
    }

    private mutating func pruneIfOutdated() {
        guard heap.count > 2 * slotOfLead.count + 64 else { return }
        let slots = slots
        heap.prune { slots[Int($0.slot)].stamp == $0.stamp }
    }

    private mutating func firstWake() -> WakeHeap.Entry? {
        while let first = heap.first {
            if slots[Int(first.slot)].stamp == first.stamp { return first }
            heap.pop()
        }
        return nil
    }
}

extension LeadClocks {
    func counts(leaveOf member: String) -> Bool { clocks.contains { $0.terms?.holder == member } }
}

extension ClockRecord {
    var poolID: String? {
        guard let terms, let pool = terms.pool else { return nil }
        return terms.plan.ruleSet.pools[pool].id
    }
}

// MARK: - What is due

extension ClockBook {
    /// When `due` may have something new if nothing is folded in until then; nil: never. In the past while something is due.
    package mutating func nextInstant() -> Instant? { firstWake()?.instant }

    /// What must be appended as of `now`, the oldest obligation first, at most `limit` actions. The same again until it is folded
    /// in. Of one lead's obligations those come together that do not depend on each other; what follows from them is due next.
    ///
    /// - Parameter background: reads a lead for a rule set, as it stood after the event at a position. Asked once for each clock
    ///   that may start or be replaced. What it throws is thrown, and the book is as it was.
    package mutating func due<Failure: Error>(
        at now: Instant, limit: Int,
        background: (RoutingKey, ClockPlan, UInt64) throws(Failure) -> LeadBackground
    ) throws(Failure) -> [ClockAction] {
        var found: [(obligation: Obligation, action: ClockAction)] = []
        var looked: [WakeHeap.Entry] = []
        defer { for entry in looked where slots[Int(entry.slot)].stamp == entry.stamp { heap.push(entry) } }
        while found.count < limit, let first = firstWake(), first.instant <= now {
            heap.pop()
            looked.append(first)
            // 1. What is asked for and not worked out yet. Where nothing comes of it, the lead's turn may be another.
            try workOut(first.slot, now, background)
            settle(first.slot)
            guard slots[Int(first.slot)].stamp == first.stamp, let lead = slots[Int(first.slot)].lead else {
                looked.removeLast()
                continue
            }
            // 2. What is owed by now.
            for obligation in obligations(of: lead).sorted(by: Obligation.precedes) where obligation.ready <= now {
                guard found.count < limit else { break }
                let action = try action(obligation, lead, background)
                found.append((obligation, action))
                if action.moves { break }
            }
        }
        return found.enumerated().sorted { left, right in
            let (one, other) = (left.element.obligation, right.element.obligation)
            if Obligation.precedes(one, other) { return true }
            return Obligation.precedes(other, one) ? false : left.offset < right.offset
        }.map(\.element.action)
    }

    /// Chooses the targets of the clocks that are asked for by now.
    private mutating func workOut<Failure: Error>(
        _ slot: Int32, _ now: Instant, _ background: (RoutingKey, ClockPlan, UInt64) throws(Failure) -> LeadBackground
    ) throws(Failure) {
        var lead = slots[Int(slot)].lead!
        var isChanged = false
        for index in lead.clocks.indices.reversed() {
            let record = lead.clocks[index]
            guard !record.isStarted, record.proposal == nil, record.start <= now else { continue }
            let known = try background(lead.key, record.plan, record.cause)
            let terms = record.plan.terms(
                record.kind, in: record.plan.pool(of: known), known.facts, holder: record.holders[0].holder)
            if let terms { lead.clocks[index].proposal = terms } else { lead.clocks.remove(at: index) }
            isChanged = true
        }
        if let cadence = lead.cadence, cadence.outline == nil, cadence.start <= now {
            let known = try background(lead.key, cadence.plan, cadence.cause)
            lead.cadence!.outline = CadenceRecord.outline(
                by: cadence.plan, for: known, from: cadence.start, holder: cadence.holders[0].holder)
            if lead.cadence!.outline == nil || lead.cadence!.next == .over { lead.cadence = nil }
            isChanged = true
        }
        if isChanged { slots[Int(slot)].lead = lead }
    }
}
