import Glibc

// SocketFile: the socket's place in the file system.
//
//   1. the directory and what stands at the path are looked at: nothing, or a socket of ours that nobody answers (a daemon that was killed);
//      anything else is left alone and refused
//   2. bound under a temporary name beside it, given its mode, set to listen
//   3. renamed: from here on clients find it, and a client never finds a socket that does not listen or has a wider mode
//
// Two daemons with one path: the caller holds the lock of its data directory, so a race between 1 and 3 takes two
// directories configured with one socket path. The later one then takes the path over; nothing is lost.

/// Why the socket could not be made.
package struct ListenerError: Error, CustomStringConvertible {
    package enum Kind: Sendable, Equatable {
        /// The path takes 108 bytes or more, which the kernel has no room for.
        case pathTooLong
        /// A live daemon answers there.
        case inUse
        /// Something that is not a socket, or a socket of another user, stands there; it is left alone.
        case notOurs
        /// Everybody may rename and remove files in its directory, so anybody could put another socket in its place.
        case openDirectory
        case system(operation: String, code: Int32)
    }

    package let kind: Kind
    package let path: String

    package var exitCode: Int32 {
        switch kind {
        case .pathTooLong, .openDirectory: 78
        case .inUse, .notOurs, .system: 73
        }
    }

    package var description: String {
        switch kind {
        case .pathTooLong:
            "\(path): a socket's path takes at most \(SocketFile.pathBytesMax) bytes, this has \(path.utf8.count); name a shorter one with --socket"
        case .inUse: "\(path): another daemon answers on this socket; stop it, or name another path with --socket"
        case .notOurs:
            "\(path): stands there and is no socket of this user, so it is left alone; remove it, or name another path with --socket"
        case .openDirectory:
            "\(path): everybody may change its directory; take that right away (chmod o-w), or name another path with --socket"
        case .system(let operation, let code): "\(path): \(operation): \(String(cString: strerror(code)))"
        }
    }
}

/// A listening Unix socket and the file that leads to it.
struct SocketFile: Sendable {
    let path: String
    let descriptor: Int32
    private let device: UInt64
    private let inode: UInt64

    /// `sun_path` has 108 bytes, one of them for the end.
    static let pathBytesMax = 107

    init(path: String, mode: UInt32) throws(ListenerError) {
        let slash = path.utf8.lastIndex(of: UInt8(ascii: "/"))
        let directory = slash.map { path[...$0] } ?? ""
        let temporary = "\(directory).\(getpid()).new"
        guard path.utf8.count <= Self.pathBytesMax, temporary.utf8.count <= Self.pathBytesMax else {
            throw ListenerError(kind: .pathTooLong, path: path)
        }
        func failure(_ operation: String) -> ListenerError {
            ListenerError(kind: .system(operation: operation, code: errno), path: path)
        }

        // 1.
        var parent = stat()
        if stat(directory.isEmpty ? "." : String(directory), &parent) == 0,
            parent.st_mode & (S_IWOTH | S_ISVTX) == S_IWOTH
        {
            throw ListenerError(kind: .openDirectory, path: path)
        }
        try Self.lookAtOld(path)

        // 2.
        let descriptor = socket(
            AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue), 0)
        guard descriptor >= 0 else { throw failure("socket") }
        var status = stat()
        do throws(ListenerError) {
            unlink(temporary)
            guard Self.withAddress(temporary, { bind(descriptor, $0, $1) }) == 0 else { throw failure("bind") }
            guard chmod(temporary, mode) == 0 else { throw failure("chmod") }
            guard listen(descriptor, 128) == 0 else { throw failure("listen") }
            guard lstat(temporary, &status) == 0 else { throw failure("lstat") }
            // 3.
            guard rename(temporary, path) == 0 else { throw failure("rename") }
        } catch {
            unlink(temporary)
            Glibc.close(descriptor)
            throw error
        }
        self.path = path
        self.descriptor = descriptor
        device = UInt64(status.st_dev)
        inode = UInt64(status.st_ino)
    }

    /// Closes what was never given to a listener.
    func close() { Glibc.close(descriptor) }

    /// Removes the file, unless another daemon has put its own there.
    func remove() {
        var status = stat()
        guard lstat(path, &status) == 0, UInt64(status.st_dev) == device, UInt64(status.st_ino) == inode else { return }
        unlink(path)
    }

    private static func lookAtOld(_ path: String) throws(ListenerError) {
        var status = stat()
        guard lstat(path, &status) == 0 else {
            if errno == ENOENT { return }
            throw ListenerError(kind: .system(operation: "lstat", code: errno), path: path)
        }
        guard status.st_mode & S_IFMT == S_IFSOCK, status.st_uid == geteuid() else {
            throw ListenerError(kind: .notOurs, path: path)
        }
        let probe = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue), 0)
        guard probe >= 0 else { throw ListenerError(kind: .system(operation: "socket", code: errno), path: path) }
        defer { Glibc.close(probe) }
        // A socket that nobody listens on refuses; one whose queue of connections is full says EAGAIN and is alive.
        let answer = withAddress(path) { connect(probe, $0, $1) }
        guard answer != 0, errno == ECONNREFUSED else { throw ListenerError(kind: .inUse, path: path) }
    }

    /// The caller has checked the length.
    private static func withAddress(_ path: String, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32) -> Int32 {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        return withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<sockaddr_un>.size)) }
        }
    }
}
