import JSON

/// The figures of the routing benchmark.
struct RouteReport {
    var rates: [RateCase]
    var backlog: BacklogCase?
    let seconds: Int
    let runs: Int
    let decisionsTarget: Double
    var circumstances: Circumstances?

    var text: String {
        var parts = [circumstances?.line, load].compactMap { $0 }
        if !rates.isEmpty {
            var table = TextTable(
                "decision delivered after", "captures/s", "p50 ms", "p99 ms", "min", "max", "p99.9 ms", "max ms",
                "asked")
            for entry in rates {
                table.add(
                    ["the acknowledgement", grouped(entry.rate)] + entry.afterAcknowledgement.cells
                        + [entry.target.map { "p99 < \(fixed($0, 0))" } ?? "-"])
                table.add(["the sending", grouped(entry.rate)] + entry.afterSending.cells + ["-"])
            }
            parts.append(table.text)
            parts.append(rates.map(\.note).joined(separator: "\n"))
        }
        if let backlog { parts.append(backlog.text(target: decisionsTarget)) }
        return parts.joined(separator: "\n\n")
    }

    private var load: String {
        "\(EventTemplate.eventBytes)-byte captures, \(grouped(RouteRuleSet.poolCount * RouteRuleSet.membersPerPool)) members in "
            + "\(RouteRuleSet.poolCount) pools, "
            + "\(RouteRuleSet.countries.count * RouteRuleSet.territoriesPerCountry) territory rules; medians of \(runs) "
            + "\(runs == 1 ? "run" : "runs") of \(seconds) s"
    }

    var json: String {
        var writer = JSONWriter()
        writer.beginObject()
        writer.text("benchmark", "route")
        if let circumstances { writer.circumstances(circumstances) }
        writer.figure("runs", runs)
        writer.figure("seconds", seconds)
        writer.figure("event_bytes", EventTemplate.eventBytes)
        writer.key("rates")
        writer.beginArray()
        for entry in rates { entry.write(to: &writer) }
        writer.endArray()
        if let backlog {
            writer.key("backlog")
            backlog.write(to: &writer, target: decisionsTarget)
        }
        writer.endObject()
        return writer.string
    }
}

/// The runs of some latencies, in milliseconds.
struct LatencyRuns {
    var p50 = Runs()
    var p99 = Runs()
    var p999 = Runs()
    var largest = Runs()

    mutating func add(_ histogram: LatencyHistogram) {
        func milliseconds(_ nanoseconds: UInt64) -> Double { Double(nanoseconds) / 1e6 }
        p50.add(milliseconds(histogram.percentile(perThousand: 500)))
        p99.add(milliseconds(histogram.percentile(perThousand: 990)))
        p999.add(milliseconds(histogram.percentile(perThousand: 999)))
        largest.add(milliseconds(histogram.largest))
    }

    /// p50, p99 and its spread, p99.9, the longest of all.
    var cells: [String] {
        [p50.median, p99.median, p99.smallest, p99.largest, p999.median, largest.largest].map { fixed($0, 2) }
    }

    func write(_ name: StaticString, to writer: inout JSONWriter) {
        writer.key(name)
        writer.beginObject()
        writer.figures("p50_ms", p50)
        writer.figures("p99_ms", p99)
        writer.figures("p999_ms", p999)
        writer.figures("max_ms", largest)
        writer.endObject()
    }
}

/// One rate, and what its runs gave.
struct RateCase {
    let rate: Int
    var afterAcknowledgement = LatencyRuns()
    var afterSending = LatencyRuns()
    var acknowledgement = LatencyRuns()
    var lateness = LatencyRuns()
    var driverShare = Runs()
    var daemonShare = Runs()
    // Of all runs.
    var assigned = 0
    var queued = 0
    var early = 0

    init(rate: Int) { self.rate = rate }

    /// What was asked of the p99 after the acknowledgement, in milliseconds; nil at other rates.
    var target: Double? { rate == 1_000 ? 5 : rate == 10_000 ? 25 : nil }

