package import LMDB
import Leads
import Ledger

// The model `funnel`: for each lead the earliest instants of its stages, and what it is counted by.
//
// leads   key    0 16 stream key
//         value  0  1 version of this layout = 1
//                1  3 zero
//                4  4 cycles begun after the first: recycled, or reopened as new business
//                8  8 position of the earliest capture
//               16 64 the lead's own earliest instants in the stages captured ... opportunity, one after the other;
//                     2^63 - 1 where it was never in one. `captured` is the earliest capture's
//               80  8 earliest instant it was lost, likewise
//               88  8 earliest instant it was disqualified, likewise
//               96  8 earliest instant of the wins that are not revoked, likewise
//              104    texts: channel, source, campaign of the earliest capture
// wins    see WinStack.swift
//
// Crossings follow from these at each query (`StageCrossings`): what a stage passed over counts as is arithmetic, not state.
package struct FunnelProjection: Projection {
    package static let name = "funnel"
    package static let version = 1
    package static let computes =
        "earliest own instants of the stages, history included, channel, source, campaign of the earliest capture; row 1, wins 1"
    package static let tableNames = ["leads", "wins"]

    let leads: Table
    let wins: WinStack

    package init(tables: [Table]) {
        leads = tables[0]
        wins = WinStack(table: tables[1])
    }

    package func apply(
        _ events: EventRun, with scratch: ProjectionScratch, in transaction: inout WriteTransaction
    ) throws {
        let row = scratch.row
        var cursor = try transaction.makeWriteCursor(on: leads)
        for lead in events {
            // Most events mark no crossing, and most leads of a batch have no other ones.
            guard lead.contains(where: { Self.counts($0) }) else { continue }
            try lead.key.withBytes { (key) throws(any Error) in
                let stored = try cursor.value(at: key)
                if let stored { row.load(stored) }
                var isKnown = stored != nil
                var hasChanged = false
                for event in lead where Self.counts(event) {
                    try event.locating {
                        if !isKnown { try begin(row, event) }
                        if try take(event, row, in: &transaction) { hasChanged = true }
                    }
                    isKnown = true
                }
                guard hasChanged else { return }
                if stored != nil {
                    try cursor.replace(with: row.bytes, at: key)
                } else {
                    try cursor.put(row.bytes, at: key)
                }
            }
        }
    }

    private static func beginsCycle(_ event: ProjectedEvent) -> Bool {
        event.type == .recycled || event.variant == .newBusiness
    }

    private static func counts(_ event: ProjectedEvent) -> Bool {
        event.type.stageReached != nil || beginsCycle(event) || event.variant == .unWin
    }

    private func begin(_ row: RowBuffer, _ event: ProjectedEvent) throws(BadEvent) {
        guard event.type == .captured else {
            throw BadEvent("\(event.type.name) comes before any capture of its lead")
        }
        row.begin(Self.layout)
        for offset in stride(from: Field.stages, through: Field.won, by: 8) { row[offset] = Int64.max }
    }

    /// - Returns: whether the row has changed.
    private func take(
        _ event: ProjectedEvent, _ row: RowBuffer, in transaction: inout WriteTransaction
    ) throws -> Bool {
        let lead = event.lead
        switch event.type.stageReached {
        case .captured:
            return try capture(event, row)
        case .won:
            row[Field.won] = try wins.push(event, lead: lead, in: &transaction).earliest
        case let stage?:
            let offset = Field.offset(of: stage)
            guard event.instant < row[offset, as: Int64.self] else { return false }
            row[offset] = event.instant
        case nil where event.variant == .unWin:
            try wins.pop(lead: lead, in: &transaction)
            row[Field.won] = try wins.top(of: lead, in: transaction)?.earliest ?? .max
        case nil:
            row.count(at: Field.cycles)
        }
        return true
    }

    private func capture(_ event: ProjectedEvent, _ row: RowBuffer) throws -> Bool {
        let known = Occurrence(
            time: Instant(microseconds: row[Field.stages]), position: row[Field.capturedPosition])
        guard event.occurrence < known else { return false }
        row[Field.stages] = event.instant
        row[Field.capturedPosition] = event.position
        row.setText(FunnelDimension.channel.text, try event.text(.channel), in: Self.layout)
        row.setText(FunnelDimension.source.text, try event.text(.source), in: Self.layout)
        row.setText(FunnelDimension.campaign.text, try event.text(.campaign), in: Self.layout)
        return true
    }

    static let layout = RowLayout(version: 1, fixedBytes: 104, textCount: 3)

    enum Field {
        static let cycles = 4
        static let capturedPosition = 8
        static let stages = 16
        static let lost = 80
        static let disqualified = 88
        static let won = 96

        /// Of an open stage, lost or disqualified.
        static func offset(of stage: Stage) -> Int {
            switch stage {
            case .lost: lost
            case .disqualified: disqualified
            default: stages + 8 * (Int(stage.rawValue) - 1)
            }
        }
    }
}

/// What the funnel may be counted by.
package enum FunnelDimension: String, CaseIterable, Sendable {
    case channel, source, campaign

    /// Which text of a row it is.
    var text: Int {
        switch self {
        case .channel: 0
        case .source: 1
        case .campaign: 2
        }
    }
}
