package import Leads
package import Ledger
import LMDB

/// What is asked of the response clocks.
package struct ResponseQuery: Sendable {
    package enum Grouping: Hashable, Sendable {
        case none
        case lead(LeadDimension)
        /// The hour of the day in `zone` in which the clock started, `00` to `23`.
        case hour
    }

    package var clock: ResponseClockKind
    package var grouping: Grouping
    /// The period in which the clocks started, [from, to); open at an end that is nil.
    package var from: Instant?
    package var to: Instant?
    /// What open clocks are counted to. A clock that started later is left out, and one that was answered, stopped or paused later
    /// counts as one that ran until then.
    package var asOf: Instant
    package var zone: TimeZoneRules

    package init(
        clock: ResponseClockKind = .firstResponse, grouping: Grouping = .none, from: Instant? = nil, to: Instant? = nil,
        asOf: Instant, zone: TimeZoneRules = .utc
    ) {
        self.clock = clock
        self.grouping = grouping
        self.from = from
        self.to = to
        self.asOf = asOf
        self.zone = zone
    }
}

/// The calendar that a clock's business time is counted in, as its events name it.
package struct ClockCalendar: Hashable, Sendable {
    /// The position of the rule set's `policy.published`.
    package var ruleSet: Position
    package var calendar: String
    /// Whose leave is no business time.
    package var holder: String?

    package init(ruleSet: Position, calendar: String, holder: String? = nil) {
        self.ruleSet = ruleSet
        self.calendar = calendar
        self.holder = holder
    }
}

package struct ResponseReport: Sendable {
    /// The position it reflects: all events below it.
    package var position: Position
    package var query: ResponseQuery
    /// Most clocks first, then by value; hours in their order. None where grouped by none.
    package var rows: [ResponseRow]
    package var total: ResponseRow
}

/// The clocks of one value.
package struct ResponseRow: Sendable {
    /// Nil in the total.
    package var value: DimensionValue?
    /// Those of leads that were disqualified as spam or duplicate before any answer. They are in no other number.
    package var noLead: Int
    /// Answered at or before the due instant, or without one.
    package var met: Int
    /// Answered later.
    package var late: Int
    /// Not answered, and due before the as-of instant or before the stop.
    package var overdue: Int
    /// Microseconds from start to answer, stop or as-of instant.
    package var wall: ResponseStatistics
    package var business: ResponseStatistics

    package var clocks: Int { wall.answered.count + wall.open.count + wall.stopped.count }
}

extension Snapshot where Model == ResponseProjection {
    /// Looks at every clock once.
    ///
    /// - Parameter calendar: looks up what the clocks that are open in business time are counted with; not asked for targets of
    ///   wall time, nor for what was answered or stopped.
    package func response(
        _ query: ResponseQuery, calendar: (ClockCalendar) throws -> BusinessCalendar
    ) throws -> ResponseReport {
        var counts = ResponseCounts(query)
        var leads = try transaction.makeCursor(on: model.leads)
        var clocks = try transaction.makeCursor(on: model.clocks)
        var lead = try leads.next()
        while let entry = try clocks.next() {
            guard entry.key.count == 32 else { throw ProjectionError.brokenRow }
            let start = Occurrence(key: entry.key, at: 16)
            let clock = try RowView(entry.value, ResponseProjection.clockLayout)
            guard clock[ResponseProjection.ClockField.kind] == query.clock.rawValue, query.contains(start.time) else {
                continue
            }
            // Both tables are in the order of the leads' keys, and each clock has a lead.
            let stream = StreamKey(high: entry.key.bigEndian(at: 0), low: entry.key.bigEndian(at: 8))
            while let found = lead, !stream.isPrefix(of: found.key) { lead = try leads.next() }
            guard let owner = lead else { throw ProjectionError.brokenRow }
            try counts.add(
                ClockView(clock, start: start), of: try RowView(owner.value, ResponseProjection.layout), calendar)
        }
        return counts.report(at: position)
    }
}

extension ResponseQuery {
    fileprivate func contains(_ start: Instant) -> Bool {
        if let from, start < from { return false }
        if let to, start >= to { return false }
        return start <= asOf
    }
}

/// A clock's row, as it was at some instant.
private struct ClockView {
    private typealias Field = ResponseProjection.ClockField
    private let row: RowView
    let start: Occurrence
    let state: ResponseProjection.ClockState
    let flags: ResponseProjection.ClockFlags

    init(_ row: RowView, start: Occurrence) throws(ProjectionError) {
        guard let state = ResponseProjection.ClockState(rawValue: row[Field.state]) else { throw .brokenRow }
        self.row = row
        self.start = start
        self.state = state
        flags = ResponseProjection.ClockFlags(rawValue: row[Field.flags])
    }

    /// The instant of its last event.
    var since: Instant { Instant(microseconds: row[Field.since]) }
    var due: Instant { Instant(microseconds: row[Field.due]) }
    /// At the last event.
    var elapsed: ResponseClock.Elapsed { ResponseClock.Elapsed(wall: row[Field.wall], business: row[Field.business]) }
    var owner: UnsafeRawBufferPointer { row.text(ResponseProjection.ClockText.owner) }

