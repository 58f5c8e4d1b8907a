import ArgumentParser
import JSON

/// `pressure`: how long one good client, one request at a time, waits for an acknowledgement while others misbehave, beside how
/// long it waits when nobody does.
struct PressureBenchmark: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pressure",
        abstract: "Measures a good client's latency while others stop reading, flood, or dawdle.",
        discussion:
            "Exits with 1 where the p99 under a pressure is --ratio-max times that of the quiet beside it, or more.")

    @OptionGroup var common: CommonOptions
    @Option(help: "Events that the good client appends in each measurement.")
    var events = 6_000
    @Option(help: "Runs, of which the medians are printed.")
    var runs = 3
    @Option(help: "What the ratio has to stay below; five thirds of it where connections come again and again.")
    var ratioMax = PressureKind.ratioAsked

    func validate() throws {
        guard 100...1_000_000 ~= events else { throw ValidationError("--events takes 100 to 1000000") }
        guard 1...PressureTrial.runsMax ~= runs else {
            throw ValidationError("--runs takes 1 to \(PressureTrial.runsMax)")
        }
    }

    func run() throws {
        Interruption.install()
        let scratch = try ScratchDirectory(in: common.directory)
        defer { scratch.remove() }
        let daemon = try DaemonProcess.start(try common.daemonPath(), in: scratch.path)
        defer { daemon.end() }
        let trial = try PressureTrial(daemon, events: events, leadsMax: common.leads, seed: common.seed)
        let circumstances = try Circumstances(daemonVersion: try trial.client.version())

        var cases = PressureKind.allCases.map { PressureFigures(kind: $0) }
        for number in 1...runs {
            for index in cases.indices {
                tell("run \(number) of \(runs): quiet, then \(cases[index].kind.name)")
                let sample = try trial.measure(cases[index].kind)
                cases[index].add(sample)
            }
        }
        try daemon.stop()
        print(common.json ? json(circumstances, cases) : text(circumstances, cases))
        let bad = cases.filter { $0.ratio.median >= ratioMax * $0.kind.leeway }
        guard bad.isEmpty else {
            throw BenchError(
                "too many times the quiet p99: \(bad.map(\.kind.name).joined(separator: "; "))")
        }
    }

    private func text(_ circumstances: Circumstances, _ cases: [PressureFigures]) -> String {
        """
        \(circumstances.line)
        \(grouped(events)) appends a measurement, medians of \(runs) \(runs == 1 ? "run" : "runs")

        \(PressureFigures.text(of: cases))
        """
    }

    private func json(_ circumstances: Circumstances, _ cases: [PressureFigures]) -> String {
        var writer = JSONWriter()
        writer.beginObject()
        writer.text("benchmark", "pressure")
        writer.circumstances(circumstances)
        writer.figure("runs", runs)
        writer.figure("ratio_max", ratioMax)
        writer.key("cases")
        writer.beginArray()
        for entry in cases {
            writer.beginObject()
            writer.text("name", entry.kind.name)
            writer.figures("quiet_p50_us", entry.quietP50)
            writer.figures("quiet_p99_us", entry.quietP99)
            writer.figures("pressed_p50_us", entry.pressedP50)
            writer.figures("pressed_p99_us", entry.pressedP99)
            writer.figures("ratio", entry.ratio)
            writer.text("what_happened", entry.tally.text)
            writer.endObject()
        }
        writer.endArray()
        writer.endObject()
        return writer.string
    }
}
