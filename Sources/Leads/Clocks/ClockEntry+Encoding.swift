// The data of the events that clocks append, as JSON; the schemas describe it. Instants are RFC 3339, elapsed times microseconds.
//
//     {"clock":"first_response","target":"fast","policy":"sales","version":41,"cause":812,"at":"2026-03-02T09:00:00Z",
//      "seconds":300,"measure":"business","calendar":"office","zones":"2025b","due":"2026-03-02T09:05:00Z","pool":"emea"}
//     {"clock":"first_response","at":"2026-03-02T09:04:00Z","cause":830,"by":"kim","due":"2026-03-02T09:05:00Z",
//      "elapsed":{"wall":240000000,"business":240000000}}

extension ClockEntry {
    /// Appends the data of the event.
    package func appendData(to bytes: inout [UInt8]) {
        var text = JSONText(bytes: bytes)
        bytes = []
        text.begin("{")
        append(to: &text)
        text.end("}")
        bytes = text.bytes
    }

    private func append(to text: inout JSONText) {
        switch self {
        case .started(let started):
            text.member("clock", started.clock.word)
            started.terms.append(to: &text)
            text.member("cause", started.cause)
            text.member("at", started.at)
            if let due = started.due { text.member("due", due) }
            if let pool = started.pool { text.member("pool", pool) }
            if let attempt = started.attempt { text.member("attempt", attempt) }
        case .paused(let clock, let reason, let elapsed):
            text.member("clock", clock.word)
            if let reason { text.member("reason", reason) }
            elapsed.append(to: &text)
        case .resumed(let clock, let reason, let due, let elapsed):
            text.member("clock", clock.word)
            if let reason { text.member("reason", reason) }
            if let due { text.member("due", due) }
            elapsed.append(to: &text)
        case .met(let met):
            text.member("clock", met.clock.word)
            text.member("at", met.at)
            if let cause = met.cause { text.member("cause", cause) }
            if let by = met.by { text.member("by", by) }
            if let due = met.due { text.member("due", due) }
            met.elapsed.append(to: &text)
            if met.late { text.member("late", true) }
        case .breached(let clock, let due, let elapsed):
            text.member("clock", clock.word)
            text.member("due", due)
            elapsed.append(to: &text)
        case .stopped(let clock, let at, let reason, let elapsed):
            text.member("clock", clock.word)
            text.member("at", at)
            if let reason { text.member("reason", reason) }
            elapsed.append(to: &text)
        case .replaced(let replaced):
            text.member("clock", replaced.clock.word)
            replaced.terms.append(to: &text)
            if let due = replaced.due { text.member("due", due) }
            replaced.elapsed.append(to: &text)
        case .escalated(let escalated):
            text.member("clock", escalated.clock.word)
            if let target = escalated.target { text.member("target", target) }
            text.member("step", escalated.step)
            text.member("action", escalated.action.word)
            if !escalated.to.isEmpty {
                text.key("to")
                text.begin("[")
                for member in escalated.to { text.string(member) }
                text.end("]")
            }
        case .inboxAlarmed(let since, let seconds):
            text.member("since", since)
            if let seconds { text.member("seconds", seconds) }
        }
    }
}

extension ClockEntry.Terms {
    fileprivate func append(to text: inout JSONText) {
        text.member("target", target)
        text.member("policy", policy)
        text.member("version", version)
        text.member("seconds", seconds)
        text.member("measure", measure.rawValue)
        if let calendar { text.member("calendar", calendar) }
        if let holder { text.member("holder", holder) }
        if let zones { text.member("zones", zones) }
    }
}

extension ResponseClock.Elapsed {
    fileprivate func append(to text: inout JSONText) {
        text.key("elapsed")
        text.begin("{")
        text.member("wall", wall)
        text.member("business", business)
        text.end("}")
    }
}

extension ClockAction.Event {
    /// Appends the data of the event.
    package func appendData(to bytes: inout [UInt8]) {
        switch body {
        case .entry(let entry): entry.appendData(to: &bytes)
        case .queued(let queue, let reason):
            var text = JSONText(bytes: bytes)
            bytes = []
            text.begin("{")
            text.member("queue", queue)
            text.member("reason", reason)
            text.end("}")
            bytes = text.bytes
        case .recycled(let reason, let toNurture):
            var text = JSONText(bytes: bytes)
            bytes = []
            text.begin("{")
            text.member("reason", reason)
            if toNurture { text.member("to", "nurture" as StaticString) }
            text.end("}")
            bytes = text.bytes
        }
    }
}
