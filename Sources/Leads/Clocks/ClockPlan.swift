/// A rule set in force, with its calendars made: everything a clock is chosen by and counts with. Made once at activation, shared
/// and never changed.
package final class ClockPlan: Sendable {
    package let ruleSet: RuleSet
    /// The position of its `policy.published`.
    package let version: UInt64
    /// From this instant on it is in force.
    package let from: Instant
    /// The position of the activation.
    package let position: UInt64
    /// By `CalendarIndex`, without anybody's leave.
    package let calendars: [BusinessCalendar]
    package let timeZoneVersion: String

    private let kinds: Set<TargetKind>
    private let followsUp: Bool

    /// - Parameter calendars: one for each of the rule set's, in their order.
    package init(
        _ ruleSet: RuleSet, version: UInt64, from: Instant, position: UInt64, calendars: [BusinessCalendar],
        timeZoneVersion: String
    ) {
        precondition(calendars.count == ruleSet.calendars.count, "each calendar of the rule set is made")
        self.ruleSet = ruleSet
        self.version = version
        self.from = from
        self.position = position
        self.calendars = calendars
        self.timeZoneVersion = timeZoneVersion
        kinds = Set(ruleSet.pools.flatMap { $0.responseTargets.map { ruleSet.responseTargets[$0].kind } })
        followsUp = kinds.contains(.followUp) || ruleSet.pools.contains { $0.cadence != nil }
    }

    /// False: no lead has such a clock by this rule set, whatever its pool.
    func mayStart(_ kind: TargetKind) -> Bool { kind == .followUp ? followsUp : kinds.contains(kind) }
}

/// What a clock's choice looks at besides the rule set, and the book does not hold: read from the log when it is needed.
package struct LeadBackground: Sendable {
    package var facts: LeadFacts
    /// The pool of the latest decision of the lead's cycle, or the queue it lay in last; nil: nobody decided yet.
    package var pool: String?

    package init(facts: LeadFacts, pool: String? = nil) {
        self.facts = facts
        self.pool = pool
    }
}

// MARK: - Choosing

/// By what a clock counts: frozen into it when it starts, and when it is replaced.
struct ClockTerms: Sendable {
    enum Target: Sendable, Equatable {
        case response(ResponseTargetIndex)
        /// An attempt of a cadence whose pool has no target for follow-ups.
        case cadence(CadenceIndex)
    }

    var plan: ClockPlan
    var target: Target
    var pool: PoolIndex?
    var seconds: Int64
    var measure: TimeMeasure
    /// Nil: 24x7.
    var calendar: CalendarIndex?
    /// Whose leave is no business time.
    var holder: String?

    var response: ResponseTarget? {
        if case .response(let index) = target { plan.ruleSet.responseTargets[index] } else { nil }
    }

    var ladder: [LadderStep] { response?.ladder ?? [] }

    var targetID: String {
        switch target {
        case .response(let index): plan.ruleSet.responseTargets[index].id
        case .cadence(let index): plan.ruleSet.cadences[index].id
        }
    }

    /// As an event stores it.
    var stored: ClockEntry.Terms {
        ClockEntry.Terms(
            target: targetID, policy: plan.ruleSet.id, version: plan.version, seconds: seconds, measure: measure,
            calendar: calendar.map { plan.ruleSet.calendars[$0].id }, holder: holder,
            zones: calendar == nil ? nil : plan.timeZoneVersion)
    }

    /// The calendar it counts with, given when members were or are on leave.
    func businessCalendar(_ absences: Absences) -> BusinessCalendar {
        guard let calendar else { return .always }
        let hours = plan.calendars[Int(calendar.rawValue)]
        guard let holder, let leave = absences[holder] else { return hours }
        return hours.closed(during: leave)
    }
}

extension ClockPlan {
    /// The pool of a lead: that of its decision, if this rule set has it, else what its territories say.
    func pool(of lead: LeadBackground) -> PoolIndex {
        lead.pool.flatMap { ruleSet.pool(named: $0) } ?? ruleSet.pool(for: lead.facts)
    }

