package import Control
import Glibc
package import JSON

// LedgerClient: one connection to the daemon.
//
//   send()     -> output ->  \                       / <- socket <- daemon
//                             exchange(): one poll, then write what fits and read what came
//   receive()  <- input  <-  /
//
// Invariants:
//   never-stuck    Nothing here waits for the socket in one direction only: the daemon stops reading while its replies are not
//                  taken, so whoever waits takes and gives in the same poll.
//   bounded        At most `window` requests have no reply, and at most `outputBytesMax` and one line wait to be written:
//                  then `isFull`, and the caller receives before it sends on.
//   in-order       Replies come in the order of the requests; each one's id is checked against that.

/// A blocking client for programs that talk to the daemon.
///
/// ```swift
/// let client = try LedgerClient(socket: "/var/lib/leadledger/ledger.sock")
/// let result = try client.call("lead.get", params: Array(#"{"lead":"L-1"}"#.utf8))    // JSON text
/// ```
///
/// Many requests go faster without waiting for each reply. Replies come in the order of the requests:
///
/// ```swift
/// for event in events {
///     while client.isFull { handle(try client.receive()) }
///     try client.send("append", params: Array(#"{"events":[\#(event)]}"#.utf8))
/// }
/// while client.unanswered > 0 { handle(try client.receive()) }
/// ```
///
/// An append whose reply did not come (`ClientError.closed`) is stored or not: send it again, it is never stored twice.
///
/// A client belongs to one thread at a time. The connection ends with the object.
public final class LedgerClient {
    /// What the daemon says: the reply to the oldest request without one, or a notification of a subscription.
    public enum Message: Sendable, Equatable {
        case result(json: [UInt8])
        case refused(ServerError)
        case notification(method: String, params: [UInt8])
    }

    /// Requests that are sent, or wait to be, and have no reply yet.
    public private(set) var unanswered = 0

    private let descriptor: Int32
    private let window: Int
    private let path: String
    private var output: [UInt8] = []
    private var outputSent = 0
    private var input: [UInt8] = []
    private var inputStart = 0
    private var inputEnd = 0
    /// Bytes behind `inputStart` known to hold no newline.
    private var inputSearched = 0
    private var nextID: UInt64 = 1
    private var nextReplyID: UInt64 = 1
    private var parser = JSONParser(bytesMax: LedgerClient.replyBytesMax, depthMax: 64)
    /// Notifications that came while `call` waited for its reply, oldest first.
    private var kept: [[UInt8]] = []
    private var ending: String?

    /// Of lines that wait to be written. The daemon takes 1 MiB before it asks for its replies to be read; by taste.
    private static let outputBytesMax = 2 << 20
    /// Written as soon as so much waits, so that the daemon has something to do.
    private static let outputBytesEager = 64 << 10
    /// Far above any answer of the daemon.
    private static let replyBytesMax = 256 << 20

    /// Connects.
    ///
    /// - Parameter window: how many requests may be without a reply. 1,024 fill a group of the log well.
    public init(socket path: String, window: Int = 1_024) throws(ClientError) {
        precondition(window > 0)
        self.path = path
        self.window = window
        descriptor = try Self.connect(to: path)
    }

