import Synchronization

/// The units that wait for the appender: bounded by bytes and by count, first come, first served. One thread waits for them.
final class AppendQueue: Sendable {
    private struct State {
        var batches: [UnitBatch] = []
        var units = 0
        var bytes = 0
        /// Events and register writes.
        var writes = 0
        var isWaiting = false
        var isClosed = false
        /// Who was told that there was no room.
        var turnedAway: [any AppendReplySink] = []

        mutating func append(_ batch: UnitBatch) {
            batches.append(batch)
            count(batch, 1)
        }

        mutating func takeFirst(writesMax: Int, bytesMax: Int) -> [UnitBatch] {
            var taken: [UnitBatch] = []
            var (writes, bytes) = (0, 0)
            while !batches.isEmpty, writes < writesMax, bytes < bytesMax {
                let batch: UnitBatch
                if batches[0].writes <= writesMax - writes, batches[0].bytes <= bytesMax - bytes {
                    batch = batches.removeFirst()
                } else {
                    batch = batches[0].takeFirst(writesMax: writesMax - writes, bytesMax: bytesMax - bytes)
                    if batches[0].units.isEmpty { batches.removeFirst() }
                }
                writes += batch.writes
                bytes += batch.bytes
                count(batch, -1)
                taken.append(batch)
            }
            return taken
        }

        private mutating func count(_ batch: UnitBatch, _ sign: Int) {
            units += sign * batch.units.count
            bytes += sign * batch.bytes
            writes += sign * batch.writes
        }
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
            var (accepted, bytes) = (0, state.bytes)
            guard !state.isClosed else { return (0, false) }
            for unit in units {
                bytes += unit.byteCount
                guard state.units + accepted == 0 || (bytes <= bytesMax && state.units + accepted < unitsMax) else {
                    break
                }
                accepted += 1
            }
            for batch in UnitBatch.batches(of: units.prefix(accepted)) { state.append(batch) }
            defer { if accepted > 0 { state.isWaiting = false } }
            return (accepted, accepted > 0 && state.isWaiting)
        }
        if mustRing { doorbell.ring() }
        return accepted
    }

    /// As above, and removes those that were queued from `units`. Where all are of one sink, and there is room, which is usual, the whole
    /// array changes hands.
    func submit(removingFrom units: inout [AppendUnit]) {
        var batch = UnitBatch(units)
        if let batch {
            var mustRing = false
            let isTaken = state.withLock { state in
                guard !state.isClosed, state.bytes + batch.bytes <= bytesMax, state.units + units.count <= unitsMax
                else { return false }
                state.append(batch)
                swap(&mustRing, &state.isWaiting)
                return true
            }
            if mustRing { doorbell.ring() }
            if isTaken { return units = [] }
        }
        batch = nil
        units.removeFirst(submit(units))
    }

    /// Asks for `queueHasRoom()` once, when the appender has taken units; at once if there is room already. A closed
    /// queue has none any more, and never says so.
    func whenRoom(_ sink: any AppendReplySink) {
        let hasRoom = state.withLock { state in
            if state.isClosed { return false }
            if state.batches.isEmpty { return true }
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
                guard state.batches.isEmpty else { return false }
                state.isWaiting = true
                return state.isClosed ? true : nil
            }
            if let isOver { return !isOver }
            doorbell.wait()
        }
    }

    /// Takes what waits, at most `eventsMax` events and register writes or `bytesMax` bytes and a unit, into `group`.
    /// - Returns: false when there was nothing.
    func take(eventsMax: Int = .max, bytesMax: Int = .max, into group: inout UnitGroup) -> Bool {
        var taken: [UnitBatch] = []
        var turnedAway: [any AppendReplySink] = []
        state.withLock { state in
            if state.writes <= eventsMax, state.bytes <= bytesMax {
                swap(&taken, &state.batches)
                (state.units, state.bytes, state.writes) = (0, 0, 0)
            } else {
                taken = state.takeFirst(writesMax: eventsMax, bytesMax: bytesMax)
            }
            swap(&turnedAway, &state.turnedAway)
        }
        for sink in turnedAway { sink.queueHasRoom() }
        group.set(taken)
        return !group.isEmpty
    }

    /// Whether nothing waits, and something might.
    var isIdle: Bool { state.withLock { $0.batches.isEmpty && !$0.isClosed } }

    /// Takes no more units; what waits is still appended.
    func close() {
        state.withLock { $0.isClosed = true }
        doorbell.ring()
    }

    var load: (units: Int, bytes: Int) { state.withLock { ($0.units, $0.bytes) } }
}
