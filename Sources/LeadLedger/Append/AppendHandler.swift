import Control
import DequeModule
import JSON
import Leads
import Ledger
import NIOCore
import Projections

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

/// Lives on its event loop and is touched nowhere else, but for `deliver` and `queueHasRoom`, which hop to it.
// Sendable: see above; the event loop is the isolation.
final class AppendHandler: AppendReplySink, @unchecked Sendable {
    private let log: EventLog
    private let models: ReadModelSet
    private let intake: EventIntake
    private let parameters: JSONSchema
    private let eventLoop: any EventLoop
    private let now: @Sendable () -> Int64

    private var snapshot: IndexSnapshot?
    private var pending = Deque<Pending>()
    private var lastToken: UInt64 = 0
    /// Units of this turn, not handed over yet.
    private var fresh: [AppendUnit] = []
    /// Units that found no room. First in, first out.
    private var backlog = Deque<AppendUnit>()
    private var paused: [Connection] = []
    /// The clock as of the first line of this turn.
    private var turnInstant: Int64?

    private struct Pending {
        var token: UInt64
        var reply: ReplySlot
        var unit: AppendUnit
        var terms: Terms
    }

    /// What a request asks for besides its events.
    private struct Terms {
        var wait = AppendWait.synced
        /// The leads of `expect`, in its order.
        var expectedLeads: [String] = []
    }

    init(
        log: EventLog, models: ReadModelSet, schemas: EventSchemas, parameters: JSONSchema, eventLoop: any EventLoop,
        now: @escaping @Sendable () -> Int64
    ) throws(LedgerError) {
        self.log = log
        self.models = models
        intake = EventIntake(schemas: schemas)
        self.parameters = parameters
        self.eventLoop = eventLoop
        self.now = now
        var snapshot = try log.makeIndexSnapshot()
        snapshot.reset()
        self.snapshot = consume snapshot
    }

    /// Gives its reader back: before the log closes.
    func end() { snapshot = nil }

    // MARK: In

    func receive(_ request: Request, reply: ReplySlot) {
        do throws(AppendFault) {
            let unit = AppendUnit(ledgerID: log.ledgerID, replyTo: self, token: lastToken + 1)
            let terms = try build(unit, from: request)
            lastToken += 1
            ConnectionState.of(request.connection).appendSubmitted()
            pending.append(Pending(token: lastToken, reply: reply, unit: unit, terms: terms))
            fresh.append(unit)
            if fresh.count >= Limits.unitsHandedOverMax { handOver() }
        } catch {
            reply.fail(ErrorReply(error.name, error.message, at: .params(error.pointer)))
        }
    }

    private func build(_ unit: AppendUnit, from request: Request) throws(AppendFault) -> Terms {
        guard let params = request.params else {
            throw AppendFault(.missingField, "", "append needs params with events")
        }
        if let violation = parameters.validate(params) { throw AppendFault(violation, at: "") }
        let instant = turnInstant ?? now()
        turnInstant = instant
        var terms = Terms()
        var expectations: JSONValue?
        for member in params.members {
            if member.name.equals("events") {
                var index = 0
                for event in member.value.elements {
                    try intake.add(event, index: index, actor: request.peer.uid, now: instant, to: unit)
                    index += 1
                }
            } else if member.name.equals("expect") {
                expectations = member.value
            } else if member.name.equals("wait") {
                terms.wait = try AppendWait(member.value)
            }
        }
        if case .projection(let name, _) = terms.wait, ReadModels.named(name) == nil {
            throw AppendFault(.unknownProjection, "/wait/projection", "no read model is called \(name)")
        }
        if let expectations {
            var index = 0
            for expectation in expectations.elements {
                guard let lead = expectation["lead"] else { continue }
                unit.expect(
                    stream: StreamKey(kind: LeadStreams.kind, subject: lead.utf8),
                    try ExpectedVersion(expectation["version"], at: "/expect/\(index)"))
                terms.expectedLeads.append(lead.string ?? "")
                index += 1
            }
        }
        return terms
    }

    /// All lines of this turn were received.
    func batchEnded() {
        turnInstant = nil
        handOver()
    }

    /// Looks the new units up and queues them.
    private func handOver() {
        guard !fresh.isEmpty else { return }
        lookUp(fresh)
        if backlog.isEmpty {
            let accepted = log.submit(fresh)
            if accepted < fresh.count { backlog.append(contentsOf: fresh[accepted...]) }
        } else {
            // A1.
            backlog.append(contentsOf: fresh)
        }
        fresh.removeAll(keepingCapacity: true)
        guard !backlog.isEmpty else { return }
        pauseConnections()
        log.whenRoom(self)
    }

