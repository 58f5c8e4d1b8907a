import Control
import DequeModule
import Glibc
import JSON
import Ledger
import NIOCore
import NIOPosix
import Synchronization

// ConsumerDesk: the one owner of all consumer groups, on a thread of its own. Requests come to it from the event loops, which have
// read them; it asks `ConsumerGroup` what may be done, and has it done:
//
//   event loops          the desk                    reader threads           appender
//   ----------->  claim: leases given   ----------->  events read, written as JSON --> reply
//                 ack, nack, parking, floor  ------------------------------->  registers (and events) committed
//                 commit or cancel  <----------------------------------------  outcome --> reply
//                 take what was found  <-----------  the log looked through
//
// What must hold:
//   D1  a group is touched on the desk's thread only;
//   D2  at most one slice of the log is looked through for a group, from where the last one ended;
//   D3  what is on its way to the disk is neither delivered nor done until its outcome is known. A unit that finds no room in the
//       appender's queue is not kept: its leases stay, and the client is told to try again.

/// Lives on its thread and is touched nowhere else, but for `deliver` and `logGrew`, which hop to it.
// Sendable: see above; the event loop is the isolation.
final class ConsumerDesk: AppendReplySink, @unchecked Sendable {
    let log: EventLog
    private let pool: NIOThreadPool
    private let threads: MultiThreadedEventLoopGroup
    let home: any EventLoop
    /// The daemon's clock, microseconds since 1970: for people, never for deadlines.
    let clock: @Sendable () -> Int64

    private var groups: [[UInt8]: HeldGroup] = [:]
    private var purposes: [UInt64: Purpose] = [:]
    private var snapshot: IndexSnapshot?
    private var listener: UInt64?
    private var random = SystemRandomNumberGenerator()
    private var isEnding = false
    /// Whether a hop for new events is on its way, and whether anybody waits for some: without, a commit wakes nobody.
    private let isWaking = Atomic<Bool>(false)
    private let isUsed = Atomic<Bool>(false)

    /// What a unit was submitted for.
    private enum Purpose {
        case create(HeldGroup)
        case settle(HeldGroup, [ConsumerChange], ConsumerGroup.FloorChange?, Settled?)
        case delete(HeldGroup, named: String, ConsumerCall)

        var group: HeldGroup {
            switch self {
            case .create(let group), .settle(let group, _, _, _), .delete(let group, _, _): group
            }
        }
    }

    /// Who is to be answered when changes are durable.
    struct Settled {
        var call: ConsumerCall
        var expectedLeads: [String] = []
        /// Writes the result.
        var result: (inout JSONWriter, HeldGroup, AppendReceipt?) -> Void
    }

    /// Reads what the disk has of groups. The log is open; no connection is served yet.
    init(log: EventLog, pool: NIOThreadPool, clock: @escaping @Sendable () -> Int64) throws {
        self.log = log
        self.pool = pool
        self.clock = clock
        let end = log.end.rawValue
        for (prefix, stored) in try StoredConsumer.all({ try log.registers(withPrefix: $0, $1) }) {
            groups[prefix] = HeldGroup(stored, prefix: prefix, epoch: Self.newEpoch(&random), end: end)
        }
        var snapshot = try log.makeIndexSnapshot()
        snapshot.reset()
        self.snapshot = consume snapshot
        threads = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        home = threads.next()
        listener = log.onAppend { [weak self] _ in self?.logGrew() }
        // What was acked ahead of the floor is found again.
        home.execute { for group in self.groups.values { self.pump(group) } }
    }

    /// Of 52 bits, so that any JSON reader takes it exactly; and random, not counted: a count would have to be durable before the
    /// first claim, and a full disk would stop the reading too. That a number comes twice is as likely as guessing it.
    private static func newEpoch(_ random: inout SystemRandomNumberGenerator) -> UInt64 {
        UInt64.random(in: 1..<1 << 52, using: &random)
    }

    // MARK: The end

    /// Answers who waits for events, and lets nobody wait any more: the daemon stops.
    func endWaits() {
        home.execute {
            self.isEnding = true
            for group in self.groups.values {
                self.pump(group)
                for asked in group.takeAskedStatus() { asked(nil) }
            }
        }
    }

