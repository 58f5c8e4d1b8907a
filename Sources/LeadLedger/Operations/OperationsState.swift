import Control
import DequeModule
import JSON
import Leads
import Ledger
import PolicyDocuments

// OperationsState: everything that routing, leases and clocks know, as a fold over the log from its first event on. Nothing of it is
// kept on disk: a start folds again, and comes to the same.
//
// What must hold:
//   O1  all events below `scanned` are folded in, in their order, and none at or above it but own decisions that are being stored;
//   O2  what is still to be done follows from what was folded in: an obligation is there when its cause is, and goes with the event
//       that fulfils it. So a start does what a crash left undone, once.

struct OperationsState {
    var router = RouterState()
    var policies = PolicyBook()
    var leases = LeaseBook()
    var clocks = ClockBook()
    /// The log is folded in up to here.
    var scanned: UInt64 = 0
    /// When the last event that was folded in was recorded.
    private(set) var recordedAt = Instant.earliest

    /// By `LeadNumber`: how many events its stream has.
    private(set) var versions: [UInt64] = [0]
    /// Where what conditions see of a lead was added to after its first capture.
    private var additions: [LeadNumber: [UInt64]] = [:]
    /// By `LeadNumber`: the pool of the latest decision, or the queue it came into last, and the position of that.
    private var pools: [(pool: PoolNumber, position: UInt64)] = [(.none, 0)]
    /// How often a lead lay in the inbox for too long.
    private(set) var inboxAlarms: UInt64 = 0
    /// What `pools` had before, ascending: clocks are chosen by the pool of then.
    private var earlierPools: [LeadNumber: [(pool: PoolNumber, position: UInt64)]] = [:]
    /// Whoever was a member of some rule set.
    private var everyMember: Set<MemberNumber> = []
    /// Leads that a step of a ladder gives to the manager, until somebody has them.
    private(set) var toManager: Set<LeadNumber> = []
    /// Leads that a pool pushed which opens to claims when nobody answers: by the pool, until they are elsewhere.
    private(set) var pushed: [PoolNumber: Set<LeadNumber>] = [:]
    /// By the position of an activation.
    private(set) var calendars: [UInt64: PolicyCalendars] = [:]

    /// Leads that wait and are to be decided again, with the event that asks.
    var reroutes = Deque<Reroute>()
    /// Activations with `reroute_waiting`, until that was asked for.
    private(set) var reroutesToCome: [RerouteToCome] = []
    /// Leaves that have begun or will, and members whom a rule set no longer knows: their leads go back.
    var departures: [Departure] = []

    struct Reroute {
        var lead: LeadNumber
        var cause: UInt64
        /// Only if it waits where it did since before this position.
        var before: UInt64
    }

    struct RerouteToCome {
        var from: Instant
        /// The activation's position.
        var position: UInt64
        /// The first position at or after `from`: those that wait since before it are meant. Nil: that has not come.
        var beginning: UInt64?
    }

    struct Departure {
        enum Why { case leave, removal }
        var why: Why
        var member: MemberNumber
        /// Not before it was said.
        var from: Instant
        var until: Instant?
        /// The event's position. Leads that were held before it, or before `from`, go back.
        var position: UInt64
        /// It was said before it began.
        var isAnnounced: Bool
    }

    private let reader = EventReader()

    // MARK: Folding

    /// Takes the event at `scanned` in.
    mutating func fold(_ record: RecordView, from log: EventLog, _ zones: TimeZoneDatabase) throws {
        let position = record.position.rawValue
        guard let type = EventType(rawValue: record.type), type.isSupported, record.streamKind == type.stream.rawValue
        else {
            throw ReadingFault(position: position, reason: "this program knows no event of type code \(record.type)")
        }
        take(recordedAt: Instant(microseconds: record.recordedAt), at: position)
        switch type.stream {
        case .lead: try foldLead(record, type)
        case .policy:
            guard let activated = try policies.fold(record, type, reader) else { break }
            try activate(activated, at: record, from: log, zones)
        case .member: try foldMember(record, type)
        case .pool: try foldVoid(record, from: log)
        }
        scanned = position + 1
    }

