import TestSupport

@testable import Leads

/// Random conditions over a few fields with few values, so that they often speak of the same thing, and leads to try them on.
struct RandomConditions {
    var generator: SeededGenerator
    private(set) var parser = ConditionParser()

    static let texts = ["a", "ab", "abc", "ac", "b", "é", "z"]
    static let numbers: [Int64] = [.min, -1, 0, 1, 2, 7, .max]
    static let fields = ["channel", "product", "amount", "cycle", "stage", "custom.x", "custom.\"y z\""]

    init(seed: UInt64) { generator = SeededGenerator(seed: seed) }

    /// The text of a condition that the language allows.
    mutating func text(depth: Int = 3) -> String {
        switch Int.random(in: 0..<(depth > 0 ? 9 : 4), using: &generator) {
        case 4, 5: "(\(text(depth: depth - 1))) and (\(text(depth: depth - 1)))"
        case 6, 7: "(\(text(depth: depth - 1))) or \(text(depth: depth - 1))"
        case 8: "not (\(text(depth: depth - 1)))"
        default: test()
        }
    }

    mutating func expression(depth: Int = 3) throws -> ConditionExpression {
        let text = text(depth: depth)
        return try parser.parse(text)
    }

    private mutating func test() -> String {
        let field = Self.fields.randomElement(using: &generator)!
        if Int.random(in: 0..<8, using: &generator) == 0 { return "present \(field)" }
        if Int.random(in: 0..<40, using: &generator) == 0 { return Bool.random(using: &generator) ? "true" : "false" }
        switch field {
        case "amount", "cycle": return "\(field) \(integerQuestion())"
        case "stage":
            let stage = Stage.open.randomElement(using: &generator)!.name
            return "\(field) \(["==", "!="].randomElement(using: &generator)!) \"\(stage)\""
        case "channel", "product": return "\(field) \(textQuestion())"
        default:
            switch Int.random(in: 0..<3, using: &generator) {
            case 0: return "\(field) \(integerQuestion())"
            case 1: return "\(field) == \(Bool.random(using: &generator))"
            default: return "\(field) \(textQuestion())"
            }
        }
    }

    private mutating func comparison() -> String {
        ConditionTest.Comparison.allCases.randomElement(using: &generator)!.rawValue
    }

    private mutating func integerQuestion() -> String {
        let (one, other) = (
            Self.numbers.randomElement(using: &generator)!, Self.numbers.randomElement(using: &generator)!
        )
        switch Int.random(in: 0..<4, using: &generator) {
        case 0: return "in \(min(one, other))..\(max(one, other))"
        case 1: return one == other ? "in [\(one)]" : "in [\(one), \(other)]"
        default: return "\(comparison()) \(one)"
        }
    }

    private mutating func textQuestion() -> String {
        let (one, other) = (Self.texts.randomElement(using: &generator)!, Self.texts.randomElement(using: &generator)!)
        switch Int.random(in: 0..<5, using: &generator) {
        case 0: return "in \"\(min(one, other))\"..\"\(max(one, other))\""
        case 1: return one == other ? "in [\"\(one)\"]" : "in ['\(one)', \"\(other)\"]"
        case 2: return "starts_with \"\(one)\""
        default: return "\(comparison()) \"\(one)\""
        }
    }

    /// A lead with some of the values that conditions speak of, and some beside them.
    mutating func facts() -> LeadFacts {
        var facts = LeadFacts(customFieldCount: parser.customFields.count)
        for field in [LeadField.channel, .product] {
            if let text = randomText() { facts.set(field, .text(Array(text.utf8))) }
        }
        for field in [LeadField.amount, .cycle] {
            if let number = randomNumber() { facts.set(field, .integer(number)) }
        }
        if Bool.random(using: &generator) {
            facts.set(.stage, .text(Array(Stage.open.randomElement(using: &generator)!.name.utf8)))
        }
        for number in parser.customFields.indices {
            switch Int.random(in: 0..<4, using: &generator) {
            case 0: facts.setCustom(number, randomText().map { .text(Array($0.utf8)) } ?? .absent)
            case 1: facts.setCustom(number, randomNumber().map { .integer($0) } ?? .absent)
            case 2: facts.setCustom(number, .boolean(Bool.random(using: &generator)))
            default: break
            }
        }
        return facts
    }

    private mutating func randomText() -> String? {
        guard Int.random(in: 0..<4, using: &generator) > 0 else { return nil }
        let text = Self.texts.randomElement(using: &generator)!
        return text + ["", "", "\u{1}", "d"].randomElement(using: &generator)!
    }

    private mutating func randomNumber() -> Int64? {
        guard Int.random(in: 0..<4, using: &generator) > 0 else { return nil }
        let number = Self.numbers.randomElement(using: &generator)!
        return Bool.random(using: &generator) ? number : number &+ Int64.random(in: -1...1, using: &generator)
    }
}