    /// The terms of a clock of this kind: of the pool's targets the first whose condition is true. Nil: it has none.
    func terms(_ kind: TargetKind, in pool: PoolIndex, _ facts: LeadFacts, holder: String?) -> ClockTerms? {
        guard let index = target(kind, in: pool, facts) else { return nil }
        return terms(index, in: pool, facts, holder: holder)
    }

    func target(_ kind: TargetKind, in pool: PoolIndex, _ facts: LeadFacts) -> ResponseTargetIndex? {
        ruleSet.pools[pool].responseTargets.first { index in
            let target = ruleSet.responseTargets[index]
            return target.kind == kind && (target.condition?.holds(for: facts) ?? true)
        }
    }

    func terms(_ index: ResponseTargetIndex, in pool: PoolIndex, _ facts: LeadFacts, holder: String?) -> ClockTerms {
        let target = ruleSet.responseTargets[index]
        var terms = ClockTerms(
            plan: self, target: .response(index), pool: pool, seconds: target.seconds, measure: target.measure)
        guard target.measure == .business else { return terms }
        switch target.calendar {
        case .pool: terms.calendar = ruleSet.pools[pool].calendar
        case .region:
            terms.calendar =
                ruleSet.regionCalendars.first { $0.condition.holds(for: facts) }?.calendar
                ?? ruleSet.pools[pool].calendar
        case .holder:
            // Nobody's yet, or somebody's whom the rule set does not know: the hours of the pool.
            if let holder, let member = ruleSet.member(named: holder) {
                terms.calendar = ruleSet.members[member].calendar
                terms.holder = holder
            } else {
                terms.calendar = ruleSet.pools[pool].calendar
            }
        case .named(let calendar): terms.calendar = calendar
        }
        return terms
    }
}

// MARK: - People

extension ClockPlan {
    /// Whether one stands for another in answering: both of one team, or the one in the pool that has the lead.
    func isTeam(_ member: String, of holder: String?, in pool: PoolIndex?) -> Bool {
        guard let one = ruleSet.member(named: member) else { return false }
        if let holder, let other = ruleSet.member(named: holder), let team = ruleSet.members[one].team,
            team == ruleSet.members[other].team
        {
            return true
        }
        guard let pool else { return false }
        return ruleSet.pools[pool].members.contains { $0.member == one }
    }

    /// Who is told by a step of a ladder, as ids, each once.
    func recipients(of action: LadderAction, holder: String?, in pool: PoolIndex?) -> [String] {
        switch action {
        case .notify(.holder): holder.map { [$0] } ?? manager(of: nil, in: pool)
        case .notify(.manager): manager(of: holder, in: pool)
        case .notify(.team): team(of: holder, in: pool)
        case .notify(.member(let member)): [ruleSet.members[member].id]
        case .reassign, .queueAgain, .recycle: holder.map { [$0] } ?? []
        // As the router decides: the pool's manager first.
        case .manager:
            pool.flatMap { ruleSet.pools[$0].manager }.map { [ruleSet.members[$0].id] } ?? manager(of: holder, in: pool)
        }
    }

    /// The holder's manager, or their team's; without a holder the pool's.
    private func manager(of holder: String?, in pool: PoolIndex?) -> [String] {
        var manager: MemberIndex?
        if let holder, let index = ruleSet.member(named: holder) {
            let member = ruleSet.members[index]
            manager = member.manager ?? member.team.flatMap { ruleSet.teams[$0].manager }
        }
        manager = manager ?? pool.flatMap { ruleSet.pools[$0].manager }
        return manager.map { [ruleSet.members[$0].id] } ?? []
    }

    /// The active members of the holder's team; of the pool where there is no team. At most as many as an event holds.
    private func team(of holder: String?, in pool: PoolIndex?) -> [String] {
        var members: [Member] = []
        if let holder, let index = ruleSet.member(named: holder), let team = ruleSet.members[index].team {
            members = ruleSet.members.filter { $0.team == team }
        } else if let pool {
            members = ruleSet.pools[pool].members.map { ruleSet.members[$0.member] }
        }
        return Array(members.filter(\.isActive).map(\.id).prefix(PolicyLimits.poolMembersMax))
    }
}
