import Control
import JSON
import Leads
import Ledger

// EventFilter: which events a reader wants. Each list that is given must have the event's own value among its entries; an empty
// list matches nothing; `backfill` must be the event's own. Conditions are looked at in the order of what they cost, so that only an
// event that meets all others has its data looked into.

struct EventFilter: Sendable {
    /// Bit by type code; nil where any type will do.
    private var types: SIMD4<UInt64>?
    private var isBackfill: Bool?
    private var sources: TextSet?
    private var leads: TextSet?
    private var channels: Channels?

    private struct Channels {
        var named: TextSet
        /// Whether captures and touches without a channel are wanted.
        var takesAbsent: Bool
    }

    /// Everything.
    init() {}

    /// The `filter` member of a request whose parameters passed their schema.
    ///
    /// - Throws: `QueryFault` for a type that does not exist: it would match nothing, for ever, in silence.
    init(_ value: JSONValue?) throws(QueryFault) {
        guard let value else { return }
        if let names = value["types"] {
            var bits = SIMD4<UInt64>(repeating: 0)
            for name in names.elements {
                guard let type = EventType(utf8: name.utf8) else {
                    throw QueryFault(
                        .unknownEventType, "no event type is called \(name.string ?? "")", pointer: "/filter/types")
                }
                bits[Int(type.rawValue >> 6)] |= 1 << UInt64(type.rawValue & 63)
            }
            types = bits
        }
        isBackfill = value["backfill"]?.boolean
        sources = value["sources"].map { TextSet($0.elements.map { Array($0.utf8) }) }
        leads = value["leads"].map { TextSet($0.elements.map { Array($0.utf8) }) }
        if let entries = value["channels"] {
            var named: [[UInt8]] = []
            var takesAbsent = false
            for entry in entries.elements {
                if entry.isNull || entry.utf8.isBlankText {
                    takesAbsent = true
                } else {
                    named.append(Array(entry.utf8))
                }
            }
            channels = Channels(named: TextSet(named), takesAbsent: takesAbsent)
        }
    }

    func matches(_ record: RecordView) -> Bool {
        if let types, types[Int(record.type >> 6)] >> UInt64(record.type & 63) & 1 == 0 { return false }
        if let isBackfill, isBackfill != record.isBackfill { return false }
        if let sources, !sources.contains(record.source) { return false }
        if let leads, !leads.contains(record.subject) { return false }
        guard let channels else { return true }
        guard record.type == EventType.captured.rawValue || record.type == EventType.touched.rawValue else {
            return false
        }
        return StoredMembers(record.publicMembers).withText(of: "channel") { channel in
            guard let channel, !channel.isBlankText else { return channels.takesAbsent }
            return channels.named.contains(channel)
        }
    }
}

extension UnsafeRawBufferPointer {
    /// Nothing but spaces, tabs and line ends, or nothing at all: what the reports call no channel.
    var isBlankText: Bool { allSatisfy { $0 == 0x20 || 0x09...0x0D ~= $0 } }
}
