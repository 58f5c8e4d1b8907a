import Glibc

/// One connection of a load: it keeps up to `inFlightMax` requests unanswered and times each from send to reply.
///
/// A good reply is recognised by its first bytes and not looked at further; replies come in the order of the requests, so
/// the oldest request that has none is the one it must name.
///
/// ```
/// {"jsonrpc":"2.0","id":1000000042,"result":{ ...
/// ```
final class LoadConnection {
    let descriptor: Int32
    private var stream: EventStream
    private let inFlightMax: Int
    private let total: Int

    private var sent = 0
    private(set) var answered = 0
    private(set) var errorCount = 0
    private(set) var firstError: String?

    /// When the request with this number, modulo `inFlightMax`, was handed to the kernel.
    private let sentAt: UnsafeMutablePointer<UInt64>
    private let output: UnsafeMutableRawPointer
    private var outputStart = 0
    private var outputEnd = 0
    private let input: UnsafeMutableRawPointer
    private let inputBytesMax = 1 << 20
    private var inputEnd = 0

    /// Takes over `descriptor`.
    init(descriptor: Int32, stream: EventStream, events: Int, inFlightMax: Int) {
        self.descriptor = descriptor
        self.stream = stream
        self.total = events
        self.inFlightMax = inFlightMax
        sentAt = .allocate(capacity: inFlightMax)
        sentAt.initialize(repeating: 0, count: inFlightMax)
        output = .allocate(byteCount: inFlightMax * stream.templates.lineBytes, alignment: 16)
        input = .allocate(byteCount: inputBytesMax, alignment: 16)
        _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK)
    }

    deinit {
        close(descriptor)
        sentAt.deallocate()
        output.deallocate()
        input.deallocate()
    }

    var isDone: Bool { answered == total }
    /// Whether requests wait for room in the socket.
    var wantsToWrite: Bool { outputEnd > outputStart }

    /// Sends as many requests as may be in flight, and the rest of earlier ones.
    func send() throws(BenchError) {
        // Requests are only made when all before them are gone: the buffer holds what may be in flight, no more.
        if outputStart == outputEnd {
            outputStart = 0
            outputEnd = 0
            let first = sent
            while sent < total, sent - answered < inFlightMax {
                stream.writeLine(to: output + outputEnd)
                outputEnd += stream.templates.lineBytes
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
                throw BenchError("the daemon closed a connection with \(sent - answered) requests unanswered")
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
            guard answered < sent else { throw BenchError("a line that nobody asked for: \(Self.excerpt(line))") }
            if !isResult(line, of: EventTemplate.firstNumber + UInt64(answered)) {
                errorCount += 1
                if firstError == nil { firstError = Self.excerpt(line) }
            }
            histogram.record(nanoseconds: now - sentAt[answered % inFlightMax])
            answered += 1
        }
        guard start > 0 else {
            guard inputEnd < inputBytesMax else { throw BenchError("a reply is longer than \(inputBytesMax) bytes") }
            return
        }
        inputEnd -= start
        memmove(input, input + start, inputEnd)
    }

    private static let head: StaticString = #"{"jsonrpc":"2.0","id":"#
    private static let result: StaticString = #","result":"#

    private func isResult(_ line: UnsafeRawBufferPointer, of request: UInt64) -> Bool {
        let idStart = Self.head.utf8CodeUnitCount
        let idEnd = idStart + EventTemplate.digits
        guard let base = line.baseAddress, line.count > idEnd + Self.result.utf8CodeUnitCount,
            memcmp(base, Self.head.utf8Start, idStart) == 0,
            memcmp(base + idEnd, Self.result.utf8Start, Self.result.utf8CodeUnitCount) == 0
        else { return false }
        var id: UInt64 = 0
        for index in idStart..<idEnd { id = id &* 10 &+ UInt64(line[index] &- UInt8(ascii: "0")) }
        return id == request
    }

    private static func excerpt(_ line: UnsafeRawBufferPointer) -> String {
        String(decoding: line.prefix(600), as: UTF8.self)
    }
}
