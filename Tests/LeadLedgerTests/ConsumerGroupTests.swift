import Control
import Ledger
import TestSupport
import Testing

@testable import LeadLedger

/// The group's rules one by one; the whole is what the model tests are for.
@Suite struct ConsumerGroupTests {
    private func group(
        attempts: UInt64 = 3, floor: UInt64 = 0, rows: [UInt64: RecalledEvent] = [:],
        bounds: ConsumerBounds = ConsumerBounds()
    ) -> ConsumerGroup {
        ConsumerGroup(epoch: 9, maxAttempts: attempts, floor: floor, rows: rows, bounds: bounds)
    }

    private func events(_ leads: [UInt64], from: UInt64 = 0) -> [FoundEvent] {
        leads.enumerated().map {
            FoundEvent(position: from + UInt64($0), lead: StreamKey(high: 0, low: $1), bytes: 100)
        }
    }

    private func claim(_ group: inout ConsumerGroup, _ limit: Int = 10, now: UInt64 = 0, lease: UInt64 = 100)
        -> [LeaseToken]
    {
        group.claim(limit: limit, bytes: .max, lease: lease, owner: 1, consumer: "c", now: now).map(\.token)
    }

    @Test func `a lead has one event in flight, and others go on`() throws {
        var group = group()
        group.take(events([1, 1, 2, 1]), next: 4)
        let tokens = claim(&group)
        #expect(tokens.map(\.position) == [0, 2])
        #expect(claim(&group).isEmpty)
        group.commit(try group.begin([(tokens[0], .ack)]), now: 1)
        #expect(group.progress == 1)
        #expect(claim(&group).map(\.position) == [1])
    }

    @Test func `the timers of leases that were acked long before their end take no memory for it`() throws {
        var group = group()
        let hours: UInt64 = 12 * 3_600 * 1_000_000_000
        for position in 0..<20_000 as Range<UInt64> {
            group.take(events([position], from: position), next: position + 1)
            let token = claim(&group, now: position, lease: hours)[0]
            group.commit(try group.begin([(token, .ack)]), now: position)
            #expect(group.timerCount <= 2_000)
        }
        #expect(group.progress == 20_000)
        // One that is still out ends when it should.
        group.take(events([1, 2], from: 20_000), next: 20_002)
        let late = claim(&group, now: 20_000, lease: hours)
        #expect(late.count == 2)
        group.advance(to: 19_999 + hours)
        #expect(group.leaseCount == 2)
        group.advance(to: 20_000 + hours)
        #expect(group.leaseCount == 0)
    }

    @Test func `an ack counts when it is stored, and not before`() throws {
        var group = group()
        group.take(events([1, 2]), next: 2)
        let tokens = claim(&group)
        let changes = try group.begin([(tokens[0], .ack)])
        #expect(group.progress == 0)
        #expect(group.standstill(end: 2, now: 1) == .storing(position: 0))
        // The lease runs out meanwhile, and nobody gets the event.
        group.advance(to: 1_000)
        #expect(claim(&group, now: 1_000).map(\.position) == [1])
        group.commit(changes, now: 1_000)
        #expect(group.progress == 1)
    }

    @Test func `a refused ack leaves the lease as it was`() throws {
        var group = group()
        group.take(events([1]), next: 1)
        let token = claim(&group)[0]
        group.cancel(try group.begin([(token, .ack)]), now: 50)
        #expect(group.standstill(end: 1, now: 50) == .leased(position: 0, attempt: 1, consumer: "c", deadline: 100))
        group.commit(try group.begin([(token, .ack)]), now: 60)
        #expect(group.progress == 1)
    }

