import DequeModule
import HeapModule
import Ledger

// ConsumerGroup: who may work on which event, and how far the group is. A value without I/O and without a clock: instants come as
// arguments, nanoseconds of the monotonic clock; what must be durable leaves as `ConsumerChange`s and comes back, committed or not.
//
//                       claim                      ack: begin .. commit
//        +----------+ ---------> +--------+ ----------------------------> acked -----+
//   -->  | waiting  |            | leased |                                           \
//        +----------+ <--------- +--------+ ----------------------------> parked ------+--> terminal: the lead is free
//             ^   expired, owner gone, nack: attempts are left   none left |
//             |                                                            |
//             +------------------------- replay -------------------------- +
//
//   positions   0 ......... floor ............................ scanned ......... end of the log
//               all terminal,     the window: matching events,        not looked at yet
//               but for `reopened`  terminal ones among them
//
// What must hold:
//   C1  nothing is skipped: `scanned` moves only over events that were taken in, `floor` only over terminal ones;
//   C2  a lead has at most one event in flight, and none is delivered before an earlier one of its lead that is not terminal;
//   C3  a token works once: for the lease that it names, while it lasts; no two leases have the same one;
//   C4  an event is parked once for each time that it was given to delivery: at first, and by each replay;
//   C5  what is on the disk is behind, never ahead: an event counts as acked or parked only when that is committed, and the
//       durable floor is a floor that was reached by such events alone.

/// A lease as its holder names it.
struct LeaseToken: Hashable, Sendable {
    var position: UInt64
    /// Which lease of this event it is, from 1; it grows for ever, through replays too.
    var attempt: UInt64
    /// Of the group as this daemon has it: another one after each start, and after delete and create.
    var epoch: UInt64
}

/// An event that matches the group's filter.
struct FoundEvent: Sendable {
    var position: UInt64
    var lead: StreamKey
    /// Of its record.
    var bytes: UInt32
}

struct ConsumerDelivery: Sendable, Equatable {
    var token: LeaseToken
    var deadline: UInt64
}

/// What the holder of a lease says became of the event.
enum ConsumerVerdict: Sendable, Equatable {
    case ack
    /// Deliver it again, so many nanoseconds after this is stored; park it where no attempt is left. `error` is kept then.
    case nack(delay: UInt64, error: String)
}

enum ParkReason: UInt8, Sendable {
    /// The last attempt was returned.
    case returned = 1
    /// The last attempt's lease ran out, or its connection ended.
    case expired = 2

    var word: String { self == .returned ? "returned" : "expired" }
}

struct ParkedEvent: Sendable, Equatable {
    var lead: StreamKey
    var bytes: UInt32
    var attempt: UInt64
    var reason: ParkReason
    /// Given back to delivery as soon as that is stored.
    var isReopening = false
}

/// One thing that is to be durable, for one event.
struct ConsumerChange: Sendable, Equatable {
    enum Kind: Sendable, Equatable {
        /// `keepsRow`: the durable floor is not beyond it, so that a row has to say it.
        case acked(keepsRow: Bool)
        case returned(attempt: UInt64, base: UInt64, delay: UInt64)
        case parked(ParkedEvent, error: String)
        case reopened(ParkedEvent)
    }
    var position: UInt64
    var lead: StreamKey
    var bytes: UInt32
    var kind: Kind
}

/// What rows say of events, at a start.
enum RecalledEvent: Sendable, Equatable {
    case acked
    case returned(lead: StreamKey, bytes: UInt32, attempt: UInt64, base: UInt64)
    case parked(ParkedEvent)
}

/// Why a token does not work: what is current for its event.
struct StaleToken: Error, Equatable {
    enum Standing: Equatable {
        case otherEpoch
        case leased(attempt: UInt64)
        case settling(attempt: UInt64)
        case waiting(attempt: UInt64)
        /// Acked, or no event of this group.
        case done
        case parked
        case notDelivered
        /// The same event twice in one request.
        case twice
    }
    var token: LeaseToken
    var index: Int
    var standing: Standing
}

struct ConsumerBounds: Sendable {
    /// Matching events that the group may be ahead of its progress, terminal ones included.
    var windowEvents = Limits.consumerWindowEvents
    /// Parked events after which nothing more is taken in.
    var parkedEvents = Limits.consumerParkedEvents

