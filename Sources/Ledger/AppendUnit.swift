import CLeafHash

/// What the encoder needs to know of an event beside its data. The texts must live until `endEvent()`.
package struct EventDraft {
    package var type: UInt8
    package var schemaVersion: UInt8
    package var variant: UInt8
    package var isBackfill: Bool
    /// Microseconds since 1970 UTC; nil when the sender did not say.
    package var occurredAt: Int64?
    package var streamKind: UInt8
    /// The peer's uid.
    package var actor: UInt32
    package var subject: UnsafeRawBufferPointer
    package var source: UnsafeRawBufferPointer
    package var eventID: UnsafeRawBufferPointer
    // Empty where absent.
    package var correlation: UnsafeRawBufferPointer
    package var causation: UnsafeRawBufferPointer
    package var traceparent: UnsafeRawBufferPointer

    package init(
        type: UInt8, schemaVersion: UInt8, variant: UInt8 = 0, isBackfill: Bool = false, occurredAt: Int64? = nil,
        streamKind: UInt8 = 0, actor: UInt32, subject: UnsafeRawBufferPointer, source: UnsafeRawBufferPointer,
        eventID: UnsafeRawBufferPointer, correlation: UnsafeRawBufferPointer = .init(start: nil, count: 0),
        causation: UnsafeRawBufferPointer = .init(start: nil, count: 0),
        traceparent: UnsafeRawBufferPointer = .init(start: nil, count: 0)
    ) {
        self.type = type
        self.schemaVersion = schemaVersion
        self.variant = variant
        self.isBackfill = isBackfill
        self.occurredAt = occurredAt
        self.streamKind = streamKind
        self.actor = actor
        self.subject = subject
        self.source = source
        self.eventID = eventID
        self.correlation = correlation
        self.causation = causation
        self.traceparent = traceparent
    }
}

/// What a unit expects of a stream before it is appended.
package enum ExpectedVersion: Hashable, Sendable {
    case version(StreamVersion)
    /// The stream has no events yet.
    case none
    case any
}

