package import Leads
package import Ledger
import LMDB

/// What is asked of the funnel.
package struct FunnelQuery: Equatable, Sendable {
    package enum Kind: Equatable, Sendable {
        /// The leads that were captured in the period, followed to the horizon, or as far as the log goes. Those younger than
        /// the horizon at `asOf` are counted as censored, and nowhere else.
        case cohort(horizon: Horizon?)
        /// The first crossings of each stage in the period, whenever those leads were captured.
        case flow
    }

    package var kind: Kind
    package var dimension: FunnelDimension
    /// The period, [from, to), in UTC; open at an end that is nil.
    package var from: Instant?
    package var to: Instant?
    /// A row for each month of the period (UTC) and value; otherwise one for each value.
    package var byMonth: Bool
    /// What "younger than the horizon" is measured at. Only a cohort with a horizon looks at it.
    package var asOf: Instant

    package init(
        kind: Kind, dimension: FunnelDimension = .channel, from: Instant? = nil, to: Instant? = nil,
        byMonth: Bool = false,
        asOf: Instant
    ) {
        self.kind = kind
        self.dimension = dimension
        self.from = from
        self.to = to
        self.byMonth = byMonth
        self.asOf = asOf
    }

    fileprivate func isInPeriod(_ instant: Instant) -> Bool {
        if let from, instant < from { return false }
        if let to, instant >= to { return false }
        return true
    }
}

package struct FunnelReport: Equatable, Sendable {
    /// The position it reflects: all events below it.
    package var position: Position
    package var query: FunnelQuery
    /// By month, then most leads first, then by value.
    package var rows: [FunnelRow]
    /// One for each month, where asked by month.
    package var monthTotals: [FunnelRow]
    package var total: FunnelRow
}

/// The leads of one value and month. A lost lead may be among the won ones too: each counts first crossings, over all cycles.
package struct FunnelRow: Equatable, Sendable {
    /// The start of the month; nil where not asked by month.
    package var month: Instant?
    /// Nil in totals.
    package var value: DimensionValue?
    /// Cohort: the leads captured in the period, censored ones included. Flow: the same as the crossings of `captured`.
    package var leads: Int
    /// Leads younger than the horizon. Always 0 in a flow, and without a horizon.
    package var censored: Int
    /// The open stages in their order.
    package var stages: [FunnelStage]
    package var won: Int
    package var lost: Int
    package var disqualified: Int
    /// Won of those followed, with its Wilson 95 % interval. Nil in a flow, whose wins are of other leads than its captures.
    package var winShare: Proportion?

    /// Cohort: the leads whose horizon has passed.
    package var followed: Int { leads - censored }
}

package struct FunnelStage: Equatable, Sendable {
    package var stage: Stage
    /// Leads that entered it, those that passed it over included.
    package var reached: Int
    /// Those of them that passed it over.
    package var skipped: Int
}

extension Snapshot where Model == FunnelProjection {
    /// Counts the funnel. Looks at every lead once.
    package func funnel(_ query: FunnelQuery) throws -> FunnelReport {
        var counts = FunnelCounts(query)
        var cursor = try transaction.makeCursor(on: model.leads)
        while let entry = try cursor.next() {
            let row = try RowView(entry.value, FunnelProjection.layout)
            counts.add(StageCrossings(row), value: row.text(query.dimension.text))
        }
        return counts.report(at: position)
    }
}

extension StageCrossings {
    fileprivate init(_ row: RowView) {
        typealias Field = FunnelProjection.Field
        self.init()
        for stage in Stage.open { take(stage, row[Field.offset(of: stage)]) }
        take(.lost, row[Field.lost])
        take(.disqualified, row[Field.disqualified])
        let won: Int64 = row[Field.won]
        if won != .max { self.won(at: Instant(microseconds: won), isRevoked: false) }
    }

    private mutating func take(_ stage: Stage, _ instant: Int64) {
        if instant != .max { reached(stage, at: Instant(microseconds: instant)) }
    }
}

/// The counters of all rows, while leads go by.
private struct FunnelCounts {
    private let query: FunnelQuery
    private var values = ByteInterner()
    /// Rows by (month, value), the month in the upper half.
    private var rows: [UInt64: Int] = [:]
    private var counters: ContiguousArray<Counters> = []

    private struct Counters {
        var leads = 0
        var censored = 0
        var reached = InlineArray<16, Int>(repeating: 0)
        var skipped = InlineArray<16, Int>(repeating: 0)

