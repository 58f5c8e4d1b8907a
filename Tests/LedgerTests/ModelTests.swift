import Glibc
import Synchronization
import TestSupport
import Testing

@testable import Ledger

/// A seeded random run of units against plain arrays that say the exact outcome of each: new events, retries whole and
/// partial, reused names, expectations right and wrong, refusals of the lifecycle, clocks that go back, full disks and maps,
/// index commits at any moment, reopening within this boot and after another.
///
/// `LEADLEDGER_TEST_SEED` repeats a run. On a failure the steps before it are the trace: the first one that differs ends it.
@Suite struct ModelTests {
    private static let unitsMin = 20_000

    @Test(.timeLimit(.minutes(10))) func `every outcome is the one that plain arrays say`() throws {
        let seed = announcedSeed("ModelTests")
        var generator = SeededGenerator(seed: seed)
        var model = LedgerModel()
        let folder = LedgerFolder()
        let clock = TestClock()
        let fault = Shared(Atomic<UInt8>(0))
        var configuration = LogConfiguration.test
        // Small pieces, so that overlay, row and older table all take part in most look-ups.
        configuration.indexCommitEvents = 48
        configuration.indexCommitInterval = .milliseconds(7)
        configuration.groupEventsMax = 24
        configuration.faults = LogFaults { point in
            switch (point, fault.value.load(ordering: .relaxed)) {
            case (.space, 1): ENOSPC
            case (.put, 2): -30792
            default: nil
            }
        }
        var ledger = try TestLedger(folder, clock: clock, configuration)
        var units = 0
        var batches = 0
        var reopened = (kept: 0, rebuilt: 0)

        while units < Self.unitsMin {
            // 1. What is new about the world.
            let kind = UInt8.random(in: 0..<40, using: &generator)
            fault.value.store(kind < 3 ? kind : 0, ordering: .relaxed)
            clock.now.add(.random(in: 0...2_000, using: &generator), ordering: .relaxed)
            let now = clock.now.load(ordering: .relaxed)
            let clockBack: Int64 = [0, 0, 0, 0, 0, 299_000_000, 400_000_000].randomElement(using: &generator)!
            clock.now.store(now - clockBack, ordering: .relaxed)
            defer { clock.now.store(now, ordering: .relaxed) }
            let noRoom: AppendRefusal? = [1: .diskFull, 2: .ledgerFull][fault.value.load(ordering: .relaxed)]

            // 2. Some units, looked up now or with what the snapshot before knew.
            let batch = (0..<Int.random(in: 1...18, using: &generator)).map { _ in model.makeUnit(using: &generator) }
            let submitted = batch.map { (events, expectations) in
                let unit = ledger.unit(events)
                for (stream, expected) in expectations { unit.expect(stream: StreamKey(stream), expected) }
                return unit
            }
            // Whether a full map stops a dry run depends on what is beside it in the group.
            let isDryRun = submitted.map { _ in noRoom == nil && Int.random(in: 0..<12, using: &generator) == 0 }
            for (index, unit) in submitted.enumerated() where isDryRun[index] { unit.makeDryRun() }
            let isFresh = Bool.random(using: &generator)
            for (index, unit) in submitted.enumerated() where index % 7 != 6 {
                ledger.prepare(unit, fresh: isFresh && index == 0)
            }
            let outcomes = ledger.submit(submitted)

            // 3. The same of the model.
            for (index, outcome) in outcomes.enumerated() {
                let (events, expectations) = batch[index]
                let expected = model.append(
                    events, expectations, now: now - clockBack, noRoom: noRoom, isDryRun: isDryRun[index])
                guard expected == LedgerModel.Outcome(outcome) else {
                    Issue.record(
                        """
                        seed \(seed), unit \(units + index): \(events) expecting \(expectations)
                        the model says \(expected)
                        the ledger says \(outcome)
                        """)
                    return
                }
            }
            units += batch.count

            // 4. The index, and the process.
            if UInt8.random(in: 0..<30, using: &generator) == 0 { ledger.log.flushIndex() }
            batches += 1
            if batches % 100 == 0 {
                let isOtherBoot = batches % 300 == 0
                fault.value.store(0, ordering: .relaxed)
                ledger.close()
                if isOtherBoot { try leaveAsAfterACrashOfTheSystem(folder) }
                ledger = try TestLedger(folder, clock: clock, configuration)
                try #require(ledger.log.indexOrigin == (isOtherBoot ? .created(.otherBoot) : .kept))
                if isOtherBoot { reopened.rebuilt += 1 } else { reopened.kept += 1 }
            }
        }
        clock.now.add(1_000_000_000, ordering: .relaxed)
        fault.value.store(0, ordering: .relaxed)
        print("ModelTests: \(units) units, \(model.events.count) events, outcomes \(model.tally), reopened \(reopened)")
        // A run that does little proves little.
        #expect(model.events.count > 10_000 && reopened.kept > 10 && reopened.rebuilt > 5)
        for name in [
            "appended", "duplicate", "idReused", "partialDuplicate", "nameTwiceInUnit", "versionConflict", "lifecycle",
            "ledgerFull", "diskFull", "clockBehind", "wouldAppend",
        ] { #expect(model.tally[name, default: 0] > 50, "\(name)") }

        try verifyAll(model, ledger)
        ledger.close()
        var findings: [LogChecker.Finding] = []
        LogChecker.checkLog(directory: folder.path, lifecycle: testLifecycle, mayUseTmpfs: true) { findings.append($0) }
        LogChecker.checkIndex(directory: folder.path, lifecycle: testLifecycle, mayUseTmpfs: true) {
            findings.append($0)
        }
        #expect(findings == [])
    }

    /// After a clean close, as if the daemon had been running when the system went down.
    private func leaveAsAfterACrashOfTheSystem(_ folder: LedgerFolder) throws {
        let path = folder.path + "/index/STATE"
        var state = try #require(try DurableFiles.readFile(path).flatMap { CacheState($0) })
        state.isClean = false
        state.boot = "00000000-0000-0000-0000-000000000000"
        try DurableFiles.replaceFile(path, with: state.text)
    }

    private func verifyAll(_ model: LedgerModel, _ ledger: TestLedger) throws {
        // Positions without a gap, and each event as it was said.
        var next = Position.zero
        while next < ledger.log.end {
            next = try ledger.log.read(from: next, limit: .max, maxBytes: .max) { record in
                let known = model.events[Int(record.position.rawValue)]
                guard
                    record.subject.text == known.event.stream, record.eventID.text == known.event.id,
                    record.source.text == known.event.source, record.type == known.event.type,
                    record.publicMembers.text == known.event.text, record.personalMembers.text == known.event.personal,
                    record.occurredAt == known.event.occurredAt, record.isBackfill == known.event.isBackfill,
                    record.version.rawValue == known.version, record.recordedAt == known.recordedAt
                else {
                    Issue.record("position \(record.position) is not \(known)")
                    return false
                }
                return true
            }
        }
        #expect(ledger.log.end.rawValue == UInt64(model.events.count))

        for (stream, known) in model.streams {
            let key = StreamKey(stream)
            let row = try #require(try ledger.log.stream(key))
            #expect(row.version.rawValue == UInt64(known.positions.count) && row.state == known.state)
            #expect(row.first.rawValue == known.positions.first && row.last.rawValue == known.positions.last)
            let all = known.positions.map { position($0) }
            #expect(try ledger.log.positions(of: key, from: version(1), limit: .max) == all)
            let from = UInt64(all.count / 2 + 1)
            #expect(
                try ledger.log.positions(of: key, from: version(from), limit: 5)
                    == Array(all.dropFirst(Int(from) - 1).prefix(5)))
        }

        // Each is found for ever.
        for start in stride(from: 0, to: model.events.count, by: 500) {
            let some = model.events[start..<min(start + 500, model.events.count)]
            let units = some.map { ledger.unit([$0.event]) }
            for (index, unit) in units.enumerated() { ledger.prepare(unit, fresh: index == 0) }
            for (index, outcome) in ledger.submit(units).enumerated() {
                guard outcome.receipt?.isDuplicate == true, outcome.receipt?.first.rawValue == UInt64(start + index)
                else {
                    Issue.record("position \(start + index) is not found again: \(outcome)")
                    return
                }
            }
        }
    }
}

