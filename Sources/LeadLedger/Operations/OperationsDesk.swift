import Control
import DequeModule
import JSON
import Leads
import Ledger
import Logging
import NIOCore
import NIOPosix
import Synchronization

// OperationsDesk: the one place that decides about leads: a thread that folds the log, and appends what follows from it.
//
//   appender          the desk                                                         appender
//   --------> news:   1. fold what was appended
//   requests ------>  2. ask each request what is to be appended, or answered
//                     3. decide triggers, foreseeing where the decisions will lie
//                     4. what is owed: ended leases, voided decisions, leads of who left  ------->  one group, one sync
//                     5. took: decisions that lie where foreseen stay, others are undone <---------  outcomes
//                        and read from the log like anybody's                            ------->  replies
//
// What must hold:
//   E1  the desk alone decides, and has at most one round of units on its way; so what it saw is what was there, but for what
//       clients append meanwhile, against which each unit expects the versions of its leads;
//   E2  a unit of decisions is stored whole or not at all: no decision saw another that was not stored;
//   E3  nothing is owed that the log does not owe (O2), so a start, or a desk that stood still, goes on where it must.
// A ledger in which no rule set was ever published costs nothing: the desk does not read it (`Usage`).

/// Lives on its thread and is touched nowhere else, but for `deliver` and `logGrew`, which hop to it.
// Sendable: see above; the event loop is the isolation.
final class OperationsDesk: AppendReplySink, @unchecked Sendable {
    let log: EventLog
    let zones: TimeZoneDatabase
    /// The daemon's own uid: the actor of what nobody asked for.
    let ownUser: UInt32
    /// The daemon's clock, microseconds since 1970.
    let clock: @Sendable () -> Int64
    private let planted: PlantedMistake?
    private let logger: Logger
    private let threads: MultiThreadedEventLoopGroup
    let home: any EventLoop

    var state = OperationsState()
    private var usage: Usage
    /// Why the log cannot be folded any further.
    private(set) var fault: String?
    private var isCaughtUp = false

    private var commands = Deque<DeskCommand>()
    private var round = Round()
    /// Pools whose queue may go on.
    private var poolsToDrain: Set<PoolNumber> = []
    /// How far down a queue was looked that is too long to be looked through at once.
    private var drainPlaces: [PoolNumber: DueQueue.Entry] = [:]
    private var nextTick: Int64 = 0
    /// Units were refused, or there was no room for them: no round before then.
    private var retryAt: Int64 = 0
    private var refusalsInARow = 0

    private var snapshot: IndexSnapshot?
    private var listener: UInt64?
    private var timer: Scheduled<Void>?
    private var isEnding = false
    private let shownStatus = Mutex(RoutingStatus())
    private let isWaking = Atomic<Bool>(false)
    private let isFolding = Atomic<Bool>(false)
    private let tokens = Atomic<UInt64>(0)

    /// What is on its way to the disk.
    private struct Round {
        var waiting: [UInt64: Purpose] = [:]
        /// Decisions that were stored elsewhere than foreseen, by their position.
        var elsewhere: [UInt64: DecisionBatch.Entry] = [:]
        var isOut: Bool { !waiting.isEmpty }
    }

    fileprivate enum Purpose {
        case decisions(DecisionBatch)
        case command(DeskCommand, receiver: MemberNumber?, (inout JSONWriter, AppendReceipt) -> Void)
        /// What the desk owes; it comes again by itself.
        case own
    }

    /// A mistake that a test of the desk must find out.
    enum PlantedMistake {
        /// Decisions that others overtook stay in the state.
        case forgetsUndo
        /// Decisions are stored whatever happened to their leads meanwhile.
        case expectsNothing
    }

    /// - Parameter planted: nil but in tests.
    init(
        log: EventLog, zones: TimeZoneDatabase, ownUser: UInt32, logger: Logger, planted: PlantedMistake? = nil,
        clock: @escaping @Sendable () -> Int64
    ) throws {
        self.log = log
        self.planted = planted
        self.zones = zones
        self.ownUser = ownUser
        self.logger = logger
        self.clock = clock
        usage = try Usage(of: log)
        var snapshot = try log.makeIndexSnapshot()
        snapshot.reset()
        self.snapshot = consume snapshot
        threads = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        home = threads.next()
        isFolding.store(usage.isUsed, ordering: .sequentiallyConsistent)
        listener = log.onAppend { [weak self] _ in self?.logGrew() }
        home.execute { self.turn() }
    }

