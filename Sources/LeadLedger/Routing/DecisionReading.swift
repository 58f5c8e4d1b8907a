// Reading a stored decision back, for explaining it, counting fairness, and folding its turn into the router's state. What is
// written is drawn in `Leads/Routing/Decision+Encoding.swift`.

package import JSON
package import Leads

/// What is wrong with a stored decision. Only a log that was tampered with, or one of a later version, holds such.
package struct DecisionProblem: Error, Equatable {
    /// The member that is missing or of another form: `decision.candidates.owed`.
    package var place: String
}

extension DecisionRecord {
    /// The decision in the data of a `lead.assigned` or `lead.queued`; nil if it holds none, as where somebody assigned by hand.
    ///
    /// Everything it says fits the bounds of what the router writes: gains are of 0 to one turn, numbers are not negative, the
    /// winner is among the eligible, no candidate stands there twice, and no last assignment is one that was not looked at.
    ///
    /// - Parameter position: of the event. What a candidate got in the decision's own unit was written by its place there, and
    ///   becomes a position; without it such a place stays as it was written, which is enough for who reads only the turn.
    package init?(data: JSONValue, leadID: String, at position: UInt64? = nil) throws(DecisionProblem) {
        guard let decision = data["decision"] else { return nil }
        guard decision.kind == .object else { throw DecisionProblem(place: "decision") }
        let at = try Reading.text(decision, "at", "decision.at")
        guard let instant = try? Instant(rfc3339: at) else { throw DecisionProblem(place: "decision.at") }
        let trigger = try Reading.object(decision, "trigger", "decision.trigger")
        let word = try Reading.text(trigger, "kind", "decision.trigger.kind")
        guard let kind = RoutingTrigger.Kind.allCases.first(where: { $0.word.description == word }) else {
            throw DecisionProblem(place: "decision.trigger.kind")
        }
        self.init(
            leadID: leadID, policy: try Reading.text(decision, "policy", "decision.policy"),
            version: try Reading.natural(decision, "version", "decision.version"),
            basis: try Reading.natural(decision, "basis", "decision.basis"), instant: instant,
            timeZoneVersion: try Reading.text(decision, "zones", "decision.zones"),
            seed: try Reading.text(decision, "seed", "decision.seed"), trigger: kind,
            triggerPosition: try Reading.natural(trigger, "position", "decision.trigger.position"),
            outcome: try Self.outcome(data, decision))
        unit = Int(try Reading.optionalCount(decision, "unit", "decision.unit") ?? 0)
        // The unit lies behind what was looked at, and before this event.
        if let position, position < basis || position - basis < unit { throw DecisionProblem(place: "decision.unit") }
        for owner in try Reading.list(decision, "owners", "decision.owners") {
            owners.append(try Self.owner(owner))
        }
        for territory in try Reading.list(decision, "matched", "decision.matched") {
            guard let id = territory.string else { throw DecisionProblem(place: "decision.matched") }
            matched.append(id)
        }
        pool = try Reading.optionalText(decision, "pool", "decision.pool")
        language = try Reading.optionalText(decision, "language", "decision.language")
        var seen: Set<String> = []
        for value in try Reading.list(decision, "candidates", "decision.candidates") {
            var candidate = try Self.candidate(value)
            if let last = candidate.last, last >= basis {
                guard last - basis < unit else { throw DecisionProblem(place: "decision.candidates.last") }
                if let position { candidate.last = position - UInt64(unit) + (last - basis) }
            }
            guard seen.insert(candidate.member).inserted else {
                throw DecisionProblem(place: "decision.candidates.member")
            }
            candidates.append(candidate)
        }
        ignoresAbsence = try Reading.flag(decision, "absence_ignored", "decision.absence_ignored")
        explores = try Reading.flag(decision, "explored", "decision.explored")
        for step in try Reading.list(decision, "path", "decision.path") {
            let word = try Reading.text(step, "by", "decision.path.by")
            guard let by = Decision.Step.allCases.first(where: { $0.word.description == word }) else {
                throw DecisionProblem(place: "decision.path.by")
            }
            path.append(Step(by: by, left: Int(try Reading.count(step, "left", "decision.path.left"))))
        }
        if case .picked(let winner) = outcome {
            guard pool != nil, candidates.contains(where: { $0.member == winner && $0.isEligible }) else {
                throw DecisionProblem(place: "member")
            }
        }
    }

    private static func outcome(_ data: JSONValue, _ decision: JSONValue) throws(DecisionProblem) -> Outcome {
        guard let member = try Reading.optionalText(data, "member", "member") else {
            var due: Instant?
            if let text = try Reading.optionalText(data, "due", "due") {
                guard let instant = try? Instant(dateOrRFC3339: text) else { throw DecisionProblem(place: "due") }
                due = instant
            }
            return .queued(
                queue: try Reading.text(data, "queue", "queue"), reason: try Reading.text(data, "reason", "reason"),
                due: due)
        }
        if try Reading.flag(decision, "manager", "decision.manager") { return .manager(member) }
        return try Reading.text(data, "mode", "mode") == "match" ? .matched(member) : .picked(member)
    }

    private static func owner(_ value: JSONValue) throws(DecisionProblem) -> OwnerTry {
        let word = try Reading.text(value, "match", "decision.owners.match")
        guard let match = OwnerMatch(rawValue: word) else { throw DecisionProblem(place: "decision.owners.match") }
        return OwnerTry(
            match: match, member: try Reading.text(value, "member", "decision.owners.member"),
            refusals: try refusals(value, "decision.owners.refused"))
    }

