import Glibc
import JSON
import NIOCore
import Synchronization

@testable import Control

/// Answers in all the ways a service may. What a method does here has nothing to do with its name in the ledger.
final class TestService: RequestService {
    /// Of the answers that are kept.
    static let answerBytes = 1_000
    private let eventLoop: any EventLoop
    private let watch: Watch
    private var batch: [ReplySlot] = []
    private var deferred: [ReplySlot] = []
    /// Answered between reads, and at no other time.
    private var early: [ReplySlot] = []

    /// What the test looks at from outside.
    final class Watch: Sendable {
        let received = Counter()
        let batches = Counter()
        let lonelyBatches = Counter()
        let closed = Counter()
        let notified = Counter()
    }

    final class Counter: Sendable {
        private let count = Atomic<Int>(0)
        var value: Int { count.load(ordering: .relaxed) }
        func increment() { count.add(1, ordering: .relaxed) }
    }

    init(_ eventLoop: any EventLoop, _ watch: Watch) {
        self.eventLoop = eventLoop
        self.watch = watch
    }

    func receive(_ request: Request, reply: ReplySlot) {
        watch.received.increment()
        let connection = request.connection
        switch request.method {
        case .append: batch.append(reply)
        case .leadHistory: early.append(reply)

        // Answered last to first when `status` comes, which is itself answered at once.
        case .leadGet: deferred.append(reply)
        case .appendMany:
            // As an answer that is kept until a read model is there.
            reply.keep(Self.answerBytes)
            deferred.append(reply)
        case .status:
            reply.succeed { $0.string("released") }
            for slot in deferred.reversed() { slot.succeed { $0.string("deferred") } }
            deferred = []

        case .reportFunnel:
            let bytes = Int(request.params?["bytes"]?.int64 ?? 0)
            reply.succeed { $0.string(String(repeating: "x", count: bytes)) }

        // Pauses its connection for a while, and answers before it goes on.
        case .projectionRebuild:
            connection.pauseReading()
            eventLoop.scheduleTask(in: .milliseconds(20)) {
                reply.succeed { $0.string("rested") }
                connection.resumeReading()
            }

        // Sends notifications as long as there is room, for ever.
        case .logSubscribe:
            reply.succeed { $0.string("subscribed") }
            connection.isSubscriber = true
            let watch = watch
            // The connection lets go of its closure when it closes.
            func fill() {
                while connection.isWritable {
                    watch.notified.increment()
                    connection.notify(NotificationName.logEvents) { $0.string(String(repeating: "e", count: 10_000)) }
                }
            }
            connection.onWritable = fill
            fill()

        // One notification between the replies.
        case .logCredit:
            reply.succeed { $0.string("credited") }
            connection.notify(NotificationName.logCaughtUp, params: Array("{}".utf8))

        case .logRead:
            reply.fail(
                ErrorReply(.positionOutOfRange, "no such place", at: .params("/from"), details: Array(#""end":7"#.utf8))
            )
        case .logUnsubscribe:
            reply.succeed { $0.null() }
            connection.close()

        default:
            if let params = request.params {
                reply.succeed { $0.raw(params.raw) }
            } else {
                reply.succeed { $0.string("none") }
            }
        }
    }

    func batchEnded(isAlone: Bool) {
        watch.batches.increment()
        if isAlone { watch.lonelyBatches.increment() }
        guard !batch.isEmpty else { return }
        let batch = batch
        self.batch = []
        // As the appender does it: one task of the loop answers what one commit stored.
        eventLoop.execute { for slot in batch { slot.succeed(raw: Array("{}".utf8)) } }
    }

    func giveAnswers() -> Bool {
        defer { early = [] }
        for slot in early { slot.succeed { $0.string("early") } }
        return !early.isEmpty
    }

    func connectionClosed(_ connection: Connection) { watch.closed.increment() }
}

/// A listener in a directory of its own, both gone with the last reference.
final class TestServer {
    let listener: Listener
    let watch = TestService.Watch()
    let directory: String
    var path: String { listener.path }

    init(limits: WireLimits = WireLimits(), mode: UInt32 = 0o660, eventLoops: Int = 2) throws {
        directory = temporaryDirectory()
        let watch = watch
        listener = try Listener.start(path: directory + "/s", mode: mode, eventLoops: eventLoops, limits: limits) {
            TestService($0, watch)
        }
    }

    func connect() throws -> TestClient { try TestClient(path) }

    deinit {
        listener.stop(within: .zero)
        listener.endEventLoops()
        unlink(directory + "/s")
        rmdir(directory)
    }
}

func temporaryDirectory() -> String {
    var template = Array("/tmp/control-tests.XXXXXX".utf8CString)
    return template.withUnsafeMutableBufferPointer { String(cString: mkdtemp($0.baseAddress!)) }
}

/// Waits until something that happens on another thread has happened; false if it did not within ten seconds.
func eventually(_ condition: () -> Bool) -> Bool {
    for _ in 0..<2_000 {
        if condition() { return true }
        usleep(5_000)
    }
    return condition()
}
