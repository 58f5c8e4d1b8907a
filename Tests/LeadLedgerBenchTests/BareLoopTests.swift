import Glibc
import LMDB
import Testing

@testable import leadledger_bench

/// The peers that are LMDB alone, small: that they do what the table says of them.
@Suite struct BareLoopTests {
    /// On the disk of the checkout: LMDB's wrapper refuses tmpfs, which a temporary directory may be.
    private func withScratch(_ body: (String) throws -> Void) throws {
        let file = #filePath
        let tests = file[..<(file.lastIndex(of: "/") ?? file.endIndex)]
        let scratch = try ScratchDirectory(in: tests + "/../../.build")
        defer { scratch.remove() }
        try body(scratch.path)
    }

    @Test func `the scan reads every record, and one that is missing is noticed`() throws {
        try withScratch { place in
            let scan = BareScan(directory: place + "/scan", events: 2_500)
            try scan.fill(seed: 1, leads: 1_000)
            let rate = try scan.run()
            #expect(rate > 0)
            #expect(throws: BenchError.self) { try BareScan(directory: place + "/scan", events: 2_501).run() }
        }
    }

    @Test func `the loop with an index has a row for every lead, and its log goes on from run to run`() throws {
        try withScratch { place in
            let loop = IndexedLoop(directory: place + "/loop", leads: 700, seed: 1)
            try loop.fill()
            // As short as can be: one commit.
            for _ in 0..<2 {
                let rate = try loop.run(nanosecondsMax: 1)
                #expect(rate > 0)
            }
            let environment = try Environment.open(
                directory: place + "/loop", options: .init(mapSize: 64 << 30, durability: .cache, readOnly: true))
            defer { environment.close() }
            let tables = try environment.openTables("records", "rows")
            let transaction = try environment.beginRead()
            let records = try transaction.count(of: tables[0])
            #expect(records == 2_000)
            // Rows are replaced, never added: the keys of the run are those of the filling.
            let rows = try transaction.count(of: tables[1])
            #expect(rows == 700)
        }
    }

    @Test func `the bare loop commits at least one batch`() throws {
        try withScratch { place in
            let rate = try BareLoop(directory: place, events: 10, leads: 100, seed: 1).run(batch: 50)
            #expect(rate > 0)
        }
    }
}
