import Crypto
import Glibc
package import Leads
package import Ledger
import Synchronization

/// Why a time zone could not be had.
package enum TimeZoneDatabaseError: Error, Equatable, Sendable {
    /// No name of a zone can look like this: `../passwd`, `/etc/localtime`, `right/Europe/Paris`.
    case invalidName(String)
    /// The database has no zone of this name.
    case unknownZone(String)
    case unreadable(FileError)
    /// The file is longer than any zone's.
    case tooLong(String, bytesMax: Int)
    case malformed(String, TimeZoneProblem)
    /// The files were replaced while this process was using them: what it has and what it would read now are of two versions.
    case versionChanged(from: String, to: String)

    /// A sentence without its end, for a person.
    package var message: String {
        switch self {
        case .invalidName(let name): "'\(name)' cannot be the name of a time zone; one looks like Europe/Amsterdam"
        case .unknownZone(let name): "there is no time zone '\(name)' on this machine"
        case .unreadable(let error): "the time zone database cannot be read: \(error)"
        case .tooLong(let name, let bytesMax): "the file of time zone '\(name)' is longer than \(bytesMax) bytes"
        case .malformed(let name, let problem): "the file of time zone '\(name)' is damaged: \(problem.message)"
        case .versionChanged(let old, let new):
            "the time zone database changed from \(old) to \(new) while it was in use; restart the daemon"
        }
    }
}

/// The time zones of this machine, by IANA name, and which version of the data they are.
///
/// The version is part of every decision that used a zone (SEMANTICS 1), so it must be that of the bytes that were used:
/// a zone is read once and kept, and one that is first read after the files were replaced is refused.
package final class TimeZoneDatabase: Sendable {
    /// Where Debian's package `tzdata` puts it.
    package static let systemDirectory = "/usr/share/zoneinfo"

    private let directory: String
    private let state: Mutex<State>

    private struct State {
        /// By name, with the SHA-256 of its file.
        var zones: [String: (rules: TimeZoneRules, digest: [UInt8])] = [:]
        /// As the database calls itself; nil where it does not say.
        var release: String?
    }

    /// Reads which version the database is; zones are read when they are asked for.
    package init(directory: String = TimeZoneDatabase.systemDirectory) throws(TimeZoneDatabaseError) {
        self.directory = directory
        state = Mutex(State(release: try TimeZoneDatabase.release(in: directory)))
    }

    /// The rules of a zone. Links as `Europe/Kyiv` and `Europe/Kiev` are two names of equal rules.
    package func rules(of name: String) throws(TimeZoneDatabaseError) -> TimeZoneRules {
        guard TimeZoneDatabase.isZoneName(name) else { throw .invalidName(name) }
        return try state.withLock { (state: inout State) throws(TimeZoneDatabaseError) in
            if let known = state.zones[name] { return known.rules }
            // 1. The file as it stands.
            guard
                let bytes = try TimeZoneDatabase.content(
                    of: directory + "/" + name, bytesMax: Limits.timeZoneFileBytesMax)
            else { throw .unknownZone(name) }
            if bytes.count > Limits.timeZoneFileBytesMax { throw .tooLong(name, bytesMax: Limits.timeZoneFileBytesMax) }
            let rules: TimeZoneRules
            do throws(TimeZoneProblem) { rules = try TimeZoneRules(tzif: bytes) } catch {
                throw .malformed(name, error)
            }
            // 2. The version after it: the same as at first, or the file may be of another.
            let release = try TimeZoneDatabase.release(in: directory)
            guard release == state.release else {
                throw .versionChanged(from: state.release ?? "an unnamed one", to: release ?? "an unnamed one")
            }
            state.zones[name] = (rules, Array(SHA256.hash(data: bytes)))
            return rules
        }
    }

    /// Whether this machine has a zone of this name, in a form that can be read.
    package func isKnown(_ name: String) -> Bool { (try? rules(of: name)) != nil }

    /// What stands in a decision that used these zones: the name of the release, `2025b`, or, where the database does not
    /// name itself, `sha256:` and the digest of these zones' names and files in the order of the names.
    package func version(forZones names: some Sequence<String>) throws(TimeZoneDatabaseError) -> String {
        if let release = state.withLock({ $0.release }) { return release }
        var hash = SHA256()
        for name in Set(names).sorted() {
            _ = try rules(of: name)
            hash.update(data: Array(name.utf8) + [0])
            hash.update(data: state.withLock { $0.zones[name]!.digest })
        }
        return "sha256:" + hash.finalize().map { byte in String(unchecked: byte) }.joined()
    }
}

