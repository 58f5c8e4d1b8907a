import Glibc
import LMDB

/// What the same data costs when its index is in the log's transaction: the bare loop, and beside each record one packed row
/// of 80 bytes replaced at a random key, of as many as there are leads.
///
/// It is kinder to that design than it deserves: the rows' pages are full, no row grows, none is read before it is replaced, and
/// leads are made from the same number as their keys, so that nothing is hashed.
struct IndexedLoop {
    /// Events in a commit.
    private static let batch = 1_000
    private static let rowBytes = 80

    let directory: String
    let leads: Int
    let seed: UInt64

    /// Makes the index, sorted and so in seconds.
    func fill() throws(BenchError) {
        do throws(LMDBError) {
            let environment = try open(durability: .cache)
            defer { environment.close() }
            let rows = try environment.openTables("rows")[0]
            let row = UnsafeMutableRawBufferPointer.allocate(byteCount: Self.rowBytes, alignment: 16)
            let key = UnsafeMutableRawBufferPointer.allocate(byteCount: 16, alignment: 16)
            defer {
                row.deallocate()
                key.deallocate()
            }
            row.initializeMemory(as: UInt8.self, repeating: 0)
            var lead = 0
            while lead < leads {
                var transaction = try environment.beginWrite()
                for _ in 0..<min(50_000, leads - lead) {
                    writeKey(of: UInt64(lead), to: key)
                    try transaction.put(UnsafeRawBufferPointer(row), in: rows, at: UnsafeRawBufferPointer(key), .append)
                    lead += 1
                }
                try transaction.commit()
            }
            try environment.sync()
        } catch {
            throw BenchError("the loop with the index in the log's transaction: \(error)")
        }
    }

    /// Events per second over `nanosecondsMax` of time. The log goes on where the last run left it.
    func run(nanosecondsMax: UInt64) throws(BenchError) -> Double {
        do throws(LMDBError) { return try measure(nanosecondsMax: nanosecondsMax) } catch {
            throw BenchError("the loop with the index in the log's transaction: \(error)")
        }
    }

    private func measure(nanosecondsMax: UInt64) throws(LMDBError) -> Double {
        let environment = try open(durability: .synced)
        defer { environment.close() }
        let tables = try environment.openTables("records", "rows")
        let first = try Self.count(tables[0], in: environment)
        let templates = EventTemplates(tag: "z")
        // The leads were captured when the index was made.
        var stream = EventStream(templates: templates, seed: seed &+ first, leads: leads, pick: .captured)
        let record = UnsafeMutableRawPointer.allocate(byteCount: templates.recordBytesMax, alignment: 16)
        let row = UnsafeMutableRawBufferPointer.allocate(byteCount: Self.rowBytes, alignment: 16)
        let key = UnsafeMutableRawBufferPointer.allocate(byteCount: 16, alignment: 16)
        defer {
            record.deallocate()
            row.deallocate()
            key.deallocate()
        }
        row.initializeMemory(as: UInt8.self, repeating: 0)

        var position = first
        let start = monotonicNanoseconds()
        var now = start
        while now - start < nanosecondsMax {
            var transaction = try environment.beginWrite()
            for _ in 0..<Self.batch {
                let (count, lead) = stream.writeRecordAndTellLead(to: record, position: position)
                try transaction.put(
                    UnsafeRawBufferPointer(start: record, count: count), in: tables[0], at: position, .append)
                row.storeBytes(of: position.bigEndian, toByteOffset: 8, as: UInt64.self)
                writeKey(of: lead, to: key)
                try transaction.put(UnsafeRawBufferPointer(row), in: tables[1], at: UnsafeRawBufferPointer(key))
                position += 1
            }
            try transaction.commit()
            now = monotonicNanoseconds()
        }
        return Double(position - first) * 1e9 / Double(now - start)
    }

    private static func count(_ table: Table, in environment: Environment) throws(LMDBError) -> UInt64 {
        let transaction = try environment.beginRead()
        return try UInt64(transaction.count(of: table))
    }

    private func open(durability: Environment.Durability) throws(LMDBError) -> Environment {
        try Environment.open(directory: directory, options: .init(mapSize: 64 << 30, durability: durability))
    }

    /// A key of the width of a hash, in the order of the leads: all leads equally likely makes all places equally likely.
    @inline(__always)
    private func writeKey(of lead: UInt64, to key: UnsafeMutableRawBufferPointer) {
        key.storeBytes(of: (lead * (.max / UInt64(leads))).bigEndian, as: UInt64.self)
        key.storeBytes(of: (lead &* 0x9E37_79B9_7F4A_7C15).bigEndian, toByteOffset: 8, as: UInt64.self)
    }
}