/// One atomic unit: events that are stored together or not at all, and what must hold for that.
///
/// It is built on an event loop, looked up with `EventLog.prepare(_:using:)`, and handed over with `submit(_:)`; from
/// then on it is the appender's, until its sink is given it back, once, with its outcome.
///
/// ```swift
/// let unit = AppendUnit(ledgerID: log.ledgerID, replyTo: loop, token: 7)
/// unit.beginEvent(draft)
/// for member in members { unit.addPublicMember(member.raw) }    // "name":value
/// try unit.endEvent()                                           // throws recordTooLarge: the event is not in it
/// unit.expect(stream: key, .version(StreamVersion(rawValue: 3)))
/// ```
///
/// In memory, each record stands behind the 0x00 that its leaf hash begins with, its trailer still zero:
///
/// ```
/// | 00 | record 0 | 00 | record 1 | ...
///        ^ slots[0].offset
/// ```
// Sendable: one thread at a time has it. The event loop hands it over through the queue's lock and keeps no use of it.
package final class AppendUnit: @unchecked Sendable {
    let ledgerID: LedgerID
    let sink: any AppendReplySink
    private(set) var token: UInt64

    private(set) var bytes: GrowingBytes
    /// Made when first needed, where nobody gave one.
    private var scratch: MemberScratch?
    var slots: ContiguousArray<EventSlot> = []
    /// The distinct streams of the events and expectations.
    var streams: ContiguousArray<StreamSlot> = []
    var expectations: ContiguousArray<(stream: Int, expected: ExpectedVersion)> = []
    /// What is committed with the events, each value with its sum; the later of two writes of a key counts.
    private(set) var registerWrites: [RegisterWrite] = []
    private var registerBytes = 0

    /// What became of it: for the sink that is given it back.
    package internal(set) var outcome = AppendOutcome.unknown

    /// Whether it is only asked what would become of it.
    private(set) var isDryRun = false

    /// The first event whose name an earlier one of the unit has.
    private(set) var nameTwice: (event: Int, first: Int)?
    private var eventsByName: [UnitName: Int] = [:]

    /// What the index had taken in when the unit was looked up in it; nil when it was not.
    var lookupProgress: UInt64?

    // The event between `beginEvent` and `endEvent`.
    private var start = 0
    private var publicStart = 0
    private var draftKind: UInt8 = 0
    private var draftType: UInt8 = 0
    private var draftVariant: UInt8 = 0
    private var draftIsBackfill = false
    private var draftFault: RecordFault?

    /// - Parameter scratch: for whoever makes many units, which may share one as long as he builds their events one after the other, on
    ///   one thread.
    package init(
        ledgerID: LedgerID, replyTo sink: any AppendReplySink, token: UInt64, scratch: MemberScratch? = nil
    ) {
        self.ledgerID = ledgerID
        self.scratch = scratch
        self.sink = sink
        self.token = token
        bytes = GrowingBytes(capacity: 1_024)
    }

    deinit {
        bytes.release()
    }

    /// Makes it another unit, still empty, that uses the memory of this one: only before it was submitted, or once its
    /// outcome is delivered.
    package func reset(token: UInt64) {
        self.token = token
        bytes.removeAll()
        Self.empty(&slots)
        Self.empty(&streams)
        Self.empty(&expectations)
        if !registerWrites.isEmpty { registerWrites = [] }
        registerBytes = 0
        nameTwice = nil
        if !eventsByName.isEmpty { eventsByName = [:] }
        lookupProgress = nil
        outcome = .unknown
        isDryRun = false
    }

    /// Removes all and keeps the memory. Most units have one element or none, which goes faster by itself.
    @inline(__always)
    private static func empty<Element>(_ array: inout ContiguousArray<Element>) {
        if array.count == 1 {
            array.removeLast()
        } else if !array.isEmpty {
            array.removeAll(keepingCapacity: true)
        }
    }

    /// Gives its outcome away, so that nothing of it is copied: it is then unknown again.
    package func takeOutcome() -> AppendOutcome {
        var taken = AppendOutcome.unknown
        swap(&taken, &outcome)
        return taken
    }

    /// Has the appender say what would become of the unit now, and store nothing of it.
    package func makeDryRun() { isDryRun = true }

    /// Bytes of memory that it keeps for its records.
    package var capacityBytes: Int { bytes.capacity }

    package var eventCount: Int { slots.count }
    /// Memory it takes in the queue, about.
    package var byteCount: Int { bytes.count + registerBytes + 256 }
    /// Entries it puts, replaces or deletes at most, besides leaf hashes.
    var writeCount: Int { slots.count + registerWrites.count }

    /// The stream of event `index`.
    package func streamKey(ofEvent index: Int) -> StreamKey { slots[index].key }

    /// The subject of event `index`, in the unit's memory.
    package func subject(ofEvent index: Int) -> UnsafeRawBufferPointer {
        // It is the first of the texts behind the header.
        let start = slots[index].offset + RecordLayout.headerBytes
        return bytes[start..<start + Int(bytes[slots[index].offset + RecordLayout.lengths])]
    }

    package func type(ofEvent index: Int) -> UInt8 { slots[index].type }

    package func expectedVersion(_ index: Int) -> ExpectedVersion { expectations[index].expected }

    // MARK: Building

    /// Begins an event. What the draft says that no record can hold, `endEvent()` refuses.
    package func beginEvent(_ draft: EventDraft) {
        draftFault = fault(in: draft)
        // Whatever became of the event before: nothing of it gets into this one.
        scratch?.personal.removeAll()
        bytes.append(0)
        start = bytes.count
        bytes.append(zeros: RecordLayout.headerBytes)
        publicStart = bytes.count
        guard draftFault == nil else { return }

        draftKind = draft.streamKind
        draftType = draft.type
        draftVariant = draft.variant
        draftIsBackfill = draft.isBackfill

        // The header; the length of the public members is not known yet.
        let header = bytes.base + start
        header.storeBytes(of: RecordLayout.format, as: UInt8.self)
        header.storeBytes(of: draft.type, toByteOffset: 1, as: UInt8.self)
        header.storeBytes(of: draft.schemaVersion, toByteOffset: 2, as: UInt8.self)
        let flags =
            (draft.isBackfill ? RecordLayout.flagBackfill : 0)
            | (draft.occurredAt != nil ? RecordLayout.flagOccurredAt : 0)
        header.storeBytes(of: flags, toByteOffset: 3, as: UInt8.self)
        header.storeBytes(of: draft.variant, toByteOffset: 4, as: UInt8.self)
        header.storeBytes(of: draft.streamKind, toByteOffset: 5, as: UInt8.self)
        header.storeBigEndian(draft.actor, at: 8)
        header.storeBigEndian(draft.occurredAt ?? 0, at: 12)
        header.storeBigEndian(ledgerID.high, at: 20)
        header.storeBigEndian(ledgerID.low, at: 28)
        header.storeBytes(of: UInt8(draft.subject.count), toByteOffset: 36, as: UInt8.self)
        header.storeBytes(of: UInt8(draft.source.count), toByteOffset: 37, as: UInt8.self)
        header.storeBytes(of: UInt8(draft.eventID.count), toByteOffset: 38, as: UInt8.self)
        header.storeBytes(of: UInt8(draft.correlation.count), toByteOffset: 39, as: UInt8.self)
        header.storeBytes(of: UInt8(draft.causation.count), toByteOffset: 40, as: UInt8.self)
        header.storeBytes(of: UInt8(draft.traceparent.count), toByteOffset: 41, as: UInt8.self)

        bytes.append(draft.subject)
        bytes.append(draft.source)
        bytes.append(draft.eventID)
        bytes.append(draft.correlation)
        bytes.append(draft.causation)
        bytes.append(draft.traceparent)
        publicStart = bytes.count
    }

    /// Adds a member of `data` that may be kept for ever, `"name":value`, minified.
    package func addPublicMember(_ member: UnsafeRawBufferPointer) {
        // What is beyond the limit is refused at the end: do not copy it.
        guard bytes.count - start + member.count <= LedgerLimits.recordBytesMax else {
            draftFault = draftFault ?? .tooLong
            return
        }
        if bytes.count > publicStart { bytes.append(UInt8(ascii: ",")) }
        bytes.append(member)
    }

    /// Adds a member of `data` that is about a person, `"name":value`, minified.
    package func addPersonalMember(_ member: UnsafeRawBufferPointer) {
        if scratch == nil { scratch = MemberScratch() }
        // The unit holds it meanwhile.
        let isTaken = Unmanaged.passUnretained(scratch!)._withUnsafeGuaranteedRef { scratch in
            guard scratch.personal.count + member.count <= LedgerLimits.recordBytesMax else { return false }
            if scratch.personal.count > 0 { scratch.personal.append(UInt8(ascii: ",")) }
            scratch.personal.append(member)
            return true
        }
        if !isTaken { draftFault = draftFault ?? .tooLong }
    }

    /// Ends the event and hashes what it is found by. After an error the unit is as it was before `beginEvent`.
    package func endEvent() throws(LedgerError) {
        // 1. The rest of the record.
        (bytes.base + start).storeBigEndian(UInt32(bytes.count - publicStart), at: RecordLayout.publicLength)
        if let list = scratch?.personal, list.count > 0 {
            bytes.append(RecordLayout.schemeClear)
            withUnsafeBytes(of: UInt32(list.count).bigEndian) { bytes.append($0) }
            bytes.append(list[0..<list.count])
        } else {
            bytes.append(RecordLayout.schemeNone)
        }
        bytes.append(zeros: RecordLayout.trailerBytes)
        let length = bytes.count - start
        if length > LedgerLimits.recordBytesMax { draftFault = draftFault ?? .tooLong }
        if let draftFault {
            bytes.remove(from: start - 1)
            guard draftFault == .tooLong else {
                throw LedgerError(.invalidRecord, "the event's record would be wrong: \(draftFault.rawValue)")
            }
            throw LedgerError(
                .recordTooLarge, "the event's record would be over \(LedgerLimits.recordBytesMax) bytes")
        }

        // 2. What it is found by.
        let keys = RecordView(trusted: bytes[start..<start + length]).keys
        slots.append(
            EventSlot(
                offset: start, length: length, key: keys.stream, name: keys.name, type: draftType,
                variant: draftVariant, isBackfill: draftIsBackfill, stream: streamIndex(of: keys.stream)))
        if slots.count > 1, nameTwice == nil { findNameTwice() }
    }

    /// Has the appender refuse the unit, unless the stream is where the sender thinks it is.
    package func expect(stream: StreamKey, _ expected: ExpectedVersion) {
        expectations.append((streamIndex(of: stream), expected))
    }

    /// Has registers written with the events, or without any: a unit of writes alone takes no position, and its outcome is
    /// `stored`. A unit that is refused writes none of them. One whose events are all stored already writes them all the
    /// same: a duplicate says that the events are there, not that these writes are.
    package func write(_ registers: some Sequence<RegisterWrite>) {
        for write in registers {
            let stored = write.value.map { RegisterValue.sealed(write.key, $0) }
            registerBytes += write.key.count + (stored?.count ?? 0)
            registerWrites.append(RegisterWrite(key: write.key, stored: stored))
        }
    }

    /// By which the sink knows it.
    package var replyToken: UInt64 { token }

    /// Whether it speaks of streams, which are to be looked up before it is submitted.
    package var needsLookUp: Bool { !streams.isEmpty }

    private func fault(in draft: EventDraft) -> RecordFault? {
        let most = LedgerLimits.shortTextBytesMax
        guard 1...LedgerLimits.identifierBytesMax ~= draft.subject.count else { return .subjectLength }
        guard 1...most ~= draft.source.count else { return .sourceLength }
        guard 1...LedgerLimits.identifierBytesMax ~= draft.eventID.count else { return .eventIDLength }
        guard draft.correlation.count <= most, draft.causation.count <= most, draft.traceparent.count <= most else {
            return .partsBeyondEnd
        }
        return nil
    }

    private func streamIndex(of key: StreamKey) -> Int {
        // From the end: an event mostly belongs to the stream of the one before it.
        if let found = streams.lastIndex(where: { $0.key == key }) { return found }
        streams.append(StreamSlot(key: key, row: nil))
        return streams.count - 1
    }

    // MARK: Names twice

    private struct UnitName: Hashable {
        var key: StreamKey
        var name: NameHash
    }

    /// Looks for the name of the newest event among those before it.
    private func findNameTwice() {
        let newest = slots.count - 1
        let wanted = UnitName(key: slots[newest].key, name: slots[newest].name)
        var found: Int?
        // A few are compared; of many, a table is kept.
        if newest <= 16 {
            found = slots[..<newest].firstIndex { $0.key == wanted.key && $0.name == wanted.name }
        } else {
            if eventsByName.isEmpty {
                for index in 0..<newest {
                    eventsByName[UnitName(key: slots[index].key, name: slots[index].name)] = index
                }
            }
            found = eventsByName.updateValue(newest, forKey: wanted)
        }
        if let found, record(newest).hasSameName(as: record(found)) { nameTwice = (newest, found) }
    }

    // MARK: Hashing ahead

    /// Hashes what of the events' leaf hashes does not depend on their places, two events at a time, for little more than the price of
    /// one. Once for a unit, when it is complete and before it is submitted; where this was not done, the appender hashes all by
    /// itself.
    package static func hashAhead(_ units: [AppendUnit]) {
        let withInstructions = LeafHash.hasInstructions
        var waiting: (unit: Unmanaged<AppendUnit>, event: Int)?
        units.lend { unit in
            for event in unit.slots.indices {
                guard let (other, otherEvent) = waiting else {
                    waiting = (.passUnretained(unit), event)
                    continue
                }
                waiting = nil
                // The array of units holds both.
                other._withUnsafeGuaranteedRef { other in
                    let states = BlockState.pair(
                        of: other.hashedAhead(otherEvent), unit.hashedAhead(event), withInstructions: withInstructions)
                    other.slots[otherEvent].hashed = states.first
                    unit.slots[event].hashed = states.second
                }
            }
        }
        if let (unit, event) = waiting {
            unit._withUnsafeGuaranteedRef { unit in
                let none = UnsafeRawBufferPointer(start: nil, count: 0)
                unit.slots[event].hashed =
                    BlockState.pair(of: unit.hashedAhead(event), none, withInstructions: withInstructions).first
            }
        }
    }

    /// 0x00 and the record of an event up to its trailer.
    private func hashedAhead(_ event: Int) -> UnsafeRawBufferPointer {
        let slot = slots[event]
        return bytes[slot.offset - 1..<slot.offset + slot.length - RecordLayout.trailerBytes]
    }

    // MARK: For the appender

    /// Event `index` as it will be stored, its trailer perhaps unfilled.
    func record(_ index: Int) -> RecordView {
        RecordView(trusted: bytes[slots[index].offset..<slots[index].offset + slots[index].length])
    }

    /// Fills the trailer of event `index` and finishes its leaf hash.
    @inline(__always)
    func finish(_ index: Int, position: UInt64, recordedAt: Int64, version: UInt64) -> LeafHash {
        let end = slots[index].offset + slots[index].length
        let trailer = bytes.base + end - RecordLayout.trailerBytes
        trailer.storeBigEndian(position, at: RecordLayout.position)
        trailer.storeBigEndian(recordedAt, at: RecordLayout.recordedAt)
        trailer.storeBigEndian(version, at: RecordLayout.version)
        let start = slots[index].offset
        let hashed = slots[index].hashed
        if hashed.byteCount == 0 { return LeafHash(of: bytes[start..<end]) }
        return LeafHash(hashed, bytes[start - 1 + hashed.byteCount..<end])
    }
}

