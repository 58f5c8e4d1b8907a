import Glibc
import JSON

/// The subscriber that waits for decisions: `log.subscribe` to `lead.assigned` and `lead.queued`.
final class DecisionSubscription {
    let descriptor: Int32
    private let input: LineInput
    private var parser = JSONParser()

    /// Subscribes from `head` on, and returns when the daemon has said yes.
    init(_ daemon: DaemonProcess, from head: Int) throws(BenchError) {
        descriptor = try daemon.connect()
        // A line of events takes 64 KiB; a single event at most as much.
        input = LineInput(descriptor: descriptor, lineBytesMax: 1 << 20)
        let request =
            #"{"jsonrpc":"2.0","id":1,"method":"log.subscribe","params":{"from":\#(head),"credit":1000000000,"#
            + #""filter":{"types":["lead.assigned","lead.queued"]}}}"# + "\n"
        let written = Array(request.utf8).withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
        guard written == request.utf8.count else { throw .system("write to the daemon") }
        _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK)
        var isSubscribed = false
        while !isSubscribed {
            var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            if poll(&entry, 1, 100) <= 0 {
                try Interruption.check()
                try daemon.checkIsRunning()
                continue
            }
            try input.read { (line) throws(BenchError) in
                let root = try parse(line)
                if root["id"] == nil { return }
                guard root["result"] != nil else { throw BenchError("log.subscribe: \(ReplyLine.excerpt(line))") }
                isSubscribed = true
            }
        }
    }

    deinit { close(descriptor) }

    /// Takes in the decisions that are there.
    func receive(into matching: inout RouteMatching) throws(BenchError) {
        try input.read { (line) throws(BenchError) in
            let now = monotonicNanoseconds()
            guard let decisions = DecisionLine(line) else {
                // It goes on or has nothing to say; that it ended is an error.
                _ = try LogNotification(try parse(line), from: 0)
                return
            }
            try decisions.forEach { (number, isAssigned) throws(BenchError) in
                try matching.delivered(number, isAssigned: isAssigned, at: now)
            }
        }
    }

    private func parse(_ line: UnsafeRawBufferPointer) throws(BenchError) -> JSONValue {
        do { return try parser.parse(line) } catch {
            throw BenchError("a line from the daemon is not JSON: \(error)")
        }
    }
}

/// A line of `log.events` with decisions on leads of the benchmark. Looks for the leads in the text and parses nothing, as whoever hands
/// events on does: a parse of 20 candidates would take longer than the daemon does.
struct DecisionLine {
    private let text: UnsafeRawBufferPointer

    private static let start: StaticString = #"{"jsonrpc":"2.0","method":"log.events","#
    /// Between the type and the number: within the texts of an event a quotation mark has a backslash before it, so that this stands
    /// nowhere else.
    private static let subject: StaticString = #"","subject":"lead-q-"#
    private static let assigned: StaticString = #","type":"lead.assigned"#
    private static let queued: StaticString = #","type":"lead.queued"#

    /// Nil where it is another line.
    init?(_ line: UnsafeRawBufferPointer) {
        guard Self.stands(Self.start, in: line, endingAt: Self.start.utf8CodeUnitCount) else { return nil }
        text = line
    }

    func forEach(_ body: (_ number: Int, _ isAssigned: Bool) throws(BenchError) -> Void) throws(BenchError) {
        var at = 0
        var found = 0
        while let typeEnd = nextSubject(from: at) {
            let isAssigned = Self.stands(Self.assigned, in: text, endingAt: typeEnd)
            guard isAssigned || Self.stands(Self.queued, in: text, endingAt: typeEnd) else {
                throw BenchError("an event that is no decision: \(ReplyLine.excerpt(text))")
            }
            at = typeEnd + Self.subject.utf8CodeUnitCount
            let digits = text[at..<min(at + EventTemplate.digits, text.count)]
            guard digits.count == EventTemplate.digits, digits.allSatisfy({ 0x30...0x39 ~= $0 }) else {
                throw BenchError("a lead that is not the benchmark's: \(ReplyLine.excerpt(text))")
            }
            try body(digits.reduce(0) { $0 * 10 + Int($1 - 0x30) }, isAssigned)
            found += 1
        }
        guard found > 0 else { throw BenchError("log.events without a decision: \(ReplyLine.excerpt(text))") }
    }

    /// Where the text of `subject` next stands: looked for by its `q`, which is rare.
    private func nextSubject(from start: Int) -> Int? {
        guard let base = text.baseAddress else { return nil }
        var at = start
        while at < text.count, let place = memchr(base + at, Int32(UInt8(ascii: "q")), text.count - at) {
            at = UnsafeRawPointer(place) - base + 1
            // Behind the q one character is left of the literal.
            if Self.stands(Self.subject, in: text, endingAt: at + 1) { return at + 1 - Self.subject.utf8CodeUnitCount }
        }
        return nil
    }

    private static func stands(_ literal: StaticString, in text: UnsafeRawBufferPointer, endingAt end: Int) -> Bool {
        let start = end - literal.utf8CodeUnitCount
        guard start >= 0, end <= text.count, let base = text.baseAddress else { return false }
        return memcmp(base + start, literal.utf8Start, literal.utf8CodeUnitCount) == 0
    }
}
