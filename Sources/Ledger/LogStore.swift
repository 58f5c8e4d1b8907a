import CLeafHash
import Glibc
import LMDB
import Synchronization

/// The log's environment and its tables: what is on disk, and reading it with every check.
///
/// ```
/// records   position u64 -> record          leaves    position u64 -> SHA-256, 32 bytes
/// registers see `Register.swift`; there once one was written
/// meta      "ledger" -> 16 bytes of the ledger id, "created" -> i64 microseconds since 1970
/// ```
///
/// Invariants:
/// - S1: `records` and `leaves` have the keys 0, 1, 2, ... without a gap, and the same ones.
/// - S2: the trailer of the record at p says p, and its leaf hash is the one stored at p.
/// - S3: recorded-at never goes backwards.
final class LogStore: Sendable {
    static let tableNames = ["records", "leaves", "meta"]

    let environment: Environment
    let records: Table
    let leaves: Table
    let ledgerID: LedgerID
    private let registersTable: Mutex<Table?>

    /// The table of registers; nil while nothing was written to one.
    var registers: Table? { registersTable.withLock { $0 } }

    /// Takes an environment that `LedgerDirectory` has made or found.
    init(environment: Environment) throws(LedgerError) {
        self.environment = environment
        do throws(LMDBError) {
            guard let records = try environment.existingTable(named: "records"),
                let leaves = try environment.existingTable(named: "leaves"),
                let meta = try environment.existingTable(named: "meta")
            else { throw LMDBError(code: ENOENT, operation: .openTable, context: "the log's tables") }
            self.records = records
            self.leaves = leaves
            registersTable = Mutex(try environment.existingTable(named: Self.registersName))
            let transaction = try environment.beginRead()
            let stored = try transaction.unsafeValue(in: meta, at: UnsafeRawBufferPointer("ledger"))
            guard let stored, let ledgerID = LedgerID(bytes: stored) else {
                throw LMDBError(code: ENOENT, operation: .get, context: "the log's ledger id")
            }
            self.ledgerID = ledgerID
        } catch {
            guard error.code == ENOENT else { throw LedgerError(error, path: environment.directory) }
            throw LedgerError(.format, "this is no log: \(error)", path: environment.directory)
        }
    }

    /// Writes what an empty log consists of. For an environment that is being created.
    static func initialize(_ environment: Environment, ledgerID: LedgerID, created: Int64) throws(LMDBError) {
        let tables = try environment.openTables(tableNames)
        var transaction = try environment.beginWrite()
        let meta = tables[2]
        try ledgerID.withBytes { (bytes) throws(LMDBError) in
            try transaction.put(bytes, in: meta, at: UnsafeRawBufferPointer("ledger"))
        }
        try withUnsafeBytes(of: created.bigEndian) { (bytes) throws(LMDBError) in
            try transaction.put(bytes, in: meta, at: UnsafeRawBufferPointer("created"))
        }
        try transaction.commit()
    }

    /// The position after the last record, and the recorded-at of that one; by the counts and the last keys (S1).
    func findEnd() throws(LedgerError) -> (end: UInt64, lastRecordedAt: Int64) {
        do throws(LMDBError) {
            let transaction = try environment.beginRead()
            let counts = (try transaction.count(of: records), try transaction.count(of: leaves))
            var recordCursor = try transaction.makeCursor(on: records)
            var leafCursor = try transaction.makeCursor(on: leaves)
            let lastRecord = try recordCursor.last()
            let lastLeaf = try leafCursor.last()
            guard let lastRecord, let lastLeaf else {
                guard lastRecord == nil, lastLeaf == nil, counts == (0, 0) else { throw Self.tablesDiffer }
                return (0, .min)
            }
            guard let end = lastRecord.key.bigEndianUInt64.map({ $0 &+ 1 }), end > 0,
                lastLeaf.key.bigEndianUInt64 == end - 1, let count = Int(exactly: end), counts == (count, count),
                RecordView.fault(in: lastRecord.value) == nil
            else { throw Self.tablesDiffer }
            return (end, RecordView(trusted: lastRecord.value).recordedAt)
        } catch {
            guard error == Self.tablesDiffer else { throw LedgerError(error) }
            throw LedgerError(
                .corruption, "the log's tables have gaps, or do not end together", path: environment.directory)
        }
    }

    static let registersName = "registers"

    /// The commit that made the table of registers has succeeded: from now on others may read it.
    func adoptRegisters(_ table: Table) { registersTable.withLock { $0 = table } }

    // EILSEQ: never LMDB's own.
    private static let tablesDiffer = LMDBError(code: EILSEQ, operation: .cursor)

    /// Lends records from `from` on to `body`, each checked (S1, S2), until `body` returns false, `limit` or `bytesMax` is
    /// reached, the deadline passes, or the log ends.
    /// - Returns: the position to go on from.
    func scan(
        from: UInt64, limit: Int = .max, bytesMax: Int = .max, milliseconds: UInt64? = nil,
        _ body: (RecordView, LeafHash) throws -> Bool
    ) throws -> UInt64 {
        guard limit > 0 else { return from }
        let deadline = milliseconds.map { MonotonicClock.nanoseconds() + $0 * 1_000_000 }
        let transaction: ReadTransaction
        var position = from
        var bytes = 0
        do throws(LMDBError) { transaction = try environment.beginRead() } catch { throw LedgerError(error) }
        var cursors = try LogCursors.open(self, transaction)
        var found = try cursors.seek(to: from)
        var page: UInt = 0
        while let first = found {
            Self.fetchPage(behind: first.record.value, &page)
            // Two at a time, since their hashes together cost little more than one. What is wrong with the second is told when
            // the first has been seen.
            let second = position + 1 - from < limit ? try cursors.next() : nil
            let hashes: (first: LeafHash, second: LeafHash?) =
                if let second { LeafHash.pair(of: first.record.value, second.record.value) } else {
                    (LeafHash(of: first.record.value), nil)
                }
            // What `body` throws is the caller's, and goes through as it is.
            let (view, hash) = try checked(first.record, first.leaf, hash: hashes.first, at: position)
            position += 1
            bytes += first.record.value.count
            guard try body(view, hash), bytes < bytesMax else { return position }
            guard let second, let secondHash = hashes.second else { return position }
            let (secondView, _) = try checked(second.record, second.leaf, hash: secondHash, at: position)
            position += 1
            bytes += second.record.value.count
            guard try body(secondView, secondHash), position - from < limit, bytes < bytesMax else { return position }
            // Each 64 events.
            if let deadline, (position - from) & 62 == 0, MonotonicClock.nanoseconds() > deadline { return position }
            found = try cursors.next()
        }
        return position
    }