/// What the log promises, over arrays and dictionaries.
private struct LedgerModel {
    struct Stored {
        var event: TestEvent
        var version: UInt64
        var recordedAt: Int64
    }

    struct Name: Hashable {
        var stream, source, id: String
        init(_ event: TestEvent) { (stream, source, id) = (event.stream, event.source, event.id) }
    }

    enum Outcome: Equatable {
        case appended(positions: [UInt64], versions: [UInt64], recordedAt: Int64, isDuplicate: Bool)
        case wouldAppend(versions: [UInt64])
        case refused(AppendRefusal)
        case unknown

        init(_ outcome: AppendOutcome) {
            self =
                switch outcome {
                case .appended(let receipt):
                    .appended(
                        positions: receipt.events.map(\.position.rawValue),
                        versions: receipt.events.map(\.version.rawValue),
                        recordedAt: receipt.recordedAt, isDuplicate: receipt.isDuplicate)
                case .wouldAppend(let versions): .wouldAppend(versions: versions.map(\.rawValue))
                case .stored: preconditionFailure("a unit of these tests has events")
                case .refused(let refusal): .refused(refusal)
                case .unknown: .unknown
                }
        }
    }

    private(set) var events: [Stored] = []
    private(set) var streams: [String: (positions: [UInt64], state: UInt64)] = [:]
    private(set) var tally: [String: Int] = [:]
    private var places: [Name: Int] = [:]
    private var units: [[TestEvent]] = []
    private var nextID = 0

