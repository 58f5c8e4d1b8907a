package import LMDB
import Leads
import Ledger

// The model `leads`: what each lead is now.
//
// leads   key    0 16 stream key
//         value  0  1 version of this layout = 1
//                1  1 flags: bit 0 capture after conversion (a win that stands is earlier than the earliest capture)
//                2  2 zero
//                4  4 captures
//                8  8 lifecycle state
//               16  8 first position
//               24  8 last position
//               32  8 version: how many events
//               40  8 instant of the earliest capture
//               48  8 position of the earliest capture
//               56  8 the latest instant of all events
//               64  8 instant of the current conversion     the newest win that is not revoked; all four zero without one
//               72  8 position of it
//               80  8 its amount, minor units
//               88  4 its currency, packed
//               92  4 touches          inbound and outbound
//               96  4 attempts
//              100  4 contacts
//              104  4 assignments
//              108  4 wins             `won` events, revoked ones included
//              112  4 lost
//              116  4 disqualified
//              120  4 recycles
//              124  4 reopens
//              128    texts: id, owner, queue, channel, source, campaign, medium, landing page, reason
// wins    see WinStack.swift
//
// Texts of the marketing fields are those of the earliest capture by (instant, position). The owner is the last one there was,
// also after an end; custody says whether the lead is theirs now. The queue is the one the lead is in, else empty. The reason is
// that of the last event that gave one.
package struct LeadsProjection: Projection {
    package static let name = "leads"
    package static let version = 1
    package static let computes =
        "state, owner, queue, earliest capture, counts, current conversion, last reason; row 1, wins 1"
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
            try lead.key.withBytes { (key) throws(any Error) in
                let stored = try cursor.value(at: key)
                if let stored { row.load(stored) }
                var isKnown = stored != nil
                for event in lead {
                    try event.locating {
                        if !isKnown { begin(row, event) }
                        try take(event, isFirst: !isKnown, row, in: &transaction)
                    }
                    isKnown = true
                }
                if stored != nil {
                    try cursor.replace(with: row.bytes, at: key)
                } else {
                    try cursor.put(row.bytes, at: key)
                }
            }
        }
    }

    private func take(
        _ event: ProjectedEvent, isFirst: Bool, _ row: RowBuffer, in transaction: inout WriteTransaction
    ) throws {
        // 1. The lead as it was, and whether the event can follow.
        let lead = event.lead
        let before = isFirst ? nil : LeadState(trusted: row[Field.state])
        guard event.version == row[Field.version, as: UInt64.self] + 1 else {
            throw BadEvent(
                "version \(event.version) of its lead follows version \(row[Field.version, as: UInt64.self])")
        }
        let after = try before.evolved(by: event)

        // 2. What every event changes.
        row[Field.state] = after.rawValue
        row[Field.last] = event.position
        row[Field.version] = event.version
        if isFirst || event.instant > row[Field.latest] { row[Field.latest] = event.instant }
        if before?.custody == .queue, after.custody != .queue, after.custody != .leased { setText(row, .queue, .empty) }

        // 3. What this one does.
        switch event.type {
        case .captured: try capture(event, isFirst: isFirst, row)
        case .touched: row.count(at: Field.touches)
        case .contactAttempted, .contacted:
            row.count(at: event.type == .contacted ? Field.contacts : Field.attempts)
            if after.custody == .owner, before?.custody != .owner { setText(row, .owner, try event.text(.by)) }
        case .assigned:
            row.count(at: Field.assignments)
            setText(row, .owner, try event.text(.member))
        case .queued:
            setText(row, .queue, try event.text(.queue))
            takeReason(try event.text(.reason), row)
        case .won:
            row.count(at: Field.wins)
            setConversion(try wins.push(event, lead: lead, in: &transaction), row)
        case .wonRevised:
            setConversion(try wins.revise(event, lead: lead, in: &transaction), row)
            takeReason(try event.text(.reason), row)
        case .lost, .disqualified, .recycled, .reopened, .rejected, .released:
            switch event.type {
            case .lost: row.count(at: Field.lost)
            case .disqualified: row.count(at: Field.disqualified)
            case .recycled: row.count(at: Field.recycles)
            case .reopened: row.count(at: Field.reopens)
            default: break
            }
            if event.variant == .unWin {
                try wins.pop(lead: lead, in: &transaction)
                setConversion(try wins.top(of: lead, in: transaction), row)
            }
            takeReason(try event.text(.reason), row)
        default: break
        }

        // 4. The flag depends on both captures and wins.
        let hasWon = row[Field.wins, as: UInt32.self] > 0
        if hasWon, event.type == .captured || event.type == .won || event.variant == .unWin {
            let earliestWin = try wins.top(of: lead, in: transaction)?.earliest ?? .max
            row[Field.flags, as: UInt8.self] = earliestWin < row[Field.capturedAt, as: Int64.self] ? 1 : 0
        }
    }

    private func begin(_ row: RowBuffer, _ event: ProjectedEvent) {
        row.begin(Self.layout)
        row[Field.first] = event.position
        setText(row, .id, event.subject)
    }

    private func capture(_ event: ProjectedEvent, isFirst: Bool, _ row: RowBuffer) throws {
        row.count(at: Field.captures)
        let known = Occurrence(
            time: Instant(microseconds: row[Field.capturedAt]), position: row[Field.capturedPosition])
        guard isFirst || event.occurrence < known else { return }
        row[Field.capturedAt] = event.instant
        row[Field.capturedPosition] = event.position
        setText(row, .channel, try event.text(.channel))
        setText(row, .source, try event.text(.source))
        setText(row, .campaign, try event.text(.campaign))
        setText(row, .medium, try event.text(.medium))
        setText(row, .landingPage, try event.text(.landingPage))
    }

    private func setConversion(_ win: Win?, _ row: RowBuffer) {
        row[Field.wonAt] = win?.at.time.microseconds ?? 0
        row[Field.wonPosition] = win?.at.position ?? 0
        row[Field.amount] = win?.amount ?? 0
        row[Field.currency] = win?.currency ?? 0
    }

    private func takeReason(_ reason: UnsafeRawBufferPointer, _ row: RowBuffer) {
        if !reason.isEmpty { setText(row, .reason, reason) }
    }

    private func setText(_ row: RowBuffer, _ text: Text, _ value: UnsafeRawBufferPointer) {
        row.setText(text.rawValue, value, in: Self.layout)
    }

    static let layout = RowLayout(version: 1, fixedBytes: 128, textCount: Text.allCases.count)

    enum Field {
        static let flags = 1
        static let captures = 4
        static let state = 8
        static let first = 16
        static let last = 24
        static let version = 32
        static let capturedAt = 40
        static let capturedPosition = 48
        static let latest = 56
        static let wonAt = 64
        static let wonPosition = 72
        static let amount = 80
        static let currency = 88
        static let touches = 92
        static let attempts = 96
        static let contacts = 100
        static let assignments = 104
        static let wins = 108
        static let lost = 112
        static let disqualified = 116
        static let recycles = 120
        static let reopens = 124
    }

    enum Text: Int, CaseIterable {
        case id, owner, queue, channel, source, campaign, medium, landingPage, reason
    }
}

extension LeadState? {
    /// The state after a stored event.
    ///
    /// - Throws: `BadEvent` where the lifecycle refuses it: the appender accepted it, so this is not the log it wrote.
    func evolved(by event: ProjectedEvent) throws(BadEvent) -> LeadState {
        switch Lifecycle.evolve(self, event.type, event.variant, backfill: event.isBackfill) {
        case .next(let state): return state
        case .refused(let refusal):
            throw BadEvent(
                "the lifecycle refuses \(event.type.name): \(refusal.name) (the lead is \(self?.description ?? "unknown"))"
            )
        }
    }
}

extension UnsafeRawBufferPointer {
    static var empty: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: nil, count: 0) }
}
