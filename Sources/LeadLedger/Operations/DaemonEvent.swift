import JSON
import Leads
import Ledger

/// An event that the daemon itself says: policies, members, leases, decisions, clocks.
struct DaemonEvent {
    /// Which part of the daemon says it: the envelope's `source`.
    enum Voice: String {
        case router = "urn:leadledger:router"
        case clocks = "urn:leadledger:clocks"
        case policy = "urn:leadledger:policy"
        case members = "urn:leadledger:members"
        case queue = "urn:leadledger:queue"
    }

    var type: EventType
    /// Of the stream that the type says: the lead's, policy's, member's or pool's id.
    var subject: String
    var voice: Voice
    /// With subject and voice its name for ever. What follows from one event and nothing else has an id made of that event's
    /// position: appended twice it is a duplicate.
    var id: String
    /// The uid of who asked, or the daemon's own.
    var actor: UInt32
    /// The position of the event that it follows from.
    var cause: UInt64?
    /// When it happened, where that is not when it is recorded.
    var instant: Instant?
    var variant = EventVariant.plain
    /// The members of `data` as JSON text, without the braces.
    var members: [UInt8]

    init(
        _ type: EventType, of subject: String, by voice: Voice, id: String, actor: UInt32, cause: UInt64? = nil,
        at instant: Instant? = nil, _ data: (inout JSONWriter) -> Void = { _ in }
    ) {
        self.type = type
        self.subject = subject
        self.voice = voice
        self.id = id
        self.actor = actor
        self.cause = cause
        self.instant = instant
        var writer = JSONWriter(reserving: 256)
        writer.beginObject()
        data(&writer)
        writer.endObject()
        members = Array(writer.bytes.dropFirst().dropLast())
    }
}

extension AppendUnit {
    /// - Throws: `recordTooLarge`; the unit is then as it was.
    func add(_ event: DaemonEvent) throws(LedgerError) {
        let cause = event.cause.map { String($0) } ?? ""
        let error: LedgerError? = withTexts(event.subject, event.voice.rawValue, event.id, cause) {
            subject, source, id, cause in
            beginEvent(
                EventDraft(
                    type: event.type.rawValue, schemaVersion: 1, variant: event.variant.rawValue,
                    occurredAt: event.instant?.microseconds,
                    streamKind: event.type.stream.rawValue, actor: event.actor, subject: subject, source: source,
                    eventID: id, causation: cause))
            if !event.members.isEmpty { event.members.withUnsafeBytes { addPublicMember($0) } }
            do throws(LedgerError) { try endEvent() } catch { return error }
            return nil
        }
        if let error { throw error }
    }

    private func withTexts(
        _ first: String, _ second: String, _ third: String, _ fourth: String,
        _ body: (
            UnsafeRawBufferPointer, UnsafeRawBufferPointer, UnsafeRawBufferPointer, UnsafeRawBufferPointer
        ) -> LedgerError?
    ) -> LedgerError? {
        Array(first.utf8).withUnsafeBytes { first in
            Array(second.utf8).withUnsafeBytes { second in
                Array(third.utf8).withUnsafeBytes { third in
                    Array(fourth.utf8).withUnsafeBytes { body(first, second, third, $0) }
                }
            }
        }
    }
}

extension StreamKey {
    init(_ stream: StreamKind, _ subject: String) {
        self = Array(subject.utf8).withUnsafeBytes { StreamKey(kind: stream.rawValue, subject: $0) }
    }

    init(_ key: RoutingKey) { self.init(high: key.high, low: key.low) }
}

extension RoutingKey {
    init(_ key: StreamKey) { self.init(high: key.high, low: key.low) }
}
