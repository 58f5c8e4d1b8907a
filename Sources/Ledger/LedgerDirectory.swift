import Glibc
import LMDB
import Synchronization

/// The directory of a ledger: who may use it, whose it is, and making it.
///
/// ```
/// DATA/ledger.lock     flock, held while a daemon or the checker has the directory
/// DATA/log/            made in log.tmp/ and renamed when synced
/// DATA/FORMAT          written last: with it, the ledger exists
///   leadledger
///   format=0
///   ledger=6f1c2a64-...
///   created=2026-03-01T09:00:00Z
/// ```
///
/// | FORMAT | log/          | what it means                                         |
/// |--------|---------------|-------------------------------------------------------|
/// | no     | no            | nothing yet: a ledger is made                         |
/// | no     | without events| its making was cut short: finished now                |
/// | no     | with events   | FORMAT was lost: refused                              |
/// | yes    | no            | the log was lost: refused, since a new one would lie  |
/// | yes    | yes           | opened, if both name the same ledger                  |
package struct LedgerFormat: Equatable, Sendable {
    package static let current = 0
    private static let title = "leadledger"

    package var format: Int
    package var ledgerID: LedgerID
    /// RFC 3339, UTC.
    package var created: String

    package static func path(in directory: String) -> String { directory + "/FORMAT" }

    /// What FORMAT says; nil when there is none. Another format than ours is refused.
    package static func read(in directory: String) throws(LedgerError) -> LedgerFormat? {
        let path = path(in: directory)
        let text: String?
        do throws(FileError) { text = try DurableFiles.readFile(path) } catch {
            throw LedgerError(error, kind: .format)
        }
        guard let text else { return nil }
        guard let found = LedgerFormat(text) else {
            throw LedgerError(.format, "\(path) is not what a ledger's FORMAT looks like", path: path)
        }
        guard found.format == current else {
            throw LedgerError(
                .format, "the ledger has format \(found.format), and this program knows \(current)", path: path)
        }
        return found
    }

    package init(ledgerID: LedgerID, created: String) {
        format = Self.current
        self.ledgerID = ledgerID
        self.created = created
    }

    init?(_ text: String) {
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        guard lines.count == 5, lines[0] == Self.title, lines[4].isEmpty, lines[1].hasPrefix("format="),
            lines[2].hasPrefix("ledger="), lines[3].hasPrefix("created="), let format = Int(lines[1].dropFirst(7)),
            let ledgerID = LedgerID(lines[2].dropFirst(7))
        else { return nil }
        self.format = format
        self.ledgerID = ledgerID
        created = String(lines[3].dropFirst(8))
    }

    var text: String { "\(Self.title)\nformat=\(format)\nledger=\(ledgerID)\ncreated=\(created)\n" }
}

/// Whoever holds this is alone in the directory, until it is released or goes. The kernel drops the lock with the process.
package final class LedgerLock: Sendable {
    private let descriptor: Int32
    private let isReleased = Atomic<Bool>(false)

    private init(descriptor: Int32) { self.descriptor = descriptor }

    deinit { release() }

    /// Lets another have the directory. A second call does nothing.
    package func release() {
        guard isReleased.compareExchange(expected: false, desired: true, ordering: .sequentiallyConsistent).exchanged
        else { return }
        // Closing alone would leave it with a child that was forked a moment ago and has not come to its exec.
        flock(descriptor, LOCK_UN)
        close(descriptor)
    }

    /// Takes the lock; refuses at once, with kind `locked`, when another has it.
    package static func acquire(directory: String) throws(LedgerError) -> LedgerLock {
        let path = directory + "/ledger.lock"
        let descriptor: Int32
        do throws(FileError) {
            descriptor = try FileError.check("open", path) { open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600) }
        } catch { throw LedgerError(error, kind: .cannotCreate) }
        while flock(descriptor, LOCK_EX | LOCK_NB) != 0 {
            let code = errno
            if code == EINTR { continue }
            close(descriptor)
            guard code == EWOULDBLOCK else {
                throw LedgerError(FileError(operation: "lock", path: path, code: code))
            }
            throw LedgerError(.locked, "another daemon, or a check, has \(directory)", path: path)
        }
        return LedgerLock(descriptor: descriptor)
    }
}

/// Finding or making what is in the directory. The lock must be held.
enum LedgerDirectory {
    static func logPath(in directory: String) -> String { directory + "/log" }
    static func indexPath(in directory: String) -> String { directory + "/index" }

    static func create(_ directory: String) throws(LedgerError) {
        DurableFiles.beforeStep?("create", directory)
        guard mkdir(directory, 0o700) != 0, errno != EEXIST else { return }
        throw LedgerError(FileError(operation: "create", path: directory, code: errno), kind: .cannotCreate)
    }

