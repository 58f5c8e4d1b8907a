// What the router's state is folded from: the events of the log, reduced to what routing needs of them. The caller reads them
// from records; everything here is plain data, and no personal field is in it.

/// One event of the log.
package struct RouterEvent: Sendable {
    package var position: UInt64
    /// When it happened: the event's `time`, else the recorded time.
    package var instant: Instant
    /// When it was stored: says which rule set was in force, whatever the past that the event tells of.
    package var recordedAt: Instant
    package var body: Body

    /// - Parameter recordedAt: nil: when it happened.
    package init(position: UInt64, instant: Instant, recordedAt: Instant? = nil, body: Body) {
        self.position = position
        self.instant = instant
        self.recordedAt = recordedAt ?? instant
        self.body = body
    }

    package enum Body: Sendable {
        case lead(LeadEvent)
        case memberPaused(member: String, until: Instant?)
        case memberResumed(member: String)
        case memberOnLeave(member: String, from: Instant, until: Instant?)
        case memberReturned(member: String)
        /// `policy.activated` and `policy.rolled_back`: from an instant on, this rule set.
        case activated(Activation)
        /// `pool.decision_voided`. The turn is the one recorded at position `decision`, which the caller reads from there.
        case decisionVoided(decision: UInt64, turn: NamedTurn)
    }
}

/// An event on a lead's stream.
package struct LeadEvent: Sendable {
    package var lead: RoutingKey
    package var type: EventType
    package var variant = EventVariant.plain
    package var backfill = false
    /// `member` of an assignment or a claim, `by` of a contact, a win or a loss.
    package var member: String?
    package var reason: String?
    /// `queue` and `due` of `lead.queued`.
    package var queue: String?
    package var due: Instant?
    package var score: Int32?
    /// The account that a capture or an enrichment names: a keyed hash of the company's domain or of the account's id.
    package var account: RoutingKey?
    /// The target of a merge, or whom this lead is suspected to repeat.
    package var other: RoutingKey?
    /// What a pool's decision moved; nil for an owner match, an assignment by hand or an import, which neither gain nor pay.
    package var turn: NamedTurn?
    /// `how` of `lead.lease_ended` is `expired` or `released`: the lead was claimed in vain once more.
    package var claimedInVain = false
    /// `lead.escalated` with the action `reassign`.
    package var reassigns = false

    package init(_ type: EventType, of lead: RoutingKey) {
        self.type = type
        self.lead = lead
    }
}

/// A `Turn` as events store it, with ids.
package struct NamedTurn: Equatable, Sendable {
    package struct Gain: Equatable, Sendable {
        package var member: String
        /// 2^-32 of a turn.
        package var amount: Int64

        package init(member: String, amount: Int64) {
            self.member = member
            self.amount = amount
        }
    }

    package var pool: String
    package var gains: [Gain]
    package var winner: String

    package init(pool: String, gains: [Gain], winner: String) {
        self.pool = pool
        self.gains = gains
        self.winner = winner
    }
}

/// A rule set that is in force from an instant on.
package struct Activation: Sendable {
    package var ruleSet: RuleSet
    /// The position of its `policy.published`: with the policy's id it names this version for ever.
    package var version: UInt64
    package var from: Instant
    package var environment: RoutingEnvironment

    package init(ruleSet: RuleSet, version: UInt64, from: Instant, environment: RoutingEnvironment) {
        self.ruleSet = ruleSet
        self.version = version
        self.from = from
        self.environment = environment
    }
}

/// What deciding needs besides the rule set, and does not make itself: business hours and SHA-256. Pure functions, so that the
/// same question has the same answer in every replay.
package struct RoutingEnvironment: Sendable {
    /// Whether the rule set's calendar is open.
    package var isOpen: @Sendable (CalendarIndex, Instant) -> Bool
    /// The start of the calendar day in that calendar's zone.
    package var startOfDay: @Sendable (CalendarIndex, Instant) -> Instant
    /// The version of the time zone data that both use, `2025b`.
    package var timeZoneVersion: String
    /// SHA-256.
    package var hash: @Sendable (UnsafeRawBufferPointer) -> RoutingHash

    package init(
        isOpen: @escaping @Sendable (CalendarIndex, Instant) -> Bool,
        startOfDay: @escaping @Sendable (CalendarIndex, Instant) -> Instant,
        timeZoneVersion: String,
        hash: @escaping @Sendable (UnsafeRawBufferPointer) -> RoutingHash
    ) {
        self.isOpen = isOpen
        self.startOfDay = startOfDay
        self.timeZoneVersion = timeZoneVersion
        self.hash = hash
    }
}

/// 32 bytes of SHA-256 as four big-endian words, compared as the bytes would be.
package struct RoutingHash: Comparable, Hashable, Sendable, BitwiseCopyable {
    package var words: SIMD4<UInt64>

    package init(_ words: SIMD4<UInt64>) { self.words = words }

    package static func < (left: RoutingHash, right: RoutingHash) -> Bool {
        for index in 0..<4 where left.words[index] != right.words[index] {
            return left.words[index] < right.words[index]
        }
        return false
    }
}

/// Why an event cannot be folded: the log holds what it should not, or the caller read it wrongly. The state is unchanged.
package enum RouterFault: Error, Equatable {
    /// Positions only ever go up.
    case outOfOrder(position: UInt64, end: UInt64)
    /// The lifecycle refuses this event where the lead stands.
    case refused(position: UInt64, LifecycleRefusal)
    /// An assignment or a claim without a member, a queue without a name, a merge without a target.
    case incomplete(position: UInt64)
    /// A voided decision that no disqualification asked for.
    case nothingToVoid(position: UInt64, decision: UInt64)
    /// The rule set is none that a reader makes; the invariant that does not hold.
    case unsoundRuleSet(position: UInt64, invariant: String)
}