    /// Not before what was folded in, though the clock was set back: a rule set that was in force stays so.
    var now: Instant { max(Instant(microseconds: clock()), state.recordedAt) }

    /// From any thread.
    var status: RoutingStatus { shownStatus.withLock { $0 } }

    private func show() {
        let plan = state.router.plan(at: now)
        let status = RoutingStatus(
            state: fault != nil ? .standing : isCaughtUp ? .following : .reading, position: state.scanned,
            policy: plan?.ruleSet.id, version: plan?.version, reason: fault, requests: commands.count,
            inboxAlarms: state.inboxAlarms)
        shownStatus.withLock { $0 = status }
    }

    // MARK: The end

    /// Answers who waits: the daemon stops.
    func endWaits() {
        home.execute {
            self.isEnding = true
            while let command = self.commands.popFirst() {
                command.call.fail(ErrorReply(.shuttingDown, "the daemon is stopping"))
            }
        }
    }

    /// Gives back what the log has lent. When no request comes any more.
    func end() {
        if let listener { log.removeOnAppend(listener) }
        try? home.submit {
            self.isEnding = true
            self.snapshot = nil
            self.timer?.cancel()
        }.wait()
    }

    /// After the log has closed, which tells the last outcomes.
    func endThread() { try? threads.syncShutdownGracefully() }

    // MARK: Requests

    /// Takes a request. On the desk's thread.
    func take(_ command: DeskCommand) {
        if isEnding { return command.call.fail(ErrorReply(.shuttingDown, "the daemon is stopping")) }
        if commands.count >= Limits.deskCommandsMax {
            return command.call.fail(
                ErrorReply(
                    .busy, "\(commands.count) requests wait for the router already",
                    retryAfterMilliseconds: Int(Limits.consumerRetryMilliseconds)))
        }
        if command.beginsUse, !usage.isUsed {
            usage.isUsed = true
            isFolding.store(true, ordering: .sequentiallyConsistent)
        }
        guard usage.isUsed else { return command.call.fail(.noRuleSet) }
        if let fault { return command.call.fail(ErrorReply(.corrupted, "routing stands still: \(fault)")) }
        if !isCaughtUp, log.end.rawValue > state.scanned + Limits.deskBehindMax {
            command.call.fail(
                ErrorReply(
                    .routerBehind, "the router has read \(state.scanned) of \(log.end) events",
                    retryAfterMilliseconds: 1_000))
        } else {
            commands.append(command)
        }
        turn()
    }

    // MARK: A round

    private func logGrew() {
        guard isFolding.load(ordering: .sequentiallyConsistent),
            !isWaking.exchange(true, ordering: .sequentiallyConsistent)
        else { return }
        home.execute {
            self.isWaking.store(false, ordering: .sequentiallyConsistent)
            self.turn()
        }
    }

    /// Does all that can be done now.
    private func turn() {
        guard usage.isUsed, fault == nil, !isEnding, !round.isOut else { return }
        defer { show() }
        var units: [(AppendUnit, Purpose)] = []
        var cycle: DeskCycle?
        // Whether the state is what the log says up to where it was read.
        var isWhole = true
        do {
            // 1.
            guard try catchUp(&isWhole) else { return home.execute { self.turn() } }
            isCaughtUp = true
            let now = now
            guard !mustWait(until: retryAt, atMost: Self.retryMicroseconds, clock()) else { return setTimer(now) }
            // 2.
            isWhole = false
            cycle = DeskCycle(desk: self, now: now)
            serve(&cycle!, &units)
            // 3. Before the others in the group, so that they lie where they are foreseen.
            state.beginReroutes(now)
            if let batch = try decide(&cycle!.toRoute, now) {
                putBack(&units, whoseReceiverWonIn: batch)
                units.insert((batch.unit, .decisions(batch)), at: 0)
                for entry in batch.entries { cycle!.touch("lead " + entry.leadID) }
            }
            // 4.
            for plan in try owed(&cycle!) { units.append((try makeUnit(plan), .own)) }
            submit(units)
            setTimer(now)
            // Whoever waits for another request of this round, from which nothing came, has nobody else to wake them.
            if units.isEmpty, !commands.isEmpty { home.execute { self.turn() } }
        } catch {
            // Those that this round had taken up already are answered as well.
            commands.append(contentsOf: cycle?.toRoute.map(\.1) ?? [])
            for (_, purpose) in units { if case .command(let command, _, _) = purpose { commands.append(command) } }
            if let error = error as? LedgerError, error.kind == .readersFull {
                readAgain(keepingState: isWhole)
            } else {
                stand(still: error)
            }
        }
    }

