import CLeafHash
import COpenSSL

/// SHA-256 as a plain value: 112 bytes that are copied and dropped like a number.
///
/// swift-crypto keeps each context on the heap, which cost more than hashing a short text; libcrypto's plain functions work in
/// place and use the processor's own instructions likewise. Events go through CLeafHash, two hashes at a time, where the
/// processor has the instructions.
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

/// SHA-256 of the whole blocks at the beginning of a message whose end is not known yet.
struct BlockState {
    // As whoever made it keeps it: `LeafHash.hasInstructions` decides, and is the same as long as the process lives.
    private var words: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
    /// Bytes of the message that are in it: none as long as nothing was hashed.
    private(set) var byteCount = 0

    static let blockBytes = 64

    init() {}

    /// The states of two messages, of which these are the beginnings: what is behind the last whole block is left for
    /// `finished`.
    static func pair(
        of first: UnsafeRawBufferPointer, _ second: UnsafeRawBufferPointer, withInstructions: Bool
    ) -> (first: BlockState, second: BlockState) {
        var states = (BlockState(), BlockState())
        states.0.byteCount = first.count / blockBytes * blockBytes
        states.1.byteCount = second.count / blockBytes * blockBytes
        if withInstructions {
            withUnsafeMutableBytes(of: &states.0.words) { firstState in
                withUnsafeMutableBytes(of: &states.1.words) { secondState in
                    clh_blocks_pair(
                        first.baseAddress, first.count / blockBytes, second.baseAddress, second.count / blockBytes,
                        firstState.baseAddress, secondState.baseAddress)
                }
            }
        } else {
            states.0.hashWithLibrary(first)
            states.1.hashWithLibrary(second)
        }
        return states
    }

    private mutating func hashWithLibrary(_ message: UnsafeRawBufferPointer) {
        var context = SHA256_CTX()
        SHA256_Init(&context)
        SHA256_Update(&context, message.baseAddress, byteCount)
        withUnsafeBytes(of: context.h) { state in
            withUnsafeMutableBytes(of: &words) { $0.copyMemory(from: state) }
        }
    }

    /// Lends the hash of the message.
    ///
    /// - Parameter rest: what comes behind the blocks, less than two of them.
    func finished<R>(
        with rest: UnsafeRawBufferPointer, withInstructions: Bool, _ body: (UnsafeRawBufferPointer) -> R
    ) -> R {
        withUnsafeTemporaryAllocation(byteCount: SHA256.byteCount, alignment: 8) { hash in
            if withInstructions {
                precondition(rest.count < Self.blockBytes * 2 - 8, "what is left is padded to two blocks")
                withUnsafeBytes(of: words) {
                    clh_finish($0.baseAddress, rest.baseAddress, rest.count, byteCount + rest.count, hash.baseAddress)
                }
            } else {
                var context = SHA256_CTX()
                SHA256_Init(&context)
                // The number of bits so far, in two words, goes with the state.
                withUnsafeMutableBytes(of: &context.h) { state in
                    withUnsafeBytes(of: words) { state.copyMemory(from: $0) }
                }
                context.Nl = UInt32(truncatingIfNeeded: byteCount &* 8)
                context.Nh = UInt32(truncatingIfNeeded: byteCount >> 29)
                SHA256_Update(&context, rest.baseAddress, rest.count)
                SHA256_Final(hash.baseAddress!.assumingMemoryBound(to: UInt8.self), &context)
            }
            return body(UnsafeRawBufferPointer(hash))
        }
    }
}
