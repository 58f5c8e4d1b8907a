import Ledger
import Synchronization

/// The batches that the workers of all read models share: each stretch of the log is read, checked against its leaf hashes and
/// decoded once, by the worker that comes to it first.
///
/// ```
///            [ 0 ..< 10000 ) [ 10000 ..< 20000 ) [ 20000 ..< 20417 )  the newest
///                 ^ funnel        ^ leads   ^ queue
/// ```
///
/// Workers that are near each other stay so: left alone, the model with the least to do would run ahead, and each would read for
/// itself just when there is most to read. So who is ahead waits, a little, for who is behind (`isAhead(_:)`). A worker that is far
/// behind makes batches that nobody else wants, and which soon make way. Bounded: `ProjectionLimits.batchesKept` batches, the newest.
final class EventBatches: Sendable {
    private let source: any EventSource
    private let eventsMax: Int

    /// A batch that is there, or is being made by whoever holds its lock.
    private final class Slot: Sendable {
        let start: UInt64
        let batch = Mutex<EventBatch?>(nil)

        init(start: UInt64) { self.start = start }
    }

    private struct Entry {
        var slot: Slot
        /// Nil while it is being made.
        var batch: EventBatch?
    }

    /// A worker, as the others see it.
    final class Follower: Sendable {
        /// The position it has come to.
        let position = Atomic<UInt64>(0)
        /// Whether its build answers.
        let answers = Atomic<Bool>(false)
        /// False while it sleeps, is paused, or has ended: nobody waits for it.
        let isMoving = Atomic<Bool>(false)
        /// Its thread, from its start until it is joined.
        let thread = Mutex<WorkerThread?>(nil)

        func comeForward() { thread.withLock { $0 }?.comeForward() }

        /// Whether it does not step back, or has come forward.
        var isForward: Bool { thread.withLock { $0 }?.isForward ?? true }
    }

    private let followers = Mutex<[Follower]>([])

    /// In the order in which they were begun, which is that in which they make way: by last use, a worker that is behind would push
    /// out just those that it comes to next.
    private let entries = Mutex<[Entry]>([])

    /// - Parameter eventsMax: events of a batch at most.
    init(source: any EventSource, eventsMax: Int) {
        self.source = source
        self.eventsMax = max(1, min(eventsMax, ProjectionLimits.commitEventsMax))
    }

    // MARK: Staying together

    func join(_ follower: Follower) { followers.withLock { $0.append(follower) } }

    func leave(_ follower: Follower) { followers.withLock { $0.removeAll { $0 === follower } } }

    /// Whether somebody who goes the same way is about to lose sight of this one. What answers does not wait for a build in the
    /// making.
    func isAhead(_ follower: Follower) -> Bool {
        let position = follower.position.load(ordering: .relaxed)
        let answers = follower.answers.load(ordering: .relaxed)
        let near = UInt64(eventsMax)
        let far = near * UInt64(ProjectionLimits.batchesKept)
        return followers.withLock { followers in
            followers.contains { other in
                let otherPosition = other.position.load(ordering: .relaxed)
                return otherPosition < position && (near + 1...far).contains(position - otherPosition)
                    && other.isMoving.load(ordering: .relaxed)
                    && (!answers || other.answers.load(ordering: .relaxed))
            }
        }
    }

    /// Has a worker run as others do, and those that are on their way with it: it waits for what one of them reads.
    ///
    /// It waits for nobody, since the appender calls: where the others cannot be seen, they are called by the worker itself, before it
    /// waits for them.
    func callForward(_ follower: Follower) {
        follower.comeForward()
        for other in followers.withLockIfAvailable({ $0 }) ?? []
        where other !== follower && other.isMoving.load(ordering: .relaxed) {
            other.comeForward()
        }
    }

    // MARK: Reading

    /// A batch to go on with at `position`, which may begin before it; nil where the log ends there.
    ///
    /// - Parameters:
    ///   - decoder: the calling thread's, for a batch that has to be made.
    ///   - follower: whose thread that is.
    /// - Throws: what the source throws.
    func batch(at position: UInt64, with decoder: EventDecoder, for follower: Follower) throws -> EventBatch? {
        // 1. There already, or begun by somebody; else begun here.
        let (found, slot) = entries.withLock { entries -> (EventBatch?, Slot) in
            let index = entries.lastIndex {
                $0.batch.map { $0.continues(at: position) } ?? ($0.slot.start == position)
            }
            if let index { return (entries[index].batch, entries[index].slot) }
            let slot = Slot(start: position)
            if entries.count >= ProjectionLimits.batchesKept { entries.removeFirst() }
            entries.append(Entry(slot: slot))
            return (nil, slot)
        }
        if let found { return found }

        // 2. Who comes first makes it, and the others wait for the lock. Who has come forward does not wait for one that has not.
        if follower.isForward { callForward(follower) }
        let batch: EventBatch?
        do {
            batch = try slot.batch.withLock { batch in
                if batch == nil { batch = try decoder.decode(from: position, limit: eventsMax, of: source) }
                return batch
            }
        } catch {
            settle(slot, as: nil)
            throw error
        }
        settle(slot, as: batch)
        return batch
    }

    /// What came to nothing makes way: the next one to ask tries again.
    private func settle(_ slot: Slot, as batch: EventBatch?) {
        entries.withLock { entries in
            guard let index = entries.firstIndex(where: { $0.slot === slot }) else { return }
            if let batch { entries[index].batch = batch } else { entries.remove(at: index) }
        }
    }
}
