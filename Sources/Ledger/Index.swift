import Glibc
import LMDB

/// The index: for each stream its newest row, for each event where its name is. A cache of the log, behind it by the
/// events of the overlay's tail.
///
/// Invariants:
/// - I1: its tables are a function of the log's events below `progress`, which is stored in the same transaction.
/// - I2: a transaction takes in at most `LedgerLimits.indexTransactionEventsMax` events, in key order.
/// - I3: every event below `progress` is in its stream's row (the newest 12) or in `older`, under its version and
///   under its name hash.
final class Index: Sendable {
    /// What computes the tables; another one than stored means: rebuild.
    static let fingerprint = "index/1"
    static let tableNames = ["rows", "older", "meta"]

    let cache: CacheEnvironment
    let tables: IndexTables
    let origin: CacheEnvironment.Origin
    let known: KnownStreams
    private let nestedEvents: Int
    private let residency = IndexResidency()

    var environment: Environment { cache.environment }

    /// Opens it by the STATE rule, or makes an empty one.
    init(directory: String, ledgerID: LedgerID, logEnd: UInt64, configuration: LogConfiguration) throws(LedgerError) {
        nestedEvents = configuration.indexNestedEvents
        do throws(CacheError) {
            (cache, origin) = try CacheEnvironment.open(
                directory: directory, ledgerID: ledgerID.description, fingerprint: Self.fingerprint,
                tables: Self.tableNames,
                options: Environment.Options(
                    mapSize: configuration.indexMapBytes, durability: .cache, readsSinglePages: true,
                    mayUseTmpfs: configuration.mayUseTmpfs),
                spaceStep: configuration.spaceStepBytes, bootID: configuration.bootID
            ) { environment in
                let tables = try IndexTables(environment)
                return try tables.progress(in: environment.beginRead()) <= logEnd
            }
            do throws(LMDBError) {
                tables = try IndexTables(cache.environment)
                let streams = try cache.environment.beginRead().count(of: tables.rows)
                known = KnownStreams(
                    streams: streams, whole: StreamFilterFile(of: cache.environment).take(streams: streams))
            } catch { throw .lmdb(error) }
        } catch {
            throw LedgerError(error)
        }
    }

    /// Has it in memory from now on, beside everything else.
    func startResidency() { residency.start(on: environment) }

    /// Closes it without a word to the next start, which judges it by its STATE. Nobody may use it any more.
    func close() {
        residency.stop()
        environment.close()
    }

    /// Closes it so that the next start finds it as it is now. Nobody may use it any more.
    func closeCleanly() throws(CacheError) {
        residency.stop()
        let file = StreamFilterFile(of: environment)
        try cache.closeCleanly()
        // The last, since it may be what fills the disk. Where it cannot be written, the next start fills the filter.
        if let filter = known.current, filter.isWhole { try? file.write(filter) }
    }

    func progress() throws(LedgerError) -> UInt64 {
        do throws(LMDBError) { return try tables.progress(in: environment.beginRead()) } catch {
            throw LedgerError(error)
        }
    }

    /// Goes on with the filter of the streams that the index has. On the thread that applies.
    /// - Returns: whether there is more to do.
    func fillKnown(rowsMax: Int) throws(LMDBError) -> Bool {
        try known.fill(from: tables.rows, of: environment, rowsMax: rowsMax)
    }

    // MARK: Following

    enum FollowError: Error {
        /// Nothing has changed; a later try may succeed.
        case full(String)
        /// The index cannot be believed or written any more.
        case broken(LedgerError)

        /// A full disk in the middle of a commit, where the space ahead did not cover it, is one too: without syncs the
        /// pages are written before the meta that would name them, so the index is as it was.
        init(_ error: LMDBError) {
            self = error.isMapFull || error.isDiskFull ? .full(error.description) : .broken(LedgerError(error))
        }
    }