    private static func candidate(_ value: JSONValue) throws(DecisionProblem) -> Candidate {
        let place = "decision.candidates"
        var candidate = Candidate(member: try Reading.text(value, "member", "\(place).member"))
        guard value["weight"] != nil else {
            candidate.refusals = try refusals(value, "\(place).refused")
            guard !candidate.refusals.isEmpty else { throw DecisionProblem(place: "\(place).refused") }
            return candidate
        }
        guard let weight = UInt32(exactly: try Reading.natural(value, "weight", "\(place).weight")), weight > 0 else {
            throw DecisionProblem(place: "\(place).weight")
        }
        candidate.weight = weight
        candidate.gain = try Reading.count(value, "gain", "\(place).gain")
        guard candidate.gain <= Turn.whole else { throw DecisionProblem(place: "\(place).gain") }
        guard let owed = value["owed"]?.int64 else { throw DecisionProblem(place: "\(place).owed") }
        candidate.owed = owed
        candidate.skill = try Reading.optionalCount(value, "skill", "\(place).skill")
        candidate.open = try Reading.optionalCount(value, "open", "\(place).open")
        candidate.last = try Reading.optionalCount(value, "last", "\(place).last").map { UInt64($0) }
        if let won = value["won"] {
            let numbers = won.kind == .array ? won.elements.map(\.int64) : []
            guard numbers.count == 2, let first = numbers[0], let second = numbers[1], (0...second).contains(first)
            else {
                throw DecisionProblem(place: "\(place).won")
            }
            candidate.won = first
            candidate.ended = second
        }
        for letter in try Reading.optionalText(value, "away", "\(place).away") ?? "" {
            switch letter {
            case "h": candidate.refusals.append(Refusal(.outOfHours))
            case "l": candidate.refusals.append(Refusal(.leave))
            case "p": candidate.refusals.append(Refusal(.paused))
            default: throw DecisionProblem(place: "\(place).away")
            }
        }
        return candidate
    }

    fileprivate static func refusals(_ value: JSONValue, _ place: String) throws(DecisionProblem) -> [Refusal] {
        guard let text = try Reading.optionalText(value, "refused", place) else { return [] }
        var found: [Refusal] = []
        for part in text.split(separator: " ", omittingEmptySubsequences: false) {
            guard let refusal = Refusal(text: part) else { throw DecisionProblem(place: place) }
            found.append(refusal)
        }
        return found
    }
}

extension AssignmentOverride {
    /// What the data of a `lead.assigned` says of it; nil where the member was eligible.
    package init?(data: JSONValue) throws(DecisionProblem) {
        guard data["override"] != nil else { return nil }
        let override = try Reading.object(data, "override", "override")
        let refusals = try DecisionRecord.refusals(override, "override.refused")
        guard !refusals.isEmpty else { throw DecisionProblem(place: "override.refused") }
        self.init(refusals: refusals, reason: try Reading.text(override, "reason", "override.reason"))
    }
}

/// Members of one form each, or the problem with its place.
private enum Reading {
    static func text(_ value: JSONValue, _ name: StaticString, _ place: String) throws(DecisionProblem) -> String {
        guard let text = try optionalText(value, name, place) else { throw DecisionProblem(place: place) }
        return text
    }

    static func optionalText(
        _ value: JSONValue, _ name: StaticString, _ place: String
    ) throws(DecisionProblem) -> String? {
        guard value.kind == .object else { throw DecisionProblem(place: place) }
        guard let member = value[name] else { return nil }
        guard let text = member.string else { throw DecisionProblem(place: place) }
        return text
    }

    static func count(_ value: JSONValue, _ name: StaticString, _ place: String) throws(DecisionProblem) -> Int64 {
        guard let count = try optionalCount(value, name, place) else { throw DecisionProblem(place: place) }
        return count
    }

    static func optionalCount(
        _ value: JSONValue, _ name: StaticString, _ place: String
    ) throws(DecisionProblem) -> Int64? {
        guard value.kind == .object else { throw DecisionProblem(place: place) }
        guard let member = value[name] else { return nil }
        guard let number = member.int64, number >= 0 else { throw DecisionProblem(place: place) }
        return number
    }

    static func natural(_ value: JSONValue, _ name: StaticString, _ place: String) throws(DecisionProblem) -> UInt64 {
        UInt64(try count(value, name, place))
    }

    static func flag(_ value: JSONValue, _ name: StaticString, _ place: String) throws(DecisionProblem) -> Bool {
        guard value.kind == .object else { throw DecisionProblem(place: place) }
        guard let member = value[name] else { return false }
        guard let flag = member.boolean else { throw DecisionProblem(place: place) }
        return flag
    }

    static func object(_ value: JSONValue, _ name: StaticString, _ place: String) throws(DecisionProblem) -> JSONValue {
        guard let member = value[name], member.kind == .object else { throw DecisionProblem(place: place) }
        return member
    }

    static func list(_ value: JSONValue, _ name: StaticString, _ place: String) throws(DecisionProblem) -> [JSONValue] {
        guard let member = value[name] else { return [] }
        guard member.kind == .array else { throw DecisionProblem(place: place) }
        return Array(member.elements)
    }
}
