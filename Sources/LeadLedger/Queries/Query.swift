import Control
import JSON
import Ledger
import Leads
import NIOCore
import NIOPosix
import Projections

// Query: a request that only reads. Its parameters are read on the event loop, where the line lies, and its answer is written
// on a reader thread, which may wait for the disk.
//
//   line         query       (waits for the appends before it, then for a model)     reader thread          loop
//   ------> init(params) ------> appends settled, freshness reached ------> write a snapshot's answer ------> reply

/// What queries read.
struct QueryContext: Sendable {
    let log: EventLog
    let models: ReadModelSet
    /// The daemon's clock, microseconds since 1970.
    let now: @Sendable () -> Int64
}

protocol Query: Sendable {
    /// - Parameter params: what passed the method's schema; nil where the request has none.
    init(_ params: JSONValue?) throws(QueryFault)

    /// Writes the result, one JSON value.
    func write(to writer: inout JSONWriter, from context: QueryContext) throws

    /// What the answer should know; nil: whatever there is.
    func freshness(in context: QueryContext) throws -> Freshness?
}

extension Query {
    func freshness(in context: QueryContext) throws -> Freshness? { nil }
}

/// How far a read model should have come before a query is answered. It is waited for `Limits.freshnessMilliseconds`.
struct Freshness: Sendable {
    var model: String
    var position: Position
    /// Without it there is no answer. Otherwise one that is late says so, by its `position` and `head`.
    var isRequired: Bool

    /// All that was stored before the question, if the model gets there in time.
    static func head(_ model: String, _ context: QueryContext) -> Freshness {
        Freshness(model: model, position: context.log.end, isRequired: false)
    }
}

/// Runs queries for one event loop.
struct QueryRunner: Sendable {
    let context: QueryContext
    let pool: NIOThreadPool
    let eventLoop: any EventLoop

    func run<Q: Query>(_ type: Q.Type, _ params: JSONValue?, reply: ReplySlot) {
        let query: Q
        do throws(QueryFault) { query = try Q(params) } catch { return reply.fail(ErrorReply(error)) }
        let state = ConnectionState.of(reply.connection)
        state.read(for: reply) { run(query, ReadSlot(reply: reply, state: state)) }
    }

    private func run(_ query: some Query, _ reply: ReadSlot) {
        onReader(reply) { writer -> Freshness? in
            if let fresh = try query.freshness(in: context) {
                // A model that is being built says so at once.
                try context.models.requireAnswers(of: fresh.model)
                return fresh
            }
            try query.write(to: &writer, from: context)
            return nil
        } then: { fresh, bytes in
            guard let fresh else { return reply.succeed(raw: bytes) }
            ModelWait.begin(
                context.models, fresh.model, fresh.position, Limits.freshnessMilliseconds, for: reply.reply.connection
            ) { isThere in
                if isThere || !fresh.isRequired { return write(query, reply) }
                reply.fail(
                    ErrorReply(
                        .deadlineExceeded,
                        "the read model \(fresh.model) has not come to position \(fresh.position) in time",
                        retryAfterMilliseconds: Int(Limits.freshnessMilliseconds)))
            }
        }
    }

    private func write(_ query: some Query, _ reply: ReadSlot) {
        onReader(reply) {
            try query.write(to: &$0, from: context)
        } then: { _, bytes in
            reply.succeed(raw: bytes)
        }
    }

    /// Runs `body` on a reader thread and `then` with what came of it back on the event loop; what `body` throws is the reply.
    private func onReader<Value: Sendable>(
        _ reply: ReadSlot, _ body: @escaping @Sendable (inout JSONWriter) throws -> Value,
        then: @escaping @Sendable (Value, [UInt8]) -> Void
    ) {
        let eventLoop = eventLoop
        pool.submit { state in
            guard state == .active else { return }
            var writer = JSONWriter(reserving: 4_096)
            let outcome = Result { try body(&writer) }
            let bytes = writer.take()
            eventLoop.execute {
                switch outcome {
                case .success(let value): then(value, bytes)
                case .failure(let error): reply.fail(ErrorReply(answering: error))
                }
            }
        }
    }
}

/// Where the answer to a request goes, once.
protocol AnswerSlot: Sendable {
    func succeed(raw result: [UInt8])
    func fail(_ error: ErrorReply)
}

/// The reply of a read, which makes room for the next one of its connection.
// Sendable: goes to a reader thread and back without being touched there.
struct ReadSlot: AnswerSlot, @unchecked Sendable {
    let reply: ReplySlot
    let state: ConnectionState

    func succeed(raw result: [UInt8]) {
        reply.succeed(raw: result)
        state.readEnded()
    }

    func fail(_ error: ErrorReply) {
        reply.fail(error)
        state.readEnded()
    }
}