    /// Nothing is wrong with the log: all its readers were lent. What the round has done to the state by then goes with it: it is
    /// folded from the first event again, as by a start, which goes on where it must (E3).
    private func readAgain(keepingState isWhole: Bool) {
        if !isWhole {
            state = OperationsState()
            round = Round()
            isCaughtUp = false
            poolsToDrain = []
            drainPlaces = [:]
            nextTick = 0
            logger.warning("the router reads the log anew", metadata: ["reason": "all readers of the log were lent"])
        }
        setTimer(in: Self.retryMicroseconds)
    }

    /// What the log says cannot be understood: nothing is decided on a state that may be wrong.
    private func stand(still error: any Error) {
        fault = "\(error)"
        logger.critical("routing stands still", metadata: ["reason": "\(error)"])
        while let command = commands.popFirst() {
            command.call.fail(ErrorReply(.corrupted, "routing stands still: \(error)"))
        }
    }

    /// Folds what was appended, a slice of it.
    /// - Parameter isWhole: false while a slice is half folded.
    /// - Returns: whether that was all there was when it began.
    private func catchUp(_ isWhole: inout Bool) throws -> Bool {
        let end = log.end.rawValue
        let slice = MonotonicClock.nanoseconds()
        while state.scanned < end {
            _ = try log.read(
                from: Position(rawValue: state.scanned), limit: LedgerLimits.sliceEventsMax, maxBytes: 4 << 20
            ) { record in
                isWhole = false
                let position = record.position.rawValue
                if let entry = round.elsewhere.removeValue(forKey: position) {
                    try state.router.apply(entry.decision, at: position)
                    try state.stored(entry, at: position, recordedAt: Instant(microseconds: record.recordedAt))
                } else {
                    try state.fold(record, from: log, zones)
                }
                return true
            }
            isWhole = true
            // Requests are taken in between.
            if state.scanned < end, MonotonicClock.nanoseconds() &- slice > Limits.deskSliceNanoseconds { return false }
        }
        if !isCaughtUp { state.leases.giveTimeAnew(at: now) }
        return true
    }

    private func serve(_ cycle: inout DeskCycle, _ units: inout [(AppendUnit, Purpose)]) {
        var later = Deque<DeskCommand>()
        while var command = commands.popFirst() {
            do throws(ErrorReply) {
                switch try command.run(&cycle) {
                case .answer(let body): command.call.succeed(body)
                case .append(let plan, let answer):
                    let unit = try makeUnit(plan)
                    units.append((unit, .command(command, receiver: plan.receiver, answer)))
                case .route(let lead): cycle.toRoute.append((lead, command))
                case .wait: later.append(command)
                }
            } catch {
                command.attempts += 1
                command.call.fail(error)
            }
        }
        commands = later
    }

    /// A request and a decision of one round do not count each other: where both give a lead to the same member, the request is asked
    /// again in the next round, so that no cap is filled twice.
    private func putBack(_ units: inout [(AppendUnit, Purpose)], whoseReceiverWonIn batch: DecisionBatch) {
        if units.isEmpty { return }
        let winners = Set(batch.entries.compactMap(\.decision.member))
        units.removeAll { _, purpose in
            guard case .command(let command, let receiver?, _) = purpose, winners.contains(receiver) else {
                return false
            }
            commands.append(command)
            return true
        }
    }

    // MARK: The appender