    /// Opens a connection that does not block.
    ///
    /// Static, since an initialiser that throws once every field is set runs `deinit`: the descriptor would be closed
    /// twice, and the second time it may be another's.
    private static func connect(to path: String) throws(ClientError) -> Int32 {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let room = MemoryLayout.size(ofValue: address.sun_path) - 1
        guard path.utf8.count <= room else {
            throw .unreachable(path: path, reason: "a socket's path takes at most \(room) bytes")
        }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw .unreachable(path: path, reason: describe(errno)) }
        // Connecting waits where the daemon's queue of new connections is full; only then does the socket stop blocking.
        let connected = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                var result: Int32
                repeat {
                    result = Glibc.connect(descriptor, address, socklen_t(MemoryLayout<sockaddr_un>.size))
                } while result != 0 && errno == EINTR
                return result
            }
        }
        guard connected == 0, fcntl(descriptor, F_SETFL, O_NONBLOCK) == 0 else {
            let reason = describe(errno)
            close(descriptor)
            throw .unreachable(path: path, reason: reason)
        }
        return descriptor
    }

    deinit { close(descriptor) }

    // MARK: One request at a time

    /// Sends a request and waits for its result.
    ///
    /// - Precondition: no request is unanswered.
    /// - Throws: `ClientError.server` when the daemon refuses, `closed` when the outcome is unknown.
    public func call(_ method: String, params: [UInt8] = []) throws(ClientError) -> [UInt8] {
        try send(method, params: params)
        return try reply { Array($0.raw) }
    }

    /// As above, and lends the result while `body` runs.
    package func call<Result>(
        _ method: Method, params: [UInt8] = [], _ body: (_ result: JSONValue) -> Result
    ) throws(ClientError) -> Result {
        params.withUnsafeBytes { send(method.name, params: $0) }
        return try reply(body)
    }

    private func reply<Result>(_ body: (JSONValue) -> Result) throws(ClientError) -> Result {
        precondition(unanswered == 1, "call with requests unanswered")
        while true {
            let line = try nextLine()
            let answer: Swift.Result<Result, ClientError>? = try withMessage(try parse(input[line])) { message in
                switch message {
                case .result(let value): .success(body(value))
                case .refused(let error): .failure(.server(error))
                case .notification: nil
                }
            }
            if let answer { return try answer.get() }
            kept.append(Array(input[line]))
        }
    }

    // MARK: Pipelining

    /// Whether `receive` must come before the next `send`.
    public var isFull: Bool { unanswered >= window || output.count - outputSent >= Self.outputBytesMax }

    /// Puts a request in line. It leaves with many others, at the latest when a reply is waited for.
    ///
    /// - Parameter params: a JSON object on one line; it is sent as it is.
    public func send(_ method: String, params: [UInt8] = []) throws(ClientError) {
        guard !params.contains(UInt8(ascii: "\n")) else {
            throw .server(ServerError(.parseError, "a request is one line"))
        }
        var writer = JSONWriter(reserving: method.utf8.count + 2)
        writer.string(method)
        beginRequest()
        output += writer.bytes
        params.withUnsafeBytes { endRequest($0) }
    }

    package func send(_ method: Method, params: UnsafeRawBufferPointer) { send(method.name, params: params) }

    /// The caller vouches that `params` is JSON without newlines.
    private func send(_ method: StaticString, params: UnsafeRawBufferPointer) {
        beginRequest()
        output.append(UInt8(ascii: "\""))
        output.append(method)
        output.append(UInt8(ascii: "\""))
        endRequest(params)
    }

    private func beginRequest() {
        if outputSent == output.count {
            output.removeAll(keepingCapacity: true)
            outputSent = 0
        }
        output.append(#"{"jsonrpc":"2.0","id":"#)
        // Up to 15 digits are a string without an allocation.
        output.append(contentsOf: String(nextID).utf8)
        output.append(#","method":"#)
    }

    private func endRequest(_ params: UnsafeRawBufferPointer) {
        if !params.isEmpty {
            output.append(#","params":"#)
            output.append(contentsOf: params)
        }
        output.append("}\n")
        nextID += 1
        unanswered += 1
        if output.count - outputSent >= Self.outputBytesEager { write() }
    }

    /// The next message, waiting for it.
    ///
    /// The parameters of a notification are given as they came, without having been parsed: a replay takes a million events a
    /// second.
    public func receive() throws(ClientError) -> Message {
        if kept.isEmpty {
            let line = try nextLine()
            if let notification = input.withUnsafeBytes({
                Self.notification(UnsafeRawBufferPointer(rebasing: $0[line]))
            }) {
                return notification
            }
            return try withMessage(try parse(input[line])) { message in Self.copy(of: message) }
        }
        return try receive { message in Self.copy(of: message) }
    }

    private static func copy(of message: Incoming) -> Message {
        switch message {
        case .result(let value): .result(json: Array(value.raw))
        case .refused(let error): .refused(error)
        case .notification(let method, let params):
            .notification(method: method.string ?? "", params: Array(params.raw))
        }
    }

    /// A line that begins as the daemon's notifications do, taken apart without a parser; nil for any other.
    ///
    /// ```
    /// {"jsonrpc":"2.0","method":"log.events","params":{...}}
    /// ```
    private static func notification(_ line: UnsafeRawBufferPointer) -> Message? {
        let (begin, middle): (StaticString, StaticString) = (#"{"jsonrpc":"2.0","method":""#, #"","params":"#)
        let methodStart = begin.utf8CodeUnitCount
        guard line.count > methodStart, line.last == UInt8(ascii: "}"),
            UnsafeRawBufferPointer(rebasing: line[..<methodStart]).equals(begin),
            let methodEnd = line[methodStart...].firstIndex(of: UInt8(ascii: "\"")),
            case let paramsStart = methodEnd + middle.utf8CodeUnitCount, paramsStart < line.count - 1,
            UnsafeRawBufferPointer(rebasing: line[methodEnd..<paramsStart]).equals(middle),
            !line[methodStart..<methodEnd].contains(UInt8(ascii: "\\"))
        else { return nil }
        return .notification(
            method: String(decoding: line[methodStart..<methodEnd], as: UTF8.self),
            params: Array(line[paramsStart..<(line.count - 1)]))
    }

    /// What `receive` lends.
    package enum Incoming {
        case result(JSONValue)
        case refused(ServerError)
        case notification(method: JSONValue, params: JSONValue)
    }

    /// The next message, waiting for it, lent while `body` runs.
    package func receive<Result>(_ body: (Incoming) -> Result) throws(ClientError) -> Result {
        if !kept.isEmpty {
            let line = kept.removeFirst()
            return try withMessage(try parse(line[...]), body)
        }
        return try withMessage(try parse(input[try nextLine()]), body)
    }

    /// Whether `receive` would not wait.
    package var hasMessage: Bool { !kept.isEmpty || hasLine }

    /// Waits, sending and receiving, until a message is there, `other` can be read, or the time has passed.
    package func wait(orReadable other: Int32? = nil, milliseconds: Int32 = -1) throws(ClientError) {
        guard !hasMessage else { return }
        try exchange(orReadable: other, milliseconds: milliseconds)
    }

    // MARK: Inside

    /// The document lies in the parser until the next one is parsed.
    private func parse(_ line: ArraySlice<UInt8>) throws(ClientError) -> JSONValue {
        do throws(JSONError) {
            return try line.withUnsafeBufferPointer { (line) throws(JSONError) in
                try parser.parse(UnsafeRawBufferPointer(line))
            }
        } catch {
            throw .protocolBroken(reason: "\(error)")
        }
    }

    private func withMessage<Result>(
        _ root: JSONValue, _ body: (Incoming) -> Result
    ) throws(ClientError) -> Result {
        guard let id = root["id"] else {
            guard let method = root["method"], let params = root["params"] else {
                throw .protocolBroken(reason: "neither a reply nor a notification")
            }
            return body(.notification(method: method, params: params))
        }
        let error = root["error"].map { ServerError($0) }
        if id.isNull, let error, nextReplyID == 1, ["busy", "not_allowed"].contains(error.name) {
            throw .notServed(error)
        }
        // A line that the daemon could not read is answered in its turn too, under no id.
        guard unanswered > 0, id.isNull ? error != nil : id.uint64 == nextReplyID else {
            throw .protocolBroken(reason: "the reply to a request that was not sent")
        }
        nextReplyID += 1
        unanswered -= 1
        if let error { return body(.refused(error)) }
        guard let result = root["result"] else { throw .protocolBroken(reason: "a reply without result and error") }
        return body(.result(result))
    }

    /// The place in `input` of the next line, without its newline. It stays there until more is read.
    private func nextLine() throws(ClientError) -> Range<Int> {
        while !hasLine {
            try exchange(orReadable: nil, milliseconds: -1)
        }
        let line = inputStart..<(inputStart + inputSearched)
        inputStart = line.upperBound + 1
        inputSearched = 0
        return line
    }

    /// Looks for the end of the line that begins at `inputStart`: then `inputSearched` is its length.
    private var hasLine: Bool {
        let from = inputStart + inputSearched
        guard from < inputEnd else { return false }
        if input[from] == UInt8(ascii: "\n") { return true }
        let found = input.withUnsafeBytes { bytes -> Int? in
            guard let start = bytes.baseAddress, let newline = memchr(start + from, 0x0A, inputEnd - from) else {
                return nil
            }
            return start.distance(to: newline)
        }
        inputSearched = (found ?? inputEnd) - inputStart
        return found != nil
    }

    /// Waits once, then writes what the socket takes and reads what it has.
    private func exchange(orReadable other: Int32?, milliseconds: Int32) throws(ClientError) {
        write()
        if let ending { throw .closed(unanswered: unanswered, reason: ending) }
        var waits = [pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)]
        if outputSent < output.count { waits[0].events |= Int16(POLLOUT) }
        if let other { waits.append(pollfd(fd: other, events: Int16(POLLIN), revents: 0)) }
        guard poll(&waits, nfds_t(waits.count), milliseconds) >= 0 else {
            if errno == EINTR { return }
            throw .closed(unanswered: unanswered, reason: describe(errno))
        }
        if waits[0].revents & Int16(POLLOUT) != 0 { write() }
        if waits[0].revents & ~Int16(POLLOUT) != 0 { read() }
    }

    private func write() {
        while outputSent < output.count {
            let count = output.withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress! + outputSent, $0.count - outputSent, Int32(MSG_NOSIGNAL))
            }
            if count >= 0 {
                outputSent += count
            } else if errno == EAGAIN {
                // What was written makes room, once it is the greater part.
                if outputSent > output.count / 2 {
                    output.removeFirst(outputSent)
                    outputSent = 0
                }
                return
            } else if errno != EINTR {
                // Nobody reads on. Replies sent before may still be there to be taken, and say why.
                outputSent = output.count
            }
        }
    }

    private func read() {
        if inputStart == inputEnd {
            inputStart = 0
            inputEnd = 0
        }
        if input.count - inputEnd < Self.readBytesMin {
            if inputStart > 0 {
                input.withUnsafeMutableBytes {
                    _ = memmove($0.baseAddress!, $0.baseAddress! + inputStart, inputEnd - inputStart)
                }
                inputEnd -= inputStart
                inputStart = 0
            }
            if input.count - inputEnd < Self.readBytesMin {
                input.append(contentsOf: repeatElement(0, count: max(input.count, 4 * Self.readBytesMin)))
            }
        }
        let count = input.withUnsafeMutableBytes {
            recv(descriptor, $0.baseAddress! + inputEnd, $0.count - inputEnd, 0)
        }
        if count > 0 {
            inputEnd += count
        } else if count == 0 {
            ending = "the daemon closed it"
        } else if errno != EAGAIN, errno != EINTR {
            ending = describe(errno)
        }
    }

    private static let readBytesMin = 64 << 10
}

extension [UInt8] {
    fileprivate mutating func append(_ text: StaticString) {
        text.withUTF8Buffer { append(contentsOf: $0) }
    }
}

private func describe(_ code: Int32) -> String { String(cString: strerror(code)) }