/// Where the personal members of an event are gathered, which stand behind the public ones in its record. Units that share one have
/// less memory of their own, and do not go looking for it among the caches.
// Sendable: the thread that builds the units' events alone touches it.
package final class MemberScratch: @unchecked Sendable {
    fileprivate var personal = GrowingBytes(capacity: 512)

    package init() {}

    deinit { personal.release() }
}

/// What a unit knows of one of its events.
struct EventSlot {
    /// The record in the unit's bytes, trailer included.
    var offset: Int
    var length: Int
    var key: StreamKey
    var name: NameHash
    /// SHA-256 over the first blocks of 0x00 and the record; none where nothing was hashed ahead.
    var hashed = BlockState()
    var type: UInt8
    var variant: UInt8
    var isBackfill: Bool
    /// Index into the unit's streams.
    var stream: Int
    /// Where an event of this very name is stored already; nil: nowhere the look-up saw.
    var storedAt: UInt64?
}

/// What a unit's look-up found of a stream.
struct StreamSlot {
    var key: StreamKey
    var row: StreamRow?
}

// A unit that comes back was last touched by another processor core, and one that is used again has lain among a few thousand others:
// its lines are in no near cache. These have them fetched while the unit before it is worked on.
extension AppendUnit {
    /// Has the unit itself fetched.
    @inline(__always)
    fileprivate static func fetch(_ unit: Unmanaged<AppendUnit>) { clh_fetch_to_write(unit.toOpaque(), 384) }

