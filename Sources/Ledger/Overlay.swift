import CLeafHash
import Synchronization

/// What the index will need of an event, and what the overlay knows of it.
struct TailEvent {
    var key: StreamKey
    var name: NameHash
    /// The position of the stream's first event.
    var first: Position
    var version: StreamVersion
    /// The stream's state after it.
    var state: UInt64
    /// The position of the stream's event before it; `none` for its first.
    var previous: UInt64
    // What the lifecycle is asked with.
    var type: UInt8
    var variant: UInt8
    var isBackfill: Bool

    static let none = UInt64.max

    /// Its stream's row after it.
    @inline(__always)
    func row(at position: UInt64) -> StreamRow {
        StreamRow(first: first, last: Position(rawValue: position), version: version, state: state)
    }
}

/// The newest events of the log, in memory: all that the index may not know yet.
///
/// The index follows the log by up to some seconds. A look-up in an index snapshot plus a look-up here together see
/// every event, as long as the snapshot's progress is not below this overlay's floor:
///
/// ```
///   0 ............................ floor ............ progress ............ end
///   [ the index, at its last but one commit ]
///   [ the index now                                 ]
///                                  [ the overlay                           ]
/// ```
///
/// So a snapshot taken before the newest index commit still does. Where one is older yet, its look-ups are repeated.
///
/// Invariants:
/// - O1: it holds exactly the events `floor..<end`, all of them committed.
/// - O2: in `tables` is each event in `floor..<end` by its name, the newest of each stream that has one there, and those whose version
///   is marked (`EventTables`), and no other.
/// - O3: `floor` is at most what the index had taken in at its last but one commit (`trimTarget`).
/// - O4: only the thread that appends (A5) changes it, and does so under the lock. So that thread reads without the lock, and
///   every other one with it; but for the events below `end` and from the index's progress on, which stay as they are
///   until the index has moved on twice, and which the follower therefore reads without it.
///
/// A hot stream costs no more than others: each event is one slot of a table, taken out again when it is trimmed.
// Sendable: O4.
final class Overlay: @unchecked Sendable {
    private let lock = Mutex(())
    private var tables = EventTables()
    private var tail: Tail
    /// The same events, for the follower, who reads beside the appender's changes of `tail` (O4).
    private let followed: Tail.Events
    private var floorPosition: UInt64
    private let published: Atomic<UInt64>
    /// Below this the events are no longer needed (O3). The follower moves it.
    let trimTarget: Atomic<UInt64>

    /// An empty one that begins at `floor`, and will hold at most `eventsMax` events and a group.
    init(floor: UInt64, eventsMax: Int) {
        tail = Tail(eventsMax: eventsMax)
        followed = tail.events
        floorPosition = floor
        published = Atomic(floor)
        trimTarget = Atomic(floor)
    }

    deinit { tail.free() }

    /// The end of what is committed and answered. Any thread.
    var end: UInt64 { published.load(ordering: .acquiring) }

    // MARK: The thread that appends

    var floor: UInt64 { floorPosition }
    var count: Int { Int(end - floorPosition) }

    @inline(__always)
    func fetch(_ key: StreamKey, _ name: NameHash) { tables.fetch(key, name) }

    /// Has the newest event of a stream fetched, once what the tables hold of it was.
    @inline(__always)
    func fetchNewest(of key: StreamKey) {
        if let position = tables.likelyPosition(of: key, from: floorPosition) { tail.fetch(position) }
    }

    /// How many events before one is looked at it is fetched, and how many before it what the tables then lead to: some hundreds of
    /// nanoseconds each. By taste.
    static let fetchedAhead = 12
    static let newestFetchedAhead = 6

    @inline(__always)
    func row(of key: StreamKey) -> StreamRow? { tables.row(of: key, from: floorPosition) { tail[$0] } }

    /// A row that the index has of a stream which has none here: its newest event is before the floor, or the index lies (O2).
    @inline(__always)
    func checked(_ row: StreamRow?) throws(LedgerError) -> StreamRow? {
        guard let row, row.last.rawValue >= floorPosition else { return row }
        throw .corruption("the index says an event is a stream's newest that is none of it", at: row.last.rawValue)
    }

    /// Lends each position in the tail whose event has this name's hash, until `body` returns true for one.
    @inline(__always)
    func firstPosition<E: Error>(
        of key: StreamKey, _ name: NameHash, where body: (UInt64) throws(E) -> Bool
    ) throws(E) -> UInt64? {
        try tables.firstPosition(of: key, name, from: floorPosition, { tail[$0] }, where: body)
    }

    /// See `EventTables.markedPosition`.
    func markedPosition(of key: StreamKey, _ version: UInt64) -> UInt64? { tables.markedPosition(of: key, version) }

    /// An event at `floor..<end`.
    func event(at position: UInt64) -> TailEvent {
        precondition(floorPosition <= position && position < end, "not in the tail")
        return tail[position]
    }

    /// Takes in what was committed, and announces the new end.
    func join(_ events: ContiguousArray<TailEvent>) {
        lock.withLock { _ in
            var position = published.load(ordering: .relaxed)
            for (index, event) in events.enumerated() {
                // Settling had them fetched, but a commit is between.
                let ahead = index + Self.fetchedAhead
                if ahead < events.count { fetch(events[ahead].key, events[ahead].name) }
                tail.append(event, at: position)
                tables.add(event, at: position, from: floorPosition)
                position += 1
            }
            published.store(position, ordering: .releasing)
        }
    }

