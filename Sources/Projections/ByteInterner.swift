import Glibc

/// Numbers for texts, 0, 1, 2, ... in the order in which they were first seen: a report over millions of rows makes no string for
/// each of them.
struct ByteInterner {
    private var texts: [[UInt8]] = []
    private var hashes: [UInt64] = []
    /// Numbers plus one by hash, 0 where empty; at most half full.
    private var slots: [UInt32] = Array(repeating: 0, count: 64)

    var count: Int { texts.count }

    /// The text of a number.
    subscript(number: Int) -> [UInt8] { texts[number] }

    mutating func intern(_ text: UnsafeRawBufferPointer) -> Int {
        let hash = Self.hash(text)
        var slot = Int(truncatingIfNeeded: hash) & (slots.count - 1)
        while slots[slot] != 0 {
            let number = Int(slots[slot]) - 1
            if hashes[number] == hash, Self.isEqual(texts[number], text) { return number }
            slot = (slot + 1) & (slots.count - 1)
        }
        texts.append(Array(text))
        hashes.append(hash)
        slots[slot] = UInt32(texts.count)
        if texts.count * 2 > slots.count { grow() }
        return texts.count - 1
    }

    private mutating func grow() {
        slots = Array(repeating: 0, count: slots.count * 2)
        for (number, hash) in hashes.enumerated() {
            var slot = Int(truncatingIfNeeded: hash) & (slots.count - 1)
            while slots[slot] != 0 { slot = (slot + 1) & (slots.count - 1) }
            slots[slot] = UInt32(number + 1)
        }
    }

    /// FNV-1a with a final mix: texts are short. Nothing that is given out depends on it.
    private static func hash(_ text: UnsafeRawBufferPointer) -> UInt64 {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in text { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
        return (hash ^ (hash >> 29)) &* 0xBF58_476D_1CE4_E5B9
    }

    private static func isEqual(_ left: [UInt8], _ right: UnsafeRawBufferPointer) -> Bool {
        guard left.count == right.count else { return false }
        return left.withUnsafeBytes { left in
            guard let left = left.baseAddress, let start = right.baseAddress else { return true }
            return memcmp(left, start, right.count) == 0
        }
    }
}
