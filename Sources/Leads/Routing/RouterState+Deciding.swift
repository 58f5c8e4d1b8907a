// Deciding who gets a lead: a pure function of the state, the rule set, the lead and an instant (SEMANTICS 1 and 5.1).
//
// Order:
//   1. Somebody who owns what belongs to the lead: the account's owner, the duplicate's, the lead's own earlier one.
//   2. The first territory that is true, or the catch-all, says the pool. All that are true are recorded.
//   3. Each member of the pool is assessed; every reason against them is kept.
//   4. Among the eligible, each strategy keeps its equal best for the next one; rotation, last assignment and hash leave one.
//   5. Nobody eligible: the pool's queue.

extension RouterState {
    /// The rule set must be of this state (`plan(at:)`), and the trigger's lead known and open. Nothing is changed or stored.
    package func decide(_ request: RoutingRequest, by plan: RoutingPlan) -> Decision {
        CalendarMemo.with(calendars: plan.ruleSet.calendars.count) { memo in
            decide(request, plan, memo)
        }
    }

    /// What becomes of a lead that a member has claimed and takes now: theirs, and a turn in the pool it came from, as if the pool
    /// had picked them. Nil where the pool is none of the rule set's, or the member none of the pool's: that is no turn.
    package func take(_ request: RoutingRequest, by member: MemberNumber, plan: RoutingPlan) -> Decision? {
        let record = leads[request.trigger.lead]
        guard let pool = plan.pool(numbered: record.queue),
            plan.pools[Int(pool.rawValue)].places.contains(where: { $0.number == member })
        else { return nil }
        var decision = Decision(
            trigger: request.trigger, lead: record.key, leadID: request.leadID, plan: plan, basis: end,
            instant: request.instant, due: request.due, outcome: .queued(reason: .nobodyEligible))
        decision.pool = pool
        CalendarMemo.with(calendars: plan.ruleSet.calendars.count) { memo in
            pick(from: pool, Assessment(request, plan: plan), plan, memo, taker: member, &decision)
        }
        return decision
    }

    private func decide(_ request: RoutingRequest, _ plan: RoutingPlan, _ memo: borrowing CalendarMemo) -> Decision {
        let record = leads[request.trigger.lead]
        var asked = Assessment(request, plan: plan)
        var decision = Decision(
            trigger: request.trigger, lead: record.key, leadID: request.leadID, plan: plan, basis: end,
            instant: request.instant, due: request.due, outcome: .queued(reason: .nobodyEligible))
        if case .text(let tag) = request.facts[.language] { decision.language = tag }

        switch request.trigger.kind {
        case .pull: preconditionFailure("a lead that was claimed is taken, not given")
        case .arrival, .reroute, .byHand:
            if matchOwner(record, asked, plan, memo, &decision) { return decision }
            locate(request.facts, plan, &decision)
        case .drain:
            // A queue that the rule set does not know is no pool: the lead is located anew.
            decision.pool = plan.pool(numbered: record.queue)
            if decision.pool == nil { locate(request.facts, plan, &decision) }
        case .takeBack:
            locate(request.facts, plan, &decision)
            asked.takenFrom = record.holder
            if let manager = manager(after: record, request, plan, decision.pool) {
                decision.outcome = .manager(manager)
                return decision
            }
        }
        guard let pool = decision.pool else { return decision }
        if plan.ruleSet.pools[pool].pushes {
            pick(from: pool, asked, plan, memo, &decision)
        } else {
            decision.outcome = .queued(reason: .pullOnly)
        }
        return decision
    }

    // MARK: 1. Owners

    /// True if one was found and is eligible. Who was found twice is tried once.
    private func matchOwner(
        _ record: LeadRecord, _ asked: Assessment, _ plan: RoutingPlan, _ memo: borrowing CalendarMemo,
        _ decision: inout Decision
    ) -> Bool {
        for match in plan.ruleSet.ownerMatches {
            let owner: MemberNumber =
                switch match {
                case .account: accountOwners[Int(record.account)]
                case .duplicate: record.kin == .none ? .nobody : self.owner(of: record.kin)
                case .earlier: record.earlierOwner
                }
            if owner == .nobody || decision.owners.contains(where: { $0.candidate.member == owner }) { continue }
            let candidate = eligibility(of: owner, asked, pool: nil, plan, memo)
            decision.owners.append(Decision.OwnerTry(match: match, candidate: candidate))
            if candidate.isEligible {
                decision.outcome = .matched(owner)
                return true
            }
        }
        return false
    }

