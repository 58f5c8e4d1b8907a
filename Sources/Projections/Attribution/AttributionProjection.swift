import JSON
package import LMDB
import Leads
import Ledger

// The model `attribution`: the journeys of all leads, touches and conversions.
//
// touches      key    0 16 stream key
//                    16  8 instant, with the sign bit turned round so that it sorts
//                    24  8 position
//              value  0  1 version of this layout = 1
//                     1  1 kind: 1 capture, 2 inbound touch
//                     2    texts: channel, source, campaign, landing page, medium
// wins         the conversions of each lead that are not revoked, with their current values: see WinStack.swift
// conversions  key    0  8 instant, likewise
//                     8  8 position
//              value  0 16 stream key
//
// `conversions` finds what `wins` holds by the instant of the conversion, for the period of a report. Outbound touches are no
// touches.
package struct AttributionProjection: Projection {
    package static let name = "attribution"
    package static let version = 1
    package static let computes =
        "captures and inbound touches with their dimensions, wins that stand; touches 1, wins 1, conversions"
    package static let tableNames = ["touches", "wins", "conversions"]

    let touches: Table
    let wins: WinStack
    let conversions: Table

    package init(tables: [Table]) {
        touches = tables[0]
        wins = WinStack(table: tables[1])
        conversions = tables[2]
    }

    package func apply(
        _ events: EventRun, with scratch: ProjectionScratch, in transaction: inout WriteTransaction
    ) throws {
        let row = scratch.row
        var cursor = try transaction.makeWriteCursor(on: touches)
        for lead in events {
            for event in lead {
                try event.locating {
                    switch event.type {
                    case .captured, .touched:
                        guard try makeTouch(of: event, row) else { return }
                        try lead.key.withKey(event.occurrence) { (key) throws(LMDBError) in
                            try cursor.put(row.bytes, at: key)
                        }
                    default: try takeWin(event, in: &transaction)
                    }
                }
            }
        }
    }

    /// - Returns: false for what is no touch.
    private func makeTouch(of event: ProjectedEvent, _ row: RowBuffer) throws(BadEvent) -> Bool {
        if event.type == .touched, try event.isOutbound() { return false }
        row.beginFixedPart(Self.layout)
        row[1, as: UInt8.self] = event.type == .captured ? Self.capture : Self.touch
        // In the order of `AttributionDimension.text`.
        row.addText(try event.text(.channel))
        row.addText(try event.text(.source))
        row.addText(try event.text(.campaign))
        row.addText(try event.text(.landingPage))
        row.addText(try event.text(.medium))
        return true
    }

    private func takeWin(_ event: ProjectedEvent, in transaction: inout WriteTransaction) throws {
        let (lead, conversions) = (event.lead, conversions)
        switch event.type {
        case .won:
            try wins.push(event, lead: lead, in: &transaction)
            try event.occurrence.withKey { (key) throws(LMDBError) in
                try lead.withBytes { (lead) throws(LMDBError) in try transaction.put(lead, in: conversions, at: key) }
            }
        case .wonRevised:
            try wins.revise(event, lead: lead, in: &transaction)
        case .reopened where event.variant == .unWin:
            let revoked = try wins.pop(lead: lead, in: &transaction)
            try revoked.at.withKey { (key) throws(LMDBError) in _ = try transaction.delete(in: conversions, at: key) }
        default: return
        }
    }

    static let layout = RowLayout(version: 1, fixedBytes: 2, textCount: AttributionDimension.allCases.count)
    static let capture: UInt8 = 1
    private static let touch: UInt8 = 2
}

/// What credit may be given to.
package enum AttributionDimension: String, CaseIterable, Sendable {
    case channel, source, campaign
    case landingPage = "landing_page"
    case medium

    /// Which text of a row it is.
    var text: Int {
        switch self {
        case .channel: 0
        case .source: 1
        case .campaign: 2
        case .landingPage: 3
        case .medium: 4
        }
    }

    /// The member of an event's data.
    var member: StaticString {
        switch self {
        case .channel: "channel"
        case .source: "source"
        case .campaign: "campaign"
        case .landingPage: "landing_page"
        case .medium: "medium"
        }
    }
}
