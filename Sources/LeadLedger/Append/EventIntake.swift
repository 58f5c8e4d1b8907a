import Control
import JSON
import Leads
import Ledger
import Projections

// EventIntake: one CloudEvent of a request, checked and encoded into its unit. Runs on an event loop, in one pass over
// the parsed line, without a heap allocation on the path of a good event.
//
// The checks, in order; the first that fails names the place:
//   1. the envelope against envelope.json
//   2. the type: known, and one that clients may say
//   3. subject, source and id: bounds, and no personal data in what is kept in the clear for ever; the bounds of the others; and a
//      source that is none of the daemon's own: an event's name is (subject, source, id), and the daemon's names must stay free
//   4. time: an instant of the years 0000 to 9999, at most five minutes ahead
//   5. data against the schema of its type
//   6. what no keyword of the schemas says: an amount has a currency, and a planned time is a time
// What passed is encoded as it was received: minified, split into public and personal members, not rewritten.

struct EventIntake {
    let schemas: EventSchemas

    /// Checks `event`, element `index` of the request, and adds its record to `unit`.
    ///
    /// - Parameter now: the daemon's clock when the batch of lines was read, microseconds since 1970.
    func add(_ event: JSONValue, index: Int, actor: UInt32, now: Int64, to unit: AppendUnit) throws(AppendFault) {
        // 1.
        if let violation = schemas.envelope.validate(event) {
            throw AppendFault(violation, at: "/events/\(index)")
        }
        let envelope = Envelope(event)
        guard let typeValue = envelope.type, let subject = envelope.subject, let source = envelope.source,
            let id = envelope.id, let data = envelope.data
        else {
            // The envelope's schema requires them: a schema that no longer does is our bug, and is answered as one.
            throw AppendFault(.internalError, "/events/\(index)", "envelope.json let a required attribute be absent")
        }

        // 2.
        guard let type = EventType(utf8: typeValue.utf8) else {
            throw AppendFault(
                .unknownEventType, "/events/\(index)/type",
                "no event type is called \(typeValue.string ?? "that"); `schema.get` without a name lists the types")
        }
        guard !type.isReserved else {
            throw AppendFault(
                .reservedType, "/events/\(index)/type", "only the daemon says \(type.name); a method leads to it")
        }
        guard let schema = schemas[type] else {
            throw AppendFault(
                .unknownEventType, "/events/\(index)/type", "\(type.name) is not an event that this daemon takes")
        }

        // 3.
        try check(subject, "subject", bytesMax: LedgerLimits.identifierBytesMax, index)
        try check(source, "source", bytesMax: LedgerLimits.shortTextBytesMax, index)
        try check(id, "id", bytesMax: LedgerLimits.identifierBytesMax, index)
        if Self.isOwnSource(source.utf8) {
            throw AppendFault(
                .reservedType, "/events/\(index)/source",
                "only the daemon says events of sources that begin with urn:leadledger:")
        }
        if let long = envelope.tooLongText {
            throw AppendFault(
                .invalidValue, "/events/\(index)/\(long)",
                "\(long) takes at most \(LedgerLimits.shortTextBytesMax) bytes of UTF-8")
        }

        // 4.
        var occurredAt: Int64?
        if let time = envelope.time {
            let instant: Instant
            do { instant = try Instant(rfc3339: time.utf8) } catch {
                throw AppendFault(.invalidTime, "/events/\(index)/time", error.message)
            }
            guard instant.microseconds <= now + Limits.futureToleranceMicroseconds else {
                throw AppendFault(
                    .timeInFuture, "/events/\(index)/time",
                    "\(instant) is more than five minutes after the daemon's clock, \(Instant(microseconds: now))")
            }
            occurredAt = instant.microseconds
        }

        // 5.
        var marks = MemberMarks()
        if let violation = schema.validate(data, marks: &marks) {
            throw AppendFault(violation, at: "/events/\(index)/data")
        }
        if marks.reserved != 0 {
            throw AppendFault(
                .reservedType, "/events/\(index)/data", "\(type.name) has a field that only the daemon may write")
        }

        // 6.
        switch type {
        case .captured, .touched, .opportunityOpened:
            // The schema's pass has seen which members there are.
            if marks.seen & schema.amount != 0, marks.seen & schema.currency == 0 {
                throw Self.amountWithoutCurrency(index, in: "")
            }
            if type == .opportunityOpened { try checkPlanned("expected_close", in: data, index) }
        case .enriched:
            // The fields that were found.
            let money = data["fields"] ?? data
            if money["amount"] != nil, money["currency"] == nil {
                throw Self.amountWithoutCurrency(index, in: "/fields")
            }
        case .queued: try checkPlanned("due", in: data, index)
        case .recycled: try checkPlanned("not_before", in: data, index)
        default: break
        }
        unit.beginEvent(
            EventDraft(
                type: type.rawValue, schemaVersion: schema.version,
                variant: EventVariant(of: type, data: data).rawValue,
                isBackfill: envelope.backfill?.boolean ?? false, occurredAt: occurredAt,
                streamKind: LeadStreams.kind, actor: actor, subject: subject.utf8, source: source.utf8,
                eventID: id.utf8,
                correlation: envelope.correlation?.utf8 ?? Self.absent,
                causation: envelope.causation?.utf8 ?? Self.absent,
                traceparent: envelope.traceparent?.utf8 ?? Self.absent))
        Self.addMembers(of: data, marks.personal, to: unit)
        do throws(LedgerError) { try unit.endEvent() } catch {
            throw AppendFault(
                .eventTooLarge, "/events/\(index)", "the event's record is over \(LedgerLimits.recordBytesMax) bytes")
        }
    }

