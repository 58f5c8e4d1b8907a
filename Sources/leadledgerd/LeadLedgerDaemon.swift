import ArgumentParser
import LeadLedger

// leadledgerd: the program. `serve` runs the daemon, `check` looks at a stopped daemon's directory.

@main
struct LeadLedgerDaemon: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "leadledgerd",
        abstract: "An event-sourced ledger of sales leads.",
        discussion: "Exit codes: 0 done; 64 usage; 70 our bug; 73 cannot create; 74 the device failed, do not restart "
            + "before looking at the disk; 78 configuration or format.",
        version: Version.current,
        subcommands: [Serve.self, Check.self, CheckEnvironment.self],
        defaultSubcommand: Serve.self)
}
