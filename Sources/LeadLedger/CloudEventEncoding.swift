import JSON
import Leads
import Ledger

// CloudEventEncoding: a stored record becomes the CloudEvent that went in (member order of data apart: public members
// first) plus the extension attributes position, version, recordedtime and actor.

extension JSONWriter {
    /// Writes `record` as one JSON object. Nothing is re-encoded: the data members are the stored bytes.
    mutating func cloudEvent(_ record: RecordView) {
        beginObject()
        key("specversion")
        string("1.0")
        key("id")
        string(utf8: record.eventID)
        key("source")
        string(utf8: record.source)
        key("type")
        string(EventType(rawValue: record.type)?.name ?? "unknown.\(record.type)")
        key("subject")
        string(utf8: record.subject)
        if let occurredAt = record.occurredAt {
            key("time")
            instant(Instant(microseconds: occurredAt))
        }
        if record.isBackfill {
            key("backfill")
            bool(true)
        }
        optional("correlationid", record.correlation)
        optional("causationid", record.causation)
        optional("traceparent", record.traceparent)
        key("data")
        beginObject()
        rawMembers(record.publicMembers)
        rawMembers(record.personalMembers)
        endObject()
        key("position")
        integer(record.position.rawValue)
        key("version")
        integer(record.version.rawValue)
        key("recordedtime")
        instant(Instant(microseconds: record.recordedAt))
        key("actor")
        integer(record.actor)
        endObject()
    }

    private mutating func optional(_ name: StaticString, _ bytes: UnsafeRawBufferPointer) {
        guard !bytes.isEmpty else { return }
        key(name)
        string(utf8: bytes)
    }
}
