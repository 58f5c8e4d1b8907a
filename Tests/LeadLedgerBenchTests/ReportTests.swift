import Testing

@testable import leadledger_bench

@Suite struct ReportTests {
    @Test func `numbers are grouped by thousands`() {
        #expect(grouped(0) == "0")
        #expect(grouped(999) == "999")
        #expect(grouped(1_000) == "1,000")
        #expect(grouped(-1_234_567) == "-1,234,567")
        #expect(grouped(-123) == "-123")
        #expect(grouped(1_234.5) == "1,235")
    }

    @Test func `decimals are rounded and keep their zeros`() {
        #expect(fixed(1.005, 1) == "1.0")
        #expect(fixed(0.0449, 2) == "0.04")
        #expect(fixed(1.999, 2) == "2.00")
        #expect(fixed(-0.5, 1) == "-0.5")
        #expect(fixed(-0.04, 1) == "0.0")
        #expect(fixed(12, 0) == "12")
    }

    @Test func `the median is the middle run, or the mean of the middle two`() {
        var runs = Runs()
        #expect(runs.median == 0)
        for value in [5.0, 1, 3] { runs.add(value) }
        #expect(runs.median == 3)
        runs.add(4)
        #expect(runs.median == 3.5)
        #expect(runs.smallest == 1)
        #expect(runs.largest == 5)
    }

    @Test func `columns of a table line up, names to the left and figures to the right`() {
        var table = TextTable("", "events/s")
        table.add("one at a time", "2,070")
        table.add("burst", "-")
        #expect(
            table.text == """
                               events/s
                one at a time     2,070
                burst                 -
                """)
    }
}
