import Glibc
import JSON

/// A connection for one request at a time, off the measured path: status, read models, subscriptions.
final class ControlClient {
    private let daemon: DaemonProcess
    private let descriptor: Int32
    private var input: [UInt8] = []
    private var inputStart = 0
    private var parser = JSONParser()
    private var lastID = 0
    /// How often a request is sent again that is told to come again. By taste: a minute or so.
    private static let triesMax = 600

    init(_ daemon: DaemonProcess) throws(BenchError) {
        self.daemon = daemon
        descriptor = try daemon.connect()
        // So that the daemon's memory is sampled while it is waited for.
        var interval = timeval(tv_sec: 0, tv_usec: 100_000)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &interval, socklen_t(MemoryLayout<timeval>.size))
    }

    deinit { close(descriptor) }

    /// Calls a method and lends its result.
    /// - Parameter parameters: a JSON object as text.
    func call<R>(
        _ method: String, _ parameters: String = "{}", _ body: (JSONValue) throws(BenchError) -> R
    ) throws(BenchError) -> R {
        lastID += 1
        try send(#"{"jsonrpc":"2.0","id":\#(lastID),"method":"\#(method)","params":\#(parameters)}"#)
        return try withMessage { (root, _) throws(BenchError) in try body(try result(in: root, of: method)) }
    }

    /// As `call`, and again for as long as the daemon says when to come again.
    func callPatiently<R>(
        _ method: String, _ parameters: String = "{}", _ body: (JSONValue) throws(BenchError) -> R
    ) throws(BenchError) -> R {
        for _ in 0..<Self.triesMax {
            lastID += 1
            try send(#"{"jsonrpc":"2.0","id":\#(lastID),"method":"\#(method)","params":\#(parameters)}"#)
            let answered = try withMessage { (root, _) throws(BenchError) -> (result: R?, retryMilliseconds: Int) in
                if let milliseconds = root["error"]?["data"]?["retry_after_ms"]?.int64 {
                    return (nil, Int(max(1, min(milliseconds, 1_000))))
                }
                return (try body(try result(in: root, of: method)), 0)
            }
            if let result = answered.result { return result }
            try pause(milliseconds: answered.retryMilliseconds)
        }
        throw BenchError("\(method): told to come again \(Self.triesMax) times")
    }

    private func result(in root: JSONValue, of method: String) throws(BenchError) -> JSONValue {
        guard root["id"]?.int64 == Int64(lastID), let result = root["result"] else {
            throw BenchError("\(method): \(String(decoding: root.raw.prefix(600), as: UTF8.self))")
        }
        return result
    }

    /// Lends the next line, parsed, and tells how many bytes it took.
    func withMessage<R>(
        _ body: (_ root: JSONValue, _ bytes: Int) throws(BenchError) -> R
    ) throws(BenchError) -> R {
        let line = try nextLine()
        let root: JSONValue
        do {
            // What is parsed lies in the parser, so the input may change again.
            root = try input.withUnsafeBytes { (bytes) throws(JSONError) in
                try parser.parse(UnsafeRawBufferPointer(rebasing: bytes[line]))
            }
        } catch {
            throw BenchError("a line from the daemon is not JSON: \(error)")
        }
        return try body(root, line.count + 1)
    }

    private func send(_ request: String) throws(BenchError) {
        let line = Array(request.utf8) + [0x0A]
        var start = 0
        while start < line.count {
            let written = line.withUnsafeBytes { write(descriptor, $0.baseAddress! + start, $0.count - start) }
            if written >= 0 {
                start += written
            } else if errno != EINTR {
                throw .system("write to the daemon")
            }
        }
    }

    /// Where the next line stands in `input`, without its newline, until the next call.
    private func nextLine() throws(BenchError) -> Range<Int> {
        var searched = inputStart
        while true {
            if let newline = newlineIndex(from: searched) {
                defer { inputStart = newline + 1 }
                return inputStart..<newline
            }
            input.removeFirst(inputStart)
            inputStart = 0
            searched = input.count
            try fill()
        }
    }

    private func newlineIndex(from start: Int) -> Int? {
        input.withUnsafeBytes { bytes in
            guard start < bytes.count, let base = bytes.baseAddress else { return nil }
            return memchr(base + start, 0x0A, bytes.count - start).map { UnsafeRawPointer($0) - base }
        }
    }

    private func fill() throws(BenchError) {
        let room = 256 << 10
        let end = input.count
        input.append(contentsOf: repeatElement(0, count: room))
        while true {
            let count = input.withUnsafeMutableBytes { read(descriptor, $0.baseAddress! + end, room) }
            let code = errno
            try Interruption.check()
            try daemon.memory.sampleIfDue(now: monotonicNanoseconds())
            if count > 0 {
                input.removeLast(room - count)
                return
            }
            if count == 0 { throw BenchError("the daemon closed the connection") }
            guard code == EAGAIN || code == EINTR else { throw .system("read from the daemon") }
            try daemon.checkIsRunning()
        }
    }
}
