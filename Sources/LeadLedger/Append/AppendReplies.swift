import Control
import JSON
import Leads
import Ledger
import Projections

// AppendReplies: what became of a unit, as it is answered.

extension AppendReceipt {
    /// Bytes that `receipt` of a text takes at most: names, numbers and a leaf of 44 for each event, and its subject, of which
    /// each byte may be escaped.
    func textBytesMax(of unit: AppendUnit) -> Int {
        var bytes = 224
        for index in events.indices { bytes += 160 + 6 * unit.subject(ofEvent: index).count }
        return bytes
    }
}

extension TextCursor {
    /// The result of `append`. See the article on the wire.
    ///
    /// - Parameter instants: keeps the text of the recorded time, which all events of a commit share.
    mutating func receipt(
        _ receipt: AppendReceipt, of unit: AppendUnit, isDryRun: Bool = false, _ instants: inout InstantEncoder
    ) {
        literal(isDryRun ? #"{"dry_run":true,"first":"# : #"{"first":"#)
        digits(receipt.first.rawValue)
        literal(#","last":"#)
        digits(receipt.last.rawValue)
        literal(#","events":["#)
        for index in receipt.events.indices {
            let event = receipt.events[index]
            literal(index == 0 ? #"{"position":"# : #",{"position":"#)
            digits(event.position.rawValue)
            literal(#","stream":"lead","subject":""#)
            escaped(unit.subject(ofEvent: index))
            literal(#"","version":"#)
            digits(event.version.rawValue)
            literal(#","leaf":""#)
            event.leaf.withBytes { base64($0) }
            literal(#""}"#)
        }
        literal(#"],"recordedtime":""#)
        at += instants.write(receipt.recordedAt, to: at)
        literal(receipt.isDuplicate ? #"","duplicate":true"# : #"","duplicate":false"#)
        literal(#","durability":"synced"}"#)
    }
}

extension JSONWriter {
    /// As above, within another answer.
    mutating func receipt(_ receipt: AppendReceipt, of unit: AppendUnit) {
        let bytesMax = receipt.textBytesMax(of: unit)
        withUnsafeTemporaryAllocation(byteCount: bytesMax, alignment: 1) { place in
            guard let start = place.baseAddress else { return }
            var instants = InstantEncoder()
            var text = TextCursor(start)
            text.receipt(receipt, of: unit, &instants)
            raw(UnsafeRawBufferPointer(start: start, count: start.distance(to: text.at)))
        }
    }

    /// What a dry run says of a unit that would be stored.
    mutating func dryRun(_ versions: [StreamVersion], of unit: AppendUnit) {
        beginObject()
        key("dry_run")
        bool(true)
        key("events")
        beginArray()
        for (index, version) in versions.enumerated() {
            beginObject()
            key("stream")
            raw("\"lead\"" as StaticString)
            key("subject")
            string(utf8: unit.subject(ofEvent: index))
            key("version")
            integer(version.rawValue)
            endObject()
        }
        endArray()
        key("duplicate")
        bool(false)
        endObject()
    }

    /// A string of base64, padded.
    mutating func base64(_ bytes: UnsafeRawBufferPointer) {
        withUnsafeTemporaryAllocation(byteCount: Base64.encodedCount(of: bytes.count) + 2, alignment: 1) { place in
            guard let start = place.baseAddress else { return }
            var text = TextCursor(start)
            text.literal("\"")
            text.base64(bytes)
            text.literal("\"")
            raw(UnsafeRawBufferPointer(place))
        }
    }

    /// A string of RFC 3339 in UTC.
    mutating func instant(_ instant: Instant) {
        withUnsafeTemporaryAllocation(byteCount: Instant.textBytesMax + 2, alignment: 1) { text in
            text[0] = UInt8(ascii: "\"")
            let count = instant.write(to: UnsafeMutableRawBufferPointer(rebasing: text[1...]))
            text[count + 1] = UInt8(ascii: "\"")
            raw(UnsafeRawBufferPointer(rebasing: text[..<(count + 2)]))
        }
    }
}

extension ErrorReply {
    /// Why `unit` was not stored.
    init(_ refusal: AppendRefusal, of unit: AppendUnit, expecting leads: [String]) {
        switch refusal {
        case .idReused(let event, let position):
            self.init(
                .idReused, "the event at position \(position) has this subject, source and id, and says something else",
                at: .params("/events/\(event)"),
                members: {
                    $0.key("position"); $0.integer(position.rawValue)
                })
        case .partialDuplicate(let stored):
            self.init(
                .partialDuplicate, "\(stored.count) of the unit's \(unit.eventCount) events are stored already",
                at: .params("/events/\(stored.first?.event ?? 0)"),
                members: { writer in
                    writer.key("stored")
                    writer.beginArray()
                    for entry in stored {
                        writer.beginObject()
                        writer.key("event")
                        writer.integer(entry.event)
                        writer.key("position")
                        writer.integer(entry.position.rawValue)
                        writer.endObject()
                    }
                    writer.endArray()
                })
        case .nameTwiceInUnit(let event, let first):
            self.init(
                .duplicateNameInUnit, "events \(first) and \(event) have the same subject, source and id",
                at: .params("/events/\(event)"),
                members: {
                    $0.key("first"); $0.integer(first)
                })
        case .versionConflict(let expectation, let current, let since):
            self.init(
                .versionConflict, "\(leads[expectation]) has version \(current)",
                at: .params("/expect/\(expectation)"),
                members: { writer in
                    writer.key("lead")
                    writer.string(leads[expectation])
                    writer.key("expected")
                    unit.expectedVersion(expectation).write(to: &writer)
                    writer.key("current")
                    writer.integer(current.rawValue)
                    writer.key("since")
                    writer.beginArray()
                    for event in since {
                        writer.beginObject()
                        writer.key("position")
                        writer.integer(event.position.rawValue)
                        writer.key("type")
                        writer.string(EventType(rawValue: event.type)?.name ?? "unknown.\(event.type)")
                        writer.endObject()
                    }
                    writer.endArray()
                })
        case .lifecycle(let event, let reason, let state):
            self.init(lifecycle: event, reason, state.flatMap { LeadState(rawValue: $0) }, of: unit)
        case .ledgerFull: self.init(.ledgerFull, "the log's map is full; nothing was stored")
        case .diskFull: self.init(.diskFull, "the log's device is full; nothing was stored")
        case .clockBehind(let last, let now):
            self.init(
                .clockBehind, "the daemon's clock is behind the newest record", at: nil,
                members: { writer in
                    writer.key("last_recordedtime")
                    writer.instant(Instant(microseconds: last))
                    writer.key("now")
                    writer.instant(Instant(microseconds: now))
                })
        case .poisoned: self.init(.poisoned, "the log's device has failed; nothing was stored")
        case .tailFull(let milliseconds):
            self.init(
                .busy, "the index is too far behind the log; nothing was stored", retryAfterMilliseconds: milliseconds)
        }
    }

    private init(lifecycle event: Int, _ reason: UInt8, _ state: LeadState?, of unit: AppendUnit) {
        if reason == LeadStreams.unreadableState {
            self.init(
                .corrupted, "the index's row of this lead is not readable; nothing was stored",
                at: .params("/events/\(event)"))
            return
        }
        let refusal = LifecycleRefusal(rawValue: reason)
        let name = refusal.flatMap { ErrorName(rawValue: $0.name) } ?? .internalError
        let lead = String(decoding: unit.subject(ofEvent: event), as: UTF8.self)
        let type = EventType(rawValue: unit.type(ofEvent: event))?.name ?? "the event"
        guard let state, refusal == .transitionRefused else {
            self.init(
                name, "\(type) needs a lead that was captured, and no event names \(lead)",
                at: .params("/events/\(event)"),
                members: {
                    $0.key("lead"); $0.string(lead)
                })
            return
        }
        self.init(
            name, "\(lead) is \(state); \(type) cannot happen to it now", at: .params("/events/\(event)/type"),
            members: { writer in
                writer.key("lead")
                writer.string(lead)
                writer.key("stage")
                writer.string(state.stage.name)
                writer.key("custody")
                writer.string(state.custody.name)
                writer.key("cycle")
                writer.integer(state.cycle)
                writer.key("allowed")
                writer.beginArray()
                for allowed in Lifecycle.accepted(in: state) { writer.string(allowed) }
                writer.endArray()
            })
    }

    /// With more members of `data`, as `body` writes them.
    init(_ name: ErrorName, _ message: String, at place: Place?, members body: (inout JSONWriter) -> Void) {
        var writer = JSONWriter()
        writer.beginObject()
        body(&writer)
        writer.endObject()
        self.init(name, message, at: place, details: Array(writer.bytes.dropFirst().dropLast()))
    }
}
