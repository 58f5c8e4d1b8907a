import ArgumentParser
import Glibc
import JSON

/// `pressure`: how long one good client, one request at a time, waits for an acknowledgement while others misbehave, beside how
/// long it waits when nobody does.
struct PressureBenchmark: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pressure",
        abstract: "Measures a good client's latency while others stop reading, flood, or dawdle.",
        discussion:
            "Exits with 1 where the p99 under a pressure is more than --ratio-max times that of the quiet beside it.")

    /// Clients that do not read, and clients that dawdle.
    private static let clients = 64
    private static let flood = 2_000
    /// Events that subscribers could read: more than the output that is kept for one and the kernel's buffers hold together.
    private static let storedEvents = 20_000

    @OptionGroup var common: CommonOptions
    @Option(help: "Events that the good client appends in each measurement.")
    var events = 6_000
    @Option(help: "Runs, of which the medians are printed.")
    var runs = 3
    @Option(help: "The largest ratio that is good; five thirds of it where connections come again and again.")
    var ratioMax = 3.0

    func validate() throws {
        guard 100...1_000_000 ~= events else { throw ValidationError("--events takes 100 to 1000000") }
        // Every measurement has a letter of its own in its events' names, and there are as many as letters.
        guard 1...Self.runsMax ~= runs else { throw ValidationError("--runs takes 1 to \(Self.runsMax)") }
    }

    private static let tags = Array("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
    private static var runsMax: Int { tags.count / (2 * PressureKind.allCases.count) }

    func run() throws {
        Interruption.install()
        try Descriptors.raise(to: UInt(Self.flood) + 500)
        let scratch = try ScratchDirectory(in: common.directory)
        defer { scratch.remove() }
        let daemon = try DaemonProcess.start(try common.daemonPath(), in: scratch.path)
        defer { daemon.end() }
        let client = try ControlClient(daemon)
        let circumstances = try Circumstances(daemonVersion: try client.version())
        // The good client is there before the others: what they do to those who come later, they are told.
        let good = GoodClient(descriptor: try daemon.connect(), daemon: daemon)
        var tags = Self.tags.makeIterator()
        func measure(_ events: Int) throws(BenchError) -> LatencyHistogram {
            guard let tag = tags.next() else { throw BenchError("there are no more letters for events' names") }
            return try good.append(
                events, tag: tag, leads: Load.leads(for: events, leadsMax: common.leads, connections: 1),
                seed: common.seed)
        }
        tell("appending \(grouped(Self.storedEvents)) events")
        _ = try LoadDriver(daemon: daemon).run(
            Load(tag: "0", events: Self.storedEvents, leads: Self.storedEvents, connections: 8, inFlight: 100, seed: 1))

        var cases = PressureKind.allCases.map { PressureCase(kind: $0) }
        for number in 1...runs {
            for index in cases.indices {
                tell("run \(number) of \(runs): quiet, then \(cases[index].kind.name)")
                let quiet = try measure(events)
                let pressure = try Pressure.begin(
                    cases[index].kind, on: daemon, clients: Self.clients, flood: Self.flood)
                defer { pressure.end() }
                let pressed = try measure(events)
                pressure.end()
                if let failure = pressure.failure { throw BenchError("\(cases[index].kind.name): \(failure)") }
                cases[index].add(quiet: quiet, pressed: pressed, pressure.tally)
                try client.waitForConnections(atMost: 2)
            }
        }
        try daemon.stop()
        print(common.json ? json(circumstances, cases) : text(circumstances, cases))
        let bad = cases.filter { $0.ratio.median > ratioMax * $0.kind.leeway }
        guard bad.isEmpty else {
            throw BenchError(
                "too many times the quiet p99: \(bad.map(\.kind.name).joined(separator: "; "))")
        }
    }

    private func text(_ circumstances: Circumstances, _ cases: [PressureCase]) -> String {
        var table = TextTable(
            "one client, one at a time, beside", "quiet p50 us", "p99 us", "pressed p50 us", "p99 us", "max us",
            "p99 ratio",
            "min", "max")
        for entry in cases {
            table.add(
                entry.kind.name, fixed(entry.quietP50.median, 0), fixed(entry.quietP99.median, 0),
                fixed(entry.pressedP50.median, 0), fixed(entry.pressedP99.median, 0), fixed(entry.pressedMax.median, 0),
                fixed(entry.ratio.median, 2), fixed(entry.ratio.smallest, 2), fixed(entry.ratio.largest, 2))
        }
        let notes = cases.map { "\($0.kind.name): \($0.tally.text)" }.joined(separator: "\n")
        return """
            \(circumstances.line)
            \(grouped(events)) appends a measurement, medians of \(runs) \(runs == 1 ? "run" : "runs")

            \(table.text)

            \(notes)
            """
    }

    private func json(_ circumstances: Circumstances, _ cases: [PressureCase]) -> String {
        var writer = JSONWriter()
        writer.beginObject()
        writer.text("benchmark", "pressure")
        writer.circumstances(circumstances)
        writer.figure("runs", runs)
        writer.figure("ratio_max", ratioMax)
        writer.key("cases")
        writer.beginArray()
        for entry in cases {
            writer.beginObject()
            writer.text("name", entry.kind.name)
            writer.figures("quiet_p50_us", entry.quietP50)
            writer.figures("quiet_p99_us", entry.quietP99)
            writer.figures("pressed_p50_us", entry.pressedP50)
            writer.figures("pressed_p99_us", entry.pressedP99)
            writer.figures("ratio", entry.ratio)
            writer.text("what_happened", entry.tally.text)
            writer.endObject()
        }
        writer.endArray()
        writer.endObject()
        return writer.string
    }
}

