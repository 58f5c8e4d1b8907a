import Glibc
import LMDB
import TestSupport
import Testing

@testable import Ledger

/// Bits are flipped where LMDB keeps keys and values, not in its page headers: there LMDB itself may crash, which is why
/// the daemon's check runs in a process of its own.
@Suite struct LogCheckerTests {
    private let folder = LedgerFolder()

    /// A ledger with short and long records, a stream with older events, and one with a row that is not full.
    private func makeLedger() throws {
        let ledger = try TestLedger(folder)
        for index in 0..<90 {
            ledger.append(
                TestEvent(
                    stream: index % 3 == 0 ? "L-\(index % 7)" : "hot", id: "e\(index)",
                    text: "\"t\":\"\(String(repeating: "x", count: index % 10 == 9 ? 5_000 : 40 + index))\"",
                    personal: index % 2 == 0 ? "\"name\":\"Zoë\"" : "", occurredAt: index % 4 == 0 ? 77 : nil))
        }
        ledger.flushIndex()
    }

    private func findings(log: Bool = true, index: Bool = false) -> [LogChecker.Finding] {
        var findings: [LogChecker.Finding] = []
        if log {
            LogChecker.checkLog(directory: folder.path, lifecycle: testLifecycle, mayUseTmpfs: true) {
                findings.append($0)
            }
        }
        if index {
            LogChecker.checkIndex(directory: folder.path, lifecycle: testLifecycle, mayUseTmpfs: true) {
                findings.append($0)
            }
        }
        return findings
    }

    private struct Place {
        var key: [UInt8]
        /// Where in data.mdb the key and the value are.
        var keyBytes: Range<Int>
        var valueBytes: Range<Int>
    }

    /// Where the entries of a table are in the file.
    private func places(of name: String, in directory: String) throws -> [Place] {
        let environment = try Environment.open(
            directory: folder.path + "/" + directory,
            options: .init(mapSize: 256 << 20, durability: .cache, readOnly: true, mayUseTmpfs: true))
        let base = UnsafeRawPointer(try #require(try PageCache.mapAddress(of: environment.fileIdentity)))
        let table = try #require(try environment.existingTable(named: name))
        var places: [Place] = []
        do {
            let transaction = try environment.beginRead()
            var cursor = try transaction.makeCursor(on: table)
            while let entry = try cursor.next() {
                func range(_ bytes: UnsafeRawBufferPointer) throws -> Range<Int> {
                    let start = try #require(bytes.baseAddress) - base
                    return start..<start + bytes.count
                }
                places.append(
                    Place(key: Array(entry.key), keyBytes: try range(entry.key), valueBytes: try range(entry.value)))
            }
        }
        return places
    }

    /// Flips one bit of the file while `body` runs.
    private func withFlip<R>(of bit: Int, at offset: Int, in directory: String, _ body: () -> R) throws -> R {
        let descriptor = open("\(folder.path)/\(directory)/data.mdb", O_RDWR)
        defer { close(descriptor) }
        var byte: UInt8 = 0
        try #require(pread(descriptor, &byte, 1, off_t(offset)) == 1)
        var flipped = byte ^ 1 << bit
        try #require(pwrite(descriptor, &flipped, 1, off_t(offset)) == 1)
        let result = body()
        try #require(pwrite(descriptor, &byte, 1, off_t(offset)) == 1)
        return result
    }

    @Test func `a sound ledger has no findings`() throws {
        try makeLedger()
        #expect(findings(log: true, index: true) == [])
    }

    @Test func `L4: every flipped bit in the bytes of a record is found at its position`() throws {
        try makeLedger()
        let places = try places(of: "records", in: "log")
        #expect(places.count == 90)
        var generator = SeededGenerator(seed: 4)
        for _ in 0..<250 {
            let place = places.randomElement(using: &generator)!
            let offset = place.valueBytes.randomElement(using: &generator)!
            let found = try withFlip(of: .random(in: 0..<8, using: &generator), at: offset, in: "log") { findings() }
            let position = place.key.withUnsafeBytes { $0.bigEndian(at: 0, as: UInt64.self) }
            #expect(
                found.contains {
                    $0.place == "position \(position)" && $0.what.contains("leaf hash") && $0.severity == .error
                },
                "byte \(offset - place.valueBytes.lowerBound) of position \(position): \(found)")
        }
        #expect(findings() == [])
    }

