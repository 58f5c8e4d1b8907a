import Leads
import Ledger
import TestSupport

// The plain idea of what the log of a ledger with routing must say, read from its first event on, slowly: by SEMANTICS 3 and 5, and
// sharing no code with the router. Each rule that does not hold is a fault with its position.

/// An event as the log has it.
struct PlainEvent: CustomStringConvertible {
    var position: Int
    var type: EventType
    var variant: EventVariant
    var isBackfill: Bool
    var subject: String
    var source: String
    var causation: Int?
    var instant: Int64
    var recordedAt: Int64
    var data: JSONTree

    init(_ record: RecordView) throws {
        position = Int(record.position.rawValue)
        guard let type = EventType(rawValue: record.type), let variant = EventVariant(rawValue: record.variant) else {
            throw TimedOut("a known type at position \(position)")
        }
        self.type = type
        self.variant = variant
        isBackfill = record.isBackfill
        subject = String(decoding: record.subject, as: UTF8.self)
        source = String(decoding: record.source, as: UTF8.self)
        causation = Int(String(decoding: record.causation, as: UTF8.self))
        instant = record.instant
        recordedAt = record.recordedAt
        data = try JSONTree("{" + String(decoding: record.publicMembers, as: UTF8.self) + "}")
    }

    static func all(of log: EventLog) throws -> [PlainEvent] {
        var events: [PlainEvent] = []
        while events.count < log.end.rawValue {
            _ = try log.read(from: Position(rawValue: UInt64(events.count)), limit: 1_000, maxBytes: 4 << 20) {
                events.append(try PlainEvent($0))
                return true
            }
        }
        return events
    }

    var description: String {
        let times = "\(Instant(microseconds: instant)) recorded \(Instant(microseconds: recordedAt))"
        return "\(position) \(type.name) \(variant) \(subject) by \(source) for \(causation ?? -1) at \(times) \(data)"
    }

    /// What a decision of a pool gave to whom, and who pays the sum of it.
    var turn: (pool: String, gains: [(member: String, amount: Int)], winner: String)? {
        guard type == .assigned, let pool = data["decision"]["pool"].string, let winner = data["member"].string,
            !data["decision"]["manager"].isPresent
        else { return nil }
        var gains: [(member: String, amount: Int)] = []
        for candidate in data["decision"]["candidates"].elements {
            guard let member = candidate["member"].string, let amount = candidate["gain"].integer else { continue }
            gains.append((member: member, amount: amount))
        }
        return gains.isEmpty ? nil : (pool, gains, winner)
    }

    /// Of a decision: the events right before it that lie in its unit.
    var inUnit: Int { data["decision"]["unit"].integer ?? 0 }
}

/// How everything stands before some event.
struct PlainState {
    struct Stay: Equatable {
        /// The event that began it.
        var since: Int
        var recordedAt: Int64
        var isBackfill = false
        /// The queue, or the member.
        var with = ""
    }

    struct Lead {
        var stage = "captured"
        var beforeOffer: String?
        var beforeEnd: String?
        /// Where the lead was claimed from.
        var beforeLease: Stay?
        var cycle = 0
        /// Whoever had it in this cycle.
        var holders: Set<String> = []
        /// The latest decision of a pool in this cycle, which a disqualification may void.
        var decision: Int?
        var isOpen: Bool { PlainState.stages.contains(stage) }
    }

    static let stages = [
        "captured", "mql", "offered", "accepted", "working", "contacted", "qualified", "opportunity",
    ]

    var leads: [String: Lead] = [:]
    // The five places where a live lead can be.
    var inbox: [String: Stay] = [:]
    var queues: [String: Stay] = [:]
    var leases: [String: Stay] = [:]
    var owners: [String: Stay] = [:]
    var nurture: [String: Stay] = [:]

    var balances: [String: [String: Int]] = [:]
    /// By decision: the disqualification that voids it.
    var voids: [Int: Int] = [:]
    var leaves: [String: [(from: Int64, until: Int64, position: Int)]] = [:]
    var pausedUntil: [String: Int64] = [:]
    /// By its position, the number of a published rule set.
    var published: [Int: Int] = [:]
    var activations: [(from: Int64, position: Int, version: Int)] = []

