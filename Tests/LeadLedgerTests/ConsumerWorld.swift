import Ledger
import TestSupport

@testable import LeadLedger

/// A consumer group, the disk below it and those who use it, driven by random steps; and beside it the plainest idea of what must
/// be: one array of events, each with what became of it. The two share no code.
///
/// The disk is a dictionary of registers. Units come to it in order; each is stored or refused as a whole, and a restart finds
/// those that were stored, told or not.
struct ConsumerWorld {
    // MARK: The plain idea

    enum Status: Equatable { case open, acked, parked }

    struct PlainLease {
        var attempt: UInt64
        var owner: UInt64
        var deadline: UInt64
        var isSettling = false
        /// Its connection has ended.
        var isOrphan = false
    }

    struct PlainEvent {
        var lead: Int
        var matches: Bool
        var status = Status.open
        var lease: PlainLease?
        /// Out of attempts, and not parked yet.
        var isExpired = false
        var notBefore: UInt64 = 0
        var used: UInt64 = 0
        /// Of `used`, what a restart finds.
        var usedOnDisk: UInt64 = 0
        var reopenings = 0
    }

    private(set) var events: [PlainEvent] = []
    private var tokens: Set<LeaseToken> = []
    private(set) var faults: [String] = []
    private(set) var tally: [String: Int] = [:]

    // MARK: What is tested

    private var group: ConsumerGroup
    private let bounds: ConsumerBounds
    private let maxAttempts: UInt64
    private let prefix = ConsumerRegisters.prefix("model")
    private var disk: [[UInt8]: [UInt8]] = [:]
    private var pending: [Unit] = []
    private var epoch: UInt64 = 1

    private struct Unit {
        var changes: [ConsumerChange]
        var floor: ConsumerGroup.FloorChange?
        var writes: [RegisterWrite]
        /// Attempts at the time of a nack.
        var used: [UInt64: UInt64] = [:]
    }

    // MARK: The run

    private var random: SeededGenerator
    private var now: UInt64 = 1_000
    private let leads: Int
    private let filtered: Int
    /// Tokens that were given out, current ones and old ones.
    private var known: [LeaseToken] = []

    init(seed: UInt64, without rule: ConsumerBounds.Rule? = nil) {
        random = SeededGenerator(seed: seed)
        leads = Int.random(in: 1...12, using: &random)
        filtered = [0, 0, 3, 10].randomElement(using: &random)!
        maxAttempts = UInt64.random(in: 1...4, using: &random)
        bounds = ConsumerBounds(
            windowEvents: [2, 5, 16, 64].randomElement(using: &random)!,
            parkedEvents: [3, 10, 1_000].randomElement(using: &random)!, without: rule)
        group = ConsumerGroup(epoch: epoch, maxAttempts: maxAttempts, floor: 0, bounds: bounds)
        let definition = ConsumerDefinition(
            name: "model", maxAttempts: maxAttempts, leaseNanoseconds: 1_000_000, from: 0, createdAt: 0, filter: [])
        apply([ConsumerRegisters.write(definition, prefix), ConsumerRegisters.write(floor: 0, prefix)])
    }

    mutating func run(steps: Int) {
        for step in 0..<steps where faults.isEmpty {
            self.step()
            checkProgress()
            if step.isMultiple(of: 8) { for broken in group.brokenInvariants() { fault("invariant: \(broken)") } }
        }
        if faults.isEmpty { drain() }
    }

    private mutating func fault(_ what: String) { faults.append(what) }
    private mutating func count(_ what: String) { tally[what, default: 0] += 1 }

    private mutating func step() {
        now += UInt64.random(in: 0...40, using: &random)
        advance()
        switch Int.random(in: 0..<100, using: &random) {
        case 0..<12: grow(Int.random(in: 1...6, using: &random))
        case 12..<24: fill()
        case 24..<44: claim()
        case 44..<58: settle(ack: true)
        case 58..<68: settle(ack: false)
        case 68..<72: extend()
        case 72..<75: disconnect()
        case 75..<81: parkOverdue()
        case 81..<85: replay()
        case 85..<98: tellOutcome()
        case 98: giveBack()
        default: if random.chance(40) { restart() }
        }
    }

    // MARK: Steps

    private mutating func grow(_ count: Int) {
        for _ in 0..<count {
            let lead = Int.random(in: 0..<leads, using: &random)
            events.append(PlainEvent(lead: lead, matches: filtered == 0 || !events.count.isMultiple(of: filtered)))
        }
    }

