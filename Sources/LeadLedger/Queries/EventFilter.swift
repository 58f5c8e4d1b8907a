import Control
import JSON
import Leads
import Ledger

// EventFilter: which events a reader wants. An event matches if its type is among the types (where any are named) and its
// lead among the leads (where any are named).

struct EventFilter: Sendable {
    private var types: Set<UInt8> = []
    private var leads: Set<[UInt8]> = []
    private var matchesNothing = false

    /// Everything.
    init() {}

    /// The `filter` member of a request whose parameters passed their schema.
    ///
    /// - Throws: `QueryFault` for a type that does not exist: it would match nothing, for ever, in silence.
    init(_ value: JSONValue?) throws(QueryFault) {
        guard let value else { return }
        if let names = value["types"] {
            matchesNothing = names.count == 0
            for name in names.elements {
                guard let type = EventType(utf8: name.utf8) else {
                    throw QueryFault(
                        .unknownEventType, "no event type is called \(name.string ?? "")", pointer: "/filter/types")
                }
                types.insert(type.rawValue)
            }
        }
        if let ids = value["leads"] {
            matchesNothing = matchesNothing || ids.count == 0
            for id in ids.elements { leads.insert(Array(id.utf8)) }
        }
    }

    func matches(_ record: RecordView) -> Bool {
        if matchesNothing { return false }
        if !types.isEmpty, !types.contains(record.type) { return false }
        return leads.isEmpty || leads.contains(Array(record.subject))
    }
}
