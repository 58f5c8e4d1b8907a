import Glibc
import LMDB
import Ledger
import Synchronization

/// One build of a read model: an LMDB environment of its own, with the model's tables and how far they have come.
///
/// ```
/// models/leads@1.3/       model, version, build number
/// meta   "progress" -> u64: the position the next event to apply has
///        "whole"    -> u64: the position at which the build had first caught up; from then on it answers
/// ```
///
/// Invariants:
/// - B1: rows and progress change in one transaction, and only from the progress that this object knows.
/// - B2: a build answers once it was whole; one that has not caught up yet would answer with a part of the truth.
final class ModelBuild: Sendable {
    let projection: any Projection
    let type: any Projection.Type
    let name: BuildName
    let directory: String
    let cache: CacheEnvironment
    let origin: CacheEnvironment.Origin
    let tables: [Table]
    let meta: Table
    /// What is committed.
    let progress: Atomic<UInt64>
    let isWhole: Atomic<Bool>

    static let metaName = "meta"

    /// Opens the build in `directory` by the STATE rule, or begins it anew.
    init(
        _ type: any Projection.Type, number: Int, in models: String, source: any EventSource,
        configuration: ProjectionConfiguration
    ) throws(ProjectionError) {
        let name = BuildName(model: type.name, version: type.version, number: number)
        let directory = models + "/" + name.description
        let end = source.end.rawValue
        do throws(CacheError) {
            (cache, origin) = try CacheEnvironment.open(
                directory: directory, ledgerID: source.ledgerID.description, fingerprint: type.fingerprint,
                tables: type.tableNames + [Self.metaName],
                options: Environment.Options(
                    mapSize: configuration.mapBytes, durability: .cache, mayUseTmpfs: configuration.mayUseTmpfs),
                spaceStep: configuration.spaceStepBytes, bootID: configuration.bootID
            ) { environment in
                let tables = try environment.openTables(type.tableNames + [Self.metaName])
                return try Self.number("progress", tables[tables.count - 1], in: environment.beginRead()) ?? 0 <= end
            }
            do throws(LMDBError) {
                var tables = try cache.environment.openTables(type.tableNames + [Self.metaName])
                meta = tables.removeLast()
                self.tables = tables
                let transaction = try cache.environment.beginRead()
                progress = Atomic(try Self.number("progress", meta, in: transaction) ?? 0)
                isWhole = Atomic(try Self.number("whole", meta, in: transaction) != nil)
            } catch { throw .lmdb(error) }
        } catch {
            throw ProjectionError(error, model: type.name)
        }
        self.type = type
        self.name = name
        self.directory = directory
        projection = type.init(tables: tables)
        do throws(LMDBError) { try becomeWhole(at: end) } catch { throw ProjectionError(error, model: type.name) }
    }

    /// Where there is nothing to take in, as in a new ledger, a build is whole without following.
    private func becomeWhole(at end: UInt64) throws(LMDBError) {
        let progress = progress.load(ordering: .relaxed)
        guard progress >= end, !isWhole.load(ordering: .relaxed) else { return }
        var transaction = try cache.environment.beginWrite()
        try setNumber(progress, at: "whole", in: &transaction)
        try transaction.commit()
        isWhole.store(true, ordering: .relaxed)
    }

    static func number<T: ReadingTransaction & ~Copyable>(
        _ key: StaticString, _ meta: Table, in transaction: borrowing T
    ) throws(LMDBError) -> UInt64? {
        let key = UnsafeRawBufferPointer(start: key.utf8Start, count: key.utf8CodeUnitCount)
        guard let bytes = try transaction.unsafeValue(in: meta, at: key) else { return nil }
        guard let number = bytes.bigEndianUInt64 else { throw LMDBError(code: EILSEQ, operation: .get) }
        return number
    }

    private func setNumber(_ number: UInt64, at key: StaticString, in transaction: inout WriteTransaction)
        throws(LMDBError)
    {
        let key = UnsafeRawBufferPointer(start: key.utf8Start, count: key.utf8CodeUnitCount)
        let meta = meta
        try withKey(number) { (bytes) throws(LMDBError) in try transaction.put(bytes, in: meta, at: key) }
    }

    // MARK: Following

    /// Why a batch was not taken in. Nothing of it is in the tables then.
    enum FollowError: Error {
        /// A later try may succeed: the disk or the map is full, or readers are.
        case pause(String)
        /// This event cannot be projected; all before it are.
        case badEvent(Position, String)
        /// The log is not what was stored, or cannot be read.
        case brokenLog(Position?, String)
        /// The environment cannot be believed or written any more.
        case broken(String)
    }

    struct Batch {
        var source: any EventSource
        var batches: EventBatches
        var follower: EventBatches.Follower
        var scratch: ProjectionScratch
        var eventsMax: Int
        var nestedEvents: Int
        var nanosecondsMax: UInt64
        /// The build is whole when its progress gets here.
        var wholeAt: UInt64
        var faults: ProjectionFaults?
        /// Asked after each slice: whether somebody waits for what has been applied.
        var isWanted: (UInt64) -> Bool
        /// Runs the commit: what publishes a progress must hold off what replaces the build.
        var committing: (() throws -> Void) throws -> Void
    }

    /// Takes in what the source has, within the bounds of the batch, in one transaction.
    /// - Returns: how many events that were.
    func follow(_ batch: Batch) throws(FollowError) -> Int {
        let start = progress.load(ordering: .relaxed)
        do {
            return try apply(batch, from: start, to: .max)
        } catch let error as LocatedBadEvent {
            throw takeInWhatIsGood(before: error, batch, from: start)
        } catch { throw followError(error) }
    }