    private func submit(_ units: [(AppendUnit, Purpose)]) {
        guard !units.isEmpty else { return }
        lookUp(units.map(\.0))
        let accepted = log.submit(units.map(\.0))
        for (unit, purpose) in units[..<accepted] { round.waiting[unit.replyToken] = purpose }
        guard accepted < units.count else { return }
        for (_, purpose) in units[accepted...].reversed() {
            switch purpose {
            case .decisions(let batch): undo(batch)
            case .command(let command, _, _): command.call.fail(.queueFull)
            case .own: break
            }
            for (_, command) in purpose.routed { command.call.fail(.queueFull) }
        }
        retryAt = clock() + Self.retryMicroseconds
    }

    private func lookUp(_ units: [AppendUnit]) {
        guard snapshot != nil else { return }
        // Where the look-up fails, the appender repeats it and says what is wrong.
        do { try snapshot!.renew() } catch { return }
        for unit in units where unit.needsLookUp { log.prepare(unit, using: &snapshot!) }
        snapshot!.reset()
    }

    func makeEmptyUnit() -> AppendUnit {
        AppendUnit(ledgerID: log.ledgerID, replyTo: self, token: tokens.wrappingAdd(1, ordering: .relaxed).newValue)
    }

    private func makeUnit(_ plan: UnitPlan) throws(ErrorReply) -> AppendUnit {
        let unit = makeEmptyUnit()
        do throws(LedgerError) {
            for event in plan.events { try unit.add(event) }
        } catch {
            throw ErrorReply(.eventTooLarge, "what is to be stored is over \(LedgerLimits.recordBytesMax) bytes")
        }
        for (stream, version) in plan.expected { unit.expect(stream: stream, version) }
        if plan.beginsUse { unit.write([Usage.register]) }
        return unit
    }

    func deliver(_ batches: [[AppendUnit]]) {
        home.execute {
            for unit in batches.joined() { self.took(unit) }
            if !self.round.isOut { self.turn() }
        }
    }

    /// Nothing is kept that found no room.
    func queueHasRoom() {}

    private func took(_ unit: AppendUnit) {
        guard let purpose = round.waiting.removeValue(forKey: unit.replyToken) else {
            preconditionFailure("an outcome for a unit that the desk did not submit")
        }
        switch unit.outcome {
        case .appended(let receipt):
            refusalsInARow = 0
            switch purpose {
            case .decisions(let batch): took(batch, receipt)
            case .command(let command, _, let answer): command.call.succeed { answer(&$0, receipt) }
            case .own: break
            }
        case .refused(let refusal):
            if case .decisions(let batch) = purpose { undo(batch) }
            refused(refusal, unit, purpose)
        case .unknown:
            if case .decisions(let batch) = purpose { undo(batch) }
            if case .command(let command, _, _) = purpose { command.call.fail(.outcomeUnknown) }
            for (_, command) in purpose.routed { command.call.fail(.outcomeUnknown) }
        case .stored, .wouldAppend: preconditionFailure("a unit of the desk has events, and is no dry run")
        }
    }

    private func refused(_ refusal: AppendRefusal, _ unit: AppendUnit, _ purpose: Purpose) {
        let isOvertaken: Bool
        switch refusal {
        // Another client was faster: with what they said folded in, it is decided anew.
        case .versionConflict, .lifecycle, .idReused, .partialDuplicate, .nameTwiceInUnit: isOvertaken = true
        default: isOvertaken = false
        }
        refusalsInARow += 1
        // Whatever is refused again and again with nothing new in the log would be so for ever: not at once again.
        if !isOvertaken || refusalsInARow > Limits.deskRefusalsInARow {
            retryAt = clock() + Self.retryMicroseconds
            logger.warning("the router's events were refused", metadata: ["reason": "\(refusal)"])
        }
        var asked = purpose.routed.map(\.1)
        if case .command(let command, _, _) = purpose { asked.append(command) }
        for var command in asked {
            command.attempts += 1
            if isOvertaken, command.attempts < Limits.deskAttemptsMax {
                commands.append(command)
            } else if isOvertaken {
                command.call.fail(.tryAgain("others changed the same leads meanwhile"))
            } else {
                command.call.fail(ErrorReply(refusal, of: unit, expecting: []))
            }
        }
    }

