import Glibc
import Leads
import Synchronization
import Testing

@testable import Ledger
@testable import Projections

/// A directory that goes away, with all below it, with its last reference.
final class Folder: Sendable {
    let path: String

    init() {
        var template = Array("/tmp/projections-tests.XXXXXX".utf8CString)
        path = template.withUnsafeMutableBufferPointer { String(cString: mkdtemp($0.baseAddress!)) }
    }

    deinit { try? DurableFiles.removeDirectory(path) }
}

/// An event of a lead, or of a pool, as the tests write it.
struct LeadEvent: Sendable {
    /// Its lead's id, or its pool's.
    var lead: String
    var type: EventType
    /// Seconds since 2026-01-01T00:00:00Z.
    var at: Int64
    /// Members of `data`, without the braces.
    var data = ""
    var variant = EventVariant.plain
    var isBackfill = false

    static let epoch: Int64 = 1_767_225_600_000_000
    var microseconds: Int64 { Self.epoch + at * 1_000_000 }
}

/// The instant as events write it.
func text(_ seconds: Int64) -> String {
    var bytes: [UInt8] = []
    instant(seconds).append(to: &bytes)
    return String(decoding: bytes, as: UTF8.self)
}

func instant(_ seconds: Int64) -> Instant { Instant(microseconds: LeadEvent.epoch + seconds * 1_000_000) }

func key(_ lead: String) -> StreamKey {
    Array(lead.utf8).withUnsafeBytes { StreamKey(kind: LeadStreams.kind, subject: $0) }
}

/// A log of leads, open, with the business's lifecycle.
final class LeadLog {
    let folder: Folder
    let log: EventLog
    private let sink = Sink()
    private var snapshot: IndexSnapshot?
    private var count = 0

    /// - Parameter rush: when models that step back stand still.
    init(_ folder: Folder = Folder(), rush: Rush.Bounds = Rush.Bounds()) throws {
        self.folder = folder
        var configuration = LogConfiguration()
        configuration.rush = rush
        configuration.logMapBytes = 256 << 20
        configuration.indexMapBytes = 256 << 20
        configuration.spaceStepBytes = 64 << 10
        configuration.mayUseTmpfs = true
        configuration.ledgerID = LedgerID(high: 1, low: 2)
        let ticks = Atomic<Int64>(1_800_000_000_000_000)
        log = try EventLog.open(
            directory: folder.path, configuration: configuration, lifecycle: LeadStreams.lifecycle,
            clock: { ticks.add(1_000, ordering: .relaxed).newValue })
        count = Int(log.end.rawValue)
        snapshot = try log.makeIndexSnapshot()
    }

    deinit { close() }

    func close() {
        snapshot = nil
        log.close()
    }

    /// Appends each event as a unit of its own; nil for what the lifecycle refuses, else its position.
    @discardableResult
    func append(_ events: [LeadEvent]) throws -> [Position?] {
        var units: [AppendUnit] = []
        for event in events {
            count += 1
            let unit = AppendUnit(ledgerID: log.ledgerID, replyTo: sink, token: UInt64(count))
            let (subject, source, id, data) = (
                Array(event.lead.utf8), Array("test".utf8), Array("e\(count)".utf8), Array(event.data.utf8)
            )
            try subject.withUnsafeBytes { subject in
                try source.withUnsafeBytes { source in
                    try id.withUnsafeBytes { id in
                        try data.withUnsafeBytes { data in
                            unit.beginEvent(
                                EventDraft(
                                    type: event.type.rawValue, schemaVersion: 1, variant: event.variant.rawValue,
                                    isBackfill: event.isBackfill, occurredAt: event.microseconds,
                                    streamKind: event.type.stream.rawValue, actor: 1, subject: subject, source: source,
                                    eventID: id))
                            if !data.isEmpty { unit.addPublicMember(data) }
                            try unit.endEvent()
                        }
                    }
                }
            }
            try snapshot!.renew()
            log.prepare(unit, using: &snapshot!)
            units.append(unit)
        }
        snapshot!.reset()
        var rest = units[...]
        while !rest.isEmpty {
            let accepted = log.submit(rest)
            rest = rest.dropFirst(accepted)
            if accepted == 0 { usleep(500) }
        }
        return sink.wait(for: units.map(\.token)).map { outcome in
            if case .appended(let receipt) = outcome { receipt.first } else { nil }
        }
    }