    /// What comes before the first bad event is good: it is taken in, so that the answers go as far as they can. The one that was
    /// met first need not be it, since leads are not met in the order of the log.
    private func takeInWhatIsGood(before met: LocatedBadEvent, _ batch: Batch, from start: UInt64) -> FollowError {
        var first = met
        while first.position > start {
            do {
                _ = try apply(batch, from: start, to: first.position)
                break
            } catch let error as LocatedBadEvent { first = error } catch { return followError(error) }
        }
        return .badEvent(Position(rawValue: first.position), first.reason)
    }

    private func apply(_ batch: Batch, from start: UInt64, to end: UInt64) throws -> Int {
        // 1. Space for the worst case, as far as it can be told.
        let eventsMax = Int(min(UInt64(batch.eventsMax), end - start, max(batch.source.end.rawValue, start) - start))
        guard eventsMax > 0 else { return 0 }
        if let code = batch.faults?.code(.space, name.model) {
            throw LMDBError(code: code, operation: .put, context: directory)
        }
        try cache.reserveSpace(bytes: bytesAtWorst(events: eventsMax))

        // 2. The events, batch by batch.
        let environment = cache.environment
        var transaction = try environment.beginWrite()
        // B1.
        let stored = try Self.number("progress", meta, in: transaction) ?? 0
        precondition(stored == start, "another writer follows with this build")
        let deadline = MonotonicClock.nanoseconds() + batch.nanosecondsMax
        let limit = start + UInt64(eventsMax)
        var next = start
        var bytes = 0
        while next < limit,
            let events = try batch.batches.batch(at: next, with: batch.scratch.decoder, for: batch.follower)
        {
            let range = next..<min(events.end, limit)
            try events.withEvents(in: range) { run in
                let parts = run.parts(of: batch.nestedEvents)
                // What is one part needs no nested transaction.
                guard parts.count > 1 else {
                    return try projection.apply(run, with: batch.scratch, in: &transaction)
                }
                for part in parts {
                    var nested = try transaction.beginNested()
                    try projection.apply(part, with: batch.scratch, in: &nested)
                    try nested.commit()
                }
            }
            next = range.upperBound
            if let fault = events.fault, events.end < limit {
                throw LocatedBadEvent(position: events.end, reason: fault.reason)
            }
            bytes += events.recordBytes
            if bytes >= ProjectionLimits.batchBytesMax || batch.isWanted(next)
                || MonotonicClock.nanoseconds() > deadline
            {
                break
            }
        }
        guard next > start else { return 0 }

        // 3. The progress, with the rows.
        try setNumber(next, at: "progress", in: &transaction)
        let becomesWhole = !isWhole.load(ordering: .relaxed) && next >= batch.wholeAt
        if becomesWhole { try setNumber(next, at: "whole", in: &transaction) }
        if let code = batch.faults?.code(.commit, name.model) {
            throw LMDBError(code: code, operation: .commit, context: directory)
        }
        var open: WriteTransaction? = consume transaction
        try batch.committing {
            try open.take()?.commit()
            progress.store(next, ordering: .releasing)
            if becomesWhole { isWhole.store(true, ordering: .releasing) }
        }
        return Int(next - start)
    }

    private func bytesAtWorst(events: Int) -> Int {
        let info = cache.environment.info
        let touched = min(ProjectionLimits.pagesPerEvent * events, Int(info.lastPage) + 1) * Int(info.pageSize)
        // New rows hold parts of the records, and fill pages by half at worst.
        return touched + 2 * min(events * 4_096, ProjectionLimits.batchBytesMax) + 64 * Int(info.pageSize)
    }

    private func followError(_ error: any Error) -> FollowError {
        switch error {
        case let error as FollowError: return error
        case let error as LocatedBadEvent: return .badEvent(Position(rawValue: error.position), error.reason)
        case let error as FileError: return error.isDiskFull ? .pause(error.description) : .broken(error.description)
        case let error as LMDBError:
            return error.isDiskFull || error.isMapFull || error.isReadersFull
                ? .pause(error.description) : .broken(error.description)
        case let error as LedgerError:
            return error.kind == .readersFull
                ? .pause(error.description) : .brokenLog(error.position, error.description)
        default: return .broken("\(error)")
        }
    }

    // MARK: The end

    /// Has the next start begin this build anew.
    func distrust() { unlink(directory + "/STATE") }

    /// Removes the directory. Snapshots that are still open keep what they see.
    func remove() throws(FileError) { try DurableFiles.removeDirectory(directory) }
}

/// The name of a build's directory: `leads@1.3`.
package struct BuildName: Hashable, Sendable, CustomStringConvertible {
    package var model: String
    package var version: Int
    package var number: Int

    package init(model: String, version: Int, number: Int) {
        self.model = model
        self.version = version
        self.number = number
    }

    package init?(_ text: some StringProtocol) {
        let parts = text.split(separator: "@", omittingEmptySubsequences: false)
        guard parts.count == 2, !parts[0].isEmpty else { return nil }
        let numbers = parts[1].split(separator: ".", omittingEmptySubsequences: false)
        guard numbers.count == 2, let version = Int(numbers[0]), let number = Int(numbers[1]), version > 0, number > 0
        else { return nil }
        self.init(model: String(parts[0]), version: version, number: number)
        guard description == text else { return nil }
    }

    package var description: String { "\(model)@\(version).\(number)" }
}
