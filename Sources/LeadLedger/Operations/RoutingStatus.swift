import JSON

/// How routing is, for `status`: what the desk last knew, for other threads to read.
struct RoutingStatus: Sendable {
    enum State: String, Sendable {
        /// No rule set was ever published: the log is not read for routing.
        case unused
        /// The log is being read, as after a start: nothing is decided yet.
        case reading
        case following
        /// What the log says cannot be understood; `reason` says why.
        case standing
    }

    var state = State.unused
    /// The log is folded in up to here.
    var position: UInt64 = 0
    /// The rule set in force.
    var policy: String?
    var version: UInt64?
    var reason: String?
    /// Requests that wait.
    var requests = 0
    /// How many `lead.inbox_alarmed` there are in the log.
    var inboxAlarms: UInt64 = 0
}

extension JSONWriter {
    mutating func routingStatus(_ status: RoutingStatus) {
        beginObject()
        member("state", status.state.rawValue)
        member("position", status.position)
        member("policy", status.policy)
        member("version", status.version)
        member("requests", status.requests)
        member("inbox_alarms", status.inboxAlarms)
        member("reason", status.reason)
        endObject()
    }
}