    /// Takes in `events`, which begin at position `start`, and moves the progress behind them, in one transaction.
    ///
    /// - Parameter lifecycle: computes each event's state anew, as a rebuild does; nil: the events carry it.
    func apply(
        _ events: ContiguousArray<TailEvent>, from start: UInt64, log: LogReader, lifecycle: StreamLifecycle? = nil,
        faults: LogFaults? = nil
    ) throws(FollowError) {
        precondition(events.count <= LedgerLimits.indexTransactionEventsMax, "I2")
        // 1. By stream, and within one by position.
        var order = ContiguousArray((0..<events.count).lazy.map { Order(key: events[$0].key, index: UInt32($0)) })
        order.sort()

        // 2. Space for the worst case.
        do throws(FileError) {
            if let code = faults?.code(.indexSpace) {
                throw FileError(operation: "allocate space for", path: environment.directory, code: code)
            }
            try cache.reserveSpace(bytes: bytesAtWorst(events.count))
        } catch {
            throw error.isDiskFull ? .full(error.description) : .broken(LedgerError(error))
        }

        // 3. The rows, then what they pushed out, then the progress.
        defer { log.rest() }
        var batch = Batch(events: events, start: start, log: log, lifecycle: lifecycle)
        do throws(LMDBError) {
            var transaction = try environment.beginWrite()
            guard try tables.progress(in: transaction) == start else { throw batch.notAtItsProgress() }
            try inParts(order.count, of: &transaction) { (start, part) throws(LMDBError) in
                try put(&batch, order, from: start, in: &part)
            }
            known.insert(order.lazy.filter { events[Int($0.index)].version.rawValue == 1 }.map(\.key))
            batch.older.sort { $0.key < $1.key }
            let older = batch.older
            try inParts(older.count, of: &transaction) { (start, part) throws(LMDBError) in
                let entries = older[start...].prefix(nestedEvents)
                for entry in entries { try tables.add(entry.position, at: entry.key, in: &part) }
                return entries.endIndex
            }
            try tables.setProgress(start + UInt64(events.count), in: &transaction)
            if let code = faults?.code(.indexCommit) { throw LMDBError(code: code, operation: .commit) }
            try transaction.commit()
        } catch {
            if let problem = batch.problem { throw .broken(problem) }
            throw FollowError(error)
        }
    }

    /// Has `count` things written in parts, each in a nested transaction; what is one part needs none.
    /// - Parameter write: writes the part that begins at an index, and returns where the next one does.
    private func inParts(
        _ count: Int, of transaction: inout WriteTransaction,
        _ write: (Int, inout WriteTransaction) throws(LMDBError) -> Int
    ) throws(LMDBError) {
        var next = count > nestedEvents ? 0 : try write(0, &transaction)
        while next < count {
            var nested = try transaction.beginNested()
            next = try write(next, &nested)
            try nested.commit()
        }
    }

    /// Puts the rows of so many events, and of those of the last one's stream, that begin at `order[start]`.
    /// - Returns: where the others begin.
    private func put(
        _ batch: inout Batch, _ order: ContiguousArray<Order>, from start: Int, in transaction: inout WriteTransaction
    ) throws(LMDBError) -> Int {
        var cursor = try transaction.makeWriteCursor(on: tables.rows)
        let end = min(start + nestedEvents, order.count)
        var next = start
        while next < end {
            let key = order[next].key
            let begun = next
            // A stream that begins here has no row to be looked for: that its key is free is found out by the put.
            let begins = batch.events[Int(order[begun].index)].version.rawValue == 1
            try key.withBytes { (keyBytes) throws(LMDBError) in
                let stored = begins ? nil : try cursor.value(at: keyBytes)
                let row: IndexRow
                (row, next) = try batch.row(key, stored, order, next)
                try row.withBytes { (rowBytes) throws(LMDBError) in
                    // One that does not begin was found, or `row` has thrown.
                    guard begins else { return try cursor.replace(with: rowBytes, at: keyBytes) }
                    do throws(LMDBError) { try cursor.put(rowBytes, at: keyBytes, .insert) } catch
                        where error.isKeyExist
                    {
                        throw batch.beginsAgain(key, at: batch.start + UInt64(order[begun].index))
                    }
                }
            }
        }
        return next
    }

    /// An event touches a leaf page of `rows` and two of `older`, none more often than there are pages, a sixteenth of
    /// that of branch pages, and adds rows that at worst fill pages by half.
    private func bytesAtWorst(_ events: Int) -> Int {
        let info = environment.info
        let touched = min(3 * events, Int(info.lastPage) + 1) * Int(info.pageSize)
        return touched + touched / 16 + events * 2 * (IndexRow.bytesMax + 2 * 48) + 64 * Int(info.pageSize)
    }
}

private struct Order: Comparable {
    var key: StreamKey
    var index: UInt32

    static func < (left: Order, right: Order) -> Bool {
        left.key != right.key ? left.key < right.key : left.index < right.index
    }
}

/// The events of one transaction, and what they push out of their rows.
private struct Batch {
    let events: ContiguousArray<TailEvent>
    let start: UInt64
    let log: LogReader
    let lifecycle: StreamLifecycle?
    var older: [(key: OlderKey, position: UInt64)] = []
    /// What was wrong with the log or the index, where the error that ended the transaction is only a signal.
    var problem: LedgerError?

    init(events: ContiguousArray<TailEvent>, start: UInt64, log: LogReader, lifecycle: StreamLifecycle?) {
        self.events = events
        self.start = start
        self.log = log
        self.lifecycle = lifecycle
    }

