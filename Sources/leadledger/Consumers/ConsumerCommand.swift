import ArgumentParser
import Control
import JSON

/// Consumer groups as an operator sees them. Claiming is for programs that stay: a lease ends with its connection, and so it would
/// with the command.
struct ConsumerCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "consumer", abstract: "Make, look at and mend consumer groups.",
        discussion: "Claims, acks and nacks are for programs that keep their connection: a lease ends with it.",
        subcommands: [Create.self, Status.self, ReplayParked.self, Delete.self])

    struct Create: LedgerCommand {
        static let configuration = CommandConfiguration(
            commandName: "create",
            abstract: "Make a group: a named cursor over the log, whose progress the daemon keeps.",
            discussion: "Again with the same terms, it changes nothing.")

        @OptionGroup var common: CommonOptions
        @Argument(help: "The group's name.")
        var group: String
        @Option(help: "The first position it delivers, or \"head\" for what is appended from now on; 0 unless given.")
        var from: String?
        @Option(name: .customLong("type"), help: "Only events of this type; may be repeated.")
        var types: [String] = []
        @Option(name: .customLong("lead"), help: "Only events of this lead; may be repeated.")
        var leads: [String] = []
        @Option(name: .customLong("max-attempts"), help: "Leases of an event before it is parked; 5 unless given.")
        var maxAttempts: Int?
        @Option(name: .customLong("lease-ms"), help: "Milliseconds of a lease; 30000 unless given.")
        var leaseMilliseconds: Int?

        func validate() throws {
            guard from == nil || from == "head" || from.flatMap({ UInt64($0) }) != nil else {
                throw ValidationError("--from takes a position or \"head\"")
            }
        }

        func run(in context: Context) throws {
            try context.ask(.consumerCreate, params, human: Self.write)
        }

        private func params(_ writer: inout JSONWriter) {
            writer.member("group", group)
            if let position = from.flatMap({ UInt64($0) }) {
                writer.key("from")
                writer.integer(position)
            } else {
                writer.member("from", from)
            }
            if !types.isEmpty || !leads.isEmpty {
                writer.key("filter")
                writer.beginObject()
                writer.member("types", texts: types)
                writer.member("leads", texts: leads)
                writer.endObject()
            }
            writer.member("max_attempts", maxAttempts)
            writer.member("lease_ms", leaseMilliseconds)
        }

        static func write(_ result: JSONValue, to output: Output) {
            let verb = result["created"]?.boolean == true ? "created" : "is there with these terms"
            output.line(
                "\(result["group"].shown): \(verb), from position \(result["from"].shown), progress \(result["progress"].shown) of "
                    + result["head"].shown)
        }
    }

    struct Status: LedgerCommand {
        static let configuration = CommandConfiguration(
            commandName: "status",
            abstract: "Show how far a group is, what is out, what is parked, and why it does not move.")

        @OptionGroup var common: CommonOptions
        @Argument(help: "The group's name; all groups unless given.")
        var group: String?
        @Option(help: "Leases and parked events listed, each; 100 unless given.")
        var limit: Int?
        @Option(help: "List parked events beyond this position.")
        var after: Int?

        func run(in context: Context) throws {
            let isOne = group != nil
            try context.ask(
                .consumerStatus,
                {
                    $0.member("group", group)
                    $0.member("limit", limit)
                    $0.member("after", after)
                }, human: { isOne ? Self.write($0, to: $1) : Self.writeAll($0, to: $1) })
        }

        static func writeAll(_ result: JSONValue, to output: Output) {
            var table = TextTable([
                ("group", .left), ("progress", .right), ("lag", .right), ("leased", .right), ("parked", .right),
                ("waiting claims", .right), ("state", .left),
            ])
            for group in result["groups"]?.elements ?? result.elements {
                table.add([
                    group["group"].shown, group["progress"].shown, group["lag"].shown, group["leased"].shown,
                    group["parked"].shown, group["claims_waiting"].shown, group["state"].shown,
                ])
            }
            table.write(to: output)
            output.line("")
            output.line("the log ends at position \(result["head"].shown)")
        }

        static func write(_ result: JSONValue, to output: Output) {
            let window = result["window"]
            writeFacts(
                [
                    ("group", result["group"].shown),
                    ("progress", "\(result["progress"].shown) of \(result["head"].shown)"),
                    (
                        "reason",
                        "\(result["reason"]?["state"].shown ?? ""): \(result["reason"]?["message"].shown ?? "")"
                    ),
                    ("from", result["from"].shown), ("filter", result["filter"].shown),
                    ("lease", "\(result["lease_ms"].shown) ms, \(result["max_attempts"].shown) attempts"),
                    ("window", "\(window?["events"].shown ?? "") of \(window?["max"].shown ?? "") events"),
                    ("waiting", "\(result["claims_waiting"].shown) claims"), ("leased", result["leased"].shown),
                    ("parked", result["parked"].shown),
                ], to: output)
            if let leases = result["leases"], leases.count > 0 {
                var table = TextTable([
                    ("leased", .right), ("lead", .left), ("attempt", .right), ("consumer", .left), ("until", .left),
                ])
                for lease in leases.elements {
                    table.add([
                        lease["position"].shown, lease["lead"].shown, lease["attempt"].shown, lease["consumer"].shown,
                        lease["storing"]?.boolean == true ? "being stored" : lease["deadline"].shown,
                    ])
                }
                output.line("")
                table.write(to: output)
            }
            if let parked = result["parked_events"], parked.count > 0 {
                var table = TextTable([
                    ("parked", .right), ("lead", .left), ("attempts", .right), ("reason", .left), ("at", .left),
                    ("error", .left),
                ])
                for event in parked.elements {
                    table.add([
                        event["position"].shown, event["lead"].shown, event["attempts"].shown, event["reason"].shown,
                        event["parked_at"].shown, event["error"].shown,
                    ])
                }
                output.line("")
                table.write(to: output)
                let next = result["parked_after"].shown
                if !next.isEmpty { output.line("more with --after \(next)") }
            }
        }
    }

    struct ReplayParked: LedgerCommand {
        static let configuration = CommandConfiguration(
            commandName: "replay-parked", abstract: "Give parked events back to delivery, with new attempts.")

        @OptionGroup var common: CommonOptions
        @Argument(help: "The group's name.")
        var group: String
        @Option(name: .customLong("position"), help: "Only the event at this position; may be repeated.")
        var positions: [UInt64] = []
        @Option(help: "How many at most, the earliest first; 1000 unless given.")
        var limit: Int?

        func run(in context: Context) throws {
            try context.ask(
                .consumerReplayParked,
                {
                    $0.member("group", group)
                    if !positions.isEmpty {
                        $0.key("positions")
                        $0.beginArray()
                        for position in positions { $0.integer(position) }
                        $0.endArray()
                    }
                    $0.member("limit", limit)
                },
                human: { result, output in
                    output.line("\(result["replayed"]?.count ?? 0) replayed, \(result["parked"].shown) still parked")
                })
        }
    }

    struct Delete: LedgerCommand {
        static let configuration = CommandConfiguration(
            commandName: "delete", abstract: "Delete a group with its progress and what it has parked; the events stay."
        )

        @OptionGroup var common: CommonOptions
        @Argument(help: "The group's name.")
        var group: String

        func run(in context: Context) throws {
            try context.ask(
                .consumerDelete, { $0.member("group", group) },
                human: { result, output in output.line("\(result["group"].shown): deleted") })
        }
    }
}
