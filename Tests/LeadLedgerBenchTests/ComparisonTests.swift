import Testing

@testable import leadledger_bench

@Suite struct ComparisonTests {
    private func row(
        _ ours: [Double], _ theirs: [Double], ratio: Double? = 1.3, bound: Comparison.Bound? = nil,
        isBoundFirm: Bool = false
    ) -> Comparison {
        var row = Comparison("burst", peer: "Redis", ratio: ratio, bound: bound, isBoundFirm: isBoundFirm)
        for value in ours { row.ours.add(value) }
        for value in theirs { row.theirs.add(value) }
        return row
    }

    @Test func `a ratio of medians below what is asked is short, at it is met`() {
        #expect(row([130, 1, 900], [100, 100, 100]).verdict == .met)
        #expect(row([129, 1, 900], [100, 100, 100]).verdict == .short)
        #expect(row([1], [100], ratio: nil).verdict == .told)
    }

    @Test func `an absolute figure that is missed is said and fails nothing, unless it is firm`() {
        #expect(row([130], [100], bound: .atLeast(130)).verdict == .met)
        #expect(row([130], [100], bound: .atLeast(131)).verdict == .absoluteShort)
        #expect(!row([130], [100], bound: .atLeast(131)).verdict.isFailure)
        #expect(row([2], [1], ratio: nil, bound: .below(2)).verdict == .absoluteShort)
        #expect(row([2], [1], ratio: nil, bound: .below(2), isBoundFirm: true).verdict == .short)
        #expect(row([1.99], [1], ratio: nil, bound: .below(2), isBoundFirm: true).verdict == .met)
    }

    @Test func `what was not measured has failed, whatever else is there`() {
        #expect(row([], [100]).verdict.isFailure)
        #expect(row([130], []).verdict.isFailure)
        #expect(row([], [], ratio: nil).verdict.isFailure)
        #expect(row([130], [0]).verdict.isFailure)
        var broken = row([130], [100])
        broken.failure = "the daemon ended"
        #expect(broken.verdict == .failed("the daemon ended"))
    }

