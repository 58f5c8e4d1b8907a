import Glibc

// RESP: the little of Redis's protocol (version 2) that the comparison speaks.
//
//   request    *5\r\n$4\r\nXADD\r\n ...    an array of bulk strings
//   reply      $15\r\n1700000000000-0\r\n  a bulk string; $-1 is none
//              *2\r\n ...                  an array of replies; *-1 is none
//              :12\r\n  +OK\r\n  -ERR why\r\n

/// A place in a reply that may not have come as a whole.
struct RESPReader {
    enum Item: Equatable {
        /// Where its bytes lie; nil for the null string.
        case bulk(Range<Int>?)
        /// How many replies follow; nil for the null array.
        case array(Int?)
        case integer(Int)
        case simple(Range<Int>)
        case error(Range<Int>)
    }

    /// Longer than any header that is sent to us, a message of an error included.
    private static let lineBytesMax = 4_096
    /// Redis's own limits on what it takes are below these.
    private static let bulkBytesMax = 512 << 20
    private static let arrayCountMax = 1 << 30

    let bytes: UnsafeRawBufferPointer
    private(set) var offset: Int

    init(_ bytes: UnsafeRawBufferPointer, from offset: Int = 0) {
        self.bytes = bytes
        self.offset = offset
    }

    /// The next item, an array without what is in it; nil when it is not all there, and the place stays.
    /// - Throws: `BenchError` for what is not RESP.
    mutating func next() throws(BenchError) -> Item? {
        guard offset < bytes.count else { return nil }
        let rest = bytes.count - offset
        guard let newline = memchr(bytes.baseAddress! + offset, 0x0A, min(rest, Self.lineBytesMax)) else {
            guard rest < Self.lineBytesMax else { throw broken("a line without an end") }
            return nil
        }
        let end = UnsafeRawPointer(newline) - bytes.baseAddress!
        guard end > offset + 1, bytes[end - 1] == UInt8(ascii: "\r") else { throw broken("a line without \\r") }
        let line = offset + 1..<end - 1
        switch bytes[offset] {
        case UInt8(ascii: "$"):
            guard let count = try length(line, max: Self.bulkBytesMax) else {
                offset = end + 1
                return .bulk(nil)
            }
            let content = end + 1..<end + 1 + count
            guard content.upperBound + 2 <= bytes.count else { return nil }
            guard bytes[content.upperBound] == 0x0D, bytes[content.upperBound + 1] == 0x0A else {
                throw broken("a string that does not end where it says")
            }
            offset = content.upperBound + 2
            return .bulk(content)
        case UInt8(ascii: "*"):
            let count = try length(line, max: Self.arrayCountMax)
            offset = end + 1
            return .array(count)
        case UInt8(ascii: ":"):
            guard let value = integer(line) else { throw broken("a number that is none") }
            offset = end + 1
            return .integer(value)
        case UInt8(ascii: "+"):
            offset = end + 1
            return .simple(line)
        case UInt8(ascii: "-"):
            offset = end + 1
            return .error(line)
        default:
            throw broken("an unknown type")
        }
    }

    func text(_ range: Range<Int>) -> String { String(decoding: bytes[range], as: UTF8.self) }

    /// A length; nil for -1, which stands for nothing.
    private func length(_ line: Range<Int>, max: Int) throws(BenchError) -> Int? {
        guard let value = integer(line), -1...max ~= value else { throw broken("a length that is none") }
        return value == -1 ? nil : value
    }

    private func integer(_ range: Range<Int>) -> Int? {
        var start = range.lowerBound
        let isNegative = start < range.upperBound && bytes[start] == UInt8(ascii: "-")
        if isNegative { start += 1 }
        guard 1...18 ~= range.upperBound - start else { return nil }
        var value = 0
        for index in start..<range.upperBound {
            guard UInt8(ascii: "0")...UInt8(ascii: "9") ~= bytes[index] else { return nil }
            value = value * 10 + Int(bytes[index] - UInt8(ascii: "0"))
        }
        return isNegative ? -value : value
    }

    private func broken(_ what: String) -> BenchError {
        BenchError("not RESP, \(what): \(String(decoding: bytes[offset...].prefix(100), as: UTF8.self))")
    }
}

/// A request.
func respRequest(_ words: String...) -> [UInt8] {
    var text = "*\(words.count)\r\n"
    for word in words { text += "$\(word.utf8.count)\r\n\(word)\r\n" }
    return Array(text.utf8)
}

/// `XADD log * e EVENT`: the event's JSON as the one field of a stream's entry. The reply is the entry's id.
struct XAddWire: PeerWire {
    static let key = "log"

    private let head: [UInt8]
    private var stream: EventStream

    init(stream: EventStream) {
        self.stream = stream
        let whole = respRequest("XADD", Self.key, "*", "e", String(repeating: " ", count: EventTemplate.eventBytes))
        head = Array(whole.dropLast(EventTemplate.eventBytes + 2))
    }

    var eventsPerRequest: Int { 1 }
    var requestBytesMax: Int { head.count + EventTemplate.eventBytes + 2 }

    mutating func writeRequest(to target: UnsafeMutableRawPointer, events: Int) -> Int {
        head.withUnsafeBytes { target.copyMemory(from: $0.baseAddress!, byteCount: $0.count) }
        stream.writeEvent(to: target + head.count)
        let end = target + head.count + EventTemplate.eventBytes
        end.storeBytes(of: 0x0D, as: UInt8.self)
        end.storeBytes(of: 0x0A, toByteOffset: 1, as: UInt8.self)
        return requestBytesMax
    }

    mutating func takeReply(_ bytes: UnsafeRawBufferPointer, events: Int) throws(BenchError) -> PeerReply? {
        var reader = RESPReader(bytes)
        switch try reader.next() {
        case nil: return nil
        case .bulk(let id?): return PeerReply(byteCount: reader.offset, error: id.isEmpty ? "an empty id" : nil)
        case .error(let text): return PeerReply(byteCount: reader.offset, error: reader.text(text))
        case .bulk(nil), .array, .integer, .simple:
            throw BenchError("XADD: \(String(decoding: bytes.prefix(100), as: UTF8.self))")
        }
    }
}
