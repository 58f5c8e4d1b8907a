package import Leads
package import Ledger
import LMDB

/// A lead as it is at the snapshot's position.
package struct LeadRow: Equatable, Sendable {
    package var id: String
    package var state: LeadState
    package var stage: Stage { state.stage }
    package var custody: Custody { state.custody }
    package var cycle: Int { state.cycle }
    /// The last one there was. Whether the lead is theirs now, custody says.
    package var owner: String?
    /// The queue the lead is in now.
    package var queue: String?

    // Of the earliest capture by (instant, position).
    package var capturedAt: Instant
    package var channel: DimensionValue
    package var source: DimensionValue
    package var campaign: DimensionValue
    package var medium: DimensionValue
    package var landingPage: DimensionValue

    package var counts: LeadCounts
    /// The latest instant of all its events.
    package var latestAt: Instant
    /// That of the last event that gave one: lost, disqualified, recycled, reopened, rejected, released, queued, revised.
    package var lastReason: String?
    /// The newest win that is not revoked.
    package var conversion: LeadConversion?
    /// A win that stands is earlier than the earliest capture.
    package var isCapturedAfterConversion: Bool

    package var first: Position
    package var last: Position
    package var version: StreamVersion
}

package struct LeadCounts: Equatable, Sendable {
    package var captures: Int
    package var touches: Int
    package var attempts: Int
    package var contacts: Int
    package var assignments: Int
    /// Events, so revoked wins are among them.
    package var wins: Int
    package var lost: Int
    package var disqualified: Int
    package var recycles: Int
    package var reopens: Int
}

package struct LeadConversion: Equatable, Sendable {
    package var at: Instant
    package var position: Position
    /// Minor units, as last revised.
    package var amount: Int64
    package var currency: Currency?
}

extension Snapshot where Model == LeadsProjection {
    /// The lead of this stream; nil when it has no event below the snapshot's position.
    package func lead(_ key: StreamKey) throws -> LeadRow? {
        let leads = model.leads
        let row = try key.withBytes { (key) throws(LMDBError) in try transaction.unsafeValue(in: leads, at: key) }
        return try row.map { try LeadRow(RowView($0, LeadsProjection.layout)) }
    }

    /// How many leads there are.
    package func leadCount() throws -> Int { try transaction.count(of: model.leads) }
}

extension LeadRow {
    init(_ row: RowView) throws(ProjectionError) {
        typealias Field = LeadsProjection.Field
        func text(_ text: LeadsProjection.Text) -> String? {
            let bytes = row.text(text.rawValue)
            return bytes.isEmpty ? nil : bytes.utf8String
        }
        func dimension(_ text: LeadsProjection.Text) -> DimensionValue { DimensionValue(text: row.text(text.rawValue)) }
        func count(_ offset: Int) -> Int { Int(row[offset, as: UInt32.self]) }

        guard let state = LeadState(rawValue: row[Field.state]) else { throw .brokenRow }
        id = text(.id) ?? ""
        self.state = state
        owner = text(.owner)
        queue = text(.queue)
        capturedAt = Instant(microseconds: row[Field.capturedAt])
        channel = dimension(.channel)
        source = dimension(.source)
        campaign = dimension(.campaign)
        medium = dimension(.medium)
        landingPage = dimension(.landingPage)
        counts = LeadCounts(
            captures: count(Field.captures), touches: count(Field.touches), attempts: count(Field.attempts),
            contacts: count(Field.contacts), assignments: count(Field.assignments), wins: count(Field.wins),
            lost: count(Field.lost), disqualified: count(Field.disqualified), recycles: count(Field.recycles),
            reopens: count(Field.reopens))
        latestAt = Instant(microseconds: row[Field.latest])
        lastReason = text(.reason)
        let currency = row[Field.currency, as: UInt32.self]
        if currency != 0 {
            conversion = LeadConversion(
                at: Instant(microseconds: row[Field.wonAt]), position: Position(rawValue: row[Field.wonPosition]),
                amount: row[Field.amount], currency: Currency(packed: currency))
        }
        isCapturedAfterConversion = row[Field.flags, as: UInt8.self] & 1 != 0
        first = Position(rawValue: row[Field.first])
        last = Position(rawValue: row[Field.last])
        version = StreamVersion(rawValue: row[Field.version])
    }
}

extension Currency {
    /// From a row.
    init?(packed: UInt32) {
        let letters = (UInt8(packed >> 16 & 255), UInt8(packed >> 8 & 255), UInt8(packed & 255))
        guard let found = withUnsafeBytes(of: letters, { Currency(utf8: $0) }) else { return nil }
        self = found
    }
}
