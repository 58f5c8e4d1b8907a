import Control
import Leads
import Ledger
import TestSupport

@testable import LeadLedger

/// One random history of a small ledger: clients write and ask, members come and go, rule sets change, the clock jumps, desks are
/// dropped. What comes of it is judged by a `PlainLedger`.
struct DeskHistory {
    let place: DeskPlace
    private(set) var rules: [Int: PlainRules] = [:]
    /// What clients did, beside what the log tells.
    private(set) var tally: [String: Int] = [:]
    private(set) var faults: [String] = []
    /// The log, where there are faults.
    private(set) var trace: [String] = []
    private var random: SeededGenerator
    private var leads: [String] = []
    private var versions: [UInt64] = []
    private let onLeave: String
    private var tokens: [String] = []
    /// Requests that nobody waits for yet.
    private var waiting: [Asked] = []
    private var units: [UInt64] = []
    /// What each claim that was answered got, by its position.
    private var claimed: [Int: (lead: String, member: String)] = [:]

    private struct Asked {
        enum What { case claim(member: String), take, publish, other(String) }
        var what: What
        var answer: PendingAnswer
    }

    init(_ place: DeskPlace, seed: UInt64) {
        self.place = place
        random = SeededGenerator(seed: seed)
        onLeave = ["queue", "queue", "keep", "hand_over"].randomElement(using: &random)!
    }

    private mutating func count(_ what: String) { tally[what, default: 0] += 1 }

    mutating func run(steps: Int) throws {
        if random.chance(80) { try newRules(now: true) }
        for _ in 0..<steps {
            place.clock.advance(Int64.random(in: 0...3_000_000, using: &random))
            if random.chance(35) { ambush() }
            try step()
            if random.chance(60) { try settle() }
        }
        try end()
    }

    // MARK: Steps

    private mutating func step() throws {
        switch Int.random(in: 0..<100, using: &random) {
        case 0..<18: try send(capture())
        case 18..<34: try send(happen())
        case 34..<46: claim()
        case 46..<56: useLease()
        case 56..<66: presence()
        case 66..<72: try newRules(now: random.chance(60))
        case 72..<75: rollback()
        case 75..<80: assign()
        case 80..<83:
            let lead = someLead()
            ask(.other("route")) { .route(lead, $0) }
        case 83..<86: pauseClock()
        case 86..<93: jump()
        case 93..<96: try replaceDesk()
        case 96..<98: try restart()
        default: try settle()
        }
    }

    private func someMember(_ random: inout SeededGenerator) -> String {
        PlainRules.memberIDs.randomElement(using: &random)!
    }

    private mutating func someLead() -> String {
        // Mostly one of the latest, where things are going on.
        let recent = random.chance(70) ? Array(leads.suffix(6)) : leads
        return recent.randomElement(using: &random) ?? "nobody"
    }

    private mutating func send(_ events: [ForeignEvent]) throws {
        guard !events.isEmpty else { return }
        units.append(place.submit(events))
    }

