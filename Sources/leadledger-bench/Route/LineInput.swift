import Glibc

/// What comes in on a connection that does not block, by lines.
final class LineInput {
    private let descriptor: Int32
    private let buffer: UnsafeMutableRawPointer
    private let bytesMax: Int
    private var count = 0

    /// - Parameter lineBytesMax: a longer line ends the benchmark.
    init(descriptor: Int32, lineBytesMax: Int) {
        self.descriptor = descriptor
        bytesMax = lineBytesMax
        buffer = .allocate(byteCount: lineBytesMax, alignment: 64)
    }

    deinit { buffer.deallocate() }

    /// Reads what is there, and lends each whole line without its newline.
    func read(_ body: (UnsafeRawBufferPointer) throws(BenchError) -> Void) throws(BenchError) {
        while true {
            let read = Glibc.read(descriptor, buffer + count, bytesMax - count)
            if read < 0 {
                if errno == EAGAIN { return }
                if errno == EINTR { continue }
                throw .system("read from the daemon")
            }
            guard read > 0 else { throw BenchError("the daemon closed a connection") }
            let wasFull = count + read == bytesMax
            count += read
            var start = 0
            while let newline = memchr(buffer + start, 0x0A, count - start) {
                let end = UnsafeRawPointer(newline) - UnsafeRawPointer(buffer)
                try body(UnsafeRawBufferPointer(start: buffer + start, count: end - start))
                start = end + 1
            }
            if start > 0 {
                count -= start
                memmove(buffer, buffer + start, count)
            }
            guard count < bytesMax else { throw BenchError("a line is longer than \(bytesMax) bytes") }
            // Less than there was room for: the socket is empty.
            if !wasFull { return }
        }
    }
}
