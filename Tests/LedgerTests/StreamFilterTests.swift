import Glibc
import LMDB
import TestSupport
import Testing

@testable import Ledger

@Suite struct StreamFilterTests {
    private func key(_ generator: inout SeededGenerator) -> StreamKey {
        StreamKey(high: generator.next(), low: generator.next())
    }

    @Test(arguments: [1, 2, 3] as [UInt64])
    func `it has every stream that was put in, and few others`(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        let filter = try #require(StreamFilter(streams: 100_000, wordsMin: 1 << 10))
        let keys = (0..<filter.streamsMax).map { _ in key(&generator) }
        for key in keys { filter.insert(key) }
        // It knows nothing of those beyond what it is filled to.
        filter.setFilledTo(1 << 63)
        #expect((0..<1_000).allSatisfy { _ in filter.mayHave(StreamKey(high: generator.next() | 1 << 63, low: 0)) })
        filter.setFilledTo(.max)
        #expect(keys.allSatisfy(filter.mayHave))
        let strangers = (0..<100_000).count { _ in filter.mayHave(key(&generator)) }
        #expect(strangers < 3_000, "\(strangers) of 100,000 strangers")
    }

    /// The index grows, beyond what the filter was made for as well, while the filter is being filled in pieces: at each commit, and
    /// after each piece, no stream that was committed is denied (K1).
    @Test(arguments: [1, 2, 3, 4, 5, 6] as [UInt64])
    func `no stream of a growing index is ever denied`(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        let folder = LedgerFolder()
        let log = try TestLedger(folder)
        let reader = try LogReader(log.log.log)
        let index = try Index(
            directory: folder.path + "/other", ledgerID: log.log.ledgerID, logEnd: .max, configuration: .test)
        var streams: [(key: StreamKey, version: UInt64)] = []
        var end: UInt64 = 0
        func apply(_ known: [KnownStreams]) throws {
            var events: ContiguousArray<TailEvent> = []
            func add(_ stream: Int) {
                streams[stream].version += 1
                events.append(
                    TailEvent(
                        key: streams[stream].key, name: NameHash(tag: UInt32(events.count), rest: end),
                        first: .zero, version: version(streams[stream].version), state: 0, previous: TailEvent.none,
                        type: 1,
                        variant: 0, isBackfill: false))
            }
            for _ in 0..<Int.random(in: 1...300, using: &generator) {
                if streams.isEmpty || Int.random(in: 0..<4, using: &generator) > 0 {
                    streams.append((key(&generator), 0))
                    add(streams.count - 1)
                } else {
                    let young = streams.indices.filter { streams[$0].version < 9 }
                    if let stream = young.randomElement(using: &generator) { add(stream) }
                }
            }
            // As the index does with its own.
            for known in known { known.insert(events.filter { $0.version.rawValue == 1 }.map(\.key)) }
            try index.apply(events, from: end, log: reader)
            end += UInt64(events.count)
        }
        for _ in 0..<5 { try apply([]) }
        // A start, with what is there already.
        let known = KnownStreams(streams: streams.count / 8, wordsMin: 64)
        let first = try #require(known.current)
        var steps = 0
        for _ in 0..<60 {
            try apply([known])
            for _ in 0..<Int.random(in: 0...4, using: &generator) {
                let more = try known.fill(
                    from: index.tables.rows, of: index.environment, rowsMax: .random(in: 1...400, using: &generator))
                steps += more ? 1 : 0
                let current = try #require(known.current)
                let denied = streams.count { !current.mayHave($0.key) }
                #expect(denied == 0, "\(denied) of \(streams.count)")
            }
        }
        while try known.fill(from: index.tables.rows, of: index.environment, rowsMax: 400) {}
        let last = try #require(known.current)
        #expect(last !== first && last.isWhole && streams.count < last.streamsMax && steps > 5)
        #expect(streams.allSatisfy { last.mayHave($0.key) })
        #expect((0..<1_000).count { _ in !last.mayHave(key(&generator)) } > 900)
        // The index's own, which had an empty index to begin with.
        while try index.fillKnown(rowsMax: .max) {}
        let own = try #require(index.known.current)
        #expect(own.isWhole && streams.allSatisfy { own.mayHave($0.key) })
        index.environment.close()
    }

    @Test func `a ledger that was opened again fills its filter, and still knows what is stored`() throws {
        let folder = LedgerFolder()
        do {
            let ledger = try TestLedger(folder)
            ledger.append((0..<500).map { TestEvent(stream: "L-\($0)", id: "a") })
        }
        let ledger = try TestLedger(folder)
        waitUntil { ledger.log.index.known.current?.isWhole == true }
        for stream in 0..<500 {
            guard case .appended(let receipt) = ledger.append(TestEvent(stream: "L-\(stream)", id: "a")) else {
                Issue.record("refused")
                return
            }
            #expect(receipt.isDuplicate && receipt.first == position(UInt64(stream)))
        }
    }

