/// A set of texts that says whether bytes are one of them, without copying the bytes: it is asked for each event of the log.
///
/// ```swift
/// let leads = TextSet(["L-1", "L-2"].map { Array($0.utf8) })
/// leads.contains(record.subject)
/// ```
struct TextSet: Sendable {
    private var texts: [[UInt8]] = []
    /// Indices into `texts` by hash, -1 where there is none; at least twice as many as texts, so that a search ends.
    private var slots: [Int32] = [-1]

    init(_ members: some Sequence<[UInt8]>) {
        texts = Array(Set(members))
        var slotCount = 2
        while slotCount < texts.count * 2 { slotCount *= 2 }
        slots = [Int32](repeating: -1, count: slotCount)
        for (index, text) in texts.enumerated() {
            var slot = text.withUnsafeBytes { Self.hash($0) } & (slotCount - 1)
            while slots[slot] >= 0 { slot = (slot + 1) & (slotCount - 1) }
            slots[slot] = Int32(index)
        }
    }

    var isEmpty: Bool { texts.isEmpty }

    func contains(_ bytes: UnsafeRawBufferPointer) -> Bool {
        var slot = Self.hash(bytes) & (slots.count - 1)
        while slots[slot] >= 0 {
            if texts[Int(slots[slot])].elementsEqual(bytes) { return true }
            slot = (slot + 1) & (slots.count - 1)
        }
        return false
    }

    /// By the length and the last eight bytes, where identifiers differ. Whoever sends many that are alike there makes only
    /// their own search slower: a set has a few hundred texts.
    private static func hash(_ bytes: UnsafeRawBufferPointer) -> Int {
        var word = UInt64(bytes.count)
        for byte in bytes.suffix(8) { word = word << 8 ^ UInt64(byte) ^ word >> 56 }
        word = (word ^ word >> 32) &* 0x9E37_79B9_7F4A_7C15
        return Int(truncatingIfNeeded: word >> 32)
    }
}
