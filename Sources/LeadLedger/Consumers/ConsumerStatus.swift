import Control
import JSON
import Leads
import Ledger

// ConsumerStatus: how a group is, and why it does not move. Taken from the group on the desk's thread, and written on a reader thread,
// which looks up what only the log and the disk have: the leads' names, and the texts that came with what is parked.

struct ConsumerStatus: Sendable {
    private let definition: ConsumerDefinition
    private let prefix: [UInt8]
    private let epoch: UInt64
    private let progress: UInt64
    private let scanned: UInt64
    private let head: UInt64
    private let window: Int
    private let claimsWaiting: Int
    private let leaseCount: Int
    private let leases: [(position: UInt64, attempt: UInt64, lease: ConsumerGroup.Lease)]
    private let isStoring: [UInt64: Bool]
    private let parkedCount: Int
    private let standstill: ConsumerGroup.Standstill
    private let listed: Int
    private let after: UInt64?
    private let now: UInt64
    private let wall: Int64

    /// On the desk's thread.
    init(_ group: HeldGroup, head: UInt64, listed: Int, after: UInt64?, now: UInt64, wall: Int64) {
        definition = group.definition
        prefix = group.prefix
        epoch = group.machine.epoch
        progress = group.machine.progress
        scanned = group.machine.scanned
        self.head = head
        window = group.machine.windowCount
        claimsWaiting = group.waiters.count
        leaseCount = group.machine.leaseCount
        leases = group.machine.leases(limit: listed)
        isStoring = Dictionary(
            leases.map { entry in
                if case .settling = group.machine[entry.position]?.state {
                    (entry.position, true)
                } else {
                    (entry.position, false)
                }
            }, uniquingKeysWith: { first, _ in first })
        parkedCount = group.machine.parked.count
        standstill = group.standstill(head: head, now: now)
        self.listed = listed
        self.after = after
        self.now = now
        self.wall = wall
    }

    /// On a reader thread.
    func write(to writer: inout JSONWriter, from log: EventLog) throws {
        writer.beginObject()
        writer.member("group", definition.name)
        writer.member("epoch", epoch)
        writer.member("created", Instant(microseconds: definition.createdAt) as Instant?)
        writer.member("from", definition.from)
        writer.key("filter")
        if definition.filter.isEmpty { writer.null() } else { writer.raw(definition.filter) }
        writer.member("max_attempts", definition.maxAttempts)
        writer.member("lease_ms", definition.leaseNanoseconds / 1_000_000)
        writer.member("progress", progress)
        writer.member("head", head)
        writer.member("lag", head - min(progress, head))
        writer.member("looked_at", scanned)
        writer.key("window")
        writer.beginObject()
        writer.member("events", window)
        writer.member("max", Limits.consumerWindowEvents)
        writer.endObject()
        writer.member("claims_waiting", claimsWaiting)
        writer.member("leased", leaseCount)
        try writeLeases(to: &writer, log)
        writer.member("parked", parkedCount)
        try writeParked(to: &writer, log)
        writer.key("reason")
        writer.beginObject()
        let (state, message, position) = try reason(log)
        writer.key("state")
        writer.string(state.description)
        writer.member("position", position)
        var error: String?
        if case .parkRefused(_, let met) = standstill { error = met }
        writer.member("error", error)
        let isFull = window >= Limits.consumerWindowEvents && progress < head
        writer.member(
            "message",
            message + (isFull ? "; the window is full, so that nothing beyond it is delivered" : "") as String?)
        writer.endObject()
        writer.endObject()
    }

    private func writeLeases(to writer: inout JSONWriter, _ log: EventLog) throws {
        writer.key("leases")
        writer.beginArray()
        for (position, attempt, lease) in leases {
            writer.beginObject()
            writer.member("position", position)
            writer.member("lead", try lead(of: position, log))
            writer.member("attempt", attempt)
            writer.member("consumer", lease.consumer.isEmpty ? nil : lease.consumer as String?)
            writer.member("storing", isStoring[position] ?? false)
            // Nobody holds it any more: it is only being stored.
            writer.member(
                "deadline", lease.deadline == 0 ? nil : ConsumerTime.wall(lease.deadline, now: now, wall: wall))
            writer.endObject()
        }
        writer.endArray()
    }

