import Control
import DequeModule
import JSON
import Leads
import Ledger
import NIOCore
import Projections
import Synchronization

// AppendHandler: one event loop's share of the way into the log.
//
//   line          unit            end of the turn            appender              loop
//   ------> receive ------> pending, fresh ------> looked up, submitted ------> committed ------> delivered, answered
//                                         \______ no room: backlog, its connections paused ______/
//
// What must hold:
//   A1  units are submitted in the order of their lines, so outcomes come in that order, and each finds its request at the
//       front of `pending`;
//   A2  a connection with a unit in the backlog is not read: its order is never broken, and what waits is bounded by what one
//       turn can read.

/// Lives on its event loop and is touched nowhere else, but for `deliver`, which leaves units for it, and `queueHasRoom`, which hops
/// to it.
// Sendable: see above; the event loop is the isolation.
final class AppendHandler: AppendReplySink, @unchecked Sendable {
    private let log: EventLog
    private let models: ReadModelSet
    private let reader: UnitReader
    private let parametersOfMany: JSONSchema
    private let eventLoop: any EventLoop
    private let now: @Sendable () -> Int64

    private var snapshot: IndexSnapshot?
    private var pending = Deque<Pending>()
    /// Units of this turn, not handed over yet.
    private var fresh: [AppendUnit] = []
    /// Units that found no room. First in, first out.
    private var backlog: ArraySlice<AppendUnit> = []
    private var paused: [Connection] = []
    private var spareUnits = SpareUnits(countMax: Limits.spareUnitsMax)
    /// What the appender has given back and was not answered yet, in the arrays it came in; and whether there is any, to be asked without
    /// a lock. Whoever puts in the first has the loop look; it may look before.
    private let settledUnits = Mutex<[[AppendUnit]]>([])
    private let hasSettled = Atomic<Bool>(false)
    /// The clock as of the first line of this turn.
    private var turnInstant: Int64?

    private var instants = InstantEncoder()
    private let scratch = MemberScratch()

    /// What waits for the outcome of a unit: plain bytes, which go through the queue without counting references. What it holds it
    /// holds until `take`, which has to be called once.
    private struct Pending {
        /// The appender has it; here it is only known again.
        let unit: ObjectIdentifier
        /// Of the line that the unit came in.
        let reply: KeptReplySlot
        private let terms: Unmanaged<AppendTerms>?
        private let many: Unmanaged<ManyUnits>?
        /// Which of many it is.
        let index: Int

        /// - Parameters:
        ///   - terms: nil: nothing but that it be stored.
        ///   - many: where the unit is one of many in its line, the answer to all of them.
        init(_ unit: AppendUnit, _ reply: ReplySlot, _ terms: AppendTerms?, _ many: ManyUnits?, _ index: Int) {
            self.unit = ObjectIdentifier(unit)
            self.reply = KeptReplySlot(reply)
            self.terms = terms.map { .passRetained($0) }
            self.many = many.map { .passRetained($0) }
            self.index = index
        }

        func take() -> (reply: ReplySlot, terms: AppendTerms?, many: ManyUnits?) {
            (reply.take(), terms?.takeRetainedValue(), many?.takeRetainedValue())
        }
    }

    init(
        log: EventLog, models: ReadModelSet, reader: UnitReader,
        parametersOfMany: JSONSchema, eventLoop: any EventLoop, now: @escaping @Sendable () -> Int64
    ) throws(LedgerError) {
        self.log = log
        self.models = models
        self.reader = reader
        self.parametersOfMany = parametersOfMany
        self.eventLoop = eventLoop
        self.now = now
        var snapshot = try log.makeIndexSnapshot()
        snapshot.reset()
        self.snapshot = consume snapshot
    }

    deinit {
        while let entry = pending.popFirst() { _ = entry.take() }
    }

    /// Gives its reader back: before the log closes.
    func end() {
        snapshot = nil
        // They hold this handler, and so would those that are answered from now on.
        spareUnits = SpareUnits(countMax: 0)
    }

    // MARK: In

    /// Takes an `append`.
    func receive(_ request: Request, reply: ReplySlot) {
        do throws(AppendFault) {
            guard let params = request.params else {
                throw AppendFault(.missingField, "", "append needs params with events")
            }
            try enter(params, reply, partOf: nil, 0)
            reply.connection.countAppendSubmitted()
        } catch {
            reply.fail(ErrorReply(error))
        }
    }

