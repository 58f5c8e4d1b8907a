import TestSupport
import Testing

@testable import Leads

/// Random histories. Those of `RandomClocks.plain` are compared with `SlowClocks`; the others have all that can happen, and are
/// held to what must be true of any: said once, the same from a fresh fold, and at an end some time.
@Suite struct ClockHistoryTests {
    static let histories = 500
    static let steps = 50

    @Test func `in random histories the clocks say what counting tick by tick says`() throws {
        let seed = announcedSeed("ClockHistoryTests")
        var words: [Substring: Int] = [:]
        for number in 0..<Self.histories {
            var history = try RandomClocks(seed: seed &+ UInt64(number), plain: true)
            try history.run(steps: Self.steps)
            let problems = history.problems()
            #expect(problems.isEmpty, "history \(number) of seed \(seed): \(problems.prefix(4))")
            if let problem = problems.first {
                print(history.trace(String(problem.prefix(1))))
                return
            }
            try history.expectSameFromScratch("history \(number) of seed \(seed)")
            for said in history.world.said {
                words[said.event.id.split(separator: "-")[1], default: 0] += 1
                if case .entry(.met(let met)) = said.event.body, met.late { words["late", default: 0] += 1 }
            }
        }
        // What the histories were made for did happen.
        for (word, least) in [
            ("started", 5_000), ("breached", 1_000), ("met", 1_000), ("late", 100), ("stopped", 1_000),
        ] {
            #expect(words[Substring(word)] ?? 0 > least, "\(word): \(words)")
        }
        #expect(words["resumed"] ?? 0 > 50 && words["step"] ?? 0 > 500)
    }

    /// In this one, before anything was said of a clock: an attempt, an assignment, and a contact that was timed before both.
    @Test
    func `an answer of earlier counts although a clock was handed over after the first, before its start was said`()
        throws
    {
        var history = try RandomClocks(seed: 467_811_710 + 377, plain: true)
        try history.run(steps: Self.steps)
        #expect(history.problems().isEmpty, "\(history.problems())")
        #expect(
            history.world.said.contains {
                $0.event.id.hasSuffix("accept-met-22-29")
            })
    }

    @Test func `in histories of all that can happen each thing is said once, and a fresh fold says the same`() throws {
        let seed = announcedSeed("ClockHistoryTests.all")
        var words: [Substring: Int] = [:]
        let least: [Substring: Int] = ["replaced": 100, "ended": 2]
        // Clocks end in one history of thirty or so: where that has not come up there are more of them.
        for number in 0..<2 * Self.histories {
            if number >= Self.histories / 2, least.allSatisfy({ words[$0.key, default: 0] > $0.value }) { break }
            var history = try RandomClocks(seed: seed &+ UInt64(number), plain: false)
            for _ in 0..<3 {
                try history.run(steps: Self.steps / 3)
                try history.expectSameFromScratch("history \(number) of seed \(seed)")
            }
            // Left alone for days, with ladders that begin new cycles: never more is due at one instant than can be said.
            try history.world.pass(2 * 24 * hour)
            #expect(
                history.world.book.due(at: history.world.now, limit: 9, background: history.world.background).isEmpty)
            for said in history.world.said { words[said.event.id.split(separator: "-")[1], default: 0] += 1 }
        }
        for (word, count) in least { #expect(words[word, default: 0] > count, "\(word): \(words)") }
    }

    @Test func `a book that does not see pauses, who holds a lead, or when a contact was is found out`() throws {
        let seed = announcedSeed("ClockHistoryTests.planted")
        let plants: [(String, (ClockEvent) -> ClockEvent?)] = [
            ("pauses", { if case .entry(_, .paused) = $0.body { nil } else { $0 } }),
            (
                "holders",
                { event in
                    guard case .lead(var lead) = event.body else { return event }
                    lead.after.holder = nil
                    var changed = event
                    changed.body = .lead(lead)
                    return changed
                }
            ),
            (
                "times",
                { event in
                    guard case .lead(let lead) = event.body, lead.type == .contacted else { return event }
                    var changed = event
                    changed.instant = event.recordedAt
                    return changed
                }
            ),
        ]
        for (name, plant) in plants {
            var isFound = false
            for number in 0..<100 where !isFound {
                var history = try RandomClocks(seed: seed &+ UInt64(number), plain: true)
                history.world.seeing = plant
                try history.run(steps: Self.steps)
                isFound = !history.problems().isEmpty
            }
            #expect(isFound, "\(name), seed \(seed)")
        }
    }

    @Test func `a thousand leads that wait cost no look at those that are not due`() throws {
        let world = try ClockWorld(ClockWorld.rules(ClockWorld.target("first", .firstResponse, 3_600)))
        for number in 0..<1_000 {
            world.now = world.now.advanced(byMicroseconds: 1_000)
            try world.capture("L\(number)")
            try world.assign("L\(number)", to: "ann", .pull)
        }
        #expect(world.book.leadCount == 1_000)
        #expect(world.reads == 1_000, "each lead is read once, when its clock starts")
        #expect(world.book.nextInstant() == (try march("02T10:00")).advanced(byMicroseconds: 1_001))
        let first = world.book.due(
            at: try march("02T10:00").advanced(byMicroseconds: 3_001), limit: 100, background: world.background)
        #expect(first.map { world.line($0.events[0]) }.map { $0.prefix(23) }.count == 3)
        let limited = world.book.due(at: try march("03T10:00"), limit: 2, background: world.background)
        #expect(limited == Array(first.prefix(2)), "the oldest first")
    }
}