    private mutating func foldLead(_ record: RecordView, _ type: EventType) throws {
        let position = record.position.rawValue
        let (event, extras) = try reader.leadEvent(record, type)
        let before = router.standing(of: event.lead)
        try router.apply(
            RouterEvent(
                position: position, instant: Instant(microseconds: record.instant),
                recordedAt: Instant(microseconds: record.recordedAt), body: .lead(event)))
        let lead = router.lead(event.lead)
        setVersion(of: lead, record.version.rawValue)
        let custody = router[lead].state.custody
        if let pool = extras.pool ?? event.queue { setPool(of: lead, router.pool(named: pool), position) }
        if extras.isToManager { toManager.insert(lead) }
        if type == .inboxAlarmed { inboxAlarms += 1 }
        switch type {
        case .captured where before.state != nil: additions[lead, default: []].append(position)
        case .enriched:
            additions[lead, default: []].append(position)
            if custody == .queue, !record.isBackfill {
                reroutes.append(Reroute(lead: lead, cause: position, before: position))
            }
        case .claimed: try foldClaim(record, lead, event)
        default: break
        }
        leases.settle(lead, custody)
        if type == .assigned || custody != .owner {
            setPushed(lead, by: type == .assigned ? extras.pool.map { router.pool(named: $0) } : nil)
        }
        if type != .escalated, before.holder != nil || custody != .owner { toManager.remove(lead) }
        let body: ClockEvent.Body
        if let entry = extras.entry {
            body = .entry(event.lead, entry)
        } else {
            var change = LeadClockEvent(type, of: event.lead, from: before, to: router.standing(of: event.lead))
            change.variant = event.variant
            change.backfill = event.backfill
            change.by = extras.by
            change.isOutbound = extras.isOutbound
            change.mode = extras.mode
            body = .lead(change)
        }
        try clocks.apply(
            ClockEvent(
                position: position, instant: Instant(microseconds: record.instant),
                recordedAt: Instant(microseconds: record.recordedAt), body: body))
    }

    private mutating func foldClaim(_ record: RecordView, _ lead: LeadNumber, _ event: LeadEvent) throws {
        let position = record.position.rawValue
        let recordedAt = Instant(microseconds: record.recordedAt)
        let lease = try reader.withData(of: record) { data in
            guard let hash = data["token_hash"]?.string, let until = data["until"]?.string else {
                throw ReadingFault(position: position, reason: "lead.claimed has no token or no end")
            }
            let end = try EventReader.instant(until, position)
            return LeaseBook.Lease(
                lead: lead, member: event.member ?? "", position: position, tokenHash: hash, until: end,
                length: max(0, end.microseconds(since: recordedAt)), queue: data["queue"]?.string)
        }
        leases.begin(lease)
    }

    private mutating func foldMember(_ record: RecordView, _ type: EventType) throws {
        let id = String(decoding: record.subject, as: UTF8.self)
        let position = record.position.rawValue
        let instant = Instant(microseconds: record.instant)
        let (from, until) = try reader.withData(of: record) { data in
            (
                try data["from"]?.string.map { try EventReader.instant($0, position) },
                try data["until"]?.string.map { try EventReader.instant($0, position) }
            )
        }
        let body: RouterEvent.Body
        switch type {
        case .memberPaused: body = .memberPaused(member: id, until: until)
        case .memberResumed: body = .memberResumed(member: id)
        case .memberOnLeave: body = .memberOnLeave(member: id, from: from ?? instant, until: until)
        case .memberReturned: body = .memberReturned(member: id)
        default: throw ReadingFault(position: position, reason: "\(type.name) happens to no member")
        }
        try router.apply(RouterEvent(position: position, instant: instant, body: body))
        let clockBody: ClockEvent.Body?
        switch type {
        case .memberOnLeave: clockBody = .memberOnLeave(member: id, from: from ?? instant, until: until)
        case .memberReturned: clockBody = .memberReturned(member: id)
        default: clockBody = nil
        }
        if let clockBody {
            try clocks.apply(
                ClockEvent(
                    position: position, instant: instant, recordedAt: Instant(microseconds: record.recordedAt),
                    body: clockBody))
        }
        let member = router.member(named: id)
        if type == .memberReturned { departures.removeAll { $0.member == member && $0.why == .leave } }
        if type == .memberOnLeave {
            let start = from ?? instant
            departures.append(
                Departure(
                    why: .leave, member: member, from: max(start, instant), until: until, position: position,
                    isAnnounced: start > instant))
        }
    }

    private mutating func foldVoid(_ record: RecordView, from log: EventLog) throws {
        let position = record.position.rawValue
        let decision = try reader.withData(of: record) { $0["decision"]?.uint64 }
        guard let decision, decision < position else {
            throw ReadingFault(position: position, reason: "pool.decision_voided names no decision before it")
        }
        guard let turn = try log.turn(ofDecisionAt: decision) else {
            throw ReadingFault(position: position, reason: "the event at position \(decision) holds no decision")
        }
        try router.apply(
            RouterEvent(
                position: position, instant: Instant(microseconds: record.instant),
                body: .decisionVoided(decision: decision, turn: turn)))
    }

