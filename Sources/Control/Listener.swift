import Glibc
package import Logging
package import NIOCore
import NIOPosix
import Synchronization

/// The daemon's socket: accepts, knows the peer's uid, and spreads the connections over event loops.
///
/// ```swift
/// let listener = try Listener.start(path: "ledger.sock", eventLoops: 2) { eventLoop in MyService(eventLoop) }
/// ...
/// listener.stop(within: .seconds(5))    // no new connections, replies that are owed, then the connections end
/// listener.endEventLoops()              // nothing may be sent to the event loops any more
/// ```
///
/// Only root and the daemon's own user are served; others, and connections over a limit, are told so by name and closed:
/// each of them, however many come at once.
package final class Listener: Sendable {
    package let path: String
    private let file: SocketFile
    private let group: MultiThreadedEventLoopGroup
    private let loops: [WireLoop]
    private let admissions: Mutex<Admissions>
    private let channel: Mutex<(any Channel)?>
    private let limits: WireLimits
    private let stopping = Mutex(())

    /// Makes the socket and serves it. When this returns, clients can connect.
    ///
    /// - Parameters:
    ///   - mode: of the socket file: 0660 where a group is to be able to ask (and be refused by name), 0600 otherwise.
    ///   - makeService: called once on each event loop, before the first connection.
    package static func start(
        path: String, mode: UInt32 = 0o660, eventLoops: Int = 2, limits: WireLimits = WireLimits(),
        logger: Logger = Logger(label: "control", factory: { _ in SwiftLogNoOpLogHandler() }),
        makeService: @escaping @Sendable (any EventLoop) throws -> any RequestService
    ) throws -> Listener {
        // A client that went away is an error code of the write, not the end of the daemon.
        signal(SIGPIPE, SIG_IGN)
        let file = try SocketFile(path: path, mode: mode)
        let group = MultiThreadedEventLoopGroup(numberOfThreads: eventLoops)
        do {
            var isServing = false
            defer { if !isServing { file.close() } }
            let loops = try group.makeIterator().map { eventLoop in
                try eventLoop.submit {
                    try WireLoop(eventLoop: eventLoop, limits: limits, logger: logger, makeService: makeService)
                }.wait()
            }
            let listener = Listener(file: file, group: group, loops: loops, limits: limits)
            // From here on the descriptor is the server channel's.
            isServing = true
            try listener.serve()
            return listener
        } catch {
            file.remove()
            try? group.syncShutdownGracefully()
            throw error
        }
    }

    private init(file: SocketFile, group: MultiThreadedEventLoopGroup, loops: [WireLoop], limits: WireLimits) {
        self.path = file.path
        self.file = file
        self.group = group
        self.loops = loops
        self.limits = limits
        admissions = Mutex(Admissions(limits: limits, ownUser: geteuid()))
        channel = Mutex(nil)
    }

    /// Connections that are served now.
    package var connectionCount: Int { admissions.withLock { $0.servedCount } }

    /// The event loops, for work that belongs to them.
    package var eventLoops: [any EventLoop] { loops.map(\.eventLoop) }

    private func serve() throws {
        // NIO closes the descriptor, pauses accepting for a second when there are no file descriptors left, and sets
        // accepted sockets to not block.
        let server = try ServerBootstrap(group: group)
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .childChannelOption(.maxMessagesPerRead, value: 4)
            .childChannelOption(
                .recvAllocator,
                value: AdaptiveRecvByteBufferAllocator(
                    minimum: limits.readBytesMin, initial: limits.readBytesMin * 4, maximum: limits.readBytesMax)
            )
            .childChannelOption(
                .writeBufferWaterMark, value: .init(low: limits.outputLowBytes, high: limits.outputHighBytes)
            )
            .childChannelInitializer { channel in self.accepted(channel) }
            .withBoundSocket(file.descriptor)
            .wait()
        channel.withLock { $0 = server }
    }

    /// Asks the kernel who it is, and gives it a connection: one that serves, or one that only says why not.
    private func accepted(_ channel: any Channel) -> EventLoopFuture<Void> {
        guard let options = channel as? any SocketOptionProvider,
            let loop = loops.first(where: { $0.eventLoop === channel.eventLoop })
        else { return channel.eventLoop.makeFailedFuture(ChannelError.operationUnsupported) }
        let credentials: EventLoopFuture<PeerCredentials> = options.unsafeGetSocketOption(
            level: .init(rawValue: SOL_SOCKET), name: .init(rawValue: SO_PEERCRED))
        return credentials.flatMapThrowing { credentials in
            let peer = Peer(uid: credentials.uid, gid: credentials.gid, pid: credentials.pid)
            let verdict = self.admissions.withLock { $0.admit(peer.uid) }
            let refusal = self.refusal(for: verdict)
            if verdict != .served { loop.refused(peer) }
            if case .turnedAway = verdict, let refusal {
                return try channel.pipeline.syncOperations.addHandler(TurnAwayHandler(refusal))
            }
            let connection = Connection(channel: channel, peer: peer, loop: loop, refusal: refusal)
            let handler = ConnectionHandler(connection) {
                loop.remove(connection)
                self.admissions.withLock { $0.left(peer.uid, was: verdict) }
            }
            do { try channel.pipeline.syncOperations.addHandler(handler) } catch {
                self.admissions.withLock { $0.left(peer.uid, was: verdict) }
                throw error
            }
            loop.add(connection)
        }
    }

    private func refusal(for verdict: Admissions.Verdict) -> ErrorReply? {
        switch verdict {
        case .served: nil
        case .refused(.busy), .turnedAway(.busy):
            ErrorReply(
                .busy, "\(connectionCount) connections are served, which is the limit",
                retryAfterMilliseconds: limits.retryAfterMilliseconds)
        case .refused(let name), .turnedAway(let name): ErrorReply(name, "this user is not served")
        }
    }

    // MARK: The end

    /// Takes no more connections and no more lines, removes the socket file, lets every connection have the replies that
    /// it is owed, and closes it; those that are not done in time are closed without. Blocks; not for an event loop.
    package func stop(within time: Duration) {
        // Whoever comes second waits for the first.
        stopping.withLock { _ in stopNow(within: time) }
    }

    private func stopNow(within time: Duration) {
        let server = channel.withLock { channel in
            defer { channel = nil }
            return channel
        }
        guard let server else { return }
        file.remove()
        try? server.close().wait()
        let ends = loops.map { loop in loop.eventLoop.flatSubmit { loop.stop() } }
        let deadline = group.any().scheduleTask(in: TimeAmount(time)) { [loops] in
            for loop in loops { loop.eventLoop.execute { loop.abandon() } }
        }
        for end in ends { try? end.wait() }
        deadline.cancel()
    }

    /// Ends the threads. Nothing may be submitted to the event loops afterwards.
    package func endEventLoops() {
        for loop in loops { try? loop.eventLoop.submit { loop.end() }.wait() }
        try? group.syncShutdownGracefully()
    }
}
