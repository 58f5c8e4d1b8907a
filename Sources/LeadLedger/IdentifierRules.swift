// IdentifierRules: what an identifier may look like. Lead ids, sources and event ids are kept in the clear for ever, so
// one that names a person is refused before it is stored.

/// Why an identifier cannot be stored.
enum IdentifierFault: Equatable {
    /// It is empty or over its bound, in bytes of UTF-8.
    case length(bytes: Int, bytesMax: Int)
    /// It holds a control character, which no tool prints as it stands.
    case controlCharacter
    /// It looks like an e-mail address or a phone number: an `@`, or `+` followed by 7 to 15 digits.
    case personal
}

enum IdentifierRules {
    /// The first rule that `bytes` breaks, or nil. Plain digits are fine; no allocation.
    static func fault(in bytes: UnsafeRawBufferPointer, bytesMax: Int) -> IdentifierFault? {
        if bytes.isEmpty || bytes.count > bytesMax { return .length(bytes: bytes.count, bytesMax: bytesMax) }
        var index = 0
        // Eight at once, as long as nothing among them needs a look.
        while index + 8 <= bytes.count, !needsLook(bytes.loadUnaligned(fromByteOffset: index, as: UInt64.self)) {
            index += 8
        }
        // The last ones in a word that overlaps the one before it.
        if index + 8 > bytes.count, bytes.count >= 8,
            !needsLook(bytes.loadUnaligned(fromByteOffset: bytes.count - 8, as: UInt64.self))
        {
            return nil
        }
        while index < bytes.count {
            let byte = bytes[index]
            if byte < 0x20 || byte == 0x7F { return .controlCharacter }
            if byte == UInt8(ascii: "@") { return .personal }
            if byte == UInt8(ascii: "+"), (7...15).contains(digitCount(in: bytes, from: index + 1)) {
                return .personal
            }
            index += 1
        }
        return nil
    }

    /// Whether one of eight bytes may be a control character, `@` or `+`. A byte is below 0x20, or zero, where subtracting that,
    /// or 1, borrows into its top bit; what borrows from a neighbour besides is only looked at in vain.
    @inline(__always)
    private static func needsLook(_ word: UInt64) -> Bool {
        let ones: UInt64 = 0x0101_0101_0101_0101
        let tops: UInt64 = 0x8080_8080_8080_8080
        func has(_ byte: UInt8) -> UInt64 {
            let difference = word ^ (ones &* UInt64(byte))
            return (difference &- ones) & ~difference
        }
        let control = (word &- ones &* 0x20) & ~word
        return (control | has(0x7F) | has(UInt8(ascii: "@")) | has(UInt8(ascii: "+"))) & tops != 0
    }

    private static func digitCount(in bytes: UnsafeRawBufferPointer, from start: Int) -> Int {
        var end = start
        while end < bytes.count, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(bytes[end]) { end += 1 }
        return end - start
    }
}
