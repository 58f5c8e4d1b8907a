import Testing

@testable import Leads

/// A log in memory with the response clocks beside it, and the router's state that says where each lead stands. What the clocks
/// owe is appended as the daemon would: each at its time, each event id once.
final class ClockWorld {
    var router = RouterState()
    var book = ClockBook()
    /// Everything that was stored, as reading it back would give it.
    var log: [ClockEvent] = []
    /// What the clocks appended, in its order.
    var said: [(lead: String, event: ClockAction.Event)] = []
    /// The clocks look after it at each instant they asked for. Off: as if the daemon were down.
    var isUp = true
    var now = ClockWorld.start
    var facts: [RoutingKey: LeadFacts] = [:]
    /// How often a lead was read for the clocks.
    var reads = 0
    private var pools: [RoutingKey: [(position: UInt64, pool: String?)]] = [:]
    private var names: [RoutingKey: String] = [:]
    private var ids: Set<String> = []
    private(set) var next: UInt64 = 0
    /// The positions of the events that no clock appended. Tests name them by their place here, 0 being the first.
    private(set) var positions: [UInt64] = []
    /// How often the clocks had looked after it before an event, and when last.
    private(set) var lookedBefore: [UInt64: (count: Int, at: Instant)] = [:]
    private(set) var lastLook = (count: 0, at: ClockWorld.start)
    var seeing: (ClockEvent) -> ClockEvent? = { $0 }

    /// A Monday, 09:00 UTC.
    static let start = try! Instant(rfc3339: "2026-03-02T09:00:00Z")

    init(_ rules: RuleSet? = nil) throws {
        if let rules { try activate(rules) }
    }

    // MARK: Events

    private func store(
        _ body: ClockEvent.Body, at instant: Instant? = nil, _ routed: RouterEvent.Body? = nil
    ) throws {
        let event = ClockEvent(position: next, instant: instant ?? now, recordedAt: now, body: body)
        // What the clocks do not see they do not fold: for mistakes that are planted.
        if let seen = seeing(event) { try book.apply(seen) }
        lookedBefore[next] = lastLook
        log.append(event)
        if case .entry = body {} else { positions.append(next) }
        if let routed { try router.apply(RouterEvent(position: next, instant: instant ?? now, body: routed)) }
        next += 1
    }

    func store(_ entry: ClockEntry, _ id: String) throws { try store(.entry(RoutingWorld.key(id), entry)) }

    func activate(_ rules: RuleSet, from: Instant? = nil, version: UInt64? = nil) throws {
        let from = from ?? now
        #expect(rules.invariantBroken == nil)
        let plan = ClockPlan(
            rules, version: version ?? next, from: from, position: next,
            calendars: try rules.calendars.map(Self.calendar), timeZoneVersion: "2025b")
        try store(
            .activated(plan),
            .activated(
                Activation(
                    ruleSet: rules, version: plan.version, from: from,
                    environment: RoutingWorld.environment(rules.calendars))))
        try settle()
    }

    func leave(_ member: String, from: Instant? = nil, until: Instant? = nil) throws {
        try store(.memberOnLeave(member: member, from: from ?? now, until: until))
        try settle()
    }

    func comeBack(_ member: String) throws {
        try store(.memberReturned(member: member))
        try settle()
    }

    /// An event of a lead, now; `at` is its time where that is another. Its place in `positions`.
    @discardableResult
    func happen(
        _ type: EventType, _ id: String, by member: String? = nil, at instant: Instant? = nil, pool: String? = nil,
        variant: EventVariant? = nil, reason: String? = nil, into other: String? = nil,
        _ more: (inout LeadClockEvent) -> Void = { _ in }
    ) throws -> Int {
        let key = RoutingWorld.key(id)
        names[key] = id
        var routed = LeadEvent(type, of: key)
        routed.variant = variant ?? EventVariant.all(of: type)[0]
        routed.member = member
        routed.queue = type == .queued ? pool : nil
        routed.reason = reason
        routed.other = other.map(RoutingWorld.key)
        var event = LeadClockEvent(type, of: key, from: router.standing(of: key), to: LeadStanding())
        event.by = member
        event.variant = routed.variant
        more(&event)
        routed.backfill = event.backfill
        // The router first, on a copy of its own: it alone knows the standing after.
        var after = router
        try after.apply(RouterEvent(position: next, instant: instant ?? now, body: .lead(routed)))
        event.after = after.standing(of: key)
        if event.before.state?.cycle != event.after.state?.cycle { pools[key, default: []].append((next, nil)) }
        if let pool { pools[key, default: []].append((next, pool)) }
        try store(.lead(event), at: instant)
        router = after
        let place = positions.count - 1
        try settle()
        return place
    }

