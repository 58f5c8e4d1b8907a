// RuleSet: what a rule set says, compiled to plain values. The router and the response clocks decide with nothing else.
//
// Invariants (the reader of documents makes no other; `invariantBroken` names the one that does not hold):
//   dense          Every index points into the list of its kind. Ids are unique within a kind.
//   caught         `catchAll` is a pool, so a lead that no territory takes still has somewhere to go.
//   peopled        Every pool has 1 to 200 members, each once, with weights from 1 to `PolicyLimits.weightMax`.
//   rotation-last  The strategies of a pool are distinct and end with `rotation`.
//   open           Every calendar is open at some time: its week has an interval.

/// One version of a policy: who there is, who gets what, and by when. A value; two that are equal decide alike.
///
/// It promises that deciding needs no look-up by name: members, pools, skills and languages are dense numbers.
package struct RuleSet: Sendable, Equatable {
    /// The policy this is a version of: the subject of its `policy.*` stream.
    package var id: String
    /// Breaks ties and chooses who is tried out: SHA-256 takes it as UTF-8, before lead and member.
    package var seed: String

    package var approval = Approval.none
    /// On activation, leads in inbox and queue are decided again.
    package var reroutesWaiting = false
    /// On activation, running clocks take the new targets (`clock_replaced`).
    package var appliesToRunning = false
    /// `lead.marketing_qualified` is a trigger of the router too.
    package var routesAtMarketingQualified = false
    /// The owners that are tried before territories, in this order.
    package var ownerMatches: [OwnerMatch] = OwnerMatch.allCases
    /// What becomes of open leads when their owner goes on leave.
    package var onLeave = LeadsOnLeave.keep
    /// Reasons of `lead.disqualified` that void the lead's latest pool decision of the cycle, sorted by their bytes.
    package var voidingReasons: [String] = []
    /// Nil where the document has no list: then no channel is unknown. Sorted by their bytes.
    package var knownChannels: [String]?

    package var teams: [Team] = []
    package var members: [Member] = []
    package var calendars: [CalendarSpec] = []
    package var pools: [Pool] = []
    /// In order; the first whose condition is true takes the lead.
    package var territories: [Territory] = []
    /// Takes what no territory does.
    package var catchAll: PoolIndex
    package var responseTargets: [ResponseTarget] = []
    package var cadences: [Cadence] = []
    /// The calendar of a lead's region: the first whose condition is true.
    package var regionCalendars: [RegionCalendar] = []

    /// Names of skills; number i is bit i of a `PolicySet`.
    package var skills: [String] = []
    /// Primary language subtags that some member speaks, in lower case (`pt` of `pt-BR`); number i is bit i of a `PolicySet`.
    package var languages: [String] = []
    /// Names of the sender's own fields that conditions read: field `LeadField.fixedCount + i` is `custom.` name i.
    package var customFields: [String] = []

    package init(id: String, seed: String, catchAll: PoolIndex) {
        self.id = id
        self.seed = seed
        self.catchAll = catchAll
    }
}

/// A place in one of a rule set's lists. Typed, so that a member's number never passes for a pool's.
package struct PolicyIndex<Element>: Hashable, Comparable, Sendable, BitwiseCopyable {
    package var rawValue: Int32

    package init(_ rawValue: Int) { self.rawValue = Int32(rawValue) }

    package static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
}

package typealias TeamIndex = PolicyIndex<Team>
package typealias MemberIndex = PolicyIndex<Member>
package typealias CalendarIndex = PolicyIndex<CalendarSpec>
package typealias PoolIndex = PolicyIndex<Pool>
package typealias TerritoryIndex = PolicyIndex<Territory>
package typealias ResponseTargetIndex = PolicyIndex<ResponseTarget>
package typealias CadenceIndex = PolicyIndex<Cadence>

extension Array {
    package subscript(index: PolicyIndex<Element>) -> Element {
        _read { yield self[Int(index.rawValue)] }
        _modify { yield &self[Int(index.rawValue)] }
    }
}

/// Who may activate a rule set.
package enum Approval: String, Sendable, CaseIterable {
    case none
    /// Activation needs `policy.approved` by another uid than the publisher's.
    case twoPeople = "two_people"
}

