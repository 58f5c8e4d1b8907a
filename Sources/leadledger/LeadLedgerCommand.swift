import ArgumentParser
import Control
import Glibc
import JSON
import LeadLedgerClient

@main
struct LeadLedgerCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "leadledger",
        abstract: "Talk to a lead ledger.",
        discussion: """
            Data goes to stdout, talk to stderr.
            Exit codes: 0 done, 64 usage, 65 refused input, 69 unreachable or busy, 70 our bug, 74 I/O, 75 outcome unknown (run \
            it again: nothing is stored twice), 77 not allowed.
            """,
        version: version,
        subcommands: [
            AppendCommand.self, ImportCommand.self, SampleCommand.self, ShowCommand.self, HistoryCommand.self,
            ExplainCommand.self, ReplayCommand.self, TailCommand.self, QueueCommand.self, MemberCommand.self,
            ClockCommand.self, PolicyCommand.self, ReportCommand.self, ProjectionCommand.self, ConsumerCommand.self,
            StatusCommand.self, SchemaCommand.self,
        ])

    /// The version of the package; a test holds it to the daemon's.
    static let version = "0.1.0"

    @OptionGroup(title: "Where and how") var common: CommonOptions
}

/// Options of all verbs, before or after the verb.
struct CommonOptions: ParsableArguments {
    @Option(help: "The daemon's socket; $LEADLEDGER_SOCKET unless given.")
    var socket: String?
    @Flag(help: "Write the daemon's answer as one line of JSON.")
    var json = false
}

/// A verb that asks the daemon.
protocol LedgerCommand: ParsableCommand {
    var common: CommonOptions { get }
    func run(in context: Context) throws
}

extension LedgerCommand {
    func run() throws {
        let output = Output()
        let path = socketPath(
            given: common.socket, environment: getenv("LEADLEDGER_SOCKET").map { String(cString: $0) })
        let context = Context(socketPath: path, isJSON: common.json, output: output)
        try finishing(output, isJSON: common.json) { try run(in: context) }
    }
}

/// Runs a verb's body to its exit code: what it wrote is flushed, and what went wrong is said, once and here.
///
/// - Parameter isJSON: a refusal goes to stdout too, as the daemon gave it: `{"error":{...}}`.
func finishing(_ output: Output, isJSON: Bool = false, _ body: () throws -> Void) throws {
    // Set anew, since who started us may have ignored it.
    signal(SIGPIPE, SIG_DFL)
    do {
        try body()
        output.flush()
    } catch let error as ClientError {
        switch error {
        case .server(let error), .notServed(let error):
            if isJSON { output.line(#"{"error":"# + String(decoding: error.json, as: UTF8.self) + "}") }
        default: break
        }
        output.flush()
        complain("\(error)")
        if case .server(let error) = error, !error.hint.isEmpty { complain("hint: \(error.hint)") }
        if case .notServed(let error) = error, !error.hint.isEmpty { complain("hint: \(error.hint)") }
        throw ExitCode(error.exitCode)
    } catch let error as InputError {
        output.flush()
        complain(error.description)
        throw ExitCode(error.exitCode)
    } catch {
        output.flush()
        throw error
    }
}

/// An option wins over the variable; an empty one is none.
func socketPath(given: String?, environment: String?) -> String? {
    if let given { return given }
    return environment.flatMap { $0.isEmpty ? nil : $0 }
}

/// What a verb works with.
struct Context {
    let socketPath: String?
    let isJSON: Bool
    let output: Output

    func connect(window: Int = 1_024) throws -> LedgerClient {
        guard let socketPath else {
            throw InputError(exitCode: 64, "no socket: give --socket PATH or set LEADLEDGER_SOCKET")
        }
        return try LedgerClient(socket: socketPath, window: window)
    }

    /// Asks once and writes the result: as it came with `--json`, else as `human` does.
    func ask(
        _ method: Method, _ params: (inout JSONWriter) -> Void = { _ in }, human: (JSONValue, Output) -> Void
    ) throws {
        try connect().call(method, params: object(params)) { result in
            if isJSON { output.line(result.raw) } else { human(result, output) }
        }
    }
}

/// The text of a JSON object whose members `body` writes.
func object(_ body: (inout JSONWriter) -> Void) -> [UInt8] {
    var writer = JSONWriter(reserving: 128)
    writer.beginObject()
    body(&writer)
    writer.endObject()
    return writer.bytes
}

extension JSONWriter {
    /// A member where there is a value.
    mutating func member(_ name: StaticString, _ value: String?) {
        guard let value else { return }
        key(name)
        string(value)
    }

    mutating func member(_ name: StaticString, _ value: Int?) {
        guard let value else { return }
        key(name)
        integer(value)
    }

    mutating func member(_ name: StaticString, texts: [String]) {
        guard !texts.isEmpty else { return }
        key(name)
        beginArray()
        for text in texts { string(text) }
        endArray()
    }
}

/// A file or an argument that cannot be used, said in one line.
struct InputError: Error, CustomStringConvertible, Equatable {
    let exitCode: Int32
    let description: String

    init(exitCode: Int32, _ description: String) {
        self.exitCode = exitCode
        self.description = description
    }
}