    /// Gives back what the log has lent. When no request comes any more, and the reader threads have ended.
    func end() {
        if let listener { log.removeOnAppend(listener) }
        try? home.submit {
            self.snapshot = nil
            for group in self.groups.values { group.timer?.cancel() }
        }.wait()
    }

    /// After the log has closed, which tells the last outcomes.
    func endThread() { try? threads.syncShutdownGracefully() }

    // MARK: Groups

    private func open(_ name: String) throws(ErrorReply) -> HeldGroup {
        guard let group = groups[ConsumerRegisters.prefix(name)], group.phase != .creating else {
            throw ErrorReply(.unknownGroup, "no consumer group is called \(name)", at: .params("/group"))
        }
        if let fault = group.fault {
            throw ErrorReply(.corrupted, "what is stored of the consumer group \(name) cannot be used: \(fault)")
        }
        if group.phase == .deleting {
            throw ErrorReply(.unknownGroup, "the consumer group \(name) is being deleted", at: .params("/group"))
        }
        return group
    }

    /// Runs `body` with the group as of now, and then sees what that makes possible. The group that is built in is made first, where
    /// this is the first request that names it.
    ///
    /// - Parameter owner: whose connection ends with what it asked for; nil where that makes no difference.
    private func with(
        _ name: String, _ call: ConsumerCall, owner: UInt64? = nil,
        _ body: @escaping (HeldGroup, _ now: UInt64) throws(ErrorReply) -> Void
    ) {
        if name == NotificationGroup.name, isMissing(NotificationGroup.prefix) {
            return makeNotifications(
                HeldGroup.Creator(owner: owner) { [weak self] error in
                    if let error { call.fail(error) } else { self?.with(name, call, owner: owner, body) }
                })
        }
        do throws(ErrorReply) {
            let group = try open(name)
            let now = MonotonicClock.nanoseconds()
            group.machine.advance(to: now)
            try body(group, now)
            pump(group)
        } catch { call.fail(error) }
    }

    /// Whether a group is not there yet, or is only on its way to the disk.
    private func isMissing(_ prefix: [UInt8]) -> Bool { groups[prefix].map { $0.phase == .creating } ?? true }

    private func makeNotifications(_ creator: HeldGroup.Creator) {
        if let group = groups[NotificationGroup.prefix] { return group.creators.append(creator) }
        let definition = NotificationGroup.definition(from: log.end.rawValue, createdAt: clock())
        do throws(QueryFault) { begin(definition, try definition.eventFilter(), creator) } catch {
            creator.body(ErrorReply(error))
        }
    }

    func create(_ definition: ConsumerDefinition, filter: EventFilter, isAtHead: Bool, _ call: ConsumerCall) {
        guard definition.name != NotificationGroup.name else {
            return call.fail(ErrorReply(.groupBuiltIn, "a group of this name is built in", at: .params("/group")))
        }
        let prefix = ConsumerRegisters.prefix(definition.name)
        let end = log.end.rawValue
        var definition = definition
        if isAtHead { definition.from = end }
        if let known = groups[prefix] {
            return known.phase == .creating
                ? call.fail(.tryAgain("the group is being created"))
                : with(definition.name, call) { group, _ throws(ErrorReply) in
                    guard group.definition.isSame(as: definition, isAtHead: isAtHead) else {
                        throw ErrorReply(
                            .groupExists, "the group was created with other terms; `consumer.status` shows them",
                            at: .params("/group"))
                    }
                    call.succeed { $0.consumerCreated(group, head: end, isNew: false) }
                }
        }
        guard definition.from <= end else {
            return call.fail(
                ErrorReply(QueryFault(beyond: Position(rawValue: end), Position(rawValue: definition.from))))
        }
        guard groups.keys.count(where: { $0 != NotificationGroup.prefix }) < Limits.consumerGroupsMax else {
            return call.fail(
                ErrorReply(.groupLimit, "a ledger has at most \(Limits.consumerGroupsMax) consumer groups"))
        }
        begin(
            definition, filter,
            HeldGroup.Creator(owner: nil) { [weak self] error in
                if let error { return call.fail(error) }
                guard let self, let group = groups[prefix] else { return }
                call.succeed { $0.consumerCreated(group, head: self.log.end.rawValue, isNew: true) }
            })
    }

