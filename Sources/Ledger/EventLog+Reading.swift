import LMDB

// Reading. Every record is checked against its leaf hash, its place and its layout before anyone sees it; what is wrong
// is thrown as `corruption`, with the position. Bytes a record lends hold only within the closure: copy out what must
// outlive it.

extension EventLog {
    /// Lends the events from `from` on, in order, until `body` returns false, `limit` or `maxBytes` is reached, or the log
    /// ends. A call is one slice: at most 10,000 events or 50 ms, since it keeps pages from reuse. Go on with another.
    ///
    /// - Returns: the position to go on from, after the last event that `body` saw.
    /// - Throws: `LedgerError`, or what `body` throws.
    package func read(
        from: Position, limit: Int, maxBytes: Int, _ body: (RecordView) throws -> Bool
    ) throws -> Position {
        let next = try log.scan(
            from: from.rawValue, limit: min(limit, LedgerLimits.sliceEventsMax), bytesMax: maxBytes,
            milliseconds: LedgerLimits.sliceMilliseconds
        ) { record, _ in try body(record) }
        return Position(rawValue: next)
    }

    /// Lends one event; nil when the log does not reach that far.
    @discardableResult
    package func record<R>(at position: Position, _ body: (RecordView) throws -> R) throws -> R? {
        let transaction = try beginRead()
        guard let found = try log.record(at: position.rawValue, in: transaction) else { return nil }
        return try body(found.record)
    }

    /// The leaf hash stored for an event; nil when the log does not reach that far.
    package func leaf(at position: Position) throws(LedgerError) -> LeafHash? {
        let transaction = try beginRead()
        do throws(LMDBError) { return try log.leaves.leaf(at: position.rawValue, in: transaction) } catch {
            throw LedgerError(error)
        }
    }

    private func beginRead() throws(LedgerError) -> ReadTransaction {
        do throws(LMDBError) { return try log.environment.beginRead() } catch { throw LedgerError(error) }
    }

    // MARK: Streams

    /// The newest row of a stream, everything answered so far included; nil when it has no events.
    package func stream(_ key: StreamKey) throws(LedgerError) -> StreamRow? {
        while true {
            let snapshot = try IndexSnapshot(index: index, log: log)
            let (row, floor) = overlay.currentRow(of: key)
            if let row { return row }
            // The overlay has forgotten what this snapshot does not know yet: a newer one does.
            if snapshot.progress.rawValue >= floor { return try snapshot.row(of: key) }
        }
    }

    /// Events of the tail looked at while the appender has to wait.
    private static let tailStep = 1_024

    /// The positions of a stream's events from `version` on, oldest first, at most `limit`.
    package func positions(
        of key: StreamKey, from version: StreamVersion, limit: Int
    ) throws(LedgerError) -> [Position] {
        let first = max(version.rawValue, 1)
        guard limit > 0 else { return [] }
        let last = first.addingReportingOverflow(UInt64(limit) - 1)
        attempt: while true {
            // 1. What the index knows.
            let snapshot = try IndexSnapshot(index: index, log: log)
            var positions = try snapshot.positions(
                of: key, versions: first...(last.overflow ? .max : last.partialValue))
            let wanted = first + UInt64(positions.count)
            let known = try snapshot.row(of: key)?.version.rawValue ?? 0
            let (row, floor) = overlay.currentRow(of: key)
            guard floor <= snapshot.progress.rawValue else { continue }
            guard let row, row.version.rawValue >= wanted, wanted > known, positions.count < limit else {
                return positions
            }

            // 2. Back through the tail to the first version it does not, in steps that hold up the appender little.
            var newer: [Position] = []
            var next = row.last.rawValue
            while true {
                let reached = overlay.walkBack(from: next, limit: Self.tailStep) { position, event in
                    guard event.version.rawValue >= wanted else { return false }
                    newer.append(Position(rawValue: position))
                    // No step beyond it: the event before may be older than the tail, and is the index's.
                    return event.version.rawValue > wanted
                }
                guard let reached else { break }
                // Trimmed meanwhile: the index knows these by now.
                if reached == TailEvent.none { continue attempt }
                next = reached
            }
            positions += newer.reversed().prefix(limit - positions.count)
            return positions
        }
    }
}
