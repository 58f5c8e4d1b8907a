import Testing

@testable import Leads

@Suite struct FunnelTests {
    private func at(_ second: Int64) -> Instant { Instant(microseconds: second * 1_000_000) }

    @Test func `A stage that was passed over is entered when it was passed over`() {
        var lead = StageCrossings()
        lead.reached(.contacted, at: at(50))
        lead.reached(.captured, at: at(10))
        lead.reached(.mql, at: at(20))
        #expect(lead.crossing(.captured) == .init(at: at(10), isSkipped: false))
        #expect(lead.crossing(.mql) == .init(at: at(20), isSkipped: false))
        for stage in [Stage.offered, .accepted, .working] {
            #expect(lead.crossing(stage) == .init(at: at(50), isSkipped: true))
        }
        #expect(lead.crossing(.contacted) == .init(at: at(50), isSkipped: false))
        #expect(lead.crossing(.qualified) == nil)
        #expect(lead.crossing(.won) == nil)
        #expect(lead.microsecondsInStage(.mql) == 30_000_000)
        #expect(lead.microsecondsInStage(.offered) == nil)
        #expect(lead.microsecondsInStage(.contacted) == nil)
    }

    @Test func `A win reaches all stages, a revoked one none`() {
        var lead = StageCrossings()
        lead.reached(.captured, at: at(10))
        lead.won(at: at(20), isRevoked: true)
        #expect(!lead.hasReached(.opportunity))
        #expect(!lead.hasReached(.won))
        lead.won(at: at(40), isRevoked: false)
        #expect(lead.crossing(.opportunity) == .init(at: at(40), isSkipped: true))
        #expect(lead.crossing(.won) == .init(at: at(40), isSkipped: false))
        #expect(lead.microsecondsInStage(.captured) == 30_000_000)
    }

    @Test func `A crossing is the first over all cycles, whatever order it was recorded in`() {
        var lead = StageCrossings()
        lead.reached(.captured, at: at(10))
        lead.reached(.mql, at: at(90))
        lead.reached(.mql, at: at(30))
        lead.reached(.mql, at: at(60))
        #expect(lead.crossing(.mql) == .init(at: at(30), isSkipped: false))
    }

    @Test func `A stage entered after a later one counts from the later one, as skipped`() {
        var lead = StageCrossings()
        lead.reached(.captured, at: at(10))
        lead.reached(.qualified, at: at(30))
        lead.reached(.mql, at: at(70))
        #expect(lead.crossing(.mql) == .init(at: at(30), isSkipped: true))
    }

    @Test func `A lead is captured at its capture, even if it was won before`() {
        var lead = StageCrossings()
        lead.reached(.captured, at: at(200))
        lead.won(at: at(100), isRevoked: false)
        #expect(lead.crossing(.captured) == .init(at: at(200), isSkipped: false))
        #expect(lead.crossing(.mql) == .init(at: at(100), isSkipped: true))
        #expect(lead.microsecondsInStage(.captured) == nil)
    }

    @Test func `Losing a lead reaches no stage`() {
        var lead = StageCrossings()
        lead.reached(.captured, at: at(10))
        lead.reached(.lost, at: at(20))
        #expect(lead.crossing(.lost) == .init(at: at(20), isSkipped: false))
        #expect(!lead.hasReached(.mql))
    }

    @Test func `The horizon includes its end, and is over at its end`() {
        let horizon = Horizon(microseconds: 100_000_000)
        #expect(horizon.verdict(entry: at(0), reached: at(100), asOf: at(100)) == .within)
        #expect(horizon.verdict(entry: at(0), reached: at(101), asOf: at(200)) == .outside)
        #expect(horizon.verdict(entry: at(0), reached: nil, asOf: at(100)) == .outside)
        #expect(horizon.verdict(entry: at(0), reached: at(5), asOf: at(99)) == .younger)
        #expect(horizon.verdict(entry: at(0), reached: at(-5), asOf: at(100)) == .within)
        #expect(Horizon(days: 90).microseconds == 7_776_000_000_000)
    }
}

@Suite struct StatisticsTests {
    @Test func `842 of 8000 have the Wilson interval that the field agrees on`() {
        let share = Proportion(842, of: 8000)
        #expect(share.wilson95 == .init(lowerBillionths: 98_713_828, upperBillionths: 112_165_094))
        #expect(share.billionths == 105_250_000)
    }

    @Test func `At the ends the interval touches 0 and 1, and of nothing there is none`() {
        #expect(Proportion(0, of: 10).wilson95?.lowerBillionths == 0)
        #expect(Proportion(10, of: 10).wilson95?.upperBillionths == 1_000_000_000)
        #expect(Proportion(0, of: 0).wilson95 == nil)
        #expect(Proportion(0, of: 0).billionths == nil)
    }

    @Test func `Each interval holds its share and mirrors that of the failures`() {
        for trials in 1...60 {
            for successes in 0...trials {
                let share = Proportion(successes, of: trials)
                let mirror = Proportion(trials - successes, of: trials).wilson95!
                let interval = share.wilson95!
                #expect(interval.lowerBillionths <= share.billionths! && share.billionths! <= interval.upperBillionths)
                #expect(abs(interval.lowerBillionths + mirror.upperBillionths - 1_000_000_000) <= 1)
            }
        }
    }

    @Test func `Percentiles are by nearest rank`() {
        let values = [15, 20, 35, 40, 50]
        #expect(Percentile.nearestRank(permille: 50, of: values) == 15)
        #expect(Percentile.nearestRank(permille: 300, of: values) == 20)
        #expect(Percentile.nearestRank(permille: 400, of: values) == 20)
        #expect(Percentile.nearestRank(permille: 500, of: values) == 35)
        #expect(Percentile.nearestRank(permille: 1000, of: values) == 50)
        #expect(Percentile.nearestRank(permille: 0, of: values) == 15)
        #expect(Percentile.nearestRank(permille: 999, of: Array(1...1000)) == 999)
        #expect(Percentile.nearestRank(permille: 500, of: [Int]()) == nil)
    }
}