    // MARK: Decisions

    private func took(_ batch: DecisionBatch, _ receipt: AppendReceipt) {
        for (entry, event) in zip(batch.entries, receipt.events) {
            guard let command = entry.command else { continue }
            let (id, decision, router) = (entry.leadID, entry.decision, state.router)
            command.call.succeed { $0.routed(id, decision, router, at: event.position) }
        }
        if receipt.first.rawValue == batch.first, !receipt.isDuplicate {
            do {
                for (entry, event) in zip(batch.entries, receipt.events) {
                    try state.stored(
                        entry, at: event.position.rawValue, recordedAt: Instant(microseconds: receipt.recordedAt))
                }
            } catch { stand(still: error) }
            return
        }
        undo(batch, keeping: true)
        guard !receipt.isDuplicate else { return }
        for (entry, event) in zip(batch.entries, receipt.events) {
            round.elsewhere[event.position.rawValue] = entry
        }
    }

    /// - Parameter keeping: they were stored, only elsewhere.
    private func undo(_ batch: DecisionBatch, keeping: Bool = false) {
        if planted != .forgetsUndo { for entry in batch.entries.reversed() { state.router.undo(entry.undo) } }
        guard !keeping else { return }
        // What told of free places is gone.
        nextTick = 0
        for entry in batch.entries.reversed() where entry.decision.trigger.kind == .reroute {
            state.reroutes.prepend(
                OperationsState.Reroute(
                    lead: entry.lead, cause: entry.decision.trigger.position,
                    before: state.router[entry.lead].heldSince + 1))
        }
    }

    /// Decides what waits, as far as one unit goes.
    ///
    /// - Parameter asked: those that are answered here are taken out.
    private func decide(_ asked: inout [(LeadNumber, DeskCommand)], _ now: Instant) throws -> DecisionBatch? {
        guard let plan = state.router.plan(at: now) else {
            for (_, command) in asked { command.call.fail(.noRuleSet) }
            asked = []
            return nil
        }
        let batch = DecisionBatch(first: state.scanned, unit: makeEmptyUnit(), actor: ownUser)
        batch.expectsVersions = planted != .expectsNothing
        // The state is lent to the router, and comes back whatever happens.
        var router = RouterState()
        swap(&router, &state.router)
        defer { swap(&router, &state.router) }
        var failure: (any Error)?
        func details(_ lead: LeadNumber, _ record: LeadRecord, _ plan: RoutingPlan) -> LeadDetails {
            do { return try state.details(lead, record, plan, from: log) } catch {
                failure = failure ?? error
                return LeadDetails(id: "", facts: LeadFacts(customFieldCount: plan.ruleSet.customFields.count))
            }
        }
        func store(_ decision: Decision, _ router: RouterState) -> UInt64 {
            let lead = router.lead(decision.lead)
            do { try batch.add(decision, of: lead, router, version: state.version(of: lead)) } catch {
                failure = failure ?? error
            }
            return batch.first + UInt64(batch.entries.count - 1)
        }
        func route(_ trigger: RoutingTrigger) throws -> Bool {
            try router.route(trigger, at: now, storedUpTo: batch.first, details: details, store: store)
        }

        // 1. Who asked for it.
        var next = 0
        while next < asked.count {
            let (lead, command) = asked[next]
            let custody = router[lead].state.custody
            guard custody == .inbox || custody == .queue else {
                asked.remove(at: next)
                command.call.fail(
                    ErrorReply(.notWaiting, "the lead is in custody \(custody.name)", at: .params("/lead")))
                continue
            }
            let before = batch.entries.count
            // A position that is foreseen is nothing to refer to: the next round goes on.
            let since = router[lead].heldSince
            guard since < batch.first, try route(RoutingTrigger(.byHand, lead: lead, position: since)) else {
                asked.remove(at: next)
                commands.append(command)
                continue
            }
            next += 1
            if let index = batch.entries[before...].lastIndex(where: { $0.lead == lead }) {
                batch.entries[index].command = command
            }
        }
        // 2. Queues that hours or caps have opened, and those of pools that are no more. What an earlier rule set called a pool may be
        // another one's place in this, or nobody's.
        func toDrain(_ pools: some Sequence<PoolIndex>) {
            for pool in pools { poolsToDrain.insert(plan.pools[Int(pool.rawValue)].number) }
        }
        poolsToDrain = poolsToDrain.filter { plan.pool(numbered: $0) != nil }
        var stranded: ArraySlice<LeadNumber> = []
        if !mustWait(until: nextTick, atMost: Limits.deskTickMicroseconds, clock()) {
            nextTick = clock() + Limits.deskTickMicroseconds
            toDrain(router.poolsWithQueue(plan))
            stranded = router.strandedLeads(plan)[...]
        }
        // Pools whose next lead was queued by this unit: it has a position when the unit is stored.
        var cut: Set<PoolNumber> = []
        while batch.hasRoom, failure == nil {
            toDrain(router.takeFreedPools(plan))
            if let pool = poolsToDrain.subtracting(cut).compactMap({ plan.pool(numbered: $0) }).min() {
                // A drain looks at so many leads and no more: where it gave some out, it is asked again.
                let number = plan.pools[Int(pool.rawValue)].number
                let drained = try router.drain(
                    pool, from: &drainPlaces[number], at: now, storedUpTo: batch.first, details: details, store: store)
                if drained.mustWait {
                    cut.insert(number)
                } else if drained.given == 0 {
                    poolsToDrain.remove(number)
                }
            } else if let lead = stranded.popFirst() {
                guard try route(RoutingTrigger(.drain, lead: lead, position: router[lead].heldSince)) else { break }
            } else if let trigger = router.nextTrigger() {
                guard try route(trigger) else { break }
            } else if let next = takeReroute(router) {
                guard try route(RoutingTrigger(.reroute, lead: next.lead, position: next.cause)) else {
                    state.reroutes.prepend(next)
                    break
                }
            } else {
                break
            }
        }
        if let failure { throw failure }
        guard !batch.entries.isEmpty else { return nil }
        return batch
    }

