import ArgumentParser
import Control
import JSON

extension ReportCommand {
    struct Leaks: LedgerCommand {
        static let configuration = CommandConfiguration(
            commandName: "leaks", abstract: "Leads that fell through, and which they are.",
            discussion: """
                Of the leads captured in the period: never assigned, assigned and never attempted, attempted and never contacted, \
                qualified by marketing and never accepted, due now and unanswered. --from is inclusive, --to exclusive.
                """)

        @OptionGroup var common: CommonOptions
        @OptionGroup var period: PeriodOptions
        @Option(help: "source, channel, campaign or owner; one row of all unless given.")
        var by: String?
        @Option(name: .customLong("as-of"), help: "The instant before which leads are due; now unless given.")
        var asOf: String?
        @Option(help: "Leads listed behind each number; 10 unless given.")
        var limit: Int?

        func run(in context: Context) throws {
            try context.ask(
                .reportLeaks,
                {
                    period.write(to: &$0)
                    $0.member("by", by)
                    $0.member("as_of", asOf)
                    $0.member("limit", limit)
                }, human: Self.write)
        }

        /// As the daemon names them, in order.
        private static let leaks = [
            "never_assigned", "never_attempted", "never_contacted", "mql_never_accepted", "due_unanswered",
        ]

        private static func title(_ leak: String) -> String { String(leak.map { $0 == "_" ? " " : $0 }) }

        static func write(_ result: JSONValue, to output: Output) {
            let by = result["by"].shown
            let isGrouped = by != "none"
            let rows = (result["rows"]?.elements).map(Array.init) ?? []
            var columns: [(String, TextTable.Alignment)] = isGrouped ? [(by, .left)] : []
            columns.append(("leads", .right))
            columns += leaks.map { (title($0), .right) }
            var table = TextTable(columns)
            func add(_ row: JSONValue, label: String) {
                var cells = isGrouped ? [label] : []
                cells.append(row["leads"].shown)
                cells += leaks.map { (row.member(named: $0)?["count"]).shown }
                table.add(cells)
            }
            for row in rows { add(row, label: row["label"].shown) }
            if let total = result["total"] {
                if isGrouped { table.addRule() }
                add(total, label: "all")
            }
            table.write(to: output)
            output.line("")
            writeLeads(isGrouped ? rows : result["total"].map { [$0] } ?? [], by: isGrouped ? by : nil, to: output)
            output.line(
                "leads\(periodText(result)), as of \(result["as_of"].shown), \(positionText(result))")
        }

        /// The leads behind the numbers.
        private static func writeLeads(_ rows: [JSONValue], by: String?, to output: Output) {
            var columns: [(String, TextTable.Alignment)] = [("leak", .left)]
            if let by { columns.append((by == "owner" ? "by owner" : by, .left)) }
            columns += [("lead", .left), ("captured", .left), ("owner", .left), ("due", .left)]
            var table = TextTable(columns)
            var isEmpty = true
            for leak in leaks {
                for row in rows {
                    for lead in row.member(named: leak)?["leads"]?.elements ?? row.elements {
                        var cells = [title(leak)]
                        if by != nil { cells.append(row["label"].shown) }
                        cells += [
                            lead["lead"].shown, lead["captured_at"].shown, lead["owner"].shown, lead["due"].shown,
                        ]
                        table.add(cells)
                        isEmpty = false
                    }
                }
            }
            guard !isEmpty else { return }
            table.write(to: output)
            output.line("")
        }
    }
}
