@testable import Leads

/// What the clocks of one lead must have said, by going through its events in order and counting ticks of ten minutes one by one.
/// It knows no heap, no segments and no business-time arithmetic, only what a clock is: asked for, running or not, answered.
///
/// For one rule set of one pool, without conditions, cadences, leave, or steps that move the lead; all instants are on ticks.
struct SlowClocks {
    static let tick: Int64 = 600_000_000

    /// By event id: the entry's time, and what it says.
    private(set) var said: [String: String] = [:]

    private let rules: RuleSet
    /// When the rule set came into force.
    private let from: Instant
    private let open: (CalendarIndex?, Instant) -> Bool
    private var clocks: [Clock] = []
    private var isLeadOpen = false

    init(_ rules: RuleSet, from: Instant, open: @escaping (CalendarIndex?, Instant) -> Bool) {
        self.rules = rules
        self.from = from
        self.open = open
    }

    private struct Clock {
        var target: ResponseTarget
        var calendar: CalendarIndex?
        var cause: UInt64
        var start: Instant
        var holders: [(since: Instant, holder: String?)]
        /// From when on it is in which state.
        var states: [(at: Instant, state: ResponseClock.State)]
        var answer: (at: Instant, position: UInt64, by: String?)?
        var toSay: [(at: Instant, cause: UInt64, reason: String?)] = []
        var isStartSaid = false
        var breachedAt: Instant?
        var steps = 0
        var isMetLate = false
        /// Nothing more comes of it once what is to be said is said.
        var isLast = false
        var isOver = false
        /// Of an earlier cycle, or another of its kind was asked for since.
        var isDeaf = false
        /// Stopped by an end, and said so.
        var isResting = false

        var kind: ClockKind { target.kind.clock }
        var state: ResponseClock.State { states.last!.state }
    }

    // MARK: Going through the log

    mutating func run(_ key: RoutingKey, _ world: ClockWorld) {
        var looks = 0
        for event in world.log {
            let looked = world.lookedBefore[event.position]!
            switch event.body {
            case .lead(let lead) where lead.lead == key:
                if looked.count > looks { look(looked.at) }
                looks = looked.count
                happen(lead, event)
            case .entry(key, .paused(let clock, _, _)):
                if looked.count > looks { look(looked.at) }
                looks = looked.count
                change(clock, from: .running, to: .paused, event.instant)
            case .entry(key, .resumed(let clock, reason: nil, _, _)):
                if looked.count > looks { look(looked.at) }
                looks = looked.count
                change(clock, from: .paused, to: .running, event.instant)
            default: break
            }
        }
        if world.lastLook.count > looks { look(world.lastLook.at) }
    }

    private mutating func change(
        _ clock: ClockKind, from: ResponseClock.State, to: ResponseClock.State, _ instant: Instant
    ) {
        for index in clocks.indices where clocks[index].kind == clock && !clocks[index].isOver {
            if clocks[index].isStartSaid, !clocks[index].isMetLate, clocks[index].state == from {
                set(index, to, instant)
                return
            }
        }
    }

    private mutating func set(_ index: Int, _ state: ResponseClock.State, _ instant: Instant) {
        clocks[index].states.append((max(instant, clocks[index].states.last!.at), state))
    }

    // MARK: The daemon looks

    private mutating func look(_ now: Instant) {
        for index in clocks.indices where !clocks[index].isOver { say(index, now) }
        clocks.removeAll { $0.isOver }
    }

