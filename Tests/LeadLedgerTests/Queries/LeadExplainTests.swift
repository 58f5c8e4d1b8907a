import Foundation
import JSON
import Leads
import Ledger
import PolicyDocuments
import Projections
import TestSupport
import Testing

@testable import LeadLedger

/// `lead.explain` over logs that were written straight, as the daemon writes them.
@Suite struct LeadExplainTests {
    private let directory = TemporaryDirectory(below: "/tmp")
    private let writer: EventLogWriter

    init() throws { writer = try EventLogWriter(directory: directory.path + "/data") }

    // MARK: Asking

    private func page(_ lead: String, from version: Int = 1) throws -> JSONTree {
        var parser = JSONParser()
        let params = #"{"lead":"\#(lead)","from_version":\#(version)}"#
        let query = try parser.withDocument(params) { try LeadExplain($0) }
        var answer = JSONWriter()
        try query.write(to: &answer, log: writer.log)
        return try JSONTree(answer.string)
    }

    private func summaries(_ answer: JSONTree) -> [String] {
        answer["steps"].elements.map { "\($0["position"].integer ?? -1) \($0["summary"].string ?? "")" }
    }

    // MARK: Writing

    /// Publishes the example of `scripts/policies`, whose territories are large and brazil; its version.
    private func publish() throws -> UInt64 {
        let file = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().deletingLastPathComponent().appending(path: "scripts/policies/example.yaml")
        let document = try PolicyDocument(Array(try Data(contentsOf: file)), isKnownZone: { _ in true })
        let parts = PolicyParts.split(document.canonicalText, bytesMax: 3_000)
        #expect(parts.count > 1)
        for (index, part) in parts.enumerated() {
            var data = JSONWriter()
            data.string(String(decoding: part, as: UTF8.self))
            try writer.append(.policyPart, "sales", #""index":\#(index),"text":\#(data.string)"#)
        }
        let members =
            #""parts":\#(parts.count),"bytes":\#(document.canonicalText.count),"sha256":"\#(document.digest)""#
        return try #require(try writer.append(.policyPublished, "sales", members))
    }

    private func decision(_ version: UInt64, basis: UInt64, _ rest: String) -> String {
        #""decision":{"policy":"sales","version":\#(version),"basis":\#(basis),"at":"2026-03-02T09:00:09Z","zones":"2025b","seed":"2026",\#(rest)}"#
    }

    // MARK: Tests

    @Test func `the whole custody of a lead is told, each decision with everybody who was considered`() throws {
        let version = try publish()
        let captured = try #require(
            try writer.append(.captured, "L-1", #""channel":"web","country":"BR""#, source: "urn:form"))
        let first = try #require(
            try writer.append(
                .assigned, "L-1",
                #""member":"bruno","mode":"push","#
                    + decision(
                        version, basis: captured + 1,
                        #""trigger":{"kind":"arrival","position":\#(captured)},"matched":["brazil"],"pool":"brazil","candidates":["#
                            + #"{"member":"ana","refused":"open:40/40"},"#
                            + #"{"member":"bruno","weight":1,"gain":2147483648,"owed":0,"open":3},"#
                            + #"{"member":"carla","weight":1,"gain":2147483648,"owed":0,"open":4},"#
                            + #"{"member":"fabio","refused":"off pause"}],"path":[{"by":"least_open","left":1}]"#)))
        try writer.append(.noted, "L-1", source: "urn:crm")
        let escalated = try #require(
            try writer.append(
                .escalated, "L-1",
                #""clock":"accept","target":"accept","step":100,"action":"reassign","to":["vera"]"#,
                source: "urn:leadledger:clocks"))
        // Another lead's assignment in the same unit, right before this one.
        let basis = writer.log.end.rawValue
        let other = try #require(try writer.append(.captured, "L-2", #""channel":"web""#, source: "urn:form"))
        #expect(other == basis)
        let second = try #require(
            try writer.append(
                .assigned, "L-1",
                #""member":"carla","mode":"push","#
                    + decision(
                        version, basis: basis,
                        #""unit":1,"trigger":{"kind":"take_back","position":\#(escalated)},"matched":["brazil"],"pool":"brazil","candidates":["#
                            + #"{"member":"bruno","refused":"held"},"#
                            + #"{"member":"carla","weight":1,"gain":2147483648,"owed":-2147483648,"last":\#(first)},"#
                            + #"{"member":"davi","weight":1,"gain":2147483648,"owed":-2147483648,"last":\#(basis)}],"#
                            + #""path":[{"by":"rotation","left":2},{"by":"last","left":1}]"#)))
        try writer.append(.released, "L-1", #""reason":"on_vacation""#, source: "urn:crm")
        try writer.append(
            .queued, "L-1",
            #""queue":"triage","reason":"pull_only","due":"2026-03-02T10:00:00Z","#
                + decision(
                    version, basis: second + 2,
                    #""trigger":{"kind":"arrival","position":\#(second + 1)},"pool":"triage""#))
        let hash = String(repeating: "0", count: 64)
        let lease = #""member":"ana","token_hash":"\#(hash)","until":"2026-03-02T09:30:00Z","queue":"triage""#
        try writer.append(.claimed, "L-1", lease)
        try writer.append(.leaseEnded, "L-1", #""how":"released","member":"ana","reason":"no time""#)
        try writer.append(.claimed, "L-1", lease + #","picked":true"#)
        try writer.append(.leaseEnded, "L-1", #""how":"expired","member":"ana""#)
        try writer.append(.claimed, "L-1", lease)
        try writer.append(.leaseEnded, "L-1", #""how":"taken","member":"ana""#)
        try writer.append(.assigned, "L-1", #""member":"ana","mode":"pull","role":"sdr""#)
        try writer.append(
            .assigned, "L-1",
            #""member":"davi","mode":"manual","override":{"refused":"leave open:7/7","reason":"knows them"}"#)
        let disqualified = try #require(
            try writer.append(.disqualified, "L-1", #""reason":"duplicate""#, source: "urn:crm"))
        let voided = try #require(
            try writer.append(
                .poolDecisionVoided, "brazil",
                #""decision":\#(second),"reason":"duplicate","lead":"L-1","cause":\#(disqualified)"#))
        try writer.append(.reopened, "L-1", #""kind":"resume""#, source: "urn:crm", variant: .resume)
        try writer.append(.inboxAlarmed, "L-1", #""since":"2026-03-02T09:00:20Z","seconds":5"#)
        try writer.append(.contacted, "L-1", #""by":"bruno","medium":"call""#, source: "urn:crm")
        try writer.append(.assigned, "L-1", #""member":"bruno","mode":"import""#, source: "urn:old")

        let answer = try page("L-1")
        let by = "[urn:crm, uid 1000]"
        #expect(
            summaries(answer) == [
                "\(captured) Captured: in the inbox [urn:form, uid 1000].",
                "\(first) Assigned to bruno by the router.",
                "\(escalated) Escalated at 100 % of target accept, clock accept, to be given to somebody else, told to vera.",
                "\(second) Assigned to carla by the router.",
                "\(second + 1) Given back by its owner (on_vacation): in the inbox \(by).",
                "\(second + 2) Put in queue triage by the router, due 2026-03-02T10:00:00Z.",
                "\(second + 3) Leased by ana until 2026-03-02T09:30:00Z, from queue triage.",
                "\(second + 4) The lease ended: ana gave the lead back (no time): back in the queue.",
                "\(second + 5) Leased by ana until 2026-03-02T09:30:00Z, from queue triage, picked by name.",
                "\(second + 6) The lease of ana expired: back in the queue.",
                "\(second + 7) Leased by ana until 2026-03-02T09:30:00Z, from queue triage.",
                "\(second + 8) The lease ended: ana took the lead.",
                "\(second + 9) Assigned to ana, who took it, as sdr.",
                "\(second + 10) Assigned to davi by hand, by uid 1000, although on leave, open leads 7 of 7: knows them.",
                "\(disqualified) Disqualified (duplicate): nobody has it any more \(by).",
                "\(voided) The decision at position \(second) does not count (duplicate): pool brazil takes its turn back.",
                "\(voided + 1) Reopened (resume): in the inbox \(by).",
                "\(voided + 2) Alarm: nobody has decided since 2026-03-02T09:00:20Z.",
                "\(voided + 3) Contacted by bruno, who has it by that \(by).",
                "\(voided + 4) Assigned to bruno, imported [urn:old, uid 1000].",
            ])
        #expect(answer["now"]["custody"].string == "owner" && answer["now"]["holder"].string == "bruno")
        #expect(answer["next_version"] == .null && answer["position"].integer == Int(writer.log.end.rawValue))

        let steps = answer["steps"].elements
        #expect(
            steps[1]["explanation"].elements.compactMap(\.string) == [
                "Decided at 2026-03-02T09:00:09Z: the lead came into the inbox (position \(captured)).",
                "Territories that were tried first and are not true of it: large.",
                "Territory brazil is the first that is true of it: pool brazil.",
                "Candidates: 4, eligible 2.",
                "  ana: refused, open leads 40 of 40. With an open cap of 41, ana would have been eligible.",
                "  bruno: chosen; weight 1, open 3, owed 0.000 + 0.500 = 0.500 turns.",
                "  carla: lost by least open; weight 1, open 4, owed 0.000 + 0.500 = 0.500 turns.",
                "  fabio: refused, inactive, paused.",
                "Choice: least open leaves 1.",
                "Result: bruno, who pays 1.000 turns.",
                "Rule set sales version \(version), state before position \(captured + 1), time zones 2025b, seed 2026.",
            ])
        let taken = steps[1]["decision"]
        #expect(taken["tried"].elements.compactMap(\.string) == ["large"])
        #expect(taken["candidates"].elements.map { $0["verdict"].string } == ["refused", "chosen", "lost", "refused"])
        #expect(taken["candidates"][0]["refused"][0]["code"].string == "open")
        #expect(taken["candidates"][0]["refused"][0]["cap"].integer == 40)
        #expect(
            taken["candidates"][0]["would_have"].string == "With an open cap of 41, ana would have been eligible.")
        #expect(taken["candidates"][2]["lost_by"].string == "least_open")
        #expect(!taken["candidates"][3]["would_have"].isPresent, "two reasons stood in the way")
        #expect(taken["outcome"]["member"].string == "bruno" && taken["outcome"]["paid"].integer == 1 << 32)

        // Written by its place in the unit, told as the position that it has.
        let taking = steps[3]["decision"]
        #expect(taking["unit"].integer == 1)
        #expect(taking["candidates"].elements.map { $0["last"].integer } == [nil, Int(first), Int(other)])
        #expect(
            steps[3]["explanation"].elements.last?.string?.contains("and the 1 event before it in its unit") == true)
        #expect(steps[13]["override"]["refused"].elements.map { $0["code"].string } == ["leave", "open"])
        #expect(steps[13]["override"]["reason"].string == "knows them")
    }

    @Test func `a lead that waits says where, and one that is leased by whom`() throws {
        try writer.append(.captured, "L-1", source: "urn:form")
        #expect(try page("L-1")["now"]["custody"].string == "inbox")
        try writer.append(.queued, "L-1", #""queue":"triage","reason":"by_hand""#, source: "urn:crm")
        let waiting = try page("L-1")
        #expect(summaries(waiting).last == "1 Put in queue triage (by_hand) [urn:crm, uid 1000].")
        #expect(waiting["now"]["queue"].string == "triage" && waiting["now"]["holder"] == .null)
        try writer.append(.claimed, "L-1", #""member":"ana","until":"2026-03-02T09:30:00Z","queue":"triage""#)
        #expect(try page("L-1")["now"]["holder"].string == "ana")
        try writer.append(.lost, "L-1", #""reason":"no_budget""#, source: "urn:crm")
        #expect(
            summaries(try page("L-1")).last
                == "3 Lost (no_budget): nobody has it any more, and the lease is void [urn:crm, uid 1000].")
        #expect(throws: QueryFault.self) { try page("L-9") }
    }

    @Test func `a decision that no router wrote is told as such, and the rest goes on`() throws {
        try writer.append(.captured, "L-1", source: "urn:form")
        try writer.append(.assigned, "L-1", #""member":"kim","mode":"push","decision":{"policy":"sales"}"#)
        try writer.append(
            .assigned, "L-1",
            #""member":"bo","mode":"push","#
                + decision(
                    99, basis: 2,
                    #""trigger":{"kind":"by_hand","position":1},"matched":["emea"],"pool":"emea","candidates":[{"member":"bo","weight":1,"gain":4294967296,"owed":0}]"#
                ))
        let steps = try page("L-1")["steps"].elements
        #expect(
            steps[1]["explanation"].elements.compactMap(\.string) == [
                "The decision cannot be read: decision.at is not as this daemon writes it."
            ])
        #expect(steps[1]["summary"].string == "Assigned to kim by the router." && !steps[1]["decision"].isPresent)
        // No rule set was published at 99: what was tried in vain is not known, the rest is.
        #expect(!steps[2]["decision"]["tried"].isPresent)
        #expect(steps[2]["explanation"][1].string == "Territory emea is the first that is true of it: pool emea.")
    }

    @Test func `a story longer than an answer comes in pages that together are all of it`() throws {
        let members = (0..<150).map { #"{"member":"member-\#($0)","refused":"hours pause skill open:12/12"}"# }
        try writer.append(.captured, "L-1", source: "urn:form")
        for _ in 0..<12 {
            let end = writer.log.end.rawValue
            try writer.append(
                .queued, "L-1",
                #""queue":"sales","reason":"nobody_eligible","#
                    + decision(
                        0, basis: end,
                        #""trigger":{"kind":"reroute","position":0},"pool":"sales","candidates":[\#(members.joined(separator: ","))]"#
                    ))
            try writer.append(.noted, "L-1", source: "urn:crm")
        }
        var positions: [Int] = []
        var pages = 0
        var version: Int? = 1
        while let from = version {
            let answer = try page("L-1", from: from)
            positions += answer["steps"].elements.compactMap { $0["position"].integer }
            #expect(answer["now"].isPresent)
            version = answer["next_version"].integer
            #expect((version == nil) == (answer["now"]["queue"].string == "sales"))
            pages += 1
        }
        #expect(pages > 1 && pages < 12)
        #expect(positions == [0] + (0..<12).map { 1 + 2 * $0 })
    }

    @Test func `the void that is told is that of the lead's own decision, among many of its pool`() throws {
        func assign(_ lead: String) throws -> UInt64 {
            let end = writer.log.end.rawValue
            return try #require(
                try writer.append(
                    .assigned, lead,
                    #""member":"bo","mode":"push","#
                        + decision(
                            0, basis: end,
                            #""trigger":{"kind":"arrival","position":0},"pool":"sales","candidates":[{"member":"bo","weight":1,"gain":4294967296,"owed":0}]"#
                        )))
        }
        // All are assigned, then all disqualified, then the router comes to voiding them, in that order; the last one it leaves out.
        let leads = (0..<20).map { "L-\($0)" }
        for lead in leads { try writer.append(.captured, lead, source: "urn:form") }
        let decisions = try leads.map(assign)
        let causes = try leads.map { try #require(try writer.append(.disqualified, $0, #""reason":"invalid""#)) }
        for index in 0..<19 {
            try writer.append(
                .poolDecisionVoided, "sales",
                #""decision":\#(decisions[index]),"reason":"invalid","lead":"L-\#(index)","cause":\#(causes[index])"#)
        }
        for (index, lead) in leads.enumerated() {
            let voids = try page(lead)["steps"].elements.filter { $0["type"].string == "pool.decision_voided" }
            #expect(voids.map { $0["voids"].integer } == (index < 19 ? [Int(decisions[index])] : []))
        }
    }

    /// Goal: nothing that changes custody is left out. Method: random events, those that the lifecycle refuses left out by the
    /// log; what is told is compared with the lifecycle folded here.
    @Test func `every change of custody is told, over random histories`() throws {
        let seed = announcedSeed("LeadExplainTests")
        var random = SeededGenerator(seed: seed)
        let types = EventType.allCases.filter { $0.stream == .lead && $0.isSupported }
        for number in 0..<12 {
            let lead = "R-\(number)"
            try writer.append(.captured, lead, source: "urn:form")
            for _ in 0..<60 {
                let type = types.randomElement(using: &random)!
                let variant = EventVariant.all(of: type).randomElement(using: &random)!
                try writer.append(
                    type, lead, #""member":"m","by":"m","reason":"r","queue":"q","how":"released""#, variant: variant,
                    isBackfill: random.chance(20))
            }
            var state: LeadState?
            var changes: [Int] = []
            let positions = try writer.log.positions(
                of: StreamKey(lead: lead), from: StreamVersion(rawValue: 1), limit: 1_000)
            for position in positions {
                let before = state?.custody
                try writer.log.record(at: position) { record in
                    let type = try #require(EventType(rawValue: record.type))
                    let variant = try #require(EventVariant(rawValue: record.variant))
                    if case .next(let next) = Lifecycle.evolve(state, type, variant, backfill: record.isBackfill) {
                        state = next
                    }
                }
                if state?.custody != before { changes.append(Int(position.rawValue)) }
            }
            let answer = try page(lead)
            let told = Set(answer["steps"].elements.compactMap { $0["position"].integer })
            #expect(changes.count > 1 && changes.allSatisfy(told.contains), "seed \(seed), lead \(lead)")
            #expect(answer["now"]["custody"].string == state?.custody.name)
            #expect(answer["now"]["stage"].string == state?.stage.name)
            let isHeld = state?.custody == .owner || state?.custody == .leased
            #expect(answer["now"]["holder"].string == (isHeld ? "m" : nil))
        }
    }

    @Test func `a daemon answers it, and the command line shows it`() throws {
        try writer.append(.captured, "L-1", source: "urn:form")
        try writer.append(.assigned, "L-1", #""member":"kim","mode":"import""#, source: "urn:old")
        writer.close()
        let socket = directory.path + "/ledger.sock"
        let daemon = try ChildProcess(
            Programs.daemon, ["--data", directory.path + "/data", "--socket", socket, "--test"],
            scratch: directory.path)
        try Monotonic.wait(for: "the socket: \(daemon.errorOutput)", milliseconds: 30_000) {
            (try? LineClient(socket)) != nil
        }
        let shown = try run(
            Programs.commandLine, ["--socket", socket, "explain", "L-1"], scratch: directory.path)
        #expect(
            shown.output.hasPrefix(
                """
                0  2026-03-02T09:00:00Z  Captured: in the inbox [urn:form, uid 1000].
                1  2026-03-02T09:00:01Z  Assigned to kim, imported [urn:old, uid 1000].

                """), "\(shown.output) \(shown.errorOutput)")
        #expect(shown.output.contains("\nNow with kim, stage captured, position "))
        let unknown = try run(
            Programs.commandLine, ["--socket", socket, "explain", "L-9"], scratch: directory.path)
        #expect(unknown.status == .exited(65) && unknown.errorOutput.contains("unknown_lead"))
        daemon.send(signal: 15)
        #expect(try daemon.waitForEnd() == .exited(0))
    }
}
