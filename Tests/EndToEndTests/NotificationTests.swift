import Glibc
import Leads
import TestSupport
import Testing

/// The consumer group `notifications` over a real socket.
@Suite(.timeLimit(.minutes(10))) struct NotificationTests {
    private let place = LedgerPlace()

    /// An event that a client may send.
    private func append(
        _ client: LineClient, _ lead: String, _ id: String, _ type: String, _ data: String, more: String = ""
    ) throws {
        try client.ask(
            "append",
            #"{"events":[{"id":"\#(id)","source":"test","type":"\#(type)","subject":"\#(lead)","data":\#(data)\#(more)}]}"#
        )
    }

    private func capture(_ client: LineClient, _ leads: String...) throws {
        for lead in leads { try append(client, lead, "c", "lead.captured", #"{"channel":"web"}"#) }
    }

    private func assign(_ client: LineClient, _ lead: String, to member: String, _ id: String, more: String = "") throws
    {
        try append(client, lead, id, "lead.assigned", #"{"member":"\#(member)"}"#, more: more)
    }

    private func claim(_ client: LineClient, more: String = "") throws -> [JSONTree] {
        try client.ask("consumer.claim", #"{"group":"notifications","limit":100\#(more)}"#)["deliveries"].elements
    }

    private func tokens(_ deliveries: [JSONTree], more: String = "") -> String {
        let tokens = deliveries.map { "\($0["token"])" }.joined(separator: ",")
        return #"{"group":"notifications","tokens":[\#(tokens)]\#(more)}"#
    }

    private func positions(_ deliveries: [JSONTree]) -> [Int] {
        deliveries.compactMap { $0["token"]["position"].integer }
    }

    /// `kind recipient dedupe_key` of each notification.
    private func notices(_ delivery: JSONTree) -> [String] {
        delivery["notifications"].elements.map {
            "\($0["kind"].string ?? "?") \($0["recipient"].string ?? "?") \($0["dedupe_key"].string ?? "?")"
        }
    }

    private func keys(of deliveries: [JSONTree]) -> [String] {
        deliveries.flatMap { $0["notifications"].elements.compactMap { $0["dedupe_key"].string } }
    }

    /// Stops the daemon, has the log take events that only a daemon writes, and starts it again.
    private func restart(_ daemon: DaemonProcess, with events: [DaemonEvent]) throws -> (DaemonProcess, [Int]) {
        #expect(try daemon.terminate() == .exited(0))
        let positions = try place.append(events)
        return (try place.serve(), positions)
    }

    @Test func `the group begins with its first request, at the head, and tells of what follows`() throws {
        let daemon = try place.serve()
        let client = try place.connect()
        try capture(client, "L1", "L2")
        try assign(client, "L1", to: "ana", "a1")
        #expect(try client.ask("consumer.status")["groups"].elements.isEmpty)
        #expect(try claim(client).isEmpty)
        let listed = try client.ask("consumer.status")["groups"].elements
        #expect(listed.map { $0["group"].string } == ["notifications"] && listed.first?["lag"].integer == 0)

        try assign(client, "L2", to: "kim", "a2")
        try append(client, "L2", "n", "lead.noted", #"{"text":"x"}"#)
        // Of the past nobody is told.
        try assign(client, "L2", to: "old", "a3", more: #","backfill":true"#)
        try assign(client, "L1", to: "bo/b", "a4")
        let deliveries = try claim(client)
        #expect(deliveries.map { notices($0) } == [["assigned kim 3/kim"], ["assigned bo/b 6/bo/b"]])
        let stored = try client.ask("log.read", #"{"from":3,"limit":1}"#)["events"].elements
        #expect(deliveries.first?["event"] == stored.first)
        let acked = try client.ask("consumer.ack", tokens(deliveries))
        #expect(acked["progress"].integer == 7 && acked["acked"].elements.count == 2)
        #expect(try daemon.terminate() == .exited(0))
        #expect(try place.check().findings.isEmpty)
    }

    @Test func `each event that only the daemon writes tells whom it concerns`() throws {
        var daemon = try place.serve()
        var client = try place.connect()
        try capture(client, "owned", "leased", "waiting", "contacted", "ended")
        try assign(client, "owned", to: "early", "a0")
        try append(client, "owned", "r", "lead.released", #"{"reason":"busy"}"#)
        try assign(client, "owned", to: "ana", "a1")
        try append(client, "contacted", "t", "lead.contacted", #"{"by":"cal","medium":"call"}"#)
        try assign(client, "ended", to: "eve", "a2")
        try append(client, "ended", "l", "lead.lost", #"{"reason":"no_budget"}"#)
        #expect(try claim(client).isEmpty)
        let breach = #""clock":"first_response","due":"2026-01-01T00:00:00Z""#
        let at: [Int]
        (daemon, at) = try restart(
            daemon,
            with: [
                DaemonEvent(
                    lead: "owned", type: .escalated,
                    data: #""clock":"accept","step":50,"action":"notify","to":["ana","bo","ana","q\"x"]"#),
                DaemonEvent(
                    lead: "leased", type: .escalated, data: #""clock":"accept","step":100,"action":"queue_again""#),
                DaemonEvent(
                    lead: "leased", type: .claimed,
                    data: #""member":"lee","token":"t","until":"2026-01-01T00:00:00Z""#),
                DaemonEvent(lead: "leased", type: .clockBreached, data: breach),
                DaemonEvent(lead: "leased", type: .leaseEnded, data: #""how":"expired""#),
                DaemonEvent(lead: "leased", type: .clockBreached, data: breach),
                DaemonEvent(lead: "owned", type: .clockBreached, data: breach),
                DaemonEvent(lead: "contacted", type: .clockBreached, data: breach),
                DaemonEvent(lead: "ended", type: .clockBreached, data: breach),
                DaemonEvent(lead: "waiting", type: .inboxAlarmed, data: #""since":"2026-01-01T00:00:00Z""#),
                DaemonEvent(lead: "owned", type: .clockMet, data: breach),
                DaemonEvent(
                    lead: "waiting", type: .inboxAlarmed, data: #""since":"2026-01-01T00:00:00Z""#, isBackfill: true),
            ])
        client = try place.connect()
        // Whoever has it now is not who had it then.
        try assign(client, "leased", to: "later", "a9")
        var told: [Int: [String]] = [:]
        while case let deliveries = try claim(client), !deliveries.isEmpty {
            for delivery in deliveries {
                told[try #require(delivery["token"]["position"].integer)] = notices(delivery)
            }
            try client.ask("consumer.ack", tokens(deliveries))
        }
        let last = at[11] + 1
        #expect(
            told == [
                at[0]: ["escalated ana \(at[0])/ana", "escalated bo \(at[0])/bo", "escalated q\"x \(at[0])/q\"x"],
                at[1]: [], at[3]: ["breached lee \(at[3])/lee"], at[5]: ["breached  \(at[5])/"],
                at[6]: ["breached ana \(at[6])/ana"], at[7]: ["breached cal \(at[7])/cal"],
                at[8]: ["breached  \(at[8])/"], at[9]: ["inbox_alarm  \(at[9])/"],
                last: ["assigned later \(last)/later"],
            ])
        #expect(try daemon.terminate() == .exited(0))
        #expect(try place.check().findings.isEmpty)
    }

    @Test func `what is told again has the same keys, after a return, a replay and a kill`() throws {
        var daemon = try place.serve()
        var client = try place.connect()
        try capture(client, "L1", "L2")
        #expect(try claim(client).isEmpty)
        try assign(client, "L1", to: "ana", "a1")
        try assign(client, "L1", to: "bo", "a2")
        try assign(client, "L2", to: "cy", "a3")
        let first = try claim(client)
        // One of a lead at a time, as in any group.
        #expect(first.map { notices($0) } == [["assigned ana 2/ana"], ["assigned cy 4/cy"]])
        var current = first
        for _ in 0..<4 {
            try client.ask("consumer.nack", tokens(current))
            current = try claim(client)
            #expect(current.map { notices($0) } == first.map { notices($0) })
        }
        #expect(try client.ask("consumer.nack", tokens(current))["parked"].elements.count == 2)
        let next = try claim(client)
        #expect(next.map { notices($0) } == [["assigned bo 3/bo"]])
        #expect(
            try client.ask("consumer.replay_parked", #"{"group":"notifications"}"#)["replayed"].elements.count == 2)
        try client.ask("consumer.ack", tokens(next))
        let replayed = try claim(client)
        #expect(replayed.map { notices($0) } == first.map { notices($0) })

        try daemon.process.killAndWait()
        daemon = try place.serve()
        client = try place.connect()
        let after = try claim(client)
        #expect(after.map { notices($0) } == first.map { notices($0) })
        #expect(try client.refusal("consumer.ack", tokens([replayed[0]]))?.name == "stale_token")
        #expect(try client.ask("consumer.ack", tokens(after))["progress"].integer == 5)
        try daemon.process.killAndWait()
        daemon = try place.serve()
        client = try place.connect()
        #expect(try claim(client).isEmpty)
        let status = try client.ask("consumer.status", #"{"group":"notifications"}"#)
        #expect(status["reason"]["state"].string == "caught_up" && status["progress"].integer == 5, "\(status)")
        #expect(status["filter"]["backfill"].boolean == false && status["filter"]["types"].elements.count == 4)
        #expect(try daemon.terminate() == .exited(0))
    }

    @Test func `it is neither created nor deleted, and stands beside the 64 others`() throws {
        let daemon = try place.serve()
        let client = try place.connect()
        for method in ["create", "delete"] {
            #expect(
                try client.refusal("consumer.\(method)", #"{"group":"notifications"}"#)?.name == "group_built_in")
        }
        for number in 0..<64 { try client.ask("consumer.create", #"{"group":"g\#(number)"}"#) }
        #expect(try client.ask("consumer.status", #"{"group":"notifications"}"#)["progress"].integer == 0)
        #expect(try client.ask("consumer.status")["groups"].elements.count == 65)
        #expect(try client.refusal("consumer.create", #"{"group":"one too many"}"#)?.name == "group_limit")
        for method in ["create", "delete"] {
            #expect(
                try client.refusal("consumer.\(method)", #"{"group":"notifications"}"#)?.name == "group_built_in")
        }
        // A group of one's own says nothing of whom to tell.
        try capture(client, "L1")
        let other = try client.ask("consumer.claim", #"{"group":"g0"}"#)["deliveries"][0]
        #expect(other["event"].isPresent && !other["notifications"].isPresent)
        #expect(try daemon.terminate() == .exited(0))
    }

    /// Goal: first claims that come before the group is on the disk all wait for it, and one that has left keeps nothing. Method: many
    /// connections send theirs without reading, and half of them leave at once.
    @Test func `claims that come at once while the group is made each get what follows`() throws {
        let daemon = try place.serve()
        let client = try place.connect()
        try capture(client, "L0", "L1", "L2", "L3")
        var staying: [LineClient] = []
        for number in 0..<8 {
            let other = try place.connect()
            try other.send(
                line: request(1, "consumer.claim", #"{"group":"notifications","wait_ms":60000,"limit":1}"#))
            if number.isMultiple(of: 2) { staying.append(other) }
        }
        func status() throws -> JSONTree { try client.ask("consumer.status", #"{"group":"notifications"}"#) }
        try Monotonic.wait(for: "the claims of those who stay to wait, and no others") {
            try status()["claims_waiting"].integer == 4
        }
        for lead in 0..<4 { try assign(client, "L\(lead)", to: "m\(lead)", "a") }
        var told: [String] = []
        for other in staying {
            let reply = try JSONTree(try #require(try other.line()))
            told += reply["result"]["deliveries"].elements.flatMap { notices($0) }
        }
        #expect(told.sorted() == (0..<4).map { "assigned m\($0) \(4 + $0)/m\($0)" })
        #expect(try status()["leased"].integer == 4)
        #expect(try daemon.terminate() == .exited(0))
    }

    @Test func `a group whose definition the disk has changed is refused, can be deleted, and begins anew`() throws {
        var daemon = try place.serve()
        var client = try place.connect()
        try capture(client, "L1")
        #expect(try claim(client).isEmpty)
        #expect(try daemon.terminate() == .exited(0))
        let path = place.data + "/log/data.mdb"
        var file = try bytes(ofFile: path)
        let wanted = Array(#""backfill":false"#.utf8)
        var flipped = 0
        for start in 0..<file.count - wanted.count where file[start] == wanted[0] {
            guard file[start..<start + wanted.count].elementsEqual(wanted) else { continue }
            file[start + 1] ^= 1
            flipped += 1
        }
        try #require(flipped > 0)
        try write(file, toFile: path)
        daemon = try place.serve()
        client = try place.connect()
        #expect(try client.refusal("consumer.claim", #"{"group":"notifications"}"#)?.name == "corrupted")
        #expect(try client.ask("consumer.delete", #"{"group":"notifications"}"#)["deleted"].boolean == true)
        #expect(try claim(client).isEmpty)
        try assign(client, "L1", to: "ana", "a1")
        #expect(try claim(client).map { notices($0) } == [["assigned ana 1/ana"]])
        #expect(try daemon.terminate() == .exited(0))
        #expect(try place.check().findings.isEmpty)
    }

    /// Goal: a program that remembers the keys it has told, in the commit that acks them, tells each once over restarts; and what the
    /// group delivers is every assignment since its first claim. Method: the daemon is killed between claim and ack, after the ack was
    /// sent but not read, and stopped in peace; every delivery's key is counted when its ack is known to be stored.
    @Test func `over restarts at any moment each notification is acked once and none is lost`() throws {
        let seed = announcedSeed("NotificationTests")
        var random = SeededGenerator(seed: seed)
        var daemon = try place.serve()
        var client = try place.connect()
        #expect(try claim(client).isEmpty)
        var expected: [String] = []
        var acked: [String: Int] = [:]
        var next = 0
        for round in 0..<12 {
            for _ in 0..<Int.random(in: 1...6, using: &random) {
                try capture(client, "L\(next)")
                try assign(client, "L\(next)", to: "m\(next % 3)", "a")
                // The capture stands before each assignment.
                expected.append("\(2 * next + 1)/m\(next % 3)")
                next += 1
            }
            let deliveries = try client.ask(
                "consumer.claim", #"{"group":"notifications","limit":\#(Int.random(in: 1...8, using: &random))}"#)[
                    "deliveries"
                ].elements
            let told = keys(of: deliveries)
            #expect(told.count == deliveries.count, "seed \(seed), round \(round)")
            switch Int.random(in: 0..<4, using: &random) {
            case 0: try daemon.process.killAndWait()
            case 1:
                // Stored or not: what the next daemon delivers says which.
                try client.send(line: request(900, "consumer.ack", tokens(deliveries)))
                try daemon.process.killAndWait()
                let answer = try? client.line()
                if let line = answer ?? nil, try JSONTree(line)["result"].isPresent {
                    for key in told { acked[key, default: 0] += 1 }
                } else {
                    daemon = try place.serve()
                    client = try place.connect()
                    let again = Set(keys(of: try claim(client)))
                    for key in told where !again.contains(key) { acked[key, default: 0] += 1 }
                    try daemon.process.killAndWait()
                }
            case 2:
                try client.ask("consumer.ack", tokens(deliveries))
                for key in told { acked[key, default: 0] += 1 }
                #expect(try daemon.terminate() == .exited(0))
            default:
                try client.ask("consumer.ack", tokens(deliveries))
                for key in told { acked[key, default: 0] += 1 }
                try daemon.process.killAndWait()
            }
            daemon = try place.serve()
            client = try place.connect()
        }
        while case let deliveries = try claim(client), !deliveries.isEmpty {
            try client.ask("consumer.ack", tokens(deliveries))
            for key in keys(of: deliveries) { acked[key, default: 0] += 1 }
        }
        #expect(acked.keys.sorted() == expected.sorted(), "seed \(seed)")
        #expect(acked.values.allSatisfy { $0 == 1 }, "seed \(seed): \(acked.filter { $0.value != 1 })")
        #expect(try daemon.terminate() == .exited(0))
        #expect(try place.check().findings.isEmpty)
    }
}
