import CLeafHash

// The two hash tables of the overlay and of a group: open addressing, linear probing, no allocation but to grow. Their
// keys are SHA-256 bits already, so hashing is taking some of them.

/// Stream key -> newest row.
struct RowTable: ~Copyable {
    struct Slot {
        var key: StreamKey
        /// A version of 0: the slot is free.
        var row: StreamRow

        static let free = Slot(
            key: StreamKey(high: 0, low: 0), row: StreamRow(first: .zero, last: .zero, version: .zero, state: 0))
        var isFree: Bool { row.version.rawValue == 0 }
    }

    private var slots: UnsafeMutablePointer<Slot>
    private var mask: Int
    private(set) var count = 0

    init(capacity: Int = 1_024) {
        precondition(capacity.nonzeroBitCount == 1)
        slots = .allocate(capacity: capacity)
        slots.initialize(repeating: .free, count: capacity)
        mask = capacity - 1
    }

    deinit { slots.deallocate() }

    @inline(__always)
    private func home(_ key: StreamKey) -> Int { Int(truncatingIfNeeded: key.low) & mask }

    /// The slot of `key`, or the free one where it would go.
    @inline(__always)
    private func find(_ key: StreamKey) -> Int {
        var index = home(key)
        while !slots[index].isFree, slots[index].key != key { index = (index + 1) & mask }
        return index
    }

    @inline(__always)
    subscript(key: StreamKey) -> StreamRow? {
        let slot = slots[find(key)]
        return slot.isFree ? nil : slot.row
    }

    /// Has the slot of `key` fetched, for whoever asks for it soon.
    @inline(__always)
    func fetch(_ key: StreamKey) { clh_fetch(slots + home(key), MemoryLayout<Slot>.stride) }

    /// Sets the row of `key`, and gives the one before.
    @inline(__always)
    @discardableResult
    mutating func set(_ row: StreamRow, for key: StreamKey) -> StreamRow? {
        var index = find(key)
        guard slots[index].isFree else {
            let before = slots[index].row
            slots[index].row = row
            return before
        }
        if (count + 1) * 2 > mask {
            grow()
            index = find(key)
        }
        slots[index] = Slot(key: key, row: row)
        count += 1
        return nil
    }

    /// Removes the row of `key`, which must be there, and closes the gap in its run.
    mutating func remove(_ key: StreamKey) {
        var gap = find(key)
        precondition(!slots[gap].isFree, "a row that is not there cannot be removed")
        var index = (gap + 1) & mask
        while !slots[index].isFree {
            // One may move back to the gap unless its home lies between the gap and itself.
            if (index - home(slots[index].key)) & mask >= (index - gap) & mask {
                slots[gap] = slots[index]
                gap = index
            }
            index = (index + 1) & mask
        }
        slots[gap] = .free
        count -= 1
    }

    private mutating func grow() {
        let old = slots
        let oldCapacity = mask + 1
        slots = .allocate(capacity: oldCapacity * 2)
        slots.initialize(repeating: .free, count: oldCapacity * 2)
        mask = oldCapacity * 2 - 1
        for index in 0..<oldCapacity where !old[index].isFree { slots[find(old[index].key)] = old[index] }
        old.deallocate()
    }
}

/// Name of an event -> positions where it may be. It holds 32 bits of each name, so a hit has to be looked at.
struct NameTable: ~Copyable {
    /// High half: bits of the name, the lowest of them always 1. Low half: the position's low bits. 0: free.
    private var slots: UnsafeMutablePointer<UInt64>
    private var mask: Int
    private(set) var count = 0

    init(capacity: Int = 1_024) {
        precondition(capacity.nonzeroBitCount == 1)
        slots = .allocate(capacity: capacity)
        slots.initialize(repeating: 0, count: capacity)
        mask = capacity - 1
    }

    deinit { slots.deallocate() }

    /// The stream counts too: many streams have an event of the same source and id.
    @inline(__always)
    static func bits(_ key: StreamKey, _ name: NameHash) -> UInt32 {
        UInt32(truncatingIfNeeded: ((name.rest ^ key.high) &* 0x9E37_79B9_7F4A_7C15) >> 32) | 1
    }

    @inline(__always)
    private func home(_ bits: UInt32) -> Int { Int(bits >> 1) & mask }

    /// Has the first slot of `bits` fetched, for whoever asks for it soon.
    @inline(__always)
    func fetch(_ bits: UInt32) { clh_fetch(slots + home(bits), MemoryLayout<UInt64>.stride) }

    /// A walk over the positions stored for `bits`.
    struct Walk {
        fileprivate var index: Int
        fileprivate let bits: UInt32
    }

    @inline(__always)
    func walk(_ bits: UInt32) -> Walk { Walk(index: home(bits), bits: bits) }

    /// The low half of the next position; nil at the end.
    @inline(__always)
    func next(_ walk: inout Walk) -> UInt32? {
        while slots[walk.index] != 0 {
            let slot = slots[walk.index]
            walk.index = (walk.index + 1) & mask
            if UInt32(slot >> 32) == walk.bits { return UInt32(truncatingIfNeeded: slot) }
        }
        return nil
    }

    @inline(__always)
    mutating func insert(_ bits: UInt32, position: UInt64) {
        if (count + 1) * 2 > mask { grow() }
        place(UInt64(bits) << 32 | position & 0xFFFF_FFFF)
        count += 1
    }

    @inline(__always)
    private func place(_ slot: UInt64) {
        var index = home(UInt32(slot >> 32))
        while slots[index] != 0 { index = (index + 1) & mask }
        slots[index] = slot
    }

    /// Removes one entry, which must be there, and closes the gap in its run.
    mutating func remove(_ bits: UInt32, position: UInt64) {
        let wanted = UInt64(bits) << 32 | position & 0xFFFF_FFFF
        var gap = home(bits)
        while slots[gap] != wanted {
            precondition(slots[gap] != 0, "a name that is not there cannot be removed")
            gap = (gap + 1) & mask
        }
        var index = (gap + 1) & mask
        while slots[index] != 0 {
            if (index - home(UInt32(slots[index] >> 32))) & mask >= (index - gap) & mask {
                slots[gap] = slots[index]
                gap = index
            }
            index = (index + 1) & mask
        }
        slots[gap] = 0
        count -= 1
    }

    private mutating func grow() {
        let old = slots
        let oldCapacity = mask + 1
        slots = .allocate(capacity: oldCapacity * 2)
        slots.initialize(repeating: 0, count: oldCapacity * 2)
        mask = oldCapacity * 2 - 1
        for index in 0..<oldCapacity where old[index] != 0 { place(old[index]) }
        old.deallocate()
    }
}
