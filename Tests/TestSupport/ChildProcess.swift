import Glibc

/// How a process ended.
package enum ExitStatus: Equatable, Sendable, CustomStringConvertible {
    case exited(Int32)
    case killed(signal: Int32)

    init(waitStatus: Int32) {
        let signal = waitStatus & 0x7F
        self = signal == 0 ? .exited((waitStatus >> 8) & 0xFF) : .killed(signal: signal)
    }

    package var description: String {
        switch self {
        case .exited(let code): "exit code \(code)"
        case .killed(let signal): "signal \(signal)"
        }
    }
}

/// A program that a test has started. What it prints goes to files. It is killed when the last reference goes.
///
/// One thread at a time: signals and waiting are not guarded against each other.
package final class ChildProcess: @unchecked Sendable {
    // Sendable: a test hands it from thread to thread, never to two at once.
    package let identifier: Int32
    package let outputPath: String
    package let errorPath: String
    private var status: ExitStatus?

    /// - Parameters:
    ///   - program: a path, or a name that is looked for on the PATH.
    ///   - variables: added to this process's environment.
    ///   - input: a file for its standard input.
    ///   - scratch: where the files of what it prints go.
    package init(
        _ program: String, _ arguments: [String], variables: [String: String] = [:], input: String = "/dev/null",
        scratch: String
    ) throws {
        let stem = scratch + "/" + (program.split(separator: "/").last.map(String.init) ?? program)
        outputPath = ChildProcess.unusedPath(stem, ".out")
        errorPath = ChildProcess.unusedPath(stem, ".err")

        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        let flags = O_WRONLY | O_CREAT | O_APPEND
        posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, input, O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, outputPath, flags, 0o600)
        posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, errorPath, flags, 0o600)
        // Nothing of the test's own signal mask: the test runner's threads may have some blocked.
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        sigemptyset(&none)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))

        var words: [UnsafeMutablePointer<CChar>?] = ([program] + arguments).map { strdup($0) } + [nil]
        var settings: [UnsafeMutablePointer<CChar>?] =
            ChildProcess.environment(adding: variables).map { strdup($0) } + [nil]
        defer { (words + settings).forEach { free($0) } }
        var identifier: pid_t = 0
        let code = posix_spawnp(&identifier, program, &actions, &attributes, &words, &settings)
        guard code == 0 else { throw SystemFailure("start \(program)", code: code) }
        self.identifier = identifier
    }

    deinit {
        guard status == nil else { return }
        kill(identifier, SIGKILL)
        waitpid(identifier, nil, 0)
    }

    package var output: String { (try? text(ofFile: outputPath)) ?? "" }
    package var errorOutput: String { (try? text(ofFile: errorPath)) ?? "" }

    package func send(signal: Int32) {
        // Once it was waited for, the number may be another's.
        guard status == nil else { return }
        kill(identifier, signal)
    }

    /// How it ended, if it has.
    package func poll() -> ExitStatus? {
        if let status { return status }
        var code: Int32 = 0
        guard waitpid(identifier, &code, WNOHANG) == identifier else { return nil }
        status = ExitStatus(waitStatus: code)
        return status
    }

    @discardableResult
    package func waitForEnd(milliseconds: Int64 = 30_000) throws -> ExitStatus {
        try Monotonic.wait(for: "the end of process \(identifier): \(errorOutput)", milliseconds: milliseconds) {
            poll() != nil
        }
        return status!
    }

    /// Ends it as `kill -9` does, and waits for that.
    package func killAndWait() throws {
        send(signal: SIGKILL)
        try waitForEnd()
    }

    private static func environment(adding variables: [String: String]) -> [String] {
        var settings: [String] = []
        var next = environ
        while let entry = next.pointee {
            let setting = String(cString: entry)
            if !variables.keys.contains(where: { setting.hasPrefix($0 + "=") }) { settings.append(setting) }
            next += 1
        }
        // A crash that a test provokes is to end at once, not to be explained.
        return settings + ["SWIFT_BACKTRACE=enable=no"] + variables.map { "\($0)=\($1)" }
    }

    private static func unusedPath(_ stem: String, _ suffix: String) -> String {
        var number = 0
        while true {
            let path = "\(stem).\(number)\(suffix)"
            if access(path, F_OK) != 0 { return path }
            number += 1
        }
    }
}

/// Runs a program to its end.
package func run(
    _ program: String, _ arguments: [String], variables: [String: String] = [:], input: String = "/dev/null",
    scratch: String, milliseconds: Int64 = 60_000
) throws -> (status: ExitStatus, output: String, errorOutput: String) {
    let process = try ChildProcess(program, arguments, variables: variables, input: input, scratch: scratch)
    let status = try process.waitForEnd(milliseconds: milliseconds)
    defer {
        unlink(process.outputPath)
        unlink(process.errorPath)
    }
    return (status, process.output, process.errorOutput)
}

/// Our own programs, which the build puts beside the test bundle.
package enum Programs {
    package static let daemon = path("leadledgerd")
    package static let commandLine = path("leadledger")
    /// The daemon with a log that does not sync.
    package static let plantedDaemon = path("leadledgerd-planted")
    /// A log that plays a script, without a socket.
    package static let ledgerDriver = path("ledger-driver")

    /// Beside the tests; or, so that the programs are tested as they are shipped, in the directory that the variable names.
    private static func path(_ name: String) -> String {
        if let other = getenv("LEADLEDGER_TEST_PROGRAMS") { return String(cString: other) + "/" + name }
        var buffer = [UInt8](repeating: 0, count: Int(PATH_MAX))
        let count = buffer.withUnsafeMutableBytes {
            readlink("/proc/self/exe", $0.baseAddress!.assumingMemoryBound(to: CChar.self), $0.count)
        }
        let own = String(decoding: buffer[..<max(0, count)], as: UTF8.self)
        let path = own[..<(own.lastIndex(of: "/") ?? own.startIndex)] + "/" + name
        guard access(String(path), X_OK) == 0 else {
            fatalError("\(path) is missing: run `swift build` before the tests of the programs")
        }
        return String(path)
    }
}
