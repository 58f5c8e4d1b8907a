import LMDB

/// The leaf hashes of the log: beside the records and not in them, so that a page of records that is not what was written last
/// cannot vouch for itself.
///
/// ```
/// leaves       position u64 -> the leaf hashes of the 16 events from there on, 512 bytes; positions are multiples of 16
/// main table   "newest leaves" -> where blocks begin u64, where the newest one does u64, and the leaf hashes of its 0 to 15 events
/// ```
///
/// LMDB writes the page of its main table with every commit, since that is where the roots of the others are: what is kept there costs
/// no page of its own. With an entry of `leaves` for each event every commit wrote that table's pages too, from the leaf up to the
/// root: two of seven with some thousand events, four of ten with 10 million, each a request of its own to the disk. Logs were
/// written so once: there, below where blocks begin, each event has its entry, of 32 bytes.
///
/// Invariants:
/// - F1: the entry of the main table comes with the first event of a block, and never says another place where blocks begin. Before
///   that, a log with an entry for each event is as an earlier program left it, which may have it back.
/// - F2: until it comes, that is the first multiple of 16 that is not below the end of the log.
struct LeafTable: Sendable {
    static let name = "leaves"
    static let blockEvents: UInt64 = 16

    private let blocks: Table
    private let main: Table
    /// Where blocks begin.
    private let begin: UInt64

    /// Finds the table; nil where there is none.
    /// - Parameter records: the table of the records.
    init?(in environment: Environment, records: Table) throws(LMDBError) {
        guard let blocks = try environment.existingTable(named: Self.name) else { return nil }
        self.blocks = blocks
        main = try environment.mainTable()
        let transaction = try environment.beginRead()
        if let bytes = try transaction.unsafeValue(in: main, at: Self.newestKey) {
            // Where it is none, `newest` says so.
            begin = NewestLeaves.read(bytes)?.begin ?? 0
        } else {
            begin = LeafBlock.first(with: UInt64(try transaction.count(of: records)) &+ Self.blockEvents - 1)
        }
    }

    /// The leaf hash stored for an event; nil when there is none.
    func leaf<T: ReadingTransaction & ~Copyable>(
        at position: UInt64, in transaction: borrowing T
    ) throws(LMDBError) -> LeafHash? {
        let first = firstOfBlock(with: position)
        if let bytes = try transaction.unsafeValue(in: blocks, at: first) {
            return block(bytes, first: first)?.leaf(at: position)
        }
        return try newest(in: transaction)?.leaf(at: position)
    }

    /// How many there are; nil unless they are, by the counts and the last keys, those of the events from 0 on.
    func count(in transaction: borrowing ReadTransaction) throws(LMDBError) -> Int? {
        let entries = UInt64(try transaction.count(of: blocks))
        // A count comes from the disk like all else.
        guard entries < UInt64(Int.max) / Self.blockEvents else { return nil }
        let single = min(entries, begin)
        let end = single + (entries - single) * Self.blockEvents
        var cursor = try transaction.makeCursor(on: blocks)
        let lastKey = try cursor.last()?.key.bigEndianUInt64
        guard lastKey == (entries == 0 ? nil : end - (entries > begin ? Self.blockEvents : 1)),
            let newest = try newest(in: transaction), newest.first == max(end, begin), newest.count == 0 || end >= begin
        else { return nil }
        return Int(end) + newest.count
    }

    /// For one who reads events one after the other.
    func makeCursor(in transaction: borrowing ReadTransaction) throws(LMDBError) -> LeafCursor {
        LeafCursor(
            table: self, blocks: try transaction.makeCursor(on: blocks), newest: try newest(in: transaction))
    }

    /// What one goes on from who appends from `end` on; nil where what is stored is none.
    func newestLeaves(end: UInt64, in transaction: borrowing ReadTransaction) throws(LMDBError) -> NewestLeaves? {
        try newest(in: transaction).map { NewestLeaves($0, begin: begin, next: end) }
    }

    /// The block that is not full; nil where what is stored for it is none.
    private func newest<T: ReadingTransaction & ~Copyable>(in transaction: borrowing T) throws(LMDBError) -> LeafBlock?
    {
        guard let bytes = try transaction.unsafeValue(in: main, at: Self.newestKey) else {
            return LeafBlock(first: begin)
        }
        guard let stored = NewestLeaves.read(bytes), stored.begin == begin else { return nil }
        return stored.block
    }

    private static var newestKey: UnsafeRawBufferPointer { UnsafeRawBufferPointer("newest leaves") }

    fileprivate func firstOfBlock(with position: UInt64) -> UInt64 {
        position < begin ? position : LeafBlock.first(with: position)
    }

    fileprivate func block(_ bytes: UnsafeRawBufferPointer, first: UInt64) -> LeafBlock? {
        let block = LeafBlock(first: first, hashes: bytes)
        return block?.count == (first < begin ? 1 : Int(Self.blockEvents)) ? block : nil
    }

    fileprivate func put(
        _ hashes: UnsafeRawBufferPointer, first: UInt64, in transaction: inout WriteTransaction
    ) throws(LMDBError) {
        try transaction.put(hashes, in: blocks, at: first, .append)
    }

    fileprivate func putNewest(
        _ bytes: UnsafeRawBufferPointer, in transaction: inout WriteTransaction
    ) throws(LMDBError) {
        try transaction.put(bytes, in: main, at: Self.newestKey)
    }
}

/// Leaf hashes of successive events, as they are stored. Holds as long as the bytes do.
struct LeafBlock {
    let first: UInt64
    private let hashes: UnsafeRawBufferPointer

    /// The multiple of a block's events that is at or below `position`.
    static func first(with position: UInt64) -> UInt64 { position & ~(LeafTable.blockEvents - 1) }

