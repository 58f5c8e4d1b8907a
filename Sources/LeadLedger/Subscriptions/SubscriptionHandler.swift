import Control
import JSON
import Ledger
import NIOCore
import NIOPosix
import Projections
import Synchronization

// SubscriptionHandler: the subscriptions of one event loop's connections, and what wakes them: new events, credit, room in the
// output. What one of them does next, `Subscription` says.

/// Lives on its event loop and is touched nowhere else, but for `logGrew`, which hops to it.
// Sendable: see above.
final class SubscriptionHandler: @unchecked Sendable {
    private let log: EventLog
    private let pool: NIOThreadPool
    private let eventLoop: any EventLoop
    private var holders: [ObjectIdentifier: Holder] = [:]
    private var listener: UInt64?
    private var heartbeat: RepeatedTask?
    /// Whether a hop for new events is on its way: one is enough however many commits there are.
    private let isWaking = Atomic<Bool>(false)
    /// Whether there is a subscription at all: without one, a commit wakes nobody.
    private let isUsed = Atomic<Bool>(false)

    /// The subscriptions of one connection.
    private final class Holder {
        unowned let connection: Connection
        var subscriptions: [UInt64: Subscription] = [:]
        var lastID: UInt64 = 0

        init(_ connection: Connection) { self.connection = connection }
    }

    init(log: EventLog, pool: NIOThreadPool, eventLoop: any EventLoop) {
        self.log = log
        self.pool = pool
        self.eventLoop = eventLoop
        listener = log.onAppend { [weak self] _ in self?.logGrew() }
        heartbeat = eventLoop.scheduleRepeatedTask(initialDelay: .seconds(1), delay: .seconds(1)) { [weak self] _ in
            self?.beat()
        }
    }

    func end() {
        abandon()
        heartbeat?.cancel()
    }

    /// The same where the event loop has ended.
    func abandon() {
        if let listener { log.removeOnAppend(listener) }
    }

    // MARK: Requests

    func subscribe(_ request: Request, reply: ReplySlot) {
        do throws(QueryFault) {
            let params = request.params
            let from = Position(rawValue: try params.unsigned("from", default: 0))
            let filter = try EventFilter(params?["filter"])
            let credit = params.integer("credit", default: 0)
            // The appends before it may move the end of the log.
            let (connection, state) = (request.connection, ConnectionState.of(request.connection))
            state.read(for: reply) {
                self.subscribe(connection, from, filter, credit, reply)
                state.readEnded()
            }
        } catch { reply.fail(ErrorReply(error)) }
    }

    private func subscribe(
        _ connection: Connection, _ from: Position, _ filter: EventFilter, _ credit: Int, _ reply: ReplySlot
    ) {
        do throws(QueryFault) {
            let head = log.end
            guard from <= head else { throw QueryFault(beyond: head, from) }
            let holder = holders[ObjectIdentifier(connection)] ?? Holder(connection)
            guard holder.subscriptions.count < Limits.subscriptionsPerConnectionMax else {
                throw QueryFault(
                    .subscriptionLimit,
                    "a connection has at most \(Limits.subscriptionsPerConnectionMax) subscriptions")
            }
            holders[ObjectIdentifier(connection)] = holder
            isUsed.store(true, ordering: .sequentiallyConsistent)
            holder.lastID += 1
            let id = holder.lastID
            holder.subscriptions[id] = Subscription(
                id: id, from: from, filter: filter, credit: credit, now: MonotonicClock.nanoseconds())
            connection.isSubscriber = true
            connection.onWritable = { [weak self, weak holder] in
                if let self, let holder { self.pump(holder) }
            }
            reply.succeed { writer in
                writer.beginObject()
                writer.member("subscription", id)
                writer.member("head", head.rawValue)
                writer.endObject()
            }
            pump(holder, id)
        } catch { reply.fail(ErrorReply(error)) }
    }

    func credit(_ request: Request, reply: ReplySlot) {
        do throws(QueryFault) {
            let (holder, id) = try find(request)
            let granted = request.params.integer("events", default: 0)
            let credit = min(holder.subscriptions[id]?.credit ?? 0, Int.max / 2) + granted
            holder.subscriptions[id]?.credit = credit
            reply.succeed { writer in
                writer.beginObject()
                writer.member("subscription", id)
                writer.member("credit", credit)
                writer.endObject()
            }
            pump(holder, id)
        } catch { reply.fail(ErrorReply(error)) }
    }

