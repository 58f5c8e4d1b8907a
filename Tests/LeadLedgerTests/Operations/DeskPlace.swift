import Control
import Glibc
import JSON
import Leads
import Ledger
import Logging
import NIOCore
import PolicyDocuments
import Projections
import Synchronization
import TestSupport

@testable import LeadLedger

/// A ledger with its desk, in process: the clock is the test's, requests come without a socket, and other clients write straight to
/// the log, also while the desk is at work.
// Sendable: the desk's thread uses the log, the sink and the clock only, which are.
final class DeskPlace: @unchecked Sendable {
    let directory = TemporaryDirectory(below: access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp")
    let clock = DeskClock()
    private(set) var log: EventLog
    private(set) var desk: OperationsDesk
    private let zones: TimeZoneDatabase
    private let planted: OperationsDesk.PlantedMistake?
    private let foreign = ForeignClients()
    /// Whether the clock goes on where the desk lets a request wait.
    var movesClock = true
    /// The LMDB code that commits of the log fail with.
    private let failing = CommitFault()
    private static let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

    init(zones: TimeZoneDatabase, planted: OperationsDesk.PlantedMistake? = nil) throws {
        self.zones = zones
        self.planted = planted
        log = try Self.open(directory.path + "/data", clock, failing)
        desk = try Self.makeDesk(log, zones, planted, clock)
    }

    private static func open(_ path: String, _ clock: DeskClock, _ failing: CommitFault) throws -> EventLog {
        var configuration = LogConfiguration()
        configuration.logMapBytes = 1 << 30
        configuration.indexMapBytes = 1 << 30
        configuration.spaceStepBytes = 64 << 10
        configuration.mayUseTmpfs = true
        configuration.faults = LogFaults { failing.code(at: $0) }
        return try EventLog.open(
            directory: path, configuration: configuration, lifecycle: LeadStreams.lifecycle, clock: { clock.now })
    }

    private static func makeDesk(
        _ log: EventLog, _ zones: TimeZoneDatabase, _ planted: OperationsDesk.PlantedMistake?, _ clock: DeskClock
    ) throws -> OperationsDesk {
        try OperationsDesk(
            log: log, zones: zones, ownUser: 0, logger: logger, planted: planted, clock: { clock.asTheDeskAsks() })
    }

    // MARK: Ends

    func close() {
        desk.end()
        log.close()
        desk.endThread()
    }

    /// The desk goes, its units stay on their way; another one comes.
    func replaceDesk() throws {
        let old = desk
        old.end()
        desk = try Self.makeDesk(log, zones, planted, clock)
        // Its last outcomes come to its thread, which is there until they have.
        retired.append(old)
    }

    private var retired: [OperationsDesk] = []

    /// The process goes, and comes again.
    ///
    /// - Parameter point: `.commit`: what is on its way is lost; `.commitReported`: it is there, but nobody was told; nil: the log
    ///   still takes all it was given.
    func restart(losing point: LogFaults.Point?) throws {
        clock.ambush(after: 0, nil)
        failing.set(point)
        if point != nil {
            // Somebody meets the fault, if what is on its way has not done so.
            let probe = submit([ForeignEvent(.captured, "probe-\(clock.now)", #""channel":"probe""#)])
            _ = try outcome(of: probe)
        }
        desk.end()
        log.close()
        desk.endThread()
        for old in retired { old.endThread() }
        retired = []
        failing.set(nil)
        log = try Self.open(directory.path + "/data", clock, failing)
        desk = try Self.makeDesk(log, zones, planted, clock)
    }

    // MARK: Other clients

    /// Hands a unit to the log and does not wait.
    func submit(_ events: [ForeignEvent]) -> UInt64 { foreign.submit(events, to: log) }

    func outcome(of token: UInt64) throws -> AppendOutcome { try foreign.outcome(of: token) }

    /// Hands a unit to the log and waits for it: the positions; nil if it was refused.
    @discardableResult
    func append(_ events: [ForeignEvent]) throws -> [UInt64]? {
        guard case .appended(let receipt) = try outcome(of: submit(events)) else { return nil }
        return receipt.events.map(\.position.rawValue)
    }

    /// Has other clients write at the moment at which the desk asks its clock for the `count`th time from now on: between what it
    /// has read and what it then stores.
    func ambush(_ events: [[ForeignEvent]], after count: Int = 1) {
        clock.ambush(after: count) { [log, foreign] in for events in events { _ = foreign.submit(events, to: log) } }
    }

    /// The same twice; `next` counts from the first time on.
    func ambush(_ events: [[ForeignEvent]], after count: Int, then later: [[ForeignEvent]], after next: Int) {
        clock.ambush(after: count) { [log, foreign, clock] in
            for events in events { _ = foreign.submit(events, to: log) }
            clock.ambush(after: next) { for events in later { _ = foreign.submit(events, to: log) } }
        }
    }

    // MARK: Requests

    func ask(_ make: (ConsumerCall) -> DeskCommand) -> PendingAnswer {
        let answer = PendingAnswer()
        let command = make(ConsumerCall(answer, on: desk.home))
        let desk = desk
        desk.home.execute { desk.take(command) }
        return answer
    }

    /// Has the desk meet events and a request in one and the same round.
    func together(_ events: [ForeignEvent], _ make: (ConsumerCall) -> DeskCommand) throws -> PendingAnswer {
        let answer = PendingAnswer()
        let command = make(ConsumerCall(answer, on: desk.home))
        let (desk, log, foreign) = (desk, log, foreign)
        // Its thread is held until the events are there, so that it has not seen them when the request comes.
        try desk.home.submit {
            let token = foreign.submit(events, to: log)
            guard case .appended = try foreign.outcome(of: token) else { throw TimedOut("room for events") }
            desk.take(command)
        }.wait()
        return answer
    }

    /// Asks and waits. Where the desk waits for the clock, the clock is moved on.
    func answer(_ make: (ConsumerCall) -> DeskCommand) throws -> Result<JSONTree, ErrorReply> {
        try wait(for: ask(make))
    }

    func wait(for answer: PendingAnswer) throws -> Result<JSONTree, ErrorReply> {
        for _ in 0..<600 {
            if let result = answer.wait(milliseconds: 50) { return result }
            guard movesClock else { continue }
            clock.advance(1_000_000)
            _ = ask { .history(nil, $0) }
        }
        throw TimedOut("an answer of the desk")
    }

    /// Publishes a rule set; its version.
    func publish(_ text: String, note: String? = nil) throws -> PendingAnswer {
        let document = try PolicyDocument(Array(text.utf8), isKnownZone: { [zones] in zones.isKnown($0) })
        return ask { .publish(ReadPolicy(document: document, note: note), actor: 7, $0) }
    }

    /// Publishes a rule set and puts it in force.
    func enforce(_ text: String) throws {
        guard let version = try wait(for: publish(text)).get()["version"].integer else { throw TimedOut("a version") }
        _ = try answer { .activate("sales", version: UInt64(version), at: nil, note: nil, actor: 7, $0) }.get()
    }

    /// Returns when the desk has nothing to do until the clock moves or somebody writes.
    func rest() throws {
        var (isQuiet, rounds) = (0, 0)
        while isQuiet < 3 {
            rounds += 1
            guard rounds < 2_000 else { throw TimedOut("a desk that comes to rest") }
            let end = log.end
            _ = try answer { .history(nil, $0) }
            // Whatever was on its way to the log has arrived.
            _ = try outcome(of: foreign.fence(log))
            isQuiet = log.end == end ? isQuiet + 1 : 0
        }
    }

    /// The desk's state. At rest.
    func state() throws -> OperationsState {
        let desk = desk
        return try desk.home.submit { Lent(desk.state) }.wait().state
    }

    // Sendable: handed over at rest, when the desk changes nothing.
    private struct Lent: @unchecked Sendable {
        var state: OperationsState
        init(_ state: OperationsState) { self.state = state }
    }

    /// What a start would make of the log.
    func foldedAnew() throws -> OperationsState {
        var state = OperationsState()
        while state.scanned < log.end.rawValue {
            _ = try log.read(from: Position(rawValue: state.scanned), limit: 1_000, maxBytes: 4 << 20) { record in
                try state.fold(record, from: log, zones)
                return true
            }
        }
        return state
    }
}

/// The time, which only the test moves.
final class DeskClock: Sendable {
    private let time = Atomic<Int64>(1_772_442_000_000_000)
    private let ambush = Mutex<Ambush?>(nil)

    private struct Ambush {
        var left: Int
        var body: @Sendable () -> Void
    }

    /// Microseconds since 1970; 2026-03-02T09:00:00Z, a Monday, to begin with.
    var now: Int64 { time.load(ordering: .sequentiallyConsistent) }
    var instant: Instant { Instant(microseconds: now) }

    func advance(_ microseconds: Int64) { time.wrappingAdd(microseconds, ordering: .sequentiallyConsistent) }
    func set(_ microseconds: Int64) { time.store(microseconds, ordering: .sequentiallyConsistent) }

    func asTheDeskAsks() -> Int64 {
        let body: (@Sendable () -> Void)? = ambush.withLock { ambush in
            guard var next = ambush else { return nil }
            next.left -= 1
            ambush = next.left > 0 ? next : nil
            return next.left > 0 ? nil : next.body
        }
        body?()
        return now
    }

    /// - Parameter body: nil: there is to be none.
    func ambush(after count: Int, _ body: (@Sendable () -> Void)?) {
        ambush.withLock { $0 = body.map { Ambush(left: count, body: $0) } }
    }
}

/// The answer to one request.
final class PendingAnswer: AnswerSlot {
    private let result = Mutex<Result<[UInt8], ErrorReply>?>(nil)
    private let doorbell = Doorbell()

    func succeed(raw result: [UInt8]) {
        self.result.withLock { $0 = .success(result) }
        doorbell.ring()
    }

    func fail(_ error: ErrorReply) {
        result.withLock { $0 = .failure(error) }
        doorbell.ring()
    }

    /// Nil if none has come in that time.
    func wait(milliseconds: UInt64) -> Result<JSONTree, ErrorReply>? {
        if result.withLock({ $0 == nil }) { doorbell.wait(nanoseconds: milliseconds * 1_000_000) }
        guard let result = result.withLock({ $0 }) else { return nil }
        // What the desk answers is JSON.
        return result.map { (try? JSONTree(String(decoding: $0, as: UTF8.self))) ?? .absent }
    }
}

/// An event of some client's.
struct ForeignEvent: Sendable {
    var type: EventType
    var lead: String
    /// Members of `data`, without the braces.
    var data: String
    var variant = EventVariant.plain
    var isBackfill = false
    /// Microseconds since 1970; nil: when it is recorded.
    var time: Int64?

    init(_ type: EventType, _ lead: String, _ data: String = "", variant: EventVariant = .plain) {
        self.type = type
        self.lead = lead
        self.data = data
        self.variant = variant
    }
}

/// Writes to the log as connections do.
private final class ForeignClients: AppendReplySink {
    private let outcomes = Mutex<[UInt64: AppendOutcome]>([:])
    private let doorbell = Doorbell()
    private let count = Atomic<UInt64>(0)

    func submit(_ events: [ForeignEvent], to log: EventLog) -> UInt64 {
        let token = count.wrappingAdd(1, ordering: .relaxed).newValue
        let unit = AppendUnit(ledgerID: log.ledgerID, replyTo: self, token: token)
        for (index, event) in events.enumerated() { Self.add(event, id: "f\(token)-\(index)", to: unit) }
        // A log that has closed takes nothing.
        if log.submit([unit]) == 0 { outcomes.withLock { $0[token] = .unknown } }
        return token
    }

    /// A unit that leaves no trace: its outcome comes after those of all units before it.
    func fence(_ log: EventLog) -> UInt64 {
        let token = count.wrappingAdd(1, ordering: .relaxed).newValue
        let unit = AppendUnit(ledgerID: log.ledgerID, replyTo: self, token: token)
        unit.write([RegisterWrite(key: [9], value: [1])])
        if log.submit([unit]) == 0 { outcomes.withLock { $0[token] = .unknown } }
        return token
    }

    private static func add(_ event: ForeignEvent, id: String, to unit: AppendUnit) {
        Array(event.lead.utf8).withUnsafeBytes { subject in
            Array("urn:test".utf8).withUnsafeBytes { source in
                Array(id.utf8).withUnsafeBytes { id in
                    Array(event.data.utf8).withUnsafeBytes { data in
                        unit.beginEvent(
                            EventDraft(
                                type: event.type.rawValue, schemaVersion: 1, variant: event.variant.rawValue,
                                isBackfill: event.isBackfill, occurredAt: event.time,
                                streamKind: event.type.stream.rawValue, actor: 1_000, subject: subject, source: source,
                                eventID: id))
                        if !data.isEmpty { unit.addPublicMember(data) }
                        // Far below the bounds of a record.
                        try! unit.endEvent()
                    }
                }
            }
        }
    }

    func deliver(_ batches: [[AppendUnit]]) {
        outcomes.withLock { outcomes in for unit in batches.joined() { outcomes[unit.replyToken] = unit.outcome } }
        doorbell.ring()
    }

    func queueHasRoom() {}

    func outcome(of token: UInt64) throws -> AppendOutcome {
        for _ in 0..<300 {
            if let outcome = outcomes.withLock({ $0.removeValue(forKey: token) }) { return outcome }
            doorbell.wait(nanoseconds: 100_000_000)
        }
        throw TimedOut("an outcome of the log")
    }
}

private final class CommitFault: Sendable {
    private let point = Mutex<LogFaults.Point?>(nil)

    func set(_ point: LogFaults.Point?) { self.point.withLock { $0 = point } }

    func code(at point: LogFaults.Point) -> Int32? {
        self.point.withLock { failing in
            switch (failing, point) {
            case (.commit, .commit), (.commitReported, .commitReported): EIO
            default: nil
            }
        }
    }
}
