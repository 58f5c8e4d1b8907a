// The clocks of one lead, and what its events do to them.
//
// What starts a clock (SEMANTICS 6 where it says so; the rest is what a team expects, decided here). No backfilled event does.
//   first_response, qualify   The first capture of a lead, and each new cycle: recycled to the inbox, reopened as new business.
//                             Recycled to nurture: when it leaves nurture; whoever leaves nurture as a captured lead waits anew.
//                             A capture of a known lead is an enquiry and starts nothing.
//   accept                    An assignment that somebody else made: pushed, matched, or by hand. Not where the member took the
//                             lead (pull, or by hand themselves), nor an import.
//   follow_up                 An assignment, however made, while the lead is not yet contacted (`CadenceRecord`).
//   stage_age                 Entering the stage, also back by a rejection. Not in nurture.
//
// What meets it. An answer is at or after the clock's start, in time and in the log. Backfilled ones count: they say what was.
//   accept                    `lead.accepted`, or an attempt or a contact by the holder, in whichever direction.
//   first_response            The first contact, or attempt where the target says so, outbound, by the holder. By the team where
//                             the target says so: somebody of the holder's team, or of the pool. The holder is whoever had the
//                             lead at the instant of the answer or has it now; of a lead that nobody holds, whoever did it.
//   qualify                   Qualified, or beyond: opportunity, won.
//   stage_age                 A later stage, or won.
//   follow_up                 The attempt, or any contact.
//   Automatic contacts answer nothing.
//
// What stops it without an answer.
//   An end of the lead        Reopening in the same cycle resumes first_response, qualify and stage_age.
//   A new cycle               All clocks of the one before.
//   Another holder, or none   accept and follow_up. The lead's own clocks go on.
//   A rejection               The age of the stage left.
//   A merge stops in silence, since a merged lead takes no entries; unmerged, it is said afterwards. An erasure ends all.

struct LeadClocks: Sendable {
    let key: RoutingKey
    /// As of the last event of the lead that was folded in.
    var state: LeadState?
    var holder: String?

    /// In the order in which they were asked for.
    var clocks: [ClockRecord] = []
    var cadence: CadenceRecord?
    /// Lies in the inbox, and no alarm was given.
    var stay: Stay?

    struct Stay: Sendable, Equatable {
        /// The position of the event that brought it there, and when that was recorded: a lead cannot have waited for us longer.
        var cause: UInt64
        var since: Instant
    }

    init(key: RoutingKey) { self.key = key }

    /// Nothing is left to remember.
    var isEmpty: Bool { clocks.isEmpty && cadence == nil && stay == nil }
}

/// Where and under which rules an event happened.
struct ClockMoment {
    var position: UInt64
    var instant: Instant
    var recordedAt: Instant
    /// In force at the instant; nil: none.
    var plan: ClockPlan?
    /// The rule set that was in force when it was recorded, so that somebody is to empty the inbox; nil: none.
    var routing: ClockPlan?
}

// MARK: - An event of the lead

extension LeadClocks {
    /// 1. Who answered. 2. What stops. 3. What goes on. 4. What starts. 5. The inbox.
    mutating func fold(_ event: LeadClockEvent, _ moment: ClockMoment) {
        guard let after = event.after.state else { return }
        let change = StandingChange(event.before.state, after)
        state = after
        holder = event.after.holder
        if after.stage == .erased {
            clocks = []
            cadence = nil
            stay = nil
            return
        }
        hear(event, change, moment)
        stop(event, change, moment)
        if change.isReopened {
            for index in clocks.indices where clocks[index].mayResume(in: after.stage) {
                clocks[index].resume(at: moment.instant, cause: moment.position)
            }
        }
        if !event.backfill, after.stage.isOpen, let plan = moment.plan { start(event, change, moment, plan) }
        stay(event, change, moment)
        tidy()
    }

    // MARK: 1. Answers

    private mutating func hear(_ event: LeadClockEvent, _ change: StandingChange, _ moment: ClockMoment) {
        func answer(_ holders: [HolderSpan]) -> ClockAnswer {
            ClockAnswer(
                position: moment.position, instant: moment.instant, type: event.type, by: event.by,
                holderThen: holders.holder(at: moment.instant), holder: event.after.holder,
                isOutbound: event.isOutbound)
        }
        for index in clocks.indices {
            // What is over is over, though that may still have to be said.
            if event.mayAnswer(clocks[index].kind, change), !clocks[index].isDeaf {
                clocks[index].hear(answer(clocks[index].holders))
            }
            clocks[index].holders.note(event.after.holder, moment.instant)
        }
        guard cadence != nil else { return }
        if event.isByHand { cadence!.answers.append(answer(cadence!.holders)) }
        cadence!.holders.note(event.after.holder, moment.instant)
        hearFollowUp()
    }

    /// The answer to the attempt whose clock runs, once it is known.
    private mutating func hearFollowUp() {
        guard let cadence, let index = clocks.firstIndex(where: { $0.clock == .followUp && $0.isLive }),
            clocks[index].cause == cadence.cause, clocks[index].answer == nil,
            let answer = cadence.answer(to: clocks[index].attempt)
        else { return }
        clocks[index].hear(answer)
    }

