import JSON
package import Leads
package import Ledger

/// A stretch of the log, read and checked once, with what the read models need of each event: all of them share it.
///
/// The events lie in the order of their leads' keys, each lead's in the order of the log: a model comes to each of its rows once,
/// and goes through its tables in the order of the keys, which is several times cheaper than going through them as the log does.
/// That changes no byte of a model, since no row depends on events of two leads. Events of pools, which are few, follow in the
/// order of the log; what a model makes of them goes into rows that no lead's events change.
///
/// Invariants:
/// - V1: it has the events of leads and of pools at the positions `start..<end`, all of them, and no other.
/// - V2: the event at `end` cannot be projected by any model if there is a `fault`.
/// - V3: it holds no personal field (P3 of ``Projection``), and is not changed once it is made.
final class EventBatch: Sendable {
    let start: UInt64
    let end: UInt64
    /// Bytes of the records it was made of.
    let recordBytes: Int
    /// Why the event at `end` stops every model.
    let fault: BadEvent?
    private let events: [DecodedEvent]
    private let poolEvents: [DecodedEvent]
    private let texts: [UInt8]

    fileprivate init(
        start: UInt64, end: UInt64, recordBytes: Int, fault: BadEvent?, events: [DecodedEvent],
        poolEvents: [DecodedEvent], texts: [UInt8]
    ) {
        self.start = start
        self.end = end
        self.recordBytes = recordBytes
        self.fault = fault
        self.events = events
        self.poolEvents = poolEvents
        self.texts = texts
    }

    /// Whether somebody who has come to `position` can go on with it.
    func continues(at position: UInt64) -> Bool {
        position >= start && (position < end || position == end && fault != nil)
    }

    /// Lends the events at the positions `range`.
    func withEvents<R>(in range: Range<UInt64>, _ body: (EventRun) throws -> R) rethrows -> R {
        try events.withUnsafeBufferPointer { events in
            try poolEvents.withUnsafeBufferPointer { poolEvents in
                try texts.withUnsafeBytes { texts in
                    try body(EventRun(events: events[...], poolEvents: poolEvents, texts: texts, range: range))
                }
            }
        }
    }
}

/// The events of a batch, lead by lead in the order of the leads' keys, and those of pools apart. Valid only while it is lent.
package struct EventRun: Sequence, IteratorProtocol {
    private var events: Slice<UnsafeBufferPointer<DecodedEvent>>
    private let poolEvents: UnsafeBufferPointer<DecodedEvent>
    private let texts: UnsafeRawBufferPointer
    private let range: Range<UInt64>

    fileprivate init(
        events: Slice<UnsafeBufferPointer<DecodedEvent>>, poolEvents: UnsafeBufferPointer<DecodedEvent>,
        texts: UnsafeRawBufferPointer, range: Range<UInt64>
    ) {
        self.events = events
        self.poolEvents = poolEvents
        self.texts = texts
        self.range = range
    }

    package mutating func next() -> LeadEvents? {
        while let first = events.first {
            var end = events.startIndex + 1
            while end < events.endIndex, events.base[end].lead == first.lead { end += 1 }
            var group = events[events.startIndex..<end]
            events = events[end...]
            // Within a lead positions ascend.
            while let event = group.first, event.position < range.lowerBound { group.removeFirst() }
            while let event = group.last, event.position >= range.upperBound { group.removeLast() }
            if !group.isEmpty { return LeadEvents(key: first.lead, events: group, texts: texts) }
        }
        return nil
    }

    /// The same in parts of so many events of leads or a few more, the last of fewer: no lead's are in two of them, and the pools' are
    /// in the last.
    func parts(of count: Int) -> [EventRun] {
        precondition(count > 0, "a part has an event")
        guard range.count > count else { return [self] }
        var parts: [EventRun] = []
        var start = events.startIndex
        while true {
            var end = Swift.min(start + count, events.endIndex)
            while start < end, end < events.endIndex, events.base[end].lead == events.base[end - 1].lead { end += 1 }
            let isLast = end == events.endIndex
            parts.append(
                EventRun(
                    events: events[start..<end], poolEvents: isLast ? poolEvents : .init(rebasing: poolEvents[..<0]),
                    texts: texts, range: range))
            if isLast { return parts }
            start = end
        }
    }

    /// What happened to pools, in the order of the log.
    package var pools: some Sequence<ProjectedEvent> {
        let (texts, range) = (texts, range)
        return poolEvents.lazy.filter { range.contains($0.position) }.map { ProjectedEvent($0, texts) }
    }
}

