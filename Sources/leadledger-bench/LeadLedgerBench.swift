import ArgumentParser

// leadledger-bench: how fast the daemon is on this machine, and what it takes. It starts a daemon of its own on a directory
// of its own, and ends and removes both.

@main
struct LeadLedgerBench: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "leadledger-bench",
        abstract: "Measures leadledgerd on this machine.",
        discussion:
            "Exit codes: 0 the figures are good; 64 usage; 1 anything else, with a message. Then there are no figures, but "
            + "`compare` prints those it has, and `pressure`, `replay` and `growth --require-restart` all where one is "
            + "too bad.",
        subcommands: [
            CompareBenchmark.self, AppendBenchmark.self, GrowthBenchmark.self, ReplayBenchmark.self, BareBenchmark.self,
            PressureBenchmark.self, RouteBenchmark.self,
        ])
}

/// What all benchmarks are told.
struct CommonOptions: ParsableArguments {
    @Option(help: "The daemon's program; leadledgerd beside this one unless given.")
    var daemon: String?
    @Option(help: "Where to make the temporary directory, on a real disk.")
    var directory = "."
    @Option(help: "Different leads in the load.")
    var leads = 1_000_000
    @Option(help: "Connections that send.")
    var connections = 8
    @Option(help: "Requests in flight on each of them.")
    var inFlight = 100
    @Option(help: "Where the random choice of leads begins.")
    var seed: UInt64 = 42
    @Flag(help: "Print one JSON object.")
    var json = false

    func validate() throws {
        // The daemon serves 240 connections of one user, and one is for control.
        guard 1...200 ~= connections else { throw ValidationError("--connections takes 1 to 200") }
        guard 1...65_536 ~= inFlight else { throw ValidationError("--in-flight takes 1 to 65536") }
        guard 1...1_000_000_000 ~= leads else { throw ValidationError("--leads takes 1 to 1000000000") }
    }

    func daemonPath() throws(BenchError) -> String {
        if let daemon { return daemon }
        return try defaultDaemonPath()
    }

    /// The load of a whole ledger: `events` over `leads`, pipelined.
    func load(tag: Character, events: Int) -> Load {
        Load(
            tag: tag, events: events,
            leads: Load.leads(for: events, leadsMax: leads, connections: connections), connections: connections,
            inFlight: inFlight, seed: seed)
    }
}
