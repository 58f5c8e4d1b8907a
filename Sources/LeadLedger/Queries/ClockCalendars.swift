import Control
import JSON
import Leads
import Ledger
import PolicyDocuments
import Projections

// ClockCalendars: the calendars that running clocks are counted with, from the rule sets and the absences in the log.

/// For one report: each rule set, calendar and leave is read from the log once.
///
/// A clock's calendar is that of the version of the rule set that chose its target, whatever is in force now.
final class ClockCalendars {
    private let log: EventLog
    private var zones: TimeZoneDatabase?
    private var ruleSets: [Position: RuleSet] = [:]
    private var calendars: [ClockCalendar: BusinessCalendar] = [:]
    private var absences: [String: [Range<Instant>]] = [:]
    private let reader = EventReader()

    init(log: EventLog) { self.log = log }

    /// - Throws: `QueryFault` where the log has no such calendar: then there is no answer, rather than a wrong one.
    func calendar(_ wanted: ClockCalendar) throws -> BusinessCalendar {
        if let known = calendars[wanted] { return known }
        var calendar: BusinessCalendar
        if wanted.calendar == CalendarSpec.always.id {
            calendar = .always
        } else {
            let rules = try ruleSet(at: wanted.ruleSet)
            guard let spec = rules.calendars.first(where: { $0.id == wanted.calendar }) else {
                throw Self.fault("the rule set at position \(wanted.ruleSet) has no calendar \(wanted.calendar)")
            }
            let zone = try zone(spec.zone)
            do throws(BusinessCalendarProblem) { calendar = try BusinessCalendar(spec, in: zone) } catch {
                throw Self.fault("the calendar \(spec.id): \(error.message)")
            }
        }
        if let holder = wanted.holder { calendar = calendar.closed(during: try leave(of: holder)) }
        calendars[wanted] = calendar
        return calendar
    }

    private static func fault(_ message: String) -> QueryFault { QueryFault(.internalError, message) }

    private func zone(_ name: String) throws -> TimeZoneRules {
        do throws(TimeZoneDatabaseError) {
            let database: TimeZoneDatabase
            if let zones { database = zones } else { database = try TimeZoneDatabase() }
            zones = database
            return try database.rules(of: name)
        } catch { throw Self.fault(error.message) }
    }

    // MARK: Rule sets

    private func ruleSet(at position: Position) throws -> RuleSet {
        if let known = ruleSets[position] { return known }
        do {
            guard let published = try PublishedText(version: position, in: log) else {
                throw Self.fault("no rule set was published at position \(position)")
            }
            // It was checked when it was published, on a machine whose zones may have been others.
            let ruleSet = try PolicyDocument(published.text, isKnownZone: { _ in true }).ruleSet
            ruleSets[position] = ruleSet
            return ruleSet
        } catch let fault as QueryFault { throw fault } catch {
            throw Self.fault("the rule set at position \(position) cannot be read: \(error)")
        }
    }

    // MARK: Leave

    /// The absences of a member: [from, until), each ended by a return.
    private func leave(of member: String) throws -> [Range<Instant>] {
        if let known = absences[member] { return known }
        let stream = Array(member.utf8).withUnsafeBytes { StreamKey(kind: StreamKind.member.rawValue, subject: $0) }
        var leave: [Range<Instant>] = []
        var version = StreamVersion(rawValue: 1)
        while true {
            let positions = try log.positions(of: stream, from: version, limit: Limits.memberEventsAtOnce)
            for position in positions {
                try log.record(at: position) { record in
                    switch EventType(rawValue: record.type) {
                    case .memberOnLeave:
                        try reader.withData(of: record) { data in
                            guard let text = data["from"]?.string, let from = try? Instant(rfc3339: text) else {
                                return
                            }
                            let until = data["until"]?.string.flatMap { try? Instant(rfc3339: $0) } ?? .latest
                            if from < until { leave.append(from..<until) }
                        }
                    case .memberReturned:
                        let returned = Instant(microseconds: record.instant)
                        leave = leave.filter { $0.lowerBound < returned }.map {
                            $0.lowerBound..<min($0.upperBound, returned)
                        }
                    default: break
                    }
                }
            }
            guard positions.count == Limits.memberEventsAtOnce else { break }
            version = StreamVersion(rawValue: version.rawValue + UInt64(positions.count))
        }
        absences[member] = leave
        return leave
    }
}