    private final class Sink: AppendReplySink {
        private let outcomes = Mutex<[UInt64: AppendOutcome]>([:])
        private let doorbell = Doorbell()

        func deliver(_ batches: [[AppendUnit]]) {
            outcomes.withLock { outcomes in for unit in batches.joined() { outcomes[unit.replyToken] = unit.outcome } }
            doorbell.ring()
        }

        func queueHasRoom() {}

        func wait(for tokens: [UInt64]) -> [AppendOutcome] {
            tokens.map { token in
                while true {
                    if let outcome = outcomes.withLock({ $0.removeValue(forKey: token) }) { return outcome }
                    doorbell.wait(nanoseconds: 100_000_000)
                }
            }
        }
    }
}

extension ProjectionConfiguration {
    static var test: ProjectionConfiguration {
        var configuration = ProjectionConfiguration()
        configuration.mapBytes = 256 << 20
        configuration.spaceStepBytes = 64 << 10
        configuration.commitInterval = .milliseconds(5)
        // So that few events are several parts.
        configuration.nestedEvents = 3
        configuration.priority = .normal
        configuration.mayUseTmpfs = true
        return configuration
    }
}

/// Read models over a log, in a folder of their own unless told otherwise.
final class Models {
    let folder: Folder
    let set: ReadModelSet
    /// It must stay open as long as these follow it.
    private let log: LeadLog
    private var isClosed = false

    init(of log: LeadLog, in folder: Folder = Folder(), _ configuration: ProjectionConfiguration = .test) throws {
        self.folder = folder
        self.log = log
        set = try ReadModelSet.open(directory: folder.path, source: log.log, configuration: configuration)
    }

    /// Reads a snapshot. The models stay open meanwhile, which `set` alone does not see to.
    func read<Model: Projection, R>(_ type: Model.Type, _ body: (borrowing Snapshot<Model>) throws -> R) throws -> R {
        try withExtendedLifetime(self) {
            let snapshot = try set.snapshot(type)
            return try body(snapshot)
        }
    }

    func digest(of name: String) throws -> [UInt8] {
        try withExtendedLifetime(self) { try set.digest(of: name).digest }
    }

    deinit { close() }

    func close() {
        guard !isClosed else { return }
        isClosed = true
        set.stop()
        set.close()
    }

    /// As a kill ends it: nothing is synced, and STATE stays open. The environments are closed, since this process goes on.
    func kill() {
        guard !isClosed else { return }
        let states = ReadModels.all.compactMap { model -> (String, String)? in
            guard let build = set.status.first(where: { $0.name == model.name })?.build else { return nil }
            let path = folder.path + "/models/\(model.name)@\(model.version).\(build)/STATE"
            return (try? DurableFiles.readFile(path)).flatMap { $0 }.map { (path, $0) }
        }
        close()
        for (path, text) in states { try? DurableFiles.replaceFile(path, with: text) }
    }

    /// Waits until all models have come to `position`.
    func wait(for position: Position) throws {
        let doorbell = Doorbell()
        for model in ReadModels.all {
            let isThere = Atomic<Bool>(false)
            _ = try set.whenReached(position, in: model.name) { _ in
                isThere.store(true, ordering: .releasing)
                doorbell.ring()
            }
            while !isThere.load(ordering: .acquiring) {
                // One that has stopped never comes there.
                if let stopped = set.status.first(where: { $0.name == model.name && $0.state == .stopped }) {
                    throw BadEvent("\(model.name) has stopped: \(stopped.reason ?? "")")
                }
                doorbell.wait(nanoseconds: 50_000_000)
            }
        }
    }

    /// Rebuilds a model and waits for it.
    @discardableResult
    func rebuild(_ name: String) throws -> Position {
        let doorbell = Doorbell()
        let outcome = Mutex<Result<Position, ProjectionError>?>(nil)
        _ = try set.rebuild(name) { result in
            outcome.withLock { $0 = result }
            doorbell.ring()
        }
        while true {
            if let result = outcome.withLock({ $0 }) { return try result.get() }
            doorbell.wait(nanoseconds: 50_000_000)
        }
    }

