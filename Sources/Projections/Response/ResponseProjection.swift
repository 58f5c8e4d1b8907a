package import LMDB
import Leads
import Ledger

// The model `response`: the response clocks of all leads, and how far somebody took care of each lead.
//
// leads    key    0 16 stream key
//          value  0  1 version of this layout = 1
//                 1  1 flags: bit 0 no lead (disqualified as spam or duplicate, as long as that stands)
//                             bit 1 was owned, bit 2 was attempted by a person, bit 3 was contacted by a person
//                 2  1 the furthest open stage it was ever in, history included
//                 3  5 zero
//                 8  8 lifecycle state
//                16  8 instant of the earliest capture
//                24  8 position of the earliest capture
//                32  8 due instant of the first response that is waited for; 2^63 - 1 where none is, or none is due
//                40 80 for each kind of clock its newest one: instant of the start, position of its clock_started;
//                      zero where there was none
//               120    texts: id, owner, channel, source, campaign
// clocks   key    0 16 stream key
//                16  8 instant of the start, with the sign bit turned round so that it sorts
//                24  8 position of its clock_started
//          value  0  1 version of this layout = 1
//                 1  1 kind: ResponseClockKind
//                 2  1 state: ClockState
//                 3  1 flags: bit 0 breached, and not corrected since; bit 1 answered after it was due;
//                             bit 2 stopped unanswered, the lead being none; bit 3 its target is of wall time
//                 4  4 zero
//                 8  8 position of the rule set that its calendar is of
//                16  8 due instant; 2^63 - 1 where there is none, as while it is paused
//                24  8 since: instant at which what follows held, that of the last event
//                32  8 microseconds since the start, wall
//                40  8 the same in business time
//                48    texts: calendar, holder (both as in its events), owner of the lead when it was answered or stopped
//
// The marketing fields are those of the earliest capture by (instant, position). The owner is the last one there was.
package struct ResponseProjection: Projection {
    package static let name = "response"
    package static let version = 1
    package static let computes =
        "clocks with start, due, elapsed, answer or stop; owner, furthest stage, first care of each lead; leads 1, clocks 1"
    package static let tableNames = ["leads", "clocks"]

    let leads: Table
    let clocks: Table

    package init(tables: [Table]) {
        leads = tables[0]
        clocks = tables[1]
    }

    /// Reasons that say there was no lead (SEMANTICS 6): whoever did not answer it has missed nothing.
    static func meansNoLead(_ reason: UnsafeRawBufferPointer) -> Bool {
        reason.elementsEqual("spam".utf8) || reason.elementsEqual("duplicate".utf8)
    }

    package func apply(
        _ events: EventRun, with scratch: ProjectionScratch, in transaction: inout WriteTransaction
    ) throws {
        let row = scratch.row
        var cursor = try transaction.makeWriteCursor(on: leads)
        for lead in events {
            // Touches, which most events are, change nothing here.
            guard lead.contains(where: { Self.counts($0.type) }) else { continue }
            try lead.key.withBytes { (key) throws(any Error) in
                let stored = try cursor.value(at: key)
                if let stored { row.load(stored) }
                var isKnown = stored != nil
                for event in lead where Self.counts(event.type) {
                    try event.locating {
                        if !isKnown { begin(row, event) }
                        try take(event, isFirst: !isKnown, row, clock: scratch.otherRow, in: &transaction)
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

    /// Whether an event of this type may change a row.
    private static func counts(_ type: EventType) -> Bool { !type.leavesState || type.isOfClock }

    private func begin(_ row: RowBuffer, _ event: ProjectedEvent) {
        row.begin(Self.layout)
        row[Field.responseDue] = Int64.max
        row.setText(Text.id, event.subject, in: Self.layout)
    }

    private func take(
        _ event: ProjectedEvent, isFirst: Bool, _ row: RowBuffer, clock: RowBuffer,
        in transaction: inout WriteTransaction
    ) throws {
        // 1. Where the lead stands.
        let before = isFirst ? nil : LeadState(trusted: row[Field.state])
        let after = try before.evolved(by: event)
        row[Field.state] = after.rawValue
        if let stage = event.type.stageReached, stage.isOpen, stage.rawValue > row[Field.furthest, as: UInt8.self] {
            row[Field.furthest] = stage.rawValue
        }

        // 2. Who took care of it.
        switch event.type {
        case .captured: try capture(event, isFirst: isFirst, row)
        case .assigned:
            row.setText(Text.owner, try event.text(.member), in: Self.layout)
            set(LeadFlags.owned, row)
        case .contactAttempted, .contacted:
            if after.custody == .owner, before?.custody != .owner {
                row.setText(Text.owner, try event.text(.by), in: Self.layout)
                set(LeadFlags.owned, row)
            }
            if event.variant != .automatic {
                set(event.type == .contacted ? [.attempted, .contacted] : .attempted, row)
            }
        case .disqualified:
            if Self.meansNoLead(try event.text(.reason)) { set(.isNone, row) }
        case .reopened, .recycled:
            row[Field.flags] = row[Field.flags, as: UInt8.self] & ~LeadFlags.isNone.rawValue
        // 3. Its clocks.
        case let type where type.isOfClock:
            try takeClock(event, row, clock, in: &transaction)
        default: break
        }
    }

    private func set(_ flags: LeadFlags, _ row: RowBuffer) {
        row[Field.flags] = row[Field.flags, as: UInt8.self] | flags.rawValue
    }

    private func capture(_ event: ProjectedEvent, isFirst: Bool, _ row: RowBuffer) throws {
        let known = Occurrence(
            time: Instant(microseconds: row[Field.capturedAt]), position: row[Field.capturedPosition])
        guard isFirst || event.occurrence < known else { return }
        row[Field.capturedAt] = event.instant
        row[Field.capturedPosition] = event.position
        row.setText(Text.channel, try event.text(.channel), in: Self.layout)
        row.setText(Text.source, try event.text(.source), in: Self.layout)
        row.setText(Text.campaign, try event.text(.campaign), in: Self.layout)
    }

    // MARK: Clocks

    /// Changes the newest clock of the kind that the event names, or begins another one.
    private func takeClock(
        _ event: ProjectedEvent, _ lead: RowBuffer, _ clock: RowBuffer, in transaction: inout WriteTransaction
    ) throws {
        let facts = try event.clock()
        let field = Field.newest(facts.kind)
        let newest = Occurrence(time: Instant(microseconds: lead[field]), position: lead[field + 8])
        // A lead's first event is its capture, so no clock starts at position 0.
        if newest.position > 0 { try load(newest, of: event.lead, into: clock, in: transaction) }
        var place = newest
        if event.type == .clockStarted {
            if newest.position > 0 { try giveWay(clock, newest, at: facts.at, of: event.lead, in: &transaction) }
            place = Occurrence(time: Instant(microseconds: facts.at), position: event.position)
            lead[field] = facts.at
            lead[field + 8] = event.position
            begin(clock, facts)
        } else {
            guard newest.position > 0 else {
                throw BadEvent("no clock \(facts.kind.name) of its lead was ever started")
            }
            change(clock, by: event, facts, lead)
        }
        try put(clock, place, of: event.lead, in: &transaction)
        if facts.kind == .firstResponse {
            let isRunning = clock[ClockField.state] == ClockState.running.rawValue
            lead[Field.responseDue] = isRunning ? clock[ClockField.due, as: Int64.self] : .max
        }
    }

    private func load(
        _ place: Occurrence, of lead: StreamKey, into clock: RowBuffer, in transaction: borrowing WriteTransaction
    ) throws {
        let table = clocks
        let stored = try lead.withKey(place) { (key) throws(LMDBError) in
            try transaction.unsafeValue(in: table, at: key)
        }
        guard let stored else { throw ProjectionError.brokenRow }
        clock.load(stored)
    }

    private func put(
        _ clock: RowBuffer, _ place: Occurrence, of lead: StreamKey, in transaction: inout WriteTransaction
    ) throws {
        try lead.withKey(place) { (key) throws(LMDBError) in try transaction.put(clock.bytes, in: clocks, at: key) }
    }

    private func begin(_ clock: RowBuffer, _ facts: ClockFacts) {
        clock.begin(Self.clockLayout)
        clock[ClockField.kind] = facts.kind.rawValue
        clock[ClockField.state] = ClockState.running.rawValue
        clock[ClockField.since] = facts.at
        setRule(clock, facts)
    }

    private func setRule(_ clock: RowBuffer, _ facts: ClockFacts) {
        clock[ClockField.ruleSet] = facts.ruleSet
        clock[ClockField.due] = facts.due
        setFlag(.isWall, facts.isWall, clock)
        clock.setText(ClockText.calendar, facts.calendar, in: Self.clockLayout)
        clock.setText(ClockText.holder, facts.holder, in: Self.clockLayout)
    }

    /// One that still runs when another of its kind starts waits for nobody any more: it counts as stopped then, with the business
    /// time that was last known of it.
    private func giveWay(
        _ clock: RowBuffer, _ place: Occurrence, at instant: Int64, of lead: StreamKey,
        in transaction: inout WriteTransaction
    ) throws {
        guard ClockState(rawValue: clock[ClockField.state])?.isOpen == true else { return }
        let since: Int64 = clock[ClockField.since]
        clock[ClockField.state] = ClockState.stopped.rawValue
        if instant > since {
            clock[ClockField.wall] = clock[ClockField.wall, as: Int64.self] &+ (instant &- since)
            clock[ClockField.since] = instant
        }
        try put(clock, place, of: lead, in: &transaction)
    }

    private func change(_ clock: RowBuffer, by event: ProjectedEvent, _ facts: ClockFacts, _ lead: RowBuffer) {
        func reach(_ instant: Int64) {
            clock[ClockField.since] = instant
            clock[ClockField.wall] = facts.wall
            clock[ClockField.business] = facts.business
        }
        func become(_ state: ClockState) { clock[ClockField.state] = state.rawValue }
        switch event.type {
        case .clockPaused:
            become(.paused)
            clock[ClockField.due] = Int64.max
            reach(event.instant)
        case .clockResumed:
            become(.running)
            clock[ClockField.due] = facts.due
            setFlag(.wasNone, false, clock)
            reach(event.instant)
        case .clockReplaced:
            setRule(clock, facts)
            reach(event.instant)
        case .clockBreached:
            setFlag(.breached, true, clock)
            clock[ClockField.due] = facts.due
        case .clockStopped:
            become(.stopped)
            setFlag(.wasNone, lead[Field.flags, as: UInt8.self] & LeadFlags.isNone.rawValue != 0, clock)
            clock.setText(ClockText.owner, lead.text(Text.owner, in: Self.layout), in: Self.clockLayout)
            reach(facts.at)
        case .clockMet:
            become(.met)
            setFlag(.wasNone, false, clock)
            setFlag(.late, facts.isLate, clock)
            // One that was recorded late, but timed before the due instant, corrects the breach.
            if !facts.isLate { setFlag(.breached, false, clock) }
            clock.setText(ClockText.owner, lead.text(Text.owner, in: Self.layout), in: Self.clockLayout)
            reach(facts.at)
        default: preconditionFailure("\(event.type.name) is no event of a clock")
        }
    }

    private func setFlag(_ flag: ClockFlags, _ isOn: Bool, _ clock: RowBuffer) {
        let before: UInt8 = clock[ClockField.flags]
        clock[ClockField.flags] = isOn ? before | flag.rawValue : before & ~flag.rawValue
    }

    // MARK: Rows

    static let layout = RowLayout(version: 1, fixedBytes: 120, textCount: 5)

    struct LeadFlags: OptionSet {
        var rawValue: UInt8
        static let isNone = LeadFlags(rawValue: 1)
        static let owned = LeadFlags(rawValue: 2)
        static let attempted = LeadFlags(rawValue: 4)
        static let contacted = LeadFlags(rawValue: 8)
    }

    enum Field {
        static let flags = 1
        static let furthest = 2
        static let state = 8
        static let capturedAt = 16
        static let capturedPosition = 24
        static let responseDue = 32

        /// Of the newest clock of a kind: 8 bytes start, 8 bytes position.
        static func newest(_ kind: ResponseClockKind) -> Int { 40 + 16 * (Int(kind.rawValue) - 1) }
    }

    enum Text {
        static let id = 0
        static let owner = 1
        static let channel = 2
        static let source = 3
        static let campaign = 4
    }

    static let clockLayout = RowLayout(version: 1, fixedBytes: 48, textCount: 3)

    enum ClockState: UInt8 {
        case running = 1
        case paused = 2
        case stopped = 3
        case met = 4

        /// It waits for an answer.
        var isOpen: Bool { self == .running || self == .paused }
    }

    struct ClockFlags: OptionSet {
        var rawValue: UInt8
        static let breached = ClockFlags(rawValue: 1)
        static let late = ClockFlags(rawValue: 2)
        static let wasNone = ClockFlags(rawValue: 4)
        static let isWall = ClockFlags(rawValue: 8)
    }

    enum ClockField {
        static let kind = 1
        static let state = 2
        static let flags = 3
        static let ruleSet = 8
        static let due = 16
        static let since = 24
        static let wall = 32
        static let business = 40
    }

    enum ClockText {
        static let calendar = 0
        static let holder = 1
        static let owner = 2
    }
}

/// What of a lead the reports on response may be counted by.
package enum LeadDimension: String, CaseIterable, Sendable {
    case source, channel, campaign, owner

    /// Which text of a lead's row it is.
    var text: Int {
        switch self {
        case .owner: ResponseProjection.Text.owner
        case .channel: ResponseProjection.Text.channel
        case .source: ResponseProjection.Text.source
        case .campaign: ResponseProjection.Text.campaign
        }
    }
}
