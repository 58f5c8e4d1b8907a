import ArgumentParser
import JSON

/// `replay`: one client reads the whole log by `log.subscribe`, with more credit than there are events.
struct ReplayBenchmark: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "replay", abstract: "Reads the whole log over one subscription.",
        discussion: "Exits with 1 where the daemon's memory (RssAnon) grows by 64 MiB or more meanwhile.")

    /// What the daemon's RssAnon has to grow by less than while one client reads everything. By taste: the output that may wait for a
    /// connection, 1 MiB, and the slices that readers have in hand are far below it, the 560 MB of a million events far above.
    static let growthMebibytesMax = 64.0

    @OptionGroup var common: CommonOptions
    @Option(help: "Events in the log.")
    var events = 1_000_000
    @Option(help: "Runs, of which the medians are printed; all read the same log.")
    var runs = 3

    func validate() throws {
        guard 1...1_000_000_000 ~= events else { throw ValidationError("--events takes 1 to 1000000000") }
        guard 1...1_000 ~= runs else { throw ValidationError("--runs takes 1 to 1000") }
    }

    func run() throws {
        Interruption.install()
        let scratch = try ScratchDirectory(in: common.directory)
        defer { scratch.remove() }
        tell("appending \(grouped(events)) events")
        try Self.store(common.load(tag: "r", events: events), with: try common.daemonPath(), in: scratch.path)
        let daemon = try DaemonProcess.start(try common.daemonPath(), in: scratch.path)
        defer { daemon.end() }
        let circumstances = try Circumstances(daemonVersion: try ControlClient(daemon).version())

        var replay = Replay()
        for number in 1...runs {
            tell("run \(number) of \(runs): reading")
            try replay.add(Self.read(from: daemon, events: events), events: events)
        }
        try daemon.stop()
        print(common.json ? json(circumstances, replay) : text(circumstances, replay))
        // All runs read from one daemon: what it keeps of the first is in where the others begin.
        let growth = replay.growthMebibytes.largest
        guard growth < Self.growthMebibytesMax else {
            throw BenchError(
                "RssAnon grew by \(fixed(growth, 1)) MiB while the log was read, and less than "
                    + "\(fixed(Self.growthMebibytesMax, 1)) is asked")
        }
    }

    /// Makes a ledger of `load` below `directory`, with a daemon that is gone when this returns: what appending took of its memory is
    /// not that of reading, so another one is to be read from.
    static func store(_ load: Load, with daemonPath: String, in directory: String) throws(BenchError) {
        let daemon = try DaemonProcess.start(daemonPath, in: directory)
        defer { daemon.end() }
        let client = try ControlClient(daemon)
        _ = try LoadDriver(daemon: daemon).run(load)
        _ = try ReadModels(client: client, daemon: daemon).waitUntilCaughtUp()
        try daemon.stop()
    }

    /// Lets the daemon come to rest, reads from position 0 until `log.caught_up`, and checks that every position came, once and in
    /// order.
    static func read(from daemon: DaemonProcess, events: Int) throws(BenchError) -> ReplayResult {
        _ = try ReadModels(client: try ControlClient(daemon), daemon: daemon).waitUntilCaughtUp()
        try daemon.waitUntilQuiet()
        var result = ReplayResult()
        daemon.memory.forget()
        result.restingBytes = try daemon.memory.sample(now: monotonicNanoseconds())
        let reader = try ReplayReader(daemon)
        let daemonBefore = try daemon.processorNanoseconds()
        let clientBefore = threadNanoseconds()
        let start = monotonicNanoseconds()
        try reader.readAll()
        result.nanoseconds = monotonicNanoseconds() - start
        result.clientShare = Double(threadNanoseconds() - clientBefore) / Double(result.nanoseconds)
        result.daemonShare = Double(try daemon.processorNanoseconds() - daemonBefore) / Double(result.nanoseconds)
        result.bytes = reader.bytes
        // A small log is read before a sample is due.
        _ = try daemon.memory.sample(now: monotonicNanoseconds())
        result.peakBytes = daemon.memory.peakBytes
        guard reader.position == events else {
            throw BenchError("\(events) events were acknowledged, and the subscription caught up at \(reader.position)")
        }
        return result
    }

    private func text(_ circumstances: Circumstances, _ replay: Replay) -> String {
        var table = TextTable(
            "", "events/s", "min", "max", "MB/s", "client CPU", "daemon CPU", "peak RssAnon MiB", "growth MiB")
        table.add(
            "log.subscribe, 1 client", grouped(replay.rate.median), grouped(replay.rate.smallest),
            grouped(replay.rate.largest), fixed(replay.megabytes.median, 0),
            fixed(replay.clientShare.median * 100, 0) + " %", fixed(replay.daemonShare.median * 100, 0) + " %",
            mebibytes(replay.peakBytes), fixed(replay.growthMebibytes.median, 1))
        return """
            \(circumstances.line)
            \(grouped(events)) events of \(EventTemplate.eventBytes) bytes; medians of \(runs) \(runs == 1 ? "run" : "runs")

            \(table.text)
            """
    }

    private func json(_ circumstances: Circumstances, _ replay: Replay) -> String {
        var writer = JSONWriter()
        writer.beginObject()
        writer.text("benchmark", "replay")
        writer.circumstances(circumstances)
        writer.figure("events", events)
        writer.figure("runs", runs)
        writer.figures("events_per_second", replay.rate)
        writer.figures("megabytes_per_second", replay.megabytes)
        writer.figures("client_processors", replay.clientShare)
        writer.figures("daemon_processors", replay.daemonShare)
        writer.figure("peak_rss_anon_bytes", replay.peakBytes)
        writer.figures("rss_anon_growth_mebibytes", replay.growthMebibytes)
        writer.endObject()
        return writer.string
    }
}

