import Testing

@testable import Leads

@Suite struct EventTypeTests {
    /// On disk: a line of this table never changes.
    static let codes: [(String, UInt8)] = [
        ("lead.captured", 1), ("lead.touched", 2), ("lead.enriched", 3), ("lead.scored", 4), ("lead.noted", 5),
        ("lead.duplicate_suspected", 6),
        ("lead.marketing_qualified", 16), ("lead.offered", 17), ("lead.accepted", 18), ("lead.rejected", 19),
        ("lead.queued", 32), ("lead.assigned", 33), ("lead.claimed", 34), ("lead.lease_ended", 35),
        ("lead.released", 36),
        ("lead.nurture_enrolled", 37), ("lead.nurture_stepped", 38), ("lead.nurture_exited", 39),
        ("lead.escalated", 40),
        ("lead.inbox_alarmed", 41),
        ("lead.contact_attempted", 48), ("lead.contacted", 49), ("lead.qualified", 50), ("lead.opportunity_opened", 51),
        ("lead.won", 64), ("lead.won_revised", 65), ("lead.lost", 66), ("lead.disqualified", 67), ("lead.recycled", 68),
        ("lead.reopened", 69),
        ("lead.clock_started", 80), ("lead.clock_paused", 81), ("lead.clock_resumed", 82), ("lead.clock_met", 83),
        ("lead.clock_breached", 84), ("lead.clock_stopped", 85), ("lead.clock_replaced", 86),
        ("lead.merged", 96), ("lead.unmerged", 97), ("lead.erased", 98),
        ("policy.part", 128), ("policy.published", 129), ("policy.approved", 130), ("policy.activated", 131),
        ("policy.rolled_back", 132),
        ("member.paused", 144), ("member.resumed", 145), ("member.on_leave", 146), ("member.returned", 147),
        ("pool.decision_voided", 160),
    ]

    @Test func `The codes on disk are what they were`() {
        #expect(EventType.allCases.count == EventTypeTests.codes.count)
        for (name, code) in EventTypeTests.codes {
            #expect(EventType(rawValue: code)?.name == name)
            #expect(EventType(name: name)?.rawValue == code)
        }
        #expect(EventType(rawValue: 0) == nil)
    }

    @Test(arguments: [
        "", "lead", "lead.", "lead.wo", "lead.wonn", "lead.WON", "Lead.won", "lead.wons", "xlead.won", "lead.qualifieD",
        "lead.clock_", "policy.publishex", "lead.marketing_qualifiex", "laad.marketing_qualified",
    ])
    func `A name that is no event's is not found`(name: String) {
        #expect(EventType(name: name) == nil)
    }

    @Test func `The variants on disk are what they were, and each belongs to its events only`() {
        #expect(EventVariant.allCases.map(\.rawValue) == [0, 1, 2, 3, 4, 5])
        #expect(EventVariant.all(of: .reopened) == [.resume, .unWin, .newBusiness])
        #expect(EventVariant.all(of: .recycled) == [.plain, .toNurture])
        #expect(EventVariant.all(of: .contacted) == [.plain, .automatic])
        #expect(EventVariant.all(of: .contactAttempted) == [.plain, .automatic])
        #expect(EventVariant.all(of: .won) == [.plain])
        #expect(EventVariant(reopenedKind: "un_win") == .unWin)
        #expect(EventVariant(reopenedKind: "plain") == nil)
        #expect(EventVariant(recycledTo: nil) == .plain)
        #expect(EventVariant(recycledTo: "inbox") == .plain)
        #expect(EventVariant(recycledTo: "nurture") == .toNurture)
        #expect(EventVariant(recycledTo: "queue") == nil)
    }
}
