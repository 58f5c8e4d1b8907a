import Leads

/// The calendars of a rule set as business time counts with them, and what deciding asks of them.
struct PolicyCalendars: Sendable {
    /// By `CalendarIndex`.
    let calendars: [BusinessCalendar]
    let zoneVersion: String
    /// Whether any lead has to be answered within a time.
    let hasFirstResponse: Bool

    /// - Throws: `TimeZoneDatabaseError` where the machine has no such zone (any more), `BusinessCalendarProblem` for a calendar
    ///   that never opens, which a document that was read has not.
    init(_ rules: RuleSet, _ zones: TimeZoneDatabase) throws {
        calendars = try rules.calendars.map { try BusinessCalendar($0, in: try zones.rules(of: $0.zone)) }
        hasFirstResponse = rules.responseTargets.contains { $0.kind == .firstResponse }
        zoneVersion = try zones.version(forZones: rules.calendars.map(\.zone))
    }

    var environment: RoutingEnvironment {
        let calendars = calendars
        return RoutingEnvironment(
            isOpen: { calendars[Int($0.rawValue)].isOpen(at: $1) },
            startOfDay: { index, instant in
                let zone = calendars[Int(index.rawValue)].zone
                return zone.start(of: zone.wallTime(at: instant).date)
            },
            timeZoneVersion: zoneVersion, hash: RoutingHash.sha256)
    }

    /// The calendar that a target's business time is counted in, before anybody's leave.
    func calendar(
        of target: ResponseTarget, pool: PoolIndex, holder: MemberIndex?, facts: LeadFacts, _ rules: RuleSet
    ) -> BusinessCalendar {
        if target.measure == .wall { return .always }
        let index: CalendarIndex =
            switch target.calendar {
            case .named(let calendar): calendar
            case .pool: rules.pools[pool].calendar
            case .holder: holder.map { rules.members[$0].calendar } ?? rules.pools[pool].calendar
            case .region:
                rules.regionCalendars.first { $0.condition.holds(for: facts) }?.calendar ?? rules.pools[pool].calendar
            }
        return calendars[Int(index.rawValue)]
    }
}

extension BusinessCalendar {
    /// The calendar that a rule set's words describe.
    init(_ spec: CalendarSpec, in zone: TimeZoneRules) throws(BusinessCalendarProblem) {
        var open: [OpenInterval] = []
        for (weekday, intervals) in zip(Weekday.allCases, spec.week) {
            for (index, interval) in intervals.enumerated() {
                guard let start = TimeOfDay(seconds: interval.startMinute * 60),
                    let end = TimeOfDay(seconds: interval.endMinute * 60)
                else { throw .interval(index) }
                open.append(OpenInterval(weekday, start, end))
            }
        }
        try self.init(in: zone, open: open, holidays: spec.holidays)
    }
}
