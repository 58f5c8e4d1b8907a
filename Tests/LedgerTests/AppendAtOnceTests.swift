import Glibc
import Synchronization
import TestSupport
import Testing

@testable import Ledger

/// A client that is alone has its units appended on its own thread.
@Suite struct AppendAtOnceTests {
    /// Where and when the newest outcome was delivered.
    private final class Watch: AppendReplySink, @unchecked Sendable {
        // Sendable: all of it is locked.
        private let state = Mutex<(outcomes: [AppendOutcome], thread: pthread_t?)>(([], nil))
        private let doorbell = Doorbell()

        func deliver(_ batches: [[AppendUnit]]) {
            state.withLock {
                $0.outcomes += batches.joined().map(\.outcome)
                $0.thread = pthread_self()
            }
            doorbell.ring()
        }

        func queueHasRoom() {}

        /// Waits until `count` were delivered; nil after a minute.
        func take(_ count: Int) -> (outcomes: [AppendOutcome], isOwn: Bool)? {
            let deadline = MonotonicClock.nanoseconds() + 60_000_000_000
            while MonotonicClock.nanoseconds() < deadline {
                let found = state.withLock { state -> ([AppendOutcome], Bool)? in
                    guard state.outcomes.count == count else { return nil }
                    defer { state.outcomes = [] }
                    return (state.outcomes, state.thread.map { pthread_equal($0, pthread_self()) != 0 } ?? false)
                }
                if let found { return found }
                doorbell.wait(nanoseconds: 1_000_000)
            }
            return nil
        }
    }

    /// The queue is full or closed.
    private struct NotTaken: Error {}

    /// Appends units through one sink, as an event loop does.
    private final class Client {
        let log: EventLog
        let name: String
        private let watch = Watch()
        private(set) var count = 0

        init(_ log: EventLog, _ name: String = "c") {
            self.log = log
            self.name = name
        }

        /// - Returns: the outcomes, and whether they were delivered on this thread.
        func append(
            units: Int = 1, events: Int = 1, mayWait: Bool = true
        ) throws -> (outcomes: [AppendOutcome], isOwn: Bool) {
            var fresh = try (0..<units).map { _ in
                let unit = AppendUnit(ledgerID: log.ledgerID, replyTo: watch, token: 0)
                for _ in 0..<events {
                    try unit.add(TestEvent(stream: name, id: "\(count)"))
                    count += 1
                }
                return unit
            }
            log.submit(removingFrom: &fresh, mayWait: mayWait)
            guard fresh.isEmpty else { throw NotTaken() }
            return try #require(watch.take(units), "it is never answered")
        }

        /// Goes on until units are appended on this thread.
        func appendUntilAtOnce() throws {
            for _ in 0..<100_000 where try append().isOwn { return }
            Issue.record("a client that is alone still waits for another thread")
        }
    }

    private func expectAllThere(_ log: EventLog, events: Int) throws {
        var found = 0
        var next = Position.zero
        while next < log.end {
            next = try log.read(from: next, limit: 10_000, maxBytes: .max) { record in
                #expect(record.position.rawValue == UInt64(found))
                found += 1
                return true
            }
        }
        #expect(found == events)
    }

