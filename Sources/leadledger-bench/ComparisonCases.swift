import ArgumentParser
import Glibc

// The cases of the comparison. Each measures ours and its peers once for each run, in turns, so that a mood of the disk hits both.

enum CaseName: String, CaseIterable, ExpressibleByArgument {
    case burst, many, fifty, one, uniform, uniformModels = "uniform-models", stored, replay, pressure
}

protocol ComparisonCase: AnyObject {
    var rows: [Comparison] { get set }
    /// Texts that belong under the table.
    var notes: [String] { get }
    /// Measures once. What goes wrong in the end of one measurement is thrown and ends the case, not the others.
    func measure(_ bench: Workbench, run: Int) throws(BenchError)
    /// Removes what was kept between runs.
    func end()
}

extension ComparisonCase {
    var notes: [String] { [] }
    func end() {}

    /// Runs `ours` and then `theirs`, in the next run the other way round.
    fileprivate func inTurns(
        _ run: Int, _ ours: () throws(BenchError) -> Void, _ theirs: () throws(BenchError) -> Void
    ) throws(BenchError) {
        if run % 2 == 1 { try ours() }
        try theirs()
        if run % 2 == 0 { try ours() }
    }
}

func makeCase(_ name: CaseName, _ filled: FilledLedgers) -> any ComparisonCase {
    switch name {
    case .burst: BurstCase()
    case .many: ManyCase()
    case .fifty: FiftyCase()
    case .one: OneCase()
    case .uniform: UniformCase(filled)
    case .uniformModels: UniformModelsCase(filled)
    case .stored: StoredCase(filled)
    case .replay: ReplayCase()
    case .pressure: PressureCase()
    }
}

/// The filled ledger, made when the first case asks for it.
final class FilledLedgers {
    private var ledger: FilledLedger?

    func ledger(_ bench: Workbench) throws(BenchError) -> FilledLedger {
        if let ledger { return ledger }
        let made = try FilledLedger(bench)
        ledger = made
        return made
    }

    func end() { ledger?.remove() }
}

// MARK: - Appending to an empty ledger

private final class BurstCase: ComparisonCase {
    /// Microseconds of processor that the appender may take for an event.
    static let appenderBudget = 2.0

    var rows = [
        Comparison(Shape.burst.name, peer: "Redis XADD", ratio: 1.3, bound: .atLeast(250_000)),
        Comparison("burst: latency p99", unit: .milliseconds, peer: "Redis XADD"),
    ]
    private var threads: [String: Runs] = [:]
    private var driverShare = Runs()

    func measure(_ bench: Workbench, run: Int) throws(BenchError) {
        try inTurns(run) { () throws(BenchError) in
            let result = try bench.measureDaemon(.burst)
            rows[0].ours.add(result.load.eventsPerSecond)
            rows[1].ours.add(milliseconds(result.load.latency, perThousand: 990))
            for group in ThreadTimes.groups {
                let time = Double(result.threads.nanoseconds[group] ?? 0)
                threads[group, default: Runs()].add(time / 1_000 / Double(result.load.events))
            }
            driverShare.add(result.load.driverShare)
        } _: { () throws(BenchError) in
            let result = try bench.measureRedis(.burst)
            rows[0].theirs.add(result.eventsPerSecond)
            rows[1].theirs.add(milliseconds(result.latency, perThousand: 990))
        }
    }

    var notes: [String] {
        guard !threads.isEmpty else { return [] }
        var table = TextTable("processor of the daemon in the burst", "us an event", "(min..max)", "budget")
        for group in ThreadTimes.groups {
            let runs = threads[group] ?? Runs()
            table.add(
                group, fixed(runs.median, 2), "(\(fixed(runs.smallest, 2))..\(fixed(runs.largest, 2)))",
                group == "appender" ? fixed(Self.appenderBudget, 2) : "")
        }
        return [table.text + "\nthe driver took \(fixed(driverShare.median * 100, 0)) % of a core\n"]
    }
}

private final class ManyCase: ComparisonCase {
    var rows = [
        Comparison(
            Shape.many.name, peer: "bare LMDB, 1,000 in a commit", ratio: 0.35, bound: .atLeast(350_000))
    ]

    func measure(_ bench: Workbench, run: Int) throws(BenchError) {
        try inTurns(run) { () throws(BenchError) in
            rows[0].ours.add(try bench.measureDaemon(.many).load.eventsPerSecond)
        } _: { () throws(BenchError) in
            rows[0].theirs.add(try bench.measureBareLoop(batch: 1_000, events: bench.sizes.burst))
        }
    }
}

