import LMDB
import Synchronization

/// What the index and the log knew at one moment, for look-ups off the appender's thread.
///
/// Each event loop has one: `renew()` before a batch of lines, `reset()` after it. It must not outlive the log's close.
///
/// ```swift
/// var snapshot = try log.makeIndexSnapshot()
/// try snapshot.renew()
/// log.prepare(unit, using: &snapshot)
/// snapshot.reset()
/// ```
package struct IndexSnapshot: ~Copyable {
    private let index: Index
    private let log: LogStore
    private var indexTransaction: ReadTransaction
    /// Renewed only when a look-up finds something to compare with: a lead's first event costs no second snapshot.
    private var logTransaction: ReadTransaction
    private var logIsActive = false
    /// Which streams the index has, as of this snapshot or later (K1).
    private var filter: StreamFilter?
    /// False after `reset()`, and after a `renew()` that failed.
    private(set) var isActive = true
    /// Everything below it is in this snapshot.
    package private(set) var progress: Position

    init(index: Index, log: LogStore) throws(LedgerError) {
        do throws(LMDBError) {
            let indexTransaction = try index.environment.beginRead()
            let progress = try index.tables.progress(in: indexTransaction)
            var logTransaction = try log.environment.beginRead()
            logTransaction.reset()
            self.init(index, log, indexTransaction, logTransaction, Position(rawValue: progress))
        } catch { throw LedgerError(error) }
    }

    private init(
        _ index: Index, _ log: LogStore, _ indexTransaction: consuming ReadTransaction,
        _ logTransaction: consuming ReadTransaction, _ progress: Position
    ) {
        self.index = index
        self.log = log
        self.indexTransaction = indexTransaction
        self.logTransaction = logTransaction
        self.progress = progress
    }

    /// Takes a new snapshot, of now.
    package mutating func renew() throws(LedgerError) {
        isActive = false
        do throws(LMDBError) {
            logIsActive = false
            logTransaction.reset()
            try indexTransaction.renew()
            progress = Position(rawValue: try index.tables.progress(in: indexTransaction))
            atomicMemoryFence(ordering: .sequentiallyConsistent)
            filter = index.known.current
            isActive = true
        } catch { throw LedgerError(error) }
    }

    /// Gives the snapshot up, so that it keeps no pages from reuse.
    package mutating func reset() {
        indexTransaction.reset()
        logTransaction.reset()
        logIsActive = false
        isActive = false
    }

    private mutating func activateLog() throws(LedgerError) {
        guard !logIsActive else { return }
        do throws(LMDBError) { try logTransaction.renew() } catch { throw LedgerError(error) }
        logIsActive = true
    }

    // MARK: Look-ups

    /// Units ahead of the one that is looked up whose streams are fetched from the filter. By taste.
    private static let fetchedAhead = 8

    /// Looks units up one after the other, as far as that goes: of those behind an error nothing is known.
    mutating func lookUp(_ units: [AppendUnit]) throws(LedgerError) {
        for index in units.indices {
            let ahead = index + Self.fetchedAhead
            if let filter, ahead < units.count {
                units.lend(at: ahead) { unit in
                    if let stream = unit.streams.first { filter.fetch(stream.key) }
                }
            }
            try lookUp(units[index])
        }
    }

    /// Fills in what is known of each stream and each name of the unit.
    mutating func lookUp(_ unit: AppendUnit) throws(LedgerError) {
        precondition(isActive, "a snapshot that was reset knows nothing")
        unit.lookupProgress = nil
        // Most units are about one stream, whose row need not be looked up again.
        var row: UnsafeRawBufferPointer?
        for stream in unit.streams.indices {
            let key = unit.streams[stream].key
            row = nil
            unit.streams[stream].row = nil
            if let filter, !filter.mayHave(key) { continue }
            row = try rowBytes(of: key)
            unit.streams[stream].row = try row.map { bytes throws(LedgerError) in try Self.summary(bytes) }
        }
        let isOneStream = unit.streams.count == 1
        for event in unit.slots.indices {
            unit.slots[event].storedAt = nil
            guard let summary = unit.streams[unit.slots[event].stream].row else { continue }
            guard let bytes = isOneStream ? row : try rowBytes(of: unit.slots[event].key) else { continue }
            unit.slots[event].storedAt = try position(of: unit, event, summary, bytes)
        }
        unit.lookupProgress = progress.rawValue
    }

    /// Where an event of the same name as event `index` of `unit` is stored.
    private mutating func position(
        of unit: AppendUnit, _ index: Int, _ row: StreamRow, _ bytes: UnsafeRawBufferPointer
    ) throws(LedgerError) -> UInt64? {
        let name = unit.slots[index].name
        // 1. The newest, by 32 bits of their name.
        for slot in 0..<Int(min(row.version.rawValue, IndexRow.recentsMax)) {
            let recent = IndexRow.recent(slot, in: bytes)
            if recent.tag == name.tag, try hasName(of: unit, index, recent.position) { return recent.position }
        }
        // 2. The older ones, by all 96.
        guard row.version.rawValue > IndexRow.recentsMax else { return nil }
        let positions: UnsafeRawBufferPointer?
        do throws(LMDBError) {
            positions = try self.index.tables.older(
                at: OlderKey(first: row.first.rawValue, name: name), in: indexTransaction)
        } catch { throw LedgerError(error) }
        guard let positions else { return nil }
        for offset in stride(from: 0, to: positions.count & ~7, by: 8) {
            let position: UInt64 = positions.bigEndian(at: offset)
            if try hasName(of: unit, index, position) { return position }
        }
        return nil
    }

    /// Whether the event stored at `position` has the very name of event `index` of `unit`.
    private mutating func hasName(of unit: AppendUnit, _ index: Int, _ position: UInt64) throws(LedgerError) -> Bool {
        try activateLog()
        guard let stored = try log.record(at: position, in: logTransaction) else {
            throw .corruption("the index names an event that is not in the log", at: position)
        }
        return stored.record.hasSameName(as: unit.record(index))
    }

    /// The row of a stream, as of this snapshot.
    package func row(of key: StreamKey) throws(LedgerError) -> StreamRow? {
        guard let bytes = try rowBytes(of: key) else { return nil }
        return try Self.summary(bytes)
    }

    /// The positions of a stream's events `versions`, as far as this snapshot knows them.
    func positions(of key: StreamKey, versions: ClosedRange<UInt64>) throws(LedgerError) -> [Position] {
        guard let bytes = try rowBytes(of: key), let row = IndexRow(bytes) else { return [] }
        var positions: [Position] = []
        var version = max(versions.lowerBound, 1)
        let end = min(versions.upperBound, row.version)
        // 1. Those pushed out of the row, which lie side by side in `older`.
        if version <= end, version < row.oldestRecent {
            do throws(LMDBError) {
                var cursor = try indexTransaction.makeCursor(on: index.tables.older)
                var entry = try OlderKey(first: row.first, version: version).withBytes { (key) throws(LMDBError) in
                    try cursor.seek(to: key)
                }
                while version <= end, version < row.oldestRecent {
                    guard let found = entry, found.key.count == 17, found.key.bigEndian(at: 9) == version,
                        let position = found.value.bigEndianUInt64
                    else { throw LedgerError.indexIncomplete }
                    positions.append(Position(rawValue: position))
                    version += 1
                    entry = try cursor.next()
                }
            } catch {
                guard error == LedgerError.indexIncomplete else { throw LedgerError(error) }
                throw .corruption("the index has lost version \(version) of stream \(key)", at: row.first)
            }
        }
        // 2. The newest.
        while version <= end {
            positions.append(Position(rawValue: row.recents[IndexRow.slot(ofVersion: version)].position))
            version += 1
        }
        return positions
    }

    private func rowBytes(of key: StreamKey) throws(LedgerError) -> UnsafeRawBufferPointer? {
        do throws(LMDBError) { return try index.tables.row(of: key, in: indexTransaction) } catch {
            throw LedgerError(error)
        }
    }

    private static func summary(_ bytes: UnsafeRawBufferPointer) throws(LedgerError) -> StreamRow {
        guard let row = IndexRow.summary(bytes) else {
            throw LedgerError(.corruption, "the index has a row that is none")
        }
        return row
    }
}

extension LedgerError {
    /// Never LMDB's own: a signal out of a block of its calls.
    fileprivate static let indexIncomplete = LMDBError(code: -1, operation: .cursor)
}
