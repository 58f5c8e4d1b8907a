import Glibc
import JSON

/// What the driver needs of a connection, whatever it speaks.
protocol LoadConnecting: AnyObject {
    var descriptor: Int32 { get }
    /// Events that have their final reply.
    var answered: Int { get }
    var isDone: Bool { get }
    /// Whether requests wait for room in the socket.
    var wantsToWrite: Bool { get }
    /// Whether it waits to send refused requests again.
    var isWaiting: Bool { get }
    var errorCount: Int { get }
    var firstError: String? { get }
    /// Replies that asked to come again, and were obeyed.
    var busyCount: Int { get }

    func send() throws(BenchError)
    func receive(into histogram: inout LatencyHistogram) throws(BenchError)
    /// Makes no more requests; it is done when those made are answered.
    func finish()
}

/// One connection of a load: it keeps up to `inFlightMax` requests unanswered and times each from send to reply.
///
/// A good reply is recognised by its first bytes and not looked at further; replies come in the order of the requests, so
/// the oldest request that has none is the one it must name.
///
/// ```
/// {"jsonrpc":"2.0","id":1000000042,"result":{ ...
/// ```
///
/// Where it obeys `busy`, a refused request is sent again: nothing more is sent until all in flight are answered, then the
/// refused ones go first and in their order, since a later event may need an earlier one.
final class LoadConnection: LoadConnecting {
    let descriptor: Int32
    private var stream: EventStream
    private let inFlightMax: Int
    private var total: Int
    private let obeysBusy: Bool

    /// Requests sent and replies read, those sent again included.
    private var sent = 0
    private var replied = 0
    /// Events made from the stream.
    private var made = 0
    /// Events that have their final reply.
    private(set) var answered = 0
    private(set) var errorCount = 0
    /// Replies that asked to come again.
    private(set) var busyCount = 0
    /// The requests to be sent again, whole, and when.
    private var refused: [UInt8] = []
    private var refusedIDs: [UInt64] = []
    private var resumeAt: UInt64 = 0
    private(set) var firstError: String?

    // Of the requests in flight, each at its number modulo `inFlightMax`: when it was handed to the kernel, its id, its line.
    private let sentAt: UnsafeMutablePointer<UInt64>
    private let ids: UnsafeMutablePointer<UInt64>
    private let lines: UnsafeMutableRawPointer
    private let output: UnsafeMutableRawPointer
    private var outputStart = 0
    private var outputEnd = 0
    private let input: UnsafeMutableRawPointer
    private let inputBytesMax = 1 << 20
    private var inputEnd = 0

