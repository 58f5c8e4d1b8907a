import ArgumentParser
import Control
import JSON

struct ClockCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "clock",
        abstract: "Halt a lead's response clocks while somebody else is to act, and let them go on.",
        subcommands: [Pause.self, Resume.self])

    struct Pause: LedgerCommand {
        static let configuration = CommandConfiguration(abstract: "Halt the clocks of a lead.")

        @OptionGroup var common: CommonOptions
        @Argument(help: "The lead's id.")
        var lead: String
        @Option(help: "Why. Stored in the clear: nothing personal.")
        var reason: String
        @Option(
            help: "Only this clock: accept, first_response, qualify, follow_up or stage_age; all that run unless given."
        )
        var clock: String?

        func run(in context: Context) throws {
            try context.ask(.clockPause, { write(lead, clock, reason, to: &$0) }) { write($0, "paused", to: $1) }
        }
    }

    struct Resume: LedgerCommand {
        static let configuration = CommandConfiguration(abstract: "Let the clocks of a lead go on.")

        @OptionGroup var common: CommonOptions
        @Argument(help: "The lead's id.")
        var lead: String
        @Option(help: "Why. Stored in the clear: nothing personal.")
        var reason: String?
        @Option(
            help:
                "Only this clock: accept, first_response, qualify, follow_up or stage_age; all that are paused unless given."
        )
        var clock: String?

        func run(in context: Context) throws {
            try context.ask(.clockResume, { write(lead, clock, reason, to: &$0) }) { write($0, "runs", to: $1) }
        }
    }

    private static func write(_ lead: String, _ clock: String?, _ reason: String?, to writer: inout JSONWriter) {
        writer.member("lead", lead)
        writer.member("clock", clock)
        writer.member("reason", reason)
    }

    static func write(_ result: JSONValue, _ word: String, to output: Output) {
        for clock in result["clocks"]?.elements ?? result.elements {
            // One that is paused has none.
            let due = clock["due"]?.string == nil ? "" : ", due \(clock["due"].shown)"
            output.line(
                "\(result["lead"].shown): \(clock["clock"].shown) \(word)\(due), position \(clock["position"].shown)")
        }
    }
}