    @Test func `the report names what falls short and says a reason once`() {
        var first = row([], [])
        first.failure = "no method is called append.many"
        let report = ComparisonReport(
            title: ["machine"], rows: [row([50], [100]), row([200], [100]), first, first], notes: [])
        #expect(
            report.failures == [
                "burst, against Redis: 0.500 x, and 1.30 x is asked",
                "burst, against Redis: no method is called append.many", "burst, against Redis: for the same reason",
            ])
        #expect(report.text.contains("Falls short:\n- burst, against Redis: 0.500 x"))
        #expect(report.markdown.contains("Falls short:\n- burst, against Redis: 0.500 x"))
    }

    @Test func `a ratio that is short by a hair does not read as if it were met`() {
        #expect(
            ComparisonReport(title: [], rows: [row([12_999.9], [10_000])], notes: []).failures == [
                "burst, against Redis: 1.299 x, and 1.30 x is asked"
            ])
    }

    @Test func `a firm bound that is missed is named with its figure`() {
        var lag = Comparison("lag", unit: .seconds, bound: .below(2), isBoundFirm: true)
        lag.ours.add(8.364)
        #expect(
            ComparisonReport(title: [], rows: [lag], notes: []).failures == ["lag: 8.36 s, and below 2.00 s is asked"])
    }

    @Test func `memory is told in mebibytes`() {
        var growth = Comparison("growth", unit: .mebibytes, bound: .below(64), isBoundFirm: true)
        growth.ours.add(70.26)
        #expect(
            ComparisonReport(title: [], rows: [growth], notes: []).failures == [
                "growth: 70.3 MiB, and below 64.0 MiB is asked"
            ])
    }

    @Test func `a good client's p99 has to stay below three times the quiet one, five where connections come again`() {
        let rows = makeCase(.pressure, FilledLedgers()).rows
        let asked: [Comparison.Bound?] = [.below(3), .below(3), .below(3), .below(3), .below(5)]
        #expect(rows.map(\.bound) == asked)
        #expect(rows.allSatisfy { $0.isBoundFirm })
        #expect(rows.allSatisfy { $0.unit == .factor })
    }

    @Test func `a replay's memory counts, its speed is told beside what is asked`() throws {
        let rows = makeCase(.replay, FilledLedgers()).rows
        #expect(rows.map(\.isBoundFirm) == [false, false, true])
        #expect(try #require(rows.last?.bound) == .below(64))
        #expect(rows.last?.unit == .mebibytes)
    }

    @Test func `memory that a replay gave back is no growth, and none is below what there was`() {
        var result = ReplayResult()
        result.restingBytes = 10 << 20
        result.peakBytes = 12 << 20
        #expect(result.growthMebibytes == 2)
        result.peakBytes = 8 << 20
        #expect(result.growthMebibytes == 0)
    }

    @Test func `a pressure's ratio is that of the p99 of one run, and its figures are medians over the runs`() {
        func sample(quiet: UInt64, pressed: UInt64) -> PressureSample {
            var (before, under) = (LatencyHistogram(), LatencyHistogram())
            before.record(nanoseconds: quiet)
            under.record(nanoseconds: pressed)
            return PressureSample(quiet: before, pressed: under, tally: PressureTally())
        }
        var figures = PressureFigures(kind: .flood)
        figures.add(sample(quiet: 1_000, pressed: 2_500))
        figures.add(sample(quiet: 4_000, pressed: 4_000))
        figures.add(sample(quiet: 2_000, pressed: 8_000))
        #expect(figures.ratio.values == [2.5, 1, 4])
        #expect(figures.ratio.median == 2.5)
        #expect(figures.quietP99.median == 2)
        #expect(figures.pressedP99.median == 4)
        #expect(PressureFigures.text(of: [figures]).contains(PressureKind.flood.name))
    }

    @Test func `scripts/bench names every case`() throws {
        let root = #filePath.split(separator: "/").dropLast(3).reduce("") { $0 + "/" + $1 }
        let lines = try readText(root + "/scripts/bench").split(separator: "\n")
        let line = try #require(lines.first { $0.hasPrefix("#   --only CASE") })
        let words = line.split { !$0.isLetter && $0 != "-" }.map { String($0) }
        for name in CaseName.allCases { #expect(words.contains(name.rawValue), "\(name.rawValue)") }
    }

    @Test func `the table has the medians, their spread, the ratio, what is asked and a verdict`() {
        let good = row([260_000, 255_000, 270_000], [200_000, 100_000, 210_000], bound: .atLeast(250_000))
        let report = ComparisonReport(title: ["machine"], rows: [good], notes: ["threads"])
        #expect(
            report.text == """
                machine

                case        ours              (min..max)   peer                         (min..max)  ratio  asked   at least  verdict
                burst  260,000/s  (255,000/s..270,000/s)  Redis  200,000/s  (100,000/s..210,000/s)   1.30   1.30  250,000/s       ok

                threads
                Everything that was measured is as it was asked to be.
                """)
        let lines = report.markdown.split(separator: "\n")
        let cells = "| burst | 260,000/s | (255,000/s..270,000/s) | Redis | 200,000/s | (100,000/s..210,000/s) | 1.30 |"
        #expect(lines.contains { $0.hasPrefix(cells) })
        // As many columns everywhere.
        let bars = lines.filter { $0.hasPrefix("|") }.map { line in line.filter { $0 == "|" }.count }
        #expect(bars == [11, 11, 11])
    }

    @Test func `growth is the last third's median p99 of the first third's`() {
        let slices = [1, 2, 9, 5, 5, 5, 4, 3, 40].map { (milliseconds: UInt64) in
            var slice = LoadSlice(events: 1, nanoseconds: 1)
            slice.latency.record(nanoseconds: milliseconds * 1_000_000)
            return slice
        }
        #expect(Sustained.growth(slices) == 2)
        #expect(Sustained.growth([]) == 0)
        #expect(Sustained.growth([slices[0]]) == 1)
    }

    @Test func `a directory's mount is the longest above it, and of two at one place the last`() throws {
        let mounts = """
            rootfs / rootfs rw 0 0
            /dev/vda / ext4 rw 0 0
            /dev/vdb /data xfs rw 0 0
            /dev/vdc /data/a btrfs rw 0 0
            """
        #expect(try #require(Disk.mount(of: "/data/b", in: mounts)).device == "/dev/vdb")
        #expect(try #require(Disk.mount(of: "/data/a", in: mounts)).type == "btrfs")
        #expect(try #require(Disk.mount(of: "/database", in: mounts)).device == "/dev/vda")
        #expect(Disk.mount(of: "/x", in: "broken") == nil)
    }
}
