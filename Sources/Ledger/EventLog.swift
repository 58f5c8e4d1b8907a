import Glibc
import LMDB
import Synchronization

/// The log of a ledger, open: appends units, finds and reads events, tells of new ones.
///
/// Its promise: an `appended` outcome means that the unit's events survive a kill, a crash of the system and a power
/// cut, at consecutive positions that nothing else will ever have. It refuses a unit whole or not at all.
///
/// ```swift
/// let log = try EventLog.open(directory: data, configuration: .init(), lifecycle: leads, clock: now) { exit(74) }
/// var snapshot = try log.makeIndexSnapshot()
/// log.prepare(unit, using: &snapshot)
/// let accepted = log.submit([unit])          // fewer than given: the queue is full, see `whenRoom`
/// // later, mostly on the appender's thread: sink.deliver([(token, .refused(.versionConflict(...)))])
/// ```
///
/// The threads: any number read and prepare; one at a time appends (`Appender`); one follows with the index (`IndexFollower`),
/// and one keeps it in memory (`IndexResidency`).
package final class EventLog: Sendable {
    let log: LogStore
    let index: Index
    let overlay: Overlay
    private let lock: LedgerLock
    private let configuration: LogConfiguration
    private let queue: AppendQueue
    let follower: IndexFollower
    package let rush: Rush
    private let appender: Appender
    private let listeners: Listeners
    private let isClosed = Atomic<Bool>(false)

    /// How the index came to be as it is: kept, or rebuilt and why.
    package var indexOrigin: CacheEnvironment.Origin { index.origin }

    /// Opens the ledger in `directory`, and makes one where there is none. It returns when appends are accepted: the end
    /// of the log was read back and verified, and the index is as far as it has to be.
    ///
    /// Refuses, among others: a directory that another daemon has (`locked`), one that is not whole or of another format
    /// (`format`), a log whose end is not what was stored (`corruption`).
    /// - Parameters:
    ///   - clock: microseconds since 1970 UTC. Called by the appender once a group.
    ///   - onPoison: called once, on a thread of the log's, when the device has failed or the data is not what was
    ///     stored, after all waiters were told `unknown`. Reads go on; the program should end (exit code 74).
    package static func open(
        directory: String, configuration: LogConfiguration = LogConfiguration(),
        lifecycle: @escaping StreamLifecycle, clock: @escaping @Sendable () -> Int64,
        onPoison: @escaping @Sendable (LedgerError) -> Void = { _ in }
    ) throws(LedgerError) -> EventLog {
        // 1. Alone in a directory that is whole; its log as the device has it.
        try LedgerDirectory.create(directory)
        let lock = try LedgerLock.acquire(directory: directory)
        let log = try LedgerDirectory.openLog(in: directory, configuration: configuration, now: clock())

        // 2. What is on the device is what was stored.
        let (end, lastRecordedAt) = try log.findEnd()
        try log.verifyTail(end: end, records: LedgerLimits.tailRecordsVerified)

        // 3. The index, and in memory what it does not know yet.
        let index = try Index(
            directory: LedgerDirectory.indexPath(in: directory), ledgerID: log.ledgerID, logEnd: end,
            configuration: configuration)
        let recovery = Recovery(log: log, index: index, lifecycle: lifecycle)
        let progress = try recovery.catchUp(
            to: end, leaving: index.origin == .kept ? configuration.tailEventsHeld : 0)
        let overlay = Overlay(floor: progress, eventsMax: configuration.tailEventsMax)
        try recovery.refill(overlay, to: end)

        // 4. The threads.
        let eventLog = EventLog(
            lock: lock, log: log, newestLeaves: try log.newestLeaves(end: end), reader: try LogReader(log),
            index: index, snapshot: try IndexSnapshot(index: index, log: log), overlay: overlay, progress: progress,
            lastRecordedAt: lastRecordedAt, configuration: configuration, lifecycle: lifecycle, clock: clock,
            onPoison: onPoison)
        try eventLog.follower.start()
        do throws(LedgerError) { try eventLog.appender.start() } catch {
            eventLog.follower.stop()
            throw error
        }
        index.startResidency()
        return eventLog
    }

    private init(
        lock: LedgerLock, log: LogStore, newestLeaves: NewestLeaves, reader: LogReader, index: Index,
        snapshot: consuming IndexSnapshot, overlay: Overlay, progress: UInt64, lastRecordedAt: Int64,
        configuration: LogConfiguration, lifecycle: @escaping StreamLifecycle, clock: @escaping @Sendable () -> Int64,
        onPoison: @escaping @Sendable (LedgerError) -> Void
    ) {
        let listeners = Listeners()
        let brokenIndex = BrokenIndex()
        self.lock = lock
        self.log = log
        self.index = index
        self.overlay = overlay
        self.configuration = configuration
        self.listeners = listeners
        queue = AppendQueue(bytesMax: configuration.queueBytesMax, unitsMax: configuration.queueUnitsMax)
        rush = Rush(configuration.rush, end: overlay.end)
        follower = IndexFollower(
            index: index, log: reader, overlay: overlay, rush: rush, progress: progress, configuration: configuration,
            onBroken: { brokenIndex.report($0) })
        appender = Appender(
            log: log, newestLeaves: newestLeaves, snapshot: snapshot, overlay: overlay, queue: queue,
            follower: follower, rush: rush, configuration: configuration,
            lastRecordedAt: lastRecordedAt, lifecycle: lifecycle, clock: clock,
            announce: { listeners.announce($0) }, onPoison: onPoison)
        // Without the index nothing says which events are stored: the log stops. Its STATE goes, so that the next start
        // rebuilds it.
        let statePath = index.environment.directory + "/STATE"
        let appender = appender
        brokenIndex.handler.withLock { handler in
            handler = { [weak appender] error in
                unlink(statePath)
                guard let appender, appender.poison(because: error) else { return }
                onPoison(error)
            }
        }
    }

    /// Appends what waits, brings the index up to the log, and closes cleanly. Every index snapshot and every reading must
    /// have ended. Units submitted after it are not accepted.
    package func close() {
        guard isClosed.compareExchange(expected: false, desired: true, ordering: .sequentiallyConsistent).exchanged
        else { return }
        appender.stop()
        follower.stop()
        appender.endReading()
        follower.endReading()
        if appender.isPoisoned {
            // Nothing is written any more: the next start judges the index by its STATE.
            index.close()
        } else {
            // An error leaves STATE open: within this boot the index is kept, else rebuilt. Nothing is lost.
            try? index.closeCleanly()
        }
        log.environment.close()
        lock.release()
    }

    // MARK: Appending

    package var ledgerID: LedgerID { log.ledgerID }

    /// The position the next event will get: the number of events.
    package var end: Position { Position(rawValue: overlay.end) }

    /// Whether writing has stopped for good.
    package var isPoisoned: Bool { appender.isPoisoned }

    /// One for each event loop. See ``IndexSnapshot``.
    package func makeIndexSnapshot() throws(LedgerError) -> IndexSnapshot {
        try IndexSnapshot(index: index, log: log)
    }

    /// Looks up the unit's streams and names, so that the appender does not have to wait for the disk.
    ///
    /// Where that fails, or the snapshot could not be renewed, the appender repeats it, and what is wrong is its answer.
    package func prepare(_ unit: AppendUnit, using snapshot: inout IndexSnapshot) {
        guard snapshot.isActive else { return }
        try? snapshot.lookUp(unit)
    }

    /// The same for many.
    package func prepare(_ units: [AppendUnit], using snapshot: inout IndexSnapshot) {
        guard snapshot.isActive else { return }
        try? snapshot.lookUp(units)
    }

    /// Queues units, in order. Each has at least one event or register write.
    /// - Returns: how many were accepted. The others have to wait: see ``whenRoom(_:)``.
    // Not generic: it would be called through tables from another module, for each unit several times.
    package func submit(_ units: [AppendUnit]) -> Int { queue.submit(units) }
    package func submit(_ units: ArraySlice<AppendUnit>) -> Int { queue.submit(units) }

    /// As above, and removes those that were accepted from `units`.
    /// - Parameter mayWait: whether this may take as long as a commit. Then a unit that is the only one for some time is appended,
    ///   and its outcome delivered, by the time it returns.
    package func submit(removingFrom units: inout [AppendUnit], mayWait: Bool = false) {
        if mayWait, appender.appendAtOnce(&units) { return }
        queue.submit(removingFrom: &units)
    }

    /// Has `queueHasRoom()` called once, when units are worth submitting again; at once where they are now.
    package func whenRoom(_ sink: any AppendReplySink) { queue.whenRoom(sink) }

    // MARK: News

    /// Calls `body` with the new end after each commit, on the thread that appends, which may be one that is submitting: it must only wake something.
    /// - Returns: what `removeOnAppend(_:)` takes.
    package func onAppend(_ body: @escaping @Sendable (Position) -> Void) -> UInt64 { listeners.add(body) }

    package func removeOnAppend(_ token: UInt64) { listeners.remove(token) }

    // MARK: Status

    package struct Status: Sendable {
        package var end: Position
        package var lastRecordedAt: Int64?
        package var isPoisoned: Bool
        /// What the index has taken in, and why it does not follow at the moment.
        package var indexProgress: Position
        package var indexPausedBecause: String?
        /// Events in memory.
        package var tailEvents: Int
        package var tailEventsMax: Int
        package var queueUnits: Int
        package var queueBytes: Int
        package var readersInUse: Int
        package var logUsedBytes: UInt64
        package var logMapBytes: UInt64
        package var indexUsedBytes: UInt64
    }

    package var status: Status {
        let load = queue.load
        let info = log.environment.info
        let last = appender.lastRecordedAt.load(ordering: .relaxed)
        return Status(
            end: end, lastRecordedAt: last == .min ? nil : last, isPoisoned: isPoisoned,
            indexProgress: Position(rawValue: follower.progress.load(ordering: .acquiring)),
            indexPausedBecause: follower.pausedBecause, tailEvents: overlay.countSeen,
            tailEventsMax: configuration.tailEventsMax,
            queueUnits: load.units, queueBytes: load.bytes, readersInUse: info.readersInUse,
            logUsedBytes: info.usedBytes, logMapBytes: info.mapSize, indexUsedBytes: index.environment.info.usedBytes)
    }

    /// Has the index commit what waits, soon. For tests.
    func flushIndex() { follower.flush() }
}

/// Who wants to know of new events.
private final class Listeners: Sendable {
    private struct State {
        var next: UInt64 = 0
        var bodies: [(token: UInt64, body: @Sendable (Position) -> Void)] = []
    }

    private let state = Mutex(State())

    func add(_ body: @escaping @Sendable (Position) -> Void) -> UInt64 {
        state.withLock { state in
            state.next += 1
            state.bodies.append((state.next, body))
            return state.next
        }
    }

    func remove(_ token: UInt64) { state.withLock { state in state.bodies.removeAll { $0.token == token } } }

    func announce(_ end: Position) {
        // Called without the lock: a listener may remove itself.
        for (_, body) in state.withLock({ $0.bodies }) { body(end) }
    }
}

/// The follower is made before the appender it may have to stop.
private final class BrokenIndex: Sendable {
    let handler = Mutex<(@Sendable (LedgerError) -> Void)?>(nil)

    func report(_ error: LedgerError) { handler.withLock { $0 }?(error) }
}