    /// A rule that is left out: for the test that shows that its harness notices. Nil in the daemon.
    enum Rule: CaseIterable, Sendable { case tokenIsCurrent, leadOrder, parkedOnce, floorIsTerminal, commitBeforeDone }
    var without: Rule?
}

struct ConsumerGroup: Sendable {
    let epoch: UInt64
    let maxAttempts: UInt64
    let bounds: ConsumerBounds

    /// Every matching event below is terminal, but for those in `reopened`.
    private(set) var floor: UInt64
    /// The floor that the disk knows.
    private(set) var durableFloor: UInt64
    /// Every event below was looked at.
    private(set) var scanned: UInt64
    /// Positions from `floor` on that match, ascending.
    private var window = Deque<UInt64>()
    /// Positions below the window that a replay gave back, ascending.
    private var reopened: [UInt64] = []
    private var entries: [UInt64: Entry] = [:]
    private var lines: [StreamKey: LeadLine] = [:]
    /// Holds every claimable position, and some that no longer are.
    private var ready = Heap<UInt64>()
    private var timers = Heap<Timer>()
    private var owned: [UInt64: Set<UInt64>] = [:]
    private(set) var parked: [UInt64: ParkedEvent] = [:]
    /// Out of attempts, and not on their way to be parked yet.
    private var overdue: Set<UInt64> = []
    /// What rows say of positions from `scanned` on.
    private var recalled: [UInt64: RecalledEvent] = [:]
    /// Acked positions that have a row on the disk.
    private var ackedRows = Heap<UInt64>()

    struct Lease: Sendable, Equatable {
        var owner: UInt64
        var consumer: String
        var deadline: UInt64
    }

    enum State: Sendable, Equatable {
        case waiting(until: UInt64)
        case leased(Lease)
        /// What its holder said is on its way to the disk.
        case settling(Lease)
        /// Out of attempts: it is to be parked, or that is on its way.
        case expired
        case acked
        case parked
    }

    struct Entry: Sendable {
        let lead: StreamKey
        let bytes: UInt32
        /// Of the newest lease; 0 before the first.
        var attempt: UInt64 = 0
        /// Attempts that do not count: those before the last replay, and those that never reached a client.
        var base: UInt64 = 0
        var state = State.waiting(until: 0)
        var isInReady = false
        /// When its timer rings.
        var timer: UInt64?

        var isTerminal: Bool { state == .acked || state == .parked }
    }

    /// The events of a lead that are not terminal.
    private struct LeadLine: Sendable {
        var positions = Deque<UInt64>()
        var inFlight: UInt64?
    }

    private struct Timer: Comparable, Sendable {
        var instant: UInt64
        var position: UInt64

        static func < (left: Timer, right: Timer) -> Bool {
            (left.instant, left.position) < (right.instant, right.position)
        }
    }

    /// - Parameter rows: what the disk has of a group that was there before.
    init(
        epoch: UInt64, maxAttempts: UInt64, floor: UInt64, rows: [UInt64: RecalledEvent] = [:],
        bounds: ConsumerBounds = ConsumerBounds()
    ) {
        self.epoch = epoch
        self.maxAttempts = maxAttempts
        self.bounds = bounds
        self.floor = floor
        durableFloor = floor
        scanned = floor
        for (position, row) in rows.sorted(by: { $0.key < $1.key }) {
            if case .parked(let event) = row { parked[position] = event }
            if case .acked = row { ackedRows.insert(position) }
            if position >= floor {
                recalled[position] = row
            } else if case .returned(let lead, let bytes, let attempt, let base) = row {
                reopen(position, Entry(lead: lead, bytes: bytes, attempt: attempt, base: base), now: 0)
            }
        }
    }

    // MARK: How far it is

    /// The terminal prefix: every matching event below is acked or parked.
    var progress: UInt64 { min(floor, reopened.first ?? .max) }

    /// Whether rows speak of events that were not looked at yet: until then `progress` may be behind what it was.
    var hasRecalled: Bool { !recalled.isEmpty }

    /// Matching events that may be taken in. None where too much is parked; what was taken in before, or is replayed, is delivered all
    /// the same, or a group could be so full that no replay would empty it.
    var room: Int { isParkedFull ? 0 : bounds.windowEvents - window.count }

    var windowCount: Int { window.count + reopened.count }

