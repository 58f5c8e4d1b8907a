import Glibc
import JSON

/// The client that the replay benchmark measures with: reads all bytes of one subscription, splits them into lines, and checks
/// that the events' positions follow one another and that each line's `next` is the one behind its last event.
///
/// It looks for positions in the text and parses only what is not `log.events`, as a consumer does that hands events on without
/// looking into them: a parse of everything (about 1 us an event) would measure the parser.
final class ReplayReader {
    /// Bytes read, lines and their newlines.
    private(set) var bytes = 0
    /// The position that the next event has to have.
    private(set) var position = 0

    private let daemon: DaemonProcess
    private let descriptor: Int32
    private var parser = JSONParser()
    private let input = UnsafeMutableRawPointer.allocate(byteCount: inputBytes, alignment: 64)
    /// Bytes in `input` of a line that has begun.
    private var begun = 0

    /// A read takes what the socket holds, 208 KiB; a line is 64 KiB.
    private static let inputBytes = 1 << 20

    /// - Parameter daemon: its memory is sampled while this reads.
    init(_ daemon: DaemonProcess) throws(BenchError) {
        self.daemon = daemon
        descriptor = try daemon.connect()
        var interval = timeval(tv_sec: 0, tv_usec: 100_000)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &interval, socklen_t(MemoryLayout<timeval>.size))
    }

    deinit {
        close(descriptor)
        input.deallocate()
    }

    /// Reads from position 0 until the daemon says that it has sent everything.
    func readAll() throws(BenchError) {
        let request =
            #"{"jsonrpc":"2.0","id":1,"method":"log.subscribe","params":{"from":0,"credit":1000000000}}"# + "\n"
        let written = Array(request.utf8).withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
        guard written == request.utf8.count else { throw .system("write to the daemon") }
        while true {
            let end = begun + (try fill())
            var start = 0
            while let newline = memchr(input + start, 0x0A, end - start) {
                let lineEnd = input.distance(to: UnsafeMutableRawPointer(newline))
                bytes += lineEnd + 1 - start
                if try takes(UnsafeRawBufferPointer(start: input + start, count: lineEnd - start)) { return }
                start = lineEnd + 1
            }
            begun = end - start
            guard begun < Self.inputBytes else { throw BenchError("a line is longer than \(Self.inputBytes) bytes") }
            if start > 0, begun > 0 { memmove(input, input + start, begun) }
        }
    }

    /// - Returns: whether this line says that everything was sent.
    private func takes(_ line: UnsafeRawBufferPointer) throws(BenchError) -> Bool {
        if let events = EventLine(line) {
            position = try events.check(from: position)
            return false
        }
        let root: JSONValue
        do { root = try parser.parse(line) } catch {
            throw BenchError("a line from the daemon is not JSON: \(error)")
        }
        if root["id"] != nil {
            guard root["result"] != nil else {
                throw BenchError("log.subscribe: \(String(decoding: root.raw.prefix(600), as: UTF8.self))")
            }
            return false
        }
        guard case .caughtUp(let place) = try LogNotification(root, from: position) else { return false }
        guard place == position else { throw BenchError("caught up at \(place), having read to \(position)") }
        return true
    }

    private func fill() throws(BenchError) -> Int {
        while true {
            let count = read(descriptor, input + begun, Self.inputBytes - begun)
            let code = errno
            try Interruption.check()
            try daemon.memory.sampleIfDue(now: monotonicNanoseconds())
            if count > 0 { return count }
            if count == 0 { throw BenchError("the daemon closed the connection") }
            guard code == EAGAIN || code == EINTR else { throw .system("read from the daemon") }
            try daemon.checkIsRunning()
        }
    }
}

/// A line of `log.events` of the one subscription that a connection of the benchmark has.
struct EventLine {
    private let text: UnsafeRawBufferPointer

    private static let start: StaticString =
        #"{"jsonrpc":"2.0","method":"log.events","params":{"subscription":1,"events":["#
    private static let position: StaticString = #""position":"#
    private static let next: StaticString = #"],"next":"#

    /// nil where it is another line.
    init?(_ line: UnsafeRawBufferPointer) {
        guard Self.stands(Self.start, in: line, at: 0) else { return nil }
        text = line
    }

    /// Checks that the events have the positions from `first` on, without one missing, and that `next` follows them.
    ///
    /// - Returns: the position behind the last.
    func check(from first: Int) throws(BenchError) -> Int {
        var expected = first
        var at = Self.start.utf8CodeUnitCount
        while let found = nextPosition(from: at) {
            let number = integer(at: found)
            guard number.value == expected else {
                throw BenchError("position \(expected) is missing: the log goes on at \(number.value)")
            }
            expected += 1
            at = number.end
        }
        guard expected > first else { throw BenchError("log.events without events") }
        // The last member ends the line, so it is looked for from there.
        guard let end = text.lastIndex(of: UInt8(ascii: ":")) else { throw BenchError("log.events without next") }
        let next = integer(at: end + 1)
        guard Self.stands(Self.next, in: text, at: end + 1 - Self.next.utf8CodeUnitCount),
            Self.stands("}}", in: text, at: next.end), next.end + 2 == text.count
        else { throw BenchError("log.events does not end with next") }
        guard next.value == expected else {
            throw BenchError("log.events names \(next.value) as next and ends before \(expected)")
        }
        return expected
    }

    private static func stands(_ literal: StaticString, in text: UnsafeRawBufferPointer, at offset: Int) -> Bool {
        guard offset >= 0, offset + literal.utf8CodeUnitCount <= text.count, let base = text.baseAddress else {
            return false
        }
        return memcmp(base + offset, literal.utf8Start, literal.utf8CodeUnitCount) == 0
    }

    private typealias Block = SIMD4<UInt64>

    /// Where the number behind the next `"position":` stands: 32 places at once are tried for three of its bytes.
    private func nextPosition(from start: Int) -> Int? {
        let ones = Block(repeating: 0x0101_0101_0101_0101)
        let (quote, letter, colon) = (ones &* 0x22, ones &* 0x70, ones &* 0x3A)
        let length = Self.position.utf8CodeUnitCount
        var at = start
        while at + 42 <= text.count {
            let differs =
                (text.loadUnaligned(fromByteOffset: at, as: Block.self) ^ quote)
                | (text.loadUnaligned(fromByteOffset: at + 1, as: Block.self) ^ letter)
                | (text.loadUnaligned(fromByteOffset: at + 10, as: Block.self) ^ colon)
            // A byte that is zero borrows.
            let zeros = (differs &- ones) & ~differs & (ones &* 0x80)
            if zeros[0] | zeros[1] | zeros[2] | zeros[3] != 0 {
                for offset in at..<(at + 32) where Self.stands(Self.position, in: text, at: offset) {
                    return offset + length
                }
            }
            at += 32
        }
        while at + length <= text.count {
            if Self.stands(Self.position, in: text, at: at) { return at + length }
            at += 1
        }
        return nil
    }

    private func integer(at start: Int) -> (value: Int, end: Int) {
        var value = 0
        var at = start
        while at < text.count, at < start + 18, 0x30...0x39 ~= text[at] {
            value = value * 10 + Int(text[at] - 0x30)
            at += 1
        }
        return (at > start ? value : -1, at)
    }
}
