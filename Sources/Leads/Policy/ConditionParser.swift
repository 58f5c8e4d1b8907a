/// Reads conditions. One parser reads all of a rule set, since it numbers the sender's own fields that they use.
///
/// ```swift
/// var parser = ConditionParser()
/// let rule = Condition(try parser.parse(#"country == "BR" and amount >= 500_000"#))
/// try parser.parse("amount >= \"10\"")    // throws ConditionError at 1:11: amount is a whole number: ...
/// ```
package struct ConditionParser {
    /// Names of `custom.` fields in the order in which they were first met; they become `RuleSet.customFields`.
    package private(set) var customFields: [String] = []

    private var lexer = ConditionLexer([])
    private var token = ConditionToken.end
    private var start = 0
    private var depth = 0
    private var nodes = 0

    package init() {}

    /// - Throws: `ConditionError` for the first offence. Fields met before it keep their numbers, which does no harm.
    package mutating func parse(_ text: String) throws(ConditionError) -> ConditionExpression {
        lexer = ConditionLexer(Array(text.utf8))
        depth = 0
        nodes = 0
        guard lexer.text.count <= PolicyLimits.conditionBytesMax else {
            throw lexer.failure(at: 0, "longer than \(PolicyLimits.conditionBytesMax) bytes")
        }
        try advance()
        if token == .end { throw failure("expected a condition, found nothing; `true` takes every lead") }
        let expression = try alternatives()
        guard token == .end else { throw failure("expected and, or, or the end, found \(token.shown)") }
        return expression
    }

    // MARK: Grammar, from loose to tight

    private mutating func alternatives() throws(ConditionError) -> ConditionExpression {
        var parts: [ConditionExpression] = []
        repeat {
            if !parts.isEmpty { try advance() }
            let part = try conjunction()
            if case .or(let inner) = part { parts += inner } else { parts.append(part) }
        } while token == .or
        return parts.count == 1 ? parts[0] : .or(parts)
    }

    private mutating func conjunction() throws(ConditionError) -> ConditionExpression {
        var parts: [ConditionExpression] = []
        repeat {
            if !parts.isEmpty { try advance() }
            let part = try negation()
            if case .and(let inner) = part { parts += inner } else { parts.append(part) }
        } while token == .and
        return parts.count == 1 ? parts[0] : .and(parts)
    }

    private mutating func negation() throws(ConditionError) -> ConditionExpression {
        try countNode()
        switch token {
        case .not:
            try enter()
            try advance()
            let inner = try negation()
            depth -= 1
            return .not(inner)
        case .openParenthesis:
            let opened = start
            try enter()
            try advance()
            let inner = try alternatives()
            guard token == .closeParenthesis else {
                if token == .end { throw lexer.failure(at: opened, "the parenthesis that opens here is never closed") }
                throw failure("expected and, or, or ), found \(token.shown)")
            }
            depth -= 1
            try advance()
            return inner
        case .boolean(let value):
            try advance()
            return .constant(value)
        case .present:
            try advance()
            guard case .field(let name) = token else {
                throw failure("after present: expected a field, found \(token.shown)")
            }
            let field = try number(of: name)
            try advance()
            return .test(ConditionTest(field: field.number, name: field.name, question: .isPresent))
        case .field(let name): return .test(try test(of: name))
        case .text, .integer: throw failure("expected a field, found \(token.shown): the field comes first")
        default: throw failure("expected a field, not, present, true, false or (, found \(token.shown)")
        }
    }

    private mutating func test(of name: String) throws(ConditionError) -> ConditionTest {
        let field = try number(of: name)
        try advance()
        let operatorStart = start
        let question: ConditionTest.Question
        switch token {
        case .comparison(let comparison):
            try advance()
            let value = try self.value(for: field, after: comparison.rawValue)
            try check(comparison, of: field, against: value, at: operatorStart)
            question = .compare(comparison, value)
        case .startsWith:
            try advance()
            guard field.type == .text || field.type == .any else {
                throw lexer.failure(
                    at: operatorStart, "\(field.name) is \(field.type.shown), which has no beginning to compare")
            }
            guard case .text = token else {
                throw failure("after starts_with: expected a text in quotes, found \(token.shown)")
            }
            guard case .text(let prefix) = try value(for: field, after: "starts_with") else {
                throw failure("after starts_with: expected a text in quotes")
            }
            question = .startsWith(prefix)
        case .isIn:
            try advance()
            question = token == .openBracket ? try list(for: field) : try range(for: field, at: operatorStart)
        case .not:
            throw failure("write not (\(field.name) in [...]), which is also true of leads without a \(field.name)")
        default:
            throw failure(
                "after \(field.name): expected ==, !=, <, <=, >, >=, in or starts_with, found \(token.shown)")
        }
        return ConditionTest(field: field.number, name: field.name, question: question)
    }

    private mutating func list(for field: Field) throws(ConditionError) -> ConditionTest.Question {
        var values: [FactValue] = []
        repeat {
            try advance()
            if token == .closeBracket {
                throw failure(
                    values.isEmpty
                        ? "expected a value: an empty list is never true" : "expected a value after the comma")
            }
            let at = start
            let value = try self.value(for: field, after: "in")
            if let first = values.first, !first.isLike(value) {
                throw lexer.failure(at: at, "the values of a list are of one type")
            }
            if values.contains(value) { throw lexer.failure(at: at, "\(value.literalText) stands twice in the list") }
            values.append(value)
        } while token == .comma
        guard token == .closeBracket else { throw failure("expected a comma or ], found \(token.shown)") }
        try advance()
        return .isOneOf(values)
    }

    private mutating func range(for field: Field, at place: Int) throws(ConditionError) -> ConditionTest.Question {
        if case .word = field.type { throw failure("after in: expected a list [...], found \(token.shown)") }
        switch token {
        case .text, .integer: break
        default: throw failure("after in: expected a list [...] or a range such as 1..10, found \(token.shown)")
        }
        let lowStart = start
        let low = try value(for: field, after: "in")
        guard token == .range else { throw failure("expected .. and the upper end of the range, found \(token.shown)") }
        try advance()
        let highStart = start
        let high = try value(for: field, after: "..")
        guard let order = low.order(against: high) else {
            throw lexer.failure(at: highStart, "both ends of a range are of one type")
        }
        guard order <= 0 else {
            throw lexer.failure(at: lowStart, "the range is empty: \(low.literalText) is above \(high.literalText)")
        }
        return .isWithin(low, high)
    }

    // MARK: Fields and values

    private struct Field {
        var number: Int
        var name: String
        var type: FieldType
        var reading: FieldReading
    }

    private mutating func number(of name: String) throws(ConditionError) -> Field {
        if let field = LeadField(name: name) {
            return Field(number: field.rawValue, name: name, type: field.type, reading: field.reading)
        }
        guard name.hasPrefix("custom.") else { throw failure(unknownField(name)) }
        let own = String(name.dropFirst("custom.".count))
        let isPlain = own.utf8.allSatisfy { $0 < 0x80 && ($0 == 0x5F || ($0 | 0x20) &- 0x61 < 26 || $0 &- 0x30 < 10) }
        let startsPlain = own.utf8.first.map { $0 == 0x5F || ($0 | 0x20) &- 0x61 < 26 } ?? false
        if lexer.text[(start + "custom.".utf8.count)...].first != UInt8(ascii: "\""),
            lexer.text[(start + "custom.".utf8.count)...].first != UInt8(ascii: "'"), !isPlain
        {
            throw failure("only members of custom itself can be read; put a name with dots in quotes: custom.\"a.b\"")
        }
        guard !own.isEmpty, own.utf8.count <= PolicyLimits.customNameBytesMax else {
            throw failure("the name of a custom field has 1 to \(PolicyLimits.customNameBytesMax) bytes")
        }
        let index: Int
        if let known = customFields.firstIndex(of: own) {
            index = known
        } else {
            guard customFields.count < PolicyLimits.customFieldsMax else {
                throw failure("a rule set reads at most \(PolicyLimits.customFieldsMax) custom fields")
            }
            index = customFields.count
            customFields.append(own)
        }
        return Field(
            number: LeadField.fixedCount + index,
            name: "custom." + (isPlain && startsPlain ? own : quotedForCondition(own)), type: .any, reading: .asGiven)
    }

    private func unknownField(_ name: String) -> String {
        let known = LeadField.allCases.map(\.name)
        let close = known.map { (name: $0, distance: editDistance(name, $0)) }.filter { $0.distance <= 2 }
            .min { $0.distance < $1.distance }
        if let close { return "there is no field \(name); did you mean \(close.name)?" }
        return "there is no field \(name); known are \(known.joined(separator: ", ")), custom.NAME"
    }

    /// The value that the current word is, if the field can have it.
    private mutating func value(for field: Field, after what: String) throws(ConditionError) -> FactValue {
        let value: FactValue
        switch token {
        case .text(let bytes): value = .text(bytes)
        case .integer(let number): value = .integer(number)
        case .boolean(let flag): value = .boolean(flag)
        case .field(let name):
            throw failure(
                "after \(what): expected a value, found \(token.shown); a text stands in quotes: \(quotedForCondition(name))"
            )
        default: throw failure("after \(what): expected a value, found \(token.shown)")
        }
        try countNode()
        if let mismatch = mismatch(value, field) { throw failure(mismatch) }
        try advance()
        return value
    }

    /// Why a field never has that value.
    private func mismatch(_ value: FactValue, _ field: Field) -> String? {
        switch (field.type, value) {
        case (.any, .text(let bytes)), (.text, .text(let bytes)):
            if bytes.allSatisfy({ $0 == 0x20 || $0 == 0x09 }) {
                return "a blank \(field.name) counts as missing: write not present \(field.name)"
            }
            let right: [UInt8]
            switch field.reading {
            case .lowercased: right = bytes.map(lowercasedASCII)
            case .uppercased: right = bytes.map(uppercasedASCII)
            case .asGiven, .lowerEndOfBand: right = bytes
            }
            guard right != bytes else { return nil }
            return "\(field.name) is compared in \(field.reading == .lowercased ? "lower" : "upper") case: write "
                + FactValue.text(right).literalText
        case (.any, _), (.integer, .integer): return nil
        case (.word(let words), .text(let bytes)):
            if words.contains(where: { $0.utf8.elementsEqual(bytes) }) { return nil }
            return "\(field.name) is never \(value.literalText): it is one of \(words.joined(separator: ", "))"
        default: return "\(field.name) is \(field.type.shown): expected one, found \(token.shown)"
        }
    }

    private func check(
        _ comparison: ConditionTest.Comparison, of field: Field, against value: FactValue, at place: Int
    ) throws(ConditionError) {
        if comparison == .equal || comparison == .notEqual { return }
        if case .word = field.type {
            throw lexer.failure(at: place, "\(field.name) has no order: expected ==, != or in")
        }
        if case .boolean = value { throw lexer.failure(at: place, "true and false have no order: expected == or !=") }
    }

    // MARK: Moving on

    private mutating func advance() throws(ConditionError) { (token, start) = try lexer.next() }

    private func failure(_ reason: String) -> ConditionError { lexer.failure(at: start, reason) }

    private mutating func enter() throws(ConditionError) {
        depth += 1
        guard depth <= PolicyLimits.conditionDepthMax else {
            throw failure("more than \(PolicyLimits.conditionDepthMax) parentheses and not inside each other")
        }
    }

    private mutating func countNode() throws(ConditionError) {
        nodes += 1
        guard nodes <= PolicyLimits.conditionNodesMax else {
            throw failure("more than \(PolicyLimits.conditionNodesMax) tests and values")
        }
    }
}

extension FieldType {
    /// As messages call a value of it.
    package var shown: String {
        switch self {
        case .text: "a text"
        case .integer: "a whole number"
        case .word: "one of a few words"
        case .any: "anything"
        }
    }
}

extension FactValue {
    fileprivate func isLike(_ other: FactValue) -> Bool {
        switch (self, other) {
        case (.text, .text), (.integer, .integer), (.boolean, .boolean), (.absent, .absent): true
        default: false
        }
    }
}

/// Insertions, deletions and replacements of a letter between two words.
package func editDistance(_ one: String, _ other: String) -> Int {
    let one = Array(one.utf8.prefix(64)), other = Array(other.utf8.prefix(64))
    var row = Array(0...other.count)
    for (i, a) in one.enumerated() {
        var diagonal = row[0]
        row[0] = i + 1
        for (j, b) in other.enumerated() {
            let above = row[j + 1]
            row[j + 1] = min(above + 1, row[j] + 1, diagonal + (a == b ? 0 : 1))
            diagonal = above
        }
    }
    return row[other.count]
}
