// A cadence that runs for a lead: which attempt comes next, and when.
//
// Attempts are due at the cadence's offsets after the assignment. Each one made answers one of them, in the order of the log; the
// n-th has a clock of its own, which starts when it is due and not before, so one made earlier needs none. A contact ends it all.
//
// How long an attempt may take is what the pool's target for follow-ups says. Without one it is as long as until the next is due;
// for the last, as long as between the two before it.
//
// A pool with a target for follow-ups and no cadence asks for the next attempt again and again: within the target after the
// assignment, then after each attempt, until there is a contact.

struct CadenceRecord: Sendable {
    /// The position and the instant of the assignment.
    let cause: UInt64
    let start: Instant
    let plan: ClockPlan
    var holders: [HolderSpan]

    /// Nil until `due` has worked it out.
    var outline: Outline?
    /// All attempts and contacts since, in the order of the log.
    var answers: [ClockAnswer] = []
    /// Attempts whose clocks were met.
    var settled = 0

    /// What the rule set has for this lead.
    struct Outline: Sendable {
        let pool: PoolIndex
        /// Offsets and end; nil where only a target stands for it.
        let cadence: CadenceIndex?
        /// Of every attempt's clock; for those of a cadence alone without their seconds.
        let terms: ClockTerms
        /// When each attempt of the cadence is due; nil where that is too far away.
        let dues: [Instant?]

        /// - Parameter terms: of one of its clocks, as they are chosen or as the log has them.
        init(_ terms: ClockTerms, in pool: PoolIndex, from start: Instant) {
            let rules = terms.plan.ruleSet
            self.pool = pool
            self.terms = terms
            cadence = rules.pools[pool].cadence
            guard let cadence else {
                dues = []
                return
            }
            let calendar =
                rules.cadences[cadence].measure == .business
                ? terms.plan.calendars[Int(rules.pools[pool].calendar.rawValue)] : .always
            dues = rules.cadences[cadence].attemptSeconds.map { seconds -> Instant? in
                let (offset, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000)
                return overflow ? nil : calendar.due(from: start, target: offset)
            }
        }
    }

    enum Next: Equatable {
        /// The clock of an attempt, to be started then.
        case attempt(Int, Instant)
        /// All were made, and no contact came: at this instant, because of that event.
        case end(at: Instant, cause: UInt64)
        /// There was a contact, or the next attempt is too far away: nothing more comes of it.
        case over
    }
}

extension CadenceRecord {
    /// Nil: the pool has neither a cadence nor a target for follow-ups.
    static func outline(
        by plan: ClockPlan, for lead: LeadBackground, from start: Instant, holder: String?
    ) -> Outline? {
        let rules = plan.ruleSet
        let pool = plan.pool(of: lead)
        if let target = plan.terms(.followUp, in: pool, lead.facts, holder: holder) {
            return Outline(target, in: pool, from: start)
        }
        guard let cadence = rules.pools[pool].cadence else { return nil }
        let measure = rules.cadences[cadence].measure
        let own = ClockTerms(
            plan: plan, target: .cadence(cadence), pool: pool, seconds: 0, measure: measure,
            calendar: measure == .business ? rules.pools[pool].calendar : nil)
        return Outline(own, in: pool, from: start)
    }

    /// What comes next; nil until it is worked out.
    var next: Next? {
        guard let outline else { return nil }
        let made = answers.filter(outline.terms.isAnswered)
        if let contact = made.firstIndex(where: \.isContact), contact < settled { return .over }
        var attempt = settled + 1
        while true {
            if outline.cadence != nil, attempt > outline.dues.count {
                guard made.count >= outline.dues.count, let due = outline.dues.last ?? nil else { return .over }
                let last = made[outline.dues.count - 1]
                return .end(at: max(last.instant, due), cause: last.position)
            }
            guard let due = outline.due(attempt, made, from: start) else { return .over }
            guard attempt <= made.count, made[attempt - 1].instant < due else { return .attempt(attempt, due) }
            // Made before it was due.
            if made[attempt - 1].isContact { return .over }
            attempt += 1
        }
    }

    /// What answered an attempt.
    func answer(to attempt: Int) -> ClockAnswer? {
        guard let outline else { return nil }
        let made = answers.filter(outline.terms.isAnswered)
        return attempt <= made.count ? made[attempt - 1] : nil
    }
}

extension CadenceRecord.Outline {
    fileprivate func due(_ attempt: Int, _ made: [ClockAnswer], from start: Instant) -> Instant? {
        if cadence != nil { return dues[attempt - 1] }
        return attempt >= 2 && attempt - 2 < made.count ? max(start, made[attempt - 2].instant) : start
    }

    /// The terms of an attempt's clock.
    func terms(ofAttempt attempt: Int) -> ClockTerms {
        guard case .cadence(let index) = terms.target else { return terms }
        let offsets = terms.plan.ruleSet.cadences[index].attemptSeconds
        var own = terms
        if attempt < offsets.count {
            own.seconds = offsets[attempt] - offsets[attempt - 1]
        } else if offsets.count > 1 {
            own.seconds = offsets[offsets.count - 1] - offsets[offsets.count - 2]
        } else {
            own.seconds = offsets[0] > 0 ? offsets[0] : ClockLimits.singleAttemptSeconds
        }
        return own
    }
}