        mutating func add(_ other: Counters) {
            leads += other.leads
            censored += other.censored
            for stage in 0..<16 {
                reached[stage] += other.reached[stage]
                skipped[stage] += other.skipped[stage]
            }
        }
    }

    private static let counted: [Stage] = Stage.open + [.won, .lost, .disqualified]

    init(_ query: FunnelQuery) { self.query = query }

    mutating func add(_ lead: StageCrossings, value: UnsafeRawBufferPointer) {
        switch query.kind {
        case .cohort(let horizon): addToCohort(lead, value, horizon)
        case .flow: addToFlow(lead, value)
        }
    }

    private mutating func addToCohort(_ lead: StageCrossings, _ value: UnsafeRawBufferPointer, _ horizon: Horizon?) {
        guard let entry = lead.crossing(.captured)?.at, query.isInPeriod(entry) else { return }
        // Not there yet at the instant asked about.
        if horizon != nil, entry > query.asOf { return }
        let row = row(entry, value)
        counters[row].leads += 1
        if let horizon, horizon.isYounger(entry, asOf: query.asOf) {
            counters[row].censored += 1
            return
        }
        for stage in Self.counted {
            guard let crossing = lead.crossing(stage), horizon?.contains(crossing.at, from: entry) ?? true else {
                continue
            }
            count(crossing, of: stage, in: row)
        }
    }

    private mutating func addToFlow(_ lead: StageCrossings, _ value: UnsafeRawBufferPointer) {
        for stage in Self.counted {
            guard let crossing = lead.crossing(stage), query.isInPeriod(crossing.at) else { continue }
            let row = row(crossing.at, value)
            if stage == .captured { counters[row].leads += 1 }
            count(crossing, of: stage, in: row)
        }
    }

    private mutating func count(_ crossing: StageCrossings.Crossing, of stage: Stage, in row: Int) {
        counters[row].reached[Int(stage.rawValue)] += 1
        if crossing.isSkipped { counters[row].skipped[Int(stage.rawValue)] += 1 }
    }

    /// Months as their number since the year 0.
    private static func monthNumber(of instant: Instant) -> UInt32 {
        let date = instant.date
        return UInt32(date.year * 12 + date.month - 1)
    }

    private mutating func row(_ instant: Instant, _ value: UnsafeRawBufferPointer) -> Int {
        let month = query.byMonth ? Self.monthNumber(of: instant) : 0
        let key = UInt64(month) << 32 | UInt64(values.intern(value))
        if let row = rows[key] { return row }
        rows[key] = counters.count
        counters.append(Counters())
        return counters.count - 1
    }

    func report(at position: Position) -> FunnelReport {
        var found: [FunnelRow] = []
        var months: [UInt32: Counters] = [:]
        var total = Counters()
        for (key, row) in rows {
            let month = UInt32(key >> 32)
            found.append(
                self.row(counters[row], month: month, value: DimensionValue(text: values[Int(key & 0xFFFF_FFFF)])))
            total.add(counters[row])
            if query.byMonth { months[month, default: Counters()].add(counters[row]) }
        }
        found.sort { left, right in
            if left.month != right.month { return (left.month?.microseconds ?? 0) < (right.month?.microseconds ?? 0) }
            if left.leads != right.leads { return left.leads > right.leads }
            guard let leftValue = left.value, let rightValue = right.value else { return false }
            return leftValue < rightValue
        }
        return FunnelReport(
            position: position, query: query, rows: found,
            monthTotals: months.sorted { $0.key < $1.key }.map { row($0.value, month: $0.key, value: nil) },
            total: row(total, month: nil, value: nil))
    }

    private func row(_ counters: Counters, month: UInt32?, value: DimensionValue?) -> FunnelRow {
        func reached(_ stage: Stage) -> Int { counters.reached[Int(stage.rawValue)] }
        var start: Instant?
        if let month, query.byMonth, let date = CivilDate(year: Int(month / 12), month: Int(month % 12) + 1, day: 1) {
            start = Instant(startOf: date)
        }
        var winShare: Proportion?
        if case .cohort = query.kind { winShare = Proportion(reached(.won), of: counters.leads - counters.censored) }
        return FunnelRow(
            month: start, value: value, leads: counters.leads, censored: counters.censored,
            stages: Stage.open.map {
                FunnelStage(stage: $0, reached: reached($0), skipped: counters.skipped[Int($0.rawValue)])
            },
            won: reached(.won), lost: reached(.lost), disqualified: reached(.disqualified), winShare: winShare)
    }
}
