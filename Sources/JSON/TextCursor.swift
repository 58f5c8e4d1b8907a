/// Where the next byte of a JSON text goes: for what is written a hundred thousand times a second. Whoever makes one has made
/// sure that there is room, and keeps the grammar; `JSONWriter` does both by itself.
@frozen
package struct TextCursor {
    package var at: UnsafeMutableRawPointer
    /// Whether it is known that nothing which comes to `escaped` has anything to escape.
    package var isPlain = false

    @inlinable
    package init(_ place: UnsafeMutableRawPointer) { at = place }

    @inlinable @inline(__always)
    package mutating func literal(_ text: StaticString) {
        at.copyMemory(from: text.utf8Start, byteCount: text.utf8CodeUnitCount)
        at += text.utf8CodeUnitCount
    }

    @inlinable @inline(__always)
    package mutating func copy(_ bytes: UnsafeRawBufferPointer) {
        guard let start = bytes.baseAddress, bytes.count > 0 else { return }
        at.copyMemory(from: start, byteCount: bytes.count)
        at += bytes.count
    }

    /// The inside of a JSON string. Almost no identifier has anything to escape.
    @inlinable @inline(__always)
    package mutating func escaped(_ bytes: UnsafeRawBufferPointer) {
        if isPlain || bytes.isPlainInJSON { copy(bytes) } else { escape(bytes) }
    }

    @inline(never)
    @usableFromInline
    mutating func escape(_ bytes: UnsafeRawBufferPointer) {
        let hex = "0123456789abcdef" as StaticString
        for byte in bytes {
            switch byte {
            case UInt8(ascii: "\""): literal("\\\"")
            case UInt8(ascii: "\\"): literal("\\\\")
            case 0x08: literal("\\b")
            case 0x09: literal("\\t")
            case 0x0A: literal("\\n")
            case 0x0C: literal("\\f")
            case 0x0D: literal("\\r")
            case 0..<0x20:
                literal("\\u00")
                append(hex.utf8Start[Int(byte >> 4)])
                append(hex.utf8Start[Int(byte & 15)])
            default: append(byte)
            }
        }
    }

    @inlinable @inline(__always)
    package mutating func append(_ byte: UInt8) {
        at.storeBytes(of: byte, as: UInt8.self)
        at += 1
    }

    /// A number in decimal: two digits for each division.
    @inlinable
    package mutating func digits(_ value: UInt64) {
        var count = 1
        var power: UInt64 = 10
        while value >= power {
            count += 1
            let (next, isOver) = power.multipliedReportingOverflow(by: 10)
            if isOver { break }
            power = next
        }
        var index = count
        var rest = value
        while rest >= 10 {
            let (hundreds, pair) = rest.quotientAndRemainder(dividingBy: 100)
            let tens = pair / 10
            index -= 2
            let text = 0x3030 | tens | (pair - tens * 10) << 8
            at.storeBytes(of: UInt16(truncatingIfNeeded: text).littleEndian, toByteOffset: index, as: UInt16.self)
            rest = hundreds
        }
        // One is left where their number is odd; where it is even, the pair had the first digit.
        if index > 0 { at.storeBytes(of: UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest), as: UInt8.self) }
        at += count
    }
}

extension UnsafeRawBufferPointer {
    /// Whether this, which is UTF-8, stands in a JSON string as it is: no quote, backslash or control character.
    @inlinable
    package var isPlainInJSON: Bool {
        var index = 0
        while index + 8 <= count {
            if !Self.isPlain(loadUnaligned(fromByteOffset: index, as: UInt64.self)) { return false }
            index += 8
        }
        while index < count {
            let byte = self[index]
            if byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") { return false }
            index += 1
        }
        return true
    }

    /// Eight bytes at once. A byte is less than n (n <= 128), or zero, where subtracting n, or 1, borrows into its top bit.
    @inlinable @inline(__always)
    static func isPlain(_ word: UInt64) -> Bool {
        let ones: UInt64 = 0x0101_0101_0101_0101
        let tops: UInt64 = 0x8080_8080_8080_8080
        let control = (word &- ones &* 0x20) & ~word
        let quote = word ^ (ones &* UInt64(UInt8(ascii: "\"")))
        let backslash = word ^ (ones &* UInt64(UInt8(ascii: "\\")))
        let special = control | ((quote &- ones) & ~quote) | ((backslash &- ones) & ~backslash)
        return special & tops == 0
    }
}
