// RuleReach: which of a list of ordered rules can ever be the first to match.
//
// Every question about a field is true on a union of intervals in the order of its values: `starts_with "ab"` is "ab" up to,
// not including, "ac"; `== 5` is 5 up to 6. The ends of all intervals cut a field's values into classes in which no question
// tells one value from another, so one value of each class stands for all. The search looks for values, one a field, of
// which the rule is true and each rule before it false:
//   found        a lead that reaches the rule. The verdict is checked by evaluating, so it is never wrong.
//   none left    no lead does, since every class of every field was tried (or a part of the condition was settled without).
//   given up     too many tests: the rule counts as reachable. A rule set is never refused for a rule that works.

/// Finds, in a list of ordered conditions, those that no lead can reach.
package struct RuleReach {
    package enum Verdict: Sendable, Equatable {
        case reachable
        /// No lead fulfils it, whatever stands before it.
        case neverTrue
        /// Every lead that fulfils it is taken by these earlier ones; without any of them some would come through. Empty where
        /// it took too long to find out which.
        case taken(by: [Int])
    }

    private let conditions: [ConditionExpression]
    /// Of each condition, by field: one value of each class that its tests make, the missing one included.
    private let ends: [[Int: [FactValue]]]
    private let fields: [[Int]]
    private var testsLeft: Int

    package init(_ conditions: [ConditionExpression], testsMax: Int = PolicyLimits.reachTestsMax) {
        self.conditions = conditions
        testsLeft = testsMax
        ends = conditions.map { condition in
            var ends: [Int: Set<FactValue>] = [:]
            condition.forEachTest { test in ends[test.field, default: [.absent]].formUnion(test.ends) }
            return ends.mapValues { values in values.sorted { $0.comesBefore($1) } }
        }
        fields = conditions.map { condition in
            var seen: [Int] = []
            condition.forEachTest { test in if !seen.contains(test.field) { seen.append(test.field) } }
            return seen
        }
    }

    /// Whether some lead has rule `number` as its first match.
    package mutating func verdict(on number: Int) -> Verdict {
        switch search(number, avoiding: []) {
        case .none: return .neverTrue
        case .givenUp: return .reachable
        case .found: break
        }
        guard search(number, avoiding: Array(0..<number)) == .none else { return .reachable }
        // Which of them: one that does it alone, else those without which it would not be so.
        for earlier in 0..<number where search(number, avoiding: [earlier]) == .none { return .taken(by: [earlier]) }
        var takers = Array(0..<number)
        for earlier in (0..<number).reversed() {
            let others = takers.filter { $0 != earlier }
            switch search(number, avoiding: others) {
            case .none: takers = others
            case .found: continue
            case .givenUp: return .taken(by: [])
            }
        }
        return .taken(by: takers)
    }

    // MARK: The search

    private enum Outcome { case found, none, givenUp }

    private mutating func search(_ wanted: Int, avoiding: [Int]) -> Outcome {
        var budget = min(testsLeft, PolicyLimits.reachTestsPerRule)
        let given = budget
        var values: [Int: FactValue] = [:]
        let outcome = extend(&values, wanted: wanted, avoiding: avoiding, budget: &budget)
        testsLeft -= given - budget
        guard outcome == .found else { return outcome }
        // A witness must stand on its own; a field that was never needed is absent.
        func isTrue(_ number: Int) -> Bool { conditions[number].value { values[$0] ?? .absent } }
        assert(isTrue(wanted) && !avoiding.contains(where: isTrue), "a witness of the search is none")
        return .found
    }

    /// Gives the fields that are still open values until the question is settled. Recursion goes one level a field.
    private func extend(
        _ values: inout [Int: FactValue], wanted: Int, avoiding: [Int], budget: inout Int
    ) -> Outcome {
        let wantedNow = conditions[wanted].verdict(values, &budget)
        if wantedNow == false { return .none }
        var undecided: [Int] = []
        for number in avoiding {
            switch conditions[number].verdict(values, &budget) {
            case true?: return .none
            case false?: continue
            case nil: undecided.append(number)
            }
        }
        if budget < 0 { return .givenUp }
        guard let open = wantedNow == nil ? wanted : undecided.first,
            let field = fields[open].first(where: { values[$0] == nil })
        else { return .found }
        // Only conditions that are still open can tell one value from another. Those of the first one come first: in most rule
        // sets one of them will do.
        var tried: Set<FactValue> = []
        for number in [open] + undecided {
            for value in ends[number][field] ?? [] where tried.insert(value).inserted {
                values[field] = value
                let outcome = extend(&values, wanted: wanted, avoiding: undecided, budget: &budget)
                if outcome != .none { return outcome }
            }
        }
        values[field] = nil
        return .none
    }
}