    func unsubscribe(_ request: Request, reply: ReplySlot) {
        do throws(QueryFault) {
            let (holder, id) = try find(request)
            let ended = holder.subscriptions.removeValue(forKey: id)
            if holder.subscriptions.isEmpty { request.connection.isSubscriber = false }
            reply.succeed { writer in
                writer.beginObject()
                writer.member("subscription", id)
                writer.member("next", ended?.next.rawValue)
                writer.endObject()
            }
        } catch { reply.fail(ErrorReply(error)) }
    }

    private func find(_ request: Request) throws(QueryFault) -> (Holder, UInt64) {
        let id = try request.params.unsigned("subscription", default: 0)
        guard let holder = holders[ObjectIdentifier(request.connection)], holder.subscriptions[id] != nil else {
            throw QueryFault(
                .unknownSubscription, "this connection has no subscription \(id)", pointer: "/subscription")
        }
        return (holder, id)
    }

    func connectionClosed(_ connection: Connection) {
        holders[ObjectIdentifier(connection)] = nil
        if holders.isEmpty { isUsed.store(false, ordering: .sequentiallyConsistent) }
    }

    // MARK: Sending

    /// Called by the appender after each commit.
    private func logGrew() {
        guard isUsed.load(ordering: .sequentiallyConsistent),
            !isWaking.exchange(true, ordering: .sequentiallyConsistent)
        else { return }
        eventLoop.execute {
            self.isWaking.store(false, ordering: .sequentiallyConsistent)
            for holder in self.holders.values { self.pump(holder) }
        }
    }

    private func pump(_ holder: Holder) {
        for id in holder.subscriptions.keys { pump(holder, id) }
    }

    private func pump(_ holder: Holder, _ id: UInt64) {
        guard holder.connection.isWritable, var subscription = holder.subscriptions[id] else { return }
        let step = subscription.step(end: log.end)
        holder.subscriptions[id] = subscription
        switch step {
        case .rest: return
        case .read(let from, let limit): read(holder, subscription, from, limit)
        case .sayCaughtUp:
            holder.subscriptions[id]?.saidAt = MonotonicClock.nanoseconds()
            holder.connection.notify(NotificationName.logCaughtUp) { writer in
                writer.beginObject()
                writer.member("subscription", id)
                writer.member("position", subscription.next.rawValue)
                writer.endObject()
            }
        }
    }

    private func read(_ holder: Holder, _ subscription: Subscription, _ from: Position, _ limit: Int) {
        let (log, eventLoop) = (log, eventLoop)
        let (id, filter) = (subscription.id, subscription.filter)
        // Goes to the reader thread and back without being touched there.
        let place = Place(holder: holder)
        pool.submit { state in
            guard state == .active else { return }
            let slice = Result {
                try SubscriptionSlice.read(log, subscription: id, from: from, limit: limit, filter: filter)
            }
            eventLoop.execute { self.took(slice, place, id) }
        }
    }

    // Sendable: the reference is looked at on the event loop only.
    private struct Place: @unchecked Sendable { weak var holder: Holder? }

    private func took(_ slice: Result<SubscriptionSlice, any Error>, _ place: Place, _ id: UInt64) {
        // The connection may have closed, or the subscription ended, meanwhile.
        guard let holder = place.holder, holder.subscriptions[id] != nil else { return }
        switch slice {
        case .success(let slice):
            holder.subscriptions[id]?.took(slice)
            if slice.count > 0 {
                holder.subscriptions[id]?.saidAt = MonotonicClock.nanoseconds()
                holder.connection.notify(NotificationName.logEvents, params: slice.parameters)
            }
            pump(holder, id)
        case .failure(let error):
            // Readers were lent out: the next wake-up tries again. Anything else is told by ending the connection, since a
            // subscription that went on would skip events.
            holder.subscriptions[id]?.isReading = false
            if let error = error as? LedgerError, error.kind == .readersFull { return }
            holder.subscriptions[id] = nil
            holder.connection.close()
        }
    }

    private func beat() {
        let now = MonotonicClock.nanoseconds()
        let head = log.end
        for holder in holders.values where holder.connection.isWritable {
            for (id, subscription) in holder.subscriptions {
                // What a wake-up missed, such as a reading that was refused.
                pump(holder, id)
                guard now - subscription.saidAt >= UInt64(Limits.heartbeatSeconds) * 1_000_000_000 else { continue }
                holder.subscriptions[id]?.saidAt = now
                holder.connection.notify(NotificationName.logHeartbeat) { writer in
                    writer.beginObject()
                    writer.member("subscription", id)
                    writer.member("head", head.rawValue)
                    writer.member("position", subscription.next.rawValue)
                    writer.endObject()
                }
            }
        }
    }
}
