/// What is to be decided: a trigger, the lead as conditions see it, and the instant that stands for now.
package struct RoutingRequest: Sendable {
    package var trigger: RoutingTrigger
    /// The lead's id: what ties are broken with.
    package var leadID: String
    package var facts: LeadFacts
    package var instant: Instant
    /// When it must be answered, for the queue's order; nil where no target says so.
    package var due: Instant?
    /// A take-back that goes to the manager, however often the lead was taken back.
    package var isToManager: Bool

    package init(
        trigger: RoutingTrigger, leadID: String, facts: LeadFacts, instant: Instant, due: Instant? = nil,
        isToManager: Bool = false
    ) {
        self.trigger = trigger
        self.leadID = leadID
        self.facts = facts
        self.instant = instant
        self.due = due
        self.isToManager = isToManager
    }
}

/// Who gets a lead, and everything that was looked at to find that out. Becomes the data of `lead.assigned` or `lead.queued`, and
/// is never decided again.
package struct Decision: Sendable {
    package var trigger: RoutingTrigger
    package var lead: RoutingKey
    package var leadID: String
    package var plan: RoutingPlan
    /// The position of the state it saw: all before it was looked at, nothing from it on.
    package var basis: UInt64
    /// How many events lie before this one in its unit: the decisions among them were looked at too, as if they stood at `basis`,
    /// `basis` + 1 and so on. Where the unit will lie is not known before it is stored.
    package var unit = 0
    package var instant: Instant
    package var due: Instant?

    /// Owners that were tried before the territories, the last of them taken if the outcome says so.
    package var owners: [OwnerTry] = []
    /// All territories whose condition is true; the first one decides. Empty for a lead from a queue.
    package var matched: [TerritoryIndex] = []
    /// Nil where an owner was matched.
    package var pool: PoolIndex?
    package var language: [UInt8]?
    /// The members of the pool, each with a verdict. Empty where nobody was asked.
    package var candidates: [Candidate] = []
    /// Everyone was absent, and the rule set looks past that.
    package var ignoresAbsence = false
    /// `performance` was skipped, so that newcomers are tried.
    package var explores = false
    /// The strategies that were asked, and how many candidates each one left.
    package var path: [PathStep] = []
    package var outcome: Outcome

    package struct OwnerTry: Sendable, Equatable {
        package var match: OwnerMatch
        package var candidate: Candidate
    }

    /// A step on the way from the eligible to the winner.
    package struct PathStep: Sendable, Equatable, BitwiseCopyable {
        package var by: Step
        package var left: UInt16
    }

    package enum Step: UInt8, Sendable, CaseIterable, BitwiseCopyable {
        case skill, leastOpen, performance, rotation
        /// Among equal balances: the earlier last assignment in this pool, never being the earliest.
        case last
        /// Among those: the smaller SHA-256 of seed, lead and member.
        case hash

        package var word: StaticString {
            switch self {
            case .skill: "skill"
            case .leastOpen: "least_open"
            case .performance: "performance"
            case .rotation: "rotation"
            case .last: "last"
            case .hash: "hash"
            }
        }
    }

    package enum Outcome: Sendable, Equatable {
        /// The last of `owners`.
        case matched(MemberNumber)
        /// One of `candidates`.
        case picked(MemberNumber)
        /// Taken back too often: the manager, who is not asked for eligibility.
        case manager(MemberNumber)
        case queued(reason: StaticReason)
    }

    package enum StaticReason: Sendable, Equatable {
        case nobodyEligible, pullOnly

        package var text: String {
            switch self {
            case .nobodyEligible: RoutingReasons.nobodyEligible
            case .pullOnly: RoutingReasons.pullOnly
            }
        }
    }

    /// Who gets the lead; nil if it is queued.
    package var member: MemberNumber? {
        switch outcome {
        case .matched(let member), .picked(let member), .manager(let member): member
        case .queued: nil
        }
    }

    /// What it moves in the pool's rotation; nil unless a candidate was picked.
    package var turn: Turn? {
        guard case .picked(let winner) = outcome else { return nil }
        var gains: [Turn.Gain] = []
        gains.reserveCapacity(candidates.count)
        for candidate in candidates where candidate.looked.contains(.rotation) {
            gains.append(Turn.Gain(member: candidate.member, amount: candidate.gain))
        }
        return Turn(gains: gains, winner: winner)
    }
}

extension RouterState {
    /// Folds in a decision that was stored at `position`, exactly as its event will be when it is read from the log. The event is
    /// not to be given to `apply(_:)` again.
    ///
    /// A fault says that the lead is no longer where the decision found it; the state is then unchanged.
    package mutating func apply(_ decision: Decision, at position: UInt64) throws(RouterFault) {
        var change = LeadChange(decision.member == nil ? .queued : .assigned, of: decision.lead)
        if let member = decision.member {
            change.member = member
            if let turn = decision.turn, let pool = decision.pool {
                change.turn = (decision.plan.pools[Int(pool.rawValue)].number, turn)
            }
        } else if case .queued(let reason) = decision.outcome, let pool = decision.pool {
            change.queue = decision.plan.pools[Int(pool.rawValue)].number
            change.due = decision.due
            change.reason = reason.text
        }
        try apply(change, at: position, decision.instant)
    }
}
