import Glibc
import TestSupport
import Testing

/// Members who are not there: nothing new for them, and their leads as the rule set says.
@Suite(.timeLimit(.minutes(10))) struct MemberTests {
    private let place = LedgerPlace()

    private func rules(_ more: String = "", members: [String] = ["ana", "bo"]) -> String {
        RoutingPlace.rules(members: members.map { ($0, "") }, pools: [("all", members, "")], more: more)
    }

    private func states(_ client: LineClient) throws -> [String] {
        try client.ask("member.list")["members"].elements.map {
            "\($0["member"].string ?? "") \($0["state"].string ?? "") \($0["open"].integer ?? -1)"
        }
    }

    @Test func `who is paused gets nothing until resumed or until the pause is over`() throws {
        let daemon = try place.serve()
        let client = try place.connect()
        try client.publish(rules())
        try client.ask("member.pause", #"{"member":"ana","reason":"training"}"#)
        for lead in 0..<4 { try client.capture("L\(lead)") }
        for lead in 0..<4 { #expect(try client.owner("L\(lead)") == "bo") }
        #expect(try states(client) == ["ana paused 0", "bo present 4"])
        try client.ask("member.resume", #"{"member":"ana"}"#)
        // No catching up: from here on they alternate.
        var given: [String] = []
        for lead in 4..<8 {
            try client.capture("L\(lead)")
            given.append(try client.owner("L\(lead)"))
        }
        #expect(given.count { $0 == "ana" } == 2, "\(given)")
        // A pause that ends by itself lets the queue go on.
        try client.ask("member.pause", #"{"member":"bo","reason":"x"}"#)
        try client.ask(
            "member.pause", #"{"member":"ana","reason":"lunch","until":"\#(Instants.text(secondsFromNow: 6))"}"#)
        try client.capture("late")
        #expect(try client.history("late", count: 2)[1]["type"].string == "lead.queued")
        #expect(try client.owner("late", milliseconds: 30_000) == "ana")
        #expect(try daemon.terminate() == .exited(0))
    }

    @Test func `the leads of who goes on leave go back, are handed over or kept, as the rule set says`() throws {
        let daemon = try place.serve()
        let client = try place.connect()
        try client.publish(rules("on_leave: queue"))
        for lead in 0..<4 { try client.capture("L\(lead)") }
        var ofAna: [String] = []
        for lead in 0..<4 where try client.owner("L\(lead)") == "ana" { ofAna.append("L\(lead)") }
        #expect(ofAna.count == 2)
        let left = try client.ask("member.leave", #"{"member":"ana","reason":"holiday"}"#)
        #expect(left["returned"].integer == 2)
        for lead in ofAna {
            let events = try client.history(lead, count: 4)
            #expect(events[2]["type"].string == "lead.released", "\(events)")
            #expect(events[2]["data"]["reason"].string == "owner_on_leave")
            #expect(events[3]["data"]["member"].string == "bo")
        }
        #expect(try states(client) == ["ana on_leave 0", "bo present 4"])
        try client.ask("member.return", #"{"member":"ana"}"#)
        try client.publish(rules("on_leave: hand_over\nhand_over_to: ana"))
        let handed = try client.ask("member.leave", #"{"member":"bo","reason":"holiday"}"#)
        #expect(handed["handed_over"].integer == 4)
        try Monotonic.wait(for: "all to be handed over") { try states(client) == ["ana present 4", "bo on_leave 0"] }
        try client.publish(rules("on_leave: keep"))
        try client.ask("member.leave", #"{"member":"ana","reason":"ill"}"#)
        #expect(try states(client) == ["ana on_leave 4", "bo on_leave 0"])
        #expect(try daemon.terminate() == .exited(0))
    }

    @Test func `the leads of who is no longer in the rule set go to others`() throws {
        let daemon = try place.serve()
        let client = try place.connect()
        try client.publish(rules())
        for lead in 0..<4 { try client.capture("L\(lead)") }
        for lead in 0..<4 { _ = try client.owner("L\(lead)") }
        // Somebody whom no rule set ever knew keeps what they were given elsewhere.
        try client.append("lead.captured", "X", "c", "{}")
        _ = try client.owner("X")
        try client.append("lead.assigned", "X", "a", #"{"member":"crm-user","mode":"import"}"#)
        // One that begins later does not know her either: hers go back now, and not then.
        let later = try client.ask(
            "policy.publish", #"{"document":\#(RoutingPlace.quoted(rules(members: ["bo", "cy"])))}"#)["version"].integer
        try client.ask(
            "policy.activate", #"{"policy":"sales","version":\#(later ?? -1),"at":"9999-12-31T00:00:00Z"}"#)
        try client.publish(rules(members: ["bo"]))
        try Monotonic.wait(for: "bo to have all four") { try states(client) == ["bo present 4"] }
        #expect(try client.owner("X") == "crm-user")
        #expect(try daemon.terminate() == .exited(0))
    }

    @Test func `what begins later takes back what came in between, too, and is not forgotten by a kill`() throws {
        var daemon = try place.serve()
        var client = try place.connect()
        try client.publish(rules("on_leave: queue"))
        try client.ask(
            "member.leave",
            #"{"member":"ana","reason":"holiday","from":"\#(Instants.text(secondsFromNow: 6))"}"#)
        for lead in 0..<4 { try client.capture("L\(lead)") }
        for lead in 0..<4 { _ = try client.owner("L\(lead)") }
        #expect(try states(client) == ["ana present 2", "bo present 2"])
        daemon.process.send(signal: SIGKILL)
        _ = try daemon.process.waitForEnd()
        daemon = try place.serve()
        client = try place.connect()
        try Monotonic.wait(for: "bo to have what ana had", milliseconds: 30_000) {
            try states(client) == ["ana on_leave 0", "bo present 4"]
        }
        // Given to her by hand while she is away: that is meant, and stays, after a start too.
        try client.ask("queue.assign", #"{"lead":"L0","member":"ana","reason":"she asked for it"}"#)
        daemon.process.send(signal: SIGKILL)
        _ = try daemon.process.waitForEnd()
        daemon = try place.serve()
        client = try place.connect()
        try client.capture("L4")
        #expect(try client.owner("L4") == "bo")
        #expect(try states(client) == ["ana on_leave 1", "bo present 4"])
        // Likewise a rule set without bo.
        let next =
            try client.ask(
                "policy.publish", #"{"document":\#(RoutingPlace.quoted(rules(members: ["ana"])))}"#)["version"].integer
            ?? -1
        let at = Instants.text(secondsFromNow: 6)
        try client.ask("policy.activate", #"{"policy":"sales","version":\#(next),"at":"\#(at)"}"#)
        try client.capture("L5")
        #expect(try client.owner("L5") == "bo")
        try Monotonic.wait(for: "all to be taken from bo", milliseconds: 30_000) {
            try client.ask("queue.peek", #"{"pool":"all"}"#)["waiting"].integer == 5
        }
        #expect(try daemon.terminate() == .exited(0))
    }

    @Test func `what makes no sense is refused`() throws {
        let daemon = try place.serve()
        let client = try place.connect()
        #expect(try client.refusal("member.list")?.name == "no_rule_set")
        try client.publish(rules())
        #expect(try client.refusal("member.pause", #"{"member":"eve","reason":"x"}"#)?.name == "unknown_member")
        #expect(
            try client.refusal(
                "member.leave", #"{"member":"ana","reason":"x","until":"2020-01-01T00:00:00Z"}"#)?.name
                == "invalid_value")
        #expect(try client.refusal("member.pause", #"{"member":"ana"}"#)?.name == "missing_field")
        #expect(
            try client.refusal("member.pause", #"{"member":"ana","reason":"call +49301234567"}"#)?.name
                == "personal_id")
        #expect(try daemon.terminate() == .exited(0))
    }
}
