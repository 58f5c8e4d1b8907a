package import Leads
package import Ledger
import LMDB

/// Where a lead fell through (SEMANTICS 8).
///
/// The first four say that something never happened, over all cycles of the lead. They are not asked of leads that were won, which
/// did not fall through, nor of those disqualified, which were none; lost ones are among them. What a machine sent is neither an
/// attempt nor a contact.
package enum Leak: Int, CaseIterable, Sendable {
    /// Nobody ever owned it.
    case neverAssigned
    /// It was owned, and nobody tried to reach it.
    case neverAttempted
    /// Somebody tried, and nobody was reached.
    case neverContacted
    /// It came as far as to be handed over, and no further.
    case neverAccepted
    /// Its first response is running and was due before the as-of instant.
    case dueUnanswered

    /// As in answers.
    package var name: StaticString {
        switch self {
        case .neverAssigned: "never_assigned"
        case .neverAttempted: "never_attempted"
        case .neverContacted: "never_contacted"
        case .neverAccepted: "mql_never_accepted"
        case .dueUnanswered: "due_unanswered"
        }
    }
}

package struct LeakQuery: Equatable, Sendable {
    /// Nil: the total alone.
    package var dimension: LeadDimension?
    /// The period in which the leads were captured first, [from, to); open at an end that is nil.
    package var from: Instant?
    package var to: Instant?
    /// What is due is due before this instant. Leads that were captured later are left out.
    package var asOf: Instant
    /// Leads listed behind each number.
    package var limit: Int

    package init(
        dimension: LeadDimension? = nil, from: Instant? = nil, to: Instant? = nil, asOf: Instant, limit: Int = 10
    ) {
        self.dimension = dimension
        self.from = from
        self.to = to
        self.asOf = asOf
        self.limit = limit
    }
}

package struct LeakReport: Equatable, Sendable {
    /// The position it reflects: all events below it.
    package var position: Position
    package var query: LeakQuery
    /// Most leaks first, then most leads, then by value. None without a dimension.
    package var rows: [LeakRow]
    package var total: LeakRow
}

package struct LeakRow: Equatable, Sendable {
    /// Nil in the total.
    package var value: DimensionValue?
    /// All leads captured in the period, whatever became of them.
    package var leads: Int
    /// By the raw values of `Leak`.
    package var leaks: [LeakedLeads]

    package subscript(leak: Leak) -> LeakedLeads { leaks[leak.rawValue] }
}

package struct LeakedLeads: Equatable, Sendable {
    package var count: Int
    /// The oldest, by their earliest captures; those that are due, the longest overdue first.
    package var leads: [LeakedLead]
}

package struct LeakedLead: Equatable, Sendable {
    package var id: String
    package var capturedAt: Instant
    /// The last one there was.
    package var owner: String?
    /// When its first response was due, if that is what is missing.
    package var due: Instant?
}

extension Snapshot where Model == ResponseProjection {
    /// Looks at every lead once.
    package func leaks(_ query: LeakQuery) throws -> LeakReport {
        var counts = LeakCounts(query)
        var cursor = try transaction.makeCursor(on: model.leads)
        while let entry = try cursor.next() {
            try counts.add(try RowView(entry.value, ResponseProjection.layout))
        }
        return counts.report(at: position)
    }
}

/// The sums of all rows, while leads go by.
private struct LeakCounts {
    private let query: LeakQuery
    private var values = ByteInterner()
    private var rows: ContiguousArray<Counters> = []
    private var total = Counters()

    private struct Counters {
        var leads = 0
        var leaks = Array(repeating: Leaked(), count: Leak.allCases.count)

        mutating func count(_ found: Found) { leaks[found.leak.rawValue].add(found) }
    }

    private struct Leaked {
        var count = 0
        /// At most the limit, in order.
        var first: [(place: Occurrence, lead: LeakedLead)] = []