    /// Makes a group, which is there when `creator` is told so.
    private func begin(_ definition: ConsumerDefinition, _ filter: EventFilter, _ creator: HeldGroup.Creator) {
        let prefix = ConsumerRegisters.prefix(definition.name)
        let group = HeldGroup(
            definition, filter: filter, prefix: prefix, epoch: Self.newEpoch(&random), floor: definition.from,
            phase: .creating)
        group.creators = [creator]
        groups[prefix] = group
        let unit = makeUnit()
        unit.write([
            ConsumerRegisters.write(definition, prefix), ConsumerRegisters.write(floor: definition.from, prefix),
        ])
        if !submit(unit, .create(group)) { created(group, .queueFull) }
    }

    private func created(_ group: HeldGroup, _ error: ErrorReply?) {
        if error == nil { group.phase = .open } else { groups[group.prefix] = nil }
        let creators = group.creators
        group.creators = []
        for creator in creators { creator.body(error) }
    }

    func delete(_ name: String, _ call: ConsumerCall) {
        // Where it cannot be used, deleting mends it: it begins anew.
        guard name != NotificationGroup.name || groups[NotificationGroup.prefix]?.fault != nil else {
            return call.fail(ErrorReply(.groupBuiltIn, "the group is built in", at: .params("/group")))
        }
        guard let group = groups[ConsumerRegisters.prefix(name)], group.phase == .open else {
            return call.fail(ErrorReply(.unknownGroup, "no consumer group is called \(name)", at: .params("/group")))
        }
        // One that cannot be used can be deleted all the same.
        group.phase = .deleting
        group.deletion = (name, call)
        while let waiter = group.waiters.popFirst() {
            waiter.call.fail(ErrorReply(.unknownGroup, "the consumer group \(name) was deleted", at: .params("/group")))
        }
        let gone = ErrorReply(.unknownGroup, "the consumer group \(name) was deleted", at: .params("/group"))
        for asked in group.takeAskedStatus() { asked(gone) }
        deleteWhenQuiet(group)
    }

    /// Rows that are on their way would outlive the group: it goes when all outcomes are known.
    private func deleteWhenQuiet(_ group: HeldGroup) {
        guard group.phase == .deleting, group.unitsInFlight == 0, let (name, call) = group.deletion else { return }
        group.deletion = nil
        let (log, prefix) = (log, group.prefix)
        onReader { () throws -> [RegisterWrite] in
            var writes: [RegisterWrite] = []
            try log.registers(withPrefix: prefix) { key, _ in
                writes.append(RegisterWrite(key: Array(key), value: nil))
                return true
            }
            return writes
        } then: { found in
            switch found {
            case .success(let writes):
                let unit = self.makeUnit()
                unit.write(writes)
                guard !writes.isEmpty else { return self.deleted(group, name, call) }
                if self.submit(unit, .delete(group, named: name, call)) { return }
                group.phase = .open
                call.fail(.queueFull)
            case .failure(let error):
                group.phase = .open
                call.fail(ErrorReply(answering: error))
            }
        }
    }

    private func deleted(_ group: HeldGroup, _ name: String, _ call: ConsumerCall) {
        group.timer?.cancel()
        groups[group.prefix] = nil
        call.succeed { $0.consumerDeleted(name) }
    }

    // MARK: Claiming

    struct Claim {
        var group: String
        var consumer: String
        var owner: UInt64
        var limit: Int
        var waitMilliseconds: Int64
        /// Nil: the group's.
        var leaseNanoseconds: UInt64?
        var call: ConsumerCall
    }

    func claim(_ claim: Claim) {
        with(claim.group, claim.call, owner: claim.owner) { group, now in
            group.waiters.append(
                HeldGroup.Waiter(
                    consumer: claim.consumer, owner: claim.owner, limit: claim.limit,
                    deadline: now &+ UInt64(claim.waitMilliseconds) * 1_000_000,
                    lease: claim.leaseNanoseconds ?? group.definition.leaseNanoseconds, call: claim.call))
        }
    }

