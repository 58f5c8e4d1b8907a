// One clock of one lead, from the event that asks for it until nothing more can come of it.
//
// Its life in the log: started, (paused, resumed)*, breached?, steps of the ladder*, then met or stopped. What happens to the lead
// changes the record when the lead's event is folded in; what is thereby owed to the log is gone when the entry that says it is
// folded in.
//
// Invariants:
//   asked-first     A record begins with the event that asks for a clock. Its terms come with its `clock_started`.
//   facts-decide    Whether it runs, is stopped or answered follows from the lead's events, whatever was said of it by then.
//   said-once       A breach, each step, each stop and resumption is owed until the log says it, and then never again.

/// Who held a lead from an instant on.
struct HolderSpan: Sendable, Equatable {
    var since: Instant
    var holder: String?
}

extension [HolderSpan] {
    /// Of those that began by then, the one recorded last.
    func holder(at instant: Instant) -> String? { last { $0.since <= instant }.flatMap(\.holder) }
}

/// An event that may answer a clock. Whether it does is for the clock's target to say.
struct ClockAnswer: Sendable, Equatable {
    var position: UInt64
    var instant: Instant
    var type: EventType
    var by: String?
    /// Who had the lead then, by the instants, and who has it after the event, in the order of the log.
    var holderThen: String?
    var holder: String?
    var isOutbound: Bool

    var isContact: Bool { type == .contacted }
    var isContactOrAttempt: Bool { type == .contacted || type == .contactAttempted }

    /// Whether it was the holder, the one of then or of now. Of a lead that nobody holds, whoever it was.
    var isByHolder: Bool {
        guard let by else { return false }
        if holder == nil && holderThen == nil { return true }
        return by == holder || by == holderThen
    }

    func isEarlier(than other: ClockAnswer) -> Bool {
        instant != other.instant ? instant < other.instant : position < other.position
    }
}

extension ClockTerms {
    /// Whether the target takes it for an answer.
    func isAnswered(by answer: ClockAnswer) -> Bool {
        guard answer.isContactOrAttempt else { return true }
        let kind = response?.kind.clock ?? .followUp
        switch kind {
        case .accept: return answer.isByHolder
        case .firstResponse:
            guard answer.isContact || response?.attemptAnswers ?? false else { return false }
            return answer.isOutbound && isRight(answer)
        case .followUp:
            // Any contact is what the attempts were for.
            return answer.isContact || answer.isOutbound && isRight(answer)
        case .qualify, .stageAge: return true
        }
    }

    private func isRight(_ answer: ClockAnswer) -> Bool {
        if answer.isByHolder { return true }
        guard response?.answeredBy == .team, let by = answer.by else { return false }
        return plan.isTeam(by, of: answer.holderThen, in: pool) || plan.isTeam(by, of: answer.holder, in: pool)
    }
}

struct ClockRecord: Sendable {
    /// What was asked for; of a stage's age, which stage.
    let kind: TargetKind
    /// The position of the event that asks.
    let cause: UInt64
    let start: Instant
    /// Of a cadence, from 1; else 0.
    let attempt: Int
    /// In force when it was asked for.
    let plan: ClockPlan
    /// Of the one who had the lead when it was asked for, and of all since.
    var holders: [HolderSpan]

    /// Of the clock to be, worked out by `due` and not yet in the log.
    var proposal: ClockTerms?
    /// The first from the start; one more for each time it was replaced.
    private(set) var segments: [Segment]
    private(set) var state = ResponseClock.State.running
    private(set) var isForGood = false
    private var isClosed = false
    /// Before it is started everything that might answer; then the earliest that does.
    private(set) var answers: [ClockAnswer] = []

    // What the log still has to say of it, in this order.
    private(set) var owed: [Owed] = []

    // What it has said.
    var breachedAt: Instant?
    /// The highest percent of the ladder that was said, and how many steps of that percent.
    private(set) var steps = (percent: -1, count: 0)
    private(set) var isMetLate = false
    private(set) var isStopSaid = false

    struct Segment: Sendable {
        var from: Instant
        /// Nil until it is started.
        var terms: ClockTerms?
        var changes: [Change] = []
    }

    struct Change: Sendable {
        var state: ResponseClock.State
        var at: Instant
    }

    enum Owed: Sendable {
        case stop(at: Instant, cause: UInt64, reason: String)
        case resume(at: Instant, cause: UInt64)

