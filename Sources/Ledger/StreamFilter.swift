import CLeafHash
import Glibc
import LMDB
import Synchronization

// StreamFilter, KnownStreams: which streams the index has, in memory, at 2 to 5 bytes a stream.
//
// Most events of a growing ledger begin a stream, and to learn from the index that it has none is a walk through four pages of
// gigabytes, a third of an event loop's time. Here it is one word.

/// A set of streams that may say yes to one that it has not (about one in a hundred), and never no to one that it has: a Bloom
/// filter whose bits of one stream lie in one word (Putze, Sanders, Singler, "Cache-, Hash- and Space-Efficient Bloom Filters").
///
/// Everybody reads it; the thread that writes the index changes it.
// Sendable: the memory that `words` points to is its own until the end, and all of it atomic.
final class StreamFilter: @unchecked Sendable {
    private let words: UnsafeMutablePointer<Atomic<UInt64>>
    private let mask: UInt64
    /// Streams whose key's high half is below this are in it, if the index has them; of others it knows nothing.
    private let filledTo = Atomic<UInt64>(0)

    /// Streams in a word: with four bits each a fifth to a third of its bits are set.
    private static let streamsPerWord = 4
    private static let streamsPerWordMax = 6
    /// 512 KiB.
    static let wordsMin = 1 << 16

    /// Made for so many streams; it has room for half as many more. Nil where there is no memory.
    convenience init?(streams: Int, wordsMin: Int = StreamFilter.wordsMin) {
        var count = wordsMin
        while count * Self.streamsPerWord < streams { count *= 2 }
        self.init(words: count)
    }

    /// Of `count` words, a power of two, with nothing in it. Nil where there is no memory.
    init?(words count: Int) {
        precondition(count.nonzeroBitCount == 1)
        // Zeros from the kernel, so that a page of it takes memory once it is used. An `Atomic<UInt64>` is as its number is.
        guard let memory = calloc(count, MemoryLayout<Atomic<UInt64>>.stride) else { return nil }
        words = memory.bindMemory(to: Atomic<UInt64>.self, capacity: count)
        mask = UInt64(count - 1)
    }

    deinit { free(words) }

    var streamsMax: Int { (Int(mask) + 1) * Self.streamsPerWordMax }

    /// Keys are SHA-256 bits: the low half names the word, the high half, which orders the index, the bits. Whoever changes this, or
    /// what a key is, changes `StreamFilterFile.format`.
    @inline(__always)
    private func bits(_ key: StreamKey) -> UInt64 {
        let high = key.high
        return 1 << (high & 63) | 1 << (high >> 6 & 63) | 1 << (high >> 12 & 63) | 1 << (high >> 18 & 63)
    }

    /// Whether the index may have events of this stream.
    @inline(__always)
    func mayHave(_ key: StreamKey) -> Bool {
        guard key.high < filledTo.load(ordering: .acquiring) else { return true }
        let bits = bits(key)
        return words[Int(key.low & mask)].load(ordering: .relaxed) & bits == bits
    }

    /// Has the word of a stream fetched, that it will soon be asked for: of a large filter it is in no near cache.
    @inline(__always)
    func fetch(_ key: StreamKey) { clh_fetch(words + Int(key.low & mask), MemoryLayout<UInt64>.stride) }

    func insert(_ key: StreamKey) { words[Int(key.low & mask)].bitwiseOr(bits(key), ordering: .relaxed) }

    func setFilledTo(_ high: UInt64) { filledTo.store(high, ordering: .releasing) }

    var isWhole: Bool { filledTo.load(ordering: .relaxed) == .max }

    /// Its words as they lie in memory, each in the machine's order. For when nobody changes it.
    var bytes: UnsafeMutableRawBufferPointer {
        UnsafeMutableRawBufferPointer(start: words, count: (Int(mask) + 1) * MemoryLayout<UInt64>.stride)
    }
}

/// The filter of an index: as it was left at a clean close (`StreamFilterFile`) or else filled from the rows after the start, and
/// grown with it.
///
/// Invariant K1: a stream that has a row in the index as last committed is in `current`, or beyond what that is filled to. So:
/// new streams are inserted before the commit that adds their rows, into the filter in the making as well; rows that were there
/// are gone through in the order of their keys, in short snapshots, by the thread that commits; and a reader takes its snapshot
/// of the index first and `current` after it.
final class KnownStreams: Sendable {
    /// What readers are given. Locked by the thread that writes the index only when it puts another one in: it may be one that steps
    /// back, and event loops must not wait for it.
    private let answering: Mutex<StreamFilter?>
    /// Of the thread that writes the index.
    private let work: Mutex<Work>
    private let wordsMin: Int

    private struct Work {
        /// The one that answers.
        var current: StreamFilter?
        /// What is being filled: at first the one that answers.
        var filling: StreamFilter?
        /// The last key that was gone through.
        var last: StreamKey?
    }

    /// - Parameters:
    ///   - streams: that the index has.
    ///   - whole: a filter that has them all; nil: it is filled.
    ///   - wordsMin: a power of two; tests take a small one.
    init(streams: Int, whole: StreamFilter? = nil, wordsMin: Int = StreamFilter.wordsMin) {
        precondition(whole?.isWhole ?? true)
        self.wordsMin = wordsMin
        let first = whole ?? StreamFilter(streams: streams, wordsMin: wordsMin)
        answering = Mutex(first)
        work = Mutex(Work(current: first, filling: whole == nil ? first : nil))
    }

    /// Nil where there was no memory for one: then the index is always asked.
    var current: StreamFilter? { answering.withLock { $0 } }

    /// Takes in streams that begin, before they are committed.
    func insert(_ keys: some Sequence<StreamKey>) {
        let (current, filling) = work.withLock { ($0.current, $0.filling) }
        for key in keys {
            current?.insert(key)
            if let filling, filling !== current { filling.insert(key) }
        }
        // Readers see the rows by the commit, which is none of Swift's atomics.
        atomicMemoryFence(ordering: .sequentiallyConsistent)
    }

    /// Goes through at most `rowsMax` rows of the index, or begins a larger filter where this one has become too small.
    ///
    /// - Returns: whether there is more to do.
    func fill(from rows: Table, of environment: Environment, rowsMax: Int) throws(LMDBError) -> Bool {
        let transaction = try environment.beginRead()
        let streams = try transaction.count(of: rows)
        let (filling, last) = work.withLock { work in
            // None is in the making, or none of its rows was gone through yet.
            if let sized = work.filling ?? work.current, work.last == nil, streams > sized.streamsMax {
                work.filling = StreamFilter(streams: 2 * streams, wordsMin: wordsMin)
            }
            return (work.filling, work.last)
        }
        guard let filling else { return false }

        var cursor = try transaction.makeCursor(on: rows)
        var entry: Cursor.Entry?
        if let last {
            entry = try last.withBytes { (key) throws(LMDBError) in try cursor.seek(to: key) }
        } else {
            entry = try cursor.first()
        }
        var reached = last
        var count = 0
        while let found = entry, count < rowsMax {
            // A row whose key is none is found by whoever asks for it.
            if let key = StreamKey(bytes: found.key) {
                filling.insert(key)
                reached = key
            }
            count += 1
            entry = try cursor.next()
        }
        guard entry == nil else {
            // Streams with the same high half as the last one may follow it.
            if let reached { filling.setFilledTo(reached.high) }
            work.withLock { $0.last = reached }
            return true
        }
        filling.setFilledTo(.max)
        work.withLock { $0 = Work(current: filling) }
        answering.withLock { $0 = filling }
        return false
    }
}
