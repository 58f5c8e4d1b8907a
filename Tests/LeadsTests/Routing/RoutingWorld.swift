import Testing

@testable import Leads

/// A log in memory with a router beside it: events go into both, decisions are stored as events and can be replayed.
final class RoutingWorld {
    var state = RouterState()
    /// Everything that was stored, as reading it back would give it.
    var log: [RouterEvent] = []
    /// What was decided, by position.
    var decisions: [UInt64: DecisionRecord] = [:]
    /// The live ones, in their order.
    var live: [Decision] = []
    var ids: [LeadNumber: String] = [:]
    var facts: [LeadNumber: LeadFacts] = [:]
    var dues: [LeadNumber: Instant] = [:]
    var now = RoutingWorld.start
    /// How far each queue was looked down.
    var places: [PoolIndex: DueQueue.Entry] = [:]
    private var next: UInt64 = 0

    /// A Monday, 09:00 UTC.
    static let start = try! Instant(rfc3339: "2026-03-02T09:00:00Z")

    init() {}

    convenience init(_ rules: RuleSet) throws(RouterFault) {
        self.init()
        try activate(rules)
    }

    var end: UInt64 { next }

    // MARK: Events

    @discardableResult
    func store(_ body: RouterEvent.Body, happenedSecondsAgo seconds: Int64 = 0) throws(RouterFault) -> UInt64 {
        let event = RouterEvent(
            position: next, instant: now.advanced(byMicroseconds: -seconds * 1_000_000), recordedAt: now, body: body)
        try state.apply(event)
        log.append(event)
        next += 1
        return event.position
    }

    func activate(_ rules: RuleSet, from: Instant? = nil) throws(RouterFault) {
        try store(
            .activated(
                Activation(
                    ruleSet: rules, version: next, from: from ?? now, environment: Self.environment(rules.calendars))))
    }

    @discardableResult
    func capture(
        _ id: String, _ values: [LeadField: FactValue] = [:], account: String? = nil, due: Instant? = nil,
        backfill: Bool = false
    ) throws(RouterFault) -> LeadNumber {
        var event = LeadEvent(.captured, of: Self.key(id))
        event.account = account.map(Self.key)
        event.backfill = backfill
        try store(.lead(event))
        let lead = state.lead(Self.key(id))
        var facts = LeadFacts(customFieldCount: 0)
        for (field, value) in values { facts.set(field, value) }
        ids[lead] = id
        self.facts[lead] = facts
        dues[lead] = due
        return lead
    }

    @discardableResult
    func happen(
        _ type: EventType, _ id: String, by member: String? = nil, reason: String? = nil,
        variant: EventVariant = .plain, _ change: (inout LeadEvent) -> Void = { _ in }
    ) throws(RouterFault) -> UInt64 {
        var event = LeadEvent(type, of: Self.key(id))
        event.member = member
        event.reason = reason
        event.variant = variant
        change(&event)
        return try store(.lead(event))
    }

    // MARK: Routing

    /// Decides every trigger that waits; says how many decisions that were.
    @discardableResult
    func route() throws(RouterFault) -> Int {
        var count = 0
        while let trigger = state.nextTrigger() {
            let taken = try deciding { world, store throws(RouterFault) in
                try world.state.route(trigger, at: world.now, details: Self.details(world), store: store)
            }
            count += taken
            if taken == 0 { break }
        }
        if let plan = state.plan(at: now) {
            for pool in state.takeFreedPools(plan) {
                count += try deciding { world, store throws(RouterFault) in
                    try world.state.drain(
                        pool, from: &world.places[pool], at: world.now, details: Self.details(world), store: store)
                }
            }
        }
        return count
    }

    private static func details(_ world: RoutingWorld) -> (LeadNumber, LeadRecord, RoutingPlan) -> LeadDetails {
        let (ids, facts, dues) = (world.ids, world.facts, world.dues)
        return { lead, _, _ in LeadDetails(id: ids[lead]!, facts: facts[lead]!, due: dues[lead]) }
    }

