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

    private static func digitCount(in bytes: UnsafeRawBufferPointer, from start: Int) -> Int {
        var end = start
        while end < bytes.count, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(bytes[end]) { end += 1 }
        return end - start
    }
}
