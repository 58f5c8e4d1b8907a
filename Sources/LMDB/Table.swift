/// A table of an environment, named but for the main one. Only a number: copy it freely, use it with the environment it came from.
///
/// Keys are 1 to 511 bytes (LMDB's limit), ordered bytewise, at most one value a key: MDB_DUPSORT is never used,
/// since 0.9.24 has known faults there. Integers are keys in big-endian, so that numeric order is key order.
package struct Table: Hashable, Sendable {
    let dbi: UInt32

    init(dbi: UInt32) { self.dbi = dbi }

    package static let keyBytesMax = 511

    /// Names of tables are keys of LMDB's main table, and passed to it as C strings.
    package static func isValidName(_ name: String) -> Bool {
        (1...keyBytesMax).contains(name.utf8.count) && !name.utf8.contains(0)
    }
}

/// Lends the eight big-endian bytes of `number`, on the stack, as a key.
@inlinable @inline(__always)
package func withKey<R, E: Error>(_ number: UInt64, _ body: (UnsafeRawBufferPointer) throws(E) -> R) throws(E) -> R {
    try withUnsafeBytes(of: number.bigEndian, body)
}

extension UnsafeRawBufferPointer {
    /// The number whose eight big-endian bytes these are; nil for any other length.
    @inlinable
    package var bigEndianUInt64: UInt64? {
        count == 8 ? UInt64(bigEndian: loadUnaligned(as: UInt64.self)) : nil
    }
}
