import Leads
import Testing

@testable import Ledger
@testable import Projections

/// Given events, the rows of the models `leads` and `queue`.
@Suite(.timeLimit(.minutes(10))) struct LeadsAndQueueTests {
    private func lead(_ id: String, _ models: Models) throws -> LeadRow {
        try #require(try models.read(LeadsProjection.self) { try $0.lead(key(id)) })
    }

    private func waiting(_ models: Models, _ filter: QueueFilter = QueueFilter(), asOf: Int64 = 1_000) throws
        -> QueueList
    {
        try models.read(QueueProjection.self) { try $0.waiting(filter, limit: 100, asOf: instant(asOf)) }
    }

    @Test func `a lead has its stage, custody, owner, counts and last reason`() throws {
        let models = try models([
            LeadEvent(lead: "A", type: .captured, at: 10, data: #""channel":"paid search","source":"g""#),
            LeadEvent(lead: "A", type: .touched, at: 20, data: #""channel":"mail","kind":"click""#),
            LeadEvent(lead: "A", type: .assigned, at: 30, data: #""member":"ann""#),
            LeadEvent(lead: "A", type: .contactAttempted, at: 40, data: #""by":"ann","medium":"call""#),
            LeadEvent(lead: "A", type: .contacted, at: 50, data: #""by":"ann","medium":"call""#),
            LeadEvent(lead: "A", type: .lost, at: 60, data: #""reason":"price""#),
        ])
        let row = try lead("A", models)
        #expect(row.stage == .lost && row.custody == .none && row.owner == "ann" && row.lastReason == "price")
        #expect(row.channel == .named("paid search") && row.source == .named("g") && row.campaign == .absent)
        #expect(
            row.counts
                == LeadCounts(
                    captures: 1, touches: 1, attempts: 1, contacts: 1, assignments: 1, wins: 0, lost: 1,
                    disqualified: 0,
                    recycles: 0, reopens: 0))
        #expect(
            row.version == StreamVersion(rawValue: 6) && row.latestAt == instant(60) && row.capturedAt == instant(10))
    }

    @Test func `the marketing fields are those of the earliest capture by instant`() throws {
        let models = try models([
            LeadEvent(lead: "A", type: .captured, at: 100, data: #""channel":"late""#),
            LeadEvent(lead: "A", type: .captured, at: 10, data: #""channel":"early""#),
            LeadEvent(lead: "A", type: .captured, at: 50, data: #""channel":"between""#),
        ])
        #expect(try lead("A", models).channel == .named("early"))
        #expect(try waiting(models).rows.first?.channel == .named("early"))
    }

    @Test func `a blank channel is none, and not the channel named unknown`() throws {
        let models = try models([
            LeadEvent(lead: "A", type: .captured, at: 1, data: #""channel":"  ""#),
            LeadEvent(lead: "B", type: .captured, at: 2, data: #""channel":"unknown""#),
            LeadEvent(lead: "C", type: .captured, at: 3),
        ])
        #expect(try waiting(models, QueueFilter(channel: .absent)).rows.map(\.id) == ["A", "C"])
        #expect(try waiting(models, QueueFilter(channel: .named("unknown"))).rows.map(\.id) == ["B"])
    }

    @Test func `a win has its value as revised, and an un-win brings back the one before`() throws {
        let won = [
            LeadEvent(lead: "A", type: .captured, at: 0),
            LeadEvent(lead: "A", type: .won, at: 10, data: #""amount":100,"currency":"EUR""#),
            LeadEvent(lead: "A", type: .reopened, at: 20, data: #""kind":"new_business""#, variant: .newBusiness),
            LeadEvent(lead: "A", type: .won, at: 30, data: #""amount":7,"currency":"USD""#),
            LeadEvent(lead: "A", type: .wonRevised, at: 40, data: #""amount":9,"reason":"typo""#),
        ]
        let row = try lead("A", models(won))
        #expect(row.conversion?.amount == 9 && row.conversion?.currency?.code == "USD" && row.counts.wins == 2)
        let undone = try lead(
            "A",
            models(won + [LeadEvent(lead: "A", type: .reopened, at: 50, data: #""kind":"un_win""#, variant: .unWin)]))
        #expect(
            undone.conversion?.amount == 100 && undone.conversion?.currency?.code == "EUR" && undone.stage == .captured)
    }

    @Test func `a win before the earliest capture is flagged, until an earlier capture comes`() throws {
        let late = [
            LeadEvent(lead: "A", type: .captured, at: 100),
            LeadEvent(lead: "A", type: .won, at: 50, data: #""amount":1,"currency":"EUR""#),
        ]
        #expect(try lead("A", models(late)).isCapturedAfterConversion)
        let mended = late + [LeadEvent(lead: "A", type: .captured, at: 20)]
        #expect(try lead("A", models(mended)).isCapturedAfterConversion == false)
    }

    @Test func `the queue lists who waits, oldest first, with the age as of the stated instant`() throws {
        let models = try models([
            LeadEvent(lead: "new", type: .captured, at: 300), LeadEvent(lead: "old", type: .captured, at: 100),
            LeadEvent(lead: "owned", type: .captured, at: 50),
            LeadEvent(lead: "owned", type: .assigned, at: 60, data: #""member":"m""#),
            LeadEvent(lead: "queued", type: .captured, at: 10),
            LeadEvent(lead: "queued", type: .queued, at: 200, data: #""queue":"emea""#),
            LeadEvent(lead: "won", type: .captured, at: 5),
            LeadEvent(lead: "won", type: .won, at: 6, data: #""amount":1,"currency":"EUR""#),
        ])
        let list = try waiting(models, asOf: 400)
        #expect(list.rows.map(\.id) == ["old", "queued", "new"] && list.total == 3)
        #expect(list.rows.map { $0.ageMicroseconds / 1_000_000 } == [300, 200, 100])
        #expect(list.rows[1].queue == "emea" && list.rows[1].custody == .queue)
        #expect(try waiting(models, QueueFilter(custody: .inbox)).rows.map(\.id) == ["old", "new"])
        #expect(try waiting(models, QueueFilter(queue: "emea")).total == 1)
    }

    @Test func `a lead that moves waits from then on, one that stays keeps its place`() throws {
        let models = try models([
            LeadEvent(lead: "A", type: .captured, at: 10), LeadEvent(lead: "B", type: .captured, at: 20),
            LeadEvent(lead: "A", type: .marketingQualified, at: 30), LeadEvent(lead: "A", type: .captured, at: 40),
            LeadEvent(lead: "C", type: .captured, at: 15),
            LeadEvent(lead: "C", type: .assigned, at: 16, data: #""member":"m""#),
            LeadEvent(lead: "C", type: .released, at: 35, data: #""reason":"busy""#),
        ])
        let rows = try waiting(models).rows
        #expect(rows.map(\.id) == ["A", "B", "C"])
        #expect(rows.map(\.since.time) == [instant(10), instant(20), instant(35)])
        #expect(rows[0].stage == .mql)
    }

    @Test func `pages of the queue follow one another without loss`() throws {
        let models = try models((0..<25).map { LeadEvent(lead: "L\($0)", type: .captured, at: Int64($0 / 3)) })
        for filter in [QueueFilter(), QueueFilter(custody: .inbox)] {
            var seen: [String] = []
            var after: Occurrence?
            while true {
                let page = try models.read(QueueProjection.self) {
                    try $0.waiting(filter, after: after, limit: 4, asOf: instant(0))
                }
                #expect(page.total == 25)
                guard let last = page.rows.last else { break }
                seen += page.rows.map(\.id)
                after = last.since
            }
            #expect(seen == (0..<25).map { "L\($0)" })
        }
    }
}
