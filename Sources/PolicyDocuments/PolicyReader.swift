import JSON
import Leads
import Schemas

// PolicyReader: a document becomes a rule set, or a list of all that is wrong with it.
//
//   1. The form, against the schema. What has the wrong form is skipped below, so it is told once.
//   2. Names: every id of every kind, so that what refers to one may stand before it.
//   3. What the names stand for, part by part.
//   4. What the parts mean for each other: rules that no lead reaches, examples. Only where nothing is wrong so far, since a
//      rule that could not be read would make others look wrong.

/// Reads one document. Everything that is wrong is noted, and reading goes on.
struct PolicyReader {
    let text: PolicyText
    let root: JSONValue
    let isKnownZone: (String) -> Bool

    var faults: [PolicyFault] = []
    /// Places of violations of the form.
    var misshapen: Set<String> = []
    var conditions = ConditionParser()
    /// The trees of conditions, by pointer.
    var expressions: [String: ConditionExpression] = [:]
    var rules: RuleSet

    var memberNumbers: [String: Int] = [:]
    var teamNumbers: [String: Int] = [:]
    var poolNumbers: [String: Int] = [:]
    var calendarNumbers: [String: Int] = [:]
    var targetNumbers: [String: Int] = [:]
    var cadenceNumbers: [String: Int] = [:]
    var skillNumbers: [String: Int] = [:]
    var territoryNumbers: [String: Int] = [:]
    var languageNumbers: [String: Int] = [:]
    /// By team: the calendar of members that name none.
    var teamCalendars: [CalendarIndex?] = []

    init(text: PolicyText, root: JSONValue, isKnownZone: @escaping (String) -> Bool) {
        self.text = text
        self.root = root
        self.isKnownZone = isKnownZone
        rules = RuleSet(
            id: root["policy"]?.string ?? "", seed: root["seed"]?.string ?? "", catchAll: PoolIndex(0))
    }

    mutating func read(schema: JSONSchema) {
        // 1.
        for violation in schema.violations(in: root, max: DocumentLimits.faultsMax) {
            misshapen.insert(violation.pointer)
            note(
                violation.keyword == "additionalProperties"
                    ? text.fault(.form, atNameOf: violation.pointer, violation.message)
                    : text.fault(.form, at: violation.pointer, violation.message))
        }
        guard root.kind == .object else { return }
        // 2.
        takeNames()
        // 3.
        takeOptions()
        takeCalendars()
        takeTeams()
        takeMembers()
        takeTargets()
        takeCadences()
        takePools()
        takeTerritories()
        rules.customFields = conditions.customFields
        // 4.
        guard faults.isEmpty else { return }
        checkReach()
        checkExamples()
    }

    // MARK: Noting what is wrong

    mutating func note(_ fault: PolicyFault) {
        if faults.count < DocumentLimits.faultsMax { faults.append(fault) }
    }

    mutating func note(_ code: PolicyFault.Code, at pointer: String, _ reason: String) {
        note(text.fault(code, at: pointer, reason))
    }

    // MARK: Going through the document

    /// The elements of a list at the root, each with its place.
    func entries(_ name: StaticString) -> [(value: JSONValue, place: String)] {
        elements(root[name], "/\(name)")
    }

    func elements(_ list: JSONValue?, _ place: String) -> [(value: JSONValue, place: String)] {
        guard let list else { return [] }
        return list.elements.enumerated().map { ($0.element, "\(place)/\($0.offset)") }
    }

    /// The texts of a list, each with its place; what is no text was told with the form.
    func texts(_ list: JSONValue?, _ place: String) -> [(text: String, place: String)] {
        elements(list, place).compactMap { element in element.value.string.map { ($0, element.place) } }
    }

    /// A word that names a case; nil where there is none, or none of its form.
    func choice<Choice: RawRepresentable<String>>(_ value: JSONValue?) -> Choice? {
        value?.string.flatMap { Choice(rawValue: $0) }
    }

    func integer(_ value: JSONValue?) -> Int? { value?.int64.flatMap { Int(exactly: $0) } }

    /// Seconds of a duration; nil where there is none, or none that can be read.
    mutating func seconds(_ value: JSONValue?, _ place: String, measure: TimeMeasure = .wall) -> Int64? {
        guard let value else { return nil }
        if let number = value.int64, value.kind == .number {
            if number <= DocumentLimits.durationSecondsMax { return number }
            note(.badDuration, at: place, "longer than ten years")
            return nil
        }
        guard let text = value.string else { return nil }
        guard let duration = durationSeconds(text) else {
            note(
                .badDuration, at: place,
                "expected seconds, or a duration such as 90s, 5m, 1h30m or 2d (at most ten years), found \(quoted(text))"
            )
            return nil
        }
        if duration.hasDays, measure == .business {
            note(.badDuration, at: place, "a day of business time has no fixed length: say it in hours")
            return nil
        }
        return duration.seconds
    }

    /// A condition; nil where it has none, or none that can be read.
    mutating func condition(_ value: JSONValue?, _ place: String) -> Condition? {
        guard let value else { return nil }
        if let constant = value.boolean {
            expressions[place] = .constant(constant)
            return Condition(.constant(constant))
        }
        guard let written = value.string, !misshapen.contains(place) else { return nil }
        do throws(ConditionError) {
            let expression = try conditions.parse(written)
            expressions[place] = expression
            return Condition(expression)
        } catch {
            note(
                text.fault(
                    .badCondition, at: place, text: written, line: error.line, column: error.column, error.reason,
                    excerpt: error.excerpt))
            return nil
        }
    }

