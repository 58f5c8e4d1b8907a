import Control
import JSON
import Leads
import PolicyDocuments

// ReportPeriod: the period of a report and the zone of its dates: `from`, `to`, `window`, `as_of`, `zone`.

/// A period as the parameters say it. A zone lies in a file, so it is read when the answer is written, off the event loop.
struct ReportPeriodWords: Sendable {
    private let from: String?
    private let to: String?
    private let asOf: String?
    private let zone: String?
    private let windowMicroseconds: Int64?

    init(_ params: JSONValue?) throws(QueryFault) {
        from = params?["from"]?.string
        to = params?["to"]?.string
        asOf = params?["as_of"]?.string
        zone = params?["zone"]?.string
        guard let window = params?["window"]?.string else {
            windowMicroseconds = nil
            return
        }
        guard let seconds = durationSeconds(window)?.seconds, seconds > 0 else {
            throw QueryFault(
                .invalidValue, "a window is a duration such as 30d, 12h or 90m, of at most ten years",
                pointer: "/window")
        }
        guard from == nil else {
            throw QueryFault(.invalidValue, "a period begins at from or spans a window, not both", pointer: "/window")
        }
        windowMicroseconds = seconds * Instant.microsecondsPerSecond
    }

    /// - Parameter now: what stands for an as-of instant that is not given, and for the end of a window.
    func read(now: Instant) throws(QueryFault) -> ReportPeriod {
        var rules = TimeZoneRules.utc
        if let zone {
            do throws(TimeZoneDatabaseError) { rules = try TimeZoneDatabase().rules(of: zone) } catch {
                throw QueryFault(.invalidValue, error.message, pointer: "/zone")
            }
        }
        var period = ReportPeriod(
            zone: rules, zoneName: zone ?? "UTC", from: try Self.instant(from, "/from", rules),
            to: try Self.instant(to, "/to", rules), asOf: try Self.instant(asOf, "/as_of", rules) ?? now)
        if let windowMicroseconds {
            let end = period.to ?? now
            period.to = end
            period.from = max(end.advanced(byMicroseconds: -windowMicroseconds), .earliest)
        }
        try QueryFault.check(period.from, before: period.to)
        return period
    }

    /// An instant, or a date taken at the start of its day in the zone.
    private static func instant(
        _ text: String?, _ pointer: String, _ zone: TimeZoneRules
    ) throws(QueryFault) -> Instant? {
        guard let text else { return nil }
        if let date = try? Instant(date: text) { return zone.start(of: date.date) }
        do throws(InstantProblem) { return try Instant(rfc3339: text) } catch {
            throw QueryFault(.invalidTime, error.message, pointer: pointer)
        }
    }
}

/// [from, to), open at an end that is nil.
struct ReportPeriod: Sendable {
    var zone: TimeZoneRules
    var zoneName: String
    var from: Instant?
    var to: Instant?
    var asOf: Instant
}
