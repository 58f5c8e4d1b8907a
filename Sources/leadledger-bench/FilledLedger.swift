import Glibc

/// A ledger in which each of many leads has been captured, made once; measurements take copies of its log.
///
/// A copy is FORMAT and the log: index and read models belong to their files' inodes, so a daemon on the copy builds them anew
/// before anything is measured.
struct FilledLedger {
    /// Of the leads' ids. The loads of `Shape` on the same ledger have others.
    static let tag: Character = "f"

    let scratch: ScratchDirectory
    let events: Int
    let seed: UInt64

    init(_ bench: Workbench) throws(BenchError) {
        scratch = try ScratchDirectory(in: bench.directory)
        events = bench.sizes.stored
        seed = bench.seed
        tell("filling a ledger with \(grouped(events)) leads")
        let load = load(events: events, pick: .inTurn)
        let course = LoadDriver.Course(markEvery: 1_000_000)
        _ = try bench.measureDaemon(in: scratch.path, withModels: false) { (driver) throws(BenchError) in
            try driver.run(load, course) { (result) throws(BenchError) in
                tell("\(grouped(result.events)) are stored")
            }
        }
    }

    func remove() { scratch.remove() }

    /// A load over its leads. In the log's numbering the first is of the filling, the second of what comes after.
    func load(events: Int, pick: EventStream.Pick) -> Load {
        Load(
            tag: Self.tag, events: events, leads: self.events, connections: Shape.burst.connections,
            inFlight: Shape.burst.inFlight, seed: seed, obeysBusy: true, pick: pick,
            firstNumber: EventTemplate.firstNumber * (pick == .inTurn ? 1 : 2))
    }

    /// Puts a copy at `place`/data.
    func copy(to place: String) throws(BenchError) {
        tell("copying the filled ledger")
        for folder in ["/data", "/data/log"] {
            guard mkdir(place + folder, 0o700) == 0 else { throw .system("make \(place)\(folder)") }
        }
        for file in ["/data/FORMAT", "/data/log/data.mdb"] { try copyFile(scratch.path + file, to: place + file) }
    }
}
