import Glibc
import Synchronization
import TestSupport
import Testing

@testable import Ledger

/// Where a test's ledger is.
final class LedgerFolder: Sendable {
    let path: String
    private let temporary: TemporaryDirectory?

    /// A directory of its own, which goes away with its last reference.
    init(below parent: String = "/tmp") {
        let temporary = TemporaryDirectory(below: parent)
        path = temporary.path
        self.temporary = temporary
    }

    /// One that is there, or will be, and that stays.
    init(at path: String) {
        self.path = path
        temporary = nil
    }
}

/// The stream kinds' business in these tests: type 1 begins a stream, 2 goes on, 3 ends it, 4 reopens it, 5 is always
/// fine. The state counts the events and remembers the end.
let testLifecycle: StreamLifecycle = { state, type, variant, isBackfill in
    let count = (state ?? 0) >> 8
    let isEnded = (state ?? 0) & 1 == 1
    let next = (count + 1) << 8 | (isBackfill ? 2 : 0) | UInt64(variant) << 4
    switch (type, state) {
    case (1, nil): return .next(next)
    case (1, _): return .refused(reason: 1)
    case (5, _): return .next(next | (isEnded ? 1 : 0))
    case (_, nil): return .refused(reason: 2)
    case (2, _): return isEnded ? .refused(reason: 3) : .next(next)
    case (3, _): return isEnded ? .refused(reason: 4) : .next(next | 1)
    case (4, _): return isEnded ? .next(next) : .refused(reason: 5)
    default: return .refused(reason: 6)
    }
}

/// An event, as the tests write it.
struct TestEvent: Hashable {
    var stream = "L-1"
    var source = "test"
    var id: String
    var type: UInt8 = 5
    var text = "\"n\":1"
    var personal = ""
    var occurredAt: Int64?
    var isBackfill = false
}

/// Collects outcomes, and wakes who waits for them.
final class TestSink: AppendReplySink, @unchecked Sendable {
    // Sendable: everything is under the lock.
    private let outcomes = Mutex<[UInt64: AppendOutcome]>([:])
    private let order = Mutex<[UInt64]>([])
    private let doorbell = Doorbell()
    private let room = Mutex(0)

    func deliver(_ batches: [[AppendUnit]]) {
        outcomes.withLock { outcomes in for unit in batches.joined() { outcomes[unit.replyToken] = unit.outcome } }
        order.withLock { $0 += batches.joined().map(\.replyToken) }
        doorbell.ring()
    }

    func queueHasRoom() {
        room.withLock { $0 += 1 }
        doorbell.ring()
    }

    var roomCalls: Int { room.withLock { $0 } }
    var tokensInOrder: [UInt64] { order.withLock { $0 } }

    /// Waits until every one of `tokens` has its outcome. Forgets those outcomes.
    func wait(for tokens: some Sequence<UInt64>) -> [AppendOutcome] {
        tokens.map { token in
            while true {
                if let outcome = outcomes.withLock({ $0.removeValue(forKey: token) }) { return outcome }
                let before = MonotonicClock.nanoseconds()
                doorbell.wait(nanoseconds: 60_000_000_000)
                precondition(MonotonicClock.nanoseconds() - before < 59_000_000_000, "unit \(token) was never answered")
            }
        }
    }
}

/// Waits until something holds that another thread brings about, and fails the test when it does not.
func waitUntil(sourceLocation: SourceLocation = #_sourceLocation, _ condition: () -> Bool) {
    let deadline = MonotonicClock.nanoseconds() + 20_000_000_000
    while !condition() {
        guard MonotonicClock.nanoseconds() < deadline else {
            Issue.record("waited for 20 s in vain", sourceLocation: sourceLocation)
            return
        }
        usleep(500)
    }
}

/// A clock that stands still until it is set.
final class TestClock: Sendable {
    let now = Atomic<Int64>(1_772_355_600_000_000)
    var reader: @Sendable () -> Int64 { { self.now.load(ordering: .relaxed) } }
}

extension LogConfiguration {
    static var test: LogConfiguration {
        var configuration = LogConfiguration()
        configuration.logMapBytes = 256 << 20
        configuration.indexMapBytes = 256 << 20
        configuration.spaceStepBytes = 64 << 10
        configuration.mayUseTmpfs = true
        configuration.indexCommitInterval = .milliseconds(50)
        // So that few events are several parts.
        configuration.indexNestedEvents = 5
        // Tests are mostly alone, on machines that are not.
        configuration.appendAtOnceMax = .seconds(60)
        return configuration
    }
}

