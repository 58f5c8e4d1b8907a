import Control
import JSON
import Leads
import Ledger
import Projections

// LeadGet: `lead.get`: what the read model `leads` knows of one lead.

struct LeadGet: Query {
    let lead: String
    private let key: StreamKey

    init(_ params: JSONValue?) throws(QueryFault) {
        guard let lead = params?["lead"]?.string else {
            throw QueryFault(.missingField, "lead is required", pointer: "/lead")
        }
        self.lead = lead
        key = StreamKey(lead: lead)
    }

    /// All that was stored of the lead before the question is in the answer.
    func freshness(in context: QueryContext) throws -> Freshness? {
        guard let stream = try context.log.stream(key) else {
            throw QueryFault(.unknownLead, "no event names the lead \(lead)", pointer: "/lead")
        }
        return Freshness(model: LeadsProjection.name, position: stream.last.successor, isRequired: true)
    }

    func write(to writer: inout JSONWriter, from context: QueryContext) throws {
        let snapshot = try context.models.snapshot(LeadsProjection.self)
        guard let row = try snapshot.lead(key) else {
            throw QueryFault(
                .deadlineExceeded,
                "the read model leads has come to position \(snapshot.position), which is before this lead",
                pointer: "/lead")
        }
        writer.beginObject()
        writer.member("position", snapshot.position.rawValue)
        writer.key("lead")
        writer.lead(row)
        writer.endObject()
    }
}

extension JSONWriter {
    fileprivate mutating func lead(_ row: LeadRow) {
        beginObject()
        member("lead", row.id)
        member("stage", row.stage.name)
        member("custody", row.custody.name)
        member("cycle", row.cycle)
        member("owner", row.owner)
        member("queue", row.queue)
        member("captured_at", row.capturedAt)
        member("channel", row.channel)
        member("source", row.source)
        member("campaign", row.campaign)
        member("medium", row.medium)
        member("landing_page", row.landingPage)
        key("counts")
        beginObject()
        member("captures", row.counts.captures)
        member("touches", row.counts.touches)
        member("attempts", row.counts.attempts)
        member("contacts", row.counts.contacts)
        member("assignments", row.counts.assignments)
        member("wins", row.counts.wins)
        member("lost", row.counts.lost)
        member("disqualified", row.counts.disqualified)
        member("recycles", row.counts.recycles)
        member("reopens", row.counts.reopens)
        endObject()
        member("latest_at", row.latestAt)
        member("last_reason", row.lastReason)
        key("conversion")
        if let conversion = row.conversion {
            beginObject()
            member("at", conversion.at)
            member("position", conversion.position.rawValue)
            member("amount", conversion.amount)
            member("currency", conversion.currency?.code)
            endObject()
        } else {
            null()
        }
        member("captured_after_conversion", row.isCapturedAfterConversion)
        member("first", row.first.rawValue)
        member("last", row.last.rawValue)
        member("version", row.version.rawValue)
        endObject()
    }
}
