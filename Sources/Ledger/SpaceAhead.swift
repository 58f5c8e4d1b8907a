import Glibc
package import LMDB
import Synchronization

/// Keeps disk space allocated beyond the last page of an environment, so that a full disk is a clean answer before
/// a transaction begins rather than an error from the middle of its commit, whose outcome nobody knows.
///
/// ```
/// 0 ........ used ........ | ..... allocated ahead ..... | .... being prepared .... |
///            info.usedBytes ^             `allocatedEnd` ^     grows in whole steps
/// ```
///
/// LMDB writes pages only below the end of what is used plus what the transaction adds, so with
/// `ensure(bytes: worst case)` before each transaction no write needs a new block.
///
/// For the log, space is also *written* ahead, with zeros, by a thread of its own. A block that was only allocated is marked
/// so in the file system's metadata; writing to it changes the mark, and every sync has that to store as well. Measured with
/// 256 KiB a commit on ext4: 3.3 to 5.4 ms a commit on allocated space, 1.6 to 1.9 on written space, and half of the CPU. It
/// costs the disk a second write of each block, at the speed of long writes.
///
/// For a cache, whose pages change one by one all over the file, the new space is *fetched* instead: the page cache then has it
/// in single pages, zeros that need no reading. Left alone, ext4 (since Linux 6.16) takes a write of up to 64 neighbouring
/// pages, which is how LMDB fills a growing file, as one folio, and later a single changed page of it makes all of it count as
/// dirty. The limit of dirty memory is then reached with a seventh of that truly changed (measured at 10 million leads), the
/// kernel writes back without pause, and makes every writer wait, the log's too; and each write walks through the buffers of
/// the whole folio.
///
/// What must hold, since zeros over a page would be the end of it:
/// - W1: nothing but what is at or beyond `allocatedEnd` is ever overwritten with zeros;
/// - W2: no transaction writes at or beyond `allocatedEnd`: it moves only over space whose zeros are written, and before a
///   transaction `ensure` waits for it to have moved far enough.
package final class SpaceAhead: Sendable {
    private let environment: Environment
    private let step: UInt64
    private let fetches: Bool
    /// Up to here blocks are allocated. What is used was allocated before it was, but for what came before the first
    /// call: the few pages of the creation, among which there may be holes. So a small file is allocated from its start.
    private let allocatedEnd: Atomic<UInt64>
    private let writer: Mutex<SpaceWriter?>

    /// - Parameters:
    ///   - step: bytes to allocate at once; 64 MiB makes it one call in a hundred thousand events.
    ///   - fetches: for files whose pages change one by one, see above.
    package init(environment: Environment, step: Int = 64 << 20, fetches: Bool = false) {
        precondition(step > 0)
        self.environment = environment
        self.step = UInt64(step)
        self.fetches = fetches
        let used = environment.info.usedBytes
        self.allocatedEnd = Atomic(used <= self.step ? 0 : used)
        writer = Mutex(nil)
    }

    /// Has a thread write the space ahead, from now until `stop()`. Before the first transaction. Steps below 1 MiB are only
    /// allocated: they are those of tests.
    package func startWriting() throws(LedgerError) {
        guard step >= SpaceWriter.pieceBytes else { return }
        let used = environment.info.usedBytes
        // What may be holes. On a full disk the first `ensure` says so.
        if used <= step { try? Self.allocate(environment, from: 0, to: used) }
        // W1, W2: below this nothing is prepared, and until the first piece is, nothing may be written beyond it.
        allocatedEnd.store(used, ordering: .relaxed)
        let started = try SpaceWriter(path: environment.directory + "/data.mdb") { [weak self] end in
            self?.allocatedEnd.store(end, ordering: .releasing)
        }
        writer.withLock { $0 = started }
        prepare(from: used, to: min((used / step + 1) * step, environment.info.mapSize))
    }

    /// Ends the thread, before the environment closes.
    package func stop() {
        writer.withLock { $0.take() }?.stop()
    }

    /// Makes sure that the next transaction may add `bytes`. Only the thread that writes calls this.
    ///
    /// An error that `isDiskFull` has changed nothing that matters, and a later call may succeed. Space beyond the
    /// map size is not asked for: there LMDB itself says MAP_FULL.
    package func ensure(bytes: Int) throws(FileError) {
        let info = environment.info
        let needed = min(info.usedBytes + UInt64(bytes), info.mapSize)
        let writer = writer.withLock { $0 }
        if let writer {
            let allocated = allocatedEnd.load(ordering: .acquiring)
            precondition(info.usedBytes <= allocated, "a transaction wrote more than its worst case")
            // One step is in use, one lies ready, one is being prepared.
            if needed + step > allocated, !writer.isPreparing, allocated < info.mapSize {
                prepare(from: allocated, to: min(allocated + step, info.mapSize))
            }
            // A piece more than the worst case: should a transaction ever need a page more than was reckoned, that page is
            // not where zeros are being written.
            let safe = min(needed + SpaceWriter.pieceBytes, info.mapSize)
            while safe > allocatedEnd.load(ordering: .acquiring), writer.isPreparing { writer.waitForPiece() }
        }
        let allocated = allocatedEnd.load(ordering: .acquiring)
        guard needed > allocated else { return }
        let whole = min((needed + step - 1) / step * step, info.mapSize)
        do throws(FileError) {
            try allocate(from: allocated, to: whole)
        } catch  where error.isDiskFull && whole > needed {
            // The last bytes of the disk are as good as others.
            try allocate(from: allocated, to: needed)
        }
    }

    private func allocate(from start: UInt64, to end: UInt64) throws(FileError) {
        try Self.allocate(environment, from: start, to: end)
        if fetches { PageCache.fetch(environment.fileDescriptor, start..<end) }
        allocatedEnd.store(end, ordering: .releasing)
    }

    private static func allocate(
        _ environment: Environment, from start: UInt64, to end: UInt64
    ) throws(FileError) {
        var code: Int32
        // posix_fallocate returns its error, and changes neither what is written nor, on error, the file's length.
        repeat {
            code = posix_fallocate(environment.fileDescriptor, off_t(start), off_t(end - start))
        } while code == EINTR
        guard code == 0 else {
            throw FileError(operation: "allocate space for", path: environment.directory + "/data.mdb", code: code)
        }
    }

    private func prepare(from start: UInt64, to end: UInt64) {
        writer.withLock { $0 }?.prepare(start..<end) { [environment] in
            do throws(FileError) {
                try Self.allocate(environment, from: start, to: end)
                return true
            } catch { return false }
        }
    }
}