    func places(of lead: String) -> Int {
        [inbox, queues, leases, owners, nurture].count { $0[lead] != nil }
    }

    func open(_ member: String) -> Int {
        owners.values.count { $0.with == member } + leases.values.count { $0.with == member }
    }

    func isOnLeave(_ member: String, at instant: Int64) -> Bool {
        leaves[member, default: []].contains { $0.from <= instant && instant < $0.until }
    }

    func isAbsent(_ member: String, at instant: Int64) -> Bool {
        isOnLeave(member, at: instant) || pausedUntil[member].map { instant < $0 } ?? false
    }

    /// The activation in force at an instant: the latest, of equal ones the one recorded last.
    func activation(at instant: Int64) -> (from: Int64, position: Int, version: Int)? {
        activations.filter { $0.from <= instant }.max { ($0.from, $0.position) < ($1.from, $1.position) }
    }
}

/// Reads a log to its end and says everything that is wrong with it.
struct PlainLedger {
    private(set) var faults: [String] = []
    private(set) var tally: [String: Int] = [:]
    private(set) var state = PlainState()
    private let events: [PlainEvent]
    /// By the number that a rule set's publication notes.
    private let rules: [Int: PlainRules]
    /// By position: how everything stood before it.
    private var history: [PlainState] = []
    private var decided: Set<String> = []
    private var clocks: [String: PlainClock] = [:]
    private var alarmed: Set<String> = []
    private var names: Set<String> = []

    private struct PlainClock {
        var isBreached = false
        var isOver = false
    }

    init(_ events: [PlainEvent], _ rules: [Int: PlainRules]) {
        self.events = events
        self.rules = rules
        for event in events {
            history.append(state)
            if isDecision(event) { checkDecision(event) }
            checkSaid(event)
            var next = state
            apply(event, to: &next)
            state = next
            if event.type.stream == .lead, let lead = state.leads[event.subject] {
                let places = state.places(of: event.subject)
                if places != (lead.isOpen ? 1 : 0) {
                    fault(event, "\(event.subject), \(lead.stage), is in \(places) places")
                }
            }
        }
    }

    private mutating func fault(_ event: PlainEvent, _ what: String) {
        faults.append("position \(event.position), \(event.type.name) of \(event.subject): \(what)")
    }

    private mutating func count(_ what: String) { tally[what, default: 0] += 1 }

    // MARK: What happens to a lead

    private mutating func apply(_ event: PlainEvent, to state: inout PlainState) {
        switch event.type.stream {
        case .lead: applyLead(event, to: &state)
        case .policy: applyPolicy(event, to: &state)
        case .member: applyMember(event, to: &state)
        case .pool: applyVoid(event, to: &state)
        }
    }

