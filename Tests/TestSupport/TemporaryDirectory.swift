import Glibc

/// A directory on a disk that goes away, with all in it, with its last reference. `LEADLEDGER_TEST_KEEP=1` keeps it and
/// prints where it is.
package final class TemporaryDirectory: Sendable {
    package let path: String

    /// Below /var/tmp unless told otherwise: /tmp is a tmpfs on many machines, which the ledger refuses, and the path must
    /// leave room for a socket's name within 108 bytes.
    package init(below parent: String = "/var/tmp") {
        var template = Array("\(parent)/leadledger-test.XXXXXX".utf8CString)
        let made = template.withUnsafeMutableBufferPointer { mkdtemp($0.baseAddress!).map { String(cString: $0) } }
        guard let made else { fatalError("mkdtemp below \(parent): \(String(cString: strerror(errno)))") }
        path = made
    }

    deinit {
        if environmentVariable("LEADLEDGER_TEST_KEEP") == "1" {
            print("kept: \(path)")
        } else {
            removeTree(path)
        }
    }
}

package func environmentVariable(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }

/// Removes `path` and all below it; links are removed, not followed. What is not there is fine.
package func removeTree(_ path: String) {
    if unlink(path) == 0 || errno == ENOENT { return }
    for name in names(in: path) { removeTree(path + "/" + name) }
    rmdir(path)
}

/// The names in a directory, sorted; none where there is no such directory.
package func names(in directory: String) -> [String] {
    guard let stream = opendir(directory) else { return [] }
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

package func bytes(ofFile path: String) throws -> [UInt8] {
    guard let file = fopen(path, "re") else { throw SystemFailure("open \(path)") }
    defer { fclose(file) }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 1 << 20)
    while true {
        let count = fread(&chunk, 1, chunk.count, file)
        if count == 0 { return bytes }
        bytes.append(contentsOf: chunk[..<count])
    }
}

package func text(ofFile path: String) throws -> String { String(decoding: try bytes(ofFile: path), as: UTF8.self) }

package func write(_ bytes: some Collection<UInt8>, toFile path: String) throws {
    guard let file = fopen(path, "we") else { throw SystemFailure("create \(path)") }
    let bytes = Array(bytes)
    let written = fwrite(bytes, 1, bytes.count, file)
    guard fclose(file) == 0, written == bytes.count else { throw SystemFailure("write \(path)") }
}

package func write(_ text: String, toFile path: String) throws { try write(text.utf8, toFile: path) }

/// A call of the operating system said no: which, and what `errno` was.
package struct SystemFailure: Error, CustomStringConvertible {
    package let description: String
    package let code: Int32

    package init(_ operation: String, code: Int32 = errno) {
        self.code = code
        description = "\(operation): \(String(cString: strerror(code)))"
    }
}

/// Something that a test waited for did not come.
package struct TimedOut: Error, CustomStringConvertible {
    package let description: String

    package init(_ what: String) { description = "waited in vain for \(what)" }
}
