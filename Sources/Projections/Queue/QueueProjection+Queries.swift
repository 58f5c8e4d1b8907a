package import Leads
package import Ledger
import LMDB

/// Which of the waiting leads are asked for: those that match all that is set.
package struct QueueFilter: Equatable, Sendable {
    package var stage: Stage?
    /// `inbox` or `queue`; no lead waits in another custody.
    package var custody: Custody?
    package var channel: DimensionValue?
    package var queue: String?
    /// Only those that wait since this instant or longer.
    package var until: Instant?

    package init(
        stage: Stage? = nil, custody: Custody? = nil, channel: DimensionValue? = nil, queue: String? = nil,
        until: Instant? = nil
    ) {
        self.stage = stage
        self.custody = custody
        self.channel = channel
        self.queue = queue
        self.until = until
    }

    var matchesAll: Bool { self == QueueFilter() }
}

/// A lead that waits.
package struct QueueRow: Equatable, Sendable {
    package var id: String
    package var stream: StreamKey
    package var stage: Stage
    package var custody: Custody
    package var queue: String?
    package var channel: DimensionValue
    /// The instant and position of the event that brought it where it waits.
    package var since: Occurrence
    /// As-of minus since. Negative where the event is dated after the as-of instant.
    package var ageMicroseconds: Int64
}

package struct QueueList: Equatable, Sendable {
    /// The position it reflects: all events below it.
    package var position: Position
    package var asOf: Instant
    /// How many match, the rows not given out included.
    package var total: Int
    /// Oldest first, by (since, position).
    package var rows: [QueueRow]
}

extension Snapshot where Model == QueueProjection {
    /// The waiting leads that match, oldest first, at most `limit` of them after the place `after`.
    ///
    /// Without a filter only the rows given out are read; with one all that wait are looked at, for the total.
    package func waiting(
        _ filter: QueueFilter = QueueFilter(), after: Occurrence? = nil, limit: Int, asOf: Instant
    ) throws -> QueueList {
        var list = QueueList(position: position, asOf: asOf, total: 0, rows: [])
        let test = Test(filter)
        if filter.matchesAll { list.total = try transaction.count(of: model.waiting) }
        var cursor = try transaction.makeCursor(on: model.waiting)
        // The total is of all that match; a page begins behind `after`.
        var entry: Cursor.Entry?
        if filter.matchesAll, let after {
            entry = try after.withKey { (key) throws(LMDBError) in try cursor.seek(to: key) }
        } else {
            entry = try cursor.first()
        }
        while let found = entry {
            if filter.matchesAll, list.rows.count >= limit { break }
            let since = Occurrence(key: found.key)
            if let until = filter.until, since.time > until { break }
            let row = try RowView(found.value, QueueProjection.waitingLayout)
            if try test.matches(row) {
                if !filter.matchesAll { list.total += 1 }
                if list.rows.count < limit, after.map({ $0 < since }) ?? true {
                    list.rows.append(try QueueRow(row, since: since, asOf: asOf))
                }
            }
            entry = try cursor.next()
        }
        return list
    }
}

/// A filter as bytes, so that rows that do not match cost no strings.
private struct Test {
    private let stage: UInt8?
    private let custody: UInt8?
    private let channel: [UInt8]?
    private let queue: [UInt8]?
    private let matchesNothing: Bool

    init(_ filter: QueueFilter) {
        stage = filter.stage?.rawValue
        custody = filter.custody?.rawValue
        channel =
            switch filter.channel {
            case .named(let name): Array(name.utf8)
            case .absent: []
            case .unattributed, nil: nil
            }
        queue = filter.queue.map { Array($0.utf8) }
        matchesNothing = filter.channel == .unattributed
    }

    func matches(_ row: RowView) throws -> Bool {
        typealias Field = QueueProjection.WaitingField
        if matchesNothing { return false }
        if let stage, row[Field.stage] != stage { return false }
        if let custody, row[Field.custody] != custody { return false }
        if let channel, !row.text(1).elementsEqual(channel) { return false }
        if let queue, !row.text(2).elementsEqual(queue) { return false }
        return true
    }
}

extension QueueRow {
    init(_ row: RowView, since: Occurrence, asOf: Instant) throws(ProjectionError) {
        typealias Field = QueueProjection.WaitingField
        guard let stage = Stage(rawValue: row[Field.stage]), let custody = Custody(rawValue: row[Field.custody]) else {
            throw .brokenRow
        }
        let queue = row.text(2)
        self.init(
            id: row.text(0).utf8String,
            stream: StreamKey(high: row[Field.lead], low: row[Field.lead + 8]), stage: stage, custody: custody,
            queue: queue.isEmpty ? nil : queue.utf8String, channel: DimensionValue(text: row.text(1)), since: since,
            ageMicroseconds: asOf.microseconds(since: since.time))
    }
}