    /// Gives claims what there is, oldest first.
    private func serve(_ group: HeldGroup, _ now: UInt64) {
        while let waiter = group.waiters.first {
            let mayLookOn = !isEnding && mayFill(group)
            if group.machine.hasReady(now: now) {
                // A slice more may fill up what was asked for; but what is there does not wait for a long search.
                if mayLookOn, waiter.slices == 0, group.machine.readyCount < waiter.limit { return }
                group.waiters.removeFirst()
                let deliveries = group.machine.claim(
                    limit: waiter.limit, bytes: Limits.answerBytesMax, lease: waiter.lease, owner: waiter.owner,
                    consumer: waiter.consumer, now: now)
                deliver(deliveries, group, waiter, now)
            } else if mayLookOn, waiter.slices < Limits.scanSlicesMax || now < waiter.deadline {
                return
            } else if now >= waiter.deadline || isEnding {
                group.waiters.removeFirst()
                let (progress, head) = (group.machine.progress, log.end.rawValue)
                waiter.call.succeed { $0.consumerClaimedNothing(progress: progress, head: head) }
            } else {
                return
            }
        }
    }

    /// Reads the events on a reader thread, and answers with them.
    private func deliver(
        _ deliveries: [ConsumerDelivery], _ group: HeldGroup, _ waiter: HeldGroup.Waiter, _ now: UInt64
    ) {
        let (log, clock, progress, head) = (log, clock, group.machine.progress, log.end.rawValue)
        let call = waiter.call
        let tellsWhom = group.prefix == NotificationGroup.prefix
        onReader { () throws -> [UInt8] in
            var writer = JSONWriter(reserving: 4_096)
            var encoder = CloudEventEncoder()
            let wall = clock()
            try writer.consumerClaimed(deliveries, progress: progress, head: head) { writer, delivery in
                writer.member("deadline", ConsumerTime.wall(delivery.deadline, now: now, wall: wall))
                writer.key("event")
                let read = try log.record(at: Position(rawValue: delivery.token.position)) { record -> Notice? in
                    writer.cloudEvent(record, with: &encoder)
                    return tellsWhom ? Notice(record) : nil
                }
                guard let notice = read else {
                    throw LedgerError(
                        .corruption, "an event that was stored is not in the log",
                        position: Position(rawValue: delivery.token.position))
                }
                if tellsWhom { writer.notifications(notice, to: try notice?.recipients(from: log) ?? []) }
            }
            return writer.take()
        } then: { result in
            switch result {
            case .success(let bytes): call.succeed(raw: bytes)
            case .failure(let error):
                group.machine.giveBack(deliveries.map(\.token), now: MonotonicClock.nanoseconds())
                call.fail(ErrorReply(answering: error))
                // No `pump`: what cannot be read now is not claimed again at once. The next request, or event, does.
                self.setTimer(group)
            }
        }
    }

    // MARK: Settling

    /// Says of events what became of them: `unit` carries what is to be appended with that.
    func settle(
        _ name: String, _ verdicts: [(token: LeaseToken, verdict: ConsumerVerdict)], with unit: AppendUnit?,
        expectedLeads: [String], _ call: ConsumerCall
    ) {
        with(name, call) { [self] group, now throws(ErrorReply) in
            let changes: [ConsumerChange]
            do throws(StaleToken) { changes = try group.machine.begin(verdicts) } catch {
                throw ErrorReply(error, epoch: group.machine.epoch)
            }
            let result: (inout JSONWriter, HeldGroup, AppendReceipt?) -> Void = { writer, group, receipt in
                writer.consumerSettled(changes, progress: group.machine.progress, receipt, of: unit)
            }
            let settled = Settled(call: call, expectedLeads: expectedLeads, result: result)
            guard store(changes, of: group, with: unit, settled) else {
                group.machine.cancel(changes, now: now)
                throw .queueFull
            }
        }
    }

    func replay(_ name: String, _ positions: [UInt64]?, limit: Int, _ call: ConsumerCall) {
        with(name, call) { [self] group, now throws(ErrorReply) in
            if let positions {
                for (index, position) in positions.enumerated() where group.machine.parked[position] == nil {
                    throw ErrorReply(
                        .notParked, "the event at position \(position) is not parked",
                        at: .params("/positions/\(index)"))
                }
            }
            let changes = group.machine.beginReplay(positions, limit: limit)
            guard !changes.isEmpty else {
                return call.succeed { $0.consumerReplayed([], parked: group.machine.parked.count) }
            }
            let settled = Settled(call: call) { writer, group, _ in
                writer.consumerReplayed(changes.map(\.position), parked: group.machine.parked.count)
            }
            guard store(changes, of: group, with: nil, settled) else {
                group.machine.cancel(changes, now: now)
                throw .queueFull
            }
        }
    }

