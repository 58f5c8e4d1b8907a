import Glibc

/// Processor time of a process's threads, summed up by what they do. From the scheduler's own count, in nanoseconds.
struct ThreadTimes {
    /// Groups in the order in which an event passes them.
    static let groups = ["event loops", "appender", "index", "read models", "readers", "others"]

    private(set) var nanoseconds: [String: UInt64] = [:]

    init() {}

    init(of pid: pid_t) throws(BenchError) {
        let folder = "/proc/\(pid)/task"
        for id in try names(in: folder) {
            // A thread that ends meanwhile takes its time with it; those of interest live as long as the daemon.
            guard let name = try? readText("\(folder)/\(id)/comm"),
                let text = try? readText("\(folder)/\(id)/schedstat")
            else { continue }
            guard let time = text.split(separator: " ").first.flatMap({ UInt64($0) }) else {
                throw BenchError("\(folder)/\(id)/schedstat is not as expected: \(text)")
            }
            nanoseconds[Self.group(of: String(name.split(separator: "\n").first ?? "")), default: 0] += time
        }
    }

    /// What a thread of this name does.
    static func group(of name: String) -> String {
        if name.hasPrefix("NIO-ELT") { return "event loops" }
        if name.hasPrefix("TP-") { return "readers" }
        if name == "appender" { return "appender" }
        if name == "index" { return "index" }
        return readModels.contains(name) ? "read models" : "others"
    }

    private static let readModels: Set = ["leads", "queue", "funnel", "attribution", "response", "fairness"]

    /// The time since `earlier`.
    func since(_ earlier: ThreadTimes) -> ThreadTimes {
        var difference = ThreadTimes()
        for (group, time) in nanoseconds {
            let before = earlier.nanoseconds[group] ?? 0
            difference.nanoseconds[group] = time > before ? time - before : 0
        }
        return difference
    }
}
