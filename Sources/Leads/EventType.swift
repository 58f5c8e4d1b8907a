// The events of the log, and the two bytes by which a record's header names them.
//
// Invariants:
//   codes-are-forever   A code is on disk in every record, and in the index by way of the state it led to. A code is never given
//                       another meaning and never reused; new events take free codes in the group they belong to.
//   zero-is-nothing     Code 0 names no event, so a header of zeros is never one.
//   streams-by-code     Codes below 128 are of leads; those from there on are of other streams (`EventType.stream`).
//   header-is-enough    Type and variant together are all the lifecycle reads of an event, besides whether it is backfilled: the
//                       index is rebuilt from headers without parsing any JSON.

/// What a stream is about; with the subject it names the stream. The raw values are on disk.
package enum StreamKind: UInt8, CaseIterable, Sendable {
    case lead = 0
    case policy = 1
    case member = 2
    case pool = 3

    package var name: StaticString {
        switch self {
        case .lead: "lead"
        case .policy: "policy"
        case .member: "member"
        case .pool: "pool"
        }
    }
}

/// A kind of event.
package enum EventType: UInt8, CaseIterable, Sendable {
    // What comes in about a lead.
    case captured = 1
    case touched = 2
    case enriched = 3
    case scored = 4
    case noted = 5
    case duplicateSuspected = 6

    // Handoff from marketing.
    case marketingQualified = 16
    case offered = 17
    case accepted = 18
    case rejected = 19

    // Custody.
    case queued = 32
    case assigned = 33
    case claimed = 34
    case leaseEnded = 35
    case released = 36
    case nurtureEnrolled = 37
    case nurtureStepped = 38
    case nurtureExited = 39
    case escalated = 40
    case inboxAlarmed = 41

    // Work.
    case contactAttempted = 48
    case contacted = 49
    case qualified = 50
    case opportunityOpened = 51

    // Ends and what undoes them.
    case won = 64
    case wonRevised = 65
    case lost = 66
    case disqualified = 67
    case recycled = 68
    case reopened = 69

    // Response clocks.
    case clockStarted = 80
    case clockPaused = 81
    case clockResumed = 82
    case clockMet = 83
    case clockBreached = 84
    case clockStopped = 85
    case clockReplaced = 86

    // Identity.
    case merged = 96
    case unmerged = 97
    case erased = 98

    // Rule sets, on their policy's stream.
    case policyPart = 128
    case policyPublished = 129
    case policyApproved = 130
    case policyActivated = 131
    case policyRolledBack = 132

    // The sales team, on their member's stream.
    case memberPaused = 144
    case memberResumed = 145
    case memberOnLeave = 146
    case memberReturned = 147

    // On their pool's stream.
    case poolDecisionVoided = 160
}

extension EventType {
    /// The name on the wire, `lead.captured`.
    package var name: String { staticName.description }

    package var staticName: StaticString {
        switch self {
        case .captured: "lead.captured"
        case .touched: "lead.touched"
        case .enriched: "lead.enriched"
        case .scored: "lead.scored"
        case .noted: "lead.noted"
        case .duplicateSuspected: "lead.duplicate_suspected"
        case .marketingQualified: "lead.marketing_qualified"
        case .offered: "lead.offered"
        case .accepted: "lead.accepted"
        case .rejected: "lead.rejected"
        case .queued: "lead.queued"
        case .assigned: "lead.assigned"
        case .claimed: "lead.claimed"
        case .leaseEnded: "lead.lease_ended"
        case .released: "lead.released"
        case .nurtureEnrolled: "lead.nurture_enrolled"
        case .nurtureStepped: "lead.nurture_stepped"
        case .nurtureExited: "lead.nurture_exited"
        case .escalated: "lead.escalated"
        case .inboxAlarmed: "lead.inbox_alarmed"
        case .contactAttempted: "lead.contact_attempted"
        case .contacted: "lead.contacted"
        case .qualified: "lead.qualified"
        case .opportunityOpened: "lead.opportunity_opened"
        case .won: "lead.won"
        case .wonRevised: "lead.won_revised"
        case .lost: "lead.lost"
        case .disqualified: "lead.disqualified"
        case .recycled: "lead.recycled"
        case .reopened: "lead.reopened"
        case .clockStarted: "lead.clock_started"
        case .clockPaused: "lead.clock_paused"
        case .clockResumed: "lead.clock_resumed"
        case .clockMet: "lead.clock_met"
        case .clockBreached: "lead.clock_breached"
        case .clockStopped: "lead.clock_stopped"
        case .clockReplaced: "lead.clock_replaced"
        case .merged: "lead.merged"
        case .unmerged: "lead.unmerged"
        case .erased: "lead.erased"
        case .policyPart: "policy.part"
        case .policyPublished: "policy.published"
        case .policyApproved: "policy.approved"
        case .policyActivated: "policy.activated"
        case .policyRolledBack: "policy.rolled_back"
        case .memberPaused: "member.paused"
        case .memberResumed: "member.resumed"
        case .memberOnLeave: "member.on_leave"
        case .memberReturned: "member.returned"
        case .poolDecisionVoided: "pool.decision_voided"
        }
    }

    /// Whether the daemon knows this event today. The others have their code and their row in the lifecycle already.
    package var isSupported: Bool {
        switch self {
        case .scored, .duplicateSuspected, .nurtureEnrolled, .nurtureStepped, .nurtureExited, .merged, .unmerged,
            .erased:
            false
        default: true
        }
    }

    /// Whether the daemon alone says it: `x-emitted-by` in its schema. Users reach it through a method.
    package var isReserved: Bool {
        switch self {
        case .claimed, .leaseEnded, .escalated, .inboxAlarmed: true
        default: isOfClock || stream != .lead
        }
    }