    /// Adds the members of `data`, each run of those that go to the same place as one: in a minified text they lie side by side, with
    /// just the comma between them that the record wants there too.
    ///
    /// - Parameter personal: bit i: member i is about a person.
    private static func addMembers(of data: JSONValue, _ personal: UInt64, to unit: AppendUnit) {
        // An object: what is between its braces.
        let text = UnsafeRawBufferPointer(rebasing: data.raw[1..<data.raw.count - 1])
        var start = 0
        func add(to end: Int, isPersonal: Bool) {
            guard end > start else { return }
            let run = UnsafeRawBufferPointer(rebasing: text[start..<end])
            if isPersonal { unit.addPersonalMember(run) } else { unit.addPublicMember(run) }
        }
        var runIsPersonal = false
        if personal != 0 {
            let textOffset = data.rawOffset + 1
            var bit: UInt64 = 1
            for member in data.members {
                let isPersonal = personal & bit != 0
                bit <<= 1
                guard isPersonal != runIsPersonal else { continue }
                let next = member.name.rawOffset - textOffset
                // Without the comma before it.
                add(to: next - 1, isPersonal: runIsPersonal)
                (start, runIsPersonal) = (next, isPersonal)
            }
        }
        add(to: text.count, isPersonal: runIsPersonal)
    }

    private static func amountWithoutCurrency(_ index: Int, in place: String) -> AppendFault {
        AppendFault(
            .missingField, "/events/\(index)/data\(place)", "an amount needs its currency: it is in minor units of it")
    }

    /// Something will act on it later, when nobody can refuse it any more.
    private func checkPlanned(_ member: StaticString, in data: JSONValue, _ index: Int) throws(AppendFault) {
        guard let text = data[member]?.string else { return }
        do throws(InstantProblem) { _ = try Instant(dateOrRFC3339: text) } catch {
            throw AppendFault(.invalidTime, "/events/\(index)/data/\(member)", error.message)
        }
    }

    /// Whether it begins as the sources of the daemon's own events do.
    private static func isOwnSource(_ source: UnsafeRawBufferPointer) -> Bool {
        let own: StaticString = "urn:leadledger:"
        guard source.count >= own.utf8CodeUnitCount else { return false }
        return UnsafeRawBufferPointer(rebasing: source[..<own.utf8CodeUnitCount]).equals(own)
    }

    private static var absent: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: nil, count: 0) }

    private func check(_ value: JSONValue, _ attribute: StaticString, bytesMax: Int, _ index: Int) throws(AppendFault) {
        guard let fault = IdentifierRules.fault(in: value.utf8, bytesMax: bytesMax) else { return }
        let place = "/events/\(index)/\(attribute)"
        switch fault {
        case .personal:
            throw AppendFault(
                .personalID, place,
                "\(attribute) looks like an e-mail address or a phone number, and it would be kept in the clear for ever"
            )
        case .length(let bytes, let bytesMax):
            throw AppendFault(.invalidValue, place, "\(attribute) takes 1 to \(bytesMax) bytes of UTF-8, not \(bytes)")
        case .controlCharacter:
            throw AppendFault(.invalidValue, place, "\(attribute) holds a control character")
        }
    }
}

/// The attributes of one envelope, where they stand in the line.
private struct Envelope {
    var type, subject, source, id, data, time, backfill, correlation, causation, traceparent: JSONValue?

    /// The optional attribute that has more bytes than a record holds, though no more characters than its schema allows.
    var tooLongText: StaticString? {
        let most = LedgerLimits.shortTextBytesMax
        if let correlation, correlation.utf8.count > most { return "correlationid" }
        if let causation, causation.utf8.count > most { return "causationid" }
        if let traceparent, traceparent.utf8.count > most { return "traceparent" }
        return nil
    }

    init(_ event: JSONValue) {
        for member in event.members {
            let (name, value) = (member.name.utf8, member.value)
            // By length first, which leaves three names at most.
            switch name.count {
            case 2: if name.equals("id" as StaticString) { id = value }
            case 4:
                if name.equals("data" as StaticString) {
                    data = value
                } else if name.equals("type" as StaticString) {
                    type = value
                } else if name.equals("time" as StaticString) {
                    time = value
                }
            case 6: if name.equals("source" as StaticString) { source = value }
            case 7: if name.equals("subject" as StaticString) { subject = value }
            case 8: if name.equals("backfill" as StaticString) { backfill = value }
            case 11:
                if name.equals("causationid" as StaticString) {
                    causation = value
                } else if name.equals("traceparent" as StaticString) {
                    traceparent = value
                }
            case 13: if name.equals("correlationid" as StaticString) { correlation = value }
            default: break
            }
        }
    }
}

extension EventVariant {
    /// What the lifecycle needs of an event's data besides its type, read once at the door and kept in the record's
    /// header. The data passed its schema, so a word that stands there is one of those listed.
    fileprivate init(of type: EventType, data: JSONValue) {
        switch type {
        case .reopened:
            let kind = data["kind"]
            self =
                kind?.equals("un_win") == true ? .unWin : kind?.equals("new_business") == true ? .newBusiness : .resume
        case .recycled:
            self = data["to"]?.equals("nurture") == true ? .toNurture : .plain
        case .contactAttempted, .contacted:
            self = data["automatic"]?.boolean == true ? .automatic : .plain
        default:
            self = .plain
        }
    }
}
