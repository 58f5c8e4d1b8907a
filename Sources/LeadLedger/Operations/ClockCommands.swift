import Control
import JSON
import Leads
import Ledger

// ClockCommands: a clock that waits for somebody else, the customer mostly, is paused, and goes on when they have answered.

extension DeskCommand {
    /// - Parameter clock: nil: all that run.
    static func pauseClock(
        _ lead: String, _ clock: ClockKind?, reason: String, actor: UInt32, _ call: ConsumerCall
    ) -> DeskCommand {
        DeskCommand(call) { cycle throws(ErrorReply) in
            let (number, clocks) = try cycle.clocks(of: lead, clock, in: .running)
            let version = cycle.state.version(of: number)
            let events = clocks.map { status in
                let entry = ClockEntry.paused(status.clock, reason: reason, elapsed: status.elapsed)
                return entry.event(of: lead, "paused", status, version, at: cycle.now, actor: actor)
            }
            return try cycle.say(events, of: lead, version, clocks, due: { _ in nil })
        }
    }

    /// - Parameter clock: nil: all that are paused.
    static func resumeClock(
        _ lead: String, _ clock: ClockKind?, reason: String?, actor: UInt32, _ call: ConsumerCall
    ) -> DeskCommand {
        DeskCommand(call) { cycle throws(ErrorReply) in
            let (number, clocks) = try cycle.clocks(of: lead, clock, in: .paused)
            let version = cycle.state.version(of: number)
            let key = RoutingKey(StreamKey(.lead, lead))
            let due = { [book = cycle.state.clocks, now = cycle.now] (status: ClockStatus) in
                book.due(ofResumed: status.clock, key, at: now)
            }
            let events = clocks.map { status in
                let entry = ClockEntry.resumed(
                    status.clock, reason: reason, due: due(status), elapsed: status.elapsed)
                return entry.event(of: lead, "resumed", status, version, at: cycle.now, actor: actor)
            }
            return try cycle.say(events, of: lead, version, clocks, due: due)
        }
    }
}

extension DeskCycle {
    fileprivate func clocks(
        of lead: String, _ clock: ClockKind?, in wanted: ClockStatus.State
    ) throws(ErrorReply) -> (LeadNumber, [ClockStatus]) {
        let number = try self.lead(lead)
        let found = state.clocks.clocks(of: RoutingKey(StreamKey(.lead, lead)), at: now).filter {
            $0.state == wanted && (clock == nil || $0.clock == clock)
        }
        guard !found.isEmpty else {
            let word = wanted == .running ? "runs" : "is paused"
            throw ErrorReply(
                .unknownClock, "no clock \(clock.map { "\($0.rawValue) " } ?? "")of \(lead) \(word)",
                at: .params(clock == nil ? "/lead" : "/clock"))
        }
        return (number, found)
    }

    fileprivate mutating func say(
        _ events: [DaemonEvent], of lead: String, _ version: StreamVersion, _ clocks: [ClockStatus],
        due: @escaping (ClockStatus) -> Instant?
    ) throws(ErrorReply) -> DeskCommand.Step {
        guard take("lead " + lead) else { return .wait }
        let plan = UnitPlan(events: events, expected: [(StreamKey(.lead, lead), .version(version))])
        return .append(plan) { writer, receipt in
            writer.beginObject()
            writer.member("lead", lead)
            writer.key("clocks")
            writer.beginArray()
            for (status, event) in zip(clocks, receipt.events) {
                writer.beginObject()
                writer.member("clock", status.clock.rawValue)
                writer.member("position", event.position.rawValue)
                writer.member("due", due(status))
                writer.endObject()
            }
            writer.endArray()
            writer.endObject()
        }
    }
}

extension ClockEntry {
    fileprivate func event(
        of lead: String, _ word: String, _ status: ClockStatus, _ version: StreamVersion, at now: Instant, actor: UInt32
    ) -> DaemonEvent {
        var event = DaemonEvent(
            type, of: lead, by: .clocks, id: "\(status.clock.rawValue)-\(word)-by-hand-\(version.rawValue)",
            actor: actor, cause: status.cause, at: now)
        var data: [UInt8] = []
        appendData(to: &data)
        event.members = Array(data.dropFirst().dropLast())
        return event
    }
}