    var isParkedFull: Bool { parked.count >= bounds.parkedEvents }

    /// Takes in the events from `scanned` to `next` that match.
    mutating func take(_ found: [FoundEvent], next: UInt64) {
        for event in found {
            precondition(
                event.position >= scanned && event.position < next,
                "events come in order, from where the last ones ended")
            var entry = Entry(lead: event.lead, bytes: event.bytes)
            switch recalled.removeValue(forKey: event.position) {
            case .acked: entry.state = .acked
            case .parked: entry.state = .parked
            case .returned(_, _, let attempt, let base): (entry.attempt, entry.base) = (attempt, base)
            case nil: break
            }
            window.append(event.position)
            entries[event.position] = entry
            if !entry.isTerminal {
                lines[event.lead, default: LeadLine()].positions.append(event.position)
                offer(event.lead, now: 0)
            }
        }
        scanned = next
        if !recalled.isEmpty { recalled = recalled.filter { $0.key >= next } }
        fold()
    }

    /// Moves the floor over what is terminal.
    private mutating func fold() {
        while let first = window.first, let entry = entries[first] {
            guard entry.isTerminal || (bounds.without == .floorIsTerminal && entry.attempt > 0) else { break }
            window.removeFirst()
            if entry.isTerminal { entries[first] = nil }
        }
        floor = window.first ?? scanned
    }

    // MARK: Claiming

    /// Whether `claim` would give something.
    mutating func hasReady(now: UInt64) -> Bool {
        while let first = ready.min {
            if isClaimable(first, now: now) { return true }
            ready.removeMin()
            entries[first]?.isInReady = false
        }
        return false
    }

    /// About how many events could be claimed.
    var readyCount: Int { ready.count }

    /// Leases the earliest claimable events: at most `limit`, and of records of at most `bytes` in all, but one in any case.
    mutating func claim(
        limit: Int, bytes bytesMax: Int, lease: UInt64, owner: UInt64, consumer: String, now: UInt64
    ) -> [ConsumerDelivery] {
        var deliveries: [ConsumerDelivery] = []
        var bytes = 0
        while deliveries.count < limit, hasReady(now: now), let position = ready.min, var entry = entries[position] {
            bytes += Int(entry.bytes)
            if !deliveries.isEmpty, bytes > bytesMax { break }
            ready.removeMin()
            entry.isInReady = false
            entry.attempt += 1
            let deadline = now &+ lease
            entry.state = .leased(Lease(owner: owner, consumer: consumer, deadline: deadline))
            entries[position] = entry
            lines[entry.lead]?.inFlight = position
            owned[owner, default: []].insert(position)
            setTimer(position, at: deadline)
            if bounds.without == .leadOrder { offer(entry.lead, now: now) }
            deliveries.append(
                ConsumerDelivery(
                    token: LeaseToken(position: position, attempt: entry.attempt, epoch: epoch), deadline: deadline))
        }
        return deliveries
    }

    /// Takes leases back that never reached their client: the attempt does not count.
    mutating func giveBack(_ tokens: [LeaseToken], now: UInt64) {
        for token in tokens {
            guard var entry = entries[token.position], entry.attempt == token.attempt,
                case .leased(let lease) = entry.state
            else { continue }
            entry.base += 1
            entries[token.position] = entry
            release(token.position, lease, until: 0, now: now)
        }
    }

    /// C2.
    private func isClaimable(_ position: UInt64, now: UInt64) -> Bool {
        guard let entry = entries[position], case .waiting(let until) = entry.state, until <= now else { return false }
        if bounds.without == .leadOrder { return true }
        guard let line = lines[entry.lead] else { return false }
        return line.inFlight == nil && line.positions.first == position
    }

    /// Puts the lead's next event into `ready`, if it is its turn.
    private mutating func offer(_ lead: StreamKey, now: UInt64) {
        guard let line = lines[lead] else { return }
        let candidates = bounds.without == .leadOrder ? Array(line.positions) : line.positions.first.map { [$0] } ?? []
        for position in candidates where isClaimable(position, now: now) {
            guard var entry = entries[position], !entry.isInReady else { continue }
            entry.isInReady = true
            entries[position] = entry
            ready.insert(position)
        }
    }

    // MARK: Settling

