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

    private final class Seen: Sendable {
        let policies = Mutex<[Int32]>([])
    }

    /// A log that models follow, and the policies under which the transactions of `leads` are committed, as the kernel says them on
    /// its thread.
    private final class Watched {
        private let seen: Seen
        private let log: LeadLog
        private let models: Models
        private var events = RandomEvents(seed: 7, leads: 20)

        init(_ patience: Patience.Bounds, rush: Rush.Bounds = Rush.Bounds()) throws {
            let seen = Seen()
            var configuration = ProjectionConfiguration.test
            configuration.priority = .steppingBack(otherwise: .normal)
            configuration.patience = patience
            configuration.commitInterval = .seconds(3_600)
            configuration.commitEvents = 10
            configuration.faults = ProjectionFaults { point, model in
                if point == .commit, model == "leads" { seen.policies.withLock { $0.append(sched_getscheduler(0)) } }
                return nil
            }
            self.seen = seen
            log = try LeadLog(rush: rush)
            models = try Models(of: log, configuration)
        }

        /// Appends many full batches, which nobody waits for, and gives the models time.
        /// - Returns: how many events no model has taken in.
        func lagAfterBatches() throws -> UInt64 {
            for _ in 0..<20 { try log.append(events.next(10)) }
            usleep(200_000)
            return models.set.status.map(\.lag).min() ?? 0
        }

        /// Appends a full batch, which nobody waits for.
        func takeInBatch() throws -> [Int32] {
            seen.policies.withLock { $0 = [] }
            try log.append(events.next(10))
            while models.set.status.contains(where: { $0.name == "leads" && $0.position != log.log.end }) {
                usleep(1_000)
            }
            return seen.policies.withLock { $0 }
        }

        /// Appends too little for a batch: nothing but the wait brings it in.
        func takeInByWaiting() throws -> [Int32] {
            seen.policies.withLock { $0 = [] }
            try log.append(events.next(4))
            try models.wait(for: log.log.end)
            return seen.policies.withLock { $0 }
        }
    }

    private let idle: Int32 = WorkerThread.mayCeaseToBeIdle ? 5 : SCHED_OTHER
    private let other = SCHED_OTHER

    @Test func `a model steps back, and comes forward while somebody waits for it`() throws {
        let watched = try Watched(.endless)
        #expect(try watched.takeInBatch() == [idle])
        #expect(try watched.takeInByWaiting() == [other])
        // It goes back when it next sleeps, which may be after it was given more.
        var batches = 1
        while try watched.takeInBatch() != [idle] {
            batches += 1
            try #require(batches < 1_000)
        }
    }

    @Test func `a model that is overdue comes forward though nobody waits for it`() throws {
        let watched = try Watched(.none)
        // The first look finds out since when it waits.
        var batches = 1
        while try watched.takeInBatch() != [other] {
            batches += 1
            try #require(batches < 1_000)
        }
    }

    /// A rush that begins with the first append, and goes on until nothing was appended for `silence` nanoseconds.
    private static func rush(silence: UInt64) -> Rush.Bounds {
        var bounds = Rush.Bounds()
        bounds.eventsPerSecond = 0
        bounds.lookNanoseconds = 0
        bounds.nanosecondsMax = 3_600 * second
        bounds.silenceNanoseconds = silence
        return bounds
    }

    @Test func `in a rush models stand still, until somebody waits for one or it is overdue`() throws {
        var rush = Self.rush(silence: 3_600 * Self.second)
        do {
            let watched = try Watched(.endless, rush: rush)
            let lag = try watched.lagAfterBatches()
            // A batch may have begun before the first append was known to be a rush.
            if WorkerThread.mayCeaseToBeIdle { #expect(lag > 100) }
            let policies = try watched.takeInByWaiting()
            #expect(policies.contains(other) && policies.allSatisfy { $0 == other || $0 == idle })
        }
        // It looks for itself meanwhile.
        rush.silenceNanoseconds = 50_000_000
        let watched = try Watched(.none, rush: rush)
        var batches = 1
        while try watched.takeInBatch() != [other] {
            batches += 1
            try #require(batches < 1_000)
        }
    }

    @Test func `after a rush models follow though nobody appends`() throws {
        #expect(try Watched(.endless, rush: Self.rush(silence: 50_000_000)).takeInBatch().allSatisfy { $0 == idle })
    }
}
