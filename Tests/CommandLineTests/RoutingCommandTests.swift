import ArgumentParser
import Foundation
import JSON
import Schemas
import Synchronization
import TestSupport
import Testing

@testable import leadledger

/// What the verbs of routing ask the daemon, what they show of its answers, and that what they ask keeps the methods' schemas.
@Suite struct RoutingCommandTests {
    struct Outcome {
        var requests: [JSONTree]
        var text: String
        var code: Int32
    }

    /// Runs a command line against a daemon that gives `results` in turn; one that begins with `!` is a refusal's name.
    private func run(_ words: [String], _ results: [String]) throws -> Outcome {
        let lines = Mutex<[String]>([])
        let daemon = try FakeDaemon { connection in
            for result in results {
                guard let line = connection.line() else { return }
                lines.withLock { $0.append(line) }
                if result.hasPrefix("!") {
                    let parts = result.dropFirst().split(separator: " ", maxSplits: 1).map(String.init)
                    connection.refuse(line, name: parts[0], code: -32_060, more: parts.dropFirst().first ?? "")
                } else {
                    connection.reply(to: line, result: result)
                }
            }
            _ = connection.line()
        }
        let parsed = try LeadLedgerCommand.parseAsRoot(words)
        let command = try #require(parsed as? any LedgerCommand)
        let output = Output(descriptor: nil)
        let context = Context(socketPath: daemon.path, isJSON: command.common.json, output: output)
        var code: Int32 = 0
        do {
            try finishing(output, isJSON: command.common.json) { try command.run(in: context) }
        } catch let error as ExitCode { code = error.rawValue }
        let sent = lines.withLock { $0 }
        for line in sent { try expectValid(line) }
        let requests = try sent.map { try JSONTree($0) }
        return Outcome(requests: requests, text: String(decoding: output.bytes, as: UTF8.self), code: code)
    }

    private func run(_ line: String, _ results: String...) throws -> Outcome {
        try run(line.split(separator: " ").map(String.init), results)
    }

    private func expectValid(_ request: String) throws {
        var parser = JSONParser()
        try parser.withDocument(request) { root in
            let name = try #require(root["method"]?.string)
            let file = try #require(Schemas.methods.first { $0.name == "\(name).params" })
            let params = try #require(root["params"])
            #expect(try JSONSchema(file.text).validate(params)?.message == nil, "\(request)")
        }
    }

    private static let token = "0123456789abcdef0123456789abcdef"

    // MARK: Queues

