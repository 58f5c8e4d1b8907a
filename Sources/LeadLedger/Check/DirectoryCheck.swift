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
    package static func walk(
        _ environment: String, directory: String, isTest: Bool, report: @escaping (Finding) -> Void
    ) {
        func find(_ place: String, _ what: String) {
            report(Finding(environment: environment, place: place, what: what))
        }
        switch environment {
        case "log":
            LogChecker.checkLog(directory: directory, lifecycle: LeadStreams.lifecycle, mayUseTmpfs: isTest) {
                find($0.place, $0.what)
            }
        case "index":
            LogChecker.checkIndex(directory: directory, lifecycle: LeadStreams.lifecycle, mayUseTmpfs: isTest) {
                find($0.place, $0.what)
            }
        default:
            guard environment.hasPrefix("models/") else { return find("-", "there is no such environment") }
            let temporary = getenv("TMPDIR").map { String(cString: $0) } ?? "/var/tmp"
            ModelChecker.check(
                String(environment.dropFirst("models/".count)), directory: directory, temporary: temporary,
                mayUseTmpfs: isTest, report: find)
        }
    }
}