    @Test func `L4: every flipped bit in a leaf hash, or in a key of the log's, is found`() throws {
        try makeLedger()
        var generator = SeededGenerator(seed: 5)
        for table in ["records", "leaves"] {
            let places = try places(of: table, in: "log")
            for _ in 0..<60 {
                let place = places.randomElement(using: &generator)!
                let bytes = table == "leaves" && Bool.random(using: &generator) ? place.valueBytes : place.keyBytes
                let offset = bytes.randomElement(using: &generator)!
                let found = try withFlip(of: .random(in: 0..<8, using: &generator), at: offset, in: "log") {
                    findings()
                }
                #expect(!found.isEmpty, "\(table), \(place)")
            }
        }
        #expect(findings() == [])
    }

    @Test func `every flipped bit in the index is found`() throws {
        try makeLedger()
        var generator = SeededGenerator(seed: 6)
        for table in ["rows", "older", "meta"] {
            let places = try places(of: table, in: "index")
            #expect(!places.isEmpty)
            for _ in 0..<80 {
                let place = places.randomElement(using: &generator)!
                let bytes = UInt8.random(in: 0..<4, using: &generator) > 0 ? place.valueBytes : place.keyBytes
                let offset = bytes.randomElement(using: &generator)!
                let found = try withFlip(of: .random(in: 0..<8, using: &generator), at: offset, in: "index") {
                    findings(log: false, index: true)
                }
                #expect(!found.isEmpty, "\(table), byte \(offset - bytes.lowerBound) of \(place)")
            }
        }
        #expect(findings(log: true, index: true) == [])
    }

    @Test func `a version that is the largest of numbers is a finding, not a crash`() throws {
        try makeLedger()
        let places = try places(of: "records", in: "log")
        for place in [places[1], places[88]] {
            let descriptor = open("\(folder.path)/log/data.mdb", O_RDWR)
            defer { close(descriptor) }
            let version = off_t(place.valueBytes.upperBound - 16)
            var before = [UInt8](repeating: 0, count: 8)
            try #require(pread(descriptor, &before, 8, version) == 8)
            let largest = [UInt8](repeating: 0xFF, count: 8)
            try #require(pwrite(descriptor, largest, 8, version) == 8)
            #expect(!findings(log: true, index: true).isEmpty)
            try #require(pwrite(descriptor, before, 8, version) == 8)
        }
        // Keys that say more than any count.
        let leaves = try self.places(of: "leaves", in: "log")
        let descriptor = open("\(folder.path)/log/data.mdb", O_RDWR)
        defer { close(descriptor) }
        let largest: [UInt8] = [UInt8](repeating: 0xFF, count: 7) + [0xF0]
        for place in [try #require(places.last), try #require(leaves.last)] {
            try #require(pwrite(descriptor, largest, 8, off_t(place.keyBytes.lowerBound)) == 8)
            #expect(!findings(log: true, index: true).isEmpty)
            let error = #expect(throws: LedgerError.self) { try TestLedger(folder) }
            #expect(error?.kind == .corruption)
            try #require(pwrite(descriptor, place.key, 8, off_t(place.keyBytes.lowerBound)) == 8)
        }
        #expect(findings(log: true, index: true) == [])
    }

    @Test func `what is missing is said: FORMAT, the log, the index`() throws {
        try makeLedger()
        #expect(rename(folder.path + "/FORMAT", folder.path + "/F") == 0)
        #expect(findings().map(\.place) == ["FORMAT"])
        #expect(rename(folder.path + "/F", folder.path + "/FORMAT") == 0)
        #expect(rename(folder.path + "/index", folder.path + "/i") == 0)
        #expect(!findings(log: false, index: true).isEmpty && findings() == [])
        #expect(rename(folder.path + "/log", folder.path + "/l") == 0)
        #expect(!findings().isEmpty)
    }
}
