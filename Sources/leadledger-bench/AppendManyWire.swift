import Glibc

/// `append.many`: many units in a line, each of one event.
///
/// ```
/// {"jsonrpc":"2.0","id":1000000000,"method":"append.many","params":{"units":[{"events":[EVENT]},{"events":[EVENT]}, ...]}}
/// {"jsonrpc":"2.0","id":1000000000,"result":{"units":[{"first":0, ...}, ...],"durability":"synced"}}
/// ```
///
/// A reply is good when it answers the request that it must, has a result, and none of its units has an error. That it has as
/// many units as were sent is seen at the end, by the log's head.
struct AppendManyWire: PeerWire {
    private static let before: StaticString = #"{"jsonrpc":"2.0","id":"#
    private static let middle: StaticString = #","method":"append.many","params":{"units":["#
    private static let unitBefore: StaticString = #"{"events":["#
    private static let unitAfter: StaticString = "]},"
    private static let after: StaticString = "]}}\n"
    private static let result: StaticString = #","result":{"units":["#
    private static let error: StaticString = #"{"error":"#

    let eventsPerRequest: Int
    private var stream: EventStream
    private var nextRequest = EventTemplate.firstNumber
    private var nextReply = EventTemplate.firstNumber

    init(stream: EventStream, eventsPerRequest: Int) {
        self.stream = stream
        self.eventsPerRequest = eventsPerRequest
    }

    var requestBytesMax: Int {
        let unit = Self.unitBefore.utf8CodeUnitCount + EventTemplate.eventBytes + Self.unitAfter.utf8CodeUnitCount
        return Self.before.utf8CodeUnitCount + EventTemplate.digits + Self.middle.utf8CodeUnitCount
            + eventsPerRequest * unit + Self.after.utf8CodeUnitCount
    }

    mutating func writeRequest(to target: UnsafeMutableRawPointer, events: Int) -> Int {
        precondition(1...eventsPerRequest ~= events)
        var end = target
        func put(_ text: StaticString) {
            end.copyMemory(from: text.utf8Start, byteCount: text.utf8CodeUnitCount)
            end += text.utf8CodeUnitCount
        }
        put(Self.before)
        storeDigits(nextRequest, at: end)
        end += EventTemplate.digits
        nextRequest += 1
        put(Self.middle)
        for _ in 0..<events {
            put(Self.unitBefore)
            stream.writeEvent(to: end)
            end += EventTemplate.eventBytes
            put(Self.unitAfter)
        }
        // No comma after the last.
        end -= 1
        put(Self.after)
        return end - target
    }

    mutating func takeReply(_ bytes: UnsafeRawBufferPointer, events: Int) throws(BenchError) -> PeerReply? {
        guard let base = bytes.baseAddress, let newline = memchr(base, 0x0A, bytes.count) else { return nil }
        let count = UnsafeRawPointer(newline) - base
        defer { nextReply += 1 }
        let idStart = Self.before.utf8CodeUnitCount
        let idEnd = idStart + EventTemplate.digits
        var isGood = count > idEnd + Self.result.utf8CodeUnitCount
        if isGood {
            var id: UInt64 = 0
            for index in idStart..<idEnd { id = id &* 10 &+ UInt64(bytes[index] &- UInt8(ascii: "0")) }
            isGood =
                memcmp(base, Self.before.utf8Start, idStart) == 0 && id == nextReply
                && memcmp(base + idEnd, Self.result.utf8Start, Self.result.utf8CodeUnitCount) == 0
        }
        let unitError = Self.firstError(in: base, count)
        guard isGood, unitError == nil else {
            // The first error among a thousand units is what is worth reading.
            let place = unitError ?? 0
            let excerpt = bytes[place..<min(count, place + 600)]
            return PeerReply(byteCount: count + 1, error: String(decoding: excerpt, as: UTF8.self))
        }
        return PeerReply(byteCount: count + 1)
    }

    /// Where the first unit's error stands. An object begins in two or three places of a unit, and no text of ours has a brace.
    private static func firstError(in base: UnsafeRawPointer, _ count: Int) -> Int? {
        let length = error.utf8CodeUnitCount
        var place = 0
        while place + length <= count, let brace = memchr(base + place, 0x7B, count - length + 1 - place) {
            place = UnsafeRawPointer(brace) - base
            if memcmp(brace, error.utf8Start, length) == 0 { return place }
            place += 1
        }
        return nil
    }
}