    /// Has fetched what its answer, or its next use, begins with: the subject, and the first entries.
    fileprivate func fetchParts() {
        clh_fetch(bytes.base, 128)
        clh_fetch(Self.storage(of: &slots), 128)
        clh_fetch(Self.storage(of: &streams), 128)
    }

    /// Has fetched what its next use writes: as much as its last one did, and the first entries.
    fileprivate func fetchPartsToWrite() {
        clh_fetch_to_write(bytes.base, bytes.count)
        clh_fetch_to_write(Self.storage(of: &slots), 192)
        clh_fetch_to_write(Self.storage(of: &streams), 128)
    }

    /// Has fetched what is read and written first when a position is given to its last record: the end of that.
    @inline(__always)
    func fetchEnd() {
        let bytesMax = 192
        clh_fetch_to_write(bytes.base + max(0, bytes.count - bytesMax), bytesMax)
    }

    /// To ask an array where its elements are would count a reference to them, which waits for the very line that is to be fetched. An
    /// array is nothing but that reference; if ever it were not, what is fetched would be of no use, and do no harm.
    @inline(__always)
    private static func storage<Element>(of array: inout ContiguousArray<Element>) -> UnsafeRawPointer {
        withUnsafeMutableBytes(of: &array) { $0.load(as: UnsafeRawPointer.self) }
    }
}

