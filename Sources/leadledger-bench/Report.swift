import Glibc
import JSON

// Report: what a benchmark prints. Figures are nothing without the machine, so that stands above every table.

/// Where and when figures were taken.
struct Circumstances {
    var processor: String
    var cores: Int
    var kernel: String
    var daemonVersion: String
    var date: String

    init(daemonVersion: String) throws(BenchError) {
        self.daemonVersion = daemonVersion
        cores = sysconf(Int32(_SC_NPROCESSORS_ONLN))
        let model = try readText("/proc/cpuinfo").split(separator: "\n").first { $0.hasPrefix("model name") }
        processor =
            model.flatMap { $0.split(separator: ":").last }.map { String($0.drop { $0 == " " }) } ?? "unknown processor"
        kernel = try readText("/proc/sys/kernel/osrelease").split(separator: "\n").first.map(String.init) ?? "unknown"
        var now = time(nil)
        var parts = tm()
        gmtime_r(&now, &parts)
        var text = [CChar](repeating: 0, count: 32)
        let count = strftime(&text, text.count, "%Y-%m-%d %H:%M UTC", &parts)
        date = String(decoding: text[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    var line: String {
        "leadledgerd \(daemonVersion), \(date), \(processor), \(cores) cores, Linux \(kernel)"
    }
}

/// The runs of one figure.
struct Runs {
    private(set) var values: [Double] = []

    mutating func add(_ value: Double) { values.append(value) }

    /// The middle one; of an even number, the mean of the middle two. 0 for none.
    var median: Double {
        guard !values.isEmpty else { return 0 }
        let sorted = values.sorted()
        let middle = sorted.count / 2
        return sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
    }

    var smallest: Double { values.min() ?? 0 }
    var largest: Double { values.max() ?? 0 }
}

/// Rows of text in columns: the first to the left, the rest, which are figures, to the right.
struct TextTable {
    private var rows: [[String]]

    init(_ header: String...) { rows = [header] }

    init(_ header: [String]) { rows = [header] }

    mutating func add(_ cells: String...) { add(cells) }

    mutating func add(_ cells: [String]) {
        precondition(cells.count == rows[0].count)
        rows.append(cells)
    }

    var text: String {
        let widths = rows[0].indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
        return rows.map { row in
            var line = ""
            for (column, cell) in row.enumerated() {
                let blank = String(repeating: " ", count: widths[column] - cell.count)
                line += column == 0 ? cell + blank : "  " + blank + cell
            }
            while line.last == " " { line.removeLast() }
            return line
        }.joined(separator: "\n")
    }
}

/// `1234567` as `1,234,567`.
func grouped(_ value: some BinaryInteger) -> String {
    let digits = Array(String(value))
    var text = ""
    for (index, digit) in digits.enumerated() {
        if index > 0, digits[index - 1] != "-", (digits.count - index) % 3 == 0 { text.append(",") }
        text.append(digit)
    }
    return text
}

func grouped(_ value: Double) -> String { grouped(Int(value.rounded())) }

/// With `digits` decimals.
func fixed(_ value: Double, _ digits: Int) -> String {
    var scale = 1
    for _ in 0..<digits { scale *= 10 }
    let scaled = Int((value.magnitude * Double(scale)).rounded())
    let sign = value < 0 && scaled > 0 ? "-" : ""
    guard digits > 0 else { return sign + String(scaled) }
    let fraction = String(scaled % scale)
    return "\(sign)\(scaled / scale).\(String(repeating: "0", count: digits - fraction.count))\(fraction)"
}

func seconds(_ nanoseconds: UInt64) -> Double { Double(nanoseconds) / 1e9 }

func mebibytes(_ bytes: UInt64) -> String { fixed(Double(bytes) / Double(1 << 20), 1) }

extension JSONWriter {
    /// A figure with three decimals, which is beyond what any of them is good for.
    mutating func figure(_ name: StaticString, _ value: Double) {
        key(name)
        raw(Array(fixed(value, 3).utf8))
    }

    mutating func figure(_ name: StaticString, _ value: some FixedWidthInteger) {
        key(name)
        integer(value)
    }

    mutating func text(_ name: StaticString, _ value: String) {
        key(name)
        string(value)
    }

    mutating func figures(_ name: StaticString, _ runs: Runs) {
        key(name)
        beginObject()
        figure("median", runs.median)
        figure("min", runs.smallest)
        figure("max", runs.largest)
        endObject()
    }

    mutating func circumstances(_ circumstances: Circumstances) {
        text("daemon_version", circumstances.daemonVersion)
        text("date", circumstances.date)
        text("processor", circumstances.processor)
        figure("cores", circumstances.cores)
        text("kernel", circumstances.kernel)
    }
}
