import Leads
import TestSupport
import Testing

@testable import LeadLedger

/// The reports of routing as the daemon answers them, over a ledger that holds what a router and its clocks would write.
@Suite(.timeLimit(.minutes(10))) struct ReportQueriesTests {
    /// Mondays from 9 to 17 in Lisbon, which is UTC in winter.
    private static let rules = """
        policy: sales
        seed: s
        calendars:
          - { id: office, zone: Europe/Lisbon, hours: [{ days: [mon], open: ["09:00-17:00"] }] }
        teams: [{ id: t }]
        members: [{ id: ana, team: t, calendar: office }, { id: bia, team: t }]
        pools: [{ id: emea, members: [ana, bia] }]
        catch_all: emea
        """

    /// Serves a ledger that `write` has filled, and lends a client of it.
    private func serving(_ write: (WrittenLedger) throws -> Void, _ body: (LineClient) throws -> Void) throws {
        let place = LedgerPlace()
        let ledger = try WrittenLedger(in: place.data)
        try write(ledger)
        ledger.close()
        let daemon = try place.serve()
        let client = try place.connect()
        // The models are built from what was written.
        try Monotonic.wait(for: "the read models", milliseconds: 60_000) {
            try client.ask("projection.list")["projections"].elements.allSatisfy { $0["state"].string == "live" }
        }
        try body(client)
        #expect(try daemon.terminate() == .exited(0))
    }

    private func capture(_ ledger: WrittenLedger, _ lead: String, at instant: String, source: String = "ads") throws {
        try ledger.append(.captured, lead, at: instant, #""channel":"web","source":"\#(source)""#)
    }

    private func start(
        _ ledger: WrittenLedger, _ lead: String, at instant: String, due: String? = nil, version: UInt64 = 0,
        _ rule: String = #""measure":"wall""#
    ) throws {
        let due = due.map { #","due":"\#($0)""# } ?? ""
        try ledger.append(
            .clockStarted, lead, at: instant,
            """
            "clock":"first_response","target":"t","policy":"sales","version":\(version),"cause":1,"at":"\(instant)",\
            "seconds":300,\(rule)\(due)
            """)
    }

    private func meet(
        _ ledger: WrittenLedger, _ lead: String, at instant: String, seconds: Int, business: Int? = nil,
        late: Bool = false
    ) throws {
        try ledger.append(
            .clockMet, lead, at: instant,
            """
            "clock":"first_response","at":"\(instant)","late":\(late),\
            "elapsed":{"wall":\(seconds)000000,"business":\(business ?? seconds)000000}
            """)
    }

    // MARK: Response

    @Test func `response gives shares, percentiles and mean of both measures, by source`() throws {
        try serving { ledger in
            for (number, seconds) in [60, 120, 300, 900].enumerated() {
                let lead = "A\(number)"
                try capture(ledger, lead, at: "2026-03-02T09:00:00Z")
                try start(ledger, lead, at: "2026-03-02T09:00:00Z", due: "2026-03-02T09:05:00Z")
                let minute = seconds / 60
                try meet(
                    ledger, lead, at: "2026-03-02T09:\(minute < 10 ? "0" : "")\(minute):00Z", seconds: seconds,
                    business: seconds / 2, late: seconds > 300)
            }
            try capture(ledger, "B", at: "2026-03-02T09:00:00Z", source: "fair")
            try start(ledger, "B", at: "2026-03-02T09:00:00Z", due: "2026-03-02T09:05:00Z")
        } _: { (client) throws in
            let answer = try client.askWhenFresh("report.response", #"{"by":"source","as_of":"2026-03-02T10:00:00Z"}"#)
            #expect(answer["position"].integer == answer["head"].integer && answer["within_seconds"].integer == 300)
            #expect(answer["rows"].elements.map { $0["label"].string } == ["ads", "fair"])
            let ads = answer["rows"][0]
            #expect(ads["clocks"].integer == 4 && ads["met"].integer == 3 && ads["late"].integer == 1)
            #expect(ads["wall"]["within"]["share"]["share"] == .number("0.750000000"))
            #expect(ads["business"]["within"]["share"]["share"] == .number("0.750000000"))
            #expect(
                ads["wall"]["answered_seconds"]
                    == (try JSONTree(
                        #"{"mean":345.000000,"p50":120.000000,"p90":900.000000,"p99":900.000000}"#)))
            #expect(ads["business"]["answered_seconds"]["mean"] == .number("172.500000"))
            let total = answer["total"]
            #expect(total["open"].integer == 1 && total["overdue"].integer == 1 && total["value"] == .null)
            #expect(total["wall"]["within"]["answered"].integer == 3 && total["wall"]["within"]["of"].integer == 5)
            // With the open one the survival is 4/5, 3/5, 2/5, 1/5.
            #expect(total["wall"]["all_seconds"]["p50"] == .number("300.000000"))
            #expect(total["wall"]["all_seconds"]["p90"] == .null)
            let early = try client.askWhenFresh("report.response", #"{"as_of":"2026-03-02T09:00:30Z"}"#)["total"]
            #expect(early["open"].integer == 5 && early["wall"]["within"]["too_early"].integer == 5)
            #expect(early["wall"]["within"]["share"] == .null)
        }
    }

    @Test func `business time of open clocks is that of the calendar in the rule set that chose the target`() throws {
        try serving { ledger in
            let version = try ledger.publish(Self.rules, at: "2026-03-01T00:00:00Z")
            let instant = "2026-03-02T16:58:20Z"
            for lead in ["A", "B"] { try capture(ledger, lead, at: instant, source: lead) }
            let rule = #""measure":"business","calendar":"office""#
            try start(ledger, "A", at: instant, version: version, rule)
            try start(ledger, "B", at: instant, version: version, rule + #","holder":"ana""#)
            try ledger.append(
                .memberOnLeave, "ana", at: "2026-03-09T09:00:00Z",
                #""reason":"ill","from":"2026-03-09T09:00:00Z","until":"2026-03-20T00:00:00Z""#)
            try ledger.append(.memberReturned, "ana", at: "2026-03-09T09:01:00Z")
        } _: { (client) throws in
            // 100 seconds of the first Monday, then those of the next; ana was away for a minute of it. Who is open for less than
            // five minutes stands apart.
            let times = [("09:03:19", 1, 1), ("09:03:20", 0, 1), ("09:04:19", 0, 1), ("09:04:20", 0, 0)]
            for (time, office, holder) in times {
                let answer = try client.askWhenFresh(
                    "report.response", #"{"by":"source","as_of":"2026-03-09T\#(time)Z"}"#)
                let early = answer["rows"].elements.map { $0["business"]["within"]["too_early"].integer }
                #expect(early == [office, holder], "\(time)")
                #expect(answer["total"]["wall"]["within"]["too_early"].integer == 0)
            }
        }
    }

    @Test func `a rule set that is not in the log leaves the question without an answer`() throws {
        try serving { ledger in
            try capture(ledger, "A", at: "2026-03-02T16:00:00Z")
            try start(
                ledger, "A", at: "2026-03-02T16:00:00Z", version: 0, #""measure":"business","calendar":"office""#)
        } _: { (client) throws in
            let refusal = try client.refusal("report.response", #"{"as_of":"2026-03-09T10:00:00Z"}"#)
            #expect(refusal?.name == "internal_error")
            // Nobody asks for the calendar of what did not run.
            #expect(
                try client.askWhenFresh("report.response", #"{"as_of":"2026-03-02T16:00:00Z"}"#)["total"]["open"]
                    .integer == 1)
        }
    }

    /// New York springs forward on 2026-03-08: the day begins at 05:00Z and ends at 04:00Z.
    @Test func `dates and hours are those of the zone`() throws {
        try serving { ledger in
            let starts = [
                "2026-03-08T04:59:59Z", "2026-03-08T05:00:00Z", "2026-03-08T07:00:00Z", "2026-03-09T04:00:00Z",
            ]
            for (number, instant) in starts.enumerated() {
                try capture(ledger, "L\(number)", at: instant)
                try start(ledger, "L\(number)", at: instant)
            }
        } _: { (client) throws in
            let period = #""from":"2026-03-08","to":"2026-03-09","zone":"America/New_York","as_of":"2026-03-10""#
            let answer = try client.askWhenFresh("report.response", #"{"by":"hour",\#(period)}"#)
            #expect(answer["from"].string == "2026-03-08T05:00:00Z" && answer["to"].string == "2026-03-09T04:00:00Z")
            #expect(answer["rows"].elements.map { $0["label"].string } == ["00", "03"])
            #expect(try client.askWhenFresh("report.leaks", "{\(period)}")["total"]["leads"].integer == 2)
        }
    }

    // MARK: Leaks

    @Test func `leaks list the leads behind each number`() throws {
        try serving { ledger in
            try capture(ledger, "A", at: "2026-03-02T09:00:00Z")
            try capture(ledger, "B", at: "2026-03-02T09:01:00Z")
            try ledger.append(.assigned, "B", at: "2026-03-02T09:02:00Z", #""member":"ana","mode":"push""#)
            try start(ledger, "B", at: "2026-03-02T09:01:00Z", due: "2026-03-02T09:06:00Z")
        } _: { (client) throws in
            let answer = try client.askWhenFresh("report.leaks", #"{"by":"owner","as_of":"2026-03-02T10:00:00Z"}"#)
            #expect(answer["rows"].elements.map { $0["label"].string } == ["ana", "(none)"])
            #expect(
                answer["total"]["never_assigned"]
                    == (try JSONTree(
                        #"{"count":1,"leads":[{"lead":"A","captured_at":"2026-03-02T09:00:00Z","owner":null}]}"#)))
            #expect(
                answer["rows"][0]["due_unanswered"]
                    == (try JSONTree(
                        """
                        {"count":1,"leads":[{"lead":"B","captured_at":"2026-03-02T09:01:00Z","owner":"ana",\
                        "due":"2026-03-02T09:06:00Z"}]}
                        """)))
            #expect(answer["total"]["never_attempted"]["count"].integer == 1)
        }
    }

    // MARK: Fairness

    private func decide(_ ledger: WrittenLedger, _ lead: String, at instant: String, to winner: String) throws -> UInt64
    {
        try capture(ledger, lead, at: instant)
        let candidates = ["ana", "bia"].map { #"{"member":"\#($0)","weight":1,"gain":2147483648,"owed":0}"# }
        return try ledger.append(
            .assigned, lead, at: instant,
            """
            "member":"\(winner)","mode":"push","decision":{"policy":"sales","version":1,"basis":1,"at":"\(instant)",\
            "zones":"2025b","seed":"s","trigger":{"kind":"arrival","position":1},"pool":"emea",\
            "candidates":[\(candidates.joined(separator: ","))]}
            """)
    }

    @Test func `fairness gives what each was entitled to and received, without what was voided`() throws {
        try serving { ledger in
            _ = try decide(ledger, "A", at: "2026-03-02T09:00:00Z", to: "ana")
            _ = try decide(ledger, "B", at: "2026-03-20T09:00:00Z", to: "ana")
            _ = try decide(ledger, "C", at: "2026-03-20T10:00:00Z", to: "ana")
            let voided = try decide(ledger, "D", at: "2026-03-20T11:00:00Z", to: "bia")
            try ledger.append(
                .poolDecisionVoided, "emea", at: "2026-03-20T12:00:00Z", #""decision":\#(voided),"reason":"invalid""#)
        } _: { (client) throws in
            let answer = try client.askWhenFresh("report.fairness", #"{"window":"7d","to":"2026-03-21"}"#)
            #expect(answer["from"].string == "2026-03-14T00:00:00Z")
            #expect(
                answer["pools"]
                    == (try JSONTree(
                        """
                        [{"pool":"emea","decisions":2,"voided":1,"jain":0.500000000,"members":[\
                        {"member":"ana","decisions":2,"entitled":1.000000000,"received":2,"lag":-1.000000000},\
                        {"member":"bia","decisions":2,"entitled":1.000000000,"received":0,"lag":1.000000000}]}]
                        """)))
            #expect(try client.askWhenFresh("report.fairness")["pools"][0]["decisions"].integer == 3)
            #expect(try client.askWhenFresh("report.fairness", #"{"pool":"apac"}"#)["pools"].elements.isEmpty)
        }
    }

    // MARK: Bad input

    @Test func `what cannot be meant is refused by name and place`() throws {
        try serving { _ in
        } _: { (client) throws in
            let wrong = [
                ("report.response", #"{"zone":"Mars/Olympus"}"#, "invalid_value"),
                ("report.response", #"{"from":"yesterday"}"#, "invalid_time"),
                ("report.response", #"{"from":"2026-03-02","to":"2026-03-01"}"#, "invalid_value"),
                ("report.response", #"{"by":"moon"}"#, "invalid_value"),
                ("report.leaks", #"{"limit":1001}"#, "invalid_value"),
                ("report.leaks", #"{"by":"hour"}"#, "invalid_value"),
                ("report.fairness", #"{"window":"7x"}"#, "invalid_value"),
                ("report.fairness", #"{"window":"0d"}"#, "invalid_value"),
                ("report.fairness", #"{"window":"7d","from":"2026-03-01"}"#, "invalid_value"),
            ]
            for (method, params, name) in wrong {
                #expect(try client.refusal(method, params)?.name == name, "\(method) \(params)")
            }
            // An empty ledger has empty reports.
            #expect(try client.askWhenFresh("report.response")["total"]["clocks"].integer == 0)
            #expect(try client.askWhenFresh("report.leaks")["total"]["leads"].integer == 0)
            #expect(try client.askWhenFresh("report.fairness")["pools"].elements.isEmpty)
        }
    }
}
