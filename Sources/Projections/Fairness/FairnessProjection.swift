package import LMDB
import Leads
import Ledger

// The model `fairness`: the turns of all pools, as their decisions recorded them.
//
// decisions   key    0  8 instant of the assignment, with the sign bit turned round so that it sorts
//                    8  8 its position
//             value  0  1 version of this layout = 1
//                    1  7 zero
//                    8    texts: pool, who won, the gains (KeptTurn.swift)
// voided      key    0  8 position of a decision that does not count
//             value  0  1 version of this layout = 1
//
// A decision and what voids it are events of two streams, so each has a table of its own, and a report looks into both.
package struct FairnessProjection: Projection {
    package static let name = "fairness"
    package static let version = 1
    package static let computes =
        "turns pushed and pulled, by instant: pool, winner, gains of the eligible; voided decisions; decisions 1, voided 1"
    package static let tableNames = ["decisions", "voided"]

    let decisions: Table
    let voided: Table

    package init(tables: [Table]) {
        decisions = tables[0]
        voided = tables[1]
    }

    package func apply(
        _ events: EventRun, with scratch: ProjectionScratch, in transaction: inout WriteTransaction
    ) throws {
        let row = scratch.row
        let pending = scratch.pending
        pending.removeAll()
        for lead in events {
            for event in lead where event.type == .assigned {
                try event.locating {
                    guard let turn = try event.turn() else { return }
                    row.beginFixedPart(Self.layout)
                    row.addText(turn.pool)
                    row.addText(try event.text(.member))
                    row.addText(turn.gains)
                    pending.put(row.bytes, at: event.occurrence)
                }
            }
        }
        try pending.write(to: decisions, in: &transaction)
        for event in events.pools where event.type == .poolDecisionVoided {
            let decision = try event.locating { try event.voidedDecision() }
            row.beginFixedPart(Self.voidedLayout)
            try transaction.put(row.bytes, in: voided, at: decision)
        }
    }

    static let layout = RowLayout(version: 1, fixedBytes: 8, textCount: 3)
    static let voidedLayout = RowLayout(version: 1, fixedBytes: 1, textCount: 0)
}
