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
/// Even so a burst that outruns what is written loses a seventh of its speed to those writes. So while nothing is appended, more than
/// the next step is written, up to `reserve`, as long as the disk has far more room than that.
///
/// For a cache, whose pages change one by one all over the file, the new space is *fetched* instead: the page cache then has it
/// in single pages, zeros that need no reading. Left alone, ext4 (since Linux 6.16) takes a write of up to 64 neighbouring
/// pages, which is how LMDB fills a growing file, as one folio, and later a single changed page of it makes all of it count as
/// dirty. The limit of dirty memory is then reached with a seventh of that truly changed (measured at 10 million leads), the
/// kernel writes back without pause, and makes every writer wait, the log's too; and each write walks through the buffers of
/// the whole folio.
///
/// What must hold, since zeros over a page would be the end of it:
/// - W1: nothing but what is at or beyond `allocatedEnd` is ever overwritten with zeros, and one at a time prepares space: what lies
///   there is looked at, written and made known by whoever has taken that up, and by nobody else meanwhile;
/// - W2: no transaction writes at or beyond `allocatedEnd`: it never moves back, it moves only over space where no zeros will be
///   written any more, and before a transaction `ensure` waits for it to have moved far enough.
package final class SpaceAhead: Sendable {
    private let environment: Environment
    private let step: UInt64
    private let fetches: Bool
    private let reserve: UInt64
    private let quiet: UInt64
    /// Up to here blocks are allocated. What is used was allocated before it was, but for what came before the first
    /// call: the few pages of the creation, among which there may be holes. So a small file is allocated from its start.
    private let allocatedEnd: Atomic<UInt64>
    private let writer: Mutex<SpaceWriter?>

    /// - Parameters:
    ///   - step: bytes to allocate at once; 64 MiB makes it one call in a hundred thousand events.
    ///   - reserve: bytes that are kept written ahead while it is quiet: while no transaction has begun for the time `quiet`.
    ///   - fetches: for files whose pages change one by one, see above.
    package init(
        environment: Environment, step: Int = 64 << 20, reserve: Int = 0, quiet: Duration = .seconds(1),
        fetches: Bool = false
    ) {
        precondition(step > 0 && reserve >= 0)
        self.reserve = UInt64(reserve)
        self.quiet = quiet.nanoseconds
        self.environment = environment
        self.step = Self.wholePages(UInt64(step))
        self.fetches = fetches
        let used = environment.info.usedBytes
        self.allocatedEnd = Atomic(used <= self.step ? 0 : used)
        writer = Mutex(nil)
    }

    /// Has a thread write the space ahead, from now until `stop()`. Before the first transaction. Steps below 1 MiB are only
    /// allocated: they are those of tests. So is space where zeros would use up what was allocated, and the log's pages take room anew.
    package func startWriting() throws(LedgerError) {
        guard step >= SpaceWriter.pieceBytes, !FileSystemKind.isCopyOnWrite(environment.fileDescriptor) else { return }
        let info = environment.info
        let used = info.usedBytes
        // What may be holes. On a full disk `ensure` says so, until it has allocated them.
        if used <= step {
            do throws(FileError) { try Self.allocate(environment, from: 0, to: used) } catch { return }
        }
        // W1, W2: below this nothing is prepared, and beyond it nothing is written until the first piece is prepared. What an earlier
        // process has written ahead is good as it is, whatever is in it.
        let written = min(SpaceWriter.endOfWritten(path, from: used), info.mapSize)
        let isAllocated = written > used && (try? Self.allocate(environment, from: used, to: written)) != nil
        let end = isAllocated ? written : used
        allocatedEnd.store(end, ordering: .relaxed)
        let started = try SpaceWriter(
            path: path, as: environment.fileIdentity, quiet: quiet,
            publish: { [weak self] end in self?.allocatedEnd.store(end, ordering: .releasing) },
            more: { [weak self] in self?.nextOfReserve() })
        writer.withLock { $0 = started }
        if end < min(used + step, info.mapSize) { started.prepare { nextStep() } }
    }

    /// What to write next while it is quiet; nil: nothing.
    private func nextOfReserve() -> SpaceWriter.Work? {
        let info = environment.info
        let allocated = allocatedEnd.load(ordering: .relaxed)
        guard allocated < min(info.usedBytes + reserve, info.mapSize) else { return nil }
        var disk = statvfs()
        guard fstatvfs(environment.fileDescriptor, &disk) == 0,
            UInt64(disk.f_bavail) * UInt64(disk.f_frsize) >= Self.roomMin * reserve
        else { return nil }
        return nextStep()
    }

    /// The reserve is written where the disk has so many times as much free. By taste.
    private static let roomMin: UInt64 = 8

    private var path: String { environment.directory + "/data.mdb" }

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
        let needed = min(Self.wholePages(info.usedBytes + UInt64(bytes)), info.mapSize)
        guard let writer = writer.withLock({ $0 }) else { return try allocate(upTo: needed) }
        writer.noticeTransaction()
        let allocated = allocatedEnd.load(ordering: .acquiring)
        precondition(info.usedBytes <= allocated, "a transaction wrote more than its worst case")
        // One step is in use, one lies ready, one is being prepared.
        if needed + step > allocated { writer.prepare { nextStep() } }
        // A piece more than the worst case: should a transaction ever need a page more than was reckoned, that page is
        // not where zeros are being written.
        let safe = min(needed + SpaceWriter.pieceBytes, info.mapSize)
        while safe > allocatedEnd.load(ordering: .acquiring) {
            // Neither is nor can be: the disk was full a moment ago.
            if !writer.isPreparing, !writer.prepare({ nextStep() }), !writer.isPreparing { break }
            writer.waitForPiece()
        }
        guard needed > allocatedEnd.load(ordering: .acquiring) else { return }
        // W1: nothing is being prepared meanwhile.
        writer.hold()
        defer { writer.release() }
        try allocate(upTo: needed)
    }

    private static func wholePages(_ bytes: UInt64) -> UInt64 {
        let page = UInt64(DirectWriter.alignment)
        return (bytes + page - 1) / page * page
    }

    private func allocate(upTo needed: UInt64) throws(FileError) {
        let allocated = allocatedEnd.load(ordering: .acquiring)
        guard needed > allocated else { return }
        let whole = min((needed + step - 1) / step * step, environment.info.mapSize)
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

    /// The step behind what is allocated; nil at the map's end. Asked for while nothing is being prepared: then nobody moves
    /// `allocatedEnd`.
    private func nextStep() -> SpaceWriter.Work? {
        let start = allocatedEnd.load(ordering: .acquiring)
        let end = min((start / step + 1) * step, environment.info.mapSize)
        guard start < end else { return nil }
        return SpaceWriter.Work(range: start..<end) { [environment] in
            (try? Self.allocate(environment, from: start, to: end)) != nil
        }
    }
}