    /// How long it has been open at `asOf`: on from its last event or, where that is later, back from it, as one that ran.
    func elapsed(
        openAt asOf: Instant, _ calendar: (ClockCalendar) throws -> BusinessCalendar
    ) throws -> ResponseClock.Elapsed {
        var elapsed = elapsed
        let wall = asOf.microseconds(since: since)
        elapsed.wall = max(0, elapsed.wall &+ wall)
        let runs = since > asOf || state == .running
        guard runs, wall != 0 else { return elapsed }
        let business: Int64
        if flags.contains(.isWall) {
            business = wall
        } else {
            let calendar = try calendar(self.calendar)
            business =
                since > asOf
                ? -calendar.business(from: asOf, to: since) : calendar.business(from: since, to: asOf)
        }
        elapsed.business = max(0, elapsed.business &+ business)
        return elapsed
    }

    private var calendar: ClockCalendar {
        let holder = row.text(ResponseProjection.ClockText.holder)
        return ClockCalendar(
            ruleSet: Position(rawValue: row[Field.ruleSet]),
            calendar: row.text(ResponseProjection.ClockText.calendar).utf8String,
            holder: holder.isEmpty ? nil : holder.utf8String)
    }
}

/// The sums of all rows, while clocks go by.
private struct ResponseCounts {
    private let query: ResponseQuery
    private var values = ByteInterner()
    private var rows: ContiguousArray<Counters> = []
    private var total = Counters()

    private struct Measures {
        var wall: [Int64] = []
        var business: [Int64] = []

        mutating func add(_ elapsed: ResponseClock.Elapsed) {
            wall.append(elapsed.wall)
            business.append(elapsed.business)
        }
    }

    private struct Counters {
        var answered = Measures()
        var open = Measures()
        var stopped = Measures()
        var noLead = 0
        var met = 0
        var late = 0
        var overdue = 0
    }

    private enum Outcome { case answered, open, stopped }

    init(_ query: ResponseQuery) { self.query = query }

    mutating func add(
        _ clock: ClockView, of lead: RowView, _ calendar: (ClockCalendar) throws -> BusinessCalendar
    ) throws {
        typealias Lead = ResponseProjection.LeadFlags
        // 1. Where it stood then.
        let hasHappened = clock.since <= query.asOf
        let outcome: Outcome =
            switch clock.state {
            case .met where hasHappened: .answered
            case .stopped where hasHappened: .stopped
            default: .open
            }
        // 2. Its row.
        let row: Int? =
            switch query.grouping {
            case .none: nil
            case .lead(.owner):
                // Later assignments do not change whose answer it was.
                self.row(outcome == .open ? lead.text(LeadDimension.owner.text) : clock.owner)
            case .lead(let dimension): self.row(lead.text(dimension.text))
            case .hour: self.row(hour: clock.start.time)
            }
        // 3. No lead, no number. Its clock may not have been stopped yet.
        let isNone = Lead(rawValue: lead[ResponseProjection.Field.flags]).contains(.isNone)
        if outcome == .stopped && clock.flags.contains(.wasNone) || clock.state.isOpen && isNone {
            return change(row) { $0.noLead += 1 }
        }
        // 4. How long, and whether in time.
        let elapsed =
            outcome == .open ? try clock.elapsed(openAt: query.asOf, calendar) : clock.elapsed
        let isLate = clock.flags.contains(.late)
        let isOverdue =
            switch outcome {
            case .answered: false
            case .stopped: clock.flags.contains(.breached)
            // At the due instant itself an answer still is in time. While it is paused nothing is due, but what was breached stays so.
            case .open:
                clock.due < query.asOf || clock.state == .paused && hasHappened && clock.flags.contains(.breached)
            }
        change(row) { counters in
            switch outcome {
            case .answered:
                counters.answered.add(elapsed)
                if isLate { counters.late += 1 } else { counters.met += 1 }
            case .open: counters.open.add(elapsed)
            case .stopped: counters.stopped.add(elapsed)
            }
            if isOverdue { counters.overdue += 1 }
        }
    }

    private mutating func change(_ row: Int?, _ body: (inout Counters) -> Void) {
        body(&total)
        if let row { body(&rows[row]) }
    }

    private mutating func row(hour start: Instant) -> Int {
        let hour = query.zone.wallTime(at: start).microsecondOfDay / 3_600_000_000
        let text = [UInt8(ascii: "0") + UInt8(hour / 10), UInt8(ascii: "0") + UInt8(hour % 10)]
        return text.withUnsafeBytes { row($0) }
    }

    private mutating func row(_ value: UnsafeRawBufferPointer) -> Int {
        let number = values.intern(value)
        if number == rows.count { rows.append(Counters()) }
        return number
    }

    func report(at position: Position) -> ResponseReport {
        var found = rows.indices.map { row(rows[$0], DimensionValue(text: values[$0])) }
        found.sort { left, right in
            if query.grouping != .hour, left.clocks != right.clocks { return left.clocks > right.clocks }
            guard let leftValue = left.value, let rightValue = right.value else { return false }
            return leftValue < rightValue
        }
        return ResponseReport(position: position, query: query, rows: found, total: row(total, nil))
    }

    private func row(_ counters: Counters, _ value: DimensionValue?) -> ResponseRow {
        ResponseRow(
            value: value, noLead: counters.noLead, met: counters.met, late: counters.late, overdue: counters.overdue,
            wall: ResponseStatistics(
                answered: counters.answered.wall, open: counters.open.wall, stopped: counters.stopped.wall),
            business: ResponseStatistics(
                answered: counters.answered.business, open: counters.open.business,
                stopped: counters.stopped.business))
    }
}
