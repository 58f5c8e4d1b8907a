package import JSON
package import Leads
package import Ledger
package import LMDB

/// A read model: tables that are a function of the log, and how one event changes them.
///
/// Invariants, which every projection keeps and the tests hold it to:
/// - P1: the tables are a pure function of the events below the progress. So `apply` reads nothing but the event and its own
///   tables: no clock, no random number, no setting, no other model.
/// - P2: how events are cut into transactions changes nothing.
/// - P3: no personal field goes into a table. An event hands out its public members alone.
/// - P4: keys are fixed-width and big-endian, at most 32 bytes; values begin with the version of their layout.
///
/// A change of what is computed, or of a byte of a table, asks for a new `version`; a test pins the fingerprint and the digest
/// of a known log for each.
package protocol Projection: Sendable {
    /// The name of the model: `leads`.
    static var name: String { get }
    static var version: Int { get }
    /// What is computed, in words: the part of the fingerprint that says why another one means a rebuild.
    static var computes: String { get }
    /// The tables, in the order in which the digest takes them.
    static var tableNames: [String] { get }

    /// - Parameter tables: those of `tableNames`, opened, in their order.
    init(tables: [Table])

    /// Takes in one event of a lead.
    ///
    /// - Throws: `BadEvent` for an event that cannot be understood or cannot follow what came before, and `LMDBError`. After an
    ///   error the transaction is dropped.
    func apply(_ event: ProjectedEvent, in transaction: inout WriteTransaction) throws
}

extension Projection {
    /// Two builds with one fingerprint hold the same bytes at the same position.
    package static var fingerprint: String { "\(name)@\(version) \(computes)" }
}

/// The read models there are.
package enum ReadModels {
    package static let all: [any Projection.Type] = [
        LeadsProjection.self, QueueProjection.self, FunnelProjection.self, AttributionProjection.self,
    ]

    package static func named(_ name: String) -> (any Projection.Type)? { all.first { $0.name == name } }
}

/// Why a stored event cannot be projected. It stops the model: an event that is skipped would be a lie in every answer.
package struct BadEvent: Error, Equatable, Sendable {
    package var reason: String

    package init(_ reason: String) { self.reason = reason }
}

/// An event of a lead, decoded as far as a read model needs it: a view of the record, valid only while it is being applied.
package struct ProjectedEvent {
    private let record: RecordView
    package let type: EventType
    package let variant: EventVariant
    /// Scratch memory, the same from event to event.
    let scratch: ProjectionScratch

    /// Nil for the events of other streams than leads.
    ///
    /// - Throws: `BadEvent` for an event this program does not know: a later one wrote it.
    init?(_ record: RecordView, scratch: ProjectionScratch) throws(BadEvent) {
        guard record.streamKind == LeadStreams.kind else { return nil }
        guard let type = EventType(rawValue: record.type), type.isSupported else {
            throw BadEvent("no read model knows an event with type code \(record.type)")
        }
        guard let variant = EventVariant(rawValue: record.variant), variant.isValid(for: type) else {
            throw BadEvent("\(type.name) has the unknown variant \(record.variant)")
        }
        self.record = record
        self.type = type
        self.variant = variant
        self.scratch = scratch
    }

    package var position: UInt64 { record.position.rawValue }
    /// Which of its lead's events this is, from 1.
    package var version: UInt64 { record.version.rawValue }
    /// When it happened; where its sender did not say, when it was recorded.
    package var instant: Int64 { record.instant }
    package var occurrence: Occurrence { Occurrence(time: Instant(microseconds: instant), position: position) }
    package var isBackfill: Bool { record.isBackfill }
    /// The lead's id.
    package var subject: UnsafeRawBufferPointer { record.subject }
    /// Computed at each call, since not every event is worth it.
    package var streamKey: StreamKey { record.streamKey }

    /// The public part of `data` (P3). Valid until the next call.
    package func data() throws(BadEvent) -> JSONValue {
        do throws(JSONError) { return try scratch.parse(record.publicMembers) } catch {
            throw BadEvent("its data cannot be read: \(error)")
        }
    }
}

/// What a worker needs again for every event: a parser and rows in the making.
final class ProjectionScratch {
    private var parser = JSONParser()
    private var document: [UInt8] = []
    let row = RowBuffer()
    let otherRow = RowBuffer()

    /// Parses a member list, which is an object without its braces.
    fileprivate func parse(_ members: UnsafeRawBufferPointer) throws(JSONError) -> JSONValue {
        document.removeAll(keepingCapacity: true)
        document.append(UInt8(ascii: "{"))
        document.append(contentsOf: members)
        document.append(UInt8(ascii: "}"))
        return try parser.parse(document)
    }
}

/// What the models read from an event's data.
extension JSONValue {
    /// The text of a member; empty where it is absent.
    func text(_ name: StaticString) -> UnsafeRawBufferPointer {
        self[name]?.utf8 ?? UnsafeRawBufferPointer(start: nil, count: 0)
    }

    /// The text of a dimension such as the channel, as it stands; empty where it is absent or blank.
    func dimension(_ name: StaticString) -> UnsafeRawBufferPointer {
        let text = text(name)
        return text.isBlank ? UnsafeRawBufferPointer(start: nil, count: 0) : text
    }

    /// The amount of a win or of its revision, in minor units.
    func amount() throws(BadEvent) -> Int64 {
        guard let amount = self["amount"]?.int64 else { throw BadEvent("it has no amount in whole minor units") }
        return amount
    }

    func currency() throws(BadEvent) -> Currency {
        guard let currency = Currency(utf8: text("currency")) else { throw BadEvent("it has no currency of ISO 4217") }
        return currency
    }
}

extension UnsafeRawBufferPointer {
    /// Nothing but spaces, tabs and line ends, or nothing at all.
    var isBlank: Bool {
        for byte in self where byte != 0x20 && !(0x09...0x0D).contains(byte) { return false }
        return true
    }

    var utf8String: String { String(decoding: self, as: UTF8.self) }
}
