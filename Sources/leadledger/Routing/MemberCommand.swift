import ArgumentParser
import Control
import JSON

struct MemberCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "member", abstract: "Say who of the sales team is away, and see who is there.",
        subcommands: [List.self, Pause.self, Resume.self, Leave.self, Return.self])

    struct List: LedgerCommand {
        static let configuration = CommandConfiguration(
            abstract: "List the members of the rule set in force, and whether they can get leads now.")

        @OptionGroup var common: CommonOptions
        @Option(help: "Only members of this pool.")
        var pool: String?

        func run(in context: Context) throws {
            try context.ask(.memberList, { $0.member("pool", pool) }, human: Self.write)
        }

        static func write(_ result: JSONValue, to output: Output) {
            var table = TextTable([
                ("member", .left), ("team", .left), ("state", .left), ("until", .left), ("open", .right),
                ("cap", .right), ("pools", .left),
            ])
            let members = result["members"]
            for member in members?.elements ?? result.elements {
                let pools = member["pools"].map { $0.elements.map(\.shown).joined(separator: " ") } ?? ""
                table.add([
                    member["member"].shown, member["team"].shown,
                    member["state"].shown.replacing("_", with: " "), member["until"].shown, member["open"].shown,
                    member["open_cap"].shown, pools,
                ])
            }
            table.write(to: output)
            output.line("")
            output.line(
                "\(members?.count ?? 0) members of \(result["policy"].shown) version \(result["version"].shown), \(positionText(result))"
            )
        }
    }

    struct Pause: LedgerCommand {
        static let configuration = CommandConfiguration(
            abstract: "A member gets no leads for a while, and keeps those there are.")

        @OptionGroup var common: CommonOptions
        @Argument(help: "The member's id.")
        var member: String
        @Option(help: "Why. Stored in the clear: nothing personal.")
        var reason: String
        @Option(help: "Until when (RFC 3339); until resumed unless given.")
        var until: String?

        func run(in context: Context) throws {
            try context.ask(
                .memberPause,
                {
                    $0.member("member", member)
                    $0.member("reason", reason)
                    $0.member("until", until)
                }, human: { writeChange($0, "paused", to: $1) })
        }
    }

    struct Resume: LedgerCommand {
        static let configuration = CommandConfiguration(abstract: "A pause is over.")

        @OptionGroup var common: CommonOptions
        @Argument(help: "The member's id.")
        var member: String
        @Option(help: "Why. Stored in the clear: nothing personal.")
        var reason: String?

        func run(in context: Context) throws {
            try context.ask(.memberResume, { write(member, reason, to: &$0) }) { writeChange($0, "resumed", to: $1) }
        }
    }

    struct Leave: LedgerCommand {
        static let configuration = CommandConfiguration(
            abstract: "A member is away. What becomes of the open leads, the rule set says.")

        @OptionGroup var common: CommonOptions
        @Argument(help: "The member's id.")
        var member: String
        @Option(help: "Why. Stored in the clear: nothing personal.")
        var reason: String
        @Option(help: "From when on (RFC 3339); now unless given.")
        var from: String?
        @Option(help: "Until when (RFC 3339); until returned unless given.")
        var until: String?

        func run(in context: Context) throws {
            try context.ask(
                .memberLeave,
                {
                    $0.member("member", member)
                    $0.member("reason", reason)
                    $0.member("from", from)
                    $0.member("until", until)
                }, human: { writeChange($0, "on leave", to: $1) })
        }
    }

    struct Return: LedgerCommand {
        static let configuration = CommandConfiguration(abstract: "A leave is over.")

        @OptionGroup var common: CommonOptions
        @Argument(help: "The member's id.")
        var member: String
        @Option(help: "Why. Stored in the clear: nothing personal.")
        var reason: String?

        func run(in context: Context) throws {
            try context.ask(.memberReturn, { write(member, reason, to: &$0) }) { writeChange($0, "returned", to: $1) }
        }
    }

    private static func write(_ member: String, _ reason: String?, to writer: inout JSONWriter) {
        writer.member("member", member)
        writer.member("reason", reason)
    }

    /// What became of a member's leads is said where anything did.
    static func writeChange(_ result: JSONValue, _ word: String, to output: Output) {
        var line = "\(result["member"].shown): \(word), position \(result["position"].shown)"
        for (name, words) in [("returned", "returned to their queues"), ("handed_over", "handed over")] {
            guard let count = result.member(named: name)?.int64, count > 0 else { continue }
            line += ", \(count) \(count == 1 ? "lead" : "leads") \(words)"
        }
        output.line(line)
    }
}
