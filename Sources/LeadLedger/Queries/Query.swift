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

    /// The read model, and the position up to which it must have come before the answer; nil: as it is.
    func freshness(in context: QueryContext) throws -> (model: String, position: Position)?
}

extension Query {
    func freshness(in context: QueryContext) throws -> (model: String, position: Position)? { nil }
}

/// Runs queries for one event loop.
struct QueryRunner {
    let context: QueryContext
    let pool: NIOThreadPool
    let eventLoop: any EventLoop

    func run<Q: Query>(_ type: Q.Type, _ params: JSONValue?, reply: ReplySlot) {
        let query: Q
        do throws(QueryFault) { query = try Q(params) } catch { return reply.fail(ErrorReply(error)) }
        ConnectionState.of(reply.connection).afterAppends { run(query, reply) }
    }

    private func run(_ query: some Query, _ reply: ReplySlot) {
        read(reply) { writer in
            if let fresh = try query.freshness(in: context) {
                // Told on the loop, and asked again there: the model is there then, or late.
                writer = JSONWriter()
                return .after(fresh.model, fresh.position)
            }
            try query.write(to: &writer, from: context)
            return .written
        } again: { writer in
            try query.write(to: &writer, from: context)
        }
    }

    private enum Step {
        case written
        case after(String, Position)
    }

    private func read(
        _ reply: ReplySlot, _ first: @escaping @Sendable (inout JSONWriter) throws -> Step,
        again: @escaping @Sendable (inout JSONWriter) throws -> Void
    ) {
        let (pool, eventLoop, models) = (pool, eventLoop, context.models)
        pool.submit { state in
            guard state == .active else { return }
            var writer = JSONWriter(reserving: 4_096)
            let outcome = Result { try first(&writer) }
            let bytes = writer.take()
            eventLoop.execute {
                switch outcome {
                case .success(.written): reply.succeed(raw: bytes)
                case .failure(let error): reply.fail(ErrorReply(answering: error))
                case .success(.after(let model, let position)):
                    ModelWait.begin(models, model, position, Limits.freshnessMilliseconds, on: eventLoop) { _ in
                        Self.write(reply, pool, eventLoop, again)
                    }
                }
            }
        }
    }

    private static func write(
        _ reply: ReplySlot, _ pool: NIOThreadPool, _ eventLoop: any EventLoop,
        _ body: @escaping @Sendable (inout JSONWriter) throws -> Void
    ) {
        pool.submit { state in
            guard state == .active else { return }
            var writer = JSONWriter(reserving: 4_096)
            let outcome = Result { try body(&writer) }
            let bytes = writer.take()
            eventLoop.execute {
                switch outcome {
                case .success: reply.succeed(raw: bytes)
                case .failure(let error): reply.fail(ErrorReply(answering: error))
                }
            }
        }
    }
}
