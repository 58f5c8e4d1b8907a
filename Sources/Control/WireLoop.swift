import JSON
import Logging
import NIOCore

/// What answers requests. One instance for each event loop, called on that loop only, so it needs no locks.
package protocol RequestService: AnyObject {
    /// Takes a request. `request.params` is valid until this returns; `reply` may be answered now or later.
    func receive(_ request: Request, reply: ReplySlot)

    /// All lines that had arrived on any connection of this loop were received: the moment to hand a batch on.
    /// - Parameter isAlone: whether nobody but the client of this batch has had anything to do on this loop for some turns, so that
    ///   it keeps nobody waiting if it waits.
    func batchEnded(isAlone: Bool)

    /// Gives the answers that have become known meanwhile. Called after each read of a connection, so it has to cost nothing where
    /// there are none.
    /// - Returns: whether there were any.
    func giveAnswers() -> Bool

    /// No reply or notification reaches this client any more. Comes once for each connection that was served.
    func connectionClosed(_ connection: Connection)
}

/// One event loop's share of the wire: its connections, its parser and its service.
///
/// A turn is all that happens on the loop between two waits for the kernel, such as reading several connections, or
/// delivering the outcomes of one commit. At its end the service is told once that the batch ended, and each connection
/// that was touched is written; between two reads answers that have become known are given and leave (`readEnded`).
final class WireLoop: @unchecked Sendable {
    // Sendable: everything mutable is touched on the event loop only, which debug builds check.
    let eventLoop: any EventLoop
    let limits: WireLimits
    private let logger: Logger

    let service: any RequestService
    var parser = JSONParser()
    var hasReceived = false
    private(set) var now = NIODeadline.now()
    private(set) var isStopping = false

    private var connections: [Connection] = []
    private var touched: [Connection] = []
    private var turnIsOpen = false
    /// The connection of the newest turn, and how many turns were of that one alone.
    private var lonely: (connection: ObjectIdentifier?, turns: Int) = (nil, 0)
    /// By taste: some milliseconds of one client that sends, is answered, and sends again.
    static let lonelyTurnsMin = 32
    private var spareWriter = JSONWriter(reserving: 4_096)
    private var ticking: RepeatedTask?
    private let tickInterval: TimeAmount
    private var stopped: EventLoopPromise<Void>?
    /// Connections refused since the last tick, and the last of them.
    private var refusedCount = 0
    private var lastRefused: Peer?

    /// - Parameter makeService: called on the event loop.
    init(
        eventLoop: any EventLoop, limits: WireLimits, logger: Logger,
        makeService: (any EventLoop) throws -> any RequestService
    ) throws {
        eventLoop.assertInEventLoop()
        self.eventLoop = eventLoop
        self.limits = limits
        self.logger = logger
        service = try makeService(eventLoop)
        // A quarter of the shortest time watched is as late as a verdict may come.
        let shortest = min(limits.lineTimeMax, limits.stalledTimeMax, limits.lingerTimeMax, limits.idleTimeMax)
        tickInterval = TimeAmount(min(shortest / 4, .seconds(1)))
        // Until `end()`. Not weak: that would make every mention of this loop dearer.
        ticking = eventLoop.scheduleRepeatedTask(initialDelay: tickInterval, delay: tickInterval) { _ in self.tick() }
    }

    // MARK: Turns

    /// Notes that a connection has something to write or to go on with at the end of this turn.
    func touched(_ connection: Connection) {
        touched.append(connection)
        guard !turnIsOpen else { return }
        turnIsOpen = true
        // Tasks run after all channels that were ready have been read.
        eventLoop.assumeIsolated().execute { self.endTurn() }
    }

    /// Some lines were received, and the turn goes on: what can be answered by now leaves. Clients that have many requests in flight
    /// send the next ones while this loop reads those of others; else all would wait for the end of a turn, and the loop
    /// then for them.
    func readEnded() {
        guard service.giveAnswers() else { return }
        for connection in touched { connection.flushEarly() }
    }

    private func endTurn() {
        let isAlone = countLonelyTurn()
        if hasReceived {
            hasReceived = false
            service.batchEnded(isAlone: isAlone)
        }
        // Answers that come while this writes, from `batchEnded` included, are of this turn; lines that are taken up again
        // begin the next one.
        let ending = touched
        touched.removeAll(keepingCapacity: true)
        turnIsOpen = false
        for connection in ending { connection.turnEnded() }
    }

    private func countLonelyTurn() -> Bool {
        let connection = touched.count == 1 ? ObjectIdentifier(touched[0]) : nil
        lonely = (connection, connection != nil && connection == lonely.connection ? lonely.turns + 1 : 1)
        return connection != nil && lonely.turns >= Self.lonelyTurnsMin
    }

    /// Lends the loop's writer, empty. What `body` calls may come here again and gets another one.
    func withWriter(_ body: (inout JSONWriter) -> Void) {
        var writer = JSONWriter()
        swap(&writer, &spareWriter)
        writer.reset()
        body(&writer)
        // An answer far beyond the usual is not kept as memory for ever.
        if writer.bytes.capacity <= 1 << 20 { spareWriter = writer }
    }

    // MARK: Connections

    func add(_ connection: Connection) {
        connection.placeInLoop = connections.count
        connections.append(connection)
    }

    func remove(_ connection: Connection) {
        let last = connections.removeLast()
        if last !== connection {
            last.placeInLoop = connection.placeInLoop
            connections[connection.placeInLoop] = last
        }
        if connections.isEmpty {
            stopped?.succeed()
            stopped = nil
        }
    }

    private func tick() {
        let last = now
        now = .now()
        logRefusals()
        // Who stood still was this loop, by a commit on a device that did: what clients sent meanwhile is not read yet, and is judged
        // at the next tick.
        guard now - last < tickInterval * 4 else { return }
        // Backwards, since a connection that closes gives its place to the last one.
        for connection in connections.reversed() { connection.tick(now) }
    }

    // MARK: Stopping

    /// Lets every connection have what it is owed, then closes it.
    func stop() -> EventLoopFuture<Void> {
        isStopping = true
        let stopped = eventLoop.makePromise(of: Void.self)
        if connections.isEmpty { stopped.succeed() } else { self.stopped = stopped }
        for connection in connections.reversed() { connection.stop() }
        return stopped.futureResult
    }

    func abandon() {
        for connection in connections.reversed() { connection.abandon() }
    }

    func end() {
        ticking?.cancel()
        logRefusals()
    }

    /// Counts a connection that was refused. A line for each would let whoever knocks fill the disk with them.
    func refused(_ peer: Peer) {
        refusedCount += 1
        lastRefused = peer
    }

    private func logRefusals() {
        guard let peer = lastRefused else { return }
        logger.info(
            "connections were refused",
            metadata: ["count": "\(refusedCount)", "last_uid": "\(peer.uid)", "last_pid": "\(peer.pid)"])
        refusedCount = 0
        lastRefused = nil
    }

    func log(_ message: Logger.Message, _ peer: Peer) {
        logger.info(message, metadata: ["uid": "\(peer.uid)", "pid": "\(peer.pid)"])
    }
}