    /// Forgets at most `budget` events that are no longer needed: a few after each group cost less than many at once.
    func trim(budget: Int) {
        let target = min(trimTarget.load(ordering: .acquiring), floorPosition + UInt64(budget))
        guard floorPosition < target else { return }
        lock.withLock { _ in
            while floorPosition < target {
                let ahead = floorPosition + UInt64(Self.fetchedAhead)
                if ahead < target { fetch(tail[ahead].key, tail[ahead].name) }
                let event = tail[floorPosition]
                tables.removeFirst(event, at: floorPosition)
                floorPosition += 1
                tail.forget(below: floorPosition)
            }
        }
    }

    // MARK: Other threads

    var countSeen: Int { lock.withLock { _ in Int(end - floorPosition) } }

    /// The newest row of a stream and the floor, as of one moment.
    func currentRow(of key: StreamKey) -> (row: StreamRow?, floor: UInt64) {
        lock.withLock { _ in (row(of: key), floorPosition) }
    }

    /// Walks back along a stream from its event at `position`, at most `limit` events, while `body` returns true.
    /// - Returns: the position to go on from; nil when `body` ended it or the stream did; `none` when the tail ended.
    func walkBack(from position: UInt64, limit: Int, _ body: (UInt64, TailEvent) -> Bool) -> UInt64? {
        lock.withLock { _ in
            var position = position
            for _ in 0..<limit {
                guard position != TailEvent.none else { return nil }
                guard position >= floorPosition else { return TailEvent.none }
                let event = tail[position]
                guard body(position, event) else { return nil }
                position = event.previous
            }
            // The stream may begin with the very last step.
            return position == TailEvent.none ? nil : position
        }
    }

    /// Copies the events `range`, which must be at or beyond the index's progress and below `end` (O4).
    func copyEvents(_ range: Range<UInt64>, into events: inout ContiguousArray<TailEvent>) {
        events.removeAll(keepingCapacity: true)
        events.reserveCapacity(range.count)
        for position in range { events.append(followed[position]) }
    }
}

/// A ring of the newest events, in chunks, so that it takes memory for what it holds.
private struct Tail {
    private static let chunkBits = 12
    private static var chunkEvents: Int { 1 << chunkBits }
    /// Chunks kept for reuse. By taste.
    private static let sparesMax = 16

    /// Where the events lie. A constant, so that whoever may read an event (O4) reads nothing that somebody changes.
    struct Events {
        let chunks: UnsafeMutablePointer<UnsafeMutablePointer<TailEvent>?>
        let mask: Int

        @inline(__always)
        subscript(position: UInt64) -> TailEvent { place(of: position).pointee }

        @inline(__always)
        func place(of position: UInt64) -> UnsafeMutablePointer<TailEvent> {
            chunks[Int(position >> UInt64(chunkBits)) & mask].unsafelyUnwrapped + (Int(position) & (chunkEvents - 1))
        }
    }

    let events: Events
    private var chunks: UnsafeMutablePointer<UnsafeMutablePointer<TailEvent>?> { events.chunks }
    private var mask: Int { events.mask }
    private var spares: [UnsafeMutablePointer<TailEvent>] = []

    init(eventsMax: Int) {
        var capacity = 4
        while capacity * Self.chunkEvents < 2 * eventsMax + 4 * Self.chunkEvents { capacity *= 2 }
        events = Events(chunks: .allocate(capacity: capacity), mask: capacity - 1)
        chunks.initialize(repeating: nil, count: capacity)
    }

    func free() {
        for index in 0...mask { chunks[index].map(Self.free) }
        for spare in spares { Self.free(spare) }
        chunks.deallocate()
    }

    @inline(__always)
    subscript(position: UInt64) -> TailEvent { events[position] }

    @inline(__always)
    func fetch(_ position: UInt64) {
        clh_fetch(events.place(of: position), MemoryLayout<TailEvent>.stride)
    }

    @inline(__always)
    mutating func append(_ event: TailEvent, at position: UInt64) {
        let index = Int(position >> UInt64(Self.chunkBits)) & mask
        if chunks[index] == nil {
            chunks[index] = spares.popLast() ?? ZeroedMemory.allocate(TailEvent.self, count: Self.chunkEvents)
        }
        // TailEvent is trivial: no initialisation to keep apart from assignment.
        (chunks[index].unsafelyUnwrapped + (Int(position) & (Self.chunkEvents - 1))).initialize(to: event)
    }

    /// Frees the chunk that ends at `position`, if one does.
    @inline(__always)
    mutating func forget(below position: UInt64) {
        guard Int(position) & (Self.chunkEvents - 1) == 0 else { return }
        let index = Int((position - 1) >> UInt64(Self.chunkBits)) & mask
        guard let chunk = chunks[index] else { return }
        chunks[index] = nil
        if spares.count < Self.sparesMax { spares.append(chunk) } else { Self.free(chunk) }
    }

    private static func free(_ chunk: UnsafeMutablePointer<TailEvent>) { ZeroedMemory.free(chunk, count: chunkEvents) }
}
