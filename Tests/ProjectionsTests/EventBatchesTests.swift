import Glibc
import JSON
import Leads
import Synchronization
import Testing

@testable import Ledger
@testable import Projections

/// What the workers share: events that are read once and handed out lead by lead.
@Suite(.timeLimit(.minutes(10))) struct EventBatchesTests {
    /// Who reads, where that makes no difference.
    private let follower = EventBatches.Follower()

    // MARK: Order and completeness

    /// Against the log itself, read record by record: nothing is left out, nothing is twice, and each lead's events are together
    /// and in order, whatever part of a batch is asked for.
    @Test(arguments: [UInt64(11), 12, 13]) func `a batch has all events of its range, lead by lead`(seed: UInt64) throws
    {
        print("seed \(seed)")
        let log = try LeadLog()
        var events = RandomEvents(seed: seed, leads: 15)
        try log.append(events.next(300))
        var generator = Seeded(seed)
        let batch = try #require(try EventDecoder().decode(from: 0, limit: 10_000, of: log.log))
        #expect(batch.start == 0 && batch.end == log.log.end.rawValue && batch.fault == nil)
        var looked = 0
        var partsSeen = 0
        for _ in 0..<40 {
            let range = UInt64.random(in: 0...150, using: &generator)..<UInt64.random(in: 150...300, using: &generator)
            var positions: [UInt64] = []
            var keys: [StreamKey] = []
            try batch.withEvents(in: range) { run in
                for lead in run {
                    keys.append(lead.key)
                    var last: UInt64?
                    for event in lead {
                        #expect(last.map { $0 < event.position } ?? true)
                        last = event.position
                        positions.append(event.position)
                        try log.log.record(at: Position(rawValue: event.position)) { record in
                            #expect(record.streamKey == lead.key && record.subject.elementsEqual(event.subject))
                            #expect(record.type == event.type.rawValue && record.variant == event.variant.rawValue)
                            #expect(record.instant == event.instant && record.version.rawValue == event.version)
                            #expect(record.isBackfill == event.isBackfill)
                        }
                        looked += 1
                    }
                    #expect(last != nil, "a lead without events was handed out")
                }
                var last: UInt64?
                for event in run.pools {
                    #expect(event.type == .poolDecisionVoided && last.map { $0 < event.position } ?? true)
                    last = event.position
                    positions.append(event.position)
                }
            }
            // In parts it is the same, no lead in two of them, and the pools' events come last.
            batch.withEvents(in: range) { run in
                let count = Int.random(in: 1...120, using: &generator)
                let parts = run.parts(of: count)
                #expect(parts.flatMap { part in part.map(\.key) } == keys)
                #expect(
                    parts.flatMap { part in part.flatMap { $0.map(\.position) } + part.pools.map(\.position) }
                        == positions)
                #expect(parts.dropLast().allSatisfy { part in part.pools.map(\.position).isEmpty })
                partsSeen += parts.count
            }
            #expect(positions.sorted() == Array(range))
            #expect(zip(keys, keys.dropFirst()).allSatisfy { $0 < $1 })
        }
        #expect(looked > 1_000 && partsSeen > 80)
    }

    // MARK: Sharing

    @Test func `each event is read once for workers that go side by side`() throws {
        let log = try LeadLog()
        var events = RandomEvents(seed: 3, leads: 20)
        try log.append(events.next(800))
        let source = CountingSource(log.log)
        let batches = EventBatches(source: source, eventsMax: 100)
        let decoders = (0..<4).map { _ in EventDecoder() }
        var positions = [UInt64](repeating: 0, count: 4)
        while positions.contains(where: { $0 < 800 }) {
            for worker in 0..<4 where positions[worker] < 800 {
                let batch = try #require(
                    try batches.batch(at: positions[worker], with: decoders[worker], for: follower))
                #expect(batch.start <= positions[worker] && batch.end <= 800)
                // The last one takes its batches in two steps.
                positions[worker] = worker == 3 ? min(batch.end, positions[worker] + 60) : batch.end
            }
        }
        #expect(source.eventsRead == 800)
        // One that comes later reads for itself, since the first batches have made way; who waits at the end gets none.
        #expect(try batches.batch(at: 0, with: decoders[0], for: follower)?.start == 0)
        #expect(source.eventsRead == 900)
        #expect(try batches.batch(at: 800, with: decoders[0], for: follower) == nil)
        try log.append(events.next(1))
        #expect(try batches.batch(at: 800, with: decoders[0], for: follower)?.end == 801)
    }

    @Test func `no more batches are kept than the limit says`() throws {
        let log = try LeadLog()
        var events = RandomEvents(seed: 4, leads: 20)
        try log.append(events.next(200))
        let source = CountingSource(log.log)
        let batches = EventBatches(source: source, eventsMax: 10)
        let decoder = EventDecoder()
        weak var first: EventBatch?
        for position in stride(from: UInt64(0), to: UInt64(ProjectionLimits.batchesKept + 1) * 10, by: 10) {
            let batch = try #require(try batches.batch(at: position, with: decoder, for: follower))
            if position == 0 { first = batch }
        }
        #expect(first == nil)
    }

    /// Threads that ask for the same batch at the same time: one reads, the others wait for it.
    @Test func `workers that come together wait for the one that reads`() throws {
        let log = try LeadLog()
        var events = RandomEvents(seed: 5, leads: 20)
        try log.append(events.next(2_000))
        let source = CountingSource(log.log)
        let batches = EventBatches(source: source, eventsMax: 100)
        let turn = Atomic<UInt64>(0)
        let arrived = Atomic<Int>(0)
        let wrong = Atomic<Int>(0)
        let threads = try (0..<4).map { _ in
            try WorkerThread.start("batches") {
                let decoder = EventDecoder()
                for step in 0..<20 as Range<UInt64> {
                    // All are let go at once.
                    if arrived.add(1, ordering: .acquiringAndReleasing).newValue == 4 * (Int(step) + 1) {
                        turn.store(step + 1, ordering: .releasing)
                    }
                    while turn.load(ordering: .acquiring) <= step { sched_yield() }
                    let batch = try? batches.batch(at: step * 100, with: decoder, for: follower)
                    if batch?.end != (step + 1) * 100 { wrong.add(1, ordering: .relaxed) }
                }
            }
        }
        for thread in threads { thread.join() }
        #expect(wrong.load(ordering: .relaxed) == 0)
        #expect(source.eventsRead == 2_000)
    }

    @Test
    func
        `who is ahead of a worker that moves waits, and not for one that rests, is far behind, or does not answer yet`()
    {
        let batches = EventBatches(source: EmptySource(), eventsMax: 100)
        let (fast, slow) = (EventBatches.Follower(), EventBatches.Follower())
        batches.join(fast)
        batches.join(slow)
        func isAhead(_ position: UInt64, of other: UInt64, isMoving: Bool = true, answers: Bool = true) -> Bool {
            fast.position.store(position, ordering: .relaxed)
            fast.answers.store(true, ordering: .relaxed)
            fast.isMoving.store(true, ordering: .relaxed)
            slow.position.store(other, ordering: .relaxed)
            slow.answers.store(answers, ordering: .relaxed)
            slow.isMoving.store(isMoving, ordering: .relaxed)
            return batches.isAhead(fast)
        }
        #expect(isAhead(201, of: 100))
        #expect(!isAhead(200, of: 100))
        #expect(!isAhead(100, of: 201))
        #expect(!isAhead(201, of: 100, isMoving: false))
        #expect(!isAhead(201, of: 100, answers: false))
        #expect(!isAhead(100 * UInt64(ProjectionLimits.batchesKept) + 1, of: 0))
        #expect(isAhead(100 * UInt64(ProjectionLimits.batchesKept), of: 0))
        batches.leave(slow)
        #expect(!isAhead(201, of: 100))
    }

    // MARK: What goes wrong

    /// Within a batch leads are met in the order of their keys, not of the log: whichever of two bad events is met first, the model
    /// stops at the one that comes first in the log, with all before it.
    @Test func `of two bad events in one batch the first one stops the model`() throws {
        var orders: Set<Bool> = []
        for pair in 0..<6 {
            let (first, second) = ("A\(pair)", "B\(pair)")
            orders.insert(key(first) < key(second))
            let log = try LeadLog()
            try log.append([
                LeadEvent(lead: first, type: .captured, at: 0), LeadEvent(lead: second, type: .captured, at: 1),
                LeadEvent(lead: "C", type: .captured, at: 2),
                LeadEvent(lead: first, type: .won, at: 3, data: #""currency":"EUR""#),
                LeadEvent(lead: second, type: .won, at: 4, data: #""amount":1,"currency":"XXX""#),
                LeadEvent(lead: "D", type: .captured, at: 5),
            ])
            let models = try Models(of: log)
            for name in ["leads", "funnel", "attribution"] {
                func status() -> ProjectionStatus? { models.set.status.first { $0.name == name } }
                while status()?.state != .stopped { usleep(1_000) }
                #expect(status()?.position == Position(rawValue: 3))
                #expect(status()?.reason?.contains("position 3") == true, "\(status()?.reason ?? "")")
                #expect(status()?.reason?.contains("amount") == true)
            }
        }
        #expect(orders.count == 2, "all pairs lie the same way: other names are needed")
    }

    @Test func `an event that no model knows ends its batch, and stops each model that comes to it`() throws {
        let log = try LeadLog()
        try log.append([
            LeadEvent(lead: "A", type: .captured, at: 0),
            // The lifecycle knows it, the models of this version do not.
            LeadEvent(lead: "A", type: .scored, at: 1),
            LeadEvent(lead: "B", type: .captured, at: 2),
        ])
        let batch = try #require(try EventDecoder().decode(from: 0, limit: 10, of: log.log))
        #expect(batch.end == 1 && batch.fault?.reason.contains("4") == true)
        let models = try Models(of: log)
        while models.set.status.contains(where: { $0.state != .stopped }) { usleep(1_000) }
        for status in models.set.status {
            #expect(status.position == Position(rawValue: 1))
            #expect(status.reason?.contains("position 1") == true)
        }
    }

    @Test func `an error of the log reaches who reads, and the next one tries again`() throws {
        let log = try LeadLog()
        try log.append([LeadEvent(lead: "A", type: .captured, at: 0)])
        let source = CountingSource(log.log)
        let batches = EventBatches(source: source, eventsMax: 10)
        source.fails.store(true, ordering: .relaxed)
        #expect(throws: LedgerError.self) { try batches.batch(at: 0, with: EventDecoder(), for: follower) }
        source.fails.store(false, ordering: .relaxed)
        #expect(try batches.batch(at: 0, with: EventDecoder(), for: follower)?.end == 1)
    }

    // MARK: Members

    /// The quick way and the parser see the same, or the quick way gives up. Lists are made at random out of pieces that are good,
    /// odd and broken.
    @Test(arguments: [UInt64(21), 22]) func `what is kept of an event's data is what the parser finds`(seed: UInt64)
        throws
    {
        print("seed \(seed)")
        var generator = Seeded(seed)
        let names = [
            "channel", "source", "campaign", "medium", "landing_page", "by", "member", "queue", "reason", "amount",
            "currency",
            "direction", "referrer", "kind", #"ch\u0061nnel"#, "",
        ]
        let values = [
            #""paid-search""#, #""""#, #""caf\u00e9""#, #""café 😀""#, #""a\"b""#, #""a,b:c}""#, "0", "-5", "12.0",
            "1e3", "007",
            "123456789012345678", "9223372036854775807", "true", "null", #"{"channel":"x"}"#, "[1,2]", #""EUR""#,
            #""outbound""#, "",
            #""open"#,
        ]
        var parser = JSONParser()
        var (quick, refused) = (0, 0)
        for _ in 0..<20_000 {
            let members = (0..<Int.random(in: 0...4, using: &generator)).map { _ in
                #""\#(names.randomElement(using: &generator)!)":\#(values.randomElement(using: &generator)!)"#
            }
            let list = Array(members.joined(separator: ",").utf8)
            list.withUnsafeBytes { bytes in
                let document = Array("{".utf8) + list + Array("}".utf8)
                let root = try? parser.parse(document)
                if root == nil { refused += 1 }
                guard let found = KeptMembers(simple: bytes) else { return }
                // What nobody keeps is not judged: the appender has.
                guard let root else { return }
                quick += 1
                let expected = KeptMembers(root)
                #expect(found.amount == expected.amount && found.isOutbound == expected.isOutbound)
                #expect((found.currency.map { Array($0) } ?? []) == (expected.currency.map { Array($0) } ?? []))
                for text in 0..<9 { #expect(Array(found.texts[text]) == Array(expected.texts[text])) }
            }
        }
        #expect(quick > 2_000 && refused > 2_000, "\(quick) and \(refused)")
    }

    @Test func `twice the same member, an open string and a list without a value are left to the parser`() {
        for text in [
            #""by":"a","by":"b""#, #""by":"a"#, #""by":"#, #""by""#, #""by":"a","#, #"by:"a""#,
            #""by":"a""reason":"b""#,
            #""amount":01"#, #""amount":1.5"#, #""amount":[1]"#, #","by":"a""#,
        ] {
            #expect(Array(text.utf8).withUnsafeBytes { KeptMembers(simple: $0) } == nil, "\(text)")
        }
    }
}

/// A log that counts what is read of it.
private final class CountingSource: EventSource {
    private let log: any EventSource
    private let count = Atomic<Int>(0)
    let fails = Atomic<Bool>(false)

    init(_ log: any EventSource) { self.log = log }

    var eventsRead: Int { count.load(ordering: .relaxed) }
    var ledgerID: LedgerID { log.ledgerID }
    var end: Position { log.end }

    func read(from: Position, limit: Int, maxBytes: Int, _ body: (RecordView) throws -> Bool) throws -> Position {
        if fails.load(ordering: .relaxed) { throw LedgerError(.corruption, "planted") }
        return try log.read(from: from, limit: limit, maxBytes: maxBytes) { record in
            count.add(1, ordering: .relaxed)
            return try body(record)
        }
    }

    func onAppend(_ body: @escaping @Sendable (Position) -> Void) -> UInt64 { log.onAppend(body) }
    func removeOnAppend(_ token: UInt64) { log.removeOnAppend(token) }
}

private final class EmptySource: EventSource {
    var ledgerID: LedgerID { LedgerID(high: 0, low: 0) }
    var end: Position { .zero }
    func read(from: Position, limit: Int, maxBytes: Int, _ body: (RecordView) throws -> Bool) throws -> Position {
        from
    }
    func onAppend(_ body: @escaping @Sendable (Position) -> Void) -> UInt64 { 0 }
    func removeOnAppend(_ token: UInt64) {}
}
