import CLMDB

/// A place in a table of a write transaction, for looking up entries and changing them where they were found.
///
/// It is for going through many keys of one table in their order: a key on the page of the one before is found without a search
/// from the root, and changing an entry that was just found needs no second search.
///
/// ```swift
/// var cursor = try transaction.makeWriteCursor(on: table)
/// for key in sortedKeys {
///     if let value = try cursor.value(at: key) { try cursor.replace(with: changed(value), at: key) }
///     else { try cursor.put(fresh, at: key) }
/// }
/// ```
///
/// Other tables may be written meanwhile; this one only through the cursor. It must not be used after its transaction ended:
/// Swift cannot yet say so in its type. Going away late is fine.
package struct WriteCursor: ~Copyable {
    private let handle: OpaquePointer
    private let owner: WriteOwner
    /// Whether the cursor stands on the entry that the last look-up has found.
    private var isOnEntry = false

    init(on table: Table, in transaction: borrowing WriteTransaction) throws(LMDBError) {
        var cursor: OpaquePointer?
        let code = mdb_cursor_open(transaction.handle, table.dbi, &cursor)
        guard code == MDB_SUCCESS, let cursor else { throw LMDBError(code: code, operation: .cursor) }
        handle = cursor
        owner = transaction.owner
    }

    deinit {
        // The end of a write transaction frees its cursors.
        if owner.isOpen { mdb_cursor_close(handle) }
    }

    /// The value at `key`, or nil. The bytes hold until the transaction's next write, to any table.
    package mutating func value(at key: UnsafeRawBufferPointer) throws(LMDBError) -> UnsafeRawBufferPointer? {
        guard 1...Table.keyBytesMax ~= key.count else { throw LMDBError(code: MDB_BAD_VALSIZE, operation: .get) }
        var keyBytes = MDB_val(key)
        var value = MDB_val()
        let code = mdb_cursor_get(handle, &keyBytes, &value, MDB_SET)
        isOnEntry = code == MDB_SUCCESS
        guard isOnEntry else {
            if code == MDB_NOTFOUND { return nil }
            throw LMDBError(code: code, operation: .get)
        }
        return UnsafeRawBufferPointer(value)
    }

    /// Replaces the value that ``value(at:)`` has just found at this key. `value` must not lie in the transaction's pages.
    package mutating func replace(
        with value: UnsafeRawBufferPointer, at key: UnsafeRawBufferPointer
    ) throws(LMDBError) {
        precondition(isOnEntry, "an entry is replaced after it was found")
        try put(value, key, UInt32(MDB_CURRENT))
    }

    /// Adds the entry, or does what else `placement` says where there is one at that key.
    package mutating func put(
        _ value: UnsafeRawBufferPointer, at key: UnsafeRawBufferPointer, _ placement: Placement = .replace
    ) throws(LMDBError) {
        try put(value, key, placement.flags)
    }

    private mutating func put(
        _ value: UnsafeRawBufferPointer, _ key: UnsafeRawBufferPointer, _ flags: UInt32
    ) throws(LMDBError) {
        assert(owner.isOnItsThread, "a write transaction belongs to the thread that began it")
        isOnEntry = false
        var keyBytes = MDB_val(key)
        var valueBytes = MDB_val(value)
        let code = mdb_cursor_put(handle, &keyBytes, &valueBytes, flags)
        guard code == MDB_SUCCESS else { throw LMDBError(code: code, operation: .put) }
    }
}

extension WriteTransaction {
    package func makeWriteCursor(on table: Table) throws(LMDBError) -> WriteCursor {
        try WriteCursor(on: table, in: self)
    }
}