    /// Whether the lead's state is after it what it was before, whatever that was. True of most events that are sent.
    package var leavesState: Bool {
        switch self {
        case .touched, .enriched, .scored, .noted, .duplicateSuspected, .wonRevised, .escalated, .inboxAlarmed,
            .nurtureStepped:
            true
        default: isOfClock
        }
    }

    /// Whether it is about a response clock.
    package var isOfClock: Bool {
        switch self {
        case .clockStarted, .clockPaused, .clockResumed, .clockMet, .clockBreached, .clockStopped, .clockReplaced: true
        default: false
        }
    }

    /// Whose events these are.
    package var stream: StreamKind {
        switch rawValue {
        case ..<128: .lead
        case ..<144: .policy
        case ..<160: .member
        default: .pool
        }
    }

    /// The stage whose crossing this event marks, for the funnel; nil for events that mark none.
    package var stageReached: Stage? {
        switch self {
        case .captured: .captured
        case .marketingQualified: .mql
        case .offered: .offered
        case .accepted: .accepted
        case .contactAttempted: .working
        case .contacted: .contacted
        case .qualified: .qualified
        case .opportunityOpened: .opportunity
        case .won: .won
        case .lost: .lost
        case .disqualified: .disqualified
        default: nil
        }
    }

    /// The event named by these UTF-8 bytes; nil if there is none. A supported one or not: ask `isSupported`.
    package init?(utf8 name: UnsafeRawBufferPointer) {
        guard let found = EventNames.table.find(name) else { return nil }
        self = found
    }

    package init?(name: String) {
        var name = name
        guard let found = name.withUTF8({ EventType(utf8: UnsafeRawBufferPointer($0)) }) else { return nil }
        self = found
    }
}

/// What the lifecycle needs to know of an event's data besides its type. On disk beside the type code: the same rules hold.
///
/// Only some pairs mean something; any other event carries `.plain`. Whatever else stands in the data does not move a lead.
package enum EventVariant: UInt8, CaseIterable, Sendable {
    case plain = 0
    /// `contact_attempted`, `contacted`: sent by a machine (`automatic: true`), so nobody took the lead by it.
    case automatic = 1
    /// `reopened`, by its `kind`.
    case resume = 2
    case unWin = 3
    case newBusiness = 4
    /// `recycled` with `to: nurture`; `.plain` goes to the inbox.
    case toNurture = 5

    /// From `kind` of `lead.reopened`.
    package init?(reopenedKind kind: String) {
        switch kind {
        case "resume": self = .resume
        case "un_win": self = .unWin
        case "new_business": self = .newBusiness
        default: return nil
        }
    }

    /// From `to` of `lead.recycled`, which may be absent.
    package init?(recycledTo place: String?) {
        switch place {
        case nil, "inbox": self = .plain
        case "nurture": self = .toNurture
        default: return nil
        }
    }

    /// Whether a header may hold this variant beside that type.
    package func isValid(for type: EventType) -> Bool {
        switch self {
        case .plain: type != .reopened
        case .automatic: type == .contactAttempted || type == .contacted
        case .resume, .unWin, .newBusiness: type == .reopened
        case .toNurture: type == .recycled
        }
    }

    /// All variants of a type, the plain one first where there is one.
    package static func all(of type: EventType) -> [EventVariant] {
        allCases.filter { $0.isValid(for: type) }
    }

    /// The word that stands in the data, where there is one: `un_win`.
    package var word: String {
        switch self {
        case .plain: "plain"
        case .automatic: "automatic"
        case .resume: "resume"
        case .unWin: "un_win"
        case .newBusiness: "new_business"
        case .toNurture: "nurture"
        }
    }
}

/// Finds a type by its name: every name has at least 8 bytes and no two agree in both length and last 8 bytes, so one
/// unaligned load gives the hash; a hit is then compared in full.
private struct EventNames: Sendable {
    static let table = EventNames()

    /// Event codes by hash, 0 where empty; a quarter full at most, so that probes stay short.
    private var slots: [UInt8]

    private init() {
        slots = Array(repeating: 0, count: 256)
        for type in EventType.allCases {
            let name = UnsafeRawBufferPointer(
                start: type.staticName.utf8Start, count: type.staticName.utf8CodeUnitCount)
            var slot = EventNames.slot(of: name)
            while slots[slot] != 0 { slot = (slot + 1) & 255 }
            slots[slot] = type.rawValue
        }
    }

    func find(_ name: UnsafeRawBufferPointer) -> EventType? {
        guard name.count >= 8 else { return nil }
        var slot = EventNames.slot(of: name)
        while let type = EventType(rawValue: slots[slot]) {
            if EventNames.isEqual(name, type.staticName) { return type }
            slot = (slot + 1) & 255
        }
        return nil
    }

    private static func slot(of name: UnsafeRawBufferPointer) -> Int {
        let tail = UInt64(littleEndian: name.loadUnaligned(fromByteOffset: name.count - 8, as: UInt64.self))
        let mixed = (tail &+ UInt64(name.count)) &* 0x9E37_79B9_7F4A_7C15
        return Int(truncatingIfNeeded: mixed >> 56)
    }

    private static func isEqual(_ name: UnsafeRawBufferPointer, _ known: StaticString) -> Bool {
        guard name.count == known.utf8CodeUnitCount else { return false }
        let known = UnsafeRawBufferPointer(start: known.utf8Start, count: known.utf8CodeUnitCount)
        var offset = 0
        while offset + 8 <= name.count {
            guard load(name, offset) == load(known, offset) else { return false }
            offset += 8
        }
        return load(name, name.count - 8) == load(known, name.count - 8)
    }

    private static func load(_ bytes: UnsafeRawBufferPointer, _ offset: Int) -> UInt64 {
        bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
    }
}
