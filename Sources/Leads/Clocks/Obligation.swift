// What a lead's clocks owe to the log: at most one thing for each clock at a time, in the order in which it can be said.

struct Obligation {
    enum What {
        case start(ClockRecord)
        /// Of a cadence, when its attempt is due.
        case attempt(Int, at: Instant)
        /// The cadence, or a clock, is still to be worked out.
        case workOut
        case breach(ClockRecord, due: Instant)
        case step(ClockRecord, LadderStep, ordinal: Int, at: Instant)
        case replace(ClockRecord, ClockPlan)
        case meet(ClockRecord, ClockAnswer, due: Instant?)
        case stop(ClockRecord, at: Instant, cause: UInt64, reason: String)
        case resume(ClockRecord, at: Instant, cause: UInt64)
        case cadenceEnd(at: Instant, cause: UInt64)
        case inboxAlarm(LeadClocks.Stay)
    }

    /// From this instant on it is due.
    var ready: Instant
    /// The position of the event that asked for the clock.
    var cause: UInt64
    /// Among equal instants and causes.
    var rank: Int
    var what: What

    static func precedes(_ left: Obligation, _ right: Obligation) -> Bool {
        if left.ready != right.ready { return left.ready < right.ready }
        if left.cause != right.cause { return left.cause < right.cause }
        return left.rank < right.rank
    }
}

extension ClockBook {
    func obligations(of lead: LeadClocks) -> [Obligation] {
        let stage = lead.state?.stage
        // A merged lead takes no entries; what is owed is said when it is unmerged.
        if stage == .merged || stage == .erased { return [] }
        let isOpen = stage?.isOpen ?? true
        var found: [Obligation] = []
        // A clock is started only after all was said of the one before it.
        var unsettled = ClockKinds()
        for record in lead.clocks {
            if record.isStarted {
                if let (ready, what) = owed(by: record, isOpen: isOpen) {
                    found.append(Obligation(ready: ready, cause: record.cause, rank: record.clock.rank, what: what))
                }
                if record.isLive { unsettled.insert(record.clock) }
            } else if !unsettled.contains(record.clock) {
                unsettled.insert(record.clock)
                guard isOpen else { continue }
                found.append(
                    Obligation(
                        ready: record.start, cause: record.cause, rank: record.clock.rank,
                        what: record.proposal == nil ? .workOut : .start(record)))
            }
        }
        if isOpen, let cadence = lead.cadence, !unsettled.contains(.followUp),
            let (ready, what) = owed(by: cadence, lead)
        {
            found.append(Obligation(ready: ready, cause: cadence.cause, rank: ClockKind.followUp.rank, what: what))
        }
        if isOpen, let stay = lead.stay {
            let alarm = stay.since.advanced(byMicroseconds: ClockLimits.inboxSecondsMax * 1_000_000)
            found.append(
                Obligation(
                    ready: alarm.next, cause: stay.cause, rank: ClockKind.allCases.count, what: .inboxAlarm(stay)))
        }
        return found
    }

    private func owed(by cadence: CadenceRecord, _ lead: LeadClocks) -> (Instant, Obligation.What)? {
        guard let next = cadence.next else { return (cadence.start, .workOut) }
        switch next {
        case .attempt(let attempt, let instant): return (instant, .attempt(attempt, at: instant))
        case .end(let instant, let cause):
            guard let state = lead.state, let move = cadence.endMove, state.takes(move) else { return nil }
            return (instant, .cadenceEnd(at: instant, cause: cause))
        case .over: return nil
        }
    }

    /// 1. What was answered. 2. Stops and resumptions, in their order; before each the breach that lies before it.
    /// 3. Of a clock that runs or is paused: breach, next step of the ladder, and new rules, whichever comes first.
    private func owed(by record: ClockRecord, isOpen: Bool) -> (Instant, Obligation.What)? {
        if record.isMetLate {
            guard record.owesCorrection, let answer = record.answer else { return nil }
            return (answer.instant, .meet(record, answer, due: record.breachedAt))
        }
        let count = record.count(absences)
        let due = record.breachedAt ?? count.due
        let breach: (Instant, Obligation.What)? =
            if record.breachedAt == nil, let due, record.stoppedAt.map({ due < $0 }) ?? true {
                (due.next, .breach(record, due: due))
            } else {
                nil
            }

        // 1.
        if let answer = record.answer {
            if let breach, let due, due < answer.instant { return breach }
            return (answer.instant, .meet(record, answer, due: due))
        }
        // 2.
        switch record.owed.first {
        case .stop(let at, let cause, let reason):
            if let breach, let due, due < at { return breach }
            return (at, .stop(record, at: at, cause: cause, reason: reason))
        case .resume(let at, let cause):
            if let breach, let due, due < at { return breach }
            // Ended again before that could be said: it waits for the next reopening, what came of it does not.
            return isOpen ? (at, .resume(record, at: at, cause: cause)) : breach
        case nil: break
        }
        // 3.
        var first = breach
        guard isOpen, record.state != .stopped else { return first }
        if let (step, ordinal) = record.nextStep, let at = count.instant(ofPercent: step.percent) {
            // With the breach it comes after it.
            if first.map({ at.next < $0.0 }) ?? true {
                first = (at.next, .step(record, step, ordinal: ordinal, at: at))
            }
        }
        if record.breachedAt == nil, record.clock != .followUp,
            let plan = replacing.first(where: record.isRuledBefore),
            first.map({ plan.from < $0.0 }) ?? true
        {
            first = (plan.from, .replace(record, plan))
        }
        return first
    }
}

