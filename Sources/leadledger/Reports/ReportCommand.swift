import ArgumentParser
import Control
import JSON
import Leads

struct ReportCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "report", abstract: "Compute a report from the log's read models.",
        subcommands: [Funnel.self, Attribution.self, Response.self, Leaks.self, Fairness.self])

    struct Funnel: LedgerCommand {
        static let configuration = CommandConfiguration(
            commandName: "funnel", abstract: "How far leads came, by channel, source or campaign.",
            discussion: """
                A cohort is the leads captured in the period, followed from there; flow counts the first crossings of each stage \
                in the period. --from is inclusive, --to exclusive.
                """)

        enum Mode: String, EnumerableFlag { case cohort, flow }

        @OptionGroup var common: CommonOptions
        @Option(help: "channel (unless given), source or campaign.")
        var by: String?
        @Flag(help: "How to count; cohort unless given.")
        var mode: Mode?
        @Option(help: "Instant (RFC 3339) or date.")
        var from: String?
        @Option(help: "Instant (RFC 3339) or date.")
        var to: String?
        @Option(help: "month: a row for each month.")
        var period: String?
        @Option(help: "Days that each lead is followed; younger leads are counted apart as censored.")
        var horizon: Int?
        @Option(name: .customLong("as-of"), help: "The instant that ages are counted to; now unless given.")
        var asOf: String?

        func run(in context: Context) throws {
            try context.ask(
                .reportFunnel,
                {
                    $0.member("by", by)
                    $0.member("mode", mode?.rawValue)
                    $0.member("from", from)
                    $0.member("to", to)
                    $0.member("period", period)
                    $0.member("horizon_days", horizon)
                    $0.member("as_of", asOf)
                }, human: Self.write)
        }

        /// Stages as the daemon names them, in order; a column for each that any row reached.
        private static let stages = [
            "mql", "offered", "accepted", "working", "contacted", "qualified", "opportunity",
        ]

        static func write(_ result: JSONValue, to output: Output) {
            let rows = (result["rows"]?.elements).map(Array.init) ?? []
            let periods = (result["periods"]?.elements).map(Array.init) ?? []
            let byMonth = rows.contains { $0["month"]?.kind == .string }
            let total = result["total"]
            let hasCensored = total?["censored"]?.int64 ?? 0 > 0
            let isCohort = result["mode"]?.equals("cohort") ?? true
            let reached = stages.filter { total?["stages"]?.member(named: $0)?["reached"]?.int64 ?? 0 > 0 }

            var columns: [(String, TextTable.Alignment)] = byMonth ? [("month", .left)] : []
            columns += [(result["by"].shown, .left), ("leads", .right)]
            if hasCensored { columns.append(("censored", .right)) }
            columns += reached.map { ($0, .right) }
            columns += [("won", .right), ("lost", .right), ("disqualified", .right)]
            if isCohort { columns += [("win share", .right), ("95 % interval", .right)] }
            var table = TextTable(columns)

            func add(_ row: JSONValue, label: String) {
                var cells = byMonth ? [row["month"].shown] : []
                cells += [label, row["leads"].shown]
                if hasCensored { cells.append(row["censored"].shown) }
                cells += reached.map { (row["stages"]?.member(named: $0)?["reached"]).shown }
                cells += [row["won"].shown, row["lost"].shown, row["disqualified"].shown]
                if isCohort {
                    let share = row["win_share"]
                    let interval = "\(percentText(share?["lower"])) - \(percentText(share?["upper"]))"
                    let isKnown = share?["share"]?.kind == .number
                    cells += [percentText(share?["share"]), isKnown ? interval : ""]
                }
                table.add(cells)
            }
            for row in rows { add(row, label: row["label"].shown) }
            if !periods.isEmpty { table.addRule() }
            for row in periods { add(row, label: "all") }
            if let total {
                table.addRule()
                add(total, label: "all")
            }
            table.write(to: output)
            output.line("")
            output.line("\(result["mode"].shown)\(periodText(result)), \(positionText(result))")
        }
    }

    struct Attribution: LedgerCommand {
        static let configuration = CommandConfiguration(
            commandName: "attribution", abstract: "Credit for conversions: which channels brought them.",
            discussion: """
                first, last and linear side by side unless --model says which. --from is inclusive, --to exclusive; the instant of \
                the conversion counts.
                """)

        @OptionGroup var common: CommonOptions
        @Option(help: "channel (unless given), source, campaign or landing_page.")
        var by: String?
        @Option(help: "first, last or linear; may stand several times.")
        var model: [String] = []
        @Option(help: "Instant (RFC 3339) or date.")
        var from: String?
        @Option(help: "Instant (RFC 3339) or date.")
        var to: String?
        @Option(help: "What counts as a conversion: won.")
        var conversion: String?

        func run(in context: Context) throws {
            try context.ask(
                .reportAttribution,
                {
                    $0.member("by", by)
                    $0.member("models", texts: model)
                    $0.member("from", from)
                    $0.member("to", to)
                    $0.member("conversion", conversion)
                }, human: Self.write)
        }

        static func write(_ result: JSONValue, to output: Output) {
            let models = (result["models"]?.elements).map { $0.map(\.shown) } ?? []
            var columns: [(String, TextTable.Alignment)] = [(result["by"].shown, .left), ("currency", .left)]
            for model in models { columns += [(model, .right), ("\(model) value", .right)] }
            var table = TextTable(columns)
            for row in result["rows"]?.elements ?? result.elements {
                var cells = [row["label"].shown, row["currency"].shown]
                for model in models {
                    let credit = row["credits"]?.member(named: model)
                    cells += [conversionsText(credit?["conversions"]), creditText(credit?["value"], row["currency"])]
                }
                table.add(cells)
            }
            table.addRule()
            for total in result["totals"]?.elements ?? result.elements {
                // Credits of a model add up to the conversions, so the total is the same below each.
                let value = amountText(total["value"], total["currency"])
                var cells = ["all", total["currency"].shown]
                for _ in models { cells += [total["conversions"].shown, value] }
                table.add(cells)
            }
            table.write(to: output)
            output.line("")
            let flagged = result["flagged"]?.int64 ?? 0
            output.line(
                "\(result["conversion"].shown)\(periodText(result)), path builder \(result["path_builder"].shown), "
                    + "\(result["touches"].shown) touches, \(positionText(result))"
                    + (flagged > 0 ? "; \(flagged) captured after their conversion" : ""))
        }
    }
}

/// `, 2018-01-01T00:00:00Z up to 2018-02-01T00:00:00Z` as far as there are bounds.
func periodText(_ result: JSONValue) -> String {
    let (from, to) = (result["from"].shown, result["to"].shown)
    var text = ""
    if !from.isEmpty { text += ", from \(from)" }
    if !to.isEmpty { text += ", up to \(to)" }
    if let horizon = result["horizon_days"]?.int64 { text += ", followed for \(horizon) days" }
    return text
}

/// `position 12`, and how far that is behind the log, where it is.
func positionText(_ result: JSONValue) -> String {
    let text = "position \(result["position"].shown)"
    guard let position = result["position"]?.int64, let head = result["head"]?.int64, head > position else {
        return text
    }
    return text + ", \(head - position) events behind the log"
}
