import JSON
import Ledger
import TestSupport
import Testing

@testable import LeadLedger

/// Filters, and what they look things up with, against slow and plain ways to say the same.
@Suite struct EventFilterTests {
    // MARK: Stored members

    private func text(of name: StaticString, in members: String) -> String? {
        Array(members.utf8).withUnsafeBytes { members in
            StoredMembers(members).withText(of: name) { text in text.map { String(decoding: $0, as: UTF8.self) } }
        }
    }

    @Test(arguments: [
        (#""channel":"web""#, "web"), (#""a":1,"channel":"web","b":2"#, "web"),
        (#""a":{"channel":"inner","b":["]}",{"c":"\"}"}]},"channel":"outer""#, "outer"),
        (#""a":"\",\"channel\":\"no\"","channel":"yes""#, "yes"), (#""channel":"a\u0062\"c""#, #"ab"c"#),
        (#""\u0063hannel":"by escape""#, "by escape"), (#""a\\":1,"channel":"behind an escape""#, "behind an escape"),
        (#""channel":"""#, ""), (#""a":-1.5e3,"b":null,"c":true,"channel":"last""#, "last"),
    ])
    func `the member is found wherever it stands`(members: String, expected: String) {
        #expect(text(of: "channel", in: members) == expected)
    }

    @Test(arguments: [
        "", #""channels":"web""#, #""a":{"channel":"web"}"#, #""channel":null"#, #""channel":{"channel":"x"}"#,
        // Not JSON, which nobody stored.
        #""channel""#, #""channel":"#, #""channel":"web"#, #""channel":"web\"#, #""a":[,"channel":"web""#,
        #"channel":"web""#, #""a":"b" "channel":"web""#,
    ])
    func `what is not a text member of that name is none`(members: String) {
        #expect(text(of: "channel", in: members) == nil)
    }

    @Test func `random members are read as the parser reads them`() throws {
        let seed = announcedSeed("EventFilterTests")
        var random = SeededGenerator(seed: seed)
        var found = 0
        for _ in 0..<3_000 {
            let members = self.members(depth: 0, &random)
            var parser = JSONParser()
            let root = try parser.parse(Array("{\(members)}".utf8))
            let expected = root["channel"]?.string
            #expect(text(of: "channel", in: members) == expected, "seed \(seed): \(members)")
            if expected != nil { found += 1 }
        }
        #expect(found > 500, "seed \(seed)")
    }

    private func members(depth: Int, _ random: inout SeededGenerator) -> String {
        var names = ["channel", #"chann\u0065l2"#, "chan", #"a\"b"#, "source", "ünicode", #"\\"#].shuffled(
            using: &random)
        names.removeLast(Int.random(in: 0..<names.count, using: &random))
        return names.map { #""\#($0)":\#(value(depth: depth, &random))"# }.joined(separator: ",")
    }

    private func value(depth: Int, _ random: inout SeededGenerator) -> String {
        switch Int.random(in: 0..<(depth < 3 ? 7 : 5), using: &random) {
        case 0: return "-12.5e3"
        case 1: return ["null", "true", "false"].randomElement(using: &random)!
        case 2: return #""pl{ain,]""#
        case 3: return #""esc\"ap\\ed\u00e4","#.dropLast().description
        case 4: return #""web""#
        case 5: return "{\(members(depth: depth + 1, &random))}"
        default:
            let values = (0..<Int.random(in: 0..<4, using: &random)).map { _ in value(depth: depth + 1, &random) }
            return "[\(values.joined(separator: ","))]"
        }
    }

    // MARK: Sets of texts

    @Test func `a set of texts has what was put in, and nothing else`() {
        let seed = announcedSeed("EventFilterTests")
        var random = SeededGenerator(seed: seed)
        for size in [0, 1, 2, 3, 17, 256] {
            // Many that end alike, and so fall on one place.
            let texts = Set(
                (0..<size).map { "L-\($0 % 7 == 0 ? $0 : Int.random(in: 0..<400, using: &random))-12345678" })
            let set = TextSet(texts.map { Array($0.utf8) })
            #expect(set.isEmpty == texts.isEmpty)
            for number in 0..<500 {
                for text in ["L-\(number)-12345678", "\(number)", "L-\(number)-1234567", ""] {
                    #expect(
                        Array(text.utf8).withUnsafeBytes { set.contains($0) } == texts.contains(text), "seed \(seed)")
                }
            }
        }
    }

    // MARK: Filters

    private func filter(_ text: String) throws -> EventFilter {
        var parser = JSONParser()
        return try EventFilter(try parser.parse(Array(text.utf8)))
    }

    private func matches(_ filter: EventFilter, _ record: SampleRecord) throws -> Bool {
        try record.bytes.withUnsafeBytes { filter.matches(try RecordView(validating: $0)) }
    }

    @Test func `each list that is given must have the event's value`() throws {
        let web = SampleRecord(subject: "L-1", source: "form", members: #""channel":"web""#)
        let none = SampleRecord(type: 2, subject: "L-2", source: "form", members: #""channel":" ""#)
        let note = SampleRecord(type: 5, subject: "L-1", source: "crm", members: #""channel":"web""#)
        let cases: [(filter: String, web: Bool, none: Bool, note: Bool)] = [
            ("{}", true, true, true), (#"{"types":[]}"#, false, false, false), (#"{"leads":[]}"#, false, false, false),
            (#"{"sources":[]}"#, false, false, false), (#"{"channels":[]}"#, false, false, false),
            (#"{"types":["lead.captured","lead.noted"]}"#, true, false, true),
            (#"{"sources":["form","x"]}"#, true, true, false), (#"{"leads":["L-1"]}"#, true, false, true),
            // A note has no channel, whatever its data says.
            (#"{"channels":["web","fair"]}"#, true, false, false), (#"{"channels":[null]}"#, false, true, false),
            (#"{"channels":[""]}"#, false, true, false), (#"{"channels":["Web"]}"#, false, false, false),
            (#"{"channels":["web",null],"leads":["L-2"]}"#, false, true, false),
            (#"{"channels":["web"],"sources":["crm"]}"#, false, false, false),
        ]
        for (text, isWeb, isNone, isNote) in cases {
            let filter = try filter(text)
            let found = (try matches(filter, web), try matches(filter, none), try matches(filter, note))
            #expect(found == (isWeb, isNone, isNote), "\(text)")
        }
    }

    @Test func `events of the past are taken, left out, or taken alone`() throws {
        let live = SampleRecord(members: #""channel":"web""#)
        var past = live
        past.isBackfill = true
        for (text, takesLive, takesPast) in [
            ("{}", true, true), (#"{"backfill":false}"#, true, false), (#"{"backfill":true}"#, false, true),
            (#"{"backfill":false,"types":["lead.noted"]}"#, false, false),
            (#"{"backfill":true,"channels":["web"]}"#, false, true),
        ] {
            let filter = try filter(text)
            #expect(try matches(filter, live) == takesLive, "\(text)")
            #expect(try matches(filter, past) == takesPast, "\(text)")
        }
    }
}