    func extend(_ name: String, _ tokens: [LeaseToken], leaseNanoseconds: UInt64?, _ call: ConsumerCall) {
        with(name, call) { [self] group, now throws(ErrorReply) in
            do throws(StaleToken) {
                let extended = try group.machine.extend(
                    tokens, lease: leaseNanoseconds ?? group.definition.leaseNanoseconds, now: now)
                let wall = clock()
                call.succeed { $0.consumerExtended(extended, now: now, wall: wall) }
            } catch { throw ErrorReply(error, epoch: group.machine.epoch) }
        }
    }

    /// The leases of a connection that has ended are free, and its claims wait no more.
    func disconnected(_ owner: UInt64) {
        let now = MonotonicClock.nanoseconds()
        for group in groups.values {
            group.waiters.removeAll { $0.owner == owner }
            group.creators.removeAll { $0.owner == owner }
            group.machine.advance(to: now)
            group.machine.disconnect(owner, now: now)
            pump(group)
        }
    }

    // MARK: Looking

    /// Calls `body` when the group knows again what it knew before the start, and has looked for what it could deliver. Where it
    /// cannot be had, the call fails.
    func look(at name: String, _ call: ConsumerCall, _ body: @escaping (HeldGroup, _ now: UInt64) -> Void) {
        with(name, call) { [self] group, now in
            // What was looked through for others, or for an earlier question, does not count against this one.
            if group.askedStatus.isEmpty { group.slicesForStatus = 0 }
            guard wantsLook(group), mayFill(group), !isEnding else { return body(group, now) }
            group.askedStatus.append { [weak self] error in
                if let error { call.fail(error) } else { self?.with(name, call) { body($0, $1) } }
            }
        }
    }

    /// Whether `progress` may be behind where it would be, had somebody looked.
    private func wantsLook(_ group: HeldGroup) -> Bool {
        group.machine.hasRecalled || (group.machine.windowCount == 0 && group.slicesForStatus < Limits.scanSlicesMax)
    }

    var allGroups: [HeldGroup] {
        let now = MonotonicClock.nanoseconds()
        let shown = groups.values.filter { $0.phase == .open }.sorted { $0.definition.name < $1.definition.name }
        for group in shown { group.machine.advance(to: now) }
        return shown
    }

    // MARK: Going on

    /// Does what can be done now: events that ran out of attempts are parked, claims served, the log looked through, the floor stored.
    private func pump(_ group: HeldGroup) {
        guard group.phase == .open, group.fault == nil else { return deleteWhenQuiet(group) }
        let now = MonotonicClock.nanoseconds()
        // Before the log's end is looked at, or an event between the two would wake nobody.
        if !group.waiters.isEmpty { isUsed.store(true, ordering: .sequentiallyConsistent) }
        group.machine.advance(to: now)
        park(group, now)
        serve(group, now)
        fill(group)
        storeFloor(group)
        setTimer(group)
        isUsed.store(groups.values.contains { !$0.waiters.isEmpty }, ordering: .sequentiallyConsistent)
    }

    private func mayFill(_ group: HeldGroup) -> Bool {
        group.machine.room > 0 && group.machine.scanned < log.end.rawValue
    }

    /// D2.
    private func fill(_ group: HeldGroup) {
        guard !group.isFilling, !isEnding, mayFill(group),
            !group.waiters.isEmpty || group.machine.hasRecalled || !group.askedStatus.isEmpty
        else { return }
        group.isFilling = true
        let (log, filter, from) = (log, group.filter, group.machine.scanned)
        let room = min(group.machine.room, Limits.consumerSliceEvents)
        onReader { () throws -> (found: [FoundEvent], next: UInt64) in
            var found: [FoundEvent] = []
            let next = try log.read(from: Position(rawValue: from), limit: LedgerLimits.sliceEventsMax, maxBytes: .max)
            {
                record in
                if filter.matches(record) {
                    found.append(
                        FoundEvent(
                            position: record.position.rawValue, lead: record.streamKey,
                            bytes: UInt32(record.whole.count)))
                }
                return found.count < room
            }
            return (found, next.rawValue)
        } then: { slice in
            group.isFilling = false
            switch slice {
            case .success(let slice):
                group.machine.take(slice.found, next: slice.next)
                for index in group.waiters.indices { group.waiters[index].slices += 1 }
                group.slicesForStatus += 1
            case .failure(let error):
                // Nobody can be told but those who wait; the next one tries again.
                while let waiter = group.waiters.popFirst() { waiter.call.fail(ErrorReply(answering: error)) }
                for asked in group.takeAskedStatus() { asked(ErrorReply(answering: error)) }
                return self.setTimer(group)
            }
            self.pump(group)
            if !self.wantsLook(group) || !self.mayFill(group) {
                for asked in group.takeAskedStatus() { asked(nil) }
            }
        }
    }