    /// Takes the word of the holders of leases, all or none. What is returned must be committed together; until `commit` or
    /// `cancel` the events are neither delivered nor done.
    mutating func begin(
        _ verdicts: [(token: LeaseToken, verdict: ConsumerVerdict)]
    ) throws(StaleToken) -> [ConsumerChange] {
        try check(verdicts.map(\.token))
        return verdicts.compactMap { token, verdict in
            guard var entry = entries[token.position], let lease = entry.lease else { return nil }
            entry.state = .settling(lease)
            entries[token.position] = entry
            let kind: ConsumerChange.Kind
            switch verdict {
            case .ack: kind = .acked(keepsRow: token.position >= durableFloor)
            case .nack(let delay, let error):
                kind =
                    hasAttempts(entry)
                    ? .returned(attempt: entry.attempt, base: entry.base, delay: delay)
                    : .parked(parkedEvent(entry, .returned), error: error)
            }
            return ConsumerChange(position: token.position, lead: entry.lead, bytes: entry.bytes, kind: kind)
        }
    }

    /// Lets leases last until `lease` from now, all or none; never shorter than they would.
    mutating func extend(_ tokens: [LeaseToken], lease: UInt64, now: UInt64) throws(StaleToken) -> [ConsumerDelivery] {
        try check(tokens)
        return tokens.compactMap { token in
            guard var entry = entries[token.position], case .leased(var held) = entry.state else { return nil }
            held.deadline = max(held.deadline, now &+ lease)
            entry.state = .leased(held)
            entries[token.position] = entry
            setTimer(token.position, at: held.deadline)
            return ConsumerDelivery(token: token, deadline: held.deadline)
        }
    }

    /// C3. Call `advance` before, so that leases that ran out are none.
    private func check(_ tokens: [LeaseToken]) throws(StaleToken) {
        var seen: Set<UInt64> = []
        for (index, token) in tokens.enumerated() {
            let standing: StaleToken.Standing
            if !seen.insert(token.position).inserted {
                standing = .twice
            } else if let entry = entries[token.position], case .leased = entry.state, isCurrent(token, entry) {
                continue
            } else {
                standing = self.standing(of: token)
            }
            throw StaleToken(token: token, index: index, standing: standing)
        }
    }

    private func isCurrent(_ token: LeaseToken, _ entry: Entry) -> Bool {
        bounds.without == .tokenIsCurrent || (token.epoch == epoch && token.attempt == entry.attempt)
    }

    private func standing(of token: LeaseToken) -> StaleToken.Standing {
        guard token.epoch == epoch else { return .otherEpoch }
        if let entry = entries[token.position] {
            switch entry.state {
            case .waiting: return entry.attempt == 0 ? .notDelivered : .waiting(attempt: entry.attempt)
            case .leased: return .leased(attempt: entry.attempt)
            case .settling, .expired: return .settling(attempt: entry.attempt)
            case .acked: return .done
            case .parked: return .parked
            }
        }
        if parked[token.position] != nil { return .parked }
        return token.position < scanned ? .done : .notDelivered
    }

    /// What `begin`, `takeOverdue` or `beginReplay` gave is durable.
    mutating func commit(_ changes: [ConsumerChange], now: UInt64) {
        for change in changes {
            let position = change.position
            switch change.kind {
            case .acked(let keepsRow):
                if keepsRow { ackedRows.insert(position) }
                finish(position, as: .acked, now: now)
            case .parked(let event, _):
                parked[position] = event
                overdue.remove(position)
                finish(position, as: .parked, now: now)
            case .returned(_, _, let delay):
                guard let lease = entries[position]?.lease else { continue }
                release(position, lease, until: delay == 0 ? 0 : now &+ delay, now: now)
            case .reopened(let event): reopened(position, event, now: now)
            }
        }
        fold()
    }

    /// It was not stored, and is as it was before; leases that ran out meanwhile have.
    mutating func cancel(_ changes: [ConsumerChange], now: UInt64) {
        for change in changes {
            let position = change.position
            if case .reopened = change.kind {
                parked[position]?.isReopening = false
                continue
            }
            guard var entry = entries[position] else { continue }
            if bounds.without == .commitBeforeDone, case .acked = change.kind {
                finish(position, as: .acked, now: now)
                continue
            }
            switch entry.state {
            case .settling(let lease):
                entry.state = .leased(lease)
                entries[position] = entry
                if lease.deadline <= now {
                    expire(position, lease, now: now)
                } else {
                    setTimer(position, at: lease.deadline)
                }
            case .expired: overdue.insert(position)
            default: break
            }
        }
        fold()
    }

