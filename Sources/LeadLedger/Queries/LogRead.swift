import Control
import JSON
import Leads
import Ledger
import Projections

// LogRead: `log.read`: recorded events by position, as they stand in the log, each checked against its leaf hash as it is read.

struct LogRead: Query {
    private let from: Position
    private let to: Position?
    private let limit: Int
    private let filter: EventFilter

    init(_ params: JSONValue?) throws(QueryFault) {
        from = Position(rawValue: try params.unsigned("from", default: 0))
        to = params?["to"] == nil ? nil : Position(rawValue: try params.unsigned("to", default: 0))
        limit = params.integer("limit", default: Limits.answerRowsDefault)
        filter = try EventFilter(params?["filter"])
    }

    func write(to writer: inout JSONWriter, from context: QueryContext) throws {
        let head = context.log.end
        guard from <= head else { throw QueryFault(beyond: head, from) }
        let end = min(to ?? head, head)
        writer.beginObject()
        writer.key("events")
        writer.beginArray()
        var encoder = CloudEventEncoder()
        var next = from
        var written = 0
        // A slice of the log reads at most 10,000 events or 50 ms (L7); a filter that matches little scans several.
        var slices = 0
        while next < end, written < limit, writer.bytes.count < Limits.answerBytesMax, slices < Limits.scanSlicesMax {
            next = try context.log.read(from: next, limit: Int(end.rawValue - next.rawValue), maxBytes: .max) {
                record in
                if filter.matches(record) {
                    writer.cloudEvent(record, with: &encoder)
                    written += 1
                }
                return written < limit && writer.bytes.count < Limits.answerBytesMax
            }
            slices += 1
        }
        writer.endArray()
        writer.member("next", next.rawValue)
        writer.member("head", head.rawValue)
        writer.endObject()
    }
}

extension QueryFault {
    /// A position that no event has yet.
    init(beyond head: Position, _ position: Position) {
        self.init(.positionOutOfRange, "the log ends at \(head), before \(position)", pointer: "/from")
    }
}
