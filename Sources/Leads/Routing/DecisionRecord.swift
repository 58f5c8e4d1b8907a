/// A decision as it was stored, with ids instead of numbers: what explains it, and what fairness is counted from. It says all there
/// is to say without the state or the rule set that it was taken with.
package struct DecisionRecord: Equatable, Sendable {
    package var leadID: String
    /// The rule set: its policy, and the position of its `policy.published`.
    package var policy: String
    package var version: UInt64
    package var basis: UInt64
    /// How many events of its own unit, which lie right before it, were looked at besides those before `basis`.
    package var unit = 0
    package var instant: Instant
    package var timeZoneVersion: String
    package var seed: String
    package var trigger: RoutingTrigger.Kind
    package var triggerPosition: UInt64
    package var owners: [OwnerTry] = []
    package var matched: [String] = []
    package var pool: String?
    package var language: String?
    package var candidates: [Candidate] = []
    package var ignoresAbsence = false
    package var explores = false
    package var path: [Step] = []
    package var outcome: Outcome

    package init(
        leadID: String, policy: String, version: UInt64, basis: UInt64, instant: Instant, timeZoneVersion: String,
        seed: String, trigger: RoutingTrigger.Kind, triggerPosition: UInt64, outcome: Outcome
    ) {
        self.leadID = leadID
        self.policy = policy
        self.version = version
        self.basis = basis
        self.instant = instant
        self.timeZoneVersion = timeZoneVersion
        self.seed = seed
        self.trigger = trigger
        self.triggerPosition = triggerPosition
        self.outcome = outcome
    }

    package struct OwnerTry: Equatable, Sendable {
        package var match: OwnerMatch
        package var member: String
        /// None: this owner got the lead.
        package var refusals: [Refusal]

        package init(match: OwnerMatch, member: String, refusals: [Refusal]) {
            self.match = match
            self.member = member
            self.refusals = refusals
        }
    }

    /// A reason against a member, with the numbers behind it.
    package struct Refusal: Equatable, Sendable {
        /// One single reason.
        package var reason: Refusals
        /// How many there are, and how many there may be, for caps; seconds left, for a cool-down.
        package var count: Int64?
        package var cap: Int64?

        package init(_ reason: Refusals, count: Int64? = nil, cap: Int64? = nil) {
            self.reason = reason
            self.count = count
            self.cap = cap
        }

        /// Reads one code of a stored list, `open:12/12`; nil for what no version of this code writes.
        package init?(text: some StringProtocol) {
            let parts = text.split(separator: ":", omittingEmptySubsequences: false)
            guard parts.count <= 2, let code = parts.first, let reason = Refusals(code: code) else { return nil }
            let numbers = parts.count == 2 ? parts[1].split(separator: "/", omittingEmptySubsequences: false) : []
            let values = numbers.map { Int64($0) }
            let expected =
                switch reason {
                case .openCap, .dailyCap, .rollingCap: 2
                case .coolDown: 1
                default: 0
                }
            guard values.count == expected, values.allSatisfy({ ($0 ?? -1) >= 0 }) else { return nil }
            self.init(reason, count: values.first ?? nil, cap: values.dropFirst().first ?? nil)
        }
    }

    package struct Candidate: Equatable, Sendable {
        package var member: String
        /// Empty for the eligible; under `ignoresAbsence`, what was looked past.
        package var refusals: [Refusal] = []
        /// Nil for who was not eligible.
        package var weight: UInt32?
        /// In 2^-32 of a turn.
        package var gain: Int64 = 0
        package var owed: Int64 = 0
        package var skill: Int64?
        package var open: Int64?
        package var won: Int64?
        package var ended: Int64?
        /// The position of the last assignment in this pool, where it was looked at and there was one.
        package var last: UInt64?

        package init(member: String) { self.member = member }

        /// Took part in the choice.
        package var isEligible: Bool { weight != nil }
    }

    package struct Step: Equatable, Sendable {
        package var by: Decision.Step
        package var left: Int

        package init(by: Decision.Step, left: Int) {
            self.by = by
            self.left = left
        }
    }

    package enum Outcome: Equatable, Sendable {
        case matched(String)
        case picked(String)
        case manager(String)
        case queued(queue: String, reason: String, due: Instant?)
    }

    /// Who got the lead; nil if it was queued.
    package var member: String? {
        switch outcome {
        case .matched(let member), .picked(let member), .manager(let member): member
        case .queued: nil
        }
    }

    /// What it moved in its pool's rotation, for folding it and for taking it back.
    package var turn: NamedTurn? {
        guard case .picked(let winner) = outcome, let pool else { return nil }
        return NamedTurn(
            pool: pool,
            gains: candidates.filter(\.isEligible).map { NamedTurn.Gain(member: $0.member, amount: $0.gain) },
            winner: winner)
    }
}

