// A decision as a person reads it: what was tried in which order, who was considered, why each one did not get the lead, and what
// would have changed that.

extension DecisionRecord {
    /// The whole explanation, a line each. Turns are written with three decimals, rounded to the nearest.
    package var explanation: [String] { explanation(territories: nil) }

    /// The same with the territories that were tried in vain, which the decision does not hold.
    ///
    /// - Parameter territories: the ids of the rule set's territories in their order, where it is at hand.
    package func explanation(territories: [String]?) -> [String] {
        var lines = [headline]
        lines += owners.map(explain)
        if let tried = territories.flatMap(tried), !tried.isEmpty {
            lines.append("Territories that were tried first and are not true of it: \(Self.shortList(tried)).")
        }
        lines += rules
        if !candidates.isEmpty {
            let eligible = candidates.filter(\.isEligible).count
            let absent = ignoresAbsence ? "; everyone is absent, which this pool ignores" : ""
            lines.append("Candidates: \(candidates.count), eligible \(eligible)\(absent).")
            lines += candidates.map { "  " + explain($0) }
        }
        lines += steps
        lines.append(result)
        let unit = unit == 0 ? "" : " and the \(unit) \(unit == 1 ? "event" : "events") before it in its unit"
        lines.append(
            "Rule set \(policy) version \(version), state before position \(basis)\(unit), time zones \(timeZoneVersion), seed \(seed)."
        )
        return lines
    }

    /// Of all territories in their order, those before the one that decided: all of them where the catch-all did. Nil where
    /// territories were not asked.
    package func tried(of territories: [String]) -> [String]? {
        guard pool != nil else { return nil }
        guard let first = matched.first else { return trigger == .drain ? nil : territories }
        return Array(territories.prefix { $0 != first })
    }

    /// A rule set may have hundreds, and a person reads a few.
    private static let namesShown = 12

    private static func shortList(_ names: [String]) -> String {
        let shown = names.prefix(namesShown).joined(separator: ", ")
        return names.count > namesShown ? "\(shown) and \(names.count - namesShown) more" : shown
    }

    private var headline: String {
        let cause =
            switch trigger {
            case .arrival: "the lead came into the inbox"
            case .drain: "a place became free while it waited in the queue"
            case .pull: "a member who had claimed it took it"
            case .takeBack: "the holder did not accept in time"
            case .reroute: "it was decided again while it waited"
            case .byHand: "somebody asked for it"
            }
        return "Decided at \(instant): \(cause) (position \(triggerPosition))."
    }

    private func explain(_ owner: OwnerTry) -> String {
        let who =
            switch owner.match {
            case .account: "the account's owner"
            case .duplicate: "the owner of the lead that it repeats"
            case .earlier: "the lead's earlier owner"
            }
        let start = "Tried \(owner.member), \(who): "
        guard !owner.refusals.isEmpty else { return start + "eligible." }
        return start + "refused, " + list(owner.refusals) + change(for: owner.member, owner.refusals)
    }

    private var rules: [String] {
        guard let pool else { return [] }
        switch (trigger, matched.first) {
        case (.drain, nil): return ["Waited in the queue of pool \(pool)."]
        case (_, nil): return ["No territory is true of it: catch-all pool \(pool)."]
        case (_, let first?):
            let others = matched.dropFirst()
            let also = others.isEmpty ? "" : " (true as well, but later: \(others.joined(separator: ", ")))"
            return ["Territory \(first) is the first that is true of it\(also): pool \(pool)."]
        }
    }

    private func explain(_ candidate: Candidate) -> String {
        guard let weight = candidate.weight else {
            return "\(candidate.member): refused, \(list(candidate.refusals))"
                + change(for: candidate.member, candidate.refusals)
        }
        var facts = ["weight \(weight)"]
        if let skill = candidate.skill { facts.append("preferred skills \(skill)") }
        if let open = candidate.open { facts.append("open \(open)") }
        if let won = candidate.won, let ended = candidate.ended { facts.append("won \(won) of \(ended)") }
        let after = candidate.owed &+ candidate.gain
        facts.append("owed \(Self.turns(candidate.owed)) + \(Self.turns(candidate.gain)) = \(Self.turns(after)) turns")
        if let last = candidate.last { facts.append("last one at position \(last)") }
        if !candidate.refusals.isEmpty { facts.append("though " + list(candidate.refusals).dropLast()) }
        let fate = stepLost(by: candidate).map { "lost by \(Self.words($0))" } ?? "chosen"
        return "\(candidate.member): \(fate); \(facts.joined(separator: ", "))."
    }

    /// The first step that did not keep an eligible candidate; nil for the winner. Worked out from the stored numbers, as the path
    /// says only how many were kept.
    package func stepLost(by candidate: Candidate) -> Decision.Step? {
        if candidate.member == member { return nil }
        guard let winner = candidates.first(where: { $0.member == member }) else { return nil }
        for step in path where !isEqual(candidate, winner, by: step.by) { return step.by }
        return .hash
    }

