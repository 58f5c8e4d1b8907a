import Glibc
import TestSupport
import Testing

/// The router of a daemon as it runs: every lead to somebody, with the reason written down, once.
@Suite(.timeLimit(.minutes(10))) struct RoutingTests {
    private let place = LedgerPlace()

    private let pair = RoutingPlace.rules(
        members: [("ana", ""), ("bo", "")], pools: [("all", ["ana", "bo"], "")])

    @Test func `a capture is assigned, and the decision says who was looked at`() throws {
        let daemon = try place.serve()
        let client = try place.connect()
        let version = try client.publish(pair)
        try client.capture("L1")
        let events = try client.history("L1", count: 2)
        let data = events[1]["data"]
        #expect(events[1]["type"].string == "lead.assigned" && data["mode"].string == "push", "\(events)")
        let decision = data["decision"]
        #expect(decision["policy"].string == "sales" && decision["version"].integer == version)
        #expect(decision["trigger"]["kind"].string == "arrival")
        #expect(decision["trigger"]["position"].integer == events[0]["position"].integer)
        #expect(decision["candidates"].elements.map { $0["gain"].integer } == [1 << 31, 1 << 31])
        #expect(events[1]["source"].string == "urn:leadledger:router")
        #expect(events[1]["causationid"].string == events[0]["position"].integer.map { "\($0)" })
        // Fair between equals: one each.
        try client.capture("L2")
        #expect(Set([try client.owner("L1"), try client.owner("L2")]) == ["ana", "bo"])
        #expect(try daemon.terminate() == .exited(0))
        #expect(try place.check().status == .exited(0))
    }

    @Test func `only the daemon says events of its own sources, so that none is in the way of a decision`() throws {
        let daemon = try place.serve()
        let client = try place.connect()
        try client.publish(pair)
        try client.capture("L1")
        let last = try client.history("L1", count: 2)[1]["position"].integer ?? 0
        // Capture and the name of the decision that will follow from it, in one unit.
        let stolen = try client.refusal(
            "append",
            #"{"events":[{"id":"c","source":"test","type":"lead.captured","subject":"L2","data":{}},"#
                + #"{"id":"arrival-\#(last + 1)-2","source":"urn:leadledger:router","type":"lead.noted","#
                + #""subject":"L2","data":{"text":"x"}}]}"#)
        #expect(stolen?.name == "reserved_type", "\(String(describing: stolen))")
        #expect(stolen?.data["pointer"].string == "/params/events/1/source", "\(String(describing: stolen))")
        try client.capture("L2")
        _ = try client.owner("L2")
        #expect(try daemon.terminate() == .exited(0))
    }

    @Test func `leads that came before the rule set are routed when it comes into force`() throws {
        let daemon = try place.serve()
        let client = try place.connect()
        for lead in 0..<20 { try client.capture("L\(lead)") }
        try client.publish(pair)
        var owners: [String: Int] = [:]
        for lead in 0..<20 { owners[try client.owner("L\(lead)"), default: 0] += 1 }
        #expect(owners == ["ana": 10, "bo": 10])
        #expect(try daemon.terminate() == .exited(0))
    }

    @Test func `a lead that nobody can take waits in the queue, and goes to whom a place becomes free`() throws {
        let daemon = try place.serve()
        let client = try place.connect()
        try client.publish(
            RoutingPlace.rules(members: [("ana", "caps: { open: 1 }")], pools: [("all", ["ana"], "")]))
        try client.capture("L1")
        #expect(try client.owner("L1") == "ana")
        try client.capture("L2")
        let queued = try client.history("L2", count: 2)[1]
        #expect(queued["type"].string == "lead.queued" && queued["data"]["queue"].string == "all")
        #expect(queued["data"]["decision"]["candidates"][0]["refused"].string == "open:1/1")
        try client.append("lead.lost", "L1", "x", #"{"reason":"no_budget"}"#)
        let events = try client.history("L2", count: 3)
        #expect(events[2]["data"]["member"].string == "ana")
        #expect(events[2]["data"]["decision"]["trigger"]["kind"].string == "drain")
        #expect(try daemon.terminate() == .exited(0))
    }

    @Test func `each trigger is decided once, though the daemon is killed in between`() throws {
        var daemon = try place.serve()
        var client = try place.connect()
        try client.publish(pair)
        var next = 0
        for _ in 0..<5 {
            // Not waited for: the daemon dies with decisions on their way.
            for _ in 0..<40 {
                try client.send(
                    line: request(
                        next, "append",
                        #"{"events":[{"id":"c","source":"t","type":"lead.captured","subject":"L\#(next)","data":{}}]}"#)
                )
                next += 1
            }
            for _ in 0..<20 { _ = try client.line() }
            daemon.process.send(signal: SIGKILL)
            _ = try daemon.process.waitForEnd()
            daemon = try place.serve()
            client = try place.connect()
        }
        let head = try client.ask("status")["head"].integer ?? 0
        #expect(head > 100)
        var owners: [String: Int] = [:]
        var captured = 0
        for lead in 0..<next {
            guard try client.refusal("lead.history", #"{"lead":"L\#(lead)"}"#) == nil else { continue }
            captured += 1
            // On a machine that is busy the inbox alarm may be among them.
            let owner = try client.owner("L\(lead)")
            let events = try client.history("L\(lead)", count: 2)
            #expect(events.count { $0["type"].string == "lead.assigned" } == 1, "\(events)")
            owners[owner, default: 0] += 1
        }
        #expect(captured >= 100)
        #expect(abs((owners["ana"] ?? 0) - (owners["bo"] ?? 0)) <= 1, "\(owners)")
        #expect(try daemon.terminate() == .exited(0))
    }

    @Test func `who disqualifies a lead as a duplicate gives the turn back`() throws {
        let daemon = try place.serve()
        let client = try place.connect()
        try client.publish(
            RoutingPlace.rules(
                members: [("ana", ""), ("bo", "")], pools: [("all", ["ana", "bo"], "")],
                more: "voiding_reasons: [duplicate]"))
        try client.capture("L1")
        let first = try client.owner("L1")
        try client.append("lead.disqualified", "L1", "d", #"{"reason":"duplicate"}"#)
        try Monotonic.wait(for: "the turn to be given back") {
            try client.ask("log.read", #"{"from":0,"filter":{"types":["pool.decision_voided"]}}"#)["events"].elements
                .count == 1
        }
        try client.capture("L2")
        let events = try client.history("L2", count: 2)
        // Balances are back at 0; the last assignment counts as one, so it is the other's turn.
        #expect(events[1]["data"]["decision"]["candidates"].elements.map { $0["owed"].integer } == [0, 0])
        #expect(events[1]["data"]["member"].string != first)
        #expect(try daemon.terminate() == .exited(0))
    }

    @Test func `a new rule set that asks for it routes anew what waits, and not otherwise`() throws {
        let daemon = try place.serve()
        let client = try place.connect()
        func rules(_ member: String, _ more: String) -> String {
            RoutingPlace.rules(
                members: [("ana", "active: false"), ("bo", member)], pools: [("all", ["ana", "bo"], "")], more: more)
        }
        try client.publish(rules(#"conflict: "channel == 'web'""#, ""))
        for lead in 0..<3 { try client.capture("L\(lead)") }
        for lead in 0..<3 { #expect(try client.history("L\(lead)", count: 2)[1]["type"].string == "lead.queued") }
        try client.publish(rules("caps: { open: 2 }", "reroute_waiting: true"))
        #expect(try client.owner("L0") == "bo" && client.owner("L1") == "bo")
        let third = try client.history("L2", count: 3)
        #expect(third[2]["type"].string == "lead.queued", "\(third)")
        #expect(third[2]["data"]["decision"]["trigger"]["kind"].string == "reroute", "\(third)")
        #expect(try daemon.terminate() == .exited(0))
    }

    @Test func `a qualification that is dated before the rule set came into force is routed by it`() throws {
        let daemon = try place.serve()
        let client = try place.connect()
        try client.publish(
            RoutingPlace.rules(
                members: [("ana", "")], pools: [("all", ["ana"], "")], more: "route_marketing_qualified: true"))
        try client.capture("L1")
        try client.ask(
            "append",
            #"{"events":[{"id":"q","source":"t","type":"lead.marketing_qualified","subject":"L1","time":"2020-01-01T00:00:00Z","data":{}}]}"#
        )
        #expect(try client.owner("L1") == "ana")
        #expect(try daemon.terminate() == .exited(0))
    }
}
