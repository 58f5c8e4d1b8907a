import Glibc

/// Changes the boot id in the STATE files of a stopped daemon's index and read models: to the next start, the system has gone
/// down since they were written, so that they are made anew from the log.
///
/// - Parameter data: the ledger's directory.
func pretendAnotherBoot(_ data: String) throws(BenchError) {
    var directories = ["index"]
    if let stream = opendir(data + "/models") {
        defer { closedir(stream) }
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name.contains("@") { directories.append("models/" + name) }
        }
    }
    for directory in directories {
        let path = "\(data)/\(directory)/STATE"
        let lines = try readText(path).split(separator: "\n", omittingEmptySubsequences: false).map {
            $0.hasPrefix("boot=") ? "boot=00000000-0000-4000-8000-000000000000" : String($0)
        }
        guard lines.contains("state=open") else { throw BenchError("\(path) is of a clean end, which no boot changes") }
        guard let file = fopen(path, "we") else { throw .system("write \(path)") }
        fputs(lines.joined(separator: "\n"), file)
        guard fclose(file) == 0 else { throw .system("write \(path)") }
    }
}
