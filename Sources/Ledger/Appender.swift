import Glibc
import LMDB
import Synchronization

/// What writes the log: one thread, or for a moment an event loop in its place (`appendAtOnce`).
///
/// It takes all units that wait as one group, and:
///
/// ```
/// 1. makes room       space allocated ahead for the worst case; a full disk is a clean answer here
/// 2. begins           one LMDB transaction
/// 3. settles          each unit in order: checked whole (`settle`), and if nothing is against it, written
/// 4. commits          one transaction, one sync
/// 5. joins            what was staged goes to the overlay, and with it the new end is known
/// 6. answers          every waiter, once a sink
/// 7. announces        the new end
/// ```
///
/// What an error means:
/// - at 1 a full disk or a full tail, at 3 or 4 a full map: nothing of the group is stored, and later groups try again.
///   The group is settled once more without writing, so that a retry of what is stored already is told so (P2).
/// - at 4 anything else: the outcome is unknown. The log is *poisoned*: all waiters are told so, nothing is ever
///   committed again by this process, and the poison handler ends the daemon. (The kernel marks pages clean when
///   their flush has failed, so that another commit would succeed without them.)
/// - a record found changed, or any other error of LMDB's: poisoned too; the log cannot be trusted.
///
/// Invariants:
/// - A1: a unit's events are all put, at consecutive positions, and its registers with them, or nothing of it is.
/// - A2: a unit is checked whole before its first put, so that one that fails never fails its neighbours.
/// - A3: no outcome is delivered before the sync it depends on has succeeded.
/// - A4: after a failed commit there is no other.
/// - A5: one at a time does this, whoever holds `turn`, and takes units in the order of the queue.
// Sendable: everything mutable is that of who holds `turn`, but for what is atomic or locked.
final class Appender: @unchecked Sendable {
    let log: LogStore
    let overlay: Overlay
    let queue: AppendQueue
    private let follower: IndexFollower
    private let rush: Rush
    private let configuration: LogConfiguration
    private let lifecycle: StreamLifecycle
    private let clock: @Sendable () -> Int64
    private let space: SpaceAhead
    private let announce: @Sendable (Position) -> Void
    private let onPoison: @Sendable (LedgerError) -> Void
    private var thread: WorkerThread?
    private let turn = Mutex(())
    /// How many of the newest groups, one after the other, were such as `appendAtOnce` is for.
    private let lonelyGroups = Atomic<Int>(0)
    private let appendAtOnceMax: UInt64

    /// Why nothing is written any more.
    private let poison = Mutex<LedgerError?>(nil)
    private let poisoned = Atomic<Bool>(false)
    let lastRecordedAt: Atomic<Int64>

    // The group.
    private var group = UnitGroup()
    private var recordedAt: Int64 = 0
    private var clockNow: Int64 = 0
    /// Why nothing may be written; nil: it may.
    private var noRoom: AppendRefusal?
    private var staged = StagedGroup()
    private let newestLeaves: NewestLeaves
    /// For look-ups that have to be repeated; active only while a group is settled. Its own from the start: where all
    /// readers are lent, appending must go on. Nil once the log is closed.
    private var snapshot: IndexSnapshot?
    private var snapshotIsActive = false
    /// Whether the group writes registers, and their table where this group has made it.
    private var writesRegisters = false
    private var newRegisters: Table?
    /// Pages of that table as of the last commit that wrote to it: what a group may copy of it at most.
    private var registerPages: Int?

    /// So many groups, of one unit and so many entries at most, come one after the other before a unit is appended at once. By taste.
    static let lonelyGroupsMin = 16
    static let lonelyWritesMax = 16

    /// Told to units that find the tail full. By taste: the index commits a batch in about that time.
    private static let retryMilliseconds = 250

