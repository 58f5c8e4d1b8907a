import JSON
import Leads

// ClockEntryReading: what the clocks said in the log, read back. What is written is drawn in `Leads/Clocks/ClockEntry+Encoding.swift`.

extension ClockEntry {
    /// - Throws: `ReadingFault` for data that the clocks never wrote.
    init(_ data: JSONValue, _ type: EventType, _ position: UInt64) throws {
        let read = Reading(data: data, position: position)
        switch type {
        case .clockStarted:
            self = .started(
                Started(
                    clock: try read.clock, terms: try read.terms, cause: try read.natural("cause"),
                    at: try read.instant("at"), due: try read.optionalInstant("due"), pool: data["pool"]?.string,
                    attempt: try read.optionalNatural("attempt").map { Int(clamping: $0) }))
        case .clockPaused:
            self = .paused(try read.clock, reason: data["reason"]?.string, elapsed: try read.elapsed)
        case .clockResumed:
            self = .resumed(
                try read.clock, reason: data["reason"]?.string, due: try read.optionalInstant("due"),
                elapsed: try read.elapsed)
        case .clockMet:
            self = .met(
                Met(
                    clock: try read.clock, at: try read.instant("at"), cause: try read.optionalNatural("cause"),
                    by: data["by"]?.string, due: try read.optionalInstant("due"), elapsed: try read.elapsed,
                    late: data["late"]?.boolean ?? false))
        case .clockBreached:
            self = .breached(try read.clock, due: try read.instant("due"), elapsed: try read.elapsed)
        case .clockStopped:
            self = .stopped(
                try read.clock, at: try read.instant("at"), reason: data["reason"]?.string, elapsed: try read.elapsed)
        case .clockReplaced:
            self = .replaced(
                Replaced(
                    clock: try read.clock, terms: try read.terms, due: try read.optionalInstant("due"),
                    elapsed: try read.elapsed))
        case .escalated:
            guard let action = data["action"]?.string.flatMap({ Escalated.Action(rawValue: $0) }) else {
                throw read.fault("action")
            }
            self = .escalated(
                Escalated(
                    clock: try read.clock, target: data["target"]?.string,
                    step: Int(clamping: try read.natural("step")), action: action,
                    to: data["to"].map { $0.kind == .array ? $0.elements.compactMap(\.string) : [] } ?? []))
        case .inboxAlarmed:
            self = .inboxAlarmed(
                since: try read.instant("since"),
                seconds: try read.optionalNatural("seconds").map { Int64(clamping: $0) })
        default: throw ReadingFault(position: position, reason: "\(type.name) is no event of a clock")
        }
    }

    /// Members of one form each, or the fault with the member's name.
    private struct Reading {
        let data: JSONValue
        let position: UInt64

        func fault(_ name: StaticString) -> ReadingFault {
            ReadingFault(position: position, reason: "\(name) of a clock's event is missing, or of another form")
        }

        var clock: ClockKind {
            get throws {
                guard let kind = data["clock"]?.string.flatMap({ ClockKind(rawValue: $0) }) else {
                    throw fault("clock")
                }
                return kind
            }
        }

        var terms: Terms {
            get throws {
                guard let target = data["target"]?.string, let policy = data["policy"]?.string,
                    let measure = data["measure"]?.string.flatMap({ TimeMeasure(rawValue: $0) })
                else { throw fault("target") }
                return Terms(
                    target: target, policy: policy, version: try natural("version"),
                    seconds: Int64(clamping: try natural("seconds")), measure: measure,
                    calendar: data["calendar"]?.string, holder: data["holder"]?.string, zones: data["zones"]?.string)
            }
        }

        var elapsed: ResponseClock.Elapsed {
            get throws {
                guard let elapsed = data["elapsed"], elapsed.kind == .object, let wall = elapsed["wall"]?.int64,
                    let business = elapsed["business"]?.int64
                else { throw fault("elapsed") }
                return ResponseClock.Elapsed(wall: wall, business: business)
            }
        }

        func natural(_ name: StaticString) throws -> UInt64 {
            guard let number = try optionalNatural(name) else { throw fault(name) }
            return number
        }

        func optionalNatural(_ name: StaticString) throws -> UInt64? {
            guard let value = data[name] else { return nil }
            guard let number = value.uint64 else { throw fault(name) }
            return number
        }

        func instant(_ name: StaticString) throws -> Instant {
            guard let instant = try optionalInstant(name) else { throw fault(name) }
            return instant
        }

        func optionalInstant(_ name: StaticString) throws -> Instant? {
            guard let value = data[name] else { return nil }
            guard let text = value.string else { throw fault(name) }
            return try EventReader.instant(text, position)
        }
    }
}