    /// Nil for bytes that are none.
    init?(first: UInt64, hashes: UnsafeRawBufferPointer) {
        guard hashes.count % LeafHash.byteCount == 0 else { return nil }
        self.first = first
        self.hashes = hashes
    }

    /// An empty one.
    init(first: UInt64) {
        self.first = first
        hashes = UnsafeRawBufferPointer(start: nil, count: 0)
    }

    var count: Int { hashes.count / LeafHash.byteCount }

    func leaf(at position: UInt64) -> LeafHash? {
        // Wrapping: what is before the first is far beyond the last.
        let index = position &- first
        guard index < UInt64(count) else { return nil }
        let start = Int(index) * LeafHash.byteCount
        return LeafHash(bytes: UnsafeRawBufferPointer(rebasing: hashes[start..<start + LeafHash.byteCount]))
    }
}

/// Reads leaf hashes of one snapshot, a block at a time. It must not outlive it.
struct LeafCursor: ~Copyable {
    private let table: LeafTable
    private var blocks: Cursor
    private let newest: LeafBlock?
    private var block: LeafBlock?

    fileprivate init(table: LeafTable, blocks: consuming Cursor, newest: LeafBlock?) {
        self.table = table
        self.blocks = blocks
        self.newest = newest
    }

    mutating func leaf(at position: UInt64) throws(LMDBError) -> LeafHash? {
        if let leaf = block?.leaf(at: position) { return leaf }
        let first = table.firstOfBlock(with: position)
        if let found = try blocks.seek(to: first), found.key.bigEndianUInt64 == first {
            block = table.block(found.value, first: first)
        } else {
            block = newest
        }
        return block?.leaf(at: position)
    }
}

/// The leaf hashes of the block that is not full, in the hands of the one who appends.
final class NewestLeaves {
    /// Where blocks begin.
    private let begin: UInt64
    /// The value of the main table's entry, with room for a full block.
    private var bytes: [UInt8] = []
    /// The event whose leaf hash comes next.
    private var next: UInt64
    /// As they were before the open transaction.
    private var stored: (bytes: [UInt8], next: UInt64)

    private static let headerBytes = 16
    private static let firstAt = 8
    private static let byteCountMax = headerBytes + Int(LeafTable.blockEvents) * LeafHash.byteCount

    /// - Parameters:
    ///   - block: the one that is not full.
    ///   - begin: where blocks begin.
    ///   - next: the end of the log.
    fileprivate init(_ block: LeafBlock, begin: UInt64, next: UInt64) {
        self.begin = begin
        self.next = next
        stored = ([], next)
        bytes.reserveCapacity(Self.byteCountMax)
        beginBlock(at: block.first)
        for index in 0..<UInt64(block.count) {
            guard let leaf = block.leaf(at: block.first + index) else {
                preconditionFailure("a block has what it counts")
            }
            append(leaf)
        }
        didCommit()
    }

    /// What a stored value says; nil where it is none.
    fileprivate static func read(_ value: UnsafeRawBufferPointer) -> (begin: UInt64, block: LeafBlock)? {
        guard headerBytes..<byteCountMax ~= value.count else { return nil }
        let hashes = UnsafeRawBufferPointer(rebasing: value[headerBytes...])
        return LeafBlock(first: value.bigEndian(at: firstAt, as: UInt64.self), hashes: hashes).map { block in
            (value.bigEndian(at: 0, as: UInt64.self), block)
        }
    }

    private func beginBlock(at first: UInt64) {
        bytes.removeAll(keepingCapacity: true)
        append(begin)
        append(first)
    }

    private func append(_ number: UInt64) { withUnsafeBytes(of: number.bigEndian) { bytes.append(contentsOf: $0) } }
    private func append(_ leaf: LeafHash) { leaf.withBytes { bytes.append(contentsOf: $0) } }

    /// That of an event of the newest block, those of the open transaction included.
    func leaf(at position: UInt64) -> LeafHash? {
        bytes.withUnsafeBytes { Self.read($0)?.block.leaf(at: position) }
    }

    /// Takes the leaf hash of the next event, which is at `position`, and puts the block when it is full.
    func append(
        _ leaf: LeafHash, at position: UInt64, to table: LeafTable, in transaction: inout WriteTransaction
    ) throws(LMDBError) {
        precondition(position == next, "the next leaf hash is that of position \(next), not \(position)")
        defer { next += 1 }
        guard next >= begin else {
            return try leaf.withBytes { (hash) throws(LMDBError) in try table.put(hash, first: next, in: &transaction) }
        }
        append(leaf)
        guard bytes.count == Self.byteCountMax else { return }
        try lend { (value) throws(LMDBError) in
            try table.put(
                UnsafeRawBufferPointer(rebasing: value[Self.headerBytes...]), first: LeafBlock.first(with: position),
                in: &transaction)
        }
        beginBlock(at: next + 1)
    }

    /// Puts what is not full: after the last event of a transaction.
    func putRest(to table: LeafTable, in transaction: inout WriteTransaction) throws(LMDBError) {
        guard next > begin else { return }
        try lend { (value) throws(LMDBError) in try table.putNewest(value, in: &transaction) }
    }

    private func lend(_ body: (UnsafeRawBufferPointer) throws(LMDBError) -> Void) throws(LMDBError) {
        // An array's own closure does not hand on which errors it throws.
        try bytes.withUnsafeBytes { bytes in Result { () throws(LMDBError) in try body(bytes) } }.get()
    }

    func didCommit() { stored = (bytes, next) }

    /// The transaction was dropped, or never was.
    func rollBack() { (bytes, next) = stored }
}
