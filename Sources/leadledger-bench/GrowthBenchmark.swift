import ArgumentParser
import Glibc
import JSON

/// `growth`: whether appending stays as fast as the log grows, how much memory the daemon takes, and how soon it is back
/// after a crash.
///
/// 1. the events are appended, pipelined; events a second for each slice, and the peak of RssAnon
/// 2. the daemon is killed, started again, and asked to append until it does
/// 3. the read models catch up
/// 4. it is killed again, and started as after another boot, which makes its index anew before it takes appends
struct GrowthBenchmark: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "growth", abstract: "Appends many events, kills the daemon, and measures how it comes back.")

    /// What the daemon promises.
    private static let restartTargetSeconds = 1
    private static let otherBootTargetSeconds = 30
    private static let memoryTargetMebibytes = 512
    /// When a restart counts as failed.
    private static let restartMaxNanoseconds: UInt64 = 300_000_000_000

    @OptionGroup var common: CommonOptions
    @Option(help: "Events in all.")
    var events = 10_000_000
    @Option(help: "Events of a slice, for each of which the speed is printed.")
    var slice = 1_000_000
    @Flag(help: "Fail where a restart takes longer than it may.")
    var requireRestart = false

    func validate() throws {
        guard 1...1_000_000_000 ~= events else { throw ValidationError("--events takes 1 to 1000000000") }
        guard 1...1_000_000_000 ~= slice else { throw ValidationError("--slice takes 1 to 1000000000") }
    }

    func run() throws {
        Interruption.install()
        let scratch = try ScratchDirectory(in: common.directory)
        defer { scratch.remove() }
        let executable = try common.daemonPath()
        var growth = Growth()

        // 1.
        let first = try DaemonProcess.start(executable, in: scratch.path)
        defer { first.end() }
        let circumstances = try Circumstances(daemonVersion: try ControlClient(first).version())
        tell("appending \(grouped(events)) events")
        var sliceStart: UInt64 = 0
        var load = common.load(tag: "g", events: events)
        // A log may grow faster than its index for longer than the daemon's memory allows; it then says so, and how long to wait.
        load.obeysBusy = true
        growth.load = try LoadDriver(daemon: first).run(load, .init(markEvery: slice)) {
            (result) throws(BenchError) in
            let end = result.marks.last ?? 0
            tell(
                "\(grouped(result.marks.count * slice)) events, the last \(grouped(slice)) at "
                    + "\(grouped(Double(slice) / seconds(end - sliceStart)))/s, RssAnon at most "
                    + "\(mebibytes(first.memory.peakBytes)) MiB")
            sliceStart = end
        }
        growth.appendPeakBytes = first.memory.peakBytes
        let client = try ControlClient(first)
        try client.checkHead(is: events)

        // 2.
        tell("kill -9, and starting again")
        try first.kill()
        let second = try DaemonProcess.start(executable, in: scratch.path)
        defer { second.end() }
        growth.restartNanoseconds = try appendFirst(to: second)
        tell("the first append was accepted after \(fixed(seconds(growth.restartNanoseconds), 3)) s")

        // 3.
        let after = try ControlClient(second)
        try after.checkHead(is: events + 1)
        _ = try ReadModels(client: after, daemon: second).waitUntilCaughtUp()
        growth.catchUpNanoseconds = monotonicNanoseconds() - second.startedAt
        growth.restartPeakBytes = second.memory.peakBytes
        growth.files = try scratch.files()

        // 4.
        tell("kill -9, and starting as after another boot")
        try second.kill()
        try pretendAnotherBoot(scratch.path + "/data")
        let third = try DaemonProcess.start(executable, in: scratch.path)
        defer { third.end() }
        growth.otherBootNanoseconds = try appendFirst(to: third)
        tell("the first append was accepted after \(fixed(seconds(growth.otherBootNanoseconds), 3)) s")
        try ControlClient(third).checkHead(is: events + 1)
        try third.stop()
        print(common.json ? json(circumstances, growth) : text(circumstances, growth))
        if requireRestart { try checkRestarts(growth) }
    }

    private func checkRestarts(_ growth: Growth) throws(BenchError) {
        guard seconds(growth.restartNanoseconds) <= Double(Self.restartTargetSeconds) else {
            throw BenchError("the restart took longer than \(Self.restartTargetSeconds) s")
        }
        guard seconds(growth.otherBootNanoseconds) <= Double(Self.otherBootTargetSeconds) else {
            throw BenchError("the restart after another boot took longer than \(Self.otherBootTargetSeconds) s")
        }
    }

    /// Appends one event, as soon as that is possible: an error that asks to come again is obeyed, any other is the end.
    /// - Returns: nanoseconds from the start of the process to the answer.
    private func appendFirst(to daemon: DaemonProcess) throws(BenchError) -> UInt64 {
        var load = common.load(tag: "h", events: 1)
        load.connections = 1
        let driver = LoadDriver(daemon: daemon)
        while monotonicNanoseconds() - daemon.startedAt < Self.restartMaxNanoseconds {
            // The same event each time, so that it is stored once whatever became of an earlier attempt.
            let result = try driver.attempt(load)
            guard let error = result.firstError else { return monotonicNanoseconds() - daemon.startedAt }
            guard error.contains(#""retry_after_ms":"#) else { throw BenchError("after the restart: \(error)") }
            try pause(milliseconds: 1)
        }
        throw BenchError(
            "no append was accepted within \(fixed(seconds(Self.restartMaxNanoseconds), 0)) s of the restart")
    }

    private func text(_ circumstances: Circumstances, _ growth: Growth) -> String {
        let rates = growth.sliceRates(of: slice)
        var table = TextTable("events", "events/s")
        for (index, rate) in rates.enumerated() {
            table.add("\(grouped(index * slice)) to \(grouped((index + 1) * slice))", grouped(rate))
        }
        table.add("all \(grouped(events))", grouped(growth.load.eventsPerSecond))
        var figures = TextTable("", "measured", "target")
        if let first = rates.first, let last = rates.last, rates.count > 1 {
            figures.add("last slice of the first", fixed(last / first, 2), "")
            figures.add("slowest slice of the fastest", fixed((rates.min() ?? 0) / (rates.max() ?? 1), 2), "")
        }
        let latency = growth.load.latency
        figures.add("p50 ms", fixed(Double(latency.percentile(perThousand: 500)) / 1e6, 2), "")
        figures.add("p99 ms", fixed(Double(latency.percentile(perThousand: 990)) / 1e6, 2), "")
        figures.add("p99.9 ms", fixed(Double(latency.percentile(perThousand: 999)) / 1e6, 2), "")
        figures.add("appends told to come again", grouped(growth.load.busyCount), "")
        figures.add("driver CPU %", fixed(growth.load.driverShare * 100, 0), "")
        figures.add("daemon CPU %", fixed(growth.load.daemonShare * 100, 0), "")
        figures.add(
            "peak RssAnon while appending, MiB", mebibytes(growth.appendPeakBytes), "\(Self.memoryTargetMebibytes)")
        figures.add(
            "start to the first append, s", fixed(seconds(growth.restartNanoseconds), 3), "\(Self.restartTargetSeconds)"
        )
        figures.add(
            "start to the first append after another boot, s", fixed(seconds(growth.otherBootNanoseconds), 3),
            "\(Self.otherBootTargetSeconds)")
        figures.add("start to read models caught up, s", fixed(seconds(growth.catchUpNanoseconds), 3), "")
        figures.add("peak RssAnon after that, MiB", mebibytes(growth.restartPeakBytes), "\(Self.memoryTargetMebibytes)")
        var files = TextTable("file", "MiB")
        for file in growth.files { files.add(file.name, mebibytes(file.bytes)) }
        return """
            \(circumstances.line)
            \(EventTemplate.eventBytes)-byte events over \(grouped(common.load(tag: "g", events: events).leads)) leads, \
            \(common.connections) connections, \(common.inFlight) in flight on each

            \(table.text)

            \(figures.text)

            \(files.text)
            """
    }

    private func json(_ circumstances: Circumstances, _ growth: Growth) -> String {
        var writer = JSONWriter()
        writer.beginObject()
        writer.text("benchmark", "growth")
        writer.circumstances(circumstances)
        writer.figure("events", events)
        writer.figure("leads", common.load(tag: "g", events: events).leads)
        writer.figure("connections", common.connections)
        writer.figure("in_flight", common.inFlight)
        writer.figure("slice", slice)
        writer.key("slice_events_per_second")
        writer.beginArray()
        for rate in growth.sliceRates(of: slice) { writer.raw(Array(fixed(rate, 0).utf8)) }
        writer.endArray()
        writer.figure("events_per_second", growth.load.eventsPerSecond)
        writer.figure("p50_us", Double(growth.load.latency.percentile(perThousand: 500)) / 1_000)
        writer.figure("p99_us", Double(growth.load.latency.percentile(perThousand: 990)) / 1_000)
        writer.figure("p999_us", Double(growth.load.latency.percentile(perThousand: 999)) / 1_000)
        writer.figure("busy_replies", growth.load.busyCount)
        writer.figure("driver_processors", growth.load.driverShare)
        writer.figure("daemon_processors", growth.load.daemonShare)
        writer.figure("append_peak_rss_anon_bytes", growth.appendPeakBytes)
        writer.figure("restart_seconds", seconds(growth.restartNanoseconds))
        writer.figure("other_boot_restart_seconds", seconds(growth.otherBootNanoseconds))
        writer.figure("catch_up_seconds", seconds(growth.catchUpNanoseconds))
        writer.figure("restart_peak_rss_anon_bytes", growth.restartPeakBytes)
        writer.key("files")
        writer.beginArray()
        for file in growth.files {
            writer.beginObject()
            writer.text("name", file.name)
            writer.figure("bytes", file.bytes)
            writer.endObject()
        }
        writer.endArray()
        writer.endObject()
        return writer.string
    }
}

/// What `growth` measured.
private struct Growth {
    var load = LoadResult(events: 0, nanoseconds: 0)
    var appendPeakBytes: UInt64 = 0
    var restartNanoseconds: UInt64 = 0
    var otherBootNanoseconds: UInt64 = 0
    var catchUpNanoseconds: UInt64 = 0
    var restartPeakBytes: UInt64 = 0
    var files: [(name: String, bytes: UInt64)] = []

    /// Events a second of each whole slice.
    func sliceRates(of slice: Int) -> [Double] {
        var start: UInt64 = 0
        return load.marks.map { end in
            defer { start = end }
            return Double(slice) / seconds(end - start)
        }
    }
}