    private func hasAttempts(_ entry: Entry) -> Bool { entry.attempt - min(entry.base, entry.attempt) < maxAttempts }

    private func parkedEvent(_ entry: Entry, _ reason: ParkReason) -> ParkedEvent {
        ParkedEvent(lead: entry.lead, bytes: entry.bytes, attempt: entry.attempt, reason: reason)
    }

    /// Terminal: the lead is free for its next event.
    private mutating func finish(_ position: UInt64, as state: State, now: UInt64) {
        guard var entry = entries[position] else { return }
        if let lease = entry.lease { disown(position, lease) }
        entry.state = state
        entry.timer = nil
        if let index = reopened.firstIndex(of: position) {
            reopened.remove(at: index)
            entries[position] = nil
        } else {
            entries[position] = entry
        }
        if var line = lines[entry.lead] {
            if line.positions.first == position {
                line.positions.removeFirst()
            } else if let index = line.positions.firstIndex(of: position) {
                line.positions.remove(at: index)
            }
            if line.inFlight == position { line.inFlight = nil }
            lines[entry.lead] = line.positions.isEmpty ? nil : line
        }
        offer(entry.lead, now: now)
    }

    /// Back to waiting.
    private mutating func release(_ position: UInt64, _ lease: Lease, until: UInt64, now: UInt64) {
        guard var entry = entries[position] else { return }
        disown(position, lease)
        entry.state = .waiting(until: until)
        entries[position] = entry
        if lines[entry.lead]?.inFlight == position { lines[entry.lead]?.inFlight = nil }
        if until > now { setTimer(position, at: until) }
        offer(entry.lead, now: now)
    }

    private mutating func disown(_ position: UInt64, _ lease: Lease) {
        owned[lease.owner]?.remove(position)
        if owned[lease.owner]?.isEmpty ?? false { owned[lease.owner] = nil }
    }

    // MARK: Time, and owners that go

    /// When `advance` has something to do next; nil: nothing that time alone brings about.
    var nextInstant: UInt64? { timers.min?.instant }

    /// Ends the leases and the delays that are over.
    mutating func advance(to now: UInt64) {
        while let timer = timers.min, timer.instant <= now {
            timers.removeMin()
            guard var entry = entries[timer.position], entry.timer == timer.instant else { continue }
            entry.timer = nil
            entries[timer.position] = entry
            switch entry.state {
            case .leased(let lease):
                if lease.deadline <= now {
                    expire(timer.position, lease, now: now)
                } else {
                    setTimer(timer.position, at: lease.deadline)
                }
            case .waiting(let until):
                if until <= now { offer(entry.lead, now: now) } else { setTimer(timer.position, at: until) }
            case .settling, .expired, .acked, .parked: break
            }
        }
    }

    /// One timer an event is enough: one that rings early is set again.
    private mutating func setTimer(_ position: UInt64, at instant: UInt64) {
        guard var entry = entries[position], entry.timer.map({ instant < $0 }) ?? true else { return }
        entry.timer = instant
        entries[position] = entry
        timers.insert(Timer(instant: instant, position: position))
        // Of events that are done the timers stay behind. With leases of hours these would be all events of hours.
        guard timers.count > 2 * entries.count + Self.timersLeftMax else { return }
        timers = Heap(timers.unordered.filter { entries[$0.position]?.timer == $0.instant })
    }

    /// Timers of events that are done, after which they are looked for and dropped. By taste: seldom, and little memory.
    private static let timersLeftMax = 1_024

    /// Of events that are done too.
    var timerCount: Int { timers.count }

    private mutating func expire(_ position: UInt64, _ lease: Lease, now: UInt64) {
        guard var entry = entries[position] else { return }
        if hasAttempts(entry) { return release(position, lease, until: 0, now: now) }
        disown(position, lease)
        entry.state = .expired
        entries[position] = entry
        overdue.insert(position)
    }

