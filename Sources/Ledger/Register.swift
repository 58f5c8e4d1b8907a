// Registers: small values by key, kept beside the records in the log's own environment, so that they commit with events: a unit's
// events and register writes are durable together, or none is. What they mean, their writers know.
//
// The table `registers` is made by the first commit that writes one; a ledger that has none is complete without it.
//
// key     1 to 32 bytes; one writer's keys all have the same length, so that key order is the order of their parts
// value   0 to 48 KiB, followed by the first 8 bytes of SHA-256(0x02, length of the key as u8, key, value)
//
// For example key 01, value "a":
//
//   01 -> 61 09824561bb9dc3fe
//
// Unlike records they are overwritten and deleted, and no leaf hash says what they were. The sum finds a value that changed on
// the disk, or stands under another key; it does not find one that was put back.

/// One write of a register, for ``AppendUnit/write(_:)``.
package struct RegisterWrite: Sendable, Equatable {
    package let key: [UInt8]
    /// Nil deletes it. Deleting what is not there is fine.
    package let value: [UInt8]?

    /// - Precondition: the lengths are those of ``LedgerLimits``.
    package init(key: [UInt8], value: [UInt8]?) {
        precondition(1...LedgerLimits.registerKeyBytesMax ~= key.count, "a register's key of \(key.count) bytes")
        precondition(
            value.map { $0.count <= LedgerLimits.registerValueBytesMax } ?? true, "a register's value is too long")
        self.key = key
        self.value = value
    }

    /// With its sum.
    init(key: [UInt8], stored: [UInt8]?) {
        self.key = key
        value = stored
    }
}

/// How a value stands in the table.
enum RegisterValue {
    static let sumBytes = 8

    static func sum(_ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) -> UInt64 {
        var hash = SHA256()
        hash.update(UInt8(2))
        hash.update(UInt8(truncatingIfNeeded: key.count))
        hash.update(key)
        hash.update(value)
        return hash.finalize { $0.bigEndian(at: 0) }
    }

    /// The value with its sum, as it is stored.
    static func sealed(_ key: [UInt8], _ value: [UInt8]) -> [UInt8] {
        let sum = key.withUnsafeBytes { key in value.withUnsafeBytes { Self.sum(key, $0) } }
        return value + withUnsafeBytes(of: sum.bigEndian) { Array($0) }
    }

    /// The value without its sum; nil where they do not fit each other, or the lengths are none.
    static func opened(
        _ key: UnsafeRawBufferPointer, _ stored: UnsafeRawBufferPointer
    ) -> UnsafeRawBufferPointer? {
        guard 1...LedgerLimits.registerKeyBytesMax ~= key.count,
            sumBytes...LedgerLimits.registerValueBytesMax + sumBytes ~= stored.count
        else { return nil }
        let value = UnsafeRawBufferPointer(rebasing: stored[..<(stored.count - sumBytes)])
        return sum(key, value) == stored.bigEndian(at: stored.count - sumBytes) ? value : nil
    }
}

extension [UInt8] {
    /// As `withUnsafeBytes`, with the type of what `body` throws.
    @inline(__always)
    func withBytes<R, E: Error>(_ body: (UnsafeRawBufferPointer) throws(E) -> R) throws(E) -> R {
        try span.bytes.withUnsafeBytes(body)
    }
}