/// A few kinds of clocks.
private struct ClockKinds {
    private var bits: UInt8 = 0

    mutating func insert(_ clock: ClockKind) { bits |= 1 << UInt8(clock.rank) }
    func contains(_ clock: ClockKind) -> Bool { bits >> UInt8(clock.rank) & 1 != 0 }
}

extension Instant {
    /// The first instant after this one.
    var next: Instant { advanced(byMicroseconds: 1) }
}

extension LeadState {
    /// Whether the lifecycle takes this event now.
    func takes(_ event: (type: EventType, variant: EventVariant)) -> Bool {
        if case .next = Lifecycle.evolve(self, event.type, event.variant) { true } else { false }
    }
}

extension CadenceRecord {
    /// The event that ends it.
    var endMove: (type: EventType, variant: EventVariant)? {
        guard let cadence = outline?.cadence else { return nil }
        switch plan.ruleSet.cadences[cadence].then {
        case .queue: return (.queued, .plain)
        case .recycle: return (.recycled, .plain)
        case .nurture: return (.recycled, .toNurture)
        }
    }
}

// MARK: - Saying it

extension ClockBook {
    func action<Failure: Error>(
        _ obligation: Obligation, _ lead: LeadClocks,
        _ background: (RoutingKey, ClockPlan, UInt64) throws(Failure) -> LeadBackground
    ) throws(Failure) -> ClockAction {
        var events: [ClockAction.Event] = []
        switch obligation.what {
        case .workOut: preconditionFailure("worked out before")
        case .start(let record):
            var begun = record
            begun.begin(record.proposal!)
            events = [start(begun)]
        case .attempt(let attempt, let at):
            let cadence = lead.cadence!
            var record = ClockRecord(
                .followUp, cause: cadence.cause, start: at, attempt: attempt, plan: cadence.plan, holders: [])
            record.begin(cadence.outline!.terms(ofAttempt: attempt))
            events = [start(record)]
        case .breach(let record, let due):
            let entry = ClockEntry.breached(record.clock, due: due, elapsed: record.count(absences).elapsed(at: due))
            events = [event("breached", record, due, record.cause, entry)]
        case .step(let record, let step, let ordinal, let at): events = escalation(record, step, ordinal, at, lead)
        case .replace(let record, let plan): events = [try replacement(record, plan, lead, background)]
        case .meet(let record, let answer, let due):
            let met = ClockEntry.Met(
                clock: record.clock, at: answer.instant, cause: answer.position, by: answer.by, due: due,
                elapsed: record.count(absences).elapsed(at: answer.instant),
                late: due.map { $0 < answer.instant } ?? false)
            events = [event("met", record, answer.instant, answer.position, .met(met), "-\(answer.position)")]
        case .stop(let record, let at, let cause, let reason):
            events = [stop(record, at: at, cause: cause, reason: reason)]
        case .resume(let record, let at, let cause):
            let count = record.count(absences)
            let entry = ClockEntry.resumed(
                record.clock, reason: "reopened", due: record.breachedAt ?? count.due, elapsed: count.elapsed(at: at))
            events = [event("resumed", record, at, cause, entry, "-\(cause)")]
        case .cadenceEnd(_, let cause): events = [end(of: lead.cadence!, cause: cause)]
        case .inboxAlarm(let stay):
            let seconds = ClockLimits.inboxSecondsMax
            events = [
                ClockAction.Event(
                    id: "inbox-alarmed-\(stay.cause)", time: stay.since.advanced(byMicroseconds: seconds * 1_000_000),
                    causation: stay.cause, body: .entry(.inboxAlarmed(since: stay.since, seconds: seconds)))
            ]
        }
        return ClockAction(lead: lead.key, events: events)
    }

