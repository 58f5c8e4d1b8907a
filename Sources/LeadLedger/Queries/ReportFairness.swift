import Control
import JSON
import Leads
import Ledger
import Projections

// ReportFairness: `report.fairness`: what each member of a pool was entitled to, and what they received.

struct ReportFairness: Query {
    private let pool: String?
    private let period: ReportPeriodWords

    init(_ params: JSONValue?) throws(QueryFault) {
        pool = params?["pool"]?.string
        period = try ReportPeriodWords(params)
    }

    func freshness(in context: QueryContext) throws -> Freshness? { .head(FairnessProjection.name, context) }

    func write(to writer: inout JSONWriter, from context: QueryContext) throws {
        let period = try period.read(now: Instant(microseconds: context.now()))
        let report = try context.models.snapshot(FairnessProjection.self).fairness(
            FairnessQuery(from: period.from, to: period.to, pool: pool))
        writer.beginObject()
        writer.member("position", report.position.rawValue)
        writer.member("head", context.log.end.rawValue)
        writer.member("from", period.from)
        writer.member("to", period.to)
        writer.member("zone", period.zoneName)
        writer.member("pool", pool)
        writer.key("pools")
        writer.beginArray()
        for pool in report.pools { writer.pool(pool) }
        writer.endArray()
        writer.endObject()
    }
}

extension JSONWriter {
    fileprivate mutating func pool(_ pool: PoolFairness) {
        beginObject()
        member("pool", pool.pool)
        member("decisions", pool.decisions)
        member("voided", pool.voided)
        member("jain", billionths: pool.fairness.jainBillionths)
        key("members")
        beginArray()
        for share in pool.fairness.members {
            beginObject()
            member("member", share.member)
            member("decisions", share.decisions)
            member("entitled", billionths: billionths(share.entitled))
            member("received", share.received)
            member("lag", billionths: billionths(share.lag))
            endObject()
        }
        endArray()
        endObject()
    }

    /// From 2^-32 of a turn, rounded half up.
    private func billionths(_ turns: Int128) -> Int128 { (turns * 1_000_000_000 + 1 << 31) >> 32 }
}
