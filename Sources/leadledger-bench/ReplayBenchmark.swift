import ArgumentParser
import JSON

/// `replay`: one client reads the whole log by `log.subscribe`, with more credit than there are events.
struct ReplayBenchmark: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "replay", abstract: "Reads the whole log over one subscription.")

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
        let circumstances = try append(in: scratch.path)

        // A daemon that has done nothing else: what appending took of its memory is not that of reading.
        let daemon = try DaemonProcess.start(try common.daemonPath(), in: scratch.path)
        defer { daemon.end() }
        _ = try ControlClient(daemon).version()

        var replay = Replay()
        for number in 1...runs {
            tell("run \(number) of \(runs): reading")
            daemon.memory.forget()
            try replay.add(Self.read(from: daemon, events: events), events: events)
            replay.peakBytes = max(replay.peakBytes, daemon.memory.peakBytes)
        }
        try daemon.stop()
        print(common.json ? json(circumstances, replay) : text(circumstances, replay))
    }

    private func append(in directory: String) throws(BenchError) -> Circumstances {
        let daemon = try DaemonProcess.start(try common.daemonPath(), in: directory)
        defer { daemon.end() }
        let client = try ControlClient(daemon)
        let circumstances = try Circumstances(daemonVersion: try client.version())
        tell("appending \(grouped(events)) events")
        _ = try LoadDriver(daemon: daemon).run(common.load(tag: "r", events: events))
        _ = try ReadModels(client: client, daemon: daemon).waitUntilCaughtUp()
        try daemon.stop()
        return circumstances
    }

    /// Reads from position 0 until `log.caught_up`, and checks that every position came, once and in order.
    static func read(from daemon: DaemonProcess, events: Int) throws(BenchError) -> ReplayResult {
        let reader = try ReplayReader(daemon)
        var result = ReplayResult()
        let daemonBefore = try daemon.processorNanoseconds()
        let clientBefore = threadNanoseconds()
        let start = monotonicNanoseconds()
        try reader.readAll()
        result.nanoseconds = monotonicNanoseconds() - start
        result.clientShare = Double(threadNanoseconds() - clientBefore) / Double(result.nanoseconds)
        result.daemonShare = Double(try daemon.processorNanoseconds() - daemonBefore) / Double(result.nanoseconds)
        result.bytes = reader.bytes
        guard reader.position == events else {
            throw BenchError("\(events) events were acknowledged, and the subscription caught up at \(reader.position)")
        }
        return result
    }

    private func text(_ circumstances: Circumstances, _ replay: Replay) -> String {
        var table = TextTable("", "events/s", "min", "max", "MB/s", "client CPU", "daemon CPU", "peak RssAnon MiB")
        table.add(
            "log.subscribe, 1 client", grouped(replay.rate.median), grouped(replay.rate.smallest),
            grouped(replay.rate.largest), fixed(replay.megabytes.median, 0),
            fixed(replay.clientShare.median * 100, 0) + " %", fixed(replay.daemonShare.median * 100, 0) + " %",
            mebibytes(replay.peakBytes))
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
        writer.endObject()
        return writer.string
    }
}

struct ReplayResult {
    var nanoseconds: UInt64 = 0
    var bytes = 0
    var clientShare = 0.0
    var daemonShare = 0.0
}

private struct Replay {
    var rate = Runs()
    var megabytes = Runs()
    var clientShare = Runs()
    var daemonShare = Runs()
    var peakBytes: UInt64 = 0

    mutating func add(_ result: ReplayResult, events: Int) {
        rate.add(Double(events) / seconds(result.nanoseconds))
        megabytes.add(Double(result.bytes) / 1e6 / seconds(result.nanoseconds))
        clientShare.add(result.clientShare)
        daemonShare.add(result.daemonShare)
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
