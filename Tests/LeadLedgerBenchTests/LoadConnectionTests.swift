import Glibc
import Testing

@testable import leadledger_bench

/// A connection whose daemon is the test.
private struct Conversation {
    let connection: LoadConnection
    let far: Int32
    var latency = LatencyHistogram()

    init(events: Int, inFlight: Int, obeysBusy: Bool = false) throws {
        var ends: [Int32] = [0, 0]
        try #require(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0)
        let stream = EventStream(templates: EventTemplates(tag: "t"), seed: 1, leads: 10)
        connection = LoadConnection(
            descriptor: ends[0], stream: stream, events: events, inFlightMax: inFlight, obeysBusy: obeysBusy)
        far = ends[1]
    }

    /// How many lines the connection has sent.
    func takeRequests() -> Int { takeLines().count }

    func takeLines() -> [String] {
        var bytes = [UInt8](repeating: 0, count: 1 << 20)
        let count = recv(far, &bytes, bytes.count, Int32(MSG_DONTWAIT))
        return count < 0 ? [] : bytes[..<count].split(separator: 0x0A).map { String(decoding: $0, as: UTF8.self) }
    }

    mutating func answer(_ text: String) throws {
        let bytes = Array(text.utf8)
        try #require(write(far, bytes, bytes.count) == bytes.count)
        try connection.receive(into: &latency)
    }
}

@Suite struct LoadConnectionTests {
    private func result(_ number: Int) -> String {
        #"{"jsonrpc":"2.0","id":\#(1_000_000_000 + number),"result":{"first":0}}"# + "\n"
    }

    @Test func `no more than the allowed requests are in flight and all are sent in the end`() throws {
        var conversation = try Conversation(events: 5, inFlight: 2)
        defer { close(conversation.far) }
        try conversation.connection.send()
        #expect(conversation.takeRequests() == 2)
        try conversation.connection.send()
        #expect(conversation.takeRequests() == 0)
        for number in 0..<5 {
            try conversation.answer(result(number))
            try conversation.connection.send()
            #expect(conversation.takeRequests() == (number < 3 ? 1 : 0))
        }
        #expect(conversation.connection.isDone)
        #expect(conversation.connection.errorCount == 0)
        #expect(conversation.latency.count == 5)
    }

    @Test func `a reply that comes in pieces counts once it is whole`() throws {
        var conversation = try Conversation(events: 2, inFlight: 2)
        defer { close(conversation.far) }
        try conversation.connection.send()
        let both = result(0) + result(1)
        try conversation.answer(String(both.prefix(70)))
        #expect(conversation.connection.answered == 1)
        try conversation.answer(String(both.dropFirst(70)))
        #expect(conversation.connection.answered == 2)
        #expect(conversation.connection.errorCount == 0)
    }

    @Test func `an error, an answer to another request and a short line are counted and the first is kept`() throws {
        var conversation = try Conversation(events: 4, inFlight: 4)
        defer { close(conversation.far) }
        try conversation.connection.send()
        let error = #"{"jsonrpc":"2.0","id":1000000000,"error":{"code":-32010,"message":"no","data":{"name":"busy"}}}"#
        try conversation.answer(error + "\n")
        try conversation.answer(result(7))
        try conversation.answer("{}\n")
        try conversation.answer(result(3))
        #expect(conversation.connection.isDone)
        #expect(conversation.connection.errorCount == 3)
        #expect(conversation.connection.firstError == error)
    }

    private func error(_ number: Int, _ data: String) -> String {
        #"{"jsonrpc":"2.0","id":\#(1_000_000_000 + number),"error":{"code":-1,"message":"no","data":{\#(data)}}}"#
            + "\n"
    }

    @Test func `requests that are told to come again go first and in their order, with those that needed them`() throws
    {
        var conversation = try Conversation(events: 6, inFlight: 4, obeysBusy: true)
        defer { close(conversation.far) }
        let connection = conversation.connection
        try connection.send()
        let lines = conversation.takeLines()
        try conversation.answer(result(0))
        try conversation.answer(error(1, #""name":"busy","retry_after_ms":0"#))
        try connection.send()
        try #require(conversation.takeRequests() == 0)
        try conversation.answer(error(2, #""name":"unknown_lead""#))
        try conversation.answer(result(3))
        #expect(connection.isWaiting)
        try connection.send()
        #expect(conversation.takeLines() == [lines[1], lines[2]])
        try conversation.answer(result(1) + result(2))
        try connection.send()
        #expect(conversation.takeRequests() == 2)
        try conversation.answer(result(4) + result(5))
        #expect(connection.isDone)
        #expect(connection.errorCount == 0)
        #expect(connection.busyCount == 1)
    }

    @Test func `an unknown lead without a busy before it is an error, and so is busy where it is not obeyed`() throws {
        var obeying = try Conversation(events: 1, inFlight: 1, obeysBusy: true)
        defer { close(obeying.far) }
        try obeying.connection.send()
        try obeying.answer(error(0, #""name":"unknown_lead""#))
        #expect(obeying.connection.errorCount == 1)
        var strict = try Conversation(events: 1, inFlight: 1)
        defer { close(strict.far) }
        try strict.connection.send()
        try strict.answer(error(0, #""name":"busy","retry_after_ms":0"#))
        #expect(strict.connection.errorCount == 1)
        #expect(strict.connection.isDone)
    }

    @Test func `a line that nobody asked for and a closed connection end the run`() throws {
        var conversation = try Conversation(events: 1, inFlight: 1)
        #expect(throws: BenchError.self) { try conversation.answer(result(0)) }
        var closed = try Conversation(events: 1, inFlight: 1)
        try closed.connection.send()
        close(closed.far)
        #expect(throws: BenchError.self) { try closed.connection.receive(into: &closed.latency) }
        close(conversation.far)
    }

    @Test func `a load that is over is done when what was sent is answered`() throws {
        var conversation = try Conversation(events: 100, inFlight: 2)
        defer { close(conversation.far) }
        try conversation.connection.send()
        conversation.connection.finish()
        #expect(!conversation.connection.isDone)
        try conversation.answer(result(0) + result(1))
        try conversation.connection.send()
        #expect(conversation.takeRequests() == 2)
        #expect(conversation.connection.isDone)
    }
}
