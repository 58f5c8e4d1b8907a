import CLMDB
import Glibc
import Synchronization

/// An LMDB environment: a directory with `data.mdb` and `lock.mdb`, one writer at a time, any number of snapshots.
///
/// It is opened once a process, by one process, always with MDB_NOTLS, so that a snapshot belongs to its owner and
/// not to a thread. MDB_WRITEMAP is never used (a full disk would be a SIGBUS), and the map size never changes
/// while the environment is open (LMDB would move the map below live readers).
///
/// ```swift
/// let environment = try Environment.open(directory: path, options: .init(mapSize: 1 << 30, durability: .synced))
/// let tables = try environment.openTables("records", "leaves")
/// try environment.write { transaction in try transaction.put(bytes, in: tables[0], at: 7 as UInt64, .append) }
/// let transaction = try environment.beginRead()
/// let size = transaction.withValue(in: tables[0], at: 7 as UInt64) { span in span.byteCount }  // nil: not there
/// ```
///
/// It closes when the last reference to it goes, its transactions' included, or at ``close()``.
///
/// Invariants:
/// - E1: an inode of `data.mdb` is open at most once in this process (`OpenEnvironments`).
/// - E2: `lock.mdb` is allocated to its full size before LMDB maps it.
/// - E3: the file is at least as long as its last page says, at open and after each commit.
/// - E4: at most `readersPooled` read transactions are lent at once; a thread holds at most one write transaction,
///   and those nested in it.
// Sendable: `handle` is LMDB's, which locks for itself; all mutable state is in Mutex and Atomic.
package final class Environment: @unchecked Sendable {
    /// When a commit is durable.
    package enum Durability: Sendable {
        /// Every commit is flushed before it returns. The only setting for a log.
        case synced
        /// MDB_NOSYNC: survives a kill of the process, not of the system. Only for what can be rebuilt.
        case cache
    }

    package struct Options: Sendable {
        /// Address space, in bytes, that the file may ever fill. Costs nothing until used. See `effectiveMapSize`.
        package var mapSize: Int
        package var durability: Durability
        package var readOnly: Bool
        /// MDB_NORDAHEAD: a page that is not in memory is read alone, and not with as many around it as the device reads ahead. For files
        /// that are looked up at random.
        package var readsSinglePages: Bool
        /// Tests may live on tmpfs, where nothing survives a restart.
        package var mayUseTmpfs: Bool
        package var maxReaders: UInt32
        package var maxTables: UInt32

        package init(
            mapSize: Int, durability: Durability, readOnly: Bool = false, readsSinglePages: Bool = false,
            mayUseTmpfs: Bool = false, maxReaders: UInt32 = 256, maxTables: UInt32 = 16
        ) {
            self.mapSize = mapSize
            self.durability = durability
            self.readOnly = readOnly
            self.readsSinglePages = readsSinglePages
            self.mayUseTmpfs = mayUseTmpfs
            self.maxReaders = maxReaders
            self.maxTables = maxTables
        }
    }

    package struct Info: Sendable {
        /// Bytes of address space given at open: `mapSize`, or less where address space is short.
        package var mapSize: UInt64
        package var pageSize: UInt64
        package var lastPage: UInt64
        package var lastTransaction: UInt64
        package var readersMax: Int
        package var readersInUse: Int

        /// Bytes of the file that hold pages, free ones included.
        package var usedBytes: UInt64 { (lastPage + 1) * pageSize }
    }

    /// Read transactions lent at once, resting long-lived ones included. Chosen by taste: far below `maxReaders`, far
    /// above the threads that read.
    package static let readersPooled = 32

    package let directory: String
    package let options: Options
    /// The descriptor LMDB writes pages through: for what the kernel is told and asked of the file; nobody writes through it.
    package let fileDescriptor: Int32
    package let fileIdentity: FileIdentity

    let handle: OpaquePointer
    let pageSize: UInt64
    private let readers = Mutex(ReaderPool())
    private let isClosed = Atomic<Bool>(false)
    /// The thread in a write transaction, or 0.
    private let writingThread = Atomic<UInt>(0)
    /// Whether the open write transaction has opened a table: see `existingTable(named:)`.
    private let isOpeningTable = Atomic<Bool>(false)
    /// Bytes the file is known to have (E3).
    private let fileBytesKnown = Atomic<UInt64>(0)

    /// Adopts what `open` has opened and checked.
    init(handle: OpaquePointer, directory: String, options: Options, fileDescriptor: Int32, identity: FileIdentity) {
        self.handle = handle
        self.directory = directory
        self.options = options
        self.fileDescriptor = fileDescriptor
        self.fileIdentity = identity
        var stat = MDB_stat()
        // Cannot fail for an environment that is open.
        _ = mdb_env_stat(handle, &stat)
        self.pageSize = UInt64(stat.ms_psize)
    }

    deinit { close() }

    /// Closes now rather than with the last reference. Every transaction must have ended; a second call does nothing.
    package func close() {
        guard isClosed.compareExchange(expected: false, desired: true, ordering: .sequentiallyConsistent).exchanged
        else { return }
        precondition(writingThread.load(ordering: .acquiring) == 0, "closed with an open write transaction")
        let idle = readers.withLock { pool in
            precondition(pool.lentCount == 0, "closed with \(pool.lentCount) open read transactions")
            return pool.takeAll()
        }
        for reader in idle { mdb_txn_abort(reader.pointer) }
        OpenEnvironments.close(handle, identity: fileIdentity)
    }

    // MARK: Transactions

    /// Begins a snapshot of what is committed. It ends, and its slot is reused, when the returned value goes.
    ///
    /// Refuses with MDB_READERS_FULL beyond `readersPooled`: at once, since only the caller knows how long to wait.
    package func beginRead() throws(LMDBError) -> ReadTransaction {
        precondition(!isClosed.load(ordering: .relaxed), "the environment is closed")
        let idle: ReaderPool.Handle?
        switch readers.withLock({ $0.lend() }) {
        case .refused: throw LMDBError(code: MDB_READERS_FULL, operation: .beginRead)
        case .lent(let reader): idle = reader
        }
        if let idle {
            let code = mdb_txn_renew(idle.pointer)
            if code == MDB_SUCCESS { return ReadTransaction(environment: self, handle: idle.pointer) }
            takeBack(idle.pointer, isUsable: false)
            throw LMDBError(code: code, operation: .renew)
        }
        var transaction: OpaquePointer?
        let code = mdb_txn_begin(handle, nil, UInt32(MDB_RDONLY), &transaction)
        guard code == MDB_SUCCESS, let transaction else {
            readers.withLock { $0.lentCount -= 1 }
            throw LMDBError(code: code, operation: .beginRead)
        }
        return ReadTransaction(environment: self, handle: transaction)
    }

    /// Runs `body` on a snapshot. Synchronous on purpose: no `await` while a snapshot keeps pages from reuse.
    package func read<R: ~Copyable>(_ body: (borrowing ReadTransaction) throws -> R) throws -> R {
        let transaction = try beginRead()
        return try body(transaction)
    }

    /// Read transactions lent at the moment, resting ones included.
    package var readersLent: Int { readers.withLock { $0.lentCount } }

    /// Takes a reset reader back into the pool, or ends one that is of no use any more.
    func takeBack(_ reader: OpaquePointer, isUsable: Bool) {
        if !isUsable { mdb_txn_abort(reader) }
        readers.withLock { $0.takeBack(isUsable ? ReaderPool.Handle(pointer: reader) : nil) }
    }

    /// Begins the write transaction, after that of any other thread has ended.
    ///
    /// It belongs to the calling thread until it ends (LMDB's writer lock is a mutex of that thread).
    package func beginWrite() throws(LMDBError) -> WriteTransaction {
        precondition(!isClosed.load(ordering: .relaxed), "the environment is closed")
        let thread = UInt(pthread_self())
        precondition(
            writingThread.load(ordering: .relaxed) != thread,
            "this thread has a write transaction open: it would wait for itself")
        var transaction: OpaquePointer?
        let code = mdb_txn_begin(handle, nil, 0, &transaction)
        guard code == MDB_SUCCESS, let transaction else { throw LMDBError(code: code, operation: .beginWrite) }
        writingThread.store(thread, ordering: .relaxed)
        return WriteTransaction(environment: self, handle: transaction)
    }

    /// Runs `body` in a write transaction and commits it, unless `body` throws.
    package func write<R: ~Copyable>(_ body: (inout WriteTransaction) throws -> R) throws -> R {
        var transaction = try beginWrite()
        let result = try body(&transaction)
        try transaction.commit()
        return result
    }

    /// Called just before the write transaction ends, while its thread still holds the writer lock.
    func writeTransactionEnds() {
        precondition(
            writingThread.load(ordering: .relaxed) == UInt(pthread_self()),
            "a write transaction ends on the thread that began it")
        isOpeningTable.store(false, ordering: .releasing)
        writingThread.store(0, ordering: .releasing)
    }

    func writeTransactionOpensTable() { isOpeningTable.store(true, ordering: .releasing) }

    var isWritingThread: Bool { writingThread.load(ordering: .relaxed) == UInt(pthread_self()) }

    /// Keeps E3 after a commit. Pages that a transaction took at the end of the file and gave up again are counted
    /// by LMDB but never written, so a sound file could look cut short at the next open.
    func coverLastPage() throws(LMDBError) {
        let needed = info.usedBytes
        guard needed > fileBytesKnown.load(ordering: .relaxed) else { return }
        var status = Glibc.stat()
        guard fstat(fileDescriptor, &status) == 0 else { throw LMDBError(code: errno, operation: .commit) }
        if UInt64(status.st_size) < needed {
            guard ftruncate(fileDescriptor, off_t(needed)) == 0 else {
                throw LMDBError(code: errno, operation: .commit)
            }
        }
        fileBytesKnown.store(max(needed, UInt64(status.st_size)), ordering: .relaxed)
    }

    // MARK: Tables

    /// Opens tables, creating those that are missing, in one transaction. In an environment opened read-only a missing
    /// table is an error.
    package func openTables(_ names: String...) throws(LMDBError) -> [Table] { try openTables(names) }

    package func openTables(_ names: [String]) throws(LMDBError) -> [Table] {
        var tables: [Table] = []
        if options.readOnly {
            for name in names {
                guard let table = try existingTable(named: name) else {
                    throw LMDBError(code: MDB_NOTFOUND, operation: .openTable, context: name)
                }
                tables.append(table)
            }
            return tables
        }
        var transaction = try beginWrite()
        for name in names { tables.append(try transaction.openTable(name)) }
        try transaction.commit()
        return tables
    }

    /// Opens a table that is there, in a transaction of its own; nil when there is none of that name.
    ///
    /// Not while a write transaction that opened a table is unfinished: LMDB would give both the same number.
    package func existingTable(named name: String) throws(LMDBError) -> Table? {
        guard Table.isValidName(name) else {
            throw LMDBError(code: MDB_BAD_VALSIZE, operation: .openTable, context: name)
        }
        return try openExisting(name)
    }

    /// LMDB's own table, in which the named ones are entries. Entries beside them must have other keys than their names.
    package func mainTable() throws(LMDBError) -> Table {
        guard let table = try openExisting(nil) else {
            throw LMDBError(code: MDB_NOTFOUND, operation: .openTable, context: "the main table")
        }
        return table
    }

    /// - Parameter name: nil for the main table.
    private func openExisting(_ name: String?) throws(LMDBError) -> Table? {
        precondition(!isOpeningTable.load(ordering: .acquiring), "an unfinished write transaction has opened a table")
        var transaction: OpaquePointer?
        try LMDBError.check(mdb_txn_begin(handle, nil, UInt32(MDB_RDONLY), &transaction), .beginRead)
        var dbi: MDB_dbi = 0
        let code = mdb_dbi_open(transaction, name, 0, &dbi)
        guard code == MDB_SUCCESS else {
            mdb_txn_abort(transaction)
            if code == MDB_NOTFOUND { return nil }
            throw LMDBError(code: code, operation: .openTable, context: name ?? "")
        }
        // An abort would close the table again.
        try LMDBError.check(mdb_txn_commit(transaction), .openTable, name ?? "")
        return Table(dbi: dbi)
    }

    // MARK: Care

    /// Flushes what was committed. Success means: every commit so far survives a power cut. After an error that is
    /// unknown for all commits since the last success, and stays so.
    package func sync(force: Bool = true) throws(LMDBError) {
        try LMDBError.check(mdb_env_sync(handle, force ? 1 : 0), .sync, directory)
    }

    /// Frees the slots of readers whose process is gone, which would keep pages from reuse. To be called every 60 s.
    /// - Returns: how many there were.
    @discardableResult
    package func checkReaders() throws(LMDBError) -> Int {
        var dead: Int32 = 0
        try LMDBError.check(mdb_reader_check(handle, &dead), .checkReaders)
        return Int(dead)
    }

    package var info: Info {
        var raw = MDB_envinfo()
        // Cannot fail for an environment that is open.
        _ = mdb_env_info(handle, &raw)
        return Info(
            mapSize: UInt64(raw.me_mapsize), pageSize: pageSize, lastPage: UInt64(raw.me_last_pgno),
            lastTransaction: UInt64(raw.me_last_txnid), readersMax: Int(raw.me_maxreaders),
            readersInUse: Int(raw.me_numreaders))
    }

    /// LMDB's flags as it reports them, `MDB_NOSYNC` and the like.
    package var flags: UInt32 {
        var raw: UInt32 = 0
        // Cannot fail for an environment that is open.
        _ = mdb_env_get_flags(handle, &raw)
        return raw
    }
}

/// Reset read transactions that wait for their next use. A value type: the environment's lock is around it.
private struct ReaderPool {
    // Sendable: a reader without a snapshot belongs to whoever took it from the pool, which MDB_NOTLS allows.
    struct Handle: @unchecked Sendable { let pointer: OpaquePointer }

    enum Answer {
        case refused
        /// A resting reader, or nil: begin another.
        case lent(Handle?)
    }

    var lentCount = 0
    private var idle: [Handle] = []

    mutating func lend() -> Answer {
        guard lentCount < Environment.readersPooled else { return .refused }
        lentCount += 1
        return .lent(idle.popLast())
    }

    mutating func takeBack(_ reader: Handle?) {
        lentCount -= 1
        if let reader { idle.append(reader) }
    }

    mutating func takeAll() -> [Handle] {
        defer { idle = [] }
        return idle
    }
}
