import JSON
import Leads
import Ledger

// Notifications: the consumer group that every ledger has, for integrations that tell people what concerns them, and for each of its
// events whom that is. The group is one as all others, but for what stands here:
//
//   - nobody creates it. The first request that names it does, from the head as of then; a ledger that no integration asks for it has
//     none, and nothing of it on its disk;
//   - its filter is the program's, not the disk's: a later version may tell of more;
//   - a delivery says besides its event who is to be told, with a key that is the same whenever the same person is told of the same
//     event again: after a lost ack, a replay, a kill.
//
// Nothing in it depends on when an event is delivered: what is said of an event follows from the log up to that event.

enum NotificationGroup {
    static let name = "notifications"
    static let prefix = ConsumerRegisters.prefix(name)

    /// Of the past nobody is told.
    static let filter = Array(
        #"{"types":["lead.assigned","lead.escalated","lead.clock_breached","lead.inbox_alarmed"],"backfill":false}"#
            .utf8)

    /// - Parameter createdAt: microseconds since 1970.
    static func definition(from: UInt64, createdAt: Int64) -> ConsumerDefinition {
        ConsumerDefinition(
            name: name, maxAttempts: UInt64(Limits.consumerAttemptsDefault),
            leaseNanoseconds: UInt64(Limits.consumerLeaseDefaultMilliseconds) * 1_000_000, from: from,
            createdAt: createdAt, filter: filter)
    }
}

/// Who is to be told of an event, and what for.
struct Notice: Equatable {
    enum Kind { case assigned, escalated, breached, inboxAlarm }

    enum Audience: Equatable {
        /// Member ids, each once, in the order of the event.
        case members([String])
        /// Whoever had the lead when the event was stored.
        case holder(StreamKey, version: UInt64)
        /// No one person: it is for whoever the integration tells then.
        case nobodyNamed
    }

    var position: UInt64
    var kind: Kind
    var audience: Audience

    /// Nil for an event that tells nobody.
    init?(_ record: RecordView) {
        switch EventType(rawValue: record.type) {
        case .assigned:
            kind = .assigned
            audience = .members(record.publicText(of: "member").map { [$0] } ?? [])
        case .escalated:
            kind = .escalated
            audience = .members(Self.texts(of: "to", in: record.publicMembers))
        case .clockBreached:
            kind = .breached
            audience = .holder(record.streamKey, version: record.version.rawValue)
        case .inboxAlarmed:
            kind = .inboxAlarm
            audience = .nobodyNamed
        default: return nil
        }
        position = record.position.rawValue
    }

    /// The distinct texts of the array `name`; none where it is absent or of another form.
    private static func texts(of name: StaticString, in members: UnsafeRawBufferPointer) -> [String] {
        var parser = JSONParser(bytesMax: members.count + 2)
        let root = try? parser.parse([UInt8(ascii: "{")] + members + [UInt8(ascii: "}")])
        guard let list = root?[name], list.kind == .array else { return [] }
        var seen: Set<String> = []
        return list.elements.compactMap { $0.string }.filter { seen.insert($0).inserted }
    }

    /// The member ids to tell; the empty one stands for nobody in particular.
    ///
    /// - Throws: what reading the log does.
    func recipients(from log: EventLog) throws -> [String] {
        switch audience {
        case .members(let members): members
        case .holder(let lead, let version): [try LeadHolder.before(version, of: lead, in: log) ?? ""]
        case .nobodyNamed: [""]
        }
    }
}

/// Who had a lead: the owner, or who leased it.
enum LeadHolder {
    /// After the lead's events below `version`, which are read again for it; nil where nobody had it, or where they are too many.
    ///
    /// From the log and not from the leads read model, which knows who has it now: that may be another one at the next delivery.
    static func before(_ version: UInt64, of lead: StreamKey, in log: EventLog) throws -> String? {
        guard version <= UInt64(Limits.holderEventsMax) else { return nil }
        let positions = try log.positions(of: lead, from: StreamVersion(rawValue: 1), limit: Int(version) - 1)
        var fold = Fold()
        for position in positions { try log.record(at: position) { fold.take($0) } }
        return fold.holder
    }

    /// The lead after some of its events, by the lifecycle's rules.
    struct Fold {
        private var state: LeadState?
        private var last: String?

        var holder: String? { state?.custody == .owner || state?.custody == .leased ? last : nil }

        mutating func take(_ record: RecordView) {
            // An event that the lifecycle refuses was not stored by us: the checker says so, and here it does nothing.
            guard let type = EventType(rawValue: record.type), let variant = EventVariant(rawValue: record.variant),
                case .next(let next) = Lifecycle.evolve(state, type, variant, backfill: record.isBackfill)
            else { return }
            switch type {
            case .assigned, .claimed: last = record.publicText(of: "member")
            case .contactAttempted, .contacted:
                // Whoever contacts a lead that nobody has, has it.
                if next.custody == .owner, state?.custody != .owner { last = record.publicText(of: "by") }
            default: break
            }
            state = next
        }
    }
}

extension RecordView {
    /// The text of a public member; nil where there is none.
    fileprivate func publicText(of name: StaticString) -> String? {
        StoredMembers(publicMembers).withText(of: name) { text in text.map { String(decoding: $0, as: UTF8.self) } }
    }
}

extension Notice.Kind {
    var word: String {
        switch self {
        case .assigned: "assigned"
        case .escalated: "escalated"
        case .breached: "breached"
        case .inboxAlarm: "inbox_alarm"
        }
    }
}

extension JSONWriter {
    /// The member `notifications` of a delivery.
    mutating func notifications(_ notice: Notice?, to recipients: [String]) {
        key("notifications")
        beginArray()
        if let notice {
            for recipient in recipients {
                beginObject()
                member("recipient", recipient)
                member("dedupe_key", "\(notice.position)/\(recipient)")
                member("kind", notice.kind.word)
                endObject()
            }
        }
        endArray()
    }
}