    /// From the disk, which has the texts.
    private func writeParked(to writer: inout JSONWriter, _ log: EventLog) throws {
        var rows: [(position: UInt64, event: ParkedEvent, at: Int64, error: String)] = []
        var hasMore = false
        let first = ConsumerRegisters.eventKey(prefix, after.map { $0 == .max ? $0 : $0 + 1 } ?? 0)
        try log.registers(withPrefix: prefix, from: first) { key, value in
            guard let value, let row = ConsumerRegisters.row(key, value) else {
                throw LedgerError(.corruption, "a row of a consumer group is not what was written")
            }
            guard case .event(let position, .parked(let event), let at, let error) = row else { return true }
            hasMore = rows.count >= listed
            if !hasMore { rows.append((position, event, at, error)) }
            return !hasMore
        }
        writer.key("parked_events")
        writer.beginArray()
        for row in rows {
            writer.beginObject()
            writer.member("position", row.position)
            writer.member("lead", try lead(of: row.position, log))
            writer.member("attempts", row.event.attempt)
            writer.member("reason", row.event.reason.word as String?)
            writer.member("error", row.error.isEmpty ? nil : row.error as String?)
            writer.member("parked_at", Instant(microseconds: row.at) as Instant?)
            writer.endObject()
        }
        writer.endArray()
        writer.member("parked_after", hasMore ? rows.last?.position : nil)
    }

    private func lead(of position: UInt64, _ log: EventLog) throws -> String? {
        try log.record(at: Position(rawValue: position)) { String(decoding: $0.subject, as: UTF8.self) }
    }

    private func reason(_ log: EventLog) throws -> (state: StaticString, message: String, position: UInt64?) {
        func shown(_ instant: UInt64) -> String {
            ConsumerTime.wall(instant, now: now, wall: wall).map { "\($0)" } ?? "?"
        }
        func named(_ position: UInt64) throws -> String {
            let lead = try lead(of: position, log)
            return "position \(position)" + (lead.map { " (lead \($0))" } ?? "")
        }
        switch standstill {
        case .caughtUp: return ("caught_up", "every event is acked, parked or filtered out", nil)
        case .leased(let position, let attempt, let consumer, let deadline):
            let holder = consumer.isEmpty ? "" : " by \(consumer)"
            return (
                "leased", "\(try named(position)) is leased\(holder) as attempt \(attempt) until \(shown(deadline))",
                position
            )
        case .storing(let position):
            return ("storing", "what became of \(try named(position)) is being stored", position)
        case .delayed(let position, let attempt, let until):
            return (
                "delayed",
                "\(try named(position)) was returned after attempt \(attempt), to be delivered again at \(shown(until))",
                position
            )
        case .behind(let position, let other):
            return (
                "behind", "\(try named(position)) waits for position \(other) of its lead, which is in flight", position
            )
        case .parkRefused(let position, let error):
            return (
                "park_refused",
                "\(try named(position)) is out of attempts, and parking it was refused (\(error)); the daemon keeps trying",
                position
            )
        case .unclaimed(let position):
            return ("unclaimed", "\(try named(position)) waits to be claimed", position)
        case .notLookedAt(let position):
            return (
                "not_looked_at",
                "every event before position \(position) is acked, parked or filtered out, and what follows was not looked at yet: "
                    + "a claim looks on, and so does asking again", position
            )
        case .parkedFull:
            return (
                "parked_full",
                "\(parkedCount) events are parked, and nothing new is delivered until some are replayed and done",
                progress
            )
        }
    }
}

extension JSONWriter {
    /// A line of `consumer.status` without a group.
    mutating func consumerLine(_ group: HeldGroup, head: UInt64, now: UInt64) {
        beginObject()
        member("group", group.definition.name)
        if let fault = group.fault {
            member("state", "broken: \(fault)" as String?)
        } else {
            member("progress", group.machine.progress)
            member("lag", head - min(group.machine.progress, head))
            member("leased", group.machine.leaseCount)
            member("parked", group.machine.parked.count)
            member("claims_waiting", group.waiters.count)
            member("state", group.standstill(head: head, now: now).word as String?)
        }
        endObject()
    }
}

extension ConsumerGroup.Standstill {
    var word: String {
        switch self {
        case .caughtUp: "caught_up"
        case .leased: "leased"
        case .storing: "storing"
        case .delayed: "delayed"
        case .behind: "behind"
        case .parkRefused: "park_refused"
        case .unclaimed: "unclaimed"
        case .notLookedAt: "not_looked_at"
        case .parkedFull: "parked_full"
        }
    }
}
