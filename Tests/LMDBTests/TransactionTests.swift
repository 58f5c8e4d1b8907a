import CLMDB
import Glibc
import TestSupport
import Testing

@testable import LMDB

@Suite struct TransactionTests {
    let directory = TemporaryDirectory()
    let environment: Environment
    let table: Table

    init() throws {
        environment = try directory.open()
        table = try environment.openTables("t")[0]
    }

    @Test func `a transaction that goes away has written nothing`() throws {
        do {
            var transaction = try environment.beginWrite()
            try transaction.put("lost", in: table, at: 1)
            #expect(try transaction.text(in: table, at: 1) == "lost")
        }
        do {
            var transaction = try environment.beginWrite()
            try transaction.put("lost", in: table, at: 1)
            transaction.abort()
        }
        struct Stop: Error {}
        #expect(throws: Stop.self) {
            try environment.write { transaction in
                try transaction.put("lost", in: table, at: 1)
                throw Stop()
            }
        }
        #expect(try environment.read { try $0.text(in: table, at: 1) } == nil)
        try environment.write { try $0.put("kept", in: table, at: 1) }
        #expect(try environment.read { try $0.text(in: table, at: 1) } == "kept")
    }

    @Test func `a nested transaction is part of the one around it once it is committed, and else has not been`() throws
    {
        try environment.write { transaction in
            try transaction.put("around", in: table, at: 1)
            do {
                var nested = try transaction.beginNested()
                #expect(try nested.text(in: table, at: 1) == "around")
                try nested.put("nested", in: table, at: 2)
                try nested.commit()
            }
            #expect(try transaction.text(in: table, at: 2) == "nested")
            do {
                var dropped = try transaction.beginNested()
                try dropped.put("lost", in: table, at: 1)
                try dropped.put("lost", in: table, at: 3)
            }
            #expect(try transaction.text(in: table, at: 1) == "around")
            #expect(try environment.read { try $0.text(in: table, at: 2) } == nil)
        }
        #expect(try environment.read { try $0.text(in: table, at: 2) } == "nested")
        #expect(try environment.read { try $0.count(of: table) } == 2)
        // Committed in one that goes away, it is gone.
        do {
            var transaction = try environment.beginWrite()
            var nested = try transaction.beginNested()
            try nested.put("lost", in: table, at: 4)
            try nested.commit()
            #expect(try transaction.text(in: table, at: 4) == "lost")
        }
        #expect(try environment.read { try $0.count(of: table) } == 2)
        // After an error in a nested one the one around it goes on.
        try environment.write { transaction in
            try transaction.put("next", in: table, at: 5)
            let error = #expect(throws: LMDBError.self) {
                var nested = try transaction.beginNested()
                try nested.put("lost", in: table, at: 6)
                try nested.put("there", in: table, at: 5, .insert)
            }
            #expect(error?.isKeyPresent == true)
        }
        #expect(try environment.read { try $0.count(of: table) } == 3)
    }

    @Test func `a transaction that ends before one nested in it traps`() async {
        await #expect(processExitsWith: .failure) {
            let directory = TemporaryDirectory()
            let environment = try directory.open()
            var transaction = try environment.beginWrite()
            let nested = try transaction.beginNested()
            try transaction.commit()
            nested.abort()
        }
    }

    /// Against a dictionary: thousands of pages, values that grow, shrink and have pages of their own, deletions, nested transactions of
    /// which some are dropped, in transactions of which some are dropped, and the file opened again.
    @Test func `nested transactions leave what a dictionary would`() throws {
        var random = SeededGenerator(seed: announcedSeed("nested transactions"))
        let directory = TemporaryDirectory()
        var model: [UInt64: [UInt8]] = [:]
        var (dropped, deleted) = (0, 0)
        for _ in 0..<3 {
            let environment = try directory.open(mapSize: 256 << 20)
            let table = try environment.openTables("t")[0]
            for _ in 0..<8 {
                var transaction = try environment.beginWrite()
                var changed = model
                for _ in 0..<UInt64.random(in: 1...6, using: &random) {
                    var part = changed
                    var nested = try transaction.beginNested()
                    for _ in 0..<UInt64.random(in: 1...400, using: &random) {
                        // Some often, so that one part changes what another has changed.
                        let isHot = random.chance(10)
                        let key = UInt64.random(in: 0..<(isHot ? 40 : 6_000), using: &random)
                        if UInt64.random(in: 0..<4, using: &random) == 0 {
                            #expect(try nested.delete(in: table, at: key) == (part[key] != nil))
                            deleted += part.removeValue(forKey: key) == nil ? 0 : 1
                        } else {
                            let isLarge = isHot || random.chance(3)
                            let count = Int.random(in: 0...(isLarge ? 20_000 : 700), using: &random)
                            let value = [UInt8](repeating: UInt8.random(in: 0...255, using: &random), count: count)
                            try value.withUnsafeBytes { value in
                                if part[key] != nil, random.chance(50) {
                                    var cursor = try nested.makeWriteCursor(on: table)
                                    try withKey(key) { key in
                                        _ = try cursor.value(at: key)
                                        try cursor.replace(with: value, at: key)
                                    }
                                } else {
                                    try nested.put(value, in: table, at: key)
                                }
                            }
                            part[key] = value
                        }
                    }
                    if UInt64.random(in: 0..<4, using: &random) == 0 {
                        nested.abort()
                        dropped += 1
                    } else {
                        try nested.commit()
                        changed = part
                    }
                }
                if UInt64.random(in: 0..<5, using: &random) == 0 {
                    transaction.abort()
                } else {
                    try transaction.commit()
                    model = changed
                }
            }
            var stored: [UInt64: [UInt8]] = [:]
            let snapshot = try environment.beginRead()
            try snapshot.forEach(in: table) { key, value in
                stored[key.withUnsafeBytes { $0.bigEndianUInt64! }] = value.withUnsafeBytes { [UInt8]($0) }
                return true
            }
            #expect(stored == model)
        }
        #expect(dropped > 3 && deleted > 50 && model.count > 1_000, "\(dropped) \(deleted) \(model.count)")
    }

    @Test func `a snapshot shows what was committed when it began, until it is renewed`() throws {
        try environment.write { try $0.put("old", in: table, at: 1) }
        var snapshot = try environment.beginRead()
        let number = snapshot.number
        try environment.write { try $0.put("new", in: table, at: 1) }
        #expect(try snapshot.text(in: table, at: 1) == "old")
        snapshot.reset()
        snapshot.reset()
        try snapshot.renew()
        #expect(try snapshot.text(in: table, at: 1) == "new")
        #expect(snapshot.number == number + 1)
        try snapshot.renew()
        #expect(try snapshot.text(in: table, at: 1) == "new")
    }

    @Test func `placements`() throws {
        try environment.write { transaction in
            try transaction.put("a", in: table, at: 5, .append)
            try transaction.put("b", in: table, at: 6, .append)
            try transaction.put("B", in: table, at: 6)
        }
        for (key, placement) in [(5, Placement.append), (6, .append), (6, .insert)] as [(UInt64, Placement)] {
            let error = #expect(throws: LMDBError.self) {
                try environment.write { try $0.put("x", in: table, at: key, placement) }
            }
            #expect(error?.isKeyPresent == true)
        }
        try environment.write { try $0.put("d", in: table, at: 4, .insert) }
        #expect(try environment.read { try $0.count(of: table) } == 3)
        #expect(try environment.read { try $0.text(in: table, at: 6) } == "B")
    }

    @Test func `reserve, delete, clear`() throws {
        try environment.write { transaction in
            try transaction.reserve(3, in: table, at: 1 as UInt64) { $0.copyBytes(from: [0x61, 0x62, 0x63]) }
            try transaction.reserve(0, in: table, at: 2 as UInt64, .append) { #expect($0.isEmpty) }
        }
        #expect(try environment.read { try $0.text(in: table, at: 1) } == "abc")
        #expect(try environment.read { try $0.text(in: table, at: 2) } == "")
        let deleted = try environment.write { transaction in
            let (first, second) = (
                try transaction.delete(in: table, at: 1), try transaction.delete(in: table, at: 1)
            )
            return [first, second]
        }
        #expect(deleted == [true, false])
        #expect(try environment.read { try $0.text(in: table, at: 1) } == nil)
        try environment.write { try $0.clear(table) }
        #expect(try environment.read { try $0.count(of: table) } == 0)
        try environment.write { try $0.put("again", in: table, at: 1) }
    }

    @Test(arguments: [0, 512, 600]) func `L16: a key that is empty or too long is an error, everywhere`(length: Int)
        throws
    {
        let key = [UInt8](repeating: 1, count: length)
        let calls: [() throws -> Void] = [
            { try put(key) },
            { _ = try copy(of: key) },
            {
                try environment.write { transaction in
                    _ = try key.withUnsafeBytes { try transaction.delete(in: table, at: $0) }
                }
            },
            {
                try environment.read { transaction in
                    var cursor = try transaction.makeCursor(on: table)
                    _ = try key.withUnsafeBytes { try cursor.seek(to: $0) != nil }
                }
            },
        ]
        for call in calls {
            let error = #expect(throws: LMDBError.self) { try call() }
            #expect(error?.code == MDB_BAD_VALSIZE)
        }
    }

    private func put(_ key: [UInt8]) throws {
        try environment.write { transaction in try key.withUnsafeBytes { try transaction.put($0, in: table, at: $0) } }
    }

    private func copy(of key: [UInt8]) throws -> [UInt8]? {
        try environment.read { transaction in
            try key.withUnsafeBytes { try transaction.bytes(copying: table, at: $0) }
        }
    }

    @Test func `L16: the longest key is accepted`() throws {
        let key = [UInt8](repeating: 1, count: Table.keyBytesMax)
        try put(key)
        #expect(try copy(of: key) == key)
    }

    @Test func `cursors walk both ways and seek`() throws {
        try environment.write { transaction in
            for key in stride(from: 10 as UInt64, through: 300, by: 10) {
                try transaction.put("\(key)", in: table, at: key, .append)
            }
        }
        let snapshot = try environment.beginRead()
        var cursor = try snapshot.makeCursor(on: table)
        #expect(try cursor.first()?.key.bigEndianUInt64 == 10)
        #expect(try cursor.previous() == nil)
        #expect(try cursor.last()?.key.bigEndianUInt64 == 300)
        #expect(try cursor.next() == nil)
        #expect(try cursor.seek(to: 255)?.key.bigEndianUInt64 == 260)
        #expect(try cursor.next()?.key.bigEndianUInt64 == 270)
        #expect(try cursor.seek(before: 260)?.key.bigEndianUInt64 == 250)
        #expect(try cursor.previous()?.key.bigEndianUInt64 == 240)
        #expect(try cursor.seek(to: 301) == nil)
        #expect(try cursor.seek(before: 301)?.key.bigEndianUInt64 == 300)
        #expect(try cursor.seek(before: 10) == nil)

        var sum = 0
        try withKey(280) {
            try snapshot.forEach(in: table, from: $0) { _, value in
                sum += value.byteCount
                return true
            }
        }
        #expect(sum == 9)
        var seen = 0
        try snapshot.forEach(in: table) { _, _ in
            seen += 1
            return seen < 4
        }
        #expect(seen == 4)
    }

    @Test func `a cursor may go away after its transaction`() throws {
        var transaction = try environment.beginWrite()
        try transaction.put("x", in: table, at: 1)
        var cursor = try transaction.makeCursor(on: table)
        #expect(try cursor.first() != nil)
        try transaction.commit()
        let later = try makeCursorOfEndedSnapshot()
        _ = consume later
        _ = consume cursor
    }

    private func makeCursorOfEndedSnapshot() throws -> Cursor {
        let snapshot = try environment.beginRead()
        return try snapshot.makeCursor(on: table)
    }

    @Test func `after a renewal that failed each later one fails too, and nothing is read`() throws {
        try environment.write { try $0.put("x", in: table, at: 1) }
        var snapshot = try environment.beginRead()
        snapshot.failForTests()
        for _ in 0..<2 {
            let error = #expect(throws: LMDBError.self) { try snapshot.renew() }
            #expect(error?.operation == .renew && error?.code == MDB_BAD_TXN)
            #expect(throws: LMDBError.self) { try snapshot.text(in: table, at: 1) }
        }
        _ = consume snapshot
        #expect(try environment.read { try $0.text(in: table, at: 1) } == "x")
    }

    @Test func `L7: a snapshot that lives keeps pages from reuse, and one that rests does not`() throws {
        let value = String(repeating: "x", count: 1_500)
        func overwrite() throws {
            for round in 0..<200 {
                try environment.write { transaction in
                    for key in 0..<4 as Range<UInt64> { try transaction.put("\(round)" + value, in: table, at: key) }
                }
            }
        }
        try overwrite()
        let start = environment.info.lastPage
        var snapshot = try environment.beginRead()
        try overwrite()
        let kept = environment.info.lastPage
        #expect(kept > start + 400)
        snapshot.reset()
        try overwrite()
        #expect(environment.info.lastPage <= kept + 8)
        try snapshot.renew()
    }

    @Test func `L9: at most 32 snapshots are lent at once, and slots are used again`() throws {
        try lend(Environment.readersPooled) {
            let error = #expect(throws: LMDBError.self) { _ = try environment.beginRead() }
            #expect(error?.isReadersFull == true)
            #expect(error?.hint != nil)
        }
        let slots = environment.info.readersInUse
        #expect(slots <= Environment.readersPooled)
        for _ in 0..<1_000 { _ = try environment.beginRead().number }
        try lend(Environment.readersPooled) {}
        #expect(environment.info.readersInUse == slots)
    }

    /// Holds `count` snapshots, one in each frame, while `body` runs.
    private func lend(_ count: Int, _ body: () throws -> Void) throws {
        guard count > 0 else { return try body() }
        let snapshot = try environment.beginRead()
        try lend(count - 1, body)
        #expect(snapshot.number > 0)
    }

    @Test func `L10: a snapshot may move between threads`() async throws {
        try environment.write { try $0.put("x", in: table, at: 1) }
        for _ in 0..<100 {
            let (environment, table) = (environment, table)
            let text = try await Task.detached { try environment.read { try $0.text(in: table, at: 1) } }.value
            #expect(text == "x")
        }
    }

    @Test func `L10: a second write transaction on the thread is our bug, and traps`() async {
        await #expect(processExitsWith: .failure) {
            let environment = try TemporaryDirectory().open()
            let first = try environment.beginWrite()
            let second = try environment.beginWrite()
            second.abort()
            first.abort()
        }
    }

    @Test func `L10: ending a write transaction on another thread traps`() async {
        await #expect(processExitsWith: .failure) {
            let environment = try TemporaryDirectory().open()
            let transaction = try environment.beginWrite()
            let owner = UncheckedBox(transaction.owner)
            onAnotherThread { owner.value.end() }
            transaction.abort()
        }
    }

    @Test func `closing below an open snapshot is our bug, and traps`() async {
        await #expect(processExitsWith: .failure) {
            let environment = try TemporaryDirectory().open()
            let snapshot = try environment.beginRead()
            environment.close()
            _ = snapshot.number
        }
    }

    @Test func `L10: writes of a transaction on another thread trap in debug builds`() async {
        await #expect(processExitsWith: .failure) {
            let environment = try TemporaryDirectory().open()
            let transaction = try environment.beginWrite()
            // The owner, seen from another thread, is what each write looks at.
            let owner = UncheckedBox(transaction.owner)
            onAnotherThread { assert(owner.value.isOnItsThread) }
            transaction.abort()
        }
    }

    @Test func `concurrent snapshots see whole transactions only`() async throws {
        let (environment, table) = (environment, table)
        try environment.write { transaction in
            for key in 0..<50 as Range<UInt64> { try transaction.put("0", in: table, at: key) }
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                for round in 1...200 {
                    try environment.write { transaction in
                        for key in 0..<50 as Range<UInt64> { try transaction.put("\(round)", in: table, at: key) }
                    }
                }
            }
            for _ in 0..<3 {
                group.addTask {
                    for _ in 0..<200 {
                        let distinct = try environment.read { transaction in
                            Set(try (0..<50 as Range<UInt64>).map { try transaction.text(in: table, at: $0) })
                        }
                        #expect(distinct.count == 1)
                    }
                }
            }
            try await group.waitForAll()
        }
    }
}
