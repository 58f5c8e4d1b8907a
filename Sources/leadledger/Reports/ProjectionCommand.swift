import ArgumentParser
import Control
import Glibc
import JSON
import LeadLedgerClient

struct ProjectionCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "projection", abstract: "Look at read models, or build one anew.",
        subcommands: [List.self, Rebuild.self])

    struct List: LedgerCommand {
        static let configuration = CommandConfiguration(
            commandName: "list", abstract: "List the read models and how far they are.")

        @OptionGroup var common: CommonOptions

        func run(in context: Context) throws { try context.ask(.projectionList, human: Self.write) }

        static func write(_ result: JSONValue, to output: Output) {
            var table = TextTable([
                ("name", .left), ("version", .right), ("build", .right), ("position", .right), ("lag", .right),
                ("state", .left), ("rebuild", .left),
            ])
            for projection in result["projections"]?.elements ?? result.elements {
                let reason = projection["reason"].shown
                table.add([
                    projection["name"].shown, projection["version"].shown, projection["build"].shown,
                    projection["position"].shown, projection["lag"].shown,
                    projection["state"].shown + (reason.isEmpty ? "" : ": \(reason)"), progress(projection) ?? "",
                ])
            }
            table.write(to: output)
            output.line("")
            output.line("the log ends at position \(result["head"].shown)")
        }

        /// How far a rebuild is; nil where there is none.
        static func progress(_ projection: JSONValue) -> String? {
            guard let rebuild = projection["rebuild"], rebuild.kind == .object else { return nil }
            var text = "\(rebuild["position"].shown) of \(rebuild["target"].shown)"
            if let rate = rebuild["events_per_second"]?.int64, rate > 0 { text += ", \(rate) events/s" }
            if let seconds = rebuild["seconds_left"]?.int64 { text += ", \(ageText(seconds: seconds)) left" }
            return text
        }
    }

    struct Rebuild: LedgerCommand {
        static let configuration = CommandConfiguration(
            commandName: "rebuild",
            abstract: "Build a read model anew from the log, beside the one that answers, and switch.",
            discussion: "Waits until the new build answers. Interrupting the command leaves the daemon at it.")

        @OptionGroup var common: CommonOptions
        @Argument(help: "The read model's name.")
        var name: String

        func run(in context: Context) throws {
            let client = try context.connect()
            let params = object {
                $0.member("name", name)
                $0.key("wait")
                $0.bool(true)
            }
            params.withUnsafeBytes { client.send(.projectionRebuild, params: $0) }
            try showProgress(until: client, context)
            let refusal: ServerError? = try client.receive { message in
                switch message {
                case .result(let result):
                    if context.isJSON {
                        context.output.line(result.raw)
                    } else {
                        Self.write(result, to: context.output)
                    }
                    return nil
                case .refused(let error): return error
                case .notification: return nil
                }
            }
            if let refusal { throw ClientError.server(refusal) }
        }

        static func write(_ result: JSONValue, to output: Output) {
            output.line(
                "\(result["name"].shown): build \(result["build"].shown) answers since position \(result["position"].shown), "
                    + "instead of build \(result["from_build"].shown)")
        }

        /// The reply waits on one connection, so progress is asked for on another; only for a terminal.
        private func showProgress(until client: LedgerClient, _ context: Context) throws {
            guard isatty(STDERR_FILENO) == 1 else { return }
            let observer = try context.connect()
            var line = ProgressLine()
            defer { line.clear() }
            while !client.hasMessage {
                try client.wait(milliseconds: 250)
                let progress: String? = try observer.call(.projectionList) { result in
                    for projection in result["projections"]?.elements ?? result.elements
                    where projection["name"]?.equals(name) ?? false {
                        return List.progress(projection)
                    }
                    return nil
                }
                line.show { "\(name): \(progress ?? "under way")" }
            }
        }
    }
}
