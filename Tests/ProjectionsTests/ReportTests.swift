import Leads
import Testing

@testable import Ledger
@testable import Projections

/// The reports against oracles: numbers known beforehand, and for random logs, sums and a plain recount.
@Suite(.timeLimit(.minutes(10))) struct ReportTests {
    /// Leads with these channels on their way to a win of this value each.
    private func journeys(_ paths: [(channels: [String], count: Int, value: Int64)]) -> [LeadEvent] {
        var events: [LeadEvent] = []
        for (index, path) in paths.enumerated() {
            for number in 0..<path.count {
                let lead = "L\(index)-\(number)"
                for (step, channel) in path.channels.enumerated() {
                    let data = #""channel":"\#(channel)","kind":"visit""#
                    events.append(
                        LeadEvent(lead: lead, type: step == 0 ? .captured : .touched, at: Int64(step), data: data))
                }
                events.append(
                    LeadEvent(lead: lead, type: .won, at: 100, data: #""amount":\#(path.value),"currency":"EUR""#))
            }
        }
        return events
    }

    /// The credit of each value by each model, as texts.
    private func credits(_ models: Models, value: Bool = false) throws -> [String: [String]] {
        let report = try models.read(AttributionProjection.self) { try $0.attribution(AttributionQuery()) }
        var credits: [String: [String]] = [:]
        for row in report.rows {
            credits[row.value.label] = row.credits.map {
                value
                    ? DecimalText.string($0.value, fractionDigits: 6, .trimmed)
                    : DecimalText.string($0.conversions, fractionDigits: 9, .trimmed)
            }
        }
        return credits
    }

    // MARK: Attribution

    /// SEMANTICS 11.3.
    @Test func `first, last and linear give the credits of the oracle`() throws {
        let models = try models(
            journeys([(["direct"], 2, 0), (["search", "email"], 3, 0), (["search", "social", "email"], 5, 0)]))
        let found = try credits(models)
        #expect(found["direct"] == ["2", "2", "2"])
        #expect(
            found["search"]?[..<2] == ["8", "0"] && found["email"]?[..<2] == ["0", "8"]
                && found["social"]?[..<2] == ["0", "0"])
        // A third of each conversion is rounded to 10^-9, with the rest going to one of the three.
        for (channel, exact) in [("search", 19.0 / 6), ("email", 19.0 / 6), ("social", 5.0 / 3)] {
            #expect(abs((found[channel].flatMap { Double($0[2]) } ?? 0) - exact) < 1e-8, "\(channel)")
        }
    }

    @Test func `linear counts every touch, repeats included`() throws {
        let models = try models(journeys([(["a", "a", "b"], 6, 0)]))
        // Two thirds and one third of each conversion, the larger remainder rounded up.
        #expect(try credits(models)["a"]?[2] == "4.000000002")
        #expect(try credits(models)["b"]?[2] == "1.999999998")
    }

    /// SEMANTICS 11.3: Direct > Organic > Direct at 140.
    @Test func `the value is shared like the conversion, and adds up`() throws {
        let models = try models(journeys([(["Direct", "Organic", "Direct"], 1, 14_000)]))
        #expect(
            try credits(models, value: true) == [
                "Direct": ["14000", "14000", "9333.333333"], "Organic": ["0", "0", "4666.666667"],
            ])
    }

    @Test(arguments: [UInt64(11), 12, 13]) func `credits add up to conversions and value exactly, in every currency`(
        seed: UInt64
    ) throws {
        print("seed \(seed)")
        let log = try LeadLog()
        var events = RandomEvents(seed: seed, leads: 60)
        let given = events.next(3_000)
        try log.append(given)
        let models = try Models(of: log)
        try models.wait(for: log.log.end)
        var conversions = 0
        for dimension in AttributionDimension.allCases {
            for (from, to) in [(nil, nil), (instant(2_000_000), instant(7_000_000))] as [(Instant?, Instant?)] {
                let report = try models.read(AttributionProjection.self) {
                    try $0.attribution(AttributionQuery(dimension: dimension, from: from, to: to))
                }
                for total in report.totals {
                    conversions += total.conversions
                    for model in 0..<3 {
                        let rows = report.rows.filter { $0.currency == total.currency }
                        #expect(
                            rows.reduce(0) { $0 + $1.credits[model].conversions } == Int128(total.conversions)
                                * Credit.perConversion)
                        #expect(rows.reduce(0) { $0 + $1.credits[model].value } == total.value * Credit.perMinorUnit)
                    }
                }
                // A plain recount of the wins that stand.
                let wins = standingWins(given).filter { win in
                    (from.map { win.at >= $0 } ?? true) && (to.map { win.at < $0 } ?? true)
                }
                #expect(report.totals.reduce(0) { $0 + $1.conversions } == wins.count)
                #expect(report.totals.reduce(0) { $0 + $1.value } == wins.reduce(0) { $0 + Int128($1.amount) })
            }
        }
        #expect(conversions > 100)
    }

    /// The wins that no un-win has taken back, with their values as last revised.
    private func standingWins(_ events: [LeadEvent]) -> [(at: Instant, amount: Int64)] {
        var wins: [String: [(at: Instant, amount: Int64)]] = [:]
        func amount(_ event: LeadEvent) -> Int64 {
            Int64(event.data.drop { !$0.isNumber }.prefix { $0.isNumber }) ?? -1
        }
        for event in events {
            switch (event.type, event.variant) {
            case (.won, _):
                wins[event.lead, default: []].append((Instant(microseconds: event.microseconds), amount(event)))
            case (.wonRevised, _):
                guard let last = wins[event.lead]?.indices.last else { continue }
                wins[event.lead]?[last].amount = amount(event)
            case (.reopened, .unWin): wins[event.lead]?.removeLast()
            default: break
            }
        }
        return wins.values.flatMap { $0 }
    }

    @Test func `a conversion without a touch is unattributed, and a touch without the dimension is none`() throws {
        // The capture is before the first win; nothing touches between the first and the second.
        let models = try models([
            LeadEvent(lead: "A", type: .captured, at: 0),
            LeadEvent(lead: "A", type: .won, at: 1, data: #""amount":1,"currency":"EUR""#),
            LeadEvent(lead: "A", type: .reopened, at: 2, data: #""kind":"new_business""#, variant: .newBusiness),
            LeadEvent(lead: "A", type: .won, at: 3, data: #""amount":2,"currency":"EUR""#),
        ])
        #expect(try credits(models) == ["(none)": ["1", "1", "1"], "(unattributed)": ["1", "1", "1"]])
    }

    @Test func `a capture after the first conversion counts as at it and is flagged`() throws {
        let models = try models([
            LeadEvent(lead: "A", type: .captured, at: 100, data: #""channel":"late""#),
            LeadEvent(lead: "A", type: .won, at: 50, data: #""amount":1,"currency":"EUR""#),
        ])
        let report = try models.read(AttributionProjection.self) { try $0.attribution(AttributionQuery()) }
        #expect(report.flagged == 1 && report.rows.map(\.value.label) == ["late"])
    }

    @Test func `the digest of the inputs changes with any touch and with nothing else`() throws {
        func digest(_ paths: [(channels: [String], count: Int, value: Int64)], models asked: [AttributionModel]) throws
            -> [UInt8]
        {
            try models(journeys(paths)).read(AttributionProjection.self) {
                try $0.attribution(AttributionQuery(models: asked)).inputsDigest
            }
        }
        let one = try digest([(["a", "b"], 2, 5)], models: [.first])
        #expect(try digest([(["a", "b"], 2, 5)], models: [.last, .linear]) == one)
        #expect(try digest([(["a", "c"], 2, 5)], models: [.first]) != one)
        #expect(try digest([(["a", "b"], 2, 6)], models: [.first]) != one)
    }

    // MARK: Funnel

    @Test(arguments: [UInt64(21), 22]) func `cohort and flow count what a plain walk over the events counts`(
        seed: UInt64
    ) throws {
        print("seed \(seed)")
        let log = try LeadLog()
        var events = RandomEvents(seed: seed, leads: 80)
        let given = events.next(2_500)
        try log.append(given)
        let models = try Models(of: log)
        try models.wait(for: log.log.end)
        let leads = crossings(given)
        let (from, to, asOf) = (instant(1_000_000), instant(6_000_000), instant(8_000_000))
        let horizon = Horizon(days: 30)

        let cohort = try models.read(FunnelProjection.self) {
            try $0.funnel(FunnelQuery(kind: .cohort(horizon: horizon), from: from, to: to, asOf: asOf))
        }
        let flow = try models.read(FunnelProjection.self) {
            try $0.funnel(FunnelQuery(kind: .flow, from: from, to: to, asOf: asOf))
        }
        let inPeriod = leads.values.filter { $0.crossing(.captured).map { from <= $0.at && $0.at < to } ?? false }
        let followed = inPeriod.filter { !horizon.isYounger($0.crossing(.captured)!.at, asOf: asOf) }
        #expect(inPeriod.count > 20)
        #expect(cohort.total.leads == inPeriod.count && cohort.total.censored == inPeriod.count - followed.count)
        for stage in Stage.open {
            let within = followed.filter { lead in
                lead.crossing(stage).map { horizon.contains($0.at, from: lead.crossing(.captured)!.at) } ?? false
            }
            #expect(cohort.total.stages.first { $0.stage == stage }?.reached == within.count, "\(stage)")
            let crossed = leads.values.filter { $0.crossing(stage).map { from <= $0.at && $0.at < to } ?? false }
            #expect(flow.total.stages.first { $0.stage == stage }?.reached == crossed.count, "\(stage)")
        }
        #expect(cohort.rows.reduce(0) { $0 + $1.leads } == cohort.total.leads)
        #expect(flow.rows.reduce(0) { $0 + $1.won } == flow.total.won)
        #expect(flow.total.won == leads.values.count { $0.crossing(.won).map { from <= $0.at && $0.at < to } ?? false })

        let months = try models.read(FunnelProjection.self) {
            try $0.funnel(FunnelQuery(kind: .cohort(horizon: nil), byMonth: true, asOf: asOf))
        }
        #expect(months.monthTotals.reduce(0) { $0 + $1.leads } == leads.count)
        #expect(
            months.monthTotals.map { $0.month?.monthText ?? "" }
                == months.monthTotals.map { $0.month?.monthText ?? "" }.sorted())
    }

    /// Each lead's crossings, from the events as they are.
    private func crossings(_ events: [LeadEvent]) -> [String: StageCrossings] {
        var crossings: [String: StageCrossings] = [:]
        var wins: [String: [Instant]] = [:]
        for event in events {
            let at = Instant(microseconds: event.microseconds)
            switch event.type.stageReached {
            case .won: wins[event.lead, default: []].append(at)
            case let stage?: crossings[event.lead, default: StageCrossings()].reached(stage, at: at)
            case nil: if event.variant == .unWin { wins[event.lead]?.removeLast() }
            }
        }
        for (lead, instants) in wins {
            for instant in instants { crossings[lead, default: StageCrossings()].won(at: instant, isRevoked: false) }
        }
        return crossings
    }
}