    private mutating func say(_ index: Int, _ now: Instant) {
        let clock = clocks[index]
        let name = "\(clock.kind.rawValue)"
        if !clock.isStartSaid {
            clocks[index].isStartSaid = true
            var fresh = clock
            fresh.states = [clock.states[0]]
            let due = instant(fresh, percent: 100)
            put("\(name)-started-\(clock.cause)", clock.start, "due \(due?.text ?? "never")")
        }
        if let answer = clock.answer {
            let due = clock.breachedAt ?? instant(clock, percent: 100)
            let isLate = due.map { $0 < answer.at } ?? false
            if clock.isMetLate && isLate { return }
            if isLate { breach(index, due!) }
            put(
                "\(name)-met-\(clock.cause)-\(answer.position)", answer.at,
                "\(isLate ? "late" : "in time") after \(ticks(clock, until: answer.at))")
            clocks[index].isMetLate = isLate
            clocks[index].isOver = !isLate || !isLeadOpen
            return
        }
        while let (at, cause, reason) = clocks[index].toSay.first {
            // An ended lead takes no resumption: it waits, and what comes after it.
            if reason == nil, !isLeadOpen { break }
            clocks[index].toSay.removeFirst()
            if let due = instant(clock, percent: 100), due < at { breach(index, due) }
            let word = reason == nil ? "resumed" : "stopped"
            put("\(name)-\(word)-\(clock.cause)-\(cause)", at, reason ?? "")
        }
        if clock.isLast, clocks[index].toSay.isEmpty {
            clocks[index].isOver = true
            return
        }
        clocks[index].isResting = clock.state == .stopped && clocks[index].toSay.isEmpty
        // What comes with time: steps in their order, the breach before those of its instant.
        while true {
            let clock = clocks[index]
            var due = clock.breachedAt == nil ? instant(clock, percent: 100) : nil
            // Stopped at its due instant, at which an answer would still be in time.
            if clock.state == .stopped, due == clock.states.last!.at { due = nil }
            let step = clock.steps < clock.target.ladder.count ? clock.target.ladder[clock.steps] : nil
            let at = clock.state == .stopped ? nil : step.flatMap { instant(clock, percent: Int64($0.percent)) }
            if let due, due < now, at.map({ due <= $0 }) ?? true {
                breach(index, due)
            } else if let at, at < now {
                put("\(name)-step-\(step!.percent)-\(clock.cause)", at, "")
                clocks[index].steps += 1
            } else {
                return
            }
        }
    }

    private mutating func breach(_ index: Int, _ due: Instant) {
        guard clocks[index].breachedAt == nil else { return }
        clocks[index].breachedAt = due
        let clock = clocks[index]
        put("\(clock.kind.rawValue)-breached-\(clock.cause)", due, "after \(ticks(clock, until: due))")
    }

    private mutating func put(_ id: String, _ at: Instant, _ what: String) {
        said[id] = said[id] == nil ? "\(at.text) \(what)" : "said twice"
    }

    // MARK: Something happens

    private mutating func happen(_ event: LeadClockEvent, _ at: ClockEvent) {
        let before = event.before.state
        let after = event.after.state!
        isLeadOpen = after.stage.isOpen
        let isCycle = before.map { $0.cycle != after.cycle } ?? false
        let isEnd = before?.stage.isOpen ?? false && !after.stage.isOpen
        let isPassedOn = event.type == .assigned || event.before.holder != event.after.holder
        let word = String(event.type.name.dropFirst(5))

        // 1. Answers.
        for index in clocks.indices {
            if !clocks[index].isDeaf, !clocks[index].isLast, answers(clocks[index], event, at.instant) {
                let instant = max(at.instant, clocks[index].start)
                let isAfterStop = clocks[index].state == .stopped && clocks[index].states.last!.at < instant
                if !isAfterStop, clocks[index].answer.map({ instant < $0.at }) ?? true {
                    clocks[index].answer = (instant, at.position, event.by)
                }
            }
            if clocks[index].holders.last!.holder != event.after.holder {
                clocks[index].holders.append((at.instant, event.after.holder))
            }
        }
        // 2. What stops.
        if isEnd { clocks.removeAll { !$0.isStartSaid } }
        if isCycle { clocks.removeAll { $0.isResting && $0.answer == nil } }
        if isEnd || isCycle { clocks.removeAll { $0.isMetLate && $0.answer!.at > $0.breachedAt! } }
        for index in clocks.indices where clocks[index].answer == nil {
            let clock = clocks[index]
            var reason: String?
            if isEnd || isCycle {
                reason = word
            } else if clock.kind == .accept, isPassedOn {
                reason = event.type == .assigned ? "reassigned" : word
            } else if case .stageAge(let stage) = clock.target.kind, after.stage < stage {
                reason = word
            }
            guard let reason else { continue }
            if clock.state != .stopped {
                clocks[index].toSay.append((max(at.instant, clock.start), at.position, reason))
                set(index, .stopped, at.instant)
            }
            if isCycle || clock.kind == .accept || !isEnd { clocks[index].isLast = true }
        }
        if isCycle { for index in clocks.indices { clocks[index].isDeaf = true } }
        // 3. What goes on.
        if let before, !before.stage.isOpen, after.stage.isOpen, !isCycle {
            for index in clocks.indices where clocks[index].answer == nil && !clocks[index].isLast {
                if case .stageAge(let stage) = clocks[index].target.kind, stage != after.stage { continue }
                guard clocks[index].state == .stopped else { continue }
                clocks[index].toSay.append((max(at.instant, clocks[index].start), at.position, nil))
                set(index, .running, at.instant)
                clocks[index].isResting = false
            }
        }
        // 4. What starts.
        guard !event.backfill, at.instant >= from, after.stage.isOpen, after.custody != .nurture else { return }
        let leaves = before?.custody == .nurture && after.custody == .inbox && after.stage == .captured
        if before == nil || isCycle || leaves {
            for kind in [TargetKind.firstResponse, .qualify] { ask(kind, event, at) }
        }
        let isMove = before.map { $0.stage.isOpen && $0.stage != after.stage } ?? true
        if isMove || isCycle || leaves { ask(.stageAge(after.stage), event, at) }
        if event.type == .assigned, event.mode != .pull, event.mode != .imported,
            !(event.isBySelf && (event.mode == nil || event.mode == .manual))
        {
            ask(.accept, event, at)
        }
    }