    init(
        log: LogStore, newestLeaves: NewestLeaves, snapshot: consuming IndexSnapshot, overlay: Overlay,
        queue: AppendQueue, follower: IndexFollower, rush: Rush, configuration: LogConfiguration,
        lastRecordedAt: Int64, lifecycle: @escaping StreamLifecycle, clock: @escaping @Sendable () -> Int64,
        announce: @escaping @Sendable (Position) -> Void, onPoison: @escaping @Sendable (LedgerError) -> Void
    ) {
        self.log = log
        self.newestLeaves = newestLeaves
        self.snapshot = consume snapshot
        self.snapshot?.reset()
        self.overlay = overlay
        self.queue = queue
        self.follower = follower
        self.rush = rush
        self.configuration = configuration
        appendAtOnceMax = configuration.appendAtOnceMax.nanoseconds
        self.lastRecordedAt = Atomic(lastRecordedAt)
        self.lifecycle = lifecycle
        self.clock = clock
        self.announce = announce
        self.onPoison = onPoison
        space = SpaceAhead(
            environment: log.environment, step: configuration.spaceStepBytes,
            reserve: configuration.spaceReserveBytes, quiet: configuration.spaceQuiet)
    }

    func start() throws(LedgerError) {
        try space.startWriting()
        do throws(LedgerError) { thread = try .start("appender") { self.run() } } catch {
            space.stop()
            throw error
        }
    }

    /// Appends what waits, then ends the thread.
    func stop() {
        queue.close()
        thread?.join()
        thread = nil
        // An event loop may be at it yet; from now on none is, since the queue is closed.
        turn.withLock { _ in }
        space.stop()
    }

    /// Gives its reader back. After `stop()`.
    func endReading() { turn.withLock { _ in snapshot = nil } }

    var isPoisoned: Bool { poisoned.load(ordering: .acquiring) }

    /// Stops all writing for good. Only the first reason counts.
    /// - Returns: whether this was the first.
    @discardableResult
    func poison(because reason: LedgerError) -> Bool {
        let isFirst = poison.withLock { poison in
            guard poison == nil else { return false }
            poison = reason
            return true
        }
        poisoned.store(true, ordering: .releasing)
        return isFirst
    }

    // MARK: The thread

    private func run() {
        while queue.waitForUnits() {
            turn.withLock { _ in
                // Unless an event loop has just poisoned the log and answered those that waited.
                guard
                    queue.take(
                        eventsMax: configuration.groupEventsMax, bytesMax: LedgerLimits.groupBytesMax, into: &group)
                else { return }
                appendGroup()
            }
        }
    }

    /// Appends a unit on the calling thread, an event loop's, where it is the only one: nothing waits, and for some time nobody had a
    /// second one to send before the one before was answered. To wake the thread and to be woken by it would take a sixth of the time
    /// of a commit, and the loop would only wait for it.
    ///
    /// - Returns: whether it did. Then its outcome is delivered, and `units` empty. If not, it belongs in the queue.
    func appendAtOnce(_ units: inout [AppendUnit]) -> Bool {
        guard mayAppendAtOnce, units.count == 1, units[0].writeCount <= Self.lonelyWritesMax else { return false }
        return turn.withLockIfAvailable { _ in
            // A5; and what was so when the lock was held by another may be so no more.
            guard queue.isIdle, mayAppendAtOnce, let batch = UnitBatch(units) else { return false }
            units = []
            group.set([batch])
            appendGroup()
            return true
        } ?? false
    }

    /// Whether as many lonely groups have come one after the other as it takes.
    private var mayAppendAtOnce: Bool { lonelyGroups.load(ordering: .relaxed) >= Self.lonelyGroupsMin }

