import Control
import JSON
import Leads
import Ledger
import Projections

// ReportResponse: `report.response`: how soon leads were answered.

struct ReportResponse: Query {
    private enum By: String { case none, source, channel, campaign, owner, hour }

    private let by: By
    private let clock: ResponseClockKind
    private let period: ReportPeriodWords

    init(_ params: JSONValue?) throws(QueryFault) {
        by = params.word("by", default: .none)
        clock = params?["clock"]?.string.flatMap { ResponseClockKind(name: $0) } ?? .firstResponse
        period = try ReportPeriodWords(params)
    }

    func freshness(in context: QueryContext) throws -> Freshness? { .head(ResponseProjection.name, context) }

    func write(to writer: inout JSONWriter, from context: QueryContext) throws {
        let period = try period.read(now: Instant(microseconds: context.now()))
        let grouping: ResponseQuery.Grouping =
            switch by {
            case .none: .none
            case .hour: .hour
            case .source: .lead(.source)
            case .channel: .lead(.channel)
            case .campaign: .lead(.campaign)
            case .owner: .lead(.owner)
            }
        let calendars = ClockCalendars(log: context.log)
        let report = try context.models.snapshot(ResponseProjection.self).response(
            ResponseQuery(
                clock: clock, grouping: grouping, from: period.from, to: period.to, asOf: period.asOf,
                zone: period.zone),
            calendar: calendars.calendar)
        writer.beginObject()
        writer.member("position", report.position.rawValue)
        writer.member("head", context.log.end.rawValue)
        writer.member("clock", clock.name)
        writer.member("by", by.rawValue)
        writer.member("from", period.from)
        writer.member("to", period.to)
        writer.member("zone", period.zoneName)
        writer.member("as_of", period.asOf)
        writer.member("within_seconds", Limits.answeredWithinMicroseconds / Instant.microsecondsPerSecond)
        writer.key("rows")
        writer.beginArray()
        for row in report.rows { writer.responseRow(row) }
        writer.endArray()
        writer.key("total")
        writer.responseRow(report.total)
        writer.endObject()
    }
}

extension JSONWriter {
    fileprivate mutating func responseRow(_ row: ResponseRow) {
        beginObject()
        key("value")
        if case .named(let value)? = row.value { string(value) } else { null() }
        member("label", row.value?.label)
        member("clocks", row.clocks)
        member("answered", row.wall.answered.count)
        member("open", row.wall.open.count)
        member("stopped", row.wall.stopped.count)
        member("no_lead", row.noLead)
        member("met", row.met)
        member("late", row.late)
        member("overdue", row.overdue)
        key("wall")
        responseMeasure(row.wall)
        key("business")
        responseMeasure(row.business)
        endObject()
    }

    private mutating func responseMeasure(_ statistics: ResponseStatistics) {
        let (share, tooEarly) = statistics.share(within: Limits.answeredWithinMicroseconds)
        beginObject()
        key("within")
        beginObject()
        member("answered", share.successes)
        member("of", share.trials)
        member("too_early", tooEarly)
        member("share", share)
        endObject()
        key("answered_seconds")
        beginObject()
        member("mean", microseconds: statistics.mean)
        member("p50", microseconds: statistics.answeredPercentile(permille: 500))
        member("p90", microseconds: statistics.answeredPercentile(permille: 900))
        member("p99", microseconds: statistics.answeredPercentile(permille: 990))
        endObject()
        key("all_seconds")
        beginObject()
        member("p50", microseconds: statistics.percentile(permille: 500))
        member("p90", microseconds: statistics.percentile(permille: 900))
        member("p99", microseconds: statistics.percentile(permille: 990))
        endObject()
        endObject()
    }
}