    /// Opens the log, and makes the ledger where there is none.
    static func openLog(
        in directory: String, configuration: LogConfiguration, now: Int64
    ) throws(LedgerError) -> LogStore {
        do throws(FileError) { try DurableFiles.sweepLeftovers(in: directory) } catch { throw LedgerError(error) }
        let format = try LedgerFormat.read(in: directory)
        let hasLog = access(logPath(in: directory) + "/data.mdb", F_OK) == 0
        if format != nil, !hasLog {
            throw LedgerError(
                .format, "there is a FORMAT but no log: the log was moved or lost", path: logPath(in: directory))
        }
        if !hasLog { try createLog(in: directory, configuration: configuration, now: now) }

        let log = try LogStore(
            environment: openFromDevice(logPath(in: directory), options: options(configuration)))
        if let format {
            guard format.ledgerID == log.ledgerID else {
                throw LedgerError(
                    .format, "FORMAT is of ledger \(format.ledgerID), the log of \(log.ledgerID)", path: directory)
            }
        } else {
            guard try log.findEnd().end == 0 else {
                throw LedgerError(
                    .format, "there is a log with events but no FORMAT", path: LedgerFormat.path(in: directory))
            }
            // Last: with it the ledger exists. And the directory itself too, which may be as new.
            let format = LedgerFormat(ledgerID: log.ledgerID, created: text(ofMicroseconds: now))
            do throws(FileError) {
                try DurableFiles.sync(DurableFiles.parent(of: directory))
                try DurableFiles.replaceFile(LedgerFormat.path(in: directory), with: format.text)
            } catch { throw LedgerError(error, kind: .cannotCreate) }
        }
        return log
    }

    private static func createLog(
        in directory: String, configuration: LogConfiguration, now: Int64
    ) throws(LedgerError) {
        var generator = SystemRandomNumberGenerator()
        let ledgerID = configuration.ledgerID ?? .random(using: &generator)
        try DurableFiles.createDirectory(
            at: logPath(in: directory), failure: { LedgerError($0, kind: .cannotCreate) }
        ) { temporary throws(LedgerError) in
            do throws(LMDBError) {
                let environment = try Environment.open(directory: temporary, options: options(configuration))
                defer { environment.close() }
                try LogStore.initialize(environment, ledgerID: ledgerID, created: now)
                try environment.sync(force: true)
            } catch { throw LedgerError(error, path: temporary) }
            do throws(FileError) { try DurableFiles.sync(temporary + "/data.mdb") } catch {
                throw LedgerError(error, kind: .cannotCreate)
            }
        }
    }

    /// Opens the log's environment as the device has it.
    ///
    /// LMDB chooses the newer of its two meta pages when it opens, and goes on in that one's place whatever the page says
    /// later. Where a flush of it had failed, only memory would have it, and what the device has in its place is older than
    /// the other: so the choice is made again once memory has forgotten.
    private static func openFromDevice(
        _ path: String, options: Environment.Options
    ) throws(LedgerError) -> Environment {
        func open() throws(LedgerError) -> Environment {
            do throws(LMDBError) { return try Environment.open(directory: path, options: options) } catch {
                throw LedgerError(error, path: path)
            }
        }
        let asRemembered = try open()
        do throws(LedgerError) {
            try PageCache.rereadTail(of: asRemembered, bytes: LedgerLimits.tailBytesReread)
        } catch {
            asRemembered.close()
            throw error
        }
        asRemembered.close()
        return try open()
    }

    static func options(_ configuration: LogConfiguration) -> Environment.Options {
        Environment.Options(
            mapSize: configuration.logMapBytes, durability: .synced, mayUseTmpfs: configuration.mayUseTmpfs)
    }

    /// To the second, for people.
    private static func text(ofMicroseconds microseconds: Int64) -> String {
        var seconds = time_t(microseconds / 1_000_000)
        var parts = tm()
        gmtime_r(&seconds, &parts)
        func digits(_ number: Int32, _ count: Int) -> String {
            let text = String(number)
            return String(repeating: "0", count: max(0, count - text.utf8.count)) + text
        }
        let date = [digits(parts.tm_year + 1_900, 4), digits(parts.tm_mon + 1, 2), digits(parts.tm_mday, 2)]
        let time = [digits(parts.tm_hour, 2), digits(parts.tm_min, 2), digits(parts.tm_sec, 2)]
        return date.joined(separator: "-") + "T" + time.joined(separator: ":") + "Z"
    }
}