/// Whose owner is tried before the territories, if eligible.
package enum OwnerMatch: String, Sendable, CaseIterable {
    /// Who owns another open lead of the account (company domain or account id).
    case account
    /// Who owns, or owned, the lead that this one was merged with or is suspected to repeat.
    case duplicate
    /// Who had this lead before.
    case earlier
}

package enum LeadsOnLeave: Sendable, Equatable {
    case keep
    case queue
    case handOver(to: MemberIndex)
}

// MARK: - People

package struct Team: Sendable, Equatable {
    package var id: String
    package var name: String?
    package var manager: MemberIndex?

    package init(id: String, name: String? = nil, manager: MemberIndex? = nil) {
        self.id = id
        self.name = name
        self.manager = manager
    }
}

/// Somebody who takes leads, or who only manages those that do.
package struct Member: Sendable, Equatable {
    package var id: String
    package var team: TeamIndex?
    /// Hours and zone. A member with a zone of their own has a calendar of their own, so `zone` there is the member's zone,
    /// in which days of the daily cap are counted.
    package var calendar: CalendarIndex
    package var skills = PolicySet()
    package var languages = PolicySet()
    /// In pools that do not say otherwise.
    package var weight: UInt32 = 1
    package var caps = Caps()
    /// Seconds after an assignment by a pool in which no other is decided for this member; 0 is none.
    package var cooldownSeconds: Int64 = 0
    /// The member's own, else the team's.
    package var manager: MemberIndex?
    /// False refuses as `inactive`; the member keeps id, balances and history.
    package var isActive = true
    /// Leads that this member may not have: refused as `conflict`.
    package var conflict: Condition?

    package init(id: String, calendar: CalendarIndex) {
        self.id = id
        self.calendar = calendar
    }
}

/// How much a member takes. Nil is no bound.
package struct Caps: Sendable, Equatable {
    /// Leads owned or leased, not ended, not in nurture.
    package var open: Int?
    /// Assignments per calendar day in the member's zone.
    package var daily: Int?
    package var rolling: RollingCap?

    package init(open: Int? = nil, daily: Int? = nil, rolling: RollingCap? = nil) {
        self.open = open
        self.daily = daily
        self.rolling = rolling
    }
}

/// At most `count` assignments in any window of `seconds`.
package struct RollingCap: Sendable, Equatable {
    package var count: Int
    package var seconds: Int64

    package init(count: Int, seconds: Int64) {
        self.count = count
        self.seconds = seconds
    }
}

/// A set of skills or of languages, by their numbers in the rule set: 0 to 255.
package struct PolicySet: Sendable, Hashable {
    private var words = SIMD4<UInt64>(repeating: 0)

    /// How many numbers there are.
    package static let capacity = 256

    package init() {}

    package init(_ numbers: some Sequence<Int>) {
        for number in numbers { insert(number) }
    }

    package mutating func insert(_ number: Int) { words[number >> 6] |= 1 << UInt64(number & 63) }

    package func contains(_ number: Int) -> Bool { words[number >> 6] >> UInt64(number & 63) & 1 != 0 }

    package func isSuperset(of other: PolicySet) -> Bool { words & other.words == other.words }

    package func intersection(_ other: PolicySet) -> PolicySet {
        var result = self
        result.words &= other.words
        return result
    }

    package func subtracting(_ other: PolicySet) -> PolicySet {
        var result = self
        result.words &= ~other.words
        return result
    }

    package var count: Int {
        words[0].nonzeroBitCount + words[1].nonzeroBitCount + words[2].nonzeroBitCount + words[3].nonzeroBitCount
    }

    package var isEmpty: Bool { words == SIMD4(repeating: 0) }

    /// In ascending order.
    package var numbers: [Int] { (0..<Self.capacity).filter(contains) }
}

// MARK: - Hours

