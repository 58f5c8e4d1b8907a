import CLeafHash

/// How events that the index may not know are found, by stream and by name: those of the overlay, and those of a group.
///
/// The tables hold positions only, 8 bytes an entry, and what else there is to know is in the event itself: a table of whole rows took
/// 100 MB for a burst, was seldom in the processor's caches, and to grow it took a twentieth of the burst.
///
/// The events are those from a position on, fewer than 2^32, in order; `event` lends the one at a position.
struct EventTables: ~Copyable {
    /// The newest event of each stream.
    private var streams: PositionTable
    /// Each event.
    private var names: PositionTable
    /// Each event whose version is a multiple of `versionsApart`. An event knows the one before it in its stream and not the one behind
    /// it: so an event far from its stream's newest is reached from the next one that is marked.
    private var marks: [Mark: UInt64] = [:]

    private struct Mark: Hashable {
        var key: StreamKey
        var version: UInt64
    }

    /// By taste: few enough steps for whoever holds up a group, and mostly few marks. At most there is one for each event, where all of the
    /// tail's happen to be the 64th of their leads.
    private static let versionsApart: UInt64 = 64

    /// - Parameter capacity: slots of each table; times a power of four it is what a million events need, and not four times that.
    init(capacity: Int = 2_048) {
        streams = PositionTable(capacity: capacity)
        names = PositionTable(capacity: capacity)
    }

    /// Has what the tables hold of an event fetched. Those of the overlay are larger than the processor's caches, and waiting for
    /// memory was most of what settling took.
    @inline(__always)
    func fetch(_ key: StreamKey, _ name: NameHash) {
        streams.fetch(PositionTable.bits(key))
        names.fetch(PositionTable.bits(key, name))
    }

    /// Where a stream's newest event may be: the first of the places to look at. For whoever has it fetched.
    @inline(__always)
    func likelyPosition(of key: StreamKey, from start: UInt64) -> UInt64? {
        var walk = streams.walk(PositionTable.bits(key))
        return streams.next(&walk, from: start)
    }

    /// A stream's newest row.
    @inline(__always)
    func row(of key: StreamKey, from start: UInt64, _ event: (UInt64) -> TailEvent) -> StreamRow? {
        var walk = streams.walk(PositionTable.bits(key))
        while let position = streams.next(&walk, from: start) {
            let event = event(position)
            if event.key == key { return event.row(at: position) }
        }
        return nil
    }

    /// Lends each position whose event has this name's hash, until `body` returns true for one.
    @inline(__always)
    func firstPosition<E: Error>(
        of key: StreamKey, _ name: NameHash, from start: UInt64, _ event: (UInt64) -> TailEvent,
        where body: (UInt64) throws(E) -> Bool
    ) throws(E) -> UInt64? {
        var walk = names.walk(PositionTable.bits(key, name))
        while let position = names.next(&walk, from: start) {
            let event = event(position)
            if event.key == key, event.name == name, try body(position) { return position }
        }
        return nil
    }

    /// The first version from `version` on that is marked.
    static func markedVersion(from version: UInt64) -> UInt64 {
        (version + versionsApart - 1) / versionsApart * versionsApart
    }

    /// Where a stream's event of a version that is marked is.
    func markedPosition(of key: StreamKey, _ version: UInt64) -> UInt64? { marks[Mark(key: key, version: version)] }

    /// Takes in the next event.
    @inline(__always)
    mutating func add(_ event: TailEvent, at position: UInt64, from start: UInt64) {
        if Self.isMarked(event) { mark(event, at: position) }
        names.insert(PositionTable.bits(event.key, event.name), position: position)
        let bits = PositionTable.bits(event.key)
        if let previous = event.previous(from: start) {
            streams.move(bits, from: previous, to: position)
        } else {
            streams.insert(bits, position: position)
        }
    }

    /// Forgets the oldest event.
    @inline(__always)
    mutating func removeFirst(_ event: TailEvent, at position: UInt64) {
        remove(event, at: position)
        // There where it is the newest: then its stream has no other.
        _ = streams.remove(PositionTable.bits(event.key), position: position)
    }

    /// Takes the newest event out again.
    mutating func removeLast(_ event: TailEvent, at position: UInt64, from start: UInt64) {
        remove(event, at: position)
        let bits = PositionTable.bits(event.key)
        if let previous = event.previous(from: start) {
            streams.move(bits, from: position, to: previous)
        } else {
            _ = streams.remove(bits, position: position)
        }
    }

    /// Slots of the larger table, all of which `removeAll` clears.
    var capacity: Int { max(streams.capacity, names.capacity) }