    // MARK: 2. Stops

    private mutating func stop(_ event: LeadClockEvent, _ change: StandingChange, _ moment: ClockMoment) {
        let isHandedOver = event.type == .assigned || event.before.holder != event.after.holder
        if change.isEnd || change.isNewCycle || isHandedOver { cadence = nil }
        // After an end no start is accepted any more: what was not started will not be.
        if change.isEnd { clocks.removeAll { !$0.isStarted } }
        if change.isNewCycle { clocks.removeAll { $0.isStopSaid && $0.answer == nil } }
        if change.isEnd || change.isNewCycle { clocks.removeAll { $0.isMetLate && !$0.owesCorrection } }
        for index in clocks.indices where clocks[index].answer == nil {
            var reason: String?
            switch clocks[index].kind {
            case _ where change.isEnd || change.isNewCycle: reason = event.type.reasonWord
            case .accept, .followUp:
                if isHandedOver {
                    reason = event.type == .assigned ? ClockReasons.reassigned : event.type.reasonWord
                }
            case .stageAge(let stage): if let now = state?.stage, now < stage { reason = event.type.reasonWord }
            case .firstResponse, .qualify: break
            }
            guard let reason else { continue }
            clocks[index].stop(
                at: moment.instant, cause: moment.position, reason: reason,
                forGood: !change.isEnd || !clocks[index].clock.isResumedByReopening)
        }
        if change.isNewCycle { for index in clocks.indices { clocks[index].close() } }
    }

    // MARK: 4. Starts

    private mutating func start(
        _ event: LeadClockEvent, _ change: StandingChange, _ moment: ClockMoment, _ plan: ClockPlan
    ) {
        let isNurtured = change.after.custody == .nurture
        let leavesNurture =
            change.before?.custody == .nurture && change.after.custody == .inbox && change.after.stage == .captured
        let isFresh = change.isNew || change.isNewCycle || leavesNurture
        if !isNurtured, isFresh {
            ask(.firstResponse, moment, plan)
            ask(.qualify, moment, plan)
        }
        if !isNurtured, isFresh || change.isMove { ask(.stageAge(change.after.stage), moment, plan) }
        guard event.type == .assigned else { return }
        switch event.mode {
        case .push, .match: ask(.accept, moment, plan)
        case .manual, nil: if !event.isBySelf { ask(.accept, moment, plan) }
        case .pull, .imported: break
        }
        if change.after.stage < .contacted, plan.mayStart(.followUp) {
            cadence = CadenceRecord(
                cause: moment.position, start: moment.instant, plan: plan,
                holders: [HolderSpan(since: .earliest, holder: holder)])
        }
    }

    private mutating func ask(_ kind: TargetKind, _ moment: ClockMoment, _ plan: ClockPlan) {
        guard plan.mayStart(kind) else { return }
        clocks.removeAll { $0.clock == kind.clock && $0.isMetLate && !$0.owesCorrection }
        for index in clocks.indices where clocks[index].clock == kind.clock {
            if clocks[index].isOpen {
                clocks[index].stop(
                    at: moment.instant, cause: moment.position, reason: ClockReasons.superseded, forGood: true)
            }
            clocks[index].close()
        }
        clocks.append(
            ClockRecord(
                kind, cause: moment.position, start: moment.instant, plan: plan,
                holders: [HolderSpan(since: .earliest, holder: holder)]))
    }

    // MARK: 5. The inbox

    private mutating func stay(_ event: LeadClockEvent, _ change: StandingChange, _ moment: ClockMoment) {
        guard change.after.custody == .inbox else {
            stay = nil
            return
        }
        guard !event.backfill, let rules = moment.routing?.ruleSet else { return }
        // Where leads are routed when they are qualified, a capture waits for that, and not for the router.
        let isAsked: Bool
        if rules.routesAtMarketingQualified, change.isNew || event.type == .marketingQualified {
            isAsked = event.type == .marketingQualified
        } else {
            isAsked = change.before?.custody != .inbox
        }
        guard isAsked else { return }
        stay = Stay(cause: moment.position, since: moment.recordedAt)
    }

    private mutating func tidy() {
        if cadence?.next == .over { cadence = nil }
    }
}

/// What an event did to a lead's state.
struct StandingChange {
    var before: LeadState?
    var after: LeadState

    init(_ before: LeadState?, _ after: LeadState) {
        self.before = before
        self.after = after
    }

    var isNew: Bool { before == nil }
    var isNewCycle: Bool { before.map { $0.cycle != after.cycle } ?? false }
    var isEnd: Bool { (before?.stage.isOpen ?? false) && !after.stage.isOpen }
    /// Back from an end or a merge, in the same cycle.
    var isReopened: Bool { before.map { !$0.stage.isOpen } ?? false && after.stage.isOpen && !isNewCycle }
    /// From one open stage to another, in the same cycle.
    var isMove: Bool {
        guard let before, before.stage.isOpen, after.stage.isOpen else { return false }
        return before.stage != after.stage && !isNewCycle
    }
}

