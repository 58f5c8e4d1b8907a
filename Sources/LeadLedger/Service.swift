import Control
import JSON
import Ledger
import NIOCore
import NIOPosix
import Projections
import Synchronization

// Service: what one event loop does with a request: the method table's other side.

/// What all loops share.
struct Ledger: Sendable {
    let context: QueryContext
    let format: LedgerFormat
    let schemas: EventSchemas
    let pool: NIOThreadPool
    let consumers: ConsumerDesk
    let operations: OperationsDesk
    let startedAt: UInt64
    /// Connections that are served now.
    let connections: @Sendable () -> Int

    var log: EventLog { context.log }
    var models: ReadModelSet { context.models }
}

/// One for each event loop; see `RequestService`.
// Sendable: called on its event loop only.
final class Service: RequestService, @unchecked Sendable {
    private let ledger: Ledger
    private let append: AppendHandler
    private let subscriptions: SubscriptionHandler
    private let consumers: ConsumerHandler
    private let operations: OperationsHandler
    private let queries: QueryRunner
    private let eventLoop: any EventLoop
    /// By the method's raw value: looked at for each request.
    private let parameters: [JSONSchema]
    /// What stands for the params of a request that has none: an empty object, which lies in the parser.
    private let noParams: JSONValue
    private var noParamsParser = JSONParser(bytesMax: 64)

    init(_ ledger: Ledger, eventLoop: any EventLoop) throws {
        self.ledger = ledger
        self.eventLoop = eventLoop
        noParams = try noParamsParser.parse(Array("{}".utf8))
        parameters = try Method.allCases.map { method in
            guard let schema = ledger.schemas.parameters[method.name.description] else {
                throw ErrorReply(.internalError, "the method \(method.name) has no schema")
            }
            return schema
        }
        let reader = UnitReader(
            intake: EventIntake(schemas: ledger.schemas), models: ledger.models,
            parameters: parameters[Int(Method.append.rawValue)])
        append = try AppendHandler(
            log: ledger.log, models: ledger.models, reader: reader,
            parametersOfMany: parameters[Int(Method.appendMany.rawValue)], eventLoop: eventLoop,
            now: ledger.context.now)
        subscriptions = SubscriptionHandler(log: ledger.log, pool: ledger.pool, eventLoop: eventLoop)
        consumers = ConsumerHandler(
            desk: ledger.consumers, reader: reader, eventLoop: eventLoop, now: ledger.context.now)
        operations = OperationsHandler(desk: ledger.operations, pool: ledger.pool, eventLoop: eventLoop)
        queries = QueryRunner(context: ledger.context, pool: ledger.pool, eventLoop: eventLoop)
    }

    /// Gives back what the log has lent. On the event loop, when no request comes any more.
    func end() {
        append.end()
        subscriptions.end()
    }

    /// The same where the event loops have ended, or never began: the daemon could not start.
    func abandon() {
        append.end()
        subscriptions.abandon()
    }

    func receive(_ request: Request, reply: ReplySlot) {
        if request.method == .append { return append.receive(request, reply: reply) }
        if request.method == .appendMany { return append.receiveMany(request, reply: reply) }
        if let fault = fault(in: request) { return reply.fail(fault) }
        switch request.method {
        case .append, .appendMany: preconditionFailure("answered above")
        case .leadGet: queries.run(LeadGet.self, request.params, reply: reply)
        case .leadHistory: queries.run(LeadHistory.self, request.params, reply: reply)
        case .logRead: queries.run(LogRead.self, request.params, reply: reply)
        case .logSubscribe: subscriptions.subscribe(request, reply: reply)
        case .logCredit: subscriptions.credit(request, reply: reply)
        case .logUnsubscribe: subscriptions.unsubscribe(request, reply: reply)
        case .consumerCreate, .consumerClaim, .consumerAck, .consumerNack, .consumerExtend, .consumerStatus,
            .consumerReplayParked, .consumerDelete:
            consumers.receive(request, reply: reply)
        case .queueList: queries.run(QueueList.self, request.params, reply: reply)
        case .policyPublish, .policyApprove, .policyActivate, .policyRollback, .policyHistory, .policyShow, .queueClaim,
            .queueHeartbeat, .queueTake, .queueRelease, .queuePeek, .queueRoute, .queueAssign, .memberPause,
            .memberResume, .memberLeave, .memberReturn, .memberList, .clockPause, .clockResume:
            operations.receive(request, reply: reply)
        case .leadExplain: queries.run(LeadExplain.self, request.params, reply: reply)
        case .reportResponse: queries.run(ReportResponse.self, request.params, reply: reply)
        case .reportLeaks: queries.run(ReportLeaks.self, request.params, reply: reply)
        case .reportFairness: queries.run(ReportFairness.self, request.params, reply: reply)
        case .reportFunnel: queries.run(ReportFunnel.self, request.params, reply: reply)
        case .reportAttribution: queries.run(ReportAttribution.self, request.params, reply: reply)
        case .projectionList: queries.run(ProjectionList.self, request.params, reply: reply)
        case .projectionRebuild: rebuild(request, reply: reply)
        case .status:
            let status = StatusQuery(
                context: ledger.context, format: ledger.format, startedAt: ledger.startedAt,
                connections: ledger.connections, routing: { [desk = ledger.operations] in desk.status })
            let state = ConnectionState.of(request.connection)
            state.read(for: reply) {
                reply.succeed { status.write(to: &$0) }
                state.readEnded()
            }
        case .schemaGet: queries.run(SchemaGet.self, request.params, reply: reply)
        }
    }

