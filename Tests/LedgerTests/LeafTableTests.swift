import Glibc
import LMDB
import Synchronization
import TestSupport
import Testing

@testable import Ledger

@Suite struct LeafTableTests {
    private let folder = LedgerFolder()

    private static func events(_ count: Int, _ tag: String) -> [TestEvent] {
        (0..<count).map { TestEvent(stream: "L-\($0 % 5)", id: "\(tag)-\($0)", text: "\"n\":\($0)") }
    }

    /// Each event has the leaf hash of its record, by itself and for one who reads from anywhere; and there are no others.
    private func expectWhole(_ ledger: TestLedger, sourceLocation: SourceLocation = #_sourceLocation) throws {
        let log = ledger.log
        let end = log.end.rawValue
        for at in 0..<end {
            let leaf = try log.record(at: position(at)) { LeafHash(of: $0.whole) }
            #expect(try log.leaf(at: position(at)) == leaf, "\(at)", sourceLocation: sourceLocation)
        }
        #expect(try log.leaf(at: position(end)) == nil, sourceLocation: sourceLocation)
        for from in Swift.stride(from: 0, through: end, by: 7) {
            var next = from
            var slice = from
            repeat {
                slice = next
                next = try log.read(from: position(slice), limit: .max, maxBytes: .max) { _ in true }.rawValue
            } while next > slice
            #expect(next == end, sourceLocation: sourceLocation)
        }
        let count = try log.log.environment.read { try log.log.leaves.count(in: $0) }
        #expect(count.map(UInt64.init) == end, sourceLocation: sourceLocation)
    }

    private func findings() -> [LogChecker.Finding] {
        var findings: [LogChecker.Finding] = []
        LogChecker.checkLog(directory: folder.path, lifecycle: testLifecycle, mayUseTmpfs: true) { findings.append($0) }
        return findings
    }

    private func withLog<R>(readOnly: Bool = false, _ body: (Environment) throws -> R) throws -> R {
        let environment = try Environment.open(
            directory: folder.path + "/log",
            options: .init(mapSize: 256 << 20, durability: .synced, readOnly: readOnly, mayUseTmpfs: true))
        defer { environment.close() }
        return try body(environment)
    }

    private static let newestKey = Array("newest leaves".utf8)

    @Test(arguments: [1, 2, 3]) func `whatever the groups were, each event has its leaf hash`(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        var ledger = try TestLedger(folder)
        for round in 0..<60 {
            let count = Int.random(in: 1...(round % 4 == 0 ? 40 : 3), using: &generator)
            let units = (0..<count).map {
                ledger.unit(Self.events(Int.random(in: 1...3, using: &generator), "\(round)-\($0)"))
            }
            for unit in units { ledger.prepare(unit) }
            #expect(ledger.submit(units).allSatisfy { $0.receipt != nil })
            if round % 6 == 0 {
                try expectWhole(ledger)
                ledger.close()
                ledger = try TestLedger(folder)
                try expectWhole(ledger)
            }
        }
        ledger.close()
        #expect(findings() == [])
    }

    /// As logs were written once: an entry for each event, nothing in the main table.
    private func takeBlocksApart() throws {
        try withLog { environment in
            let leaves = try environment.openTables(LeafTable.name)[0]
            let records = try #require(try environment.existingTable(named: "records"))
            let main = try environment.mainTable()
            try environment.write { transaction in
                try transaction.clear(leaves)
                try Self.newestKey.withUnsafeBytes { _ = try transaction.delete(in: main, at: $0) }
                let count = UInt64(try transaction.count(of: records))
                for at in 0..<count {
                    let record = try #require(try transaction.unsafeValue(in: records, at: at))
                    try LeafHash(of: record).withBytes { try transaction.put($0, in: leaves, at: at, .append) }
                }
            }
        }
    }

    /// A ledger of which the first events were appended when each leaf hash had its entry.
    private func makeOld(_ events: Int) throws {
        let old = try TestLedger(folder)
        if events > 0 { old.append(Self.events(events, "old")) }
        old.close()
        try takeBlocksApart()
    }

