import Glibc
package import LMDB

/// Opening, keeping or making a cache failed: the storage engine or a file said no.
package enum CacheError: Error, Equatable, Sendable, CustomStringConvertible {
    case lmdb(LMDBError)
    case file(FileError)

    package var isDiskFull: Bool {
        switch self {
        case .lmdb(let error): error.isDiskFull
        case .file(let error): error.isDiskFull
        }
    }

    package var description: String {
        switch self {
        case .lmdb(let error): error.description
        case .file(let error): error.description
        }
    }
}

/// An LMDB environment that can be rebuilt from the log, such as the index or a read model: committed without syncs
/// (MDB_NOSYNC), and therefore believed at start only when nothing can have been lost.
///
/// Commits without a sync survive a kill of the process, since the pages are the kernel's by then, but not the end of
/// the kernel. A file `STATE` beside `data.mdb` says which of the two may have happened:
///
/// ```
/// ledger=6f1c...          the log this is a cache of
/// fingerprint=index/1     what computes it
/// boot=0b7e...            /proc/sys/kernel/random/boot_id when it was last opened
/// dev=65024               device and inode of data.mdb: a copy put in its place is not what this speaks of
/// ino=1311234
/// state=open              or clean
/// ```
///
/// Invariants:
/// - C1: `state=open` with this boot's id is durable before the first commit.
/// - C2: `state=clean` is written only after a forced sync returned success and the environment was closed.
/// - C3: an environment is used only if all of these hold, otherwise it is discarded and made anew: STATE is there and
///   names this ledger, this fingerprint and this file; it is clean, or open with this boot's id; the environment opens;
///   its progress is not beyond the log's head.
/// - C4: a directory of this name was synced whole before it got the name.
///
/// ```swift
/// let (cache, origin) = try CacheEnvironment.open(
///     directory: path, ledgerID: ledger, fingerprint: "index/1", tables: ["rows", "older", "progress"],
///     options: .init(mapSize: 256 << 30, durability: .cache)
/// ) { environment in try progress(in: environment) <= head }
/// if case .created(let reason) = origin { rebuild(because: reason) }
/// ```
package final class CacheEnvironment: Sendable {
    package enum Origin: Equatable, Sendable {
        /// As it was left.
        case kept
        /// Empty, for this reason.
        case created(Reason)

        /// As `status` says it: `kept`, or `created:` and the reason.
        package var word: String {
            switch self {
            case .kept: "kept"
            case .created(let reason): "created:" + reason.word
            }
        }
    }

    package enum Reason: Equatable, Sendable {
        case absent
        case stateMissing
        case stateUnreadable
        case otherLedger
        case otherFingerprint
        /// The system has gone down since the last commit, or nobody knows.
        case otherBoot
        case otherFile
        case progressBeyondLog
        case unreadable(String)

        var word: String {
            switch self {
            case .absent: "absent"
            case .stateMissing: "state_missing"
            case .stateUnreadable: "state_unreadable"
            case .otherLedger: "other_ledger"
            case .otherFingerprint: "other_fingerprint"
            case .otherBoot: "other_boot"
            case .otherFile: "other_file"
            case .progressBeyondLog: "progress_beyond_log"
            case .unreadable: "unreadable"
            }
        }
    }

    package let environment: Environment
    private let state: CacheState
    private let space: SpaceAhead

    private init(environment: Environment, state: CacheState, spaceStep: Int) {
        self.environment = environment
        self.state = state
        self.space = SpaceAhead(environment: environment, step: spaceStep, fetches: true)
    }

    private static func statePath(in directory: String) -> String { directory + "/STATE" }
    private static func dataPath(in directory: String) -> String { directory + "/data.mdb" }

    /// Opens the cache in `directory`, or makes it anew with empty `tables` where it cannot be believed (C3).
    ///
    /// Errors that discarding would not mend are thrown: a full disk, files of another user, an environment that is
    /// open in this process already.
    /// - Parameters:
    ///   - tables: created when the environment is; those of a kept one are as they were left.
    ///   - spaceStep: see ``SpaceAhead``.
    ///   - bootID: another than the system's only in tests.
    ///   - isProgressSound: whether what the environment has taken in is not beyond the log's head. An error counts as
    ///     no. Transactions it begins must have ended when it returns.
    package static func open(
        directory: String, ledgerID: String, fingerprint: String, tables: [String], options: Environment.Options,
        spaceStep: Int = 64 << 20, bootID: String? = nil, isProgressSound: (Environment) throws -> Bool
    ) throws(CacheError) -> (cache: CacheEnvironment, origin: Origin) {
        precondition(options.durability == .cache && !options.readOnly)
        let boot: String
        do throws(FileError) { boot = if let bootID { bootID } else { try systemBootID() } } catch {
            throw .file(error)
        }
        let expected = CacheState(
            ledger: ledgerID, fingerprint: fingerprint, boot: boot, file: FileIdentity(device: 0, inode: 0),
            isClean: false)

        // 1. Believe what is there.
        let reason: Reason
        switch try existing(directory, expected, options, isProgressSound) {
        case .sound(let environment):
            let state = expected.with(file: environment.fileIdentity)
            // C1. What says so already is not written again, which a full disk would refuse.
            do throws(FileError) {
                if try DurableFiles.readFile(statePath(in: directory)) == state.text {
                    try DurableFiles.sync(directory)
                } else {
                    try DurableFiles.replaceFile(statePath(in: directory), with: state.text)
                }
            } catch { throw .file(error) }
            return (CacheEnvironment(environment: environment, state: state, spaceStep: spaceStep), .kept)
        case .unsound(let found): reason = found
        }

        // 2. Or begin again.
        do throws(FileError) { try DurableFiles.removeDirectory(directory) } catch { throw .file(error) }
        let state = try create(directory, expected, tables: tables, options: options)
        let environment: Environment
        do throws(LMDBError) {
            environment = try Environment.open(directory: directory, options: options)
        } catch { throw .lmdb(error) }
        return (CacheEnvironment(environment: environment, state: state, spaceStep: spaceStep), .created(reason))
    }

    /// Makes sure that the next transaction may add `bytes`. When the disk is full this throws, nothing has changed,
    /// and the caller pauses its following.
    package func reserveSpace(bytes: Int) throws(FileError) { try space.ensure(bytes: bytes) }

    /// Syncs and closes. Success means: the next start, after whatever happens to the system, finds it as it is now.
    /// After an error it is closed too, and kept only within this boot. Every transaction must have ended.
    package func closeCleanly() throws(CacheError) {
        defer { environment.close() }
        // C2, in this order.
        do throws(LMDBError) { try environment.sync(force: true) } catch { throw .lmdb(error) }
        environment.close()
        do throws(FileError) {
            try DurableFiles.replaceFile(
                Self.statePath(in: environment.directory), with: state.with(isClean: true).text)
        } catch { throw .file(error) }
    }

    // MARK: Believing

    private enum Verdict {
        case sound(Environment)
        case unsound(Reason)
    }

    /// Looks at STATE before LMDB looks at the file, since LMDB may crash on one that lost pages.
    private static func existing(
        _ directory: String, _ expected: CacheState, _ options: Environment.Options,
        _ isProgressSound: (Environment) throws -> Bool
    ) throws(CacheError) -> Verdict {
        var status = stat()
        guard lstat(dataPath(in: directory), &status) == 0 else {
            if errno == ENOENT { return .unsound(.absent) }
            throw .file(FileError(operation: "stat", path: dataPath(in: directory), code: errno))
        }
        let text: String?
        do throws(FileError) {
            text = try DurableFiles.readFile(statePath(in: directory))
        } catch {
            return .unsound(.stateUnreadable)
        }
        guard let text else { return .unsound(.stateMissing) }
        guard let found = CacheState(text) else { return .unsound(.stateUnreadable) }
        guard found.ledger == expected.ledger else { return .unsound(.otherLedger) }
        guard found.fingerprint == expected.fingerprint else { return .unsound(.otherFingerprint) }
        let file = FileIdentity(device: UInt64(status.st_dev), inode: UInt64(status.st_ino))
        guard found.file == file else { return .unsound(.otherFile) }
        guard found.isClean || found.boot == expected.boot else { return .unsound(.otherBoot) }

        let environment: Environment
        do throws(LMDBError) {
            environment = try Environment.open(directory: directory, options: options)
        } catch {
            guard error.isIOError || error.isCorruption else { throw .lmdb(error) }
            return .unsound(.unreadable(error.description))
        }
        do {
            if try isProgressSound(environment) { return .sound(environment) }
            environment.close()
            return .unsound(.progressBeyondLog)
        } catch {
            environment.close()
            return .unsound(.unreadable("\(error)"))
        }
    }

    private static func systemBootID() throws(FileError) -> String {
        let path = "/proc/sys/kernel/random/boot_id"
        guard let text = try DurableFiles.readFile(path) else {
            throw FileError(operation: "read", path: path, code: ENOENT)
        }
        return String(text.prefix { $0 != "\n" })
    }

    // MARK: Making

    /// Makes the environment beside its place and moves it there when all of it is on the disk (C4).
    private static func create(
        _ directory: String, _ expected: CacheState, tables: [String], options: Environment.Options
    ) throws(CacheError) -> CacheState {
        var state = expected
        try DurableFiles.createDirectory(at: directory, failure: CacheError.file) { temporary throws(CacheError) in
            do throws(LMDBError) {
                let environment = try Environment.open(directory: temporary, options: options)
                defer { environment.close() }
                _ = try environment.openTables(tables)
                try environment.sync(force: true)
                state = state.with(file: environment.fileIdentity)
            } catch { throw .lmdb(error) }
            do throws(FileError) {
                try DurableFiles.sync(dataPath(in: temporary))
                try DurableFiles.replaceFile(statePath(in: temporary), with: state.text)
            } catch { throw .file(error) }
        }
        return state
    }
}

