import JSON
import Testing

@testable import leadledger

/// What people see of answers in the form that WireProtocol.md gives them.
@Suite struct ReportTextTests {
    private func text(_ answer: String, _ write: (JSONValue, Output) -> Void) throws -> String {
        let output = Output(descriptor: nil)
        var parser = JSONParser()
        try parser.withDocument(answer) { write($0, output) }
        return String(decoding: output.bytes, as: UTF8.self)
    }

    @Test func `attribution shows models side by side, in the currency's unit`() throws {
        let answer = """
            {"position":10,"path_builder":"default","conversion":"won","by":"channel","models":["first","linear"],"from":null,\
            "to":"2018-06-01T00:00:00Z","inputs_digest":"x","touches":5,"flagged":1,"rows":[\
            {"value":"organic search","label":"organic search","currency":"BRL","credits":{"first":{"conversions":"2.000000000","value":"140.000000"},"linear":{"conversions":"1.333333334","value":"93.333334"}}},\
            {"value":null,"label":"(none)","currency":"BRL","credits":{"first":{"conversions":"0.000000000","value":"0.000000"},"linear":{"conversions":"0.666666666","value":"46.666666"}}}],\
            "totals":[{"currency":"BRL","conversions":2,"unattributed":0,"value":"140"}]}
            """
        #expect(
            try text(answer, ReportCommand.Attribution.write) == """
                channel         currency  first  first value       linear  linear value
                --------------  --------  -----  -----------  -----------  ------------
                organic search  BRL           2         1.40  1.333333334    0.93333334
                (none)          BRL           0         0.00  0.666666666    0.46666666
                --------------  --------  -----  -----------  -----------  ------------
                all             BRL           2         1.40            2          1.40

                won, up to 2018-06-01T00:00:00Z, path builder default, 5 touches, position 10; 1 captured after their conversion

                """)
    }

    @Test func `the funnel shows the stages that were reached and the share with its interval`() throws {
        func row(_ label: String, _ leads: Int, _ won: Int, month: String = "null", share: String) -> String {
            """
            {"month":\(month),"value":"\(label)","label":"\(label)","leads":\(leads),"censored":0,"stages":{"captured":{"reached":\(leads),"skipped":0},"mql":{"reached":3,"skipped":1},"offered":{"reached":0,"skipped":0}},"won":\(won),"lost":1,"disqualified":0,"win_share":\(share)}
            """
        }
        let share = #"{"share":0.105250000,"lower":0.098713828,"upper":0.112165094}"#
        let answer = """
            {"position":9,"mode":"cohort","by":"channel","from":null,"to":null,"period":null,"horizon_days":30,"as_of":"2018-01-01T00:00:00Z",\
            "rows":[\(row("web", 8_000, 842, share: share)),\(row("(none)", 0, 0, share: #"{"share":null,"lower":null,"upper":null}"#))],\
            "periods":[],"total":\(row("", 8_000, 842, share: share))}
            """
        #expect(
            try text(answer, ReportCommand.Funnel.write) == """
                channel  leads  mql  won  lost  disqualified  win share   95 % interval
                -------  -----  ---  ---  ----  ------------  ---------  --------------
                web       8000    3  842     1             0     10.5 %  9.9 % - 11.2 %
                (none)       0    3    0     1             0
                -------  -----  ---  ---  ----  ------------  ---------  --------------
                all       8000    3  842     1             0     10.5 %  9.9 % - 11.2 %

                cohort, followed for 30 days, position 9

                """)
    }

    @Test func `response shows both measures of each row, and counts apart what is no miss`() throws {
        func measure(_ share: String, _ all: String) -> String {
            """
            {"within":{"answered":3,"of":4,"too_early":2,"share":\(share)},"answered_seconds":{"mean":345.500000,"p50":60.000000,"p90":900.000000,"p99":900.000000},"all_seconds":\(all)}
            """
        }
        let wall = measure(
            #"{"share":0.750000000,"lower":0.300641843,"upper":0.954413361}"#,
            #"{"p50":300.000000,"p90":93784.000000,"p99":null}"#)
        let business = measure("null", #"{"p50":null,"p90":null,"p99":null}"#)
        let counts = #""clocks":6,"answered":4,"open":2,"stopped":0,"no_lead":1,"met":3,"late":1,"overdue":2"#
        let answer = """
            {"position":12,"head":14,"clock":"first_response","by":"channel","from":"2026-03-01T00:00:00Z","to":null,"zone":"UTC","as_of":"2026-03-03T00:00:00Z","within_seconds":300,\
            "rows":[{"value":"web","label":"web",\(counts),"wall":\(wall),"business":\(business)}],"total":{"value":null,"label":null,\(counts),"wall":\(wall),"business":\(business)}}
            """
        #expect(
            try text(answer, ReportCommand.Response.write) == """
                channel  clocks  answered  open  stopped  time      in 5 min    95 % interval    p50      p90  p99   mean
                -------  ------  --------  ----  -------  --------  --------  ---------------  -----  -------  ---  -----
                web           6         4     2        0  wall        75.0 %  30.1 % - 95.4 %  5 min  1 d 2 h       5 min
                                                          business                                                  5 min
                -------  ------  --------  ----  -------  --------  --------  ---------------  -----  -------  ---  -----
                all           6         4     2        0  wall        75.0 %  30.1 % - 95.4 %  5 min  1 d 2 h       5 min
                                                          business                                                  5 min

                1 answered late, 2 overdue; apart: 2 open for less than 5 min, 1 spam or duplicate
                first_response, from 2026-03-01T00:00:00Z, as of 2026-03-03T00:00:00Z, position 12, 2 events behind the log

                """)
    }

    @Test func `leaks show numbers, then the leads behind them`() throws {
        let none = #"{"count":0,"leads":[]}"#
        let never =
            #"{"count":12,"leads":[{"lead":"L-1","captured_at":"2026-03-01T09:00:00Z","owner":null}]}"#
        let due =
            #"{"count":1,"leads":[{"lead":"L-2","captured_at":"2026-03-01T09:00:00Z","owner":"ann","due":"2026-03-01T09:05:00Z"}]}"#
        let leaks =
            #""never_assigned":\#(never),"never_attempted":\#(none),"never_contacted":\#(none),"mql_never_accepted":\#(none),"due_unanswered":\#(due)"#
        let answer = """
            {"position":9,"head":9,"by":"none","from":null,"to":null,"zone":"UTC","as_of":"2026-03-02T00:00:00Z","rows":[],"total":{"value":null,"label":null,"leads":40,\(leaks)}}
            """
        #expect(
            try text(answer, ReportCommand.Leaks.write) == """
                leads  never assigned  never attempted  never contacted  mql never accepted  due unanswered
                -----  --------------  ---------------  ---------------  ------------------  --------------
                   40              12                0                0                   0               1

                leak            lead  captured              owner  due
                --------------  ----  --------------------  -----  --------------------
                never assigned  L-1   2026-03-01T09:00:00Z
                due unanswered  L-2   2026-03-01T09:00:00Z  ann    2026-03-01T09:05:00Z

                leads, as of 2026-03-02T00:00:00Z, position 9

                """)
    }

    @Test func `fairness shows each pool's members, its index and what was voided`() throws {
        let answer = """
            {"position":9,"head":9,"from":"2026-03-01T00:00:00Z","to":null,"zone":"UTC","pool":null,"pools":[\
            {"pool":"apac","decisions":2,"voided":0,"jain":1.000000000,"members":[{"member":"cy","decisions":2,"entitled":2.000000000,"received":2,"lag":0.000000000}]},\
            {"pool":"emea","decisions":3,"voided":1,"jain":null,"members":[{"member":"ann","decisions":3,"entitled":1.500500000,"received":3,"lag":-1.499500000},{"member":"bo","decisions":3,"entitled":1.499499999,"received":0,"lag":1.499499999}]}]}
            """
        #expect(
            try text(answer, ReportCommand.Fairness.write) == """
                pool  member  decisions  entitled  received     lag  voided   Jain
                ----  ------  ---------  --------  --------  ------  ------  -----
                apac  cy              2     2.000         2   0.000
                apac  all             2                   2               0  1.000
                ----  ------  ---------  --------  --------  ------  ------  -----
                emea  ann             3     1.501         3  -1.500
                emea  bo              3     1.499         0   1.499
                emea  all             3                   3               1

                decisions, from 2026-03-01T00:00:00Z, position 9

                """)
    }

    @Test func `a group shows why it does not move, what is out and what is parked`() throws {
        let answer = """
            {"group":"router","epoch":7,"from":0,"filter":{"types":["lead.won"]},"max_attempts":5,"lease_ms":30000,"progress":17,"head":40,"lag":23,\
            "window":{"events":3,"max":8192},"claims_waiting":0,"leased":1,"leases":[{"position":17,"lead":"L-1","attempt":2,"consumer":"w1","storing":false,"deadline":"2026-03-01T09:00:30Z"}],\
            "parked":2,"parked_events":[{"position":12,"lead":"L-2","attempts":5,"reason":"returned","error":"no such town","parked_at":"2026-03-01T08:00:00Z"}],"parked_after":12,\
            "reason":{"state":"leased","position":17,"message":"position 17 (lead L-1) is leased by w1"}}
            """
        #expect(
            try text(answer, ConsumerCommand.Status.write) == """
                group     router
                progress  17 of 40
                reason    leased: position 17 (lead L-1) is leased by w1
                from      0
                filter    {"types":["lead.won"]}
                lease     30000 ms, 5 attempts
                window    3 of 8192 events
                waiting   0 claims
                leased    1
                parked    2

                leased  lead  attempt  consumer  until
                ------  ----  -------  --------  --------------------
                    17  L-1         2  w1        2026-03-01T09:00:30Z

                parked  lead  attempts  reason    at                    error
                ------  ----  --------  --------  --------------------  ------------
                    12  L-2          5  returned  2026-03-01T08:00:00Z  no such town
                more with --after 12

                """)
    }

    @Test func `the queue shows ages, and a lead without a channel as (none)`() throws {
        let answer = """
            {"position":5,"as_of":"2026-03-01T12:00:00Z","total":30,"leads":[\
            {"lead":"L-1","stage":"mql","custody":"queue","queue":"eu","channel":null,"since":"2026-02-28T08:00:00Z","since_position":1,"age_seconds":100800},\
            {"lead":"L\\u001b[31m","stage":"captured","custody":"inbox","queue":null,"channel":"web","since":"2026-03-01T11:59:20Z","since_position":2,"age_seconds":40}],"next":null}
            """
        let shown = try text(answer, QueueCommand.List.write)
        #expect(shown.contains("L-1          mql       queue    eu     (none)   2026-02-28T08:00:00Z  1 d 4 h"))
        #expect(shown.contains("L\\u{1b}[31m"))
        #expect(shown.contains("   40 s\n"))
        #expect(shown.hasSuffix("2 of 30 leads, ages as of 2026-03-01T12:00:00Z, position 5\n"))
    }

    @Test func `a lead is shown without what it has none of`() throws {
        let answer = """
            {"position":9,"lead":{"lead":"L-1","stage":"won","custody":"none","owner":null,"counts":{"captures":1,"touches":0,"wins":1},"conversion":{"at":"2018-01-01T00:00:00Z","position":8,"amount":129900,"currency":"EUR"}}}
            """
        #expect(
            try text(answer, ShowCommand.write) == """
                lead            L-1
                stage           won
                custody         none
                counts          1 captures, 1 wins
                conversion      1299.00 EUR at 2018-01-01T00:00:00Z, position 8
                as of position  9

                """)
    }

    @Test func `numbers are exact and rounded only for the eye`() {
        #expect(exactUnits("1.5", fractionDigits: 9) == 1_500_000_000)
        #expect(exactUnits("-0.000001", fractionDigits: 6) == -1)
        #expect(exactUnits("99999999999999999999.123456", fractionDigits: 6) == 99_999_999_999_999_999_999_123_456)
        #expect(exactUnits("1.0000001", fractionDigits: 6) == nil)
        #expect(exactUnits("x", fractionDigits: 6) == nil)
        #expect(ageText(seconds: 59) == "59 s")
        #expect(ageText(seconds: 7_500) == "2 h 5 min")
    }
}
