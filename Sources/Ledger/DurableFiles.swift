import Glibc

/// A system call on a file said no: what was being done, to which path, and the `errno`.
package struct FileError: Error, Equatable, Sendable, CustomStringConvertible {
    package let operation: String
    package let path: String
    package let code: Int32

    package init(operation: String, path: String, code: Int32) {
        self.operation = operation
        self.path = path
        self.code = code
    }

    /// There is no room for more: on the device, in the quota, or in the file (RLIMIT_FSIZE). Reading says EFBIG of a file
    /// that is longer than it should be.
    package var isDiskFull: Bool { code == ENOSPC || code == EDQUOT || (code == EFBIG && operation != "read") }

    package var description: String { "\(operation) \(path): \(String(cString: strerror(code))) (\(code))" }

    /// Repeats a call that a signal interrupted; throws when it says no.
    @discardableResult
    static func check(_ operation: String, _ path: String, _ call: () -> Int32) throws(FileError) -> Int32 {
        DurableFiles.beforeStep?(operation, path)
        while true {
            let result = call()
            if result >= 0 { return result }
            if errno != EINTR { throw FileError(operation: operation, path: path, code: errno) }
        }
    }
}

/// Making and removing files and directories so that a crash at any moment leaves the old, the new, or a `*.tmp`.
///
/// Invariants:
/// - F1: a name without `.tmp` never shows something half made: what it names was synced before it got the name.
/// - F2: nothing but a `*.tmp` is ever deleted; a directory is renamed to one first.
/// - F3: after success the change of name itself survives a power cut: the parent directory was synced.
package enum DurableFiles {
    package static let temporarySuffix = ".tmp"

    /// Called before each step, with what it does and to which path. Tests look here at what a crash would leave.
    @TaskLocal static var beforeStep: (@Sendable (_ operation: String, _ path: String) -> Void)?

    /// Creates the directory `path` (0700) filled by `fill`, which gets the path of the temporary directory and must
    /// have closed and synced what it wrote there. Fails when `path` exists and is not an empty directory.
    package static func createDirectory<E: Error>(
        at path: String, failure: (FileError) -> E, filling fill: (_ temporary: String) throws(E) -> Void
    ) throws(E) {
        let temporary = path + temporarySuffix
        do throws(FileError) {
            // 1. A leftover of an attempt that did not finish.
            try deleteTree(temporary)
            try FileError.check("create", temporary) { mkdir(temporary, 0o700) }
        } catch { throw failure(error) }
        // 2. The content.
        try fill(temporary)
        do throws(FileError) {
            // 3. Its names, then its own name (F1, F3).
            try sync(temporary)
            try FileError.check("rename", temporary) { rename(temporary, path) }
            try sync(parent(of: path))
        } catch { throw failure(error) }
    }

    /// Removes the directory `path` and all in it (F2). No directory of that name is fine.
    package static func removeDirectory(_ path: String) throws(FileError) {
        let temporary = path + temporarySuffix
        try deleteTree(temporary)
        guard rename(path, temporary) == 0 else {
            if errno == ENOENT { return }
            throw FileError(operation: "rename", path: path, code: errno)
        }
        try sync(parent(of: path))
        try deleteTree(temporary)
    }

    /// Deletes every `*.tmp` in `directory`: what attempts that a crash cut short have left. For the start.
    /// - Returns: their names.
    @discardableResult
    package static func sweepLeftovers(in directory: String) throws(FileError) -> [String] {
        let leftovers = try names(in: directory).filter { $0.hasSuffix(temporarySuffix) }
        for name in leftovers { try deleteTree(directory + "/" + name) }
        return leftovers
    }

    /// Writes a file (0600) whole: after success it holds `text` and survives a power cut; after an error it
    /// holds the old text or, where only the last sync failed, the new.
    package static func replaceFile(_ path: String, with text: String) throws(FileError) {
        let bytes = Array(text.utf8)
        try replaceFile(path) { (write) throws(FileError) in try write(bytes.span.bytes) }
    }

    /// The same of a file that `fill` writes in pieces.
    static func replaceFile(
        _ path: String,
        filling fill: (_ write: (RawSpan) throws(FileError) -> Void) throws(FileError) -> Void
    ) throws(FileError) {
        let temporary = path + temporarySuffix
        let descriptor = try FileError.check("create", temporary) {
            open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0o600)
        }
        do throws(FileError) {
            do {
                defer { close(descriptor) }
                try fill { (bytes) throws(FileError) in try writeAll(bytes, to: descriptor, path: temporary) }
                try FileError.check("sync", temporary) { fsync(descriptor) }
            }
            try FileError.check("rename", temporary) { rename(temporary, path) }
        } catch {
            // What may have filled the disk is not left there.
            unlink(temporary)
            throw error
        }
        try sync(parent(of: path))
    }

    private static func writeAll(_ bytes: RawSpan, to descriptor: Int32, path: String) throws(FileError) {
        var done = 0
        while done < bytes.byteCount {
            let written = bytes.withUnsafeBytes { write(descriptor, $0.baseAddress! + done, $0.count - done) }
            if written < 0 {
                if errno == EINTR { continue }
                throw FileError(operation: "write", path: path, code: errno)
            }
            done += written
        }
    }

    /// The text of a small file; nil when there is none. Bytes that are not UTF-8 are an error (EILSEQ), as are more
    /// than `bytesMax` (EFBIG).
    package static func readFile(_ path: String, bytesMax: Int = 65_536) throws(FileError) -> String? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        guard descriptor >= 0 else {
            if errno == ENOENT { return nil }
            throw FileError(operation: "open", path: path, code: errno)
        }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 4_096)
        while true {
            let count = chunk.withUnsafeMutableBytes { read(descriptor, $0.baseAddress, $0.count) }
            if count < 0 {
                if errno == EINTR { continue }
                throw FileError(operation: "read", path: path, code: errno)
            }
            if count == 0 { break }
            bytes += chunk[..<count]
            guard bytes.count <= bytesMax else { throw FileError(operation: "read", path: path, code: EFBIG) }
        }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw FileError(operation: "read", path: path, code: EILSEQ)
        }
        return text
    }

    /// fsync of a file or a directory by its path.
    package static func sync(_ path: String) throws(FileError) {
        let descriptor = try FileError.check("open", path) { open(path, O_RDONLY | O_CLOEXEC) }
        defer { close(descriptor) }
        try FileError.check("sync", path) { fsync(descriptor) }
    }

    package static func parent(of path: String) -> String {
        var name = path[...]
        while name.count > 1, name.last == "/" { name.removeLast() }
        guard let slash = name.lastIndex(of: "/") else { return "." }
        return slash == name.startIndex ? "/" : String(name[..<slash])
    }

    /// Deletes `path`, which must be a `*.tmp` (F2), and all below it. Links are removed, not followed.
    private static func deleteTree(_ path: String) throws(FileError) {
        precondition(path.hasSuffix(temporarySuffix), "only *.tmp is deleted, not \(path)")
        try deleteBelow(path)
    }

    private static func deleteBelow(_ path: String) throws(FileError) {
        var status = stat()
        guard lstat(path, &status) == 0 else {
            if errno == ENOENT { return }
            throw FileError(operation: "stat", path: path, code: errno)
        }
        guard status.st_mode & S_IFMT == S_IFDIR else {
            try FileError.check("delete", path) { unlink(path) }
            return
        }
        for name in try names(in: path) { try deleteBelow(path + "/" + name) }
        try FileError.check("delete", path) { rmdir(path) }
    }

    /// What is in a directory, sorted.
    package static func names(in directory: String) throws(FileError) -> [String] {
        guard let stream = opendir(directory) else {
            throw FileError(operation: "list", path: directory, code: errno)
        }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: Int(NAME_MAX) + 1) { String(cString: $0) }
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names.sorted()
    }
}
