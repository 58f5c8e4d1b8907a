import ArgumentParser
import Control
import JSON

extension ReportCommand {
    struct Fairness: LedgerCommand {
        static let configuration = CommandConfiguration(
            commandName: "fairness", abstract: "What each member of a pool was entitled to, and what they received.",
            discussion: """
                Entitlement counts only over decisions in which the member was eligible; decisions that were voided are left out. \
                lag is entitled less received. --from is inclusive, --to exclusive.
                """)

        @OptionGroup var common: CommonOptions
        @OptionGroup var period: PeriodOptions
        @Option(help: "The time up to --to or now, instead of --from: 30d, 12h.")
        var window: String?
        @Option(help: "Only this pool.")
        var pool: String?

        func run(in context: Context) throws {
            try context.ask(
                .reportFairness,
                {
                    period.write(to: &$0)
                    $0.member("window", window)
                    $0.member("pool", pool)
                }, human: Self.write)
        }

        static func write(_ result: JSONValue, to output: Output) {
            var table = TextTable([
                ("pool", .left), ("member", .left), ("decisions", .right), ("entitled", .right), ("received", .right),
                ("lag", .right), ("voided", .right), ("Jain", .right),
            ])
            var isFirst = true
            for pool in result["pools"]?.elements ?? result.elements {
                if !isFirst { table.addRule() }
                isFirst = false
                for member in pool["members"]?.elements ?? pool.elements {
                    table.add([
                        pool["pool"].shown, member["member"].shown, member["decisions"].shown,
                        decimalText(member["entitled"], fractionDigits: 3), member["received"].shown,
                        decimalText(member["lag"], fractionDigits: 3), "", "",
                    ])
                }
                table.add([
                    pool["pool"].shown, "all", pool["decisions"].shown, "", pool["decisions"].shown, "",
                    pool["voided"].shown, decimalText(pool["jain"], fractionDigits: 3),
                ])
            }
            table.write(to: output)
            output.line("")
            output.line("decisions\(periodText(result)), \(positionText(result))")
        }
    }
}