    mutating func add(_ result: RouteResult) {
        afterAcknowledgement.add(result.matching.afterAcknowledgement)
        afterSending.add(result.matching.afterSending)
        acknowledgement.add(result.matching.acknowledgement)
        lateness.add(result.lateness)
        driverShare.add(result.driverShare)
        daemonShare.add(result.daemonShare)
        assigned += result.matching.assigned
        queued += result.matching.queued
        early += result.matching.early
    }

    var note: String {
        "\(grouped(rate))/s: \(grouped(assigned)) assigned, \(grouped(queued)) queued, warm-up included; "
            + "acknowledged after p50 \(fixed(acknowledgement.p50.median, 2)), p99 \(fixed(acknowledgement.p99.median, 2)) ms; "
            + "\(grouped(early)) delivered before their acknowledgement was read; "
            + "sent late by p99 \(fixed(lateness.p99.median, 2)), at most \(fixed(lateness.largest.largest, 2)) ms; "
            + "driver CPU \(fixed(driverShare.median * 100, 0)) %, daemon CPU \(fixed(daemonShare.median * 100, 0)) %"
    }

    func write(to writer: inout JSONWriter) {
        writer.beginObject()
        writer.figure("captures_per_second", rate)
        writer.figure("assigned", assigned)
        writer.figure("queued", queued)
        writer.figure("delivered_before_acknowledgement", early)
        afterAcknowledgement.write("after_acknowledgement", to: &writer)
        afterSending.write("after_sending", to: &writer)
        acknowledgement.write("acknowledgement", to: &writer)
        lateness.write("sent_late", to: &writer)
        if let target { writer.figure("p99_ms_asked", target) }
        writer.figures("driver_processors", driverShare)
        writer.figures("daemon_processors", daemonShare)
        writer.endObject()
    }
}

/// The backlog, and what its runs gave.
struct BacklogCase {
    let captures: Int
    var rate = Runs()
    var daemonShare = Runs()
    // Mebibytes.
    var memoryBefore = Runs()
    var memoryPeak = Runs()
    var memoryAfter = Runs()
    var assigned = 0
    var queued = 0

    init(captures: Int) { self.captures = captures }

    mutating func add(_ result: BacklogResult) {
        rate.add(Double(result.assigned + result.queued) / seconds(max(result.nanoseconds, 1)))
        daemonShare.add(result.daemonShare)
        memoryBefore.add(Double(result.memoryBefore) / Double(1 << 20))
        memoryPeak.add(Double(result.memoryPeak) / Double(1 << 20))
        memoryAfter.add(Double(result.memoryAfter) / Double(1 << 20))
        assigned += result.assigned
        queued += result.queued
    }

    func text(target: Double) -> String {
        var table = TextTable(
            "backlog", "decisions/s", "min", "max", "asked", "daemon CPU", "RssAnon MiB before", "peak", "after")
        table.add(
            "\(grouped(captures)) leads that wait", grouped(rate.median), grouped(rate.smallest), grouped(rate.largest),
            ">= \(grouped(target))", fixed(daemonShare.median * 100, 0) + " %", fixed(memoryBefore.median, 1),
            fixed(memoryPeak.largest, 1), fixed(memoryAfter.median, 1))
        return table.text + "\n\nbacklog: \(grouped(assigned)) assigned, \(grouped(queued)) queued"
    }

    func write(to writer: inout JSONWriter, target: Double) {
        writer.beginObject()
        writer.figure("captures", captures)
        writer.figure("assigned", assigned)
        writer.figure("queued", queued)
        writer.figures("decisions_per_second", rate)
        writer.figure("decisions_per_second_asked", target)
        writer.figures("daemon_processors", daemonShare)
        writer.figures("rss_anon_mib_before", memoryBefore)
        writer.figures("rss_anon_mib_peak", memoryPeak)
        writer.figures("rss_anon_mib_after", memoryAfter)
        writer.endObject()
    }
}
