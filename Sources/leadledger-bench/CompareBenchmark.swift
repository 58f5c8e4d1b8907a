import ArgumentParser
import Glibc

/// `compare`: every figure that was asked for, each beside its peer's on the same machine in the same run.
struct CompareBenchmark: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "compare", abstract: "Compares the daemon with Redis, PostgreSQL and bare LMDB.",
        discussion:
            "scripts/bench installs what the peers need and builds first. Exits 1 when a ratio falls short, when "
            + "latency grows or read models fall behind in a sustained run, when a replay takes memory, when a good "
            + "client waits too long beside bad ones, or when a case cannot be measured; absolute figures move with "
            + "the machine and fail nothing.")

    @Option(help: "The daemon's program; leadledgerd beside this one unless given.")
    var daemon: String?
    @Option(help: "Where to make the temporary directory, on a real disk.")
    var directory = "."
    @Option(help: "Runs, of which the medians are printed.")
    var runs = 5
    @Flag(help: "Small loads, a few minutes in all: whether everything works, not how fast it is.")
    var quick = false
    @Option(help: "One case alone; may be given more than once.")
    var only: [CaseName] = []
    @Option(help: "Where the random choice of leads begins.")
    var seed: UInt64 = 42
    @Option(help: "A file that the table is written to as Markdown.")
    var output: String?
    @Option(help: "What the table calls the version that is measured.")
    var commit: String?

    func validate() throws {
        guard 1...15 ~= runs else { throw ValidationError("--runs takes 1 to 15") }
    }

    func run() throws {
        Interruption.install()
        let scratch = try ScratchDirectory(in: directory)
        defer { scratch.remove() }
        let bench = Workbench(
            daemonPath: try daemon ?? defaultDaemonPath(), redisPath: try PeerProgram.find("redis-server"),
            directory: scratch.path, sizes: quick ? .quick : .full, seed: seed)
        try requireSpace(in: scratch.path, bytes: bench.sizes.diskBytes)
        if quick { tell("quick: small loads on whatever else this machine does; no figure of this is one to quote") }

        let filled = FilledLedgers()
        let names = CaseName.allCases.filter { only.isEmpty || only.contains($0) }
        let cases = names.map { (name: $0, entry: makeCase($0, filled)) }
        defer {
            for (_, entry) in cases { entry.end() }
            filled.end()
        }
        var broken: Set<CaseName> = []
        for run in 1...runs {
            for (name, entry) in cases where !broken.contains(name) {
                tell("run \(run) of \(runs): \(name.rawValue)")
                do throws(BenchError) { try entry.measure(bench, run: run) } catch {
                    try Interruption.check()
                    // The figures of the others are worth having, and this one's absence is told.
                    tell("\(name.rawValue): \(error)")
                    broken.insert(name)
                    for row in entry.rows.indices where entry.rows[row].failure == nil {
                        entry.rows[row].failure = error.description
                    }
                }
            }
        }

        let report = ComparisonReport(
            title: try title(directory: scratch.path), rows: cases.flatMap(\.entry.rows),
            notes: cases.flatMap(\.entry.notes).filter { !$0.isEmpty })
        print(report.text)
        if let output { try writeText(report.markdown, to: output) }
        if !report.failures.isEmpty { throw ExitCode(1) }
    }

    private func title(directory: String) throws(BenchError) -> [String] {
        let circumstances = try Circumstances(daemonVersion: commit ?? "of an unknown commit")
        var lines = [
            circumstances.line, "disk: \(try Disk(of: directory).description)",
            "\(EventTemplate.eventBytes)-byte events, each acknowledged after a full sync; medians of \(runs) "
                + (runs == 1 ? "run" : "runs") + ", seed \(seed)",
        ]
        if quick { lines.append("QUICK: small loads, to see that everything works") }
        return lines
    }

    private func requireSpace(in directory: String, bytes: UInt64) throws(BenchError) {
        var status = statvfs()
        guard statvfs(directory, &status) == 0 else { throw .system("statvfs \(directory)") }
        let free = UInt64(status.f_bavail) * UInt64(status.f_frsize)
        guard free >= bytes else {
            throw BenchError(
                "\(directory) has \(free >> 30) GiB free, and this takes up to \(bytes >> 30); --directory names another"
            )
        }
    }
}

/// What lies below a directory, as far as the kernel tells.
struct Disk {
    let description: String

    init(of directory: String) throws(BenchError) {
        var status = stat()
        guard stat(directory, &status) == 0 else { throw .system("stat \(directory)") }
        let mounts = try readText("/proc/self/mounts")
        guard let mount = Self.mount(of: directory, in: mounts) else {
            description = "unknown"
            return
        }
        let name = mount.device.split(separator: "/").last.map(String.init) ?? mount.device
        // A partition has no queue of its own; its disk's is one level up.
        let block = "/sys/class/block/\(name)"
        let queue = access("\(block)/queue", F_OK) == 0 ? "\(block)/queue" : "\(block)/../queue"
        let cache = (try? readText("\(queue)/write_cache"))?.split(separator: "\n").first
        let rotational = (try? readText("\(queue)/rotational"))?.split(separator: "\n").first
        var parts = ["\(mount.type) on \(mount.device)"]
        if let cache { parts.append("write cache: \(cache)") }
        if let rotational { parts.append(rotational == "1" ? "rotating" : "not rotating") }
        description = parts.joined(separator: ", ")
    }

    /// The mount that `directory` lies in, in the text of /proc/mounts: the longest, and of those the last.
    static func mount(of directory: String, in mounts: String) -> (device: String, type: String)? {
        var found: (device: String, type: String)?
        var length = -1
        for line in mounts.split(separator: "\n") {
            let words = line.split(separator: " ")
            guard words.count >= 3 else { continue }
            let place = words[1]
            let isAbove = place == "/" || directory == place || directory.hasPrefix(place + "/")
            if isAbove, place.utf8.count >= length {
                length = place.utf8.count
                found = (String(words[0]), String(words[2]))
            }
        }
        return found
    }
}
