import CLeafHash
import Glibc
import LMDB
import Synchronization

/// The log's environment and its tables: what is on disk, and reading it with every check.
///
/// ```
/// records   position u64 -> record
/// leaves    the leaf hashes, see `LeafTable`
/// registers see `Register.swift`; there once one was written
/// meta      "ledger" -> 16 bytes of the ledger id, "created" -> i64 microseconds since 1970
/// ```
///
/// Invariants:
/// - S1: there are records and leaf hashes of the positions 0, 1, 2, ... without a gap, and of the same ones.
/// - S2: the trailer of the record at p says p, and its leaf hash is the one stored for p.
/// - S3: recorded-at never goes backwards.
final class LogStore: Sendable {
    private static let recordsName = "records"
    private static let metaName = "meta"

    let environment: Environment
    let records: Table
    let leaves: LeafTable
    let ledgerID: LedgerID
    private let registersTable: Mutex<Table?>

    /// The table of registers; nil while nothing was written to one.
    var registers: Table? { registersTable.withLock { $0 } }

    /// Takes an environment that `LedgerDirectory` has made or found.
    init(environment: Environment) throws(LedgerError) {
        self.environment = environment
        do throws(LMDBError) {
            guard let records = try environment.existingTable(named: Self.recordsName),
                let leaves = try LeafTable(in: environment, records: records),
                let meta = try environment.existingTable(named: Self.metaName)
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
        let tables = try environment.openTables(recordsName, LeafTable.name, metaName)
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
            let count = try transaction.count(of: records)
            guard let leafCount = try leaves.count(in: transaction) else { throw Self.tablesDiffer }
            var cursor = try transaction.makeCursor(on: records)
            guard let lastRecord = try cursor.last() else {
                guard (count, leafCount) == (0, 0) else { throw Self.tablesDiffer }
                return (0, .min)
            }
            guard let end = lastRecord.key.bigEndianUInt64.map({ $0 &+ 1 }), end > 0, Int(exactly: end) == count,
                leafCount == count, RecordView.fault(in: lastRecord.value) == nil
            else { throw Self.tablesDiffer }
            return (end, RecordView(trusted: lastRecord.value).recordedAt)
        } catch { throw tableError(error) }
    }

    private func tableError(_ error: LMDBError) -> LedgerError {
        guard error == Self.tablesDiffer else { return LedgerError(error) }
        return LedgerError(
            .corruption, "the log's tables have gaps, or do not end together", path: environment.directory)
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
            Self.fetchPage(behind: first.value, &page)
            // Two at a time, since their hashes together cost little more than one. What is wrong with the second is told when
            // the first has been seen.
            let second = position + 1 - from < limit ? try cursors.next() : nil
            let hashes: (first: LeafHash, second: LeafHash?) =
                if let second { LeafHash.pair(of: first.value, second.value) } else {
                    (LeafHash(of: first.value), nil)
                }
            // What `body` throws is the caller's, and goes through as it is.
            let (view, hash) = try checked(first, cursors.leaf(at: position), hash: hashes.first, at: position)
            position += 1
            bytes += first.value.count
            guard try body(view, hash), bytes < bytesMax else { return position }
            guard let second, let secondHash = hashes.second else { return position }
            let (secondView, _) = try checked(second, cursors.leaf(at: position), hash: secondHash, at: position)
            position += 1
            bytes += second.value.count
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
        _ record: Cursor.Entry, _ leaf: LeafHash?, hash: LeafHash, at position: UInt64
    ) throws(LedgerError) -> (RecordView, LeafHash) {
        guard record.key.bigEndianUInt64 == position else {
            throw .corruption("the log has a gap: no record", at: position)
        }
        let leaf = try Self.present(leaf, at: position)
        return (try Self.checked(record.value, hash: hash, against: leaf, at: position), leaf)
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

    private static func present(_ leaf: LeafHash?, at position: UInt64) throws(LedgerError) -> LeafHash {
        guard let leaf else { throw .corruption("the log has a record without a leaf hash", at: position) }
        return leaf
    }

    /// The checked record at `position` in a transaction that is open; nil when there is none.
    /// - Parameter newest: where the transaction is one that appends, the leaf hashes it has not put yet.
    func record<T: ReadingTransaction & ~Copyable>(
        at position: UInt64, in transaction: borrowing T, newest: NewestLeaves? = nil
    ) throws(LedgerError) -> (record: RecordView, leaf: LeafHash)? {
        let bytes: UnsafeRawBufferPointer?
        let stored: LeafHash?
        do throws(LMDBError) {
            bytes = try transaction.unsafeValue(in: records, at: position)
            stored =
                if let leaf = newest?.leaf(at: position) { leaf } else {
                    try leaves.leaf(at: position, in: transaction)
                }
        } catch { throw LedgerError(error) }
        guard let bytes else { return nil }
        let leaf = try Self.present(stored, at: position)
        return (try Self.checked(bytes, against: leaf, at: position), leaf)
    }

    /// What whoever appends goes on from.
    func newestLeaves(end: UInt64) throws(LedgerError) -> NewestLeaves {
        do throws(LMDBError) {
            let transaction = try environment.beginRead()
            guard let newest = try leaves.newestLeaves(end: end, in: transaction) else { throw Self.tablesDiffer }
            return newest
        } catch { throw tableError(error) }
    }
}

/// Records and their leaf hashes, side by side.
private struct LogCursors: ~Copyable {
    private var records: Cursor
    private var leaves: LeafCursor

    static func open(_ log: LogStore, _ transaction: borrowing ReadTransaction) throws(LedgerError) -> LogCursors {
        do throws(LMDBError) {
            let records = try transaction.makeCursor(on: log.records)
            let leaves = try log.leaves.makeCursor(in: transaction)
            return LogCursors(records: records, leaves: leaves)
        } catch { throw LedgerError(error) }
    }

    private init(records: consuming Cursor, leaves: consuming LeafCursor) {
        self.records = records
        self.leaves = leaves
    }

    mutating func seek(to position: UInt64) throws(LedgerError) -> Cursor.Entry? {
        do throws(LMDBError) { return try records.seek(to: position) } catch { throw LedgerError(error) }
    }

    mutating func next() throws(LedgerError) -> Cursor.Entry? {
        do throws(LMDBError) { return try records.next() } catch { throw LedgerError(error) }
    }

    mutating func leaf(at position: UInt64) throws(LedgerError) -> LeafHash? {
        do throws(LMDBError) { return try leaves.leaf(at: position) } catch { throw LedgerError(error) }
    }
}