    /// Events that ran out of attempts without a word of their holder.
    private func park(_ group: HeldGroup, _ now: UInt64) {
        guard now >= group.retryAt else { return }
        let changes = group.machine.takeOverdue()
        guard !changes.isEmpty, !store(changes, of: group, with: nil, nil) else { return }
        group.machine.cancel(changes, now: now)
        group.parkRefused(.queueFull, now)
    }

    /// The floor goes with everything else that is stored; alone only where a start would have much to look at again.
    private func storeFloor(_ group: HeldGroup) {
        guard group.unitsInFlight == 0,
            group.machine.floor - group.machine.durableFloor >= Limits.consumerFloorBehind,
            MonotonicClock.nanoseconds() >= group.retryAt
        else { return }
        if !store([], of: group, with: nil, nil) { group.retryLater(MonotonicClock.nanoseconds()) }
    }

    /// Hands changes to the appender, and with them how far the group is.
    /// - Returns: false where there is no room: the caller takes the changes back.
    private func store(
        _ changes: [ConsumerChange], of group: HeldGroup, with unit: AppendUnit?, _ settled: Settled?
    ) -> Bool {
        let unit = unit ?? makeUnit()
        let now = clock()
        unit.write(changes.map { ConsumerRegisters.write($0, group.prefix, now: now) })
        let floor = group.machine.beginFloor()
        if let floor { unit.write(ConsumerRegisters.writes(floor, group.prefix)) }
        if submit(unit, .settle(group, changes, floor, settled)) { return true }
        if let floor { group.machine.cancelFloor(floor) }
        return false
    }

    private func setTimer(_ group: HeldGroup) {
        var next = group.machine.nextInstant
        for waiter in group.waiters { next = min(next ?? .max, waiter.deadline) }
        if group.retryAt > MonotonicClock.nanoseconds() { next = min(next ?? .max, group.retryAt) }
        guard next != group.timerInstant else { return }
        group.timer?.cancel()
        group.timer = nil
        group.timerInstant = next
        guard let next, !isEnding else { return }
        let now = MonotonicClock.nanoseconds()
        // A millisecond late rather than a turn early.
        let delay = TimeAmount.nanoseconds(Int64(clamping: next > now ? next - now : 0) &+ 100_000)
        group.timer = home.assumeIsolated().scheduleTask(in: delay) { [weak self, weak group] in
            guard let self, let group else { return }
            group.timerInstant = nil
            self.pump(group)
        }
    }

    // MARK: The appender

    /// A unit without events yet, whose outcome comes here.
    private func makeUnit() -> AppendUnit {
        AppendUnit(ledgerID: log.ledgerID, replyTo: self, token: newUnitToken())
    }

    private func newUnitToken() -> UInt64 { tokens.wrappingAdd(1, ordering: .relaxed).newValue }
    private let tokens = Atomic<UInt64>(0)

    /// A unit for an event loop to put events into. From any thread.
    func makeUnitForEvents() -> AppendUnit { makeUnit() }

    private func submit(_ unit: AppendUnit, _ purpose: Purpose) -> Bool {
        if unit.needsLookUp { lookUp(unit) }
        guard log.submit([unit]) == 1 else { return false }
        purposes[unit.replyToken] = purpose
        purpose.group.unitsInFlight += 1
        return true
    }

    private func lookUp(_ unit: AppendUnit) {
        guard snapshot != nil else { return }
        // Where the look-up fails, the appender repeats it and says what is wrong.
        do { try snapshot!.renew() } catch { return }
        log.prepare(unit, using: &snapshot!)
        snapshot!.reset()
    }

