import LMDB

/// Walks the log and the index of a stopped ledger and reports everything that is wrong. It changes nothing and asserts
/// nothing; but LMDB itself may crash on a broken file, so run each walk in a process of its own, and take a crash for a
/// finding. Findings are reported as they are made, since the next page may be the one.
///
/// Nobody else may have the directory: hold its ``LedgerLock``, in the parent process.
package struct LogChecker {
    package struct Finding: Sendable, Equatable {
        package enum Severity: String, Sendable {
            /// Something stored is not what it was, or is missing.
            case error
            /// Nothing is lost: what a start mends by itself, or what is merely odd.
            case warning
        }

        package var severity: Severity
        /// Where: `position 7`, `stream 6f1c...`, a path.
        package var place: String
        package var what: String
    }

    private let directory: String
    private let lifecycle: StreamLifecycle
    private let mayUseTmpfs: Bool
    private let report: (Finding) -> Void

    private init(
        _ directory: String, _ lifecycle: @escaping StreamLifecycle, _ mayUseTmpfs: Bool,
        _ report: @escaping (Finding) -> Void
    ) {
        self.directory = directory
        self.lifecycle = lifecycle
        self.mayUseTmpfs = mayUseTmpfs
        self.report = report
    }

    /// Streams held in memory at once: about 200 MiB. A larger ledger is walked several times.
    private static let streamsAtOnceMax: UInt64 = 2_000_000

    /// Everything about the log: FORMAT, the tables' keys (S1), each record's layout, hash and place (S2), times (S3),
    /// ledger ids, registers' sums, and for each stream that versions continue and the lifecycle accepts each event.
    package static func checkLog(
        directory: String, lifecycle: @escaping StreamLifecycle, mayUseTmpfs: Bool = false,
        report: @escaping (Finding) -> Void
    ) {
        LogChecker(directory, lifecycle, mayUseTmpfs, report).checkLog()
    }

    /// Everything about the index, against a recomputation from the log: each row, each older entry, and that there are
    /// no others.
    package static func checkIndex(
        directory: String, lifecycle: @escaping StreamLifecycle, mayUseTmpfs: Bool = false,
        report: @escaping (Finding) -> Void
    ) {
        LogChecker(directory, lifecycle, mayUseTmpfs, report).checkIndex()
    }

    private func error(_ place: String, _ what: String) {
        report(Finding(severity: .error, place: place, what: what))
    }

    private func open(_ path: String, mapBytes: Int, _ durability: Environment.Durability) -> Environment? {
        do throws(LMDBError) {
            return try Environment.open(
                directory: path,
                options: Environment.Options(
                    mapSize: mapBytes, durability: durability, readOnly: true, mayUseTmpfs: mayUseTmpfs))
        } catch {
            self.error(path, "cannot be opened: \(error)")
            return nil
        }
    }

    private func openLog() -> LogStore? {
        let path = LedgerDirectory.logPath(in: directory)
        guard let environment = open(path, mapBytes: LogConfiguration().logMapBytes, .synced) else { return nil }
        do throws(LedgerError) { return try LogStore(environment: environment) } catch {
            self.error(path, "\(error)")
            return nil
        }
    }

    // MARK: The log

    private func checkLog() {
        guard let log = openLog() else { return }
        do throws(LedgerError) {
            if let format = try LedgerFormat.read(in: directory) {
                if format.ledgerID != log.ledgerID {
                    error("FORMAT", "is of ledger \(format.ledgerID), the log of \(log.ledgerID)")
                }
            } else {
                error("FORMAT", "is missing")
            }
        } catch { self.error("FORMAT", "\(error)") }

        do throws(LMDBError) {
            let transaction = try log.environment.beginRead()
            let records = try transaction.count(of: log.records)
            if let leaves = try log.leaves.count(in: transaction) {
                if records != leaves { error("log", "\(records) records and \(leaves) leaf hashes") }
            } else {
                error("log", "the leaf hashes have gaps, or do not end where the last ones begin")
            }
            let parts = UInt64(records) / Self.streamsAtOnceMax + 1
            for part in 0..<parts {
                try walkLog(log, transaction, isFirst: part == 0, part: part, of: parts)
            }
            try walkRegisters(log, transaction)
        } catch { self.error("log", "\(error)") }
    }

    private struct StreamState {
        var version: UInt64
        var state: UInt64
        /// An event was refused: what follows it says nothing.
        var isBroken = false
    }

    /// One walk: in the first all that concerns single records, in each the streams of one part.
    private func walkLog(
        _ log: LogStore, _ transaction: borrowing ReadTransaction, isFirst: Bool, part: UInt64, of parts: UInt64
    ) throws(LMDBError) {
        var streams: [StreamKey: StreamState] = [:]
        var expected: UInt64 = 0
        var lastRecordedAt = Int64.min
        var cursor = try transaction.makeCursor(on: log.records)
        while let entry = try cursor.next() {
            guard let position = entry.key.bigEndianUInt64 else {
                if isFirst { error("log", "a key of \(entry.key.count) bytes among the records") }
                continue
            }
            let place = "position \(position)"
            if isFirst {
                if position != expected {
                    error("position \(expected)", "is missing; the next record is at \(position)")
                }
                expected = position &+ 1
                if let stored = try log.leaves.leaf(at: position, in: transaction) {
                    if LeafHash(of: entry.value) != stored { error(place, "the record does not match its leaf hash") }
                } else {
                    error(place, "has no leaf hash")
                }
            }
            if let fault = RecordView.fault(in: entry.value) {
                if isFirst { error(place, "the record is \(fault.rawValue)") }
                continue
            }
            let record = RecordView(trusted: entry.value)
            if isFirst {
                if record.position.rawValue != position { error(place, "the record says position \(record.position)") }
                if record.recordedAt < lastRecordedAt { error(place, "recorded-at goes back") }
                lastRecordedAt = max(lastRecordedAt, record.recordedAt)
                if record.ledgerID != log.ledgerID { error(place, "the record is of ledger \(record.ledgerID)") }
            }
            let key = record.streamKey
            guard key.high % parts == part else { continue }
            follow(record, in: &streams[key], key, place)
        }
    }

    /// Each register is what was written under its key. What they say, their writers check.
    private func walkRegisters(_ log: LogStore, _ transaction: borrowing ReadTransaction) throws(LMDBError) {
        guard let table = log.registers else { return }
        var cursor = try transaction.makeCursor(on: table)
        while let entry = try cursor.next() {
            guard RegisterValue.opened(entry.key, entry.value) == nil else { continue }
            let shown = entry.key.prefix(LedgerLimits.registerKeyBytesMax).map { byte in
                (byte < 16 ? "0" : "") + String(byte, radix: 16)
            }
            error("register \(shown.joined())", "does not match its sum")
        }
    }

    private func follow(_ record: RecordView, in stream: inout StreamState?, _ key: StreamKey, _ place: String) {
        let before = stream?.version ?? 0
        // Wrapping: a broken record may say anything.
        if record.version.rawValue != before &+ 1 {
            error(place, "version \(record.version) follows \(before) in stream \(key)")
        }
        var after = StreamState(version: record.version.rawValue, state: stream?.state ?? 0)
        if stream?.isBroken ?? false {
            after.isBroken = true
        } else {
            switch lifecycle(stream?.state, record.type, record.variant, record.isBackfill) {
            case .next(let state): after.state = state
            case .refused(let reason):
                error(place, "the lifecycle refuses this event (type \(record.type), reason \(reason))")
                after.isBroken = true
            }
        }
        stream = after
    }

    // MARK: The index

    private func checkIndex() {
        let path = LedgerDirectory.indexPath(in: directory)
        guard let log = openLog(),
            let environment = open(path, mapBytes: LogConfiguration().indexMapBytes, .cache)
        else { return }
        do throws(LMDBError) {
            let tables = try IndexTables(environment)
            let logTransaction = try log.environment.beginRead()
            let transaction = try environment.beginRead()
            let progress = try tables.progress(in: transaction)
            let end = try logTransaction.count(of: log.records)
            if progress > UInt64(end) {
                error("index", "it has taken in \(progress) events, and the log has \(end)")
                return
            }
            let parts = progress / Self.streamsAtOnceMax + 1
            var streamsFound = 0
            var olderExpected = 0
            for part in 0..<parts {
                let rows = try recompute(log, logTransaction, to: progress, part: part, of: parts)
                streamsFound += rows.count
                for row in rows.values where row.version.rawValue > IndexRow.recentsMax {
                    // Wrapping: a broken record may say anything.
                    olderExpected &+= Int(clamping: row.version.rawValue - IndexRow.recentsMax)
                }
                try compare(rows, tables, transaction)
            }
            try findEvents(log, logTransaction, to: progress, tables, transaction)
            if try transaction.count(of: tables.rows) != streamsFound {
                error("index", "\(try transaction.count(of: tables.rows)) rows for \(streamsFound) streams")
            }
            try countOlder(tables, transaction, expected: olderExpected)
        } catch { self.error("index", "\(error)") }
    }

    /// The newest row of each stream of a part, from the log.
    private func recompute(
        _ log: LogStore, _ transaction: borrowing ReadTransaction, to progress: UInt64, part: UInt64, of parts: UInt64
    ) throws(LMDBError) -> [StreamKey: StreamRow] {
        var rows: [StreamKey: StreamRow] = [:]
        var cursor = try transaction.makeCursor(on: log.records)
        while let entry = try cursor.next(), let position = entry.key.bigEndianUInt64, position < progress {
            // What is wrong with the record itself, the walk of the log says.
            guard RecordView.fault(in: entry.value) == nil else { continue }
            let record = RecordView(trusted: entry.value)
            let key = record.streamKey
            guard key.high % parts == part else { continue }
            let before = rows[key]
            guard case .next(let state) = lifecycle(before?.state, record.type, record.variant, record.isBackfill)
            else { continue }
            rows[key] = StreamRow(
                first: before?.first ?? Position(rawValue: position), last: Position(rawValue: position),
                version: record.version, state: state)
        }
        return rows
    }

    private func compare(
        _ rows: [StreamKey: StreamRow], _ tables: IndexTables, _ transaction: borrowing ReadTransaction
    ) throws(LMDBError) {
        for (key, expected) in rows {
            guard let bytes = try tables.row(of: key, in: transaction) else {
                error("stream \(key)", "has no row")
                continue
            }
            guard let row = IndexRow.summary(bytes), let whole = IndexRow(bytes) else {
                error("stream \(key)", "has a row of \(bytes.count) bytes that is none")
                continue
            }
            if !whole.withBytes({ $0.hasSameBytes(as: bytes) }) {
                error("stream \(key)", "its row has bytes where there should be none")
            }
            if row != expected {
                error("stream \(key)", "the row says \(Self.text(row)), the log \(Self.text(expected))")
                continue
            }
            let used = IndexRow.headerBytes + Int(min(row.version.rawValue, IndexRow.recentsMax)) * IndexRow.recentBytes
            if bytes.dropFirst(used).contains(where: { $0 != 0 }) {
                error("stream \(key)", "the unused room of its row is not zero")
            }
        }
    }

    private static func text(_ row: StreamRow) -> String {
        "\(row.first)...\(row.last), version \(row.version), state \(String(row.state, radix: 16))"
    }

    /// Every event of the log is where the index says its version and its name are.
    private func findEvents(
        _ log: LogStore, _ logTransaction: borrowing ReadTransaction, to progress: UInt64, _ tables: IndexTables,
        _ transaction: borrowing ReadTransaction
    ) throws(LMDBError) {
        var cursor = try logTransaction.makeCursor(on: log.records)
        while let entry = try cursor.next(), let position = entry.key.bigEndianUInt64, position < progress {
            guard RecordView.fault(in: entry.value) == nil else { continue }
            let record = RecordView(trusted: entry.value)
            // A row that is missing or none was reported.
            guard let bytes = try tables.row(of: record.streamKey, in: transaction), let row = IndexRow(bytes) else {
                continue
            }
            let place = "position \(position)"
            let version = record.version.rawValue
            guard version <= row.version else { continue }
            if version >= row.oldestRecent {
                let recent = row.recents[IndexRow.slot(ofVersion: version)]
                if recent != IndexRow.Recent(tag: record.nameHash.tag, position: position) {
                    error(place, "its row has another event as version \(version)")
                }
                continue
            }
            let byVersion = try tables.older(at: OlderKey(first: row.first, version: version), in: transaction)
            if byVersion?.bigEndianUInt64 != position { error(place, "is not found as version \(version)") }
            let byName = try tables.older(at: OlderKey(first: row.first, name: record.nameHash), in: transaction)
            let found = byName.map { positions in
                stride(from: 0, to: positions.count & ~7, by: 8).contains { positions.bigEndian(at: $0) == position }
            }
            if found != true { error(place, "is not found by its name") }
        }
    }

    /// The events were all found, so as many entries as events is also no others.
    private func countOlder(
        _ tables: IndexTables, _ transaction: borrowing ReadTransaction, expected: Int
    ) throws(LMDBError) {
        var versions = 0
        var names = 0
        var cursor = try transaction.makeCursor(on: tables.older)
        while let entry = try cursor.next() {
            switch (entry.key.count, entry.key.count > 8 ? entry.key[8] : 0) {
            case (17, OlderKey.kindVersion): versions += 1
            case (21, OlderKey.kindName): names += entry.value.count / 8
            default: error("index", "a key of \(entry.key.count) bytes among the older events")
            }
        }
        if versions != expected || names != expected {
            error("index", "\(versions) versions and \(names) names for \(expected) older events")
        }
    }
}
