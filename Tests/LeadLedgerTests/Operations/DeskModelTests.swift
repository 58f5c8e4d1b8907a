import Synchronization
import TestSupport
import Testing

@testable import LeadLedger

/// The desk over random histories, each on a ledger of its own, judged by a slow reader of the log that shares no code with it.
@Suite(.timeLimit(.minutes(10)), .serialized) struct DeskModelTests {
    private static let histories = 1_000
    private static let stepsPerHistory = 20
    /// What the histories are made for, and how often it must have happened in 1,000 of them.
    private static let wanted: [(what: String, count: Int)] = [
        ("decision arrival", 5_000), ("decision drain", 500), ("decision take_back", 300), ("decision reroute", 200),
        ("decision by_hand", 10), ("decision pull", 2), ("matched", 50), ("to a manager", 50), ("queued", 500),
        ("elsewhere than foreseen", 500), ("refused", 200), ("claims", 100), ("takes", 2), ("lease expired", 10),
        ("lease released", 1), ("lease taken", 2), ("released owner_on_leave", 5), ("released owner_removed", 100),
        ("pool.decision_voided", 10), ("breaches", 1_000), ("escalated reassign", 300), ("replaced", 100),
        ("policy.activated", 500), ("policy.rolled_back", 100), ("member.on_leave", 200), ("member.returned", 100),
        ("assigned manual", 100), ("assigned import", 50), ("lead.recycled", 300), ("desks replaced", 300),
        ("restarts", 200), ("jumps back", 50),
    ]

    @Test func `in random histories nothing falls through, everything is decided once, and a start comes to the same`()
        throws
    {
        let seed = announcedSeed("DeskModelTests")
        // One history is repeated by its own seed and LEADLEDGER_TEST_HISTORIES=1.
        let count = environmentVariable("LEADLEDGER_TEST_HISTORIES").flatMap { Int($0) } ?? Self.histories
        let found = try Self.run(count, seed: seed)
        for fault in found.faults.prefix(40) { print("DeskModelTests fault: \(fault)") }
        #expect(found.faults.isEmpty)
        guard count == Self.histories else { return }
        for (what, least) in Self.wanted { #expect(found.tally[what, default: 0] >= least, "\(what)") }
    }

    @Test(arguments: [OperationsDesk.PlantedMistake.forgetsUndo, .expectsNothing])
    func `a desk that makes a mistake is found out`(mistake: OperationsDesk.PlantedMistake) throws {
        let seed = announcedSeed("DeskModelTests.planted")
        #expect(!(try Self.run(300, seed: seed, planted: mistake)).faults.isEmpty)
    }

    /// - Parameter planted: the mistake of each desk; the run ends with the first history in which something is wrong.
    private static func run(
        _ count: Int, seed: UInt64, planted: OperationsDesk.PlantedMistake? = nil
    ) throws -> (faults: [String], tally: [String: Int]) {
        let zones = try TimeZoneDatabase()
        let next = Atomic<Int>(0)
        let found = Mutex<(faults: [String], tally: [String: Int])>(([], [:]))
        let body: @Sendable () -> Void = {
            while true {
                let number = next.add(1, ordering: .relaxed).oldValue
                guard number < count else { return }
                let own = seed &+ UInt64(number)
                do {
                    let place = try DeskPlace(zones: zones, planted: planted)
                    defer { place.close() }
                    var history = DeskHistory(place, seed: own)
                    do { try history.run(steps: stepsPerHistory) } catch {
                        found.withLock { $0.faults.append("seed \(own): \(error); \(place.desk.fault ?? "")") }
                    }
                    found.withLock { found in
                        if found.faults.isEmpty, planted == nil { for line in history.trace { print(line) } }
                        found.faults += history.faults.map { "seed \(own): \($0)" }
                        found.tally.merge(history.tally, uniquingKeysWith: +)
                    }
                } catch { found.withLock { $0.faults.append("seed \(own): \(error)") } }
                if planted != nil, found.withLock({ !$0.faults.isEmpty }) { return }
            }
        }
        onThreads([body, body])
        return found.withLock { $0 }
    }
}
