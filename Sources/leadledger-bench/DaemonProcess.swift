import Glibc

/// A daemon that the benchmark started, ours or a peer's: a process of its own on a directory of its own, ended by its
/// process id.
final class DaemonProcess {
    /// How long a start or a stop may take before it counts as failed. By taste, far above what is promised.
    private static let patienceMilliseconds = 120_000

    /// As messages call it.
    let name: String
    let pid: pid_t
    let memory: MemoryWatch
    /// Just before the process was made.
    let startedAt: UInt64
    let socketPath: String
    private let logPath: String
    private var isRunning = true
    var socket: SocketPath { SocketPath(path: socketPath) }

    /// Starts `executable`, a leadledgerd, on `directory`/data; what it says goes to `directory`/daemon.log.
    static func start(
        _ executable: String, in directory: String, withModels: Bool = true
    ) throws(BenchError) -> DaemonProcess {
        let socketPath = directory + "/ledger.sock"
        var words = [executable, "--data", directory + "/data", "--socket", socketPath]
        if !withModels { words.append("--without-models") }
        return try spawn("the daemon", words, socketPath: socketPath, logPath: directory + "/daemon.log")
    }

    /// Starts the program and arguments `words`, which is to listen on `socketPath`; what it says goes to `logPath`.
    static func spawn(
        _ name: String, _ words: [String], socketPath: String, logPath: String
    ) throws(BenchError) -> DaemonProcess {
        let executable = words[0]
        guard access(executable, X_OK) == 0 else { throw BenchError("no program for \(name) at \(executable)") }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 1, logPath, O_WRONLY | O_CREAT | O_APPEND, 0o600)
        posix_spawn_file_actions_adddup2(&actions, 1, 2)
        let arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
        defer { for argument in arguments { free(argument) } }
        var pid: pid_t = 0
        let startedAt = monotonicNanoseconds()
        let code = posix_spawn(&pid, executable, &actions, nil, arguments, environ)
        guard code == 0 else { throw BenchError("cannot start \(executable): \(String(cString: strerror(code)))") }
        return DaemonProcess(
            name: name, pid: pid, startedAt: startedAt, socketPath: socketPath, logPath: logPath)
    }

    private init(name: String, pid: pid_t, startedAt: UInt64, socketPath: String, logPath: String) {
        self.name = name
        self.pid = pid
        self.startedAt = startedAt
        self.socketPath = socketPath
        self.logPath = logPath
        memory = MemoryWatch(pid: pid)
    }

    /// Waits until the kernel has written what it was left, and the process has written nothing to the disk and read nothing from it for
    /// longer than it takes our daemon to begin with what it does while it is quiet: what is measured then is a daemon in use, not one
    /// that is starting.
    func waitUntilQuiet() throws(BenchError) {
        // Index and read models that were just built are gigabytes that the kernel would write back during the load.
        sync()
        let quietMilliseconds = 1_500
        var (moved, since) = (try movedBytes(), 0)
        for _ in 0..<Self.patienceMilliseconds / 50 where since < quietMilliseconds {
            try pause(milliseconds: 50)
            try checkIsRunning()
            let now = try movedBytes()
            since = now == moved ? since + 50 : 0
            moved = now
        }
        guard since >= quietMilliseconds else { throw BenchError("\(name) does not come to rest") }
    }

    /// What the process, with all its threads, has had written to disks and read from them.
    private func movedBytes() throws(BenchError) -> UInt64 {
        let text = try readText("/proc/\(pid)/io")
        var moved: [UInt64] = []
        for line in text.split(separator: "\n") {
            let field = line.split(separator: " ")
            if field.count == 2, ["read_bytes:", "write_bytes:"].contains(field[0]), let bytes = UInt64(field[1]) {
                moved.append(bytes)
            }
        }
        guard moved.count == 2 else { throw BenchError("/proc/\(pid)/io has no read_bytes and write_bytes") }
        return moved[0] + moved[1]
    }

    /// Ends the process if it still runs. For a `defer` right after the start: a good run has stopped its daemon by then, and
    /// looked at the exit code.
    func end() {
        guard isRunning else { return }
        isRunning = false
        Glibc.kill(pid, SIGKILL)
        var status: Int32 = 0
        waitpid(pid, &status, 0)
    }

    /// Opens a connection, waiting until the daemon listens.
    func connect() throws(BenchError) -> Int32 {
        for _ in 0..<Self.patienceMilliseconds {
            if let descriptor = try connectToSocket(socketPath) { return descriptor }
            try checkIsRunning()
            try memory.sampleIfDue(now: monotonicNanoseconds())
            try pause(milliseconds: 1)
        }
        throw BenchError("\(name) does not listen on \(socketPath) after \(Self.patienceMilliseconds / 1_000) s")
    }

    func checkIsRunning() throws(BenchError) {
        var status: Int32 = 0
        guard isRunning, waitpid(pid, &status, WNOHANG) == pid else { return }
        isRunning = false
        throw BenchError("\(name) ended by itself: \(describe(status)); \(lastWords())")
    }

    /// SIGTERM, and the daemon has to end with exit code 0.
    func stop() throws(BenchError) {
        Glibc.kill(pid, SIGTERM)
        var status: Int32 = 0
        for _ in 0..<Self.patienceMilliseconds {
            let ended = waitpid(pid, &status, WNOHANG)
            if ended == pid {
                isRunning = false
                guard status == 0 else {
                    throw BenchError("\(name) was to stop and ended with \(describe(status)); \(lastWords())")
                }
                return
            }
            usleep(1_000)
        }
        throw BenchError("\(name) does not stop after SIGTERM; \(lastWords())")
    }

    /// SIGKILL: as if it had crashed.
    func kill() throws(BenchError) {
        Glibc.kill(pid, SIGKILL)
        var status: Int32 = 0
        guard waitpid(pid, &status, 0) == pid else { throw .system("waitpid") }
        isRunning = false
        guard status & 0x7F == SIGKILL else {
            throw BenchError("\(name) was to be killed and had ended with \(describe(status)); \(lastWords())")
        }
    }

    /// Processor time that all of its threads have taken, in steps of 10 ms.
    func processorNanoseconds() throws(BenchError) -> UInt64 {
        let text = try readText("/proc/\(pid)/stat")
        // The second field is the name in parentheses; fields 14 and 15 are user and system time in clock ticks.
        let fields = text[(text.lastIndex(of: ")") ?? text.startIndex)...].split(separator: " ")
        guard fields.count > 13, let user = UInt64(fields[12]), let system = UInt64(fields[13]) else {
            throw BenchError("/proc/\(pid)/stat is not as expected: \(text)")
        }
        return (user + system) * (1_000_000_000 / UInt64(sysconf(Int32(_SC_CLK_TCK))))
    }

    private func describe(_ status: Int32) -> String {
        status & 0x7F == 0 ? "exit code \((status >> 8) & 0xFF)" : "signal \(status & 0x7F)"
    }

    private func lastWords() -> String {
        let lines = ((try? readText(logPath)) ?? "").split(separator: "\n").suffix(5)
        return lines.isEmpty ? "it said nothing" : "it said:\n" + lines.joined(separator: "\n")
    }
}

