import Glibc
import LMDB
import Synchronization

/// Has an index that was kept read into memory after a start, beside everything else.
///
/// A look-up goes to a page of an index of gigabytes, and while it is on the disk an event loop waits for it, and with the loop all whose
/// connections it has. After a start nothing of it may be in memory: the machine was down, or others have used the memory. On 10
/// million leads bursts then fell to a twentieth.
final class IndexPreload: Sendable {
    /// Read and waited for at once, so that a flush of the log finds no long queue before it: about a millisecond.
    private static let pieceBytes: UInt64 = 1 << 20
    /// An index that is more than this part of the memory there is to be had would push out what is used more. By taste.
    private static let memoryShare: UInt64 = 2

    private let isStopping = Atomic<Bool>(false)
    private let thread = Mutex<WorkerThread?>(nil)

    /// Begins it, where there is something to read and memory for it. The environment must not be closed before `stop()`.
    func start(on environment: Environment) {
        let used = environment.info.usedBytes
        guard used > Self.pieceBytes, let available = PageCache.availableBytes(), used <= available / Self.memoryShare
        else { return }
        let descriptor = environment.fileDescriptor
        // Without it the look-ups read for themselves.
        let started = try? WorkerThread.start("preload", priority: .nice(19)) { [weak self] in
            for start in stride(from: 0, to: used, by: Int(Self.pieceBytes)) {
                guard let self, !self.isStopping.load(ordering: .relaxed) else { return }
                PageCache.read(descriptor, start..<min(start + Self.pieceBytes, used))
            }
        }
        thread.withLock { $0 = started }
    }

    func stop() {
        isStopping.store(true, ordering: .relaxed)
        thread.withLock { $0.take() }?.join()
    }
}
