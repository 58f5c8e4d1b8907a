package import Ledger
import LMDB

/// Where projections read events: the log that appends, or that of a stopped ledger.
package protocol EventSource: AnyObject, Sendable {
    var ledgerID: LedgerID { get }
    /// The position the next event will get.
    var end: Position { get }
    /// Lends events from `from` on, each checked against its leaf hash. See `EventLog.read`.
    func read(
        from: Position, limit: Int, maxBytes: Int, _ body: (RecordView) throws -> Bool
    ) throws -> Position
    func onAppend(_ body: @escaping @Sendable (Position) -> Void) -> UInt64
    func removeOnAppend(_ token: UInt64)
}

extension EventLog: EventSource {}

/// The log of a ledger that no daemon has, opened read-only: what the checker compares read models with.
///
/// Hold the ``LedgerLock`` of the directory, in this process or its parent.
package final class StoppedLog: EventSource {
    private let environment: Environment
    private let records: Table
    private let leaves: Table
    package let ledgerID: LedgerID
    package let end: Position

    /// - Parameter directory: the ledger's, with `FORMAT` and `log/` in it.
    package init(directory: String, mayUseTmpfs: Bool = false) throws(LedgerError) {
        let path = directory + "/log"
        guard let format = try LedgerFormat.read(in: directory) else {
            throw LedgerError(.format, "there is no FORMAT in \(directory)", path: directory)
        }
        ledgerID = format.ledgerID
        do throws(LMDBError) {
            environment = try Environment.open(
                directory: path,
                options: Environment.Options(
                    mapSize: LogConfiguration().logMapBytes, durability: .synced, readOnly: true,
                    mayUseTmpfs: mayUseTmpfs))
            let tables = try environment.openTables("records", "leaves")
            (records, leaves) = (tables[0], tables[1])
            let transaction = try environment.beginRead()
            end = Position(rawValue: UInt64(try transaction.count(of: records)))
        } catch {
            throw LedgerError(.io, "the log cannot be opened: \(error)", path: path, underlying: error)
        }
    }

    package func read(
        from: Position, limit: Int, maxBytes: Int, _ body: (RecordView) throws -> Bool
    ) throws -> Position {
        var next = from.rawValue
        var bytes = 0
        try environment.read { transaction in
            while next - from.rawValue < UInt64(limit), bytes < maxBytes,
                let record = try transaction.unsafeValue(in: records, at: next)
            {
                guard let leaf = try transaction.unsafeValue(in: leaves, at: next), LeafHash(bytes: leaf) == LeafHash(of: record)
                else { throw corruption("a stored event's leaf hash differs", at: next) }
                let view = try RecordView(validating: record)
                guard view.position.rawValue == next else { throw corruption("an event is in the place of another", at: next) }
                next += 1
                bytes += record.count
                guard try body(view) else { return }
            }
        }
        return Position(rawValue: next)
    }

    private func corruption(_ what: String, at position: UInt64) -> LedgerError {
        LedgerError(.corruption, what, position: Position(rawValue: position))
    }

    // Nobody appends.
    package func onAppend(_ body: @escaping @Sendable (Position) -> Void) -> UInt64 { 0 }
    package func removeOnAppend(_ token: UInt64) {}
}
