import ArgumentParser
import Control
import Glibc
import JSON

struct QueueCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "queue", abstract: "Look at the leads that wait for somebody, claim them, give them away.",
        subcommands: [
            List.self, Peek.self, Claim.self, Heartbeat.self, Take.self, Release.self, Route.self, Assign.self,
        ])

    struct List: LedgerCommand {
        static let configuration = CommandConfiguration(
            commandName: "list", abstract: "List leads in the inbox and in queues, oldest first.")

        @OptionGroup var common: CommonOptions
        @Option(help: "Only leads of this stage.")
        var stage: String?
        @Option(help: "Only leads of this channel.")
        var channel: String?
        @Option(help: "Only leads in the inbox, or only those in queues (inbox, queue).")
        var custody: String?
        @Option(help: "Only leads in this queue.")
        var queue: String?
        @Option(help: "How many leads; 100 unless given.")
        var limit: Int?
        @Option(
            name: .customLong("as-of"),
            help: "The instant that ages are counted to (RFC 3339 or a date); now unless given.")
        var asOf: String?

        func run(in context: Context) throws {
            try context.ask(
                .queueList,
                {
                    $0.member("stage", stage)
                    // As it stands in the table; the daemon knows it as the blank one.
                    $0.member("channel", channel == "(none)" ? "" : channel)
                    $0.member("custody", custody)
                    $0.member("queue", queue)
                    $0.member("limit", limit)
                    $0.member("as_of", asOf)
                }, human: Self.write)
        }

        static func write(_ result: JSONValue, to output: Output) {
            var table = TextTable([
                ("lead", .left), ("stage", .left), ("custody", .left), ("queue", .left), ("channel", .left),
                ("since", .left), ("age", .right),
            ])
            let leads = result["leads"]
            for lead in leads?.elements ?? result.elements {
                let channel = lead["channel"].shown
                table.add([
                    lead["lead"].shown, lead["stage"].shown, lead["custody"].shown, lead["queue"].shown,
                    channel.isEmpty ? "(none)" : channel, lead["since"].shown,
                    lead["age_seconds"]?.int64.map { ageText(seconds: $0) } ?? "",
                ])
            }
            table.write(to: output)
            output.line("")
            let (shown, total) = (leads?.count ?? 0, result["total"].shown)
            output.line(
                "\(shown) of \(total) leads, ages as of \(result["as_of"].shown), \(positionText(result))")
        }
    }
}