        var cause: UInt64 {
            switch self {
            case .stop(_, let cause, _), .resume(_, let cause): cause
            }
        }
    }

    init(_ kind: TargetKind, cause: UInt64, start: Instant, attempt: Int = 0, plan: ClockPlan, holders: [HolderSpan]) {
        self.kind = kind
        self.cause = cause
        self.start = start
        self.attempt = attempt
        self.plan = plan
        self.holders = holders
        segments = [Segment(from: start)]
    }

    var clock: ClockKind { kind.clock }
    var terms: ClockTerms? { segments[segments.count - 1].terms }
    var isStarted: Bool { terms != nil }
    /// Started, and neither an answer nor a stop was said: a lead has at most one such of each kind.
    var isLive: Bool { isStarted && !isMetLate && !isStopSaid }
    var answer: ClockAnswer? { isStarted ? answers.first : nil }
    /// Nil unless it is stopped. Stopped at its due instant it is not breached: an answer would still have been in time.
    var stoppedAt: Instant? { state == .stopped ? segments[segments.count - 1].changes.last?.at : nil }

    /// Since when it counts as it does.
    var ruledFrom: Instant { segments[segments.count - 1].from }

    /// Whether a rule set came into force after the one by which it counts; at one instant the activation recorded later did.
    func isRuledBefore(_ other: ClockPlan) -> Bool {
        if other.from != ruledFrom { return other.from > ruledFrom }
        return other.position > (segments.count > 1 ? terms?.plan.position ?? plan.position : plan.position)
    }
}

// MARK: - What happens to it

extension ClockRecord {
    /// `clock_started` is in the log. What has happened to it by then happens once more, in its order: only now it is known which
    /// answers count, and a clock that is answered is not stopped.
    mutating func begin(_ terms: ClockTerms) {
        let heard = answers
        var moves = owed[...]
        answers = []
        owed = []
        proposal = nil
        state = .running
        isForGood = isClosed
        segments[0] = Segment(from: start, terms: terms)
        for answer in heard {
            while let move = moves.first, move.cause < answer.position {
                redo(move)
                moves.removeFirst()
            }
            // Before it was started only what stops it for good was kept: it hears nothing more then.
            if state != .stopped { hear(answer) }
        }
        for move in moves { redo(move) }
    }

    private mutating func redo(_ move: Owed) {
        guard answer == nil else { return }
        switch move {
        case .stop(let at, let cause, let reason): stop(at: at, cause: cause, reason: reason, forGood: true)
        case .resume(let at, let cause): resume(at: at, cause: cause)
        }
    }

    /// Something that may be an answer was recorded. A contact that was asked for counts from the start on; what moves the lead
    /// ends the wait in any case, and counts as at the start if it is timed before. Nothing counts that is timed after the clock was stopped.
    mutating func hear(_ answer: ClockAnswer) {
        guard let terms else {
            answers.append(answer)
            return
        }
        guard terms.isAnswered(by: answer) else { return }
        var answer = answer
        if answer.instant < start {
            if answer.isContactOrAttempt && (clock == .accept || clock == .firstResponse) { return }
            answer.instant = start
        }
        if let stoppedAt, stoppedAt < answer.instant { return }
        guard let known = answers.first else {
            answers = [answer]
            return
        }
        if answer.isEarlier(than: known) { answers = [answer] }
    }

    /// What happens from now on is another clock's: it hears nothing more, and nothing resumes it.
    mutating func close() {
        isClosed = true
        isForGood = true
    }

    /// Whether nothing answers it any more. Before it is started a stop is only noted: what was recorded earlier may turn out to have
    /// answered it, and then an answer of earlier still counts.
    var isDeaf: Bool { isClosed || isForGood && isStarted }

    /// - Parameter forGood: no reopening resumes it, whenever the stop is said.
    mutating func stop(at instant: Instant, cause: UInt64, reason: String, forGood: Bool) {
        if forGood { isForGood = true }
        guard state != .stopped else { return }
        change(to: .stopped, at: instant)
        owed.append(.stop(at: max(instant, start), cause: cause, reason: reason))
    }

    mutating func resume(at instant: Instant, cause: UInt64) {
        guard state == .stopped else { return }
        change(to: .running, at: instant)
        isStopSaid = false
        owed.append(.resume(at: max(instant, start), cause: cause))
    }

