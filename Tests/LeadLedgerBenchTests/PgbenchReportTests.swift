import Testing

@testable import leadledger_bench

@Suite struct PgbenchReportTests {
    private let report = """
        pgbench (15.18 (Debian 15.18-0+deb12u1))
        transaction type: append.sql
        scaling factor: 1
        query mode: prepared
        number of clients: 50
        number of threads: 1
        maximum number of tries: 1
        number of transactions per client: 40
        number of transactions actually processed: 2000/2000
        number of failed transactions: 3 (0.150%)
        latency average = 16.6 ms
        initial connection time = 82.410 ms
        tps = 3012.345678 (without initial connection time)
        """

    @Test func `transactions, failures and speed are found`() throws {
        let found = try PgbenchReport(report)
        #expect(found.transactions == 2_000)
        #expect(found.failed == 3)
        #expect(found.transactionsPerSecond == 3012.345678)
    }

    @Test func `a report without its figures is refused`() {
        for missing in ["tps = ", "number of transactions actually"] {
            let part = report.split(separator: "\n").filter { !$0.hasPrefix(missing) }.joined(separator: "\n")
            #expect(throws: BenchError.self) { try PgbenchReport(part) }
        }
        #expect(throws: BenchError.self) { try PgbenchReport("") }
    }

    @Test func `every logged transaction counts with its latency`() throws {
        var latency = LatencyHistogram()
        try PgbenchReport.readLatencies(
            "0 1 1000 0 1764000000 123456\n1 1 3000 0 1764000000 123460\n", into: &latency)
        #expect(latency.count == 2)
        #expect(latency.largest == 3_000_000)
        #expect(throws: BenchError.self) { try PgbenchReport.readLatencies("0 1 failed 0 1 2\n", into: &latency) }
        #expect(throws: BenchError.self) { try PgbenchReport.readLatencies("0 1\n", into: &latency) }
    }
}
