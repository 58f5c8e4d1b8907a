import Glibc
import NIOCore

// Lines: where a line ends.

extension UnsafeRawBufferPointer {
    /// The bytes before the first newline, nil where there is none.
    func lengthOfLine() -> Int? {
        guard let start = baseAddress, let newline = memchr(start, Int32(UInt8(ascii: "\n")), count) else { return nil }
        return UnsafeRawPointer(newline) - start
    }

    /// Whether this is nothing but spaces, tabs and carriage returns.
    var isBlank: Bool {
        for byte in self {
            guard byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t") || byte == UInt8(ascii: "\r") else {
                return false
            }
        }
        return true
    }
}

extension ByteBuffer {
    func lengthOfLine() -> Int? { withUnsafeReadableBytes { $0.lengthOfLine() } }
}