    // MARK: 2. Territories

    private func locate(_ facts: LeadFacts, _ plan: RoutingPlan, _ decision: inout Decision) {
        let territories = plan.ruleSet.territories
        for index in territories.indices where territories[index].condition.holds(for: facts) {
            decision.matched.append(TerritoryIndex(index))
            if decision.matched.count == RoutingLimits.matchedMax { break }
        }
        decision.pool = decision.matched.first.map { territories[$0].pool } ?? plan.ruleSet.catchAll
    }

    /// After as many take-backs in this cycle as the pool allows: the pool's manager, or the last holder's own or their team's.
    private func manager(
        after record: LeadRecord, _ request: RoutingRequest, _ plan: RoutingPlan, _ pool: PoolIndex?
    ) -> MemberNumber? {
        guard let pool,
            request.isToManager
                || earlierHolders(of: request.trigger.lead).count >= plan.ruleSet.pools[pool].hopsMax
        else { return nil }
        var manager = plan.ruleSet.pools[pool].manager
        if manager == nil, let index = plan.index(of: record.holder) {
            let holder = plan.ruleSet.members[index]
            manager = holder.manager ?? holder.team.flatMap { plan.ruleSet.teams[$0].manager }
        }
        guard let manager else { return nil }
        let number = plan.members[Int(manager.rawValue)]
        // Who has it as the manager keeps it. Who has it by a turn of the pool was too slow as anybody is.
        if number == record.holder, record.decision == record.since + 1 { return nil }
        return number
    }

    // MARK: 3. Candidates

    private func pick(
        from pool: PoolIndex, _ asked: Assessment, _ plan: RoutingPlan, _ memo: borrowing CalendarMemo,
        taker: MemberNumber = .nobody, _ decision: inout Decision
    ) {
        let rules = plan.ruleSet.pools[pool]
        let planned = plan.pools[Int(pool.rawValue)]
        decision.candidates.reserveCapacity(planned.places.count)
        var hasEligible = false
        for place in planned.places {
            var candidate = Candidate(member: place.number, weight: place.weight)
            candidate.seat = place.seat
            let member = plan.ruleSet.members[place.member]
            assess(&candidate, member, asked, plan, memo)
            assess(&candidate, member, lacksSkill: place.lacksSkill, rules, asked)
            candidate.skill = place.preferredSkills
            if rules.language == .prefer, let language = asked.language, member.languages.contains(language) {
                candidate.skill += 1
            }
            // Whoever has the lead already was eligible when they claimed it; what their lease fills is no reason against them.
            if candidate.member == taker { candidate.refusals = [] }
            hasEligible = hasEligible || candidate.isEligible
            decision.candidates.append(candidate)
        }
        if !hasEligible, rules.whenEveryoneAbsent == .ignoreAbsence {
            decision.ignoresAbsence = decision.candidates.contains { $0.refusals.isSubset(of: .absence) }
            hasEligible = decision.ignoresAbsence
        }
        guard hasEligible else { return }
        choose(rules, plan, planned.number, taker: taker, &decision)
    }

    // MARK: 4. Strategies

