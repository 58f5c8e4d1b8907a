import Glibc
import TestSupport
import Testing

/// Rule sets as data: published, approved, put in force and rolled back by requests, while the daemon runs.
@Suite(.timeLimit(.minutes(10))) struct PolicyTests {
    private let place = LedgerPlace()

    private func rules(_ member: String, _ more: String = "") -> String {
        RoutingPlace.rules(members: [(member, "")], pools: [("all", [member], "")], more: more)
    }

    private func publish(_ client: LineClient, _ rules: String) throws -> JSONTree {
        try client.ask("policy.publish", #"{"document":\#(RoutingPlace.quoted(rules))}"#)
    }

    @Test func `a rule set is published once, shown as it is, and in force when it is activated`() throws {
        let daemon = try place.serve()
        let client = try place.connect()
        #expect(try client.refusal("policy.history")?.name == "no_rule_set")
        let first = try publish(client, rules("ana"))
        #expect(first["policy"].string == "sales" && first["duplicate"].boolean == false, "\(first)")
        #expect(try publish(client, "# the same\n" + rules("ana"))["duplicate"].boolean == true)
        #expect(try client.refusal("queue.route", #"{"lead":"L"}"#)?.name == "no_rule_set")
        let version = first["version"].integer ?? -1
        let shown = try client.ask("policy.show", #"{"policy":"sales"}"#)
        #expect(shown["version"].integer == version && shown["sha256"] == first["sha256"])
        #expect(shown["text"].string?.contains("\"ana\"") == true)
        try client.ask("policy.activate", #"{"policy":"sales"}"#)
        try client.capture("L1")
        #expect(try client.owner("L1") == "ana")

        // Another one, and back.
        let second = try publish(client, rules("bo"))["version"].integer ?? -1
        try client.ask("policy.activate", #"{"policy":"sales","version":\#(second),"note":"ana is away"}"#)
        try client.capture("L2")
        #expect(try client.owner("L2") == "bo")
        let back = try client.ask("policy.rollback", #"{"policy":"sales"}"#)
        #expect(back["version"].integer == version)
        try client.capture("L3")
        #expect(try client.owner("L3") == "ana")
        let history = try client.ask("policy.history")["policies"][0]
        #expect(history["in_force"].integer == version)
        #expect(history["versions"].elements.map { $0["version"].integer } == [version, second])
        #expect(history["versions"][1]["activations"][0]["note"].string == "ana is away")
        #expect(history["versions"][0]["activations"][1]["rolled_back"].boolean == true)
        #expect(try daemon.terminate() == .exited(0))

        // All of it is in the log.
        let again = try place.serve()
        let other = try place.connect()
        var known = JSONTree.absent
        try Monotonic.wait(for: "the router to have read the log") {
            known = try other.ask("policy.history")["policies"][0]
            return true
        }
        #expect(known == history)
        #expect(try again.terminate() == .exited(0))
    }

    @Test func `what is wrong is refused with its place, and what is not there by name`() throws {
        let daemon = try place.serve()
        let client = try place.connect()
        let wrong = rules("ana").replacing("members: [ana]", with: "members: [eve]")
        let refusal = try #require(
            try client.refusal("policy.publish", #"{"document":\#(RoutingPlace.quoted(wrong))}"#))
        #expect(refusal.name == "rule_set_refused")
        #expect(refusal.data["faults"][0]["pointer"].string?.hasPrefix("/pools/0") == true, "\(refusal.data)")
        try client.publish(rules("ana"))
        func name(_ method: String, _ params: String) throws -> String? { try client.refusal(method, params)?.name }
        #expect(try name("policy.activate", #"{"policy":"none"}"#) == "unknown_policy")
        #expect(try name("policy.activate", #"{"policy":"sales","version":0}"#) == "unknown_version")
        #expect(
            try name("policy.activate", #"{"policy":"sales","at":"2020-01-01T00:00:00Z"}"#) == "activation_in_past")
        #expect(try name("policy.activate", #"{"policy":"sales","at":"tomorrow"}"#) == "invalid_time")
        #expect(try name("policy.rollback", #"{"policy":"sales"}"#) == "unknown_version")
        #expect(try name("policy.show", #"{"policy":"none"}"#) == "unknown_policy")
        #expect(try name("policy.publish", #"{"document":"","note":"x"}"#) == "invalid_value")
        #expect(
            try name("policy.publish", #"{"document":"policy: x","note":"ask ann@acme.com"}"#) == "personal_id")
        #expect(
            try name(
                "append", #"{"events":[{"id":"x","source":"t","type":"policy.activated","subject":"sales","data":{}}]}"#
            ) == "reserved_type")
        #expect(try daemon.terminate() == .exited(0))
    }

    @Test func `a rule set of two people needs the consent of another one`() throws {
        let daemon = try place.serve()
        let client = try place.connect()
        let version = try publish(client, rules("ana", "approval: two_people"))["version"].integer ?? -1
        #expect(try client.refusal("policy.activate", #"{"policy":"sales"}"#)?.name == "approval_required")
        #expect(
            try client.refusal("policy.approve", #"{"policy":"sales","version":\#(version)}"#)?.name
                == "approval_required")
        #expect(try daemon.terminate() == .exited(0))
    }

    @Test func `an activation in the future is in force from then on`() throws {
        let daemon = try place.serve()
        let client = try place.connect()
        try client.publish(rules("ana"))
        let second = try publish(client, rules("bo", "reroute_waiting: true"))["version"].integer ?? -1
        let at = Instants.text(secondsFromNow: 6)
        try client.ask("policy.activate", #"{"policy":"sales","version":\#(second),"at":"\#(at)"}"#)
        try client.capture("L1")
        #expect(try client.owner("L1") == "ana")
        try Monotonic.wait(for: "the second rule set", milliseconds: 30_000) {
            try client.ask("policy.history")["policies"][0]["in_force"].integer == second
        }
        try client.capture("L2")
        #expect(try client.owner("L2") == "bo")
        #expect(try daemon.terminate() == .exited(0))
    }

    @Test func `who waits for a pool that the new rule set does not have is decided again`() throws {
        let daemon = try place.serve()
        let client = try place.connect()
        func rules(_ pool: String, _ more: String) -> String {
            RoutingPlace.rules(members: [("ana", "")], pools: [(pool, ["ana"], more)])
        }
        try client.publish(rules("old", "push: false, pull: { picking: true }"))
        for lead in ["L1", "L2", "foreign"] { try client.capture(lead) }
        for lead in ["L1", "L2", "foreign"] { _ = try client.history(lead, count: 2) }
        // What no rule set ever had is another system's affair.
        try client.append("lead.queued", "foreign", "q", #"{"queue":"theirs"}"#)
        let token = try client.ask("queue.claim", #"{"member":"ana","lead":"L2"}"#)["claim"]["token"].string ?? ""
        try client.publish(rules("new", ""))
        #expect(try client.owner("L1") == "ana")
        // Back into a queue that is no more.
        try client.ask("queue.release", #"{"token":"\#(token)","reason":"other"}"#)
        let events = try client.history("L2", count: 5)
        #expect(events[4]["type"].string == "lead.assigned" && events[4]["data"]["member"].string == "ana")
        #expect(events[4]["data"]["decision"]["trigger"]["kind"].string == "drain", "\(events[4])")
        #expect(try client.history("foreign", count: 3).count == 3)
        #expect(try daemon.terminate() == .exited(0))
    }
}