    func digests() throws -> [String: [UInt8]] {
        var digests: [String: [UInt8]] = [:]
        for model in ReadModels.all { digests[model.name] = try digest(of: model.name) }
        return digests
    }
}

/// Read models that have all of the given events.
func models(_ events: [LeadEvent]) throws -> Models {
    let log = try LeadLog()
    let positions = try log.append(events)
    #expect(positions.allSatisfy { $0 != nil }, "the lifecycle refuses one of the given events")
    let models = try Models(of: log)
    try models.wait(for: log.log.end)
    return models
}

func hexadecimal(_ bytes: [UInt8]) -> String {
    bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
}

/// SplitMix64: small, and the same everywhere.
struct Seeded: RandomNumberGenerator {
    private var state: UInt64

    init(_ seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}

/// Random events over a few leads, out of order in time, with wins, revisions, un-wins and new cycles, clocks, decisions, and pools
/// that take decisions back. Each can happen to its lead.
struct RandomEvents {
    var generator: Seeded
    private var states: [String: LeadState] = [:]
    private let leads: Int
    private let types: [EventType]
    /// The kinds of clocks that were started.
    private var clocks: [String: Set<ResponseClockKind>] = [:]
    /// Where the next event lies in a log that has no others.
    private var position: UInt64 = 0
    private var decisions: [UInt64] = []

    /// - Parameter types: those that are drawn from; without those of clocks there are no decisions either.
    init(seed: UInt64, leads: Int, types: [EventType] = RandomEvents.types) {
        generator = Seeded(seed)
        self.leads = leads
        self.types = types
    }

    private var hasRouting: Bool { types.contains(.clockStarted) }

    private static let channels = ["organic search", "paid search", "", "unknown", "caf\u{e9} \u{1F600}"]
    static let types = EventType.allCases.filter { $0.isSupported && $0.stream == .lead }
    /// Those that there were before leads were routed.
    static let withoutRouting: [EventType] = [
        .captured, .touched, .enriched, .noted, .marketingQualified, .offered, .accepted, .rejected, .queued, .assigned,
        .released, .contactAttempted, .contacted, .qualified, .opportunityOpened, .won, .wonRevised, .lost,
        .disqualified, .recycled, .reopened,
    ]

    mutating func next(_ count: Int) -> [LeadEvent] {
        var events: [LeadEvent] = []
        while events.count < count {
            if let voided = voided() {
                events.append(voided)
                position += 1
                continue
            }
            let lead = "L-\(Int.random(in: 0..<leads, using: &generator))"
            let type = states[lead] == nil ? .captured : types.randomElement(using: &generator)!
            if type.name.hasPrefix("lead.clock_"), type != .clockStarted, clocks[lead] == nil { continue }
            let variant = EventVariant.all(of: type).randomElement(using: &generator)!
            let isBackfill = Int.random(in: 0..<4, using: &generator) == 0
            guard case .next(let state) = Lifecycle.evolve(states[lead], type, variant, backfill: isBackfill) else {
                continue
            }
            states[lead] = state
            events.append(
                LeadEvent(
                    lead: lead, type: type, at: Int64.random(in: 0..<10_000_000, using: &generator),
                    data: data(of: type, variant, lead),
                    variant: variant, isBackfill: isBackfill))
            position += 1
        }
        return events
    }