    private mutating func ask(_ kind: TargetKind, _ event: LeadClockEvent, _ at: ClockEvent) {
        guard let target = rules.responseTargets.first(where: { $0.kind == kind }) else { return }
        clocks.removeAll { $0.kind == kind.clock && $0.isMetLate && $0.answer!.at > $0.breachedAt! }
        for index in clocks.indices where clocks[index].kind == kind.clock && clocks[index].answer == nil {
            guard clocks[index].state != .stopped else { continue }
            clocks[index].toSay.append((max(at.instant, clocks[index].start), at.position, "superseded"))
            set(index, .stopped, at.instant)
            clocks[index].isLast = true
        }
        for index in clocks.indices where clocks[index].kind == kind.clock { clocks[index].isDeaf = true }
        clocks.append(
            Clock(
                target: target, calendar: target.measure == .wall ? nil : rules.pools[0].calendar, cause: at.position,
                start: at.instant, holders: [(.earliest, event.after.holder)], states: [(at.instant, .running)]))
    }

    private func answers(_ clock: Clock, _ event: LeadClockEvent, _ instant: Instant) -> Bool {
        let isContact = event.type == .contacted && event.variant != .automatic
        let isAttempt = event.type == .contactAttempted && event.variant != .automatic
        let then = clock.holders.last { $0.since <= instant }!.holder
        let isHolder =
            event.by == then || event.by == event.after.holder || then == nil && event.after.holder == nil
        switch clock.target.kind {
        case .accept: return event.type == .accepted || (isContact || isAttempt) && isHolder && instant >= clock.start
        case .firstResponse:
            guard instant >= clock.start, event.isOutbound else { return false }
            let isTeam = clock.target.answeredBy == .team && ["ann", "bob"].contains(event.by)
            return (isContact || isAttempt && clock.target.attemptAnswers) && (isHolder || isTeam)
        case .qualify: return [.qualified, .opportunityOpened, .won].contains(event.type)
        case .stageAge(let stage):
            let (before, after) = (event.before.state!, event.after.state!)
            return before.stage == stage && before.cycle == after.cycle
                && (after.stage == .won || after.stage.isOpen && after.stage > stage)
        case .followUp: return false
        }
    }

    // MARK: Counting

    private func state(_ clock: Clock, at instant: Instant) -> ResponseClock.State {
        clock.states.last { $0.at <= instant }!.state
    }

    private func ticks(_ clock: Clock, until end: Instant) -> Int64 {
        var count: Int64 = 0
        var at = clock.start
        while at < end {
            if state(clock, at: at) == .running, open(clock.calendar, at) { count += 1 }
            at = at.advanced(byMicroseconds: Self.tick)
        }
        return count
    }

    private func instant(_ clock: Clock, percent: Int64) -> Instant? {
        var left = clock.target.seconds * 1_000_000 / Self.tick * percent / 100
        var at = clock.start
        while left > 0 {
            if at >= clock.states.last!.at, clock.state != .running { return nil }
            if state(clock, at: at) == .running, open(clock.calendar, at) { left -= 1 }
            at = at.advanced(byMicroseconds: Self.tick)
        }
        return at
    }
}
