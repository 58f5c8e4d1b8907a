import Glibc
import Leads
import Ledger
import PolicyDocuments
import Projections
import Synchronization
import TestSupport

@testable import LeadLedger

/// A ledger that is written without the daemon, so that it may hold what only the daemon writes: decisions, clocks, rule sets.
///
/// ```swift
/// let ledger = try WrittenLedger(in: place.data)
/// try ledger.append(.captured, "L-1", at: "2026-03-02T09:00:00Z", #""channel":"web""#)
/// ledger.close()
/// ```
final class WrittenLedger {
    let log: EventLog
    private let sink = Sink()
    private var snapshot: IndexSnapshot?
    private var count: UInt64 = 0

    init(in directory: String) throws {
        var configuration = LogConfiguration()
        configuration.logMapBytes = 64 << 20
        configuration.indexMapBytes = 64 << 20
        configuration.spaceStepBytes = 64 << 10
        configuration.mayUseTmpfs = true
        let ticks = Atomic<Int64>(1_772_000_000_000_000)
        log = try EventLog.open(
            directory: directory, configuration: configuration, lifecycle: LeadStreams.lifecycle,
            clock: { ticks.add(1, ordering: .relaxed).newValue })
        snapshot = try log.makeIndexSnapshot()
    }

    func close() {
        snapshot = nil
        log.close()
    }

    /// Appends one event in a unit of its own.
    /// - Parameter data: members, without the braces.
    /// - Returns: its position.
    @discardableResult
    func append(
        _ type: EventType, _ subject: String, at instant: String, _ data: String = "", _ variant: EventVariant = .plain
    ) throws -> UInt64 {
        count += 1
        let unit = AppendUnit(ledgerID: log.ledgerID, replyTo: sink, token: count)
        let occurredAt = try Instant(rfc3339: instant).microseconds
        try [Array(subject.utf8), Array("test".utf8), Array("e\(count)".utf8), Array(data.utf8)].withBytes { bytes in
            unit.beginEvent(
                EventDraft(
                    type: type.rawValue, schemaVersion: 1, variant: variant.rawValue, occurredAt: occurredAt,
                    streamKind: type.stream.rawValue, actor: 1, subject: bytes[0], source: bytes[1], eventID: bytes[2]))
            if !bytes[3].isEmpty { unit.addPublicMember(bytes[3]) }
            try unit.endEvent()
        }
        try snapshot!.renew()
        log.prepare(unit, using: &snapshot!)
        snapshot!.reset()
        while log.submit([unit][...]) == 0 { usleep(500) }
        guard case .appended(let receipt) = sink.outcome() else {
            throw SystemFailure("the ledger refuses \(type.name) of \(subject)", code: 0)
        }
        return receipt.first.rawValue
    }

    /// Publishes a rule set.
    /// - Returns: the position that names it.
    func publish(_ yaml: String, at instant: String) throws -> UInt64 {
        let document = try PolicyDocument(Array(yaml.utf8), isKnownZone: { _ in true })
        // Small parts, so that there are several.
        let parts = PolicyParts.split(document.canonicalText, bytesMax: 200)
        for (index, part) in parts.enumerated() {
            let text = String(decoding: part, as: UTF8.self)
                .replacing("\\", with: "\\\\").replacing("\"", with: "\\\"")
            try append(.policyPart, document.ruleSet.id, at: instant, #""index":\#(index),"text":"\#(text)""#)
        }
        return try append(
            .policyPublished, document.ruleSet.id, at: instant,
            #""parts":\#(parts.count),"bytes":\#(document.canonicalText.count),"sha256":"\#(document.digest)""#)
    }

    private final class Sink: AppendReplySink {
        private let last = Mutex<AppendOutcome?>(nil)

        func deliver(_ batches: [[AppendUnit]]) { last.withLock { $0 = batches.last?.last?.outcome } }

        func queueHasRoom() {}

        func outcome() -> AppendOutcome {
            while true {
                let found = last.withLock { last in
                    defer { last = nil }
                    return last
                }
                if let found { return found }
                usleep(200)
            }
        }
    }
}

extension [[UInt8]] {
    /// Lends all of them at once.
    fileprivate func withBytes<R>(_ body: ([UnsafeRawBufferPointer]) throws -> R) rethrows -> R {
        func lend(_ rest: ArraySlice<[UInt8]>, _ lent: [UnsafeRawBufferPointer]) throws -> R {
            guard let first = rest.first else { return try body(lent) }
            return try first.withUnsafeBytes { try lend(rest.dropFirst(), lent + [$0]) }
        }
        return try lend(self[...], [])
    }
}