/// One random history over a few leads.
struct RandomClocks {
    let world: ClockWorld
    let rules: RuleSet
    private let isPlain: Bool
    private var random: SeededGenerator
    private let leads = ["a", "b", "c"]
    private let members = ["ann", "bob", "zoe"]

    init(seed: UInt64, plain: Bool) throws {
        random = SeededGenerator(seed: seed)
        isPlain = plain
        rules = Self.rules(&random, plain: plain)
        world = try ClockWorld()
        // A Friday before Amsterdam's clocks go forward.
        world.now = try instant("2026-03-27T08:00:00Z")
        try world.activate(rules)
    }

    private static func rules(_ random: inout SeededGenerator, plain: Bool) -> RuleSet {
        let shifts = [
            DayInterval(startMinute: 60, endMinute: 210), DayInterval(startMinute: 540, endMinute: 720),
            DayInterval(startMinute: 780, endMinute: 1_020),
        ]
        let office = CalendarSpec(
            id: "office", zone: "Europe/Amsterdam", week: Array(repeating: shifts, count: 7),
            holidays: [CivilDate(year: 2026, month: 3, day: 30)!])
        var rules = ClockWorld.rules(office: office)
        var kinds: [TargetKind] = [
            .accept, .firstResponse, .qualify, .stageAge(.captured), .stageAge(.working), .stageAge(.offered),
        ]
        if !plain { kinds.append(.followUp) }
        for (number, kind) in kinds.enumerated() where random.chance(80) {
            // An even number of ticks, so that half of it is on one.
            let ticks = Int64.random(in: 1...15, using: &random) * 2
            var target = ClockWorld.target("t\(number)", kind, ticks * 600)
            if random.chance(50) { target.measure = .business }
            if !plain, random.chance(30) { target.calendar = .holder }
            target.attemptAnswers = random.chance(30)
            if random.chance(30) { target.answeredBy = .team }
            for percent in [50, 100, 150, 200] where random.chance(40) {
                let actions: [LadderAction] =
                    plain
                    ? [.notify(.holder), .notify(.team), .reassign, .manager] : [.queueAgain, .reassign, .recycle]
                target.ladder.append(LadderStep(percent: percent, action: actions.randomElement(using: &random)!))
            }
            rules.pools[0].responseTargets.append(ResponseTargetIndex(rules.responseTargets.count))
            rules.responseTargets.append(target)
        }
        guard !plain else { return rules }
        rules.appliesToRunning = random.chance(60)
        if random.chance(70) {
            var cadence = Cadence(
                id: "chase",
                attemptSeconds: [[0], [600], [0, 1_200], [600, 3_600, 7_200]].randomElement(using: &random)!,
                then: CadenceEnd.allCases.randomElement(using: &random)!)
            if random.chance(50) { cadence.measure = .business }
            rules.cadences = [cadence]
            rules.pools[0].cadence = CadenceIndex(0)
        }
        return rules
    }