    /// The index alone, so that nobody fills the filter.
    @Test func `an index that was closed cleanly has its filter at once, any other an empty one`() throws {
        let folder = LedgerFolder()
        var ledgerID: LedgerID?
        do {
            let ledger = try TestLedger(folder)
            ledger.append((0..<500).map { TestEvent(stream: "L-\($0)", id: "a") })
            waitUntil { ledger.log.index.known.current?.isWhole == true }
            ledgerID = ledger.log.ledgerID
        }
        let directory = LedgerDirectory.indexPath(in: folder.path)
        let file = directory + "/" + StreamFilterFile.name
        func open<R>(_ body: (Index, StreamFilter) throws -> R) throws -> R {
            let index = try Index(
                directory: directory, ledgerID: try #require(ledgerID), logEnd: .max, configuration: .test)
            defer { index.environment.close() }
            #expect(index.origin == .kept)
            return try body(index, try #require(index.known.current))
        }
        let keys = (0..<500).map { StreamKey("L-\($0)") }
        let stranger = StreamKey(high: 1, low: 1)
        func expectWhole() throws {
            try open { index, filter in
                #expect(filter.isWhole && keys.allSatisfy(filter.mayHave) && !filter.mayHave(stranger))
                let isLeft = try index.fillKnown(rowsMax: 1)
                #expect(!isLeft)
            }
        }
        func expectEmpty(_ why: String) throws {
            try open { _, filter in #expect(!filter.isWhole && filter.mayHave(stranger), "\(why)") }
        }
        let good = try bytes(ofFile: file)
        try expectWhole()
        // It is taken once.
        try expectEmpty("taken")

        // Damaged anywhere, cut short or too long.
        for offset in [0, 8, 16, 24, 32, 40, 48, good.count / 2, good.count - 33, good.count - 32, good.count - 1] {
            var damaged = good
            damaged[offset] ^= 1
            try write(damaged, toFile: file)
            try expectEmpty("a bit at \(offset)")
        }
        for count in [0, 7, 47, 48, 79, 80, good.count / 2, good.count - 1] {
            try write(Array(good[..<count]), toFile: file)
            try expectEmpty("\(count) bytes")
        }
        try write(good + [0], toFile: file)
        try expectEmpty("a byte too many")
        #expect(mkfifo(file, 0o600) == 0)
        try expectEmpty("a pipe")
        try write(good, toFile: file)
        try expectWhole()

        // A commit makes it stale, whatever it was about.
        try open { index, _ in try index.environment.write { try index.tables.setProgress(500, in: &$0) } }
        try write(good, toFile: file)
        try expectEmpty("stale")
        // One that cannot be written costs nothing else, and leaves nothing.
        let index = try Index(
            directory: directory, ledgerID: try #require(ledgerID), logEnd: .max, configuration: .test)
        while try index.fillKnown(rowsMax: 100) {}
        try DurableFiles.$beforeStep.withValue({ operation, path in
            if operation == "sync", path.hasSuffix("FILTER.tmp") { unlink(path) }
        }) { try index.closeCleanly() }
        #expect(try text(ofFile: directory + "/STATE").contains("state=clean"))
        #expect(try !DurableFiles.names(in: directory).contains { $0.hasPrefix(StreamFilterFile.name) })
        try expectEmpty("not written")
    }

    @Test func `a ledger that was killed does not believe the filter of its last clean close`() throws {
        let folder = LedgerFolder()
        do {
            let ledger = try TestLedger(folder)
            ledger.append((0..<100).map { TestEvent(stream: "L-\($0)", id: "a") })
            waitUntil { ledger.log.index.known.current?.isWhole == true }
        }
        let file = LedgerDirectory.indexPath(in: folder.path) + "/" + StreamFilterFile.name
        let left = try bytes(ofFile: file)
        do {
            let ledger = try TestLedger(folder)
            ledger.append((100..<200).map { TestEvent(stream: "L-\($0)", id: "a") })
        }
        // As a kill would have left it: the file of before.
        let newer = try bytes(ofFile: file)
        #expect(newer != left)
        try write(left, toFile: file)
        let ledger = try TestLedger(folder)
        for stream in 0..<200 {
            guard case .appended(let receipt) = ledger.append(TestEvent(stream: "L-\(stream)", id: "a")) else {
                Issue.record("refused")
                return
            }
            #expect(receipt.isDuplicate && receipt.first == position(UInt64(stream)))
        }
    }
}
