import JSON

@testable import LeadLedger
@testable import Ledger

/// Bytes that pass for a record can be read in every way there is, and are what encoding their parts gives again; and what is
/// encoded passes for a record. Bytes of an index row are read or refused.
enum RecordTarget {
    static func run(_ bytes: UnsafeRawBufferPointer) {
        if RecordView.fault(in: bytes) == nil, let record = try? RecordView(validating: bytes) { read(record) }
        encode(bytes)
        _ = IndexRow.summary(bytes)
    }

    private static func read(_ record: RecordView) {
        // 1. Every part lies inside, and the parts are all of it.
        let texts = [
            record.subject, record.source, record.eventID, record.correlation, record.causation, record.traceparent,
            record.publicMembers, record.personalMembers,
        ]
        let personalHead = record.personalMembers.isEmpty ? 1 : 5
        let sum = texts.reduce(RecordLayout.headerBytes + personalHead + RecordLayout.trailerBytes) { $0 + $1.count }
        promise(sum == record.whole.count, "the parts are \(sum) of \(record.whole.count) bytes")
        promise(record.hasSameName(as: record) && record.hasSameContent(as: record), "it is not itself")
        promise(record.streamKey == StreamKey(kind: record.streamKind, subject: record.subject), "another stream")
        // It is told to auditors, whatever it says.
        var writer = JSONWriter()
        var encoder = CloudEventEncoder()
        writer.cloudEvent(record, with: &encoder)

        // 2. Encoded again, it is the same, trailer and leaf hash included.
        let unit = AppendUnit(ledgerID: record.ledgerID, replyTo: NobodyListens(), token: 1)
        unit.beginEvent(
            EventDraft(
                type: record.type, schemaVersion: record.schemaVersion, variant: record.variant,
                isBackfill: record.isBackfill, occurredAt: record.occurredAt, streamKind: record.streamKind,
                actor: record.actor, subject: record.subject, source: record.source, eventID: record.eventID,
                correlation: record.correlation, causation: record.causation, traceparent: record.traceparent))
        if !record.publicMembers.isEmpty { unit.addPublicMember(record.publicMembers) }
        if !record.personalMembers.isEmpty { unit.addPersonalMember(record.personalMembers) }
        do throws(LedgerError) { try unit.endEvent() } catch { fatalError("a record cannot be encoded: \(error)") }
        let leaf = unit.finish(
            0, position: record.position.rawValue, recordedAt: record.recordedAt, version: record.version.rawValue)
        promise(unit.record(0).whole.elementsEqual(record.whole), "encoded again it differs")
        promise(leaf == LeafHash(of: record.whole), "its leaf hash differs")
    }

    /// The bytes cut into parts, encoded, and decoded.
    private static func encode(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.count >= 12 else { return }
        // The first eight say how long each part is; the rest is what they are made of.
        var start = 8
        func part(_ index: Int) -> UnsafeRawBufferPointer {
            let end = min(bytes.count, start + Int(bytes[index]) * (index >= 6 ? 300 : 1))
            defer { start = end }
            return UnsafeRawBufferPointer(rebasing: bytes[start..<end])
        }
        let parts = (0..<8).map { part($0) }
        let unit = AppendUnit(ledgerID: LedgerID(high: 1, low: 2), replyTo: NobodyListens(), token: 1)
        for _ in 0..<2 {
            let draft = EventDraft(
                type: bytes[0], schemaVersion: bytes[1], variant: bytes[2], isBackfill: bytes[3] & 1 == 1,
                occurredAt: bytes[3] & 2 == 2 ? Int64(bytes[4]) << 40 : nil, streamKind: bytes[5],
                actor: UInt32(bytes[6]), subject: parts[0], source: parts[1], eventID: parts[2], correlation: parts[3],
                causation: parts[4], traceparent: parts[5])
            unit.beginEvent(draft)
            unit.addPublicMember(parts[6])
            if !parts[7].isEmpty { unit.addPersonalMember(parts[7]) }
            do throws(LedgerError) { try unit.endEvent() } catch {
                promise(unit.eventCount == 0 && unit.byteCount == 256, "a refused event left something behind")
                continue
            }
            let index = unit.eventCount - 1
            _ = unit.finish(index, position: 7, recordedAt: -1, version: 1)
            let whole = unit.record(index).whole
            promise(RecordView.fault(in: whole) == nil, "what was encoded is no record")
            guard let record = try? RecordView(validating: whole) else { return }
            let same =
                record.subject.elementsEqual(parts[0]) && record.source.elementsEqual(parts[1])
                && record.eventID.elementsEqual(parts[2]) && record.correlation.elementsEqual(parts[3])
                && record.causation.elementsEqual(parts[4]) && record.traceparent.elementsEqual(parts[5])
                && record.publicMembers.elementsEqual(parts[6]) && record.personalMembers.elementsEqual(parts[7])
                && record.occurredAt == draft.occurredAt && record.isBackfill == draft.isBackfill
                && record.type == draft.type && record.actor == draft.actor && record.recordedAt == -1
            promise(same, "what was decoded is not what was encoded")
        }
        if unit.eventCount == 2 {
            promise(unit.nameTwice?.event == 1 && unit.nameTwice?.first == 0, "a name twice was not seen")
        }
    }
}

/// A unit must have somebody to answer; these are never submitted.
final class NobodyListens: AppendReplySink {
    func deliver(_ batches: [[AppendUnit]]) {}
    func queueHasRoom() {}
}
