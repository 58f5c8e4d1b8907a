import Glibc

@testable import Control

/// A blocking client on a Unix socket. Everything it waits for comes within ten seconds, or it says that it did not.
final class TestClient {
    let descriptor: Int32
    private var received: [UInt8] = []
    private(set) var sawEnd = false

    struct Failure: Error, CustomStringConvertible {
        var description: String
    }

    init(_ path: String) throws {
        descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard result == 0 else { throw Failure(description: "connect: \(String(cString: strerror(errno)))") }
        var time = timeval(tv_sec: 10, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &time, socklen_t(MemoryLayout<timeval>.size))
        setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &time, socklen_t(MemoryLayout<timeval>.size))
    }

    deinit { close(descriptor) }

    func send(_ text: String) throws { try send(Array(text.utf8)) }

    func send(_ bytes: [UInt8]) throws {
        var sent = 0
        while sent < bytes.count {
            let count = bytes[sent...].withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { throw Failure(description: "send: \(String(cString: strerror(errno)))") }
            sent += count
        }
    }

    /// Sends what the operating system takes without waiting, and says how much that was.
    func sendWithoutWaiting(_ bytes: [UInt8]) -> Int {
        max(0, Glibc.send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL | MSG_DONTWAIT)))
    }

    func endSending() { shutdown(descriptor, Int32(SHUT_WR)) }

    /// The next line without its newline, nil at the end of the stream.
    func line() throws -> String? {
        while true {
            if let end = received.firstIndex(of: UInt8(ascii: "\n")) {
                defer { received.removeFirst(end + 1) }
                return String(decoding: received[..<end], as: UTF8.self)
            }
            guard try receive() else { return nil }
        }
    }

    /// All lines up to the end of the stream.
    func lines() throws -> [String] {
        while try receive() {}
        return String(decoding: received, as: UTF8.self).split(separator: "\n").map(String.init)
    }

    private func receive() throws -> Bool {
        var chunk = [UInt8](repeating: 0, count: 64 << 10)
        let count = recv(descriptor, &chunk, chunk.count, 0)
        if count < 0 {
            // What was sent before a reset has been read by now.
            if errno == ECONNRESET { return false }
            throw Failure(description: "recv: \(String(cString: strerror(errno)))")
        }
        received += chunk[..<count]
        sawEnd = count == 0
        return count > 0
    }

    func ask(_ text: String) throws -> String? {
        try send(text + "\n")
        return try line()
    }
}

/// A request's text.
func request(_ id: some CustomStringConvertible, _ method: Method, _ params: String = "{}") -> String {
    #"{"jsonrpc":"2.0","id":\#(id),"method":"\#(method.name)","params":\#(params)}"#
}

func result(_ id: some CustomStringConvertible, _ value: String = "{}") -> String {
    #"{"jsonrpc":"2.0","id":\#(id),"result":\#(value)}"#
}

/// The name of the error that a reply carries, and the id before it.
func error(_ reply: String?) -> String? {
    guard let reply, let start = reply.firstRange(of: #""name":""#), let id = reply.firstRange(of: #""id":"#),
        let idEnd = reply.firstRange(of: #","error""#)
    else { return reply.map { "no error: \($0)" } }
    return reply[id.upperBound..<idEnd.lowerBound] + " " + reply[start.upperBound...].prefix { $0 != "\"" }
}