    private mutating func applyLead(_ event: PlainEvent, to state: inout PlainState) {
        let id = event.subject
        var stay = PlainState.Stay(since: event.position, recordedAt: event.recordedAt, isBackfill: event.isBackfill)
        guard var lead = state.leads[id] else {
            if event.type != .captured { fault(event, "nobody captured it") }
            state.leads[id] = PlainState.Lead()
            state.inbox[id] = stay
            return
        }
        func refuse(unless isAllowed: Bool) { if !isAllowed { fault(event, "not in \(lead.stage)") } }
        func leave() {
            if let owner = state.owners[id] { lead.holders.insert(owner.with) }
            state.inbox[id] = nil
            state.queues[id] = nil
            state.leases[id] = nil
            state.owners[id] = nil
            state.nurture[id] = nil
        }
        func rise(to stage: String) {
            let (now, next) = (PlainState.stages.firstIndex(of: lead.stage), PlainState.stages.firstIndex(of: stage)!)
            guard let now, now < next else {
                refuse(unless: event.isBackfill)
                return
            }
            if stage == "offered" { lead.beforeOffer = lead.stage }
            lead.stage = stage
        }
        func end(_ stage: String) {
            refuse(unless: lead.isOpen)
            lead.beforeEnd = lead.stage
            lead.stage = stage
            leave()
        }
        func beginAnew() {
            lead = PlainState.Lead(cycle: lead.cycle + 1)
        }
        func contact(atLeast stage: String) {
            let next = PlainState.stages.firstIndex(of: stage)!
            if event.isBackfill, !lead.isOpen || PlainState.stages.firstIndex(of: lead.stage)! >= next { return }
            refuse(unless: lead.isOpen)
            if let now = PlainState.stages.firstIndex(of: lead.stage), now < next { lead.stage = stage }
            if event.variant != .automatic, state.inbox[id] != nil || state.queues[id] != nil {
                leave()
                stay.with = event.data["by"].string ?? ""
                state.owners[id] = stay
            }
        }

        switch event.type {
        case .captured, .touched, .enriched, .noted: break
        case .marketingQualified: rise(to: "mql")
        case .offered: rise(to: "offered")
        case .accepted: rise(to: "accepted")
        case .qualified: rise(to: "qualified")
        case .opportunityOpened: rise(to: "opportunity")
        case .rejected:
            refuse(unless: lead.stage == "offered")
            lead.stage = lead.beforeOffer ?? "captured"
            leave()
            state.inbox[id] = stay
        case .contactAttempted: contact(atLeast: "working")
        case .contacted: contact(atLeast: "contacted")
        case .won: end("won")
        case .lost: end("lost")
        case .disqualified:
            end("disqualified")
            if !event.isBackfill, let reason = event.data["reason"].string,
                PlainRules.voidingReasons.contains(reason), state.activation(at: event.recordedAt) != nil,
                let decision = lead.decision
            {
                state.voids[decision] = event.position
                lead.decision = nil
            }
        case .recycled:
            refuse(unless: lead.isOpen || lead.stage == "lost" || lead.stage == "disqualified")
            leave()
            beginAnew()
            if event.variant == .toNurture { state.nurture[id] = stay } else { state.inbox[id] = stay }
        case .reopened:
            leave()
            switch event.variant {
            case .newBusiness:
                refuse(unless: lead.stage == "won")
                beginAnew()
            case .unWin:
                refuse(unless: lead.stage == "won")
                lead.stage = lead.beforeEnd ?? ""
            default:
                refuse(unless: lead.stage == "lost" || lead.stage == "disqualified")
                lead.stage = lead.beforeEnd ?? ""
            }
            state.inbox[id] = stay
        case .wonRevised: refuse(unless: lead.stage == "won")
        case .assigned:
            refuse(unless: lead.isOpen && state.leases[id] == nil)
            leave()
            stay.with = event.data["member"].string ?? ""
            state.owners[id] = stay
            if let turn = event.turn {
                for gain in turn.gains {
                    state.balances[turn.pool, default: [:]][gain.member, default: 0] += gain.amount
                }
                state.balances[turn.pool]![turn.winner, default: 0] -= turn.gains.reduce(0) { $0 + $1.amount }
                lead.decision = event.position
            }
        case .queued:
            refuse(unless: lead.isOpen && state.leases[id] == nil)
            leave()
            stay.with = event.data["queue"].string ?? ""
            state.queues[id] = stay
        case .claimed:
            guard let before = state.inbox[id] ?? state.queues[id] else {
                return fault(event, "it was claimed, and did not wait")
            }
            leave()
            lead.beforeLease = before
            stay.with = event.data["member"].string ?? ""
            state.leases[id] = stay
        case .leaseEnded:
            guard state.leases[id] != nil, let before = lead.beforeLease else { return fault(event, "no lease") }
            leave()
            stay.with = before.with
            if before.with.isEmpty { state.inbox[id] = stay } else { state.queues[id] = stay }
        case .released:
            refuse(unless: state.owners[id] != nil || state.nurture[id] != nil)
            leave()
            state.inbox[id] = stay
        case .escalated, .inboxAlarmed, .clockStarted, .clockPaused, .clockResumed, .clockReplaced:
            refuse(unless: lead.isOpen)
        case .clockMet, .clockBreached, .clockStopped: break
        default: fault(event, "no event of these histories")
        }
        state.leads[id] = lead
    }

