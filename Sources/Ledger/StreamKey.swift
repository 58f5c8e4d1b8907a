import CLeafHash

/// The key of a stream: the first 16 bytes of SHA-256(stream kind || subject).
///
/// Two subjects with one key would be one stream; at 128 bits that needs 2^64 tries on purpose.
package struct StreamKey: Hashable, Comparable, Sendable, CustomStringConvertible {
    package let high: UInt64
    package let low: UInt64

    @inlinable
    package init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    package init(kind: UInt8, subject: UnsafeRawBufferPointer) {
        self.init(kind: kind, subject: subject, withInstructions: LeafHash.hasInstructions)
    }

    init(kind: UInt8, subject: UnsafeRawBufferPointer, withInstructions: Bool) {
        if withInstructions {
            self = withUnsafeTemporaryAllocation(byteCount: SHA256.byteCount, alignment: 8) { hash in
                clh_one(kind, subject.baseAddress, subject.count, hash.baseAddress)
                return StreamKey(hash: UnsafeRawBufferPointer(hash))
            }
            return
        }
        var hash = SHA256()
        hash.update(kind)
        hash.update(subject)
        self = hash.finalize { StreamKey(hash: $0) }
    }

    /// Of the whole hash.
    fileprivate init(hash: UnsafeRawBufferPointer) {
        self.init(high: hash.bigEndian(at: 0), low: hash.bigEndian(at: 8))
    }

    /// Reads the 16 bytes of a key in a table.
    package init?(bytes: UnsafeRawBufferPointer) {
        guard bytes.count == 16 else { return nil }
        self.init(high: bytes.bigEndian(at: 0), low: bytes.bigEndian(at: 8))
    }

    @inlinable @inline(__always)
    package func withBytes<R, E: Error>(_ body: (UnsafeRawBufferPointer) throws(E) -> R) throws(E) -> R {
        try withUnsafeBytes(of: (high.bigEndian, low.bigEndian), body)
    }

    @inlinable
    package static func < (left: StreamKey, right: StreamKey) -> Bool {
        left.high != right.high ? left.high < right.high : left.low < right.low
    }

    package var description: String { LedgerID(high: high, low: low).description }
}

/// What an event is found by within its stream: the first 12 bytes of SHA-256(length of source || source || event id).
///
/// It only finds: a hit is compared in full with the record, so that equal hashes of unlike names do no harm.
package struct NameHash: Hashable, Sendable {
    /// The first four bytes, which an index row keeps for its newest events.
    package let tag: UInt32
    package let rest: UInt64

    @inlinable
    package init(tag: UInt32, rest: UInt64) {
        self.tag = tag
        self.rest = rest
    }

    package init(source: UnsafeRawBufferPointer, eventID: UnsafeRawBufferPointer) {
        var hash = SHA256()
        hash.update(UInt8(truncatingIfNeeded: source.count))
        hash.update(source)
        hash.update(eventID)
        self = hash.finalize { NameHash(hash: $0) }
    }

    /// Of the whole hash.
    fileprivate init(hash: UnsafeRawBufferPointer) {
        self.init(tag: hash.bigEndian(at: 0), rest: hash.bigEndian(at: 4))
    }
}

/// What an event is found by: the two hashes at once, for little more than the price of one.
struct EventKeys {
    let stream: StreamKey
    let name: NameHash

    /// - Parameter sourceAndID: the source and, behind it, the event id, as they lie in a record.
    init(
        kind: UInt8, subject: UnsafeRawBufferPointer, sourceCount: Int, sourceAndID: UnsafeRawBufferPointer,
        withInstructions: Bool
    ) {
        guard withInstructions else {
            stream = StreamKey(kind: kind, subject: subject, withInstructions: false)
            name = NameHash(
                source: UnsafeRawBufferPointer(rebasing: sourceAndID[..<sourceCount]),
                eventID: UnsafeRawBufferPointer(rebasing: sourceAndID[sourceCount...]))
            return
        }
        (stream, name) = withUnsafeTemporaryAllocation(byteCount: 2 * SHA256.byteCount, alignment: 8) { hashes in
            let second = hashes.baseAddress! + SHA256.byteCount
            clh_pair(
                kind, subject.baseAddress, subject.count, UInt8(truncatingIfNeeded: sourceCount),
                sourceAndID.baseAddress, sourceAndID.count, hashes.baseAddress, second)
            return (
                StreamKey(hash: UnsafeRawBufferPointer(hashes)),
                NameHash(hash: UnsafeRawBufferPointer(start: second, count: SHA256.byteCount))
            )
        }
    }
}
