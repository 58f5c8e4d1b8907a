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

    /// Every length of a subject, beside others of the rest: by the library, each hash by itself, is what they are defined as.
    @Test func `what an event is found by is the same by either way`() {
        let text = (0..<700).map { UInt8(truncatingIfNeeded: $0 &* $0 &+ 11 &* $0) }
        for count in 0...300 {
            for (sourceCount, idCount) in [(0, 0), (1, 1), (count % 256, 300 - count), (255, 128), (13, 12)] {
                text.withUnsafeBytes { text in
                    let subject = UnsafeRawBufferPointer(rebasing: text[..<count])
                    let sourceAndID = UnsafeRawBufferPointer(rebasing: text[300..<300 + sourceCount + idCount])
                    let source = UnsafeRawBufferPointer(rebasing: sourceAndID[..<sourceCount])
                    let id = UnsafeRawBufferPointer(rebasing: sourceAndID[sourceCount...])
                    let stream = StreamKey(kind: UInt8(count % 4), subject: subject, withInstructions: false)
                    #expect(StreamKey(kind: UInt8(count % 4), subject: subject) == stream)
                    for withInstructions in LeafHash.hasInstructions ? [true, false] : [false] {
                        let keys = EventKeys(
                            kind: UInt8(count % 4), subject: subject, sourceCount: sourceCount,
                            sourceAndID: sourceAndID, withInstructions: withInstructions)
                        #expect(keys.stream == stream)
                        #expect(keys.name == NameHash(source: source, eventID: id))
                    }
                }
            }
        }
    }

    /// Goal: a hash that was begun at the door and ended by the appender is the hash of the whole. Every length of what is known
    /// ahead, beside another one, and a trailer behind it.
    @Test func `a hash in two parts is the hash of the whole, by either way`() {
        let text = [0] + (0..<1_400).map { UInt8(truncatingIfNeeded: $0 &* $0 &+ 3 &* $0) }
        func ended(_ state: BlockState, _ count: Int, _ withInstructions: Bool) -> [UInt8] {
            text[state.byteCount..<count + RecordLayout.trailerBytes].withUnsafeBytes { rest in
                state.finished(with: rest, withInstructions: withInstructions) { [UInt8]($0) }
            }
        }
        for count in 0...300 {
            let other = count * 37 % 690
            let expected = [count, other].map { count in
                hash(Array(text[1..<count + RecordLayout.trailerBytes])) { LeafHash(withLibraryOf: $0) }.bytes
            }
            for withInstructions in LeafHash.hasInstructions ? [true, false] : [false] {
                let states = text.withUnsafeBytes { text in
                    BlockState.pair(
                        of: UnsafeRawBufferPointer(rebasing: text[..<count]),
                        UnsafeRawBufferPointer(rebasing: text[..<other]), withInstructions: withInstructions)
                }
                #expect(ended(states.first, count, withInstructions) == expected[0], "\(count) bytes")
                #expect(ended(states.second, other, withInstructions) == expected[1], "\(other) bytes")
            }
        }
    }
}
