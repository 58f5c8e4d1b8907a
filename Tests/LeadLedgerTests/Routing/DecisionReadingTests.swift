import JSON
import Leads
import Schemas
import TestSupport
import Testing

@testable import LeadLedger

/// Decisions from the router to the log and back.
@Suite struct DecisionReadingTests {
    static let now = try! Instant(rfc3339: "2026-03-02T09:00:00Z")

    static let environment = RoutingEnvironment(
        isOpen: { _, _ in true }, startOfDay: { _, instant in instant.startOfDay }, timeZoneVersion: "2025b",
        hash: RoutingHash.sha256)

    static func rules(_ members: [String], strategies: [Strategy] = [.rotation]) -> RuleSet {
        var rules = RuleSet(id: "sales", seed: "spring \"2026\"", catchAll: PoolIndex(0))
        rules.calendars = [.always]
        rules.members = members.map { Member(id: $0, calendar: CalendarIndex(0)) }
        var pool = Pool(
            id: "inbound", members: members.indices.map { PoolMember(member: MemberIndex($0), weight: 1) },
            calendar: CalendarIndex(0))
        pool.strategies = strategies
        rules.pools = [pool]
        return rules
    }

    static func state(_ rules: RuleSet) throws -> RouterState {
        var state = RouterState()
        let activation = Activation(ruleSet: rules, version: 0, from: now, environment: environment)
        try state.apply(RouterEvent(position: 0, instant: now, body: .activated(activation)))
        return state
    }

    static func key(_ number: Int) -> RoutingKey { RoutingKey(high: UInt64(number) &+ 1, low: UInt64(number) &* 77) }

    /// Captures a lead and decides it.
    static func decide(
        _ state: inout RouterState, _ number: Int, language: String? = nil, due: Instant? = nil
    ) throws -> Decision {
        let position = state.end
        try state.apply(
            RouterEvent(position: position, instant: now, body: .lead(LeadEvent(.captured, of: key(number)))))
        var facts = LeadFacts(customFieldCount: 0)
        if let language { facts.set(.language, .text(Array(language.utf8))) }
        let request = RoutingRequest(
            trigger: RoutingTrigger(.arrival, lead: state.lead(key(number)), position: position),
            leadID: "L-\(number)", facts: facts, instant: now, due: due)
        let plan = try #require(state.plan(at: now))
        let decision = state.decide(request, by: plan)
        try state.apply(decision, at: state.end)
        return decision
    }

    static func data(_ decision: Decision, _ state: RouterState) -> [UInt8] {
        var bytes: [UInt8] = []
        decision.appendData(to: &bytes, state)
        return bytes
    }

    static func read(_ bytes: [UInt8], leadID: String = "L") throws -> DecisionRecord? {
        var parser = JSONParser()
        return try parser.withDocument(String(decoding: bytes, as: UTF8.self)) { value in
            try DecisionRecord(data: value, leadID: leadID)
        }
    }

    static func expectValid(_ bytes: [UInt8], _ type: String) throws {
        let file = try #require(Schemas.events.first(where: { $0.name == type }))
        let schema = try JSONSchema(file.text)
        var parser = JSONParser()
        let violation = try parser.withDocument(String(decoding: bytes, as: UTF8.self)) { schema.validate($0) }
        #expect(violation == nil, "\(String(describing: violation)) in \(String(decoding: bytes, as: UTF8.self))")
    }

