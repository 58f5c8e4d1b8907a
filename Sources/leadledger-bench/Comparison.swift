// Comparison: one figure of ours beside one of a peer's, what was asked of it, and the table that all of them make.

/// A row of the table.
struct Comparison {
    enum Unit { case eventsPerSecond, milliseconds, seconds, factor, mebibytes }

    /// A bound that moves with the machine. It is printed, and falling short of it is said, but fails nothing.
    enum Bound: Equatable {
        case atLeast(Double), below(Double)
    }

    enum Verdict: Equatable {
        /// Nothing was asked.
        case told
        case met
        /// The ratio is met; the absolute figure is not, which may be the machine.
        case absoluteShort
        /// What counts fell short.
        case short
        case failed(String)

        var isFailure: Bool {
            switch self {
            case .told, .met, .absoluteShort: false
            case .short, .failed: true
            }
        }
    }

    let name: String
    var unit = Unit.eventsPerSecond
    /// Nil where a row has no peer.
    var peer: String?
    /// Least that our median is to be of the peer's.
    var ratio: Double?
    var bound: Bound?
    /// Whether the bound counts like a ratio: for what does not move with the machine, as growth over a run does not.
    var isBoundFirm = false
    var ours = Runs()
    var theirs = Runs()
    /// Why there are no figures, or not all.
    var failure: String?

    init(
        _ name: String, unit: Unit = .eventsPerSecond, peer: String? = nil, ratio: Double? = nil, bound: Bound? = nil,
        isBoundFirm: Bool = false
    ) {
        precondition(ratio == nil || peer != nil, "a ratio needs a peer")
        self.name = name
        self.unit = unit
        self.peer = peer
        self.ratio = ratio
        self.bound = bound
        self.isBoundFirm = isBoundFirm
    }

    /// Our median of the peer's; nil without a peer's figure.
    var measuredRatio: Double? {
        guard peer != nil, !ours.values.isEmpty, theirs.median > 0 else { return nil }
        return ours.median / theirs.median
    }

    var verdict: Verdict {
        if let failure { return .failed(failure) }
        if ours.values.isEmpty || peer != nil && theirs.values.isEmpty { return .failed("not measured") }
        if let ratio {
            guard let measuredRatio else { return .failed("the peer's figure is 0") }
            if measuredRatio < ratio { return .short }
        }
        guard let bound else { return ratio == nil ? .told : .met }
        let isKept =
            switch bound {
            case .atLeast(let least): ours.median >= least
            case .below(let limit): ours.median < limit
            }
        return isKept ? .met : isBoundFirm ? .short : .absoluteShort
    }
}

/// What is printed: the machine, the table, what falls short, notes.
struct ComparisonReport {
    static let header = [
        "case", "ours", "(min..max)", "peer", "", "(min..max)", "ratio", "asked", "at least", "verdict",
    ]

    var title: [String]
    var rows: [Comparison]
    /// Texts under the table: threads, latencies over a run.
    var notes: [String]

    var failures: [String] {
        var lastReason: String?
        return rows.compactMap { row in
            let place = row.peer.map { "\(row.name), against \($0)" } ?? row.name
            switch row.verdict {
            case .told, .met, .absoluteShort: return nil
            case .failed(let reason):
                // The rows of a case fail together; the reason is worth reading once.
                defer { lastReason = reason }
                return reason == lastReason ? "\(place): for the same reason" : "\(place): \(reason)"
            case .short:
                if let ratio = row.ratio, let measured = row.measuredRatio, measured < ratio {
                    // Rounded down, or what is short by a hair would read as if it were met.
                    let shown = (measured * 1_000).rounded(.down) / 1_000
                    return "\(place): \(fixed(shown, 3)) x, and \(fixed(ratio, 2)) x is asked"
                }
                return "\(place): \(Self.figure(row.ours.median, row.unit)), and \(Self.bound(row)) is asked"
            }
        }
    }

    var text: String {
        var table = TextTable(Self.header)
        for row in rows { table.add(Self.cells(row)) }
        return (title + ["", table.text, ""] + notes + [conclusion]).joined(separator: "\n")
    }

    var markdown: String {
        func line(_ cells: [String]) -> String { "| " + cells.joined(separator: " | ") + " |" }
        let dashes = Self.header.indices.map { [0, 3, 9].contains($0) ? "---" : "---:" }
        let body = rows.map { line(Self.cells($0)) }
        let blocks = notes.map { "```\n\($0)\n```" }
        return
            ([title.joined(separator: "  \n"), "", line(Self.header), line(dashes)] + body + [""] + blocks
            + ["", conclusion, ""])
            .joined(separator: "\n")
    }

    private var conclusion: String {
        let failures = failures
        guard !failures.isEmpty else { return "Everything that was measured is as it was asked to be." }
        return (["Falls short:"] + failures.map { "- \($0)" }).joined(separator: "\n")
    }

    private static func cells(_ row: Comparison) -> [String] {
        func middle(_ runs: Runs) -> String { runs.values.isEmpty ? "-" : figure(runs.median, row.unit) }
        func spread(_ runs: Runs) -> String {
            runs.values.count < 2
                ? "" : "(\(figure(runs.smallest, row.unit))..\(figure(runs.largest, row.unit)))"
        }
        let verdict =
            switch row.verdict {
            case .told: ""
            case .met: "ok"
            case .absoluteShort: "ok, figure short"
            case .short: "SHORT"
            case .failed: "FAILED"
            }
        return [
            row.name, middle(row.ours), spread(row.ours), row.peer ?? "", row.peer == nil ? "" : middle(row.theirs),
            spread(row.theirs), row.measuredRatio.map { fixed($0, 2) } ?? "", row.ratio.map { fixed($0, 2) } ?? "",
            bound(row), verdict,
        ]
    }

    private static func bound(_ row: Comparison) -> String {
        switch row.bound {
        case nil: ""
        case .atLeast(let least): figure(least, row.unit)
        case .below(let limit): "below \(figure(limit, row.unit))"
        }
    }

    private static func figure(_ value: Double, _ unit: Comparison.Unit) -> String {
        switch unit {
        case .eventsPerSecond: "\(grouped(value))/s"
        case .milliseconds: "\(fixed(value, 2)) ms"
        case .seconds: "\(fixed(value, 2)) s"
        case .factor: "\(fixed(value, 2)) x"
        case .mebibytes: "\(fixed(value, 1)) MiB"
        }
    }
}
