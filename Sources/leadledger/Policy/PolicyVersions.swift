import ArgumentParser
import Control
import JSON

// What rule sets the ledger has: the versions of each policy, and the text of one.

extension PolicyCommand {
    struct History: LedgerCommand {
        static let configuration = CommandConfiguration(
            abstract: "List the versions of a policy: who published, approved and activated which, and when.")

        @OptionGroup var common: CommonOptions
        @Argument(help: "The policy's id; the only one, or the one in force, unless given.")
        var policy: String?

        func run(in context: Context) throws {
            try context.ask(.policyHistory, { $0.member("policy", policy) }, human: Self.write)
        }

        static func write(_ result: JSONValue, to output: Output) {
            for policy in result["policies"]?.elements ?? result.elements {
                let inForce = policy["in_force"]?.int64
                let state = inForce.map { "version \($0) is in force" } ?? "nothing is in force"
                output.line("policy \(policy["policy"].shown): \(state)")
                var table = TextTable([
                    ("version", .right), ("published", .left), ("by", .right), ("approval", .left),
                    ("in force from", .left), ("note", .left),
                ])
                for version in policy["versions"]?.elements ?? result.elements {
                    // A version may come into force several times: a line each.
                    let activations = version["activations"].map { Array($0.elements) } ?? []
                    table.add([
                        version["version"].shown, version["recordedtime"].shown, version["actor"].shown,
                        approval(version), activations.first.map(activation) ?? "", version["note"].shown,
                    ])
                    for later in activations.dropFirst() { table.add(["", "", "", "", activation(later), ""]) }
                }
                table.write(to: output)
                output.line("")
            }
            output.line(positionText(result))
        }

        private static func approval(_ version: JSONValue) -> String {
            let approvers = version["approvals"].map { $0.elements.map { $0["actor"].shown } } ?? []
            guard approvers.isEmpty else { return "by \(approvers.joined(separator: ", "))" }
            return version["approval"]?.equals("two_people") == true ? "needed" : ""
        }

        private static func activation(_ activation: JSONValue) -> String {
            let how = activation["rolled_back"]?.boolean == true ? " rolled back to" : ""
            let note = activation["note"].map { ": \($0.shown)" } ?? ""
            return "\(activation["at"].shown)\(how) by \(activation["actor"].shown)\(note)"
        }
    }

    struct Show: LedgerCommand {
        static let configuration = CommandConfiguration(
            abstract: "Write the text of a rule set, as JSON that can be published again.")

        @OptionGroup var common: CommonOptions
        @Argument(help: "The policy's id; the only one, or the one in force, unless given.")
        var policy: String?
        @Argument(help: "The version; the one in force, or else the newest, unless given.")
        var version: Int?

        func run(in context: Context) throws {
            try context.ask(
                .policyShow,
                {
                    $0.member("policy", policy)
                    $0.member("version", version)
                }, human: Self.write)
        }

        static func write(_ result: JSONValue, to output: Output) {
            guard let text = result["text"] else { return }
            var parser = JSONParser(depthMax: 64)
            if let document = try? parser.parse(text.utf8) {
                output.line(indented(document))
            } else {
                output.line(text.utf8)
            }
        }
    }
}
