/// What the router remembers of a lead, in 88 bytes.
///
/// Invariants:
///   one-mark        `mark` says one thing at a time, by custody: in the inbox and with an owner one more than the position of the
///                   trigger that waits (0: none), in a queue the due instant, after an end its instant. A lease keeps it.
///   held-by-one     `holder` is somebody only where custody is owner or leased.
package struct LeadRecord: Sendable, Equatable {
    package var key: RoutingKey
    /// The position of the first capture.
    package var captured: UInt64
    package var state: LeadState
    /// One more than the position of the latest pool decision of the cycle that moved balances and was not voided; 0: none.
    package var decision: UInt64 = 0
    var mark: Int64 = 0
    /// The position of the event that brought the present custody.
    package var since: UInt64
    package var holder = MemberNumber.nobody
    /// Who had it last, and has it no more.
    package var earlierOwner = MemberNumber.nobody
    /// The queue it waits or waited in.
    package var queue = PoolNumber.none
    /// The number of its account, 0 if it has none.
    package var account: UInt32 = 0
    /// The lead merged into this one, or that this one was merged into, or is suspected to repeat.
    package var kin = LeadNumber.none
    /// The first entry of the list of those who had it in this cycle and gave it back or had it taken; 0: none.
    var earlierHolders: UInt32 = 0
    package var score: Int32 = 0
    /// How often it was claimed in vain.
    package var pulls: UInt16 = 0

    /// Since when, by the log, it is where it is: the position of the event that brought the present custody.
    package var heldSince: UInt64 { since }

    /// When it must be answered, as long as it waits in a queue or is leased from one; nil: no time was set.
    package var queueDue: Instant? {
        let custody = state.custody == .leased ? state.custodyBeforeLease : state.custody
        return custody == .queue && mark != .max ? Instant(microseconds: mark) : nil
    }

    /// The queue entry of a lead that waits in a queue.
    func entry(as number: LeadNumber) -> DueQueue.Entry {
        DueQueue.Entry(due: mark, score: score, pulls: pulls, captured: captured, lead: number)
    }
}

/// All leads, by number and by key: 88 bytes of record, and 5 to 11 of an open table of numbers. Measured with a million: 97.
struct LeadTable: Sendable {
    /// Number 0 is no lead.
    private(set) var records: [LeadRecord] = [
        LeadRecord(key: RoutingKey(high: 0, low: 0), captured: 0, state: .created, since: 0)
    ]
    /// Numbers by the key's low word, 0 where empty; three quarters full at most.
    private var slots: [UInt32] = Array(repeating: 0, count: 64)

    var count: Int { records.count - 1 }

    subscript(number: LeadNumber) -> LeadRecord {
        _read { yield records[number.index] }
        _modify { yield &records[number.index] }
    }

    /// `none` for a lead that was never captured.
    func number(of key: RoutingKey) -> LeadNumber {
        var slot = Int(truncatingIfNeeded: key.low) & (slots.count - 1)
        while slots[slot] != 0 {
            if records[Int(slots[slot])].key == key { return LeadNumber(rawValue: slots[slot]) }
            slot = (slot + 1) & (slots.count - 1)
        }
        return .none
    }

    /// The lead must not be there.
    mutating func add(_ record: LeadRecord) -> LeadNumber {
        if records.count * 4 > slots.count * 3 { grow() }
        let number = UInt32(records.count)
        records.append(record)
        fill(record.key, number)
        return LeadNumber(rawValue: number)
    }

    private mutating func fill(_ key: RoutingKey, _ number: UInt32) {
        var slot = Int(truncatingIfNeeded: key.low) & (slots.count - 1)
        while slots[slot] != 0 { slot = (slot + 1) & (slots.count - 1) }
        slots[slot] = number
    }

    private mutating func grow() {
        slots = Array(repeating: 0, count: slots.count * 2)
        for number in 1..<records.count { fill(records[number].key, UInt32(number)) }
    }
}