    @Test func `SHA-256 is that of the standard`() {
        let hash = Array("abc".utf8).withUnsafeBytes(RoutingHash.sha256)
        #expect(
            hash.words
                == SIMD4(
                    0xBA78_16BF_8F01_CFEA, 0x4141_40DE_5DAE_2223, 0xB003_61A3_9617_7A9C, 0xB410_FF61_F200_15AD))
    }

    @Test func `a decision is stored as drawn`() throws {
        var state = try Self.state(Self.rules(["kim"]))
        let decision = try Self.decide(&state, 0)
        #expect(
            String(decoding: Self.data(decision, state), as: UTF8.self)
                == #"{"member":"kim","mode":"push","decision":{"policy":"sales","version":0,"basis":2,"#
                + #""at":"2026-03-02T09:00:00Z","zones":"2025b","seed":"spring \"2026\"","#
                + #""trigger":{"kind":"arrival","position":1},"pool":"inbound","#
                + #""candidates":[{"member":"kim","weight":1,"gain":4294967296,"owed":0}]}}"#)
    }

    @Test func `what is stored is read back as it was, and keeps the schema, over random worlds`() throws {
        let seed = announcedSeed("DecisionReadingTests")
        var random = SeededGenerator(seed: seed)
        var assigned = 0
        var queued = 0
        var refused = 0
        for _ in 0..<60 {
            let strategies: [[Strategy]] = [
                [.rotation], [.skill, .leastOpen, .performance, .rotation], [.leastOpen, .rotation],
            ]
            var rules = Self.rules(
                (0..<7).map { "member-\($0)" }, strategies: strategies.randomElement(using: &random)!)
            rules.languages = ["de", "pt"]
            rules.pools[0].language = LanguageRule.allCases.randomElement(using: &random)!
            rules.pools[0].explorePercent = 40
            rules.pools[0].whenEveryoneAbsent = random.chance(50) ? .queue : .ignoreAbsence
            for index in rules.members.indices {
                if random.chance(60) { rules.members[index].caps.open = Int.random(in: 0...3, using: &random) }
                if random.chance(40) { rules.members[index].caps.daily = Int.random(in: 0...5, using: &random) }
                if random.chance(30) { rules.members[index].cooldownSeconds = 600 }
                if random.chance(50) { rules.members[index].languages.insert(0) }
            }
            var state = try Self.state(rules)
            for index in rules.members.indices where random.chance(30) {
                try state.apply(
                    RouterEvent(
                        position: state.end, instant: Self.now,
                        body: .memberPaused(member: "member-\(index)", until: nil)))
            }
            for number in 0..<12 {
                let decision = try Self.decide(
                    &state, number, language: random.chance(50) ? "de-AT" : nil, due: random.chance(50) ? Self.now : nil
                )
                let bytes = Self.data(decision, state)
                let record = DecisionRecord(decision, state)
                #expect(try Self.read(bytes, leadID: "L-\(number)") == record)
                try Self.expectValid(bytes, record.member == nil ? "lead.queued" : "lead.assigned")
                assigned += record.member == nil ? 0 : 1
                queued += record.member == nil ? 1 : 0
                refused += record.candidates.count { !$0.refusals.isEmpty }
            }
        }
        #expect(assigned > 200)
        #expect(queued > 50)
        #expect(refused > 500)
    }

    @Test func `a last assignment of the decision's own unit is read as the position that it has`() throws {
        var state = try Self.state(Self.rules(["kim", "bo", "al"], strategies: [.rotation]))
        var decision = try Self.decide(&state, 0)
        decision.unit = 2
        for index in decision.candidates.indices { decision.candidates[index].looked.insert(.last) }
        // Positions are written one up: before what was looked at, the first event of the unit, the second one.
        decision.candidates[0].last = decision.basis
        decision.candidates[1].last = decision.basis + 1
        decision.candidates[2].last = decision.basis + 2
        let bytes = Self.data(decision, state)
        #expect(String(decoding: bytes, as: UTF8.self).contains(#""basis":2,"unit":2,"at":"#))
        try Self.expectValid(bytes, "lead.assigned")

        var parser = JSONParser()
        func read(_ bytes: [UInt8], at position: UInt64?) throws -> DecisionRecord? {
            try parser.withDocument(bytes) { try DecisionRecord(data: $0, leadID: "L", at: position) }
        }
        // The unit lies at 40 and 41, the decision at 42.
        let record = try #require(try read(bytes, at: 42))
        #expect(record.unit == 2 && record.candidates.map(\.last) == [1, 40, 41])
        #expect(try read(bytes, at: 4)?.candidates.map(\.last) == [1, 2, 3], "nothing came between")
        #expect(try read(bytes, at: nil)?.candidates.map(\.last) == [1, 2, 3], "as it was written")
        #expect(try read(bytes, at: nil) == DecisionRecord(decision, state).named("L"))
        #expect(throws: DecisionProblem(place: "decision.unit")) { try read(bytes, at: 3) }
        decision.candidates[2].last = decision.basis + 3
        let beyond = Self.data(decision, state)
        #expect(throws: DecisionProblem(place: "decision.candidates.last")) { try read(beyond, at: 42) }
    }

    @Test func `an override is read with its reasons, and a broken one is refused with its place`() throws {
        var parser = JSONParser()
        func read(_ data: String) throws -> AssignmentOverride? {
            try parser.withDocument(data) { try AssignmentOverride(data: $0) }
        }
        #expect(try read(#"{"member":"kim"}"#) == nil)
        #expect(
            try read(#"{"member":"kim","override":{"refused":"leave open:3/2","reason":"asked for her"}}"#)
                == AssignmentOverride(
                    refusals: [.init(.leave), .init(.openCap, count: 3, cap: 2)], reason: "asked for her"))
        for (data, place) in [
            (#"{"override":7}"#, "override"), (#"{"override":{"reason":"r"}}"#, "override.refused"),
            (#"{"override":{"refused":"dunno","reason":"r"}}"#, "override.refused"),
            (#"{"override":{"refused":"leave"}}"#, "override.reason"),
        ] {
            #expect(throws: DecisionProblem(place: place)) { try read(data) }
        }
    }

    @Test func `a candidate takes at most 200 bytes, whatever it has to say`() throws {
        let id = String(repeating: "m", count: RoutingLimits.memberIDBytesMax)
        let state = try Self.state(Self.rules([id]))
        var decision = try {
            var copy = state; return try Self.decide(&copy, 0)
        }()
        let base = Self.data(decision, state).count
        let plain = decision.candidates[0]
        func entryBytes(_ candidate: Candidate) -> Int {
            var without = decision
            without.candidates = [plain]
            let plainEntry = #"{"member":"\#(id)","weight":1,"gain":4294967296,"owed":0}"#.utf8.count
            var with = decision
            with.candidates = [candidate]
            return Self.data(with, state).count - base + plainEntry
        }
        var all = Candidate(member: plain.member, weight: 10_000)
        all.refusals = Refusals(rawValue: 0x1FFF)
        (all.open, all.openCap, all.today, all.dailyCap, all.rolling, all.rollingCap) =
            (.max, .max, .max, .max, .max, .max)
        all.coolSeconds = .max
        #expect(entryBytes(all) <= RoutingLimits.candidateBytesMax)
        var eligible = all
        eligible.refusals = .absence
        eligible.looked = [.skill, .open, .performance, .last, .rotation]
        eligible.gain = Turn.whole
        eligible.owed = -200 * Turn.whole * 10
        eligible.skill = 257
        (eligible.won, eligible.ended) = (.max, .max)
        eligible.last = 1_000_000_000_000
        #expect(entryBytes(eligible) <= RoutingLimits.candidateBytesMax)
        #expect(entryBytes(eligible) > 180, "the numbers are there")
        decision.candidates = Array(repeating: all, count: 200)
        #expect(Self.data(decision, state).count < 48 * 1_024)
    }

    @Test func `a decision that no router wrote is refused with its place`() throws {
        var state = try Self.state(Self.rules(["kim", "bo"]))
        let good = String(decoding: Self.data(try Self.decide(&state, 0), state), as: UTF8.self)
        let winner = try #require(try Self.read(Array(good.utf8))?.member)
        #expect(try Self.read(Array(#"{"member":"kim"}"#.utf8)) == nil, "assigned by hand: no decision")
        let broken: [(from: String, to: String, place: String)] = [
            (#""policy":"sales","#, "", "decision.policy"),
            (#""version":0"#, #""version":-1"#, "decision.version"),
            (#""basis":2"#, #""basis":"2""#, "decision.basis"),
            ("2026-03-02T09:00:00Z", "yesterday", "decision.at"),
            (#""zones":"2025b""#, #""zones":2025"#, "decision.zones"),
            (#""kind":"arrival""#, #""kind":"whim""#, "decision.trigger.kind"),
            (#""position":1"#, #""position":1.5"#, "decision.trigger.position"),
            (#""pool":"inbound""#, #""pool":7"#, "decision.pool"),
            (#""pool":"inbound","#, "", "member"),
            (#""gain":2147483648"#, #""gain":4294967297"#, "decision.candidates.gain"),
            (#""gain":2147483648"#, #""gain":-1"#, "decision.candidates.gain"),
            (#""owed":0"#, #""owed":1e99"#, "decision.candidates.owed"),
            (#""weight":1"#, #""weight":0"#, "decision.candidates.weight"),
            (#""weight":1"#, #""refused":"dunno","x":1"#, "decision.candidates.refused"),
            (#""weight":1"#, #""refused":"open:1","x":1"#, "decision.candidates.refused"),
            (#""weight":1"#, #""refused":"","x":1"#, "decision.candidates.refused"),
            (#""owed":0"#, #""owed":0,"won":[2,1]"#, "decision.candidates.won"),
            (#""owed":0"#, #""owed":0,"away":"x""#, "decision.candidates.away"),
            (#",{"member":"bo""#, #",{"member":"kim""#, "decision.candidates.member"),
            (#""by":"hash""#, #""by":"whim""#, "decision.path.by"),
            (#"{"member":"\#(winner)","mode""#, #"{"member":"al","mode""#, "member"),
            (#""mode":"push","#, "", "mode"),
        ]
        for (from, to, place) in broken {
            let text = good.replacingFirst(from, with: to)
            #expect(text != good, "\(from) is not in \(good)")
            #expect(throws: DecisionProblem(place: place), "\(from) -> \(to)") { try Self.read(Array(text.utf8)) }
        }
    }
}

extension DecisionRecord {
    fileprivate func named(_ lead: String) -> DecisionRecord {
        var record = self
        record.leadID = lead
        return record
    }
}

extension String {
    fileprivate func replacingFirst(_ part: String, with other: String) -> String {
        guard let range = firstRange(of: part) else { return self }
        return self[..<range.lowerBound] + other + self[range.upperBound...]
    }
}
