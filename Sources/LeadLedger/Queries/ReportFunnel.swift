import Control
import JSON
import Leads
import Ledger
import Projections

// ReportFunnel: `report.funnel`: cohorts of captured leads followed to a horizon, or the flow of first crossings.

struct ReportFunnel: Query {
    private enum Mode: String { case cohort, flow }

    private let mode: Mode
    private let dimension: FunnelDimension
    private let from: Instant?
    private let to: Instant?
    private let isByMonth: Bool
    private let horizonDays: Int?
    private let asOf: Instant?

    init(_ params: JSONValue?) throws(QueryFault) {
        mode = params.word("mode", default: Mode.cohort)
        dimension = params.word("by", default: .channel)
        from = try params.instant("from")
        to = try params.instant("to")
        isByMonth = params?["period"] != nil
        horizonDays = params?["horizon_days"]?.int64.map { Int($0) }
        asOf = try params.instant("as_of")
        if mode == .flow, horizonDays != nil {
            throw QueryFault(.invalidValue, "a flow has no horizon: ask for a cohort", pointer: "/horizon_days")
        }
        if asOf != nil, horizonDays == nil {
            throw QueryFault(
                .invalidValue,
                "as_of is the instant at which a horizon is measured; without horizon_days it says nothing",
                pointer: "/as_of")
        }
        try QueryFault.check(from, before: to)
    }

    func freshness(in context: QueryContext) throws -> Freshness? { .head(FunnelProjection.name, context) }

    func write(to writer: inout JSONWriter, from context: QueryContext) throws {
        let asOf = asOf ?? Instant(microseconds: context.now())
        let query = FunnelQuery(
            kind: mode == .flow ? .flow : .cohort(horizon: horizonDays.map { Horizon(days: $0) }), dimension: dimension,
            from: from, to: to, byMonth: isByMonth, asOf: asOf)
        let report = try context.models.snapshot(FunnelProjection.self).funnel(query)
        writer.beginObject()
        writer.member("position", report.position.rawValue)
        writer.member("head", context.log.end.rawValue)
        writer.member("mode", mode.rawValue)
        writer.member("by", dimension.rawValue)
        writer.member("from", from)
        writer.member("to", to)
        writer.member("period", isByMonth ? "month" : nil)
        writer.member("horizon_days", horizonDays)
        writer.member("as_of", horizonDays == nil ? nil : asOf)
        writer.key("rows")
        writer.beginArray()
        for row in report.rows { writer.funnelRow(row) }
        writer.endArray()
        writer.key("periods")
        writer.beginArray()
        for row in report.monthTotals { writer.funnelRow(row) }
        writer.endArray()
        writer.key("total")
        writer.funnelRow(report.total)
        writer.endObject()
    }
}

extension JSONWriter {
    fileprivate mutating func funnelRow(_ row: FunnelRow) {
        beginObject()
        member("month", row.month?.monthText)
        key("value")
        if case .named(let value)? = row.value { string(value) } else { null() }
        member("label", row.value?.label)
        member("leads", row.leads)
        member("censored", row.censored)
        key("stages")
        beginObject()
        for stage in row.stages {
            key(stage.stage.name)
            beginObject()
            member("reached", stage.reached)
            member("skipped", stage.skipped)
            endObject()
        }
        endObject()
        member("won", row.won)
        member("lost", row.lost)
        member("disqualified", row.disqualified)
        member("win_share", row.winShare)
        endObject()
    }
}
