import Glibc
import TestSupport
import Testing

/// Consumer groups over a real socket, across connections that end and daemons that are killed.
@Suite(.timeLimit(.minutes(10))) struct ConsumerTests {
    private let place = LedgerPlace()

    private func event(_ lead: String, _ id: String, _ type: String = "lead.captured") -> String {
        let data = type == "lead.captured" ? #"{"channel":"web"}"# : #"{"text":"x"}"#
        return #"{"id":"\#(id)","source":"test","type":"\#(type)","subject":"\#(lead)","data":\#(data)}"#
    }

    private func fill(_ client: LineClient, leads: Int, notes: Int = 0) throws {
        for lead in 0..<leads { try client.ask("append", #"{"events":[\#(event("L\(lead)", "c"))]}"#) }
        for note in 0..<notes {
            try client.ask("append", #"{"events":[\#(event("L\(note % leads)", "n\(note)", "lead.noted"))]}"#)
        }
    }

    /// The deliveries of a claim.
    private func claim(_ client: LineClient, _ limit: Int = 10, more: String = "") throws -> [JSONTree] {
        try client.ask("consumer.claim", #"{"group":"g","limit":\#(limit)\#(more)}"#)["deliveries"].elements
    }

    private func positions(_ deliveries: [JSONTree]) -> [Int] {
        deliveries.compactMap { $0["token"]["position"].integer }
    }

    private func attempts(_ deliveries: [JSONTree]) -> [Int] {
        deliveries.compactMap { $0["token"]["attempt"].integer }
    }

    private func tokens(_ deliveries: some Sequence<JSONTree>, more: String = "") -> String {
        let tokens = deliveries.map { "\($0["token"])" }.joined(separator: ",")
        return #"{"group":"g","tokens":[\#(tokens)]\#(more)}"#
    }

    private func status(_ client: LineClient) throws -> JSONTree {
        try client.ask("consumer.status", #"{"group":"g"}"#)
    }

    @Test func `events are delivered as the log has them, one a lead at a time, and progress follows the acks`() throws
    {
        let daemon = try place.serve()
        let client = try place.connect()
        try fill(client, leads: 3, notes: 3)
        let created = try client.ask("consumer.create", #"{"group":"g"}"#)
        #expect(created["created"].boolean == true && created["progress"].integer == 0 && created["head"].integer == 6)
        let first = try claim(client)
        #expect(positions(first) == [0, 1, 2])
        let stored = try client.ask("log.read", #"{"from":0,"limit":3}"#)["events"].elements
        #expect(first.map { $0["event"] } == stored)
        #expect(try claim(client).isEmpty)
        let acked = try client.ask("consumer.ack", tokens([first[1]]))
        #expect(acked["acked"].elements.compactMap(\.integer) == [1] && acked["progress"].integer == 0)
        #expect(positions(try claim(client)) == [4])
        #expect(try client.ask("consumer.ack", tokens([first[0], first[2]]))["progress"].integer == 3)
        let now = try status(client)
        #expect(now["progress"].integer == 3 && now["lag"].integer == 3 && now["leased"].integer == 1, "\(now)")
        #expect(now["leases"][0]["lead"].string == "L1" && now["reason"]["state"].string == "unclaimed", "\(now)")
        #expect(try client.refusal("consumer.ack", tokens([first[0]]))?.data["current"]["state"].string == "done")
        #expect(try daemon.terminate() == .exited(0))
    }

    @Test func `a claim that waits gets what another connection appends`() throws {
        let daemon = try place.serve()
        let (reader, writer) = (try place.connect(), try place.connect())
        try fill(writer, leads: 2)
        try reader.ask(
            "consumer.create", #"{"group":"g","from":"head","filter":{"types":["lead.noted"],"leads":["L0","L1"]}}"#)
        #expect(try claim(reader, more: #","wait_ms":20"#).isEmpty)
        try reader.send(line: request(77, "consumer.claim", #"{"group":"g","wait_ms":30000}"#))
        // Until it waits, so that it is the append that wakes it.
        try Monotonic.wait(for: "the claim to wait") { try status(writer)["claims_waiting"].integer == 1 }
        try writer.ask("append", #"{"events":[\#(event("L1", "more"))]}"#)
        try writer.ask("append", #"{"events":[\#(event("L1", "n", "lead.noted"))]}"#)
        let reply = try JSONTree(try #require(try reader.line()))
        #expect(reply["result"]["deliveries"][0]["token"]["position"].integer == 3, "\(reply)")
        // What does not match is passed over.
        #expect(try reader.ask("consumer.ack", tokens([reply["result"]["deliveries"][0]]))["progress"].integer == 4)
        #expect(try status(reader)["reason"]["state"].string == "caught_up")
        // A stop does not wait for those who wait.
        try reader.send(line: request(78, "consumer.claim", #"{"group":"g","wait_ms":60000}"#))
        try Monotonic.wait(for: "the claim to wait") { try status(writer)["claims_waiting"].integer == 1 }
        #expect(try daemon.terminate() == .exited(0))
        #expect(try JSONTree(try #require(try reader.line()))["result"]["deliveries"].elements.isEmpty)
    }

    @Test func `a connection that ends frees its leases, and a lease that runs out is free too`() throws {
        let daemon = try place.serve()
        let client = try place.connect()
        try fill(client, leads: 2)
        try client.ask("consumer.create", #"{"group":"g","lease_ms":3600000}"#)
        do {
            let other = try place.connect()
            #expect(attempts(try claim(other)) == [1, 1])
        }
        let again = try claim(client, more: #","wait_ms":20000,"lease_ms":50"#)
        #expect(attempts(again).first == 2)
        let third = try claim(client, 1, more: #","wait_ms":20000"#)
        #expect(third.count == 1 && attempts(third)[0] >= 2)
        // Whatever the times were, a token that was followed by another one is refused.
        let lease = try #require(again.first)
        try Monotonic.wait(for: "the short lease to be over") {
            try client.refusal("consumer.extend", tokens([lease])) != nil || positions(third) == positions([lease])
        }
        #expect(try client.refusal("consumer.ack", tokens([lease]))?.name == "stale_token")
        #expect(try daemon.terminate() == .exited(0))
    }

    @Test func `the status says why the progress does not move`() throws {
        let daemon = try place.serve()
        let client = try place.connect()
        try fill(client, leads: 1, notes: 1)
        try client.ask("consumer.create", #"{"group":"g","max_attempts":2,"lease_ms":3600000}"#)
        func expectReason(_ state: String, _ position: Int, saying part: String) throws {
            let reason = try status(client)["reason"]
            #expect(
                reason["state"].string == state && reason["position"].integer == position
                    && reason["message"].string?.contains(part) == true, "\(reason) is not \(state)")
        }
        try expectReason("unclaimed", 0, saying: "L0")
        var deliveries = try claim(client, more: #","consumer":"ana""#)
        try expectReason("leased", 0, saying: "by ana as attempt 1")
        try client.ask("consumer.nack", tokens(deliveries))
        try client.ask("consumer.nack", tokens(try claim(client)))
        // Parked. The next one of the lead is out while it is replayed.
        deliveries = try claim(client)
        try expectReason("leased", 1, saying: "L0")
        try client.ask("consumer.replay_parked", #"{"group":"g"}"#)
        try expectReason("behind", 0, saying: "position 1")
        #expect(try client.ask("consumer.ack", tokens(deliveries))["progress"].integer == 0)
        try client.ask("consumer.nack", tokens(try claim(client), more: #","delay_ms":3600000"#))
        try expectReason("delayed", 0, saying: "after attempt 3")
        #expect(try daemon.terminate() == .exited(0))
    }

    @Test func `a group with too much parked says so, and one that is replayed is delivered all the same`() throws {
        let daemon = try place.serve()
        let client = try place.connect()
        // More than are parked and lie in the window at most.
        let leads = 20_000
        for start in stride(from: 0, to: leads, by: 1_000) {
            let units = (start..<start + 1_000).map { lead in #"{"events":[\#(event("L\(lead)", "c"))]}"# }
            try client.ask("append.many", #"{"units":[\#(units.joined(separator: ","))]}"#)
        }
        try client.ask("consumer.create", #"{"group":"g","max_attempts":1}"#)
        var deliveries = try claim(client, 1_000)
        while !deliveries.isEmpty {
            try client.ask("consumer.nack", tokens(deliveries))
            deliveries = try claim(client, 1_000)
        }
        let full = try status(client)
        let parked = try #require(full["parked"].integer)
        #expect(parked >= 10_000 && parked < leads && full["progress"].integer == parked)
        #expect(full["reason"]["state"].string == "parked_full" && full["reason"]["position"].integer == parked)
        try client.ask("consumer.replay_parked", #"{"group":"g","limit":1}"#)
        let now = try status(client)
        #expect(now["progress"].integer == 0 && now["reason"]["state"].string == "unclaimed")
        #expect(positions(try claim(client, 1)) == [0])
        #expect(try daemon.terminate() == .exited(0))
    }

    @Test func `a status looks on, however much was looked through before`() throws {
        let daemon = try place.serve()
        let client = try place.connect()
        try client.ask("consumer.create", #"{"group":"g","filter":{"types":["lead.noted"]}}"#)
        // Each claim looks through a slice of its own: more of them than one question may.
        for lead in 0..<25 {
            try client.ask("append", #"{"events":[\#(event("L\(lead)", "c"))]}"#)
            #expect(try claim(client).isEmpty)
        }
        try client.ask("append", #"{"events":[\#(event("L25", "c"))]}"#)
        let now = try status(client)
        #expect(now["progress"].integer == 26 && now["reason"]["state"].string == "caught_up", "\(now)")
        #expect(try daemon.terminate() == .exited(0))
    }

    @Test func `ack and events are stored together, or neither is`() throws {
        let daemon = try place.serve()
        let client = try place.connect()
        try fill(client, leads: 4)
        try client.ask("consumer.create", #"{"group":"g","filter":{"types":["lead.captured"]}}"#)
        let deliveries = try claim(client)
        func more(_ lead: String, _ id: String, expect: String) -> String {
            #","events":[\#(event(lead, id, "lead.noted"))],"expect":[{"lead":"\#(lead)","version":\#(expect)}]"#
        }
        let done = try client.ask("consumer.ack", tokens([deliveries[0]], more: more("L0", "r0", expect: "1")))
        #expect(done["appended"]["first"].integer == 4 && done["progress"].integer == 1)
        // Somebody was there first: the events are refused, and the lease stays as it was.
        let conflict = try client.refusal("consumer.ack", tokens([deliveries[1]], more: more("L0", "r1", expect: "1")))
        #expect(conflict?.name == "version_conflict" && conflict?.data["pointer"].string == "/params/expect/0")
        let unknown = try client.refusal(
            "consumer.ack", tokens([deliveries[1]], more: more("L9", "r1", expect: "\"any\"")))
        #expect(unknown?.name == "unknown_lead")
        #expect(try status(client)["leased"].integer == 3 && status(client)["head"].integer == 5)
        // A stale token: nothing is appended either.
        let stale = try client.refusal("consumer.ack", tokens(deliveries[0...1], more: more("L1", "r1", expect: "1")))
        #expect(stale?.name == "stale_token" && stale?.data["pointer"].string == "/params/tokens/0")
        #expect(try client.ask("status")["head"].integer == 5)
        // The events are there already, from a reactor that was cut off before its ack: the ack goes through.
        try client.ask("append", #"{"events":[\#(event("L1", "r1", "lead.noted"))]}"#)
        let duplicate = try client.ask("consumer.ack", tokens([deliveries[1]], more: more("L1", "r1", expect: "1")))
        #expect(duplicate["appended"]["duplicate"].boolean == true && duplicate["progress"].integer == 2)
        // Many at once.
        let rest = try client.ask("consumer.ack", tokens(deliveries[2...3], more: more("L2", "r2", expect: "1")))
        #expect(rest["acked"].elements.count == 2 && rest["appended"]["first"].integer == 6)
        // The status looks on over what does not match.
        let now = try status(client)
        #expect(now["progress"].integer == 7 && now["reason"]["state"].string == "caught_up", "\(now)")
        #expect(try daemon.terminate() == .exited(0))
        #expect(try place.check().findings.isEmpty)
    }

    @Test func `after kill -9 acks, returns and parked events are there, and no old token works`() throws {
        var daemon = try place.serve()
        var client = try place.connect()
        try fill(client, leads: 6)
        try client.ask("consumer.create", #"{"group":"g","max_attempts":2}"#)
        var first = try claim(client)
        // 0 leased, 1 returned, 2 parked, 3 and 4 acked beyond what is open, 5 leased.
        try client.ask("consumer.nack", tokens([first[1]], more: #","delay_ms":3600000"#))
        try client.ask("consumer.nack", tokens([first[2]]))
        try client.ask(
            "consumer.nack", tokens(try claim(client, 1), more: #","error":"no such town""#))
        try client.ask("consumer.ack", tokens(first[3...4]))
        try daemon.process.killAndWait()

        daemon = try place.serve()
        client = try place.connect()
        let now = try status(client)
        #expect(now["progress"].integer == 0 && now["leased"].integer == 0 && now["parked"].integer == 1, "\(now)")
        let parked = now["parked_events"][0]
        #expect(parked["position"].integer == 2 && parked["lead"].string == "L2" && parked["attempts"].integer == 2)
        #expect(parked["reason"].string == "returned" && parked["error"].string == "no such town")
        let refusal = try client.refusal("consumer.ack", tokens([first[0]]))
        #expect(refusal?.name == "stale_token" && refusal?.data["current"]["state"].string == "other_epoch")
        first = try claim(client)
        #expect(positions(first) == [0, 1, 5] && attempts(first) == [1, 2, 1])
        try client.ask("consumer.ack", tokens(first))
        #expect(try status(client)["progress"].integer == 6)

        // Parked once, and given back to delivery at its own position.
        let replayed = try client.ask("consumer.replay_parked", #"{"group":"g","positions":[2]}"#)
        #expect(replayed["replayed"][0].integer == 2 && replayed["parked"].integer == 0)
        #expect(try client.refusal("consumer.replay_parked", #"{"group":"g","positions":[2]}"#)?.name == "not_parked")
        try daemon.process.killAndWait()
        daemon = try place.serve()
        client = try place.connect()
        #expect(try status(client)["progress"].integer == 2)
        let last = try claim(client)
        #expect(positions(last) == [2] && attempts(last) == [3])
        #expect(try client.ask("consumer.ack", tokens(last))["progress"].integer == 6)
        try daemon.process.killAndWait()
        daemon = try place.serve()
        #expect(try status(try place.connect())["reason"]["state"].string == "caught_up")
        #expect(try daemon.terminate() == .exited(0))
        #expect(try place.check().findings.isEmpty)
    }

    @Test func `creating again changes nothing, other terms are refused, and a deleted group begins anew`() throws {
        let daemon = try place.serve()
        let client = try place.connect()
        try fill(client, leads: 2)
        let create = #"{"group":"g","from":1,"filter":{"leads":["L1"]}}"#
        let first = try client.ask("consumer.create", create)
        #expect(try client.ask("consumer.create", create)["created"].boolean == false)
        for other in [
            #"{"group":"g","from":0,"filter":{"leads":["L1"]}}"#, #"{"group":"g","from":1}"#,
            #"{"group":"g","from":1,"filter":{"leads":["L1"]},"lease_ms":1}"#,
            #"{"group":"g","from":1,"filter":{"leads":["L1"]},"max_attempts":9}"#,
        ] { #expect(try client.refusal("consumer.create", other)?.name == "group_exists") }
        let old = try claim(client)
        #expect(positions(old) == [1])
        try client.ask("consumer.nack", tokens(old))
        #expect(try client.ask("consumer.delete", #"{"group":"g"}"#)["deleted"].boolean == true)
        #expect(try client.ask("consumer.status")["groups"].elements.isEmpty)
        #expect(try client.refusal("consumer.delete", #"{"group":"g"}"#)?.name == "unknown_group")
        let second = try client.ask("consumer.create", create)
        #expect(second["created"].boolean == true && second["epoch"] != first["epoch"])
        let new = try claim(client)
        #expect(attempts(new) == [1])
        #expect(try client.refusal("consumer.ack", tokens(old))?.name == "stale_token")
        for number in 1..<64 { try client.ask("consumer.create", #"{"group":"g\#(number)"}"#) }
        #expect(try client.refusal("consumer.create", #"{"group":"one too many"}"#)?.name == "group_limit")
        #expect(try client.ask("consumer.status")["groups"].elements.count == 64)
        #expect(try daemon.terminate() == .exited(0))
    }

    @Test func `what is wrong with a request is named, and changes nothing`() throws {
        let daemon = try place.serve()
        let client = try place.connect()
        try fill(client, leads: 2)
        try client.ask("consumer.create", #"{"group":"g"}"#)
        let delivery = try claim(client, 1)
        let token = "\(delivery[0]["token"])"
        let cases: [(method: String, params: String, name: String)] = [
            ("create", "{}", "missing_field"), ("create", #"{"group":""}"#, "invalid_value"),
            ("create", #"{"group":"a@b"}"#, "personal_id"), ("create", #"{"group":"x","from":-1}"#, "invalid_value"),
            ("create", #"{"group":"x","from":"tail"}"#, "invalid_value"),
            ("create", #"{"group":"x","from":3}"#, "position_out_of_range"),
            ("create", #"{"group":"x","from":18446744073709551615}"#, "invalid_value"),
            ("create", #"{"group":"x","filter":{"types":["lead.eaten"]}}"#, "unknown_event_type"),
            ("create", #"{"group":"x","max_attempts":0}"#, "invalid_value"),
            ("create", #"{"group":"x","lease_ms":43200001}"#, "invalid_value"),
            ("create", #"{"group":"x\u0000"}"#, "invalid_value"),
            ("create", #"{"group":"x","more":1}"#, "unknown_field"),
            ("claim", #"{"group":"x"}"#, "unknown_group"), ("claim", #"{"group":"g","limit":1001}"#, "invalid_value"),
            ("claim", #"{"group":"g","wait_ms":60001}"#, "invalid_value"),
            ("ack", #"{"group":"g"}"#, "missing_field"), ("ack", #"{"group":"g","tokens":[]}"#, "invalid_value"),
            ("ack", #"{"group":"g","tokens":[{"position":0,"attempt":1}]}"#, "missing_field"),
            (
                "ack", #"{"group":"g","tokens":[{"position":0,"attempt":1,"epoch":18446744073709551616}]}"#,
                "invalid_value"
            ),
            ("ack", #"{"group":"g","tokens":[{"position":1e9,"attempt":1,"epoch":1}]}"#, "*"),
            ("ack", #"{"group":"g","tokens":[{"position":0,"attempt":1,"epoch":1}]}"#, "stale_token"),
            ("ack", #"{"group":"g","tokens":[\#(token),\#(token)]}"#, "stale_token"),
            ("ack", #"{"group":"x","tokens":[\#(token)]}"#, "unknown_group"),
            ("ack", #"{"group":"g","tokens":[\#(token)],"events":[]}"#, "invalid_value"),
            ("ack", #"{"group":"g","tokens":[\#(token)],"events":[{"id":"x"}]}"#, "missing_field"),
            ("ack", #"{"group":"g","tokens":[\#(token)],"expect":[{"lead":"L0","version":"some"}]}"#, "invalid_value"),
            ("ack", #"{"group":"g","tokens":[\#(token)],"expect":[{"lead":"L0","version":7}]}"#, "version_conflict"),
            ("nack", #"{"group":"g","tokens":[\#(token)],"delay_ms":-1}"#, "invalid_value"),
            ("nack", #"{"group":"g","tokens":[\#(token)],"error":7}"#, "wrong_type"),
            ("extend", #"{"group":"g","tokens":[\#(token)],"lease_ms":0}"#, "invalid_value"),
            ("status", #"{"group":"x"}"#, "unknown_group"), ("status", #"{"after":-1}"#, "invalid_value"),
            ("replay_parked", #"{"group":"g","positions":[0]}"#, "not_parked"),
            ("replay_parked", #"{"group":"g","positions":[]}"#, "invalid_value"),
            ("delete", #"{"group":"x"}"#, "unknown_group"),
        ]
        for (method, params, name) in cases {
            let refusal = try client.refusal("consumer.\(method)", params)
            #expect(
                refusal != nil && (name == "*" || refusal?.name == name),
                "\(method) \(params): \(refusal?.name ?? "granted")")
        }
        let now = try status(client)
        #expect(now["leased"].integer == 1 && now["progress"].integer == 0 && now["head"].integer == 2, "\(now)")
        #expect(try client.ask("consumer.ack", #"{"group":"g","tokens":[\#(token)]}"#)["progress"].integer == 1)
        #expect(try daemon.terminate() == .exited(0))
    }

    @Test func `the command line makes, shows, mends and deletes a group`() throws {
        let daemon = try place.serve()
        let client = try place.connect()
        try fill(client, leads: 2)
        func command(_ words: String) throws -> (status: TestSupport.ExitStatus, output: String) {
            let ran = try run(
                Programs.commandLine, ["consumer"] + words.split(separator: " ").map(String.init),
                variables: ["LEADLEDGER_SOCKET": place.socket], scratch: place.scratch)
            return (ran.status, ran.output)
        }
        #expect(
            try command("create g --max-attempts 1 --type lead.captured").output.hasPrefix(
                "g: created, from position 0"))
        #expect(try command("create g --max-attempts 2").status == .exited(65))
        try client.ask("consumer.nack", tokens(try claim(client, 1), more: #","error":"no""#))
        let shown = try command("status g").output
        #expect(shown.contains("progress  1 of 2") && shown.contains("L0") && shown.contains("returned"), "\(shown)")
        #expect(try command("status").output.contains("unclaimed"))
        #expect(try command("replay-parked g --position 0").output == "1 replayed, 0 still parked\n")
        #expect(positions(try claim(client)) == [0, 1])
        #expect(try command("delete g").output == "g: deleted\n")
        #expect(try command("status g").status == .exited(65))
        #expect(try daemon.terminate() == .exited(0))
    }

    /// Goal: a row that the disk changed stops its group and no other. Method: every stored copy of it is flipped while the daemon is
    /// down.
    @Test func `a group with a row that is not what was written is refused and can be deleted, and others go on`()
        throws
    {
        var daemon = try place.serve()
        var client = try place.connect()
        try fill(client, leads: 2)
        for group in ["g", "other"] {
            try client.ask("consumer.create", #"{"group":"\#(group)","filter":{"leads":["L0","\#(group)"]}}"#)
        }
        #expect(try daemon.terminate() == .exited(0))
        let path = place.data + "/log/data.mdb"
        var file = try bytes(ofFile: path)
        let wanted = Array(#"["L0","g"]"#.utf8)
        var flipped = 0
        for start in 0..<file.count - wanted.count where file[start] == wanted[0] {
            guard file[start..<start + wanted.count].elementsEqual(wanted) else { continue }
            file[start + 2] ^= 1
            flipped += 1
        }
        try #require(flipped > 0)
        try write(file, toFile: path)
        let findings = try place.check().findings
        #expect(findings.count == 2 && findings.allSatisfy { $0.hasPrefix("log\t") }, "\(findings)")

        daemon = try place.serve()
        client = try place.connect()
        for method in ["claim", "status", "create"] {
            #expect(try client.refusal("consumer.\(method)", #"{"group":"g"}"#)?.name == "corrupted", "\(method)")
        }
        #expect(try client.ask("consumer.claim", #"{"group":"other"}"#)["deliveries"].elements.count == 1)
        #expect(try client.ask("consumer.delete", #"{"group":"g"}"#)["deleted"].boolean == true)
        #expect(try client.ask("consumer.create", #"{"group":"g"}"#)["created"].boolean == true)
        #expect(try daemon.terminate() == .exited(0))
        #expect(try place.check().findings.isEmpty)
    }

    @Test func `what clients that have left had asked, and nobody has computed, takes no memory`() throws {
        let daemon = try place.serve()
        let client = try place.connect()
        try client.ask("consumer.create", #"{"group":"g"}"#)
        let leads = (0..<256).map { "\"\($0)\"" }.joined(separator: ",")
        let read = request(1, "log.read", #"{"from":0,"filter":{"leads":[\#(leads)]}}"#)
        let claim = request(1, "consumer.claim", #"{"group":"g","wait_ms":60000}"#)
        func claimsAre(_ count: Int) throws {
            try Monotonic.wait(for: "\(count) claims to wait") { try status(client)["claims_waiting"].integer == count }
        }
        // The claims take both places that a connection has for reads; the 500 behind them wait, 8 MB in all.
        func askAndLeave() throws {
            let other = try place.connect()
            try other.send(line: ([claim, claim] + Array(repeating: read, count: 500)).joined(separator: "\n"))
            try claimsAre(2)
        }
        for _ in 0..<4 {
            try askAndLeave()
            try claimsAre(0)
        }
        let before = try allocated(daemon)
        for _ in 0..<40 {
            try askAndLeave()
            try claimsAre(0)
        }
        let grown = try allocated(daemon) - before
        #expect(grown < 64 << 20, "\(grown >> 20) MiB of 320 are still there")
        #expect(try daemon.terminate() == .exited(0))
    }

    @Test func `a hundred connections that claim and leave keep nothing`() throws {
        let daemon = try place.serve()
        let client = try place.connect()
        try fill(client, leads: 20)
        try client.ask("consumer.create", #"{"group":"g","max_attempts":1000,"lease_ms":3600000}"#)
        for number in 0..<100 {
            let other = try place.connect()
            // Half of them leave while they wait.
            try other.send(line: request(1, "consumer.claim", #"{"group":"g","limit":3,"wait_ms":60000}"#))
            if number.isMultiple(of: 2) { _ = try other.line() }
        }
        try Monotonic.wait(for: "all leases to be free") {
            let now = try status(client)
            return now["leased"].integer == 0 && now["claims_waiting"].integer == 0
        }
        let all = try claim(client, 100)
        #expect(positions(all) == Array(0..<20))
        #expect(try client.ask("consumer.ack", tokens(all))["progress"].integer == 20)
        #expect(try daemon.terminate() == .exited(0))
    }
}