/// A calendar as the document says it: data, from which business time makes the calendar that it counts with.
package struct CalendarSpec: Sendable, Equatable {
    package var id: String
    /// An IANA name, `America/Sao_Paulo`.
    package var zone: String
    /// Monday to Sunday. Each day's intervals are sorted, disjoint and do not touch.
    package var week: [[DayInterval]]
    /// Dates in the zone on which it is closed all day, sorted, each once.
    package var holidays: [CivilDate]

    package init(id: String, zone: String, week: [[DayInterval]], holidays: [CivilDate] = []) {
        self.id = id
        self.zone = zone
        self.week = week
        self.holidays = holidays
    }

    /// What a member without a calendar has, and what `always` names: open all the time, in UTC.
    package static let always = CalendarSpec(
        id: "always", zone: "UTC", week: Array(repeating: [DayInterval(startMinute: 0, endMinute: 1_440)], count: 7))
}

/// Minutes of local wall time, half-open: 0 <= start < end <= 1,440.
package struct DayInterval: Sendable, Hashable {
    package var startMinute: Int
    package var endMinute: Int

    package init(startMinute: Int, endMinute: Int) {
        self.startMinute = startMinute
        self.endMinute = endMinute
    }
}

/// Leads for which `condition` is true are in a region that keeps these hours.
package struct RegionCalendar: Sendable, Equatable {
    package var condition: Condition
    package var calendar: CalendarIndex

    package init(condition: Condition, calendar: CalendarIndex) {
        self.condition = condition
        self.calendar = calendar
    }
}

// MARK: - Where leads go

/// An ordered rule. Leads for which `condition` is true go to `pool`, unless an earlier one took them.
package struct Territory: Sendable, Equatable {
    package var id: String
    package var condition: Condition
    package var pool: PoolIndex

    package init(id: String, condition: Condition, pool: PoolIndex) {
        self.id = id
        self.condition = condition
        self.pool = pool
    }
}

/// Members among whom leads are given out, and how.
package struct Pool: Sendable, Equatable {
    package var id: String
    /// In the order of the document, which decides nothing.
    package var members: [PoolMember]
    /// False: nothing is pushed, leads wait in the pool's queue to be claimed.
    package var pushes = true
    /// The next one is asked only among the equal best of the one before; `rotation` is last.
    package var strategies: [Strategy] = [.rotation]
    /// Percent of decisions, chosen by hash of seed and lead, that skip `performance` so that newcomers are tried.
    package var explorePercent: Int = 10
    package var requiredSkills = PolicySet()
    /// Counted by the strategy `skill`.
    package var preferredSkills = PolicySet()
    package var language = LanguageRule.ignore
    package var whenEveryoneAbsent = WhenEveryoneAbsent.queue
    /// Nil: nobody may claim from this pool's queue.
    package var pull: Pull?
    /// Take-backs in one cycle before the manager gets the lead.
    package var hopsMax: Int = 3
    /// Who gets it then; nil: the last holder's manager.
    package var manager: MemberIndex?
    /// For clocks that run on the pool's hours.
    package var calendar: CalendarIndex
    /// In order: of each kind, the first whose condition is true when the clock starts.
    package var responseTargets: [ResponseTargetIndex] = []
    package var cadence: CadenceIndex?

    package init(id: String, members: [PoolMember], calendar: CalendarIndex) {
        self.id = id
        self.members = members
        self.calendar = calendar
    }
}

package struct PoolMember: Sendable, Equatable {
    package var member: MemberIndex
    /// 1 to `PolicyLimits.weightMax`. Whole, so that shares are exact.
    package var weight: UInt32

    package init(member: MemberIndex, weight: UInt32) {
        self.member = member
        self.weight = weight
    }
}

package enum Strategy: String, Sendable, CaseIterable {
    case skill
    case leastOpen = "least_open"
    case performance
    case rotation
}

/// What a lead's language asks of a member. A lead without a language asks nothing.
package enum LanguageRule: String, Sendable, CaseIterable {
    case ignore
    /// One more preferred skill, for the strategy `skill`.
    case prefer
    /// Refused as `language`.
    case require
}

package enum WhenEveryoneAbsent: String, Sendable, CaseIterable {
    case queue
    /// Decide as if nobody were out of hours, on leave or paused.
    case ignoreAbsence = "ignore_absence"
}

