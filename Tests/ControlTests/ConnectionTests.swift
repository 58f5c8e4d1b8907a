import Foundation
import Testing

@testable import Control

/// One client at a time over a live socket: lines, replies and their order.
@Suite struct ConnectionTests {
    @Test func `a request is answered under its id, whatever an id may be`() throws {
        let server = try TestServer()
        let client = try server.connect()
        for id in [
            "1", "-2.5e3", #""web-1""#, #""a\"b\u00e9""#, "null", "12345678901234567890123456789012345",
            "\"\(UUID())\"",
        ] {
            #expect(try client.ask(request(id, .schemaGet, #"{"a":[1,{}]}"#)) == result(id, #"{"a":[1,{}]}"#))
        }
        #expect(try client.ask(#"{"method":"schema.get","id":1,"jsonrpc":"2.0"}"#) == result(1, #""none""#))
    }

    @Test func `an error carries name, code, hint, place and details`() throws {
        let server = try TestServer()
        let client = try server.connect()
        #expect(
            try client.ask(request(1, .logRead)) == """
                {"jsonrpc":"2.0","id":1,"error":{"code":-32045,"message":"no such place","data":{"name":"position_out_of_range",\
                "hint":"`status` shows where the log ends.","pointer":"/params/from","end":7}}}
                """)
    }

    @Test(arguments: [
        ("nonsense", "null parse_error"),
        ("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"schema.get\"}x", "null parse_error"),
        ("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"schema.get\",}", "null parse_error"),
        ("[\(request(1, .schemaGet))]", "null invalid_request"),
        ("[]", "null invalid_request"), ("7", "null invalid_request"), ("{}", "null invalid_request"),
        (#"{"jsonrpc":"2.0","method":"schema.get"}"#, "null invalid_request"),
        (#"{"jsonrpc":"2.0","id":{},"method":"schema.get"}"#, "null invalid_request"),
        (#"{"jsonrpc":"2.0","id":true,"method":"schema.get"}"#, "null invalid_request"),
        (
            "{\"jsonrpc\":\"2.0\",\"id\":\"\(String(repeating: "i", count: 127))\",\"method\":\"schema.get\"}",
            "null invalid_request"
        ),
        (#"{"jsonrpc":"1.0","id":1,"method":"schema.get"}"#, "1 invalid_request"),
        (#"{"id":1,"method":"schema.get"}"#, "1 invalid_request"),
        (#"{"jsonrpc":"2.0","id":1}"#, "1 invalid_request"),
        (#"{"jsonrpc":"2.0","id":1,"method":3}"#, "1 invalid_request"),
        (#"{"jsonrpc":"2.0","id":1,"method":"schema.get","parms":{}}"#, "1 invalid_request"),
        (#"{"jsonrpc":"2.0","id":1,"method":"schema.set"}"#, "1 method_not_found"),
        (#"{"jsonrpc":"2.0","id":1,"method":"schema.get","params":[]}"#, "1 invalid_params"),
        (#"{"jsonrpc":"2.0","id":"a","method":"schema.get","params":{"x":1,"x":2}}"#, "\"a\" duplicate_member"),
        (
            #"{"jsonrpc":"2.0", "id" : -1.5 ,"params":{"id":3,"x":1,"x":2},"method":"schema.get"}"#,
            "-1.5 duplicate_member"
        ),
        (#"{"jsonrpc":"2.0","id":1,"id":2,"method":"schema.get"}"#, "null duplicate_member"),
        (request(1, .schemaGet, String(repeating: "[", count: 100_000)), "null parse_error"),
        (
            request(
                1, .schemaGet, "{\"a\":" + String(repeating: "[", count: 100) + String(repeating: "]", count: 100) + "}"
            ),
            "null parse_error"
        ),
    ])
    func `a bad line is answered by name and the connection lives on`(line: String, expected: String) throws {
        let server = try TestServer()
        let client = try server.connect()
        #expect(error(try client.ask(line)) == expected)
        #expect(try client.ask(request(2, .schemaGet)) == result(2))
    }

    @Test func `bytes that are no UTF-8 are a parse error with their place`() throws {
        let server = try TestServer()
        let client = try server.connect()
        try client.send(Array(#"{"jsonrpc":"2.0","id":""#.utf8) + [0xFF] + Array("\"}\n".utf8))
        let reply = try #require(try client.line())
        #expect(error(reply) == "null parse_error")
        #expect(reply.contains(#""offset":23"#))
    }

    @Test func `answers that are known between two reads leave with them`() throws {
        let server = try TestServer()
        let client = try server.connect()
        for number in 1...3 { #expect(try client.ask(request(number, .leadHistory)) == result(number, #""early""#)) }
        // In the order of the lines, whatever was answered at once.
        let lines = [request(4, .schemaGet), request(5, .leadHistory), request(6, .schemaGet)]
        try client.send(lines.map { $0 + "\n" }.joined())
        for number in 4...6 { #expect(try client.line() == result(number, number == 5 ? #""early""# : "{}")) }
    }

    @Test func `a client is alone when nobody else has had a turn for some time`() throws {
        let server = try TestServer(eventLoops: 1)
        let client = try server.connect()
        // A request and its answer are two turns at most.
        func ask(_ client: TestClient, _ times: Int) throws {
            for _ in 0..<times { #expect(try client.ask(request(1, .schemaGet)) == result(1)) }
        }
        try ask(client, 10)
        #expect(server.watch.lonelyBatches.value == 0)
        try ask(client, 100)
        let alone = server.watch.lonelyBatches.value
        #expect(alone > 50)
        let other = try server.connect()
        for _ in 0..<50 {
            try ask(other, 1)
            try ask(client, 1)
        }
        #expect(server.watch.lonelyBatches.value == alone)
        try ask(client, 100)
        #expect(server.watch.lonelyBatches.value > alone + 50)
    }

    @Test func `blank lines are ignored, carriage returns do no harm`() throws {
        let server = try TestServer()
        let client = try server.connect()
        try client.send("\n\r\n  \t \n" + request(1, .schemaGet) + "\r\n\n" + request(2, .schemaGet) + "\n")
        #expect(try client.line() == result(1))
        #expect(try client.line() == result(2))
    }

    @Test func `a request may be split at every byte`() throws {
        let server = try TestServer()
        let client = try server.connect()
        let text = Array((request(1, .schemaGet) + "\n" + request(2, .schemaGet, #"{"x":"é"}"#) + "\n").utf8)
        for cut in 1..<text.count {
            try client.send(Array(text[..<cut]))
            usleep(200)
            try client.send(Array(text[cut...]))
            #expect(try client.line() == result(1), "cut at \(cut)")
            #expect(try client.line() == result(2, #"{"x":"é"}"#), "cut at \(cut)")
        }
        for byte in text { try client.send([byte]) }
        #expect(try client.line() == result(1))
        #expect(try client.line() == result(2, #"{"x":"é"}"#))
    }

    @Test func `replies leave in the order of the requests, in whatever order they are given`() throws {
        let server = try TestServer()
        let client = try server.connect()
        // Deferred ones are answered last to first; immediate ones and errors stand between; batches come later.
        let methods: [(Method, String)] = [
            (.leadGet, #""deferred""#), (.schemaGet, "{}"), (.append, "{}"), (.leadGet, #""deferred""#),
            (.append, "{}"),
            (.leadGet, #""deferred""#),
        ]
        var sent = ""
        var expected: [String] = []
        for round in 0..<500 {
            for (place, (method, value)) in methods.enumerated() {
                let id = round * 10 + place
                sent += request(id, method) + "\n"
                expected.append(result(id, value))
            }
            if round % 7 == 0 {
                sent += request(round * 10 + 8, .status) + "\n"
                expected.append(result(round * 10 + 8, #""released""#))
            }
        }
        try client.send(sent + request(9_999, .status) + "\n")
        expected.append(result(9_999, #""released""#))
        for line in expected { #expect(try client.line() == line) }
    }

    @Test func `a notification leaves behind the replies given before it`() throws {
        let server = try TestServer()
        let client = try server.connect()
        // The first request holds the others' replies.
        try client.send(
            [request(1, .leadGet), request(2, .logCredit), request(3, .schemaGet), request(4, .logCredit)].joined(
                separator: "\n") + "\n")
        try client.send(request(5, .status) + "\n" + request(6, .logCredit) + "\n")
        let note = #"{"jsonrpc":"2.0","method":"log.caught_up","params":{}}"#
        let expected = [
            result(1, #""deferred""#), result(2, #""credited""#), note, result(3), result(4, #""credited""#), note,
            result(5, #""released""#), result(6, #""credited""#), note,
        ]
        for line in expected { #expect(try client.line() == line) }
    }

    @Test func `a paused connection loses nothing and keeps its order`() throws {
        let server = try TestServer()
        let client = try server.connect()
        var sent = ""
        var expected: [String] = []
        for id in 0..<2_000 {
            let pauses = id % 200 == 50
            sent += request(id, pauses ? .projectionRebuild : .schemaGet) + "\n"
            expected.append(result(id, pauses ? #""rested""# : "{}"))
        }
        // Piece by piece, so that some arrive while it rests.
        let bytes = Array(sent.utf8)
        for start in stride(from: 0, to: bytes.count, by: 7_001) {
            try client.send(Array(bytes[start..<min(start + 7_001, bytes.count)]))
            usleep(1_000)
        }
        client.endSending()
        #expect(try client.lines() == expected)
    }

    @Test func `more requests in flight than the limit wait unread and are all answered`() throws {
        var limits = WireLimits()
        limits.requestsInFlightMax = 16
        let server = try TestServer(limits: limits)
        let client = try server.connect()
        try client.send((0..<1_000).map { request($0, .append) + "\n" }.joined())
        for id in 0..<1_000 { #expect(try client.line() == result(id)) }
        // Held until `status` comes, which the limit keeps out: the client is at fault and may go.
        try client.send((0..<20).map { request($0, .leadGet) + "\n" }.joined() + request(21, .status) + "\n")
        #expect(eventually { server.watch.received.value == 1_016 })
    }

    @Test(arguments: [Method.leadGet, .appendMany])
    func `requests that wait are bounded by what is kept of them, and all are answered`(_ method: Method) throws {
        var limits = WireLimits()
        limits.keptBytesMax = 64 << 10
        // One event loop, so that another client can have answered what waits.
        let server = try TestServer(limits: limits, eventLoops: 1)
        let (client, other) = (try server.connect(), try server.connect())
        let lines = (100..<200).map { id in
            request(id, method, #"{"lead":"\#(String(repeating: "x", count: 1_000))"}"#) + "\n"
        }
        // Of an append what counts is its answer, which waits for a read model, and not its line.
        let kept =
            method == .leadGet
            ? WireLimits.keptBytes(ofLine: lines[0].utf8.count - 1)
            : WireLimits.keptBytes(ofLine: 0) + TestService.answerBytes
        let most = limits.keptBytesMax / kept + 1
        try client.send(lines.joined())
        var (answered, rounds) = (0, 0)
        while answered < lines.count {
            let waiting = min(most, lines.count - answered)
            try #require(eventually { server.watch.received.value >= answered + waiting + rounds })
            #expect(server.watch.received.value == answered + waiting + rounds)
            #expect(try other.ask(request(1, .status)) == result(1, #""released""#))
            rounds += 1
            for _ in 0..<waiting {
                #expect(try client.line() == result(100 + answered, #""deferred""#))
                answered += 1
            }
        }
        #expect(rounds >= lines.count / most && rounds > 3)
    }

    @Test func `the batch ends once for many lines`() throws {
        let server = try TestServer()
        let client = try server.connect()
        try client.send((0..<1_000).map { request($0, .append) + "\n" }.joined())
        for id in 0..<1_000 { #expect(try client.line() == result(id)) }
        #expect(server.watch.batches.value < 100)
    }

    // MARK: Ends

    @Test func `a client that shuts down its direction gets all its replies, then the end`() throws {
        let server = try TestServer()
        let client = try server.connect()
        try client.send(request(1, .append) + "\n" + request(2, .projectionRebuild) + "\n" + request(3, .append) + "\n")
        try client.send(#"{"jsonrpc":"2.0","id":4,"meth"#)
        client.endSending()
        #expect(try client.lines() == [result(1), result(2, #""rested""#), result(3)])
        #expect(client.sawEnd)
        #expect(
            eventually { server.watch.closed.value == 1 && server.listener.connectionCount == 0 })
    }

    @Test func `a close by the service comes after the replies that are owed`() throws {
        let server = try TestServer()
        let client = try server.connect()
        try client.send(request(1, .append) + "\n" + request(2, .logUnsubscribe) + "\n" + request(3, .append) + "\n")
        #expect(try client.lines() == [result(1), result(2, "null")])
    }

    @Test func `a client that goes away while requests are in flight does no harm`() throws {
        let server = try TestServer()
        do {
            let client = try server.connect()
            try client.send((0..<100).map { request($0, .leadGet) + "\n" }.joined())
            #expect(eventually { server.watch.received.value == 100 })
        }
        #expect(eventually { server.watch.closed.value == 1 })
        // The late answers of the first client are dropped. Both event loops get one of these.
        let others = try [server.connect(), server.connect()]
        for client in others { #expect(try client.ask(request(1, .status)) == result(1, #""released""#)) }
    }

    @Test func `a line of 2 MiB is answered and the connection closed, behind the replies that are owed`() throws {
        let server = try TestServer()
        let client = try server.connect()
        try client.send(request(1, .append) + "\n")
        try client.send([UInt8](repeating: UInt8(ascii: "x"), count: 2 << 20))
        try client.send("\n" + request(2, .append) + "\n")
        let lines = try client.lines()
        #expect(lines.count == 2)
        #expect(lines.first == result(1))
        #expect(error(lines.last) == "null frame_too_large")
        #expect(client.sawEnd, "not a reset")
        #expect(server.watch.received.value == 1)
    }

    @Test func `a line of the limit is served, one byte more is not`() throws {
        let server = try TestServer()
        let frame = 1 << 20
        let empty = request(1, .schemaGet, #"{"a":""}"#).utf8.count
        let text = String(repeating: "a", count: frame - empty)
        #expect(
            try server.connect().ask(request(1, .schemaGet, "{\"a\":\"\(text)\"}")) == result(1, "{\"a\":\"\(text)\"}"))
        #expect(
            try error(server.connect().ask(request(1, .schemaGet, "{\"a\":\"\(text)a\"}"))) == "null frame_too_large")
    }

    @Test func `an endless line is refused at the limit and its client closed in the end`() throws {
        var limits = WireLimits()
        limits.lingerTimeMax = .milliseconds(200)
        let server = try TestServer(limits: limits)
        let client = try server.connect()
        let piece = [UInt8](repeating: UInt8(ascii: "x"), count: 64 << 10)
        var sent = 0
        // Goes on writing until the daemon has had enough.
        while sent < 1 << 30 {
            do { try client.send(piece) } catch { break }
            sent += piece.count
        }
        #expect(sent > 1 << 20 && sent < 1 << 28, "\(sent)")
        #expect(eventually { server.listener.connectionCount == 0 })
    }

    @Test func `a line that was begun must end in time`() throws {
        var limits = WireLimits()
        limits.lineTimeMax = .milliseconds(100)
        let server = try TestServer(limits: limits)
        let client = try server.connect()
        try client.send(request(1, .append) + "\n" + #"{"jsonrpc""#)
        let lines = try client.lines()
        #expect(lines.first == result(1))
        #expect(error(lines.last) == "null line_unfinished")
    }

    @Test func `a client that is never at the end of a line may go on for longer than a line may take`() throws {
        var limits = WireLimits()
        limits.lineTimeMax = .seconds(3)
        let server = try TestServer(limits: limits)
        let client = try server.connect()
        let text = Array((request(1, .schemaGet) + "\n").utf8)
        try client.send(Array(text.prefix(10)))
        for _ in 0..<200 {
            usleep(20_000)
            try client.send(Array(text.dropFirst(10)) + Array(text.prefix(10)))
            #expect(try client.line() == result(1))
        }
    }

    @Test func `a subscriber that has shut down its direction still hears, until it goes`() throws {
        let server = try TestServer()
        do {
            let client = try server.connect()
            try client.send(request(1, .logSubscribe) + "\n")
            client.endSending()
            for _ in 0..<1_000 { #expect(try client.line() != nil) }
        }
        #expect(eventually { server.listener.connectionCount == 0 })
    }

    @Test func `an idle connection is closed, a subscriber is not`() throws {
        var limits = WireLimits()
        limits.idleTimeMax = .seconds(2)
        let server = try TestServer(limits: limits)
        let idle = try server.connect()
        #expect(try idle.lines() == [])
        let subscriber = try server.connect()
        #expect(try subscriber.ask(request(1, .logSubscribe)) == result(1, #""subscribed""#))
        usleep(4_000_000)
        #expect(server.listener.connectionCount == 1)
    }

    // MARK: Clients that do not read

    @Test func `a client that does not read is bounded and cut off`() throws {
        var limits = WireLimits()
        limits.stalledTimeMax = .milliseconds(500)
        let server = try TestServer(limits: limits)
        let client = try server.connect()
        // 100,000 requests would be answered with 1 GB; it reads nothing.
        let requests = Array((0..<1_000).map { request($0, .reportFunnel, #"{"bytes":10000}"#) + "\n" }.joined().utf8)
        var sent = 0
        for _ in 0..<100 {
            do { try client.send(requests) } catch { break }
            sent += requests.count
        }
        #expect(eventually { server.listener.connectionCount == 0 }, "cut off")
        let received = server.watch.received.value
        #expect(received < 1_000, "\(received) requests taken: 10 kB each waited for a client that does not read")
    }

    @Test func `a subscriber that does not read is bounded and cut off, one that reads slowly is not`() throws {
        var limits = WireLimits()
        limits.stalledTimeMax = .seconds(3)
        let server = try TestServer(limits: limits)
        let slow = try server.connect()
        #expect(try slow.ask(request(1, .logSubscribe)) == result(1, #""subscribed""#))
        let start = server.watch.notified.value
        #expect(start < 1_000, "\(start) notifications of 10 kB before it read any")
        for _ in 0..<200 {
            for _ in 0..<20 {
                #expect(try slow.line()?.hasPrefix(#"{"jsonrpc":"2.0","method":"log.events","params":"eee"#) == true)
            }
            usleep(20_000)
        }
        #expect(eventually { server.watch.notified.value > start + 500 }, "goes on as it reads")
        #expect(server.listener.connectionCount == 1)
        #expect(eventually { server.listener.connectionCount == 0 }, "cut off when it stops")
    }

    @Test func `replies above the high-water mark pause the lines and go on as the client reads`() throws {
        let server = try TestServer()
        let client = try server.connect()
        let requests = Array((0..<2_000).map { request($0, .reportFunnel, #"{"bytes":20000}"#) + "\n" }.joined().utf8)
        #expect(client.sendWithoutWaiting(requests) == requests.count)
        usleep(100_000)
        #expect(server.watch.received.value < 500)
        for id in 0..<2_000 {
            #expect(try client.line()?.hasPrefix("{\"jsonrpc\":\"2.0\",\"id\":\(id),\"result\":\"xxx") == true)
        }
    }
}