    private mutating func activate(
        _ activated: PolicyBook.Activated, at record: RecordView, from log: EventLog, _ zones: TimeZoneDatabase
    ) throws {
        let position = record.position.rawValue
        let (rules, calendars) = try Self.rules(of: activated.version, from: log, zones)
        try router.apply(
            RouterEvent(
                position: position, instant: Instant(microseconds: record.instant),
                body: .activated(
                    Activation(
                        ruleSet: rules, version: activated.version.position, from: activated.from,
                        environment: calendars.environment))))
        self.calendars[position] = calendars
        try clocks.apply(
            ClockEvent(
                position: position, instant: Instant(microseconds: record.instant),
                recordedAt: Instant(microseconds: record.recordedAt),
                body: .activated(
                    ClockPlan(
                        rules, version: activated.version.position, from: activated.from, position: position,
                        calendars: calendars.calendars, timeZoneVersion: calendars.zoneVersion))))
        if rules.reroutesWaiting {
            // One from now on means all that wait already; one for later also those that come until then.
            let isNow = activated.from <= recordedAt
            reroutesToCome.append(
                RerouteToCome(from: activated.from, position: position, beginning: isNow ? position : nil))
        }
        guard let plan = router.plan(at: activated.from) else { return }
        // Whichever rule set it follows: before its instant comes, that may be another one than now. And one that is to come already
        // may not know whom this one knows.
        everyMember.formUnion(plan.members)
        remove(everyMember, notIn: plan, at: position)
        for later in router.plans(after: activated.from) { remove(Set(plan.members), notIn: later, at: position) }
    }

    /// What was said to begin by now begins before the event at `position`, which is the first one recorded since.
    private mutating func take(recordedAt now: Instant, at position: UInt64) {
        recordedAt = now
        for index in reroutesToCome.indices where reroutesToCome[index].beginning == nil {
            if reroutesToCome[index].from <= now { reroutesToCome[index].beginning = position }
        }
    }

    /// Where a rule set that has come into force asks for it, all that wait are decided again.
    mutating func beginReroutes(_ now: Instant) {
        for due in reroutesToCome where due.beginning != nil || due.from <= now {
            let beginning = due.beginning ?? scanned
            for lead in router.waitingLeads where router[lead].heldSince < beginning {
                reroutes.append(Reroute(lead: lead, cause: due.position, before: beginning))
            }
        }
        reroutesToCome.removeAll { $0.beginning != nil || $0.from <= now }
    }

    private mutating func remove(_ members: Set<MemberNumber>, notIn plan: RoutingPlan, at position: UInt64) {
        for member in members.filter({ plan.index(of: $0) == nil }).sorted(by: { $0.rawValue < $1.rawValue }) {
            departures.append(
                Departure(
                    why: .removal, member: member, from: plan.from, until: nil, position: position, isAnnounced: true))
        }
    }

    /// Reads a version's text from the log, and from it the rule set.
    static func rules(
        of version: PolicyBook.Version, from log: EventLog, _ zones: TimeZoneDatabase
    ) throws -> (RuleSet, PolicyCalendars) {
        guard let published = try PublishedText(version: Position(rawValue: version.position), in: log) else {
            throw ReadingFault(position: version.position, reason: "no rule set was published there")
        }
        let document: PolicyDocument
        do throws(PolicyRefusal) {
            document = try PolicyDocument(published.text, isKnownZone: { zones.isKnown($0) })
        } catch {
            throw ReadingFault(position: version.position, reason: "this program refuses its text: \(error)")
        }
        return (document.ruleSet, try PolicyCalendars(document.ruleSet, zones))
    }

    private mutating func setVersion(of lead: LeadNumber, _ version: UInt64) {
        while versions.count <= lead.index { versions.append(0) }
        versions[lead.index] = version
    }

    private mutating func setPool(of lead: LeadNumber, _ pool: PoolNumber, _ position: UInt64) {
        while pools.count <= lead.index { pools.append((.none, 0)) }
        let before = pools[lead.index]
        if before.pool == pool { return }
        if before.pool != .none { earlierPools[lead, default: []].append(before) }
        pools[lead.index] = (pool, position)
    }

    private mutating func setPushed(_ lead: LeadNumber, by pool: PoolNumber?) {
        for number in pushed.keys { pushed[number]?.remove(lead) }
        guard let pool, let plan = router.plan(at: .latest), let index = plan.pool(numbered: pool),
            plan.ruleSet.pools[index].pull?.opensAtPercent != nil
        else { return }
        pushed[pool, default: []].insert(lead)
    }

