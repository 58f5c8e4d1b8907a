import Synchronization

/// The units that wait for the appender: bounded by bytes and by count, first come, first served. One thread waits for them.
final class AppendQueue: Sendable {
    private struct State {
        var units: [AppendUnit] = []
        var bytes = 0
        /// Events and register writes.
        var writes = 0
        var isWaiting = false
        var isClosed = false
        /// Who was told that there was no room.
        var turnedAway: [any AppendReplySink] = []
    }

    private let state = Mutex(State())
    private let doorbell = Doorbell()
    private let bytesMax: Int
    private let unitsMax: Int

    init(bytesMax: Int, unitsMax: Int) {
        self.bytesMax = bytesMax
        self.unitsMax = unitsMax
    }

    /// Queues the first units that fit, and says how many. A unit alone always fits.
    func submit(_ units: some Collection<AppendUnit>) -> Int {
        let (accepted, mustRing) = state.withLock { state in
            var accepted = 0
            guard !state.isClosed else { return (0, false) }
            for unit in units {
                let bytes = unit.byteCount
                guard state.units.isEmpty || (state.bytes + bytes <= bytesMax && state.units.count < unitsMax) else {
                    break
                }
                state.units.append(unit)
                state.bytes += bytes
                state.writes += unit.writeCount
                accepted += 1
            }
            defer { if accepted > 0 { state.isWaiting = false } }
            return (accepted, accepted > 0 && state.isWaiting)
        }
        if mustRing { doorbell.ring() }
        return accepted
    }

    /// As above, and removes those that were queued from `units`. Where nothing waits, which is usual, the whole array changes
    /// hands, and the references of its units are not counted.
    func submit(removingFrom units: inout [AppendUnit]) {
        var (bytes, writes) = (0, 0)
        units.lend { unit in
            bytes += unit.byteCount
            writes += unit.writeCount
        }
        var mustRing = false
        let isTaken = state.withLock { state in
            guard !state.isClosed, state.units.isEmpty, bytes <= bytesMax, units.count <= unitsMax else { return false }
            swap(&units, &state.units)
            (state.bytes, state.writes) = (bytes, writes)
            swap(&mustRing, &state.isWaiting)
            return true
        }
        if isTaken {
            if mustRing { doorbell.ring() }
        } else {
            let accepted = submit(units)
            if accepted == units.count { units.removeAll(keepingCapacity: true) } else { units.removeFirst(accepted) }
        }
    }

    /// Asks for `queueHasRoom()` once, when the appender has taken units; at once if there is room already. A closed
    /// queue has none any more, and never says so.
    func whenRoom(_ sink: any AppendReplySink) {
        let hasRoom = state.withLock { state in
            if state.isClosed { return false }
            if state.units.isEmpty { return true }
            if !state.turnedAway.contains(where: { $0 === sink }) { state.turnedAway.append(sink) }
            return false
        }
        if hasRoom { sink.queueHasRoom() }
    }

    /// Waits until there is something to take.
    /// - Returns: false when the queue is closed and empty.
    func waitForUnits() -> Bool {
        while true {
            let isOver: Bool? = state.withLock { state in
                guard state.units.isEmpty else { return false }
                state.isWaiting = true
                return state.isClosed ? true : nil
            }
            if let isOver { return !isOver }
            doorbell.wait()
        }
    }

    /// Takes what waits, at most `eventsMax` events and register writes or `bytesMax` bytes and a unit, into `units`.
    /// - Returns: false when there was nothing.
    func take(eventsMax: Int = .max, bytesMax: Int = .max, into units: inout [AppendUnit]) -> Bool {
        units.removeAll(keepingCapacity: true)
        var turnedAway: [any AppendReplySink] = []
        state.withLock { state in
            if state.writes <= eventsMax, state.bytes <= bytesMax {
                // Usual. The units lie in the caches of other processors: who holds the lock does not look at them. The emptied array
                // goes back in place of the full one: neither is allocated again.
                swap(&units, &state.units)
                (state.bytes, state.writes) = (0, 0)
            } else {
                var (count, bytes, writes) = (0, 0, 0)
                while count < state.units.count, writes < eventsMax, bytes < bytesMax {
                    writes += state.units[count].writeCount
                    bytes += state.units[count].byteCount
                    count += 1
                }
                units.append(contentsOf: state.units[..<count])
                state.units.removeFirst(count)
                state.bytes -= bytes
                state.writes -= writes
            }
            swap(&turnedAway, &state.turnedAway)
        }
        for sink in turnedAway { sink.queueHasRoom() }
        return !units.isEmpty
    }

    /// Whether nothing waits, and something might.
    var isIdle: Bool { state.withLock { $0.units.isEmpty && !$0.isClosed } }

    /// Takes no more units; what waits is still appended.
    func close() {
        state.withLock { $0.isClosed = true }
        doorbell.ring()
    }

    var load: (units: Int, bytes: Int) { state.withLock { ($0.units.count, $0.bytes) } }
}
