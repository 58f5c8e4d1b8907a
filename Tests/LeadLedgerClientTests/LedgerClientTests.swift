import Control
import Foundation
import JSON
import Synchronization
import TestSupport
import Testing

@testable import LeadLedgerClient

@Suite struct LedgerClientTests {
    @Test func `a call gives the result as JSON text`() throws {
        let daemon = try FakeDaemon { connection in
            while let line = connection.line() {
                #expect(line == #"{"jsonrpc":"2.0","id":\#(id(of: line)),"method":"lead.get","params":{"lead":"L-1"}}"#)
                connection.reply(to: line, result: #"{"position":7}"#)
            }
        }
        let client = try LedgerClient(socket: daemon.path)
        for _ in 0..<3 {
            let result = try client.call("lead.get", params: Array(#"{"lead":"L-1"}"#.utf8))
            #expect(String(decoding: result, as: UTF8.self) == #"{"position":7}"#)
        }
        #expect(client.unanswered == 0)
    }

    @Test func `a refusal is thrown with its name, place and hint, and the connection goes on`() throws {
        let daemon = try FakeDaemon { connection in
            while let line = connection.line() {
                connection.refuse(
                    line, name: "busy", code: -32_004, more: #","pointer":"/params/lead","retry_after_ms":200"#)
            }
        }
        let client = try LedgerClient(socket: daemon.path)
        try client.send("status")
        #expect(try refusal(client.receive())?.name == "busy")
        let error = #expect(throws: ClientError.self) { try client.call("status") }
        guard case .server(let refusal) = error else { return #expect(Bool(false), "\(error as Any)") }
        #expect(refusal.code == -32_004)
        #expect(refusal.hint == "look")
        #expect(refusal.pointer == "/params/lead")
        #expect(refusal.retryAfterMilliseconds == 200)
        #expect(error?.exitCode == 69)
    }

    @Test func `where nobody listens the daemon is unreachable`() {
        let error = #expect(throws: ClientError.self) { _ = try LedgerClient(socket: "/tmp/no-such.sock") }
        #expect(error?.exitCode == 69)
        #expect(throws: ClientError.self) { _ = try LedgerClient(socket: String(repeating: "x", count: 108)) }
    }

    @Test func `a connection that is refused closes its own descriptor and no other`() throws {
        let done = Atomic<Bool>(false)
        // Whoever opens between a first and a second closing gets the number that the second takes away.
        let opener = Thread {
            while !done.load(ordering: .acquiring) {
                let descriptor = open("/dev/null", O_RDONLY | O_CLOEXEC)
                #expect(close(descriptor) == 0, "somebody else closed it")
            }
        }
        opener.start()
        for _ in 0..<2_000 { #expect(throws: ClientError.self) { _ = try LedgerClient(socket: "/tmp/no-such.sock") } }
        done.store(true, ordering: .releasing)
        while !opener.isFinished { usleep(1_000) }
    }

    @Test func `a connection that ends before the reply leaves the outcome unknown`() throws {
        let daemon = try FakeDaemon { connection in
            guard let first = connection.line() else { return }
            connection.reply(to: first, result: "{}")
            _ = connection.line()
        }
        let client = try LedgerClient(socket: daemon.path)
        for _ in 0..<5 { try client.send("status") }
        #expect(try client.receive() == .result(json: Array("{}".utf8)))
        let error = #expect(throws: ClientError.self) { try client.receive() }
        guard case .closed(let unanswered, _) = error else { return #expect(Bool(false), "\(error as Any)") }
        #expect(unanswered == 4)
        #expect(error?.exitCode == 75)
    }

    /// The fake daemon stops reading as soon as its replies are not taken. A client that only writes until all is written would
    /// wait for it for ever, since far more than the socket holds goes each way.
    @Test(.timeLimit(.minutes(10)))
    func `a burst larger than the socket's buffers does not get stuck`() throws {
        let answer = "\"" + String(repeating: "r", count: 1_000) + "\""
        let daemon = try FakeDaemon { connection in
            while let line = connection.line() { connection.reply(to: line, result: answer) }
        }
        let client = try LedgerClient(socket: daemon.path, window: 100_000)
        let params = Array(("{\"x\":\"" + String(repeating: "q", count: 500) + "\"}").utf8)
        var received = 0
        for _ in 0..<10_000 {
            while client.isFull {
                #expect(try client.receive() == .result(json: Array(answer.utf8)))
                received += 1
            }
            try client.send("status", params: params)
        }
        while client.unanswered > 0 {
            _ = try client.receive()
            received += 1
        }
        #expect(received == 10_000)
    }

    @Test func `the window bounds what has no reply`() throws {
        let daemon = try FakeDaemon { connection in
            while let line = connection.line() { connection.reply(to: line, result: "1") }
        }
        let client = try LedgerClient(socket: daemon.path, window: 3)
        for _ in 0..<3 { try client.send("status") }
        #expect(client.isFull)
        _ = try client.receive()
        #expect(!client.isFull)
    }

    @Test func `notifications come between replies and none is lost to a call`() throws {
        @Sendable func note(_ number: Int) -> String {
            #"{"jsonrpc":"2.0","method":"log.events","params":{"next":\#(number)}}"#
        }
        let daemon = try FakeDaemon { connection in
            var count = 0
            while let line = connection.line() {
                connection.send(note(count))
                connection.send(note(count + 1))
                connection.reply(to: line, result: "\(count)")
                count += 2
            }
        }
        let client = try LedgerClient(socket: daemon.path)
        #expect(try client.call("status") == Array("0".utf8))
        try client.send("status")
        var seen: [LedgerClient.Message] = []
        for _ in 0..<5 { seen.append(try client.receive()) }
        func expected(_ number: Int) -> LedgerClient.Message {
            .notification(method: "log.events", params: Array(#"{"next":\#(number)}"#.utf8))
        }
        #expect(seen == [expected(0), expected(1), expected(2), expected(3), .result(json: Array("2".utf8))])
    }

    @Test func `a connection that is not served says so instead of leaving outcomes unknown`() throws {
        let daemon = try FakeDaemon { connection in
            connection.send(
                #"{"jsonrpc":"2.0","id":null,"error":{"code":-32003,"message":"no","data":{"name":"not_allowed"}}}"#)
        }
        let client = try LedgerClient(socket: daemon.path)
        let error = #expect(throws: ClientError.self) { try client.call("status") }
        guard case .notServed = error else { return #expect(Bool(false), "\(error as Any)") }
        #expect(error?.exitCode == 77)
    }

    @Test(arguments: [
        #"{"jsonrpc":"2.0","id":99,"result":1}"#, "nonsense", #"{"jsonrpc":"2.0","id":1}"#, #"{"jsonrpc":"2.0"}"#,
    ])
    func `what is no reply to what was asked is not taken for one`(_ reply: String) throws {
        let daemon = try FakeDaemon { connection in
            while connection.line() != nil { connection.send(reply) }
        }
        let client = try LedgerClient(socket: daemon.path)
        let error = #expect(throws: ClientError.self) { try client.call("status") }
        guard case .protocolBroken = error else { return #expect(Bool(false), "\(error as Any)") }
    }

    @Test func `a reply of several megabytes arrives whole`() throws {
        let text = String(repeating: "0123456789", count: 500_000)
        let daemon = try FakeDaemon { connection in
            while let line = connection.line() { connection.reply(to: line, result: "\"\(text)\"") }
        }
        let client = try LedgerClient(socket: daemon.path)
        for _ in 0..<2 { #expect(try client.call(.status) { $0.string } == text) }
    }

    @Test func `a request of several lines is refused before it is sent`() throws {
        let daemon = try FakeDaemon { _ in }
        let client = try LedgerClient(socket: daemon.path)
        #expect(throws: ClientError.self) { try client.send("status", params: Array("{\n}".utf8)) }
        #expect(client.unanswered == 0)
    }

    private func refusal(_ message: LedgerClient.Message) -> ServerError? {
        if case .refused(let error) = message { error } else { nil }
    }
}
