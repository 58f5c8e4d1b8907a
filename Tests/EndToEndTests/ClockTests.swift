import Glibc
import TestSupport
import Testing

/// Response clocks of a daemon as it runs: they start, are met, breached and climb their ladders by events, each once.
@Suite(.timeLimit(.minutes(10))) struct ClockTests {
    private let place = LedgerPlace()

    private func rules(_ targets: String, pool: String, members: [String] = ["ana", "bo"], more: String = "") -> String
    {
        RoutingPlace.rules(members: members.map { ($0, "") }, pools: [("all", members, pool)], more: more)
            + "response_targets:\n\(targets)\n"
    }

    /// The events of a lead whose type begins so, when there are so many.
    private func said(
        _ client: LineClient, _ lead: String, _ types: String..., count: Int
    ) throws -> [JSONTree] {
        var found: [JSONTree] = []
        try Monotonic.wait(for: "\(count) of \(types) of \(lead)", milliseconds: 15_000) {
            found = try client.ask("lead.history", #"{"lead":"\#(lead)"}"#)["events"].elements.filter { event in
                types.contains { event["type"].string?.hasPrefix($0) ?? false }
            }
            return found.count >= count
        }
        return found
    }

    private let hour = "  - { id: first, kind: first_response, within: 1h, measure: wall }"

    @Test func `a clock starts with the capture, waits while it is paused, and is met by the first contact`() throws {
        let daemon = try place.serve()
        let client = try place.connect()
        let version = try client.publish(rules(hour, pool: "response_targets: [first]"))
        try client.capture("L1")
        let started = try said(client, "L1", "lead.clock_started", count: 1)[0]
        let data = started["data"]
        #expect(data["clock"].string == "first_response" && data["target"].string == "first", "\(started)")
        #expect(data["version"].integer == version && data["seconds"].integer == 3_600 && data["pool"].string == "all")
        #expect(started["source"].string == "urn:leadledger:clocks")
        let paused = try client.ask("clock.pause", #"{"lead":"L1","reason":"they asked for time"}"#)
        #expect(paused["clocks"].elements.map { $0["clock"].string } == ["first_response"], "\(paused)")
        #expect(
            try client.refusal("clock.pause", #"{"lead":"L1","reason":"again"}"#)?.name == "unknown_clock")
        let resumed = try client.ask("clock.resume", #"{"lead":"L1","clock":"first_response"}"#)
        #expect(resumed["clocks"][0]["due"].string != data["due"].string, "\(resumed)")
        let owner = try client.owner("L1")
        // Not by who does not have the lead.
        let other = owner == "ana" ? "bo" : "ana"
        try client.append("lead.contacted", "L1", "x1", #"{"by":"\#(other)","medium":"call"}"#)
        try client.append("lead.contacted", "L1", "x2", #"{"by":"\#(owner)","medium":"call"}"#)
        let met = try said(client, "L1", "lead.clock_met", count: 1)[0]["data"]
        #expect(met["by"].string == owner && met["late"] == .absent, "\(met)")
        #expect((met["elapsed"]["business"].integer ?? 0) <= (met["elapsed"]["wall"].integer ?? 0))
        #expect(try client.refusal("clock.resume", #"{"lead":"none"}"#)?.name == "unknown_lead")
        #expect(try daemon.terminate() == .exited(0))
        #expect(try place.check().status == .exited(0))
    }

    @Test func `a breach is said once, at the instant it was due, though the daemon is killed before it`() throws {
        var daemon = try place.serve()
        var client = try place.connect()
        try client.publish(
            rules(
                "  - { id: first, kind: first_response, within: 5s, measure: wall, ladder: "
                    + "[{ at_percent: 50, do: notify }, { at_percent: 100, do: reassign }] }",
                pool: "response_targets: [first]"))
        try client.capture("L1")
        let due = try said(client, "L1", "lead.clock_started", count: 1)[0]["data"]["due"].string
        let first = try client.owner("L1")
        daemon.process.send(signal: SIGKILL)
        _ = try daemon.process.waitForEnd()
        daemon = try place.serve()
        client = try place.connect()
        let breached = try said(client, "L1", "lead.clock_breached", count: 1)
        #expect(breached.count == 1 && breached[0]["time"].string == due, "\(breached)")
        let steps = try said(client, "L1", "lead.escalated", count: 2)
        #expect(steps.map { $0["data"]["action"].string } == ["notify", "reassign"], "\(steps)")
        #expect(steps[0]["data"]["to"].elements.map(\.string) == [first])
        // Taken back, and given to the other one: the earlier holder is passed over.
        let assigned = try said(client, "L1", "lead.assigned", count: 2)[1]["data"]
        #expect(assigned["member"].string != first, "\(assigned)")
        #expect(assigned["decision"]["trigger"]["kind"].string == "take_back", "\(assigned)")
        // Answered at last.
        try client.append(
            "lead.contacted", "L1", "x", #"{"by":"\#(assigned["member"].string ?? "")","medium":"call"}"#)
        let met = try said(client, "L1", "lead.clock_met", count: 1)[0]["data"]
        #expect(met["late"].boolean == true, "\(met)")
        #expect(try daemon.terminate() == .exited(0))
    }

    @Test func `an answer that is recorded late but was in time corrects the breach`() throws {
        let daemon = try place.serve()
        let client = try place.connect()
        try client.publish(
            rules(
                "  - { id: first, kind: first_response, within: 1s, measure: wall }", pool: "response_targets: [first]")
        )
        try client.capture("L1")
        let owner = try client.owner("L1")
        let due = try said(client, "L1", "lead.clock_breached", count: 1)[0]["data"]["due"].string ?? ""
        try client.ask(
            "append",
            #"{"events":[{"id":"late","source":"t","type":"lead.contacted","subject":"L1","time":"\#(due)","data":{"by":"\#(owner)","medium":"call"}}]}"#
        )
        let met = try said(client, "L1", "lead.clock_met", count: 1)[0]["data"]
        #expect(met["late"] == .absent && met["at"].string == due, "\(met)")
        #expect(try daemon.terminate() == .exited(0))
    }

    @Test func `a lead that was taken back too often goes to the manager`() throws {
        let daemon = try place.serve()
        let client = try place.connect()
        try client.publish(
            RoutingPlace.rules(
                members: [("ana", ""), ("bo", ""), ("vera", "")],
                pools: [("all", ["ana", "bo"], "response_targets: [first], manager: vera")])
                    + """
                    response_targets:
                      - id: first
                        kind: first_response
                        within: 1s
                        measure: wall
                        ladder: [{ at_percent: 100, do: reassign }, { at_percent: 150, do: manager }]

                    """)
        try client.capture("L1")
        let assigned = try said(client, "L1", "lead.assigned", count: 3)
        #expect(assigned[2]["data"]["member"].string == "vera", "\(assigned)")
        #expect(assigned[2]["data"]["decision"]["manager"].boolean == true)
        #expect(try daemon.terminate() == .exited(0))
    }

    @Test func `attempts without a contact end the cadence, and the lead goes where the rules say`() throws {
        let daemon = try place.serve()
        let client = try place.connect()
        try client.publish(
            rules(hour, pool: "cadence: two", more: "cadences:\n  - { id: two, attempts: [0, 1s], then: nurture }"))
        try client.capture("L1")
        let owner = try client.owner("L1")
        for attempt in 1...2 {
            _ = try said(client, "L1", "lead.clock_started", count: attempt)
            try client.append(
                "lead.contact_attempted", "L1", "a\(attempt)", #"{"by":"\#(owner)","medium":"call"}"#)
        }
        let recycled = try said(client, "L1", "lead.recycled", count: 1)[0]["data"]
        #expect(recycled["to"].string == "nurture" && recycled["reason"].string == "cadence_ended", "\(recycled)")
        #expect(try daemon.terminate() == .exited(0))
    }

    @Test func `nothing is said of leads of the past`() throws {
        let daemon = try place.serve()
        let client = try place.connect()
        try client.publish(rules(hour, pool: "response_targets: [first]"))
        try client.ask(
            "append",
            #"{"events":[{"id":"c","source":"t","type":"lead.captured","subject":"old","backfill":true,"data":{}}]}"#)
        try client.capture("new")
        _ = try said(client, "new", "lead.clock_started", count: 1)
        #expect(try client.history("old", count: 1).count == 1)
        // By hand it is routed all the same.
        #expect(try client.ask("queue.route", #"{"lead":"old"}"#)["outcome"].string == "assigned")
        #expect(try daemon.terminate() == .exited(0))
    }
}
