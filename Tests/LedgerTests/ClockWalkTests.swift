import Glibc
import Synchronization
import TestSupport
import Testing

@testable import Ledger

/// Goal: whatever the wall clock does, the order of the log is that of the commits, recorded-at never goes back, what was
/// recorded while the clock stood behind is not passed off as later, and nothing waits for the wall clock. Method: random
/// walks of a clock that creeps, freezes, leaps, and is put back and forward by up to ten years, judged by a model that knows
/// only the rule; and the same walks over logs with a fault planted, which must be found.
///
/// `LEADLEDGER_TEST_SEED` repeats a run.
@Suite struct ClockWalkTests {
    private static let walksMin = 1_000
    private static let stepsOfWalk = 12

    @Test(.timeLimit(.minutes(10))) func `a thousand walks of the clock change no order and set no recorded-at back`()
        throws
    {
        let seed = announcedSeed("ClockWalkTests")
        let clock = TestClock()
        // Memory, for speed: what is on a disk after a kill is other tests' business.
        let folder = LedgerFolder(below: "/dev/shm")
        var walks = ClockWalks(seed: seed, start: clock.now.load(ordering: .relaxed))
        var ledger = try TestLedger(folder, clock: clock)
        for number in 0..<Self.walksMin {
            // A restart in the middle of a walk is told the clock as it is then.
            let restartsAt = number % 25 == 24 ? Int(seed % UInt64(Self.stepsOfWalk)) : nil
            for step in 0..<Self.stepsOfWalk {
                if step == restartsAt {
                    ledger.close()
                    ledger = try TestLedger(folder, clock: clock)
                }
                let difference = walks.step(clock) { names in
                    ledger.submit(names.map { ledger.unit([TestEvent(id: $0)]) }).map { ClockAnswer($0) }
                }
                if let difference {
                    Issue.record("seed \(seed), walk \(number), step \(step): \(difference)")
                    return
                }
            }
            walks.endWalk(clock)
        }

        // What was answered is what is stored.
        try #require(ledger.log.end.rawValue == UInt64(walks.stored.count))
        var next = Position.zero
        var last = Int64.min
        while next < ledger.log.end {
            next = try ledger.log.read(from: next, limit: 10_000, maxBytes: .max) { record in
                let expected = walks.stored[Int(record.position.rawValue)]
                #expect(record.recordedAt == expected.recordedAt && record.recordedAt >= last, "at \(record.position)")
                #expect(record.eventID.text == expected.name)
                last = record.recordedAt
                return true
            }
        }
        print("ClockWalkTests: \(walks.stored.count) events, \(walks.tally)")
        for (kind, least) in [
            ("stored", 3_000), ("stood behind", 200), ("duplicate", 300), ("clock behind", 300), ("10 years on", 100),
            ("an hour back", 100), ("a second back", 100), ("frozen", 100),
        ] { #expect(walks.tally[kind, default: 0] >= least, "\(kind): \(walks.tally)") }

        // The index commits after a time, which is the monotonic clock's: this one stands, and is years off.
        let before = ledger.log.status.indexProgress
        ledger.append(TestEvent(id: "the last one"))
        waitUntil { ledger.log.status.indexProgress == ledger.log.end }
        #expect(ledger.log.status.indexProgress > before)
    }

    /// Without these the test above would prove nothing.
    @Test(arguments: PlantedLog.Fault.allCases) func `a log that minds its clock wrongly is found`(
        _ fault: PlantedLog.Fault
    ) {
        let clock = TestClock()
        var walks = ClockWalks(seed: 7, start: clock.now.load(ordering: .relaxed))
        var planted = PlantedLog(fault: fault)
        for _ in 0..<Self.walksMin {
            for _ in 0..<Self.stepsOfWalk {
                let difference = walks.step(clock) { names in
                    names.map { planted.append($0, now: clock.now.load(ordering: .relaxed)) }
                }
                if let difference {
                    #expect(fault != .none, "the model is wrong: \(difference)")
                    return
                }
            }
            walks.endWalk(clock)
        }
        #expect(fault == .none, "\(fault) was not found")
    }

    /// The clock moves while groups are written, as it does in earnest.
    @Test func `a clock that jumps while four threads append leaves positions and recorded-at in one order`() throws {
        let clock = TestClock()
        let start = clock.now.load(ordering: .relaxed)
        let ledger = try TestLedger(LedgerFolder(below: "/dev/shm"), clock: clock)
        let walk = Shared(Mutex((generator: SeededGenerator(seed: 11), passed: 0 as Int64)))
        let log = ledger.log
        let refused = Shared(Atomic<Int>(0))
        let writers = try (0..<4).map { number in
            try WorkerThread.start("writer") {
                let sink = TestSink()
                for unit in 0..<200 {
                    let made = AppendUnit(ledgerID: log.ledgerID, replyTo: sink, token: UInt64(unit))
                    try! made.add(TestEvent(stream: "L-\(number)", id: "\(unit)"))
                    // Each writer moves it while groups of the others are written: never more than four minutes back, so that
                    // nothing is refused, and on the whole on, so that the greatest of many leaps is beaten again and again,
                    // 4,000 s against 240 s.
                    walk.value.withLock { walk in
                        walk.passed += 5_000_000
                        let leap = Int64.random(in: 0...240_000_000, using: &walk.generator)
                        clock.now.store(start + walk.passed + leap, ordering: .relaxed)
                    }
                    while log.submit([made]) == 0 { usleep(100) }
                    if sink.wait(for: [UInt64(unit)])[0].receipt == nil { refused.value.add(1, ordering: .relaxed) }
                }
            }
        }
        for writer in writers { writer.join() }
        #expect(refused.value.load(ordering: .relaxed) == 0)
        var last = Int64.min
        var differing = 0
        let end = try log.read(from: .zero, limit: 10_000, maxBytes: .max) { record in
            #expect(record.recordedAt >= last, "at \(record.position)")
            if record.recordedAt != last { differing += 1 }
            last = record.recordedAt
            return true
        }
        #expect(end.rawValue == 800 && differing > 10)
    }
}

/// What a log says of one event, as far as clocks matter.
enum ClockAnswer: Equatable {
    case stored(position: UInt64, recordedAt: Int64, isDuplicate: Bool)
    case behind(last: Int64, now: Int64)
    case other(String)

