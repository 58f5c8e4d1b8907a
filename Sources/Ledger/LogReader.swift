import LMDB

/// Single checked reads of the log by a thread of the log's own.
///
/// It keeps one reader for itself: where all others are lent, those who serve them wait, and the log must not.
final class LogReader {
    let log: LogStore
    private var transaction: ReadTransaction
    private var isActive = false

    init(_ log: LogStore) throws(LedgerError) {
        self.log = log
        do throws(LMDBError) { transaction = try log.environment.beginRead() } catch { throw LedgerError(error) }
        transaction.reset()
    }

    /// The name hash of the event at `position`; nil when the log does not reach that far.
    func nameHash(at position: UInt64) throws(LedgerError) -> NameHash? {
        if !isActive {
            do throws(LMDBError) { try transaction.renew() } catch { throw LedgerError(error) }
            isActive = true
        }
        return try log.record(at: position, in: transaction)?.record.nameHash
    }

    /// Gives the snapshot up: the next read takes a new one.
    func rest() {
        transaction.reset()
        isActive = false
    }
}
