import Glibc
import Leads
import LMDB
import Ledger

// Rows, as all models write them:
//
// offset size
//  0      F    the fixed part, drawn in the model's file; its first byte is the version of the layout
//  F      2    length of text 0
//  F+2    ...  text 0, UTF-8
//  .      2    length of text 1, and so on
//
// Integers are big-endian. A text of no bytes stands for an absent one. Lengths fit 16 bits, since a record, and so any text in
// it, is shorter than 60 KiB.

/// A row being changed or made, in memory that is used again.
final class RowBuffer {
    private var base: UnsafeMutableRawPointer
    private var count = 0
    private var capacity = 1_024

    init() { base = .allocate(byteCount: capacity, alignment: 8) }

    deinit { base.deallocate() }

    var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: base, count: count) }

    /// Begins with a stored row.
    func load(_ row: UnsafeRawBufferPointer) {
        makeRoom(row.count)
        count = row.count
        if let source = row.baseAddress { base.copyMemory(from: source, byteCount: count) }
    }

    /// Begins a row of zeros with empty texts.
    func begin(_ layout: RowLayout) {
        let size = layout.fixedBytes + 2 * layout.textCount
        makeRoom(size)
        count = size
        memset(base, 0, size)
        base.storeBytes(of: layout.version, as: UInt8.self)
    }

    /// Begins a row of zeros without its texts, which are to be added by `addText`, all of them and in order: quicker than setting
    /// each in its place.
    func beginFixedPart(_ layout: RowLayout) {
        makeRoom(layout.fixedBytes)
        count = layout.fixedBytes
        memset(base, 0, count)
        base.storeBytes(of: layout.version, as: UInt8.self)
    }

    func addText(_ text: UnsafeRawBufferPointer) {
        precondition(text.count <= UInt16.max, "a text is shorter than its record")
        let start = count
        makeRoom(start + 2 + text.count)
        count = start + 2 + text.count
        self[start] = UInt16(text.count)
        if let source = text.baseAddress { (base + start + 2).copyMemory(from: source, byteCount: text.count) }
    }

    @inline(__always)
    subscript<T: FixedWidthInteger>(offset: Int, as type: T.Type = T.self) -> T {
        get {
            assert(offset + MemoryLayout<T>.size <= count)
            return T(bigEndian: base.loadUnaligned(fromByteOffset: offset, as: T.self))
        }
        set {
            assert(offset + MemoryLayout<T>.size <= count)
            base.storeBytes(of: newValue.bigEndian, toByteOffset: offset, as: T.self)
        }
    }

    /// Adds one to a 32-bit counter, which stays at its end rather than going round.
    @inline(__always)
    func count(at offset: Int) {
        let before = self[offset, as: UInt32.self]
        if before < .max { self[offset] = before + 1 }
    }

    /// A text of this row, where it lies: until the row is changed.
    func text(_ index: Int, in layout: RowLayout) -> UnsafeRawBufferPointer {
        let start = startOfText(index, in: layout)
        return UnsafeRawBufferPointer(start: base + start + 2, count: Int(self[start, as: UInt16.self]))
    }

    func hasText(_ index: Int, _ text: UnsafeRawBufferPointer, in layout: RowLayout) -> Bool {
        let own = self.text(index, in: layout)
        guard own.count == text.count, let left = own.baseAddress, let right = text.baseAddress else {
            return own.count == text.count
        }
        return memcmp(left, right, own.count) == 0
    }

    private func startOfText(_ index: Int, in layout: RowLayout) -> Int {
        var start = layout.fixedBytes
        for _ in 0..<index { start += 2 + Int(self[start, as: UInt16.self]) }
        return start
    }

    /// Replaces a text. `text` must not lie in this row.
    func setText(_ index: Int, _ text: UnsafeRawBufferPointer, in layout: RowLayout) {
        precondition(text.count <= UInt16.max, "a text is shorter than its record")
        let start = startOfText(index, in: layout)
        let before = Int(self[start, as: UInt16.self])
        let change = text.count - before
        if change != 0 {
            makeRoom(count + change)
            let tail = start + 2 + before
            memmove(base + tail + change, base + tail, count - tail)
            count += change
            self[start] = UInt16(text.count)
        }
        if let source = text.baseAddress { (base + start + 2).copyMemory(from: source, byteCount: text.count) }
    }

    private func makeRoom(_ wanted: Int) {
        guard wanted > capacity else { return }
        let grown = UnsafeMutableRawPointer.allocate(byteCount: max(wanted, capacity * 2), alignment: 8)
        grown.copyMemory(from: base, byteCount: count)
        base.deallocate()
        base = grown
        capacity = max(wanted, capacity * 2)
    }
}

/// Rows that a batch adds to a table or removes from it, which are written at its end in the order of their keys: a table that is
/// in another order than that of the leads would else be gone through at random.
final class PendingRows {
    private struct Entry {
        var key: Occurrence
        var start: Int
        /// -1: the row is removed.
        var count: Int
    }

