import ArgumentParser
import JSON

/// `append`: events a second and how long an acknowledgement takes, in three ways of sending, beside LMDB alone.
///
/// Every run has a daemon of its own on an empty ledger. Before each case the read models have caught up, so that none pays
/// for the one before; while it runs they follow, as they do in earnest.
struct AppendBenchmark: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "append", abstract: "Appends one at a time, over 50 connections, and in a pipelined burst.")

    /// Connections of the second case.
    private static let manyConnections = 50

    @OptionGroup var common: CommonOptions
    @Option(help: "Events of the burst; the other cases take an eightieth and an eighth of them.")
    var events = 800_000
    @Option(help: "Runs, of which the medians are printed.")
    var runs = 3

    func validate() throws {
        guard 1...1_000_000_000 ~= events else { throw ValidationError("--events takes 1 to 1000000000") }
        guard 1...1_000 ~= runs else { throw ValidationError("--runs takes 1 to 1000") }
    }

    func run() throws {
        Interruption.install()
        var cases = makeCases()
        let batches = Set([1, Self.manyConnections, 100, common.connections * common.inFlight, 1_000]).sorted()
        var bare: [Int: Runs] = [:]
        var catchUp = Runs()
        var circumstances: Circumstances?

        for number in 1...runs {
            let scratch = try ScratchDirectory(in: common.directory)
            defer { scratch.remove() }
            try measureDaemon(in: scratch, number, &cases, &catchUp, &circumstances)
            let loop = BareLoop(directory: scratch.path, events: events, leads: common.leads, seed: common.seed)
            for batch in batches {
                try Interruption.check()
                tell("run \(number) of \(runs): bare LMDB, \(grouped(batch)) in a commit")
                bare[batch, default: Runs()].add(try loop.run(batch: batch))
            }
        }
        guard let circumstances else { return }
        print(
            common.json
                ? json(circumstances, cases, batches, bare, catchUp)
                : text(circumstances, cases, batches, bare, catchUp))
    }

    private func makeCases() -> [AppendCase] {
        func load(_ tag: Character, events: Int, connections: Int, inFlight: Int) -> Load {
            let events = max(events, connections)
            return Load(
                tag: tag, events: events,
                leads: Load.leads(for: events, leadsMax: common.leads, connections: connections),
                connections: connections, inFlight: inFlight, seed: common.seed)
        }
        return [
            AppendCase(
                name: "1 connection, one at a time",
                load: load("a", events: events / 80, connections: 1, inFlight: 1)),
            AppendCase(
                name: "\(Self.manyConnections) connections, one at a time",
                load: load("b", events: events / 8, connections: Self.manyConnections, inFlight: 1)),
            AppendCase(
                name: "\(common.connections) connections, \(common.inFlight) in flight",
                load: load("c", events: events, connections: common.connections, inFlight: common.inFlight)),
        ]
    }

    private func measureDaemon(
        in scratch: ScratchDirectory, _ number: Int, _ cases: inout [AppendCase], _ catchUp: inout Runs,
        _ circumstances: inout Circumstances?
    ) throws(BenchError) {
        let daemon = try DaemonProcess.start(try common.daemonPath(), in: scratch.path)
        defer { daemon.end() }
        let client = try ControlClient(daemon)
        let models = ReadModels(client: client, daemon: daemon)
        if circumstances == nil { circumstances = try Circumstances(daemonVersion: try client.version()) }
        try daemon.waitUntilQuiet()
        var acknowledged = 0
        for index in cases.indices {
            tell("run \(number) of \(runs): \(cases[index].name), \(grouped(cases[index].load.events)) events")
            let result = try LoadDriver(daemon: daemon).run(cases[index].load)
            cases[index].add(result)
            acknowledged += result.events
            try client.checkHead(is: acknowledged)
            let waited = try models.waitUntilCaughtUp()
            if index == cases.count - 1 { catchUp.add(seconds(waited)) }
        }
        try daemon.stop()
    }

    private func text(
        _ circumstances: Circumstances, _ cases: [AppendCase], _ batches: [Int], _ bare: [Int: Runs], _ catchUp: Runs
    ) -> String {
        var table = TextTable(
            "", "events", "events/s", "min", "max", "p50 us", "p99 us", "p99.9 us", "of bare", "driver CPU",
            "daemon CPU")
        for entry in cases {
            let loop = bare[entry.batch]?.median ?? 0
            table.add(
                entry.name, grouped(entry.load.events), grouped(entry.rate.median), grouped(entry.rate.smallest),
                grouped(entry.rate.largest), fixed(entry.p50.median, 0), fixed(entry.p99.median, 0),
                fixed(entry.p999.median, 0), loop > 0 ? fixed(entry.rate.median / loop, 2) : "-",
                fixed(entry.driverShare.median * 100, 0) + " %", fixed(entry.daemonShare.median * 100, 0) + " %")
        }
        for batch in batches {
            guard let rate = bare[batch] else { continue }
            table.add(
                "bare LMDB, \(grouped(batch)) in a commit", "", grouped(rate.median), grouped(rate.smallest),
                grouped(rate.largest), "", "", "", "", "", "")
        }
        let of = cases.map { grouped($0.batch) }.joined(separator: ", ")
        return """
            \(circumstances.line)
            \(EventTemplate.eventBytes)-byte events, each acknowledged after a full sync; medians of \(runs) \(runs == 1 ? "run" : "runs")

            \(table.text)

            of bare: of the bare loop with \(of) in a commit, which is what each case has in flight
            read models caught up \(fixed(catchUp.median, 2)) s after the last case (\(fixed(catchUp.smallest, 2)) to \(fixed(catchUp.largest, 2)) s)
            """
    }

    private func json(
        _ circumstances: Circumstances, _ cases: [AppendCase], _ batches: [Int], _ bare: [Int: Runs], _ catchUp: Runs
    ) -> String {
        var writer = JSONWriter()
        writer.beginObject()
        writer.text("benchmark", "append")
        writer.circumstances(circumstances)
        writer.figure("runs", runs)
        writer.figure("event_bytes", EventTemplate.eventBytes)
        writer.key("cases")
        writer.beginArray()
        for entry in cases {
            writer.beginObject()
            writer.text("name", entry.name)
            writer.figure("events", entry.load.events)
            writer.figure("leads", entry.load.leads)
            writer.figure("connections", entry.load.connections)
            writer.figure("in_flight", entry.load.inFlight)
            writer.figures("events_per_second", entry.rate)
            writer.figures("p50_us", entry.p50)
            writer.figures("p99_us", entry.p99)
            writer.figures("p999_us", entry.p999)
            writer.figure("bare_batch", entry.batch)
            if let loop = bare[entry.batch]?.median, loop > 0 { writer.figure("of_bare", entry.rate.median / loop) }
            writer.figures("driver_processors", entry.driverShare)
            writer.figures("daemon_processors", entry.daemonShare)
            writer.endObject()
        }
        writer.endArray()
        writer.key("bare_lmdb")
        writer.beginArray()
        for batch in batches {
            guard let rate = bare[batch] else { continue }
            writer.beginObject()
            writer.figure("batch", batch)
            writer.figures("events_per_second", rate)
            writer.endObject()
        }
        writer.endArray()
        writer.figures("catch_up_seconds", catchUp)
        writer.endObject()
        return writer.string
    }
}

/// One way of sending, and what its runs gave. Latencies are in microseconds.
private struct AppendCase {
    let name: String
    let load: Load
    var rate = Runs()
    var p50 = Runs()
    var p99 = Runs()
    var p999 = Runs()
    var driverShare = Runs()
    var daemonShare = Runs()

    init(name: String, load: Load) {
        self.name = name
        self.load = load
    }

    /// The most that one commit of the daemon can hold: all that is in flight.
    var batch: Int { load.connections * load.inFlight }

    mutating func add(_ result: LoadResult) {
        rate.add(result.eventsPerSecond)
        p50.add(Double(result.latency.percentile(perThousand: 500)) / 1_000)
        p99.add(Double(result.latency.percentile(perThousand: 990)) / 1_000)
        p999.add(Double(result.latency.percentile(perThousand: 999)) / 1_000)
        driverShare.add(result.driverShare)
        daemonShare.add(result.daemonShare)
    }
}
