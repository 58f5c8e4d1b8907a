import Glibc
import LMDB
import Synchronization
import Testing

@testable import Ledger

@Suite struct EventLogTests {
    // MARK: Appending

    @Test func `an event is answered with its place and reads as it was said`() throws {
        let ledger = try TestLedger()
        let event = TestEvent(id: "a", text: "\"n\":1", personal: "\"name\":\"Zoë\"", occurredAt: 5)
        let receipt = try #require(ledger.append(event).receipt)
        #expect(receipt.first == .zero && receipt.last == .zero && !receipt.isDuplicate)
        #expect(receipt.recordedAt == ledger.clock.now.load(ordering: .relaxed))
        #expect(receipt.events.map(\.version) == [version(1)])
        #expect(ledger.log.end == position(1))
        try ledger.log.record(at: .zero) { record in
            #expect(record.subject.text == "L-1" && record.publicMembers.text == "\"n\":1")
            #expect(record.personalMembers.text == "\"name\":\"Zoë\"" && record.occurredAt == 5)
            #expect(record.ledgerID == ledger.log.ledgerID && record.actor == 1_000)
            #expect(LeafHash(of: record.whole) == receipt.events[0].leaf)
        }
        #expect(try ledger.log.leaf(at: .zero) == receipt.events[0].leaf)
        #expect(try ledger.log.record(at: position(1)) { _ in } == nil)
        #expect(try ledger.log.leaf(at: position(1)) == nil)
    }

    @Test func `a unit is appended whole, or not at all, and its neighbours are not touched`() throws {
        let ledger = try TestLedger()
        let units = [
            [TestEvent(stream: "A", id: "1", type: 1), TestEvent(stream: "B", id: "1", type: 1)],
            // Its second event cannot happen.
            [TestEvent(stream: "A", id: "2", type: 2), TestEvent(stream: "C", id: "2", type: 2)],
            [TestEvent(stream: "A", id: "3", type: 2)],
            [TestEvent(stream: "B", id: "2", type: 3), TestEvent(stream: "B", id: "3", type: 4)],
        ].map { ledger.unit($0) }
        for unit in units { ledger.prepare(unit) }
        // One group: they are queued while the appender has not begun.
        let outcomes = ledger.submit(units)
        #expect(outcomes[0].receipt?.last == position(1))
        #expect(outcomes[1].refusal == .lifecycle(event: 1, reason: 2, state: nil))
        #expect(outcomes[2].receipt?.first == position(2) && outcomes[2].receipt?.events[0].version == version(2))
        #expect(outcomes[3].receipt?.events.map(\.version) == [version(2), version(3)])
        #expect(ledger.log.end == position(5))
        #expect(try ledger.log.stream(StreamKey("C")) == nil)
        #expect(try ledger.log.positions(of: StreamKey("A"), from: version(1), limit: 9) == [position(0), position(2)])
    }

    @Test func `a retry is told what the first one was`() throws {
        let ledger = try TestLedger()
        let unit = [TestEvent(stream: "A", id: "1"), TestEvent(stream: "B", id: "1"), TestEvent(stream: "A", id: "2")]
        let first = try #require(ledger.append(unit).receipt)
        ledger.clock.now.add(1_000, ordering: .relaxed)
        ledger.append(TestEvent(stream: "A", id: "9"))
        for _ in 0..<3 {
            var again = try #require(ledger.append(unit).receipt)
            #expect(again.isDuplicate)
            again.isDuplicate = false
            #expect(again == first)
            ledger.flushIndex()
        }
        #expect(ledger.log.end == position(4))
    }

    @Test func `a retry within one group is told so too`() throws {
        let ledger = try TestLedger()
        // Hold the appender in the first group by a slow sink, so that the others form one.
        let units = (0..<4).map { _ in ledger.unit([TestEvent(id: "same"), TestEvent(id: "other")]) }
        for unit in units { ledger.prepare(unit) }
        let receipts = ledger.submit(units).compactMap(\.receipt)
        #expect(receipts.map(\.isDuplicate) == [false, true, true, true])
        #expect(receipts.allSatisfy { $0.events == receipts[0].events && $0.first == .zero && $0.last == position(1) })
    }

