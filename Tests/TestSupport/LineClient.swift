import Glibc

/// A blocking client of the daemon's socket. What it waits for comes within `timeout`, or it says that it did not.
///
/// One thread at a time.
package final class LineClient {
    private let descriptor: Int32
    private var received: [UInt8] = []
    /// Where in `received` the next line begins; what is before it was given out.
    private var start = 0
    private var nextID = 0

    package init(_ path: String, timeoutSeconds: Int = 30) throws {
        descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw SystemFailure("socket") }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        precondition(path.utf8.count < MemoryLayout.size(ofValue: address.sun_path))
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        // Every field is set: `deinit` closes.
        guard result == 0 else { throw SystemFailure("connect to \(path)") }
        var time = timeval(tv_sec: timeoutSeconds, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &time, socklen_t(MemoryLayout<timeval>.size))
        setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &time, socklen_t(MemoryLayout<timeval>.size))
    }

    deinit { close(descriptor) }

    /// Sends a line. Throws when the other side has gone; part of the line may have been taken by then.
    package func send(line: String) throws { try send(bytes: Array(line.utf8) + [UInt8(ascii: "\n")]) }

    package func send(bytes: [UInt8]) throws {
        var sent = 0
        while sent < bytes.count {
            let count = bytes[sent...].withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            if count > 0 { sent += count } else if errno != EINTR { throw SystemFailure("send") }
        }
    }

    /// Shuts down the sending direction: what was sent is still answered.
    package func endSending() { shutdown(descriptor, Int32(SHUT_WR)) }

    /// Sends what the other side takes without waiting.
    /// - Returns: how many bytes that were.
    package func sendWithoutWaiting(_ bytes: [UInt8]) -> Int {
        max(0, Glibc.send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL | MSG_DONTWAIT)))
    }

    /// Sends bytes with open files attached (SCM_RIGHTS), as a peer may that wants the other side to run out of them.
    package func send(bytes: [UInt8], files: [Int32]) throws {
        // One control message: a header of 16 bytes, then the descriptors.
        var control = [UInt8](repeating: 0, count: 16 + (files.count * 4 + 7) / 8 * 8)
        control.withUnsafeMutableBytes { control in
            control.storeBytes(of: 16 + files.count * 4, as: Int.self)
            control.storeBytes(of: SOL_SOCKET, toByteOffset: 8, as: Int32.self)
            control.storeBytes(of: Int32(SCM_RIGHTS), toByteOffset: 12, as: Int32.self)
            for (index, file) in files.enumerated() {
                control.storeBytes(of: file, toByteOffset: 16 + index * 4, as: Int32.self)
            }
        }
        var bytes = bytes
        let sent = bytes.withUnsafeMutableBytes { body in
            control.withUnsafeMutableBytes { control in
                var part = iovec(iov_base: body.baseAddress, iov_len: body.count)
                return withUnsafeMutablePointer(to: &part) { part in
                    var message = msghdr()
                    message.msg_iov = part
                    message.msg_iovlen = 1
                    message.msg_control = control.baseAddress
                    message.msg_controllen = control.count
                    return sendmsg(descriptor, &message, Int32(MSG_NOSIGNAL))
                }
            }
        }
        guard sent == bytes.count else { throw SystemFailure("sendmsg") }
    }

    /// The next line, without its newline; nil when the other side has closed or gone. Part of a line is not a line.
    package func line() throws -> String? {
        while true {
            if let end = received[start...].firstIndex(of: UInt8(ascii: "\n")) {
                defer { start = end + 1 }
                return String(decoding: received[start..<end], as: UTF8.self)
            }
            received.removeSubrange(..<start)
            start = 0
            var chunk = [UInt8](repeating: 0, count: 64 << 10)
            let count = recv(descriptor, &chunk, chunk.count, 0)
            if count > 0 {
                received.append(contentsOf: chunk[..<count])
            } else if count == 0 || errno == ECONNRESET {
                return nil
            } else if errno == EAGAIN {
                throw TimedOut("a line")
            } else if errno != EINTR {
                throw SystemFailure("recv")
            }
        }
    }

    /// Whether a whole line, or the end, can be had without waiting.
    package var hasLine: Bool {
        if received[start...].contains(UInt8(ascii: "\n")) { return true }
        var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        return poll(&entry, 1, 0) > 0
    }

    /// Asks one thing and takes the answer to it.
    /// - Returns: the result.
    /// - Throws: `Refusal` for an error reply.
    @discardableResult
    package func ask(_ method: String, _ params: String = "{}") throws -> JSONTree {
        nextID += 1
        try send(line: request(nextID, method, params))
        guard let reply = try line() else { throw TimedOut("a reply to \(method): the connection ended") }
        let tree = try JSONTree(reply)
        if tree["error"].isPresent { throw Refusal(tree["error"]) }
        guard tree["result"].isPresent, tree["id"].integer == nextID else {
            throw TimedOut("the reply to \(method): got \(reply)")
        }
        return tree["result"]
    }

    /// As `ask`, for a read of a model, which may be late by any time on a machine that is busy with other work: its answer comes
    /// from all events that are stored. One that is late says so, by `deadline_exceeded` or by a position before its head.
    ///
    /// - Throws: `TimedOut` after a minute of asking.
    @discardableResult
    package func askWhenFresh(_ method: String, _ params: String = "{}") throws -> JSONTree {
        let deadline = Monotonic.milliseconds() + 60_000
        while Monotonic.milliseconds() < deadline {
            do {
                let answer = try ask(method, params)
                // `lead.get` gives neither: it has waited for its lead's last event.
                if !answer["head"].isPresent || answer["position"] == answer["head"] { return answer }
            } catch let refusal as Refusal where refusal.name == "deadline_exceeded" {}
        }
        throw TimedOut("an answer to \(method) that is not late")
    }

    /// The refusal that asking gives; nil when it was granted.
    package func refusal(_ method: String, _ params: String = "{}") throws -> Refusal? {
        do { try ask(method, params) } catch let refusal as Refusal { return refusal }
        return nil
    }
}

/// A request's line.
package func request(_ id: Int, _ method: String, _ params: String = "{}") -> String {
    #"{"jsonrpc":"2.0","id":\#(id),"method":"\#(method)","params":\#(params)}"#
}

/// An error reply.
package struct Refusal: Error, CustomStringConvertible {
    package let error: JSONTree

    package init(_ error: JSONTree) { self.error = error }

    package var name: String { error["data"]["name"].string ?? "an error without a name" }
    package var message: String { error["message"].string ?? "" }
    package var data: JSONTree { error["data"] }
    package var description: String { error.description }
}
