import Foundation
import Glibc
import Synchronization

/// Something that listens where a daemon would, and says what a test wants it to say.
///
/// Each connection is served on a thread of its own by a closure that reads lines and writes lines, blocking as a daemon that
/// does nothing else would: it does not read while nobody takes what it writes.
package final class FakeDaemon: Sendable {
    package let path: String

    package init(_ serve: @escaping @Sendable (FakeConnection) -> Void) throws {
        let path = "/tmp/fake-\(getpid())-\(UInt32.random(in: .min ... .max)).sock"
        self.path = path
        Self.paths.withLock { $0.append(path) }
        let listener = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let bound = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(listener, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard bound == 0, listen(listener, 16) == 0 else { throw POSIXError(.EADDRINUSE) }
        Thread.detachNewThread {
            while true {
                let descriptor = accept(listener, nil, nil)
                if descriptor < 0, errno == EINTR || errno == ECONNABORTED { continue }
                guard descriptor >= 0 else { return }
                Thread.detachNewThread { serve(FakeConnection(descriptor)) }
            }
        }
    }

    /// It listens until the process ends: a test that holds only its path may have let go of it before the connection is taken.
    private static let paths: Mutex<[String]> = {
        atexit { FakeDaemon.removeSockets() }
        return Mutex([])
    }()

    private static func removeSockets() { paths.withLock { paths in for path in paths { unlink(path) } } }
}

/// One client of a fake daemon. It ends with the closure that serves it.
package final class FakeConnection {
    private let descriptor: Int32
    private var received: [UInt8] = []
    private var start = 0

    fileprivate init(_ descriptor: Int32) { self.descriptor = descriptor }

    deinit { close(descriptor) }

    /// The next line, nil when the client has gone.
    package func line() -> String? {
        while true {
            if let end = received[start...].firstIndex(of: UInt8(ascii: "\n")) {
                defer { start = end + 1 }
                return String(decoding: received[start..<end], as: UTF8.self)
            }
            received.removeFirst(start)
            start = 0
            var chunk = [UInt8](repeating: 0, count: 64 << 10)
            let count = recv(descriptor, &chunk, chunk.count, 0)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return nil }
            received += chunk[..<count]
        }
    }

    package func send(_ text: String) {
        var rest = Array((text + "\n").utf8)[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return }
            rest.removeFirst(count)
        }
    }

    package func reply(to line: String, result: String) {
        send(#"{"jsonrpc":"2.0","id":\#(id(of: line)),"result":\#(result)}"#)
    }

    package func refuse(_ line: String, name: String, code: Int, more: String = "") {
        send(
            #"{"jsonrpc":"2.0","id":\#(id(of: line)),"error":{"code":\#(code),"message":"no","data":{"name":"\#(name)","hint":"look"\#(more)}}}"#
        )
    }
}

/// The id of a request that the client wrote: a number.
package func id(of line: String) -> String {
    line.firstRange(of: #""id":"#).map { String(line[$0.upperBound...].prefix { $0.isNumber }) } ?? "null"
}
