import Testing

@testable import Ledger

/// The two ways to hash are one function.
@Suite struct LeafHashTests {
    private func hash(_ bytes: [UInt8], _ body: (UnsafeRawBufferPointer) -> LeafHash) -> LeafHash {
        bytes.withUnsafeBytes(body)
    }

    /// Every length around the ends of blocks, and beside another length, since two records go through together.
    @Test(.enabled(if: LeafHash.hasInstructions, "this processor has no SHA-256 instructions"))
    func `the processor's instructions give what the library gives, at every length, alone and in pairs`() {
        let text = (0..<1_400).map { UInt8(truncatingIfNeeded: $0 &* $0 &+ 7 &* $0) }
        for count in 1..<700 {
            let first = Array(text[..<count])
            let second = Array(text[(count / 2)..<(count / 2 + 1 + count * 37 % 690)])
            let expected = (hash(first) { LeafHash(withLibraryOf: $0) }, hash(second) { LeafHash(withLibraryOf: $0) })
            #expect(hash(first) { LeafHash(withInstructionsOf: $0) } == expected.0, "\(count) bytes")
            let pair = first.withUnsafeBytes { first in
                second.withUnsafeBytes { second in LeafHash.pair(of: first, second) }
            }
            #expect(pair == expected, "\(count) and \(second.count) bytes")
        }
    }

    @Test func `every bit of a record counts, in either place of a pair`() {
        let other = [UInt8](repeating: 9, count: 130)
        for count in [1, 54, 55, 56, 63, 64, 119, 120, 200] {
            var bytes = [UInt8](repeating: 0xA5, count: count)
            let original = hash(bytes) { LeafHash(of: $0) }
            for bit in 0..<(count * 8) {
                bytes[bit / 8] ^= 1 << UInt8(bit % 8)
                let pairs = bytes.withUnsafeBytes { bytes in
                    other.withUnsafeBytes { (LeafHash.pair(of: bytes, $0).first, LeafHash.pair(of: $0, bytes).second) }
                }
                #expect(pairs.0 != original && pairs.0 == pairs.1, "bit \(bit) of \(count) bytes")
                bytes[bit / 8] ^= 1 << UInt8(bit % 8)
            }
        }
    }
}