    func deliver(_ batches: [[AppendUnit]]) {
        home.execute { for unit in batches.joined() { self.took(unit) } }
    }

    /// Nothing is kept that found no room.
    func queueHasRoom() {}

    private func took(_ unit: AppendUnit) {
        guard let purpose = purposes.removeValue(forKey: unit.replyToken) else {
            preconditionFailure("an outcome for a unit that the desk did not submit")
        }
        let group = purpose.group
        group.unitsInFlight -= 1
        let now = MonotonicClock.nanoseconds()
        let error: ErrorReply?
        switch unit.outcome {
        case .appended, .stored: error = nil
        case .wouldAppend: preconditionFailure("no unit of the desk is a dry run")
        case .refused(let refusal):
            var leads: [String] = []
            if case .settle(_, _, _, let settled) = purpose { leads = settled?.expectedLeads ?? [] }
            error = ErrorReply(refusal, of: unit, expecting: leads)
        case .unknown: error = .outcomeUnknown
        }
        switch purpose {
        case .create: created(group, error)
        case .delete(_, let name, let call):
            guard let error else { return deleted(group, name, call) }
            group.phase = .open
            call.fail(error)
        case .settle(_, let changes, let floor, let settled):
            group.machine.advance(to: now)
            if let error {
                group.machine.cancel(changes, now: now)
                if let floor { group.machine.cancelFloor(floor) }
                if let settled {
                    settled.call.fail(error)
                } else if changes.isEmpty {
                    group.retryLater(now)
                } else {
                    group.parkRefused(error, now)
                }
            } else {
                if settled == nil, !changes.isEmpty { group.parkError = nil }
                group.machine.commit(changes, now: now)
                if let floor { group.machine.commitFloor(floor) }
                if let settled {
                    var receipt: AppendReceipt?
                    if case .appended(let appended) = unit.outcome { receipt = appended }
                    settled.call.succeed { settled.result(&$0, group, receipt) }
                }
            }
        }
        pump(group)
    }

    // MARK: News

    /// Called by the appender after each commit.
    private func logGrew() {
        guard isUsed.load(ordering: .sequentiallyConsistent),
            !isWaking.exchange(true, ordering: .sequentiallyConsistent)
        else { return }
        home.execute {
            self.isWaking.store(false, ordering: .sequentiallyConsistent)
            for group in self.groups.values where !group.waiters.isEmpty {
                // It is live: what was looked through before does not count against it.
                for index in group.waiters.indices { group.waiters[index].slices = min(group.waiters[index].slices, 1) }
                self.pump(group)
            }
        }
    }

    /// Runs `body` on a reader thread and `then` with what came of it here.
    private func onReader<Value>(
        _ body: @escaping @Sendable () throws -> Value, then: @escaping (Result<Value, any Error>) -> Void
    ) {
        let home = home
        let parcel = Parcel(then)
        pool.submit { state in
            guard state == .active else { return }
            let result = Parcel(Result { try body() })
            home.execute { parcel.content(result.content) }
        }
    }

    /// Runs `body` on a reader thread, which answers with it.
    func answer(_ call: ConsumerCall, _ body: @escaping @Sendable (inout JSONWriter) throws -> Void) {
        onReader { () throws -> [UInt8] in
            var writer = JSONWriter(reserving: 4_096)
            try body(&writer)
            return writer.take()
        } then: { result in
            switch result {
            case .success(let bytes): call.succeed(raw: bytes)
            case .failure(let error): call.fail(ErrorReply(answering: error))
            }
        }
    }
}

/// Goes from one thread to another and is touched on one at a time.
// Sendable: see above; the hop itself orders the two.
private struct Parcel<Content>: @unchecked Sendable {
    let content: Content
    init(_ content: Content) { self.content = content }
}

/// A group as the desk has it.
final class HeldGroup {
    enum Phase { case creating, open, deleting }

    struct Waiter {
        var consumer: String
        var owner: UInt64
        var limit: Int
        /// Instant of the monotonic clock after which it is answered with nothing.
        var deadline: UInt64
        var lease: UInt64
        var call: ConsumerCall
        /// Slices of the log that were looked through for it.
        var slices = 0
    }

