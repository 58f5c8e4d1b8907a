import Glibc

/// Opens a connection to the socket at `path`; nil while nobody listens there.
func connectToSocket(_ path: String) throws(BenchError) -> Int32? {
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    let room = MemoryLayout.size(ofValue: address.sun_path)
    guard path.utf8.count < room else {
        throw BenchError("the socket's path takes \(path.utf8.count) bytes, and \(room - 1) are possible: \(path)")
    }
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
    let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    guard descriptor >= 0 else { throw .system("socket") }
    let result = withUnsafePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
        }
    }
    if result == 0 { return descriptor }
    let code = errno
    close(descriptor)
    // ENOENT: not bound yet. ECONNREFUSED: the file of a daemon that was killed.
    if code == ENOENT || code == ECONNREFUSED { return nil }
    throw BenchError("connect to \(path): \(String(cString: strerror(code)))")
}
