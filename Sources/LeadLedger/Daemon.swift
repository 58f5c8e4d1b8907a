import Control
import Glibc
import Ledger
package import Logging
import NIOCore
import NIOPosix
import Projections
import Schemas
import Synchronization

/// The daemon: the log, the read models and the socket of one directory, from start to end.
///
/// ```swift
/// let daemon = try Daemon.start(configuration, logger: logger)    // appends are accepted when this returns
/// let code = daemon.stop()                                        // what the process should exit with
/// ```
package final class Daemon: Sendable {
    private let ledger: Ledger
    private let listener: Listener
    private let services: Mutex<[Service]>
    private let logger: Logger
    private let isStopped = Atomic<Bool>(false)

    /// Opens the directory, makes it where there is none, and serves it.
    ///
    /// - Parameter onPoison: called when the log's device has failed, after the replies that are owed got their time, where there is a
    ///   thread to give it. The default ends the process with exit code 74.
    /// - Throws: what ``exitCode(for:)`` knows.
    package static func start(
        _ configuration: Configuration, logger: Logger, onPoison: @escaping @Sendable () -> Void = { _exit(74) }
    ) throws -> Daemon {
        let startedAt = MonotonicClock.nanoseconds()
        let schemas = try EventSchemas()
        let poisoned = PoisonHandler()

        // 1. The log: alone in the directory, its end verified, the index as far as it has to be.
        let log = try EventLog.open(
            directory: configuration.dataDirectory, configuration: configuration.log, lifecycle: LeadStreams.lifecycle,
            clock: { Self.microsecondsNow() }, onPoison: { poisoned.report($0) })
        do {
            let format = try LedgerFormat.read(in: configuration.dataDirectory)
            guard let format else { throw LedgerError(.format, "FORMAT has gone") }

            // 2. The read models: they follow from here on.
            let models = try ReadModelSet.open(
                directory: configuration.dataDirectory, source: log, configuration: configuration.projections)
            do {
                // 3. The socket.
                let daemon = try serve(configuration, log, models, format, schemas, startedAt, logger)
                poisoned.arm { error, mayWait in
                    logger.critical("the log takes no more writes", metadata: ["reason": "\(error)"])
                    if mayWait { daemon.listener.stop(within: .seconds(1)) }
                    onPoison()
                }
                daemon.logStart(configuration)
                return daemon
            } catch {
                models.stop()
                models.close()
                throw error
            }
        } catch {
            log.close()
            throw error
        }
    }

    private static func serve(
        _ configuration: Configuration, _ log: EventLog, _ models: ReadModelSet, _ format: LedgerFormat,
        _ schemas: EventSchemas, _ startedAt: UInt64, _ logger: Logger
    ) throws -> Daemon {
        let pool = NIOThreadPool(numberOfThreads: Limits.readerThreads)
        pool.start()
        let connections = ConnectionCount()
        let wire = limits(configuration, logger)
        let consumers: ConsumerDesk
        let operations: OperationsDesk
        do {
            consumers = try ConsumerDesk(log: log, pool: pool, clock: { microsecondsNow() })
            do {
                operations = try OperationsDesk(
                    log: log, zones: try TimeZoneDatabase(), ownUser: geteuid(), logger: logger,
                    clock: { microsecondsNow() })
            } catch {
                consumers.end()
                consumers.endThread()
                throw error
            }
        } catch {
            try? pool.syncShutdownGracefully()
            throw error
        }
        let ledger = Ledger(
            context: QueryContext(log: log, models: models, now: { microsecondsNow() }), format: format,
            schemas: schemas,
            pool: pool, consumers: consumers, operations: operations, startedAt: startedAt,
            connections: { connections.value })
        let services = Collected()
        do {
            let listener = try Listener.start(
                path: configuration.socketPath, eventLoops: configuration.eventLoops, limits: wire,
                logger: logger
            ) { eventLoop in
                let service = try Service(ledger, eventLoop: eventLoop)
                services.add(service)
                return service
            }
            connections.listener.withLock { $0 = listener }
            return Daemon(ledger: ledger, listener: listener, services: services.all, logger: logger)
        } catch {
            for service in services.all { service.abandon() }
            try? pool.syncShutdownGracefully()
            consumers.end()
            operations.end()
            consumers.endThread()
            operations.endThread()
            throw error
        }
    }

    /// The limits of the wire, lowered where the operating system has no file descriptors for them.
    private static func limits(_ configuration: Configuration, _ logger: Logger) -> WireLimits {
        var limits = configuration.wire
        let wanted = limits.connectionsMax
        let descriptors = DescriptorLimit.raise(to: limits.descriptorsNeeded)
        limits.fit(descriptors: descriptors)
        if limits.connectionsMax < wanted {
            logger.warning(
                "fewer connections are served than configured: the limit of open files is low",
                metadata: [
                    "connections": "\(limits.connectionsMax)", "configured": "\(wanted)",
                    "open_files": "\(descriptors)",
                ])
        }
        return limits
    }

    private init(ledger: Ledger, listener: Listener, services: [Service], logger: Logger) {
        self.ledger = ledger
        self.listener = listener
        self.services = Mutex(services)
        self.logger = logger
    }

    private func logStart(_ configuration: Configuration) {
        let status = ledger.log.status
        logger.notice(
            "serving",
            metadata: [
                "version": "\(Version.current)", "data": "\(configuration.dataDirectory)",
                "socket": "\(configuration.socketPath)", "ledger": "\(ledger.log.ledgerID)", "head": "\(status.end)",
                "index": "\(ledger.log.indexOrigin.word)",
            ])
        for model in ledger.models.status where model.origin != .kept && status.end > .zero {
            logger.notice(
                "building a read model", metadata: ["model": "\(model.name)", "origin": "\(model.origin.word)"])
        }
        logger.warning("format 0: personal fields are stored in the clear; protect the directory")
    }

    /// Stops taking requests, gives replies that are owed their time, brings the index up to the log and closes everything.
    /// - Returns: the process's exit code: 0, or 74 where the log's device has failed.
    package func stop() -> Int32 {
        guard !isStopped.exchange(true, ordering: .sequentiallyConsistent) else { return 0 }
        logger.notice("stopping")
        // What waits for a read model is answered now, or the farewell would take as long as the longest wait.
        ledger.models.endWaits()
        ledger.consumers.endWaits()
        ledger.operations.endWaits()
        listener.stop(within: .seconds(Limits.farewellSeconds))
        ledger.models.stop()
        // After the listener: its connections wait for what runs here.
        try? ledger.pool.syncShutdownGracefully()
        for (service, eventLoop) in zip(services.withLock { $0 }, listener.eventLoops) {
            try? eventLoop.submit { service.end() }.wait()
        }
        ledger.consumers.end()
        ledger.operations.end()
        ledger.models.close()
        ledger.log.close()
        ledger.consumers.endThread()
        ledger.operations.endThread()
        listener.endEventLoops()
        logger.notice("stopped")
        // The last appends may have met a device that fails.
        return ledger.log.isPoisoned ? 74 : 0
    }

    /// What the process should exit with when `start` threw this.
    package static func exitCode(for error: any Error) -> Int32 {
        switch error {
        case let error as LedgerError:
            switch error.kind {
            case .cannotCreate, .locked: 73
            case .format: 78
            case .diskFull, .ledgerFull, .corruption, .io, .readersFull: 74
            case .recordTooLarge, .invalidRecord: 70
            }
        case let error as ListenerError: error.exitCode
        case let error as ProjectionError: error.kind == .io || error.kind == .diskFull ? 74 : 70
        default: 70
        }
    }

    private static func microsecondsNow() -> Int64 {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        return Int64(now.tv_sec) * 1_000_000 + Int64(now.tv_nsec) / 1_000
    }
}

