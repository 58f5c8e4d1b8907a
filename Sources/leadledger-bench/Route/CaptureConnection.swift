import Glibc

/// A connection that sends captures when it is told to, whatever is unanswered.
final class CaptureConnection {
    let descriptor: Int32
    private let input: LineInput
    private var output: [UInt8] = []
    private var outputStart = 0
    /// The captures without a reply, oldest first: replies come in the order of the requests.
    private var waiting: [Int] = []
    private var waitingStart = 0

    /// Takes over `descriptor`.
    init(descriptor: Int32) {
        self.descriptor = descriptor
        // A reply to one event is a fraction of this; an error with its hint too.
        input = LineInput(descriptor: descriptor, lineBytesMax: 1 << 18)
        _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK)
    }

    deinit { close(descriptor) }

    var unanswered: Int { waiting.count - waitingStart }
    var wantsToWrite: Bool { outputStart < output.count }

    /// Puts a capture behind what waits to be sent: `flush` sends it.
    func add(_ number: Int, wallClock: time_t, _ captures: inout RouteCaptures) {
        let start = output.count
        output.append(contentsOf: repeatElement(0, count: captures.lineBytes))
        output.withUnsafeMutableBytes {
            captures.writeLine(number: number, wallClock: wallClock, to: $0.baseAddress! + start)
        }
        waiting.append(number)
    }

    func flush() throws(BenchError) {
        while outputStart < output.count {
            let written = output.withUnsafeBytes {
                write(descriptor, $0.baseAddress! + outputStart, $0.count - outputStart)
            }
            if written >= 0 {
                outputStart += written
            } else if errno == EAGAIN {
                return
            } else if errno != EINTR {
                throw .system("write to the daemon")
            }
        }
        output.removeAll(keepingCapacity: true)
        outputStart = 0
    }

    /// Takes in the acknowledgements that are there. A capture that is refused ends the benchmark.
    func receive(into matching: inout RouteMatching) throws(BenchError) {
        try input.read { (line) throws(BenchError) in
            let now = monotonicNanoseconds()
            guard unanswered > 0 else { throw BenchError("a line that nobody asked for: \(ReplyLine.excerpt(line))") }
            let number = waiting[waitingStart]
            waitingStart += 1
            if waitingStart == waiting.count || waitingStart >= 4_096 {
                waiting.removeFirst(waitingStart)
                waitingStart = 0
            }
            guard ReplyLine.isResult(line, of: EventTemplate.firstNumber + UInt64(number)) else {
                throw BenchError("capture \(number) was not stored: \(ReplyLine.excerpt(line))")
            }
            try matching.acknowledged(number, at: now)
        }
    }
}