    mutating func run(steps: Int) throws {
        for _ in 0..<steps { try step() }
        world.isUp = true
        try world.pass(Int64.random(in: 0...600, using: &random) * SlowClocks.tick)
    }

    private mutating func step() throws {
        let id = leads.randomElement(using: &random)!
        switch Int.random(in: 0..<100, using: &random) {
        case 0..<40: try world.pass(Int64.random(in: 0...12, using: &random) * SlowClocks.tick)
        case 40..<43: world.isUp = false
        case 43..<47:
            world.isUp = true
            try world.settle()
        case 47..<55: try pauseOrResume(id)
        case 55..<57 where !isPlain: try world.activate(Self.rules(&random, plain: false))
        case 57..<59 where !isPlain:
            let from = world.now.advanced(byMicroseconds: Int64.random(in: -9...9, using: &random) * SlowClocks.tick)
            try world.leave("ann", from: from, until: random.chance(50) ? nil : from.advanced(byMicroseconds: 9 * hour))
        case 59..<60 where !isPlain: try world.comeBack("ann")
        default: try happenSomething(id)
        }
    }

    private mutating func pauseOrResume(_ id: String) throws {
        guard world.isUp, let stage = world.router.standing(of: RoutingWorld.key(id)).state?.stage, stage.isOpen else {
            return
        }
        let clocks = world.book.clocks(of: RoutingWorld.key(id), at: world.now)
        guard let clock = clocks.randomElement(using: &random) else { return }
        // The one that the log's entries are about.
        guard clocks.first(where: { $0.clock == clock.clock }) == clock else { return }
        if clock.state == .running { try world.pause(id, clock.clock) }
        if clock.state == .paused { try world.resume(id, clock.clock) }
    }

    private mutating func happenSomething(_ id: String) throws {
        let key = RoutingWorld.key(id)
        guard let state = world.router.standing(of: key).state else {
            try world.capture(id, at: past(20), backfill: random.chance(5))
            return
        }
        var types: [EventType] = [
            .captured, .marketingQualified, .offered, .accepted, .rejected, .queued, .assigned, .assigned, .assigned,
            .claimed, .leaseEnded, .released, .nurtureExited, .contactAttempted, .contactAttempted, .contacted,
            .contacted, .qualified, .opportunityOpened, .won, .lost, .disqualified, .recycled, .reopened, .reopened,
        ]
        if !isPlain { types += [.merged, .unmerged, .unmerged] + Array(repeating: .contactAttempted, count: 6) }
        let backfill = random.chance(10)
        var choices: [(EventType, EventVariant)] = []
        for type in types {
            for variant in EventVariant.all(of: type) {
                if variant == .automatic, random.chance(70) { continue }
                if case .next = Lifecycle.evolve(state, type, variant, backfill: backfill) {
                    choices.append((type, variant))
                }
            }
        }
        guard let (type, variant) = choices.randomElement(using: &random) else { return }
        let other = leads.first { $0 != id && world.router.standing(of: RoutingWorld.key($0)).state != nil }
        if type == .merged, other == nil { return }
        let mode: AssignmentMode? = random.chance(20) ? nil : AssignmentMode.allCases.randomElement(using: &random)!
        let isBySelf = random.chance(30)
        let isOutbound = random.chance(80)
        let holder = world.router.standing(of: key).holder
        let member = random.chance(50) ? holder : nil
        try world.happen(
            type, id, by: member ?? members.randomElement(using: &random)!, at: past(30),
            pool: type == .queued || type == .assigned ? "sales" : nil, variant: variant, reason: "x",
            into: type == .merged ? other : nil
        ) {
            $0.backfill = backfill
            $0.mode = type == .assigned ? mode : nil
            $0.isBySelf = isBySelf
            $0.isOutbound = isOutbound
        }
    }

    /// Sometimes before now: recorded late.
    private mutating func past(_ percent: Int) -> Instant? {
        guard random.chance(percent) else { return nil }
        return world.now.advanced(byMicroseconds: -Int64.random(in: 0...20, using: &random) * SlowClocks.tick)
    }

    // MARK: Judging