/// The log is opened before there is anything to end: what it reports before that is kept.
private final class PoisonHandler: Sendable {
    /// Is told why, and whether it may wait for the replies that are owed.
    typealias Body = @Sendable (LedgerError, Bool) -> Void

    private struct State {
        var reported: LedgerError?
        var body: Body?
    }

    private let state = Mutex(State())

    func report(_ error: LedgerError) {
        let body = state.withLock { state in
            state.reported = error
            return state.body
        }
        if let body { Self.run(body, error) }
    }

    func arm(_ body: @escaping Body) {
        let reported = state.withLock { state in
            state.body = body
            return state.reported
        }
        if let reported { Self.run(body, reported) }
    }

    /// On a thread of its own: the appender must go on telling those who still come that nothing is written any more. Where there
    /// is no thread to be had the end comes at once, since this one may be an event loop.
    private static func run(_ body: @escaping Body, _ reason: LedgerError) {
        do throws(LedgerError) { _ = try WorkerThread.start("poison") { body(reason, true) } } catch {
            body(reason, false)
        }
    }
}

/// The services are made one after the other, each on its own loop.
private final class Collected: Sendable {
    private let services = Mutex<[Service]>([])
    var all: [Service] { services.withLock { $0 } }
    func add(_ service: Service) { services.withLock { $0.append(service) } }
}

private final class ConnectionCount: Sendable {
    let listener = Mutex<Listener?>(nil)
    var value: Int { listener.withLock { $0?.connectionCount ?? 0 } }
}