    private mutating func fill() {
        let from = Int(group.scanned)
        guard group.room > 0, from < events.count else { return }
        var next = from
        var found: [FoundEvent] = []
        let most = Int.random(in: 1...10, using: &random)
        while next < events.count, found.count < min(group.room, most) {
            if events[next].matches { found.append(self.found(next)) }
            next += 1
        }
        group.take(found, next: UInt64(next))
        count("fills")
    }

    private func found(_ position: Int) -> FoundEvent {
        FoundEvent(position: UInt64(position), lead: StreamKey(high: 7, low: UInt64(events[position].lead)), bytes: 100)
    }

    private mutating func claim() {
        let limit = Int.random(in: 1...6, using: &random)
        let owner = UInt64.random(in: 1...4, using: &random)
        let lease = UInt64.random(in: 1...2_000, using: &random)
        let bytes = random.chance(20) ? 250 : 1_000_000
        let expected = plainClaimable(limit: bytes == 250 ? min(limit, 2) : limit)
        let deliveries = group.claim(
            limit: limit, bytes: bytes, lease: lease, owner: owner, consumer: "c\(owner)", now: now)
        if deliveries.map({ Int($0.token.position) }) != expected {
            fault("claimed \(deliveries.map(\.token.position)), and \(expected) were to be")
        }
        for delivery in deliveries {
            let token = delivery.token
            if !tokens.insert(token).inserted { fault("the token \(token) was given twice") }
            if token.epoch != epoch { fault("a token of epoch \(token.epoch) in \(epoch)") }
            known.append(token)
            let position = Int(token.position)
            guard events.indices.contains(position) else { return fault("position \(position) was never there") }
            let event = events[position]
            if event.status != .open || event.lease != nil || event.isExpired || !event.matches {
                fault("position \(position) was delivered and is \(event)")
            }
            events[position].lease = PlainLease(attempt: token.attempt, owner: owner, deadline: now + lease)
            events[position].used += 1
            if events[position].used > maxAttempts {
                fault("position \(position) has attempt \(events[position].used)")
            }
            count("deliveries")
        }
        if known.count > 300 { known.removeFirst(100) }
    }

    /// What a claim must give: the earliest open events, one a lead, nothing of theirs before them or in flight.
    private func plainClaimable(limit: Int) -> [Int] {
        var blocked: Set<Int> = []
        for event in events where event.lease != nil || event.isExpired { blocked.insert(event.lead) }
        var claimable: [Int] = []
        for (position, event) in events.enumerated().prefix(Int(group.scanned))
        where event.matches && event.status == .open {
            guard claimable.count < limit else { break }
            guard blocked.insert(event.lead).inserted, event.notBefore <= now else { continue }
            claimable.append(position)
        }
        return claimable
    }

    /// Mostly a lease that is out, sometimes one that is over.
    private mutating func someTokens() -> [LeaseToken] {
        var chosen: [LeaseToken] = []
        let current = known.filter { isCurrent($0) }
        for _ in 0..<Int.random(in: 1...3, using: &random) {
            let pool = random.chance(80) ? current : known
            guard let token = pool.randomElement(using: &random) else { break }
            if !chosen.contains(token) { chosen.append(token) }
        }
        if !chosen.isEmpty, random.chance(5) { chosen[0].epoch += 1 }
        if !chosen.isEmpty, random.chance(5) { chosen[0].attempt += 1 }
        if !chosen.isEmpty, random.chance(3) { chosen.append(chosen[0]) }
        return chosen
    }

    private func isCurrent(_ token: LeaseToken) -> Bool {
        guard token.epoch == epoch, let lease = events[Int(token.position)].lease else { return false }
        return lease.attempt == token.attempt && !lease.isSettling && lease.deadline > now
    }

    private mutating func settle(ack: Bool) {
        let tokens = someTokens()
        guard !tokens.isEmpty else { return }
        let delay = random.chance(50) ? 0 : UInt64.random(in: 1...300, using: &random)
        let verdict = ack ? ConsumerVerdict.ack : .nack(delay: delay, error: "because")
        let mayPass = tokens.allSatisfy { isCurrent($0) } && Set(tokens.map(\.position)).count == tokens.count
        do throws(StaleToken) {
            let changes = try group.begin(tokens.map { ($0, verdict) })
            if !mayPass { fault("\(tokens) were taken, and one is not current") }
            if changes.map(\.position) != tokens.map(\.position) { fault("changes of other events: \(changes)") }
            for change in changes {
                let position = Int(change.position)
                events[position].lease?.isSettling = true
                if case .parked = change.kind, ack || events[position].used < maxAttempts {
                    fault("position \(position) is to be parked after \(events[position].used) of \(maxAttempts)")
                }
                if case .returned = change.kind, events[position].used >= maxAttempts {
                    fault("position \(position) is returned without an attempt left")
                }
            }
            submit(changes)
            count(ack ? "acks" : "nacks")
        } catch {
            if mayPass { fault("\(tokens) were refused, and all are current: \(error)") }
            count("stale tokens")
        }
    }

