/// What the clocks say in the log, as data: `lead.clock_*`, `lead.escalated` and `lead.inbox_alarmed`. The same value is written
/// (`ClockAction`) and, read back, folded in (`ClockEvent`). Only ids, integers and instants, so that it means the same for ever.
package enum ClockEntry: Sendable, Equatable {
    case started(Started)
    case paused(ClockKind, reason: String?, elapsed: ResponseClock.Elapsed)
    case resumed(ClockKind, reason: String?, due: Instant?, elapsed: ResponseClock.Elapsed)
    case met(Met)
    case breached(ClockKind, due: Instant, elapsed: ResponseClock.Elapsed)
    case stopped(ClockKind, at: Instant, reason: String?, elapsed: ResponseClock.Elapsed)
    case replaced(Replaced)
    case escalated(Escalated)
    case inboxAlarmed(since: Instant, seconds: Int64?)

    /// By what a clock counts.
    package struct Terms: Sendable, Equatable {
        /// The id of the response target, or of the cadence.
        package var target: String
        package var policy: String
        /// The position of the rule set's `policy.published`.
        package var version: UInt64
        package var seconds: Int64
        package var measure: TimeMeasure
        /// The id of the calendar; nil: 24x7.
        package var calendar: String?
        /// Whose leave is no business time.
        package var holder: String?
        /// The version of the time zone data.
        package var zones: String?

        package init(
            target: String, policy: String, version: UInt64, seconds: Int64, measure: TimeMeasure,
            calendar: String? = nil, holder: String? = nil, zones: String? = nil
        ) {
            self.target = target
            self.policy = policy
            self.version = version
            self.seconds = seconds
            self.measure = measure
            self.calendar = calendar
            self.holder = holder
            self.zones = zones
        }
    }

    package struct Started: Sendable, Equatable {
        package var clock: ClockKind
        package var terms: Terms
        /// The position of the event that started it.
        package var cause: UInt64
        package var at: Instant
        package var due: Instant?
        package var pool: String?
        /// Of a cadence, from 1.
        package var attempt: Int?

        package init(
            clock: ClockKind, terms: Terms, cause: UInt64, at: Instant, due: Instant? = nil, pool: String? = nil,
            attempt: Int? = nil
        ) {
            self.clock = clock
            self.terms = terms
            self.cause = cause
            self.at = at
            self.due = due
            self.pool = pool
            self.attempt = attempt
        }
    }

    package struct Met: Sendable, Equatable {
        package var clock: ClockKind
        package var at: Instant
        /// The position of the event that answered.
        package var cause: UInt64?
        package var by: String?
        package var due: Instant?
        package var elapsed: ResponseClock.Elapsed
        package var late: Bool

        package init(
            clock: ClockKind, at: Instant, cause: UInt64? = nil, by: String? = nil, due: Instant? = nil,
            elapsed: ResponseClock.Elapsed, late: Bool
        ) {
            self.clock = clock
            self.at = at
            self.cause = cause
            self.by = by
            self.due = due
            self.elapsed = elapsed
            self.late = late
        }
    }

    package struct Replaced: Sendable, Equatable {
        package var clock: ClockKind
        package var terms: Terms
        package var due: Instant?
        package var elapsed: ResponseClock.Elapsed

        package init(clock: ClockKind, terms: Terms, due: Instant? = nil, elapsed: ResponseClock.Elapsed) {
            self.clock = clock
            self.terms = terms
            self.due = due
            self.elapsed = elapsed
        }
    }

    package struct Escalated: Sendable, Equatable {
        package enum Action: String, Sendable, CaseIterable {
            case notify
            case queueAgain = "queue_again"
            case reassign
            case manager
            case recycle

            var word: StaticString {
                switch self {
                case .notify: "notify"
                case .queueAgain: "queue_again"
                case .reassign: "reassign"
                case .manager: "manager"
                case .recycle: "recycle"
                }
            }
        }

        package var clock: ClockKind
        package var target: String?
        /// Percent of the target.
        package var step: Int
        package var action: Action
        /// Member ids of those who are told.
        package var to: [String]

        package init(clock: ClockKind, target: String?, step: Int, action: Action, to: [String] = []) {
            self.clock = clock
            self.target = target
            self.step = step
            self.action = action
            self.to = to
        }
    }

    package var type: EventType {
        switch self {
        case .started: .clockStarted
        case .paused: .clockPaused
        case .resumed: .clockResumed
        case .met: .clockMet
        case .breached: .clockBreached
        case .stopped: .clockStopped
        case .replaced: .clockReplaced
        case .escalated: .escalated
        case .inboxAlarmed: .inboxAlarmed
        }
    }
}
