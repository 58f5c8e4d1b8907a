import Leads
import Ledger
import Testing

@testable import LeadLedger

/// Whom an event concerns, as its record says it. What needs a daemon is in EndToEndTests.
@Suite struct NotificationsTests {
    private func notice(_ type: EventType, _ members: String) throws -> Notice? {
        let record = SampleRecord(type: type.rawValue, members: members, position: 7, version: 3)
        return try record.bytes.withUnsafeBytes { Notice(try RecordView(validating: $0)) }
    }

    @Test func `events of the group name their recipients, each once and in their order`() throws {
        let cases: [(EventType, String, Notice.Kind, [String])] = [
            (.assigned, #""member":"ana","mode":"push""#, .assigned, ["ana"]),
            (.assigned, #""mode":"p\"","member":"a\u0062\"c""#, .assigned, [#"ab"c"#]),
            (.escalated, #""step":1,"to":["b","a","b","\u0061"]"#, .escalated, ["b", "a"]),
            (.escalated, #""step":1"#, .escalated, []), (.escalated, #""to":[]"#, .escalated, []),
            // None that was stored, and no trap.
            (.assigned, "", .assigned, []), (.assigned, #""member":7"#, .assigned, []),
            (.escalated, #""to":"ana""#, .escalated, []), (.escalated, #""to":[1,null,"x"]"#, .escalated, ["x"]),
            (.escalated, #""to":["#, .escalated, []),
        ]
        for (type, members, kind, recipients) in cases {
            let notice = try notice(type, members)
            #expect(notice?.kind == kind && notice?.position == 7, "\(members)")
            #expect(notice?.audience == .members(recipients), "\(members)")
        }
        #expect(try notice(.inboxAlarmed, #""since":"x""#)?.audience == .nobodyNamed)
        guard case .holder(_, let version) = try notice(.clockBreached, "")?.audience else {
            Issue.record("a breach names nobody: whoever had the lead is looked up")
            return
        }
        #expect(version == 3)
    }

    @Test func `all other events tell nobody`() throws {
        let told: Set<EventType> = [.assigned, .escalated, .clockBreached, .inboxAlarmed]
        for type in EventType.allCases where !told.contains(type) {
            #expect(try notice(type, #""member":"ana","to":["ana"]"#) == nil, "\(type.name)")
        }
    }

    @Test func `the filter takes exactly the events that tell somebody, and none of the past`() throws {
        let filter = try NotificationGroup.definition(from: 0, createdAt: 0).eventFilter()
        for type in EventType.allCases {
            for isBackfill in [false, true] {
                let record = SampleRecord(type: type.rawValue, isBackfill: isBackfill)
                let matches = try record.bytes.withUnsafeBytes { filter.matches(try RecordView(validating: $0)) }
                #expect(matches == (try notice(type, "") != nil && !isBackfill), "\(type.name)")
            }
        }
    }

    @Test func `the holder is who has the lead by the lifecycle, at every step of its way`() throws {
        let steps: [(EventType, EventVariant, String, Bool, String?)] = [
            (.captured, .plain, "", false, nil), (.assigned, .plain, #""member":"ana""#, false, "ana"),
            // It has an owner: a contact by somebody else changes nothing.
            (.contacted, .plain, #""by":"bo""#, false, "ana"), (.released, .plain, #""reason":"x""#, false, nil),
            (.contactAttempted, .automatic, #""by":"robot""#, false, nil),
            (.contactAttempted, .plain, #""by":"past""#, true, nil),
            (.contactAttempted, .plain, #""by":"cy""#, false, "cy"), (.queued, .plain, #""queue":"q""#, false, nil),
            (.claimed, .plain, #""member":"dee""#, false, "dee"),
            // Not while it is leased: it was not stored by us, and is passed over.
            (.assigned, .plain, #""member":"eve""#, false, "dee"), (.leaseEnded, .plain, "", false, nil),
            (.assigned, .plain, #""member":"fay""#, false, "fay"), (.won, .plain, "", false, nil),
            (.reopened, .unWin, #""kind":"un_win""#, false, nil),
        ]
        var fold = LeadHolder.Fold()
        for (index, (type, variant, members, isBackfill, holder)) in steps.enumerated() {
            var bytes = SampleRecord(type: type.rawValue, members: members, isBackfill: isBackfill).bytes
            bytes[4] = variant.rawValue
            try bytes.withUnsafeBytes { fold.take(try RecordView(validating: $0)) }
            #expect(fold.holder == holder, "step \(index), \(type.name)")
        }
    }

    @Test func `a group of that name that somebody made has the filter of the program`() throws {
        let theirs = ConsumerDefinition(
            name: NotificationGroup.name, maxAttempts: 9, leaseNanoseconds: 1_000_000, from: 3, createdAt: 1,
            filter: Array(#"{"types":["lead.won"]}"#.utf8))
        var stored = StoredConsumer()
        for write in [
            ConsumerRegisters.write(theirs, NotificationGroup.prefix),
            ConsumerRegisters.write(floor: 3, NotificationGroup.prefix),
        ] {
            write.key.withUnsafeBytes { key in (write.value ?? []).withUnsafeBytes { stored.take(key, $0) } }
        }
        #expect(stored.wholeFault(prefix: NotificationGroup.prefix, end: 5) == nil)
        #expect(stored.definition?.filter == NotificationGroup.filter && stored.definition?.maxAttempts == 9)
    }
}