    private mutating func extend() {
        let tokens = someTokens()
        guard !tokens.isEmpty else { return }
        let lease = UInt64.random(in: 1...3_000, using: &random)
        let mayPass = tokens.allSatisfy { isCurrent($0) } && Set(tokens.map(\.position)).count == tokens.count
        do throws(StaleToken) {
            for extended in try group.extend(tokens, lease: lease, now: now) {
                let position = Int(extended.token.position)
                let deadline = max(events[position].lease?.deadline ?? 0, now + lease)
                events[position].lease?.deadline = deadline
                if extended.deadline != deadline { fault("extended to \(extended.deadline), not \(deadline)") }
            }
            if !mayPass { fault("\(tokens) were extended, and one is not current") }
            count("extensions")
        } catch { if mayPass { fault("\(tokens) were not extended: \(error)") } }
    }

    private mutating func disconnect() {
        let owner = UInt64.random(in: 1...4, using: &random)
        group.disconnect(owner, now: now)
        for position in events.indices where events[position].lease?.owner == owner {
            if events[position].lease?.isSettling ?? false {
                events[position].lease?.isOrphan = true
            } else {
                plainExpire(position)
            }
        }
        count("disconnects")
    }

    private mutating func advance() {
        group.advance(to: now)
        for position in events.indices {
            guard let lease = events[position].lease, !lease.isSettling, lease.deadline <= now else { continue }
            plainExpire(position)
            count("expiries")
        }
    }

    private mutating func plainExpire(_ position: Int) {
        events[position].lease = nil
        if events[position].used >= maxAttempts { events[position].isExpired = true }
    }

    private mutating func parkOverdue() {
        let changes = group.takeOverdue()
        guard !changes.isEmpty else { return }
        for change in changes where !events[Int(change.position)].isExpired {
            fault("position \(change.position) is to be parked and has not run out of attempts")
        }
        submit(changes)
    }

    private mutating func replay() {
        let wanted: [UInt64]? =
            random.chance(50) ? nil : events.indices.filter { _ in random.chance(10) }.map { UInt64($0) }
        let changes = group.beginReplay(wanted, limit: Int.random(in: 1...4, using: &random))
        guard !changes.isEmpty else { return }
        for change in changes where events[Int(change.position)].status != .parked {
            fault("position \(change.position) is replayed and was not parked")
        }
        submit(changes)
        count("replays")
    }

    /// A delivery that could not be read.
    private mutating func giveBack() {
        let current = known.filter { isCurrent($0) }
        guard let token = current.randomElement(using: &random) else { return }
        group.giveBack([token], now: now)
        let position = Int(token.position)
        events[position].lease = nil
        events[position].used -= 1
        count("given back")
    }

    // MARK: The disk

    private mutating func submit(_ changes: [ConsumerChange]) {
        var unit = Unit(changes: changes, floor: random.chance(70) ? group.beginFloor() : nil, writes: [])
        unit.writes = changes.map { ConsumerRegisters.write($0, prefix, now: 5) }
        if let floor = unit.floor { unit.writes += ConsumerRegisters.writes(floor, prefix) }
        for change in changes { unit.used[change.position] = events[Int(change.position)].used }
        pending.append(unit)
    }

    private mutating func apply(_ writes: [RegisterWrite]) {
        for write in writes { disk[write.key] = write.value }
    }

    /// The oldest unit is stored, or refused.
    private mutating func tellOutcome() {
        guard !pending.isEmpty else { return }
        let unit = pending.removeFirst()
        if random.chance(80) {
            apply(unit.writes)
            group.commit(unit.changes, now: now)
            if let floor = unit.floor { group.commitFloor(floor) }
            plainCommit(unit, isTold: true)
            count("commits")
        } else {
            group.cancel(unit.changes, now: now)
            if let floor = unit.floor { group.cancelFloor(floor) }
            plainCancel(unit)
            count("refusals")
        }
    }