/// An open log with a way to append and wait.
final class TestLedger {
    let folder: LedgerFolder
    let clock: TestClock
    let log: EventLog
    let sink = TestSink()
    private var nextToken: UInt64 = 0
    private var snapshot: IndexSnapshot?

    init(
        _ folder: LedgerFolder = LedgerFolder(), clock: TestClock = TestClock(),
        _ configuration: LogConfiguration = .test
    ) throws(LedgerError) {
        self.folder = folder
        self.clock = clock
        let poison = Poison()
        self.poison = poison
        log = try EventLog.open(
            directory: folder.path, configuration: configuration, lifecycle: testLifecycle, clock: clock.reader,
            onPoison: { poison.report($0) })
        snapshot = try log.makeIndexSnapshot()
    }

    /// What the poison handler was told, in order.
    final class Poison: Sendable {
        private let errors = Mutex<[LedgerError]>([])
        func report(_ error: LedgerError) { errors.withLock { $0.append(error) } }
        var reports: [LedgerError] { errors.withLock { $0 } }
    }
    let poison: Poison

    func unit(_ events: [TestEvent], sink: TestSink? = nil) -> AppendUnit {
        nextToken += 1
        let unit = AppendUnit(ledgerID: log.ledgerID, replyTo: sink ?? self.sink, token: nextToken)
        for event in events { try! unit.add(event) }
        return unit
    }

    /// Looks up with a snapshot of now, or with the one before.
    func prepare(_ unit: AppendUnit, fresh: Bool = true) {
        if fresh { try! snapshot!.renew() }
        log.prepare(unit, using: &snapshot!)
    }

    func submit(_ units: [AppendUnit]) -> [AppendOutcome] {
        var rest = units
        while !rest.isEmpty {
            let before = rest.count
            log.submit(removingFrom: &rest, mayWait: true)
            if rest.count == before { usleep(200) }
        }
        return sink.wait(for: units.map(\.token))
    }

    @discardableResult
    func append(_ events: TestEvent..., expecting: [(String, ExpectedVersion)] = []) -> AppendOutcome {
        append(events, expecting: expecting)
    }

    @discardableResult
    func append(_ events: [TestEvent], expecting: [(String, ExpectedVersion)] = []) -> AppendOutcome {
        let unit = unit(events)
        for (stream, expected) in expecting { unit.expect(stream: StreamKey(stream), expected) }
        prepare(unit)
        return submit([unit])[0]
    }

    /// Has the index take in everything so far.
    func flushIndex() {
        log.flushIndex()
        waitUntil { log.status.indexProgress == log.end }
    }

    func close() {
        snapshot = nil
        log.close()
    }

    deinit { close() }
}

extension AppendUnit {
    func add(_ event: TestEvent) throws(LedgerError) {
        let texts = [event.stream, event.source, event.id, event.text, event.personal].map { Array($0.utf8) }
        let result: Result<Void, LedgerError> = texts[0].withUnsafeBytes { stream in
            texts[1].withUnsafeBytes { source in
                texts[2].withUnsafeBytes { id in
                    beginEvent(
                        EventDraft(
                            type: event.type, schemaVersion: 1, isBackfill: event.isBackfill,
                            occurredAt: event.occurredAt, actor: 1_000, subject: stream, source: source, eventID: id))
                    texts[3].withUnsafeBytes { addPublicMember($0) }
                    if !texts[4].isEmpty { texts[4].withUnsafeBytes { addPersonalMember($0) } }
                    return Result { () throws(LedgerError) in try endEvent() }
                }
            }
        }
        try result.get()
    }
}

extension StreamKey {
    init(_ subject: String) { self = Array(subject.utf8).withUnsafeBytes { StreamKey(kind: 0, subject: $0) } }
}

extension AppendOutcome {
    var receipt: AppendReceipt? { if case .appended(let receipt) = self { receipt } else { nil } }
    var refusal: AppendRefusal? { if case .refused(let refusal) = self { refusal } else { nil } }
    var isUnknown: Bool { if case .unknown = self { true } else { false } }
}

func position(_ number: UInt64) -> Position { Position(rawValue: number) }
func version(_ number: UInt64) -> StreamVersion { StreamVersion(rawValue: number) }

extension UnsafeRawBufferPointer {
    var text: String { String(decoding: self, as: UTF8.self) }
}

extension UnitGroup {
    /// The tokens of its units, in their order.
    var tokens: [UInt64] {
        var tokens: [UInt64] = []
        lend { tokens.append($0.token) }
        return tokens
    }
}