/// The thread that writes zeros where the log will grow.
///
/// The zeros go past the page cache (`DirectWriter`): in it they would be dirty pages of the log's file, which the next commit's sync
/// would have to write. Where there are no such writes, the space is left allocated only.
// Sendable: `range` is set by whoever writes the log, one at a time, while `preparing` is false, and read by this one while it is true.
private final class SpaceWriter: @unchecked Sendable {
    /// Written, and made known, at once: about a millisecond.
    static let pieceBytes: UInt64 = 1 << 20
    /// Microseconds from one write to the next, in which the device is a commit's alone. By taste: from none to 2,000, and with pieces of
    /// 512 KiB to 4 MiB, bursts were equally fast.
    private static let pauseMicroseconds: UInt32 = 100
    /// Nanoseconds after a full disk before space ahead is tried for again. Without it, each commit on a full disk would.
    private static let pause: UInt64 = 1_000_000_000

    private let path: String
    private let doorbell = Doorbell()
    private let pieceDone = Doorbell()
    private let preparing = Atomic<Bool>(false)
    private let isAwaited = Atomic<Bool>(false)
    private let isStopping = Atomic<Bool>(false)
    private var range: Range<UInt64> = 0..<0
    private var allocate: () -> Bool = { false }
    private let failedAt = Atomic<UInt64>(0)
    private let publish: @Sendable (UInt64) -> Void
    private var thread: WorkerThread?

    /// - Parameter publish: called on the thread of this, when all below a place may be written.
    init(path: String, publish: @escaping @Sendable (UInt64) -> Void) throws(LedgerError) {
        self.path = path
        self.publish = publish
        thread = try .start("space") { [weak self] in self?.run() }
    }

    func stop() {
        isStopping.store(true, ordering: .releasing)
        doorbell.ring()
        thread?.join()
        thread = nil
    }

    var isPreparing: Bool { preparing.load(ordering: .acquiring) }

    /// Allocates and writes a range, unless the disk was full a moment ago. Only while nothing is being prepared.
    func prepare(_ range: Range<UInt64>, allocating: @escaping () -> Bool) {
        let failed = failedAt.load(ordering: .relaxed)
        guard failed == 0 || MonotonicClock.nanoseconds() - failed > Self.pause else { return }
        self.range = range
        allocate = allocating
        preparing.store(true, ordering: .releasing)
        doorbell.ring()
    }

    /// Waits until a piece is ready, or nothing more is being prepared.
    func waitForPiece() {
        isAwaited.store(true, ordering: .relaxed)
        pieceDone.wait(nanoseconds: 100_000_000)
        isAwaited.store(false, ordering: .relaxed)
    }

    private func run() {
        while true {
            doorbell.wait()
            if preparing.load(ordering: .acquiring) {
                if allocate() {
                    failedAt.store(0, ordering: .relaxed)
                    writeZeros()
                } else {
                    failedAt.store(MonotonicClock.nanoseconds(), ordering: .relaxed)
                }
                allocate = { false }
                preparing.store(false, ordering: .releasing)
                pieceDone.ring()
            }
            if isStopping.load(ordering: .acquiring) { return }
        }
    }

    private func writeZeros() {
        guard let writer = DirectWriter.open(path: path) else { return publish(range.upperBound) }
        let zeros = UnsafeMutableRawBufferPointer.allocate(
            byteCount: Int(Self.pieceBytes), alignment: DirectWriter.alignment)
        defer { zeros.deallocate() }
        zeros.initializeMemory(as: UInt8.self, repeating: 0)
        var at = range.lowerBound
        while at < range.upperBound, !isStopping.load(ordering: .acquiring) {
            // To the next multiple.
            let end = min((at / Self.pieceBytes + 1) * Self.pieceBytes, range.upperBound)
            let piece = UnsafeMutableRawBufferPointer(rebasing: zeros[..<Int(end - at)])
            // Any error: the space is allocated, and the log says itself what is wrong with its device.
            guard let count = writer.write(piece, at: at), count > 0, count % DirectWriter.alignment == 0
            else { return publish(range.upperBound) }
            at += UInt64(count)
            publish(at)
            pieceDone.ring()
            // Who waits for space writes nothing.
            if !isAwaited.load(ordering: .relaxed) { usleep(Self.pauseMicroseconds) }
        }
    }
}
