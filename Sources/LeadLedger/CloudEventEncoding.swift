import JSON
import Leads
import Ledger

// CloudEventEncoding: a stored record becomes the CloudEvent that went in (member order of data apart: public members
// first) plus the extension attributes position, version, recordedtime and actor.
//
//   {"specversion":"1.0","id":"..","source":"..","type":"..","subject":"..","time":"..","backfill":true,
//    "correlationid":"..","causationid":"..","traceparent":"..","data":{PUBLIC,PERSONAL},
//    "position":N,"version":N,"recordedtime":"..","actor":N}
//
// Nothing is re-encoded: the data members are the stored bytes. One client that replays the log has each event pass here, so
// it is a row of copies into memory whose size is known to be enough beforehand.

/// Writes records as CloudEvents.
///
/// ```swift
/// var encoder = CloudEventEncoder()
/// // `place` has room for encoder.bytesMax(of: record)
/// let count = encoder.write(record, to: place)
/// ```
///
/// It keeps the last texts of instants: events of one commit share their recorded-at, and those of a day its date.
struct CloudEventEncoder {
    private var time = InstantEncoder()
    private var recordedTime = InstantEncoder()

    /// All that is not a text of the sender's: names, punctuation, the type (at most 40 bytes), two instants and three
    /// numbers. It comes to less than 400.
    private static let fixedBytesMax = 512
    /// `\u001f`
    private static let escapedBytesMax = 6

    /// How much room `write` may take.
    func bytesMax(of record: RecordView) -> Int {
        let texts =
            record.subject.count + record.source.count + record.eventID.count + record.correlation.count
            + record.causation.count + record.traceparent.count
        return Self.fixedBytesMax + Self.escapedBytesMax * texts + record.publicMembers.count
            + record.personalMembers.count
    }

    /// Writes `record` as one JSON object.
    ///
    /// - Parameter place: has room for `bytesMax(of: record)`; what lies behind the text may be overwritten up to there.
    /// - Returns: the bytes written.
    mutating func write(_ record: RecordView, to place: UnsafeMutableRawPointer) -> Int {
        var text = TextCursor(place)
        text.isPlain = record.texts.isPlainInJSON
        text.literal(#"{"specversion":"1.0","id":""#)
        text.escaped(record.eventID)
        text.literal(#"","source":""#)
        text.escaped(record.source)
        text.literal(#"","type":""#)
        if let type = EventType(rawValue: record.type) {
            text.literal(type.staticName)
        } else {
            text.literal("unknown.")
            text.digits(UInt64(record.type))
        }
        text.literal(#"","subject":""#)
        text.escaped(record.subject)
        if let occurredAt = record.occurredAt {
            text.literal(#"","time":""#)
            text.at += time.write(occurredAt, to: text.at)
        }
        text.literal(record.isBackfill ? #"","backfill":true"# : #"""#)
        optional(#","correlationid":""#, record.correlation, &text)
        optional(#","causationid":""#, record.causation, &text)
        optional(#","traceparent":""#, record.traceparent, &text)
        text.literal(#","data":{"#)
        let (publicMembers, personalMembers) = (record.publicMembers, record.personalMembers)
        text.copy(publicMembers)
        if !publicMembers.isEmpty, !personalMembers.isEmpty { text.literal(",") }
        text.copy(personalMembers)
        text.literal(#"},"position":"#)
        text.digits(record.position.rawValue)
        text.literal(#","version":"#)
        text.digits(record.version.rawValue)
        text.literal(#","recordedtime":""#)
        text.at += recordedTime.write(record.recordedAt, to: text.at)
        text.literal(#"","actor":"#)
        text.digits(UInt64(record.actor))
        text.literal("}")
        let count = place.distance(to: text.at)
        assert(count <= bytesMax(of: record), "an event was longer than it may be")
        return count
    }

    private func optional(_ name: StaticString, _ value: UnsafeRawBufferPointer, _ text: inout TextCursor) {
        guard !value.isEmpty else { return }
        text.literal(name)
        text.escaped(value)
        text.literal(#"""#)
    }
}

extension JSONWriter {
    /// Writes `record` as one JSON object.
    mutating func cloudEvent(_ record: RecordView, with encoder: inout CloudEventEncoder) {
        withUnsafeTemporaryAllocation(byteCount: encoder.bytesMax(of: record), alignment: 1) { place in
            guard let start = place.baseAddress else { return }
            let count = encoder.write(record, to: start)
            raw(UnsafeRawBufferPointer(start: start, count: count))
        }
    }
}

/// Writes instants in RFC 3339, quickly where they are the last one again or of its day.
struct InstantEncoder {
    private var microseconds = Int64.min
    private var day = Int64.min
    private var count = 0
    /// The last text, of `count` bytes.
    private var text = SIMD32<UInt8>(repeating: 0)

    /// - Parameter place: has room for 32 bytes, more than a text takes.
    mutating func write(_ instant: Int64, to place: UnsafeMutableRawPointer) -> Int {
        if instant != microseconds || count == 0 { encode(instant) }
        place.storeBytes(of: text, as: SIMD32<UInt8>.self)
        return count
    }

    private mutating func encode(_ instant: Int64) {
        microseconds = instant
        let perDay = Instant.microsecondsPerDay
        let newDay = instant >= 0 ? instant / perDay : -1
        guard instant >= 0, newDay == day else {
            count = withUnsafeMutableBytes(of: &text) { Instant(microseconds: instant).write(to: $0) }
            // Before 1970 and beyond the year 9999 nothing is kept: those days are rare, and their arithmetic is not this one.
            day = instant >= 0 && instant <= Instant.latest.microseconds ? newDay : .min
            return
        }
        let inDay = instant - newDay * perDay
        let second = UInt32(truncatingIfNeeded: inDay / 1_000_000)
        let fraction = UInt32(truncatingIfNeeded: inDay % 1_000_000)
        count = withUnsafeMutableBytes(of: &text) { text in
            Self.put(second / 3_600, at: 11, in: text)
            Self.put(second / 60 % 60, at: 14, in: text)
            Self.put(second % 60, at: 17, in: text)
            text[19] = fraction == 0 ? UInt8(ascii: "Z") : UInt8(ascii: ".")
            if fraction == 0 { return 20 }
            Self.put(fraction / 10_000, at: 20, in: text)
            Self.put(fraction / 100 % 100, at: 22, in: text)
            Self.put(fraction % 100, at: 24, in: text)
            text[26] = UInt8(ascii: "Z")
            return 27
        }
    }

    /// Two digits.
    @inline(__always)
    private static func put(_ number: UInt32, at start: Int, in text: UnsafeMutableRawBufferPointer) {
        text[start] = UInt8(ascii: "0") + UInt8(truncatingIfNeeded: number / 10)
        text[start + 1] = UInt8(ascii: "0") + UInt8(truncatingIfNeeded: number % 10)
    }
}