    private mutating func capture() -> [ForeignEvent] {
        (0..<Int.random(in: 1...4, using: &random)).map { _ in
            let lead = "L\(leads.count)"
            leads.append(lead)
            var data = #""channel":"web""#
            if random.chance(50) { data += #","country":"BR""# }
            if random.chance(20) { data += #","company":{"domain":"acme.com"}"# }
            var event = ForeignEvent(.captured, lead, data)
            event.isBackfill = random.chance(5)
            if random.chance(10) { event.time = place.clock.now - Int64.random(in: 0...600_000_000, using: &random) }
            return event
        }
    }

    /// Something that a client says of a lead, whether the lifecycle takes it or not.
    private mutating func happen() -> [ForeignEvent] {
        let lead = someLead()
        let member = someMember(&random)
        var event: ForeignEvent
        switch Int.random(in: 0..<34, using: &random) {
        case 0..<3: event = ForeignEvent(.touched, lead, #""channel":"web","kind":"visit""#)
        case 3: event = ForeignEvent(.noted, lead)
        case 4..<7: event = ForeignEvent(.enriched, lead, #""provider":"p","fields":{"country":"BR"}"#)
        case 7: event = ForeignEvent(.captured, lead, #""channel":"web""#)
        case 8..<12:
            event = ForeignEvent(.contacted, lead, #""by":"\#(member)","medium":"call""#)
            if random.chance(25) { event.variant = .automatic }
        case 12..<14: event = ForeignEvent(.contactAttempted, lead, #""by":"\#(member)","medium":"call""#)
        case 14..<16: event = ForeignEvent(.accepted, lead, #""by":"\#(member)""#)
        case 16: event = ForeignEvent(.marketingQualified, lead)
        case 17: event = ForeignEvent(.offered, lead, #""to":"\#(member)""#)
        case 18: event = ForeignEvent(.rejected, lead, #""by":"\#(member)","reason":"no""#)
        case 19: event = ForeignEvent(.qualified, lead, #""by":"\#(member)""#)
        case 20: event = ForeignEvent(.won, lead, #""amount":1,"currency":"EUR","by":"\#(member)""#)
        case 21: event = ForeignEvent(.lost, lead, #""reason":"no""#)
        case 22..<25:
            let reason = random.chance(80) ? PlainRules.voidingReasons.randomElement(using: &random)! : "other"
            event = ForeignEvent(.disqualified, lead, #""reason":"\#(reason)""#)
        case 25..<27:
            event = ForeignEvent(.recycled, lead, #""reason":"again""#)
            if random.chance(30) { event.variant = .toNurture }
        case 27..<29:
            event = ForeignEvent(
                .reopened, lead, #""reason":"again""#,
                variant: [.resume, .resume, .unWin, .newBusiness].randomElement(using: &random)!)
        case 29..<32: event = ForeignEvent(.released, lead, #""reason":"no time""#)
        case 32: event = ForeignEvent(.queued, lead, #""queue":"alpha","reason":"by hand""#)
        default: event = ForeignEvent(.assigned, lead, #""member":"\#(member)","mode":"import""#)
        }
        // Recorded late.
        if random.chance(25) { event.time = place.clock.now - Int64.random(in: 0...3_600_000_000, using: &random) }
        count(event.type.name)
        return [event]
    }

    /// Other clients write while the desk is at work, mostly about the leads that it decides.
    private mutating func ambush() {
        var events: [[ForeignEvent]] = []
        for _ in 0..<Int.random(in: 1...3, using: &random) {
            events.append(random.chance(25) ? capture() : happen())
        }
        count("ambushes")
        place.ambush(events, after: Int.random(in: 1...2, using: &random))
    }

    // MARK: Requests

    private mutating func ask(_ what: Asked.What, _ make: (ConsumerCall) -> DeskCommand) {
        waiting.append(Asked(what: what, answer: place.ask(make)))
    }

    private mutating func claim() {
        for _ in 0..<Int.random(in: 1...4, using: &random) {
            let member = someMember(&random)
            var claim = ClaimRequest(member: member)
            if random.chance(30) { claim.pool = PlainRules.poolIDs.randomElement(using: &random)! }
            if random.chance(20) { claim.lead = someLead() }
            if random.chance(20) { claim.order = .freshest }
            if random.chance(30) { claim.leaseSeconds = Int64.random(in: 1...600, using: &random) }
            ask(.claim(member: member)) { .claim(claim, actor: 8, $0) }
        }
    }

    private mutating func useLease() {
        guard let token = random.chance(70) ? tokens.last : tokens.randomElement(using: &random) else { return }
        switch Int.random(in: 0..<10, using: &random) {
        case 0..<2:
            let seconds = random.chance(50) ? Int64.random(in: 1...900, using: &random) : nil
            ask(.other("heartbeat")) { .heartbeat(token, seconds: seconds, $0) }
        case 2..<4: ask(.other("release")) { .release(token, reason: "no time", actor: 8, $0) }
        case 4:
            // Whoever is first gets it, and only they.
            ask(.take) { .take(token, role: nil, actor: 8, $0) }
            ask(.take) { .take(token, role: nil, actor: 9, $0) }
        default: ask(.take) { .take(token, role: "sdr", actor: 8, $0) }
        }
    }

    private mutating func presence() {
        let member = someMember(&random)
        let until = random.chance(50) ? Int64.random(in: 1...7_200, using: &random) : nil
        let end = until.map { place.clock.instant.advanced(byMicroseconds: $0 * 1_000_000) }
        switch Int.random(in: 0..<10, using: &random) {
        case 0..<2:
            ask(.other("pause")) { .presence(.memberPaused, of: member, reason: nil, until: end, actor: 7, $0) }
        case 2..<4: ask(.other("resume")) { .presence(.memberResumed, of: member, reason: nil, actor: 7, $0) }
        case 4..<7:
            let from =
                random.chance(40)
                ? place.clock.instant.advanced(byMicroseconds: Int64.random(in: 1...3_600, using: &random) * 1_000_000)
                : nil
            ask(.other("leave")) {
                .presence(.memberOnLeave, of: member, reason: "away", from: from, until: end, actor: 7, $0)
            }
        default: ask(.other("return")) { .presence(.memberReturned, of: member, reason: nil, actor: 7, $0) }
        }
    }

    private mutating func newRules(now: Bool) throws {
        let number = rules.count
        let new = PlainRules.random(number, onLeave: onLeave, &random)
        rules[number] = new
        let answer = try place.publish(new.text(&random), note: "\(number)")
        guard let version = try? place.wait(for: answer).get()["version"].integer else { return }
        versions.append(UInt64(version))
        let later = place.clock.instant.advanced(
            byMicroseconds: Int64.random(in: 0...1_800, using: &random) * 1_000_000)
        ask(.other("activate")) {
            .activate("sales", version: UInt64(version), at: now ? nil : later, note: nil, actor: 7, $0)
        }
    }

    private mutating func rollback() {
        let version = random.chance(50) ? versions.randomElement(using: &random) : nil
        ask(.other("rollback")) { .rollback("sales", version: version, at: nil, note: nil, actor: 7, $0) }
    }

    private mutating func assign() {
        let (lead, member) = (someLead(), someMember(&random))
        let reason = random.chance(50) ? "knows them" : nil
        ask(.other("assign")) { .assign(lead, to: member, role: nil, reason: reason, actor: 7, $0) }
    }

    private mutating func pauseClock() {
        let lead = someLead()
        if random.chance(50) {
            ask(.other("pause clock")) { .pauseClock(lead, nil, reason: "they asked", actor: 7, $0) }
        } else {
            ask(.other("resume clock")) { .resumeClock(lead, nil, reason: nil, actor: 7, $0) }
        }
    }

    private mutating func jump() {
        let seconds: Int64 =
            switch Int.random(in: 0..<10, using: &random) {
            case 0..<4: Int64.random(in: 1...60, using: &random)
            case 4..<7: Int64.random(in: 60...1_800, using: &random)
            case 7..<9: Int64.random(in: 1_800...90_000, using: &random)
            // Somebody sets it back.
            default: -Int64.random(in: 1...200, using: &random)
            }
        count(seconds < 0 ? "jumps back" : "jumps")
        place.clock.advance(seconds * 1_000_000)
    }

    // MARK: Ends

    private mutating func replaceDesk() throws {
        count("desks replaced")
        waiting = []
        try place.replaceDesk()
    }

    private mutating func restart() throws {
        count("restarts")
        for unit in units { _ = try? place.outcome(of: unit) }
        units = []
        waiting = []
        try place.restart(losing: [.commit, .commitReported, nil].randomElement(using: &random)!)
    }

    /// Waits until all was answered and the desk is at rest.
    private mutating func settle() throws {
        for unit in units {
            if case .refused = try place.outcome(of: unit) { count("refused") } else { count("stored") }
        }
        units = []
        for asked in waiting { answered(asked, try place.wait(for: asked.answer)) }
        waiting = []
        try place.rest()
    }

    private mutating func answered(_ asked: Asked, _ result: Result<JSONTree, ErrorReply>) {
        switch (asked.what, result) {
        case (_, .failure(let error)):
            if error.name == .corrupted || error.name == .internalError { faults.append("answered: \(error)") }
            count("error \(error.name)")
        case (.claim(let member), .success(let answer)):
            guard let token = answer["claim"]["token"].string, let lead = answer["claim"]["lead"].string,
                let position = answer["claim"]["position"].integer
            else { return count("claims in vain") }
            if claimed.updateValue((lead, member), forKey: position) != nil {
                faults.append("the claim at \(position) was won twice")
            }
            tokens.append(token)
            count("claims")
        case (.take, .success): count("takes")
        case (.publish, .success): count("published")
        case (.other(let what), .success): count(what)
        }
    }

    private mutating func end() throws {
        try settle()
        // A log that is minutes ahead of the clock takes nothing: it is set right again.
        let recorded = try PlainEvent.all(of: place.log).last?.recordedAt ?? .min
        if place.clock.now < recorded { place.clock.set(recorded) }
        // Leases end, and queues are looked at again.
        if random.chance(50) { place.clock.advance(1_000_000_000) }
        for _ in 0..<2 {
            place.clock.advance(1_000_000)
            try place.rest()
        }
        try judge()
    }

    // MARK: Judging

    private mutating func judge() throws {
        let events = try PlainEvent.all(of: place.log)
        var plain = PlainLedger(events, rules)
        plain.checkQuiet(at: place.clock.now)
        faults += plain.faults
        tally.merge(plain.tally, uniquingKeysWith: +)
        for (position, claim) in claimed {
            guard events.indices.contains(position) else { continue }
            let event = events[position]
            if event.type != .claimed || event.subject != claim.lead || event.data["member"].string != claim.member {
                faults.append("\(claim.member) was told that \(claim.lead) is theirs by \(position), which is \(event)")
            }
        }
        if let fault = place.desk.fault { return faults.append("the desk stands still: \(fault)") }
        // Where nobody ever published a rule set, the desk reads nothing.
        if !plain.state.published.isEmpty { try compare(plain.state) }
        if !faults.isEmpty { trace = events.map(\.description) }
    }

    /// The desk's state with the plain one, and with what a start would make of the log.
    private mutating func compare(_ plain: PlainState) throws {
        let state = try place.state()
        let anew = try place.foldedAnew()
        if let broken = state.router.invariantBroken { faults.append("invariant \(broken)") }
        if state.router.digest != anew.router.digest { faults.append("a start comes to another state") }
        if state.router.waitingTriggers != anew.router.waitingTriggers {
            faults.append("\(state.router.waitingTriggers) wait, after a start \(anew.router.waitingTriggers)")
        }
        func leases(_ state: OperationsState) -> [String] {
            state.leases.byLead.values.map { "\($0.position) \($0.member) \($0.tokenHash)" }.sorted()
        }
        if leases(state) != leases(anew) { faults.append("the leases are \(leases(state)), not \(leases(anew))") }
        if state.toManager != anew.toManager { faults.append("to the manager: \(state.toManager), \(anew.toManager)") }
        for (id, lead) in plain.leads {
            let number = state.router.lead(RoutingKey(StreamKey(.lead, id)))
            let record = state.router[number]
            let holder = state.router.id(of: record.holder)
            let (custody, with): (String, String) =
                if plain.inbox[id] != nil { ("inbox", "") } else if plain.queues[id] != nil {
                    ("queue", "")
                } else if let stay = plain.leases[id] { ("leased", stay.with) } else if let stay = plain.owners[id] {
                    ("owner", stay.with)
                } else { (plain.nurture[id] != nil ? "nurture" : "none", "") }
            if record.state.stage.name != lead.stage || record.state.custody.name != custody || holder != with {
                faults.append(
                    "\(id) is \(lead.stage), \(custody) \(with); the desk has \(record.state.stage), \(record.state.custody) \(holder)"
                )
            }
            if state.version(of: number) != anew.version(of: number) { faults.append("the version of \(id) is wrong") }
        }
        try compareClocks(state, anew)
    }

    /// What the clocks will say in the time to come.
    private mutating func compareClocks(_ state: OperationsState, _ anew: OperationsState) throws {
        func coming(_ state: OperationsState) throws -> [String] {
            var clocks = state.clocks
            let later = place.clock.instant.advanced(byMicroseconds: 86_400_000_000)
            let actions = try clocks.due(at: later, limit: 1_000) { key, plan, position throws in
                try state.background(key, plan, upTo: position, from: place.log)
            }
            return try actions.map { action in
                let lead = try state.id(of: state.router.lead(action.lead), from: place.log)
                return "\(lead) \(action.events.map(\.id))"
            }
        }
        let (left, right) = (Set(try coming(state)), Set(try coming(anew)))
        let (less, more) = (left.subtracting(right).sorted(), right.subtracting(left).sorted())
        if left != right { faults.append("the clocks will say \(less), after a start \(more)") }
    }
}
