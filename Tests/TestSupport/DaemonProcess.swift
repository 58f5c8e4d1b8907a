import Glibc

/// A `leadledgerd` that a test has started.
///
/// ```swift
/// let place = LedgerPlace()
/// let daemon = try DaemonProcess(place)
/// try daemon.waitUntilServing()
/// let client = try LineClient(place.socket)
/// ```
package final class DaemonProcess: Sendable {
    package let place: LedgerPlace
    package let process: ChildProcess

    /// Starts it, and does not wait.
    /// - Parameter wrapper: a program and arguments that run it, such as strace.
    package init(
        _ place: LedgerPlace, program: String = Programs.daemon, arguments: [String] = [], wrapper: [String] = [],
        variables: [String: String] = [:]
    ) throws {
        self.place = place
        let words = wrapper + [program, "--data", place.data, "--socket", place.socket] + arguments
        process = try ChildProcess(words[0], Array(words.dropFirst()), variables: variables, scratch: place.scratch)
    }

    /// Returns when the socket takes connections.
    package func waitUntilServing(milliseconds: Int64 = 30_000) throws {
        try Monotonic.wait(for: "the daemon's socket: \(process.errorOutput)", milliseconds: milliseconds) {
            if let status = process.poll() {
                throw SystemFailure("the daemon ended with \(status): \(process.errorOutput)", code: 0)
            }
            return (try? LineClient(place.socket)) != nil
        }
    }

    /// Ends it as an operator does.
    @discardableResult
    package func terminate() throws -> ExitStatus {
        process.send(signal: SIGTERM)
        return try process.waitForEnd()
    }
}

/// Bytes that a daemon has allocated: RssAnon, without the pages of its files.
package func allocated(_ daemon: DaemonProcess) throws -> Int {
    let status = try text(ofFile: "/proc/\(daemon.process.identifier)/status")
    let line = status.split(separator: "\n").first { $0.hasPrefix("RssAnon:") }
    let words = line?.split(whereSeparator: { $0 == " " || $0 == "\t" }) ?? []
    guard words.count > 1, let kibibytes = Int(words[1]) else { throw SystemFailure("RssAnon", code: 0) }
    return kibibytes << 10
}

/// Where a test's ledger lives: its directory, its socket, and a place for what the programs print.
package struct LedgerPlace: Sendable {
    private let directory: TemporaryDirectory

    package init(below parent: String = "/var/tmp") { directory = TemporaryDirectory(below: parent) }

    package var data: String { directory.path + "/data" }
    package var socket: String { directory.path + "/ledger.sock" }
    package var scratch: String { directory.path }

    /// Starts a daemon here and waits until it serves.
    package func serve(
        _ arguments: [String] = [], program: String = Programs.daemon, variables: [String: String] = [:]
    ) throws -> DaemonProcess {
        let daemon = try DaemonProcess(self, program: program, arguments: arguments, variables: variables)
        try daemon.waitUntilServing()
        return daemon
    }

    package func connect() throws -> LineClient { try LineClient(socket) }

    /// Runs `leadledgerd check` on the directory, which no daemon may have then.
    package func check(_ arguments: [String] = []) throws -> (
        status: ExitStatus, findings: [String], errorOutput: String
    ) {
        let result = try run(
            Programs.daemon, ["check", "--data", data] + arguments, variables: ["TMPDIR": scratch], scratch: scratch)
        return (result.status, result.output.split(separator: "\n").map(String.init), result.errorOutput)
    }
}