    private func deciding(
        _ body: (RoutingWorld, (Decision, RouterState) -> UInt64) throws(RouterFault) -> Void
    ) throws(RouterFault) -> Int {
        var taken: [Decision] = []
        let first = next
        // Once in vain: what is undone leaves no trace.
        let (digest, waiting) = (state.digest, state.waitingTriggers)
        var undone: [RouterState.Undo] = []
        try body(self) { decision, state in
            undone.append(state.undo(for: decision))
            return first + UInt64(undone.count - 1)
        }
        for undo in undone.reversed() { state.undo(undo) }
        #expect(state.digest == digest && state.invariantBroken == nil)
        #expect(Set(state.waitingTriggers.map(\.position)) == Set(waiting.map(\.position)))
        try body(self) { decision, _ in
            taken.append(decision)
            return first + UInt64(taken.count - 1)
        }
        for decision in taken { keep(decision) }
        return taken.count
    }

    /// What the decision's event will be when it is read from the log.
    private func keep(_ decision: Decision) {
        let record = DecisionRecord(decision, state)
        var event = LeadEvent(record.member == nil ? .queued : .assigned, of: decision.lead)
        event.member = record.member
        event.turn = record.turn
        if case .queued(let queue, let reason, let due) = record.outcome {
            event.queue = queue
            event.reason = reason
            event.due = due
        }
        log.append(RouterEvent(position: next, instant: decision.instant, body: .lead(event)))
        decisions[next] = record
        live.append(decision)
        next += 1
    }

    /// Writes what disqualifications void.
    func void() throws(RouterFault) {
        for void in state.decisionsToVoid {
            try store(.decisionVoided(decision: void.decision, turn: decisions[void.decision]!.turn!))
        }
    }

    /// The last decision.
    var last: DecisionRecord { decisions[next - 1]! }

    /// Captures a lead and decides it; who got it, or nil.
    func give(_ id: String, _ values: [LeadField: FactValue] = [:]) throws(RouterFault) -> String? {
        try capture(id, values)
        try route()
        return last.member
    }

    func balances(_ pool: String) -> [String: Int64] {
        let rotation = state.rotation(of: state.pool(named: pool))
        return Dictionary(
            uniqueKeysWithValues: rotation.members.map { (state.id(of: $0), rotation.balance(of: $0)) })
    }

    func pass(_ seconds: Int64) { now = now.advanced(byMicroseconds: seconds * 1_000_000) }

    // MARK: Making things

    static func key(_ id: String) -> RoutingKey {
        RoutingKey(high: RoutingDigest.hash(id), low: RoutingDigest.hash(id + "/"))
    }

    /// A stand-in for SHA-256: any function does, as long as it is the same one.
    static func hash(_ bytes: UnsafeRawBufferPointer) -> RoutingHash {
        let text = String(decoding: bytes, as: UTF8.self)
        return RoutingHash(
            SIMD4(RoutingDigest.hash(text), RoutingDigest.hash(text + "1"), RoutingDigest.hash(text + "2"), 0))
    }

    /// Calendars of UTC weeks.
    static func environment(_ calendars: [CalendarSpec]) -> RoutingEnvironment {
        RoutingEnvironment(
            isOpen: { calendar, instant in
                // 1970-01-01 was a Thursday.
                let weekday = ((instant.dayNumber + 3) % 7 + 7) % 7
                let minute = Int(instant.microseconds(since: instant.startOfDay) / 60_000_000)
                return calendars[calendar].week[weekday].contains { $0.startMinute <= minute && minute < $0.endMinute }
            },
            startOfDay: { _, instant in instant.startOfDay }, timeZoneVersion: "2025b", hash: hash)
    }

    /// A rule set of one catch-all pool `sales` with these members, weight 1 each unless said otherwise.
    static func rules(_ members: [String], weights: [UInt32] = [], strategies: [Strategy] = [.rotation]) -> RuleSet {
        var rules = RuleSet(id: "policy", seed: "seed", catchAll: PoolIndex(0))
        rules.calendars = [.always]
        rules.members = members.map { Member(id: $0, calendar: CalendarIndex(0)) }
        var pool = Pool(
            id: "sales",
            members: members.indices.map {
                PoolMember(member: MemberIndex($0), weight: $0 < weights.count ? weights[$0] : 1)
            }, calendar: CalendarIndex(0))
        pool.strategies = strategies
        rules.pools = [pool]
        return rules
    }
}
