import TestSupport
import Testing

@testable import Leads

@Suite struct ConditionTests {
    private func holds(_ text: String, _ set: (inout LeadFacts) -> Void = { _ in }) throws -> Bool {
        var parser = ConditionParser()
        let condition = Condition(try parser.parse(text))
        var facts = LeadFacts(customFieldCount: parser.customFields.count)
        set(&facts)
        return condition.holds(for: facts)
    }

    private func utf8(_ text: String) -> FactValue { .text(Array(text.utf8)) }

    /// A lead from Brazil with 20 employees, worth 1,299.00, on the site of acme.
    private func sample(_ facts: inout LeadFacts) {
        facts.set(.country, utf8("br"))
        facts.set(.companyDomain, utf8("Shop.ACME.com"))
        facts.set(.companySize, utf8("11-50"))
        facts.set(.amount, .integer(129_900))
        facts.set(.channel, utf8("paid search"))
        facts.set(.language, utf8("pt-BR"))
        facts.set(.stage, utf8("mql"))
    }

    @Test(arguments: [
        #"country == "BR""#, #"country in ["PT", "BR"]"#, #"country != "PT""#, #"language starts_with "pt""#,
        #"company.domain == "shop.acme.com""#, "company.size == 11", "company.size in 10..50", "amount > 129_899",
        "amount >= 129900", "amount <= 129900", "amount < 129901", "amount in 129900..129900", "present channel",
        "not present campaign", #"channel >= "paid""#, #"channel in "a".."q""#, "true", "not false",
        #"country == "PT" or country == 'BR' and amount > 5"#, #"not (country == "PT") and present amount"#,
        #"stage in ["mql", "captured"]"#, #"not (campaign == "x")"#,
    ])
    func `a condition is true of the sample lead`(_ text: String) throws {
        #expect(try holds(text, sample))
        #expect(try !holds("not (\(text))", sample))
    }

    @Test(arguments: [
        #"campaign == "x""#, #"campaign != "x""#, #"campaign < "x""#, #"campaign >= "x""#, #"campaign in ["x"]"#,
        #"campaign in "a".."z""#, #"campaign starts_with "x""#, "present campaign",
    ])
    func `every comparison with a missing field is false, and not turns it around`(_ text: String) throws {
        #expect(try !holds(text, sample))
        #expect(try holds("not (\(text))", sample))
    }

    @Test func `a blank text is a missing field`() throws {
        for blank in ["", " ", " \t "] {
            #expect(try holds("not present channel") { $0.set(.channel, utf8(blank)) })
            #expect(try holds("not present custom.x") { $0.setCustom(0, utf8(blank)) })
        }
    }

    @Test func `a field of the sender's own that holds another type is present, and unequal to nothing`() throws {
        for value in [FactValue.integer(5), .boolean(true)] {
            #expect(try holds("present custom.plan") { $0.setCustom(0, value) })
            #expect(try !holds(#"custom.plan == "5""#) { $0.setCustom(0, value) })
            #expect(try !holds(#"custom.plan != "5""#) { $0.setCustom(0, value) })
        }
        #expect(try holds(#"custom."Plan (new)" == true"#) { $0.setCustom(0, .boolean(true)) })
    }

    @Test(
        arguments: [
            ("200+", 200), ("1,000 to 5,000", 1_000), (" 7", 7), ("11-50", 11), ("many", nil), ("-5", nil),
        ] as [(String, Int64?)])
    func `of a band of sizes the number it begins with counts`(_ band: String, _ size: Int64?) {
        var facts = LeadFacts(customFieldCount: 0)
        facts.set(.companySize, utf8(band))
        #expect(facts[.companySize] == (size.map { .integer($0) } ?? .absent))
    }

    @Test func `a value of another type than its field's counts as missing`() throws {
        #expect(try !holds("present amount") { $0.set(.amount, utf8("5")) })
        #expect(try !holds("present channel") { $0.set(.channel, .integer(5)) })
    }

    @Test(
        arguments: [
            (#"(country=="BR")"#, #"country == "BR""#),
            (#"((amount>1 and amount<5)) and (present channel)"#, "amount > 1 and amount < 5 and present channel"),
            (#"(amount > 1 or amount < 0) and true"#, "(amount > 1 or amount < 0) and true"),
            (#"not not present channel"#, "not (not present channel)"),
            (#"custom."plan" == 'a"b\\c'"#, #"custom.plan == "a\"b\\c""#),
            (#"custom."1 x" in [1_000, -2]"#, #"custom."1 x" in [1000, -2]"#),
            (
                "amount in -9223372036854775808..9223372036854775807",
                "amount in -9223372036854775808..9223372036854775807"
            ),
        ] as [(String, String)])
    func `a condition has one spelling`(_ text: String, _ canonical: String) throws {
        var parser = ConditionParser()
        #expect(try parser.parse(text).text == canonical)
        #expect(try parser.parse(canonical).text == canonical)
    }

    /// The flat program against the tree, the tree against its own text, over conditions that nobody would write.
    @Test func `random conditions mean the same as a tree, as a program and as text`() throws {
        let seed = announcedSeed("ConditionTests")
        var random = RandomConditions(seed: seed)
        var trueCount = 0, falseCount = 0
        for _ in 0..<2_000 {
            let expression = try random.expression()
            let condition = Condition(expression)
            var parser = random.parser
            #expect(try parser.parse(expression.text) == expression, "seed \(seed): \(expression.text)")
            for _ in 0..<10 {
                let facts = random.facts()
                let expected = expression.value { facts.values[$0] }
                #expect(condition.holds(for: facts) == expected, "seed \(seed): \(expression.text) of \(facts)")
                if expected { trueCount += 1 } else { falseCount += 1 }
            }
        }
        #expect(min(trueCount, falseCount) > 4_000, "seed \(seed)")
    }

    @Test func `the deepest condition that is taken runs, and one deeper is refused`() throws {
        let depth = PolicyLimits.conditionDepthMax
        func nested(_ depth: Int) -> String {
            String(repeating: "(", count: depth) + "true" + String(repeating: ")", count: depth)
        }
        #expect(try holds(nested(depth)))
        var parser = ConditionParser()
        #expect(throws: ConditionError.self) { try parser.parse(nested(depth + 1)) }
        #expect(throws: ConditionError.self) {
            try parser.parse(String(repeating: "not ", count: depth + 1) + "true")
        }
        // After a refusal the parser reads on as if nothing had been.
        #expect(try parser.parse("true") == .constant(true))
    }

    @Test func `length and size are bounded`() throws {
        var parser = ConditionParser()
        let many = (0..<PolicyLimits.conditionNodesMax - 1).map { "\($0)" }.joined(separator: ",")
        #expect(many.utf8.count < PolicyLimits.conditionBytesMax)
        _ = try parser.parse("amount in [\(many)]")
        #expect(throws: ConditionError.self) { try parser.parse("amount in [\(many),-1]") }
        let long = "channel == \"" + String(repeating: "x", count: PolicyLimits.conditionBytesMax - 13) + "\""
        _ = try parser.parse(long)
        #expect(throws: ConditionError.self) { try parser.parse(long + " ") }
        for number in 0..<PolicyLimits.customFieldsMax { _ = try parser.parse("present custom.f\(number)") }
        #expect(throws: ConditionError.self) { try parser.parse("present custom.more") }
    }
}