    // MARK: What happens elsewhere

    private mutating func applyPolicy(_ event: PlainEvent, to state: inout PlainState) {
        switch event.type {
        case .policyPublished:
            guard let number = event.data["note"].string.flatMap({ Int($0) }), rules[number] != nil else {
                return fault(event, "nobody published it")
            }
            state.published[event.position] = number
        case .policyActivated, .policyRolledBack:
            guard let version = event.data["version"].integer, state.published[version] != nil,
                let at = event.data["at"].string.flatMap({ try? Instant(rfc3339: $0) })
            else { return fault(event, "it names no version") }
            state.activations.append((at.microseconds, event.position, version))
        default: break
        }
    }

    private mutating func applyMember(_ event: PlainEvent, to state: inout PlainState) {
        func instant(_ name: String) -> Int64? {
            event.data[name].string.flatMap { try? Instant(rfc3339: $0) }?.microseconds
        }
        switch event.type {
        case .memberPaused: state.pausedUntil[event.subject] = instant("until") ?? .max
        case .memberResumed: state.pausedUntil[event.subject] = nil
        case .memberOnLeave:
            state.leaves[event.subject, default: []].append(
                (instant("from") ?? event.instant, instant("until") ?? .max, event.position))
        case .memberReturned: state.leaves[event.subject] = []
        default: fault(event, "no event of these histories")
        }
    }

    private mutating func applyVoid(_ event: PlainEvent, to state: inout PlainState) {
        guard let decision = event.data["decision"].integer, let cause = state.voids[decision],
            cause == event.data["cause"].integer, cause == event.causation, let turn = events[decision].turn,
            turn.pool == event.subject, events[decision].subject == event.data["lead"].string
        else { return fault(event, "nothing asks for it, or it was done before") }
        state.voids[decision] = nil
        for gain in turn.gains { state.balances[turn.pool]![gain.member]! -= gain.amount }
        state.balances[turn.pool]![turn.winner]! += turn.gains.reduce(0) { $0 + $1.amount }
    }

    // MARK: Decisions

    private func isDecision(_ event: PlainEvent) -> Bool {
        (event.type == .assigned || event.type == .queued) && event.data["decision"].isPresent
    }

    /// Where the matter of an event begins: there, or, of a rule set for later, with the first event recorded once it is in force.
    private func beginning(of cause: Int) -> Int {
        let event = events[cause]
        guard event.type == .policyActivated || event.type == .policyRolledBack,
            let at = event.data["at"].string.flatMap({ try? Instant(rfc3339: $0) })?.microseconds,
            at > event.recordedAt
        else { return cause }
        return events[cause...].first { $0.recordedAt >= at }?.position ?? events.count
    }