private final class FiftyCase: ComparisonCase {
    var rows = [
        Comparison(Shape.fifty.name, peer: "Redis XADD", ratio: 0.9, bound: .atLeast(55_000)),
        Comparison(Shape.fifty.name, peer: "PostgreSQL 15", ratio: 15),
        Comparison("50 connections: latency p50", unit: .milliseconds, peer: "Redis XADD"),
        Comparison("50 connections: latency p99", unit: .milliseconds, peer: "Redis XADD", bound: .below(2)),
        Comparison("50 connections: latency p50", unit: .milliseconds, peer: "PostgreSQL 15"),
        Comparison("50 connections: latency p99", unit: .milliseconds, peer: "PostgreSQL 15"),
    ]

    func measure(_ bench: Workbench, run: Int) throws(BenchError) {
        try inTurns(run) { () throws(BenchError) in
            let result = try bench.measureDaemon(.fifty).load
            for row in 0..<2 { rows[row].ours.add(result.eventsPerSecond) }
            for row in [2, 4] { rows[row].ours.add(milliseconds(result.latency, perThousand: 500)) }
            for row in [3, 5] { rows[row].ours.add(milliseconds(result.latency, perThousand: 990)) }
        } _: { () throws(BenchError) in
            try add(try bench.measureRedis(.fifty), rate: 0, latencies: 2)
            try add(try bench.measurePostgres(.fifty), rate: 1, latencies: 4)
        }
    }

    private func add(_ result: LoadResult, rate: Int, latencies: Int) throws(BenchError) {
        rows[rate].theirs.add(result.eventsPerSecond)
        rows[latencies].theirs.add(milliseconds(result.latency, perThousand: 500))
        rows[latencies + 1].theirs.add(milliseconds(result.latency, perThousand: 990))
    }
}

private final class OneCase: ComparisonCase {
    var rows = [Comparison(Shape.one.name, peer: "bare LMDB, 1 in a commit", ratio: 0.8)]

    func measure(_ bench: Workbench, run: Int) throws(BenchError) {
        try inTurns(run) { () throws(BenchError) in
            rows[0].ours.add(try bench.measureDaemon(.one).load.eventsPerSecond)
        } _: { () throws(BenchError) in
            rows[0].theirs.add(try bench.measureBareLoop(batch: 1, events: bench.sizes.one))
        }
    }
}

// MARK: - Many leads, for a long time

/// A pipelined load over all leads of the filled ledger, sustained, and how its latency goes.
struct Sustained {
    /// Growth from the first third of the run to the last that counts as none. By taste: more than slices of a quiet run
    /// differ, less than anything that grows with the log.
    static let growthMax = 1.25

    private(set) var slices: [[LoadSlice]] = []
    private(set) var busyCount = 0

    mutating func run(
        _ bench: Workbench, _ filled: FilledLedger, withModels: Bool
    ) throws(BenchError) -> Workbench.DaemonResult {
        let course = LoadDriver.Course(
            nanosecondsMax: bench.sizes.sustainedNanoseconds, sliceNanoseconds: bench.sizes.sliceNanoseconds)
        let load = filled.load(events: 1_000_000_000, pick: .captured)
        let result = try bench.withScratch { (place) throws(BenchError) in
            try filled.copy(to: place)
            return try bench.measureDaemon(in: place, withModels: withModels) { (driver) throws(BenchError) in
                try driver.run(load, course)
            }
        }
        slices.append(result.load.slices)
        busyCount += result.load.busyCount
        return result
    }

    /// Median p99 of the last third of the newest run, of that of its first third.
    var growth: Double { Self.growth(slices.last ?? []) }

    static func growth(_ slices: [LoadSlice]) -> Double {
        let third = max(1, slices.count / 3)
        func middle(_ slices: ArraySlice<LoadSlice>) -> Double {
            var runs = Runs()
            for slice in slices { runs.add(milliseconds(slice.latency, perThousand: 990)) }
            return runs.median
        }
        let first = middle(slices.prefix(third))
        return first > 0 ? middle(slices.suffix(third)) / first : 0
    }

    func note(_ title: String) -> String {
        guard let count = slices.map(\.count).min() else { return "" }
        var table = TextTable("\(title): until s", "events/s", "p50 ms", "p99 ms", "p99.9 ms")
        var end = 0.0
        for index in 0..<count {
            var rate = Runs()
            var latencies = [Runs(), Runs(), Runs()]
            var length = Runs()
            for run in slices {
                let slice = run[index]
                rate.add(Double(slice.events) / seconds(max(slice.nanoseconds, 1)))
                length.add(seconds(slice.nanoseconds))
                for (place, part) in [500, 990, 999].enumerated() {
                    latencies[place].add(milliseconds(slice.latency, perThousand: UInt64(part)))
                }
            }
            end += length.median
            table.add(
                [fixed(end, 0), grouped(rate.median)] + latencies.map { fixed($0.median, 2) })
        }
        return table.text + "\ntold to come again: \(grouped(busyCount)) times in \(slices.count) runs\n"
    }
}

