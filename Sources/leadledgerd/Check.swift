import ArgumentParser
import Glibc
import LeadLedger

// Check: looks at a stopped daemon's directory. Each environment is walked by a child process of its own, opened read-only:
// LMDB may crash on a broken file, and then the crash is the finding and the other environments are still looked at.

struct Check: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Walk a stopped daemon's log, index and read models, and report all that is wrong.",
        discussion: "Changes nothing. Prints one finding a line: environment, place, what; parted by tabs. "
            + "Exits 1 if there is any.")

    @Option(help: "The directory that holds the ledger.")
    var data: String
    @Flag(help: "Allow tmpfs: for tests.")
    var test = false

    func run() throws {
        let parts: DirectoryCheck
        do { parts = try DirectoryCheck.begin(directory: data) } catch {
            complain("\(error)")
            throw ExitCode(Daemon.exitCode(for: error))
        }
        var findings = parts.findings
        for environment in parts.environments {
            findings += checkInChild(environment)
        }
        for finding in findings { say(finding.line) }
        withExtendedLifetime(parts) {}
        remark(
            "checked \(parts.environments.count) environments: "
                + (findings.isEmpty ? "clean" : "\(findings.count) findings"))
        if !findings.isEmpty { throw ExitCode(1) }
    }

    private func checkInChild(_ environment: String) -> [Finding] {
        let workspace: CheckWorkspace
        do { workspace = try CheckWorkspace() } catch {
            return [Finding(environment: environment, place: "-", what: "could not be looked at: \(error)")]
        }
        defer { workspace.remove() }
        var arguments = [
            "leadledgerd", "check-environment", "--data", data, "--environment", environment, "--temporary",
            workspace.path,
        ]
        if test { arguments.append("--test") }
        let child: (output: String, status: Int32)
        do { child = try runSelf(arguments) } catch {
            return [Finding(environment: environment, place: "-", what: "could not be looked at: \(error)")]
        }
        var findings = child.output.split(separator: "\n").compactMap { Finding(line: $0) }
        let signal = child.status & 0x7F
        if signal != 0 {
            findings.append(
                Finding(
                    environment: environment, place: "-",
                    what: "reading it crashed with signal \(signal): the file is broken beyond what LMDB can read"))
        } else if (child.status >> 8) & 0xFF != 0, findings.isEmpty {
            findings.append(
                Finding(
                    environment: environment, place: "-",
                    what: "the walk ended with exit code \((child.status >> 8) & 0xFF) and said nothing"))
        }
        return findings
    }
}

/// The child's side of `check`.
struct CheckEnvironment: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check-environment", abstract: "Walk one environment (used by `check`).", shouldDisplay: false)

    @Option var data: String
    @Option var environment: String
    @Option var temporary: String
    @Flag var test = false

    func run() throws {
        var found = false
        DirectoryCheck.walk(environment, directory: data, temporary: temporary, isTest: test) { finding in
            found = true
            say(finding.line)
        }
        if found { throw ExitCode(1) }
    }
}

private struct ChildError: Error, CustomStringConvertible {
    var operation: String
    var code: Int32
    var description: String { "\(operation): \(String(cString: strerror(code)))" }
}

/// Runs this program with other arguments; gives what it printed and its wait status. stderr is shared, so that a crash
/// report is seen.
private func runSelf(_ arguments: [String]) throws(ChildError) -> (output: String, status: Int32) {
    var ends: [Int32] = [0, 0]
    guard pipe(&ends) == 0 else { throw ChildError(operation: "pipe", code: errno) }
    // The child gets the writing end as its stdout alone, or the reading here would never end.
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO)
    var words: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
    defer { for word in words { free(word) } }
    var pid: pid_t = 0
    let code = posix_spawn(&pid, "/proc/self/exe", &actions, nil, &words, environ)
    close(ends[1])
    defer { close(ends[0]) }
    guard code == 0 else { throw ChildError(operation: "posix_spawn", code: code) }
    var output: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 64 << 10)
    while true {
        let count = read(ends[0], &chunk, chunk.count)
        if count > 0 { output.append(contentsOf: chunk[..<count]) } else if count == 0 || errno != EINTR { break }
    }
    var status: Int32 = 0
    while waitpid(pid, &status, 0) < 0, errno == EINTR {}
    return (String(decoding: output, as: UTF8.self), status)
}
