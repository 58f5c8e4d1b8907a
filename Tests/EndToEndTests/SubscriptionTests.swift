import Glibc
import TestSupport
import Testing

/// Subscriptions over a real socket: what reaches a client, in which order, and where it can go on.
@Suite(.timeLimit(.minutes(10))) struct SubscriptionTests {
    /// Appends captures and touches of leads L0...L6 in units of `unit` events, over four channels and two sources; the
    /// event at position p is the one numbered p.
    private func append(_ numbers: Range<Int>, unit: Int = 500, _ client: LineClient) throws {
        var first = numbers.lowerBound
        while first < numbers.upperBound {
            let last = min(first + unit, numbers.upperBound)
            let events = (first..<last).map { event($0) }.joined(separator: ",")
            #expect(try client.ask("append", #"{"events":[\#(events)]}"#)["last"].integer == last - 1)
            first = last
        }
    }

    private func event(_ number: Int) -> String {
        // A touch must say so where it has none.
        let none = number < 7 ? "" : #""channel":"","#
        let channel = [#""channel":"web","#, #""channel":"fair","#, none, #""channel":" ","#][number % 4]
        let (type, kind) = number < 7 ? ("captured", "") : ("touched", #""kind":"visit","#)
        let source = number % 3 == 0 ? "form" : "ads"
        return
            #"{"id":"e\#(number)","source":"\#(source)","type":"lead.\#(type)","subject":"L\#(number % 7)","data":{\#(kind)\#(channel)"campaign":"c"}}"#
    }

    private struct Notification {
        var name: String
        var params: JSONTree
        var positions: [Int] { params["events"].elements.compactMap { $0["position"].integer } }
        /// The position to resume from.
        var resume: Int? { params["next"].integer ?? params["position"].integer }
    }

    private func notification(_ client: LineClient) throws -> Notification? {
        while let line = try client.line() {
            let tree = try JSONTree(line)
            if let name = tree["method"].string { return Notification(name: name, params: tree["params"]) }
            #expect(tree["result"].isPresent, "\(line)")
        }
        return nil
    }

    private func subscribe(_ client: LineClient, from: Int, credit: Int = 1_000_000, filter: String? = nil) throws {
        let filter = filter.map { #","filter":\#($0)"# } ?? ""
        try client.send(line: request(1, "log.subscribe", #"{"from":\#(from),"credit":\#(credit)\#(filter)}"#))
    }

    @Test func `a filter means the same to a subscription, to log.read, and to whoever looks at all events`() throws {
        let place = LedgerPlace()
        let daemon = try place.serve()
        let client = try place.connect()
        try append(0..<700, client)
        let filters: [(text: String, matches: (Int) -> Bool)] = [
            (#"{"channels":["web"]}"#, { $0 % 4 == 0 }), (#"{"channels":["fair",null]}"#, { $0 % 4 != 0 }),
            (#"{"sources":["form"]}"#, { $0 % 3 == 0 }), (#"{"types":["lead.captured"]}"#, { $0 < 7 }),
            (#"{"leads":["L2","L5"],"channels":["web"]}"#, { [2, 5].contains($0 % 7) && $0 % 4 == 0 }),
            (
                #"{"types":["lead.touched"],"leads":["L1"],"sources":["ads"],"channels":[null]}"#,
                {
                    $0 >= 7 && $0 % 7 == 1 && $0 % 3 != 0 && $0 % 4 > 1
                }
            ),
            (#"{"channels":[]}"#, { _ in false }),
        ]
        for (text, matches) in filters {
            let expected = (0..<700).filter(matches)
            let page = try client.ask("log.read", #"{"from":0,"limit":1000,"filter":\#(text)}"#)
            #expect(page["events"].elements.compactMap { $0["position"].integer } == expected, "\(text)")
            let subscriber = try place.connect()
            try subscribe(subscriber, from: 0, filter: text)
            var seen: [Int] = []
            while let next = try notification(subscriber), next.name != "log.caught_up" { seen += next.positions }
            #expect(seen == expected, "\(text)")
        }
        for wrong in [#"{"channels":[7]}"#, #"{"sources":[""]}"#, #"{"source":["form"]}"#, #"{"channels":"web"}"#] {
            for method in ["log.read", "log.subscribe"] {
                let params = #"{"from":0,\#(method == "log.read" ? "" : #""credit":1,"#)"filter":\#(wrong)}"#
                #expect(try client.refusal(method, params) != nil, "\(method) \(wrong)")
            }
        }
        #expect(try daemon.terminate() == .exited(0))
    }

    /// The client goes away at any byte, and goes on with what the last whole line told it.
    @Test func `whoever is cut off anywhere and resumes sees each event once`() throws {
        let seed = announcedSeed("SubscriptionTests")
        var random = SeededGenerator(seed: seed)
        let place = LedgerPlace()
        let daemon = try place.serve()
        try append(0..<6_000, try place.connect())
        var seen: [Int] = []
        var next = 0
        var connections = 0
        while next < 6_000 {
            connections += 1
            let client = try place.connect()
            try subscribe(client, from: next)
            // The last ones read to the end.
            var left = connections > 12 ? .max : Int.random(in: 0..<4, using: &random)
            while left > 0, next < 6_000, let notification = try notification(client) {
                seen += notification.positions
                if notification.name == "log.events" { #expect(notification.resume == seen.last.map { $0 + 1 }) }
                next = try #require(notification.resume)
                left -= 1
            }
        }
        #expect(seen == Array(0..<6_000), "seed \(seed)")
        #expect(connections > 3, "seed \(seed)")
        #expect(try daemon.terminate() == .exited(0))
    }

    @Test func `who subscribes and ends it a thousand times gets every event in the one that stays`() throws {
        let place = LedgerPlace()
        let daemon = try place.serve()
        try append(0..<2_000, try place.connect())
        let client = try place.connect()
        let rounds = 1_000
        var text = ""
        for id in 1...rounds {
            let filter = id % 2 == 0 ? #","filter":{"leads":["nobody"]}"# : ""
            text += request(1, "log.subscribe", #"{"from":0,"credit":1000000\#(filter)}"#) + "\n"
            text += request(2, "log.unsubscribe", #"{"subscription":\#(id)}"#) + "\n"
        }
        text += request(3, "log.subscribe", #"{"from":0,"credit":1000000}"#)
        try client.send(line: text)
        var seen: [Int] = []
        while let next = try notification(client) {
            guard next.params["subscription"].integer == rounds + 1 else { continue }
            if next.name == "log.caught_up" { break }
            seen += next.positions
        }
        #expect(seen == Array(0..<2_000))
        #expect(try daemon.terminate() == .exited(0))
    }

    @Test func `a subscription without credit says once that it fell behind, and again that it caught up`() throws {
        let place = LedgerPlace()
        let daemon = try place.serve()
        let writer = try place.connect()
        try append(0..<10, writer)
        let reader = try place.connect()
        try subscribe(reader, from: 0, credit: 10)
        #expect(try notification(reader)?.positions == Array(0..<10))
        let caughtUp = try #require(try notification(reader))
        #expect(caughtUp.name == "log.caught_up" && caughtUp.resume == 10)
        // `Limits.fellBehindEvents` and some more.
        try append(10..<11_010, unit: 1_000, writer)
        var behind = try #require(try notification(reader))
        while behind.name == "log.heartbeat" { behind = try #require(try notification(reader)) }
        #expect(behind.name == "log.fell_behind" && behind.resume == 10)
        #expect(try #require(behind.params["head"].integer) > 10_010)
        try reader.send(line: request(2, "log.credit", #"{"subscription":1,"events":1000000}"#))
        var seen: [Int] = []
        var names: Set<String> = []
        while let next = try notification(reader) {
            if next.name == "log.caught_up" {
                #expect(next.resume == 11_010)
                break
            }
            names.insert(next.name)
            seen += next.positions
        }
        #expect(seen == Array(10..<11_010) && names.subtracting(["log.heartbeat"]) == ["log.events"], "\(names)")
        #expect(try daemon.terminate() == .exited(0))
    }

    @Test func `a search that finds nothing says how far it has come`() throws {
        let place = LedgerPlace()
        let daemon = try place.serve()
        try append(0..<120_000, unit: 1_000, try place.connect())
        let reader = try place.connect()
        try subscribe(reader, from: 0, filter: #"{"leads":["nobody"]}"#)
        var places: [Int] = []
        while let next = try notification(reader) {
            places.append(try #require(next.resume))
            if next.name == "log.caught_up" { break }
            #expect(next.name == "log.heartbeat" && next.params["head"].integer == 120_000)
        }
        // Two by `Limits.heartbeatEvents`, and the end; a slow machine may say more of them.
        #expect(places.count >= 3 && places == places.sorted() && Set(places).count == places.count, "\(places)")
        #expect(places.last == 120_000)
        #expect(try daemon.terminate() == .exited(0))
    }

    @Test func `a client that stops reading is cut off, and what it has got says where to go on`() throws {
        let place = LedgerPlace()
        let daemon = try place.serve()
        let writer = try place.connect()
        try append(0..<12_000, unit: 1_000, writer)
        let stalled = try place.connect()
        try subscribe(stalled, from: 0)
        let first = try #require(try notification(stalled))
        #expect(first.positions.first == 0)
        try Monotonic.wait(for: "the client to be cut off", milliseconds: 60_000) {
            daemon.process.errorOutput.contains("a client that does not read was cut off")
        }
        // Others are served all the while; the stalled one reads what had been sent, up to the last whole line.
        #expect(try writer.ask("status")["head"].integer == 12_000)
        var seen = first.positions
        var next = try #require(first.resume)
        while let notification = try notification(stalled) {
            seen += notification.positions
            next = try #require(notification.resume)
        }
        #expect(next < 12_000 && seen == Array(0..<next))
        let again = try place.connect()
        try subscribe(again, from: next)
        while let notification = try notification(again), notification.name != "log.caught_up" {
            seen += notification.positions
        }
        #expect(seen == Array(0..<12_000))
        #expect(try daemon.terminate() == .exited(0))
    }

    @Test func `an event that was changed on the disk ends the subscription before it, with the reason`() throws {
        let place = LedgerPlace()
        let daemon = try place.serve()
        let client = try place.connect()
        for number in 0..<9 {
            let unit =
                #"{"events":[{"id":"e","source":"test","type":"lead.captured","subject":"haystack-\#(number)","data":{}}]}"#
            try client.ask("append", unit)
        }
        try change("haystack-6", in: place.data + "/log/data.mdb")
        try subscribe(client, from: 1)
        let events = try #require(try notification(client))
        let ended = try #require(try notification(client))
        #expect(events.name == "log.events" && events.positions == Array(1..<6))
        #expect(ended.name == "log.ended" && ended.resume == 6, "\(ended)")
        #expect(
            ended.params["error"]["data"]["name"].isPresent && ended.params["error"]["message"].string?.isEmpty == false
        )
        // The connection lives on, without the subscription.
        #expect(try client.refusal("log.credit", #"{"subscription":1,"events":1}"#)?.name == "unknown_subscription")
        try daemon.process.killAndWait()
    }

    /// Changes a text wherever it stands in a file.
    private func change(_ text: String, in path: String) throws {
        let descriptor = open(path, O_RDWR | O_CLOEXEC)
        guard descriptor >= 0 else { throw SystemFailure("open \(path)") }
        defer { close(descriptor) }
        var status = stat()
        fstat(descriptor, &status)
        // Space is allocated ahead; what is used lies in the first mebibyte.
        var bytes = [UInt8](repeating: 0, count: min(Int(status.st_size), 1 << 20))
        guard pread(descriptor, &bytes, bytes.count, 0) == bytes.count else { throw SystemFailure("read \(path)") }
        let needle = Array(text.utf8)
        var found = 0
        for offset in 0..<(bytes.count - needle.count)
        where bytes[offset..<(offset + needle.count)].elementsEqual(needle) {
            var changed = needle[0] ^ 1
            guard pwrite(descriptor, &changed, 1, off_t(offset)) == 1 else { throw SystemFailure("write \(path)") }
            found += 1
        }
        #expect(found > 0)
    }
}