    private func choose(
        _ rules: Pool, _ plan: RoutingPlan, _ pool: PoolNumber, taker: MemberNumber, _ decision: inout Decision
    ) {
        let count = decision.candidates.count
        let since = Self.instant(decision.instant, minusSeconds: RoutingLimits.performanceDays * 86_400)
        let passes: Refusals = decision.ignoresAbsence ? .absence : []
        withUnsafeTemporaryAllocation(of: UInt16.self, capacity: count) { left in
            // Everybody eligible gains, whoever gets the lead and by whichever strategy.
            var leftCount = 0
            var sum: UInt64 = 0
            for index in 0..<count where decision.candidates[index].refusals.isSubset(of: passes) {
                left[leftCount] = UInt16(index)
                leftCount += 1
                sum += UInt64(decision.candidates[index].weight)
            }
            for at in 0..<leftCount {
                let index = Int(left[at])
                decision.candidates[index].looked.insert(.rotation)
                decision.candidates[index].gain = Turn.gain(weight: decision.candidates[index].weight, of: sum)
                decision.candidates[index].owed = balance(of: decision.candidates[index], in: pool)
            }

            guard taker == .nobody else {
                decision.outcome = .picked(taker)
                return
            }

            /// Keeps the best for the next step. `isBetter` is a strict order whose ties are real ones.
            func keepBest(by step: Decision.Step, _ isBetter: (Candidate, Candidate) -> Bool) {
                var best = 0
                for at in 1..<leftCount
                where isBetter(decision.candidates[Int(left[at])], decision.candidates[Int(left[best])]) {
                    best = at
                }
                let top = decision.candidates[Int(left[best])]
                var kept = 0
                for at in 0..<leftCount where !isBetter(top, decision.candidates[Int(left[at])]) {
                    left[kept] = left[at]
                    kept += 1
                }
                leftCount = kept
                decision.path.append(Decision.PathStep(by: step, left: UInt16(kept)))
            }
            func look(_ looked: Candidate.Looked, _ body: (inout Candidate) -> Void = { _ in }) {
                for at in 0..<leftCount {
                    decision.candidates[Int(left[at])].looked.insert(looked)
                    body(&decision.candidates[Int(left[at])])
                }
            }

            for strategy in rules.strategies where leftCount > 1 {
                switch strategy {
                case .skill:
                    look(.skill)
                    keepBest(by: .skill) { $0.skill > $1.skill }
                case .leastOpen:
                    look(.open)
                    keepBest(by: .leastOpen, Self.hasLessOpen)
                case .performance:
                    if explores(rules.explorePercent, decision, plan) {
                        decision.explores = true
                    } else {
                        look(.performance) { candidate in
                            let book = members[candidate.member.index]
                            candidate.won = Int32(clamping: book.wins.count(since: since))
                            candidate.ended = Int32(
                                clamping: book.wins.count(since: since) + book.losses.count(since: since))
                        }
                        keepBest(by: .performance, Self.performsBetter)
                    }
                case .rotation:
                    keepBest(by: .rotation) { $0.owed &+ $0.gain > $1.owed &+ $1.gain }
                }
            }
            if leftCount > 1 {
                look(.last) { $0.last = rotations[pool.index].lastAssignments[Int($0.seat)] }
                keepBest(by: .last) { $0.last < $1.last }
            }
            if leftCount > 1 {
                // Several that never had one, since no two have the same last one.
                var winner = left[0]
                var smallest = hash(decision, plan, decision.candidates[Int(winner)].member)
                for at in 1..<leftCount {
                    let other = hash(decision, plan, decision.candidates[Int(left[at])].member)
                    if other < smallest {
                        smallest = other
                        winner = left[at]
                    }
                }
                left[0] = winner
                decision.path.append(Decision.PathStep(by: .hash, left: 1))
            }
            decision.outcome = .picked(decision.candidates[Int(left[0])].member)
        }
    }

    private func balance(of candidate: Candidate, in pool: PoolNumber) -> Int64 {
        rotations[pool.index].balances[Int(candidate.seat)]
    }

    /// Open leads per weight, compared exactly: a/v < b/w as a*w < b*v. Both products stay below 2^31 * 10^4.
    static func hasLessOpen(_ left: Candidate, _ right: Candidate) -> Bool {
        Int64(left.open) * Int64(right.weight) < Int64(right.open) * Int64(left.weight)
    }

    /// weight * (won + 1) / (ended + 2), compared exactly: products of 14, 32 and 32 bits.
    static func performsBetter(_ left: Candidate, _ right: Candidate) -> Bool {
        Int128(left.weight) * (Int128(left.won) + 1) * (Int128(right.ended) + 2)
            > Int128(right.weight) * (Int128(right.won) + 1) * (Int128(left.ended) + 2)
    }

    // MARK: Hashes

    /// Whether this decision is one of the share that tries newcomers: the first 8 bytes of SHA-256 of seed and lead, joined by
    /// 0x00, modulo 100.
    private func explores(_ percent: Int, _ decision: Decision, _ plan: RoutingPlan) -> Bool {
        if percent <= 0 { return false }
        return hash(decision, plan, nil).words[0] % 100 < UInt64(percent)
    }

    /// SHA-256 of seed, lead and member, each as UTF-8, joined by 0x00.
    private func hash(_ decision: Decision, _ plan: RoutingPlan, _ member: MemberNumber?) -> RoutingHash {
        var text: [UInt8] = []
        text.append(contentsOf: plan.ruleSet.seed.utf8)
        text.append(0)
        text.append(contentsOf: decision.leadID.utf8)
        if let member {
            text.append(0)
            text.append(contentsOf: id(of: member).utf8)
        }
        return text.withUnsafeBytes(plan.environment.hash)
    }
}
