import TestSupport
import Testing

@testable import Leads

/// Percentiles with and without clocks that are still open, by hand and against fractions of any size.
@Suite struct ResponseStatisticsTests {
    @Test func `percentiles of the answered are nearest ranks, and the mean stands beside them`() {
        let all = ResponseStatistics(answered: (1...10).map { $0 * 10 }.shuffled())
        #expect(
            [0, 100, 101, 500, 501, 900, 990, 1_000].map { all.answeredPercentile(permille: $0) } == [
                10, 10, 20, 50, 60, 90, 100, 100,
            ])
        #expect(all.mean == 55)
        #expect(ResponseStatistics(answered: [1, 2]).mean == 2)
        #expect(ResponseStatistics(answered: [1, 1, 2]).mean == 1)
        #expect(ResponseStatistics(answered: [Int64.max, .max]).mean == .max)
        let none = ResponseStatistics(answered: [], open: [5])
        #expect(none.answeredPercentile(permille: 500) == nil && none.mean == nil)
    }

    @Test func `without unanswered clocks both percentiles are the same`() {
        for count in 1...40 {
            let all = ResponseStatistics(answered: (0..<count).map { Int64($0 / 3) })
            for permille in [1, 10, 333, 334, 500, 900, 990, 999, 1_000] {
                #expect(all.percentile(permille: permille) == all.answeredPercentile(permille: permille))
            }
        }
    }

    @Test func `the survival of a textbook's small sample gives its percentiles`() {
        // Answers at 6 (three), 7, 10, 13, 16, 22, 23; left unanswered at 6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35: the 6-MP
        // arm of Freireich's trial, S = 0.857, 0.807, 0.753, 0.690, 0.627, 0.538, 0.448.
        let all = ResponseStatistics(
            answered: [6, 6, 6, 7, 10, 13, 16, 22, 23], open: [6, 9, 10, 11, 17, 19], stopped: [20, 25, 32, 32, 34, 35])
        let expected: [(Int, Int64?)] = [
            (100, 6), (142, 6), (143, 7), (193, 7), (194, 10), (247, 10), (248, 13), (309, 13), (310, 16), (372, 16),
            (373, 22), (462, 22), (463, 23), (500, 23), (551, 23), (552, nil), (900, nil),
        ]
        for (permille, time) in expected { #expect(all.percentile(permille: permille) == time, "\(permille)") }
    }

    @Test func `open clocks move a percentile out, or out of sight`() {
        let answered: [Int64] = [10, 20, 30, 40]
        #expect(ResponseStatistics(answered: answered).percentile(permille: 500) == 20)
        // S = 7/8, 6/8, 5/8, 4/8: equal to the threshold counts.
        let half = ResponseStatistics(answered: answered, open: [50, 50, 50, 50])
        #expect(half.percentile(permille: 500) == 40)
        #expect(half.percentile(permille: 501) == nil)
        #expect(half.answeredPercentile(permille: 501) == 30)
        // Left at the time of an answer: still waiting there. S(10) = 4/5, S(20) = 4/5 * 2/3 = 8/15.
        let tied = ResponseStatistics(answered: [10, 20], open: [10, 20], stopped: [30])
        #expect(tied.percentile(permille: 200) == 10)
        #expect(tied.percentile(permille: 466) == 20)
        #expect(tied.percentile(permille: 467) == nil)
        #expect(ResponseStatistics(answered: [], open: [1, 2]).percentile(permille: 500) == nil)
        #expect(ResponseStatistics(answered: [1]).percentile(permille: 0) == 1)
        #expect(ResponseStatistics(answered: [1, 2], open: [2]).percentile(permille: 1_000) == nil)
        #expect(ResponseStatistics(answered: [1, 2], open: [1]).percentile(permille: 1_000) == 2)
    }

    @Test func `the survival may be equal to the threshold through factors that do not cancel`() {
        // Three of four go on at 1, one leaves at 2, one of two goes on at 3: S = 3/8.
        let all = ResponseStatistics(answered: [1, 3], stopped: [2, 9])
        #expect(all.percentile(permille: 625) == 3)
        #expect(all.percentile(permille: 626) == nil)
    }

    @Test func `the share within five minutes counts the limit, and leaves out who may still be in time`() {
        let limit = 300 * 1_000_000 as Int64
        let all = ResponseStatistics(
            answered: [0, limit, limit + 1], open: [limit - 1, limit, limit + 1], stopped: [5, 2 * limit])
        let (share, tooEarly) = all.share(within: limit)
        #expect(share == Proportion(2, of: 7))
        #expect(tooEarly == 1)
        let none = ResponseStatistics(answered: [], open: [1])
        #expect(none.share(within: limit).share == Proportion(0, of: 0))
    }

    /// Goal: the bounds and the cancelling give what the plain definition gives. Method: random samples with many ties; the
    /// fraction of all factors is reduced after each and kept in 128 bits, which samples of 60 never leave.
    @Test func `random samples have the percentiles of the plain definition`() {
        let seed = announcedSeed("ResponseStatisticsTests")
        var random = TestSupport.SeededGenerator(seed: seed)
        var found = 0
        var equal = 0
        for round in 0..<3_000 {
            let count = Int.random(in: 1...24, using: &random)
            let spread = Int64.random(in: 1...30, using: &random)
            let times = (0..<count).map { _ in
                (time: Int64.random(in: 0...spread, using: &random), isAnswer: random.chance(60))
            }
            let permille = [500, 900, 990, 750, 250, 625, 875, Int.random(in: 0...1_000, using: &random)]
                .randomElement(using: &random)!
            let all = ResponseStatistics(
                answered: times.filter(\.isAnswer).map(\.time), open: times.filter { !$0.isAnswer }.map(\.time))

            var expected: Int64?
            var (above, below) = (UInt128(1), UInt128(1))
            for time in Set(times.filter(\.isAnswer).map(\.time)).sorted() {
                let waiting = times.count { $0.time >= time }
                let answers = times.count { $0.time == time && $0.isAnswer }
                above *= UInt128(waiting - answers)
                below *= UInt128(waiting)
                let divisor = greatestCommonDivisor(above, below)
                (above, below) = (above / divisor, below / divisor)
                if above * 1_000 == UInt128(1_000 - permille) * below { equal += 1 }
                if above * 1_000 <= UInt128(1_000 - permille) * below {
                    expected = time
                    break
                }
            }
            if expected != nil { found += 1 }
            guard all.percentile(permille: permille) == expected else {
                Issue.record("seed \(seed), round \(round): \(times), \(permille): not \(expected ?? -1)")
                return
            }
        }
        #expect(found >= 1_000 && equal >= 50)
    }

    private func greatestCommonDivisor(_ first: UInt128, _ second: UInt128) -> UInt128 {
        var (first, second) = (first, second)
        while second != 0 { (first, second) = (second, first % second) }
        return max(first, 1)
    }

    @Test func `a hundred thousand clocks, every other one unanswered, have a percentile`() {
        let all = ResponseStatistics(
            answered: (0..<50_000).map { Int64($0) * 2 }, open: (0..<50_000).map { Int64($0) * 2 + 1 })
        // S(t) goes as the square root of those that wait: half after three quarters of the time.
        let median = all.percentile(permille: 500)!
        #expect(abs(median - 75_000) < 10)
    }
}