extension String {
    /// Two hexadecimal digits.
    fileprivate init(unchecked byte: UInt8) {
        self = String(byte >> 4, radix: 16) + String(byte & 15, radix: 16)
    }
}

// MARK: - Names

extension TimeZoneDatabase {
    /// The names that IANA gives, and nothing that leads out of the directory: parts of letters, digits, `.`, `_`, `+`, `-`,
    /// none of them `.` or `..` or beginning with `-`. Not taken are the copies below `posix` and `right` (these count leap
    /// seconds), nor `localtime` and `posixrules`, which are what this machine happens to be set to.
    static func isZoneName(_ name: String) -> Bool {
        guard (1...Limits.timeZoneNameBytesMax).contains(name.utf8.count) else { return false }
        let parts = name.split(separator: "/", omittingEmptySubsequences: false)
        if ["posix", "right", "localtime", "posixrules"].contains(parts[0]) { return false }
        return parts.allSatisfy { part in
            !part.isEmpty && part != "." && part != ".." && part.utf8.first != UInt8(ascii: "-")
                && part.utf8.allSatisfy(isOfName)
        }
    }

    private static func isOfName(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "+"),
            UInt8(ascii: "-"):
            true
        default: false
        }
    }
}

// MARK: - Files

extension TimeZoneDatabase {
    /// The release that the database names: `2025b` from the first line of `tzdata.zi`, `# version 2025b`, or from the file
    /// `+VERSION`; nil where neither says it in a form that can stand in a decision.
    private static func release(in directory: String) throws(TimeZoneDatabaseError) -> String? {
        let source = try content(of: directory + "/tzdata.zi", bytesMax: 64)
        if let line = source?.prefix(while: { $0 != UInt8(ascii: "\n") }), line.starts(with: "# version ".utf8) {
            if let release = release(line.dropFirst("# version ".utf8.count)) { return release }
        }
        let version = try content(of: directory + "/+VERSION", bytesMax: 64)
        return version.flatMap { release($0.prefix { $0 != UInt8(ascii: "\n") }) }
    }

    private static func release(_ bytes: ArraySlice<UInt8>) -> String? {
        guard (1...32).contains(bytes.count), bytes.allSatisfy(isOfName) else { return nil }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// The first `bytesMax` bytes of a file, and one more where there are; nil where there is no such file.
    private static func content(of path: String, bytesMax: Int) throws(TimeZoneDatabaseError) -> [UInt8]? {
        // Not to wait where a pipe has the name. Zones are links in many distributions, so links are followed.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
        guard descriptor >= 0 else {
            if [ENOENT, ENOTDIR, ENAMETOOLONG].contains(errno) { return nil }
            throw .unreadable(FileError(operation: "open", path: path, code: errno))
        }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else {
            throw .unreadable(FileError(operation: "stat", path: path, code: errno))
        }
        // `Europe` is a directory and no zone.
        guard status.st_mode & S_IFMT == S_IFREG else { return nil }
        var bytes = [UInt8](repeating: 0, count: bytesMax + 1)
        var length = 0
        while length < bytes.count {
            let count = bytes.withUnsafeMutableBytes { read(descriptor, $0.baseAddress! + length, $0.count - length) }
            if count < 0 {
                if errno == EINTR { continue }
                throw .unreadable(FileError(operation: "read", path: path, code: errno))
            }
            if count == 0 { break }
            length += count
        }
        return Array(bytes[..<length])
    }
}
