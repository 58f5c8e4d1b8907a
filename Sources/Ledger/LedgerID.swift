/// The UUID of a ledger, given once at its creation: in FORMAT, in the log's `meta` table, in every record's header and
/// in the STATE of every cache, so that parts of two ledgers never mix unseen.
package struct LedgerID: Hashable, Sendable, CustomStringConvertible {
    package let high: UInt64
    package let low: UInt64

    package init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    /// A random (version 4) UUID.
    package static func random(using generator: inout some RandomNumberGenerator) -> LedgerID {
        let high = generator.next() & ~0xF000 | 0x4000
        let low = generator.next() & ~(0b11 << 62) | 0b10 << 62
        return LedgerID(high: high, low: low)
    }

    /// Reads the text form, `8-4-4-4-12` hexadecimal digits.
    package init?(_ text: some StringProtocol) {
        let groups = text.split(separator: "-", omittingEmptySubsequences: false)
        guard groups.map(\.utf8.count) == [8, 4, 4, 4, 12],
            groups.allSatisfy({ $0.utf8.allSatisfy { Character(UnicodeScalar($0)).isHexDigit } }),
            let high = UInt64(groups[0..<3].joined(), radix: 16), let low = UInt64(groups[3..<5].joined(), radix: 16)
        else { return nil }
        self.init(high: high, low: low)
    }

    /// Reads the 16 bytes of a record's header or of the `meta` table.
    init?(bytes: UnsafeRawBufferPointer) {
        guard bytes.count == 16 else { return nil }
        self.init(high: bytes.bigEndian(at: 0), low: bytes.bigEndian(at: 8))
    }

    package var description: String {
        func hex(_ number: UInt64, _ digits: Int) -> String {
            let text = String(number, radix: 16)
            return String(repeating: "0", count: digits - text.utf8.count) + text
        }
        return [
            hex(high >> 32, 8), hex(high >> 16 & 0xFFFF, 4), hex(high & 0xFFFF, 4), hex(low >> 48, 4),
            hex(low & 0xFFFF_FFFF_FFFF, 12),
        ].joined(separator: "-")
    }

    func withBytes<R, E: Error>(_ body: (UnsafeRawBufferPointer) throws(E) -> R) throws(E) -> R {
        try withUnsafeBytes(of: (high.bigEndian, low.bigEndian), body)
    }
}

extension UnsafeRawBufferPointer {
    /// The big-endian integer whose bytes begin at `offset`.
    @inlinable @inline(__always)
    package func bigEndian<T: FixedWidthInteger>(at offset: Int, as type: T.Type = T.self) -> T {
        T(bigEndian: loadUnaligned(fromByteOffset: offset, as: T.self))
    }
}

extension UnsafeMutableRawPointer {
    @inline(__always)
    func storeBigEndian<T: FixedWidthInteger>(_ number: T, at offset: Int) {
        storeBytes(of: number.bigEndian, toByteOffset: offset, as: T.self)
    }
}
