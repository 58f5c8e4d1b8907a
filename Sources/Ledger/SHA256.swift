import COpenSSL

/// SHA-256 as a plain value: 112 bytes that are copied and dropped like a number.
///
/// An event is hashed three times on its way in, and once more each time it is read. swift-crypto keeps each context on the
/// heap, which cost more than hashing a short text; libcrypto's plain functions work in place and use the processor's own
/// instructions likewise.
struct SHA256 {
    static let byteCount = 32

    private var context = SHA256_CTX()

    @inline(__always)
    init() { SHA256_Init(&context) }

    @inline(__always)
    mutating func update(_ bytes: UnsafeRawBufferPointer) { SHA256_Update(&context, bytes.baseAddress, bytes.count) }

    @inline(__always)
    mutating func update(_ byte: UInt8) {
        var byte = byte
        SHA256_Update(&context, &byte, 1)
    }

    /// Lends the 32 bytes. The context is used up.
    @inline(__always)
    consuming func finalize<R>(_ body: (UnsafeRawBufferPointer) -> R) -> R {
        withUnsafeTemporaryAllocation(byteCount: Self.byteCount, alignment: 8) { digest in
            var context = context
            SHA256_Final(digest.baseAddress!.assumingMemoryBound(to: UInt8.self), &context)
            return body(UnsafeRawBufferPointer(digest))
        }
    }
}
