import CLMDB
import Glibc
import Testing

@testable import LMDB

/// A cursor that finds and changes entries, against a dictionary.
@Suite struct WriteCursorTests {
    let directory = TemporaryDirectory()

    /// Keys in order and at random, values that grow, shrink and split pages, other tables written in between, over several
    /// transactions of which some are dropped.
    @Test(arguments: [UInt64(1), 2, 3]) func `it finds what is there and leaves what a dictionary would`(
        seed: UInt64
    ) throws {
        print("seed \(seed)")
        let environment = try directory.open()
        let tables = try environment.openTables("t", "other")
        var random = seed
        func next(_ bound: UInt64) -> UInt64 {
            random = random &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return (random >> 33) % bound
        }
        var model: [UInt64: [UInt8]] = [:]
        var (replaced, added) = (0, 0)
        for round in 0..<30 {
            var changed = model
            var transaction = try environment.beginWrite()
            do {
                var cursor = try transaction.makeWriteCursor(on: tables[0])
                var keys = (0..<200).map { _ in next(2_000) }
                if round % 3 != 0 { keys.sort() }
                for number in keys {
                    let value = [UInt8](repeating: UInt8(next(256)), count: Int(next(next(8) == 0 ? 3_000 : 120)))
                    try withKey(number) { key in
                        let found = try cursor.value(at: key).map { [UInt8]($0) }
                        #expect(found == changed[number])
                        if next(5) == 0 { try transaction.put("other", in: tables[1], at: number) }
                        // After the other table's write the cursor still stands where it stood.
                        try value.withUnsafeBytes { value in
                            if found != nil {
                                try cursor.replace(with: value, at: key)
                                replaced += 1
                            } else {
                                try cursor.put(value, at: key)
                                added += 1
                            }
                        }
                    }
                    changed[number] = value
                }
            }
            if round % 5 == 4 {
                transaction.abort()
            } else {
                try transaction.commit()
                model = changed
            }
            let snapshot = try environment.beginRead()
            var stored: [UInt64: [UInt8]] = [:]
            try snapshot.forEach(in: tables[0]) { key, value in
                stored[key.withUnsafeBytes { $0.bigEndianUInt64! }] = value.withUnsafeBytes { [UInt8]($0) }
                return true
            }
            #expect(stored == model)
        }
        #expect(replaced > 500 && added > 500)
    }

    @Test func `a key that LMDB does not take is refused`() throws {
        let environment = try directory.open()
        let table = try environment.openTables("t")[0]
        let transaction = try environment.beginWrite()
        var cursor = try transaction.makeWriteCursor(on: table)
        for count in [0, 512] {
            let key = [UInt8](repeating: 1, count: count)
            #expect(throws: LMDBError.self) { try key.withUnsafeBytes { try cursor.value(at: $0) } }
        }
    }
}