extension UnsafeBufferPointer<Unmanaged<AppendUnit>> {
    /// Calls `body` for each of units that lie in no near cache. Whoever has their array holds them meanwhile.
    @inline(__always)
    func lendFetching(_ body: (AppendUnit) -> Void) {
        for index in indices {
            if index + 6 < count { AppendUnit.fetch(self[index + 6]) }
            if index + 3 < count { self[index + 3]._withUnsafeGuaranteedRef { $0.fetchParts() } }
            self[index]._withUnsafeGuaranteedRef(body)
        }
    }
}

extension [AppendUnit] {
    /// Calls `body` for each, without counting a reference to it each time: the array holds them meanwhile.
    @inline(__always)
    package func lend(_ body: (AppendUnit) -> Void) {
        withUnsafeBufferPointer { units in
            // An unmanaged reference is the reference, and nothing else.
            units.withMemoryRebound(to: Unmanaged<AppendUnit>.self) { units in
                for unit in units { unit._withUnsafeGuaranteedRef(body) }
            }
        }
    }

    /// Lends one of them in the same way.
    @inline(__always)
    func lend(at index: Int, _ body: (AppendUnit) -> Void) {
        withUnsafeBufferPointer { units in
            units.withMemoryRebound(to: Unmanaged<AppendUnit>.self) { $0[index]._withUnsafeGuaranteedRef(body) }
        }
    }

    /// The same for units that lie in no near cache.
    @inline(__always)
    package func lendFetching(_ body: (AppendUnit) -> Void) {
        withUnsafeBufferPointer { units in
            units.withMemoryRebound(to: Unmanaged<AppendUnit>.self) { $0.lendFetching(body) }
        }
    }

    /// Has those fetched that will be the last ones soon.
    @inline(__always)
    package mutating func fetchLast() {
        // Mutable, since that lends the elements without counting a reference.
        withUnsafeMutableBufferPointer { units in
            units.withMemoryRebound(to: Unmanaged<AppendUnit>.self) { units in
                if units.count > 4 { AppendUnit.fetch(units[units.count - 5]) }
                if units.count > 2 { units[units.count - 3]._withUnsafeGuaranteedRef { $0.fetchPartsToWrite() } }
            }
        }
    }
}
