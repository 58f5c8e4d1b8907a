/// A record as the layout in `Ledger`'s Record.swift draws it.
struct SampleRecord {
    var type: UInt8 = 1
    var subject = "L-1"
    var source = "test"
    var eventID = "e-1"
    var correlation = ""
    var causation = ""
    var traceparent = ""
    var members = ""
    var personal = ""
    var occurredAt: Int64?
    var isBackfill = false
    var position: UInt64 = 0
    var recordedAt: Int64 = 0
    var version: UInt64 = 1
    var actor: UInt32 = 0

    var bytes: [UInt8] {
        var bytes: [UInt8] = [0, type, 1, (isBackfill ? 1 : 0) | (occurredAt == nil ? 0 : 2), 0, 3, 0, 0]
        func append(_ value: some FixedWidthInteger) { withUnsafeBytes(of: value.bigEndian) { bytes += $0 } }
        append(actor)
        append(occurredAt ?? 0)
        append(UInt64(1))
        append(UInt64(2))
        let texts = [subject, source, eventID, correlation, causation, traceparent]
        bytes += texts.map { UInt8($0.utf8.count) }
        append(UInt32(members.utf8.count))
        for text in texts { bytes += text.utf8 }
        bytes += members.utf8
        bytes.append(personal.isEmpty ? 0 : 255)
        if !personal.isEmpty {
            append(UInt32(personal.utf8.count))
            bytes += personal.utf8
        }
        append(position)
        append(recordedAt)
        append(version)
        append(UInt64(0))
        return bytes
    }
}
