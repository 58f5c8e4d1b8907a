// EventTemplate: the events that the benchmark sends, written once and afterwards only copied and patched. Everything that
// differs from event to event has a fixed width and a known place, so making a request costs a copy of half a kilobyte.
import Glibc

/// One kind of event, as the request line that appends it and as the record that a log keeps of it.
///
/// ```
/// {"jsonrpc":"2.0","id":1000000042,"method":"append","params":{"events":[{"id":"c-1000000042","source":"urn:bench:web",
///                       ^ requestID                                            ^ eventID
///   "type":"lead.captured","subject":"lead-c-0000000007","time":"2025-01-01T00:00:42Z","data":{...}}]}}\n
///                                            ^ subject            ^ time
/// ```
///
/// The record is of format 0, drawn in `Ledger`'s Record.swift: the bare loop stores the bytes that the daemon stores.
struct EventTemplate {
    /// Bytes of every event's JSON, padded in `referrer`: a usual capture from a form.
    static let eventBytes = 450
    /// Digits of a request id and of the number in an event id or a lead's id.
    static let digits = 10
    /// Request ids start here: all are to be of one length, and a JSON number does not begin with zeros.
    static let firstNumber: UInt64 = 1_000_000_000

    let isCapture: Bool
    /// The request with its newline. The lines of all templates are equally long.
    let line: [UInt8]
    /// The event's own JSON within the line.
    let event: Range<Int>
    let requestIDOffset: Int
    let eventIDOffset: Int
    let subjectOffset: Int
    let timeOffset: Int

    let record: [UInt8]
    let recordSubjectOffset: Int
    let recordEventIDOffset: Int

    /// - Parameter tag: a letter that keeps the ids of one load apart from those of another on the same daemon.
    init(tag: Character, isCapture: Bool, publicMembers: [String], personalMembers: [String]) {
        self.isCapture = isCapture
        let number = String(repeating: "0", count: Self.digits)
        let type = isCapture ? "lead.captured" : "lead.touched"
        let source = "urn:bench:web"
        let eventID = "\(tag)-\(number)"
        let subject = "lead-\(tag)-\(number)"

        // 1. The event, padded to its length.
        func marked(padding: String) -> MarkedText {
            var text = MarkedText()
            text.append(#"{"id":""#)
            text.append(eventID, mark: .eventID, at: 2)
            text.append(#"","source":"\#(source)","type":"\#(type)","subject":""#)
            text.append(subject, mark: .subject, at: 7)
            text.append(#"","time":""#)
            text.append("2025-01-01T00:00:00Z", mark: .time, at: 0)
            let members = publicMembers + [Self.referrer(padding)] + personalMembers
            text.append(#"","data":{"# + members.joined(separator: ",") + "}}")
            return text
        }
        let missing = Self.eventBytes - marked(padding: "").bytes.count
        precondition(missing >= 0, "the event is \(-missing) bytes too long")
        let padding = String(repeating: "x", count: missing)
        let event = marked(padding: padding)

        // 2. The request around it.
        var request = MarkedText()
        request.append(#"{"jsonrpc":"2.0","id":"#)
        request.append(number, mark: .requestID, at: 0)
        request.append(#","method":"append","params":{"events":["#)
        let start = request.bytes.count
        request.append(event)
        request.append("]}}\n")
        line = request.bytes
        self.event = start..<start + event.bytes.count
        requestIDOffset = request.marks[.requestID]!
        eventIDOffset = request.marks[.eventID]!
        subjectOffset = request.marks[.subject]!
        timeOffset = request.marks[.time]!

        // 3. The record: header, texts, public members, personal part, trailer.
        let publicText = (publicMembers + [Self.referrer(padding)]).joined(separator: ",")
        let personalText = personalMembers.joined(separator: ",")
        var record = MarkedText()
        record.bytes = [0, isCapture ? 1 : 2, 1, 2, 0, 0, 0, 0]
        record.append(integer: getuid())
        // 2025-01-01T00:00:00Z.
        record.append(integer: 1_735_689_600_000_000 as Int64)
        record.append(integer: 0x6C65_6164_2D6C_6564 as UInt64)
        record.append(integer: 0x6765_722D_6265_6E63 as UInt64)
        record.bytes += [UInt8(subject.utf8.count), UInt8(source.utf8.count), UInt8(eventID.utf8.count), 0, 0, 0]
        record.append(integer: UInt32(publicText.utf8.count))
        record.append(subject, mark: .subject, at: 7)
        record.append(source)
        record.append(eventID, mark: .eventID, at: 2)
        record.append(publicText)
        if personalText.isEmpty {
            record.bytes.append(0)
        } else {
            record.bytes.append(255)
            record.append(integer: UInt32(personalText.utf8.count))
            record.append(personalText)
        }
        // Position and recorded-at are patched or left; the version is the first that is allowed.
        for value: UInt64 in [0, 0, 1, 0] { record.append(integer: value) }
        self.record = record.bytes
        recordSubjectOffset = record.marks[.subject]!
        recordEventIDOffset = record.marks[.eventID]!
    }

    private static func referrer(_ padding: String) -> String { #""referrer":"https://www.example.com/\#(padding)""# }
}

/// Bytes under construction, with the places that are patched later.
private struct MarkedText {
    enum Mark { case requestID, eventID, subject, time }

    var bytes: [UInt8] = []
    private(set) var marks: [Mark: Int] = [:]

    mutating func append(_ text: String) { bytes += text.utf8 }

    /// Appends and marks the place `offset` bytes into `text`.
    mutating func append(_ text: String, mark: Mark, at offset: Int) {
        marks[mark] = bytes.count + offset
        append(text)
    }

    mutating func append(_ other: MarkedText) {
        for (mark, offset) in other.marks { marks[mark] = bytes.count + offset }
        bytes += other.bytes
    }

    mutating func append<T: FixedWidthInteger>(integer: T) {
        withUnsafeBytes(of: integer.bigEndian) { bytes += $0 }
    }
}
