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

    package func apply(_ event: ProjectedEvent, in transaction: inout WriteTransaction) throws {
        let lead = event.streamKey
        let row = event.scratch.row
        let (leads, waiting) = (leads, waiting)

        // 1. The lead as it was.
        let stored = try lead.withBytes { (key) throws(LMDBError) in try transaction.unsafeValue(in: leads, at: key) }
        if let stored { row.load(stored) } else { row.begin(Self.layout) }
        let before = stored == nil ? nil : LeadState(trusted: row[Field.state])
        let after = try before.evolved(by: event)
        let wasWaiting = before.map(Self.isWaiting) ?? false
        let since = Occurrence(time: Instant(microseconds: row[Field.since]), position: row[Field.sincePosition])

        // 2. What it is known by, and where it is. Most events change none of it, and stop here.
        var hasMoved = before?.custody != after.custody || before?.cycle != after.cycle
        var hasChanged = before != after
        if event.type == .captured {
            let earliest = Occurrence(
                time: Instant(microseconds: row[Field.capturedAt]), position: row[Field.capturedPosition])
            if stored == nil || event.occurrence < earliest {
                row[Field.capturedAt] = event.instant
                row[Field.capturedPosition] = event.position
                row.setText(Self.channelText, try event.data().dimension("channel"), in: Self.layout)
                hasChanged = true
            }
        } else if event.type == .queued {
            let queue = try event.data().text("queue")
            // The row's own bytes are compared before they change.
            if !row.hasText(Self.queueText, queue, in: Self.layout) {
                row.setText(Self.queueText, queue, in: Self.layout)
                (hasMoved, hasChanged) = (true, true)
            }
        }
        guard hasChanged else { return }
        if after.custody != .queue, after.custody != .leased { row.setText(Self.queueText, .empty, in: Self.layout) }
        row[Field.state] = after.rawValue

        // 3. Its place in the line.
        let isWaiting = Self.isWaiting(after)
        let staysInPlace = wasWaiting && isWaiting && !hasMoved
        if wasWaiting, !staysInPlace {
            try since.withKey { (key) throws(LMDBError) in _ = try transaction.delete(in: waiting, at: key) }
        }
        if !staysInPlace {
            row[Field.since] = isWaiting ? event.instant : 0
            row[Field.sincePosition] = isWaiting ? event.position : 0
        }
        if isWaiting {
            let entry = event.scratch.otherRow
            entry.begin(Self.waitingLayout)
            entry[WaitingField.stage] = after.stage.rawValue
            entry[WaitingField.custody] = after.custody.rawValue
            entry[WaitingField.lead] = lead.high
            entry[WaitingField.lead + 8] = lead.low
            entry.setText(0, event.subject, in: Self.waitingLayout)
            entry.setText(1, row.text(Self.channelText, in: Self.layout), in: Self.waitingLayout)
            entry.setText(2, row.text(Self.queueText, in: Self.layout), in: Self.waitingLayout)
            try (staysInPlace ? since : event.occurrence).withKey { (key) throws(LMDBError) in
                try transaction.put(entry.bytes, in: waiting, at: key)
            }
        }
        try lead.withBytes { (key) throws(LMDBError) in try transaction.put(row.bytes, in: leads, at: key) }
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
