import CLMDB

/// What both kinds of transaction can read.
///
/// Bytes that `unsafeValue` and cursors hand out lie in the map: they hold until the transaction ends or is reset,
/// and in a write transaction only until its next write. Copy what must outlive that.
package protocol ReadingTransaction: ~Copyable {
    /// LMDB's transaction, for the calls in this module.
    var handle: OpaquePointer { get }
    func makeCursor(on table: Table) throws(LMDBError) -> Cursor
}

extension ReadingTransaction where Self: ~Copyable {
    /// The value at `key`, or nil. For hot paths; see the protocol for how long the bytes hold.
    package func unsafeValue(
        in table: Table, at key: UnsafeRawBufferPointer
    ) throws(LMDBError) -> UnsafeRawBufferPointer? {
        try lookUp(handle, table, key)
    }

    package func unsafeValue(in table: Table, at key: UInt64) throws(LMDBError) -> UnsafeRawBufferPointer? {
        try withKey(key) { key throws(LMDBError) in try unsafeValue(in: table, at: key) }
    }

    /// Lends the value at `key` to `body`, from where it cannot escape; nil when there is none.
    package func withValue<R>(
        in table: Table, at key: UnsafeRawBufferPointer, _ body: (RawSpan) -> R
    ) throws(LMDBError) -> R? {
        guard let value = try unsafeValue(in: table, at: key) else { return nil }
        return body(value.bytes)
    }

    package func withValue<R>(in table: Table, at key: UInt64, _ body: (RawSpan) -> R) throws(LMDBError) -> R? {
        guard let value = try unsafeValue(in: table, at: key) else { return nil }
        return body(value.bytes)
    }

    /// A copy of the value at `key`, or nil.
    package func bytes(copying table: Table, at key: UnsafeRawBufferPointer) throws(LMDBError) -> [UInt8]? {
        try unsafeValue(in: table, at: key).map { [UInt8]($0) }
    }

    /// How many entries the table has.
    package func count(of table: Table) throws(LMDBError) -> Int {
        var stat = MDB_stat()
        try LMDBError.check(mdb_stat(handle, table.dbi, &stat), .get)
        return Int(stat.ms_entries)
    }

    /// How many pages the table has.
    package func pages(of table: Table) throws(LMDBError) -> Int {
        var stat = MDB_stat()
        try LMDBError.check(mdb_stat(handle, table.dbi, &stat), .get)
        return Int(stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages)
    }

    /// The number of the transaction whose state this one shows; grows by one with each commit.
    package var number: UInt64 { UInt64(mdb_txn_id(handle)) }
}

/// A snapshot of everything committed when it began, or was last renewed. Never blocks the writer.
///
/// It keeps the pages it can see from being reused, so hold it for milliseconds: one that lives long, an event
/// loop's, is `reset()` between uses and keeps only its slot. Not Sendable: one task uses it, though it may move
/// between threads.
package struct ReadTransaction: ~Copyable, ReadingTransaction {
    package let handle: OpaquePointer
    private let environment: Environment
    private var state = State.active

    private enum State {
        case active, resting
        /// A renewal failed: LMDB's handle can only be thrown away.
        case failed
    }

    init(environment: Environment, handle: OpaquePointer) {
        self.environment = environment
        self.handle = handle
    }

    deinit {
        if state == .active { mdb_txn_reset(handle) }
        environment.takeBack(handle, isUsable: state != .failed)
    }

    /// Gives the snapshot up and keeps the slot. Nothing may be read until `renew()`.
    package mutating func reset() {
        guard state == .active else { return }
        mdb_txn_reset(handle)
        state = .resting
    }

    /// Takes a new snapshot, of what is committed now. After an error every later renewal fails too (MDB_BAD_TXN), and
    /// reads with it: an event loop may try again at each request, and must not end the process by that.
    package mutating func renew() throws(LMDBError) {
        guard state != .failed else { throw LMDBError(code: MDB_BAD_TXN, operation: .renew) }
        reset()
        let code = mdb_txn_renew(handle)
        state = code == MDB_SUCCESS ? .active : .failed
        try LMDBError.check(code, .renew)
    }

    /// Leaves it as a renewal does that LMDB refused.
    mutating func failForTests() {
        reset()
        state = .failed
    }

    /// A cursor, to be used only while this snapshot lasts.
    package func makeCursor(on table: Table) throws(LMDBError) -> Cursor {
        assert(state == .active, "the snapshot was given up")
        return try Cursor.open(handle, table, in: nil)
    }
}

/// The look-up itself, compiled once for both kinds of transaction.
private func lookUp(
    _ transaction: OpaquePointer, _ table: Table, _ key: UnsafeRawBufferPointer
) throws(LMDBError) -> UnsafeRawBufferPointer? {
    guard 1...Table.keyBytesMax ~= key.count else { throw LMDBError(code: MDB_BAD_VALSIZE, operation: .get) }
    var keyBytes = MDB_val(key)
    var value = MDB_val()
    let code = mdb_get(transaction, table.dbi, &keyBytes, &value)
    guard code == MDB_SUCCESS else {
        if code == MDB_NOTFOUND { return nil }
        throw LMDBError(code: code, operation: .get)
    }
    return UnsafeRawBufferPointer(value)
}

extension MDB_val {
    /// LMDB takes keys and values by a pointer to mutable bytes, and does not change them.
    @inline(__always)
    init(_ bytes: UnsafeRawBufferPointer) {
        self.init(mv_size: bytes.count, mv_data: UnsafeMutableRawPointer(mutating: bytes.baseAddress))
    }
}

extension UnsafeRawBufferPointer {
    @inline(__always)
    init(_ value: MDB_val) { self.init(start: value.mv_data, count: value.mv_size) }
}
