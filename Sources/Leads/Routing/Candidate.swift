/// A member who was considered for a lead: every reason that speaks against them, and the numbers that were looked at.
package struct Candidate: Sendable, Equatable, BitwiseCopyable {
    package var member: MemberNumber
    package var weight: UInt32
    package var refusals: Refusals = []
    /// Which of the numbers below were looked at.
    package var looked: Looked = []

    package var open: Int32 = 0
    package var openCap: Int32 = 0
    /// Assignments since the start of the member's day.
    package var today: Int32 = 0
    package var dailyCap: Int32 = 0
    /// Assignments within the window of the rolling cap.
    package var rolling: Int32 = 0
    package var rollingCap: Int32 = 0
    /// Seconds until the cool-down ends, rounded up.
    package var coolSeconds: Int64 = 0

    /// In 2^-32 of a turn: what this decision gives, and the balance before it.
    package var gain: Int64 = 0
    package var owed: Int64 = 0
    /// One more than the position of the last assignment in this pool; 0 is never.
    package var last: UInt64 = 0
    /// Preferred skills that the member has, the lead's language included where the pool prefers it.
    package var skill: UInt16 = 0
    /// Leads won, and won or lost, in the last 90 days.
    package var won: Int32 = 0
    package var ended: Int32 = 0

    /// Place in the pool's lists; -1 outside a pool.
    var seat: Int32 = -1

    package struct Looked: OptionSet, Sendable, BitwiseCopyable {
        package let rawValue: UInt8

        package init(rawValue: UInt8) { self.rawValue = rawValue }

        package static let skill = Looked(rawValue: 1)
        package static let open = Looked(rawValue: 2)
        package static let performance = Looked(rawValue: 4)
        package static let last = Looked(rawValue: 8)
        /// Took part in the rotation: gained, and had a balance.
        package static let rotation = Looked(rawValue: 16)
    }

    package init(member: MemberNumber, weight: UInt32) {
        self.member = member
        self.weight = weight
    }

    package var isEligible: Bool { refusals.isEmpty }
}

/// What is asked of a candidate, besides who they are.
struct Assessment {
    var instant: Instant
    var facts: LeadFacts
    /// The lead has a language; its number, nil if nobody in the rule set speaks it.
    var hasLanguage: Bool
    var language: Int?
    var lead: LeadNumber
    /// The present holder, whom a take-back passes over.
    var takenFrom = MemberNumber.nobody

    init(_ request: RoutingRequest, plan: RoutingPlan) {
        instant = request.instant
        facts = request.facts
        lead = request.trigger.lead
        if case .text(let tag) = request.facts[.language] {
            hasLanguage = true
            language = plan.ruleSet.language(ofTag: tag)
        } else {
            hasLanguage = false
        }
    }
}

/// What the calendars say at one instant, each asked once however many members share it. Lives on the stack of one decision.
struct CalendarMemo: ~Copyable {
    /// By calendar: 0 not asked, 1 open, 2 closed.
    private let states: UnsafeMutableBufferPointer<UInt8>
    /// By calendar: the start of the day, `Int64.min` while not asked.
    private let days: UnsafeMutableBufferPointer<Int64>

    /// Lends a memo for a rule set with so many calendars.
    static func with<R>(calendars: Int, _ body: (borrowing CalendarMemo) -> R) -> R {
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: calendars) { states in
            withUnsafeTemporaryAllocation(of: Int64.self, capacity: calendars) { days in
                states.initialize(repeating: 0)
                days.initialize(repeating: .min)
                return body(CalendarMemo(states: states, days: days))
            }
        }
    }

    private init(states: UnsafeMutableBufferPointer<UInt8>, days: UnsafeMutableBufferPointer<Int64>) {
        self.states = states
        self.days = days
    }

    borrowing func isOpen(_ calendar: CalendarIndex, _ instant: Instant, _ environment: RoutingEnvironment) -> Bool {
        let index = Int(calendar.rawValue)
        if states[index] == 0 { states[index] = environment.isOpen(calendar, instant) ? 1 : 2 }
        return states[index] == 1
    }

    borrowing func startOfDay(_ calendar: CalendarIndex, _ instant: Instant, _ environment: RoutingEnvironment)
        -> Instant
    {
        let index = Int(calendar.rawValue)
        if days[index] == .min { days[index] = environment.startOfDay(calendar, instant).microseconds }
        return Instant(microseconds: days[index])
    }
}

