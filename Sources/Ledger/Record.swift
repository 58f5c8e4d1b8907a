// The layout of a record, format 0: what the log stores for one event. Integers are big-endian.
//
// offset size
//  0     1    format = 0
//  1     1    type code
//  2     1    schema version
//  3     1    flags: bit 0 backfill, bit 1 occurred-at present; the others 0
//  4     1    variant: what the lifecycle needs of the data
//  5     1    stream kind
//  6     2    reserved, 0
//  8     4    actor: the uid of the peer that sent it
// 12     8    occurred-at, microseconds since 1970 UTC, signed; 0 when absent
// 20    16    ledger id
// 36     1    length of subject, 1...128
// 37     1    length of source, 1...255
// 38     1    length of event id, 1...128
// 39     1    length of correlation, 0 when absent
// 40     1    length of causation, 0 when absent
// 41     1    length of traceparent, 0 when absent
// 42     4    length of the public members
// 46     ...  subject, source, event id, correlation, causation, traceparent, then the public members: minified JSON
//             without the braces, such as "a":1,"b":2
// .      1    scheme of the personal part: 0 none, 255 in the clear, followed by
// .      4      its length, at least 1 (255 only)
// .      ...    the personal members, written like the public ones (255 only)
// end-32 8    position           the trailer, which the appender alone fills
// end-24 8    recorded-at, microseconds since 1970 UTC, signed; never less than that of the position before
// end-16 8    version: which of its stream's events this is, from 1
// end-8  8    reserved, 0
//
// For example, subject L-1, source s, id e, public "a":1, nothing else, at position 7:
//
//   00 01 01 00 00 00 0000 000003e8 0000000000000000 6f1c...(16) 03 01 01 00 00 00 00000005
//   4c2d31 73 65 2261223a31 00 0000000000000007 00064f1e8a6b2c40 0000000000000001 0000000000000000
//
// The leaf hash is SHA-256(0x00 || record). An event loop hashes the whole blocks before the trailer, the appender the rest.

/// The offsets of the layout above.
enum RecordLayout {
    static let format: UInt8 = 0
    static let flagBackfill: UInt8 = 1
    static let flagOccurredAt: UInt8 = 2

    static let headerBytes = 46
    static let trailerBytes = 32
    static let lengths = 36
    static let publicLength = 42

    static let schemeNone: UInt8 = 0
    static let schemeClear: UInt8 = 255

    // Within the trailer.
    static let position = 0
    static let recordedAt = 8
    static let version = 16
    static let trailerReserved = 24
}

/// What can be wrong with bytes that should be a record.
package enum RecordFault: String, CaseIterable, Sendable {
    case tooShort = "shorter than the shortest record"
    case tooLong = "longer than a record may be"
    case unknownFormat = "of a format this program does not know"
    case unknownFlags = "flags that have no meaning are set"
    case headerReserved = "the header's reserved bytes are not zero"
    case occurredAtUnflagged = "an occurred-at that the flags call absent"
    case subjectLength = "the subject's length is not 1 to 128"
    case sourceLength = "the source's length is 0"
    case eventIDLength = "the event id's length is not 1 to 128"
    case partsBeyondEnd = "its parts are longer than the whole"
    case unknownScheme = "the personal part is of an unknown scheme"
    case personalLength = "the personal part has no bytes"
    case partsShort = "its parts are shorter than the whole"
    case trailerReserved = "the trailer's reserved bytes are not zero"
    case versionZero = "the version is 0"
}

