import Glibc
import Synchronization
import Testing

@testable import Ledger

/// When those who follow stand still for those who append.
@Suite(.timeLimit(.minutes(10))) struct RushTests {
    private static let second: UInt64 = 1_000_000_000

    /// A log that grows evenly, looked at every millisecond.
    private struct Load {
        let rush: Rush
        var end: UInt64 = 1_000
        var now: UInt64 = 77 * RushTests.second

        init(_ bounds: Rush.Bounds = Rush.Bounds()) { rush = Rush(bounds, end: end) }

        /// - Returns: for how much of that time there was a rush, in milliseconds.
        mutating func run(milliseconds: UInt64, eventsEach: UInt64) -> UInt64 {
            var held: UInt64 = 0
            for _ in 0..<milliseconds {
                now += 1_000_000
                if eventsEach > 0 {
                    end += eventsEach
                    rush.notice(end: end, now: now)
                }
                if rush.end(after: now) != nil { held += 1 }
            }
            return held
        }
    }

    @Test func `the first seconds of a heavy load are a rush, and no others`() {
        var load = Load()
        #expect(load.run(milliseconds: 5_000, eventsEach: 19) == 0)
        let held = load.run(milliseconds: 60_000, eventsEach: 21)
        #expect((2_990...3_000).contains(held), "\(held)")
        // Nor after a pause that is shorter than one second, in which the load was small.
        #expect(load.run(milliseconds: 900, eventsEach: 1) == 0)
        #expect(load.run(milliseconds: 10_000, eventsEach: 300) == 0)
        // After a longer one there is another.
        #expect(load.run(milliseconds: 1_100, eventsEach: 0) == 0)
        let again = load.run(milliseconds: 10_000, eventsEach: 300)
        #expect((2_970...3_000).contains(again), "\(again)")
    }

    @Test func `a rush ends soon after the last append`() {
        var load = Load()
        #expect(load.run(milliseconds: 500, eventsEach: 300) > 450)
        let held = load.run(milliseconds: 5_000, eventsEach: 0)
        #expect((30...60).contains(held), "\(held)")
    }

    @Test func `a large unit after a long silence is no rush`() {
        var load = Load()
        _ = load.run(milliseconds: 10_000, eventsEach: 0)
        #expect(load.run(milliseconds: 1, eventsEach: 1_000) == 0)
    }

    /// With every append there is a rush that lasts.
    static let endless = {
        var bounds = Rush.Bounds()
        bounds.eventsPerSecond = 0
        bounds.lookNanoseconds = 0
        (bounds.nanosecondsMax, bounds.silenceNanoseconds) = (3_600 * second, 3_600 * second)
        return bounds
    }()

    private static func configuration(_ rush: Rush.Bounds) -> LogConfiguration {
        var configuration = LogConfiguration.test
        configuration.indexStepsBack = true
        configuration.indexCommitEvents = 10
        configuration.indexCommitInterval = .milliseconds(1)
        configuration.tailEventsMax = 2_000
        configuration.rush = rush
        return configuration
    }

    @Test func `in a rush the index stands still, until it is flushed or the tail is nearly full`() throws {
        // Where a thread that steps back could not come forward, it does not step back.
        let standsStill = WorkerThread.mayCeaseToBeIdle
        // Thousands of single appends: where a sync takes no time.
        let ledger = try TestLedger(LedgerFolder(below: "/dev/shm"), Self.configuration(Self.endless))
        func append(_ range: Range<Int>) {
            for index in range { #expect(ledger.append(TestEvent(id: "\(index)")).receipt != nil) }
        }
        var progress: UInt64 { ledger.log.follower.progress.load(ordering: .acquiring) }
        append(0..<200)
        // Many times its interval.
        usleep(100_000)
        // A batch may have begun before.
        if standsStill { #expect(progress <= 10) } else { waitUntil { progress == 200 } }
        // What is stored is known all the same.
        #expect(ledger.append(TestEvent(id: "7")).receipt?.isDuplicate == true)
        #expect(try ledger.log.stream(StreamKey("L-1"))?.version == version(200))

        ledger.flushIndex()
        #expect(progress == 200)

        // When it is as far behind as it may be it runs as others do, and the rush keeps nobody from appending.
        let held = Self.configuration(Self.endless).tailEventsHeld
        #expect(held == 1_920)
        append(200..<1_600)
        if standsStill { #expect(progress < 1_000) }
        append(1_600..<200 + held - 100)
        if standsStill { #expect(progress < 1_000) }
        for index in 200 + held - 100..<4_000 {
            // The tail is small, and the device may be slow: for a moment it may be full.
            waitUntil { ledger.append(TestEvent(id: "\(index)")).receipt != nil }
        }
        waitUntil { progress > 2_000 }
        #expect(ledger.append(TestEvent(id: "7")).receipt?.isDuplicate == true)
    }

    @Test func `after a rush the index follows though nobody appends`() throws {
        var bounds = Self.endless
        bounds.silenceNanoseconds = 50_000_000
        let ledger = try TestLedger(LedgerFolder(), Self.configuration(bounds))
        for index in 0..<95 { #expect(ledger.append(TestEvent(id: "\(index)")).receipt != nil) }
        waitUntil { ledger.log.follower.progress.load(ordering: .acquiring) == 95 }
    }

    @Test func `closing in a rush brings the index up to the log`() throws {
        let folder = LedgerFolder()
        do {
            let ledger = try TestLedger(folder, Self.configuration(Self.endless))
            for index in 0..<95 { #expect(ledger.append(TestEvent(id: "\(index)")).receipt != nil) }
            ledger.close()
            #expect(ledger.log.follower.progress.load(ordering: .acquiring) == 95)
        }
        let ledger = try TestLedger(folder, Self.configuration(Self.endless))
        #expect(ledger.log.indexOrigin == .kept)
    }
}