    /// Now and then a pool takes a decision back, once or twice.
    private mutating func voided() -> LeadEvent? {
        guard hasRouting, !decisions.isEmpty, Int.random(in: 0..<500, using: &generator) == 0 else { return nil }
        let decision = decisions.randomElement(using: &generator)!
        return LeadEvent(
            lead: "p\(decision % 2)", type: .poolDecisionVoided,
            at: Int64.random(in: 0..<10_000_000, using: &generator),
            data: #""decision":\#(decision),"reason":"spam""#)
    }

    private mutating func data(of type: EventType, _ variant: EventVariant, _ lead: String) -> String {
        let channel = Self.channels.randomElement(using: &generator)!
        let number = Int.random(in: 0..<3, using: &generator)
        switch type {
        case .captured:
            return
                #""channel":"\#(channel)","source":"s\#(number)","campaign":"c\#(number)","landing_page":"/p\#(number)""#
        case .touched:
            return #""channel":"\#(channel)","kind":"click","direction":"\#(number == 0 ? "outbound" : "inbound")""#
        case .queued: return #""queue":"q\#(number)""#
        case .assigned where hasRouting && Bool.random(using: &generator): return decision(number)
        case .assigned: return #""member":"m\#(number)""#
        case .contactAttempted, .contacted:
            return #""by":"m\#(number)","medium":"call","automatic":\#(variant == .automatic)"#
        case .won:
            return
                #""amount":\#(Int.random(in: 0..<1_000_000, using: &generator)),"currency":"\#(number == 0 ? "EUR" : "BRL")""#
        case .wonRevised:
            return #""amount":\#(Int.random(in: 0..<1_000_000, using: &generator)),"reason":"r\#(number)""#
        case .disqualified where hasRouting:
            return #""reason":"\#(["spam", "duplicate", "no_budget"][number])""#
        case .clockStarted, .clockPaused, .clockResumed, .clockMet, .clockBreached, .clockStopped, .clockReplaced:
            return clock(type, lead)
        case .claimed: return #""member":"m\#(number)","token_hash":"\#(channel)","until":"\#(text(7))""#
        case .leaseEnded: return #""how":"expired","member":"m\#(number)""#
        case .lost, .disqualified, .released, .rejected: return #""by":"m","reason":"r\#(number)""#
        case .recycled: return #""reason":"r\#(number)","to":"\#(variant == .toNurture ? "nurture" : "inbox")""#
        case .reopened: return #""kind":"\#(variant.word)""#
        default: return ""
        }
    }

    /// An assignment of one of the two pools, won by one of those who were eligible; some are matches and no turns.
    private mutating func decision(_ number: Int) -> String {
        decisions.append(position)
        let mode = ["push", "push", "push", "pull", "match"].randomElement(using: &generator)!
        let weights = (0..<3).map { _ in Int64.random(in: 1...5, using: &generator) }
        let members = [number, (number + 1) % 3].map { member in
            let gain = (weights[member] << 32) / (weights[number] + weights[(number + 1) % 3])
            return #"{"member":"m\#(member)","weight":\#(weights[member]),"gain":\#(gain),"owed":0}"#
        }
        return """
            "member":"m\(number)","mode":"\(mode)","decision":{"policy":"p","version":1,"pool":"p\(number % 2)",\
            "candidates":[\(members.joined(separator: ",")),{"member":"m9","refused":"off"}]}
            """
    }

    private mutating func clock(_ type: EventType, _ lead: String) -> String {
        let kind: ResponseClockKind
        if type == .clockStarted {
            // Most are of one kind, so that reports have something to count.
            let other = ResponseClockKind.allCases.randomElement(using: &generator)!
            kind = Bool.random(using: &generator) ? .firstResponse : other
            clocks[lead, default: []].insert(kind)
        } else {
            kind = clocks[lead]!.sorted { $0.rawValue < $1.rawValue }.randomElement(using: &generator)!
        }
        var members = [#""clock":"\#(kind.name)""#]
        func span() -> Int64 { Int64.random(in: 0..<600, using: &generator) * 1_000_000 }
        let at = text(Int64.random(in: 0..<10_000_000, using: &generator))
        if [.clockStarted, .clockMet, .clockStopped].contains(type) { members.append(#""at":"\#(at)""#) }
        if type == .clockBreached || type != .clockPaused && Bool.random(using: &generator) {
            members.append(#""due":"\#(text(Int64.random(in: 0..<10_000_000, using: &generator)))""#)
        }
        if type != .clockStarted { members.append(#""elapsed":{"wall":\#(span()),"business":\#(span())}"#) }
        if type == .clockStarted || type == .clockReplaced {
            let isWall = Bool.random(using: &generator)
            members.append(#""version":\#(isWall ? 3 : 4),"measure":"\#(isWall ? "wall" : "business")""#)
            if !isWall { members.append(#""calendar":"office""#) }
        }
        if type == .clockMet, Bool.random(using: &generator) { members.append(#""late":true"#) }
        return members.joined(separator: ",")
    }
}
