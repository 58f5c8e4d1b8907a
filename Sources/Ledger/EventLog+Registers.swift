import LMDB

// Reading registers. A slice of a table is one snapshot: what a unit wrote is in it whole or not at all.

extension EventLog {
    /// Lends the registers whose keys begin with `prefix`, from `key` on, in key order, until `body` returns false.
    ///
    /// - Parameter body: `value` is nil where what is stored is not what was written; copy what must outlive the call.
    /// - Throws: `LedgerError`, or what `body` throws.
    package func registers(
        withPrefix prefix: [UInt8], from key: [UInt8]? = nil,
        _ body: (_ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer?) throws -> Bool
    ) throws {
        try log.scanRegisters(withPrefix: prefix, from: key, body)
    }
}

extension StoppedLog {
    /// See `EventLog.registers(withPrefix:from:_:)`.
    package func registers(
        withPrefix prefix: [UInt8],
        _ body: (_ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer?) throws -> Bool
    ) throws {
        try log.scanRegisters(withPrefix: prefix, from: nil, body)
    }
}

extension LogStore {
    func scanRegisters(
        withPrefix prefix: [UInt8], from start: [UInt8]?,
        _ body: (_ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer?) throws -> Bool
    ) throws {
        // A ledger that never had a register has no table.
        guard let table = registers else { return }
        let transaction: ReadTransaction
        do throws(LMDBError) { transaction = try environment.beginRead() } catch { throw LedgerError(error) }
        var cursor: Cursor
        do throws(LMDBError) { cursor = try transaction.makeCursor(on: table) } catch { throw LedgerError(error) }
        var found: Cursor.Entry?
        do throws(LMDBError) {
            let first = start ?? prefix
            found =
                if first.isEmpty { try cursor.first() } else {
                    try first.withBytes { (key) throws(LMDBError) in try cursor.seek(to: key) }
                }
        } catch { throw LedgerError(error) }
        while let entry = found, entry.key.starts(with: prefix),
            // What `body` throws is the caller's, and goes through as it is.
            try body(entry.key, RegisterValue.opened(entry.key, entry.value))
        {
            do throws(LMDBError) { found = try cursor.next() } catch { throw LedgerError(error) }
        }
    }
}
