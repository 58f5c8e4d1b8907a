import Glibc
import Testing

@testable import leadledger_bench

@Suite struct RESPTests {
    /// Reads all items of `text`, or fails where one is not whole.
    private func items(_ text: String) throws -> [RESPReader.Item] {
        try Array(text.utf8).withUnsafeBytes { bytes in
            var reader = RESPReader(bytes)
            var found: [RESPReader.Item] = []
            while reader.offset < bytes.count { found.append(try #require(try reader.next())) }
            return found
        }
    }

    @Test func `every kind of item is read, and nothing stands for nothing`() throws {
        let found = try items("$3\r\nabc\r\n$0\r\n\r\n$-1\r\n*2\r\n*-1\r\n:-12\r\n+OK\r\n-ERR no\r\n")
        #expect(
            found == [
                .bulk(4..<7), .bulk(13..<13), .bulk(nil), .array(2), .array(nil), .integer(-12), .simple(36..<38),
                .error(41..<47),
            ])
    }

    @Test func `a string may hold what ends a line`() throws {
        #expect(try items("$4\r\na\r\nb\r\n") == [.bulk(4..<8)])
    }

    @Test(arguments: ["$5\r\nab\r\nc\r\n", "*12\r\n", ":7\r\n", "-ERR wrong\r\n", "$-1\r\n"])
    func `an item cut anywhere is waited for, and the place stays`(text: String) throws {
        let bytes = Array(text.utf8)
        for count in 0..<bytes.count {
            try bytes[..<count].withUnsafeBytes { part in
                var reader = RESPReader(part)
                let item = try reader.next()
                #expect(item == nil)
                #expect(reader.offset == 0)
            }
        }
        #expect(try items(text).count == 1)
    }

    @Test(arguments: [
        "abc\r\n", "$x\r\n", "$-2\r\n", "$\r\n", "$3\r\nabcd\r\n", "*x\r\n", ":1x\r\n", ":\r\n", "+OK\n", "\n",
        "$99999999999\r\n", "$9999999999999999999999\r\n", "*9999999999\r\n",
    ])
    func `what is not RESP is refused`(text: String) {
        #expect(throws: BenchError.self) { try items(text) }
    }

    @Test func `a line without an end is refused before it fills the memory`() {
        let bytes = Array(repeating: UInt8(ascii: "+"), count: 5_000)
        #expect(throws: BenchError.self) {
            try bytes.withUnsafeBytes { part in
                var reader = RESPReader(part)
                _ = try reader.next()
            }
        }
    }

    @Test func `whatever bytes come, it reads within them or refuses`() {
        let seed: UInt64 = 20_251_124
        print("seed \(seed)")
        var random = RandomBits(state: seed)
        let pieces = ["$3\r\nabc\r\n", "*2\r\n", ":5\r\n", "+OK\r\n", "-E\r\n", "$-1\r\n", "$12", "\r\n", "x"]
        var read = 0
        var refused = 0
        for _ in 0..<20_000 {
            var bytes: [UInt8] = []
            for _ in 0..<random.next() % 5 { bytes += pieces[Int(random.next() % UInt64(pieces.count))].utf8 }
            if !bytes.isEmpty, random.next() % 2 == 0 {
                bytes[Int(random.next() % UInt64(bytes.count))] = UInt8(truncatingIfNeeded: random.next())
            }
            bytes.withUnsafeBytes { part in
                var reader = RESPReader(part)
                do throws(BenchError) {
                    while let item = try reader.next() {
                        read += 1
                        switch item {
                        case .bulk(let range?), .simple(let range), .error(let range):
                            #expect(range.upperBound <= part.count)
                            _ = reader.text(range)
                        case .bulk(nil), .array, .integer: break
                        }
                    }
                } catch { refused += 1 }
            }
        }
        #expect(
            read > 5_000 && refused > 2_000, "\(read) read, \(refused) refused of seed \(seed): the bytes are too dull")
    }

    @Test func `XADD sends an event's very bytes as one field`() throws {
        let stream = EventStream(templates: EventTemplates(tag: "t"), seed: 3, leads: 10)
        var events = stream
        var wire = XAddWire(stream: stream)
        let target = UnsafeMutableRawBufferPointer.allocate(byteCount: wire.requestBytesMax, alignment: 16)
        defer { target.deallocate() }
        for _ in 0..<20 {
            #expect(wire.writeRequest(to: target.baseAddress!, events: 1) == wire.requestBytesMax)
            let event = [UInt8](unsafeUninitializedCapacity: EventTemplate.eventBytes) { buffer, count in
                events.writeEvent(to: UnsafeMutableRawPointer(buffer.baseAddress!))
                count = EventTemplate.eventBytes
            }
            #expect(
                Array(target) == respRequest("XADD", "log", "*", "e", String(decoding: event, as: UTF8.self)))
        }
    }

    @Test func `an entry's id is a good reply, an error is told, anything else ends the run`() throws {
        var wire = XAddWire(stream: EventStream(templates: EventTemplates(tag: "t"), seed: 3, leads: 10))
        func reply(_ text: String) throws -> PeerReply? {
            try Array(text.utf8).withUnsafeBytes { try wire.takeReply($0, events: 1) }
        }
        #expect(try reply("$3\r\n1-0\r\n$3\r\n1-1\r\n") == PeerReply(byteCount: 9))
        #expect(try reply("$3\r\n1-0") == nil)
        #expect(try reply("-OOM no memory\r\n") == PeerReply(byteCount: 16, error: "OOM no memory"))
        #expect(throws: BenchError.self) { try reply("+OK\r\n") }
        #expect(throws: BenchError.self) { try reply("$-1\r\n") }
    }
}