/// What happened to one lead within a batch, at least one event, in the order of the log.
package struct LeadEvents: Sequence {
    package let key: StreamKey
    private let events: Slice<UnsafeBufferPointer<DecodedEvent>>
    private let texts: UnsafeRawBufferPointer

    fileprivate init(
        key: StreamKey, events: Slice<UnsafeBufferPointer<DecodedEvent>>, texts: UnsafeRawBufferPointer
    ) {
        self.key = key
        self.events = events
        self.texts = texts
    }

    package struct Iterator: IteratorProtocol {
        private var events: Slice<UnsafeBufferPointer<DecodedEvent>>.Iterator
        private let texts: UnsafeRawBufferPointer

        fileprivate init(_ events: Slice<UnsafeBufferPointer<DecodedEvent>>, _ texts: UnsafeRawBufferPointer) {
            self.events = events.makeIterator()
            self.texts = texts
        }

        package mutating func next() -> ProjectedEvent? { events.next().map { ProjectedEvent($0, texts) } }
    }

    package func makeIterator() -> Iterator { Iterator(events, texts) }
}

/// An event of a lead or of a pool, decoded as far as a read model needs it. Valid only while its batch is lent.
package struct ProjectedEvent {
    private let event: DecodedEvent
    private let texts: UnsafeRawBufferPointer

    fileprivate init(_ event: DecodedEvent, _ texts: UnsafeRawBufferPointer) {
        self.event = event
        self.texts = texts
    }

    package var position: UInt64 { event.position }
    package var type: EventType { event.type }
    package var variant: EventVariant { event.variant }
    /// Which of its lead's events this is, from 1.
    package var version: UInt64 { event.version }
    /// When it happened; where its sender did not say, when it was recorded.
    package var instant: Int64 { event.instant }
    package var occurrence: Occurrence { Occurrence(time: Instant(microseconds: instant), position: position) }
    package var isBackfill: Bool { event.flags.contains(.backfill) }
    package var lead: StreamKey { event.lead }
    /// The lead's id.
    package var subject: UnsafeRawBufferPointer {
        slice(Int(event.textsStart), Int(event.subjectBytes))
    }

    /// A text of its data; empty where it is absent, and, of the marketing fields, where it is blank.
    ///
    /// - Precondition: the event's type is one whose data has this text (`DataText.kept(of:)`).
    func text(_ text: DataText) throws(BadEvent) -> UnsafeRawBufferPointer {
        assert(DataText.kept(of: type) & text.bit != 0, "\(type.name) was decoded without \(text)")
        try requireData()
        var start = Int(event.textsStart) + Int(event.subjectBytes)
        for earlier in 0..<text.rawValue { start += Int(event.textBytes[earlier]) }
        return slice(start, Int(event.textBytes[text.rawValue]))
    }

    /// Whether a touch went out to the lead.
    func isOutbound() throws(BadEvent) -> Bool {
        try requireData()
        return event.flags.contains(.outbound)
    }

    /// The amount of a win or of its revision, in minor units.
    func amount() throws(BadEvent) -> Int64 {
        try requireData()
        guard event.flags.contains(.amount) else { throw BadEvent("it has no amount in whole minor units") }
        return event.amount
    }

    /// The currency of a win, packed.
    func currency() throws(BadEvent) -> UInt32 {
        try requireData()
        guard event.currency != 0 else { throw BadEvent("it has no currency of ISO 4217") }
        return event.currency
    }

    /// What its data says of its clock.
    ///
    /// - Precondition: it is one of a clock.
    func clock() throws(BadEvent) -> ClockFacts { try ClockFacts(stored: detail()) }

    /// The turn that an assignment was in its pool's rotation; nil where it was none.
    func turn() throws(BadEvent) -> KeptTurn? {
        let detail = try detail()
        return detail.isEmpty ? nil : KeptTurn(stored: detail)
    }

    /// The position of the decision that `pool.decision_voided` takes out.
    func voidedDecision() throws(BadEvent) -> UInt64 {
        try requireData()
        guard event.flags.contains(.amount), event.amount >= 0 else { throw BadEvent("it names no decision") }
        return UInt64(event.amount)
    }

    private func detail() throws(BadEvent) -> UnsafeRawBufferPointer {
        try requireData()
        var start = Int(event.textsStart) + Int(event.subjectBytes)
        for text in 0..<DataText.allCases.count { start += Int(event.textBytes[text]) }
        let detail = slice(start, Int(event.detailBytes))
        if event.flags.contains(.badDetail) { throw BadEvent(detail.utf8String) }
        return detail
    }

    /// A model that asks for nothing in the data of an event goes on.
    private func requireData() throws(BadEvent) {
        guard event.flags.contains(.unreadable) else { return }
        let reason = slice(Int(event.textsStart) + Int(event.subjectBytes), Int(event.textBytes[0]))
        throw BadEvent("its data cannot be read: \(reason.utf8String)")
    }

    private func slice(_ start: Int, _ count: Int) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: texts[start..<start + count])
    }

    /// Runs what takes this event in, so that its error says which event it was.
    @inline(__always)
    func locating<R>(_ body: () throws -> R) throws -> R {
        do { return try body() } catch let error as BadEvent {
            throw LocatedBadEvent(position: position, reason: error.reason)
        }
    }
}

