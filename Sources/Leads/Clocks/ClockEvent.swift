// What the clocks are folded from: the events of the log, reduced to what they need of them. The caller reads them from records;
// everything here is plain data, and no personal field is in it.

/// One event of the log.
package struct ClockEvent: Sendable {
    package var position: UInt64
    /// When it happened: the event's `time`, else the recorded time.
    package var instant: Instant
    package var recordedAt: Instant
    package var body: Body

    package init(position: UInt64, instant: Instant, recordedAt: Instant, body: Body) {
        self.position = position
        self.instant = instant
        self.recordedAt = recordedAt
        self.body = body
    }

    package enum Body: Sendable {
        /// Any event of a lead but those that are entries.
        case lead(LeadClockEvent)
        /// `lead.clock_*`, `lead.escalated`, `lead.inbox_alarmed`.
        case entry(RoutingKey, ClockEntry)
        /// `policy.activated` and `policy.rolled_back`.
        case activated(ClockPlan)
        case memberOnLeave(member: String, from: Instant, until: Instant?)
        case memberReturned(member: String)
    }
}

/// Where a lead stands before or after an event, as the router's state knows it.
package struct LeadStanding: Sendable, Equatable {
    /// Nil: never captured.
    package var state: LeadState?
    /// Who owns or has leased it.
    package var holder: String?

    package init(state: LeadState? = nil, holder: String? = nil) {
        self.state = state
        self.holder = holder
    }
}

extension RouterState {
    /// Where a lead stands: asked before an event is folded into this state, and after.
    package func standing(of key: RoutingKey) -> LeadStanding {
        let number = lead(key)
        guard number != .none else { return LeadStanding() }
        let record = self[number]
        return LeadStanding(state: record.state, holder: record.holder == .nobody ? nil : id(of: record.holder))
    }
}

/// `mode` of `lead.assigned`.
package enum AssignmentMode: String, Sendable, CaseIterable {
    case push, pull, manual, match
    case imported = "import"
}

/// An event on a lead's stream that is no entry of the clocks.
package struct LeadClockEvent: Sendable {
    package var lead: RoutingKey
    package var type: EventType
    package var variant = EventVariant.plain
    package var backfill = false
    package var before: LeadStanding
    package var after: LeadStanding
    /// `by` of an attempt, a contact, an acceptance or a qualification.
    package var by: String?
    /// `direction` of an attempt or a contact is not `inbound`.
    package var isOutbound = true
    /// Of an assignment; nil where it does not say.
    package var mode: AssignmentMode?
    /// An assignment that the member made: they took the lead by hand.
    package var isBySelf = false

    package init(_ type: EventType, of lead: RoutingKey, from before: LeadStanding, to after: LeadStanding) {
        self.type = type
        self.lead = lead
        self.before = before
        self.after = after
    }
}

/// Why an event cannot be folded: the log holds what it should not, or the caller read it wrongly. The book is unchanged.
package enum ClockFault: Error, Equatable {
    /// Positions only ever go up.
    case outOfOrder(position: UInt64, end: UInt64)
    /// A clock started by a rule set that was never activated.
    case unknownRuleSet(position: UInt64, version: UInt64)
    /// Its rule set has no response target and no cadence of this id, or not for this kind of clock.
    case unknownTarget(position: UInt64, target: String)
    case unknownCalendar(position: UInt64, calendar: String)
    /// A target of less than nothing, an attempt before the first.
    case unsound(position: UInt64)
}