    // MARK: The rules

    mutating func append(
        _ unit: [TestEvent], _ expectations: [(String, ExpectedVersion)], now: Int64, noRoom: AppendRefusal?,
        isDryRun: Bool
    ) -> Outcome {
        let outcome = decide(unit, expectations, now: now, noRoom: noRoom, isDryRun: isDryRun)
        switch outcome {
        case .appended(_, _, _, let isDuplicate): tally[isDuplicate ? "duplicate" : "appended", default: 0] += 1
        case .refused(let refusal): tally[String("\(refusal)".prefix { $0 != "(" }), default: 0] += 1
        case .wouldAppend: tally["wouldAppend", default: 0] += 1
        case .unknown: break
        }
        return outcome
    }

    private mutating func decide(
        _ unit: [TestEvent], _ expectations: [(String, ExpectedVersion)], now: Int64, noRoom: AppendRefusal?,
        isDryRun: Bool
    ) -> Outcome {
        for (index, event) in unit.enumerated() {
            if let first = unit[..<index].firstIndex(where: { Name($0) == Name(event) }) {
                return .refused(.nameTwiceInUnit(event: index, first: first))
            }
        }

        let found = unit.map { places[Name($0)] }
        if found.contains(where: { $0 != nil }) {
            var stored: [(event: Int, position: Position)] = []
            for case (let index, let place?) in found.enumerated() {
                guard events[place].event == unit[index] else {
                    return .refused(.idReused(event: index, position: position(UInt64(place))))
                }
                stored.append((index, position(UInt64(place))))
            }
            guard stored.count == unit.count else { return .refused(.partialDuplicate(stored: stored)) }
            let known = found.compactMap { $0 }
            return .appended(
                positions: known.map { UInt64($0) }, versions: known.map { events[$0].version },
                recordedAt: events[known[0]].recordedAt, isDuplicate: true)
        }

        if let last = events.last?.recordedAt, now < last - 300_000_000 {
            return .refused(.clockBehind(lastRecordedAt: last, now: now))
        }

        for (index, (stream, expected)) in expectations.enumerated() {
            let positions = streams[stream]?.positions ?? []
            let wanted: UInt64
            switch expected {
            case .any: continue
            case .none: wanted = 0
            case .version(let version): wanted = version.rawValue
            }
            guard UInt64(positions.count) != wanted else { continue }
            let since = positions.dropFirst(Int(wanted)).prefix(LedgerLimits.conflictEventsMax).map {
                StoredEvent(position: position($0), type: events[Int($0)].event.type)
            }
            return .refused(
                .versionConflict(expectation: index, current: version(UInt64(positions.count)), since: since))
        }

        var after = streams
        var versions: [UInt64] = []
        for (index, event) in unit.enumerated() {
            let before = after[event.stream]
            switch testLifecycle(before?.state, event.type, 0, event.isBackfill) {
            case .refused(let reason):
                return .refused(.lifecycle(event: index, reason: reason, state: before?.state))
            case .next(let state):
                let positions = (before?.positions ?? []) + [UInt64(events.count + index)]
                after[event.stream] = (positions, state)
                versions.append(UInt64(positions.count))
            }
        }
        if let noRoom { return .refused(noRoom) }
        if isDryRun { return .wouldAppend(versions: versions) }

        streams = after
        let first = UInt64(events.count)
        let recordedAt = max(now, events.last?.recordedAt ?? .min)
        for (index, event) in unit.enumerated() {
            places[Name(event)] = events.count
            events.append(Stored(event: event, version: versions[index], recordedAt: recordedAt))
        }
        units.append(unit)
        return .appended(
            positions: Array(first..<first + UInt64(unit.count)), versions: versions, recordedAt: recordedAt,
            isDuplicate: false)
    }

