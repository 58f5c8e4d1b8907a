import Glibc
import LMDB
import Synchronization

/// The thread that writes zeros where the log will grow: a step when the appender asks for it, and more while nothing is appended.
final class SpaceWriter: Sendable {
    struct Work: Sendable {
        var range: Range<UInt64>
        /// Allocates it; false where that fails.
        var allocate: @Sendable () -> Bool
    }

    /// Written, and made known, at once: about a millisecond.
    static let pieceBytes: UInt64 = 1 << 20
    /// Microseconds from one write to the next, in which the device is a commit's alone. By taste: from none to 2,000, and with pieces of
    /// 512 KiB to 4 MiB, bursts were equally fast.
    private static let pauseMicroseconds: UInt32 = 100
    /// Nanoseconds after a full disk before space ahead is tried for again. Without it, each commit on a full disk would.
    private static let pause: UInt64 = 1_000_000_000
    /// Nanoseconds until the reserve is looked at again although nothing was appended: the disk may have room by then.
    private static let rest: UInt64 = 60_000_000_000

    private let path: String
    private let identity: FileIdentity
    /// It is quiet when no transaction has begun for so many nanoseconds, nor this thread.
    private let quiet: UInt64
    private let doorbell = Doorbell()
    private let pieceDone = Doorbell()
    /// Who prepares space: nobody, this thread when it gets to it, or whoever has taken that up.
    private enum State {
        case idle
        case asked(Work)
        case taken
    }

    private let state = Mutex(State.idle)
    /// Whether it is not idle; to be asked without the lock.
    private let preparing = Atomic<Bool>(false)
    private let isAwaited = Atomic<Bool>(false)
    private let isStopping = Atomic<Bool>(false)
    /// Whether this thread waits for a ring, since there is nothing to be done about the reserve.
    private let isResting = Atomic<Bool>(false)
    private let lastTransaction: Atomic<UInt64>
    private let failedAt = Atomic<UInt64>(0)
    private let publish: @Sendable (UInt64) -> Void
    private let more: @Sendable () -> Work?
    private let thread = Mutex<WorkerThread?>(nil)

    /// - Parameters:
    ///   - identity: of the file that has the path now.
    ///   - publish: called on the thread of this, when all below a place may be written.
    ///   - more: called there while it is quiet: what to prepare without being asked.
    init(
        path: String, as identity: FileIdentity, quiet: UInt64, publish: @escaping @Sendable (UInt64) -> Void,
        more: @escaping @Sendable () -> Work?
    ) throws(LedgerError) {
        self.path = path
        self.identity = identity
        self.quiet = quiet
        self.publish = publish
        self.more = more
        lastTransaction = Atomic(MonotonicClock.nanoseconds())
        let started = try WorkerThread.start("space") { [weak self] in self?.run() }
        thread.withLock { $0 = started }
    }

    func stop() {
        isStopping.store(true, ordering: .releasing)
        doorbell.ring()
        thread.withLock { $0.take() }?.join()
    }

    /// Where, from `start` on, the first block of a file begins that is not written; its end where there is none.
    static func endOfWritten(_ path: String, from start: UInt64) -> UInt64 {
        // Never LMDB's own descriptor: a commit goes to a place of the file first and writes there then.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return start }
        defer { close(descriptor) }
        // SEEK_HOLE, which Swift's Glibc does not show. A block that was only allocated counts as a hole.
        let seekHole: Int32 = 4
        let end = lseek(descriptor, off_t(start), seekHole)
        let page = UInt64(DirectWriter.alignment)
        return end < 0 ? start : max(start, UInt64(end) / page * page)
    }

    // MARK: For the thread that writes the log

    var isPreparing: Bool { preparing.load(ordering: .acquiring) }