/// How leads of a pool's queue are claimed.
package struct Pull: Sendable, Equatable {
    /// A lead that was pushed opens to claims when so many percent of its response target have passed; nil: never. Leads in
    /// the queue are open at once.
    package var opensAtPercent: Int?
    package var leaseSeconds: Int64 = 900
    /// A named lead may be claimed, not only the next one.
    package var permitsPicking = false
    package var order = PullOrder.due
    /// After so many releases within a window, claims are refused for a while; nil: never.
    package var releaseCooldown: ReleaseCooldown?

    package init() {}
}

package enum PullOrder: String, Sendable, CaseIterable {
    /// Due, score, pull count, capture position.
    case due
    /// Newest first.
    case freshest
}

package struct ReleaseCooldown: Sendable, Equatable {
    package var releases: Int
    package var windowSeconds: Int64
    package var seconds: Int64

    package init(releases: Int, windowSeconds: Int64, seconds: Int64) {
        self.releases = releases
        self.windowSeconds = windowSeconds
        self.seconds = seconds
    }
}

// MARK: - Response clocks

/// What is to happen to a lead within a time, and what follows if it does not.
package struct ResponseTarget: Sendable, Equatable {
    package var id: String
    package var kind: TargetKind
    /// Nil: for every lead of a pool that names it.
    package var condition: Condition?
    package var seconds: Int64
    package var measure = TimeMeasure.business
    package var calendar = TargetCalendar.pool
    /// `contact_attempted` answers a first response too.
    package var attemptAnswers = false
    package var answeredBy = AnsweredBy.holder
    /// In ascending order of percent.
    package var ladder: [LadderStep] = []

    package init(id: String, kind: TargetKind, seconds: Int64) {
        self.id = id
        self.kind = kind
        self.seconds = seconds
    }
}

package enum TargetKind: Sendable, Hashable {
    case accept
    case firstResponse
    case qualify
    /// The next attempt of the cadence.
    case followUp
    /// How long a lead may stay in an open stage.
    case stageAge(Stage)

    package var name: String {
        switch self {
        case .accept: "accept"
        case .firstResponse: "first_response"
        case .qualify: "qualify"
        case .followUp: "follow_up"
        case .stageAge: "stage_age"
        }
    }
}

package enum TimeMeasure: String, Sendable, CaseIterable {
    case wall
    case business
}

/// Whose hours a clock counts.
package enum TargetCalendar: Sendable, Hashable {
    /// The first of `regionCalendars` that is true, else the pool's.
    case region
    case pool
    /// The holder's, less their leave.
    case holder
    case named(CalendarIndex)
}

package enum AnsweredBy: String, Sendable, CaseIterable {
    case holder
    case team
}

/// At `percent` of the target: 50 is half of it, 150 half of it again after the breach.
package struct LadderStep: Sendable, Equatable {
    package var percent: Int
    package var action: LadderAction

    package init(percent: Int, action: LadderAction) {
        self.percent = percent
        self.action = action
    }
}

package enum LadderAction: Sendable, Equatable {
    case notify(Recipient)
    case queueAgain
    /// To another one of the pool, earlier holders of the cycle apart.
    case reassign
    /// To the manager.
    case manager
    case recycle
}

package enum Recipient: Sendable, Equatable {
    case holder
    case manager
    case team
    case member(MemberIndex)
}

/// When attempts are due after an assignment, until there is a contact.
package struct Cadence: Sendable, Equatable {
    package var id: String
    /// Seconds after the assignment, ascending.
    package var attemptSeconds: [Int64]
    package var measure = TimeMeasure.wall
    package var then: CadenceEnd

    package init(id: String, attemptSeconds: [Int64], then: CadenceEnd) {
        self.id = id
        self.attemptSeconds = attemptSeconds
        self.then = then
    }
}

/// What follows the last attempt of a cadence.
package enum CadenceEnd: String, Sendable, CaseIterable {
    case recycle
    case nurture
    case queue
}

// MARK: - Looking up