/// A Redis that is the test: what it will say is written before it is asked.
@Suite struct RedisClientTests {
    private func conversation(_ answers: String) throws -> (client: RedisClient, far: Int32) {
        var ends: [Int32] = [0, 0]
        try #require(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0)
        let bytes = Array(answers.utf8)
        try #require(write(ends[1], bytes, bytes.count) == bytes.count)
        // Whoever reads beyond what was written is told that nothing comes.
        shutdown(ends[1], Int32(SHUT_WR))
        return (RedisClient(descriptor: ends[0]), ends[1])
    }

    private func entry(_ id: String, _ event: String) -> String {
        "*2\r\n$\(id.utf8.count)\r\n\(id)\r\n*2\r\n$1\r\ne\r\n$\(event.utf8.count)\r\n\(event)\r\n"
    }

    @Test func `a stream is read page by page, each after the last entry of the one before`() throws {
        let (client, far) = try conversation(
            "*2\r\n" + entry("1-0", "abc") + entry("1-1", "de") + "*1\r\n" + entry("2-0", "f") + "*0\r\n")
        defer { close(far) }
        let read = try client.readStream("log", page: 2)
        #expect(read.entries == 3)
        #expect(read.bytes == 6)
        var asked = [UInt8](repeating: 0, count: 4_096)
        let count = recv(far, &asked, asked.count, Int32(MSG_DONTWAIT))
        let expected = ["-", "(1-1", "(2-0"].flatMap { respRequest("XRANGE", "log", $0, "+", "COUNT", "2") }
        #expect(count == expected.count && Array(asked[..<max(count, 0)]) == expected)
    }

    @Test func `a page that breaks off, an error and an entry of another shape end the run`() throws {
        for answers in [
            "*2\r\n" + entry("1-0", "abc"), "-ERR unknown command\r\n", "*1\r\n*3\r\n", "*1\r\n$3\r\nabc\r\n", "",
        ] {
            let (client, far) = try conversation(answers)
            defer { close(far) }
            #expect(throws: BenchError.self) { try client.readStream("log", page: 2) }
        }
    }

    @Test func `the words of a flat reply come in their order, and an error is thrown`() throws {
        let (client, far) = try conversation("*2\r\n$11\r\nappendfsync\r\n$6\r\nalways\r\n:7\r\n-ERR no\r\n")
        defer { close(far) }
        #expect(try client.call("CONFIG", "GET", "appendfsync") == ["appendfsync", "always"])
        #expect(try client.call("XLEN", "log") == ["7"])
        #expect(throws: BenchError.self) { try client.call("PING") }
    }
}