/// The peak of a process's anonymous resident memory (RssAnon): what it has allocated, without the pages of its files,
/// which the kernel takes back when it needs them. Sampled every 100 ms by whoever waits for the process.
final class MemoryWatch {
    private static let intervalNanoseconds: UInt64 = 100_000_000

    private let pid: pid_t
    private var lastSample: UInt64 = 0
    private(set) var peakBytes: UInt64 = 0

    init(pid: pid_t) { self.pid = pid }

    func sampleIfDue(now: UInt64) throws(BenchError) {
        if now - lastSample >= Self.intervalNanoseconds { _ = try sample(now: now) }
    }

    /// - Returns: the bytes now; 0 of a process that is just ending.
    func sample(now: UInt64) throws(BenchError) -> UInt64 {
        lastSample = now
        let text = try readText("/proc/\(pid)/status")
        // A process that is just ending has no memory, and no line about it.
        guard let line = text.split(separator: "\n").first(where: { $0.hasPrefix("RssAnon:") }) else { return 0 }
        guard
            let kibibytes = line.split(whereSeparator: { $0 == " " || $0 == "\t" }).dropFirst().first.flatMap({
                UInt64($0)
            })
        else { throw BenchError("/proc/\(pid)/status is not as expected: \(line)") }
        peakBytes = max(peakBytes, kibibytes << 10)
        return kibibytes << 10
    }

    func forget() { peakBytes = 0 }
}
