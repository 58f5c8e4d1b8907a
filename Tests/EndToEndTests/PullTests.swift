import Glibc
import Synchronization
import TestSupport
import Testing

/// Leads that are claimed: leases, taking, giving back, and who gets what when many ask at once; and giving by hand.
@Suite(.timeLimit(.minutes(10))) struct PullTests {
    private let place = LedgerPlace()

    private func rules(_ members: [String], pull: String = "picking: true", more: String = "") -> String {
        RoutingPlace.rules(
            members: members.map { ($0, "") },
            pools: [("all", members, "push: false, pull: { \(pull) }")], more: more)
    }

    private func claim(_ client: LineClient, _ member: String, _ more: String = "") throws -> JSONTree {
        try client.ask("queue.claim", #"{"member":"\#(member)"\#(more)}"#)["claim"]
    }

    @Test func `a claim leases the next lead, and taking makes it an assignment that counts as a turn`() throws {
        let daemon = try place.serve()
        let client = try place.connect()
        try client.publish(rules(["ana", "bo"]))
        #expect(try claim(client, "ana") == .null)
        for lead in ["L1", "L2"] {
            try client.capture(lead)
            #expect(try client.history(lead, count: 2)[1]["data"]["reason"].string == "pull_only")
        }
        #expect(
            try client.ask("queue.peek", #"{"pool":"all"}"#)["leads"].elements.map { $0["lead"].string } == [
                "L1", "L2",
            ]
        )
        let lease = try claim(client, "ana")
        let token = lease["token"].string ?? ""
        #expect(lease["lead"].string == "L1" && lease["pool"].string == "all", "\(lease)")
        // Who comes second learns who has it.
        let held = try #require(try client.refusal("queue.claim", #"{"member":"bo","lead":"L1"}"#))
        #expect(held.name == "lead_held" && held.data["holder"].string == "ana", "\(held.data)")
        #expect(try client.refusal("queue.route", #"{"lead":"L1"}"#)?.name == "lead_held")
        // The log has no token, only what proves one.
        let claimed = try client.history("L1", count: 3)[2]
        #expect(!"\(claimed)".contains(token) && claimed["data"]["token_hash"].string?.count == 64)
        let taken = try client.ask("queue.take", #"{"token":"\#(token)","role":"sdr"}"#)
        #expect(taken["lead"].string == "L1" && taken["member"].string == "ana")
        let events = try client.history("L1", count: 5)
        #expect(events[3]["data"]["how"].string == "taken")
        let data = events[4]["data"]
        #expect(data["mode"].string == "pull" && data["role"].string == "sdr", "\(data)")
        #expect(data["decision"]["candidates"].elements.map { $0["gain"].integer } == [1 << 31, 1 << 31], "\(data)")
        for method in ["take", "heartbeat", "release"] {
            let more = method == "release" ? #","reason":"x""# : ""
            #expect(try client.refusal("queue.\(method)", #"{"token":"\#(token)"\#(more)}"#)?.name == "stale_lease")
        }
        // And back with a reason, at the same place of the queue.
        let other = try claim(client, "bo")["token"].string ?? ""
        try client.ask("queue.release", #"{"token":"\#(other)","reason":"too busy"}"#)
        let again = try client.ask("queue.peek", #"{"pool":"all"}"#)["leads"]
        #expect(again[0]["lead"].string == "L2" && again[0]["pulls"].integer == 1, "\(again)")
        #expect(try daemon.terminate() == .exited(0))
        #expect(try place.check().status == .exited(0))
    }

    @Test func `who was taken out of the rule set cannot keep what they have leased`() throws {
        let daemon = try place.serve()
        let client = try place.connect()
        try client.publish(rules(["ana", "bo"]))
        try client.capture("L1")
        _ = try client.history("L1", count: 2)
        let token = try claim(client, "bo", #","lease_seconds":5"#)["token"].string ?? ""
        try client.publish(rules(["ana"]))
        for method in ["take", "heartbeat"] {
            #expect(try client.refusal("queue.\(method)", #"{"token":"\#(token)"}"#)?.name == "unknown_member")
        }
        #expect(try client.history("L1", count: 4)[3]["data"]["how"].string == "expired")
        #expect(try claim(client, "ana")["lead"].string == "L1")
        #expect(try daemon.terminate() == .exited(0))
    }

    @Test func `a lease that runs out gives the lead back, and one that is extended does not, across a kill`() throws {
        var daemon = try place.serve()
        var client = try place.connect()
        try client.publish(rules(["ana", "bo"]))
        for lead in ["L1", "L2"] {
            try client.capture(lead)
            _ = try client.history(lead, count: 2)
        }
        // The one that is extended first: when the other has run out, its own end is past as well.
        let long = try claim(client, "bo", #","lease_seconds":4"#)["token"].string ?? ""
        try client.ask("queue.heartbeat", #"{"token":"\#(long)","lease_seconds":600}"#)
        let short = try claim(client, "ana", #","lease_seconds":4"#)["token"].string ?? ""
        let events = try client.history("L2", count: 4)
        #expect(events[3]["type"].string == "lead.lease_ended" && events[3]["data"]["how"].string == "expired")
        #expect(try client.refusal("queue.take", #"{"token":"\#(short)"}"#)?.name == "stale_lease")
        #expect(try client.history("L1", count: 3).count == 3)
        let kept = try claim(client, "ana", #","lease_seconds":600"#)["token"].string ?? ""
        daemon.process.send(signal: SIGKILL)
        _ = try daemon.process.waitForEnd()
        daemon = try place.serve()
        client = try place.connect()
        try Monotonic.wait(for: "the router") { try client.refusal("member.list") == nil }
        #expect(try client.ask("queue.take", #"{"token":"\#(kept)"}"#)["lead"].string == "L2")
        #expect(try daemon.terminate() == .exited(0))
    }

    @Test func `of fifty who claim at once each gets another lead, and of fifty who want one lead one gets it`() throws
    {
        let daemon = try place.serve()
        let client = try place.connect()
        let members = (0..<50).map { "m\($0)" }
        try client.publish(rules(members))
        for lead in 0..<51 {
            try client.capture("L\(lead)")
            _ = try client.history("L\(lead)", count: 2)
        }
        let clients = try members.map { _ in try place.connect() }
        func all(_ params: (String) -> String) throws -> [JSONTree] {
            for (client, member) in zip(clients, members) {
                try client.send(line: request(1, "queue.claim", params(member)))
            }
            return try clients.map { try JSONTree(try #require(try $0.line())) }
        }
        let named = try all { #"{"member":"\#($0)","lead":"L50"}"# }
        #expect(named.count { $0["result"]["claim"]["lead"].string == "L50" } == 1)
        #expect(named.count { $0["error"]["data"]["name"].string == "lead_held" } == 49, "\(named)")
        let winner = named.compactMap { $0["result"]["claim"]["member"].string }.first
        #expect(
            named.allSatisfy {
                $0["error"] == .absent || $0["error"]["data"]["holder"].string == winner
            })
        let any = try all { #"{"member":"\#($0)"}"# }
        let leads = any.compactMap { $0["result"]["claim"]["lead"].string }
        #expect(leads.count == 50 && Set(leads).count == 50, "\(any)")
        #expect(try daemon.terminate() == .exited(0))
    }

    @Test func `a lead that was pushed opens to claims when nobody answers for so long`() throws {
        let daemon = try place.serve()
        let client = try place.connect()
        try client.publish(
            RoutingPlace.rules(
                members: [("ana", ""), ("bo", "")],
                pools: [("all", ["ana", "bo"], "pull: { opens_at_percent: 50 }, response_targets: [first]")])
                + "response_targets:\n  - { id: first, kind: first_response, within: 12s, measure: wall }\n")
        try client.capture("L1")
        let owner = try client.owner("L1")
        let other = owner == "ana" ? "bo" : "ana"
        #expect(try claim(client, other) == .null)
        var lease = JSONTree.null
        try Monotonic.wait(for: "the lead to open", milliseconds: 30_000) {
            #expect(try claim(client, owner) == .null)
            lease = try claim(client, other)
            return lease != .null
        }
        #expect(lease["lead"].string == "L1" && lease["pool"].string == "all", "\(lease)")
        let events = try client.history("L1", count: 5).filter { $0["source"].string == "urn:leadledger:queue" }
        #expect(events.map { $0["type"].string } == ["lead.queued", "lead.claimed"], "\(events)")
        #expect(events[0]["data"]["reason"].string == "opened_to_pull")
        try client.ask("queue.take", #"{"token":"\#(lease["token"].string ?? "")"}"#)
        #expect(try client.owner("L1") == other)
        #expect(try daemon.terminate() == .exited(0))
    }

    @Test func `who may not pick, who is not eligible, and what does not wait are told so`() throws {
        let daemon = try place.serve()
        let client = try place.connect()
        try client.publish(
            RoutingPlace.rules(
                members: [("ana", "caps: { open: 1 }"), ("bo", "")],
                pools: [("pushed", ["bo"], ""), ("all", ["ana"], "push: false, pull: { picking: false }")],
                territories: [("channel == \"phone\"", "pushed")]))
        for lead in ["L1", "L2"] {
            try client.capture(lead)
            _ = try client.history(lead, count: 2)
        }
        try client.capture("L3", #"{"channel":"phone"}"#)
        #expect(try client.owner("L3") == "bo")
        func name(_ method: String, _ params: String) throws -> String? { try client.refusal(method, params)?.name }
        #expect(try name("queue.claim", #"{"member":"ana","lead":"L1"}"#) == "picking_refused")
        #expect(try name("queue.claim", #"{"member":"eve"}"#) == "unknown_member")
        #expect(try name("queue.claim", #"{"member":"ana","pool":"none"}"#) == "unknown_pool")
        #expect(try name("queue.claim", #"{"member":"ana","lead":"none"}"#) == "unknown_lead")
        #expect(try name("queue.claim", #"{"member":"ana","lead":"L3"}"#) == "lead_held")
        #expect(try name("queue.take", #"{"token":"0123456789abcdef"}"#) == "stale_lease")
        // The cap of one: the first claim fills it.
        #expect(try claim(client, "ana")["lead"].string == "L1")
        #expect(try claim(client, "ana") == .null)
        // Bo is in no pool that is claimed from.
        #expect(try claim(client, "bo") == .null)
        #expect(try daemon.terminate() == .exited(0))
    }

    @Test func `by hand a lead goes to whom it is given, with a reason where they are not eligible`() throws {
        let daemon = try place.serve()
        let client = try place.connect()
        try client.publish(
            RoutingPlace.rules(members: [("ana", ""), ("bo", "")], pools: [("all", ["ana", "bo"], "")]))
        try client.capture("L1")
        _ = try client.owner("L1")
        try client.ask("member.leave", #"{"member":"bo","reason":"parental"}"#)
        let refusal = try #require(try client.refusal("queue.assign", #"{"lead":"L1","member":"bo"}"#))
        #expect(refusal.name == "member_ineligible" && refusal.data["refused"].string == "leave", "\(refusal.data)")
        let given = try client.ask("queue.assign", #"{"lead":"L1","member":"bo","reason":"knows them"}"#)
        #expect(given["override"].boolean == true)
        let data = try client.history("L1", count: 3)[2]["data"]
        #expect(data["mode"].string == "manual" && data["override"]["reason"].string == "knows them", "\(data)")
        #expect(
            try client.ask("queue.assign", #"{"lead":"L1","member":"ana"}"#)["override"].boolean == false)
        try client.append("lead.lost", "L1", "x", #"{"reason":"no"}"#)
        #expect(
            try client.refusal("queue.assign", #"{"lead":"L1","member":"ana"}"#)?.name == "transition_refused")
        #expect(try daemon.terminate() == .exited(0))
    }
}