    @discardableResult
    func capture(
        _ id: String, at instant: Instant? = nil, backfill: Bool = false, _ values: [LeadField: FactValue] = [:]
    ) throws -> Int {
        var facts = LeadFacts(customFieldCount: 0)
        for (field, value) in values { facts.set(field, value) }
        self.facts[RoutingWorld.key(id)] = facts
        return try happen(.captured, id, at: instant) { $0.backfill = backfill }
    }

    @discardableResult
    func assign(
        _ id: String, to member: String, _ mode: AssignmentMode? = .push, pool: String? = "sales", bySelf: Bool = false
    ) throws -> Int {
        try happen(.assigned, id, by: member, pool: pool) {
            $0.mode = mode
            $0.isBySelf = bySelf
        }
    }

    /// What `clock.pause` and `clock.resume` append.
    func pause(_ id: String, _ clock: ClockKind) throws {
        let elapsed = try #require(status(id, clock)).elapsed
        try store(.entry(RoutingWorld.key(id), .paused(clock, reason: "customer", elapsed: elapsed)))
        try settle()
    }

    func resume(_ id: String, _ clock: ClockKind) throws {
        let elapsed = try #require(status(id, clock)).elapsed
        try store(.entry(RoutingWorld.key(id), .resumed(clock, reason: nil, due: nil, elapsed: elapsed)))
        try settle()
    }

    func status(_ id: String, _ clock: ClockKind) -> ClockStatus? {
        book.clocks(of: RoutingWorld.key(id), at: now).first { $0.clock == clock }
    }

    // MARK: Time

    func pass(_ microseconds: Int64) throws { try pass(until: now.advanced(byMicroseconds: microseconds)) }

    /// Until then, stopping wherever the clocks asked to be looked after.
    func pass(until end: Instant) throws {
        while isUp, let wake = book.nextInstant(), wake <= end {
            now = max(now, wake)
            try settle()
        }
        now = max(now, end)
        try settle()
    }

    func background(_ lead: RoutingKey, _ plan: ClockPlan, _ position: UInt64) -> LeadBackground {
        reads += 1
        return LeadBackground(
            facts: facts[lead] ?? LeadFacts(customFieldCount: 0),
            pool: pools[lead]?.last { $0.position <= position }?.pool)
    }

    /// Appends what is due now, until nothing is.
    func settle() throws {
        guard isUp else { return }
        for _ in 0..<1_000 {
            let actions = book.due(at: now, limit: 5, background: background)
            if actions.isEmpty {
                lastLook = (lastLook.count + 1, now)
                return
            }
            for action in actions { try append(action) }
        }
        Issue.record("what is due does not end")
    }