    /// Appends the group, answers, and announces.
    private func appendGroup() {
        if isPoisoned { return answer(with: .refused(.poisoned)) }
        let began = MonotonicClock.nanoseconds()
        let isLonely = group.count == 1 && group.writes <= Self.lonelyWritesMax
        do throws(GroupFailure) {
            let before = overlay.end
            do throws(GroupFailure) { try append() } catch {
                guard case .dropped(let refusal) = error else { throw error }
                staged.removeAll()
                newestLeaves.rollBack()
                try append(room: refusal)
            }
            answer()
            let now = MonotonicClock.nanoseconds()
            if overlay.end > before {
                rush.notice(end: overlay.end, now: now)
                announce(Position(rawValue: overlay.end))
                follower.notice(end: overlay.end, before: before, now: now)
            }
            overlay.trim(budget: max(256, 2 * Int(overlay.end - before)))
            let wasLonely = isLonely && now - began <= appendAtOnceMax
            lonelyGroups.store(wasLonely ? lonelyGroups.load(ordering: .relaxed) + 1 : 0, ordering: .relaxed)
        } catch {
            staged.removeAll()
            let reason = error.reason
            let isFirst = poison(because: reason)
            answer(with: .unknown)
            // Those in the queue were not begun, but a client can tell the two apart only by a retry.
            while queue.take(into: &group) { answer(with: .unknown) }
            if isFirst { onPoison(reason) }
        }
    }

    private enum GroupFailure: Error {
        /// Stored for nobody, and all is well.
        case dropped(AppendRefusal)
        case unknown(LedgerError)

        init(_ error: LMDBError) {
            if error.isMapFull { self = .dropped(.ledgerFull) } else { self = .unknown(LedgerError(error)) }
        }

        /// Why the outcome is unknown. A group that was settled without writing cannot be dropped again.
        var reason: LedgerError {
            switch self {
            case .unknown(let reason): reason
            case .dropped(let refusal): preconditionFailure("nothing was written, and yet there is no room: \(refusal)")
            }
        }
    }

    /// Steps 1 to 5. Gives each unit its outcome.
    /// - Parameter refusal: why there is no room. Then nothing is written: what would be is refused with it, and the rest
    ///   is answered as always.
    private func append(room refusal: AppendRefusal? = nil) throws(GroupFailure) {
        noRoom = refusal
        if refusal == nil { try makeRoom() } else { forgetPlaces() }

        writesRegisters = false
        newRegisters = nil
        staged.begin(at: overlay.end)
        let last = lastRecordedAt.load(ordering: .relaxed)
        clockNow = clock()
        recordedAt = max(clockNow, last)
        defer {
            if snapshotIsActive { snapshot?.reset() }
            snapshotIsActive = false
        }
        do throws(LMDBError) {
            // 2.
            var transaction = try log.environment.beginWrite()
            // 3.
            let group = group  // so that what it is made of is held once
            for index in 0..<group.count {
                fetchAhead(of: index, in: group)
                try group.lend(at: index) { (unit) throws(LMDBError) in
                    unit.outcome = try settle(unit, &transaction)
                }
            }
            guard !staged.isEmpty || writesRegisters else { return }
            if writesRegisters, let table = newRegisters ?? log.registers {
                registerPages = try transaction.pages(of: table)
            }
            if !staged.isEmpty { try newestLeaves.putRest(to: log.leaves, in: &transaction) }
            // 4.
            if let code = configuration.faults?.code(.commit) { throw LMDBError(code: code, operation: .commit) }
            try transaction.commit()
            if let code = configuration.faults?.code(.commitReported) {
                throw LMDBError(code: code, operation: .commit)
            }
        } catch {
            if let found = corruption.take() { throw .unknown(found) }
            throw GroupFailure(error)
        }

        // 5.
        if let newRegisters { log.adoptRegisters(newRegisters) }
        guard !staged.isEmpty else { return }
        newestLeaves.didCommit()
        lastRecordedAt.store(recordedAt, ordering: .relaxed)
        overlay.join(staged.events)
        staged.removeAll()
    }

    /// Of a unit so many events are fetched; most have one. By taste.
    private static let eventsFetchedMax = 4

    /// Has what is known of the events of units to come fetched: what the tables hold, then what that leads to.
    @inline(__always)
    private func fetchAhead(of index: Int, in group: UnitGroup) {
        let far = index + Overlay.fetchedAhead
        if far < group.count {
            group.lend(at: far) { unit in
                for event in 0..<min(unit.eventCount, Self.eventsFetchedMax) {
                    overlay.fetch(unit.slots[event].key, unit.slots[event].name)
                    staged.fetch(unit.slots[event].key, unit.slots[event].name)
                }
            }
        }
        let near = index + Overlay.newestFetchedAhead
        if near < group.count {
            group.lend(at: near) { unit in
                for event in 0..<min(unit.eventCount, Self.eventsFetchedMax) {
                    overlay.fetchNewest(of: unit.slots[event].key)
                }
                unit.fetchEnd()
            }
        }
    }