    /// What an id refers to; nil where there is none, or nothing of that name.
    mutating func reference(
        _ value: JSONValue?, _ place: String, in numbers: [String: Int], _ code: PolicyFault.Code, _ kind: String
    ) -> Int? {
        guard let id = value?.string, !misshapen.contains(place) else { return nil }
        if let number = numbers[id] { return number }
        let close = numbers.keys.map { (id: $0, distance: editDistance($0, id)) }
            .filter { $0.distance <= 2 && $0.distance < id.count }
            .min { ($0.distance, $0.id) < ($1.distance, $1.id) }
        note(
            code, at: place,
            "there is no \(kind) \(quoted(id))" + (close.map { "; did you mean \(quoted($0.id))?" } ?? ""))
        return nil
    }

    mutating func member(_ value: JSONValue?, _ place: String) -> MemberIndex? {
        reference(value, place, in: memberNumbers, .unknownMember, "member").map { MemberIndex($0) }
    }

    mutating func calendar(_ value: JSONValue?, _ place: String) -> CalendarIndex? {
        reference(value, place, in: calendarNumbers, .unknownCalendar, "calendar").map { CalendarIndex($0) }
    }

    mutating func pool(_ value: JSONValue?, _ place: String) -> PoolIndex? {
        reference(value, place, in: poolNumbers, .unknownPool, "pool").map { PoolIndex($0) }
    }

    mutating func skills(_ list: JSONValue?, _ place: String) -> PolicySet {
        var set = PolicySet()
        for (skill, place) in texts(list, place) where !misshapen.contains(place) {
            guard let number = skillNumbers[skill] else {
                note(.unknownSkill, at: place, "there is no skill \(quoted(skill)); list it under skills")
                continue
            }
            if set.contains(number) { note(.duplicate, at: place, "\(quoted(skill)) stands twice") }
            set.insert(number)
        }
        return set
    }

    // MARK: 2. Names

    private mutating func takeNames() {
        if let id = root["policy"]?.string, let fault = idFault(id) {
            note(.badID, at: "/policy", "an id that \(fault)")
        }
        rules.calendars = [.always]
        calendarNumbers = ["always": 0]
        for (value, place) in entries("calendars") {
            guard let id = id(value, place, reserved: ["region", "pool", "holder", "always"]) else { continue }
            if isNew(id, place, "calendar", in: calendarNumbers) {
                calendarNumbers[id] = rules.calendars.count
                rules.calendars.append(CalendarSpec(id: id, zone: "", week: Array(repeating: [], count: 7)))
            }
        }
        teamNumbers = numbers(of: "teams", "team")
        memberNumbers = numbers(of: "members", "member", reserved: ["holder", "manager", "team"])
        poolNumbers = numbers(of: "pools", "pool")
        targetNumbers = numbers(of: "response_targets", "response target")
        cadenceNumbers = numbers(of: "cadences", "cadence")
        territoryNumbers = numbers(of: "territories", "territory")
        for (skill, place) in texts(root["skills"], "/skills") where !misshapen.contains(place) {
            if let fault = idFault(skill) { note(.badID, at: place, "a skill that \(fault)") }
            if isNew(skill, place, "skill", in: skillNumbers) {
                skillNumbers[skill] = rules.skills.count
                rules.skills.append(skill)
            }
        }
    }

    private mutating func numbers(of name: StaticString, _ kind: String, reserved: [String] = []) -> [String: Int] {
        var numbers: [String: Int] = [:]
        for (value, place) in entries(name) {
            guard let id = id(value, place, reserved: reserved), isNew(id, place, kind, in: numbers) else { continue }
            numbers[id] = numbers.count
        }
        return numbers
    }

    private mutating func id(_ value: JSONValue, _ place: String, reserved: [String]) -> String? {
        guard let id = value["id"]?.string, !misshapen.contains(place + "/id") else { return nil }
        if let fault = idFault(id) { note(.badID, at: place + "/id", "an id that \(fault)") }
        if reserved.contains(id) { note(.badID, at: place + "/id", "\(quoted(id)) has a meaning of its own here") }
        return id
    }

    private mutating func isNew(_ id: String, _ place: String, _ kind: String, in numbers: [String: Int]) -> Bool {
        guard numbers[id] != nil else { return true }
        note(
            .duplicateID, at: kind == "skill" ? place : place + "/id", "there is a \(kind) \(quoted(id)) already")
        return false
    }

    /// The first entries of their ids, in the order of their numbers. Doubles and entries without an id are left out.
    func named(_ name: StaticString) -> [(value: JSONValue, place: String, id: String)] {
        var seen: Set<String> = []
        return entries(name).compactMap { entry in
            guard let id = entry.value["id"]?.string, !misshapen.contains(entry.place + "/id"),
                seen.insert(id).inserted
            else { return nil }
            return (entry.value, entry.place, id)
        }
    }
}

/// A text in a message: in quotes, without anything that a terminal obeys, and not too long.
func quoted(_ text: String) -> String {
    var shown = "\""
    for scalar in text.unicodeScalars.prefix(64) {
        let category = scalar.properties.generalCategory
        shown.unicodeScalars.append(category == .control || category == .format ? "\u{FFFD}" : scalar)
    }
    return shown + (text.unicodeScalars.count > 64 ? "...\"" : "\"")
}