    private func isEqual(_ left: Candidate, _ right: Candidate, by step: Decision.Step) -> Bool {
        switch step {
        case .skill: left.skill == right.skill
        case .leastOpen:
            Int128(left.open ?? -1) * Int128(right.weight ?? 0) == Int128(right.open ?? -1) * Int128(left.weight ?? 0)
        case .performance:
            Int128(left.weight ?? 0) * (Int128(left.won ?? -1) + 1) * (Int128(right.ended ?? 0) + 2)
                == Int128(right.weight ?? 0) * (Int128(right.won ?? -1) + 1) * (Int128(left.ended ?? 0) + 2)
        case .rotation: left.owed &+ left.gain == right.owed &+ right.gain
        case .last: left.last == right.last
        case .hash: false
        }
    }

    private var steps: [String] {
        var lines: [String] = []
        if explores { lines.append("Performance was skipped this time, so that newcomers are tried.") }
        if !path.isEmpty {
            let steps = path.map { "\(Self.words($0.by)) leaves \($0.left)" }
            lines.append("Choice: \(steps.joined(separator: ", ")).")
        }
        return lines
    }

    private var result: String {
        switch outcome {
        case .matched(let member): return "Result: \(member), as the owner. No turn is counted."
        case .picked(let member):
            let given = turn?.gains.reduce(0) { $0 &+ $1.amount } ?? 0
            return "Result: \(member), who pays \(Self.turns(given)) turns."
        case .manager(let member): return "Result: \(member), as the manager, after too many take-backs."
        case .queued(let queue, let reason, let due):
            let why =
                switch reason {
                case RoutingReasons.nobodyEligible: "nobody is eligible"
                case RoutingReasons.pullOnly: "the pool does not push"
                default: reason
                }
            return "Result: queue \(queue), since \(why)\(due.map { ", due \($0)" } ?? "")."
        }
    }

    // MARK: Words

    private func list(_ refusals: [Refusal]) -> String {
        refusals.map { $0.words(language: language) }.joined(separator: ", ") + "."
    }

    private func change(for member: String, _ refusals: [Refusal]) -> String {
        counterfactual(for: member, refusals).map { " \($0)" } ?? ""
    }

    /// What would have made the member eligible, where just one reason stood in the way.
    package func counterfactual(for member: String, _ refusals: [Refusal]) -> String? {
        guard refusals.count == 1, let only = refusals.first else { return nil }
        let enough = (only.count ?? 0) + 1
        let change: String? =
            switch only.reason {
            case .inactive: "If active"
            case .outOfHours: "Within working hours"
            case .leave: "If not on leave"
            case .paused: "If not paused"
            case .skill: "With the required skills"
            case .language: "Speaking \(language ?? "the language")"
            case .openCap: "With an open cap of \(enough)"
            case .dailyCap: "With a daily cap of \(enough)"
            case .rollingCap: "With a rolling cap of \(enough)"
            case .coolDown: "\(only.count ?? 0) s later"
            case .conflict: "Without the conflict"
            case .earlierHolder: "Had they not had it before"
            default: nil
            }
        return change.map { "\($0), \(member) would have been eligible." }
    }

    private static func words(_ step: Decision.Step) -> String {
        switch step {
        case .skill: "skill"
        case .leastOpen: "least open"
        case .performance: "performance"
        case .rotation: "rotation"
        case .last: "last assignment"
        case .hash: "hash"
        }
    }

    /// 2^-32 of a turn as turns with three decimals, halves away from 0.
    package static func turns(_ amount: Int64) -> String {
        let thousandths = (UInt128(amount.magnitude) * 1_000 + UInt128(1 << 31)) >> 32
        let (whole, rest) = thousandths.quotientAndRemainder(dividingBy: 1_000)
        let digits = String(rest)
        let sign = amount < 0 && thousandths > 0 ? "-" : ""
        return "\(sign)\(whole).\(String(repeating: "0", count: 3 - digits.count))\(digits)"
    }
}

extension DecisionRecord.Refusal {
    /// The reason as a person reads it: `open leads 12 of 12`.
    ///
    /// - Parameter language: the lead's.
    package func words(language: String? = nil) -> String {
        let numbers = "\(count ?? 0) of \(cap ?? 0)"
        return switch reason {
        case .inactive: "inactive"
        case .notAMember: "not a member"
        case .outOfHours: "out of hours"
        case .leave: "on leave"
        case .paused: "paused"
        case .skill: "a required skill is missing"
        case .language: "does not speak \(language ?? "the language")"
        case .openCap: "open leads \(numbers)"
        case .dailyCap: "leads today \(numbers)"
        case .rollingCap: "leads in the window \(numbers)"
        case .coolDown: "cooling down for \(count ?? 0) s"
        case .conflict: "conflict"
        default: "had it before"
        }
    }
}
