import ArgumentParser
import Control
import JSON

extension ReportCommand {
    struct Response: LedgerCommand {
        static let configuration = CommandConfiguration(
            commandName: "response", abstract: "How soon leads were answered, and how many within five minutes.",
            discussion: """
                Counts the clocks that started in the period, in wall and in business time. p50, p90 and p99 take those into \
                account that were not answered yet (Kaplan-Meier); the mean is of the answered ones. --from is inclusive, --to \
                exclusive.
                """)

        @OptionGroup var common: CommonOptions
        @OptionGroup var period: PeriodOptions
        @Option(help: "source, channel, campaign, owner or hour; one row of all unless given.")
        var by: String?
        @Option(help: "accept, first_response (unless given), qualify, follow_up or stage_age.")
        var clock: String?
        @Option(name: .customLong("as-of"), help: "The instant that open clocks are counted to; now unless given.")
        var asOf: String?

        func run(in context: Context) throws {
            try context.ask(
                .reportResponse,
                {
                    period.write(to: &$0)
                    $0.member("by", by)
                    $0.member("clock", clock)
                    $0.member("as_of", asOf)
                }, human: Self.write)
        }

        static func write(_ result: JSONValue, to output: Output) {
            let by = result["by"].shown
            let isGrouped = by != "none"
            var columns: [(String, TextTable.Alignment)] = isGrouped ? [(by, .left)] : []
            columns += [("clocks", .right), ("answered", .right), ("open", .right), ("stopped", .right)]
            columns += [("time", .left), ("in 5 min", .right), ("95 % interval", .right)]
            columns += [("p50", .right), ("p90", .right), ("p99", .right), ("mean", .right)]
            var table = TextTable(columns)

            // A row in wall time, and one in business time below it.
            func add(_ row: JSONValue, label: String) {
                for (index, name) in ["wall", "business"].enumerated() {
                    let measure = row.member(named: name)
                    let share = measure?["within"]?["share"]
                    let isKnown = share?.kind == .object
                    let all = measure?["all_seconds"]
                    var cells = isGrouped ? [label] : []
                    cells += [row["clocks"].shown, row["answered"].shown, row["open"].shown, row["stopped"].shown]
                    if index > 0 { cells = cells.map { _ in "" } }
                    cells += [name, percentText(share?["share"])]
                    cells.append(isKnown ? "\(percentText(share?["lower"])) - \(percentText(share?["upper"]))" : "")
                    cells += [spanText(all?["p50"]), spanText(all?["p90"]), spanText(all?["p99"])]
                    cells.append(spanText(measure?["answered_seconds"]?["mean"]))
                    table.add(cells)
                }
            }
            for row in result["rows"]?.elements ?? result.elements { add(row, label: row["label"].shown) }
            if let total = result["total"] {
                if isGrouped { table.addRule() }
                add(total, label: "all")
            }
            table.write(to: output)
            output.line("")
            let total = result["total"]
            let tooEarly = total?["wall"]?["within"]?["too_early"]
            output.line(
                "\(total?["late"].shown ?? "") answered late, \(total?["overdue"].shown ?? "") overdue; apart: "
                    + "\(tooEarly.shown) open for less than 5 min, \(total?["no_lead"].shown ?? "") spam or duplicate")
            output.line(
                "\(result["clock"].shown)\(periodText(result)), as of \(result["as_of"].shown), \(positionText(result))"
            )
        }
    }
}

/// The period of a report, and the zone of its dates.
struct PeriodOptions: ParsableArguments {
    @Option(help: "Instant (RFC 3339) or date.")
    var from: String?
    @Option(help: "Instant (RFC 3339) or date.")
    var to: String?
    @Option(help: "Time zone of dates and hours, such as Europe/Amsterdam; UTC unless given.")
    var zone: String?

    func write(to writer: inout JSONWriter) {
        writer.member("from", from)
        writer.member("to", to)
        writer.member("zone", zone)
    }
}
