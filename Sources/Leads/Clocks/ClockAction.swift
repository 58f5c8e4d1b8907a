/// What the daemon must append now because of a clock: one unit of events on one lead's stream. It stays due until its events
/// are folded in.
package struct ClockAction: Sendable, Equatable {
    package var lead: RoutingKey
    /// At least one; all or none of them are appended.
    package var events: [Event]

    package struct Event: Sendable, Equatable {
        /// The same whenever and however often the action is said, `first_response-breached-812`: a second one is a duplicate in
        /// the ledger. Unique among the events of the lead from one source.
        package var id: String
        /// When it happened: the computed instant, whenever it was noticed. Nil: as it is recorded.
        package var time: Instant?
        /// The position of the event that caused it.
        package var causation: UInt64
        package var body: Body

        package init(id: String, time: Instant?, causation: UInt64, body: Body) {
            self.id = id
            self.time = time
            self.causation = causation
            self.body = body
        }

        package var type: EventType {
            switch body {
            case .entry(let entry): entry.type
            case .queued: .queued
            case .recycled: .recycled
            }
        }

        package var variant: EventVariant {
            if case .recycled(_, toNurture: true) = body { .toNurture } else { .plain }
        }
    }

    package enum Body: Sendable, Equatable {
        case entry(ClockEntry)
        /// `lead.queued`, back to the queue of its pool.
        case queued(queue: String, reason: String)
        /// `lead.recycled`.
        case recycled(reason: String, toNurture: Bool)
    }

    /// Whether it takes the lead elsewhere, so that what else is due for it may not be due any more.
    var moves: Bool { events.contains { $0.type == .queued || $0.type == .recycled } }
}

/// Reasons that clocks give in the events they append.
package enum ClockReasons {
    /// `lead.queued`, `lead.recycled`: a step of a ladder says so.
    package static let escalated = "escalated"
    /// `lead.queued`, `lead.recycled`: the last attempt of a cadence was made, and there was no contact.
    package static let cadenceEnded = "cadence_ended"
    /// `lead.clock_stopped`: the holder's clock, and the lead was given to another.
    package static let reassigned = "reassigned"
    /// `lead.clock_stopped`: another clock of its kind began.
    package static let superseded = "superseded"
    /// `lead.clock_stopped`: a new rule set applies to running clocks, and has no target of its kind for this lead.
    package static let targetRemoved = "target_removed"
}
