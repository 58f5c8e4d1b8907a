import LMDB
import Synchronization

/// The thread that brings the index up to the log: it commits when enough events wait or the oldest waited long enough.
///
/// It takes the events from the overlay's tail, not from the log. It steps back for those who append, whom it would else take a
/// third of their processors in a burst: it runs where nobody else would, and not at all in a ``Rush``, until it is far behind or
/// somebody waits for it. A full disk or a full map pauses it: nothing is lost,
/// the tail grows, and at its bound appends are refused until there is room again. An index that is broken stops the
/// ledger, since nothing could say any more which events are stored; the next start rebuilds it from the log.
// Sendable: `events` and `log` are the thread's own, all else is locked or atomic.
final class IndexFollower: @unchecked Sendable {
    private let index: Index
    /// Nil once the log is closed.
    private var log: LogReader?
    private let overlay: Overlay
    private let rush: Rush
    private let configuration: LogConfiguration
    private let onBroken: @Sendable (LedgerError) -> Void
    private let doorbell = Doorbell()
    private let thread = Mutex<WorkerThread?>(nil)
    private var events: ContiguousArray<TailEvent> = []

    /// What the index has taken in.
    let progress: Atomic<UInt64>
    private let order = Mutex(Order())
    /// Why it does not follow at the moment; empty when it does.
    private let pause = Mutex("")

    private struct Order {
        var isStopping = false
        var isFlushWanted = false
    }

    /// So far behind it runs as others do: long before its lag makes appends wait.
    private let urgentEvents: UInt64

    /// Rows gone through for the filter from one look at what else there is to do to the next: some milliseconds.
    private static let filledAtOnce = 20_000

    /// How long it waits before it tries a full disk again.
    private static let pauseNanoseconds: UInt64 = 1_000_000_000

    init(
        index: Index, log: LogReader, overlay: Overlay, rush: Rush, progress: UInt64, configuration: LogConfiguration,
        onBroken: @escaping @Sendable (LedgerError) -> Void
    ) {
        self.index = index
        self.log = log
        self.overlay = overlay
        self.rush = rush
        self.configuration = configuration
        self.onBroken = onBroken
        self.progress = Atomic(progress)
        urgentEvents = UInt64(configuration.tailEventsMax / 4)
    }

    func start() throws(LedgerError) {
        // Where it could not be called back, it would starve on a machine that others keep busy.
        let priority: WorkerThread.Priority = configuration.indexStepsBack ? .steppingBack(otherwise: .normal) : .normal
        let started = try WorkerThread.start("index", priority: priority) { self.run() }
        thread.withLock { $0 = started }
    }

    /// Called by the appender after each group.
    func notice(end: UInt64, before: UInt64, now: UInt64) {
        // It wakes by itself every interval; ring only when the batch has just become full.
        let full = progress.load(ordering: .relaxed) + UInt64(batchEvents)
        if before < full, end >= full { doorbell.ring() }
        let bound = rush.end(after: now) == nil ? urgentEvents : UInt64(configuration.tailEventsHeld)
        if end >= progress.load(ordering: .relaxed) + bound, !isForward { callForward() }
    }

    /// Brings the index up to the log now, as far as its disk allows. For tests and the end.
    func flush() {
        order.withLock { $0.isFlushWanted = true }
        callForward()
    }

    /// Brings the index up to the log, unless it is paused or broken, and ends the thread.
    func stop() {
        order.withLock { $0.isStopping = true }
        callForward()
        let ended = thread.withLock { thread in
            defer { thread = nil }
            return thread
        }
        ended?.join()
    }

    /// Has it run as others do, and look now, though it may stand still for a rush.
    private func callForward() {
        thread.withLock { $0 }?.comeForward()
        doorbell.ring()
    }

    private var isForward: Bool { thread.withLock { $0 }?.isForward ?? true }

    /// Gives its reader back. After `stop()`.
    func endReading() { log = nil }

    var pausedBecause: String? { pause.withLock { $0.isEmpty ? nil : $0 } }

    var batchEvents: Int { max(1, min(configuration.indexCommitEvents, LedgerLimits.indexTransactionEventsMax)) }

    private func run() {
        let interval = configuration.indexCommitInterval.nanoseconds
        var readersChecked = MonotonicClock.nanoseconds()
        var wakeAt = readersChecked + interval
        var isFilling = true
        var isFull = false
        while true {
            let before = MonotonicClock.nanoseconds()
            if let end = standsStillUntil(after: before) {
                doorbell.wait(until: end)
            } else if before < wakeAt, isFull || !isFilling && waiting < batchEvents {
                doorbell.wait(until: wakeAt)
            }
            let now = MonotonicClock.nanoseconds()
            let (isStopping, isFlushWanted) = order.withLock { order in
                defer { order.isFlushWanted = false }
                return (order.isStopping, order.isFlushWanted)
            }

            // What is due in a rush stays so.
            let isDue = now >= wakeAt && standsStillUntil(after: now) == nil
            let takesAll = isStopping || isFlushWanted || isDue
            if isDue { wakeAt = now + interval }
            isFull = false
            do throws(Index.FollowError) {
                try follow(all: takesAll, inRush: isStopping || isFlushWanted)
            } catch {
                switch error {
                case .full(let reason):
                    isFull = true
                    pause.withLock { $0 = reason }
                    wakeAt = now + Self.pauseNanoseconds
                case .broken(let reason):
                    pause.withLock { $0 = reason.description }
                    onBroken(reason)
                    return
                }
            }
            if isStopping { return }
            stepBackWhenNear()
            // Where it cannot be read, look-ups will say so.
            if standsStillUntil(after: now) == nil {
                isFilling = !isFull && ((try? index.fillKnown(rowsMax: Self.filledAtOnce)) ?? false)
            }
            if now - readersChecked >= configuration.readerCheckInterval.nanoseconds {
                readersChecked = now
                // A failure here is one of the lock file, not of the data: the next start looks at it.
                _ = try? log?.log.environment.checkReaders()
                _ = try? index.environment.checkReaders()
            }
        }
    }

    /// Events that are not in the index yet.
    private var waiting: Int { Int(overlay.end - progress.load(ordering: .relaxed)) }

    /// Not for one that has come forward, nor where it ought to have.
    private func standsStillUntil(after now: UInt64) -> UInt64? {
        guard let end = rush.end(after: now), waiting < configuration.tailEventsHeld, !isForward else { return nil }
        return end
    }

    /// Commits full batches, and when `all` the rest too.
    private func follow(all: Bool, inRush: Bool) throws(Index.FollowError) {
        while inRush || standsStillUntil(after: MonotonicClock.nanoseconds()) == nil {
            let start = progress.load(ordering: .relaxed)
            let end = min(overlay.end, start + UInt64(batchEvents))
            guard let log, start < end, all || end - start == UInt64(batchEvents) else { return }
            overlay.copyEvents(start..<end, into: &events)
            try index.apply(events, from: start, log: log, faults: configuration.faults)
            progress.store(end, ordering: .releasing)
            // Snapshots taken before this commit need the events from `start` on still (Overlay O3).
            overlay.trimTarget.store(start, ordering: .releasing)
            pause.withLock { if !$0.isEmpty { $0 = "" } }
            if !all { stepBackWhenNear() }
        }
    }

    private func stepBackWhenNear() {
        guard overlay.end < progress.load(ordering: .relaxed) + urgentEvents / 2 else { return }
        thread.withLock { $0 }?.stepBack { order.withLock { $0.isStopping || $0.isFlushWanted } }
    }
}