    private func begin(_ before: Int) -> UInt64 { (UInt64(before) + 15) / 16 * 16 }

    /// The entries of the table, and whether the main table has one.
    private func layout() throws -> (entries: Int, hasNewest: Bool) {
        try withLog(readOnly: true) { environment in
            let leaves = try #require(try environment.existingTable(named: LeafTable.name))
            let main = try environment.mainTable()
            return try environment.read { transaction in
                let newest = try Self.newestKey.withUnsafeBytes { try transaction.unsafeValue(in: main, at: $0) }
                return (try transaction.count(of: leaves), newest != nil)
            }
        }
    }

    @Test(arguments: [0, 1, 15, 16, 17, 31, 40]) func `a log with an entry for each event is gone on with`(
        before: Int
    ) throws {
        try makeOld(before)
        #expect(findings() == [])
        // Opened and left alone, then one event at a time over the place where blocks begin, opened anew between them.
        try expectWhole(try TestLedger(folder))
        for round in 0..<20 {
            let ledger = try TestLedger(folder)
            ledger.append(TestEvent(id: "new-\(round)"))
            try expectWhole(ledger)
            ledger.close()
            // Until there is a block an earlier program finds what it left, and more of it.
            let end = UInt64(before + round + 1)
            let layout = try layout()
            #expect(layout.hasNewest == (end > begin(before)))
            #expect(layout.entries == Int(min(end, begin(before)) + (max(end, begin(before)) - begin(before)) / 16))
        }
        let ledger = try TestLedger(folder)
        ledger.append(Self.events(50, "more"))
        #expect(ledger.append(TestEvent(id: "new-3")).receipt?.isDuplicate == true)
        try expectWhole(ledger)
        ledger.close()
        #expect(findings() == [])
        let end = UInt64(before + 70)
        #expect(try layout().entries == Int(begin(before) + (end - begin(before)) / 16))
    }

    @Test(arguments: [10, 16])
    func `a group may cross the place where blocks begin, be dropped there, and ask for itself`(
        before: Int
    ) throws {
        try makeOld(before)
        let putsLeft = Shared(Atomic<Int>(.max))
        var configuration = LogConfiguration.test
        configuration.faults = LogFaults { point in
            point == .put && putsLeft.value.subtract(1, ordering: .relaxed).newValue < 0 ? -30792 : nil
        }
        let ledger = try TestLedger(folder, configuration)
        func group(_ tag: String, _ count: Int) -> [AppendUnit] {
            // Each twice: the second is a duplicate of its own group's.
            let events = (0..<count).map { [TestEvent(stream: "\(tag)-\($0)", id: "1")] }
            let units = (events + events).map { ledger.unit($0) }
            for unit in units { ledger.prepare(unit) }
            return units
        }
        for puts in [3, 9, 30] {
            putsLeft.value.store(puts, ordering: .relaxed)
            #expect(ledger.submit(group("dropped-\(puts)", 40)).allSatisfy { $0.refusal == .ledgerFull })
            putsLeft.value.store(.max, ordering: .relaxed)
            try expectWhole(ledger)
        }
        // A register alone is no event.
        let register = ledger.unit([])
        register.write([RegisterWrite(key: [7, 7], value: [1, 2, 3])])
        #expect(ledger.submit([register])[0].refusal == nil)
        try expectWhole(ledger)
        let receipts = ledger.submit(group("crossing", 40)).map(\.receipt)
        #expect(receipts.prefix(40).allSatisfy { $0?.isDuplicate == false })
        #expect(receipts.suffix(40).allSatisfy { $0?.isDuplicate == true })
        try expectWhole(ledger)
        ledger.close()
        try expectWhole(try TestLedger(folder))
        #expect(findings() == [])
    }