    /// An own decision that was stored, and is folded into the router's state already: nothing of it has to be read.
    mutating func stored(_ entry: DecisionBatch.Entry, at position: UInt64, recordedAt: Instant) throws {
        take(recordedAt: recordedAt, at: position)
        let (decision, lead) = (entry.decision, entry.lead)
        setVersion(of: lead, versions[lead.index] + 1)
        if let pool = decision.pool { setPool(of: lead, decision.plan.pools[Int(pool.rawValue)].number, position) }
        toManager.remove(lead)
        setPushed(
            lead, by: decision.member == nil ? nil : decision.pool.map { decision.plan.pools[Int($0.rawValue)].number })
        let type: EventType = decision.member == nil ? .queued : .assigned
        // In a unit a lead may be decided twice: what it was and became is that of each decision.
        var after = LeadStanding(holder: decision.member.map { router.id(of: $0) })
        if case .next(let state) = Lifecycle.evolve(entry.before.state, type) { after.state = state }
        var change = LeadClockEvent(type, of: decision.lead, from: entry.before, to: after)
        if decision.member != nil { change.mode = entry.mode }
        try clocks.apply(
            ClockEvent(position: position, instant: decision.instant, recordedAt: recordedAt, body: .lead(change)))
        scanned = position + 1
    }

    // MARK: Asking

    func version(of lead: LeadNumber) -> StreamVersion { StreamVersion(rawValue: versions[lead.index]) }

    /// What conditions see of a lead, and its id: read from the log.
    ///
    /// - Parameter record: what the router knows of it.
    func details(
        _ lead: LeadNumber, _ record: LeadRecord, _ plan: RoutingPlan, from log: EventLog
    ) throws -> LeadDetails {
        let (facts, id, capturedAt) = try facts(lead, record, plan.ruleSet, upTo: .max, from: log)
        return LeadDetails(
            id: id, facts: facts, due: due(record, capturedAt, facts, plan), isToManager: toManager.contains(lead))
    }

    /// What a clock is chosen by: the lead as it was after the event at `position`.
    func background(
        _ key: RoutingKey, _ plan: ClockPlan, upTo position: UInt64, from log: EventLog
    ) throws -> LeadBackground {
        let lead = router.lead(key)
        let facts = try facts(lead, router[lead], plan.ruleSet, upTo: position, from: log).facts
        let pool = pool(of: lead, upTo: position)
        return LeadBackground(facts: facts, pool: pool == .none ? nil : router.id(of: pool))
    }

    private func pool(of lead: LeadNumber, upTo position: UInt64) -> PoolNumber {
        guard pools.indices.contains(lead.index) else { return .none }
        if pools[lead.index].position <= position { return pools[lead.index].pool }
        return earlierPools[lead]?.last { $0.position <= position }?.pool ?? .none
    }

    /// The facts of a lead, its id, and when it was captured.
    private func facts(
        _ lead: LeadNumber, _ record: LeadRecord, _ rules: RuleSet, upTo end: UInt64, from log: EventLog
    ) throws -> (facts: LeadFacts, id: String, capturedAt: Instant) {
        var facts = LeadFacts(customFieldCount: rules.customFields.count)
        var id = ""
        var capturedAt = Instant(microseconds: 0)
        let readsCustom = !rules.customFields.isEmpty
        for position in [record.captured] + (additions[lead] ?? []) where position <= end {
            let isThere: Void? = try log.record(at: Position(rawValue: position)) { stored in
                if position == record.captured {
                    id = String(decoding: stored.subject, as: UTF8.self)
                    capturedAt = Instant(microseconds: stored.instant)
                }
                let isEnrichment = stored.type == EventType.enriched.rawValue
                try reader.withData(of: stored, personal: readsCustom) { data in
                    if isEnrichment, let fields = data["fields"] {
                        facts.take(fields, of: rules, overriding: true)
                    } else {
                        facts.take(data, of: rules, overriding: false)
                    }
                }
            }
            guard isThere != nil else {
                throw ReadingFault(position: position, reason: "an event that was stored is not in the log")
            }
        }
        facts.set(.stage, .text(Array(record.state.stage.name.utf8)))
        facts.set(.cycle, .integer(Int64(record.state.cycle)))
        return (facts, id, capturedAt)
    }

    /// When the lead must have been answered first: by the pool's target, counted from its capture.
    private func due(_ record: LeadRecord, _ start: Instant, _ facts: LeadFacts, _ plan: RoutingPlan) -> Instant? {
        if let known = record.queueDue { return known }
        let rules = plan.ruleSet
        guard let calendars = calendars[plan.position], calendars.hasFirstResponse else { return nil }
        let pool = rules.pool(for: facts)
        for index in rules.pools[pool].responseTargets {
            let target = rules.responseTargets[index]
            guard target.kind == .firstResponse, target.condition?.holds(for: facts) ?? true else { continue }
            return calendars.calendar(of: target, pool: pool, holder: nil, facts: facts, rules)
                .due(from: start, target: target.seconds * Instant.microsecondsPerSecond)
        }
        return nil
    }

    /// The id of a lead.
    func id(of lead: LeadNumber, from log: EventLog) throws -> String {
        let id = try log.record(at: Position(rawValue: router[lead].captured)) {
            String(decoding: $0.subject, as: UTF8.self)
        }
        guard let id else {
            throw ReadingFault(position: router[lead].captured, reason: "an event that was stored is not in the log")
        }
        return id
    }
}
