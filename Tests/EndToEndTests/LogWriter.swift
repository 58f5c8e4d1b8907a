import Glibc
import Leads
import Ledger
import Projections
import Synchronization
import TestSupport

/// An event that the daemon alone may write, as a test puts it into a log that no daemon has at the time.
struct DaemonEvent {
    var lead: String
    var type: EventType
    /// Members of `data`, without the braces.
    var data: String
    var isBackfill = false
}

extension LedgerPlace {
    /// Appends the events, each as a unit of its own, straight to the log.
    /// - Returns: their positions.
    func append(_ events: [DaemonEvent]) throws -> [Int] {
        var configuration = LogConfiguration()
        configuration.mayUseTmpfs = true
        let log = try EventLog.open(
            directory: data, configuration: configuration, lifecycle: LeadStreams.lifecycle,
            clock: {
                var now = timespec()
                clock_gettime(CLOCK_REALTIME, &now)
                return Int64(now.tv_sec) * 1_000_000 + Int64(now.tv_nsec) / 1_000
            })
        defer { log.close() }
        let sink = OutcomeSink()
        let first = log.end.rawValue
        return try events.enumerated().map { index, event in
            let unit = AppendUnit(ledgerID: log.ledgerID, replyTo: sink, token: UInt64(index))
            try Self.write(event, id: "d\(first)-\(index)", to: unit)
            guard log.submit([unit]) == 1 else { throw TimedOut("room in the log's queue") }
            guard case .appended(let receipt) = try sink.next() else {
                throw SystemFailure("\(event.type.name) of \(event.lead) was refused", code: 0)
            }
            return Int(receipt.first.rawValue)
        }
    }

    private static func write(_ event: DaemonEvent, id: String, to unit: AppendUnit) throws {
        let (subject, source, id, data) = (
            Array(event.lead.utf8), Array("urn:leadledger:clocks".utf8), Array(id.utf8), Array(event.data.utf8)
        )
        try subject.withUnsafeBytes { subject in
            try source.withUnsafeBytes { source in
                try id.withUnsafeBytes { id in
                    try data.withUnsafeBytes { data in
                        unit.beginEvent(
                            EventDraft(
                                type: event.type.rawValue, schemaVersion: 1, isBackfill: event.isBackfill,
                                streamKind: event.type.stream.rawValue, actor: 0, subject: subject, source: source,
                                eventID: id))
                        unit.addPublicMember(data)
                        try unit.endEvent()
                    }
                }
            }
        }
    }
}

/// Takes one outcome at a time.
private final class OutcomeSink: AppendReplySink {
    private let outcome = Mutex<AppendOutcome?>(nil)

    func deliver(_ batches: [[AppendUnit]]) { outcome.withLock { $0 = batches.last?.last?.outcome } }
    func queueHasRoom() {}

    func next() throws -> AppendOutcome {
        try Monotonic.wait(for: "an outcome of the log") { outcome.withLock { $0 != nil } }
        guard
            let taken = outcome.withLock({ outcome in
                defer { outcome = nil }
                return outcome
            })
        else { throw TimedOut("an outcome of the log") }
        return taken
    }
}