    /// Where the clocks and the slow model differ.
    func problems() -> [String] {
        var problems: [String] = []
        let hours = OpenHours.table(rules.calendars[1])
        for id in leads {
            var slow = SlowClocks(rules, from: world.log[0].instant) { calendar, instant in
                calendar == nil || hours.isOpen(instant)
            }
            slow.run(RoutingWorld.key(id), world)
            var said: [String: String] = [:]
            for (lead, event) in world.said where lead == id && !event.id.hasPrefix("inbox") {
                said[event.id] = "\(event.time!.text) \(Self.what(event))"
            }
            for (event, expected) in slow.said where said[event] != expected {
                problems.append("\(id): expected \(event) \(expected), said \(said[event] ?? "nothing")")
            }
            for (event, text) in said where slow.said[event] == nil {
                problems.append("\(id): not expected \(event) \(text)")
            }
        }
        return problems.sorted()
    }

    /// The log of a lead, for a person who looks for the mistake.
    func trace(_ id: String) -> String {
        let key = RoutingWorld.key(id)
        var lines: [String] = rules.responseTargets.map { "\($0)" }
        for event in world.log {
            let looked = world.lookedBefore[event.position]!
            let place = "\(event.position) \(event.recordedAt.text) looked \(looked.count)"
            switch event.body {
            case .lead(let lead) where lead.lead == key:
                let after = lead.after.state.map { "\($0)" } ?? "-"
                lines.append(
                    "\(place) \(lead.type) \(lead.variant.word) \(lead.by ?? "-") at \(event.instant.text)"
                        + "\(lead.backfill ? " backfill" : "") -> \(after), \(lead.after.holder ?? "-")")
            case .entry(key, let entry): lines.append("\(place) \(entry)")
            default: break
            }
        }
        return lines.joined(separator: "\n")
    }

    private static func what(_ event: ClockAction.Event) -> String {
        guard case .entry(let entry) = event.body else { return "moves" }
        switch entry {
        case .started(let started): return "due \(started.due?.text ?? "never")"
        case .met(let met):
            return "\(met.late ? "late" : "in time") after \(met.elapsed.business / SlowClocks.tick)"
        case .breached(_, _, let elapsed): return "after \(elapsed.business / SlowClocks.tick)"
        case .stopped(_, _, let reason, _): return reason ?? ""
        case .resumed, .escalated, .paused, .replaced, .inboxAlarmed: return ""
        }
    }

    /// Folded from the first event, without anything being asked in between, it owes the same, and wakes at the same instants.
    func expectSameFromScratch(_ place: String) throws {
        var fresh = ClockBook()
        for event in world.log { try fresh.apply(event) }
        var live = world.book
        let later = world.now.advanced(byMicroseconds: 24 * hour)
        #expect(
            fresh.due(at: world.now, limit: 3, background: world.background)
                == live.due(at: world.now, limit: 3, background: world.background), "\(place)")
        // Asked for what was to be worked out, both know when to look next.
        #expect(fresh.nextInstant() == live.nextInstant(), "\(place)")
        #expect(fresh.leadCount == live.leadCount, "\(place)")
        for limit in [1, 1_000] {
            #expect(
                fresh.due(at: later, limit: limit, background: world.background)
                    == live.due(at: later, limit: limit, background: world.background), "\(place)")
        }
    }
}

/// Whether a calendar is open, in a table of ticks: worked out once.
private struct OpenHours: Sendable {
    private static let start = try! instant("2026-03-20T00:00:00Z")
    private let open: [Bool]

    static func table(_ spec: CalendarSpec) -> OpenHours {
        precondition(spec.id == "office" && spec.zone == "Europe/Amsterdam")
        return shared
    }

    private static let shared: OpenHours = {
        let spec = try! RandomClocks(seed: 1, plain: true).rules.calendars[1]
        let calendar = try! ClockWorld.calendar(spec)
        return OpenHours(
            open: (0..<12_000).map { calendar.isOpen(at: start.advanced(byMicroseconds: Int64($0) * SlowClocks.tick)) })
    }()

    func isOpen(_ instant: Instant) -> Bool {
        open[Int(instant.microseconds(since: Self.start) / SlowClocks.tick)]
    }
}