/// A text in the data of an event that some model keeps.
enum DataText: Int, CaseIterable {
    case channel, source, campaign, medium, landingPage, by, member, queue, reason

    var bit: UInt16 { 1 << UInt16(rawValue) }

    static let marketing = UInt16(0b1_1111)

    /// The texts that are kept of the events of a type, as a sum of `bit`s.
    static func kept(of type: EventType) -> UInt16 {
        switch type {
        case .captured, .touched: marketing
        case .contactAttempted, .contacted: by.bit
        case .assigned: member.bit
        case .queued: queue.bit | reason.bit
        case .wonRevised, .lost, .disqualified, .recycled, .reopened, .rejected, .released: reason.bit
        default: 0
        }
    }
}

/// An event as it lies in a batch.
private struct DecodedEvent {
    struct Flags: OptionSet {
        var rawValue: UInt8
        static let backfill = Flags(rawValue: 1)
        static let outbound = Flags(rawValue: 2)
        static let amount = Flags(rawValue: 4)
        /// Its data is no JSON: text 0 says why.
        static let unreadable = Flags(rawValue: 8)
        /// What it says beyond its texts cannot be: its detail says why.
        static let badDetail = Flags(rawValue: 16)
    }

    var lead: StreamKey
    var position: UInt64
    var version: UInt64
    var instant: Int64
    var amount: Int64 = 0
    /// Packed; 0 where it is none of ISO 4217.
    var currency: UInt32 = 0
    /// Where its texts begin among those of the batch: the lead's id, those of `DataText`, one after the other, then its detail.
    var textsStart: UInt32
    var subjectBytes: UInt8
    var type: EventType
    var variant: EventVariant
    var flags: Flags
    /// A record, and so any text in it, is shorter than 60 KiB.
    var textBytes = InlineArray<9, UInt16>(repeating: 0)
    /// What only few types have: `ClockFacts` of a clock's event, a `KeptTurn` of an assignment. Never longer than the record.
    var detailBytes: UInt16 = 0
}

extension EventType {
    /// Whether its data holds more than texts and an amount, and so is parsed for good.
    fileprivate var hasDetail: Bool { isOfClock || self == .poolDecisionVoided }
}

/// Makes batches. It owns a parser and memory that is used again, so each thread has its own.
final class EventDecoder {
    private var parser = JSONParser()
    private var document: [UInt8] = []
    /// As many as the last batch had, so that the next one's do not have to grow.
    private var textBytes = 0

    init() {}

    /// Reads a batch of at most `limit` events, as far as one slice of reading goes; nil where the log ends.
    ///
    /// - Throws: what the source throws. An event that no model can project is no error but the batch's `fault`.
    func decode(from start: UInt64, limit: Int, of source: any EventSource) throws -> EventBatch? {
        var events: [DecodedEvent] = []
        var poolEvents: [DecodedEvent] = []
        var texts: [UInt8] = []
        events.reserveCapacity(limit)
        texts.reserveCapacity(textBytes)
        var recordBytes = 0
        var fault: BadEvent?
        let end = try source.read(
            from: Position(rawValue: start), limit: limit, maxBytes: ProjectionLimits.batchBytesMax
        ) { record in
            recordBytes += record.whole.count
            do throws(BadEvent) {
                switch record.streamKind {
                case LeadStreams.kind: events.append(try decode(record, of: .lead, &texts))
                case StreamKind.pool.rawValue: poolEvents.append(try decode(record, of: .pool, &texts))
                // The events of other streams are nobody's.
                default: break
                }
            } catch {
                fault = error
                return false
            }
            return true
        }.rawValue
        guard end > start else { return nil }
        textBytes = texts.count
        return EventBatch(
            // The event that stopped the reading was read.
            start: start, end: fault == nil ? end : end - 1, recordBytes: recordBytes, fault: fault,
            events: sortedByLead(events), poolEvents: poolEvents, texts: texts)
    }

