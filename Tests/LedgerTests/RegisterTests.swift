import Glibc
import LMDB
import Synchronization
import TestSupport
import Testing

@testable import Ledger

/// Values that commit with events.
@Suite struct RegisterTests {
    private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

    private func registers(_ log: EventLog, prefix: String = "", from: String? = nil) throws -> [String] {
        var found: [String] = []
        try log.registers(withPrefix: bytes(prefix), from: from.map { bytes($0) }) { key, value in
            found.append("\(key.text)=\(value?.text ?? "broken")")
            return true
        }
        return found
    }

    /// Submits events and writes as one unit. A nil value deletes.
    @discardableResult
    private func store(
        _ ledger: TestLedger, _ events: [TestEvent] = [], _ writes: [(String, String?)],
        expecting: [(String, ExpectedVersion)] = []
    ) -> AppendOutcome {
        let unit = unit(ledger, events, writes, expecting)
        return ledger.submit([unit])[0]
    }

    private func unit(
        _ ledger: TestLedger, _ events: [TestEvent], _ writes: [(String, String?)],
        _ expecting: [(String, ExpectedVersion)] = []
    ) -> AppendUnit {
        let unit = ledger.unit(events)
        for (stream, expected) in expecting { unit.expect(stream: StreamKey(stream), expected) }
        unit.write(writes.map { RegisterWrite(key: bytes($0.0), value: $0.1.map { bytes($0) }) })
        ledger.prepare(unit)
        return unit
    }

    private func isStored(_ outcome: AppendOutcome) -> Bool { if case .stored = outcome { true } else { false } }

    @Test func `writes commit with events, or alone without taking a position`() throws {
        let ledger = try TestLedger()
        #expect(try registers(ledger.log).isEmpty)
        let before = ledger.log.status.lastRecordedAt
        ledger.clock.now.add(1_000_000, ordering: .relaxed)
        #expect(isStored(store(ledger, [("a", "1"), ("b", "2")])))
        #expect(ledger.log.end == .zero && ledger.log.status.lastRecordedAt == before)
        let receipt = store(ledger, [TestEvent(id: "x")], [("b", nil), ("c", "3"), ("zz", nil)]).receipt
        #expect(receipt?.first == .zero)
        #expect(try registers(ledger.log) == ["a=1", "c=3"])
        // The later of two writes of a key counts.
        store(ledger, [("a", "4"), ("a", "5"), ("c", "6"), ("c", nil)])
        #expect(try registers(ledger.log) == ["a=5"])
    }

    @discardableResult
    private func store(_ ledger: TestLedger, _ writes: [(String, String?)]) -> AppendOutcome {
        store(ledger, [], writes)
    }

    @Test func `they are listed by prefix, in key order, from a key on`() throws {
        let ledger = try TestLedger()
        store(ledger, [], [("b2", "x"), ("a", "x"), ("b1", ""), ("b3", "x"), ("c", "x")])
        #expect(try registers(ledger.log, prefix: "b") == ["b1=", "b2=x", "b3=x"])
        #expect(try registers(ledger.log, prefix: "b", from: "b2") == ["b2=x", "b3=x"])
        #expect(try registers(ledger.log, prefix: "d").isEmpty)
    }

    @Test func `they are there after a restart, also of a ledger that had none`() throws {
        let folder = LedgerFolder()
        do {
            let ledger = try TestLedger(folder)
            ledger.append(TestEvent(id: "x"))
        }
        do {
            let ledger = try TestLedger(folder)
            #expect(ledger.log.log.registers == nil)
            store(ledger, [], [("k", "v")])
        }
        let ledger = try TestLedger(folder)
        #expect(ledger.log.log.registers != nil)
        #expect(try registers(ledger.log) == ["k=v"] && ledger.log.end == position(1))
    }

    @Test func `a refused unit writes none, and its neighbours theirs`() throws {
        let ledger = try TestLedger()
        ledger.append(TestEvent(stream: "S", id: "1", type: 1))
        let units = [
            unit(ledger, [TestEvent(stream: "A", id: "1")], [("a", "1")]),
            // The lifecycle refuses its event.
            unit(ledger, [TestEvent(stream: "S", id: "2", type: 1)], [("b", "1")]),
            // What it expects does not hold, though it has no events.
            unit(ledger, [], [("c", "1")], [("S", .none)]),
            unit(ledger, [], [("d", "1")], [("S", .version(version(1)))]),
            unit(ledger, [TestEvent(stream: "S", id: "1", type: 1, text: "\"n\":2")], [("e", "1")]),
        ]
        let outcomes = ledger.submit(units)
        #expect(outcomes[0].receipt != nil && isStored(outcomes[3]))
        #expect(outcomes[1].refusal == .lifecycle(event: 0, reason: 1, state: 1 << 8))
        #expect(outcomes[2].refusal != nil && outcomes[4].refusal == .idReused(event: 0, position: .zero))
        #expect(try registers(ledger.log) == ["a=1", "d=1"])
    }

    @Test func `a duplicate writes its registers all the same`() throws {
        let ledger = try TestLedger()
        ledger.append(TestEvent(id: "x"), TestEvent(id: "y"))
        for flush in [false, true] {
            if flush { ledger.flushIndex() }
            let outcome = store(ledger, [TestEvent(id: "x"), TestEvent(id: "y")], [("k", "\(flush)")])
            #expect(outcome.receipt?.isDuplicate == true)
            #expect(try registers(ledger.log) == ["k=\(flush)"])
        }
        // Half of it stored: refused, and nothing written.
        #expect(store(ledger, [TestEvent(id: "x"), TestEvent(id: "z")], [("k", "no")]).refusal != nil)
        #expect(try registers(ledger.log) == ["k=true"])
        #expect(ledger.log.end == position(2))
    }