    /// At a put, or when all is put (nil).
    @Test(arguments: [1, 5, 16, 17, 30, nil] as [Int?])
    func `a group that is dropped leaves the leaf hashes as they were`(puts: Int?) throws {
        let putsLeft = Shared(Atomic<Int>(.max))
        var configuration = LogConfiguration.test
        // MDB_MAP_FULL.
        configuration.faults = LogFaults { point in
            guard point == (puts == nil ? .commit : .put) else { return nil }
            return putsLeft.value.subtract(1, ordering: .relaxed).newValue < 0 ? -30792 : nil
        }
        let ledger = try TestLedger(folder, configuration)
        ledger.append(Self.events(13, "before"))
        putsLeft.value.store(puts ?? 0, ordering: .relaxed)
        let units = (0..<100).map { ledger.unit([TestEvent(stream: "M-\($0)", id: "1")]) }
        for unit in units { ledger.prepare(unit) }
        #expect(ledger.submit(units).allSatisfy { $0.refusal == .ledgerFull })
        putsLeft.value.store(.max, ordering: .relaxed)
        try expectWhole(ledger)
        ledger.append(Self.events(20, "after"))
        try expectWhole(ledger)
        ledger.close()
        #expect(findings() == [])
    }

    @Test func `an event of the same group is compared, whether its block is full or not`() throws {
        let ledger = try TestLedger(folder)
        ledger.append(Self.events(10, "before"))
        // The first fills a block; both are asked for again in their own group.
        let first = (0..<14).map { [TestEvent(stream: "A-\($0)", id: "1")] }
        let units = (first + first).map { ledger.unit($0) }
        for unit in units { ledger.prepare(unit) }
        let receipts = ledger.submit(units).map(\.receipt)
        for index in first.indices {
            #expect(receipts[index]?.isDuplicate == false && receipts[index + 14]?.isDuplicate == true)
            #expect(receipts[index]?.events == receipts[index + 14]?.events)
        }
        try expectWhole(ledger)
    }

    @Test func `L4: whatever is flipped in the newest block is found, and no daemon serves it`() throws {
        try TestLedger(folder).append(Self.events(37, "a"))
        #expect(findings() == [])
        let value = try withLog(readOnly: true) { environment in
            let main = try environment.mainTable()
            return try environment.read { transaction in
                try Self.newestKey.withUnsafeBytes { try transaction.bytes(copying: main, at: $0) }
            }
        }
        let sound = try #require(value)
        #expect(sound.count == 16 + 5 * 32)
        func store(_ bytes: [UInt8]) throws {
            try withLog { environment in
                let main = try environment.mainTable()
                try environment.write { transaction in
                    try Self.newestKey.withUnsafeBytes { key in
                        try bytes.withUnsafeBytes { try transaction.put($0, in: main, at: key) }
                    }
                }
            }
        }
        var wrong = (0..<sound.count).map { byte in
            var bytes = sound
            bytes[byte] ^= 1 << (byte % 8)
            return bytes
        }
        wrong += [
            [], Array(sound.dropLast()), Array(sound.dropLast(32)), sound + sound.prefix(32), Array(sound.prefix(15)),
        ]
        wrong.append(sound + [UInt8](repeating: 7, count: 32 * 11))
        for bytes in wrong {
            try store(bytes)
            #expect(!findings().isEmpty, "\(bytes)")
            let error = #expect(throws: LedgerError.self, "\(bytes)") { try TestLedger(folder) }
            #expect(error?.kind == .corruption && error?.hint != nil, "\(bytes)")
        }
        try store(sound)
        #expect(findings() == [])
        try expectWhole(try TestLedger(folder))
    }

    @Test func `a commit leaves the table alone until sixteen more events are there`() throws {
        let ledger = try TestLedger(folder)
        let environment = ledger.log.log.environment
        let leaves = try #require(try environment.existingTable(named: LeafTable.name))
        for index in 0..<64 {
            ledger.append(TestEvent(id: "\(index)"))
            #expect(try environment.read { try $0.count(of: leaves) } == (index + 1) / 16)
        }
    }
}
