import Glibc

/// How much of everything a comparison does.
struct ComparisonSizes {
    /// Events of the burst and of `append.many`.
    var burst: Int
    /// Events over 50 connections one at a time, ours and Redis's.
    var fifty: Int
    /// PostgreSQL's share of the same: it takes a tenth of the speed.
    var fiftyPostgres: Int
    /// Events over one connection, one at a time.
    var one: Int
    /// Leads of the burst and of the connections that send one at a time.
    var leads: Int
    /// Leads, and as many stored events, of the ledger that is filled.
    var stored: Int
    var sustainedNanoseconds: UInt64
    var sliceNanoseconds: UInt64
    /// How long the loop with the index in the log's transaction runs. Its speed does not change with time.
    var indexedNanoseconds: UInt64
    var replay: Int
    /// Events that a good client appends in each measurement of a pressure.
    var pressure: Int
    /// Free bytes that it takes on the disk.
    var diskBytes: UInt64

    static let full = ComparisonSizes(
        burst: 800_000, fifty: 100_000, fiftyPostgres: 10_000, one: 10_000, leads: 1_000_000, stored: 10_000_000,
        sustainedNanoseconds: 120_000_000_000, sliceNanoseconds: 10_000_000_000, indexedNanoseconds: 30_000_000_000,
        replay: 1_000_000, pressure: 6_000, diskBytes: 45 << 30)

    /// A few minutes in all: whether everything works, not how fast it is.
    static let quick = ComparisonSizes(
        burst: 100_000, fifty: 20_000, fiftyPostgres: 2_000, one: 2_000, leads: 1_000_000, stored: 500_000,
        sustainedNanoseconds: 12_000_000_000, sliceNanoseconds: 1_000_000_000, indexedNanoseconds: 4_000_000_000,
        replay: 200_000, pressure: 2_000, diskBytes: 8 << 30)
}

/// Ways of sending that are compared.
enum Shape: CaseIterable {
    case burst, many, fifty, one

    static let manyUnits = 1_000

    var connections: Int {
        switch self {
        case .burst: 8
        case .many: 4
        case .fifty: 50
        case .one: 1
        }
    }

    var inFlight: Int {
        switch self {
        case .burst: 100
        // So that a line is there when the one before is answered.
        case .many: 2
        case .fifty, .one: 1
        }
    }

    var name: String {
        switch self {
        case .burst: "burst, 8 connections x 100 in flight"
        case .many: "append.many, 1,000 events a line, 4 connections"
        case .fifty: "50 connections, one at a time"
        case .one: "1 connection, one at a time"
        }
    }

    func events(_ sizes: ComparisonSizes) -> Int {
        switch self {
        case .burst, .many: sizes.burst
        case .fifty: sizes.fifty
        case .one: sizes.one
        }
    }
}

/// What all cases measure with.
struct Workbench {
    let daemonPath: String
    let redisPath: String
    /// Where every measurement makes a directory of its own.
    let directory: String
    let sizes: ComparisonSizes
    let seed: UInt64

    func load(_ shape: Shape, tag: Character, events: Int? = nil) -> Load {
        let events = events ?? shape.events(sizes)
        return Load(
            tag: tag, events: events,
            leads: Load.leads(for: events, leadsMax: sizes.leads, connections: shape.connections),
            connections: shape.connections, inFlight: shape.inFlight, seed: seed)
    }

    /// Runs `body` with a directory that is gone afterwards.
    func withScratch<R>(_ body: (String) throws(BenchError) -> R) throws(BenchError) -> R {
        let scratch = try ScratchDirectory(in: directory)
        defer { scratch.remove() }
        return try body(scratch.path)
    }

    struct DaemonResult {
        var load: LoadResult
        var threads: ThreadTimes
        /// From the last acknowledgement until every read model had taken in everything.
        var catchUpNanoseconds: UInt64 = 0
    }

    /// What our daemon makes of a load, on the ledger in `place`/data, which is empty unless there is one.
    ///
    /// Before it starts, the read models have caught up with what is stored; meanwhile they follow, unless there are to be none.
    func measureDaemon(
        in place: String, withModels: Bool = true,
        _ send: (LoadDriver) throws(BenchError) -> LoadResult
    ) throws(BenchError) -> DaemonResult {
        let daemon = try DaemonProcess.start(daemonPath, in: place, withModels: withModels)
        defer { daemon.end() }
        let client = try ControlClient(daemon)
        let models = ReadModels(client: client, daemon: daemon)
        let before = try client.head()
        if withModels { _ = try models.waitUntilCaughtUp() }
        try daemon.waitUntilQuiet()
        let threadsBefore = try ThreadTimes(of: daemon.pid)
        var result = DaemonResult(load: try send(LoadDriver(daemon: daemon)), threads: ThreadTimes())
        result.threads = try ThreadTimes(of: daemon.pid).since(threadsBefore)
        if withModels { result.catchUpNanoseconds = try models.waitUntilCaughtUp() }
        // Nothing is lost, nothing is there twice.
        try client.checkHead(is: before + result.load.events)
        try daemon.stop()
        return result
    }

    func measureDaemon(_ shape: Shape, tag: Character, in place: String) throws(BenchError) -> DaemonResult {
        let load = load(shape, tag: tag)
        return try measureDaemon(in: place) { (driver) throws(BenchError) in
            guard shape == .many else { return try driver.run(load) }
            return try driver.run(load) { AppendManyWire(stream: $0, eventsPerRequest: Shape.manyUnits) }
        }
    }

    func measureDaemon(_ shape: Shape) throws(BenchError) -> DaemonResult {
        try withScratch { (place) throws(BenchError) in try measureDaemon(shape, tag: "c", in: place) }
    }

    func measureRedis(_ shape: Shape) throws(BenchError) -> LoadResult {
        try withScratch { (place) throws(BenchError) in
            let redis = try RedisServer.start(redisPath, in: place)
            defer { redis.end() }
            try redis.process.waitUntilQuiet()
            let result = try LoadDriver(daemon: redis.process).run(load(shape, tag: "c")) { XAddWire(stream: $0) }
            try redis.check(entries: result.events)
            try redis.stop()
            return result
        }
    }

    func measurePostgres(_ shape: Shape) throws(BenchError) -> LoadResult {
        try withScratch { (place) throws(BenchError) in
            let server = try PostgresServer.start(in: place)
            defer { server.end() }
            // Over as many leads for each event as the others have.
            let load = load(shape, tag: "p", events: sizes.fiftyPostgres)
            let result = try server.append(
                events: load.events, connections: shape.connections, leads: load.leads, seed: seed)
            try server.stop()
            return result
        }
    }

    func measureBareLoop(batch: Int, events: Int) throws(BenchError) -> Double {
        try withScratch { (place) throws(BenchError) in
            try BareLoop(directory: place, events: events, leads: sizes.leads, seed: seed).run(batch: batch)
        }
    }
}
