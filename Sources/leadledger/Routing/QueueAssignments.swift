import ArgumentParser
import Control
import JSON

// Giving a lead away: as the rule set says, or to somebody by name.

extension QueueCommand {
    struct Route: LedgerCommand {
        static let configuration = CommandConfiguration(
            abstract: "Have a waiting lead decided now, as the rule set in force says.",
            discussion: "Also for an imported lead, which is routed only by this.")

        @OptionGroup var common: CommonOptions
        @Argument(help: "The lead's id.")
        var lead: String

        func run(in context: Context) throws {
            try context.ask(.queueRoute, { $0.member("lead", lead) }, human: Self.write)
        }

        static func write(_ result: JSONValue, to output: Output) {
            let place = result["queue"].map { "in queue \($0.shown)" } ?? "assigned to \(result["member"].shown)"
            output.line("\(result["lead"].shown): \(place), position \(result["position"].shown)")
        }
    }

    struct Assign: LedgerCommand {
        static let configuration = CommandConfiguration(
            abstract: "Give a lead to a member by hand.",
            discussion:
                "A member who may not have it, being on leave or at a cap, gets it only with --reason, which is stored."
        )

        @OptionGroup var common: CommonOptions
        @Argument(help: "The lead's id.")
        var lead: String
        @Argument(help: "The member's id.")
        var member: String
        @Option(help: "Why them although they are not eligible. Stored in the clear: nothing personal.")
        var reason: String?
        @Option(help: "As what: sdr, closer, or a word of your own.")
        var role: String?

        func run(in context: Context) throws {
            try context.ask(
                .queueAssign,
                {
                    $0.member("lead", lead)
                    $0.member("member", member)
                    $0.member("reason", reason)
                    $0.member("role", role)
                }, human: Self.write)
        }

        static func write(_ result: JSONValue, to output: Output) {
            let how = result["override"]?.boolean == true ? ", although not eligible" : ""
            output.line(
                "\(result["lead"].shown): assigned to \(result["member"].shown)\(how), position \(result["position"].shown), version \(result["version"].shown)"
            )
        }
    }
}
