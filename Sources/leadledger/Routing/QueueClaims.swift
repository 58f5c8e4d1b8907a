import ArgumentParser
import Control
import JSON
import PolicyDocuments

// Pulling leads out of queues: look, claim, keep, take or give back. A claim is a lease that a token stands for; unlike that of a
// consumer group, it outlives the connection.

extension QueueCommand {
    struct Peek: LedgerCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show what a pool's queue would give out, in that order, without claiming anything.")

        @OptionGroup var common: CommonOptions
        @Option(help: "The pool.")
        var pool: String
        @Option(help: "Only leads that this member could claim.")
        var member: String?
        @Option(help: "How many leads; 100 unless given.")
        var limit: Int?

        func run(in context: Context) throws {
            try context.ask(
                .queuePeek,
                {
                    $0.member("pool", pool)
                    $0.member("member", member)
                    $0.member("limit", limit)
                }, human: Self.write)
        }

        static func write(_ result: JSONValue, to output: Output) {
            var table = TextTable([
                ("lead", .left), ("due", .left), ("score", .right), ("pulls", .right), ("captured", .right),
                ("pushed to", .left),
            ])
            let leads = result["leads"]
            for lead in leads?.elements ?? result.elements {
                table.add([
                    lead["lead"].shown, lead["due"].shown, lead["score"].shown, lead["pulls"].shown,
                    lead["captured"].shown, lead["pushed_to"].shown,
                ])
            }
            table.write(to: output)
            output.line("")
            output.line(
                "\(leads?.count ?? 0) of \(result["waiting"].shown) leads that wait in \(result["pool"].shown), \(positionText(result))"
            )
        }
    }

    struct Claim: LedgerCommand {
        static let configuration = CommandConfiguration(
            abstract: "Lease the next lead that a member may have, or a named one.",
            discussion:
                "The token stands for the lease: keep it for heartbeat, take and release. Nothing to claim is no error."
        )

        @OptionGroup var common: CommonOptions
        @Option(help: "Who claims.")
        var member: String
        @Option(help: "Only from this pool's queue; any of the member's unless given.")
        var pool: String?
        @Option(help: "This very lead, where its pool permits picking.")
        var lead: String?
        @Option(help: "Which one first: due or freshest; the pool's order unless given.")
        var order: String?
        @Option(help: "How long the lease is, such as 15m; the pool's unless given.")
        var lease: Lease?

        func run(in context: Context) throws {
            let member = member
            try context.ask(
                .queueClaim,
                {
                    $0.member("member", member)
                    $0.member("pool", pool)
                    $0.member("lead", lead)
                    $0.member("order", order)
                    $0.member("lease_seconds", lease?.seconds)
                }, human: { Self.write($0, member, to: $1) })
        }

        static func write(_ result: JSONValue, _ member: String, to output: Output) {
            guard let claim = result["claim"], claim.kind == .object else {
                return output.line("nothing waits that \(printable(member)) may have")
            }
            writeFacts(
                [
                    ("token", claim["token"].shown), ("lead", claim["lead"].shown),
                    ("member", claim["member"].shown), ("pool", claim["pool"].shown),
                    ("until", claim["until"].shown), ("due", claim["due"].shown),
                    ("pulls", claim["pulls"].shown), ("captured", claim["captured"].shown),
                    ("position", claim["position"].shown),
                ], to: output)
        }
    }

    struct Heartbeat: LedgerCommand {
        static let configuration = CommandConfiguration(abstract: "Keep a claimed lead for longer.")

        @OptionGroup var common: CommonOptions
        @Argument(help: "The token of the claim.")
        var token: String
        @Option(help: "How long from now on, such as 15m; the pool's lease unless given.")
        var lease: Lease?

        func run(in context: Context) throws {
            try context.ask(
                .queueHeartbeat,
                {
                    $0.member("token", token)
                    $0.member("lease_seconds", lease?.seconds)
                },
                human: { result, output in
                    output.line("\(result["lead"].shown): leased until \(result["until"].shown)")
                })
        }
    }

    struct Take: LedgerCommand {
        static let configuration = CommandConfiguration(abstract: "Make a claimed lead the member's own.")

        @OptionGroup var common: CommonOptions
        @Argument(help: "The token of the claim.")
        var token: String
        @Option(help: "As what: sdr, closer, or a word of your own.")
        var role: String?

        func run(in context: Context) throws {
            try context.ask(
                .queueTake,
                {
                    $0.member("token", token)
                    $0.member("role", role)
                },
                human: { result, output in
                    output.line(
                        "\(result["lead"].shown): assigned to \(result["member"].shown), position \(result["position"].shown), version \(result["version"].shown)"
                    )
                })
        }
    }

    struct Release: LedgerCommand {
        static let configuration = CommandConfiguration(abstract: "Give a claimed lead back to its queue.")

        @OptionGroup var common: CommonOptions
        @Argument(help: "The token of the claim.")
        var token: String
        @Option(help: "Why. Stored in the clear: nothing personal.")
        var reason: String

        func run(in context: Context) throws {
            try context.ask(
                .queueRelease,
                {
                    $0.member("token", token)
                    $0.member("reason", reason)
                },
                human: { result, output in
                    output.line("\(result["lead"].shown): given back, position \(result["position"].shown)")
                })
        }
    }
}

/// How long a lease is, on the command line: a duration as rule sets write it, `90s`, `15m`, `1h30m`.
struct Lease: ExpressibleByArgument, Equatable {
    let seconds: Int

    init?(argument: String) {
        guard let duration = durationSeconds(argument), (1...86_400).contains(duration.seconds) else { return nil }
        seconds = Int(duration.seconds)
    }
}