    // MARK: Making units

    mutating func makeUnit(
        using generator: inout SeededGenerator
    ) -> (events: [TestEvent], expectations: [(String, ExpectedVersion)]) {
        var unit: [TestEvent] = []
        let plan = UInt8.random(in: 0..<100, using: &generator)
        if plan < 12, let old = units.randomElement(using: &generator) {
            // A retry; sometimes of a part, or with more; sometimes another event under a name.
            unit = old
            switch plan {
            case 0: unit.removeLast(Int.random(in: 0..<unit.count, using: &generator))
            case 1: unit.append(makeEvent(using: &generator))
            case 2, 3:
                let index = Int.random(in: 0..<unit.count, using: &generator)
                switch UInt8.random(in: 0..<5, using: &generator) {
                case 0: unit[index].text = "\"n\":2"
                case 1: unit[index].personal += "\"more\":1"
                case 2: unit[index].type = unit[index].type % 6 + 1
                case 3: unit[index].occurredAt = (unit[index].occurredAt ?? 0) + 1
                default: unit[index].isBackfill.toggle()
                }
            default: break
            }
        } else {
            let count = plan < 14 ? 30 : plan < 60 ? 1 : Int.random(in: 1...4, using: &generator)
            unit = (0..<count).map { _ in makeEvent(using: &generator) }
            if plan == 99, let first = unit.first { unit.append(first) }
            if plan == 98, var again = unit.first {
                again.text = "\"n\":9"
                unit.append(again)
            }
        }

        var expectations: [(String, ExpectedVersion)] = []
        if UInt8.random(in: 0..<3, using: &generator) == 0 {
            for _ in 0..<Int.random(in: 1...2, using: &generator) {
                let stream = makeStream(using: &generator)
                let count = UInt64(streams[stream]?.positions.count ?? 0)
                let wrong = UInt64.random(in: 0...count + 2, using: &generator)
                let kind = UInt8.random(in: 0..<8, using: &generator)
                expectations.append(
                    (
                        stream,
                        kind == 0 ? .any : kind == 1 ? .none : .version(version(kind < 6 ? count : wrong))
                    ))
            }
        }
        return (unit, expectations)
    }

    private mutating func makeEvent(using generator: inout SeededGenerator) -> TestEvent {
        nextID += 1
        let stream = makeStream(using: &generator)
        // Mostly what is always fine, so that the log grows.
        let type: UInt8 =
            streams[stream] == nil
            ? (UInt8.random(in: 0..<20, using: &generator) == 0 ? 2 : 1)
            : [5, 5, 5, 5, 5, 5, 5, 5, 2, 3, 4, 1].randomElement(using: &generator)!
        let length = [0, 3, 60, 60, 300, 2_100].randomElement(using: &generator)!
        return TestEvent(
            stream: stream, source: ["web", "crm", "ads"].randomElement(using: &generator)!,
            // Ids come again in other streams and from other sources.
            id: "e\(UInt8.random(in: 0..<6, using: &generator) == 0 ? nextID / 9 : nextID)", type: type,
            text: "\"t\":\"\(String(repeating: "x", count: length))\"",
            personal: Bool.random(using: &generator) ? "\"name\":\"Zoë \(nextID)\"" : "",
            occurredAt: Bool.random(using: &generator) ? .random(in: -1_000...1_000, using: &generator) : nil,
            isBackfill: UInt8.random(in: 0..<10, using: &generator) == 0)
    }

    /// Few streams, of which some are hot, and now and then a new one.
    private func makeStream(using generator: inout SeededGenerator) -> String {
        switch UInt8.random(in: 0..<10, using: &generator) {
        case 0...2: "hot"
        case 3...7: "L-\(UInt8.random(in: 0..<20, using: &generator))"
        case 8: "M-\(UInt16.random(in: 0..<800, using: &generator))"
        default: "N-\(nextID)"
        }
    }
}
