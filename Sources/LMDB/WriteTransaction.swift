import CLMDB

/// The one transaction that writes. It ends with `commit()`; if it goes away before that, nothing was written.
///
/// It belongs to the thread that began it: begin, write and commit in one synchronous stretch, never across an
/// `await`, since a task may wake on another thread. Debug builds check this at each write, all builds at its end (but for nested ones).
///
/// After an error from a write, drop the transaction: LMDB refuses the rest of it with MDB_BAD_TXN.
///
/// Limits, kept by callers: values of at most 60 KiB (larger ones need runs of contiguous pages, slow to find in a
/// fragmented file), and fewer than 131,071 dirty pages a transaction, where LMDB starts to write early and 0.9.24
/// leaks its list of such pages; a nested one is refused with MDB_TXN_FULL there. Its memory follows the largest transaction.
package struct WriteTransaction: ~Copyable, ReadingTransaction {
    package let handle: OpaquePointer
    let owner: WriteOwner

    init(environment: Environment, handle: OpaquePointer) {
        self.init(handle: handle, owner: WriteOwner(environment: environment))
    }

    private init(handle: OpaquePointer, owner: WriteOwner) {
        self.handle = handle
        self.owner = owner
    }

    deinit {
        guard owner.isOpen else { return }
        owner.end()
        mdb_txn_abort(handle)
    }

    /// Commits. Success means, in a `.synced` environment, that everything written survives a power cut.
    ///
    /// After an error see ``LMDBError/isOutcomeUnknown``: when true, the transaction may be found committed or not
    /// after a restart, and this process must not commit again. A nested one writes nothing: what it has written is part of the one
    /// around it, or after an error is not, and then that one cannot be committed.
    package consuming func commit() throws(LMDBError) {
        owner.end()
        try LMDBError.check(mdb_txn_commit(handle), .commit)
        if !owner.isNested { try owner.environment.coverLastPage() }
    }

    /// Drops everything written. The same as letting the transaction go, for where it should be said.
    package consuming func abort() {}

    /// Begins a transaction within this one, which must not be used until that has ended. Its commit makes what it has written part of
    /// this one, and of nothing else; without, this one goes on as if it had not been.
    ///
    /// It is for transactions that change many pages. LMDB keeps the changed ones in an array in the order of their numbers, and makes
    /// room for each by moving those behind it one by one. Numbers that were given up before come back in any order, so that takes a time
    /// with the square of the pages: up to a third of what it took to change 20,000 rows at random. The pages of a nested transaction are in an
    /// array of its own, and its commit merges the two in one go.
    package mutating func beginNested() throws(LMDBError) -> WriteTransaction {
        assert(owner.isOnItsThread, "a write transaction belongs to the thread that began it")
        var nested: OpaquePointer?
        let code = mdb_txn_begin(mdb_txn_env(handle), handle, 0, &nested)
        guard code == MDB_SUCCESS, let nested else { throw LMDBError(code: code, operation: .beginWrite) }
        return WriteTransaction(handle: nested, owner: owner.makeNested())
    }

    /// Opens a table, creating it when it is missing. It may be used by others once this transaction is committed.
    package mutating func openTable(_ name: String) throws(LMDBError) -> Table {
        guard Table.isValidName(name) else {
            throw LMDBError(code: MDB_BAD_VALSIZE, operation: .openTable, context: name)
        }
        owner.environment.writeTransactionOpensTable()
        var dbi: MDB_dbi = 0
        try LMDBError.check(mdb_dbi_open(handle, name, UInt32(MDB_CREATE), &dbi), .openTable, name)
        return Table(dbi: dbi)
    }

    /// A cursor, to be used only before this transaction's next write.
    package func makeCursor(on table: Table) throws(LMDBError) -> Cursor {
        try Cursor.open(handle, table, in: owner)
    }
}

/// How `put` and `reserve` place an entry.
package enum Placement: Sendable {
    /// Adds the entry, or replaces the one at that key.
    case replace
    /// Adds the entry; MDB_KEYEXIST when the key is there.
    case insert
    /// Adds the entry after the table's last; MDB_KEYEXIST when the key is not beyond it. Fills pages to the brim.
    case append

    var flags: UInt32 {
        switch self {
        case .replace: 0
        case .insert: UInt32(MDB_NOOVERWRITE)
        case .append: UInt32(MDB_APPEND)
        }
    }
}