extension RuleSet {
    package func member(named id: String) -> MemberIndex? { index(in: members) { $0.id == id } }
    package func pool(named id: String) -> PoolIndex? { index(in: pools) { $0.id == id } }
    package func team(named id: String) -> TeamIndex? { index(in: teams) { $0.id == id } }
    package func calendar(named id: String) -> CalendarIndex? { index(in: calendars) { $0.id == id } }
    package func territory(named id: String) -> TerritoryIndex? { index(in: territories) { $0.id == id } }
    package func responseTarget(named id: String) -> ResponseTargetIndex? { index(in: responseTargets) { $0.id == id } }
    package func cadence(named id: String) -> CadenceIndex? { index(in: cadences) { $0.id == id } }

    private func index<Element>(
        in list: [Element], where isMatch: (Element) -> Bool
    ) -> PolicyIndex<Element>? {
        list.firstIndex(where: isMatch).map { PolicyIndex($0) }
    }

    /// The number of a language tag's primary subtag, or nil if no member speaks it: then nobody is eligible where it is
    /// required.
    package func language(ofTag tag: some Collection<UInt8>) -> Int? {
        let primary = tag.prefix { $0 != UInt8(ascii: "-") && $0 != UInt8(ascii: "_") }
        return languages.firstIndex { $0.utf8.elementsEqual(primary.lazy.map(lowercasedASCII)) }
    }
}

// MARK: - Deciding where

extension RuleSet {
    /// The territories whose condition is true, in order: the first takes the lead, the others are recorded.
    package func matchingTerritories(_ facts: LeadFacts) -> [TerritoryIndex] {
        territories.indices.filter { territories[$0].condition.holds(for: facts) }.map { TerritoryIndex($0) }
    }

    /// The pool of the first territory whose condition is true, or the catch-all.
    package func pool(for facts: LeadFacts) -> PoolIndex {
        territories.first { $0.condition.holds(for: facts) }?.pool ?? catchAll
    }
}

// MARK: - Checking

extension RuleSet {
    /// The invariant at the top of this file that does not hold, or nil. For the checker and the tests.
    package var invariantBroken: String? {
        if !isDense { return "dense" }
        if !isIn(catchAll, pools) { return "caught" }
        for pool in pools {
            if pool.members.isEmpty || pool.members.count > PolicyLimits.poolMembersMax
                || Set(pool.members.map(\.member)).count != pool.members.count
                || !pool.members.allSatisfy({ (1...PolicyLimits.weightMax).contains($0.weight) })
            {
                return "peopled"
            }
            if pool.strategies.last != .rotation || Set(pool.strategies).count != pool.strategies.count {
                return "rotation-last"
            }
        }
        if !calendars.allSatisfy({ $0.week.count == 7 && $0.week.contains { !$0.isEmpty } }) { return "open" }
        return nil
    }

    private var isDense: Bool {
        let ids = [
            teams.map(\.id), members.map(\.id), calendars.map(\.id), pools.map(\.id), territories.map(\.id),
            responseTargets.map(\.id), cadences.map(\.id), skills, languages, customFields,
        ]
        guard ids.allSatisfy({ Set($0).count == $0.count }), skills.count <= PolicySet.capacity,
            languages.count <= PolicySet.capacity
        else { return false }
        let managers = teams.map(\.manager) + members.map(\.manager) + pools.map(\.manager)
        guard managers.allSatisfy({ isIn($0, members) }),
            members.allSatisfy({ isIn($0.team, teams) && isIn($0.calendar, calendars) }),
            regionCalendars.allSatisfy({ isIn($0.calendar, calendars) }),
            territories.allSatisfy({ isIn($0.pool, pools) })
        else { return false }
        for pool in pools {
            guard isIn(pool.calendar, calendars), isIn(pool.cadence, cadences),
                pool.members.allSatisfy({ isIn($0.member, members) }),
                pool.responseTargets.allSatisfy({ isIn($0, responseTargets) })
            else { return false }
        }
        for target in responseTargets {
            if case .named(let calendar) = target.calendar, !isIn(calendar, calendars) { return false }
            for step in target.ladder {
                if case .notify(.member(let member)) = step.action, !isIn(member, members) { return false }
            }
        }
        if case .handOver(let member) = onLeave { return isIn(member, members) }
        return true
    }

    private func isIn<Element>(_ index: PolicyIndex<Element>?, _ list: [Element]) -> Bool {
        guard let index else { return true }
        return list.indices.contains(Int(index.rawValue))
    }
}
