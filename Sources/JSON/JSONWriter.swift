/// Builds JSON text in a byte array: commas are automatic, strings are escaped, and text that is JSON already passes through.
///
/// The caller keeps the grammar: each `begin` has its `end`, and inside an object each value follows a `key`. In debug
/// builds a key outside an object or an unbalanced end traps.
///
/// ```swift
/// var writer = JSONWriter()
/// writer.beginObject(); writer.key("id"); writer.integer(7); writer.endObject()    // {"id":7}
/// ```
package struct JSONWriter: Sendable {
    package var bytes: [UInt8]
    @usableFromInline var needsComma = false
    @usableFromInline var depth = 0

    @inlinable
    package init(reserving capacity: Int = 0) {
        bytes = []
        if capacity > 0 { bytes.reserveCapacity(capacity) }
    }

    /// Writes on behind `bytes`, which is given back by `bytes` or `take()`.
    @inlinable
    package init(appendingTo bytes: consuming [UInt8]) {
        self.bytes = bytes
    }

    /// Empties the writer for the next text, keeping its memory.
    @inlinable
    package mutating func reset() {
        bytes.removeAll(keepingCapacity: true)
        needsComma = false
        depth = 0
    }

    /// Gives the text away and leaves the writer empty.
    @inlinable
    package mutating func take() -> [UInt8] {
        defer {
            needsComma = false
            depth = 0
        }
        return exchange(&bytes, with: [])
    }

    package var string: String { String(decoding: bytes, as: UTF8.self) }

    // MARK: Containers

    @inlinable
    package mutating func beginObject() { begin(UInt8(ascii: "{")) }

    @inlinable
    package mutating func endObject() { end(UInt8(ascii: "}")) }

    @inlinable
    package mutating func beginArray() { begin(UInt8(ascii: "[")) }

    @inlinable
    package mutating func endArray() { end(UInt8(ascii: "]")) }

    /// A member name that is a literal of plain characters, which is not escaped.
    @inlinable
    package mutating func key(_ name: StaticString) {
        separate()
        bytes.append(UInt8(ascii: "\""))
        name.withUTF8Buffer { bytes.append(contentsOf: $0) }
        bytes.append(UInt8(ascii: "\""))
        bytes.append(UInt8(ascii: ":"))
        needsComma = false
    }

    /// For names that are not literals: a literal takes the one above, which the attribute says.
    @_disfavoredOverload
    @inlinable
    package mutating func key(_ name: String) {
        string(name)
        bytes.append(UInt8(ascii: ":"))
        needsComma = false
    }

    // MARK: Values

    @inlinable
    package mutating func string(_ value: String) {
        var value = value
        value.withUTF8 { string(utf8: UnsafeRawBufferPointer($0)) }
    }

    /// A string given as its UTF-8 bytes. Quotes, backslashes and control characters are escaped, everything else is kept.
    package mutating func string(utf8: UnsafeRawBufferPointer) {
        separate()
        bytes.append(UInt8(ascii: "\""))
        var run = 0
        for i in 0..<utf8.count {
            let c = utf8[i]
            if c >= 0x20, c != UInt8(ascii: "\""), c != UInt8(ascii: "\\") { continue }
            bytes.append(contentsOf: UnsafeRawBufferPointer(rebasing: utf8[run..<i]))
            run = i + 1
            escape(c)
        }
        bytes.append(contentsOf: UnsafeRawBufferPointer(rebasing: utf8[run...]))
        bytes.append(UInt8(ascii: "\""))
        needsComma = true
    }

    /// Any integer up to 128 bits, in decimal.
    @inlinable
    package mutating func integer<T: FixedWidthInteger>(_ value: T) {
        separate()
        if value < (0 as T) { bytes.append(UInt8(ascii: "-")) }
        if T.bitWidth <= 64 {
            digits(UInt64(truncatingIfNeeded: value.magnitude))
        } else {
            wideDigits(UInt128(value.magnitude))
        }
        needsComma = true
    }

    @inlinable
    package mutating func bool(_ value: Bool) {
        value ? raw("true") : raw("false")
    }

    @inlinable
    package mutating func null() { raw("null") }

    /// A whole JSON value as text.
    @inlinable
    package mutating func raw(_ text: UnsafeRawBufferPointer) {
        separate()
        bytes.append(contentsOf: text)
        needsComma = true
    }

    @inlinable
    package mutating func raw(_ text: [UInt8]) {
        separate()
        bytes.append(contentsOf: text)
        needsComma = true
    }

    @inlinable
    package mutating func raw(_ text: StaticString) {
        separate()
        text.withUTF8Buffer { bytes.append(contentsOf: $0) }
        needsComma = true
    }

    /// Members of an object as text, without its braces: `"a":1,"b":2`. Empty text writes nothing.
    @inlinable
    package mutating func rawMembers(_ text: UnsafeRawBufferPointer) {
        if !text.isEmpty { raw(text) }
    }

    // MARK: Inside

    @inlinable @inline(__always)
    mutating func separate() {
        if needsComma { bytes.append(UInt8(ascii: ",")) }
    }

    @inlinable
    mutating func begin(_ bracket: UInt8) {
        separate()
        bytes.append(bracket)
        needsComma = false
        depth += 1
    }

    @inlinable
    mutating func end(_ bracket: UInt8) {
        assert(depth > 0, "an end without its begin")
        bytes.append(bracket)
        needsComma = true
        depth -= 1
    }

    private mutating func escape(_ c: UInt8) {
        bytes.append(UInt8(ascii: "\\"))
        switch c {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"): bytes.append(c)
        case 0x08: bytes.append(UInt8(ascii: "b"))
        case 0x09: bytes.append(UInt8(ascii: "t"))
        case 0x0A: bytes.append(UInt8(ascii: "n"))
        case 0x0C: bytes.append(UInt8(ascii: "f"))
        case 0x0D: bytes.append(UInt8(ascii: "r"))
        default:
            let hex = "0123456789abcdef" as StaticString
            bytes.append(contentsOf: [UInt8(ascii: "u"), UInt8(ascii: "0"), UInt8(ascii: "0")])
            bytes.append(hex.utf8Start[Int(c >> 4)])
            bytes.append(hex.utf8Start[Int(c & 15)])
        }
    }

    @usableFromInline
    mutating func digits(_ value: UInt64) {
        // At most 20 digits, written from the end of a fixed buffer.
        var buffer = InlineArray<20, UInt8>(repeating: 0)
        var at = 20
        var rest = value
        repeat {
            let (quotient, digit) = rest.quotientAndRemainder(dividingBy: 10)
            at -= 1
            buffer[at] = UInt8(ascii: "0") + UInt8(truncatingIfNeeded: digit)
            rest = quotient
        } while rest > 0
        for i in at..<20 { bytes.append(buffer[i]) }
    }

    @usableFromInline
    mutating func wideDigits(_ value: UInt128) {
        if let narrow = UInt64(exactly: value) { return digits(narrow) }
        let (high, low) = value.quotientAndRemainder(dividingBy: 10_000_000_000_000_000_000)
        wideDigits(high)
        let start = bytes.count
        digits(UInt64(low))
        let missing = 19 - (bytes.count - start)
        if missing > 0 { bytes.insert(contentsOf: repeatElement(UInt8(ascii: "0"), count: missing), at: start) }
    }
}

@inlinable
func exchange<T>(_ place: inout T, with value: T) -> T {
    let old = place
    place = value
    return old
}
