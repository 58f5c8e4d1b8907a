import Glibc

/// A language in which a load can be sent: how a request looks, and where a reply ends.
protocol PeerWire {
    /// Events in a request; the last request of a load may hold fewer.
    var eventsPerRequest: Int { get }
    /// Bytes that the longest request takes.
    var requestBytesMax: Int { get }
    /// Writes a request with the next `events` events.
    /// - Returns: its bytes, at most `requestBytesMax`.
    mutating func writeRequest(to target: UnsafeMutableRawPointer, events: Int) -> Int
    /// Takes the reply to the oldest unanswered request, which had `events` events; nil while it is not whole.
    mutating func takeReply(_ bytes: UnsafeRawBufferPointer, events: Int) throws(BenchError) -> PeerReply?
}

struct PeerReply: Equatable {
    /// How long it is.
    var byteCount: Int
    /// What it says, where it is not what was hoped for.
    var error: String?
}

/// One connection of a load in any language: it keeps up to `inFlightMax` requests unanswered, and times each from send to
/// reply. It knows no `busy`; `LoadConnection` does.
final class PeerConnection<Wire: PeerWire>: LoadConnecting {
    /// The longest reply is that to `append.many` with 1,000 events, a quarter of this.
    private static var inputBytesMax: Int { 1 << 20 }

    let descriptor: Int32
    private var wire: Wire
    private let inFlightMax: Int
    private var total: Int
    /// Events made from the stream.
    private var made = 0
    private(set) var answered = 0
    private(set) var errorCount = 0
    private(set) var firstError: String?

    // Of the requests in flight, each at its number modulo `inFlightMax`: when it was handed to the kernel, its events.
    private var sent = 0
    private var replied = 0
    private var sentAt: [UInt64]
    private var eventsSent: [Int]
    private let output: UnsafeMutableRawPointer
    private var outputStart = 0
    private var outputEnd = 0
    private let input: UnsafeMutableRawPointer
    private var inputEnd = 0

    /// Takes over `descriptor`.
    init(descriptor: Int32, wire: Wire, events: Int, inFlightMax: Int) {
        self.descriptor = descriptor
        self.wire = wire
        self.total = events
        self.inFlightMax = inFlightMax
        sentAt = Array(repeating: 0, count: inFlightMax)
        eventsSent = Array(repeating: 0, count: inFlightMax)
        output = .allocate(byteCount: inFlightMax * wire.requestBytesMax, alignment: 16)
        input = .allocate(byteCount: Self.inputBytesMax, alignment: 16)
        _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK)
    }

    deinit {
        close(descriptor)
        output.deallocate()
        input.deallocate()
    }

    var isDone: Bool { answered == total }
    var wantsToWrite: Bool { outputEnd > outputStart }
    var isWaiting: Bool { false }
    var busyCount: Int { 0 }

    func finish() { total = made }

    func send() throws(BenchError) {
        // Requests are only made when all before them are gone: the buffer holds what may be in flight, no more.
        if outputStart == outputEnd {
            outputStart = 0
            outputEnd = 0
            let first = sent
            while made < total, sent - replied < inFlightMax {
                let events = min(wire.eventsPerRequest, total - made)
                outputEnd += wire.writeRequest(to: output + outputEnd, events: events)
                eventsSent[sent % inFlightMax] = events
                made += events
                sent += 1
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
                throw .system("write to the server")
            }
        }
    }

    func receive(into histogram: inout LatencyHistogram) throws(BenchError) {
        while true {
            let count = read(descriptor, input + inputEnd, Self.inputBytesMax - inputEnd)
            if count < 0 {
                if errno == EAGAIN { return }
                if errno == EINTR { continue }
                throw .system("read from the server")
            }
            guard count > 0 else {
                throw BenchError("the server closed a connection with \(sent - replied) requests unanswered")
            }
            let now = monotonicNanoseconds()
            let wasFull = inputEnd + count == Self.inputBytesMax
            inputEnd += count
            try takeReplies(now: now, into: &histogram)
            // Less than there was room for: the socket is empty.
            if !wasFull { return }
        }
    }

    private func takeReplies(now: UInt64, into histogram: inout LatencyHistogram) throws(BenchError) {
        var start = 0
        while start < inputEnd {
            let rest = UnsafeRawBufferPointer(start: input + start, count: inputEnd - start)
            guard replied < sent else {
                throw BenchError("a reply that nobody asked for: \(String(decoding: rest.prefix(200), as: UTF8.self))")
            }
            let slot = replied % inFlightMax
            guard let reply = try wire.takeReply(rest, events: eventsSent[slot]) else { break }
            precondition(reply.byteCount > 0 && reply.byteCount <= rest.count)
            start += reply.byteCount
            replied += 1
            histogram.record(nanoseconds: now - sentAt[slot])
            if let error = reply.error {
                errorCount += 1
                if firstError == nil { firstError = error }
            }
            answered += eventsSent[slot]
        }
        guard start > 0 else {
            guard inputEnd < Self.inputBytesMax else {
                throw BenchError("a reply is longer than \(Self.inputBytesMax) bytes")
            }
            return
        }
        inputEnd -= start
        memmove(input, input + start, inputEnd)
    }
}
