import Control
import DequeModule
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
    /// Memory of slices that are written, or soon will be, the oldest first.
    private var spares: Deque<ByteBuffer> = []
    /// Whether a hop for new events is on its way: one is enough however many commits there are.
    private let isWaking = Atomic<Bool>(false)
    /// Whether there is a subscription at all: without one, a commit wakes nobody.
    private let isUsed = Atomic<Bool>(false)

    /// The subscriptions of one connection.
    private final class Holder {
        unowned let connection: Connection
        var subscriptions: [UInt64: Subscription] = [:]
        var lastID: UInt64 = 0
        /// On their way, those of subscriptions that have ended meanwhile included (S3).
        var readings = 0

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
            let credit = holder.subscriptions[id]?.grant(granted) ?? 0
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
        let end = log.end
        guard let step = holder.subscriptions[id]?.step(end: end, hasRoom: hasRoom(holder)) else { return }
        perform(step, holder, id, end)
    }

    /// Whether more may be sent, and another reading begun: who subscribes and ends it at once, again and again, would
    /// otherwise fill the reader threads with what nobody waits for.
    private func hasRoom(_ holder: Holder) -> Bool {
        holder.connection.isWritable && holder.readings < Limits.subscriptionsPerConnectionMax
    }

    private func perform(_ step: Subscription.Step, _ holder: Holder, _ id: UInt64, _ end: Position) {
        guard let subscription = holder.subscriptions[id] else { return }
        switch step {
        case .rest: break
        case .read(let from, let limit): read(holder, subscription, from, limit)
        case .sayCaughtUp: say(NotificationName.logCaughtUp, holder, subscription)
        case .sayFellBehind: say(NotificationName.logFellBehind, holder, subscription, head: end)
        }
    }

    /// Says where a subscription is.
    private func say(
        _ name: StaticString, _ holder: Holder, _ subscription: Subscription, head: Position? = nil,
        error: ErrorReply? = nil
    ) {
        holder.subscriptions[subscription.id]?.said(at: MonotonicClock.nanoseconds())
        holder.connection.notify(name) { writer in
            writer.beginObject()
            writer.member("subscription", subscription.id)
            if let head { writer.member("head", head.rawValue) }
            writer.member("position", subscription.next.rawValue)
            error?.write(to: &writer)
            writer.endObject()
        }
    }

    // MARK: Reading

    private func read(_ holder: Holder, _ subscription: Subscription, _ from: Position, _ limit: Int) {
        let (log, eventLoop) = (log, eventLoop)
        let (id, filter) = (subscription.id, subscription.filter)
        var spares: [ByteBuffer] = []
        while spares.count < Limits.slicesAtOnceMax, let spare = self.spares.popFirst() { spares.append(spare) }
        let buffers = spares
        holder.readings += 1
        // Goes to the reader thread and back without being touched there.
        let place = Place(holder: holder)
        pool.submit { state in
            guard state == .active else { return }
            var (from, limit) = (from, limit)
            for number in 1...Limits.slicesAtOnceMax {
                let slice = Result {
                    try SubscriptionSlice.read(
                        log, subscription: id, from: from, limit: limit, filter: filter,
                        into: number <= buffers.count ? buffers[number - 1] : nil)
                }
                var isLast = number == Limits.slicesAtOnceMax
                if case .success(let slice) = slice, slice.isFull, slice.count < limit {
                    from = slice.next
                    limit -= slice.count
                } else {
                    isLast = true
                }
                let willGoOn = !isLast
                eventLoop.execute { self.took(slice, willGoOn: willGoOn, place, id) }
                if isLast { return }
            }
        }
    }

    // Sendable: the reference is looked at on the event loop only.
    private struct Place: @unchecked Sendable { weak var holder: Holder? }

    /// - Parameter willGoOn: whether the reader thread is at the next slice already.
    private func took(
        _ slice: Result<SubscriptionSlice, any Error>, willGoOn: Bool, _ place: Place, _ id: UInt64
    ) {
        if case .success(let slice) = slice, spares.count < Limits.spareSlicesMax {
            // Used again once it is written: whoever takes it before that gets memory of its own.
            spares.append(slice.lines)
        }
        // The connection may have closed, or the subscription ended, meanwhile.
        guard let holder = place.holder else { return }
        if !willGoOn { holder.readings -= 1 }
        guard var subscription = holder.subscriptions[id] else {
            // Another one may have waited for its place.
            if !willGoOn { pump(holder) }
            return
        }
        // A write that fails may close the connection and let go of it.
        let connection = holder.connection
        switch slice {
        case .success(let slice):
            subscription.took(next: slice.next, count: slice.count, isReading: willGoOn)
            let end = log.end
            let step = subscription.step(end: end, hasRoom: hasRoom(holder))
            holder.subscriptions[id] = subscription
            // The next slice is read while this one is written; everything else is said behind it.
            if case .read = step { perform(step, holder, id, end) }
            let now = MonotonicClock.nanoseconds()
            if slice.count > 0 {
                holder.subscriptions[id]?.said(at: now)
                connection.notify(lines: slice.lines)
            } else if subscription.owesHeartbeat(at: now), connection.isWritable {
                say(NotificationName.logHeartbeat, holder, subscription, head: end)
            }
            guard !connection.isClosed else { return }
            if case .read = step { return }
            perform(step, holder, id, end)
        case .failure(let error):
            // Readers were lent out: the next wake-up tries again.
            holder.subscriptions[id]?.tookNothing()
            if let error = error as? LedgerError, error.kind == .readersFull { return }
            // A subscription that went on would skip events: it ends, and says where and why.
            holder.subscriptions[id] = nil
            if holder.subscriptions.isEmpty { connection.isSubscriber = false }
            say(
                NotificationName.logEnded, holder, subscription, error: ErrorReply(answering: error))
        }
    }

    private func beat() {
        let now = MonotonicClock.nanoseconds()
        let head = log.end
        for holder in holders.values {
            for id in Array(holder.subscriptions.keys) {
                // What a wake-up missed, such as a reading that was refused.
                pump(holder, id)
                guard holder.connection.isWritable, let subscription = holder.subscriptions[id],
                    subscription.owesHeartbeat(at: now)
                else { continue }
                say(NotificationName.logHeartbeat, holder, subscription, head: head)
            }
        }
    }
}