    /// Events that ran out of attempts by themselves, to be parked: as `begin`.
    mutating func takeOverdue() -> [ConsumerChange] {
        guard !overdue.isEmpty else { return [] }
        let positions = overdue.sorted()
        if bounds.without != .parkedOnce { overdue.removeAll() }
        return positions.compactMap { position in
            guard let entry = entries[position] else { return nil }
            return ConsumerChange(
                position: position, lead: entry.lead, bytes: entry.bytes,
                kind: .parked(parkedEvent(entry, .expired), error: ""))
        }
    }

    /// A connection has ended: its leases are free at once, and count as attempts.
    mutating func disconnect(_ owner: UInt64, now: UInt64) {
        guard let positions = owned.removeValue(forKey: owner) else { return }
        for position in positions.sorted() {
            guard var entry = entries[position] else { continue }
            switch entry.state {
            case .leased(let lease): expire(position, lease, now: now)
            case .settling(var lease):
                // If that is not stored, nobody holds it any more.
                lease.deadline = 0
                entry.state = .settling(lease)
                entries[position] = entry
            default: break
            }
        }
    }

    // MARK: Replaying what was parked

    /// Parked events to be delivered again: the earliest, or those that are named. As `begin`.
    mutating func beginReplay(_ wanted: [UInt64]?, limit: Int) -> [ConsumerChange] {
        let room = max(0, bounds.windowEvents - reopened.count - parked.values.count { $0.isReopening })
        let candidates = wanted.map { Set($0).sorted() } ?? parked.keys.sorted()
        var changes: [ConsumerChange] = []
        for position in candidates {
            guard changes.count < min(limit, room) else { break }
            guard let event = parked[position], !event.isReopening else { continue }
            parked[position]?.isReopening = true
            changes.append(
                ConsumerChange(position: position, lead: event.lead, bytes: event.bytes, kind: .reopened(event)))
        }
        return changes
    }

    private mutating func reopened(_ position: UInt64, _ event: ParkedEvent, now: UInt64) {
        parked[position] = nil
        let entry = Entry(lead: event.lead, bytes: event.bytes, attempt: event.attempt, base: event.attempt)
        if position >= scanned {
            // A start has not come to it yet.
            recalled[position] = .returned(
                lead: event.lead, bytes: event.bytes, attempt: event.attempt, base: event.attempt)
        } else {
            reopen(position, entry, now: now)
        }
    }

    /// Makes it one of its lead's events again, at its place among them.
    private mutating func reopen(_ position: UInt64, _ entry: Entry, now: UInt64) {
        if position < floor {
            reopened.insert(position, at: reopened.firstIndex { $0 > position } ?? reopened.endIndex)
        }
        entries[position] = entry
        var line = lines[entry.lead] ?? LeadLine()
        line.positions.insert(position, at: line.positions.firstIndex { $0 > position } ?? line.positions.endIndex)
        lines[entry.lead] = line
        offer(entry.lead, now: now)
    }

    // MARK: The floor on the disk

    /// What is to be written for the floor to be durable: it, and which rows it makes superfluous.
    struct FloorChange: Sendable, Equatable {
        var floor: UInt64
        var rows: [UInt64]
    }

    /// Nil where the disk knows the floor. As `begin`, to be followed by `commitFloor` or `cancelFloor`.
    mutating func beginFloor() -> FloorChange? {
        guard floor > durableFloor else { return nil }
        var rows: [UInt64] = []
        while let first = ackedRows.min, first < floor, rows.count < Limits.consumerRowsDeleted {
            ackedRows.removeMin()
            rows.append(first)
        }
        return FloorChange(floor: floor, rows: rows)
    }

    mutating func commitFloor(_ change: FloorChange) { durableFloor = max(durableFloor, change.floor) }

    mutating func cancelFloor(_ change: FloorChange) { for row in change.rows { ackedRows.insert(row) } }

    // MARK: Looking

    subscript(position: UInt64) -> Entry? { entries[position] }

    /// Leases that are out, the earliest first, at most `limit`.
    func leases(limit: Int) -> [(position: UInt64, attempt: UInt64, lease: Lease)] {
        owned.values.joined().sorted().prefix(limit).compactMap { position in
            guard let entry = entries[position], let lease = entry.lease else { return nil }
            return (position, entry.attempt, lease)
        }
    }

    var leaseCount: Int { owned.values.reduce(0) { $0 + $1.count } }
}

extension ConsumerGroup.Entry {
    var lease: ConsumerGroup.Lease? {
        switch state {
        case .leased(let lease), .settling(let lease): lease
        case .waiting, .expired, .acked, .parked: nil
        }
    }
}