    /// Who waits until a group that is being created is there.
    struct Creator {
        /// Whose connection it is; nil where it does not matter when that ends.
        var owner: UInt64?
        /// Told why it could not be created, or nil.
        var body: (ErrorReply?) -> Void
    }

    let definition: ConsumerDefinition
    let filter: EventFilter
    let prefix: [UInt8]
    /// Why what is stored of it cannot be used.
    let fault: String?
    var machine: ConsumerGroup
    var phase: Phase
    var creators: [Creator] = []
    var waiters = Deque<Waiter>()
    /// Who asked for the status, and waits until what was known before the start is known again.
    var askedStatus: [(ErrorReply?) -> Void] = []
    var slicesForStatus = 0
    var isFilling = false
    var unitsInFlight = 0
    var deletion: (name: String, call: ConsumerCall)?
    /// When a write of the desk's own may be tried again.
    private(set) var retryAt: UInt64 = 0
    /// What the newest try to park events that are out of attempts has met; nil: they were stored.
    var parkError: ErrorReply?
    var timer: Scheduled<Void>?
    var timerInstant: UInt64?

    init(
        _ definition: ConsumerDefinition, filter: EventFilter, prefix: [UInt8], epoch: UInt64, floor: UInt64,
        phase: Phase
    ) {
        self.definition = definition
        self.filter = filter
        self.prefix = prefix
        self.phase = phase
        fault = nil
        machine = ConsumerGroup(epoch: epoch, maxAttempts: definition.maxAttempts, floor: floor)
    }

    /// What a start finds.
    init(_ stored: StoredConsumer, prefix: [UInt8], epoch: UInt64, end: UInt64) {
        self.prefix = prefix
        phase = .open
        var fault = stored.wholeFault(prefix: prefix, end: end)
        var filter = EventFilter()
        if fault == nil, let definition = stored.definition {
            do throws(QueryFault) { filter = try definition.eventFilter() } catch { fault = error.message }
        }
        definition =
            stored.definition
            ?? ConsumerDefinition(
                name: "?", maxAttempts: 1, leaseNanoseconds: 1_000_000, from: 0, createdAt: 0, filter: [])
        self.filter = filter
        self.fault = fault
        machine = ConsumerGroup(
            epoch: epoch, maxAttempts: definition.maxAttempts, floor: stored.floor ?? 0,
            rows: fault == nil ? stored.rows : [:])
    }

    func parkRefused(_ error: ErrorReply, _ now: UInt64) {
        parkError = error
        retryLater(now)
    }

    /// The desk's own writes come again by themselves, but not at once.
    func retryLater(_ now: UInt64) {
        retryAt = now &+ UInt64(Limits.consumerRetryMilliseconds) * 1_000_000
    }

    func standstill(head: UInt64, now: UInt64) -> ConsumerGroup.Standstill {
        machine.standstill(end: head, now: now, parkError: parkError?.name.rawValue)
    }

    func takeAskedStatus() -> [(ErrorReply?) -> Void] {
        let asked = askedStatus
        askedStatus = []
        return asked
    }
}

extension ConsumerDefinition {
    /// Whether creating it again asks for what is there. Where `from` says "head", any start is meant.
    func isSame(as other: ConsumerDefinition, isAtHead: Bool) -> Bool {
        maxAttempts == other.maxAttempts && leaseNanoseconds == other.leaseNanoseconds && filter == other.filter
            && (isAtHead || from == other.from)
    }
}

/// Where the answer to a consumer request goes.
// Sendable: the slot and the state go to the desk and back without being touched there.
struct ConsumerCall: @unchecked Sendable {
    private let slot: any AnswerSlot
    private let eventLoop: any EventLoop

    /// - Parameter eventLoop: where the slot is told.
    init(_ slot: any AnswerSlot, on eventLoop: any EventLoop) {
        self.slot = slot
        self.eventLoop = eventLoop
    }

    func succeed(_ body: (inout JSONWriter) -> Void) {
        var writer = JSONWriter(reserving: 256)
        body(&writer)
        succeed(raw: writer.take())
    }

    func succeed(raw result: [UInt8]) { eventLoop.execute { slot.succeed(raw: result) } }

    func fail(_ error: ErrorReply) { eventLoop.execute { slot.fail(error) } }
}