private func uniformName(_ what: String) -> String { "leads hit uniformly, sustained, \(what)" }

private final class UniformCase: ComparisonCase {
    var rows = [
        Comparison(
            uniformName("read models off"), peer: "bare LMDB, index in the log's transaction", ratio: 1.5,
            bound: .atLeast(110_000)),
        Comparison(
            "read models off: p99 of the last third of that of the first", unit: .factor,
            bound: .below(Sustained.growthMax),
            isBoundFirm: true),
    ]
    private let filled: FilledLedgers
    private var sustained = Sustained()
    private var loopPlace: ScratchDirectory?

    init(_ filled: FilledLedgers) { self.filled = filled }

    func measure(_ bench: Workbench, run: Int) throws(BenchError) {
        let ledger = try filled.ledger(bench)
        try inTurns(run) { () throws(BenchError) in
            let result = try sustained.run(bench, ledger, withModels: false)
            rows[0].ours.add(result.load.eventsPerSecond)
            rows[1].ours.add(sustained.growth)
        } _: { () throws(BenchError) in
            let place: ScratchDirectory
            if let loopPlace {
                place = loopPlace
            } else {
                place = try ScratchDirectory(in: bench.directory)
                loopPlace = place
                tell("making the bare loop's index")
                try loop(bench, place).fill()
            }
            rows[0].theirs.add(try loop(bench, place).run(nanosecondsMax: bench.sizes.indexedNanoseconds))
        }
    }

    private func loop(_ bench: Workbench, _ place: ScratchDirectory) -> IndexedLoop {
        IndexedLoop(directory: place.path + "/loop", leads: bench.sizes.stored, seed: bench.seed)
    }

    var notes: [String] { [sustained.note("read models off")] }

    func end() { loopPlace?.remove() }
}

private final class UniformModelsCase: ComparisonCase {
    var rows = [
        Comparison(uniformName("all read models following"), bound: .atLeast(70_000)),
        Comparison("read models following: their lag at the end", unit: .seconds, bound: .below(2), isBoundFirm: true),
        Comparison(
            "read models following: p99 of the last third of that of the first", unit: .factor,
            bound: .below(Sustained.growthMax),
            isBoundFirm: true),
    ]
    private let filled: FilledLedgers
    private var sustained = Sustained()

    init(_ filled: FilledLedgers) { self.filled = filled }

    func measure(_ bench: Workbench, run: Int) throws(BenchError) {
        let result = try sustained.run(bench, try filled.ledger(bench), withModels: true)
        rows[0].ours.add(result.load.eventsPerSecond)
        rows[1].ours.add(seconds(result.catchUpNanoseconds))
        rows[2].ours.add(sustained.growth)
    }

    var notes: [String] { [sustained.note("all read models following")] }
}

// MARK: - On a ledger that holds much

/// Every way of appending on the filled ledger, beside the same on an empty one.
private final class StoredCase: ComparisonCase {
    /// Tags of the loads on the filled ledger, one for each: its ids must not come again.
    private static let tags = Array("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabdeghijklmnopqrstuvwxyz")
    static let runsMax = tags.count / Shape.allCases.count

    var rows = Shape.allCases.map { Comparison("stored: \($0.name)", peer: "ours, empty ledger", ratio: 0.9) }
    private let filled: FilledLedgers
    private var place: ScratchDirectory?
    private var tagsUsed = 0

    init(_ filled: FilledLedgers) { self.filled = filled }

    func measure(_ bench: Workbench, run: Int) throws(BenchError) {
        let ledger = try filled.ledger(bench)
        let place: ScratchDirectory
        if let kept = self.place {
            place = kept
        } else {
            place = try ScratchDirectory(in: bench.directory)
            self.place = place
            try ledger.copy(to: place.path)
            tell("letting index and read models catch up with it")
            _ = try bench.measureDaemon(in: place.path) { (_) throws(BenchError) in
                LoadResult(events: 0, nanoseconds: 1)
            }
        }
        for (index, shape) in Shape.allCases.enumerated() where rows[index].failure == nil {
            tell("stored: \(shape.name)")
            let tag = Self.tags[tagsUsed]
            tagsUsed += 1
            // One way of sending that fails is not to take the others with it.
            do throws(BenchError) {
                try inTurns(run) { () throws(BenchError) in
                    let result = try bench.measureDaemon(shape, tag: tag, in: place.path)
                    rows[index].ours.add(result.load.eventsPerSecond)
                } _: { () throws(BenchError) in
                    rows[index].theirs.add(try bench.measureDaemon(shape).load.eventsPerSecond)
                }
            } catch {
                try Interruption.check()
                rows[index].failure = error.description
            }
        }
    }

