import Glibc
package import LMDB
import Synchronization

/// Keeps disk space allocated beyond the last page of an environment, so that a full disk is a clean answer before
/// a transaction begins rather than an error from the middle of its commit, whose outcome nobody knows.
///
/// ```
/// 0 ........ used ........ | ..... allocated ahead ..... |
///            info.usedBytes ^             `allocatedEnd` ^     grows in whole steps
/// ```
///
/// LMDB writes pages only below the end of what is used plus what the transaction adds, so with
/// `ensure(bytes: worst case)` before each transaction no write needs a new block.
package final class SpaceAhead: Sendable {
    private let environment: Environment
    private let step: UInt64
    /// Up to here blocks are allocated. What is used was allocated before it was, but for what came before the first
    /// call: the few pages of the creation, among which there may be holes. So a small file is allocated from its start.
    private let allocatedEnd: Atomic<UInt64>

    /// - Parameter step: bytes to allocate at once; 64 MiB makes it one call in a hundred thousand events.
    package init(environment: Environment, step: Int = 64 << 20) {
        precondition(step > 0)
        self.environment = environment
        self.step = UInt64(step)
        let used = environment.info.usedBytes
        self.allocatedEnd = Atomic(used <= self.step ? 0 : used)
    }

    /// Makes sure that the next transaction may add `bytes`. Only the thread that writes calls this.
    ///
    /// An error that `isDiskFull` has changed nothing that matters, and a later call may succeed. Space beyond the
    /// map size is not asked for: there LMDB itself says MAP_FULL.
    package func ensure(bytes: Int) throws(FileError) {
        let info = environment.info
        let needed = min(info.usedBytes + UInt64(bytes), info.mapSize)
        let allocated = allocatedEnd.load(ordering: .relaxed)
        guard needed > allocated else { return }
        let whole = min((needed + step - 1) / step * step, info.mapSize)
        do throws(FileError) {
            try allocate(from: allocated, to: whole)
        } catch  where error.isDiskFull && whole > needed {
            // The last bytes of the disk are as good as others.
            try allocate(from: allocated, to: needed)
        }
    }

    private func allocate(from start: UInt64, to end: UInt64) throws(FileError) {
        var code: Int32
        // posix_fallocate returns its error, and changes neither what is written nor, on error, the file's length.
        repeat {
            code = posix_fallocate(environment.fileDescriptor, off_t(start), off_t(end - start))
        } while code == EINTR
        guard code == 0 else {
            throw FileError(operation: "allocate space for", path: environment.directory + "/data.mdb", code: code)
        }
        allocatedEnd.store(end, ordering: .relaxed)
    }
}
