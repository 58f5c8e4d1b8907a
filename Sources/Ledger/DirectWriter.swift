import CAIO
import Glibc
import LMDB

/// Writes to a file past the page cache, one write at a time, and keeps no other writer of the file waiting meanwhile.
///
/// A plain `pwrite` with O_DIRECT holds the file until the device is done, and whoever else writes to it waits: half a millisecond a
/// commit. One that is handed to the kernel (`io_submit`) lets the file go as soon as it is on its way to the device.
struct DirectWriter: ~Copyable {
    /// Start, length and memory of a write are multiples of this.
    static let alignment = 4_096
    /// O_DIRECT, which Swift's Glibc does not show.
    #if arch(arm64)
        private static let direct: Int32 = 0o200000
    #else
        private static let direct: Int32 = 0o40000
    #endif

    private let descriptor: Int32
    private let context: io_context_t

    /// - Parameter identity: which file it must be: by now another one may have the path.
    /// - Returns: nil where it is not, or where the kernel or the file system has no such writes.
    static func open(path: String, as identity: FileIdentity) -> DirectWriter? {
        let descriptor = Glibc.open(path, O_WRONLY | O_CLOEXEC | direct)
        guard descriptor >= 0 else { return nil }
        var context: io_context_t?
        guard FileIdentity(descriptor: descriptor) == identity, io_setup(1, &context) == 0, let context else {
            close(descriptor)
            return nil
        }
        return DirectWriter(descriptor: descriptor, context: context)
    }

    private init(descriptor: Int32, context: io_context_t) {
        self.descriptor = descriptor
        self.context = context
    }

    deinit {
        io_destroy(context)
        close(descriptor)
    }

    /// Writes, and waits until the device has it in its hands.
    /// - Returns: how many bytes were written; nil on an error.
    func write(_ bytes: UnsafeMutableRawBufferPointer, at offset: UInt64) -> Int? {
        var request = iocb()
        io_prep_pwrite(&request, descriptor, bytes.baseAddress, bytes.count, Int64(offset))
        let isSubmitted = withUnsafeMutablePointer(to: &request) { request in
            var requests: UnsafeMutablePointer<iocb>? = request
            var result: Int32
            repeat { result = io_submit(context, 1, &requests) } while result == -EINTR
            return result == 1
        }
        guard isSubmitted else { return nil }
        var event = io_event()
        var result: Int32
        repeat { result = io_getevents(context, 1, 1, &event, nil) } while result == -EINTR
        // It is done, or its context is: `io_destroy` waits for it, and until then its memory must stay.
        precondition(result == 1, "the kernel lost a write")
        let written = Int(bitPattern: event.res)
        return written >= 0 ? written : nil
    }
}
