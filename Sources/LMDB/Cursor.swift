import CLMDB

/// A place in a table, and steps from it in key order, forwards and backwards.
///
/// It must not be used after its transaction ended or was reset, nor after a write of its transaction: Swift cannot
/// yet say so in its type. Going away late is fine.
package struct Cursor: ~Copyable {
    /// The key and value of an entry, in the map: how long they hold, ``ReadingTransaction`` says.
    package struct Entry {
        package let key: UnsafeRawBufferPointer
        package let value: UnsafeRawBufferPointer

        init(key: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer) {
            self.key = key
            self.value = value
        }
    }

    let handle: OpaquePointer
    private let owner: WriteOwner?

    private init(handle: OpaquePointer, owner: WriteOwner?) {
        self.handle = handle
        self.owner = owner
    }

    deinit {
        // The end of a write transaction frees its cursors. Those of a read transaction are ours to free, at any time.
        if let owner, !owner.isOpen { return }
        mdb_cursor_close(handle)
    }

    static func open(_ transaction: OpaquePointer, _ table: Table, in owner: WriteOwner?) throws(LMDBError) -> Cursor {
        var cursor: OpaquePointer?
        let code = mdb_cursor_open(transaction, table.dbi, &cursor)
        guard code == MDB_SUCCESS, let cursor else { throw LMDBError(code: code, operation: .cursor) }
        return Cursor(handle: cursor, owner: owner)
    }

    package mutating func first() throws(LMDBError) -> Entry? { try step(MDB_FIRST) }
    package mutating func last() throws(LMDBError) -> Entry? { try step(MDB_LAST) }

    /// The next entry; the first one on a fresh cursor.
    package mutating func next() throws(LMDBError) -> Entry? { try step(MDB_NEXT) }

    /// The entry before; the last one on a fresh cursor.
    package mutating func previous() throws(LMDBError) -> Entry? { try step(MDB_PREV) }

    /// The first entry whose key is `key` or greater. `next()` goes on from there.
    package mutating func seek(to key: UnsafeRawBufferPointer) throws(LMDBError) -> Entry? {
        guard 1...Table.keyBytesMax ~= key.count else { throw LMDBError(code: MDB_BAD_VALSIZE, operation: .cursor) }
        return try step(MDB_SET_RANGE, MDB_val(key))
    }

    package mutating func seek(to key: UInt64) throws(LMDBError) -> Entry? {
        try withKey(key) { (key) throws(LMDBError) in try step(MDB_SET_RANGE, MDB_val(key)) }
    }

    /// The last entry whose key is less than `key`. `previous()` goes on from there.
    package mutating func seek(before key: UnsafeRawBufferPointer) throws(LMDBError) -> Entry? {
        try seek(to: key) == nil ? last() : previous()
    }

    package mutating func seek(before key: UInt64) throws(LMDBError) -> Entry? {
        try seek(to: key) == nil ? last() : previous()
    }

    mutating func step(_ operation: MDB_cursor_op, _ from: MDB_val = MDB_val()) throws(LMDBError) -> Entry? {
        var key = from
        var value = MDB_val()
        let code = mdb_cursor_get(handle, &key, &value, operation)
        guard code == MDB_SUCCESS else {
            if code == MDB_NOTFOUND { return nil }
            throw LMDBError(code: code, operation: .cursor)
        }
        return Entry(key: UnsafeRawBufferPointer(key), value: UnsafeRawBufferPointer(value))
    }
}

extension ReadingTransaction where Self: ~Copyable {
    /// Lends each entry from `key` on (from the first when nil) to `body`, in key order, until it returns false.
    package func forEach(
        in table: Table, from key: UnsafeRawBufferPointer? = nil, _ body: (_ key: RawSpan, _ value: RawSpan) -> Bool
    ) throws(LMDBError) {
        var cursor = try makeCursor(on: table)
        var entry = if let key { try cursor.seek(to: key) } else { try cursor.first() }
        while let found = entry, body(found.key.bytes, found.value.bytes) { entry = try cursor.next() }
    }
}