    mutating func removeAll() {
        streams.removeAll()
        names.removeAll()
        marks.removeAll(keepingCapacity: true)
    }

    @inline(__always)
    private static func isMarked(_ event: TailEvent) -> Bool { event.version.rawValue % versionsApart == 0 }

    /// - Parameter position: nil: it goes.
    @inline(never)
    private mutating func mark(_ event: TailEvent, at position: UInt64?) {
        marks[Mark(key: event.key, version: event.version.rawValue)] = position
    }

    @inline(__always)
    private mutating func remove(_ event: TailEvent, at position: UInt64) {
        if Self.isMarked(event) { mark(event, at: nil) }
        let wasThere = names.remove(PositionTable.bits(event.key, event.name), position: position)
        precondition(wasThere, "the tables have the name of each event")
    }
}

extension TailEvent {
    /// The position of the stream's event before it, if that is not before `start`.
    @inline(__always)
    fileprivate func previous(from start: UInt64) -> UInt64? {
        previous != TailEvent.none && previous >= start ? previous : nil
    }
}

/// What an event is found by (its name, its stream) -> positions where it may be. It holds 32 bits of each, so a hit has to be
/// looked at.
///
/// Open addressing, linear probing, no allocation but to grow. What it is asked for are SHA-256 bits already, so hashing is taking some
/// of them.
struct PositionTable: ~Copyable {
    /// High half: bits of what is looked for, the lowest of them always 1. Low half: the position's low bits. 0: free.
    private var slots: UnsafeMutablePointer<UInt64>
    private var mask: Int
    private(set) var count = 0
    var capacity: Int { mask + 1 }

    init(capacity: Int) {
        precondition(capacity.nonzeroBitCount == 1)
        slots = ZeroedMemory.allocate(UInt64.self, count: capacity)
        mask = capacity - 1
    }

    deinit { ZeroedMemory.free(slots, count: capacity) }

    @inline(__always)
    static func bits(_ key: StreamKey) -> UInt32 { UInt32(truncatingIfNeeded: key.low) | 1 }

    /// Of a name. The stream counts too: many streams have an event of the same source and id.
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

    /// The next position; nil at the end. None is before `start`, nor 2^32 behind it: so its low half says which it is.
    @inline(__always)
    func next(_ walk: inout Walk, from start: UInt64) -> UInt64? {
        while slots[walk.index] != 0 {
            let slot = slots[walk.index]
            walk.index = (walk.index + 1) & mask
            guard UInt32(slot >> 32) == walk.bits else { continue }
            return start + UInt64(UInt32(truncatingIfNeeded: slot) &- UInt32(truncatingIfNeeded: start))
        }
        return nil
    }

    @inline(__always)
    mutating func insert(_ bits: UInt32, position: UInt64) {
        if (count + 1) * 2 > mask { grow() }
        place(Self.slot(bits, position))
        count += 1
    }

    @inline(__always)
    private func place(_ slot: UInt64) {
        var index = home(UInt32(slot >> 32))
        while slots[index] != 0 { index = (index + 1) & mask }
        slots[index] = slot
    }

    @inline(__always)
    private func find(_ slot: UInt64) -> Int? {
        var index = home(UInt32(slot >> 32))
        while slots[index] != slot {
            guard slots[index] != 0 else { return nil }
            index = (index + 1) & mask
        }
        return index
    }

    @inline(__always)
    private static func slot(_ bits: UInt32, _ position: UInt64) -> UInt64 {
        UInt64(bits) << 32 | position & 0xFFFF_FFFF
    }

    /// Gives an entry, which must be there, another position.
    @inline(__always)
    mutating func move(_ bits: UInt32, from before: UInt64, to position: UInt64) {
        guard let index = find(Self.slot(bits, before)) else {
            preconditionFailure("an entry that is not there cannot be moved")
        }
        slots[index] = Self.slot(bits, position)
    }

    /// Removes one entry and closes the gap in its run.
    /// - Returns: whether it was there.
    mutating func remove(_ bits: UInt32, position: UInt64) -> Bool {
        guard var gap = find(Self.slot(bits, position)) else { return false }
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
        return true
    }

    mutating func removeAll() {
        slots.update(repeating: 0, count: mask + 1)
        count = 0
    }

    /// Fourfold: all entries move, and nothing is answered meanwhile, so it is to be seldom.
    private mutating func grow() {
        let old = slots
        let oldCapacity = capacity
        slots = ZeroedMemory.allocate(UInt64.self, count: oldCapacity * 4)
        mask = oldCapacity * 4 - 1
        for index in 0..<oldCapacity where old[index] != 0 { place(old[index]) }
        ZeroedMemory.free(old, count: oldCapacity)
    }
}