    /// What the first settling found in its own group was not stored.
    private func forgetPlaces() {
        group.lend { unit in
            for event in 0..<unit.eventCount {
                if let position = unit.slots[event].storedAt, position >= overlay.end {
                    unit.slots[event].storedAt = nil
                }
            }
        }
    }

    /// Step 1: in the tail, then on the disk.
    private func makeRoom() throws(GroupFailure) {
        var (events, bytes, registers, registerPuts) = (0, 0, 0, 0)
        group.lendFetching { unit in
            events += unit.eventCount
            bytes += unit.byteCount
            if !unit.registerWrites.isEmpty {
                registers += unit.registerWrites.count
                registerPuts += unit.registerWrites.count { $0.value != nil }
            }
        }
        // The tail is bounded: a group that does not fit waits at the client.
        if overlay.count + events > configuration.tailEventsMax {
            overlay.trim(budget: .max)
            guard overlay.count + events <= configuration.tailEventsMax else {
                throw .dropped(.tailFull(retryAfterMilliseconds: Self.retryMilliseconds))
            }
        }

        // 1.
        do throws(FileError) {
            if let code = configuration.faults?.code(.space) {
                throw FileError(operation: "allocate space for", path: log.environment.directory, code: code)
            }
            var worst = Self.bytesAtWorst(events: events, bytes: bytes)
            if registers > 0 { worst += try registerBytesAtWorst(writes: registers, puts: registerPuts) }
            try space.ensure(bytes: worst)
        } catch {
            throw error.isDiskFull ? .dropped(.diskFull) : .unknown(LedgerError(error))
        }
    }

    /// Two pages filled one after the other hold more than one page's bytes between them, so twice the bytes are enough
    /// (a record's node has about 26 bytes around it, its leaf hash takes 34); the rest is for the pages above, the pages
    /// copied on the way down, and the free list.
    static func bytesAtWorst(events: Int, bytes: Int) -> Int { 2 * (bytes + 128 * events) + 256 << 10 }

    /// Registers lie anywhere in their table: each write may copy its leaf page and those above it, four at most in a table of
    /// 10 million, but all of them no more than the table has; and each put may split a page. The values were counted as bytes.
    private func registerBytesAtWorst(writes: Int, puts: Int) throws(FileError) -> Int {
        let pageBytes = Int(log.environment.info.pageSize)
        if registerPages == nil {
            do throws(LMDBError) {
                let transaction = try log.environment.beginRead()
                registerPages =
                    try log.registers.map { (table) throws(LMDBError) in try transaction.pages(of: table) } ?? 0
            } catch {
                // Counted after the next commit; until then as if every write had its pages.
                return 5 * writes * pageBytes
            }
        }
        return (min(4 * writes, registerPages ?? 0) + puts) * pageBytes
    }

    // MARK: Answers

    // The units go back with their outcomes, and nothing of them is kept: who made a unit frees it. A thousand of them freed
    // here would contend with the event loops for the allocator's arenas, which took more time than all else of a commit.

    /// Gives the units back to their sinks. There are as many of these as event loops: a few.
    private func answer() {
        var batches = group.take()
        while let sink = batches.first?.sink {
            let own = batches.filter { $0.sink === sink }.map(\.units)
            batches.removeAll { $0.sink === sink }
            sink.deliver(own)
        }
    }

    private func answer(with outcome: AppendOutcome) {
        group.lend { $0.outcome = outcome }
        answer()
    }

    // MARK: - Settling a unit

    /// What was found wrong in the log while settling; the LMDBError thrown with it is only the signal.
    private var corruption: LedgerError?

