import ArgumentParser
import Control
import JSON
import LeadLedgerClient
import PolicyDocuments

// Putting rule sets in force: published, approved where the rule set asks for two people, activated, rolled back.

extension PolicyCommand {
    struct Publish: LedgerCommand {
        static let configuration = CommandConfiguration(
            abstract: "Store a rule set in the ledger; with --activate, put it in force.",
            discussion: """
                It is checked here first, and everything that is wrong is told as `policy check` does. A version is the position at \
                which it was published. Publishing the same again stores nothing. With --json there is a line for each answer.
                """)

        /// A request is a line of at most 1 MiB, and escaping may nearly double a text.
        private static let writtenBytesMax = 500 << 10

        @OptionGroup var common: CommonOptions
        @Argument(help: "A YAML or JSON file; stdin for \"-\".")
        var file: String
        @Flag(help: "Put it in force, too.")
        var activate = false
        @Option(help: "With --activate: from which instant on (RFC 3339), not in the past; now unless given.")
        var at: String?
        @Option(help: "What it is for. Stored in the clear: nothing personal.")
        var note: String?

        func validate() throws {
            guard at == nil || activate else { throw ValidationError("--at says when to --activate") }
        }

        func run(in context: Context) throws {
            let (text, read) = try readPolicy(file)
            let document: PolicyDocument
            switch read {
            case .success(let good): document = good
            case .failure(let refusal):
                tell(refusal.faults.map { RuleSetFault($0) }, of: file, isJSON: context.isJSON, to: context.output)
                throw ExitCode(65)
            }
            let client = try context.connect()
            // As it was written, so that the daemon's faults name its lines; without comments and blanks where it is too long.
            let isLong = text.count > Self.writtenBytesMax
            let published = try publish(isLong ? document.canonicalText : text, client, context)
            guard activate else { return }
            let params = object {
                $0.member("policy", published.policy)
                $0.member("version", published.version)
                $0.member("at", at)
                $0.member("note", note)
            }
            try client.call(.policyActivate, params: params) { result in
                if context.isJSON { context.output.line(result.raw) } else { writeInForce(result, to: context.output) }
            }
        }

        private func publish(
            _ text: [UInt8], _ client: LedgerClient, _ context: Context
        ) throws -> (policy: String, version: Int) {
            let params = object { writer in
                writer.key("document")
                text.withUnsafeBytes { writer.string(utf8: $0) }
                writer.member("note", note)
            }
            do throws(ClientError) {
                return try client.call(.policyPublish, params: params) { result in
                    if context.isJSON {
                        context.output.line(result.raw)
                    } else {
                        Self.write(result, to: context.output)
                    }
                    return (result["policy"]?.string ?? "", Int(result["version"]?.int64 ?? 0))
                }
            } catch {
                // The daemon's time zones may be others than ours, and so may its version.
                if case .server(let refusal) = error, refusal.name == ErrorName.ruleSetRefused.rawValue,
                    !context.isJSON
                {
                    tell(faults(in: refusal), of: file, isJSON: false, to: context.output)
                }
                throw error
            }
        }

        private func faults(in refusal: ServerError) -> [RuleSetFault] {
            var parser = JSONParser()
            guard let error = try? parser.parse(refusal.json) else { return [] }
            return error["data"]?["faults"]?.elements.map { RuleSetFault($0) } ?? []
        }

        static func write(_ result: JSONValue, to output: Output) {
            let verb = result["duplicate"]?.boolean == true ? "is published already" : "published"
            output.line("policy \(result["policy"].shown) version \(result["version"].shown): \(verb)")
            writeFacts(
                [
                    ("sha256", result["sha256"].shown), ("bytes", result["bytes"].shown),
                    ("parts", result["parts"].shown),
                    ("approval", result["approval"].shown.replacing("_", with: " ")),
                ], to: output)
        }
    }

    struct Approve: LedgerCommand {
        static let configuration = CommandConfiguration(
            abstract: "Agree with a version that somebody else has published.",
            discussion: "A rule set that asks for two people cannot be activated before.")

        @OptionGroup var common: CommonOptions
        @Argument(help: "The policy's id.")
        var policy: String
        @Argument(help: "The version, as `policy history` shows it.")
        var version: Int
        @Option(help: "Why. Stored in the clear: nothing personal.")
        var note: String?

        func run(in context: Context) throws {
            try context.ask(
                .policyApprove,
                {
                    $0.member("policy", policy)
                    $0.member("version", version)
                    $0.member("note", note)
                },
                human: { result, output in
                    output.line(
                        "policy \(result["policy"].shown) version \(result["version"].shown): approved, position \(result["position"].shown)"
                    )
                })
        }
    }

    struct Activate: LedgerCommand {
        static let configuration = CommandConfiguration(
            abstract: "Put a version in force, now or at a later instant. Nothing is restarted.")

        @OptionGroup var common: CommonOptions
        @OptionGroup var choice: VersionChoice

        func run(in context: Context) throws {
            try context.ask(.policyActivate, choice.write, human: writeInForce)
        }
    }

    struct Rollback: LedgerCommand {
        static let configuration = CommandConfiguration(
            abstract: "Put an earlier version in force again, by another event.")

        @OptionGroup var common: CommonOptions
        @OptionGroup var choice: VersionChoice

        func run(in context: Context) throws {
            try context.ask(.policyRollback, choice.write, human: writeInForce)
        }
    }

    /// What activating and rolling back ask for.
    struct VersionChoice: ParsableArguments {
        @Argument(help: "The policy's id.")
        var policy: String
        @Argument(
            help: """
                The version, as `policy history` shows it; unless given, the newest to activate, the one in force before to \
                roll back to.
                """)
        var version: Int?
        @Option(help: "From which instant on (RFC 3339), not in the past; now unless given.")
        var at: String?
        @Option(help: "Why. Stored in the clear: nothing personal.")
        var note: String?

        func write(to writer: inout JSONWriter) {
            writer.member("policy", policy)
            writer.member("version", version)
            writer.member("at", at)
            writer.member("note", note)
        }
    }

    static func writeInForce(_ result: JSONValue, to output: Output) {
        output.line(
            "policy \(result["policy"].shown) version \(result["version"].shown): in force from \(result["at"].shown), position \(result["position"].shown)"
        )
    }
}