    init(_ outcome: AppendOutcome) {
        switch outcome {
        case .appended(let receipt):
            self = .stored(
                position: receipt.first.rawValue, recordedAt: receipt.recordedAt, isDuplicate: receipt.isDuplicate)
        case .refused(.clockBehind(let last, let now)): self = .behind(last: last, now: now)
        default: self = .other("\(outcome)")
        }
    }

    init(_ outcome: AppendOutcome?) { self = outcome.map { ClockAnswer($0) } ?? .other("nothing") }
}

/// Moves a clock at random, has events appended, and compares each answer with what the rule says:
/// recorded-at is the clock's or the newest recorded-at, whichever is later; more than five minutes behind, nothing new is
/// stored, and what is stored already is still said to be.
struct ClockWalks {
    private var generator: SeededGenerator
    private(set) var stored: [(name: String, recordedAt: Int64)] = []
    private(set) var tally: [String: Int] = [:]
    private var positions: [String: Int] = [:]
    private var last: Int64 = .min
    /// Where the clock of the world outside is.
    private var world: Int64

    init(seed: UInt64, start: Int64) {
        generator = SeededGenerator(seed: seed)
        world = start
    }

    /// - Returns: what is wrong; nil where nothing is.
    mutating func step(_ clock: TestClock, append: ([String]) -> [ClockAnswer]) -> String? {
        move(clock)
        let now = clock.now.load(ordering: .relaxed)
        let names = (0..<Int.random(in: 1...3, using: &generator)).map { index in
            let repeats = !stored.isEmpty && Int.random(in: 0..<6, using: &generator) == 0
            return repeats ? stored.randomElement(using: &generator)!.name : "\(stored.count)-\(index)-\(now)"
        }
        // A name may come twice in one step: the second is the duplicate of the first.
        let answers = append(names)
        guard answers.count == names.count else { return "\(names.count) events, \(answers.count) answers" }
        for (name, answer) in zip(names, answers) {
            let expected = expectation(name, now)
            guard answer == expected else { return "clock at \(now): expected \(expected), got \(answer)" }
        }
        return nil
    }