// MARK: - What the search asks of a condition

extension ConditionExpression {
    func forEachTest(_ body: (ConditionTest) -> Void) {
        switch self {
        case .constant: break
        case .test(let test): body(test)
        case .not(let inner): inner.forEachTest(body)
        case .and(let parts), .or(let parts): for part in parts { part.forEachTest(body) }
        }
    }

    /// Its truth where every field has a value.
    package func value(_ field: (Int) -> FactValue) -> Bool {
        switch self {
        case .constant(let value): value
        case .test(let test): test.holds(for: field(test.field))
        case .not(let inner): !inner.value(field)
        case .and(let parts): parts.allSatisfy { $0.value(field) }
        case .or(let parts): parts.contains { $0.value(field) }
        }
    }

    /// Its truth where some fields have one; nil where it depends on the others, or may. Each comparison costs one of the budget.
    fileprivate func verdict(_ values: [Int: FactValue], _ budget: inout Int) -> Bool? {
        switch self {
        case .constant(let value): return value
        case .test(let test):
            budget -= 1
            guard let value = values[test.field] else { return nil }
            if case .isOneOf(let literals) = test.question { budget -= literals.count }
            return test.holds(for: value)
        case .not(let inner): return inner.verdict(values, &budget).map { !$0 }
        case .and(let parts): return settle(parts, by: false, values, &budget)
        case .or(let parts): return settle(parts, by: true, values, &budget)
        }
    }

    /// One part that is `decisive` decides; else it takes all of them.
    private func settle(
        _ parts: [ConditionExpression], by decisive: Bool, _ values: [Int: FactValue], _ budget: inout Int
    ) -> Bool? {
        var isOpen = false
        for part in parts {
            switch part.verdict(values, &budget) {
            case decisive?: return decisive
            case nil: isOpen = true
            default: break
            }
        }
        return isOpen ? nil : !decisive
    }
}

extension ConditionTest {
    /// Where its truth may change along the field's values: the first value of each class that it makes. The first value of
    /// each type is one, since a test of one type is false of all others.
    fileprivate var ends: [FactValue] {
        // Not every field has values of each type, nor is every text here one that UTF-8 can spell; a class too many costs
        // time, and makes a rule count as reachable, never the reverse.
        var ends: [FactValue] = [.text([]), .integer(.min), .boolean(false), .boolean(true)]
        func add(_ literal: FactValue) {
            ends.append(literal)
            switch literal {
            case .text(let bytes): ends.append(.text(bytes + [0]))
            case .integer(let number) where number < .max: ends.append(.integer(number + 1))
            default: break
            }
        }
        switch question {
        case .isPresent: break
        case .compare(_, let literal): add(literal)
        case .isOneOf(let literals): for literal in literals { add(literal) }
        case .isWithin(let low, let high):
            add(low)
            add(high)
        case .startsWith(let prefix):
            ends.append(.text(prefix))
            // The first text behind all that start so: none for a prefix of nothing but 0xFF, which no UTF-8 is.
            var next = prefix
            while let last = next.last, last == 0xFF { next.removeLast() }
            if let last = next.popLast() { ends.append(.text(next + [last + 1])) }
        }
        switch LeadField(rawValue: field)?.type {
        case .text?: return ends.filter { if case .text = $0 { true } else { false } }
        case .integer?: return ends.filter { if case .integer = $0 { true } else { false } }
        case .word(let words)?: return words.map { .text(Array($0.utf8)) }
        case .any?, nil: return ends
        }
    }
}

extension FactValue {
    /// A strict order, so that searches are the same on any machine.
    fileprivate func comesBefore(_ other: FactValue) -> Bool {
        if let order = order(against: other) { return order < 0 }
        return rank < other.rank
    }

    private var rank: Int {
        switch self {
        case .absent: 0
        case .text: 1
        case .integer: 2
        case .boolean: 3
        }
    }
}