    private var entries: [Entry] = []
    private var bytes: [UInt8] = []

    func removeAll() {
        entries.removeAll(keepingCapacity: true)
        bytes.removeAll(keepingCapacity: true)
    }

    /// At most one row for a key, and not before or after a removal of it.
    func put(_ row: UnsafeRawBufferPointer, at key: Occurrence) {
        entries.append(Entry(key: key, start: bytes.count, count: row.count))
        bytes.append(contentsOf: row)
    }

    func remove(at key: Occurrence) { entries.append(Entry(key: key, start: 0, count: -1)) }

    func write(to table: Table, in transaction: inout WriteTransaction) throws(LMDBError) {
        entries.sort { $0.key < $1.key }
        for entry in entries {
            try entry.key.withKey { (key) throws(LMDBError) in
                if entry.count < 0 {
                    _ = try transaction.delete(in: table, at: key)
                } else {
                    try bytes.withUnsafeBufferPointer { (bytes) throws(LMDBError) in
                        let row = UnsafeBufferPointer(rebasing: bytes[entry.start..<entry.start + entry.count])
                        try transaction.put(UnsafeRawBufferPointer(row), in: table, at: key)
                    }
                }
            }
        }
    }
}

/// The shape of a model's rows.
struct RowLayout: Sendable {
    var version: UInt8
    var fixedBytes: Int
    var textCount: Int
}

/// A stored row, read in place.
struct RowView {
    private let bytes: UnsafeRawBufferPointer
    private let layout: RowLayout

    /// Checks that the row is as long as it says: a query must not read beyond it, whatever is in the file.
    init(_ bytes: UnsafeRawBufferPointer, _ layout: RowLayout) throws(ProjectionError) {
        self.bytes = bytes
        self.layout = layout
        guard bytes.count >= layout.fixedBytes, bytes[0] == layout.version else { throw .brokenRow }
        var end = layout.fixedBytes
        for _ in 0..<layout.textCount {
            guard end + 2 <= bytes.count else { throw .brokenRow }
            end += 2 + Int(bytes.bigEndian(at: end, as: UInt16.self))
        }
        guard end == bytes.count else { throw .brokenRow }
    }

    @inline(__always)
    subscript<T: FixedWidthInteger>(offset: Int, as type: T.Type = T.self) -> T { bytes.bigEndian(at: offset) }

    /// Empty where absent.
    func text(_ index: Int) -> UnsafeRawBufferPointer {
        var start = layout.fixedBytes
        for _ in 0..<index { start += 2 + Int(bytes.bigEndian(at: start, as: UInt16.self)) }
        let length = Int(bytes.bigEndian(at: start, as: UInt16.self))
        return UnsafeRawBufferPointer(rebasing: bytes[start + 2..<start + 2 + length])
    }
}

// MARK: - Keys

/// Microseconds as 64 bits whose big-endian bytes sort as the instants do: the sign bit turned round.
@inline(__always)
func sortable(_ microseconds: Int64) -> UInt64 { UInt64(bitPattern: microseconds) ^ (1 << 63) }

@inline(__always)
func microseconds(sortable: UInt64) -> Int64 { Int64(bitPattern: sortable ^ (1 << 63)) }

extension Occurrence {
    /// The 16 bytes (instant, position) as a key that sorts as occurrences do.
    @inline(__always)
    func withKey<R, E: Error>(_ body: (UnsafeRawBufferPointer) throws(E) -> R) throws(E) -> R {
        try withUnsafeBytes(of: (sortable(time.microseconds).bigEndian, position.bigEndian), body)
    }

    /// Reads what `withKey` made, at `offset` of a key.
    init(key: UnsafeRawBufferPointer, at offset: Int = 0) {
        self.init(
            time: Instant(microseconds: microseconds(sortable: key.bigEndian(at: offset))),
            position: key.bigEndian(at: offset + 8))
    }
}

extension StreamKey {
    /// The 32 bytes (stream, instant, position): a lead's entries lie side by side in the order of occurrences.
    @inline(__always)
    func withKey<R, E: Error>(
        _ occurrence: Occurrence, _ body: (UnsafeRawBufferPointer) throws(E) -> R
    ) throws(E) -> R {
        try withUnsafeBytes(
            of: (
                high.bigEndian, low.bigEndian, sortable(occurrence.time.microseconds).bigEndian,
                occurrence.position.bigEndian
            ), body)
    }

    /// Whether a key begins with this stream.
    @inline(__always)
    func isPrefix(of key: UnsafeRawBufferPointer) -> Bool {
        key.count >= 16 && key.bigEndian(at: 0, as: UInt64.self) == high && key.bigEndian(at: 8, as: UInt64.self) == low
    }
}
