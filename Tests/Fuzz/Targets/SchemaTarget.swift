import Control
import JSON

@testable import LeadLedger
@testable import Ledger

/// Any JSON is taken in as an event or refused with a place that is in it; and what was taken in comes back as an event that, sent
/// again, is the same event.
enum SchemaTarget {
    private static let schemas: EventSchemas = {
        do { return try EventSchemas() } catch { fatalError("\(error)") }
    }()
    private static let intake = EventIntake(schemas: schemas)
    /// 2026-03-01, so that times may be in its future.
    private static let now: Int64 = 1_772_355_600_000_000

    static func run(_ bytes: UnsafeRawBufferPointer) {
        var parser = JSONParser()
        guard let event = try? parser.parse(bytes) else { return }
        // Against each method's parameters too: no schema may trap, whatever stands there.
        for schema in schemas.parameters.values { _ = schema.validate(event) }
        guard let first = take(event, from: event) else { return }

        // Told again as `log.read` tells it.
        var writer = JSONWriter()
        var encoder = CloudEventEncoder()
        writer.cloudEvent(first.record(0), with: &encoder)
        var teller = JSONParser()
        let told: JSONValue
        do { told = try teller.parse(writer.bytes) } catch { fatalError("what is told is no JSON: \(error)") }
        // Without what the log has added.
        var rest = JSONWriter()
        rest.beginObject()
        for member in told.members {
            let name = member.name.string ?? ""
            if ["position", "version", "recordedtime", "actor"].contains(name) { continue }
            rest.rawMembers(member.raw)
        }
        rest.endObject()
        var taker = JSONParser()
        let again: JSONValue
        do { again = try taker.parse(rest.bytes) } catch { fatalError("what is told is no JSON: \(error)") }
        guard let second = take(again, from: again) else {
            fatalError("an event was taken in, told, and then refused: \(String(decoding: rest.bytes, as: UTF8.self))")
        }
        promise(
            first.record(0).hasSameContent(as: second.record(0)),
            "taken in, told and taken in again it is another event")
    }

    private static func take(_ event: JSONValue, from root: JSONValue) -> AppendUnit? {
        let unit = AppendUnit(ledgerID: LedgerID(high: 1, low: 2), replyTo: NobodyListens(), token: 1)
        do throws(AppendFault) { try intake.add(event, index: 0, actor: 0, now: now, to: unit) } catch {
            promise(error.pointer.hasPrefix("/events/0") && !error.message.isEmpty, "no place: \(error)")
            promise(error.name != .internalError, "our bug: \(error)")
            promise(unit.eventCount == 0, "a refused event is in the unit")
            return nil
        }
        promise(unit.eventCount == 1, "an event was taken in, and is not in the unit")
        _ = unit.finish(0, position: 1, recordedAt: now, version: 1)
        if let fault = RecordView.fault(in: unit.record(0).whole) { fatalError("its record is \(fault.rawValue)") }
        return unit
    }
}