    func append(_ action: ClockAction) throws {
        let name = names[action.lead]!
        for event in action.events {
            #expect(ids.insert("\(name)/\(event.id)").inserted, "\(event.id) of \(name) twice")
            if let time = event.time { #expect(time <= now, "\(event.id) of \(name) before its time") }
            said.append((name, event))
            var routed = LeadEvent(event.type, of: action.lead)
            routed.variant = event.variant
            switch event.body {
            case .entry(let entry):
                if case .escalated(let step) = entry { routed.reassigns = step.action == .reassign }
                try store(.entry(action.lead, entry), at: event.time, .lead(routed))
            case .queued(let queue, let reason): try move(.queued, name, pool: queue, reason: reason)
            case .recycled(let reason, let toNurture):
                try move(.recycled, name, variant: toNurture ? .toNurture : .plain, reason: reason)
            }
        }
    }

    /// As `happen`, from within `settle`.
    private func move(
        _ type: EventType, _ name: String, pool: String? = nil, variant: EventVariant = .plain, reason: String
    ) throws {
        isUp = false
        defer { isUp = true }
        try happen(type, name, pool: pool, variant: variant, reason: reason)
    }

    // MARK: Looking

    /// What the clocks said of a lead, each as `id @time`, and what the entry tells beyond that; without the inbox alarms.
    func lines(_ id: String) -> [String] {
        said.filter { $0.lead == id && !$0.event.id.hasPrefix("inbox") }.map { line($0.event) }
    }

    func alarms(_ id: String) -> [String] {
        said.filter { $0.lead == id && $0.event.id.hasPrefix("inbox") }.map { line($0.event) }
    }

    /// An id with places instead of positions: `first_response-met-1-2`.
    func name(_ event: ClockAction.Event) -> String {
        var parts = event.id.split(separator: "-").map(String.init)
        func place(_ part: String) -> String { UInt64(part).flatMap(positions.firstIndex).map(String.init) ?? part }
        let first = parts[1].hasPrefix("step") ? 3 : 2
        parts[first] = place(parts[first])
        let second = parts[0] == "follow_up" ? first + 2 : first + 1
        if second < parts.count { parts[second] = place(parts[second]) }
        return parts.joined(separator: "-")
    }

    func line(_ event: ClockAction.Event) -> String {
        func short(_ instant: Instant) -> String { Self.short(instant) }
        let text = event.time.map { "\(name(event)) @\(short($0))" } ?? name(event)
        guard case .entry(let entry) = event.body else {
            if case .queued(let queue, let reason) = event.body { return "\(text) to \(queue): \(reason)" }
            if case .recycled(let reason, let toNurture) = event.body {
                return "\(text) to \(toNurture ? "nurture" : "inbox"): \(reason)"
            }
            return text
        }
        switch entry {
        case .started(let started): return "\(text) \(started.terms.target) due \(started.due.map(short) ?? "never")"
        case .met(let met): return text + (met.late ? " late" : "")
        case .stopped(_, _, let reason, _): return "\(text): \(reason ?? "")"
        case .resumed(_, _, let due, _): return "\(text) due \(due.map(short) ?? "never")"
        case .replaced(let replaced):
            return "\(text) \(replaced.terms.target) due \(replaced.due.map(short) ?? "never")"
        case .escalated(let step): return "\(text) \(step.action.rawValue) \(step.to.joined(separator: ","))"
        case .breached, .paused, .inboxAlarmed: return text
        }
    }

    /// Day of the month and time, without what is 0 at the end: `02T09:05`.
    static func short(_ instant: Instant) -> String {
        var text = String(instant.text.dropFirst(8).dropLast())
        if text.hasSuffix(":00") { text.removeLast(3) }
        return text
    }

    /// The entry whose id, with places, is this.
    func entry(_ id: String, _ lead: String) -> ClockEntry? {
        guard case .entry(let entry)? = said.last(where: { $0.lead == lead && name($0.event) == id })?.event.body else {
            return nil
        }
        return entry
    }

    // MARK: Making things

    static func calendar(_ spec: CalendarSpec) throws -> BusinessCalendar {
        func time(_ minute: Int) -> TimeOfDay { TimeOfDay(seconds: minute * 60)! }
        return try BusinessCalendar(
            in: spec.zone == "UTC" ? .utc : ZoneFiles.zone(spec.zone),
            open: zip(Weekday.allCases, spec.week).flatMap { day, hours in
                hours.map { OpenInterval(day, time($0.startMinute), time($0.endMinute)) }
            }, holidays: spec.holidays)
    }

    /// Monday to Friday, 9 to 17.
    static func office(_ zone: String = "UTC", id: String = "office", holidays: [CivilDate] = []) -> CalendarSpec {
        let day = [DayInterval(startMinute: 9 * 60, endMinute: 17 * 60)]
        return CalendarSpec(
            id: id, zone: zone, week: Array(repeating: day, count: 5) + [[], []], holidays: holidays)
    }

    /// Calendars `always` and `office`; ann and bob, always at work, of team `sdr` under `mia`, in the catch-all pool `sales`
    /// whose hours are `office`, and zoe in no team and no pool. These targets for the pool, in this order.
    static func rules(_ targets: ResponseTarget..., office: CalendarSpec = ClockWorld.office()) -> RuleSet {
        var rules = RuleSet(id: "policy", seed: "seed", catchAll: PoolIndex(0))
        rules.calendars = [.always, office]
        rules.members = ["ann", "bob", "mia", "zoe"].map { Member(id: $0, calendar: CalendarIndex(0)) }
        rules.teams = [Team(id: "sdr", manager: MemberIndex(2))]
        rules.members[0].team = TeamIndex(0)
        rules.members[1].team = TeamIndex(0)
        var pool = Pool(
            id: "sales", members: [0, 1].map { PoolMember(member: MemberIndex($0), weight: 1) },
            calendar: CalendarIndex(1))
        pool.responseTargets = targets.indices.map { ResponseTargetIndex($0) }
        rules.pools = [pool]
        rules.responseTargets = targets
        return rules
    }

    /// In wall time unless changed.
    static func target(
        _ id: String, _ kind: TargetKind, _ seconds: Int64, ladder: [(Int, LadderAction)] = [],
        _ change: (inout ResponseTarget) -> Void = { _ in }
    ) -> ResponseTarget {
        var target = ResponseTarget(id: id, kind: kind, seconds: seconds)
        target.measure = .wall
        target.ladder = ladder.map { LadderStep(percent: $0.0, action: $0.1) }
        change(&target)
        return target
    }
}

func march(_ text: String) throws -> Instant { try instant("2026-03-\(text):00Z") }