    /// Checks a unit whole, in this order, and writes it if nothing is against it:
    ///
    /// 1. a name twice in the unit
    /// 2. names that are stored already: a duplicate, other content under the name, or only some of them
    /// 3. the clock
    /// 4. the expected versions
    /// 5. the lifecycle
    ///
    /// A dry run goes the same way up to the writing.
    ///
    /// Each look-up sees, newest first: the group's staged events, the overlay, what the unit's look-up found.
    private func settle(
        _ unit: AppendUnit, _ transaction: inout WriteTransaction
    ) throws(LMDBError) -> AppendOutcome {
        // 1.
        if let twice = unit.nameTwice { return .refused(.nameTwiceInUnit(event: twice.event, first: twice.first)) }
        precondition(unit.writeCount > 0, "a unit that writes nothing has no outcome")

        // The index knew less than the overlay has forgotten: look again (see Overlay).
        if !unit.streams.isEmpty, unit.lookupProgress.map({ $0 < overlay.floor }) ?? true {
            try reporting { () throws(LedgerError) in try lookUpAgain(unit) }
        }

        // 2.
        var storedCount = 0
        for event in 0..<unit.eventCount {
            if unit.slots[event].storedAt == nil {
                unit.slots[event].storedAt = try newPosition(of: unit, event, transaction)
            }
            if unit.slots[event].storedAt != nil { storedCount += 1 }
        }
        if storedCount > 0 {
            let outcome = try answerStored(unit, storedCount, transaction)
            guard case .appended = outcome, !unit.registerWrites.isEmpty else { return outcome }
            if let noRoom { return .refused(noRoom) }
            try writeRegisters(of: unit, &transaction)
            return outcome
        }

        // 3.
        let last = lastRecordedAt.load(ordering: .relaxed)
        if unit.eventCount > 0, last != .min, clockNow < last - configuration.clockBehindMicrosecondsMax {
            return .refused(.clockBehind(lastRecordedAt: last, now: clockNow))
        }

        // 4.
        for (index, expectation) in unit.expectations.enumerated() {
            let row = try row(of: unit.streams[expectation.stream])
            let version = row?.version ?? .zero
            let expected: StreamVersion
            switch expectation.expected {
            case .any: continue
            case .none: expected = .zero
            case .version(let version): expected = version
            }
            guard version == expected else {
                let key = unit.streams[expectation.stream].key
                let since = try events(of: key, row, after: expected, transaction)
                return .refused(.versionConflict(expectation: index, current: version, since: since))
            }
        }

        // 5.
        let firstStaged = staged.count
        for event in 0..<unit.eventCount {
            let slot = unit.slots[event]
            let before = try row(of: unit.streams[slot.stream])
            switch lifecycle(before?.state, slot.type, slot.variant, slot.isBackfill) {
            case .refused(let reason):
                staged.takeBack(keeping: firstStaged)
                return .refused(.lifecycle(event: event, reason: reason, state: before?.state))
            case .next(let state): stage(slot, before, state)
            }
        }

        // Nothing is against it (A2), but perhaps there is no room.
        if let noRoom {
            staged.takeBack(keeping: firstStaged)
            return .refused(noRoom)
        }
        if unit.isDryRun {
            let versions = staged.events[firstStaged...].map(\.version)
            staged.takeBack(keeping: firstStaged)
            return .wouldAppend(versions)
        }
        if !unit.registerWrites.isEmpty { try writeRegisters(of: unit, &transaction) }
        guard unit.eventCount > 0 else { return .stored }
        return .appended(try write(unit, firstStaged, &transaction))
    }

    /// The newest row of a stream: staged, else in the overlay, else as the unit's look-up found it.
    @inline(__always)
    private func row(of stream: StreamSlot) throws(LMDBError) -> StreamRow? {
        if let row = staged.row(of: stream.key) ?? overlay.row(of: stream.key) { return row }
        do throws(LedgerError) { return try overlay.checked(stream.row) } catch {
            corruption = error
            throw Self.corruptionFound
        }
    }

