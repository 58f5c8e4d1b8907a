import Foundation
import Leads
import Ledger
import TestSupport
import Testing

@testable import LeadLedger

/// What the desk owes to a lead though nobody asks at the time: each case here was once found by a random history.
@Suite(.timeLimit(.minutes(10))) final class DeskObligationTests {
    private let place: DeskPlace

    init() throws { place = try DeskPlace(zones: TimeZoneDatabase()) }
    deinit { place.close() }

    private func rules(_ members: [String], pools: [(String, [String])], _ more: String = "") -> String {
        var text = "policy: sales\nseed: s\n\(more)\nmembers:\n"
        for id in members { text += "  - { id: \(id) }\n" }
        text += "pools:\n"
        for (id, members) in pools { text += "  - { id: \(id), members: [\(members.joined(separator: ", "))] }\n" }
        if pools.count > 1 {
            text += "territories: [{ id: brazil, when: 'country == \"BR\"', pool: \(pools[0].0) }]\n"
        }
        return text + "catch_all: \(pools.last!.0)\n"
    }

    /// Publishes a rule set and has it in force from so many seconds on.
    private func enforce(_ text: String, in seconds: Int64) throws {
        let version = try #require(try place.wait(for: place.publish(text)).get()["version"].integer)
        let at = place.clock.instant.advanced(byMicroseconds: seconds * 1_000_000)
        _ = try place.answer { .activate("sales", version: UInt64(version), at: at, note: nil, actor: 7, $0) }.get()
    }

    private func pass(seconds: Int64) throws {
        place.clock.advance(seconds * 1_000_000)
        try place.rest()
    }

    private func standing(_ lead: String) throws -> (custody: String, with: String) {
        let router = try place.state().router
        let record = router[router.lead(RoutingKey(StreamKey(.lead, lead)))]
        let custody = record.state.custody
        return (custody.name, custody == .queue ? router.id(of: record.queue) : router.id(of: record.holder))
    }

    private func capture(_ lead: String, _ more: String = "", isBackfill: Bool = false) throws {
        var event = ForeignEvent(.captured, lead, #""channel":"web""# + more)
        event.isBackfill = isBackfill
        try place.append([event])
        try place.rest()
    }

    @Test func `a backfilled lead that is recycled in the inbox is decided`() throws {
        try place.enforce(rules(["ann"], pools: [("all", ["ann"])]))
        try capture("old", isBackfill: true)
        #expect(try standing("old").custody == "inbox")
        try place.append([ForeignEvent(.recycled, "old", #""reason":"again""#)])
        try place.rest()
        #expect(try standing("old") == ("owner", "ann"))
        // What is backfilled takes no decision away that is asked for already.
        place.ambush([[ForeignEvent(.touched, "old", #""channel":"web","kind":"visit""#)]])
        try capture("new")
        #expect(try standing("new") == ("owner", "ann"))
    }

    @Test func `leads that came between the announcement of a leave and its beginning go back as well`() throws {
        try place.enforce(rules(["ann", "bob"], pools: [("brazil", ["ann"]), ("all", ["bob"])], "on_leave: queue"))
        let from = place.clock.instant.advanced(byMicroseconds: 3_600_000_000)
        _ = try place.answer {
            .presence(.memberOnLeave, of: "ann", reason: nil, from: from, actor: 7, $0)
        }.get()
        try capture("L1", #","country":"BR""#)
        #expect(try standing("L1") == ("owner", "ann"))
        try pass(seconds: 3_601)
        #expect(try standing("L1") == ("queue", "brazil"))
    }

    @Test func `whoever a planned rule set does not know gives back what they have when its instant comes`() throws {
        try place.enforce(rules(["ann"], pools: [("all", ["ann"])]))
        try enforce(rules(["bob"], pools: [("all", ["bob"])]), in: 600)
        // Recorded later, in force earlier: it knows somebody of whom the planned one was never told.
        try enforce(rules(["ann", "cat"], pools: [("all", ["cat"])]), in: 60)
        try capture("L1")
        #expect(try standing("L1") == ("owner", "ann"))
        try pass(seconds: 61)
        try capture("L2")
        #expect(try standing("L2") == ("owner", "cat"))
        try pass(seconds: 600)
        #expect(try standing("L1") == ("owner", "bob"))
        #expect(try standing("L2") == ("owner", "bob"))
    }

    @Test func `leads in the queue of a pool that is no more are located anew`() throws {
        try place.enforce(rules(["ann", "bob"], pools: [("gone", ["ann"]), ("all", ["bob"])]))
        _ = try place.answer { .presence(.memberPaused, of: "ann", reason: nil, actor: 7, $0) }.get()
        try capture("L1", #","country":"BR""#)
        #expect(try standing("L1") == ("queue", "gone"))
        try enforce(rules(["ann", "bob"], pools: [("all", ["bob"])]), in: 1)
        try pass(seconds: 2)
        #expect(try standing("L1") == ("owner", "bob"))
    }

    @Test func `queues are looked at although the clock was set back`() throws {
        try place.enforce(rules(["ann"], pools: [("all", ["ann"])]))
        try pass(seconds: 7_200)
        _ = try place.answer { .presence(.memberPaused, of: "ann", reason: nil, actor: 7, $0) }.get()
        try capture("L1")
        #expect(try standing("L1") == ("queue", "all"))
        place.clock.advance(-240_000_000)
        // No event tells of the end of this one. Instants stand still until the clock has caught up with what is recorded.
        let until = place.clock.instant.advanced(byMicroseconds: 241_000_000)
        _ = try place.answer { .presence(.memberPaused, of: "ann", reason: nil, until: until, actor: 7, $0) }.get()
        try place.rest()
        #expect(try standing("L1") == ("queue", "all"))
        try pass(seconds: 242)
        #expect(try standing("L1") == ("owner", "ann"))
    }

    /// - Parameter reading: of the clock, after which others write: one of them lies between what the desk has read of the lead and what
    ///   it says of its clocks.
    @Test(arguments: 1...6)
    func `a clock that was started is stopped when the lead changes hands, whoever writes meanwhile`(
        reading: Int
    ) throws {
        try place.enforce(
            rules(
                ["ann", "bob"], pools: [("all", ["ann", "bob"])],
                "cadences: [{ id: try, attempts: [0, 1h], then: queue }]"
            ).replacingOccurrences(of: "bob] }", with: "bob], cadence: try }"))
        let release = ForeignEvent(.released, "L1", #""reason":"no time""#)
        let offer = ForeignEvent(.offered, "L1", #""to":"ann""#)
        place.ambush([[offer], [release]], after: reading)
        try capture("L1")
        let said = try PlainEvent.all(of: place.log).filter { $0.data["clock"].string == "follow_up" }
        let starts = said.count { $0.type == .clockStarted }
        #expect(starts > 0 && starts - 1 == said.count { $0.type == .clockStopped }, "\(said)")
    }
}
