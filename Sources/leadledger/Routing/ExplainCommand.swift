import ArgumentParser
import Control
import JSON
import LeadLedgerClient

struct ExplainCommand: LedgerCommand {
    static let configuration = CommandConfiguration(
        commandName: "explain",
        abstract: "Say who had a lead, one after the other, and why: each decision with everybody who was considered.")

    @OptionGroup var common: CommonOptions
    @Argument(help: "The lead's id.")
    var lead: String

    func run(in context: Context) throws {
        let output = context.output
        let client = try context.connect()
        var from: Int64? = 1
        var written = 0
        while let version = from {
            let params = object {
                $0.member("lead", lead)
                $0.member("from_version", Int(version))
            }
            from = try client.call(.leadExplain, params: params) { result in
                if context.isJSON {
                    Self.writeJSON(result, isFirst: version == 1, after: written, to: output)
                } else {
                    Self.write(result, to: output)
                }
                written += result["steps"]?.count ?? 0
                return result["next_version"]?.int64
            }
            // A daemon that did not move on would be asked for ever.
            if let next = from, next <= version {
                throw ClientError.protocolBroken(reason: "next_version does not advance")
            }
        }
    }

    /// The pages of an answer as one: each one's steps, and the rest of the last.
    private static func writeJSON(_ result: JSONValue, isFirst: Bool, after written: Int, to output: Output) {
        func raw(_ value: JSONValue?) -> String { value.map { String(decoding: $0.raw, as: UTF8.self) } ?? "null" }
        if isFirst { output.write(#"{"lead":\#(raw(result["lead"])),"steps":["#) }
        var needsComma = written > 0
        for step in result["steps"]?.elements ?? result.elements {
            if needsComma { output.write(",") }
            output.write(step.raw)
            needsComma = true
        }
        guard result["next_version"]?.int64 == nil else { return }
        output.line(#"],"now":\#(raw(result["now"])),"next_version":null,"position":\#(raw(result["position"]))}"#)
    }

    /// `position  time  summary`, and below it, where there was a decision, how it was taken.
    static func write(_ result: JSONValue, to output: Output) {
        let width = result["position"].shown.count
        for step in result["steps"]?.elements ?? result.elements {
            let position = step["position"].shown
            let blanks = String(repeating: " ", count: max(0, width - position.count))
            output.line("\(blanks)\(position)  \(step["time"].shown)  \(step["summary"].shown)")
            for line in step["explanation"]?.elements ?? result.elements {
                output.line("\(String(repeating: " ", count: width + 4))\(line.shown)")
            }
        }
        guard let now = result["now"], now.kind == .object else { return }
        output.line("")
        output.line("Now \(place(now)), stage \(now["stage"].shown), position \(result["position"].shown).")
    }

    private static func place(_ now: JSONValue) -> String {
        let custody = now["custody"].shown
        return switch custody {
        case "owner": "with \(now["holder"].shown)"
        case "leased": "leased by \(now["holder"].shown)"
        case "queue": "in queue \(now["queue"].shown)"
        case "none": "with nobody"
        default: "in the \(custody)"
        }
    }
}
