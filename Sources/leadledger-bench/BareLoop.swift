import Glibc
import LMDB

/// What LMDB alone does on this disk: one thread puts the records that the daemon would store at 8-byte sequential keys,
/// and syncs after each batch. No socket, no JSON, no hash, no index.
struct BareLoop {
    /// Commits of one measurement: enough that a slow sync or two do not decide. By taste.
    private static let commitsMax = 2_000

    let directory: String
    let events: Int
    let leads: Int
    let seed: UInt64

    /// Events per second with `batch` events in each commit.
    func run(batch: Int) throws(BenchError) -> Double {
        // One at a time on the disk: the file of a big loop takes half a gigabyte.
        let scratch = try ScratchDirectory(in: directory)
        defer { scratch.remove() }
        do throws(LMDBError) {
            return try measure(batch: batch, in: scratch.path + "/bare")
        } catch {
            throw BenchError("the bare LMDB loop: \(error)")
        }
    }

    private func measure(batch: Int, in directory: String) throws(LMDBError) -> Double {
        let events = max(batch, min(events, batch * Self.commitsMax) / batch * batch)
        let environment = try Environment.open(
            directory: directory, options: .init(mapSize: 64 << 30, durability: .synced))
        defer { environment.close() }
        let table = try environment.openTables("records")[0]
        let templates = EventTemplates(tag: "z")
        var stream = EventStream(
            templates: templates, seed: seed, leads: Load.leads(for: events, leadsMax: leads, connections: 1))
        let record = UnsafeMutableRawPointer.allocate(byteCount: templates.recordBytesMax, alignment: 16)
        defer { record.deallocate() }

        let start = monotonicNanoseconds()
        var position: UInt64 = 0
        while position < events {
            var transaction = try environment.beginWrite()
            for _ in 0..<batch {
                let count = stream.writeRecord(to: record, position: position)
                try transaction.put(
                    UnsafeRawBufferPointer(start: record, count: count), in: table, at: position, .append)
                position += 1
            }
            try transaction.commit()
        }
        return Double(events) * 1e9 / Double(monotonicNanoseconds() - start)
    }
}