    @Test func `a claim says what is leased, and that nothing waits`() throws {
        let claimed = try run(
            "queue claim --member ana --pool triage --lease 1h30m --order freshest",
            #"{"claim":{"token":"\#(Self.token)","lead":"L-1","member":"ana","pool":"triage","until":"2026-03-02T10:30:00Z","due":"2026-03-02T09:30:00Z","position":9,"pulls":2,"captured":1}}"#
        )
        #expect(
            claimed.requests[0]["params"]
                == (try JSONTree(#"{"member":"ana","pool":"triage","order":"freshest","lease_seconds":5400}"#)))
        #expect(
            claimed.text == """
                token     \(Self.token)
                lead      L-1
                member    ana
                pool      triage
                until     2026-03-02T10:30:00Z
                due       2026-03-02T09:30:00Z
                pulls     2
                captured  1
                position  9

                """)
        let nothing = try run("queue claim --member ana --lead L-7", #"{"claim":null}"#)
        #expect(nothing.requests[0]["params"]["lead"].string == "L-7")
        #expect(nothing.text == "nothing waits that ana may have\n" && nothing.code == 0)
        #expect(try run("--json queue claim --member ana", #"{"claim":null}"#).text == "{\"claim\":null}\n")
    }

    @Test func `a lease is kept, taken and given back by its token, and a stale one is an error`() throws {
        let token = Self.token
        let kept = try run(
            "queue heartbeat \(token) --lease 90s", #"{"lead":"L-1","until":"2026-03-02T10:30:00Z"}"#)
        #expect(kept.requests[0]["method"].string == "queue.heartbeat")
        #expect(kept.requests[0]["params"]["lease_seconds"].integer == 90)
        #expect(kept.text == "L-1: leased until 2026-03-02T10:30:00Z\n")
        let taken = try run(
            "queue take \(token) --role closer", #"{"lead":"L-1","member":"ana","position":11,"version":4}"#)
        #expect(taken.requests[0]["params"] == (try JSONTree(#"{"token":"\#(token)","role":"closer"}"#)))
        #expect(taken.text == "L-1: assigned to ana, position 11, version 4\n")
        let released = try run(
            "queue release \(token) --reason wrong_region", #"{"lead":"L-1","position":12}"#)
        #expect(released.requests[0]["params"]["reason"].string == "wrong_region")
        #expect(released.text == "L-1: given back, position 12\n")
        #expect(try run("queue take \(token)", "!stale_lease").code == 65)
    }

    @Test func `a peek shows what would be given out, in that order`() throws {
        let peeked = try run(
            "queue peek --pool triage --member ana --limit 2",
            #"{"pool":"triage","leads":[{"lead":"L-1","due":"2026-03-02T09:30:00Z","score":70,"pulls":0,"captured":3,"pushed_to":null},{"lead":"L-2","due":null,"score":0,"pulls":2,"captured":1,"pushed_to":"bo"}],"waiting":5,"position":30}"#
        )
        #expect(
            peeked.requests[0]["params"] == (try JSONTree(#"{"pool":"triage","member":"ana","limit":2}"#)))
        #expect(
            peeked.text == """
                lead  due                   score  pulls  captured  pushed to
                ----  --------------------  -----  -----  --------  ---------
                L-1   2026-03-02T09:30:00Z     70      0         3
                L-2                             0      2         1  bo

                2 of 5 leads that wait in triage, position 30

                """)
    }

    @Test func `a lead is routed or given by hand`() throws {
        #expect(
            try run("queue route L-1", #"{"lead":"L-1","outcome":"assigned","member":"bo","position":7}"#).text
                == "L-1: assigned to bo, position 7\n")
        #expect(
            try run("queue route L-1", #"{"lead":"L-1","outcome":"queued","queue":"triage","position":7}"#).text
                == "L-1: in queue triage, position 7\n")
        let assigned = try run(
            ["queue", "assign", "L-1", "ana", "--reason", "knows them", "--role", "sdr"],
            [#"{"lead":"L-1","member":"ana","position":7,"version":3,"override":true}"#])
        #expect(
            assigned.requests[0]["params"]
                == (try JSONTree(#"{"lead":"L-1","member":"ana","reason":"knows them","role":"sdr"}"#)))
        #expect(assigned.text == "L-1: assigned to ana, although not eligible, position 7, version 3\n")
        #expect(try run("queue assign L-1 ana", "!member_ineligible").code == 65)
    }

    // MARK: Members and clocks

    @Test func `members go and come, and what becomes of their leads is said`() throws {
        let paused = try run(
            "member pause ana --reason lunch --until 2026-03-02T13:00:00Z",
            #"{"member":"ana","position":7,"returned":0,"handed_over":0}"#)
        #expect(
            paused.requests[0]["params"]
                == (try JSONTree(#"{"member":"ana","reason":"lunch","until":"2026-03-02T13:00:00Z"}"#)))
        #expect(paused.text == "ana: paused, position 7\n")
        #expect(
            try run("member resume ana", #"{"member":"ana","position":8,"returned":0,"handed_over":0}"#).text
                == "ana: resumed, position 8\n")
        let left = try run(
            "member leave ana --reason vacation --from 2026-03-03T00:00:00Z --until 2026-03-10T00:00:00Z",
            #"{"member":"ana","position":9,"returned":2,"handed_over":1}"#)
        #expect(left.requests[0]["params"]["from"].string == "2026-03-03T00:00:00Z")
        #expect(
            left.text == "ana: on leave, position 9, 2 leads returned to their queues, 1 lead handed over\n")
        let back = try run(
            "member return ana --reason early", #"{"member":"ana","position":9,"returned":0,"handed_over":0}"#)
        #expect(back.requests[0]["method"].string == "member.return")
        #expect(back.text == "ana: returned, position 9\n")
    }

    @Test func `the list of members says who can get leads now, and why not`() throws {
        let listed = try run(
            "member list --pool brazil",
            #"{"policy":"sales","version":12,"position":30,"members":[{"member":"ana","team":"sdr","state":"on_leave","until":"2026-03-10T00:00:00Z","open":3,"open_cap":40,"pools":["brazil","triage"]},{"member":"rui","team":null,"state":"present","until":null,"open":0,"open_cap":null,"pools":[]}]}"#
        )
        #expect(
            listed.text == """
                member  team  state     until                 open  cap  pools
                ------  ----  --------  --------------------  ----  ---  -------------
                ana     sdr   on leave  2026-03-10T00:00:00Z     3   40  brazil triage
                rui           present                            0

                2 members of sales version 12, position 30

                """)
    }

    @Test func `clocks are halted and go on, each with its due instant`() throws {
        let paused = try run(
            "clock pause L-1 --clock first_response --reason waits_for_them",
            #"{"lead":"L-1","clocks":[{"clock":"first_response","position":9}]}"#)
        #expect(
            paused.requests[0]["params"]
                == (try JSONTree(#"{"lead":"L-1","clock":"first_response","reason":"waits_for_them"}"#)))
        #expect(paused.text == "L-1: first_response paused, position 9\n")
        let resumed = try run(
            "clock resume L-1",
            #"{"lead":"L-1","clocks":[{"clock":"accept","position":11,"due":"2026-03-02T10:00:00Z"},{"clock":"qualify","position":12}]}"#
        )
        #expect(
            resumed.text
                == "L-1: accept runs, due 2026-03-02T10:00:00Z, position 11\nL-1: qualify runs, position 12\n")
    }

    // MARK: Rule sets

    private let example = packageFolder.appending(path: "scripts/policies/example.yaml").path
    private let published =
        #"{"policy":"sales","version":12,"parts":1,"bytes":5000,"sha256":"abc","approval":"two_people","duplicate":false}"#

    @Test func `a rule set is published as it is written, and put in force where that is asked`() throws {
        let stored = try run(["policy", "publish", example, "--note", "spring"], [published])
        #expect(stored.requests.map { $0["method"].string } == ["policy.publish"])
        #expect(
            stored.requests[0]["params"]["document"].string == (try String(contentsOfFile: example, encoding: .utf8)))
        #expect(stored.requests[0]["params"]["note"].string == "spring")
        #expect(
            stored.text == """
                policy sales version 12: published
                sha256    abc
                bytes     5000
                parts     1
                approval  two people

                """)
        let inForce = #"{"policy":"sales","version":12,"position":14,"at":"2026-04-01T00:00:00Z"}"#
        let both = try run(
            ["policy", "publish", example, "--activate", "--at", "2026-04-01T00:00:00Z"], [published, inForce])
        #expect(
            both.requests[1]["params"]
                == (try JSONTree(#"{"policy":"sales","version":12,"at":"2026-04-01T00:00:00Z"}"#)))
        #expect(
            both.text.hasSuffix("policy sales version 12: in force from 2026-04-01T00:00:00Z, position 14\n"))
        let json = try run(["--json", "policy", "publish", example, "--activate"], [published, inForce])
        #expect(json.text == "\(published)\n\(inForce)\n")
        // What was published is told, though putting it in force was refused.
        let unapproved = try run(["policy", "publish", example, "--activate"], [published, "!approval_required"])
        #expect(unapproved.code == 77 && unapproved.text.hasPrefix("policy sales version 12: published\n"))
    }

    @Test func `what is wrong with a rule set is told alike whoever found it`() throws {
        let text = try String(contentsOfFile: example, encoding: .utf8)
        let file = try TemporaryFile(text.replacing("catch_all: triage", with: "catch_all: triag"))
        let here = try run(["policy", "publish", file.path], [])
        #expect(here.code == 65 && here.requests.isEmpty, "nothing is sent")
        #expect(here.text.contains("/catch_all: there is no pool \"triag\"; did you mean \"triage\"?"))
        let fault =
            #"{"code":"unknown_zone","pointer":"/calendars/0/zone","line":22,"column":11,"reason":"there is no zone","excerpt":null}"#
        let refusal = #"!rule_set_refused ,"faults":[\#(fault)]"#
        let there = try run(["policy", "publish", example], [refusal])
        #expect(there.code == 65)
        #expect(there.text == "\(example):22:11: /calendars/0/zone: there is no zone\n\(example): 1 thing is wrong\n")
        let json = try JSONTree(try run(["--json", "policy", "publish", example], [refusal]).text)
        #expect(json["error"]["data"]["faults"][0]["line"].integer == 22)
    }

    @Test func `a version is approved, activated and rolled back to`() throws {
        let approved = try run(
            "policy approve sales 12 --note fine", #"{"policy":"sales","version":12,"position":13}"#)
        #expect(
            approved.requests[0]["params"] == (try JSONTree(#"{"policy":"sales","version":12,"note":"fine"}"#)))
        #expect(approved.text == "policy sales version 12: approved, position 13\n")
        let inForce = #"{"policy":"sales","version":12,"position":14,"at":"2026-04-01T00:00:00Z"}"#
        let activated = try run("policy activate sales", inForce)
        #expect(activated.requests[0]["params"] == (try JSONTree(#"{"policy":"sales"}"#)))
        #expect(
            activated.text == "policy sales version 12: in force from 2026-04-01T00:00:00Z, position 14\n")
        let back = try run("policy rollback sales 12 --at 2026-04-01T00:00:00Z", inForce)
        #expect(back.requests[0]["method"].string == "policy.rollback")
        #expect(back.requests[0]["params"]["at"].string == "2026-04-01T00:00:00Z")
    }

    @Test func `the history shows each version with who approved it and when it was in force`() throws {
        let answer =
            #"{"policies":[{"policy":"sales","in_force":3,"versions":["#
            + #"{"version":3,"recordedtime":"2026-03-01T00:00:00Z","actor":1000,"sha256":"a","bytes":9,"approval":"two_people","approvals":[{"actor":1001,"position":4,"recordedtime":"2026-03-01T01:00:00Z"}],"#
            + #""activations":[{"position":5,"at":"2026-03-02T00:00:00Z","actor":1000,"rolled_back":false},{"position":9,"at":"2026-03-05T00:00:00Z","actor":1002,"rolled_back":true,"note":"too many"}]},"#
            + #"{"version":8,"recordedtime":"2026-03-04T00:00:00Z","actor":1000,"sha256":"b","bytes":9,"approval":"two_people","note":"spring","approvals":[],"activations":[]}]},"#
            + #"{"policy":"test","in_force":null,"versions":[]}],"position":40}"#
        let shown = try run("policy history sales", answer)
        #expect(
            shown.text == """
                policy sales: version 3 is in force
                version  published               by  approval  in force from                                          note
                -------  --------------------  ----  --------  -----------------------------------------------------  ------
                      3  2026-03-01T00:00:00Z  1000  by 1001   2026-03-02T00:00:00Z by 1000
                                                               2026-03-05T00:00:00Z rolled back to by 1002: too many
                      8  2026-03-04T00:00:00Z  1000  needed                                                           spring

                policy test: nothing is in force
                version  published  by  approval  in force from  note
                -------  ---------  --  --------  -------------  ----

                position 40

                """)
    }

    @Test func `the text of a rule set is shown as JSON that can be published again`() throws {
        let shown = try run(
            "policy show sales 12",
            #"{"policy":"sales","version":12,"text":"{\"policy\":\"sales\",\"pools\":[]}","sha256":"a","recordedtime":"x","actor":1}"#
        )
        #expect(shown.requests[0]["params"] == (try JSONTree(#"{"policy":"sales","version":12}"#)))
        #expect(shown.text == "{\n  \"policy\": \"sales\",\n  \"pools\": []\n}\n")
    }

    // MARK: Why

    private func step(_ position: Int, _ summary: String, _ more: String = "") -> String {
        #"{"position":\#(position),"version":1,"type":"lead.assigned","time":"2026-03-02T09:00:00Z","custody":"owner","summary":"\#(summary)"\#(more)}"#
    }

    @Test func `why a lead is where it is reads from top to bottom, over all pages`() throws {
        let first =
            #"{"position":105,"lead":"L-1","steps":[\#(step(4, "Captured: in the inbox.")),\#(step(7, "Assigned to bo by the router.", #","explanation":["Candidates: 2, eligible 1.","  kim: refused, on leave."],"decision":{}"#))],"now":null,"next_version":9}"#
        let second =
            #"{"position":105,"lead":"L-1","steps":[\#(step(104, "Given back by its owner (x\\u001b[31m): in the inbox."))],"now":{"stage":"captured","custody":"queue","cycle":0,"holder":null,"queue":"triage"},"next_version":null}"#
        let shown = try run("explain L-1", first, second)
        #expect(shown.requests.map { $0["params"]["from_version"].integer } == [1, 9])
        #expect(
            shown.text == """
                  4  2026-03-02T09:00:00Z  Captured: in the inbox.
                  7  2026-03-02T09:00:00Z  Assigned to bo by the router.
                       Candidates: 2, eligible 1.
                         kim: refused, on leave.
                104  2026-03-02T09:00:00Z  Given back by its owner (x\\u{1b}[31m): in the inbox.

                Now in queue triage, stage captured, position 105.

                """)
        let json = try JSONTree(try run("--json explain L-1", first, second).text)
        #expect(json["steps"].elements.compactMap { $0["position"].integer } == [4, 7, 104])
        #expect(json["now"]["queue"].string == "triage" && json["next_version"] == .null)
        #expect(json["position"].integer == 105)
        // A page that leads nowhere is not asked for again.
        #expect(try run("explain L-1", first, first).code == 70)
        #expect(try run("explain L-9", "!unknown_lead").code == 65)
    }

    // MARK: Arguments

    @Test(arguments: [
        "queue claim", "queue claim --member a --lease 0s", "queue claim --member a --lease 25h",
        "queue claim --member a --lease soon", "queue take", "queue release t", "queue peek", "queue assign L-1",
        "queue route", "member pause ana", "member leave ana", "member resume", "clock pause L-1", "clock resume",
        "policy publish", "policy publish f --at 2026-01-01T00:00:00Z", "policy approve sales", "policy activate",
        "policy rollback sales x", "explain",
    ])
    func `what cannot be meant exits with 64`(_ line: String) {
        let error = #expect(throws: (any Error).self) {
            try LeadLedgerCommand.parseAsRoot(line.split(separator: " ").map(String.init))
        }
        #expect(error.map { LeadLedgerCommand.exitCode(for: $0).rawValue } == 64)
    }
}
