import ArgumentParser
import JSON
import Testing

@testable import leadledger_bench

@Suite struct RouteReportTests {
    private func report() throws -> RouteReport {
        var matching = RouteMatching(count: 1_000)
        for number in 0..<1_000 {
            matching.sent(number, at: 1_000_000)
            try matching.acknowledged(number, at: 2_000_000)
            try matching.delivered(number, isAssigned: number > 0, at: 2_000_000 + UInt64(number + 1) * 10_000)
        }
        var result = RouteResult(matching: matching)
        result.driverShare = 0.25
        var fast = RateCase(rate: 10_000)
        fast.add(result)
        let other = RateCase(rate: 77)
        var backlog = BacklogCase(captures: 100_000)
        backlog.add(
            BacklogResult(
                nanoseconds: 4_000_000_000, assigned: 99_999, queued: 1, daemonShare: 1.5, memoryBefore: 10 << 20,
                memoryPeak: 30 << 20, memoryAfter: 20 << 20))
        return RouteReport(
            rates: [fast, other], backlog: backlog, seconds: 30, runs: 1, decisionsTarget: 20_000,
            circumstances: nil)
    }

    @Test func `percentiles, counts and what was asked stand in the text`() throws {
        let text = try report().text
        let lines = text.split(separator: "\n").map { $0.split(separator: " ").joined(separator: " ") }
        // Buckets are at most 1/128 wide, and the longest is exact.
        #expect(
            lines.contains { $0.hasPrefix("the acknowledgement 10,000 5.0") && $0.hasSuffix("10.00 p99 < 25") },
            "\(text)")
        #expect(lines.contains { $0.hasPrefix("the sending 10,000 6.0") && $0.hasSuffix("11.00 -") }, "\(text)")
        #expect(lines.contains { $0.hasPrefix("10,000/s: 999 assigned, 1 queued") }, "\(text)")
        #expect(
            lines.contains("100,000 leads that wait 25,000 25,000 25,000 >= 20,000 150 % 10.0 30.0 20.0"), "\(text)")
    }

    @Test func `the JSON has the same figures`() throws {
        var parser = JSONParser()
        try parser.withDocument(try report().json) { root in
            let rate = try #require(root["rates"]?.elements.first { _ in true })
            #expect(rate["assigned"]?.int64 == 999 && rate["queued"]?.int64 == 1)
            #expect(rate["after_acknowledgement"]?["max_ms"]?["max"] != nil)
            #expect(root["backlog"]?["captures"]?.int64 == 100_000)
        }
    }

    @Test func `the rates asked for replace those of the program, and nothing at all is refused`() throws {
        let route = try RouteBenchmark.parse(["--rate", "77", "--rate", "5", "--seconds", "3"])
        #expect(route.rate == [77, 5] && route.seconds == 3)
        #expect(try RouteBenchmark.parse([]).rate == [1_000, 10_000])
        #expect(throws: (any Error).self) { try RouteBenchmark.parse(["--seconds", "0", "--backlog", "0"]) }
        #expect(throws: (any Error).self) { try RouteBenchmark.parse(["--rate", "0"]) }
    }
}