extension LeadClockEvent {
    /// An attempt or a contact by a person.
    var isByHand: Bool { (type == .contacted || type == .contactAttempted) && variant != .automatic }

    /// Whether it can be an answer to a clock of this kind. Those of cadences get theirs from it.
    func mayAnswer(_ kind: TargetKind, _ change: StandingChange) -> Bool {
        switch kind {
        case .accept: return type == .accepted || isByHand
        case .firstResponse: return isByHand
        case .qualify: return type == .qualified || type == .opportunityOpened || type == .won
        case .stageAge(let stage):
            guard let before = change.before, before.stage == stage, !change.isNewCycle else { return false }
            return change.after.stage == .won || change.after.stage.isOpen && change.after.stage > stage
        case .followUp: return false
        }
    }
}

extension EventType {
    /// `released` of `lead.released`.
    var reasonWord: String { String(name.drop { $0 != "." }.dropFirst()) }
}

extension [HolderSpan] {
    fileprivate mutating func note(_ holder: String?, _ instant: Instant) {
        if last?.holder != holder { append(HolderSpan(since: instant, holder: holder)) }
    }
}

extension ClockRecord {
    /// Said to be met too late, but an answer timed in time was recorded since.
    var owesCorrection: Bool {
        guard isMetLate, let answer, let breachedAt else { return false }
        return answer.instant <= breachedAt
    }

    /// Nothing ends it yet: neither an answer nor a stop.
    var isOpen: Bool { answer == nil && state != .stopped && !isMetLate }

    /// Whether reopening the lead in this stage goes on with it.
    func mayResume(in stage: Stage) -> Bool {
        guard isStarted, !isMetLate, answer == nil, state == .stopped, !isForGood else { return false }
        if case .stageAge(let own) = kind { return own == stage }
        return true
    }
}

// MARK: - An entry of the clocks

extension LeadClocks {
    /// A clock was started. One that is not asked for any more, since something came between the decision and its entry, is
    /// stopped again where it began; so is one that nothing here would have started.
    mutating func begin(_ started: ClockEntry.Started, _ terms: ClockTerms) {
        let asked = clocks.firstIndex { $0.clock == started.clock && $0.cause == started.cause && !$0.isStarted }
        if let asked {
            clocks[asked].begin(terms)
            return
        }
        if clocks.contains(where: { $0.clock == started.clock && $0.isLive }) { return }
        let follows = started.clock == .followUp && cadence?.cause == started.cause
        var record = ClockRecord(
            terms.response?.kind ?? .followUp, cause: started.cause, start: started.at, attempt: started.attempt ?? 0,
            plan: terms.plan, holders: [HolderSpan(since: .earliest, holder: holder)])
        record.begin(terms)
        if !follows {
            record.stop(at: started.at, cause: started.cause, reason: ClockReasons.superseded, forGood: true)
        }
        clocks.append(record)
        guard follows else { return }
        if cadence!.outline == nil, let pool = terms.pool {
            cadence!.outline = CadenceRecord.Outline(terms, in: pool, from: cadence!.start)
        }
        hearFollowUp()
    }

    /// Any other entry. One about a clock that is not there changes nothing.
    mutating func fold(_ entry: ClockEntry, at instant: Instant) {
        switch entry {
        case .started, .replaced: break
        case .inboxAlarmed: stay = nil
        case .paused(let clock, _, _): if let index = live(clock) { clocks[index].isPaused(at: instant) }
        case .resumed(let clock, _, _, _): if let index = live(clock) { clocks[index].isResumed(at: instant) }
        case .escalated(let step): if let index = live(step.clock) { clocks[index].isEscalated(percent: step.step) }
        case .breached(let clock, let due, _):
            let index = clocks.firstIndex {
                $0.clock == clock && $0.isStarted && $0.breachedAt == nil && !$0.isMetLate
            }
            if let index { clocks[index].breachedAt = due }
        case .stopped(let clock, let at, _, _):
            guard let index = live(clock) else { return }
            clocks[index].isStopped(at: at)
            let isKept = !(state?.stage.isOpen ?? true) && !clocks[index].isForGood
            if clocks[index].isStopSaid, !isKept, clocks[index].answer == nil { clocks.remove(at: index) }
        case .met(let met): fold(met)
        }
    }

    func live(_ clock: ClockKind) -> Int? { clocks.firstIndex { $0.clock == clock && $0.isLive } }

    private mutating func fold(_ met: ClockEntry.Met) {
        let candidates = clocks.indices.filter {
            clocks[$0].clock == met.clock && clocks[$0].isStarted
                && (!clocks[$0].isMetLate || clocks[$0].owesCorrection)
        }
        guard let index = candidates.first(where: { clocks[$0].answer?.position == met.cause }) ?? candidates.first
        else { return }
        clocks[index].isMet(late: met.late)
        if met.clock == .followUp, cadence?.cause == clocks[index].cause {
            cadence!.settled = max(cadence!.settled, clocks[index].attempt)
        }
        // An answer of earlier may still be recorded, as long as somebody works at the lead.
        let isKept = met.late && met.clock != .followUp && state?.stage.isOpen ?? false
        if !isKept { clocks.remove(at: index) }
        tidy()
    }
}
