import Glibc
import JSON
import Testing

@testable import leadledger_bench

@Suite struct AppendManyWireTests {
    private func wire(units: Int) -> AppendManyWire {
        AppendManyWire(
            stream: EventStream(templates: EventTemplates(tag: "t"), seed: 3, leads: 5_000), eventsPerRequest: units)
    }

    private func request(_ wire: inout AppendManyWire, events: Int) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: wire.requestBytesMax) { buffer, count in
            count = wire.writeRequest(to: UnsafeMutableRawPointer(buffer.baseAddress!), events: events)
        }
    }

    @Test func `a line holds a thousand units of one event and stays below the daemon's limit`() throws {
        var many = wire(units: 1_000)
        #expect(many.requestBytesMax < 1 << 20)
        var events = EventStream(templates: EventTemplates(tag: "t"), seed: 3, leads: 5_000)
        for (number, count) in [1_000, 1_000, 7].enumerated() {
            let line = request(&many, events: count)
            #expect(line.last == 0x0A)
            #expect(line.dropLast().firstIndex(of: 0x0A) == nil)
            var parser = JSONParser()
            try parser.withDocument(line) { root in
                #expect(root["jsonrpc"]?.string == "2.0")
                #expect(root["id"]?.int64 == Int64(EventTemplate.firstNumber) + Int64(number))
                #expect(root["method"]?.string == "append.many")
                let units = try #require(root["params"]?["units"])
                #expect(units.count == count)
                for unit in units.elements {
                    #expect(unit["events"]?.count == 1)
                    let event = try #require(unit["events"]?.elements.first { _ in true })
                    let expected = [UInt8](unsafeUninitializedCapacity: EventTemplate.eventBytes) { buffer, filled in
                        events.writeEvent(to: UnsafeMutableRawPointer(buffer.baseAddress!))
                        filled = EventTemplate.eventBytes
                    }
                    #expect(Array(event.raw) == expected)
                }
            }
        }
    }

    private func reply(_ wire: inout AppendManyWire, _ text: String) throws -> PeerReply? {
        try Array(text.utf8).withUnsafeBytes { try wire.takeReply($0, events: 2) }
    }

    private let unit = #"{"first":0,"last":0,"events":[{"position":0}],"recordedtime":"x","duplicate":false}"#

    @Test func `a result without an error among its units is good, once it is whole`() throws {
        var many = wire(units: 2)
        let line =
            #"{"jsonrpc":"2.0","id":1000000000,"result":{"units":[\#(unit),\#(unit)],"durability":"synced"}}"# + "\n"
        #expect(try reply(&many, String(line.dropLast())) == nil)
        #expect(try reply(&many, line + "{") == PeerReply(byteCount: line.utf8.count))
    }

    @Test func `an error of one unit is found, and so is one of the whole request and an answer to another`() throws {
        var many = wire(units: 2)
        let failed = #"{"error":{"code":-32010,"message":"no","data":{"name":"busy"}}}"#
        let first =
            #"{"jsonrpc":"2.0","id":1000000000,"result":{"units":[\#(unit),\#(failed)],"durability":"synced"}}"# + "\n"
        #expect(try reply(&many, first)?.error?.hasPrefix(failed) == true)
        let second = #"{"jsonrpc":"2.0","id":1000000001,"error":{"code":-32601,"message":"no"}}"# + "\n"
        #expect(try reply(&many, second)?.error?.contains("-32601") == true)
        let third = #"{"jsonrpc":"2.0","id":1000000009,"result":{"units":[\#(unit)]}}"# + "\n"
        #expect(try reply(&many, third)?.error != nil)
        #expect(try reply(&many, "{}\n")?.error == "{}")
        #expect(try reply(&many, "\n")?.error?.isEmpty == true)
    }
}

/// A server that is the test.
@Suite struct PeerConnectionTests {
    @Test func `requests keep to what may be in flight, replies may come in pieces, and all events are answered`()
        throws
    {
        var ends: [Int32] = [0, 0]
        try #require(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0)
        defer { close(ends[1]) }
        let stream = EventStream(templates: EventTemplates(tag: "t"), seed: 1, leads: 10)
        let connection = PeerConnection(
            descriptor: ends[0], wire: XAddWire(stream: stream), events: 3, inFlightMax: 2)
        var latency = LatencyHistogram()
        func answer(_ text: String) throws {
            let bytes = Array(text.utf8)
            try #require(write(ends[1], bytes, bytes.count) == bytes.count)
            try connection.receive(into: &latency)
        }
        func requests() -> Int {
            var bytes = [UInt8](repeating: 0, count: 1 << 16)
            let count = recv(ends[1], &bytes, bytes.count, Int32(MSG_DONTWAIT))
            return max(count, 0) / XAddWire(stream: stream).requestBytesMax
        }
        try connection.send()
        #expect(requests() == 2)
        try answer("$3\r\n1-0\r\n$3\r\n1")
        #expect(connection.answered == 1)
        try connection.send()
        #expect(requests() == 1)
        try answer("-1\r\n-ERR full\r\n")
        #expect(connection.isDone)
        #expect(connection.errorCount == 1)
        #expect(connection.firstError == "ERR full")
        #expect(latency.count == 3)
        #expect(throws: BenchError.self) { try answer("$3\r\n9-9\r\n") }
    }

    @Test func `the last request holds what is left, and finishing makes no more`() throws {
        var ends: [Int32] = [0, 0]
        try #require(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0)
        defer { close(ends[1]) }
        let wire = AppendManyWire(
            stream: EventStream(templates: EventTemplates(tag: "t"), seed: 1, leads: 10), eventsPerRequest: 10)
        let connection = PeerConnection(descriptor: ends[0], wire: wire, events: 1_000, inFlightMax: 2)
        var latency = LatencyHistogram()
        try connection.send()
        connection.finish()
        #expect(!connection.isDone)
        for number in 0..<2 {
            let line = #"{"jsonrpc":"2.0","id":\#(1_000_000_000 + number),"result":{"units":[{"first":0}]}}"# + "\n"
            try #require(write(ends[1], line, line.utf8.count) == line.utf8.count)
            try connection.receive(into: &latency)
            try connection.send()
        }
        #expect(connection.answered == 20)
        #expect(connection.isDone)

        let short = PeerConnection(descriptor: dup(ends[0]), wire: wire, events: 25, inFlightMax: 4)
        try short.send()
        var bytes = [UInt8](repeating: 0, count: 1 << 16)
        let count = recv(ends[1], &bytes, bytes.count, Int32(MSG_DONTWAIT))
        let lines = bytes[..<max(count, 0)].split(separator: 0x0A)
        #expect(lines.suffix(3).map { line in line.split(separator: UInt8(ascii: "[")).count } == [12, 12, 7])
    }
}
