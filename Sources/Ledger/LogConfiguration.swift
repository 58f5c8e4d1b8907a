/// What an operator, or a test, may set about the log.
package struct LogConfiguration: Sendable {
    /// Address space of the log's map, in bytes: the most it can ever hold. Sparse, so it costs nothing.
    package var logMapBytes = 4 << 40
    package var indexMapBytes = 256 << 30
    /// Bytes of file space allocated at once, ahead of what is used.
    package var spaceStepBytes = 64 << 20
    /// Bytes of it that are written ahead while nothing is appended: 900,000 events of half a kilobyte, a burst.
    package var spaceReserveBytes = 512 << 20
    /// Without an append for so long, it is quiet.
    package var spaceQuiet: Duration = .seconds(1)
    /// The index commits when so many events wait for it (at most `LedgerLimits.indexTransactionEventsMax`; each changes a page or
    /// two, which are in memory until then, beside the tail) ...
    package var indexCommitEvents = 20_000
    /// ... or when the oldest of them has waited so long, and after a rush.
    package var indexCommitInterval: Duration = .seconds(2)
    /// So many events are put in a nested transaction (`WriteTransaction.beginNested()`). Fewer only in tests.
    var indexNestedEvents = LedgerLimits.nestedEvents
    /// Whether the index follows only where nobody else wants the processor, as long as it is not far behind.
    package var indexStepsBack = true
    /// When whoever steps back stands still.
    package var rush = Rush.Bounds()
    /// Events in memory that the index has not made superfluous yet; beyond it appends are refused for a moment.
    package var tailEventsMax = 1_000_000
    /// So many that the index has not taken in, in a rush or at a start, and it is not put off any more: 840,000. What is left of the
    /// tail is for what comes while it catches up, of which the first two batches free nothing (Overlay O3).
    var tailEventsHeld: Int { max(tailEventsMax / 2, tailEventsMax - 8 * indexCommitEvents) }
    /// Units, and bytes of their records, that may wait for the appender: 16 MiB is a tenth of a second of work.
    package var queueBytesMax = 16 << 20
    package var queueUnitsMax = 65_536
    /// Events of one commit. By taste: the sync is a small part of its time by then.
    package var groupEventsMax = 16_384
    /// A unit of a client that is alone is appended by the event loop that has it, as long as the groups before took no longer than
    /// this. By taste: it does nothing else meanwhile, however long that one takes.
    package var appendAtOnceMax: Duration = .milliseconds(2)
    /// Microseconds that the clock may be behind the newest recorded-at before appends are refused.
    package var clockBehindMicrosecondsMax: Int64 = 5 * 60 * 1_000_000
    package var readerCheckInterval: Duration = .seconds(60)
    /// Tests may live on tmpfs, where nothing survives a restart.
    package var mayUseTmpfs = false
    /// The identity of a ledger that is created; random when nil.
    package var ledgerID: LedgerID?
    /// Another boot id than the system's, for tests of the STATE rule.
    package var bootID: String?
    /// Errors put in on purpose. Nil but in tests.
    package var faults: LogFaults?

    package init() {}
}

/// Errors that tests put in where the system would report them.
package struct LogFaults: Sendable {
    package enum Point: Sendable {
        /// Allocating space for a group: an `errno`.
        case space
        /// Putting a record: an LMDB code.
        case put
        /// The commit fails, and nothing of it is on the disk.
        case commit
        /// The commit fails, though all of it is on the disk.
        case commitReported
        /// The same for the index.
        case indexSpace, indexCommit
    }

    /// The code that the call at this point is to fail with; nil lets it pass.
    package var code: @Sendable (Point) -> Int32?

    package init(_ code: @escaping @Sendable (Point) -> Int32?) { self.code = code }
}