struct ReplayResult {
    var nanoseconds: UInt64 = 0
    var bytes = 0
    var clientShare = 0.0
    var daemonShare = 0.0
    /// The daemon's RssAnon before it was read from, and the largest from then on.
    var restingBytes: UInt64 = 0
    var peakBytes: UInt64 = 0

    var growthMebibytes: Double { Double(peakBytes - min(restingBytes, peakBytes)) / Double(1 << 20) }
}

private struct Replay {
    var rate = Runs()
    var megabytes = Runs()
    var clientShare = Runs()
    var daemonShare = Runs()
    var growthMebibytes = Runs()
    var peakBytes: UInt64 = 0

    mutating func add(_ result: ReplayResult, events: Int) {
        rate.add(Double(events) / seconds(result.nanoseconds))
        megabytes.add(Double(result.bytes) / 1e6 / seconds(result.nanoseconds))
        clientShare.add(result.clientShare)
        daemonShare.add(result.daemonShare)
        growthMebibytes.add(result.growthMebibytes)
        peakBytes = max(peakBytes, result.peakBytes)
    }
}

/// A notification of a subscription.
///
/// ```
/// {"jsonrpc":"2.0","method":"log.events","params":{"subscription":1,"events":[...],"next":812}}
/// {"jsonrpc":"2.0","method":"log.caught_up","params":{"subscription":1,"position":800000}}
/// ```
enum LogNotification: Equatable {
    case events(count: Int, next: Int)
    case caughtUp(position: Int)
    case heartbeat

    /// - Parameter position: where the events must go on, one after the other.
    init(_ root: JSONValue, from position: Int) throws(BenchError) {
        guard let method = root["method"]?.string, let parameters = root["params"] else {
            throw BenchError("not a notification: \(String(decoding: root.raw.prefix(600), as: UTF8.self))")
        }
        switch method {
        case "log.events":
            guard let events = parameters["events"], events.count > 0, let next = parameters["next"]?.int64 else {
                throw BenchError("log.events without events, or without next")
            }
            var expected = position
            for event in events.elements {
                guard let found = event["position"]?.int64, found == expected else {
                    throw BenchError(
                        "position \(expected) is missing: the log goes on at \(event["position"]?.int64 ?? -1)")
                }
                expected += 1
            }
            self = .events(count: events.count, next: Int(next))
        case "log.caught_up":
            guard let position = parameters["position"]?.int64 else {
                throw BenchError("log.caught_up without position")
            }
            self = .caughtUp(position: Int(position))
        case "log.heartbeat", "log.fell_behind":
            self = .heartbeat
        default:
            throw BenchError("an unknown notification: \(method)")
        }
    }
}