    @Test func `tokens are taken all or none`() throws {
        var group = group()
        group.take(events([1, 2]), next: 2)
        let tokens = claim(&group)
        var old = tokens[1]
        old.attempt += 1
        #expect(throws: StaleToken(token: old, index: 1, standing: .leased(attempt: 1))) {
            _ = try group.begin([(tokens[0], .ack), (old, .ack)])
        }
        #expect(throws: StaleToken(token: tokens[0], index: 1, standing: .twice)) {
            _ = try group.begin([(tokens[0], .ack), (tokens[0], .ack)])
        }
        #expect(try group.begin(tokens.map { ($0, .ack) }).count == 2)
    }

    @Test func `what is current is said of a token that is not`() throws {
        var group = group(attempts: 1)
        group.take(events([1, 2, 3, 4]), next: 4)
        let tokens = claim(&group, 3)
        group.commit(try group.begin([(tokens[0], .ack)]), now: 1)
        group.commit(try group.begin([(tokens[1], .nack(delay: 0, error: "no"))]), now: 1)
        func standing(_ token: LeaseToken) -> StaleToken.Standing? {
            do throws(StaleToken) { _ = try group.begin([(token, .ack)]) } catch { return error.standing }
            return nil
        }
        #expect(standing(tokens[0]) == .done)
        #expect(standing(tokens[1]) == .parked)
        #expect(standing(LeaseToken(position: 3, attempt: 1, epoch: 9)) == .notDelivered)
        #expect(standing(LeaseToken(position: 17, attempt: 1, epoch: 9)) == .notDelivered)
        #expect(standing(LeaseToken(position: 2, attempt: 1, epoch: 8)) == .otherEpoch)
        #expect(standing(tokens[2]) == nil)
        #expect(standing(tokens[2]) == .settling(attempt: 1))
    }

    @Test func `after its last attempt an event is parked, and the lead goes on`() throws {
        var group = group(attempts: 2)
        group.take(events([1, 1]), next: 2)
        let first = claim(&group)[0]
        group.commit(try group.begin([(first, .nack(delay: 0, error: "a"))]), now: 1)
        let second = claim(&group, now: 1)[0]
        #expect(second == LeaseToken(position: 0, attempt: 2, epoch: 9))
        // Its lease runs out.
        group.advance(to: 500)
        #expect(claim(&group, now: 500).isEmpty)
        let changes = group.takeOverdue()
        #expect(changes.map(\.position) == [0] && group.takeOverdue().isEmpty)
        // Not stored: it is to be parked still.
        group.cancel(changes, now: 500)
        group.commit(group.takeOverdue(), now: 500)
        #expect(group.parked.keys.sorted() == [0] && group.parked[0]?.reason == .expired && group.progress == 1)
        #expect(claim(&group, now: 500).map(\.position) == [1])
    }

    @Test func `a replayed event comes before the later ones of its lead, with new attempts, and holds the progress`()
        throws
    {
        var group = group(attempts: 1)
        group.take(events([1, 1, 1]), next: 3)
        group.commit(try group.begin([(claim(&group)[0], .nack(delay: 0, error: ""))]), now: 0)
        let inFlight = claim(&group)
        #expect(inFlight.map(\.position) == [1] && group.progress == 1)
        let replayed = group.beginReplay(nil, limit: 5)
        #expect(replayed.map(\.position) == [0] && group.beginReplay(nil, limit: 5).isEmpty)
        group.commit(replayed, now: 0)
        #expect(group.progress == 0 && group.parked.isEmpty)
        #expect(group.standstill(end: 3, now: 0) == .behind(position: 0, other: 1))
        group.commit(try group.begin([(inFlight[0], .ack)]), now: 0)
        let again = claim(&group)
        #expect(again == [LeaseToken(position: 0, attempt: 2, epoch: 9)])
        group.commit(try group.begin([(again[0], .ack)]), now: 0)
        #expect(group.progress == 2)
    }

    @Test func `a returned event waits for its delay, and its lead with it`() throws {
        var group = group()
        group.take(events([1, 1]), next: 2)
        group.commit(try group.begin([(claim(&group)[0], .nack(delay: 50, error: ""))]), now: 10)
        #expect(claim(&group, now: 59).isEmpty && group.nextInstant == 60)
        #expect(group.standstill(end: 2, now: 59) == .delayed(position: 0, attempt: 1, until: 60))
        group.advance(to: 60)
        #expect(claim(&group, now: 60) == [LeaseToken(position: 0, attempt: 2, epoch: 9)])
    }

    @Test func `an event out of attempts says what its parking has met, and so does its lead`() throws {
        var group = group(attempts: 1)
        group.take(events([1, 1]), next: 2)
        group.commit(try group.begin([(claim(&group)[0], .nack(delay: 0, error: ""))]), now: 0)
        #expect(claim(&group, now: 0).map(\.position) == [1])
        group.advance(to: 500)
        #expect(group.standstill(end: 2, now: 500) == .storing(position: 1))
        let refused = ConsumerGroup.Standstill.parkRefused(position: 1, error: "disk_full")
        group.cancel(group.takeOverdue(), now: 500)
        #expect(group.standstill(end: 2, now: 500, parkError: "disk_full") == refused)
        // An event before it that is replayed waits for what it waits for.
        group.commit(group.beginReplay(nil, limit: 1), now: 500)
        #expect(claim(&group, now: 500).isEmpty && group.progress == 0)
        #expect(group.standstill(end: 2, now: 500, parkError: "disk_full") == refused)
        group.commit(group.takeOverdue(), now: 500)
        #expect(group.standstill(end: 2, now: 500) == .unclaimed(position: 0))
    }

    @Test func `a refusal to park is told as the reason until one is stored`() {
        let definition = ConsumerDefinition(
            name: "g", maxAttempts: 1, leaseNanoseconds: 100, from: 0, createdAt: 0, filter: [])
        let held = HeldGroup(definition, filter: EventFilter(), prefix: [1], epoch: 9, floor: 0, phase: .open)
        held.machine.take(events([1]), next: 1)
        let tokens = claim(&held.machine)
        #expect(tokens.count == 1)
        held.machine.advance(to: 500)
        #expect(held.standstill(head: 1, now: 500) == .storing(position: 0))
        let overdue = held.machine.takeOverdue()
        held.machine.cancel(overdue, now: 500)
        held.parkRefused(ErrorReply(.diskFull, "the disk is full"), 500)
        #expect(held.standstill(head: 1, now: 500) == .parkRefused(position: 0, error: "disk_full"))
        #expect(held.retryAt > 500)
        held.parkError = nil
        #expect(held.standstill(head: 1, now: 500) == .storing(position: 0))
    }

    @Test func `what was not looked at is not said to wait for a claim`() {
        var group = group()
        group.take([], next: 5)
        #expect(group.standstill(end: 9, now: 0) == .notLookedAt(position: 5))
        #expect(group.standstill(end: 5, now: 0) == .caughtUp)
        group.take(events([1], from: 7), next: 8)
        #expect(group.standstill(end: 9, now: 0) == .unclaimed(position: 7))
    }

    @Test func `extending lets a lease last, and never shortens it`() throws {
        var group = group()
        group.take(events([1]), next: 1)
        let token = claim(&group)[0]
        #expect(try group.extend([token], lease: 20, now: 10).map(\.deadline) == [100])
        #expect(try group.extend([token], lease: 200, now: 10).map(\.deadline) == [210])
        group.advance(to: 209)
        #expect(claim(&group, now: 209).isEmpty)
        group.advance(to: 210)
        #expect(claim(&group, now: 210).map(\.attempt) == [2])
        #expect(throws: StaleToken.self) { _ = try group.extend([token], lease: 1, now: 211) }
    }

    @Test func `a connection's leases are free when it ends`() throws {
        var group = group()
        group.take(events([1, 2]), next: 2)
        let tokens = claim(&group)
        let changes = try group.begin([(tokens[0], .ack)])
        group.disconnect(1, now: 5)
        #expect(claim(&group, now: 5) == [LeaseToken(position: 1, attempt: 2, epoch: 9)])
        // What it had said before is stored or not; then nobody holds it.
        group.cancel(changes, now: 6)
        #expect(claim(&group, now: 6) == [LeaseToken(position: 0, attempt: 2, epoch: 9)])
    }

    @Test func `the window bounds how far acks run ahead of the progress`() throws {
        var group = group(bounds: ConsumerBounds(windowEvents: 3, parkedEvents: 10))
        group.take(events([1, 2, 3]), next: 3)
        #expect(group.room == 0)
        let tokens = claim(&group)
        group.commit(try group.begin([(tokens[1], .ack), (tokens[2], .ack)]), now: 0)
        #expect(group.room == 0 && group.progress == 0)
        group.commit(try group.begin([(tokens[0], .ack)]), now: 0)
        #expect(group.room == 3 && group.progress == 3)
    }

    @Test func `where too much is parked nothing new is taken in, and what was taken in goes on`() throws {
        var group = group(attempts: 1, bounds: ConsumerBounds(windowEvents: 10, parkedEvents: 2))
        group.take(events([1, 2, 3]), next: 3)
        for _ in 0..<2 {
            group.commit(try group.begin([(claim(&group, 1)[0], .nack(delay: 0, error: ""))]), now: 0)
        }
        #expect(group.room == 0)
        group.commit(try group.begin([(claim(&group)[0], .ack)]), now: 0)
        #expect(group.standstill(end: 4, now: 0) == .parkedFull && group.standstill(end: 3, now: 0) == .caughtUp)
        group.commit(group.beginReplay([1], limit: 9), now: 0)
        #expect(claim(&group).map(\.position) == [1] && group.room == 10)
    }

    @Test func `an answer is bounded in bytes, and has one event in any case`() {
        var group = group()
        group.take(events([1, 2, 3]), next: 3)
        #expect(group.claim(limit: 9, bytes: 50, lease: 1, owner: 1, consumer: "", now: 0).count == 1)
        #expect(group.claim(limit: 9, bytes: 200, lease: 1, owner: 1, consumer: "", now: 0).count == 2)
    }
}

