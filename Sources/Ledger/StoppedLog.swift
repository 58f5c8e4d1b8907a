import LMDB

/// The log of a ledger that no daemon has, opened read-only: what the checker compares read models with.
///
/// Hold the ``LedgerLock`` of the directory, in this process or its parent.
package final class StoppedLog: Sendable {
    let log: LogStore
    package let end: Position
    package var ledgerID: LedgerID { log.ledgerID }

    /// - Parameter directory: the ledger's, with `FORMAT` and `log/` in it.
    package init(directory: String, mayUseTmpfs: Bool = false) throws(LedgerError) {
        let path = LedgerDirectory.logPath(in: directory)
        guard try LedgerFormat.read(in: directory) != nil else {
            throw LedgerError(.format, "there is no FORMAT in \(directory)", path: directory)
        }
        let environment: Environment
        do throws(LMDBError) {
            environment = try Environment.open(
                directory: path,
                options: Environment.Options(
                    mapSize: LogConfiguration().logMapBytes, durability: .synced, readOnly: true,
                    mayUseTmpfs: mayUseTmpfs))
        } catch { throw LedgerError(error, path: path) }
        log = try LogStore(environment: environment)
        end = Position(rawValue: try log.findEnd().end)
    }

    /// See `EventLog.read`.
    package func read(
        from: Position, limit: Int, maxBytes: Int, _ body: (RecordView) throws -> Bool
    ) throws -> Position {
        let next = try log.scan(from: from.rawValue, limit: limit, bytesMax: maxBytes) { record, _ in try body(record) }
        return Position(rawValue: next)
    }
}