    /// The row of `key` after its events, which begin at `order[next]`; and where the next stream begins.
    mutating func row(
        _ key: StreamKey, _ stored: UnsafeRawBufferPointer?, _ order: ContiguousArray<Order>, _ next: Int
    ) throws(LMDBError) -> (IndexRow, Int) {
        var next = next
        var row = IndexRow(first: start + UInt64(order[next].index))
        if let stored {
            guard let known = IndexRow(stored) else {
                throw wrong("the index has a row that is none", at: row.first)
            }
            row = known
        }
        while next < order.count, order[next].key == key {
            let position = start + UInt64(order[next].index)
            let event = events[Int(order[next].index)]
            guard event.version.rawValue == row.version + 1 else {
                throw wrong("version \(event.version) follows \(row.version) in stream \(key)", at: position)
            }
            var state = event.state
            if let lifecycle {
                switch lifecycle(row.version == 0 ? nil : row.state, event.type, event.variant, event.isBackfill) {
                case .next(let answer): state = answer
                case .refused(let reason):
                    throw wrong("the lifecycle refuses a stored event (reason \(reason))", at: position)
                }
            }
            if let leaving = row.append(tag: event.name.tag, position: position, state: state) {
                older.append((OlderKey(first: row.first, version: leaving.version), leaving.position))
                older.append((OlderKey(first: row.first, name: try name(at: leaving.position)), leaving.position))
            }
            next += 1
        }
        return (row, next)
    }

    /// The row keeps 32 bits of a name; all 96 are in this batch, or computed again from the record.
    private mutating func name(at position: UInt64) throws(LMDBError) -> NameHash {
        if position >= start { return events[Int(position - start)].name }
        do throws(LedgerError) {
            if let name = try log.nameHash(at: position) { return name }
        } catch {
            problem = error
        }
        throw wrong("the index names an event that cannot be read", at: position)
    }

    mutating func beginsAgain(_ key: StreamKey, at position: UInt64) -> LMDBError {
        wrong("version 1 in stream \(key), which has events already,", at: position)
    }

    mutating func notAtItsProgress() -> LMDBError { wrong("the index has not taken in the log up to here", at: start) }

    private mutating func wrong(_ what: String, at position: UInt64) -> LMDBError {
        problem = problem ?? .corruption(what, at: position)
        return LMDBError(code: EILSEQ, operation: .put)
    }
}

// MARK: - Tables

struct IndexTables: Sendable {
    let rows: Table
    let older: Table
    private let meta: Table

    /// Those that the making of the cache made. None is created here: that would be a commit before STATE says `open`.
    init(_ environment: Environment) throws(LMDBError) {
        func table(_ name: String) throws(LMDBError) -> Table {
            if let table = try environment.existingTable(named: name) { return table }
            throw LMDBError(code: EILSEQ, operation: .openTable, context: "the index has no table \(name)")
        }
        (rows, older, meta) = (try table("rows"), try table("older"), try table("meta"))
    }

    private static var progressKeyBytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer("progress") }

    /// 0 in an empty index.
    func progress<T: ReadingTransaction & ~Copyable>(in transaction: borrowing T) throws(LMDBError) -> UInt64 {
        guard let bytes = try transaction.unsafeValue(in: meta, at: Self.progressKeyBytes) else { return 0 }
        guard let progress = bytes.bigEndianUInt64 else { throw LMDBError(code: EILSEQ, operation: .get) }
        return progress
    }

    func setProgress(_ progress: UInt64, in transaction: inout WriteTransaction) throws(LMDBError) {
        try withKey(progress) { (bytes) throws(LMDBError) in
            try transaction.put(bytes, in: meta, at: Self.progressKeyBytes)
        }
    }

    func row<T: ReadingTransaction & ~Copyable>(
        of key: StreamKey, in transaction: borrowing T
    ) throws(LMDBError) -> UnsafeRawBufferPointer? {
        let rows = rows
        return try key.withBytes { (key) throws(LMDBError) in try transaction.unsafeValue(in: rows, at: key) }
    }

    /// Adds a position to an entry of `older`; there is one already only where unlike names have one hash.
    func add(_ position: UInt64, at key: OlderKey, in transaction: inout WriteTransaction) throws(LMDBError) {
        let older = older
        try key.withBytes { (key) throws(LMDBError) in
            let before = try transaction.bytes(copying: older, at: key) ?? []
            try transaction.reserve(before.count + 8, in: older, at: key) { value in
                value.copyBytes(from: before)
                value.storeBytes(of: position.bigEndian, toByteOffset: before.count, as: UInt64.self)
            }
        }
    }

    /// The stored positions at a key of `older`.
    func older<T: ReadingTransaction & ~Copyable>(
        at key: OlderKey, in transaction: borrowing T
    ) throws(LMDBError) -> UnsafeRawBufferPointer? {
        let older = older
        return try key.withBytes { (key) throws(LMDBError) in try transaction.unsafeValue(in: older, at: key) }
    }
}
