import Glibc
import TestSupport
import Testing

/// The methods over a real socket, where they work together: what one client does and another sees.
@Suite(.timeLimit(.minutes(10))) struct WireTests {
    private func capture(_ lead: String, id: String = "c", more: String = "") -> String {
        #"{"events":[{"id":"\#(id)","source":"test","type":"lead.captured","subject":"\#(lead)","data":{"channel":"web"}}]\#(more)}"#
    }

    @Test func `reads on a connection see the appends before them`() throws {
        let place = LedgerPlace()
        let daemon = try place.serve()
        let client = try place.connect()
        for number in 0..<200 {
            try client.send(line: request(2 * number, "append", capture("L\(number)")))
            try client.send(line: request(2 * number + 1, "lead.get", #"{"lead":"L\#(number)"}"#))
        }
        for number in 0..<400 {
            let reply = try JSONTree(try #require(try client.line()))
            // It waits for its model, which may take longer on a busy machine, and never says that the lead is unknown.
            let isLate = number % 2 == 1 && reply["error"]["data"]["name"].string == "deadline_exceeded"
            #expect(reply["id"].integer == number && (reply["result"].isPresent || isLate), "\(reply)")
        }
        #expect(try daemon.terminate() == .exited(0))
    }

    @Test func `append waits for a read model, and a deadline that passes carries the result`() throws {
        let place = LedgerPlace()
        let daemon = try place.serve()
        let client = try place.connect()
        let waited = try client.ask("append", capture("A", more: #","wait":{"projection":"queue"}"#))
        #expect(waited["projection"]["name"].string == "queue" && waited["projection"]["position"].integer == 1)
        #expect(try client.ask("queue.list")["leads"][0]["lead"].string == "A")
        let late = try client.refusal("append", capture("B", more: #","wait":{"projection":"leads","deadline_ms":0}"#))
        // It may be there at once; where it is not, the events are stored all the same.
        if let late {
            #expect(late.name == "deadline_exceeded" && late.data["appended"]["first"].integer == 1, "\(late)")
        }
        #expect(try client.ask("status")["head"].integer == 2)
        #expect(
            try client.refusal("append", capture("C", more: #","wait":{"projection":"ledas"}"#))?.name
                == "unknown_projection")
        #expect(try client.ask("status")["head"].integer == 2)
        #expect(try daemon.terminate() == .exited(0))
    }

    @Test func `each unit of append.many is answered in its place, and a refused one leaves the others alone`() throws {
        let place = LedgerPlace()
        let daemon = try place.serve()
        let client = try place.connect()
        func event(
            _ lead: String, _ id: String, _ type: String = "lead.captured", _ data: String = #"{"channel":"web"}"#
        ) -> String {
            #"{"id":"\#(id)","source":"test","type":"\#(type)","subject":"\#(lead)","data":\#(data)}"#
        }
        let touch = #"{"channel":"web","kind":"visit"}"#
        let units = [
            #"{"events":[\#(event("A", "1"))]}"#,
            #"{"events":[\#(event("A", "2", "lead.captured", #"{"channel":7}"#))]}"#,
            #"{"events":[\#(event("B", "1")),\#(event("B", "2", "lead.touched", touch))],"expect":[{"lead":"A","version":1}]}"#,
            #"{"events":[\#(event("A", "3", "lead.touched", touch))],"expect":[{"lead":"A","version":"none"}]}"#,
            #"{"events":[\#(event("C", "1", "lead.won", #"{}"#))]}"#,
            #"{"events":[\#(event("A", "1"))]}"#,
            #"{"events":[\#(event("D", "1"))],"wait":"synced"}"#,
            #"{"expect":[]}"#,
            #"{"events":[\#(event("A", "4", "lead.touched", touch))]}"#,
        ]
        let line = #"{"units":["# + units.joined(separator: ",") + #"],"wait":{"projection":"leads"}}"#
        let result = try client.ask("append.many", line)
        let answers = result["units"].elements
        try #require(answers.count == units.count)
        #expect(answers[0]["first"].integer == 0 && answers[0]["events"][0]["version"].integer == 1)
        let names = answers.map { $0["error"]["data"]["name"].string }
        #expect(
            names == [
                nil, "wrong_type", nil, "version_conflict", names[4], nil, "unknown_field", "missing_field", nil,
            ])
        #expect(names[4] != nil)
        #expect(answers[1]["error"]["data"]["pointer"].string == "/params/units/1/events/0/data/channel")
        #expect(answers[2]["first"].integer == 1 && answers[2]["last"].integer == 2)
        #expect(answers[3]["error"]["data"]["pointer"].string == "/params/units/3/expect/0")
        #expect(answers[3]["error"]["data"]["since"][0]["position"].integer == 0)
        #expect(answers[5]["duplicate"].boolean == true && answers[5]["first"].integer == 0)
        #expect(answers[8]["first"].integer == 3 && answers[8]["events"][0]["version"].integer == 2)
        #expect(result["projection"]["position"].integer == 4 && result["durability"].string == "synced")

        // The whole line is refused only where it is none.
        #expect(try client.refusal("append.many", #"{"units":[]}"#)?.name == "invalid_value")
        #expect(try client.refusal("append.many", #"{"units":[7]}"#)?.name == "wrong_type")
        let none = try client.ask("append.many", #"{"units":[{"events":[]},{"nothing":1}]}"#)["units"].elements
        #expect(none.map { $0["error"]["data"]["name"].string } == ["invalid_value", "unknown_field"])
        #expect(try client.ask("status")["head"].integer == 4)
        #expect(try daemon.terminate() == .exited(0))
    }

    @Test func `a text of few characters and many bytes is refused for what it is`() throws {
        let place = LedgerPlace()
        let daemon = try place.serve()
        let client = try place.connect()
        for attribute in ["correlationid", "causationid", "traceparent"] {
            // 63 fit, and with the letter so do 255 bytes; 64 do not.
            for (smiles, fits) in [(63, true), (64, false)] {
                let text = String(repeating: "\u{1F600}", count: smiles) + (fits ? "abc" : "")
                let event =
                    #"{"id":"\#(attribute)","source":"t","type":"lead.captured","subject":"L","\#(attribute)":"\#(text)","data":{"channel":"web"}}"#
                let refusal = try client.refusal("append", #"{"events":[\#(event)]}"#)
                #expect(refusal?.name == (fits ? nil : "invalid_value"), "\(attribute), \(smiles)")
                #expect(refusal.map { $0.data["pointer"].string } == (fits ? nil : "/params/events/0/\(attribute)"))
            }
        }
        let after = #"{"after":{"since":"2026-01-01T00:00:00Z","position":99999999999999999999}}"#
        #expect(try client.refusal("queue.list", after)?.data["pointer"].string == "/params/after/position")
        #expect(try daemon.terminate() == .exited(0))
    }

    @Test func `a thousand units a line are stored in the order of the lines, and answered in it`() throws {
        let place = LedgerPlace()
        let daemon = try place.serve()
        let client = try place.connect()
        func send(_ line: Int) throws {
            let units = (0..<1_000).map { unit in
                #"{"events":[{"id":"\#(line)-\#(unit)","source":"t","type":"lead.captured","subject":"L\#(unit % 250)","data":{"channel":"web"}}]}"#
            }
            try client.send(line: request(line, "append.many", #"{"units":["# + units.joined(separator: ",") + "]}"))
        }
        // Two are under way at any time.
        try send(0)
        for line in 0..<20 {
            if line < 19 { try send(line + 1) }
            let reply = try JSONTree(try #require(try client.line()))
            #expect(reply["id"].integer == line)
            let firsts = reply["result"]["units"].elements.map { $0["first"].integer }
            #expect(firsts == Array(line * 1_000..<(line + 1) * 1_000))
        }
        #expect(try daemon.terminate() == .exited(0))
    }

    @Test func `a dry run says what would happen and stores nothing`() throws {
        let place = LedgerPlace()
        let daemon = try place.serve()
        let client = try place.connect()
        let dry = #","dry_run":true"#
        let would = try client.ask("append", capture("A", more: dry))
        #expect(would["dry_run"].boolean == true && would["duplicate"].boolean == false)
        #expect(would["events"][0]["version"].integer == 1 && !would["first"].isPresent)
        #expect(try client.ask("status")["head"].integer == 0)
        try client.ask("append", capture("A"))
        let stored = try client.ask("append", capture("A", more: dry))
        #expect(
            stored["dry_run"].boolean == true && stored["duplicate"].boolean == true && stored["first"].integer == 0)
        let conflict = try client.refusal(
            "append", capture("B", more: dry + #","expect":[{"lead":"A","version":"none"}]"#))
        #expect(conflict?.name == "version_conflict" && conflict?.data["current"].integer == 1)
        #expect(
            try client.refusal("append", capture("C", more: dry + #","wait":{"projection":"leads"}"#))?.name
                == "invalid_value")
        #expect(try client.refusal("append", capture("C", more: #","dry_run":1"#))?.name == "wrong_type")
        // One that would be stored leaves no trace for those beside it.
        try client.send(line: request(100, "append", capture("D", more: dry)))
        try client.send(line: request(101, "append", capture("D")))
        let first = try JSONTree(try #require(try client.line()))
        let second = try JSONTree(try #require(try client.line()))
        #expect(first["result"]["dry_run"].boolean == true)
        #expect(second["result"]["first"].integer == 1 && second["result"]["duplicate"].boolean == false)
        #expect(try client.ask("status")["head"].integer == 2)
        #expect(try daemon.terminate() == .exited(0))
    }

    @Test func `a conflict names the first events after the expected version, and how many there are`() throws {
        let place = LedgerPlace()
        let daemon = try place.serve()
        let client = try place.connect()
        try client.ask("append", capture("A"))
        for number in 0..<20 {
            let note = #"{"id":"n\#(number)","source":"test","type":"lead.noted","subject":"A","data":{"text":"x"}}"#
            try client.ask("append", #"{"events":[\#(note)]}"#)
        }
        let conflict = try client.refusal("append", capture("B", more: #","expect":[{"lead":"A","version":1}]"#))
        let since = conflict?.data["since"].elements.compactMap { $0["position"].integer }
        #expect(conflict?.data["current"].integer == 21 && since == Array(1...16))
        // The history has the others.
        let rest = try client.ask("lead.history", #"{"lead":"A","from_version":18}"#)["events"].elements
        #expect(rest.compactMap { $0["position"].integer } == Array(17...20))
        #expect(try daemon.terminate() == .exited(0))
    }

    @Test func `a subscription catches up, says so, and goes on live, as far as its credit`() throws {
        let place = LedgerPlace()
        let daemon = try place.serve()
        let writer = try place.connect()
        for number in 0..<5 { try writer.ask("append", capture("L\(number)")) }
        let reader = try place.connect()
        try reader.send(line: request(1, "log.subscribe", #"{"from":1,"credit":5}"#))
        var positions: [Int] = []
        var caughtUpAt: Int?
        func take(until isDone: () -> Bool) throws {
            while !isDone() {
                let line = try JSONTree(try #require(try reader.line()))
                switch line["method"].string {
                case "log.events":
                    positions += line["params"]["events"].elements.compactMap { $0["position"].integer }
                    #expect(line["params"]["next"].integer == positions.last.map { $0 + 1 })
                case "log.caught_up": caughtUpAt = line["params"]["position"].integer
                case "log.heartbeat": break
                default: #expect(line["result"].isPresent, "\(line)")
                }
            }
        }
        try take { caughtUpAt != nil }
        #expect(positions == [1, 2, 3, 4] && caughtUpAt == 5)
        // One credit is left.
        for number in 5..<8 { try writer.ask("append", capture("L\(number)")) }
        try take { positions.count == 5 }
        try reader.send(line: request(2, "log.credit", #"{"subscription":1,"events":100}"#))
        try take { positions.count == 7 }
        #expect(positions == Array(1...7))
        #expect(try daemon.terminate() == .exited(0))
    }

    @Test func `a filter gives what matches, and next goes beyond what does not`() throws {
        let place = LedgerPlace()
        let daemon = try place.serve()
        let client = try place.connect()
        for number in 0..<20 { try client.ask("append", capture("L\(number % 4)", id: "c\(number)")) }
        let page = try client.ask(
            "log.read", #"{"from":0,"limit":100,"filter":{"leads":["L2"],"types":["lead.captured"]}}"#)
        #expect(page["events"].elements.compactMap { $0["position"].integer } == [2, 6, 10, 14, 18])
        #expect(page["next"].integer == 20 && page["head"].integer == 20)
        #expect(try client.ask("log.read", #"{"from":0,"filter":{"types":[]}}"#)["events"].elements.isEmpty)
        #expect(try client.refusal("log.read", #"{"from":21}"#)?.name == "position_out_of_range")
        #expect(
            try client.refusal("log.read", #"{"from":0,"filter":{"types":["lead.capturd"]}}"#)?.name
                == "unknown_event_type")
        #expect(try daemon.terminate() == .exited(0))
    }

    @Test func `a rebuild that is waited for has taken over when it is answered`() throws {
        let place = LedgerPlace()
        let daemon = try place.serve()
        let client = try place.connect()
        for number in 0..<50 {
            let wait = number == 49 ? #","wait":{"projection":"queue"}"# : ""
            try client.ask("append", capture("L\(number)", more: wait))
        }
        let before = try client.ask("queue.list", #"{"as_of":"2100-01-01"}"#)
        let rebuilt = try client.ask("projection.rebuild", #"{"name":"queue","wait":true}"#)
        #expect(
            rebuilt["from_build"].integer == 1 && rebuilt["build"].integer == 2 && rebuilt["position"].integer == 50)
        let model = try client.ask("projection.list")["projections"].elements.first { $0["name"].string == "queue" }
        #expect(model?["build"].integer == 2 && model?["state"].string == "live")
        #expect(try client.ask("queue.list", #"{"as_of":"2100-01-01"}"#) == before)
        #expect(try client.refusal("projection.rebuild", #"{"name":"ledas"}"#)?.name == "unknown_projection")
        #expect(try daemon.terminate() == .exited(0))
    }

    @Test func `every schema that is listed is given out`() throws {
        let place = LedgerPlace()
        let daemon = try place.serve()
        let client = try place.connect()
        let names = try client.ask("schema.get")["schemas"].elements.compactMap(\.string)
        #expect(names.count > 35)
        for name in names {
            #expect(try client.ask("schema.get", #"{"name":"\#(name)"}"#)["schema"].isPresent, "\(name)")
        }
        #expect(try client.refusal("schema.get", #"{"name":"lead.x"}"#)?.name == "unknown_schema")
        #expect(try daemon.terminate() == .exited(0))
    }

    @Test func `the queue and the reports know what was stored before the question`() throws {
        let place = LedgerPlace()
        let daemon = try place.serve()
        let client = try place.connect()
        var late = 0
        for number in 0..<30 {
            try client.ask("append", capture("L\(number)"))
            for (method, count) in [("queue.list", "total"), ("report.funnel", "leads")] {
                let answer = try client.ask(method)
                let found = method == "queue.list" ? answer[count].integer : answer["total"][count].integer
                #expect(found == answer["position"].integer && answer["head"].integer == number + 1, "\(answer)")
                if found != number + 1 { late += 1 }
            }
        }
        // A question waits for two seconds, a read model else for a fifth of one: without the wait nearly all would be late.
        #expect(late < 15, "\(late) of 60 answers were late")
        #expect(try daemon.terminate() == .exited(0))
    }

    @Test func `what is dated after as_of is left out, and as_of is refused where it says nothing`() throws {
        let place = LedgerPlace()
        let daemon = try place.serve()
        let client = try place.connect()
        for (lead, day) in [("A", "01"), ("B", "10"), ("C", "20")] {
            try client.ask(
                "append",
                #"{"events":[{"id":"c","source":"t","type":"lead.captured","subject":"\#(lead)","time":"2026-01-\#(day)T00:00:00Z","data":{}}]}"#
            )
        }
        let queue = try client.askWhenFresh("queue.list", #"{"as_of":"2026-01-15"}"#)
        #expect(
            queue["total"].integer == 2
                && queue["leads"].elements.map { $0["age_seconds"].integer } == [1_209_600, 432_000])
        let funnel = try client.askWhenFresh("report.funnel", #"{"as_of":"2026-01-15","horizon_days":10}"#)
        #expect(funnel["total"]["leads"].integer == 2 && funnel["total"]["censored"].integer == 1, "\(funnel)")
        #expect(
            try client.refusal("report.funnel", #"{"as_of":"2026-01-15"}"#)?.data["pointer"].string == "/params/as_of")
        #expect(
            try client.refusal("report.funnel", #"{"from":"2026-02-01","to":"2026-01-01"}"#)?.name == "invalid_value")
        #expect(try client.refusal("report.attribution", #"{"from":"2026-01"}"#)?.name == "invalid_time")
        #expect(try daemon.terminate() == .exited(0))
    }

    @Test func `a channel may be called as an absent one is shown`() throws {
        let place = LedgerPlace()
        let daemon = try place.serve()
        let client = try place.connect()
        for (lead, channel) in [("A", "(none)"), ("B", ""), ("C", "(unattributed)")] {
            try client.ask(
                "append",
                #"{"events":[{"id":"c","source":"t","type":"lead.captured","subject":"\#(lead)","data":{"channel":"\#(channel)"}}]}"#
            )
        }
        for (channel, lead) in [("(none)", "A"), ("", "B"), ("(unattributed)", "C")] {
            let found = try client.askWhenFresh("queue.list", #"{"channel":"\#(channel)"}"#)["leads"].elements
            #expect(found.map { $0["lead"].string } == [lead])
        }
        #expect(try daemon.terminate() == .exited(0))
    }

    @Test(arguments: [
        ("lead.captured", #"{"amount":1}"#, "missing_field", "/params/events/0/data"),
        ("lead.touched", #"{"channel":"c","kind":"click","amount":1}"#, "missing_field", "/params/events/0/data"),
        ("lead.opportunity_opened", #"{"amount":5}"#, "missing_field", "/params/events/0/data"),
        (
            "lead.recycled", #"{"reason":"x","not_before":"gibberish!"}"#, "invalid_time",
            "/params/events/0/data/not_before"
        ),
        ("lead.queued", #"{"queue":"q","due":"2026-02-30T00:00:00Z"}"#, "invalid_time", "/params/events/0/data/due"),
    ])
    func `an amount needs its currency, and a planned time is a time`(
        type: String, data: String, name: String, pointer: String
    ) throws {
        let place = LedgerPlace()
        let daemon = try place.serve()
        let client = try place.connect()
        try client.ask("append", capture("L"))
        let refusal = try client.refusal(
            "append", #"{"events":[{"id":"x","source":"t","type":"\#(type)","subject":"L","data":\#(data)}]}"#)
        #expect(refusal?.name == name && refusal?.data["pointer"].string == pointer, "\(refusal as Any)")
        #expect(try client.ask("status")["head"].integer == 1)
        #expect(try daemon.terminate() == .exited(0))
    }

    @Test func `a number that fits nowhere is refused, not taken for absent`() throws {
        let place = LedgerPlace()
        let daemon = try place.serve()
        let client = try place.connect()
        try client.ask("append", capture("A"))
        let questions = [
            ("log.read", #"{"from":1e30}"#), ("log.read", #"{"from":0,"to":18446744073709551616}"#),
            ("log.subscribe", #"{"from":1e30,"credit":1}"#), ("log.credit", #"{"subscription":1e30,"events":1}"#),
            ("lead.history", #"{"lead":"A","from_version":1e30}"#),
            ("queue.list", #"{"after":{"since":"2026-01-01","position":1e30}}"#),
        ]
        for (method, params) in questions {
            #expect(try client.refusal(method, params)?.name == "invalid_value", "\(method) \(params)")
        }
        #expect(try daemon.terminate() == .exited(0))
    }

    @Test func `a subscription may begin at what the connection has just sent`() throws {
        let place = LedgerPlace()
        let daemon = try place.serve()
        let client = try place.connect()
        try client.send(line: request(1, "append", capture("A")))
        try client.send(line: request(2, "log.subscribe", #"{"from":1,"credit":1}"#))
        #expect(try JSONTree(try #require(try client.line()))["result"].isPresent)
        #expect(try JSONTree(try #require(try client.line()))["result"]["head"].integer == 1)
        #expect(try daemon.terminate() == .exited(0))
    }

    /// What a client asked that has gone is not computed, and one that asks much does not keep the others waiting.
    @Test func `thousands of slow reads of one client leave another's reads alone`() throws {
        let place = LedgerPlace()
        let daemon = try place.serve()
        let client = try place.connect()
        for page in 0..<20 {
            for number in 0..<250 {
                try client.send(line: request(number, "append", capture("L\(page)-\(number)")))
            }
            for _ in 0..<250 { _ = try client.line() }
        }
        do {
            let greedy = try place.connect()
            for number in 0..<3_000 {
                try greedy.send(line: request(number, "log.read", #"{"from":0,"filter":{"leads":["nobody"]}}"#))
            }
            #expect(try client.askWhenFresh("lead.get", #"{"lead":"L0-0"}"#)["lead"]["version"].integer == 1)
        }
        // It is gone now, with most of its questions.
        let before = Monotonic.milliseconds()
        #expect(try client.ask("log.read", #"{"from":0,"limit":1}"#)["events"].elements.count == 1)
        #expect(try client.askWhenFresh("report.funnel")["total"]["leads"].integer == 5_000)
        #expect(Monotonic.milliseconds() - before < 20_000)
        #expect(try daemon.terminate() == .exited(0))
    }

    /// Alone, its loop appends for it; with more in flight the appender does. Whichever it is, answers and positions keep its order.
    @Test func `a client that sends now one, now many, is answered in its order`() throws {
        let place = LedgerPlace()
        let daemon = try place.serve()
        let client = try place.connect()
        var random = SeededGenerator(seed: announcedSeed("WireTests"))
        var sent = 0
        for _ in 0..<30 {
            // Long enough alone, then not.
            let alone = Int.random(in: 0...60, using: &random)
            for wave in [Int](repeating: 1, count: alone) + [.random(in: 2...300, using: &random)] {
                for number in sent..<sent + wave {
                    try client.send(line: request(number, "append", capture("L\(number)")))
                }
                for number in sent..<sent + wave {
                    let reply = try JSONTree(try #require(try client.line()))
                    #expect(reply["id"].integer == number && reply["result"]["first"].integer == number, "\(reply)")
                }
                sent += wave
            }
        }
        #expect(try client.ask("status")["head"].integer == sent)
        #expect(try daemon.terminate() == .exited(0))
    }

    @Test func `whoever waits when the daemon stops is told that the events are stored`() throws {
        let place = LedgerPlace()
        // A read model whose map is full follows no more.
        let settings = place.scratch + "/settings.yaml"
        try write("cache_map_bytes: 1048576\n", toFile: settings)
        let daemon = try place.serve(["--config", settings])
        let client = try place.connect()
        let long = String(repeating: "c", count: 250)
        let head = 20_000
        for start in stride(from: 0, to: head, by: 100) {
            for number in start..<start + 100 {
                try client.send(line: request(number, "append", capture("L\(number)").replacing("web", with: long)))
            }
            for _ in 0..<100 { _ = try client.line() }
        }
        // Read models stand still in the first seconds of a load, so it shows some time after the last event.
        var paused: String?
        try Monotonic.wait(for: "a read model whose map is full", milliseconds: 60_000) {
            let models = try client.ask("projection.list")["projections"].elements
            paused = models.first { $0["state"].string == "paused" }?["name"].string
            return paused != nil
        }
        let name = try #require(paused)
        try client.send(
            line: request(7, "append", capture("last", more: #","wait":{"projection":"\#(name)","deadline_ms":60000}"#))
        )
        try Monotonic.wait(for: "the append to be stored", milliseconds: 20_000) {
            try place.connect().ask("status")["head"].integer == head + 1
        }
        daemon.process.send(signal: SIGTERM)
        let reply = try JSONTree(try #require(try client.line()))
        #expect(reply["error"]["data"]["name"].string == "deadline_exceeded", "\(reply)")
        #expect(reply["error"]["data"]["appended"]["first"].integer == head)
        #expect(try daemon.process.waitForEnd() == .exited(0))
    }
}