    /// Takes an `append.many`.
    func receiveMany(_ request: Request, reply: ReplySlot) {
        guard let params = request.params else {
            return reply.fail(ErrorReply(.missingField, "append.many needs params with units", at: .params("")))
        }
        if let violation = parametersOfMany.validate(params) {
            return reply.fail(ErrorReply(AppendFault(violation, at: "")))
        }
        let many: ManyUnits
        do throws(AppendFault) { many = ManyUnits(reply: reply, wait: try AppendWait(params["wait"], models)) } catch {
            return reply.fail(ErrorReply(error))
        }
        request.connection.countAppendSubmitted()
        var index = 0
        if let units = params["units"] {
            for unit in units.elements {
                do throws(AppendFault) {
                    try ManyUnits.checkMembers(of: unit)
                    try enter(unit, reply, partOf: many, index)
                    many.entered()
                } catch {
                    many.refused(index, ErrorReply(error))
                }
                index += 1
            }
        }
        if many.allRead() { settled(many) }
    }

    /// Reads a unit and queues it.
    private func enter(
        _ params: JSONValue, _ reply: ReplySlot, partOf many: ManyUnits?, _ index: Int
    ) throws(AppendFault) {
        let instant = turnInstant ?? now()
        turnInstant = instant
        let unit = makeUnit()
        let terms: AppendTerms?
        do throws(AppendFault) {
            terms = try reader.read(params, into: unit, actor: reply.connection.peer.uid, now: instant)
        } catch {
            spareUnits.keep(unit)
            throw error
        }
        pending.append(Pending(unit, reply, terms, many, index))
        fresh.append(consume unit)
        if fresh.count >= Limits.unitsHandedOverMax { handOver() }
    }

    private func makeUnit() -> AppendUnit {
        guard let unit = spareUnits.take() else {
            return AppendUnit(ledgerID: log.ledgerID, replyTo: self, token: 0, scratch: scratch)
        }
        unit.reset(token: 0)  // they come back in order, so none needs a name
        return unit
    }

    /// All lines of this turn were received. Where their client is alone, this may wait for a commit.
    func batchEnded(isAlone: Bool) {
        turnInstant = nil
        handOver(mayWait: isAlone)
    }

    /// Looks the new units up and queues them.
    private func handOver(mayWait: Bool = false) {
        guard !fresh.isEmpty else { return }
        AppendUnit.hashAhead(fresh)
        lookUp(fresh)
        // A1.
        if backlog.isEmpty {
            let count = fresh.count
            log.submit(removingFrom: &fresh, mayWait: mayWait)
            // The array is gone; the next one will be as long.
            fresh.reserveCapacity(count)
        }
        if !fresh.isEmpty {
            backlog.append(contentsOf: fresh)
            fresh.removeAll(keepingCapacity: true)
        }
        guard !backlog.isEmpty else { return }
        pauseConnections()
        log.whenRoom(self)
    }

    private func lookUp(_ units: [AppendUnit]) {
        guard snapshot != nil else { return }
        // Where the look-up fails, the appender repeats it and says what is wrong.
        do { try snapshot!.renew() } catch { return }
        log.prepare(units, using: &snapshot!)
        snapshot!.reset()
    }

    // MARK: No room

    /// A2.
    private func pauseConnections() {
        for entry in pending.suffix(backlog.count) {
            entry.reply.withConnection { connection in
                guard !paused.contains(where: { $0 === connection }) else { return }
                connection.pauseReading()
                paused.append(connection)
            }
        }
    }

    func queueHasRoom() {
        eventLoop.execute { self.submitBacklog() }
    }

    private func submitBacklog() {
        guard !backlog.isEmpty else { return }
        backlog.removeFirst(log.submit(backlog))
        guard backlog.isEmpty else { return log.whenRoom(self) }
        backlog = []
        let resumed = paused
        paused.removeAll(keepingCapacity: true)
        for connection in resumed { connection.resumeReading() }
    }

    // MARK: Out

    func deliver(_ batches: [[AppendUnit]]) {
        let isFirst = settledUnits.withLock { settled in
            settled += batches
            return settled.count == batches.count
        }
        hasSettled.store(true, ordering: .releasing)
        if isFirst { eventLoop.execute { _ = self.giveAnswers() } }
    }

    /// Answers what the appender has given back.
    /// - Returns: whether there was anything.
    func giveAnswers() -> Bool {
        guard hasSettled.load(ordering: .acquiring) else { return false }
        hasSettled.store(false, ordering: .relaxed)
        let settled = settledUnits.withLock { settled in
            defer { settled = [] }
            return settled
        }
        for units in settled {
            units.lendFetching { answer($0) }
            spareUnits.keep(units)
        }
        return !settled.isEmpty
    }

