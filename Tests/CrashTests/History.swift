import TestSupport

// History: what clients were told against what the log says. The check is linear in the number of events, because the log
// is a total order.
//
//   gap-free        the event read at place p says that its position is p
//   once            no name (subject, source, id) stands at two positions
//   nothing-else    every event has a name that a client sent
//   acked-is-there  each event of an acknowledged unit sits at the position, and has the version, that was answered
//   real-time       a unit that was first sent after an acknowledgement came lies behind what that acknowledged
//   all-or-none     an unanswered unit is there with all its events or with none
//   told-for-ever   the same unit sent again gets the same answer, marked as a duplicate, if it was there, and else is new
//   refused-is-not  a refused unit has no event in the log

/// The name of an event: it stays the event's for ever.
struct EventName: Hashable, Sendable, CustomStringConvertible {
    var subject: String
    var source: String
    var id: String
    var description: String { "\(subject) \(source) \(id)" }
}

/// One atomic unit that a writer sends, and what it knows of it.
struct Unit: Sendable {
    enum Outcome: Sendable {
        case unanswered
        case acked(JSONTree)
        case refused(String)
    }

    var names: [EventName]
    var params: String
    /// The greatest position that was acknowledged to anybody before this was first sent; -1 for none.
    var floor: Int
    var outcome = Outcome.unanswered
    /// While it is unanswered after a restart: where it was found in the log, before it was sent again.
    var found: ClosedRange<Int>?
    /// Whether it has been looked for: then the next answer is one to a repetition, and `found` says which it must be.
    var wasLookedFor = false
}

/// The log as clients read it, checked as it grows.
struct History: Sendable {
    struct Entry: Sendable {
        var name: EventName
        var version: Int
        var text: JSONTree
    }

    private(set) var entries: [Entry] = []
    private(set) var positions: [EventName: Int] = [:]
    private(set) var leads = PlainLeads()
    private(set) var faults: [String] = []

    /// Takes in the next event that was read.
    mutating func read(_ event: JSONTree) {
        let place = entries.count
        guard let subject = event["subject"].string, let source = event["source"].string, let id = event["id"].string,
            let version = event["version"].integer
        else { return fault("the event read at \(place) has no name or version: \(event)") }
        let name = EventName(subject: subject, source: source, id: id)
        if event["position"].integer != place { fault("gap-free: \(name) read at \(place) says \(event["position"])") }
        if let earlier = positions[name] { fault("once: \(name) is at \(earlier) and at \(place)") }
        positions[name] = place
        entries.append(Entry(name: name, version: version, text: event))
        if let problem = leads.apply(event, at: place) { fault(problem) }
    }

    /// Checks an answer that came before the log was read.
    mutating func check(_ unit: Unit, at answer: JSONTree) {
        let events = answer["events"].elements
        guard events.count == unit.names.count, let first = answer["first"].integer, let last = answer["last"].integer,
            last - first == events.count - 1, answer["durability"].string == "synced"
        else { return fault("acked-is-there: the answer for \(unit.names) does not fit: \(answer)") }
        for (index, event) in events.enumerated() {
            let name = unit.names[index]
            let position = first + index
            guard event["position"].integer == position, event["subject"].string == name.subject else {
                fault("acked-is-there: event \(index) of \(answer) is not \(name) at \(position)")
                continue
            }
            guard entries.indices.contains(position) else {
                fault("acked-is-there: \(name) was acknowledged at \(position), the log ends at \(entries.count)")
                continue
            }
            let entry = entries[position]
            if entry.name != name {
                fault("acked-is-there: \(name) was acknowledged at \(position), there is \(entry.name)")
            }
            if entry.version != event["version"].integer {
                fault("acked-is-there: \(name) has version \(entry.version), the answer said \(event["version"])")
            }
        }
        if first <= unit.floor {
            fault("real-time: \(unit.names) at \(first) was sent after \(unit.floor) was acknowledged")
        }
    }

    /// Where an unanswered unit is; nil where it is not.
    mutating func look(for unit: Unit) -> ClosedRange<Int>? {
        let found = unit.names.compactMap { positions[$0] }
        if found.isEmpty { return nil }
        guard found.count == unit.names.count, found[found.count - 1] - found[0] == found.count - 1,
            found == found.sorted()
        else {
            fault("all-or-none: of \(unit.names) there are \(found)")
            return nil
        }
        return found[0]...found[found.count - 1]
    }

    /// Checks that a refused unit left nothing.
    mutating func checkAbsence(of unit: Unit) {
        for name in unit.names where positions[name] != nil {
            fault("refused-is-not: \(name) was refused and is at \(positions[name]!)")
        }
    }

    /// Checks that nothing is in the log but what was sent.
    mutating func checkNames(_ sent: Set<EventName>) {
        for entry in entries where !sent.contains(entry.name) { fault("nothing-else: nobody sent \(entry.name)") }
    }

    private mutating func fault(_ text: String) {
        // The first ones say it all.
        if faults.count < 20 { faults.append(text) }
    }
}