        mutating func add(_ found: Found) {
            count += 1
            if first.count >= found.limit {
                guard let last = first.last, found.place < last.place else { return }
                first.removeLast()
            }
            let index = first.firstIndex { found.place < $0.place } ?? first.endIndex
            first.insert((found.place, found.leaked), at: index)
        }
    }

    /// A lead that leaks, and its place among those that do: the earliest are listed.
    private struct Found {
        var leak: Leak
        var lead: RowView
        var capturedAt: Instant
        var place: Occurrence
        var limit: Int

        var leaked: LeakedLead {
            let owner = lead.text(ResponseProjection.Text.owner)
            return LeakedLead(
                id: lead.text(ResponseProjection.Text.id).utf8String, capturedAt: capturedAt,
                owner: owner.isEmpty ? nil : owner.utf8String, due: leak == .dueUnanswered ? place.time : nil)
        }
    }

    init(_ query: LeakQuery) { self.query = query }

    mutating func add(_ lead: RowView) throws {
        typealias Field = ResponseProjection.Field
        let captured = Occurrence(
            time: Instant(microseconds: lead[Field.capturedAt]), position: lead[Field.capturedPosition])
        if let from = query.from, captured.time < from { return }
        if let to = query.to, captured.time >= to { return }
        if captured.time > query.asOf { return }
        let row: Int? = query.dimension.map { self.row(lead.text($0.text)) }
        total.leads += 1
        if let row { rows[row].leads += 1 }
        let due = Instant(microseconds: lead[Field.responseDue])
        for leak in try leaks(of: lead, due: due) {
            let place = leak == .dueUnanswered ? Occurrence(time: due, position: captured.position) : captured
            let found = Found(leak: leak, lead: lead, capturedAt: captured.time, place: place, limit: query.limit)
            total.count(found)
            if let row { rows[row].count(found) }
        }
    }

    private func leaks(of lead: RowView, due: Instant) throws -> [Leak] {
        typealias Field = ResponseProjection.Field
        guard let state = LeadState(rawValue: lead[Field.state]), let furthest = Stage(rawValue: lead[Field.furthest])
        else { throw ProjectionError.brokenRow }
        let flags = ResponseProjection.LeadFlags(rawValue: lead[Field.flags])
        var leaks: [Leak] = []
        if state.stage != .won, state.stage != .disqualified {
            if !flags.contains(.owned) {
                leaks.append(.neverAssigned)
            } else if !flags.contains(.attempted) {
                leaks.append(.neverAttempted)
            }
            if flags.contains(.attempted), !flags.contains(.contacted) { leaks.append(.neverContacted) }
            // An offer passes the qualification over; whatever lies beyond passes the acceptance over.
            if furthest == .mql || furthest == .offered { leaks.append(.neverAccepted) }
        }
        if state.stage.isOpen, due < query.asOf { leaks.append(.dueUnanswered) }
        return leaks
    }

    private mutating func row(_ value: UnsafeRawBufferPointer) -> Int {
        let number = values.intern(value)
        if number == rows.count { rows.append(Counters()) }
        return number
    }

    func report(at position: Position) -> LeakReport {
        var found = rows.indices.map { row(rows[$0], DimensionValue(text: values[$0])) }
        func leaks(_ row: LeakRow) -> Int { row.leaks.reduce(0) { $0 + $1.count } }
        found.sort { left, right in
            if leaks(left) != leaks(right) { return leaks(left) > leaks(right) }
            if left.leads != right.leads { return left.leads > right.leads }
            guard let leftValue = left.value, let rightValue = right.value else { return false }
            return leftValue < rightValue
        }
        return LeakReport(position: position, query: query, rows: found, total: row(total, nil))
    }

    private func row(_ counters: Counters, _ value: DimensionValue?) -> LeakRow {
        LeakRow(
            value: value, leads: counters.leads,
            leaks: Leak.allCases.map {
                let leaked = counters.leaks[$0.rawValue]
                return LeakedLeads(count: leaked.count, leads: leaked.first.map(\.lead))
            })
    }
}
