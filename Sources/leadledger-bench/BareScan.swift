import Glibc
import LMDB

/// How fast LMDB alone gives a log back: one cursor over the records, each copied out as a program would that uses it.
struct BareScan {
    private static let batch = 1_000

    let directory: String
    let events: Int

    /// Writes the log that `run` reads, with the records that the daemon would store.
    func fill(seed: UInt64, leads: Int) throws(BenchError) {
        do throws(LMDBError) {
            let environment = try Environment.open(
                directory: directory, options: .init(mapSize: 64 << 30, durability: .cache))
            defer { environment.close() }
            let table = try environment.openTables("records")[0]
            let templates = EventTemplates(tag: "z")
            var stream = EventStream(templates: templates, seed: seed, leads: leads)
            let record = UnsafeMutableRawPointer.allocate(byteCount: templates.recordBytesMax, alignment: 16)
            defer { record.deallocate() }
            var position: UInt64 = 0
            while position < events {
                var transaction = try environment.beginWrite()
                for _ in 0..<min(Self.batch, events - Int(position)) {
                    let count = stream.writeRecord(to: record, position: position)
                    try transaction.put(
                        UnsafeRawBufferPointer(start: record, count: count), in: table, at: position, .append)
                    position += 1
                }
                try transaction.commit()
            }
            try environment.sync()
        } catch {
            throw BenchError("the bare LMDB scan: \(error)")
        }
    }

    /// Events per second.
    func run() throws(BenchError) -> Double {
        var found = 0
        let start = monotonicNanoseconds()
        do throws(LMDBError) {
            let environment = try Environment.open(
                directory: directory, options: .init(mapSize: 64 << 30, durability: .cache, readOnly: true))
            defer { environment.close() }
            let table = try environment.openTables("records")[0]
            let transaction = try environment.beginRead()
            var cursor = try transaction.makeCursor(on: table)
            let record = UnsafeMutableRawBufferPointer.allocate(byteCount: 64 << 10, alignment: 16)
            defer { record.deallocate() }
            while let entry = try cursor.next() {
                precondition(entry.value.count <= record.count)
                record.copyMemory(from: entry.value)
                found += 1
            }
        } catch {
            throw BenchError("the bare LMDB scan: \(error)")
        }
        guard found == events else { throw BenchError("the bare LMDB scan found \(found) of \(events) records") }
        return Double(events) * 1e9 / Double(monotonicNanoseconds() - start)
    }
}