    private mutating func checkDecision(_ event: PlainEvent) {
        let (decision, id) = (event.data["decision"], event.subject)
        let kind = decision["trigger"]["kind"].string ?? ""
        guard let basis = decision["basis"].integer, let cause = decision["trigger"]["position"].integer,
            let at = decision["at"].string.flatMap({ try? Instant(rfc3339: $0) })?.microseconds,
            basis <= event.position - event.inUnit
        else { return fault(event, "it says not what it saw, or saw what came later") }
        count("decision " + kind)
        count(event.type == .assigned ? "given" : "queued")
        if basis + event.inUnit != event.position { count("elsewhere than foreseen") }

        // 1. Each trigger once.
        if !decided.insert("\(id) \(kind) \(cause)").inserted { fault(event, "\(kind) \(cause) was decided before") }
        if event.causation != cause { fault(event, "its cause is not its trigger") }

        // 2. Of what it did not see, nothing happened to the lead.
        let unit = event.position - event.inUnit
        if events[basis..<unit].contains(where: { $0.type.stream == .lead && $0.subject == id }) {
            fault(event, "it did not see all that had happened to the lead")
        }
        var seen = history[basis]
        for event in events[unit..<event.position] { apply(event, to: &seen) }

        // 3. The lead stands where such a trigger is decided.
        let waits = seen.inbox[id] ?? seen.queues[id]
        let isDue: Bool =
            switch kind {
            case "arrival": seen.inbox[id].map { $0.since == cause && !$0.isBackfill } ?? false
            case "drain": seen.queues[id].map { $0.since == cause } ?? false
            case "reroute": waits.map { $0.since < beginning(of: cause) } ?? false
            case "by_hand": waits.map { $0.since == cause } ?? false
            case "take_back":
                seen.owners[id].map { $0.since < cause } ?? false && events[cause].type == .escalated
                    && events[cause].subject == id
                    && ["reassign", "manager"].contains(events[cause].data["action"].string ?? "")
            case "pull": seen.leads[id]?.beforeLease != nil && events[cause].type == .claimed
            default: false
            }
        if !isDue { fault(event, "no \(kind) by \(cause) is due") }

        // 4. By the rule set in force.
        guard let active = seen.activation(at: at),
            let rules = seen.published[active.version].flatMap({ self.rules[$0] })
        else { return fault(event, "no rule set is in force") }
        if decision["version"].integer != active.version { fault(event, "version \(active.version) is in force") }
        checkNumbers(event, rules, seen)
        guard event.type == .assigned, let winner = event.data["member"].string, kind != "pull" else { return }
        guard let member = rules.member(winner) else { return fault(event, "\(winner) is no member") }
        if decision["manager"].isPresent { return count("to a manager") }

        // 5. To somebody who may have it.
        if seen.isAbsent(winner, at: at), !decision["absence_ignored"].isPresent {
            fault(event, "\(winner) is absent")
        }
        let held = seen.owners[id]?.with == winner ? 1 : 0
        if let cap = member.openCap, seen.open(winner) - held >= cap { fault(event, "\(winner) has \(cap) already") }
        if event.data["mode"].string == "match" { return count("matched") }
        if kind == "take_back", seen.owners[id]?.with == winner { fault(event, "\(winner) had it") }
    }

    /// The numbers of the rotation: what each candidate was owed, and gains.
    private mutating func checkNumbers(_ event: PlainEvent, _ rules: PlainRules, _ seen: PlainState) {
        guard let turn = event.turn, let pool = rules.pool(turn.pool) else { return }
        let sum = turn.gains.reduce(0) { $0 + (rules.member($1.member)?.weight ?? 0) }
        var best = (owed: Int.min, member: "")
        for candidate in event.data["decision"]["candidates"].elements {
            guard let id = candidate["member"].string, let gain = candidate["gain"].integer,
                let owed = candidate["owed"].integer
            else { continue }
            let weight = rules.member(id)?.weight ?? 0
            if gain != (1 << 32) * weight / sum { fault(event, "\(id) gains \(gain) of \(sum)") }
            let balance = seen.balances[turn.pool]?[id] ?? 0
            if owed != balance { fault(event, "\(id) is owed \(balance), not \(owed)") }
            if owed + gain > best.owed { best = (owed + gain, id) }
        }
        if pool.strategies == ["rotation"], event.data["mode"].string == "push" {
            let winner = event.data["decision"]["candidates"].elements.first {
                $0["member"].string == turn.winner
            }
            if (winner?["owed"].integer ?? 0) + (winner?["gain"].integer ?? 0) != best.owed {
                fault(event, "it was \(best.member)'s turn")
            }
        }
    }

    // MARK: What else the daemon says