    func end() { place?.remove() }
}

// MARK: - Reading it all

private final class ReplayCase: ComparisonCase {
    /// Entries that XRANGE is asked for at a time.
    private static let page = 1_000

    var rows = [
        Comparison("replay, one client reads all", peer: "Redis XRANGE", bound: .atLeast(1_000_000)),
        Comparison("replay, one client reads all", peer: "bare LMDB scan"),
        Comparison(
            "replay: growth of the daemon's RssAnon", unit: .mebibytes,
            bound: .below(ReplayBenchmark.growthMebibytesMax), isBoundFirm: true),
    ]

    func measure(_ bench: Workbench, run: Int) throws(BenchError) {
        let events = bench.sizes.replay
        try inTurns(run) { () throws(BenchError) in
            try bench.withScratch { (place) throws(BenchError) in
                try ReplayBenchmark.store(
                    bench.load(.burst, tag: "r", events: events), with: bench.daemonPath, in: place)
                let daemon = try DaemonProcess.start(bench.daemonPath, in: place)
                defer { daemon.end() }
                let result = try ReplayBenchmark.read(from: daemon, events: events)
                for row in 0..<2 { rows[row].ours.add(Double(events) / seconds(result.nanoseconds)) }
                rows[2].ours.add(result.growthMebibytes)
                try daemon.stop()
            }
        } _: { () throws(BenchError) in
            try bench.withScratch { (place) throws(BenchError) in
                let redis = try RedisServer.start(bench.redisPath, in: place)
                defer { redis.end() }
                _ = try LoadDriver(daemon: redis.process).run(bench.load(.burst, tag: "r", events: events)) {
                    XAddWire(stream: $0)
                }
                let client = try RedisClient(redis.process)
                let start = monotonicNanoseconds()
                let read = try client.readStream(XAddWire.key, page: Self.page)
                let time = monotonicNanoseconds() - start
                guard read.entries == events, read.bytes == events * EventTemplate.eventBytes else {
                    throw BenchError("XRANGE gave \(read.entries) of \(events) entries, \(read.bytes) bytes")
                }
                rows[0].theirs.add(Double(events) / seconds(time))
                try redis.stop()
            }
            try bench.withScratch { (place) throws(BenchError) in
                let scan = BareScan(directory: place + "/scan", events: events)
                try scan.fill(
                    seed: bench.seed, leads: Load.leads(for: events, leadsMax: bench.sizes.leads, connections: 1))
                rows[1].theirs.add(try scan.run())
            }
        }
    }
}

// MARK: - Beside others who misbehave

private final class PressureCase: ComparisonCase {
    var rows = PressureKind.allCases.map { kind in
        Comparison(
            "p99 beside \(kind.name), of the quiet one", unit: .factor,
            bound: .below(PressureKind.ratioAsked * kind.leeway), isBoundFirm: true)
    }
    private var figures = PressureKind.allCases.map { PressureFigures(kind: $0) }

    func measure(_ bench: Workbench, run: Int) throws(BenchError) {
        try bench.withScratch { (place) throws(BenchError) in
            let daemon = try DaemonProcess.start(bench.daemonPath, in: place)
            defer { daemon.end() }
            let trial = try PressureTrial(
                daemon, events: bench.sizes.pressure, leadsMax: bench.sizes.leads, seed: bench.seed)
            for index in figures.indices {
                tell("pressure: quiet, then \(figures[index].kind.name)")
                let sample = try trial.measure(figures[index].kind)
                figures[index].add(sample)
                rows[index].ours.add(sample.ratio)
            }
            try daemon.stop()
        }
    }

    var notes: [String] {
        // One that failed in the first run leaves those behind it without figures.
        let measured = figures.filter { !$0.ratio.values.isEmpty }
        return measured.isEmpty ? [] : [PressureFigures.text(of: measured) + "\n"]
    }
}

func milliseconds(_ latency: LatencyHistogram, perThousand: UInt64) -> Double {
    Double(latency.percentile(perThousand: perThousand)) / 1e6
}
