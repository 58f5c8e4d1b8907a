package import Ledger

/// Where projections read events: the log that appends, or that of a stopped ledger.
package protocol EventSource: AnyObject, Sendable {
    var ledgerID: LedgerID { get }
    /// The position the next event will get.
    var end: Position { get }
    /// Until when who steps back is to stand still, on the monotonic clock; nil while there is no ``Rush``.
    func rushEnd(after now: UInt64) -> UInt64?
    /// Lends events from `from` on, each checked against its leaf hash. See `EventLog.read`.
    func read(
        from: Position, limit: Int, maxBytes: Int, _ body: (RecordView) throws -> Bool
    ) throws -> Position
    func onAppend(_ body: @escaping @Sendable (Position) -> Void) -> UInt64
    func removeOnAppend(_ token: UInt64)
}

extension EventSource {
    // Nobody appends.
    package func rushEnd(after now: UInt64) -> UInt64? { nil }
}

extension EventLog: EventSource {
    package func rushEnd(after now: UInt64) -> UInt64? { rush.end(after: now) }
}

extension StoppedLog: EventSource {
    // Nobody appends.
    package func onAppend(_ body: @escaping @Sendable (Position) -> Void) -> UInt64 { 0 }
    package func removeOnAppend(_ token: UInt64) {}
}