    private mutating func plainCommit(_ unit: Unit, isTold: Bool) {
        for change in unit.changes {
            let position = Int(change.position)
            switch change.kind {
            case .acked:
                if events[position].status != .open {
                    fault("position \(position) is acked and was \(events[position])")
                }
                events[position].status = .acked
            case .parked:
                if events[position].status != .open {
                    fault("position \(position) is parked and was \(events[position])")
                }
                events[position].status = .parked
                count("parkings")
            case .returned(_, _, let delay):
                events[position].notBefore = now + delay
                events[position].usedOnDisk = unit.used[change.position] ?? 0
            case .reopened:
                if events[position].status != .parked {
                    fault("position \(position) is reopened and was \(events[position])")
                }
                events[position].status = .open
                events[position].used = 0
                events[position].usedOnDisk = 0
                events[position].reopenings += 1
                events[position].notBefore = 0
            }
            events[position].lease = nil
            events[position].isExpired = false
        }
    }

    private mutating func plainCancel(_ unit: Unit) {
        for change in unit.changes {
            let position = Int(change.position)
            guard let lease = events[position].lease, lease.isSettling else { continue }
            events[position].lease?.isSettling = false
            if lease.isOrphan || lease.deadline <= now { plainExpire(position) }
        }
    }

    /// The daemon is killed: some of what waited was stored, in order.
    private mutating func restart() {
        let stored = Int.random(in: 0...pending.count, using: &random)
        for unit in pending.prefix(stored) {
            apply(unit.writes)
            plainCommit(unit, isTold: false)
        }
        pending.removeAll()
        for position in events.indices {
            events[position].lease = nil
            events[position].isExpired = false
            events[position].notBefore = 0
            events[position].used = events[position].usedOnDisk
        }
        var found = StoredConsumer()
        for (key, value) in disk {
            key.withUnsafeBytes { key in value.withUnsafeBytes { found.take(key, $0) } }
        }
        if let broken = found.wholeFault(prefix: prefix, end: UInt64(events.count)) {
            return fault("restart: \(broken)")
        }
        let floor = found.floor ?? .max
        if let open = firstOpen, found.rows[UInt64(open)] == nil, UInt64(open) < floor {
            fault("the disk says floor \(floor), and \(open) is open")
        }
        epoch += 1
        group = ConsumerGroup(
            epoch: epoch, maxAttempts: maxAttempts, floor: floor, rows: found.rows, bounds: bounds)
        count("restarts")
    }

    // MARK: Checks

    private var firstOpen: Int? { events.firstIndex { $0.matches && $0.status == .open } }

    /// The progress is the terminal prefix, no more and no less.
    private mutating func checkProgress() {
        let expected = min(firstOpen.map { UInt64($0) } ?? .max, group.scanned)
        let progress = group.progress
        if group.hasRecalled ? progress > expected : progress != expected {
            fault("the progress is \(progress), and should be \(expected)")
        }
        let parked = events.indices.filter { events[$0].status == .parked }.map { UInt64($0) }
        if parked.count > bounds.parkedEvents + 2 * bounds.windowEvents { fault("\(parked.count) events are parked") }
        if group.parked.keys.sorted() != parked {
            fault("parked are \(group.parked.keys.sorted()), and should be \(parked)")
        }
    }

    /// Works all off: every event that matches ends acked, after as many replays as it takes.
    private mutating func drain() {
        for _ in 0..<20_000 where faults.isEmpty {
            while !pending.isEmpty { tellOutcome() }
            now += 500
            advance()
            parkOverdue()
            while !pending.isEmpty { tellOutcome() }
            if firstOpen == nil, events.allSatisfy({ $0.status != .parked }), group.scanned == UInt64(events.count) {
                break
            }
            fill()
            let changes = group.beginReplay(nil, limit: 2)
            if !changes.isEmpty { submit(changes) }
            while !pending.isEmpty { tellOutcome() }
            now += 500
            advance()
            claim()
            let current = known.filter { isCurrent($0) }
            guard !current.isEmpty else { continue }
            do throws(StaleToken) { submit(try group.begin(current.map { ($0, .ack) })) } catch {
                fault("the current \(error.token) was refused")
            }
            checkProgress()
        }
        for (position, event) in events.enumerated() where event.matches && event.status != .acked && faults.isEmpty {
            fault("position \(position) was never done: \(event)")
        }
        if faults.isEmpty, group.progress != UInt64(events.count) {
            fault("in the end the progress is \(group.progress)")
        }
    }
}