extension DecisionRecord {
    /// The decision as reading it back from the log will give it, if its unit comes to lie at `basis`.
    package init(_ decision: Decision, _ state: RouterState) {
        let rules = decision.plan.ruleSet
        let pool = decision.pool.map { rules.pools[$0].id }
        let outcome: Outcome =
            switch decision.outcome {
            case .matched(let member): .matched(state.id(of: member))
            case .picked(let member): .picked(state.id(of: member))
            case .manager(let member): .manager(state.id(of: member))
            case .queued(let reason): .queued(queue: pool ?? "", reason: reason.text, due: decision.due)
            }
        self.init(
            leadID: decision.leadID, policy: rules.id, version: decision.plan.version, basis: decision.basis,
            instant: decision.instant, timeZoneVersion: decision.plan.environment.timeZoneVersion, seed: rules.seed,
            trigger: decision.trigger.kind, triggerPosition: decision.trigger.position, outcome: outcome)
        unit = decision.unit
        owners = decision.owners.map {
            OwnerTry(
                match: $0.match, member: state.id(of: $0.candidate.member), refusals: Self.refusals(of: $0.candidate))
        }
        matched = decision.matched.map { rules.territories[$0].id }
        self.pool = pool
        language = decision.language.map { String(decoding: $0, as: UTF8.self) }
        candidates = decision.candidates.map { live in
            var candidate = Candidate(member: state.id(of: live.member))
            candidate.refusals = Self.refusals(of: live)
            guard live.looked.contains(.rotation) else { return candidate }
            candidate.weight = live.weight
            candidate.gain = live.gain
            candidate.owed = live.owed
            if live.looked.contains(.skill) { candidate.skill = Int64(live.skill) }
            if live.looked.contains(.open) { candidate.open = Self.written(live.open) }
            if live.looked.contains(.performance) {
                candidate.won = Self.written(live.won)
                candidate.ended = Self.written(live.ended)
            }
            if live.looked.contains(.last), live.last > 0 { candidate.last = live.last - 1 }
            return candidate
        }
        ignoresAbsence = decision.ignoresAbsence
        explores = decision.explores
        path = decision.path.map { Step(by: $0.by, left: Int($0.left)) }
    }

    private static func written(_ count: Int32) -> Int64 { min(Int64(count), Int64(RoutingLimits.writtenCountMax)) }

    private static func refusals(of candidate: Leads.Candidate) -> [Refusal] {
        candidate.refusals.each.map { reason in
            switch reason {
            case .openCap: Refusal(reason, count: written(candidate.open), cap: written(candidate.openCap))
            case .dailyCap: Refusal(reason, count: written(candidate.today), cap: written(candidate.dailyCap))
            case .rollingCap: Refusal(reason, count: written(candidate.rolling), cap: written(candidate.rollingCap))
            case .coolDown: Refusal(reason, count: min(candidate.coolSeconds, RoutingLimits.writtenSecondsMax))
            default: Refusal(reason)
            }
        }
    }
}