    /// What the method's schema has against the parameters; a method without required ones may be called without any.
    private func fault(in request: Request) -> ErrorReply? {
        let schema = parameters[Int(request.method.rawValue)]
        guard let violation = schema.validate(request.params ?? noParams) else { return nil }
        return ErrorReply(ErrorName(violation), violation.message, at: .params(violation.pointer))
    }

    func batchEnded(isAlone: Bool) { append.batchEnded(isAlone: isAlone) }

    func giveAnswers() -> Bool { append.giveAnswers() }

    func connectionClosed(_ connection: Connection) {
        subscriptions.connectionClosed(connection)
        consumers.connectionClosed(connection)
        (connection.serviceState as? ConnectionState)?.connectionClosed()
    }

    // MARK: Rebuilding

    /// Making the new build's files may wait for the disk, and with `wait` the answer waits for the new build.
    private func rebuild(_ request: Request, reply: ReplySlot) {
        guard request.params?["wait"]?.boolean == true, let name = request.params?["name"]?.string else {
            return queries.run(ProjectionRebuild.self, request.params, reply: reply)
        }
        let (models, eventLoop, pool) = (ledger.models, eventLoop, ledger.pool)
        let state = ConnectionState.of(request.connection)
        let slot = ReadSlot(reply: reply, state: state)
        state.read(for: reply) {
            pool.submit { poolState in
                guard poolState == .active else { return }
                let begun = BegunRebuild(name: name, reply: slot, eventLoop: eventLoop)
                do throws(ProjectionError) {
                    begun.started(try models.rebuild(name) { begun.ended($0) })
                } catch { eventLoop.execute { slot.fail(ErrorReply(error)) } }
            }
        }
    }
}

/// A rebuild that a request waits for: its end may come before its beginning is known here.
private final class BegunRebuild: Sendable {
    private let name: String
    private let reply: ReadSlot
    private let eventLoop: any EventLoop
    private let state = Mutex(State())

    private struct State {
        var started: ReadModelSet.StartedRebuild?
        var outcome: Result<Position, ProjectionError>?
    }

    init(name: String, reply: ReadSlot, eventLoop: any EventLoop) {
        self.name = name
        self.reply = reply
        self.eventLoop = eventLoop
    }

    func started(_ started: ReadModelSet.StartedRebuild) {
        answer(
            state.withLock { state in
                state.started = started
                return state
            })
    }

    func ended(_ outcome: Result<Position, ProjectionError>) {
        answer(
            state.withLock { state in
                state.outcome = outcome
                return state
            })
    }

    /// Answers once both are known, which is at the second of the two calls. One that never began is answered elsewhere.
    private func answer(_ state: State) {
        guard let started = state.started, let outcome = state.outcome else { return }
        let (name, reply) = (name, reply)
        eventLoop.execute {
            switch outcome {
            case .success(let position):
                var writer = JSONWriter()
                writer.rebuild(name, started, position: position)
                reply.succeed(raw: writer.take())
            case .failure(let error): reply.fail(ErrorReply(error))
            }
        }
    }
}