extension ConsumerGroup {
    /// Why the progress does not move.
    enum Standstill: Sendable, Equatable {
        case caughtUp
        /// The event at the progress is leased.
        case leased(position: UInt64, attempt: UInt64, consumer: String, deadline: UInt64)
        /// What became of it is on its way to the disk.
        case storing(position: UInt64)
        /// It was returned with a delay.
        case delayed(position: UInt64, attempt: UInt64, until: UInt64)
        /// It waits for another event of its lead, which is in flight.
        case behind(position: UInt64, other: UInt64)
        /// It is out of attempts, and the newest try to park it met this error.
        case parkRefused(position: UInt64, error: String)
        /// It could be claimed.
        case unclaimed(position: UInt64)
        /// Whether anything from here on matches is not known.
        case notLookedAt(position: UInt64)
        case parkedFull
    }

    /// - Parameters:
    ///   - end: where the log ends.
    ///   - parkError: what the newest try to store what `takeOverdue` gave has met; nil: nothing, or it has no outcome yet.
    func standstill(end: UInt64, now: UInt64, parkError: String? = nil) -> Standstill {
        let position = progress
        func expired(_ position: UInt64) -> Standstill {
            guard let parkError else { return .storing(position: position) }
            return .parkRefused(position: position, error: parkError)
        }
        guard let entry = entries[position] else {
            // Not looked at yet, which a claim would do, if it may.
            if position >= end { return .caughtUp }
            return isParkedFull ? .parkedFull : .notLookedAt(position: position)
        }
        switch entry.state {
        case .leased(let lease):
            return .leased(
                position: position, attempt: entry.attempt, consumer: lease.consumer, deadline: lease.deadline)
        case .settling: return .storing(position: position)
        case .expired: return expired(position)
        case .waiting(let until):
            if until > now { return .delayed(position: position, attempt: entry.attempt, until: until) }
            if let other = lines[entry.lead]?.inFlight {
                // Nobody has that one, so it is what it waits for itself.
                if entries[other]?.state == .expired { return expired(other) }
                return .behind(position: position, other: other)
            }
            return .unclaimed(position: position)
        case .acked, .parked: return .unclaimed(position: position)
        }
    }

    /// Every rule that a look at the whole can check; for tests.
    /// - Returns: those that are broken.
    func brokenInvariants() -> [String] {
        var broken: [String] = []
        func require(_ holds: Bool, _ what: String) { if !holds { broken.append(what) } }
        require(window.count <= bounds.windowEvents, "the window has \(window.count) events")
        require(zip(window, window.dropFirst()).allSatisfy { $0 < $1 }, "the window is not ascending")
        require(zip(reopened, reopened.dropFirst()).allSatisfy { $0 < $1 }, "the reopened are not ascending")
        require(
            durableFloor <= floor && floor <= scanned, "durable \(durableFloor), floor \(floor), scanned \(scanned)")
        require(entries.count == window.count + reopened.count, "\(entries.count) entries")
        require(reopened.allSatisfy { $0 < floor }, "a reopened event is not below the floor")
        var inLines = 0
        for (lead, line) in lines {
            inLines += line.positions.count
            require(!line.positions.isEmpty, "an empty line")
            require(zip(line.positions, line.positions.dropFirst()).allSatisfy { $0 < $1 }, "a line is not ascending")
            if let inFlight = line.inFlight {
                require(line.positions.contains(inFlight), "\(inFlight) is in flight and not in its line")
            } else if let first = line.positions.first, let entry = entries[first], entry.state == .waiting(until: 0) {
                require(entry.isInReady, "\(first) could be claimed and is not ready")
            }
            for position in line.positions {
                require(
                    entries[position].map { !$0.isTerminal && $0.lead == lead } ?? false, "\(position) is in a line")
            }
        }
        require(inLines == entries.values.count { !$0.isTerminal }, "\(inLines) events in lines")
        require(ready.count == entries.values.count { $0.isInReady }, "ready has \(ready.count)")
        for (owner, positions) in owned {
            require(!positions.isEmpty, "owner \(owner) has nothing")
            for position in positions {
                require(entries[position]?.lease?.owner == owner, "\(position) is not leased to \(owner)")
            }
        }
        return broken
    }
}
