import Testing

@testable import leadledger_bench

@Suite struct LatencyHistogramTests {
    @Test(arguments: [1, 2, 3, 999, 1_000, 20_000])
    func `a percentile is too large by less than a 128th and never too small`(
        count: Int
    ) {
        var random = RandomBits(state: UInt64(count))
        var histogram = LatencyHistogram()
        var values: [UInt64] = []
        for _ in 0..<count {
            // Every order of magnitude up to seconds is as likely as the others.
            let value = random.next() >> (34 + random.next() % 26)
            values.append(value)
            histogram.record(nanoseconds: value)
        }
        values.sort()
        for perThousand: UInt64 in [0, 1, 250, 500, 900, 990, 999, 1_000] {
            let rank = max(1, (count * Int(perThousand) + 999) / 1_000)
            let exact = values[rank - 1]
            let found = histogram.percentile(perThousand: perThousand)
            #expect(found >= exact, "\(perThousand) of \(count)")
            #expect(found - exact <= exact / 128, "\(perThousand) of \(count)")
        }
    }

    @Test func `values below 256 ns are exact`() {
        var histogram = LatencyHistogram()
        for value: UInt64 in 0..<256 { histogram.record(nanoseconds: value) }
        #expect(histogram.percentile(perThousand: 500) == 127)
        #expect(histogram.percentile(perThousand: 1_000) == 255)
        #expect(histogram.count == 256)
    }

    @Test func `buckets follow one another without a gap`() {
        for shift in 0..<63 {
            let edge = UInt64(1) << UInt64(shift)
            for value in [edge - 1, edge, edge + edge / 2] {
                let step = LatencyHistogram.bucket(of: value + 1) - LatencyHistogram.bucket(of: value)
                #expect(step == 0 || step == 1, "\(value)")
            }
        }
    }

    @Test func `the largest value there is has a bucket`() {
        var histogram = LatencyHistogram()
        histogram.record(nanoseconds: .max)
        #expect(histogram.percentile(perThousand: 1_000) == .max)
    }

    @Test func `a percentile never exceeds the largest value`() {
        var histogram = LatencyHistogram()
        histogram.record(nanoseconds: 1_000_000)
        #expect(histogram.percentile(perThousand: 999) == 1_000_000)
    }

    @Test func `no values give 0`() {
        #expect(LatencyHistogram().percentile(perThousand: 999) == 0)
    }

    @Test func `two histograms merged are one that has seen all`() {
        var whole = LatencyHistogram()
        var parts = [LatencyHistogram(), LatencyHistogram()]
        for value in 0..<2_000 as Range<UInt64> {
            whole.record(nanoseconds: value * value)
            parts[Int(value % 2)].record(nanoseconds: value * value)
        }
        parts[0].merge(parts[1])
        #expect(parts[0].count == whole.count)
        #expect(parts[0].largest == whole.largest)
        for part: UInt64 in [1, 500, 990, 1_000] {
            #expect(parts[0].percentile(perThousand: part) == whole.percentile(perThousand: part))
        }
    }
}