    @inline(__always)
    private func stage(_ slot: EventSlot, _ before: StreamRow?, _ state: UInt64) {
        staged.stage(
            TailEvent(
                key: slot.key, name: slot.name, first: before?.first ?? Position(rawValue: staged.end),
                version: StreamVersion(rawValue: (before?.version.rawValue ?? 0) + 1), state: state,
                previous: before?.last.rawValue ?? TailEvent.none, type: slot.type, variant: slot.variant,
                isBackfill: slot.isBackfill))
    }

    // MARK: Writing

    /// Puts the unit's records and leaf hashes (A1), and composes its receipt.
    private func write(
        _ unit: AppendUnit, _ firstStaged: Int, _ transaction: inout WriteTransaction
    ) throws(LMDBError) -> AppendReceipt {
        if let code = configuration.faults?.code(.put) { throw LMDBError(code: code, operation: .put) }
        var receipt: AppendReceipt?
        for index in 0..<unit.eventCount {
            let position = staged.start + UInt64(firstStaged + index)
            let version = staged.event(at: position).version
            let leaf = unit.finish(index, position: position, recordedAt: recordedAt, version: version.rawValue)
            try transaction.put(unit.record(index).whole, in: log.records, at: position, .append)
            try newestLeaves.append(leaf, at: position, to: log.leaves, in: &transaction)
            Self.add(
                ReceiptEvent(position: Position(rawValue: position), version: version, leaf: leaf), to: &receipt,
                recordedAt: recordedAt, isDuplicate: false)
        }
        guard let receipt else { preconditionFailure("a unit without events has no outcome") }
        return receipt
    }

    /// Puts and deletes what the unit says of registers.
    private func writeRegisters(of unit: AppendUnit, _ transaction: inout WriteTransaction) throws(LMDBError) {
        if let code = configuration.faults?.code(.put) { throw LMDBError(code: code, operation: .put) }
        let table: Table
        if let known = newRegisters ?? log.registers {
            table = known
        } else {
            table = try transaction.openTable(LogStore.registersName)
            newRegisters = table
        }
        writesRegisters = true
        for write in unit.registerWrites {
            try write.key.withBytes { (key) throws(LMDBError) in
                if let value = write.value {
                    try value.withBytes { (value) throws(LMDBError) in
                        try transaction.put(value, in: table, at: key)
                    }
                } else {
                    try transaction.delete(in: table, at: key)
                }
            }
        }
    }

    private static func add(
        _ event: ReceiptEvent, to receipt: inout AppendReceipt?, recordedAt: Int64, isDuplicate: Bool
    ) {
        guard var known = receipt.take() else {
            receipt = AppendReceipt(
                first: event.position, last: event.position, recordedAt: recordedAt, events: ReceiptEvents(event),
                isDuplicate: isDuplicate)
            return
        }
        known.first = min(known.first, event.position)
        known.last = max(known.last, event.position)
        known.events.append(event)
        receipt = known
    }

    // MARK: Names that are stored

    /// Where the event's name is, in what the index may not know: the group and the overlay.
    @inline(__always)
    private func newPosition(
        of unit: AppendUnit, _ index: Int, _ transaction: borrowing WriteTransaction
    ) throws(LMDBError) -> UInt64? {
        let key = unit.slots[index].key
        let name = unit.slots[index].name
        let staged = try staged.firstPosition(of: key, name) { (position) throws(LMDBError) in
            try hasName(of: unit, index, position, transaction)
        }
        if let staged { return staged }
        return try overlay.firstPosition(of: key, name) { (position) throws(LMDBError) in
            try hasName(of: unit, index, position, transaction)
        }
    }

    private func hasName(
        of unit: AppendUnit, _ index: Int, _ position: UInt64, _ transaction: borrowing WriteTransaction
    ) throws(LMDBError) -> Bool {
        try stored(position, transaction).record.hasSameName(as: unit.record(index))
    }