// MARK: Writing

extension WriteTransaction {
    package mutating func put(
        _ value: UnsafeRawBufferPointer, in table: Table, at key: UnsafeRawBufferPointer,
        _ placement: Placement = .replace
    ) throws(LMDBError) {
        assert(owner.isOnItsThread, "a write transaction belongs to the thread that began it")
        var keyBytes = MDB_val(key)
        var valueBytes = MDB_val(value)
        let code = mdb_put(handle, table.dbi, &keyBytes, &valueBytes, placement.flags)
        guard code == MDB_SUCCESS else { throw LMDBError(code: code, operation: .put) }
    }

    package mutating func put(
        _ value: UnsafeRawBufferPointer, in table: Table, at key: UInt64, _ placement: Placement = .replace
    ) throws(LMDBError) {
        try withKey(key) { (key) throws(LMDBError) in try put(value, in: table, at: key, placement) }
    }

    /// Makes room for a value of `byteCount` bytes at `key`, which `fill` must write completely: it saves the copy.
    package mutating func reserve(
        _ byteCount: Int, in table: Table, at key: UnsafeRawBufferPointer, _ placement: Placement = .replace,
        _ fill: (UnsafeMutableRawBufferPointer) -> Void
    ) throws(LMDBError) {
        assert(owner.isOnItsThread, "a write transaction belongs to the thread that began it")
        var keyBytes = MDB_val(key)
        var room = MDB_val(mv_size: byteCount, mv_data: nil)
        let code = mdb_put(handle, table.dbi, &keyBytes, &room, placement.flags | UInt32(MDB_RESERVE))
        guard code == MDB_SUCCESS else { throw LMDBError(code: code, operation: .put) }
        fill(UnsafeMutableRawBufferPointer(start: room.mv_data, count: byteCount))
    }

    package mutating func reserve(
        _ byteCount: Int, in table: Table, at key: UInt64, _ placement: Placement = .replace,
        _ fill: (UnsafeMutableRawBufferPointer) -> Void
    ) throws(LMDBError) {
        try withKey(key) { (key) throws(LMDBError) in try reserve(byteCount, in: table, at: key, placement, fill) }
    }

    /// Removes the entry at `key`.
    /// - Returns: whether there was one.
    @discardableResult
    package mutating func delete(in table: Table, at key: UnsafeRawBufferPointer) throws(LMDBError) -> Bool {
        assert(owner.isOnItsThread, "a write transaction belongs to the thread that began it")
        // LMDB calls a key that is too long merely absent.
        guard 1...Table.keyBytesMax ~= key.count else { throw LMDBError(code: MDB_BAD_VALSIZE, operation: .delete) }
        var keyBytes = MDB_val(key)
        let code = mdb_del(handle, table.dbi, &keyBytes, nil)
        guard code == MDB_SUCCESS else {
            if code == MDB_NOTFOUND { return false }
            throw LMDBError(code: code, operation: .delete)
        }
        return true
    }

    @discardableResult
    package mutating func delete(in table: Table, at key: UInt64) throws(LMDBError) -> Bool {
        try withKey(key) { (key) throws(LMDBError) in try delete(in: table, at: key) }
    }

    /// Removes every entry of the table, and keeps the table.
    package mutating func clear(_ table: Table) throws(LMDBError) {
        assert(owner.isOnItsThread, "a write transaction belongs to the thread that began it")
        try LMDBError.check(mdb_drop(handle, table.dbi, 0), .clear)
    }
}

/// What a write transaction shares with its cursors: whether it is still open, since its end closes them.
final class WriteOwner {
    let environment: Environment
    /// That of the transaction around this one.
    private let outer: WriteOwner?
    private(set) var isOpen = true
    private var hasNested = false
    var isNested: Bool { outer != nil }

    init(environment: Environment) {
        self.environment = environment
        outer = nil
    }

    private init(in outer: WriteOwner) {
        environment = outer.environment
        self.outer = outer
    }

    func makeNested() -> WriteOwner {
        hasNested = true
        return WriteOwner(in: self)
    }

    var isOnItsThread: Bool { environment.isWritingThread }

    /// Just before LMDB ends the transaction.
    func end() {
        // LMDB would end that one too, and its owner then again.
        precondition(!hasNested, "a transaction ends before those nested in it")
        if let outer { outer.hasNested = false } else { environment.writeTransactionEnds() }
        isOpen = false
    }
}
