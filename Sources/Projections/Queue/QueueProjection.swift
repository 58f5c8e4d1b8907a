package import LMDB
import Leads
import Ledger

// The model `queue`: the leads that wait, those in the inbox or in a queue, the longest waiting first.
//
// leads    key    0 16 stream key                    of every lead: what its next event may change
//          value  0  1 version of this layout = 1
//                 1  7 zero
//                 8  8 lifecycle state
//                16  8 since: instant of the event that brought it where it waits; zero while it does not wait
//                24  8 position of that event; zero while it does not wait
//                32  8 instant of the earliest capture
//                40  8 position of the earliest capture
//                48    texts: channel of the earliest capture, queue it is in
// waiting  key    0  8 since, with the sign bit turned round so that it sorts
//                 8  8 position of the event that brought it there
//          value  0  1 version of this layout = 1
//                 1  1 stage
//                 2  1 custody
//                 3  5 zero
//                 8 16 stream key
//                24    texts: id, channel, queue
//
// A lead that is sent to another queue, comes back to the inbox or begins a new cycle waits from then on; one that stays where it
// was keeps its place, whatever else happens to it.
package struct QueueProjection: Projection {
    package static let name = "queue"
    package static let version = 1
    package static let computes = "leads in inbox or queue by since, with stage, channel and queue; leads 1, waiting 1"
    package static let tableNames = ["leads", "waiting"]

    let leads: Table
    let waiting: Table

    package init(tables: [Table]) {
        leads = tables[0]
        waiting = tables[1]
    }

    package func apply(
        _ events: EventRun, with scratch: ProjectionScratch, in transaction: inout WriteTransaction
    ) throws {
        let row = scratch.row
        let pending = scratch.pending
        pending.removeAll()
        var cursor = try transaction.makeWriteCursor(on: leads)
        for lead in events {
            // Touches, which most events are, change nothing here.
            guard lead.contains(where: { !$0.type.leavesState }) else { continue }
            try lead.key.withBytes { (key) throws(any Error) in
                // 1. The lead as it was.
                let stored = try cursor.value(at: key)
                if let stored { row.load(stored) } else { row.begin(Self.layout) }
                let place = stored.flatMap { _ in Self.place(row) }

                // 2. What happened to it. Most events change nothing here.
                var isKnown = stored != nil
                var hasChanged = false
                var subject = UnsafeRawBufferPointer.empty
                for event in lead where !event.type.leavesState {
                    try event.locating { if try take(event, isFirst: !isKnown, row) { hasChanged = true } }
                    isKnown = true
                    subject = event.subject
                }
                guard hasChanged else { return }

                // 3. Its place in the line.
                let newPlace = Self.place(row)
                if let place, place != newPlace { pending.remove(at: place) }
                if let newPlace {
                    makeEntry(scratch.otherRow, lead.key, subject, row)
                    pending.put(scratch.otherRow.bytes, at: newPlace)
                }
                if stored != nil {
                    try cursor.replace(with: row.bytes, at: key)
                } else {
                    try cursor.put(row.bytes, at: key)
                }
            }
        }
        try pending.write(to: waiting, in: &transaction)
    }

    /// Changes the row by one event.
    /// - Returns: whether it did.
    private func take(_ event: ProjectedEvent, isFirst: Bool, _ row: RowBuffer) throws(BadEvent) -> Bool {
        // 1. What it is known by, and where it is.
        let before = isFirst ? nil : LeadState(trusted: row[Field.state])
        let after = try before.evolved(by: event)
        let wasWaiting = before.map(Self.isWaiting) ?? false
        var hasMoved = before?.custody != after.custody || before?.cycle != after.cycle
        var hasChanged = before != after
        if event.type == .captured {
            let earliest = Occurrence(
                time: Instant(microseconds: row[Field.capturedAt]), position: row[Field.capturedPosition])
            if isFirst || event.occurrence < earliest {
                row[Field.capturedAt] = event.instant
                row[Field.capturedPosition] = event.position
                row.setText(Self.channelText, try event.text(.channel), in: Self.layout)
                hasChanged = true
            }
        } else if event.type == .queued {
            let queue = try event.text(.queue)
            // The row's own bytes are compared before they change.
            if !row.hasText(Self.queueText, queue, in: Self.layout) {
                row.setText(Self.queueText, queue, in: Self.layout)
                (hasMoved, hasChanged) = (true, true)
            }
        }
        guard hasChanged else { return false }
        if after.custody != .queue, after.custody != .leased { row.setText(Self.queueText, .empty, in: Self.layout) }
        row[Field.state] = after.rawValue

        // 2. Since when it waits.
        let isWaiting = Self.isWaiting(after)
        if !(wasWaiting && isWaiting && !hasMoved) {
            row[Field.since] = isWaiting ? event.instant : 0
            row[Field.sincePosition] = isWaiting ? event.position : 0
        }
        return true
    }

    /// The key of the lead's entry in `waiting`; nil while it does not wait.
    private static func place(_ row: RowBuffer) -> Occurrence? {
        guard isWaiting(LeadState(trusted: row[Field.state])) else { return nil }
        return Occurrence(time: Instant(microseconds: row[Field.since]), position: row[Field.sincePosition])
    }

    private func makeEntry(
        _ entry: RowBuffer, _ lead: StreamKey, _ subject: UnsafeRawBufferPointer, _ row: RowBuffer
    ) {
        let state = LeadState(trusted: row[Field.state])
        entry.beginFixedPart(Self.waitingLayout)
        entry[WaitingField.stage] = state.stage.rawValue
        entry[WaitingField.custody] = state.custody.rawValue
        entry[WaitingField.lead] = lead.high
        entry[WaitingField.lead + 8] = lead.low
        entry.addText(subject)
        entry.addText(row.text(Self.channelText, in: Self.layout))
        entry.addText(row.text(Self.queueText, in: Self.layout))
    }

    private static func isWaiting(_ state: LeadState) -> Bool {
        state.custody == .inbox || state.custody == .queue
    }

    static let layout = RowLayout(version: 1, fixedBytes: 48, textCount: 2)
    private static let channelText = 0
    private static let queueText = 1

    private enum Field {
        static let state = 8
        static let since = 16
        static let sincePosition = 24
        static let capturedAt = 32
        static let capturedPosition = 40
    }

    static let waitingLayout = RowLayout(version: 1, fixedBytes: 24, textCount: 3)

    enum WaitingField {
        static let stage = 1
        static let custody = 2
        static let lead = 8
    }
}
