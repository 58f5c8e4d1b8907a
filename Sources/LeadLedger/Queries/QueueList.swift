import Control
import JSON
import Leads
import Ledger
import Projections

// QueueList: `queue.list`: the leads that wait, oldest first.

struct QueueList: Query {
    private var filter: QueueFilter
    private let after: Occurrence?
    private let limit: Int
    private let asOf: Instant?

    init(_ params: JSONValue?) throws(QueryFault) {
        var filter = QueueFilter()
        if let name = params?["stage"]?.string {
            guard let stage = Stage(name: name), stage.isOpen else {
                let known = Stage.open.map(\.name).joined(separator: ", ")
                throw QueryFault(
                    .invalidValue, "no lead waits in the stage \(name); stages are \(known)", pointer: "/stage")
            }
            filter.stage = stage
        }
        filter.custody = params?["custody"]?.string.flatMap { Custody(name: $0) }
        filter.channel = params?["channel"]?.string.map { DimensionValue(text: Array($0.utf8)) }
        filter.queue = params?["queue"]?.string
        self.filter = filter
        var after: Occurrence?
        if let place = params?["after"] {
            do throws(QueryFault) {
                guard let since = try place.instant("since") else {
                    throw QueryFault(.missingField, "since is required", pointer: "")
                }
                after = Occurrence(time: since, position: try place.unsigned("position", default: 0))
            } catch { throw QueryFault(error.name, error.message, pointer: "/after" + (error.pointer ?? "")) }
        }
        self.after = after
        limit = params.integer("limit", default: Limits.answerRowsDefault)
        asOf = try params.instant("as_of")
        self.filter.until = asOf
    }

    func freshness(in context: QueryContext) throws -> Freshness? { .head(QueueProjection.name, context) }

    func write(to writer: inout JSONWriter, from context: QueryContext) throws {
        let asOf = asOf ?? Instant(microseconds: context.now())
        // One more than asked for says whether there is a following page.
        let list = try context.models.snapshot(QueueProjection.self)
            .waiting(filter, after: after, limit: limit + 1, asOf: asOf)
        writer.beginObject()
        writer.member("position", list.position.rawValue)
        writer.member("head", context.log.end.rawValue)
        writer.member("as_of", list.asOf)
        writer.member("total", list.total)
        writer.key("leads")
        writer.beginArray()
        for row in list.rows.prefix(limit) { writer.waiting(row) }
        writer.endArray()
        writer.key("next")
        if list.rows.count > limit, let last = list.rows.prefix(limit).last {
            writer.beginObject()
            writer.member("since", last.since.time)
            writer.member("position", last.since.position)
            writer.endObject()
        } else {
            writer.null()
        }
        writer.endObject()
    }
}

extension JSONWriter {
    fileprivate mutating func waiting(_ row: QueueRow) {
        beginObject()
        member("lead", row.id)
        member("stage", row.stage.name)
        member("custody", row.custody.name)
        member("queue", row.queue)
        member("channel", row.channel)
        member("since", row.since.time)
        member("since_position", row.since.position)
        member("age_seconds", row.ageMicroseconds / Instant.microsecondsPerSecond)
        endObject()
    }
}