    /// Has a range allocated and written, unless the disk was full a moment ago or something else is being prepared.
    /// - Parameter wanted: called when nothing is.
    /// - Returns: whether it will be.
    @discardableResult
    func prepare(_ wanted: () -> Work?) -> Bool {
        let failed = failedAt.load(ordering: .relaxed)
        guard failed == 0 || MonotonicClock.nanoseconds() - failed > Self.pause else { return false }
        let isAsked = state.withLock { state in
            guard case .idle = state, let wanted = wanted() else { return false }
            state = .asked(wanted)
            preparing.store(true, ordering: .releasing)
            return true
        }
        if isAsked { doorbell.ring() }
        return isAsked
    }

    /// Waits until nothing is being prepared, and keeps it so until `release()`.
    func hold() {
        while !takeUp() { waitForPiece() }
    }

    func release() {
        state.withLock { state in
            state = .idle
            preparing.store(false, ordering: .releasing)
        }
    }

    /// A transaction is about to begin.
    func noticeTransaction() {
        lastTransaction.store(MonotonicClock.nanoseconds(), ordering: .relaxed)
        if isResting.load(ordering: .relaxed) { doorbell.ring() }
    }

    /// Waits until a piece is ready, or nothing more is being prepared.
    func waitForPiece() {
        isAwaited.store(true, ordering: .relaxed)
        pieceDone.wait(nanoseconds: 100_000_000)
        isAwaited.store(false, ordering: .relaxed)
    }

    // MARK: The thread

    private func takeUp() -> Bool {
        state.withLock { state in
            guard case .idle = state else { return false }
            state = .taken
            preparing.store(true, ordering: .releasing)
            return true
        }
    }

    private func run() {
        // Whether the reserve lacks something, as far as is known.
        var mayLack = true
        while !isStopping.load(ordering: .acquiring) {
            isResting.store(!mayLack, ordering: .relaxed)
            doorbell.wait(nanoseconds: mayLack ? quiet : Self.rest)
            isResting.store(false, ordering: .relaxed)
            mayLack = prepareWhatIsAsked() || !isQuiet || prepareReserve()
        }
    }

    private var isQuiet: Bool {
        // It may be of just now, and later than this thread's clock.
        MonotonicClock.nanoseconds() >= lastTransaction.load(ordering: .relaxed) + quiet
    }

    private func prepareWhatIsAsked() -> Bool {
        let wanted: Work? = state.withLock { state in
            guard case .asked(let wanted) = state else { return nil }
            state = .taken
            return wanted
        }
        guard let wanted else { return false }
        prepare(wanted) { false }
        release()
        pieceDone.ring()
        return true
    }

    /// Prepares the reserve, until something is appended.
    /// - Returns: whether there may be more to do soon.
    private func prepareReserve() -> Bool {
        while isQuiet, !isStopping.load(ordering: .acquiring) {
            guard takeUp() else { return true }
            let wanted = more()
            if let wanted { prepare(wanted) { !self.isQuiet && !self.isAwaited.load(ordering: .relaxed) } }
            release()
            pieceDone.ring()
            guard wanted != nil, failedAt.load(ordering: .relaxed) == 0 else { return false }
        }
        return true
    }

    /// - Parameter isEnough: whether to end before the end of the range.
    private func prepare(_ wanted: Work, until isEnough: () -> Bool) {
        if wanted.allocate() {
            failedAt.store(0, ordering: .relaxed)
            writeZeros(wanted.range, until: isEnough)
        } else {
            failedAt.store(MonotonicClock.nanoseconds(), ordering: .relaxed)
        }
    }

    private func writeZeros(_ range: Range<UInt64>, until isEnough: () -> Bool) {
        guard let writer = DirectWriter.open(path: path, as: identity) else { return publish(range.upperBound) }
        let zeros = UnsafeMutableRawBufferPointer.allocate(
            byteCount: Int(Self.pieceBytes), alignment: DirectWriter.alignment)
        defer { zeros.deallocate() }
        zeros.initializeMemory(as: UInt8.self, repeating: 0)
        var at = range.lowerBound
        while at < range.upperBound, !isStopping.load(ordering: .acquiring), !isEnough() {
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
