import Control
import JSON
import Leads
import Ledger
import Projections

// ReportLeaks: `report.leaks`: the leads that fell through.

struct ReportLeaks: Query {
    private let dimension: LeadDimension?
    private let limit: Int
    private let period: ReportPeriodWords

    init(_ params: JSONValue?) throws(QueryFault) {
        // `none` is no dimension.
        dimension = params?["by"]?.string.flatMap { LeadDimension(rawValue: $0) }
        limit = params.integer("limit", default: Limits.leakedLeadsDefault)
        period = try ReportPeriodWords(params)
    }

    func freshness(in context: QueryContext) throws -> Freshness? { .head(ResponseProjection.name, context) }

    func write(to writer: inout JSONWriter, from context: QueryContext) throws {
        let period = try period.read(now: Instant(microseconds: context.now()))
        let report = try context.models.snapshot(ResponseProjection.self).leaks(
            LeakQuery(dimension: dimension, from: period.from, to: period.to, asOf: period.asOf, limit: limit))
        writer.beginObject()
        writer.member("position", report.position.rawValue)
        writer.member("head", context.log.end.rawValue)
        writer.member("by", dimension?.rawValue ?? "none")
        writer.member("from", period.from)
        writer.member("to", period.to)
        writer.member("zone", period.zoneName)
        writer.member("as_of", period.asOf)
        writer.key("rows")
        writer.beginArray()
        for row in report.rows { writer.leakRow(row) }
        writer.endArray()
        writer.key("total")
        writer.leakRow(report.total)
        writer.endObject()
    }
}

extension JSONWriter {
    fileprivate mutating func leakRow(_ row: LeakRow) {
        beginObject()
        key("value")
        if case .named(let value)? = row.value { string(value) } else { null() }
        member("label", row.value?.label)
        member("leads", row.leads)
        for leak in Leak.allCases {
            key(leak.name)
            beginObject()
            member("count", row[leak].count)
            key("leads")
            beginArray()
            for lead in row[leak].leads {
                beginObject()
                member("lead", lead.id)
                member("captured_at", lead.capturedAt)
                member("owner", lead.owner)
                if leak == .dueUnanswered { member("due", lead.due) }
                endObject()
            }
            endArray()
            endObject()
        }
        endObject()
    }
}
