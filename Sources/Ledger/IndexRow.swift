// The index's tables. Integers are big-endian.
//
// `rows`, one a stream. Key: the 16 bytes of its StreamKey. Value, of 80, 128 or 176 bytes:
//
//   offset size
//    0     8    position of the stream's first event: the number of the stream
//    8     8    position of its newest event
//   16     8    version: how many events it has
//   24     8    lifecycle state
//   32    12 x  the newest events, at most 12, as (u32 tag of the name hash, u64 position). The event of version v is
//               in slot (v - 1) mod 12. Room grows in steps of 4 slots, unused ones are zero; so most leads, which
//               have few events, cost 80 bytes, and a row is mostly replaced in place.
//
// `older`: the events that the 13th and later ones pushed out of their row.
//
//   first position u64 || 1 u8 || version u64          -> position u64
//   first position u64 || 2 u8 || name hash, 12 bytes  -> position u64, one or more (names of one hash)
//
// `meta`: "progress" -> u64, the log position up to which all this is.

/// One stream's row, in memory while it changes.
struct IndexRow {
    static let headerBytes = 32
    static let recentBytes = 12
    static let recentsMax: UInt64 = 12
    static let recentsStep: UInt64 = 4
    static let bytesMax = headerBytes + recentBytes * Int(recentsMax)

    var first: UInt64
    var last: UInt64
    var version: UInt64
    var state: UInt64
    var recents: InlineArray<12, Recent>

    struct Recent: Hashable {
        var tag: UInt32
        var position: UInt64
    }

    /// The row of a stream without events, to be grown.
    init(first: UInt64) {
        self.first = first
        last = first
        version = 0
        state = 0
        recents = InlineArray(repeating: Recent(tag: 0, position: 0))
    }

    /// Reads a stored row; nil when it cannot be one.
    init?(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.count >= Self.headerBytes else { return nil }
        self.init(first: bytes.bigEndian(at: 0))
        last = bytes.bigEndian(at: 8)
        version = bytes.bigEndian(at: 16)
        state = bytes.bigEndian(at: 24)
        guard version > 0, bytes.count == Self.byteCount(version: version) else { return nil }
        for slot in 0..<Int(min(version, Self.recentsMax)) {
            recents[slot] = Self.recent(slot, in: bytes)
        }
    }

    /// The part that most readers want.
    static func summary(_ bytes: UnsafeRawBufferPointer) -> StreamRow? {
        guard bytes.count >= headerBytes else { return nil }
        let version: UInt64 = bytes.bigEndian(at: 16)
        guard version > 0, bytes.count == byteCount(version: version) else { return nil }
        return StreamRow(
            first: Position(rawValue: bytes.bigEndian(at: 0)), last: Position(rawValue: bytes.bigEndian(at: 8)),
            version: StreamVersion(rawValue: version), state: bytes.bigEndian(at: 24))
    }

    @inline(__always)
    static func recent(_ slot: Int, in bytes: UnsafeRawBufferPointer) -> Recent {
        let offset = headerBytes + slot * recentBytes
        return Recent(tag: bytes.bigEndian(at: offset), position: bytes.bigEndian(at: offset + 4))
    }

    static func slot(ofVersion version: UInt64) -> Int { Int((version - 1) % recentsMax) }

    static func byteCount(version: UInt64) -> Int {
        let used = min(version, recentsMax)
        return headerBytes + Int((used + recentsStep - 1) / recentsStep * recentsStep) * recentBytes
    }

    /// The oldest version that is in the row and not in `older`.
    var oldestRecent: UInt64 { version > Self.recentsMax ? version - Self.recentsMax + 1 : 1 }

    /// Takes in the stream's next event. Gives the position of the one that leaves the row, if one does.
    mutating func append(tag: UInt32, position: UInt64, state: UInt64) -> (version: UInt64, position: UInt64)? {
        version += 1
        last = position
        self.state = state
        let slot = Self.slot(ofVersion: version)
        let leaving = version > Self.recentsMax ? (version - Self.recentsMax, recents[slot].position) : nil
        recents[slot] = Recent(tag: tag, position: position)
        return leaving
    }

    /// Lends the stored form.
    func withBytes<R, E: Error>(_ body: (UnsafeRawBufferPointer) throws(E) -> R) throws(E) -> R {
        var buffer = InlineArray<176, UInt8>(repeating: 0)
        return try withUnsafeMutableBytes(of: &buffer) { (buffer) throws(E) in
            guard let base = buffer.baseAddress else { preconditionFailure("an inline array has bytes") }
            base.storeBigEndian(first, at: 0)
            base.storeBigEndian(last, at: 8)
            base.storeBigEndian(version, at: 16)
            base.storeBigEndian(state, at: 24)
            for slot in 0..<Int(min(version, Self.recentsMax)) {
                base.storeBigEndian(recents[slot].tag, at: Self.headerBytes + slot * Self.recentBytes)
                base.storeBigEndian(recents[slot].position, at: Self.headerBytes + slot * Self.recentBytes + 4)
            }
            return try body(UnsafeRawBufferPointer(start: base, count: Self.byteCount(version: version)))
        }
    }
}

/// A key of the table `older`.
struct OlderKey: Comparable {
    static let kindVersion: UInt8 = 1
    static let kindName: UInt8 = 2

    var first: UInt64
    var kind: UInt8
    /// The version, or the first eight bytes of the name hash.
    var high: UInt64
    /// The last four bytes of the name hash.
    var low: UInt32

    init(first: UInt64, version: UInt64) {
        self.first = first
        kind = Self.kindVersion
        high = version
        low = 0
    }

    init(first: UInt64, name: NameHash) {
        self.first = first
        kind = Self.kindName
        high = UInt64(name.tag) << 32 | name.rest >> 32
        low = UInt32(truncatingIfNeeded: name.rest)
    }

    static func < (left: OlderKey, right: OlderKey) -> Bool {
        if left.first != right.first { return left.first < right.first }
        if left.kind != right.kind { return left.kind < right.kind }
        return left.high != right.high ? left.high < right.high : left.low < right.low
    }

    func withBytes<R, E: Error>(_ body: (UnsafeRawBufferPointer) throws(E) -> R) throws(E) -> R {
        var buffer = InlineArray<24, UInt8>(repeating: 0)
        return try withUnsafeMutableBytes(of: &buffer) { (buffer) throws(E) in
            guard let base = buffer.baseAddress else { preconditionFailure("an inline array has bytes") }
            base.storeBigEndian(first, at: 0)
            base.storeBytes(of: kind, toByteOffset: 8, as: UInt8.self)
            base.storeBigEndian(high, at: 9)
            base.storeBigEndian(low, at: 17)
            return try body(UnsafeRawBufferPointer(start: base, count: kind == Self.kindVersion ? 17 : 21))
        }
    }
}