    @Test func `other content under a name is refused, as is half a unit`() throws {
        let ledger = try TestLedger()
        ledger.append(TestEvent(id: "a", type: 5), TestEvent(id: "b"))
        #expect(
            ledger.append(TestEvent(id: "c"), TestEvent(id: "b", text: "\"n\":2")).refusal
                == .idReused(event: 1, position: position(1)))
        #expect(
            ledger.append(TestEvent(id: "c"), TestEvent(id: "b")).refusal
                == .partialDuplicate(stored: [(1, position(1))]))
        #expect(
            ledger.append(TestEvent(id: "c"), TestEvent(id: "c")).refusal == .nameTwiceInUnit(event: 1, first: 0))
        // Looked at before expectation and lifecycle: it is the original answer.
        ledger.append(TestEvent(stream: "S", id: "1", type: 1))
        ledger.append(TestEvent(stream: "S", id: "2", type: 3))
        let again = ledger.append([TestEvent(stream: "S", id: "1", type: 1)], expecting: [("S", .none)])
        #expect(again.receipt?.isDuplicate == true)
        #expect(ledger.log.end == position(4))
    }

    @Test func `an expectation that does not hold names who got there first`() throws {
        let ledger = try TestLedger()
        for index in 0..<30 { ledger.append(TestEvent(id: "\(index)")) }
        #expect(ledger.append([TestEvent(id: "x")], expecting: [("L-1", .version(version(30)))]).receipt != nil)
        #expect(
            ledger.append([TestEvent(stream: "N", id: "x")], expecting: [("N", .none), ("L-1", .any)]).receipt != nil)
        // All ages of what is between: tail, row, older.
        for flush in [false, true] {
            if flush { ledger.flushIndex() }
            for expected in [30, 29, 20, 16, 15, 14, 3, 0] {
                let refusal = ledger.append(
                    [TestEvent(id: "y")], expecting: [("N", .any), ("L-1", .version(version(UInt64(expected))))]
                ).refusal
                let first = (expected...30).prefix(16).map { StoredEvent(position: position(UInt64($0)), type: 5) }
                #expect(refusal == .versionConflict(expectation: 1, current: version(31), since: first))
            }
            #expect(
                ledger.append([TestEvent(id: "y")], expecting: [("L-1", .version(version(40)))]).refusal
                    == .versionConflict(expectation: 0, current: version(31), since: []))
            #expect(
                ledger.append([TestEvent(stream: "N", id: "y")], expecting: [("N", .none)]).refusal
                    == .versionConflict(
                        expectation: 0, current: version(1), since: [StoredEvent(position: position(31), type: 5)]))
        }
    }

    /// Goal: the event that got there first is named however many came after it, wherever it is known. Method: a stream with several
    /// marks (`EventTables`), of which the tail has all, then nothing, then the newer half, and last a part that is being appended.
    @Test func `a conflict far behind names the first events after the expected version`() throws {
        var configuration = LogConfiguration.test
        // The index takes in nothing but what it is told to.
        configuration.indexCommitInterval = .seconds(30)
        let ledger = try TestLedger(LedgerFolder(), configuration)
        var positions: [Position] = []
        func grow(by count: Int) throws {
            for _ in 0..<count {
                positions.append(try #require(ledger.append(TestEvent(id: "\(positions.count)")).receipt).first)
            }
        }
        func conflict(after expected: Int) -> AppendRefusal {
            .versionConflict(
                expectation: 0, current: version(UInt64(positions.count)),
                since: positions.dropFirst(expected).prefix(16).map { StoredEvent(position: $0, type: 5) })
        }
        func verify() {
            for expected in 0..<positions.count {
                let refusal = ledger.append(
                    [TestEvent(id: "late")], expecting: [("L-1", .version(version(UInt64(expected))))]
                ).refusal
                #expect(refusal == conflict(after: expected), "after \(expected) of \(positions.count)")
            }
        }
        try grow(by: 150)
        verify()
        haveForgotten(by: ledger) { $0.row == nil }
        verify()
        try grow(by: 100)
        verify()
        // Conflicts with what the same group has appended.
        let expected = [0, 140, 150, 240, 249, 250, 251, 300, 310, 330, 349]
        let appends = (0..<100).map { ledger.unit([TestEvent(id: "group \($0)")]) }
        let late = expected.map { expected in
            let unit = ledger.unit([TestEvent(id: "late")])
            unit.expect(stream: StreamKey("L-1"), .version(version(UInt64(expected))))
            return unit
        }
        for unit in appends + late { ledger.prepare(unit) }
        let outcomes = ledger.submit(appends + late)
        positions += outcomes.compactMap { $0.receipt?.first }
        #expect(positions.count == 350)
        for (expected, outcome) in zip(expected, outcomes.dropFirst(100)) {
            #expect(outcome.refusal == conflict(after: expected), "after \(expected)")
        }
    }

    @Test func `recorded-at never goes back, and a clock far behind stops appends`() throws {
        let folder = LedgerFolder()
        let clock = TestClock()
        let start = clock.now.load(ordering: .relaxed)
        do {
            let ledger = try TestLedger(folder, clock: clock)
            #expect(ledger.append(TestEvent(id: "1")).receipt?.recordedAt == start)
            clock.now.store(start - 299_000_000, ordering: .relaxed)
            #expect(ledger.append(TestEvent(id: "2")).receipt?.recordedAt == start)
            clock.now.store(start - 301_000_000, ordering: .relaxed)
            #expect(
                ledger.append(TestEvent(id: "3")).refusal
                    == .clockBehind(lastRecordedAt: start, now: start - 301_000_000))
            // What is stored is still answered.
            #expect(ledger.append(TestEvent(id: "2")).receipt?.isDuplicate == true)
        }
        let ledger = try TestLedger(folder, clock: clock)
        #expect(ledger.append(TestEvent(id: "3")).refusal != nil)
        clock.now.store(start + 1, ordering: .relaxed)
        #expect(ledger.append(TestEvent(id: "3")).receipt?.recordedAt == start + 1)
    }

    @Test func `a hot stream knows its events of every age`() throws {
        let folder = LedgerFolder()
        var configuration = LogConfiguration.test
        configuration.indexCommitEvents = 3
        let events = (0..<30).map { TestEvent(id: "event-\($0)", text: "\"n\":\($0)") }
        func verify(_ ledger: TestLedger, _ count: Int) throws {
            for index in 0..<count {
                let receipt = try #require(ledger.append(events[index]).receipt)
                #expect(receipt.isDuplicate && receipt.first == position(UInt64(index)))
                #expect(receipt.events[0].version == version(UInt64(index + 1)))
            }
            let all = (0..<UInt64(count)).map { position($0) }
            for (from, limit) in [(0, 99), (1, 99), (5, 3), (12, 7), (13, 99), (19, 2), (count, 9), (count + 1, 9)] {
                let wanted = all.dropFirst(max(0, from - 1)).prefix(limit)
                #expect(
                    try ledger.log.positions(of: StreamKey("L-1"), from: version(UInt64(from)), limit: limit)
                        == Array(wanted))
            }
        }
        do {
            let ledger = try TestLedger(folder, configuration)
            for index in 0..<30 {
                ledger.append(events[index])
                try verify(ledger, index + 1)
            }
            ledger.flushIndex()
            try verify(ledger, 30)
        }
        let ledger = try TestLedger(folder, configuration)
        #expect(ledger.log.indexOrigin == .kept)
        try verify(ledger, 30)
        let row = try #require(try ledger.log.stream(StreamKey("L-1")))
        #expect(row.first == .zero && row.last == position(29) && row.version == version(30))
    }

    @Test func `a snapshot older than what the overlay has forgotten is looked up again`() throws {
        let ledger = try TestLedger()
        let late = ledger.unit([TestEvent(id: "twice")])
        let lateNext = ledger.unit([TestEvent(id: "next", type: 2)])
        ledger.prepare(late)
        ledger.prepare(lateNext)
        ledger.append(TestEvent(id: "twice"))
        // Three index commits and as many trims: the overlay has forgotten the first event.
        for index in 0..<4 {
            ledger.flushIndex()
            ledger.append(TestEvent(stream: "other", id: "\(index)"))
        }
        #expect(ledger.log.overlay.currentRow(of: StreamKey("L-1")).floor > 0)
        let outcomes = ledger.submit([late, lateNext])
        #expect(outcomes[0].receipt?.isDuplicate == true)
        #expect(outcomes[1].receipt?.events[0].version == version(2))
    }

    @Test func `a stream of which the tail has the newest event only is read without waiting for the index`() throws {
        var configuration = LogConfiguration.test
        // Far longer than the test takes: the index takes in nothing but what it is told to.
        configuration.indexCommitInterval = .seconds(30)
        let ledger = try TestLedger(LedgerFolder(), configuration)
        ledger.append(TestEvent(id: "old"))
        haveForgotten(by: ledger) { $0.floor > 0 }

        let newest = try #require(ledger.append(TestEvent(id: "new")).receipt)
        let taken = ledger.log.status.indexProgress
        for limit in [1, 2, 9] {
            #expect(
                try ledger.log.positions(of: StreamKey("L-1"), from: version(1), limit: limit)
                    == [.zero, newest.first].prefix(limit).map { $0 })
        }
        #expect(
            try ledger.log.positions(of: StreamKey("L-1"), from: version(2), limit: 9) == [newest.first])
        #expect(ledger.log.status.indexProgress == taken, "the answer came only when the index had moved on")
    }

    @Test func `positions are gap-free under four threads, and each answer is true`() throws {
        let ledger = try TestLedger()
        let log = ledger.log
        let eachCount = 500
        let results = Mutex<[(TestEvent, AppendOutcome)]>([])
        let threads = try (0..<4).map { thread in
            try WorkerThread.start("writer") {
                var snapshot = try! log.makeIndexSnapshot()
                let sink = TestSink()
                for round in 0..<eachCount / 10 {
                    try! snapshot.renew()
                    // Events of shared streams, some under names that two threads share.
                    let events = (0..<10).map { index in
                        TestEvent(
                            stream: "L-\(index % 4)", source: index % 5 == 0 ? "shared" : "thread-\(thread)",
                            id: "\(round)-\(index)")
                    }
                    let units = events.enumerated().map { index, event in
                        let unit = AppendUnit(
                            ledgerID: log.ledgerID, replyTo: sink, token: UInt64(round * 10 + index))
                        try! unit.add(event)
                        log.prepare(unit, using: &snapshot)
                        return unit
                    }
                    snapshot.reset()
                    var rest = units[...]
                    while !rest.isEmpty { rest = rest.dropFirst(log.submit(rest)) }
                    let outcomes = sink.wait(for: units.map(\.token))
                    results.withLock { $0 += zip(events, outcomes) }
                }
                #expect(sink.tokensInOrder == (0..<UInt64(eachCount)).map { $0 })
            }
        }
        threads.forEach { $0.join() }

        var read: [(stream: String, source: String, id: String)] = []
        var versions: [String: UInt64] = [:]
        var next = Position.zero
        while next < log.end {
            next = try log.read(from: next, limit: 300, maxBytes: .max) { record in
                #expect(record.position.rawValue == UInt64(read.count))
                read.append((record.subject.text, record.source.text, record.eventID.text))
                versions[record.subject.text, default: 0] += 1
                #expect(record.version.rawValue == versions[record.subject.text])
                return true
            }
        }
        // 4 threads x 8 of 10 events of their own, and 2 of 10 stored once for all.
        #expect(read.count == 4 * eachCount * 8 / 10 + eachCount * 2 / 10)
        for (event, outcome) in results.withLock({ $0 }) {
            let stored = read[Int(try #require(outcome.receipt).first.rawValue)]
            #expect(stored == (event.stream, event.source, event.id))
        }
    }

    @Test func `news are told after each commit, until they are no longer wanted`() throws {
        let ledger = try TestLedger()
        let ends = Mutex<[Position]>([])
        let token = ledger.log.onAppend { end in ends.withLock { $0.append(end) } }
        ledger.append(TestEvent(id: "1"))
        ledger.append(TestEvent(id: "1"))
        ledger.append(TestEvent(id: "2"))
        waitUntil { ends.withLock { $0.count } == 2 }
        ledger.log.removeOnAppend(token)
        ledger.append(TestEvent(id: "3"))
        #expect(ends.withLock { $0 } == [position(1), position(2)])
    }

    @Test func `reading stops where it is told to, and says where to go on`() throws {
        let ledger = try TestLedger()
        for index in 0..<20 { ledger.append(TestEvent(id: "\(index)")) }
        func read(_ from: UInt64, limit: Int = .max, maxBytes: Int = .max, stopAt: UInt64? = nil) throws -> (
            Int, UInt64
        ) {
            var count = 0
            let next = try ledger.log.read(from: position(from), limit: limit, maxBytes: maxBytes) { record in
                count += 1
                return record.position.rawValue != stopAt
            }
            return (count, next.rawValue)
        }
        #expect(try read(0) == (20, 20))
        #expect(try read(5, limit: 4) == (4, 9))
        #expect(try read(5, limit: 0) == (0, 5))
        #expect(try read(5, maxBytes: 1) == (1, 6))
        #expect(try read(5, stopAt: 7) == (3, 8))
        #expect(try read(20) == (0, 20))
        #expect(try read(25) == (0, 25))
        struct Stop: Error {}
        #expect(throws: Stop.self) { try ledger.log.read(from: .zero, limit: 1, maxBytes: 1) { _ in throw Stop() } }
    }

    // MARK: Bounds

    @Test func `a full queue takes no more, and says when it does again`() throws {
        var configuration = LogConfiguration.test
        configuration.queueUnitsMax = 3
        let queue = AppendQueue(bytesMax: 1 << 20, unitsMax: 3)
        let sink = TestSink()
        let units = try (0..<5 as Range<UInt64>).map { token in
            let unit = AppendUnit(ledgerID: LedgerID(high: 0, low: 0), replyTo: sink, token: token)
            try unit.add(TestEvent(id: "\(token)"))
            return unit
        }
        #expect(queue.submit(units) == 3)
        #expect(queue.submit(units[3...]) == 0)
        queue.whenRoom(sink)
        queue.whenRoom(sink)
        #expect(sink.roomCalls == 0)
        var taken = UnitGroup()
        #expect(queue.take(eventsMax: 2, into: &taken) && taken.tokens == [0, 1])
        #expect(sink.roomCalls == 1)
        #expect(queue.load.units == 1 && queue.submit(units[3...]) == 2)
        #expect(queue.take(eventsMax: 10, into: &taken) && taken.tokens == [2, 3, 4])
        #expect(queue.load == (0, 0))
        queue.whenRoom(sink)
        #expect(sink.roomCalls == 2)
        // Bounded by bytes too, but one always fits.
        let narrow = AppendQueue(bytesMax: 500, unitsMax: 9)
        #expect(narrow.submit(units) == 1)
        narrow.close()
        #expect(narrow.waitForUnits() && narrow.take(eventsMax: 1, into: &taken))
        #expect(!narrow.waitForUnits() && !narrow.take(eventsMax: 1, into: &taken))
        #expect(narrow.submit(units) == 0)
    }

    @Test func `units leave the array they are handed over in, as far as there is room, in their order`() throws {
        let queue = AppendQueue(bytesMax: 1 << 20, unitsMax: 3)
        var units = try (0..<5 as Range<UInt64>).map { token in
            let unit = AppendUnit(ledgerID: LedgerID(high: 0, low: 0), replyTo: TestSink(), token: token)
            try unit.add(TestEvent(id: "\(token)"))
            return unit
        }
        queue.submit(removingFrom: &units)
        #expect(units.map(\.token) == [3, 4] && queue.load.units == 3)
        queue.submit(removingFrom: &units)
        #expect(units.map(\.token) == [3, 4])
        var taken = UnitGroup()
        #expect(queue.take(eventsMax: 2, into: &taken) && taken.tokens == [0, 1])
        queue.submit(removingFrom: &units)
        #expect(units.isEmpty && queue.take(eventsMax: 9, into: &taken) && taken.tokens == [2, 3, 4])
        // Into an empty queue the array goes as a whole.
        let again = taken.take().flatMap(\.units)
        units = [again[1], again[0]]
        let bytes = units[0].byteCount + units[1].byteCount
        queue.submit(removingFrom: &units)
        #expect(units.isEmpty && queue.load == (2, bytes))
        #expect(queue.take(eventsMax: 9, into: &taken) && taken.tokens == [3, 2])
        #expect(queue.load == (0, 0))
        queue.close()
        units = taken.take().flatMap(\.units)
        queue.submit(removingFrom: &units)
        #expect(units.count == 2)
    }

    @Test func `where the index cannot follow, the tail fills and appends are refused until it can`() throws {
        var configuration = LogConfiguration.test
        configuration.tailEventsMax = 100
        configuration.indexCommitEvents = 10
        let isFull = Atomic<Bool>(true)
        let isFullShared = Shared(isFull)
        configuration.faults = LogFaults { point in
            point == .indexSpace && isFullShared.value.load(ordering: .relaxed) ? ENOSPC : nil
        }
        let ledger = try TestLedger(LedgerFolder(), configuration)
        for index in 0..<100 { #expect(ledger.append(TestEvent(id: "\(index)")).receipt != nil) }
        #expect(ledger.append(TestEvent(id: "more")).refusal == .tailFull(retryAfterMilliseconds: 250))
        waitUntil { ledger.log.status.indexPausedBecause != nil }
        #expect(try ledger.log.stream(StreamKey("L-1"))?.version == version(100))
        isFullShared.value.store(false, ordering: .relaxed)
        ledger.flushIndex()
        #expect(ledger.log.status.indexPausedBecause == nil)
        waitUntil { ledger.append(TestEvent(id: "more")).receipt != nil }
        #expect(ledger.log.status.tailEvents <= 100)
    }

    // MARK: Errors of the device

    @Test func `a full disk is refused, reads go on, and appends as soon as there is room`() throws {
        let fault = Shared(Atomic<Bool>(false))
        var configuration = LogConfiguration.test
        configuration.faults = LogFaults { point in
            point == .space && fault.value.load(ordering: .relaxed) ? ENOSPC : nil
        }
        let ledger = try TestLedger(LedgerFolder(), configuration)
        ledger.append(TestEvent(id: "1"))
        fault.value.store(true, ordering: .relaxed)
        #expect(ledger.append(TestEvent(id: "2")).refusal == .diskFull)
        #expect(try ledger.log.record(at: .zero) { $0.eventID.text } == "1")
        fault.value.store(false, ordering: .relaxed)
        #expect(ledger.append(TestEvent(id: "2")).receipt?.first == position(1))
        #expect(!ledger.log.isPoisoned)
    }

    @Test func `L6: a full map is refused whole, and everything before it stays`() throws {
        var configuration = LogConfiguration.test
        configuration.logMapBytes = 1 << 20
        let folder = LedgerFolder()
        var stored = 0
        do {
            let ledger = try TestLedger(folder, configuration)
            while true {
                let outcome = ledger.append(
                    TestEvent(id: "\(stored)-a", text: "\"t\":\"\(String(repeating: "x", count: 2_500))\""),
                    TestEvent(id: "\(stored)-b"))
                if outcome.refusal == .ledgerFull { break }
                try #require(outcome.receipt != nil)
                stored += 1
            }
            #expect(stored > 50 && ledger.log.end.rawValue == UInt64(2 * stored) && !ledger.log.isPoisoned)
            #expect(ledger.append(TestEvent(id: "0-b")).receipt?.isDuplicate == true)
            #expect(try ledger.log.stream(StreamKey("L-1"))?.version.rawValue == UInt64(2 * stored))
        }
        configuration.logMapBytes = 2 << 20
        let ledger = try TestLedger(folder, configuration)
        #expect(ledger.log.end.rawValue == UInt64(2 * stored))
        #expect(ledger.append(TestEvent(id: "more")).receipt?.first.rawValue == UInt64(2 * stored))
    }

    @Test func `a put that fails drops its group for everybody, what was refused in it included`() throws {
        let fault = Shared(Atomic<Bool>(true))
        var configuration = LogConfiguration.test
        // MDB_MAP_FULL.
        configuration.faults = LogFaults { point in
            point == .put && fault.value.load(ordering: .relaxed) ? -30792 : nil
        }
        let ledger = try TestLedger(LedgerFolder(), configuration)
        #expect(ledger.append(TestEvent(id: "1"), TestEvent(id: "2")).refusal == .ledgerFull)
        #expect(ledger.log.end == .zero)
        fault.value.store(false, ordering: .relaxed)
        #expect(ledger.append(TestEvent(id: "1"), TestEvent(id: "2")).receipt?.isDuplicate == false)
    }

    // EIO, a full disk in the middle of a commit, MDB_PANIC, and codes that nobody knows.
    @Test(arguments: [LogFaults.Point.commit, .commitReported], [EIO, ENOSPC, ENXIO, EROFS, -30779, -30795, 9_999])
    func `L1, L2: a commit that fails poisons the log for good, and a retry after a restart tells`(
        point: LogFaults.Point, code: Int32
    ) throws {
        let fault = Shared(Atomic<Bool>(false))
        var configuration = LogConfiguration.test
        configuration.faults = LogFaults { $0 == point && fault.value.load(ordering: .relaxed) ? code : nil }
        let folder = LedgerFolder()
        do {
            let ledger = try TestLedger(folder, configuration)
            ledger.append(TestEvent(id: "1"))
            fault.value.store(true, ordering: .relaxed)
            #expect(ledger.append(TestEvent(id: "2")).isUnknown)
            waitUntil { ledger.poison.reports.count == 1 }
            fault.value.store(false, ordering: .relaxed)
            #expect(ledger.append(TestEvent(id: "3")).refusal == .poisoned)
            #expect(ledger.append(TestEvent(id: "1")).refusal == .poisoned)
            #expect(ledger.log.isPoisoned && ledger.log.end == position(1))
            #expect(try ledger.log.record(at: .zero) { $0.eventID.text } == "1")
            #expect(ledger.poison.reports.count == 1)
        }
        let ledger = try TestLedger(folder)
        let retried = try #require(ledger.append(TestEvent(id: "2")).receipt)
        #expect(retried.isDuplicate == (point == .commitReported) && retried.first == position(1))
        #expect(ledger.append(TestEvent(id: "3")).receipt?.first == position(2))
    }

    @Test func `an index that breaks stops the log, and is rebuilt at the next start`() throws {
        var configuration = LogConfiguration.test
        configuration.faults = LogFaults { $0 == .indexCommit ? EIO : nil }
        let folder = LedgerFolder()
        do {
            let ledger = try TestLedger(folder, configuration)
            ledger.append(TestEvent(id: "1"))
            waitUntil { ledger.poison.reports.count == 1 }
            #expect(ledger.append(TestEvent(id: "2")).refusal == .poisoned)
        }
        let ledger = try TestLedger(folder)
        #expect(ledger.log.indexOrigin == .created(.stateMissing))
        #expect(ledger.append(TestEvent(id: "1")).receipt?.isDuplicate == true)
    }

    @Test func `L4: a flipped bit in a record is found by every reader`() throws {
        let folder = LedgerFolder()
        do {
            let ledger = try TestLedger(folder)
            for index in 0..<5 {
                ledger.append(TestEvent(id: "event-\(index)", text: "\"word\":\"haystack-\(index)\""))
            }
        }
        // Beyond the tail that a start verifies there is nothing here, so the flip comes after the start.
        let ledger = try TestLedger(folder)
        try flip("haystack-2", in: folder.path + "/log/data.mdb")
        #expect(throws: LedgerError.self) { try ledger.log.record(at: position(2)) { _ in } }
        // Records are checked two at a time: the flipped one is once the first and once the second of its pair.
        for start: UInt64 in 0...2 {
            var seen: UInt64 = 0
            let error = #expect(throws: LedgerError.self) {
                try ledger.log.read(from: position(start), limit: 9, maxBytes: .max) { _ in
                    seen += 1
                    return true
                }
            }
            #expect(seen == 2 - start && error?.kind == .corruption && error?.position == position(2))
        }
        // Who stops before it does not see it.
        #expect(try ledger.log.read(from: position(1), limit: 1, maxBytes: .max) { _ in true } == position(2))
        #expect(try ledger.log.read(from: position(1), limit: 9, maxBytes: .max) { _ in false } == position(2))
        // A retry of the changed event must not be called another one: the log stops.
        #expect(ledger.append(TestEvent(id: "event-2", text: "\"word\":\"haystack-2\"")).isUnknown)
        waitUntil { ledger.poison.reports.count == 1 }
        #expect(ledger.poison.reports[0].kind == .corruption)
        ledger.close()
        let reopened = #expect(throws: LedgerError.self) { try TestLedger(folder) }
        #expect(reopened?.kind == .corruption && reopened?.position == position(2))
    }

    /// Has the index take in what there is, and the tail forget it.
    /// - Parameter isForgotten: looks at the newest event of L-1 in the tail, and where the tail begins.
    private func haveForgotten(
        by ledger: TestLedger, until isForgotten: ((row: StreamRow?, floor: UInt64)) -> Bool
    ) {
        // The floor follows the index by a commit, and moves with the next group.
        for id in ["1", "2"] {
            ledger.flushIndex()
            ledger.append(TestEvent(stream: "B", id: id))
        }
        // A group is answered before the tail forgets, and forgets what it knew by then: so groups are sent until it has.
        var more = 0
        waitUntil {
            more += 1
            ledger.append(TestEvent(stream: "B", id: "more \(more)"))
            return isForgotten(ledger.log.overlay.currentRow(of: StreamKey("L-1")))
        }
    }
}

/// Lets closures share what is not copyable.
final class Shared<Value: ~Copyable & Sendable>: Sendable {
    let value: Value
    init(_ value: consuming Value) { self.value = value }
}

/// Changes one letter of `text` wherever it stands in the file: LMDB leaves old copies of a page behind.
func flip(_ text: String, in path: String) throws {
    let bytes = try #require(fileBytes(path))
    let wanted = Array(text.utf8)
    let starts = (0..<bytes.count - wanted.count).filter {
        bytes[$0] == wanted[0] && bytes[$0..<$0 + wanted.count].elementsEqual(wanted)
    }
    try #require(!starts.isEmpty)
    let descriptor = open(path, O_WRONLY)
    defer { close(descriptor) }
    for start in starts { pwrite(descriptor, [wanted[0] ^ 1], 1, off_t(start)) }
}

func fileBytes(_ path: String) -> [UInt8]? {
    guard let file = fopen(path, "r") else { return nil }
    defer { fclose(file) }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 1 << 16)
    while true {
        let count = fread(&chunk, 1, chunk.count, file)
        if count == 0 { return bytes }
        bytes += chunk[..<count]
    }
}
