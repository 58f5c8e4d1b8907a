import Glibc
import JSON

// PressureTrial: what `pressure` and the comparison's case of that name measure with, and what they make of it.

/// A daemon with one good client, which appends one event at a time, and how long that client waits while nobody misbehaves and while
/// somebody does.
///
/// Each measurement under a pressure follows a quiet one on the same daemon, so that a mood of the disk hits both.
final class PressureTrial {
    /// Clients that do not read, and clients that dawdle.
    private static let clients = 64
    private static let flood = 2_000
    /// Events that subscribers could read: more than the output that is kept for one and the kernel's buffers hold together.
    private static let storedEvents = 20_000
    /// Every measurement has a letter of its own in its events' names.
    private static let letters = Array("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
    /// How often every kind can be measured on one daemon: for as long as there are letters.
    static var runsMax: Int { letters.count / (2 * PressureKind.allCases.count) }

    let client: ControlClient
    private let daemon: DaemonProcess
    private let good: GoodClient
    private let events: Int
    private let leads: Int
    private let seed: UInt64
    private var tags = PressureTrial.letters.makeIterator()

    /// Stores events in `daemon`, whose ledger is empty, and returns when it has come to rest.
    ///
    /// - Parameter events: that the good client appends in each measurement.
    init(_ daemon: DaemonProcess, events: Int, leadsMax: Int, seed: UInt64) throws(BenchError) {
        try Descriptors.raise(to: UInt(Self.flood) + 500)
        self.daemon = daemon
        self.events = events
        self.seed = seed
        leads = Load.leads(for: events, leadsMax: leadsMax, connections: 1)
        client = try ControlClient(daemon)
        // The good client is there before the others: what they do to those who come later, they are told.
        good = GoodClient(descriptor: try daemon.connect(), daemon: daemon)
        tell("appending \(grouped(Self.storedEvents)) events")
        _ = try LoadDriver(daemon: daemon).run(
            Load(tag: "0", events: Self.storedEvents, leads: Self.storedEvents, connections: 8, inFlight: 100, seed: 1))
        // What a start and these events leave to be done would pass for quiet in the first measurement, and be gone in the next.
        _ = try ReadModels(client: client, daemon: daemon).waitUntilCaughtUp()
        try daemon.waitUntilQuiet()
    }

    /// Measures while nobody presses, and then under `kind`, which is over when this returns.
    func measure(_ kind: PressureKind) throws(BenchError) -> PressureSample {
        let quiet = try append()
        let pressure = try Pressure.begin(kind, on: daemon, clients: Self.clients, flood: Self.flood)
        defer { pressure.end() }
        let pressed = try append()
        pressure.end()
        if let failure = pressure.failure { throw BenchError("\(kind.name): \(failure)") }
        // The good client's and that for control.
        try client.waitForConnections(atMost: 2)
        return PressureSample(quiet: quiet, pressed: pressed, tally: pressure.tally)
    }

    private func append() throws(BenchError) -> LatencyHistogram {
        guard let tag = tags.next() else { throw BenchError("there are no more letters for events' names") }
        return try good.append(events, tag: tag, leads: leads, seed: seed)
    }
}

/// What the good client waited under a pressure, and in the quiet before it.
struct PressureSample {
    var quiet: LatencyHistogram
    var pressed: LatencyHistogram
    var tally: PressureTally

    /// The p99 under pressure of the quiet one.
    var ratio: Double {
        Double(pressed.percentile(perThousand: 990)) / Double(max(quiet.percentile(perThousand: 990), 1))
    }
}

/// One pressure, and what its runs gave. Latencies are in microseconds.
struct PressureFigures {
    let kind: PressureKind
    private(set) var quietP50 = Runs()
    private(set) var quietP99 = Runs()
    private(set) var pressedP50 = Runs()
    private(set) var pressedP99 = Runs()
    private(set) var pressedMax = Runs()
    private(set) var ratio = Runs()
    private(set) var tally = PressureTally()

    init(kind: PressureKind) { self.kind = kind }

    mutating func add(_ sample: PressureSample) {
        let (quiet, pressed) = (sample.quiet, sample.pressed)
        quietP50.add(Double(quiet.percentile(perThousand: 500)) / 1_000)
        quietP99.add(Double(quiet.percentile(perThousand: 990)) / 1_000)
        pressedP50.add(Double(pressed.percentile(perThousand: 500)) / 1_000)
        pressedP99.add(Double(pressed.percentile(perThousand: 990)) / 1_000)
        pressedMax.add(Double(pressed.largest) / 1_000)
        ratio.add(sample.ratio)
        tally.add(sample.tally)
    }

    /// A table of all of them, and under it what became of those who misbehaved.
    static func text(of all: [PressureFigures]) -> String {
        var table = TextTable(
            "one client, one at a time, beside", "quiet p50 us", "p99 us", "pressed p50 us", "p99 us", "max us",
            "p99 ratio",
            "min", "max")
        for entry in all {
            table.add(
                entry.kind.name, fixed(entry.quietP50.median, 0), fixed(entry.quietP99.median, 0),
                fixed(entry.pressedP50.median, 0), fixed(entry.pressedP99.median, 0), fixed(entry.pressedMax.median, 0),
                fixed(entry.ratio.median, 2), fixed(entry.ratio.smallest, 2), fixed(entry.ratio.largest, 2))
        }
        let tallies = all.map { "\($0.kind.name): \($0.tally.text)" }.joined(separator: "\n")
        return table.text + "\n\n" + tallies
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