    private func lookUp(_ units: [AppendUnit]) {
        guard snapshot != nil else { return }
        // Where the look-up fails, the appender repeats it and says what is wrong.
        do { try snapshot!.renew() } catch { return }
        for unit in units { log.prepare(unit, using: &snapshot!) }
        snapshot!.reset()
    }

    // MARK: No room

    /// A2.
    private func pauseConnections() {
        for entry in pending.suffix(backlog.count) where !paused.contains(where: { $0 === entry.reply.connection }) {
            entry.reply.connection.pauseReading()
            paused.append(entry.reply.connection)
        }
    }

    func queueHasRoom() {
        eventLoop.execute { self.submitBacklog() }
    }

    private func submitBacklog() {
        guard !backlog.isEmpty else { return }
        backlog.removeFirst(log.submit(backlog))
        guard backlog.isEmpty else { return log.whenRoom(self) }
        let resumed = paused
        paused.removeAll(keepingCapacity: true)
        for connection in resumed { connection.resumeReading() }
    }

    // MARK: Out

    func deliver(_ outcomes: [(token: UInt64, outcome: AppendOutcome)]) {
        eventLoop.execute {
            for (token, outcome) in outcomes { self.answer(token, outcome) }
        }
    }

    private func answer(_ token: UInt64, _ outcome: AppendOutcome) {
        // A1.
        let entry = pending.removeFirst()
        precondition(entry.token == token, "outcomes come in the order of submission")
        switch outcome {
        case .appended(let receipt):
            switch entry.terms.wait {
            case .synced: entry.reply.succeed { $0.receipt(receipt, of: entry.unit) }
            case .projection(let name, let milliseconds): wait(for: name, milliseconds, entry, receipt)
            }
        case .stored: preconditionFailure("a unit of append has events")
        case .refused(let refusal):
            entry.reply.fail(ErrorReply(refusal, of: entry.unit, expecting: entry.terms.expectedLeads))
        case .unknown:
            entry.reply.fail(ErrorReply(.outcomeUnknown, "the log's device failed while this was being stored"))
        }
        ConnectionState.of(entry.reply.connection).appendSettled()
    }

    // MARK: Waiting for a read model

    private func wait(for name: String, _ milliseconds: Int64, _ entry: Pending, _ receipt: AppendReceipt) {
        let wanted = receipt.last.successor
        // Written now, so that a unit that waits takes no more memory than its answer.
        var writer = JSONWriter()
        writer.receipt(receipt, of: entry.unit)
        let (reply, bytes) = (entry.reply, writer.take())
        ModelWait.begin(models, name, wanted, milliseconds, on: eventLoop) { isThere in
            if isThere {
                var result = JSONWriter()
                result.beginObject()
                bytes.dropFirst().dropLast().withUnsafeBytes { result.rawMembers($0) }
                result.key("projection")
                result.beginObject()
                result.member("name", name)
                result.member("position", wanted.rawValue)
                result.endObject()
                result.endObject()
                reply.succeed(raw: result.take())
            } else {
                reply.fail(
                    ErrorReply(
                        .deadlineExceeded,
                        "the events are stored, and the read model \(name) has not taken them in within \(milliseconds) ms",
                        details: Array(#""appended":"#.utf8) + bytes))
            }
        }
    }
}

/// One wait for a read model with a deadline, on an event loop.
enum ModelWait {
    /// Calls `body` once, on the event loop: true when the model has all events below `position`, false at the deadline or when the
    /// daemon stops.
    static func begin(
        _ models: ReadModelSet, _ name: String, _ position: Position, _ milliseconds: Int64,
        on eventLoop: any EventLoop,
        _ body: @escaping (Bool) -> Void
    ) {
        let wait = Wait(body)
        do throws(ProjectionError) {
            let token = try models.whenReached(position, in: name) { isThere in
                eventLoop.execute { wait.end(isThere) }
            }
            wait.deadline = eventLoop.assumeIsolated().scheduleTask(in: .milliseconds(milliseconds)) {
                models.cancelWait(token, in: name)
                wait.end(false)
            }
        } catch { body(false) }
    }

    // Sendable: touched on the event loop only.
    private final class Wait: @unchecked Sendable {
        private var body: ((Bool) -> Void)?
        var deadline: Scheduled<Void>?

        init(_ body: @escaping (Bool) -> Void) { self.body = body }

        func end(_ isThere: Bool) {
            guard let body else { return }
            self.body = nil
            deadline?.cancel()
            deadline = nil
            body(isThere)
        }
    }
}