/// Random runs against the plain idea of what must be.
@Suite struct ConsumerModelTests {
    private static let stepsARun = 500
    private static let runs = 200

    @Test func `a group does what the plain array says, through refusals and restarts`() {
        var seed = announcedSeed("ConsumerModelTests")
        var tally: [String: Int] = [:]
        for _ in 0..<Self.runs {
            seed &+= 1
            var world = ConsumerWorld(seed: seed)
            world.run(steps: Self.stepsARun)
            #expect(world.faults.isEmpty, "seed \(seed): \(world.faults.prefix(3))")
            guard world.faults.isEmpty else { return }
            tally.merge(world.tally, uniquingKeysWith: +)
        }
        print("ConsumerModelTests: \(Self.runs * Self.stepsARun) steps, \(tally.sorted { $0.key < $1.key })")
        for (what, least) in [
            ("acks", 2_000), ("nacks", 1_000), ("stale tokens", 2_000), ("expiries", 500), ("disconnects", 1_000),
            ("restarts", 200), ("parkings", 500), ("replays", 200), ("refusals", 500), ("extensions", 200),
            ("given back", 50),
        ] { #expect(tally[what, default: 0] >= least, "\(what): \(tally[what, default: 0])") }
    }

    @Test(arguments: ConsumerBounds.Rule.allCases)
    func `a group that leaves out a rule is found out`(_ rule: ConsumerBounds.Rule) {
        let first = announcedSeed("ConsumerModelTests without \(rule)")
        for seed in first..<first + 20 {
            var world = ConsumerWorld(seed: seed, without: rule)
            world.run(steps: Self.stepsARun)
            if !world.faults.isEmpty { return }
        }
        Issue.record("20 runs without the rule \(rule) found nothing")
    }
}
