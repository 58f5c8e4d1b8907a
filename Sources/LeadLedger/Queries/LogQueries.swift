import JSON
import Leads
import Ledger

// LogQueries: `log.read` and `lead.history`: recorded events as they stand in the log, each checked against its leaf hash
// as it is read.

struct LogQueries: Sendable {
    let log: EventLog

    /// `log.read`: events at positions `from..<to` that match, with `next`, where the following call goes on.
    func read(from: Position, to: Position?, limit: Int, filter: EventFilter, into writer: inout JSONWriter) throws {
        let head = log.end
        let end = min(to ?? head, head)
        writer.beginObject()
        writer.key("events")
        writer.beginArray()
        var next = from
        var written = 0
        // A slice of the log reads at most 10,000 events or 50 ms (L7); a filter that matches little scans several.
        var slices = 0
        while next < end, written < limit, writer.bytes.count < Limits.answerBytesMax, slices < Limits.scanSlicesMax {
            next = try log.read(from: next, limit: Int(end.rawValue - next.rawValue), maxBytes: .max) { record in
                if filter.matches(record) {
                    writer.cloudEvent(record)
                    written += 1
                }
                return written < limit && writer.bytes.count < Limits.answerBytesMax
            }
            slices += 1
        }
        writer.endArray()
        writer.key("next")
        writer.integer(next.rawValue)
        writer.key("head")
        writer.integer(head.rawValue)
        writer.endObject()
    }

    /// `lead.history`: the lead's events from a version on, oldest first.
    func history(lead: String, from version: StreamVersion, limit: Int, into writer: inout JSONWriter) throws {
        let head = log.end
        let key = StreamKey(lead: lead)
        guard let stream = try log.stream(key) else {
            throw QueryFault(.unknownLead, "no event names the lead \(lead)", pointer: "/lead")
        }
        let positions = try log.positions(of: key, from: version, limit: limit)
        writer.beginObject()
        writer.key("position")
        writer.integer(head.rawValue)
        writer.key("lead")
        writer.string(lead)
        writer.key("events")
        writer.beginArray()
        var last = version.rawValue - 1
        for position in positions where writer.bytes.count < Limits.answerBytesMax {
            try log.record(at: position) { record in
                writer.cloudEvent(record)
                last = record.version.rawValue
            }
        }
        writer.endArray()
        writer.key("next_version")
        if last < stream.version.rawValue, !positions.isEmpty { writer.integer(last + 1) } else { writer.null() }
        writer.endObject()
    }
}

extension StreamKey {
    /// The key of a lead's stream.
    init(lead: String) {
        self = Array(lead.utf8).withUnsafeBytes { StreamKey(kind: StreamKind.lead, subject: $0) }
    }
}
