import Glibc
package import Ledger
import LMDB
import Synchronization

/// Compares a read model of a stopped ledger with one computed anew from the log, byte for byte.
///
/// It changes nothing in the ledger's directory: the other one is made in a temporary directory. LMDB may crash on a broken
/// file, so run it in a process of its own. Nobody else may have the directory: hold its ``LedgerLock``, in the parent.
package enum ModelChecker {
    /// The builds in the directory, the one that answers and others, by their directory names.
    package static func builds(in directory: String) throws(FileError) -> [String] {
        let path = directory + "/models"
        guard access(path, F_OK) == 0 else { return [] }
        return try DurableFiles.names(in: path).filter { BuildName($0) != nil }
    }

    /// - Parameters:
    ///   - name: the directory's name, `leads@1.3`.
    ///   - temporary: an empty directory for the other one, as large as the model. The caller removes it, also after a crash.
    ///   - report: place and what is wrong there.
    package static func check(
        _ name: String, directory: String, temporary: String, mayUseTmpfs: Bool = false,
        report: (_ place: String, _ what: String) -> Void
    ) {
        guard let buildName = BuildName(name), let type = ReadModels.named(buildName.model) else {
            return report("-", "no read model of this program is called \(name)")
        }
        guard buildName.version == type.version else {
            return report("-", "it is of version \(buildName.version), this program makes version \(type.version)")
        }
        do {
            let log = try StoppedLog(directory: directory, mayUseTmpfs: mayUseTmpfs)
            let path = directory + "/models/" + name
            let environment = try Environment.open(
                directory: path,
                options: Environment.Options(
                    mapSize: ProjectionConfiguration().mapBytes, durability: .cache, readOnly: true,
                    mayUseTmpfs: mayUseTmpfs))
            var tables = try environment.openTables(type.tableNames + [ModelBuild.metaName])
            let meta = tables.removeLast()
            let stored = try environment.beginRead()
            let progress = try ModelBuild.number("progress", meta, in: stored) ?? 0
            guard progress <= log.end.rawValue else {
                return report("progress", "it has taken in \(progress) events, and the log has \(log.end)")
            }
            let fresh = try freshBuild(type, from: log, to: progress, in: temporary)
            let expected = try fresh.cache.environment.beginRead()
            for (index, table) in type.tableNames.enumerated() {
                try compare(table, stored, tables[index], expected, fresh.tables[index], report)
            }
        } catch { report("-", "cannot be compared: \(error)") }
    }

    /// Walks two tables side by side.
    private static func compare(
        _ name: String, _ stored: borrowing ReadTransaction, _ storedTable: Table,
        _ expected: borrowing ReadTransaction, _ expectedTable: Table, _ report: (String, String) -> Void
    ) throws {
        var differences = 0
        func differs(_ key: UnsafeRawBufferPointer, _ what: String) {
            differences += 1
            if differences <= ProjectionLimits.differencesMax { report("\(name) \(hexadecimal(key))", what) }
        }
        var left = try stored.makeCursor(on: storedTable)
        var right = try expected.makeCursor(on: expectedTable)
        var found = try left.next()
        var wanted = try right.next()
        while found != nil || wanted != nil {
            switch order(found, wanted) {
            case ..<0:
                if let found { differs(found.key, "is a row that the log does not give") }
                found = try left.next()
            case 1...:
                if let wanted { differs(wanted.key, "is missing") }
                wanted = try right.next()
            default:
                if let found, let wanted, !isSame(found.value, wanted.value) {
                    differs(
                        found.key,
                        "is not what the log gives: \(hexadecimal(found.value)), not \(hexadecimal(wanted.value))")
                }
                found = try left.next()
                wanted = try right.next()
            }
        }
        if differences > ProjectionLimits.differencesMax {
            report(name, "\(differences - ProjectionLimits.differencesMax) more rows differ")
        }
    }

    /// As LMDB orders keys; the end comes after all.
    private static func order(_ left: Cursor.Entry?, _ right: Cursor.Entry?) -> Int {
        guard let left else { return 1 }
        guard let right else { return -1 }
        let count = min(left.key.count, right.key.count)
        let order =
            left.key.baseAddress.flatMap { start in right.key.baseAddress.map { Int(memcmp(start, $0, count)) } } ?? 0
        return order != 0 ? order : left.key.count - right.key.count
    }

    private static func isSame(_ left: UnsafeRawBufferPointer, _ right: UnsafeRawBufferPointer) -> Bool {
        guard left.count == right.count else { return false }
        guard let start = left.baseAddress, let other = right.baseAddress else { return true }
        return memcmp(start, other, left.count) == 0
    }

    private static func hexadecimal(_ bytes: UnsafeRawBufferPointer) -> String {
        let shown = bytes.prefix(64).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        return bytes.count > 64 ? shown + "..." : shown
    }
}

/// A build of a prefix of the log, in `temporary`.
private func freshBuild(
    _ type: any Projection.Type, from log: any EventSource, to end: UInt64, in temporary: String
) throws -> ModelBuild {
    var configuration = ProjectionConfiguration()
    configuration.mayUseTmpfs = true
    let prefix = LogPrefix(log, end: Position(rawValue: end))
    let build = try ModelBuild(type, number: 1, in: temporary, source: prefix, configuration: configuration)
    let batch = ModelBuild.Batch(
        source: prefix, batches: EventBatches(source: prefix, eventsMax: ProjectionLimits.commitEventsMax),
        follower: EventBatches.Follower(), scratch: ProjectionScratch(), eventsMax: ProjectionLimits.commitEventsMax,
        nestedEvents: configuration.nestedEvents, nanosecondsMax: .max / 2,
        wholeAt: end, faults: nil, isWanted: { _ in false }, committing: { try $0() })
    while build.progress.load(ordering: .relaxed) < end {
        guard try build.follow(batch) > 0 else {
            throw ProjectionError(.io, "the log ends at \(build.progress.load(ordering: .relaxed)) of \(end)")
        }
    }
    return build
}

/// The first events of a log.
private final class LogPrefix: EventSource {
    private let log: any EventSource
    let end: Position
    var ledgerID: LedgerID { log.ledgerID }

    init(_ log: any EventSource, end: Position) {
        self.log = log
        self.end = end
    }

    func read(
        from: Position, limit: Int, maxBytes: Int, _ body: (RecordView) throws -> Bool
    ) throws -> Position {
        guard from < end else { return from }
        return try log.read(from: from, limit: min(limit, Int(end.rawValue - from.rawValue)), maxBytes: maxBytes, body)
    }

    func onAppend(_ body: @escaping @Sendable (Position) -> Void) -> UInt64 { 0 }
    func removeOnAppend(_ token: UInt64) {}
}
