/// The events of the group that is being settled, which nobody else sees yet.
struct StagedGroup: ~Copyable {
    private(set) var start: UInt64 = 0
    private(set) var events: ContiguousArray<TailEvent> = []
    /// Small, so that those of a usual group fit the processor's near caches.
    private var tables = EventTables(capacity: capacity)

    private static let capacity = 1 << 13
    /// Slots that are cleared in the time that it takes to take one event out. By taste.
    private static let slotsAnEvent = 128

    var isEmpty: Bool { events.isEmpty }
    var count: Int { events.count }
    var end: UInt64 { start + UInt64(events.count) }

    /// Its first event will be at `start`.
    mutating func begin(at start: UInt64) {
        precondition(events.isEmpty, "the group before was settled")
        self.start = start
    }

    /// An event at `start..<end`.
    @inline(__always)
    func event(at position: UInt64) -> TailEvent { events[Int(position - start)] }

    @inline(__always)
    func fetch(_ key: StreamKey, _ name: NameHash) { tables.fetch(key, name) }

    @inline(__always)
    func row(of key: StreamKey) -> StreamRow? { tables.row(of: key, from: start) { event(at: $0) } }

    /// See `Overlay.firstPosition`.
    @inline(__always)
    func firstPosition<E: Error>(
        of key: StreamKey, _ name: NameHash, where body: (UInt64) throws(E) -> Bool
    ) throws(E) -> UInt64? {
        try tables.firstPosition(of: key, name, from: start, { event(at: $0) }, where: body)
    }

    /// See `EventTables.markedPosition`.
    func markedPosition(of key: StreamKey, _ version: UInt64) -> UInt64? { tables.markedPosition(of: key, version) }

    /// Takes in an event, for the position `end`.
    @inline(__always)
    mutating func stage(_ event: TailEvent) {
        tables.add(event, at: end, from: start)
        events.append(event)
    }

    /// Takes back all events but the first `kept`.
    mutating func takeBack(keeping kept: Int) {
        while events.count > kept, let event = events.popLast() { tables.removeLast(event, at: end, from: start) }
    }

    mutating func removeAll() {
        // A large group has left large tables, and those behind it are small again.
        if events.count <= tables.capacity / Self.slotsAnEvent { return takeBack(keeping: 0) }
        tables.removeAll()
        events.removeAll(keepingCapacity: true)
    }
}
