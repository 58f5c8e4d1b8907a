import JSON
import Leads
import Schemas
import Testing

/// What clocks append is what the schemas of its events take, in the longest form and the shortest.
@Suite struct ClockEntrySchemaTests {
    private static let at = Instant(microseconds: 1_772_442_000_000_000)
    private static let elapsed = ResponseClock.Elapsed(wall: 300_000_000, business: 0)
    private static let long = ClockEntry.Terms(
        target: "fast \"one\"", policy: "sales", version: 41, seconds: 300, measure: .business, calendar: "office",
        holder: "kim", zones: "2025b")
    private static let short = ClockEntry.Terms(target: "t", policy: "p", version: 0, seconds: 0, measure: .wall)

    static let entries: [ClockEntry] =
        ClockKind.allCases.map { .started(.init(clock: $0, terms: short, cause: 0, at: at)) }
        + ClockEntry.Escalated.Action.allCases.map {
            .escalated(.init(clock: .accept, target: "fast", step: 150, action: $0, to: ["kim", "bo"]))
        } + [
            .started(.init(clock: .followUp, terms: long, cause: 812, at: at, due: at, pool: "emea", attempt: 3)),
            .paused(.qualify, reason: "customer", elapsed: elapsed), .paused(.qualify, reason: nil, elapsed: elapsed),
            .resumed(.qualify, reason: "reopened", due: at, elapsed: elapsed),
            .resumed(.qualify, reason: nil, due: nil, elapsed: elapsed),
            .met(.init(clock: .accept, at: at, cause: 830, by: "kim", due: at, elapsed: elapsed, late: true)),
            .met(.init(clock: .accept, at: at, elapsed: elapsed, late: false)),
            .breached(.stageAge, due: at, elapsed: elapsed),
            .stopped(.firstResponse, at: at, reason: "lost", elapsed: elapsed),
            .replaced(.init(clock: .firstResponse, terms: long, due: at, elapsed: elapsed)),
            .escalated(.init(clock: .accept, target: nil, step: 1, action: .notify)),
            .inboxAlarmed(since: at, seconds: 5), .inboxAlarmed(since: at, seconds: nil),
        ]

    @Test(arguments: entries) func `an entry is of its event's schema`(entry: ClockEntry) throws {
        var bytes: [UInt8] = []
        entry.appendData(to: &bytes)
        try DecisionReadingTests.expectValid(bytes, entry.type.name)
    }

    @Test func `an entry is written as drawn`() {
        var bytes: [UInt8] = []
        Self.entries.first { if case .met = $0 { true } else { false } }?.appendData(to: &bytes)
        #expect(
            String(decoding: bytes, as: UTF8.self)
                == #"{"clock":"accept","at":"2026-03-02T09:00:00Z","cause":830,"by":"kim","due":"2026-03-02T09:00:00Z","#
                + #""elapsed":{"wall":300000000,"business":0},"late":true}"#)
    }

    @Test func `what moves a lead is of its event's schema`() throws {
        for body: ClockAction.Body in [
            .queued(queue: "emea", reason: ClockReasons.escalated), .recycled(reason: "escalated", toNurture: false),
            .recycled(reason: ClockReasons.cadenceEnded, toNurture: true),
        ] {
            let event = ClockAction.Event(id: "e", time: nil, causation: 1, body: body)
            var bytes: [UInt8] = []
            event.appendData(to: &bytes)
            try DecisionReadingTests.expectValid(bytes, event.type.name)
        }
    }
}