    // Sendable: the value is an atomic.
    private final class Switch: Sendable {
        let isOn = Atomic<Bool>(false)
    }

    @Test(arguments: [(LogFaults.Point.space, ENOSPC), (.put, -30_792)])
    func `without room nothing is written, and a duplicate that would write is refused`(
        _ point: LogFaults.Point, _ code: Int32
    ) throws {
        let isFull = Switch()
        var configuration = LogConfiguration.test
        configuration.faults = LogFaults { $0 == point && isFull.isOn.load(ordering: .relaxed) ? code : nil }
        let ledger = try TestLedger(LedgerFolder(), configuration)
        ledger.append(TestEvent(id: "x"))
        isFull.isOn.store(true, ordering: .relaxed)
        let full: AppendRefusal = point == .space ? .diskFull : .ledgerFull
        #expect(store(ledger, [], [("a", "1")]).refusal == full)
        #expect(store(ledger, [TestEvent(id: "x")], [("a", "1")]).refusal == full)
        #expect(ledger.append(TestEvent(id: "x")).receipt?.isDuplicate == true)
        #expect(try registers(ledger.log).isEmpty)
        isFull.isOn.store(false, ordering: .relaxed)
        // The table that was begun in the dropped transaction is made now.
        #expect(isStored(store(ledger, [], [("a", "1")])))
        #expect(store(ledger, [TestEvent(id: "x")], [("b", "2")]).receipt?.isDuplicate == true)
        #expect(try registers(ledger.log) == ["a=1", "b=2"])
    }

    @Test func `a commit that fails leaves the outcome unknown, and poisons as for events`() throws {
        var configuration = LogConfiguration.test
        configuration.faults = LogFaults { $0 == .commit ? EIO : nil }
        let ledger = try TestLedger(LedgerFolder(), configuration)
        #expect(store(ledger, [], [("a", "1")]).isUnknown)
        #expect(ledger.log.isPoisoned)
        // What came while the first was answered may be told that it is unknown too.
        waitUntil { store(ledger, [], [("a", "1")]).refusal == .poisoned }
    }

    @Test func `random units keep registers and events in step, through restarts`() throws {
        let seed = announcedSeed("RegisterTests")
        var random = SeededGenerator(seed: seed)
        let folder = LedgerFolder()
        var plain: [String: String] = [:]
        var events = 0
        var refused = 0
        for round in 0..<4 {
            let ledger = try TestLedger(folder)
            for step in 0..<300 {
                let writes = (0..<Int.random(in: 0...4, using: &random)).map { _ -> (String, String?) in
                    let key = "k\(Int.random(in: 0..<60, using: &random))"
                    return (key, Bool.random(using: &random) ? "\(round)-\(step)" : nil)
                }
                // Type 3 ends a stream, and is refused where there is none to end.
                let wanted = (0..<Int.random(in: (writes.isEmpty ? 1 : 0)...2, using: &random)).map {
                    TestEvent(
                        stream: "S\(Int.random(in: 0..<9, using: &random))", id: "\(round)-\(step)-\($0)",
                        type: [1, 3, 4, 5].randomElement(using: &random)!)
                }
                switch store(ledger, wanted, writes) {
                case .refused: refused += 1
                case .unknown, .wouldAppend: Issue.record("seed \(seed): unknown")
                case .appended, .stored:
                    events += wanted.count
                    for (key, value) in writes { plain[key] = value }
                }
            }
            let expected = plain.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
            #expect(try registers(ledger.log) == expected, "seed \(seed)")
            #expect(ledger.log.end == position(UInt64(events)), "seed \(seed)")
        }
        #expect(refused > 100 && events > 300)
    }

    @Test func `what changed on the disk, or stands under another key, is broken, and the checker says so`() throws {
        let folder = LedgerFolder()
        do {
            let ledger = try TestLedger(folder)
            store(ledger, [], [("a", "1"), ("b", "2"), ("c", "3")])
        }
        func findings() -> [LogChecker.Finding] {
            var findings: [LogChecker.Finding] = []
            LogChecker.checkLog(directory: folder.path, lifecycle: testLifecycle, mayUseTmpfs: true) {
                findings.append($0)
            }
            return findings
        }
        #expect(findings().isEmpty)
        do {
            let environment = try Environment.open(
                directory: folder.path + "/log",
                options: .init(mapSize: 256 << 20, durability: .synced, mayUseTmpfs: true))
            let table = try #require(try environment.existingTable(named: LogStore.registersName))
            var transaction = try environment.beginWrite()
            var value = try #require(
                try transaction.bytes(copying: table, at: UnsafeRawBufferPointer("a" as StaticString)))
            try value.withBytes { (value) throws(LMDBError) in
                try transaction.put(value, in: table, at: UnsafeRawBufferPointer("d" as StaticString))
            }
            value[0] ^= 1
            try value.withBytes { (value) throws(LMDBError) in
                try transaction.put(value, in: table, at: UnsafeRawBufferPointer("b" as StaticString))
            }
            try [1, 2, 3].withBytes { (value) throws(LMDBError) in
                try transaction.put(value, in: table, at: UnsafeRawBufferPointer("c" as StaticString))
            }
            try transaction.commit()
        }
        #expect(findings().map(\.place) == ["register 62", "register 63", "register 64"])
        let ledger = try TestLedger(folder)
        #expect(try registers(ledger.log) == ["a=1", "b=broken", "c=broken", "d=broken"])
    }

    @Test func `the example drawn in the layout is what is stored`() {
        #expect(
            RegisterValue.sealed([1], [0x61]) == [0x61, 0x09, 0x82, 0x45, 0x61, 0xbb, 0x9d, 0xc3, 0xfe])
    }
}
