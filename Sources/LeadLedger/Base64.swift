import JSON

// Base64: RFC 4648 section 4, padded. Foundation's encoder allocates a Data and a String for each leaf hash of a reply, which
// the append path cannot afford.

enum Base64 {
    /// The bytes that `count` bytes become.
    static func encodedCount(of count: Int) -> Int { (count + 2) / 3 * 4 }
}

extension TextCursor {
    /// Writes `bytes` in base64, which takes `Base64.encodedCount(of:)` bytes of room.
    @inline(__always)
    mutating func base64(_ bytes: UnsafeRawBufferPointer) {
        let alphabet: StaticString = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
        let letters = alphabet.utf8Start
        var source = 0
        // Three bytes become four letters, as long as the word that they are read in is within.
        while source + 4 <= bytes.count {
            let group = UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: source, as: UInt32.self))
            let four =
                UInt32(letters[Int(group &>> 26)]) | UInt32(letters[Int(group &>> 20 & 63)]) &<< 8
                | UInt32(letters[Int(group &>> 14 & 63)]) &<< 16 | UInt32(letters[Int(group &>> 8 & 63)]) &<< 24
            at.storeBytes(of: four.littleEndian, as: UInt32.self)
            at += 4
            source += 3
        }
        while source < bytes.count {
            let left = bytes.count - source
            let first = UInt32(bytes[source]) << 16
            let second = left > 1 ? UInt32(bytes[source + 1]) << 8 : 0
            let third = left > 2 ? UInt32(bytes[source + 2]) : 0
            let group = first | second | third
            append(letters[Int(group >> 18)])
            append(letters[Int((group >> 12) & 63)])
            append(left > 1 ? letters[Int((group >> 6) & 63)] : UInt8(ascii: "="))
            append(left > 2 ? letters[Int(group & 63)] : UInt8(ascii: "="))
            source += 3
        }
    }
}
