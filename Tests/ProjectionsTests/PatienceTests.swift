import Glibc
import Synchronization
import Testing

@testable import Ledger
@testable import Projections

/// When a read model steps back for those who append, and when it does not.
@Suite(.timeLimit(.minutes(10))) struct PatienceTests {
    private static let second: UInt64 = 1_000_000_000

    @Test func `a burst may hold a model back, a load that lasts may not`() {
        let patience = Patience()
        // The model stands still at 0, and the log grows by an event a millisecond.
        var now: UInt64 = 5 * Self.second
        func isOver(after step: UInt64, progress: UInt64, behind: UInt64 = 1_000) -> Bool {
            now += step
            return patience.isOver(progress: progress, end: progress + behind, now: now)
        }
        #expect(!isOver(after: 0, progress: 0))
        #expect(!isOver(after: ProjectionLimits.calmNanoseconds, progress: 0))
        #expect(isOver(after: 1, progress: 0))
        // It stays overdue until it has taken in what was there when the wait began.
        #expect(isOver(after: Self.second, progress: 999))
        #expect(!isOver(after: Self.second, progress: 1_000))
        // From now on it is kept near.
        #expect(!isOver(after: ProjectionLimits.alertNanoseconds, progress: 1_000))
        #expect(isOver(after: 1, progress: 1_000))
        #expect(!isOver(after: 1, progress: 2_000))
        // And after a while without that, a burst may hold it back again.
        for step in 1...UInt64(30) { #expect(!isOver(after: Self.second, progress: 2_000 + 1_000 * step)) }
        #expect(!isOver(after: ProjectionLimits.calmNanoseconds, progress: 32_000))
        #expect(isOver(after: 1, progress: 32_000))
    }

    @Test func `a model that is near is not overdue, however long a load lasts`() {
        let patience = Patience()
        for step in 0..<UInt64(100_000) {
            let progress = step * 100
            #expect(!patience.isOver(progress: progress, end: progress + 5_000, now: step * 10_000_000))
        }
    }

    /// The policies under which a model's transactions are committed, as the kernel says them on its thread.
    @Test func `a model steps back, and comes forward while somebody waits for it`() throws {
        let policies = Mutex<[Int32]>([])
        var configuration = ProjectionConfiguration.test
        configuration.priority = .steppingBack(otherwise: .normal)
        configuration.commitInterval = .seconds(3_600)
        configuration.commitEvents = 10
        configuration.faults = ProjectionFaults { point, model in
            if point == .commit, model == "leads" { policies.withLock { $0.append(sched_getscheduler(0)) } }
            return nil
        }
        let log = try LeadLog()
        let models = try Models(of: log, configuration)
        defer { models.close() }
        var events = RandomEvents(seed: 7, leads: 20)
        let (idle, other): (Int32, Int32) =
            WorkerThread.mayCeaseToBeIdle ? (5, SCHED_OTHER) : (SCHED_OTHER, SCHED_OTHER)
        /// Appends a full batch, which nobody waits for, and tells under which policy it was taken in.
        func takeInBatch() throws -> [Int32] {
            policies.withLock { $0 = [] }
            try log.append(events.next(10))
            while models.set.status.contains(where: { $0.name == "leads" && $0.position != log.log.end }) {
                usleep(1_000)
            }
            return policies.withLock { $0 }
        }
        #expect(try takeInBatch() == [idle])
        // Too little for a batch: nothing but the wait brings it in.
        policies.withLock { $0 = [] }
        try log.append(events.next(4))
        try models.wait(for: log.log.end)
        #expect(policies.withLock { $0 } == [other])
        // It goes back when it next sleeps, which may be after it was given more.
        var batches = 1
        while try takeInBatch() != [idle] {
            batches += 1
            try #require(batches < 1_000)
        }
    }
}
