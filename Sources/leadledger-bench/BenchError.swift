import Glibc

/// Why a benchmark gives no figures. A benchmark that cannot be trusted ends with a message and exit code 1.
struct BenchError: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }

    /// A failed system call. Reads `errno`, so make it before anything else is called.
    static func system(_ operation: String) -> BenchError {
        BenchError("\(operation): \(String(cString: strerror(errno)))")
    }
}
