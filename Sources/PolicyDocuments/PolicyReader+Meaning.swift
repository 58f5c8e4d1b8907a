import JSON
import Leads

// Step 4: what the parts of a document mean for each other. Only for documents in which nothing else is wrong.

extension PolicyReader {
    // MARK: Rules that no lead reaches

    /// Ordered rules are looked through three times: territories, calendars of regions, and the response targets of each kind
    /// in each pool. `RuleReach` says what is detected.
    mutating func checkReach() {
        let territories = named("territories")
        report(
            territories.map { (expressions[$0.place + "/when"] ?? .constant(true), $0.place + "/when", $0.id) }, "rule")
        report(
            entries("region_calendars").enumerated().map {
                (
                    expressions[$0.element.place + "/when"] ?? .constant(true), $0.element.place + "/when",
                    "\($0.offset + 1)"
                )
            }, "entry")
        let targets = named("response_targets")
        for (value, place, _) in named("pools") {
            var byKind: [TargetKind: [(ConditionExpression, String, String)]] = [:]
            for (name, place) in texts(value["response_targets"], place + "/response_targets") {
                guard let number = targetNumbers[name] else { continue }
                let expression = expressions[targets[number].place + "/when"] ?? .constant(true)
                byKind[rules.responseTargets[number].kind, default: []].append((expression, place, name))
            }
            for rules in byKind.values.sorted(by: { $0[0].1 < $1[0].1 }) {
                report(rules, "target", tellsNeverTrue: false)
            }
        }
        // Conditions that stand in no order.
        for (value, place, _) in targets where value["when"] != nil { reportNeverTrue(place + "/when") }
        for (value, place, _) in named("members") where value["conflict"] != nil {
            reportNeverTrue(place + "/conflict")
        }
    }

    private mutating func report(
        _ rules: [(expression: ConditionExpression, place: String, id: String)], _ kind: String,
        tellsNeverTrue: Bool = true
    ) {
        var reach = RuleReach(rules.map(\.expression))
        for (number, rule) in rules.enumerated() {
            switch reach.verdict(on: number) {
            case .reachable: break
            case .neverTrue: if tellsNeverTrue { noteNeverTrue(rule.place) }
            case .taken(let takers):
                let names = takers.prefix(5).map { quoted(rules[$0].id) }.joined(separator: ", ")
                let who =
                    switch takers.count {
                    case 0: "the ones before it together take"
                    case 1: "\(kind) \(names) before it takes"
                    default: "\(names)\(takers.count > 5 ? ", ..." : "") before it together take"
                    }
                note(
                    .unreachable, at: rule.place,
                    "\(kind) \(quoted(rule.id)) is never reached: \(who) every lead that it would")
            }
        }
    }

    private mutating func reportNeverTrue(_ place: String) {
        guard let expression = expressions[place] else { return }
        var reach = RuleReach([expression])
        if reach.verdict(on: 0) == .neverTrue { noteNeverTrue(place) }
    }

    private mutating func noteNeverTrue(_ place: String) {
        note(.neverTrue, at: place, "no lead can fulfil this condition")
    }

    // MARK: Examples

    mutating func checkExamples() {
        for (value, place) in entries("examples") {
            let before = faults.count
            let facts = facts(of: value["lead"], place + "/lead")
            let expectedPool = pool(value["pool"], place + "/pool")
            let expectedRule = reference(
                value["territory"], place + "/territory", in: territoryNumbers, .unknownField, "territory")
            guard faults.count == before, let expectedPool else { continue }
            let matching = rules.matchingTerritories(facts)
            let found = rules.pool(for: facts)
            let how = matching.first.map { "rule \(quoted(rules.territories[$0].id))" } ?? "the catch-all"
            let name = value["name"]?.string.map { " \(quoted($0))" } ?? ""
            if found != expectedPool {
                note(
                    .exampleFails, at: place + "/pool",
                    "example\(name) expects pool \(quoted(rules.pools[expectedPool].id)), but \(how) gives the lead to "
                        + quoted(rules.pools[found].id))
            } else if let expectedRule, matching.first != TerritoryIndex(expectedRule) {
                note(
                    .exampleFails, at: place + "/territory",
                    "example\(name) expects rule \(quoted(rules.territories[expectedRule].id)), but it is \(how) that takes the lead"
                )
            }
        }
    }

    /// What conditions see of a lead that is written as the data of its capture.
    private mutating func facts(of lead: JSONValue?, _ place: String) -> LeadFacts {
        var facts = LeadFacts(customFieldCount: rules.customFields.count)
        guard let lead else { return facts }
        for member in lead.members {
            let name = member.name.string ?? ""
            let place = "\(place)/\(JSONPointer.token(name))"
            if name == "custom" {
                for own in member.value.members {
                    guard let number = rules.customFields.firstIndex(of: own.name.string ?? "") else { continue }
                    facts.setCustom(number, FactValue(own.value) ?? .absent)
                }
            } else if name == "company", member.value.kind == .object {
                for part in member.value.members {
                    let part = (name: part.name.string ?? "", value: part.value)
                    set("company.\(part.name)", part.value, "\(place)/\(JSONPointer.token(part.name))", in: &facts)
                }
            } else {
                set(name, member.value, place, in: &facts)
            }
        }
        return facts
    }

    private mutating func set(_ name: String, _ value: JSONValue, _ place: String, in facts: inout LeadFacts) {
        // "company.size" is a field, and not the name of a member.
        guard let field = LeadField(name: name), place.hasSuffix("/" + field.path.joined(separator: "/")) else {
            note(text.fault(.unknownField, atNameOf: place, "conditions read no field \(quoted(name)) of a lead"))
            return
        }
        guard let fact = FactValue(value) else {
            note(.form, at: place, "expected a text or a whole number")
            return
        }
        facts.set(field, fact)
        let isBlank = if case .text(let bytes) = fact { bytes.allSatisfy { $0 == 0x20 || $0 == 0x09 } } else { false }
        if facts[field] == .absent, fact != .absent, !isBlank {
            note(.form, at: place, "\(name) takes \(field.type.shown), and not \(fact.literalText)")
        }
    }
}
