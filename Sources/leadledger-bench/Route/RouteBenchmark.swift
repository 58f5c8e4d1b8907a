import ArgumentParser
import JSON

/// `route`: how soon a captured lead has an owner, and how many decisions a second the router makes of a backlog.
///
/// 1. for each rate: a daemon of its own with the rule set of `RouteRuleSet` in force; captures at that rate, whatever is unanswered;
///    a subscriber that waits for `lead.assigned` and `lead.queued`. Measured is, for each capture, from the acknowledgement and from
///    the sending to the moment when the subscriber has the decision, which is durable then
/// 2. a backlog: captures while no rule set is in force, then one that reroutes what waits; measured from the activation to the last
///    decision at the subscriber
struct RouteBenchmark: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "route",
        abstract: "Captures leads at a fixed rate, and measures how soon each is assigned; then the same of a backlog.")

    /// What was asked for.
    private static let decisionsTarget = 20_000.0

    @OptionGroup var common: CommonOptions
    @Option(help: "Captures a second; may be given more than once.")
    var rate = [1_000, 10_000]
    @Option(help: "Seconds that each rate is kept up; 0 leaves the rates out.")
    var seconds = 30
    @Option(help: "Seconds before them that are not measured: the daemon has just started.")
    var warmUp = 2
    @Option(help: "Captures of the backlog; 0 leaves it out.")
    var backlog = 100_000
    @Option(help: "Runs, of which the medians are printed.")
    var runs = 3

    func validate() throws {
        guard seconds > 0 || backlog > 0 else { throw ValidationError("--seconds or --backlog is needed") }
        guard rate.allSatisfy({ 1...1_000_000 ~= $0 }) else { throw ValidationError("--rate takes 1 to 1000000") }
        guard 0...3_600 ~= seconds else { throw ValidationError("--seconds takes 0 to 3600") }
        guard 0...600 ~= warmUp else { throw ValidationError("--warm-up takes 0 to 600") }
        guard rate.allSatisfy({ $0 * (seconds + warmUp) <= 100_000_000 }) else {
            throw ValidationError("a run takes at most 100000000 captures")
        }
        guard 0...100_000_000 ~= backlog else { throw ValidationError("--backlog takes 0 to 100000000") }
        guard 1...1_000 ~= runs else { throw ValidationError("--runs takes 1 to 1000") }
    }

    func run() throws {
        Interruption.install()
        var report = RouteReport(
            rates: seconds > 0 ? rate.map { RateCase(rate: $0) } : [],
            backlog: backlog > 0 ? BacklogCase(captures: backlog) : nil,
            seconds: seconds, runs: runs, decisionsTarget: Self.decisionsTarget)
        for number in 1...runs {
            for index in report.rates.indices {
                tell("run \(number) of \(runs): \(grouped(report.rates[index].rate)) captures/s for \(seconds) s")
                try onFreshDaemon(&report) { (daemon, client, report) throws(BenchError) in
                    report.rates[index].add(try measure(rate: rate[index], daemon, client))
                }
            }
            guard report.backlog != nil else { continue }
            tell("run \(number) of \(runs): a backlog of \(grouped(backlog)) captures")
            try onFreshDaemon(&report) { (daemon, client, report) throws(BenchError) in
                report.backlog?.add(try measureBacklog(daemon, client))
            }
        }
        print(common.json ? report.json : report.text)
    }

    private func onFreshDaemon(
        _ report: inout RouteReport,
        _ body: (DaemonProcess, ControlClient, inout RouteReport) throws(BenchError) -> Void
    ) throws(BenchError) {
        let scratch = try ScratchDirectory(in: common.directory)
        defer { scratch.remove() }
        let daemon = try DaemonProcess.start(try common.daemonPath(), in: scratch.path)
        defer { daemon.end() }
        let client = try ControlClient(daemon)
        if report.circumstances == nil {
            report.circumstances = try Circumstances(daemonVersion: try client.version())
        }
        try body(daemon, client, &report)
        try daemon.stop()
    }

    private func measure(
        rate: Int, _ daemon: DaemonProcess, _ client: ControlClient
    ) throws(BenchError) -> RouteResult {
        try client.activate(try client.publish(RouteRuleSet.document(reroutesWaiting: false)))
        let subscription = try DecisionSubscription(daemon, from: try client.head())
        // Every due capture is sent: the daemon is not spared what it has no time for.
        let driver = RouteDriver(daemon: daemon, connections: common.connections, inFlightMax: .max)
        return try driver.send(
            SendSchedule(count: rate * (seconds + warmUp), rate: rate), RouteCaptures(seed: common.seed),
            warmUp: rate * warmUp, deciding: subscription)
    }

    private func measureBacklog(
        _ daemon: DaemonProcess, _ client: ControlClient
    ) throws(BenchError) -> BacklogResult {
        // 1. The captures, and everything that follows from them but decisions.
        let driver = RouteDriver(
            daemon: daemon, connections: common.connections, inFlightMax: common.inFlight)
        var matching = try driver.send(
            SendSchedule(count: backlog), RouteCaptures(seed: common.seed), deciding: nil
        ).matching
        _ = try ReadModels(client: client, daemon: daemon).waitUntilCaughtUp()
        let version = try client.publish(RouteRuleSet.document(reroutesWaiting: true))
        let subscription = try DecisionSubscription(daemon, from: try client.head())
        var result = BacklogResult()
        result.memoryBefore = try daemon.memory.sample(now: monotonicNanoseconds())
        daemon.memory.forget()

        // 2. The decisions.
        let daemonBefore = try daemon.processorNanoseconds()
        let start = monotonicNanoseconds()
        try client.activate(version)
        result.nanoseconds = try driver.awaitDecisions(since: start, on: &matching, from: subscription)
        result.daemonShare = Double(try daemon.processorNanoseconds() - daemonBefore) / Double(result.nanoseconds)
        result.memoryAfter = try daemon.memory.sample(now: monotonicNanoseconds())
        result.memoryPeak = daemon.memory.peakBytes
        (result.assigned, result.queued) = (matching.assigned, matching.queued)
        return result
    }
}

/// What the decisions of a backlog took.
struct BacklogResult {
    /// From asking for the activation to the last decision at the subscriber.
    var nanoseconds: UInt64 = 0
    var assigned = 0
    var queued = 0
    var daemonShare = 0.0
    // RssAnon, in bytes.
    var memoryBefore: UInt64 = 0
    var memoryPeak: UInt64 = 0
    var memoryAfter: UInt64 = 0
}

extension ControlClient {
    /// Publishes a rule set.
    /// - Returns: the parameters that activate it.
    fileprivate func publish(_ document: String) throws(BenchError) -> String {
        var writer = JSONWriter(reserving: document.utf8.count * 2)
        writer.beginObject()
        writer.text("document", document)
        writer.endObject()
        return try callPatiently("policy.publish", writer.string) { (result) throws(BenchError) in
            guard let policy = result["policy"]?.string, let version = result["version"]?.uint64 else {
                throw BenchError("policy.publish names no policy or no version")
            }
            var writer = JSONWriter()
            writer.beginObject()
            writer.text("policy", policy)
            writer.figure("version", version)
            writer.endObject()
            return writer.string
        }
    }

    fileprivate func activate(_ version: String) throws(BenchError) {
        try callPatiently("policy.activate", version) { (_) throws(BenchError) in }
    }
}
