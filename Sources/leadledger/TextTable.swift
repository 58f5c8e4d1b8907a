/// Aligned columns for people. Numbers stand to the right, texts to the left; two blanks between columns.
struct TextTable {
    enum Alignment { case left, right }

    private let columns: [(title: String, alignment: Alignment)]
    private var rows: [[String]] = []
    /// Rows before which a line is drawn, as before totals.
    private var rules: Set<Int> = []

    init(_ columns: [(title: String, alignment: Alignment)]) { self.columns = columns }

    mutating func add(_ cells: [String]) {
        precondition(cells.count == columns.count)
        rows.append(cells.map(printable))
    }

    mutating func addRule() { rules.insert(rows.count) }

    func write(to output: Output) {
        let titles = columns.map { printable($0.title) }
        var widths = titles.map(width)
        for row in rows {
            for (index, cell) in row.enumerated() { widths[index] = max(widths[index], width(cell)) }
        }
        output.line(line(titles, widths))
        let rule = widths.map { String(repeating: "-", count: $0) }.joined(separator: "  ")
        output.line(rule)
        for (index, row) in rows.enumerated() {
            if rules.contains(index) { output.line(rule) }
            output.line(line(row, widths))
        }
    }

    private func line(_ cells: [String], _ widths: [Int]) -> String {
        var line = ""
        for (index, cell) in cells.enumerated() {
            if index > 0 { line += "  " }
            let blanks = String(repeating: " ", count: widths[index] - width(cell))
            line += columns[index].alignment == .right ? blanks + cell : cell + blanks
        }
        while line.last == " " { line.removeLast() }
        return line
    }

    /// One place a character: right for the scripts that names of channels are usually written in.
    private func width(_ text: String) -> Int { text.count }
}

/// A text that comes from the ledger, made safe for a terminal: control characters would move its cursor or worse.
func printable(_ text: String) -> String {
    guard text.unicodeScalars.contains(where: isControl) else { return text }
    var shown = ""
    for scalar in text.unicodeScalars {
        if isControl(scalar) {
            shown += "\\u{" + String(scalar.value, radix: 16) + "}"
        } else {
            shown.unicodeScalars.append(scalar)
        }
    }
    return shown
}

private func isControl(_ scalar: Unicode.Scalar) -> Bool {
    scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value) || (0x202A...0x202E).contains(scalar.value)
        || (0x2066...0x2069).contains(scalar.value)
}