    @Test func `units of a client that is alone are appended on its own thread, until somebody sends two`() throws {
        let ledger = try TestLedger()
        let client = Client(ledger.log)
        for _ in 0..<Appender.lonelyGroupsMin { #expect(try !client.append().isOwn) }
        for _ in 0..<5 {
            try client.appendUntilAtOnce()
            #expect(try !client.append(units: 2).isOwn)
            for _ in 0..<Appender.lonelyGroupsMin { #expect(try !client.append().isOwn) }
            try client.appendUntilAtOnce()
            // A large unit is none of those, and what follows it has to begin anew.
            #expect(try !client.append(events: Appender.lonelyWritesMax + 1).isOwn)
            #expect(try !client.append().isOwn)
        }
        try expectAllThere(ledger.log, events: client.count)
    }

    @Test func `where commits take long, or others would wait, event loops wait for none`() throws {
        var configuration = LogConfiguration.test
        configuration.appendAtOnceMax = .zero
        let ledger = try TestLedger(LedgerFolder(), configuration)
        let client = Client(ledger.log)
        for _ in 0..<100 { #expect(try !client.append().isOwn) }
        let other = try TestLedger()
        let busy = Client(other.log)
        for _ in 0..<100 { #expect(try !busy.append(mayWait: false).isOwn) }
    }

    @Test func `after one that took long, they wait for none for some time`() throws {
        let isSlow = Shared(Atomic<Bool>(false))
        var configuration = LogConfiguration.test
        configuration.appendAtOnceMax = .milliseconds(100)
        configuration.faults = LogFaults { point in
            if point == .space, isSlow.value.load(ordering: .relaxed) { usleep(150_000) }
            return nil
        }
        // Where a sync takes no time, so that nothing else is slow.
        let ledger = try TestLedger(LedgerFolder(below: "/dev/shm"), configuration)
        let client = Client(ledger.log)
        for _ in 0..<3 {
            try client.appendUntilAtOnce()
            isSlow.value.store(true, ordering: .relaxed)
            _ = try client.append()
            isSlow.value.store(false, ordering: .relaxed)
            for _ in 0..<Appender.lonelyGroupsMin { #expect(try !client.append().isOwn) }
        }
    }

    @Test func `a full disk is told at once as it is otherwise, and appends go on when there is room`() throws {
        let isFull = Shared(Atomic<Bool>(false))
        var configuration = LogConfiguration.test
        configuration.faults = LogFaults { $0 == .space && isFull.value.load(ordering: .relaxed) ? ENOSPC : nil }
        let ledger = try TestLedger(LedgerFolder(), configuration)
        let client = Client(ledger.log)
        try client.appendUntilAtOnce()
        isFull.value.store(true, ordering: .relaxed)
        let before = client.count
        for _ in 0..<3 {
            let (outcomes, isOwn) = try client.append()
            #expect(outcomes.first?.refusal == .diskFull && isOwn)
        }
        isFull.value.store(false, ordering: .relaxed)
        let (outcomes, isOwn) = try client.append()
        #expect(outcomes.first?.receipt?.first == position(UInt64(before)) && isOwn)
        try expectAllThere(ledger.log, events: before + 1)
    }

    @Test(arguments: [LogFaults.Point.commit, .commitReported])
    func `a commit that fails on the client's thread poisons the log for everybody`(point: LogFaults.Point) throws {
        let fails = Shared(Atomic<Bool>(false))
        var configuration = LogConfiguration.test
        configuration.faults = LogFaults { $0 == point && fails.value.load(ordering: .relaxed) ? EIO : nil }
        let folder = LedgerFolder()
        var stored = 0
        do {
            let ledger = try TestLedger(folder, configuration)
            let client = Client(ledger.log)
            try client.appendUntilAtOnce()
            stored = client.count
            fails.value.store(true, ordering: .relaxed)
            let (outcomes, isOwn) = try client.append()
            #expect(outcomes.first?.isUnknown == true && isOwn)
            #expect(ledger.log.isPoisoned && ledger.poison.reports.count == 1)
            fails.value.store(false, ordering: .relaxed)
            #expect(try client.append().outcomes.first?.refusal == .poisoned)
            #expect(ledger.append(TestEvent(id: "other")).refusal == .poisoned)
        }
        let ledger = try TestLedger(folder)
        try expectAllThere(ledger.log, events: point == .commit ? stored : stored + 1)
    }

    /// Single units and pairs from several threads: whoever appends, nothing is lost, twice, or out of order.
    @Test(arguments: [1, 2, 3, 4] as [UInt64])
    func `clients that come and go leave one log`(seed: UInt64) throws {
        let ledger = try TestLedger()
        let log = ledger.log
        let atOnce = Shared(Atomic<Int>(0))
        let done = Shared(Atomic<Int>(0))
        let events = Shared(Atomic<Int>(0))
        let clients = 4
        var threads: [WorkerThread] = []
        for number in 0..<clients {
            threads.append(
                try WorkerThread.start("client") {
                    defer { done.value.add(1, ordering: .relaxed) }
                    var random = SeededGenerator(seed: seed &* 31 &+ UInt64(number))
                    let client = Client(log, "client-\(number)")
                    do {
                        for _ in 0..<20 {
                            // The others are gone, or at rest, now and then.
                            usleep(.random(in: 0..<20_000, using: &random))
                            for _ in 0..<Int.random(in: 1...60, using: &random) {
                                let units = Int.random(in: 0..<20, using: &random) == 0 ? 2 : 1
                                let (outcomes, isOwn) = try client.append(units: units)
                                for (offset, outcome) in outcomes.enumerated() {
                                    let version = UInt64(client.count - units + offset + 1)
                                    #expect(outcome.receipt?.events.first?.version.rawValue == version)
                                }
                                if isOwn { atOnce.value.add(1, ordering: .relaxed) }
                            }
                        }
                        if number == 0 {
                            try client.appendUntilAtOnce()
                            atOnce.value.add(1, ordering: .relaxed)
                        }
                    } catch { Issue.record("\(error)") }
                    events.value.add(client.count, ordering: .relaxed)
                })
        }
        for thread in threads { thread.join() }
        #expect(done.value.load(ordering: .relaxed) == clients)
        #expect(atOnce.value.load(ordering: .relaxed) > 0)
        try expectAllThere(log, events: events.value.load(ordering: .relaxed))
        ledger.flushIndex()
        for number in 0..<clients { #expect(try log.stream(StreamKey("client-\(number)")) != nil) }
    }

    @Test func `a log that is closed under a client has all that it answered, and takes no more`() throws {
        let folder = LedgerFolder()
        for round in 0..<10 {
            let ledger = try TestLedger(folder)
            let before = Int(ledger.log.end.rawValue)
            let log = ledger.log
            let stored = Shared(Atomic<Int>(0))
            let isAtOnce = Shared(Atomic<Bool>(false))
            let thread = try WorkerThread.start("client") {
                let client = Client(log, "round-\(round)")
                // Until the queue takes no more.
                while let (outcomes, isOwn) = try? client.append(), outcomes.first?.receipt != nil {
                    stored.value.add(1, ordering: .relaxed)
                    if isOwn { isAtOnce.value.store(true, ordering: .relaxed) }
                }
            }
            waitUntil { isAtOnce.value.load(ordering: .relaxed) }
            ledger.close()
            thread.join()
            let again = try TestLedger(folder)
            try expectAllThere(again.log, events: before + stored.value.load(ordering: .relaxed))
        }
    }
}