    /// Has the next page fetched while this one is read, once for each: records of consecutive positions mostly lie on
    /// consecutive pages, and waiting for memory was a quarter of a reader's time.
    private static func fetchPage(behind record: UnsafeRawBufferPointer, _ page: inout UInt) {
        let pageBytes: UInt = 4_096
        let place = UInt(bitPattern: record.baseAddress) / pageBytes
        guard place != page else { return }
        page = place
        clh_fetch(UnsafeRawPointer(bitPattern: (place &+ 1) &* pageBytes), Int(pageBytes))
    }

    /// S1 and S2 for one record, whose bytes have the hash `hash`.
    private func checked(
        _ record: Cursor.Entry, _ leaf: Cursor.Entry?, hash: LeafHash, at position: UInt64
    ) throws(LedgerError) -> (RecordView, LeafHash) {
        guard record.key.bigEndianUInt64 == position else {
            throw .corruption("the log has a gap: no record", at: position)
        }
        guard let leaf, leaf.key.bigEndianUInt64 == position, let stored = LeafHash(bytes: leaf.value) else {
            throw .corruption("the log has a record without a leaf hash", at: position)
        }
        return (try Self.checked(record.value, hash: hash, against: stored, at: position), stored)
    }

    /// The record `bytes`, if it is the one that was stored at `position` with this leaf hash.
    static func checked(
        _ bytes: UnsafeRawBufferPointer, against leaf: LeafHash, at position: UInt64
    ) throws(LedgerError) -> RecordView {
        try checked(bytes, hash: LeafHash(of: bytes), against: leaf, at: position)
    }

    private static func checked(
        _ bytes: UnsafeRawBufferPointer, hash: LeafHash, against leaf: LeafHash, at position: UInt64
    ) throws(LedgerError) -> RecordView {
        // The hash first: what it proves cannot be a surprise to the layout.
        guard hash == leaf else {
            throw .corruption("a stored event is not what was stored: its leaf hash differs", at: position)
        }
        if let fault = RecordView.fault(in: bytes) {
            throw .corruption("a stored event's record is \(fault.rawValue)", at: position)
        }
        let record = RecordView(trusted: bytes)
        guard record.position.rawValue == position else {
            throw .corruption("a stored event is in the place of another: it says \(record.position)", at: position)
        }
        return record
    }

    /// The checked record at `position` in a transaction that is open; nil when there is none.
    func record<T: ReadingTransaction & ~Copyable>(
        at position: UInt64, in transaction: borrowing T
    ) throws(LedgerError) -> (record: RecordView, leaf: LeafHash)? {
        let bytes: UnsafeRawBufferPointer?
        let leafBytes: UnsafeRawBufferPointer?
        do throws(LMDBError) {
            bytes = try transaction.unsafeValue(in: records, at: position)
            leafBytes = try transaction.unsafeValue(in: leaves, at: position)
        } catch { throw LedgerError(error) }
        guard let bytes else { return nil }
        guard let leaf = leafBytes.flatMap({ LeafHash(bytes: $0) }) else {
            throw .corruption("the log has a record without a leaf hash", at: position)
        }
        return (try Self.checked(bytes, against: leaf, at: position), leaf)
    }
}

/// Records and their leaf hashes, side by side.
private struct LogCursors: ~Copyable {
    private var records: Cursor
    private var leaves: Cursor

    static func open(_ log: LogStore, _ transaction: borrowing ReadTransaction) throws(LedgerError) -> LogCursors {
        let records = try cursor(on: log.records, transaction)
        let leaves = try cursor(on: log.leaves, transaction)
        return LogCursors(records: records, leaves: leaves)
    }

    private init(records: consuming Cursor, leaves: consuming Cursor) {
        self.records = records
        self.leaves = leaves
    }

    private static func cursor(
        on table: Table, _ transaction: borrowing ReadTransaction
    ) throws(LedgerError) -> Cursor {
        do throws(LMDBError) { return try transaction.makeCursor(on: table) } catch { throw LedgerError(error) }
    }

    mutating func seek(to position: UInt64) throws(LedgerError) -> (record: Cursor.Entry, leaf: Cursor.Entry?)? {
        do throws(LMDBError) {
            let record = try records.seek(to: position)
            let leaf = try leaves.seek(to: position)
            return record.map { ($0, leaf) }
        } catch { throw LedgerError(error) }
    }

    mutating func next() throws(LedgerError) -> (record: Cursor.Entry, leaf: Cursor.Entry?)? {
        do throws(LMDBError) {
            let record = try records.next()
            let leaf = try leaves.next()
            return record.map { ($0, leaf) }
        } catch { throw LedgerError(error) }
    }
}