/// One pressure, and what its runs gave. Latencies are in microseconds.
private struct PressureCase {
    let kind: PressureKind
    var quietP50 = Runs()
    var quietP99 = Runs()
    var pressedP50 = Runs()
    var pressedP99 = Runs()
    var pressedMax = Runs()
    var ratio = Runs()
    var tally = PressureTally()

    init(kind: PressureKind) { self.kind = kind }

    mutating func add(quiet: LatencyHistogram, pressed: LatencyHistogram, _ more: PressureTally) {
        let (before, under) = (quiet.percentile(perThousand: 990), pressed.percentile(perThousand: 990))
        quietP50.add(Double(quiet.percentile(perThousand: 500)) / 1_000)
        quietP99.add(Double(before) / 1_000)
        pressedP50.add(Double(pressed.percentile(perThousand: 500)) / 1_000)
        pressedP99.add(Double(under) / 1_000)
        pressedMax.add(Double(pressed.largest) / 1_000)
        ratio.add(Double(under) / Double(max(before, 1)))
        tally.add(more)
    }
}

/// One connection that appends one event at a time, for the whole of the benchmark.
private final class GoodClient {
    /// Without a reply for this long, the daemon is taken to be stuck.
    private static let silenceMaxNanoseconds: UInt64 = 60_000_000_000

    private let descriptor: Int32
    private let daemon: DaemonProcess

    /// Takes over `descriptor`.
    init(descriptor: Int32, daemon: DaemonProcess) {
        self.descriptor = descriptor
        self.daemon = daemon
    }

    deinit { close(descriptor) }

    /// - Returns: how long each of `events` took from send to reply.
    func append(_ events: Int, tag: Character, leads: Int, seed: UInt64) throws(BenchError) -> LatencyHistogram {
        let copy = dup(descriptor)
        guard copy >= 0 else { throw .system("dup") }
        let connection = LoadConnection(
            descriptor: copy,
            stream: EventStream(templates: EventTemplates(tag: tag), seed: seed, leads: leads, member: 0, of: 1),
            events: events, inFlightMax: 1)
        var histogram = LatencyHistogram()
        var lastReply = monotonicNanoseconds()
        try connection.send()
        while !connection.isDone {
            var entry = pollfd(
                fd: copy, events: Int16(connection.wantsToWrite ? POLLIN | POLLOUT : POLLIN), revents: 0)
            let ready = poll(&entry, 1, 100)
            if ready < 0, errno != EINTR { throw .system("poll") }
            try Interruption.check()
            if ready <= 0 {
                try daemon.checkIsRunning()
                guard monotonicNanoseconds() - lastReply < Self.silenceMaxNanoseconds else {
                    throw BenchError("no reply for \(Self.silenceMaxNanoseconds / 1_000_000_000) s")
                }
                continue
            }
            try connection.receive(into: &histogram)
            try connection.send()
            lastReply = monotonicNanoseconds()
        }
        if let firstError = connection.firstError {
            throw BenchError("\(connection.errorCount) replies were errors; the first: \(firstError)")
        }
        return histogram
    }
}

extension ControlClient {
    /// Waits until the daemon serves no more than `most` connections: those of the pressure before are gone.
    fileprivate func waitForConnections(atMost most: Int64) throws(BenchError) {
        for _ in 0..<2_000 {
            let count = try call("status") { (result) throws(BenchError) in result["connections"]?.int64 ?? .max }
            if count <= most { return }
            try pause(milliseconds: 10)
        }
        throw BenchError("connections that were closed are still served after 20 s")
    }
}
