import ArgumentParser
import Glibc
import LeadLedger
import Logging

// Serve: runs the daemon until SIGTERM or SIGINT, or until the log's device has failed.

struct Serve: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "serve", abstract: "Serve a ledger's directory on a Unix socket (the default).")

    @Option(help: "The directory that holds the ledger; made where there is none.")
    var data: String
    @Option(help: "The Unix socket's path; DATA/ledger.sock unless given.")
    var socket: String?
    @Option(help: "A YAML file of settings.")
    var config: String?
    @Flag(
        help:
            "Run no read models: for bulk loads and measuring. What there is of them stays, and catches up another time."
    )
    var withoutModels = false
    @Flag(help: "Allow tmpfs and allocate in small steps: for tests, never for leads that matter.")
    var test = false

    func run() throws {
        var configuration = Configuration(dataDirectory: data, socketPath: socket, isTest: test)
        configuration.hasModels = !withoutModels
        if let config {
            do { try configuration.apply(yaml: try readFile(config), path: config) } catch {
                complain("\(error)")
                throw ExitCode(78)
            }
        }
        var logger = Logger(label: "leadledgerd") { StreamLogHandler.standardError(label: $0) }
        logger.logLevel = .info

        // The signals are blocked before the first thread starts, so that only `sigwait` below takes them.
        var signals = sigset_t()
        sigemptyset(&signals)
        sigaddset(&signals, SIGTERM)
        sigaddset(&signals, SIGINT)
        pthread_sigmask(SIG_BLOCK, &signals, nil)
        signal(SIGPIPE, SIG_IGN)
        // A file at its limit (RLIMIT_FSIZE) is an error like a full disk, and not the end.
        signal(SIGXFSZ, SIG_IGN)

        let daemon: Daemon
        do { daemon = try Daemon.start(configuration, logger: logger) } catch {
            complain("\(error)")
            throw ExitCode(Daemon.exitCode(for: error))
        }
        var taken: Int32 = 0
        while sigwait(&signals, &taken) != 0 {}
        throw ExitCode(daemon.stop())
    }

    private func readFile(_ path: String) throws(ConfigurationError) -> String {
        guard let file = fopen(path, "re") else {
            throw ConfigurationError(place: path, reason: "cannot be read: \(String(cString: strerror(errno)))")
        }
        defer { fclose(file) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let count = fread(&chunk, 1, chunk.count, file)
            if count == 0 { break }
            bytes.append(contentsOf: chunk[..<count])
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