    /// The next lead that is to be decided again and still waits where it did when that was asked.
    private func takeReroute(_ router: RouterState) -> OperationsState.Reroute? {
        while let next = state.reroutes.popFirst() {
            let record = router[next.lead]
            let custody = record.state.custody
            if custody == .inbox || custody == .queue, record.heldSince < next.before { return next }
        }
        return nil
    }

    // MARK: The time

    private static let retryMicroseconds = Limits.consumerRetryMilliseconds * 1_000

    /// Where it is longer than it can have been, the clock was set back, and what was waited for is over.
    private func mustWait(until end: Int64, atMost length: Int64, _ now: Int64) -> Bool {
        now < end && end - now <= length
    }

    private func setTimer(_ now: Instant) {
        timer?.cancel()
        timer = nil
        guard !isEnding, !round.isOut else { return }
        var next = Int64.max
        if retryAt > now.microseconds { next = min(next, retryAt) }
        if let instant = state.clocks.nextInstant() { next = min(next, max(instant.microseconds, now.microseconds)) }
        if let end = state.leases.nextEnd { next = min(next, end.microseconds) }
        for reroute in state.reroutesToCome { next = min(next, reroute.from.microseconds) }
        for departure in state.departures where departure.from > now { next = min(next, departure.from.microseconds) }
        if let plan = state.router.plan(at: now),
            !state.router.poolsWithQueue(plan).isEmpty || !state.router.strandedLeads(plan).isEmpty
        {
            next = min(next, max(nextTick, now.microseconds))
        }
        guard next != .max else { return }
        setTimer(in: max(1_000, min(next - now.microseconds, Limits.deskTimerMaxMicroseconds)))
    }

    private func setTimer(in microseconds: Int64) {
        timer?.cancel()
        timer = home.assumeIsolated().scheduleTask(in: .microseconds(microseconds)) { [weak self] in self?.turn() }
    }
}

extension OperationsDesk.Purpose {
    /// Requests whose lead the router was to decide.
    fileprivate var routed: [(LeadNumber, DeskCommand)] {
        guard case .decisions(let batch) = self else { return [] }
        return batch.entries.compactMap { entry in entry.command.map { (entry.lead, $0) } }
    }
}
