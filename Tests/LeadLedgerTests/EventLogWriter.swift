import Leads
import Ledger
import Projections
import Synchronization
import TestSupport

/// A log in a directory, written to straight: events that only the daemon may say, and what no socket would let through.
final class EventLogWriter {
    let log: EventLog
    private let sink = Sink()
    private var count: UInt64 = 0

    /// 2026-03-02T09:00:00Z: the first event's instant; each later one is dated a second after the one before.
    static let start: Int64 = 1_772_442_000_000_000

    init(directory: String) throws {
        var configuration = LogConfiguration()
        configuration.logMapBytes = 256 << 20
        configuration.indexMapBytes = 256 << 20
        configuration.spaceStepBytes = 64 << 10
        configuration.mayUseTmpfs = true
        let time = Atomic<Int64>(Self.start + 3_600_000_000)
        log = try EventLog.open(
            directory: directory, configuration: configuration, lifecycle: LeadStreams.lifecycle,
            clock: { time.add(1_000_000, ordering: .relaxed).newValue })
    }

    func close() { log.close() }

    /// Appends an event as a unit of its own and waits for it; nil where the lifecycle refuses it.
    ///
    /// - Parameter members: of `data`, without the braces.
    @discardableResult
    func append(
        _ type: EventType, _ subject: String, _ members: String = "", source: String = "urn:leadledger:router",
        variant: EventVariant = .plain, isBackfill: Bool = false, actor: UInt32 = 1_000
    ) throws -> UInt64? {
        count += 1
        let unit = AppendUnit(ledgerID: log.ledgerID, replyTo: sink, token: count)
        try Array(subject.utf8).withUnsafeBytes { subject in
            try Array(source.utf8).withUnsafeBytes { source in
                try Array("e\(count)".utf8).withUnsafeBytes { id in
                    try Array(members.utf8).withUnsafeBytes { members in
                        unit.beginEvent(
                            EventDraft(
                                type: type.rawValue, schemaVersion: 1, variant: variant.rawValue,
                                isBackfill: isBackfill,
                                occurredAt: Self.start + Int64(count - 1) * 1_000_000, streamKind: type.stream.rawValue,
                                actor: actor,
                                subject: subject, source: source, eventID: id))
                        if !members.isEmpty { unit.addPublicMember(members) }
                        try unit.endEvent()
                    }
                }
            }
        }
        var snapshot = try log.makeIndexSnapshot()
        try snapshot.renew()
        log.prepare(unit, using: &snapshot)
        snapshot.reset()
        guard log.submit([unit]) == 1 else { return nil }
        guard case .appended(let receipt) = sink.wait(for: count) else { return nil }
        return receipt.first.rawValue
    }

    private final class Sink: AppendReplySink {
        private let outcomes = Mutex<[UInt64: AppendOutcome]>([:])
        private let doorbell = Doorbell()

        func deliver(_ batches: [[AppendUnit]]) {
            outcomes.withLock { outcomes in for unit in batches.joined() { outcomes[unit.replyToken] = unit.outcome } }
            doorbell.ring()
        }

        func queueHasRoom() {}

        func wait(for token: UInt64) -> AppendOutcome {
            while true {
                if let outcome = outcomes.withLock({ $0.removeValue(forKey: token) }) { return outcome }
                doorbell.wait(nanoseconds: 100_000_000)
            }
        }
    }
}