/// A record, read in place: a view of bytes that must outlive it, checked once as a whole.
///
/// ```swift
/// let record = try RecordView(validating: bytes)       // throws for anything the layout does not allow
/// print(record.position, record.publicMembers.count)
/// ```
package struct RecordView {
    package let whole: UnsafeRawBufferPointer
    private let publicStart: Int
    private let publicEnd: Int

    /// Checks every length of `bytes` against the layout.
    package init(validating bytes: UnsafeRawBufferPointer) throws(LedgerError) {
        if let fault = Self.fault(in: bytes) { throw LedgerError(.invalidRecord, "a record is \(fault.rawValue)") }
        self.init(trusted: bytes)
    }

    /// For bytes that the encoder wrote, or that were checked: the trailer may be unfilled still.
    init(trusted bytes: UnsafeRawBufferPointer) {
        whole = bytes
        var start = RecordLayout.headerBytes
        for index in 0..<6 { start += Int(bytes[RecordLayout.lengths + index]) }
        publicStart = start
        publicEnd = start + Int(bytes.bigEndian(at: RecordLayout.publicLength, as: UInt32.self))
    }

    /// What is wrong with `bytes`; nil when they are a record.
    package static func fault(in bytes: UnsafeRawBufferPointer) -> RecordFault? {
        typealias Layout = RecordLayout
        guard bytes.count >= Layout.headerBytes + 3 + 1 + Layout.trailerBytes else { return .tooShort }
        guard bytes.count <= LedgerLimits.recordBytesMax else { return .tooLong }
        guard bytes[0] == Layout.format else { return .unknownFormat }
        let flags = bytes[3]
        guard flags & ~(Layout.flagBackfill | Layout.flagOccurredAt) == 0 else { return .unknownFlags }
        guard bytes[6] | bytes[7] == 0 else { return .headerReserved }
        guard flags & Layout.flagOccurredAt != 0 || bytes.bigEndian(at: 12, as: Int64.self) == 0 else {
            return .occurredAtUnflagged
        }
        guard 1...LedgerLimits.identifierBytesMax ~= Int(bytes[36]) else { return .subjectLength }
        guard bytes[37] > 0 else { return .sourceLength }
        guard 1...LedgerLimits.identifierBytesMax ~= Int(bytes[38]) else { return .eventIDLength }

        var end = Layout.headerBytes + Int(bytes.bigEndian(at: Layout.publicLength, as: UInt32.self))
        for index in 0..<6 { end += Int(bytes[Layout.lengths + index]) }
        let trailer = bytes.count - Layout.trailerBytes
        guard end < trailer else { return .partsBeyondEnd }
        switch bytes[end] {
        case Layout.schemeNone: end += 1
        case Layout.schemeClear:
            guard end + 5 <= trailer else { return .partsBeyondEnd }
            let length = Int(bytes.bigEndian(at: end + 1, as: UInt32.self))
            guard length > 0 else { return .personalLength }
            end += 5 + length
        default: return .unknownScheme
        }
        guard end <= trailer else { return .partsBeyondEnd }
        guard end == trailer else { return .partsShort }
        guard bytes.bigEndian(at: trailer + Layout.trailerReserved, as: UInt64.self) == 0 else {
            return .trailerReserved
        }
        guard bytes.bigEndian(at: trailer + Layout.version, as: UInt64.self) > 0 else { return .versionZero }
        return nil
    }

    // MARK: Header

    package var type: UInt8 { whole[1] }
    package var schemaVersion: UInt8 { whole[2] }
    package var isBackfill: Bool { whole[3] & RecordLayout.flagBackfill != 0 }
    package var variant: UInt8 { whole[4] }
    package var streamKind: UInt8 { whole[5] }
    package var actor: UInt32 { whole.bigEndian(at: 8) }
    /// When it happened, as its sender said; nil where the sender did not.
    package var occurredAt: Int64? {
        whole[3] & RecordLayout.flagOccurredAt != 0 ? whole.bigEndian(at: 12) : nil
    }
    package var ledgerID: LedgerID { LedgerID(high: whole.bigEndian(at: 20), low: whole.bigEndian(at: 28)) }

    // MARK: Variable parts; empty where absent

    package var subject: UnsafeRawBufferPointer { text(0) }
    package var source: UnsafeRawBufferPointer { text(1) }
    package var eventID: UnsafeRawBufferPointer { text(2) }
    package var correlation: UnsafeRawBufferPointer { text(3) }
    package var causation: UnsafeRawBufferPointer { text(4) }
    package var traceparent: UnsafeRawBufferPointer { text(5) }
    package var publicMembers: UnsafeRawBufferPointer { slice(publicStart, publicEnd) }
    package var personalMembers: UnsafeRawBufferPointer {
        whole[publicEnd] == RecordLayout.schemeNone
            ? UnsafeRawBufferPointer(start: nil, count: 0) : slice(publicEnd + 5, trailer)
    }

    /// All of them but the members, which lie side by side.
    package var texts: UnsafeRawBufferPointer { slice(RecordLayout.headerBytes, publicStart) }

    private func text(_ index: Int) -> UnsafeRawBufferPointer {
        var start = RecordLayout.headerBytes
        for earlier in 0..<index { start += Int(whole[RecordLayout.lengths + earlier]) }
        return slice(start, start + Int(whole[RecordLayout.lengths + index]))
    }

    private func slice(_ start: Int, _ end: Int) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: whole[start..<end])
    }

    // MARK: Trailer

    private var trailer: Int { whole.count - RecordLayout.trailerBytes }

    package var position: Position { Position(rawValue: whole.bigEndian(at: trailer + RecordLayout.position)) }
    package var recordedAt: Int64 { whole.bigEndian(at: trailer + RecordLayout.recordedAt) }
    package var version: StreamVersion { StreamVersion(rawValue: whole.bigEndian(at: trailer + RecordLayout.version)) }

    // MARK: What follows from them

    /// When it happened, or where the sender did not say, when it was recorded.
    package var instant: Int64 { occurredAt ?? recordedAt }
    package var streamKey: StreamKey { StreamKey(kind: streamKind, subject: subject) }
    package var nameHash: NameHash { NameHash(source: source, eventID: eventID) }

    /// Both of them.
    var keys: EventKeys {
        let subjectEnd = RecordLayout.headerBytes + Int(whole[RecordLayout.lengths])
        let sourceCount = Int(whole[RecordLayout.lengths + 1])
        let end = subjectEnd + sourceCount + Int(whole[RecordLayout.lengths + 2])
        return EventKeys(
            kind: streamKind, subject: slice(RecordLayout.headerBytes, subjectEnd), sourceCount: sourceCount,
            sourceAndID: slice(subjectEnd, end), withInstructions: LeafHash.hasInstructions)
    }

    /// Whether both are the same event by name: stream, source and id.
    func hasSameName(as other: RecordView) -> Bool {
        // Equal lengths, then the three texts, which lie side by side.
        guard streamKind == other.streamKind, subject.count == other.subject.count,
            source.count == other.source.count, eventID.count == other.eventID.count
        else { return false }
        let end = RecordLayout.headerBytes + subject.count + source.count + eventID.count
        return slice(RecordLayout.headerBytes, end).hasSameBytes(as: other.slice(RecordLayout.headerBytes, end))
    }

    /// Whether the sender said the same: all of it but actor, ledger id, schema version and trailer, which are the
    /// daemon's. A retry after an update of the schemas is still the same event.
    package func hasSameContent(as other: RecordView) -> Bool {
        // 0..<2 format and type, 3..<8 flags to reserved, 12..<20 occurred-at, 36... the rest up to the trailer.
        guard whole.count == other.whole.count else { return false }
        return slice(0, 2).hasSameBytes(as: other.slice(0, 2)) && slice(3, 8).hasSameBytes(as: other.slice(3, 8))
            && slice(12, 20).hasSameBytes(as: other.slice(12, 20))
            && slice(36, trailer).hasSameBytes(as: other.slice(36, trailer))
    }
}