    private func event(
        _ word: String, _ record: ClockRecord, _ time: Instant, _ causation: UInt64, _ entry: ClockEntry,
        _ suffix: String = ""
    ) -> ClockAction.Event {
        ClockAction.Event(
            id: "\(record.clock.rawValue)-\(word)-\(record.name)\(suffix)", time: time, causation: causation,
            body: .entry(entry))
    }

    private func start(_ record: ClockRecord) -> ClockAction.Event {
        let terms = record.terms!
        // As it stands at its start, whatever has happened since.
        let due = ClockCount([ClockRecord.Segment(from: record.start, terms: terms)], absences).due
        let started = ClockEntry.Started(
            clock: record.clock, terms: terms.stored, cause: record.cause, at: record.start, due: due,
            pool: record.poolID, attempt: record.attempt > 0 ? record.attempt : nil)
        return event("started", record, record.start, record.cause, .started(started))
    }

    private func stop(_ record: ClockRecord, at: Instant, cause: UInt64, reason: String) -> ClockAction.Event {
        let entry = ClockEntry.stopped(
            record.clock, at: at, reason: reason, elapsed: record.count(absences).elapsed(at: at))
        return event("stopped", record, at, cause, entry, "-\(cause)")
    }

    private func escalation(
        _ record: ClockRecord, _ step: LadderStep, _ ordinal: Int, _ at: Instant, _ lead: LeadClocks
    ) -> [ClockAction.Event] {
        let terms = record.terms!
        let action: ClockEntry.Escalated.Action
        var move: ClockAction.Body?
        switch step.action {
        case .notify: action = .notify
        case .reassign: action = .reassign
        case .manager: action = .manager
        case .queueAgain:
            action = .queueAgain
            // In the inbox or a queue already, in a lease or in nurture it is where the step would have it, or at work.
            if lead.state?.custody == .owner, let queue = record.poolID {
                move = .queued(queue: queue, reason: ClockReasons.escalated)
            }
        case .recycle:
            action = .recycle
            if lead.state?.takes((.recycled, .plain)) ?? false {
                move = .recycled(reason: ClockReasons.escalated, toNurture: false)
            }
        }
        let escalated = ClockEntry.Escalated(
            clock: record.clock, target: terms.targetID, step: step.percent, action: action,
            to: terms.plan.recipients(of: step.action, holder: lead.holder, in: terms.pool))
        let word = ordinal > 1 ? "step-\(step.percent).\(ordinal)" : "step-\(step.percent)"
        var events = [event(word, record, at, record.cause, .escalated(escalated))]
        if let move {
            events.append(
                ClockAction.Event(
                    id: "\(record.clock.rawValue)-\(word)-\(record.name)-moved", time: nil, causation: record.cause,
                    body: move))
        }
        return events
    }

    /// By the new rule set, or, where that has no such target for the lead, the clock's stop.
    private func replacement<Failure: Error>(
        _ record: ClockRecord, _ plan: ClockPlan, _ lead: LeadClocks,
        _ background: (RoutingKey, ClockPlan, UInt64) throws(Failure) -> LeadBackground
    ) throws(Failure) -> ClockAction.Event {
        let known = try background(lead.key, plan, plan.position)
        let pool = record.poolID.flatMap { plan.ruleSet.pool(named: $0) } ?? plan.pool(of: known)
        guard let terms = plan.terms(record.kind, in: pool, known.facts, holder: lead.holder) else {
            return stop(record, at: plan.from, cause: plan.position, reason: ClockReasons.targetRemoved)
        }
        let elapsed = record.count(absences).elapsed(at: plan.from)
        var replaced = record
        replaced.isReplaced(by: terms, at: plan.from)
        let entry = ClockEntry.Replaced(
            clock: record.clock, terms: terms.stored, due: replaced.count(absences).due, elapsed: elapsed)
        return event("replaced", record, plan.from, plan.position, .replaced(entry), "-\(plan.position)")
    }

    private func end(of cadence: CadenceRecord, cause: UInt64) -> ClockAction.Event {
        let outline = cadence.outline!
        let rules = cadence.plan.ruleSet
        let body: ClockAction.Body =
            switch rules.cadences[outline.cadence!].then {
            case .queue: .queued(queue: rules.pools[outline.pool].id, reason: ClockReasons.cadenceEnded)
            case .recycle: .recycled(reason: ClockReasons.cadenceEnded, toNurture: false)
            case .nurture: .recycled(reason: ClockReasons.cadenceEnded, toNurture: true)
            }
        return ClockAction.Event(id: "follow_up-ended-\(cadence.cause)", time: nil, causation: cause, body: body)
    }
}

extension ClockRecord {
    /// What its entries are named by: the position of its cause, and the attempt of a cadence.
    var name: String { attempt > 0 ? "\(cause)-\(attempt)" : "\(cause)" }
}