    /// It does not run backwards: what is timed before the last change happens with that.
    private mutating func change(to next: ResponseClock.State, at instant: Instant) {
        state = next
        let last = segments[segments.count - 1]
        let at = max(instant, last.changes.last?.at ?? last.from)
        segments[segments.count - 1].changes.append(Change(state: next, at: at))
    }
}

// MARK: - What the log says of it

extension ClockRecord {
    mutating func isPaused(at instant: Instant) { if state == .running { change(to: .paused, at: instant) } }

    mutating func isResumed(at instant: Instant) {
        if case .resume? = owed.first {
            owed.removeFirst()
        } else if state == .paused {
            change(to: .running, at: instant)
        }
    }

    mutating func isStopped(at instant: Instant) {
        if case .stop? = owed.first {
            owed.removeFirst()
        } else if state != .stopped {
            change(to: .stopped, at: instant)
        }
        isStopSaid = owed.isEmpty
    }

    mutating func isMet(late: Bool) {
        isMetLate = late
        owed = []
    }

    mutating func isEscalated(percent: Int) {
        if percent > steps.percent {
            steps = (percent, 1)
        } else if percent == steps.percent {
            steps.count += 1
        }
    }

    mutating func isReplaced(by terms: ClockTerms, at instant: Instant) {
        var segment = Segment(from: max(instant, ruledFrom), terms: terms)
        if state != .running { segment.changes = [Change(state: state, at: segment.from)] }
        segments.append(segment)
    }
}

// MARK: - Counting

extension ClockRecord {
    func count(_ absences: Absences) -> ClockCount { ClockCount(segments, absences) }

    /// The next step of the ladder: those that were said are over, and so are those of fewer percent.
    var nextStep: (step: LadderStep, ordinal: Int)? {
        guard let ladder = terms?.ladder else { return nil }
        var percent = -1
        var ordinal = 0
        for step in ladder {
            ordinal = step.percent == percent ? ordinal + 1 : 1
            percent = step.percent
            if percent > steps.percent || percent == steps.percent && ordinal > steps.count { return (step, ordinal) }
        }
        return nil
    }
}

/// The arithmetic of a clock, over all rule sets that it counted by: what has elapsed goes with it from one to the next.
struct ClockCount {
    /// All but the last are asked only for what lies before the next one's start.
    private let parts: [ResponseClock]
    /// Microseconds of business time by the latest terms; as many as fit where it is more.
    private let target: Int64
    /// Business time of all parts but the last.
    private var carried: Int64 = 0

    init(_ segments: [ClockRecord.Segment], _ absences: Absences) {
        var parts: [ResponseClock] = []
        parts.reserveCapacity(segments.count)
        for segment in segments {
            if let last = parts.last { carried += last.elapsed(at: segment.from).business }
            var part = ResponseClock(
                start: segment.from, target: 0, calendar: segment.terms?.businessCalendar(absences) ?? .always)
            for change in segment.changes {
                switch change.state {
                case .running: _ = part.resume(at: change.at)
                case .paused: _ = part.pause(at: change.at)
                case .stopped: _ = part.stop(at: change.at)
                }
            }
            parts.append(part)
        }
        self.parts = parts
        let seconds = segments[segments.count - 1].terms?.seconds ?? 0
        let (microseconds, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000)
        target = overflow ? .max : microseconds
    }

    /// The instant of the breach. Of a clock that was replaced not before that: nobody is late by a rule of later.
    var due: Instant? { instant(ofElapsed: target) }

    /// Fractions of a microsecond are rounded up.
    func instant(ofPercent percent: Int) -> Instant? {
        let (product, overflow) = target.multipliedReportingOverflow(by: Int64(percent))
        if overflow { return nil }
        return instant(ofElapsed: product / 100 + (product % 100 == 0 ? 0 : 1))
    }

    private func instant(ofElapsed amount: Int64) -> Instant? {
        parts[parts.count - 1].instant(ofElapsed: amount - carried)
    }

    func elapsed(at instant: Instant) -> ResponseClock.Elapsed {
        var sum = ResponseClock.Elapsed(wall: 0, business: 0)
        for (index, part) in parts.enumerated() {
            let end = index + 1 < parts.count ? min(instant, parts[index + 1].start) : instant
            let elapsed = part.elapsed(at: end)
            sum.wall += elapsed.wall
            sum.business += elapsed.business
        }
        return sum
    }
}
