import Glibc

/// A directory that the benchmark makes, and removes with all that is in it: say so in a `defer` right after making it.
struct ScratchDirectory {
    let path: String

    /// Makes one in `parent`, which has to be there. On a real disk: the daemon refuses tmpfs.
    init(in parent: String) throws(BenchError) {
        var template = Array((parent + "/leadledger-bench.XXXXXX").utf8CString)
        guard mkdtemp(&template) != nil else { throw .system("a directory in \(parent)") }
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
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