extension RouterState {
    /// Everything that speaks against a member of the rule set, the pool's own demands apart (skills and language).
    func assess(
        _ candidate: inout Candidate, _ member: Member, _ asked: Assessment, _ plan: RoutingPlan,
        _ memo: borrowing CalendarMemo
    ) {
        let book = members[candidate.member.index]
        let instant = asked.instant
        if !member.isActive { candidate.refusals.insert(.inactive) }
        if !memo.isOpen(member.calendar, instant, plan.environment) { candidate.refusals.insert(.outOfHours) }
        if book.isPaused(at: instant) { candidate.refusals.insert(.paused) }
        if book.isOnLeave(at: instant) { candidate.refusals.insert(.leave) }

        candidate.open = book.open
        if let cap = member.caps.open {
            candidate.openCap = Int32(clamping: cap)
            if Int(book.open) >= cap { candidate.refusals.insert(.openCap) }
        }
        if let cap = member.caps.daily {
            let start = memo.startOfDay(member.calendar, instant, plan.environment)
            candidate.today = Int32(clamping: book.assignments.count(since: start))
            candidate.dailyCap = Int32(clamping: cap)
            if Int(candidate.today) >= cap { candidate.refusals.insert(.dailyCap) }
        }
        if let cap = member.caps.rolling {
            // The window is half-open: an assignment exactly `seconds` ago has left it.
            let start = Self.instant(instant, minusSeconds: cap.seconds).advanced(byMicroseconds: 1)
            candidate.rolling = Int32(clamping: book.assignments.count(since: start))
            candidate.rollingCap = Int32(clamping: cap.count)
            if Int(candidate.rolling) >= cap.count { candidate.refusals.insert(.rollingCap) }
        }
        if member.cooldownSeconds > 0, let last = book.lastByPool {
            cool(&candidate, until: Self.instant(last, minusSeconds: -member.cooldownSeconds), at: instant)
        }
        if let conflict = member.conflict, conflict.holds(for: asked.facts) { candidate.refusals.insert(.conflict) }
        if candidate.member == asked.takenFrom || wasHeld(asked.lead, by: candidate.member) {
            candidate.refusals.insert(.earlierHolder)
        }
    }

    /// The demands of a pool.
    func assess(_ candidate: inout Candidate, _ member: Member, lacksSkill: Bool, _ pool: Pool, _ asked: Assessment) {
        if lacksSkill { candidate.refusals.insert(.skill) }
        if pool.language == .require, asked.hasLanguage,
            !(asked.language.map { member.languages.contains($0) } ?? false)
        {
            candidate.refusals.insert(.language)
        }
    }

    func cool(_ candidate: inout Candidate, until end: Instant, at instant: Instant) {
        guard instant < end else { return }
        candidate.refusals.insert(.coolDown)
        let microseconds = end.microseconds(since: instant)
        candidate.coolSeconds = max(candidate.coolSeconds, (microseconds - 1) / Instant.microsecondsPerSecond + 1)
    }

    static func instant(_ instant: Instant, minusSeconds seconds: Int64) -> Instant {
        let (microseconds, overflow) = seconds.multipliedReportingOverflow(by: -Instant.microsecondsPerSecond)
        return instant.advanced(byMicroseconds: overflow ? (seconds > 0 ? .min : .max) : microseconds)
    }

    /// Whether a member may have a lead, whoever asks: the router, a claim (`pulls`), or somebody who assigns by hand. `pool` is
    /// whose queue it comes from, or nil; a member from elsewhere is `notAMember` of it.
    package func eligibility(
        of member: MemberNumber, for request: RoutingRequest, pool: PoolIndex?, plan: RoutingPlan, pulls: Bool = false
    ) -> Candidate {
        CalendarMemo.with(calendars: plan.ruleSet.calendars.count) { memo in
            eligibility(of: member, Assessment(request, plan: plan), pool: pool, plan, pulls: pulls, memo)
        }
    }

    func eligibility(
        of number: MemberNumber, _ asked: Assessment, pool: PoolIndex?, _ plan: RoutingPlan, pulls: Bool = false,
        _ memo: borrowing CalendarMemo
    ) -> Candidate {
        guard let index = plan.index(of: number) else {
            var unknown = Candidate(member: number, weight: 0)
            unknown.refusals = .notAMember
            return unknown
        }
        let member = plan.ruleSet.members[index]
        var candidate = Candidate(member: number, weight: member.weight)
        assess(&candidate, member, asked, plan, memo)
        guard let pool else { return candidate }
        let rules = plan.ruleSet.pools[pool]
        if let place = plan.pools[Int(pool.rawValue)].places.first(where: { $0.number == number }) {
            candidate.weight = place.weight
            candidate.seat = place.seat
            assess(&candidate, member, lacksSkill: place.lacksSkill, rules, asked)
        } else {
            candidate.refusals.insert(.notAMember)
        }
        if pulls, let cooldown = rules.pull?.releaseCooldown {
            let releases = members[number.index].releases
            let start = Self.instant(asked.instant, minusSeconds: cooldown.windowSeconds).advanced(byMicroseconds: 1)
            if let last = releases.latest, releases.count(since: start) >= cooldown.releases {
                cool(&candidate, until: Self.instant(last, minusSeconds: -cooldown.seconds), at: asked.instant)
            }
        }
        return candidate
    }
}
