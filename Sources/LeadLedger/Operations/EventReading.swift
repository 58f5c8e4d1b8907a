import Crypto
import JSON
import Leads
import Ledger
import PolicyDocuments

// EventReading: what routing needs of a stored event. The log may have been written by another version of this program, or tampered
// with: what cannot be read is a fault with its position, and routing stops there.

/// Why an event cannot be taken in.
struct ReadingFault: Error, CustomStringConvertible {
    var position: UInt64
    var reason: String

    var description: String { "the event at position \(position) cannot be read: \(reason)" }
}

/// What an event of a lead says that the router does not ask for.
struct EventExtras {
    /// Of the decision in an assignment.
    var pool: String?
    var mode: AssignmentMode?
    var by: String?
    var isOutbound = true
    var entry: ClockEntry?
    /// A step of a ladder that gives the lead to the manager.
    var isToManager = false
}

/// Reads the data of records. It keeps a parser and memory that is used again: what is lent lies there, and only one at a time.
final class EventReader {
    private var parser = JSONParser()
    private var document: [UInt8] = []

    /// Lends the data of an event, personal members included where they are asked for.
    func withData<R>(
        of record: RecordView, personal: Bool = false, _ body: (JSONValue) throws -> R
    ) throws -> R {
        document.removeAll(keepingCapacity: true)
        document.append(UInt8(ascii: "{"))
        document.append(contentsOf: record.publicMembers)
        if personal, !record.personalMembers.isEmpty {
            if !record.publicMembers.isEmpty { document.append(UInt8(ascii: ",")) }
            document.append(contentsOf: record.personalMembers)
        }
        document.append(UInt8(ascii: "}"))
        let position = record.position.rawValue
        let root: JSONValue
        do throws(JSONError) { root = try parser.parse(document) } catch {
            throw ReadingFault(position: position, reason: "its data is no JSON: \(error)")
        }
        return try body(root)
    }

    /// What the event means to routing, and to the clocks besides.
    func leadEvent(_ record: RecordView, _ type: EventType) throws -> (LeadEvent, EventExtras) {
        let position = record.position.rawValue
        guard let variant = EventVariant(rawValue: record.variant), variant.isValid(for: type) else {
            throw ReadingFault(position: position, reason: "it has the unknown variant \(record.variant)")
        }
        var event = LeadEvent(type, of: RoutingKey(record.streamKey))
        event.variant = variant
        event.backfill = record.isBackfill
        var extras = EventExtras()
        guard Self.needsData(type) else { return (event, extras) }
        return try withData(of: record) { data in
            switch type {
            case .captured: event.account = Self.account(data["company"])
            case .enriched: event.account = Self.account(data["fields"]?["company"])
            case .assigned:
                event.member = data["member"]?.string
                event.turn = try Self.turn(data, position)
                extras.pool = data["decision"]?["pool"]?.string
                extras.mode = data["mode"]?.string.flatMap { AssignmentMode(rawValue: $0) }
            case .queued:
                event.queue = data["queue"]?.string
                event.reason = data["reason"]?.string
                event.due = try data["due"]?.string.map { try Self.instant($0, position) }
            case .claimed: event.member = data["member"]?.string
            case .leaseEnded: event.claimedInVain = data["how"]?.equals("taken") != true
            case .escalated, .inboxAlarmed, .clockStarted, .clockPaused, .clockResumed, .clockMet, .clockBreached,
                .clockStopped, .clockReplaced:
                let entry = try ClockEntry(data, type, position)
                extras.entry = entry
                if case .escalated(let step) = entry {
                    extras.isToManager = step.action == .manager
                    event.reassigns = step.action == .reassign || extras.isToManager
                }
            case .contactAttempted, .contacted:
                event.member = data["by"]?.string
                extras.isOutbound = data["direction"]?.equals("inbound") != true
            default:
                event.member = data["by"]?.string
                event.reason = data["reason"]?.string
            }
            extras.by = data["by"]?.string
            return (event, extras)
        }
    }

