package import Ledger

/// The bounds that the projections keep, with their units and reasons. Those an operator may set are in
/// ``ProjectionConfiguration``.
package enum ProjectionLimits {
    /// Events of one transaction of a model: each dirties a few pages, and LMDB spills beyond 131,071.
    package static let commitEventsMax = 10_000
    /// Bytes of records of one transaction, for the same reason where events are large.
    static let batchBytesMax = 16 << 20
    /// Decoded batches kept for the workers that come to them later. Each has at most the bytes of its records, about 2 MB as a
    /// rule: enough for the fastest model to be 40,000 events ahead of the slowest. By taste.
    static let batchesKept = 5
    /// Nanoseconds that a worker waits at most, before each batch, for one that is behind and would need the same events, and
    /// between two looks. A batch takes some tens of milliseconds where there is a processor for it.
    static let companyNanosecondsMax: UInt64 = 200_000_000
    static let companyStepNanoseconds: UInt64 = 2_000_000
    /// Pages an event may change at worst: a row and its overflow page, a touch, a win. Beyond it, as everywhere in a cache, a full
    /// disk costs a rebuild and nothing else.
    static let pagesPerEvent = 4
    /// Nanoseconds before a model whose disk is full, or whose reading was refused, tries again.
    static let pauseNanoseconds: UInt64 = 1_000_000_000
    /// Nanoseconds that a worker with nothing to do sleeps at most. It is woken by the log; this is for the day it is not.
    static let sleepNanoseconds: UInt64 = 5_000_000_000
    /// Of a model that steps back. Called forward it gets three times what another thread gets: the two dearest models, with a thread
    /// each, fell behind two loops and an appender at equal shares (61,612 events/s, and 4.6 s after two minutes; 72,927 and 0.8 s
    /// with this share).
    package static let steppingBack = WorkerThread.Priority.steppingBack(forward: -5, otherwise: .idle)
    /// Nanoseconds that a model which steps back may be behind: longer than a burst of a million events takes.
    static let calmNanoseconds: UInt64 = 10_000_000_000
    /// The same where it was behind for that long not long ago: an age is known to the half of it, and it takes a while to catch up,
    /// so that it stays below two seconds.
    static let alertNanoseconds: UInt64 = 400_000_000
    /// Nanoseconds without being overdue after which it may be behind for long again. By taste: longer than the first of the two, so
    /// that a load with pauses is one load.
    static let calmsAfterNanoseconds: UInt64 = 20_000_000_000
    /// Nanoseconds between two looks of the appender, for which it takes a lock, at whether a model is overdue.
    static let overdueLookNanoseconds: UInt64 = 50_000_000
    /// Differences that a comparison reports for one table. By taste: enough to see a pattern.
    static let differencesMax = 10
}

/// What an operator, or a test, may set about the read models.
package struct ProjectionConfiguration: Sendable {
    /// Address space of the map of each build, in bytes. Sparse, so it costs nothing.
    package var mapBytes = 256 << 30
    /// Bytes of file space allocated at once, ahead of what is used.
    package var spaceStepBytes = 64 << 20
    /// A model commits when so many events wait for it (at most `ProjectionLimits.commitEventsMax`) ...
    package var commitEvents = ProjectionLimits.commitEventsMax
    /// ... or when the oldest of them has waited so long, or at once when somebody waits.
    package var commitInterval: Duration = .milliseconds(200)
    /// So many events are taken in by a nested transaction (`WriteTransaction.beginNested()`). Fewer only in tests.
    var nestedEvents = LedgerLimits.nestedEvents
    /// Whether there are read models at all. Without, what is in `DATA/models` stays as it is, to be gone on with another time.
    package var hasModels = true
    /// Of the threads that follow. Stepping back costs an append least: with a share of a tenth for each, a burst took a fifth longer.
    /// On a machine that other programs keep busy a model stands still then, until somebody waits for it or it is overdue; where it
    /// may not be called forward, for longer.
    package var priority = ProjectionLimits.steppingBack
    /// How long it is behind before it is called forward. Another only in tests.
    var patience = Patience.Bounds()
    package var mayUseTmpfs = false
    /// Another boot id than the system's, for tests of the STATE rule.
    package var bootID: String?
    /// Errors put in on purpose. Nil but in tests.
    package var faults: ProjectionFaults?

    package init() {}
}

/// Errors that tests put in where the system would report them.
package struct ProjectionFaults: Sendable {
    package enum Point: Sendable {
        /// Allocating space for a transaction: an `errno`.
        case space
        /// Committing it: an LMDB code.
        case commit
    }

    /// The code that the call at this point is to fail with; nil lets it pass.
    package var code: @Sendable (_ point: Point, _ model: String) -> Int32?

    package init(_ code: @escaping @Sendable (_ point: Point, _ model: String) -> Int32?) { self.code = code }
}