    /// - Throws: `BadEvent` for an event this program does not know: a later one wrote it.
    private func decode(
        _ record: RecordView, of stream: StreamKind, _ texts: inout [UInt8]
    ) throws(BadEvent) -> DecodedEvent {
        guard let type = EventType(rawValue: record.type), type.isSupported, type.stream == stream else {
            throw BadEvent("no read model knows an event with type code \(record.type)")
        }
        guard let variant = EventVariant(rawValue: record.variant), variant.isValid(for: type) else {
            throw BadEvent("\(type.name) has the unknown variant \(record.variant)")
        }
        let subject = record.subject
        var event = DecodedEvent(
            lead: record.streamKey, position: record.position.rawValue, version: record.version.rawValue,
            instant: record.instant, textsStart: UInt32(texts.count), subjectBytes: UInt8(subject.count), type: type,
            variant: variant, flags: record.isBackfill ? .backfill : [])
        texts.append(contentsOf: subject)
        let kept = DataText.kept(of: type)
        if kept != 0 || type == .won || type.hasDetail { takeData(record.publicMembers, kept, into: &event, &texts) }
        return event
    }

    /// Takes what is kept out of a member list, which is an object without its braces.
    private func takeData(
        _ members: UnsafeRawBufferPointer, _ kept: UInt16, into event: inout DecodedEvent, _ texts: inout [UInt8]
    ) {
        do throws(JSONError) {
            // Nearly all are of the simple kind, for which a parser is a large machine.
            let found: KeptMembers
            var root: JSONValue?
            if !event.type.hasDetail, let simple = KeptMembers(simple: members) {
                found = simple
            } else {
                let parsed = try parse(members)
                root = parsed
                found = KeptMembers(parsed)
            }
            if found.isOutbound { event.flags.insert(.outbound) }
            if let amount = found.amount {
                event.amount = amount
                event.flags.insert(.amount)
            }
            event.currency = found.currency.flatMap { Currency(utf8: $0)?.packed } ?? 0
            for text in 0..<9 where kept & 1 << UInt16(text) != 0 {
                let bytes = found.texts[text]
                if bytes.isEmpty || DataText.marketing & 1 << UInt16(text) != 0 && bytes.isBlank { continue }
                event.textBytes[text] = UInt16(bytes.count)
                texts.append(contentsOf: bytes)
            }
            if let root { takeDetail(root, into: &event, &texts) }
        } catch {
            let reason = Array(error.description.utf8.prefix(1_000))
            event.flags.insert(.unreadable)
            event.textBytes[0] = UInt16(reason.count)
            texts.append(contentsOf: reason)
        }
    }

    private func takeDetail(_ data: JSONValue, into event: inout DecodedEvent, _ texts: inout [UInt8]) {
        let start = texts.count
        do throws(BadEvent) {
            switch event.type {
            case .assigned: try KeptTurn.store(data, to: &texts)
            case .poolDecisionVoided:
                guard let decision = data["decision"]?.int64 else { throw BadEvent("it names no decision") }
                event.amount = decision
                event.flags.insert(.amount)
            case _ where event.type.hasDetail: try ClockFacts.store(data, of: event.type, to: &texts)
            default: break
            }
        } catch {
            texts.removeSubrange(start...)
            texts.append(contentsOf: error.reason.utf8.prefix(1_000))
            event.flags.insert(.badDetail)
        }
        event.detailBytes = UInt16(texts.count - start)
    }

    /// What it finds lies in the parser, until the next call.
    private func parse(_ members: UnsafeRawBufferPointer) throws(JSONError) -> JSONValue {
        document.removeAll(keepingCapacity: true)
        document.append(UInt8(ascii: "{"))
        document.append(contentsOf: members)
        document.append(UInt8(ascii: "}"))
        return try parser.parse(document)
    }

    private func sortedByLead(_ events: [DecodedEvent]) -> [DecodedEvent] {
        // Small pairs are sorted, and the events, which are large, moved once.
        var order = events.indices.map { (key: events[$0].lead.high, index: UInt32($0)) }
        order.sort { left, right in
            if left.key != right.key { return left.key < right.key }
            let (low, otherLow) = (events[Int(left.index)].lead.low, events[Int(right.index)].lead.low)
            return low != otherLow ? low < otherLow : left.index < right.index
        }
        return order.map { events[Int($0.index)] }
    }
}
