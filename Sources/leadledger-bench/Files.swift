import Glibc

/// A directory that the benchmark makes, and removes with all that is in it: say so in a `defer` right after making it.
struct ScratchDirectory {
    let path: String

    /// Makes one in `parent`, which has to be there. On a real disk: the daemon refuses tmpfs. Its path is absolute.
    init(in parent: String) throws(BenchError) {
        guard let absolute = realpath(parent, nil) else { throw .system("find \(parent)") }
        defer { free(absolute) }
        let parent = String(cString: absolute)
        var template = Array((parent + "/leadledger-bench.XXXXXX").utf8CString)
        guard mkdtemp(&template) != nil else { throw .system("a directory in \(parent)") }
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        // Others may pass through, no more: PostgreSQL runs as a user of its own.
        guard chmod(path, 0o711) == 0 else { throw .system("chmod \(path)") }
    }

    /// What cannot be removed is left and named.
    func remove() {
        do throws(BenchError) {
            try walk(path) { (entry, isDirectory, _) throws(BenchError) in
                guard (isDirectory ? rmdir(entry) : unlink(entry)) == 0 else { throw .system("remove \(entry)") }
            }
            guard rmdir(path) == 0 else { throw .system("remove \(path)") }
        } catch {
            tell("\(path) is left over: \(error)")
        }
    }

    /// The files below `path`, with the bytes that they occupy on disk: less than their length where they have holes, more
    /// where space is kept ahead.
    func files() throws(BenchError) -> [(name: String, bytes: UInt64)] {
        var found: [(name: String, bytes: UInt64)] = []
        try walk(path) { (entry, isDirectory, bytes) throws(BenchError) in
            if !isDirectory, bytes > 0 { found.append((String(entry.dropFirst(path.count + 1)), bytes)) }
        }
        return found.sorted { $0.name < $1.name }
    }
}

/// Visits all that is below `folder`, what is in a directory before the directory, and follows no links.
private func walk(
    _ folder: String, _ visit: (_ path: String, _ isDirectory: Bool, _ bytes: UInt64) throws(BenchError) -> Void
) throws(BenchError) {
    guard let handle = opendir(folder) else { throw .system("read \(folder)") }
    defer { closedir(handle) }
    while let entry = readdir(handle) {
        let name = withUnsafeBytes(of: &entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        if name == "." || name == ".." { continue }
        let path = folder + "/" + name
        var status = stat()
        // A file that went meanwhile is not there.
        guard lstat(path, &status) == 0 else { continue }
        let isDirectory = status.st_mode & S_IFMT == S_IFDIR
        if isDirectory { try walk(path, visit) }
        try visit(path, isDirectory, UInt64(status.st_blocks) * 512)
    }
}

/// The names of what is in a directory.
func names(in folder: String) throws(BenchError) -> [String] {
    guard let handle = opendir(folder) else { throw .system("read \(folder)") }
    defer { closedir(handle) }
    var found: [String] = []
    while let entry = readdir(handle) {
        let name = withUnsafeBytes(of: &entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        if name != ".", name != ".." { found.append(name) }
    }
    return found.sorted()
}

/// Writes a file anew.
func writeText(_ text: String, to path: String) throws(BenchError) {
    guard let file = fopen(path, "we") else { throw .system("write \(path)") }
    let bytes = Array(text.utf8)
    let count = fwrite(bytes, 1, bytes.count, file)
    guard fclose(file) == 0, count == bytes.count else { throw .system("write \(path)") }
}

/// Copies a file, and returns when the copy is on the disk: what is measured next must not wait for it.
func copyFile(_ source: String, to target: String) throws(BenchError) {
    let input = open(source, O_RDONLY | O_CLOEXEC)
    guard input >= 0 else { throw .system("read \(source)") }
    defer { close(input) }
    let output = open(target, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
    guard output >= 0 else { throw .system("make \(target)") }
    defer { close(output) }
    let chunk = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 4_096)
    defer { chunk.deallocate() }
    while true {
        let count = read(input, chunk.baseAddress!, chunk.count)
        guard count >= 0 else { throw .system("read \(source)") }
        if count == 0 { break }
        var start = 0
        while start < count {
            let written = write(output, chunk.baseAddress! + start, count - start)
            guard written > 0 else { throw .system("write \(target)") }
            start += written
        }
        try Interruption.check()
    }
    guard fsync(output) == 0 else { throw .system("sync \(target)") }
}

/// The whole text of a small file.
func readText(_ path: String) throws(BenchError) -> String {
    guard let file = fopen(path, "re") else { throw .system("read \(path)") }
    defer { fclose(file) }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 16 << 10)
    while true {
        let count = fread(&chunk, 1, chunk.count, file)
        if count == 0 { break }
        bytes += chunk[..<count]
    }
    return String(decoding: bytes, as: UTF8.self)
}

/// `leadledgerd` beside this program.
func defaultDaemonPath() throws(BenchError) -> String {
    var path = [UInt8](repeating: 0, count: Int(PATH_MAX))
    let count = path.withUnsafeMutableBytes { readlink("/proc/self/exe", $0.baseAddress!, $0.count) }
    guard count > 0 else { throw .system("read /proc/self/exe") }
    let own = String(decoding: path[..<count], as: UTF8.self)
    return own[...(own.lastIndex(of: "/") ?? own.startIndex)] + "leadledgerd"
}