    /// Takes over `descriptor`.
    init(descriptor: Int32, stream: EventStream, events: Int, inFlightMax: Int, obeysBusy: Bool = false) {
        self.descriptor = descriptor
        self.stream = stream
        self.total = events
        self.inFlightMax = inFlightMax
        self.obeysBusy = obeysBusy
        sentAt = .allocate(capacity: inFlightMax)
        sentAt.initialize(repeating: 0, count: inFlightMax)
        ids = .allocate(capacity: inFlightMax)
        ids.initialize(repeating: 0, count: inFlightMax)
        lines = .allocate(byteCount: inFlightMax * stream.templates.lineBytes, alignment: 16)
        output = .allocate(byteCount: inFlightMax * stream.templates.lineBytes, alignment: 16)
        input = .allocate(byteCount: inputBytesMax, alignment: 16)
        _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK)
    }

    deinit {
        close(descriptor)
        sentAt.deallocate()
        ids.deallocate()
        lines.deallocate()
        output.deallocate()
        input.deallocate()
    }

    var isDone: Bool { answered == total }

    func finish() { total = made }

    /// Whether requests wait for room in the socket.
    var wantsToWrite: Bool { outputEnd > outputStart }
    /// Whether it waits to send refused requests again.
    var isWaiting: Bool { !refusedIDs.isEmpty && sent == replied }

    /// Sends as many requests as may be in flight, and the rest of earlier ones.
    func send() throws(BenchError) {
        // Requests are only made when all before them are gone: the buffer holds what may be in flight, no more.
        if outputStart == outputEnd {
            outputStart = 0
            outputEnd = 0
            let first = sent
            let lineBytes = stream.templates.lineBytes
            if refusedIDs.isEmpty {
                while made < total, sent - replied < inFlightMax {
                    stream.writeLine(to: output + outputEnd)
                    ids[sent % inFlightMax] = stream.firstNumber + UInt64(made)
                    outputEnd += lineBytes
                    made += 1
                    sent += 1
                }
            } else if isWaiting, monotonicNanoseconds() >= resumeAt {
                refused.withUnsafeBytes { output.copyMemory(from: $0.baseAddress!, byteCount: $0.count) }
                outputEnd = refused.count
                for id in refusedIDs {
                    ids[sent % inFlightMax] = id
                    sent += 1
                }
                refused = []
                refusedIDs = []
            }
            if obeysBusy {
                for number in first..<sent {
                    (lines + number % inFlightMax * lineBytes).copyMemory(
                        from: output + (number - first) * lineBytes, byteCount: lineBytes)
                }
            }
            let now = monotonicNanoseconds()
            for number in first..<sent { sentAt[number % inFlightMax] = now }
        }
        while outputStart < outputEnd {
            let written = write(descriptor, output + outputStart, outputEnd - outputStart)
            if written >= 0 {
                outputStart += written
            } else if errno == EAGAIN {
                return
            } else if errno != EINTR {
                throw .system("write to the daemon")
            }
        }
    }

    /// Takes in the replies that are there.
    func receive(into histogram: inout LatencyHistogram) throws(BenchError) {
        while true {
            let count = read(descriptor, input + inputEnd, inputBytesMax - inputEnd)
            if count < 0 {
                if errno == EAGAIN { return }
                if errno == EINTR { continue }
                throw .system("read from the daemon")
            }
            guard count > 0 else {
                throw BenchError("the daemon closed a connection with \(sent - replied) requests unanswered")
            }
            let now = monotonicNanoseconds()
            let wasFull = inputEnd + count == inputBytesMax
            inputEnd += count
            try takeReplies(now: now, into: &histogram)
            // Less than there was room for: the socket is empty.
            if !wasFull { return }
        }
    }

    private func takeReplies(now: UInt64, into histogram: inout LatencyHistogram) throws(BenchError) {
        var start = 0
        while let newline = memchr(input + start, 0x0A, inputEnd - start) {
            let end = UnsafeRawPointer(newline) - UnsafeRawPointer(input)
            let line = UnsafeRawBufferPointer(start: input + start, count: end - start)
            start = end + 1
            guard replied < sent else { throw BenchError("a line that nobody asked for: \(ReplyLine.excerpt(line))") }
            let slot = replied % inFlightMax
            replied += 1
            histogram.record(nanoseconds: now - sentAt[slot])
            if !ReplyLine.isResult(line, of: ids[slot]) {
                if try mustComeAgain(line, slot: slot, now: now) { continue }
                errorCount += 1
                if firstError == nil { firstError = ReplyLine.excerpt(line) }
            }
            answered += 1
        }
        guard start > 0 else {
            guard inputEnd < inputBytesMax else { throw BenchError("a reply is longer than \(inputBytesMax) bytes") }
            return
        }
        inputEnd -= start
        memmove(input, input + start, inputEnd)
    }

    /// Whether the request in `slot` is to be sent again: it was told to, or it needs one that was.
    private func mustComeAgain(_ line: UnsafeRawBufferPointer, slot: Int, now: UInt64) throws(BenchError) -> Bool {
        guard obeysBusy else { return false }
        var parser = JSONParser()
        let root: JSONValue
        do { root = try parser.parse(line) } catch { throw BenchError("a line from the daemon is not JSON: \(error)") }
        guard root["id"]?.uint64 == ids[slot], let data = root["error"]?["data"] else { return false }
        if let milliseconds = data["retry_after_ms"]?.uint64 {
            busyCount += 1
            resumeAt = now + milliseconds * 1_000_000
        } else if refusedIDs.isEmpty || !(data["name"]?.equals("unknown_lead") ?? false) {
            return false
        }
        let lineBytes = stream.templates.lineBytes
        refused += UnsafeRawBufferPointer(start: lines + slot * lineBytes, count: lineBytes)
        refusedIDs.append(ids[slot])
        return true
    }
}
