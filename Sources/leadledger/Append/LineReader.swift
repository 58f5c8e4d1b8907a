import Glibc

/// Lines of a file or of stdin, without their newline, in chunks: what was read is handed out before the next read waits.
struct LineReader: ~Copyable {
    let descriptor: Int32
    /// The number of the line that was handed out last, from 1.
    private(set) var number = 0
    private var buffer: [UInt8] = []
    private var start = 0
    private var searched = 0
    private var isAtEnd = false
    private let closes: Bool

    private static let chunkBytes = 256 << 10

    /// - Throws: `InputError` where there is no such file to read.
    init(path: String?) throws {
        guard let path, path != "-" else {
            descriptor = STDIN_FILENO
            closes = false
            return
        }
        descriptor = open(path, O_RDONLY | O_CLOEXEC)
        closes = true
        guard descriptor >= 0 else {
            throw InputError(exitCode: 65, "\(path): cannot be read: \(String(cString: strerror(errno)))")
        }
    }

    deinit { if closes { close(descriptor) } }

    /// The next line that is here already; nil where more must be read.
    mutating func nextBuffered() -> ArraySlice<UInt8>? {
        if let newline = buffer[searched...].firstIndex(of: UInt8(ascii: "\n")) {
            defer {
                start = newline + 1
                searched = start
            }
            number += 1
            return withoutReturn(buffer[start..<newline])
        }
        searched = buffer.count
        guard isAtEnd, start < buffer.count else { return nil }
        defer { start = buffer.count }
        number += 1
        return withoutReturn(buffer[start...])
    }

    /// Reads more, waiting for it. False at the end of the input, when all lines were handed out.
    ///
    /// - Throws: `InputError`, exit code 74.
    mutating func fill() throws -> Bool {
        guard !isAtEnd else { return start < buffer.count }
        buffer.removeFirst(start)
        searched -= start
        start = 0
        let held = buffer.count
        buffer.append(contentsOf: repeatElement(0, count: Self.chunkBytes))
        var count: Int
        repeat {
            count = buffer.withUnsafeMutableBytes { read(descriptor, $0.baseAddress! + held, Self.chunkBytes) }
        } while count < 0 && errno == EINTR
        buffer.removeLast(Self.chunkBytes - max(count, 0))
        if count < 0 { throw InputError(exitCode: 74, "the input: \(String(cString: strerror(errno)))") }
        if count == 0 { isAtEnd = true }
        return count > 0 || start < buffer.count
    }

    private func withoutReturn(_ line: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        line.last == UInt8(ascii: "\r") ? line.dropLast() : line
    }
}
