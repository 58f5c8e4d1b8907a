import Glibc
import LMDB
import Synchronization

/// Has the index in memory, and has it there again when others have pushed it out, beside everything else.
///
/// A look-up goes to a page of an index of gigabytes, and while it is on the disk an event loop waits for it, and with the loop all whose
/// connections it has. After a start nothing of it may be in memory: the machine was down, or others have used the memory; and read
/// models that are built beside it push it out while nobody appends. On 10 million leads bursts then fell to a twentieth.
///
/// ```
///   start            look   look   look: others took memory          look
///     |--- reads it ---|------|------|-- reads what is missing --|-----|
/// ```
final class IndexResidency: Sendable {
    /// Read and waited for at once, so that a flush of the log finds no long queue before it: about a millisecond.
    private static let pieceBytes: UInt64 = 1 << 20
    /// An index that is more than this part of the memory there is to be had would push out what is used more. By taste.
    private static let memoryShare: UInt64 = 2
    /// Nanoseconds from one look at whether something may be missing to the next. After one at which something was, the pause is twice
    /// as long as the one before, and at least four times what bringing it back took: where memory is short throughout, others get
    /// most of the disk. All by taste.
    private static let lookNanoseconds: UInt64 = 1_000_000_000
    private static let pauseNanosecondsMax: UInt64 = 30_000_000_000
    private static let pauseFactor: UInt64 = 4

    private let isStopping = Atomic<Bool>(false)
    private let doorbell = Doorbell()
    private let thread = Mutex<WorkerThread?>(nil)

    /// Begins it. The environment must not be closed before `stop()`.
    func start(on environment: Environment) {
        // Without it the look-ups read for themselves.
        let started = try? WorkerThread.start("residency", priority: .nice(19)) { self.run(on: environment) }
        thread.withLock { $0 = started }
    }

    func stop() {
        isStopping.store(true, ordering: .releasing)
        doorbell.ring()
        thread.withLock { $0.take() }?.join()
    }

    private var goesOn: Bool { !isStopping.load(ordering: .acquiring) }

    private func run(on environment: Environment) {
        var losses: UInt64?
        var pause = Self.lookNanoseconds
        while goesOn {
            // Taken before, so that what is lost meanwhile is seen at the next look.
            let now = PageCache.losses()
            if now != losses {
                losses = now
                let begun = MonotonicClock.nanoseconds()
                if bringBack(environment) {
                    pause = max(2 * pause, Self.pauseFactor * (MonotonicClock.nanoseconds() - begun))
                    pause = min(pause, Self.pauseNanosecondsMax)
                } else {
                    pause = Self.lookNanoseconds
                }
            }
            doorbell.wait(nanoseconds: pause)
        }
    }

    /// Reads what is not in memory, where there is memory for all of it.
    /// - Returns: whether there was something to read.
    private func bringBack(_ environment: Environment) -> Bool {
        let used = environment.info.usedBytes
        guard used > Self.pieceBytes, let available = PageCache.availableBytes(), used <= available / Self.memoryShare
        else { return false }
        var hasRead = false
        for start in stride(from: 0, to: used, by: Int(Self.pieceBytes)) where goesOn {
            let piece = start..<min(start + Self.pieceBytes, used)
            guard let missing = PageCache.missing(environment.fileDescriptor, in: piece) else { continue }
            PageCache.read(environment.fileDescriptor, missing)
            hasRead = true
        }
        return hasRead
    }
}
