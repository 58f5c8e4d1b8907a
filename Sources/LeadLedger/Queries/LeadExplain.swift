import Control
import JSON
import Leads
import Ledger

// LeadExplain: `lead.explain`: who had a lead, one after the other, and why: each decision as it was taken and as a person reads it.

struct LeadExplain: Query {
    private let lead: String
    private let version: StreamVersion

    init(_ params: JSONValue?) throws(QueryFault) {
        guard let lead = params?["lead"]?.string else {
            throw QueryFault(.missingField, "lead is required", pointer: "/lead")
        }
        self.lead = lead
        version = StreamVersion(rawValue: try params.unsigned("from_version", default: 1))
    }

    func write(to writer: inout JSONWriter, from context: QueryContext) throws {
        try write(to: &writer, log: context.log)
    }

    /// Positions asked of the index at once.
    private static let chunk = 1_000

    /// The story is followed from the lead's first event on whatever the page, since what an event does to custody depends on all
    /// before it; that takes microseconds an event.
    func write(to writer: inout JSONWriter, log: EventLog) throws {
        let head = log.end
        let key = StreamKey(lead: lead)
        guard try log.stream(key) != nil else {
            throw QueryFault(.unknownLead, "no event names the lead \(lead)", pointer: "/lead")
        }
        writer.beginObject()
        writer.member("position", head.rawValue)
        writer.member("lead", lead)
        writer.key("steps")
        writer.beginArray()
        var page = ExplainedPage(log: log, from: version)
        var next = StreamVersion(rawValue: 1)
        var isLast = false
        while !isLast, !page.isFull(writer) {
            let positions = try log.positions(of: key, from: next, limit: Self.chunk)
            for position in positions where position < head && !page.isFull(writer) {
                try log.record(at: position) { try page.take($0, to: &writer) }
                next = StreamVersion(rawValue: next.rawValue + 1)
            }
            isLast = positions.count < Self.chunk || positions.last.map { $0 >= head } ?? true
        }
        writer.endArray()
        let isWhole = isLast && !page.isFull(writer)
        writer.key("now")
        if isWhole, let state = page.story.state {
            writer.beginObject()
            writer.member("stage", state.stage.name)
            writer.member("custody", state.custody.name)
            writer.member("cycle", state.cycle)
            writer.member("holder", page.story.holder)
            writer.member("queue", page.story.queue)
            writer.endObject()
        } else {
            writer.null()
        }
        writer.member("next_version", isWhole ? nil : next.rawValue)
        writer.endObject()
    }
}

/// What one answer tells of a lead.
private struct ExplainedPage: ~Copyable {
    private let log: EventLog
    private let version: StreamVersion
    private(set) var story = CustodyStory()
    private var parser = JSONParser(bytesMax: LedgerLimits.recordBytesMax)
    /// By the version of the rule set: the ids of its territories, nil where they cannot be had.
    private var territories: [UInt64: [String]?] = [:]

    init(log: EventLog, from version: StreamVersion) {
        self.log = log
        self.version = version
    }

    borrowing func isFull(_ writer: JSONWriter) -> Bool { writer.bytes.count >= Limits.answerBytesMax }

    mutating func take(_ record: RecordView, to writer: inout JSONWriter) throws {
        let data = try parser.parse([UInt8(ascii: "{")] + record.publicMembers + [UInt8(ascii: "}")])
        guard let step = story.take(record, data), record.version >= version else { return }
        try write(step, record, to: &writer)
        guard record.type == EventType.disqualified.rawValue, let turn = story.turn else { return }
        let voided = try VoidedDecision(of: turn.decision, in: turn.pool, because: record.position, log: log)
        if let voided { write(voided, in: turn.pool, to: &writer) }
    }

    private mutating func write(_ step: CustodyStory.Step, _ record: RecordView, to writer: inout JSONWriter) throws {
        writer.beginObject()
        writer.member("position", record.position.rawValue)
        writer.member("version", record.version.rawValue)
        writer.member("type", EventType(rawValue: record.type)?.name)
        writer.member("time", Instant(microseconds: record.instant))
        writer.member("recordedtime", Instant(microseconds: record.recordedAt))
        writer.member("source", String(decoding: record.source, as: UTF8.self))
        writer.member("actor", record.actor)
        writer.member("custody", step.custody.name)
        writer.member("summary", step.summary)
        if let override = step.override {
            writer.key("override")
            writer.beginObject()
            writer.refusals(override.refusals)
            writer.member("reason", override.reason)
            writer.endObject()
        }
        if let problem = step.problem {
            writer.texts(
                "explanation", ["The decision cannot be read: \(problem.place) is not as this daemon writes it."])
        }
        if let decision = step.decision {
            let territories = try territories(of: decision)
            writer.texts("explanation", decision.explanation(territories: territories))
            writer.key("decision")
            writer.decision(decision, territories: territories)
        }
        writer.endObject()
    }

    /// A void stands behind its cause, which comes before it in the log.
    private func write(_ voided: VoidedDecision, in pool: String, to writer: inout JSONWriter) {
        writer.beginObject()
        writer.member("position", voided.position.rawValue)
        writer.member("type", EventType.poolDecisionVoided.name)
        writer.member("time", Instant(microseconds: voided.instant))
        writer.member("recordedtime", Instant(microseconds: voided.recordedAt))
        writer.member("pool", pool)
        writer.member("voids", voided.decision.rawValue)
        writer.member(
            "summary",
            "The decision at position \(voided.decision) does not count (\(voided.reason)): pool \(pool) takes its turn back."
        )
        writer.endObject()
    }

    private mutating func territories(of decision: DecisionRecord) throws -> [String]? {
        if let known = territories[decision.version] { return known }
        // A text that cannot be read does not keep the decision itself from being told.
        var published: PublishedText?
        do {
            published = try PublishedText(version: Position(rawValue: decision.version), in: log)
        } catch is ReadingFault {}
        // A decision names its policy: a text of another one is not what it was taken by.
        let found = published?.policy == decision.policy ? published?.territories() : nil
        territories[decision.version] = .some(found)
        return found
    }
}
