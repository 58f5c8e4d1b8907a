import Glibc
import Ledger
import Projections

/// What `leadledgerd check` does: which environments a stopped ledger has, and the walk of one of them.
///
/// The parent holds the ledger's lock while children walk: `begin` takes it, and it goes with the value.
package struct DirectoryCheck {
    /// `log`, `index`, `models/leads@1.1`, ...
    package let environments: [String]
    /// What is wrong with the directory itself.
    package let findings: [Finding]
    private let lock: LedgerLock

    /// - Throws: `LedgerError` for a directory that is none, or that a daemon has.
    package static func begin(directory: String) throws -> DirectoryCheck {
        guard access(LedgerFormat.path(in: directory), F_OK) == 0 || access(directory + "/log", F_OK) == 0 else {
            throw LedgerError(.format, "there is no ledger here", path: directory)
        }
        let lock = try LedgerLock.acquire(directory: directory)
        var findings: [Finding] = []
        func find(_ place: String, _ what: String) {
            findings.append(Finding(environment: "directory", place: place, what: what))
        }
        do throws(LedgerError) {
            if try LedgerFormat.read(in: directory) == nil { find("FORMAT", "is missing") }
        } catch { find("FORMAT", "\(error)") }
        var environments: [String] = []
        for name in ["log", "index"] {
            if access(directory + "/\(name)/data.mdb", F_OK) == 0 {
                environments.append(name)
            } else if name == "log" {
                find("log", "there is no log")
            }
        }
        do throws(FileError) {
            environments += try ModelChecker.builds(in: directory).map { "models/" + $0 }
        } catch { find("models", "\(error)") }
        return DirectoryCheck(environments: environments, findings: findings, lock: lock)
    }

    /// Walks one environment, in a process of its own: LMDB may crash on a broken file. Findings come as they are made.
    ///
    /// - Parameter temporary: where a read model is computed anew: a ``CheckWorkspace``.
    package static func walk(
        _ environment: String, directory: String, temporary: String, isTest: Bool, report: @escaping (Finding) -> Void
    ) {
        func find(_ place: String, _ what: String) {
            report(Finding(environment: environment, place: place, what: what))
        }
        switch environment {
        case "log":
            LogChecker.checkLog(directory: directory, lifecycle: LeadStreams.lifecycle, mayUseTmpfs: isTest) {
                find($0.place, $0.what)
            }
            ConsumerCheck.check(directory: directory, mayUseTmpfs: isTest, find: find)
        case "index":
            LogChecker.checkIndex(directory: directory, lifecycle: LeadStreams.lifecycle, mayUseTmpfs: isTest) {
                find($0.place, $0.what)
            }
        default:
            guard environment.hasPrefix("models/") else { return find("-", "there is no such environment") }
            ModelChecker.check(
                String(environment.dropFirst("models/".count)), directory: directory, temporary: temporary,
                mayUseTmpfs: isTest, report: find)
        }
    }
}

/// A temporary directory for the walk of one environment. The parent makes and removes it, since the child may crash.
package struct CheckWorkspace {
    package let path: String

    /// Below $TMPDIR, or /var/tmp: a read model may be too large for a /tmp in memory.
    package init() throws {
        let parent = getenv("TMPDIR").map { String(cString: $0) } ?? "/var/tmp"
        var template = Array("\(parent)/leadledger-check.XXXXXX".utf8CString)
        let made = template.withUnsafeMutableBufferPointer { text in
            text.baseAddress.flatMap { mkdtemp($0) }.map { String(cString: $0) }
        }
        guard let made else { throw FileError(operation: "create", path: parent, code: errno) }
        path = made
    }

    /// What cannot be removed is in a temporary directory.
    package func remove() { try? DurableFiles.removeDirectory(path) }
}
