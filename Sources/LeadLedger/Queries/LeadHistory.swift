import Control
import JSON
import Ledger
import Projections

// LeadHistory: `lead.history`: a lead's events from a version on, oldest first.

struct LeadHistory: Query {
    private let lead: String
    private let version: StreamVersion
    private let limit: Int

    init(_ params: JSONValue?) throws(QueryFault) {
        guard let lead = params?["lead"]?.string else {
            throw QueryFault(.missingField, "lead is required", pointer: "/lead")
        }
        self.lead = lead
        version = StreamVersion(rawValue: try params.unsigned("from_version", default: 1))
        limit = params.integer("limit", default: Limits.answerRowsDefault)
    }

    func write(to writer: inout JSONWriter, from context: QueryContext) throws {
        let head = context.log.end
        let key = StreamKey(lead: lead)
        guard let stream = try context.log.stream(key) else {
            throw QueryFault(.unknownLead, "no event names the lead \(lead)", pointer: "/lead")
        }
        let positions = try context.log.positions(of: key, from: version, limit: limit)
        writer.beginObject()
        writer.member("position", head.rawValue)
        writer.member("lead", lead)
        writer.key("events")
        writer.beginArray()
        var encoder = CloudEventEncoder()
        var last = version.rawValue - 1
        for position in positions where writer.bytes.count < Limits.answerBytesMax {
            try context.log.record(at: position) { record in
                writer.cloudEvent(record, with: &encoder)
                last = record.version.rawValue
            }
        }
        writer.endArray()
        writer.member("next_version", last < stream.version.rawValue && !positions.isEmpty ? last + 1 : nil)
        writer.endObject()
    }
}

extension StreamKey {
    /// The key of a lead's stream.
    init(lead: String) {
        self = Array(lead.utf8).withUnsafeBytes { StreamKey(kind: LeadStreams.kind, subject: $0) }
    }
}
