import Foundation
import Testing

@testable import Leads
@testable import PolicyDocuments

private let packageFolder = URL(filePath: #filePath).resolvingSymlinksInPath()
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

@Suite struct PolicyDocumentTests {
    private static let fixtures = packageFolder.appending(path: "Tests/PolicyDocumentsTests/Fixtures")

    private func read(_ bytes: [UInt8]) throws -> PolicyDocument {
        try PolicyDocument(
            bytes, isKnownZone: ["UTC", "Europe/Lisbon", "America/Sao_Paulo", "America/Manaus"].contains)
    }

    private func bytes(_ path: URL) throws -> [UInt8] { [UInt8](try Data(contentsOf: path)) }

    private func faults(_ text: [UInt8]) throws -> [PolicyFault] {
        do {
            _ = try read(text)
            return []
        } catch let refusal as PolicyRefusal { return refusal.faults }
    }

    /// Each fixture is `good.yaml` with one thing wrong: its code, place in the document and in the text, and words of the reason.
    private static let wrong: [(name: String, code: PolicyFault.Code, pointer: String, place: String, reason: String)] =
        [
            ("missing-catch-all", .form, "", "1:1", #"missing field "catch_all""#),
            ("unknown-setting", .form, "/colour", "3:1", #"unknown field "colour""#),
            ("wrong-type", .form, "/seed", "2:7", #"expected string"#),
            ("weight-zero", .form, "/members/1/weight", "9:24", #"less than 1"#),
            ("unknown-strategy", .form, "/pools/1/strategies/0", "12:45", #"must be one of"#),
            ("personal-id", .badID, "/members/2/id", "10:11", #"looks like an e-mail address"#),
            ("phone-id", .badID, "/policy", "1:9", #"looks like a phone number"#),
            ("reserved-id", .badID, "/members/2/id", "10:11", #"a meaning of its own"#),
            ("duplicate-member", .duplicateID, "/members/2/id", "10:11", #"there is a member "bia" already"#),
            ("duplicate-pool", .duplicateID, "/pools/1/id", "12:11", #"there is a pool "one" already"#),
            ("duplicate-skill", .duplicateID, "/skills/1", "3:13", #"there is a skill "x" already"#),
            ("twice-in-pool", .duplicate, "/pools/1/members/1", "12:31", #""bia" stands twice in the pool"#),
            ("unknown-member", .unknownMember, "/pools/1/members/1", "12:31", #"there is no member "carlos""#),
            ("misspelt-member", .unknownMember, "/pools/0/members/0", "11:26", #"did you mean "ana"?"#),
            ("unknown-team", .unknownTeam, "/members/0/team", "8:22", #"there is no team "zzz""#),
            ("unknown-pool", .unknownPool, "/territories/1/pool", "15:40", #"there is no pool "three""#),
            ("unknown-catch-all", .unknownPool, "/catch_all", "16:12", #"there is no pool "none""#),
            ("unknown-calendar", .unknownCalendar, "/members/0/calendar", "8:35", #"there is no calendar "shop""#),
            ("unknown-skill", .unknownSkill, "/members/0/skills/0", "8:52", #"there is no skill "y""#),
            (
                "unknown-target", .unknownTarget, "/pools/1/response_targets/0", "12:51",
                #"there is no response target "slow""#
            ),
            ("unknown-cadence", .unknownCadence, "/pools/1/cadence", "12:41", #"there is no cadence "d""#),
            ("unknown-zone", .unknownZone, "/calendars/0/zone", "5:25", #"there is no time zone "Europe/Atlantis""#),
            ("past-midnight", .badInterval, "/calendars/0/hours/0/open/0", "5:70", #"found "22:00-06:00""#),
            ("no-interval", .badInterval, "/calendars/0/hours/0/open/0", "5:70", #"found "9-17""#),
            ("no-date", .badDate, "/calendars/0/holidays/0", "5:51", #"found "2026-02-29""#),
            ("empty-calendar", .emptyCalendar, "/calendars/0/hours", "5:47", #"calendar "office" is never open"#),
            ("empty-pool", .emptyPool, "/pools/1", "12:5", #"pool "two" has no member"#),
            ("inactive-pool", .emptyPool, "/pools/1", "12:5", #"has no active member"#),
            ("nobody-skilled", .emptyPool, "/pools/1/required_skills", "12:49", #"no active member"#),
            ("bad-duration", .badDuration, "/response_targets/0/within", "17:54", #"found "5 minutes""#),
            ("business-day", .badDuration, "/response_targets/0/within", "17:54", #"no fixed length"#),
            (
                "ladder-descends", .badOrder, "/response_targets/0/ladder/1/at_percent", "17:116",
                #"50 stands after 100"#
            ),
            ("attempts-descend", .badOrder, "/cadences/0/attempts/1", "18:36", #"each is later"#),
            ("rotation-first", .badOrder, "/pools/1/strategies/1", "12:55", #"nothing can follow it"#),
            ("nobody-receives", .contradiction, "/on_leave", "3:11", #"hand_over needs hand_over_to"#),
            ("stage-missing", .contradiction, "/response_targets/0/kind", "17:38", #"stage_age needs a stage"#),
            ("no-way-in", .contradiction, "/pools/1/push", "12:38", #"nobody may claim"#),
            ("unknown-field", .badCondition, "/territories/0/when", "14:21", #"did you mean country?"#),
            ("bad-condition", .badCondition, "/territories/1/when", "15:31", #"amount is a whole number"#),
            ("open-parenthesis", .badCondition, "/territories/1/when", "15:22", #"never closed"#),
            ("never-true", .neverTrue, "/territories/1/when", "15:22", #"no lead can fulfil"#),
            ("after-always", .unreachable, "/territories/1/when", "15:22", #"rule "br" before it takes every lead"#),
            ("unreachable", .unreachable, "/territories/1/when", "15:22", #"rule "br" before it takes"#),
            ("example-fails", .exampleFails, "/examples/0/pool", "19:43", #"the catch-all gives the lead to "two""#),
            ("example-field", .unknownField, "/examples/0/lead/email", "19:35", #"no field "email""#),
            ("name-twice", .unreadable, "", "2:1", #"a name stands twice"#),
            ("not-yaml", .unreadable, "", "4:10", #"is not YAML"#),
            ("pool-of-202", .poolTooLarge, "/pools/0/teams", "212:23", #"has 202 members"#),
            ("empty", .unreadable, "", "1:1", #"is empty"#),
        ]

    @Test func `the document that the fixtures break is good`() throws {
        let document = try read(bytes(Self.fixtures.appending(path: "good.yaml")))
        #expect(document.ruleSet.invariantBroken == nil)
        #expect(document.exampleCount == 1)
    }

    @Test func `each way to be wrong is refused with its code, its place and its reason, and nothing else`() throws {
        for fixture in Self.wrong {
            let faults = try faults(bytes(Self.fixtures.appending(path: fixture.name + ".yaml")))
            #expect(faults.count == 1, "\(fixture.name): \(faults)")
            guard let fault = faults.first else { continue }
            #expect(fault.code == fixture.code, "\(fixture.name): \(fault)")
            #expect(fault.pointer == fixture.pointer, "\(fixture.name): \(fault)")
            #expect("\(fault.line):\(fault.column)" == fixture.place, "\(fixture.name): \(fault)")
            #expect(fault.reason.contains(fixture.reason), "\(fixture.name): \(fault)")
        }
    }

    @Test func `every fixture is in the table, which has at least 30 rows`() throws {
        let files = try FileManager.default.contentsOfDirectory(atPath: Self.fixtures.path).sorted()
        #expect(files == (Self.wrong.map { $0.name + ".yaml" } + ["good.yaml"]).sorted())
        #expect(Self.wrong.count >= 30)
    }

    @Test func `all faults of a document are told, in the order of its text`() throws {
        let text = """
            policy: p
            seed: 5
            members: [{ id: ana, team: t, skills: [x] }, { id: ana }]
            pools: [{ id: one, members: [bob] }]
            territories: [{ id: br, when: country = 1, pool: two }]
            catch_all: one
            """
        let codes = try faults(Array(text.utf8)).map(\.code)
        #expect(
            codes == [.form, .unknownTeam, .unknownSkill, .duplicateID, .unknownMember, .badCondition, .unknownPool])
    }

    @Test func `the caret of a condition points into the file`() throws {
        let fault = try #require(try faults(bytes(Self.fixtures.appending(path: "bad-condition.yaml"))).first)
        #expect(fault.excerpt == "amount > \"5\"\n         ^")
    }

    @Test func `the rule set to begin with is good, and is what it says`() throws {
        let document = try read(bytes(packageFolder.appending(path: "scripts/policies/example.yaml")))
        let rules = document.ruleSet
        #expect(rules.invariantBroken == nil)
        #expect(rules.teams.count == 2 && rules.members.count == 12 && rules.pools.count == 3)
        #expect(rules.calendars.map(\.id) == ["always", "sao-paulo", "lisbon", "sao-paulo/America/Manaus"])
        #expect(document.exampleCount == 4)
        let brazil = try #require(rules.pool(named: "brazil"))
        #expect(rules.pools[brazil].strategies == [.leastOpen, .rotation])
        #expect(rules.pools[brazil].members.map(\.weight) == [1, 1, 1, 1, 1, 1])
        #expect(rules.responseTargets[0].seconds == 300)
    }

    @Test func `canonical text reads as the same rule set and is its own canonical text`() throws {
        for path in ["scripts/policies/example.yaml", "Tests/PolicyDocumentsTests/Fixtures/good.yaml"] {
            let document = try read(bytes(packageFolder.appending(path: path)))
            let again = try read(document.canonicalText)
            #expect(again.ruleSet == document.ruleSet)
            #expect(again.canonicalText == document.canonicalText && again.digest == document.digest)
        }
    }

    @Test func `parts hold whole characters, join to the text, and any change to them is found`() throws {
        let text = Array(String(repeating: "aé€😀", count: 100).utf8)
        for bytesMax in [4, 5, 6, 7, 64, 10_000] {
            let parts = PolicyParts.split(text, bytesMax: bytesMax)
            #expect(parts.allSatisfy { $0.count <= bytesMax && String(validating: $0, as: UTF8.self) != nil })
            #expect(Array(parts.joined()) == text)
        }
        let parts = PolicyParts.split(text, bytesMax: 300).enumerated().map { (index: $0.offset, text: $0.element) }
        let digest = hexDigest(text), count = parts.count
        #expect(try PolicyParts.join(parts.reversed() + [parts[0]], count: count, digest: digest) == text)
        #expect(throws: PolicyParts.Fault.missing(index: 1)) {
            try PolicyParts.join([parts[0]] + parts[2...], count: count, digest: digest)
        }
        #expect(throws: PolicyParts.Fault.unexpected(index: count)) {
            try PolicyParts.join(parts + [(count, [1])], count: count, digest: digest)
        }
        #expect(throws: PolicyParts.Fault.self) {
            try PolicyParts.join([(0, Array("x".utf8))] + parts[1...], count: count, digest: digest)
        }
        #expect(throws: PolicyParts.Fault.tooLarge) { try PolicyParts.join([], count: .max, digest: digest) }
    }

    @Test func `a difference names what was added, removed and changed, with both values`() throws {
        let old = try String(contentsOf: Self.fixtures.appending(path: "good.yaml"), encoding: .utf8)
        let new = old.replacing("{ id: bia }", with: "{ id: bia, weight: 3 }\n  - { id: new }")
            .replacing("amount > 5", with: "amount > 6").replacing("[ana, bia]", with: "[bia, new]")
            .replacing("cadences: [{ id: c,", with: "cadences: [{ id: d,")
        let diff = RuleSetDiff(from: try read(Array(old.utf8)).ruleSet, to: try read(Array(new.utf8)).ruleSet)
        typealias Change = RuleSetDiff.Change
        typealias Setting = RuleSetDiff.Setting
        #expect(
            diff.changes == [
                Change(kind: "member", id: "bia", what: .changed([Setting(name: "weight", old: "1", new: "3")])),
                Change(kind: "member", id: "new", what: .added),
                Change(
                    kind: "pool", id: "one",
                    what: .changed([
                        Setting(name: "member ana", old: "weight 1", new: nil),
                        Setting(name: "member bia", old: "weight 1", new: "weight 3"),
                        Setting(name: "member new", old: nil, new: "weight 1"),
                    ])),
                Change(
                    kind: "pool", id: "two",
                    what: .changed([Setting(name: "member bia", old: "weight 1", new: "weight 3")])),
                Change(
                    kind: "rule", id: "big",
                    what: .changed([Setting(name: "when", old: "amount > 5", new: "amount > 6")])),
                Change(kind: "cadence", id: "c", what: .removed), Change(kind: "cadence", id: "d", what: .added),
            ])
        #expect(
            RuleSetDiff(from: try read(Array(old.utf8)).ruleSet, to: try read(Array(old.utf8)).ruleSet).changes.isEmpty)
    }

    @Test func `deep, huge and broken texts are refused, and never trap`() throws {
        let aliases = (1...12).map { level in
            "a\(level): &a\(level) [" + Array(repeating: "*a\(level - 1)", count: 9).joined(separator: ",") + "]"
        }
        for text in [
            String(repeating: "[", count: 100_000), String(repeating: "x", count: DocumentLimits.textBytesMax + 1),
            "*a", "\0",
            "a: \u{FEFF}", "? [a]\n: b", "- 1", "5", "{\"policy\": 1e999}",
            "a0: &a0 [x]\n" + aliases.joined(separator: "\n"),
        ] { #expect(try !faults(Array(text.utf8)).isEmpty) }
        #expect(try faults([0xFF, 0xFE]).first?.code == .unreadable)
        #expect(try !faults([]).isEmpty)
    }
}
