import TestSupport
import Testing

@testable import Leads

@Suite struct ConditionErrorTests {
    private func refusal(_ text: String) -> ConditionError? {
        var parser = ConditionParser()
        do throws(ConditionError) {
            _ = try parser.parse(text)
            return nil
        } catch {
            return error
        }
    }

    @Test(
        arguments: [
            ("", 1, "expected a condition, found nothing"),
            ("   ", 4, "expected a condition, found nothing"),
            ("country", 8, "after country: expected ==, !=, <, <=, >, >=, in or starts_with, found the end"),
            ("country = \"BR\"", 9, "write == for ="),
            ("country <> \"BR\"", 9, "write != for unequal"),
            ("contry == \"BR\"", 1, "there is no field contry; did you mean country?"),
            ("nonsense == 1", 1, "there is no field nonsense; known are channel, source,"),
            ("country == BR", 12, "a text stands in quotes: \"BR\""),
            ("country == \"br\"", 12, "country is compared in upper case: write \"BR\""),
            ("company.domain == \"Acme.com\"", 19, "in lower case: write \"acme.com\""),
            ("amount >= \"10\"", 11, "amount is a whole number: expected one, found \"10\""),
            ("amount >= 10.5", 11, "numbers are whole here"),
            ("amount == 99999999999999999999", 11, "does not fit into 64 bits"),
            ("amount == 9223372036854775808", 11, "does not fit into 64 bits"),
            ("amount == -", 11, "expected digits after the sign"),
            ("amount == 5x", 12, "a number ends before a letter"),
            ("amount starts_with \"1\"", 8, "amount is a whole number, which has no beginning to compare"),
            ("channel starts_with 5", 21, "after starts_with: expected a text in quotes, found 5"),
            ("channel == 5", 12, "channel is a text: expected one, found 5"),
            ("channel == \"\"", 12, "a blank channel counts as missing: write not present channel"),
            ("channel == \"a", 12, "the quote that opens here is never closed"),
            ("channel == \"a\\n\"", 14, "after a backslash: expected a quote or a backslash"),
            ("channel in []", 13, "expected a value: an empty list is never true"),
            ("channel in [\"a\",]", 17, "expected a value after the comma"),
            ("channel in [\"a\" \"b\"]", 17, "expected a comma or ], found \"b\""),
            ("channel in [\"a\", \"a\"]", 18, "\"a\" stands twice in the list"),
            ("custom.x in [\"a\", 1]", 19, "the values of a list are of one type"),
            ("amount in 5..1", 11, "the range is empty: 5 is above 1"),
            ("amount in 5", 12, "expected .. and the upper end of the range, found the end"),
            ("custom.x in 5..\"a\"", 16, "both ends of a range are of one type"),
            ("amount in true", 11, "expected a list [...] or a range such as 1..10, found true"),
            ("stage == \"won\"", 10, "stage is never \"won\": it is one of captured, mql,"),
            ("stage < \"mql\"", 7, "stage has no order"),
            ("stage in \"mql\"..\"offered\"", 10, "after in: expected a list [...]"),
            ("custom.x > true", 10, "true and false have no order"),
            ("(country == \"BR\"", 1, "the parenthesis that opens here is never closed"),
            ("country == \"BR\")", 16, "expected and, or, or the end, found )"),
            ("country == \"BR\" && present amount", 17, "write and for &&"),
            ("country == \"BR\" AND present amount", 17, "write and for AND"),
            ("! present amount", 1, "write not for !"),
            ("country == \"BR\" and", 20, "expected a field, not, present, true, false or (, found the end"),
            ("\"BR\" == country", 1, "the field comes first"),
            ("country not in [\"BR\"]", 9, "write not (country in [...])"),
            ("present \"country\"", 9, "after present: expected a field"),
            ("custom.a.b == 1", 1, "put a name with dots in quotes"),
            ("custom. == 1", 8, "expected a name after custom."),
            ("country == \"BR\" # x", 17, "\"#\" has no meaning here"),
            ("amount == é", 11, "\"é\" has no meaning here"),
        ] as [(String, Int, String)])
    func `what is no condition is refused where it goes wrong`(_ text: String, _ column: Int, _ reason: String) throws {
        let error = try #require(refusal(text))
        #expect(error.line == 1 && error.column == column, "\(error)")
        #expect(error.reason.contains(reason), "\(error)")
    }

    @Test func `the caret stands under the offence, in its own line`() throws {
        let error = try #require(refusal("country == \"BR\"\n\tand amount >= \"é\"\nor true"))
        #expect(error.line == 2 && error.column == 16)
        #expect(error.excerpt == "\tand amount >= \"é\"\n\t              ^")
        #expect(error.description == "2:16: amount is a whole number: expected one, found \"é\"\n" + error.excerpt)
    }

    @Test func `of a long line the part around the caret is shown`() throws {
        let long =
            (0..<50).map { "amount == \($0) or " }.joined() + "foo == 1 or "
            + "amount == 1 or amount == 2 or amount == 3"
        let lines = try #require(refusal(long)).excerpt.split(separator: "\n")
        #expect(lines[0].hasPrefix("...") && lines[0].hasSuffix("...") && lines[0].count <= 82)
        #expect(lines[0].dropFirst(lines[1].count - 1).hasPrefix("foo == 1"))
    }

    /// Anything may come from a file: bytes are cut, swapped and doubled, and the parser says where or takes it.
    @Test func `mutated conditions are taken or refused with a place inside them, and never trap`() throws {
        let seed = announcedSeed("ConditionErrorTests")
        var random = RandomConditions(seed: seed)
        var refused = 0
        for _ in 0..<5_000 {
            var bytes = Array(random.text().utf8)
            for _ in 0..<Int.random(in: 1...3, using: &random.generator) where !bytes.isEmpty {
                let at = Int.random(in: 0..<bytes.count, using: &random.generator)
                switch Int.random(in: 0..<4, using: &random.generator) {
                case 0: bytes.remove(at: at)
                case 1: bytes.insert(UInt8.random(in: 0...255, using: &random.generator), at: at)
                case 2: bytes[at] = Array("()[].,\"'\\=<>!_-0aZ \n".utf8).randomElement(using: &random.generator)!
                default: bytes.swapAt(at, Int.random(in: 0..<bytes.count, using: &random.generator))
                }
            }
            let text = String(decoding: bytes, as: UTF8.self)
            guard let error = refusal(text) else { continue }
            refused += 1
            #expect((0...text.utf8.count).contains(error.offset), "seed \(seed): \(text)")
            let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
            #expect(lines.indices.contains(error.line - 1), "seed \(seed): \(text)")
        }
        #expect(refused > 2_000, "seed \(seed)")
    }
}
