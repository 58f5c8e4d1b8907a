// Base64: RFC 4648 section 4, padded, into a caller's buffer. Foundation's encoder allocates a Data and a String for each
// leaf hash of a reply, which the append path cannot afford.

enum Base64 {
    private static let alphabet: StaticString = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

    /// The bytes that `count` bytes become.
    static func encodedCount(of count: Int) -> Int { (count + 2) / 3 * 4 }

    /// Encodes `bytes` to `output`, which has `encodedCount(of:)` bytes of room.
    static func encode(_ bytes: UnsafeRawBufferPointer, to output: UnsafeMutableRawBufferPointer) {
        precondition(output.count >= encodedCount(of: bytes.count))
        let letters = alphabet.utf8Start
        var source = 0
        var target = 0
        while source < bytes.count {
            let left = bytes.count - source
            let first = UInt32(bytes[source]) << 16
            let second = left > 1 ? UInt32(bytes[source + 1]) << 8 : 0
            let third = left > 2 ? UInt32(bytes[source + 2]) : 0
            let group = first | second | third
            output[target] = letters[Int(group >> 18)]
            output[target + 1] = letters[Int((group >> 12) & 63)]
            output[target + 2] = left > 1 ? letters[Int((group >> 6) & 63)] : UInt8(ascii: "=")
            output[target + 3] = left > 2 ? letters[Int(group & 63)] : UInt8(ascii: "=")
            source += 3
            target += 4
        }
    }
}