    private func answer(_ unit: AppendUnit) {
        // A1.
        let entry = pending.removeFirst()
        precondition(entry.unit == ObjectIdentifier(unit), "outcomes come in the order of submission")
        let (reply, terms, many) = entry.take()
        if let many {
            switch unit.takeOutcome() {
            case .appended(let receipt): many.stored(entry.index, receipt, of: unit, &instants)
            case .wouldAppend, .stored: preconditionFailure("append.many has no dry run, and its units have events")
            case .refused(let refusal):
                many.refused(entry.index, ErrorReply(refusal, of: unit, expecting: terms?.expectedLeads ?? []))
            case .unknown: many.refused(entry.index, .outcomeUnknown)
            }
            if many.settledOne() { settled(many) }
        } else {
            answer(reply, unit, terms)
            ConnectionState.appendSettled(reply.connection)
        }
    }

    private func answer(_ reply: ReplySlot, _ unit: AppendUnit, _ terms: AppendTerms?) {
        switch unit.takeOutcome() {
        case .appended(let receipt):
            let bytesMax = receipt.textBytesMax(of: unit)
            guard let terms, terms.wait != .synced else {
                let isDryRun = terms?.isDryRun ?? false
                return reply.succeed(bytesMax: bytesMax) {
                    $0.receipt(receipt, of: unit, isDryRun: isDryRun, &instants)
                }
            }
            // Written now, so that a unit that waits takes no more memory than its answer.
            var writer = JSONWriter(reserving: bytesMax)
            writer.receipt(receipt, of: unit)
            answer(reply, writer.take(), terms.wait, below: receipt.last.successor)
        case .wouldAppend(let versions): reply.succeed { $0.dryRun(versions, of: unit) }
        case .stored: preconditionFailure("a unit of append has events")
        case .refused(let refusal):
            reply.fail(ErrorReply(refusal, of: unit, expecting: terms?.expectedLeads ?? []))
        case .unknown: reply.fail(.outcomeUnknown)
        }
    }

    /// Every unit of an `append.many` has its outcome.
    private func settled(_ many: ManyUnits) {
        let text = many.takeText()
        let wait = many.last == nil ? .synced : many.wait
        answer(many.reply, text, wait, below: many.last?.successor ?? .zero)
        ConnectionState.appendSettled(many.reply.connection)
    }

    // MARK: Waiting for a read model

    /// Answers with an object as text, now or when the read model that is waited for has all events below `position`.
    private func answer(_ reply: ReplySlot, _ text: [UInt8], _ wait: AppendWait, below position: Position) {
        guard case .projection(let name, let milliseconds) = wait else { return reply.succeed(raw: text) }
        // It has left the appender's queue, and a read model that stands still would have answers pile up here.
        reply.keep(text.capacity)
        ModelWait.begin(models, name, position, milliseconds, for: reply.connection) { isThere in
            if isThere {
                var result = JSONWriter()
                result.beginObject()
                text.dropFirst().dropLast().withUnsafeBytes { result.rawMembers($0) }
                result.key("projection")
                result.beginObject()
                result.member("name", name)
                result.member("position", position.rawValue)
                result.endObject()
                result.endObject()
                reply.succeed(raw: result.take())
            } else {
                reply.fail(
                    ErrorReply(
                        .deadlineExceeded,
                        "the events are stored, and the read model \(name) has not taken them in within \(milliseconds) ms",
                        details: Array(#""appended":"#.utf8) + text))
            }
        }
    }
}

/// Units that were answered, to be used again: making one takes five allocations. They are kept as they come back, in the arrays
/// that they were handed over in, so that none of them is touched for that.
private struct SpareUnits {
    /// Each has some.
    private var batches: [[AppendUnit]] = []
    private var count = 0
    private let countMax: Int

    init(countMax: Int) { self.countMax = countMax }

    mutating func take() -> AppendUnit? {
        guard let last = batches.indices.last else { return nil }
        count -= 1
        let unit = batches[last].removeLast()
        batches[last].fetchLast()
        if batches[last].isEmpty { batches.removeLast() }
        return unit
    }

    /// Keeps units that nobody else uses any more, but for those that have grown beyond the usual or are too many.
    mutating func keep(_ units: [AppendUnit]) {
        var areUsual = !units.isEmpty && count + units.count <= countMax
        units.lend { if !Self.isUsual($0) { areUsual = false } }
        if areUsual {
            batches.append(units)
            count += units.count
        } else {
            for unit in units { keep(unit) }
        }
    }

    mutating func keep(_ unit: AppendUnit) {
        guard count < countMax, Self.isUsual(unit) else { return }
        if batches.isEmpty { batches.append([]) }
        batches[batches.count - 1].append(unit)
        count += 1
    }

    private static func isUsual(_ unit: AppendUnit) -> Bool { unit.capacityBytes <= Limits.spareUnitBytesMax }
}