    private static func needsData(_ type: EventType) -> Bool {
        switch type {
        case .captured, .enriched, .assigned, .queued, .claimed, .leaseEnded, .escalated, .inboxAlarmed,
            .contactAttempted, .contacted, .accepted, .qualified, .won, .lost, .disqualified, .released, .rejected:
            true
        default: type.isOfClock
        }
    }

    /// Members of a company's domain belong together: the first 16 bytes of SHA-256 of the domain in lower case.
    private static func account(_ company: JSONValue?) -> RoutingKey? {
        guard let company, company.kind == .object, let domain = company["domain"]?.string else { return nil }
        let name = domain.lowercased().filter { !$0.isWhitespace }
        guard !name.isEmpty else { return nil }
        return SHA256.hash(data: Array(name.utf8)).withUnsafeBytes { hash in
            RoutingKey(
                high: UInt64(bigEndian: hash.loadUnaligned(fromByteOffset: 0, as: UInt64.self)),
                low: UInt64(bigEndian: hash.loadUnaligned(fromByteOffset: 8, as: UInt64.self)))
        }
    }

    /// What a stored decision moved: only that is read of it, since a start reads all there are.
    static func turn(_ data: JSONValue, _ position: UInt64) throws -> NamedTurn? {
        guard let decision = data["decision"], let pool = decision["pool"]?.string, let winner = data["member"]?.string,
            let candidates = decision["candidates"], candidates.kind == .array, decision["manager"] == nil
        else { return nil }
        var turn = NamedTurn(pool: pool, gains: [], winner: winner)
        for candidate in candidates.elements where candidate.kind == .object {
            guard let gain = candidate["gain"] else { continue }
            guard let amount = gain.int64, (0...Turn.whole).contains(amount), let member = candidate["member"]?.string
            else { throw ReadingFault(position: position, reason: "a candidate's gain is no part of a turn") }
            turn.gains.append(NamedTurn.Gain(member: member, amount: amount))
        }
        return turn.gains.isEmpty ? nil : turn
    }

    static func instant(_ text: String, _ position: UInt64) throws -> Instant {
        do throws(InstantProblem) { return try Instant(dateOrRFC3339: text) } catch {
            throw ReadingFault(position: position, reason: "\"\(text)\" is no instant: \(error.message)")
        }
    }
}

extension EventLog {
    /// What the decision stored at `position` moved; nil where the event there holds none, or there is none.
    func turn(ofDecisionAt position: UInt64) throws -> NamedTurn? {
        let reader = EventReader()
        return try record(at: Position(rawValue: position)) { record in
            try reader.withData(of: record) { try EventReader.turn($0, position) }
        } ?? nil
    }
}

// MARK: - Facts

extension LeadFacts {
    /// Takes the fields of a capture's data, or of an enrichment's `fields`.
    ///
    /// - Parameter overriding: whether they take the place of what is known; otherwise they only fill in what is not.
    mutating func take(_ data: JSONValue, of rules: RuleSet, overriding: Bool) {
        guard data.kind == .object else { return }
        for member in data.members {
            guard let name = member.name.string else { continue }
            if name == "company", member.value.kind == .object {
                for part in member.value.members {
                    guard let field = part.name.string.flatMap({ Self.fields["company." + $0] }) else { continue }
                    take(field, part.value, overriding)
                }
            } else if name == "custom", member.value.kind == .object {
                for (number, custom) in rules.customFields.enumerated() {
                    guard overriding || self.custom(number) == .absent,
                        let value = member.value.member(named: custom).flatMap(FactValue.init)
                    else { continue }
                    setCustom(number, value)
                }
            } else if let field = Self.fields[name] {
                take(field, member.value, overriding)
            }
        }
    }

    private mutating func take(_ field: LeadField, _ value: JSONValue, _ overriding: Bool) {
        guard overriding || self[field] == .absent, let fact = FactValue(value) else { return }
        set(field, fact)
    }

    /// Those that data has: stage and cycle come from the lead's state.
    private static let fields: [String: LeadField] = {
        var fields: [String: LeadField] = [:]
        for field in LeadField.allCases where field != .stage && field != .cycle { fields[field.name] = field }
        return fields
    }()
}