    private mutating func checkSaid(_ event: PlainEvent) {
        let clock = "\(event.subject) \(event.data["clock"].string ?? "")"
        switch event.type {
        case .clockStarted:
            if let known = clocks[clock], !known.isOver, !known.isBreached { fault(event, "it runs already") }
            let name = "\(clock) \(event.data["cause"].integer ?? -1) \(event.data["attempt"].integer ?? 0)"
            if !names.insert(name).inserted { fault(event, "it was started before") }
            clocks[clock] = PlainClock()
            count("clocks")
        case .clockBreached:
            guard let known = clocks[clock] else { return fault(event, "it never started") }
            if known.isBreached { fault(event, "it was breached before") }
            if event.data["due"].string.flatMap({ try? Instant(rfc3339: $0) })?.microseconds != event.instant {
                fault(event, "not at the instant at which it was due")
            }
            clocks[clock]!.isBreached = true
            count("breaches")
        case .clockMet:
            guard let known = clocks[clock] else { return fault(event, "it never started") }
            if known.isOver, !known.isBreached { fault(event, "it was over before") }
            clocks[clock]!.isOver = true
            count("met")
        case .clockStopped: clocks[clock]?.isOver = true
        case .clockResumed: clocks[clock]?.isOver = false
        case .clockReplaced: count("replaced")
        case .inboxAlarmed:
            if !alarmed.insert("\(event.subject) \(event.data["since"].string ?? "")").inserted {
                fault(event, "it was said before")
            }
            count("alarms")
        case .escalated: count("escalated " + (event.data["action"].string ?? ""))
        case .leaseEnded: count("lease " + (event.data["how"].string ?? ""))
        case .assigned where !event.data["decision"].isPresent: count("assigned " + (event.data["mode"].string ?? ""))
        case .queued where !event.data["decision"].isPresent: count("queued without a decision")
        case .released: count("released " + (event.data["reason"].string ?? ""))
        default: count(event.type.name + (event.variant == .plain ? "" : " \(event.variant)"))
        }
    }

    // MARK: When all is quiet

    /// What must hold when the desk has done all it can, at an instant.
    mutating func checkQuiet(at clock: Int64) {
        // What was recorded has been, though the clock was set back.
        let now = max(clock, events.last?.recordedAt ?? clock)
        func quiet(_ what: String) { faults.append("when all is quiet: \(what)") }
        for decision in state.voids.keys { quiet("the decision at \(decision) is not voided") }
        guard let active = state.activation(at: now),
            let rules = state.published[active.version].flatMap({ self.rules[$0] })
        else { return }
        for (lead, stay) in state.inbox where !stay.isBackfill { quiet("\(lead) is in the inbox since \(stay.since)") }
        for (lead, stay) in state.queues {
            guard let pool = rules.pool(stay.with) else {
                quiet("\(lead) is in the queue of \(stay.with), which no longer is a pool")
                continue
            }
            guard pool.pushes else { continue }
            for id in pool.members {
                guard let member = rules.member(id), member.isPlain, !state.leads[lead]!.holders.contains(id),
                    !state.isAbsent(id, at: now), member.openCap.map({ state.open(id) < $0 }) ?? true
                else { continue }
                quiet("\(lead) waits in the queue of \(pool.id) since \(stay.since), and \(id) is free")
            }
        }
        for (lead, stay) in state.owners {
            if rules.onLeave != "keep", !(rules.onLeave == "hand_over" && stay.with == "fay") {
                for leave in state.leaves[stay.with, default: []]
                where leave.from <= now && now < leave.until
                    && (stay.since < leave.position || stay.recordedAt < leave.from)
                {
                    quiet("\(stay.with) is on leave since \(leave.position), and has \(lead) since \(stay.since)")
                }
            }
            if rules.member(stay.with) == nil, let removal = removal(of: stay.with, now),
                stay.since < removal.position || stay.recordedAt < removal.from
            {
                quiet("\(stay.with) is no member since \(removal.position), and has \(lead) since \(stay.since)")
            }
        }
    }

    /// The activation by which a member is in no rule set in force any more.
    private func removal(of member: String, _ now: Int64) -> (from: Int64, position: Int)? {
        let past = state.activations.filter { $0.from <= now }.sorted {
            ($0.from, $0.position) < ($1.from, $1.position)
        }
        var removal: (from: Int64, position: Int)?
        var wasMember = false
        for activation in past {
            let rules = state.published[activation.version].flatMap { self.rules[$0] }
            if rules?.member(member) != nil {
                removal = nil
                wasMember = true
            } else if removal == nil, wasMember {
                removal = (activation.from, activation.position)
            }
        }
        return removal
    }
}
