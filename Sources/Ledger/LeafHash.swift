import CLeafHash

/// SHA-256(0x00 || record): what proves that a record is as it was stored.
package struct LeafHash: Hashable, Sendable, CustomStringConvertible {
    package static let byteCount = 32

    // In memory order, not as numbers.
    private var words: (UInt64, UInt64, UInt64, UInt64)

    package init?(bytes: UnsafeRawBufferPointer) {
        guard bytes.count == Self.byteCount else { return nil }
        self.init(unchecked: bytes)
    }

    private init(unchecked bytes: UnsafeRawBufferPointer) {
        words = (
            bytes.loadUnaligned(fromByteOffset: 0, as: UInt64.self),
            bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self),
            bytes.loadUnaligned(fromByteOffset: 16, as: UInt64.self),
            bytes.loadUnaligned(fromByteOffset: 24, as: UInt64.self)
        )
    }

    init(_ hash: consuming SHA256) { self = hash.finalize { LeafHash(unchecked: $0) } }

    /// - Parameters:
    ///   - blocks: the state of the first blocks of 0x00 and the record.
    ///   - rest: what is behind them.
    @inline(__always)
    init(_ blocks: BlockState, _ rest: UnsafeRawBufferPointer) {
        self = blocks.finished(with: rest, withInstructions: Self.hasInstructions) { LeafHash(unchecked: $0) }
    }

    /// The hash of a whole record.
    package init(of record: UnsafeRawBufferPointer) {
        self = Self.hasInstructions ? LeafHash(withInstructionsOf: record) : LeafHash(withLibraryOf: record)
    }

    /// The hashes of two records, for little more than the price of one.
    static func pair(
        of first: UnsafeRawBufferPointer, _ second: UnsafeRawBufferPointer
    ) -> (first: LeafHash, second: LeafHash) {
        guard hasInstructions else { return (LeafHash(withLibraryOf: first), LeafHash(withLibraryOf: second)) }
        var hashes = (LeafHash(), LeafHash())
        withUnsafeMutableBytes(of: &hashes.0.words) { firstHash in
            withUnsafeMutableBytes(of: &hashes.1.words) { secondHash in
                clh_pair(
                    0, first.baseAddress, first.count, 0, second.baseAddress, second.count, firstHash.baseAddress,
                    secondHash.baseAddress)
            }
        }
        return hashes
    }

    static let hasInstructions = clh_available() != 0

    private init() { words = (0, 0, 0, 0) }

    /// By the processor's own instructions, which must be there.
    init(withInstructionsOf record: UnsafeRawBufferPointer) {
        self.init()
        withUnsafeMutableBytes(of: &words) { clh_one(0, record.baseAddress, record.count, $0.baseAddress) }
    }

    /// By libcrypto, on any processor.
    init(withLibraryOf record: UnsafeRawBufferPointer) {
        var hash = SHA256()
        hash.update(0)
        hash.update(record)
        self.init(hash)
    }

    package func withBytes<R, E: Error>(_ body: (UnsafeRawBufferPointer) throws(E) -> R) throws(E) -> R {
        try withUnsafeBytes(of: words, body)
    }

    package var bytes: [UInt8] { withBytes { [UInt8]($0) } }

    package static func == (left: LeafHash, right: LeafHash) -> Bool { left.words == right.words }

    package func hash(into hasher: inout Hasher) { hasher.combine(words.0) }

    /// Hexadecimal.
    package var description: String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }
}