/// The content of a `STATE` file.
struct CacheState: Equatable, Sendable {
    var ledger: String
    var fingerprint: String
    var boot: String
    var file: FileIdentity
    var isClean: Bool

    func with(file: FileIdentity? = nil, isClean: Bool? = nil) -> CacheState {
        var copy = self
        if let file { copy.file = file }
        if let isClean { copy.isClean = isClean }
        return copy
    }

    var text: String {
        precondition(!(ledger + fingerprint + boot).utf8.contains(UInt8(ascii: "\n")), "STATE values are single lines")
        return """
            ledger=\(ledger)
            fingerprint=\(fingerprint)
            boot=\(boot)
            dev=\(file.device)
            ino=\(file.inode)
            state=\(isClean ? "clean" : "open")

            """
    }
}

extension CacheState {
    /// Nil unless every line is there, once, and is understood.
    init?(_ text: String) {
        var values: [Substring: Substring] = [:]
        for line in text.split(separator: "\n") {
            guard let equals = line.firstIndex(of: "=") else { return nil }
            guard values.updateValue(line[line.index(after: equals)...], forKey: line[..<equals]) == nil else {
                return nil
            }
        }
        guard values.count == 6, let ledger = values["ledger"], let fingerprint = values["fingerprint"],
            let boot = values["boot"], let device = values["dev"].flatMap({ UInt64($0) }),
            let inode = values["ino"].flatMap({ UInt64($0) }), let state = values["state"],
            state == "open" || state == "clean"
        else { return nil }
        self.init(
            ledger: String(ledger), fingerprint: String(fingerprint), boot: String(boot),
            file: FileIdentity(device: device, inode: inode), isClean: state == "clean")
    }
}