    /// A stored record, those that this transaction has put included, checked against its leaf hash.
    private func stored(
        _ position: UInt64, _ transaction: borrowing WriteTransaction
    ) throws(LMDBError) -> (record: RecordView, leaf: LeafHash) {
        let found: (record: RecordView, leaf: LeafHash)?
        do throws(LedgerError) { found = try log.record(at: position, in: transaction, newest: newestLeaves) } catch {
            corruption = error
            throw error.underlying ?? Self.corruptionFound
        }
        guard let found else {
            corruption = .corruption("an event that was stored is not in the log", at: position)
            throw Self.corruptionFound
        }
        return found
    }

    /// A unit of which some names are stored: which of the three answers.
    private func answerStored(
        _ unit: AppendUnit, _ storedCount: Int, _ transaction: borrowing WriteTransaction
    ) throws(LMDBError) -> AppendOutcome {
        var receipt: AppendReceipt?
        var known: [(event: Int, position: Position)] = []
        for event in 0..<unit.eventCount {
            guard let position = unit.slots[event].storedAt else { continue }
            let (record, leaf) = try stored(position, transaction)
            guard record.hasSameContent(as: unit.record(event)) else {
                return .refused(.idReused(event: event, position: Position(rawValue: position)))
            }
            known.append((event, Position(rawValue: position)))
            Self.add(
                ReceiptEvent(position: record.position, version: record.version, leaf: leaf), to: &receipt,
                recordedAt: record.recordedAt, isDuplicate: true)
        }
        guard storedCount == unit.eventCount, let receipt else { return .refused(.partialDuplicate(stored: known)) }
        return .appended(receipt)
    }

    // MARK: Looking again

    private static let corruptionFound = LMDBError(code: EILSEQ, operation: .get)

    private func lookUpAgain(_ unit: AppendUnit) throws(LedgerError) {
        try renewSnapshot()
        try snapshot?.lookUp(unit)
    }

    private func renewSnapshot() throws(LedgerError) {
        guard !snapshotIsActive else { return }
        try snapshot?.renew()
        snapshotIsActive = true
    }

    /// Runs a look-up in the index on this thread; what is wrong there ends the group.
    private func reporting(_ body: () throws(LedgerError) -> Void) throws(LMDBError) {
        do throws(LedgerError) { try body() } catch {
            corruption = error
            throw Self.corruptionFound
        }
    }

    /// The first events of a stream after a version, at most `conflictEventsMax`, oldest first: the one that got there first is among
    /// them, however many came after it. They are reached from the next marked event, so that a stream of which the tail has a million
    /// events holds the group up no longer than another one.
    private func events(
        of key: StreamKey, _ row: StreamRow?, after expected: StreamVersion, _ transaction: borrowing WriteTransaction
    ) throws(LMDBError) -> [StoredEvent] {
        guard let row, row.version > expected else { return [] }
        var events: [StoredEvent] = []
        let from = expected.rawValue + 1
        let last = min(row.version.rawValue, expected.rawValue + UInt64(LedgerLimits.conflictEventsMax))
        var position = row.last.rawValue
        var version = row.version.rawValue
        let marked = EventTables.markedVersion(from: last)
        if marked < version {
            version = marked
            // One that is in neither is before the floor, as are all before it.
            position =
                staged.markedPosition(of: key, marked) ?? overlay.markedPosition(of: key, marked) ?? TailEvent.none
        }
        // Back through what the index may not know ...
        while version >= from, position != TailEvent.none, position >= overlay.floor {
            let event = position >= staged.start ? staged.event(at: position) : overlay.event(at: position)
            if version <= last { events.append(StoredEvent(position: Position(rawValue: position), type: event.type)) }
            position = event.previous
            version -= 1
        }
        // ... then what it does.
        if version >= from {
            var older: [Position] = []
            try reporting { () throws(LedgerError) in
                try renewSnapshot()
                older = try snapshot?.positions(of: key, versions: from...min(version, last)) ?? []
            }
            for position in older.reversed() {
                events.append(
                    StoredEvent(position: position, type: try stored(position.rawValue, transaction).record.type))
            }
        }
        return events.reversed()
    }
}