    private mutating func expectation(_ name: String, _ now: Int64) -> ClockAnswer {
        if let position = positions[name] {
            tally["duplicate", default: 0] += 1
            return .stored(
                position: UInt64(position), recordedAt: stored[position].recordedAt, isDuplicate: true)
        }
        if last != .min, now < last - 300_000_000 {
            tally["clock behind", default: 0] += 1
            return .behind(last: last, now: now)
        }
        if now < last { tally["stood behind", default: 0] += 1 }
        tally["stored", default: 0] += 1
        last = max(now, last)
        positions[name] = stored.count
        stored.append((name, last))
        return .stored(position: UInt64(stored.count - 1), recordedAt: last, isDuplicate: false)
    }

    private mutating func move(_ clock: TestClock) {
        let kinds: [(name: String, microseconds: Int64)] = [
            ("frozen", 0), ("frozen", 0), ("a second back", -1_000_000), ("an hour back", -3_600_000_000),
            ("four minutes back", -240_000_000), ("put right", world - clock.now.load(ordering: .relaxed)),
            ("10 years on", 10 * 365 * 86_400_000_000),
        ]
        // Half of the time it does what a clock should.
        let isGood = Bool.random(using: &generator)
        let kind: (name: String, microseconds: Int64) =
            isGood
            ? ("creeps", Int64.random(in: 1...1_000_000, using: &generator)) : kinds.randomElement(using: &generator)!
        // Ten years on are seldom, and none without a way back; the tally says how often.
        if kind.name == "10 years on", Int.random(in: 0..<4, using: &generator) > 0 { return }
        tally[kind.name, default: 0] += 1
        clock.now.add(kind.microseconds, ordering: .relaxed)
        world += 1_000
    }

    /// The clock is put right: to after all that was recorded, from where the next walk starts.
    mutating func endWalk(_ clock: TestClock) {
        world = max(world, last) + 1
        clock.now.store(world, ordering: .relaxed)
    }
}

/// A log in memory that does one thing wrong.
struct PlantedLog {
    enum Fault: CaseIterable {
        /// Nothing: that the model does not find what is not there.
        case none
        /// Stamps with the clock as it is.
        case goesBack
        /// Takes whatever comes, however far back the clock is.
        case takesAll
        /// Says that the clock is behind where the event is stored already.
        case forgetsDuplicates
        /// Refuses where the clock is merely a little behind.
        case refusesEarly
        /// Steps recorded-at on where the clock stands, so that it runs ahead of every clock.
        case runsAhead
    }

    let fault: Fault
    private var stored: [Int64] = []
    private var positions: [String: Int] = [:]

    init(fault: Fault) { self.fault = fault }

    mutating func append(_ name: String, now: Int64) -> ClockAnswer {
        let last = stored.last ?? .min
        let isBehind = last != .min && now < last - (fault == .refusesEarly ? 60_000_000 : 300_000_000)
        if isBehind, fault == .forgetsDuplicates { return .behind(last: last, now: now) }
        if let position = positions[name] {
            return .stored(position: UInt64(position), recordedAt: stored[position], isDuplicate: true)
        }
        if isBehind, fault != .takesAll { return .behind(last: last, now: now) }
        let recordedAt =
            switch fault {
            case .goesBack: now
            case .runsAhead: last == .min ? now : max(now, last + 1)
            default: max(now, last)
            }
        positions[name] = stored.count
        stored.append(recordedAt)
        return .stored(position: UInt64(stored.count - 1), recordedAt: recordedAt, isDuplicate: false)
    }
}
