import TestSupport
import Testing

@testable import Leads

/// The rule at the end of a TZif file: what it means, held against a slow reading of it, and what is refused.
@Suite struct YearlyRuleTests {
    private func zone(_ rule: String) throws -> TimeZoneRules {
        var file = TZifFile()
        file.rule = rule
        return try TimeZoneRules(tzif: file.bytes)
    }

    private func changes(_ rule: String, in year: Int) throws -> [String] {
        try zone(rule).offsetChanges(
            in: Instant(
                startOf: CivilDate(year: year, month: 1, day: 1)!)..<Instant(
                    startOf: CivilDate(year: year + 1, month: 1, day: 1)!)
        ).map { "\($0.at.text) \($0.after)" }
    }

    @Test(arguments: [
        ("CET-1CEST,M3.5.0,M10.5.0/3", 2026, ["2026-03-29T01:00:00Z 7200", "2026-10-25T01:00:00Z 3600"]),
        // In the south the year begins in daylight saving time.
        ("<+1030>-10:30<+11>-11,M10.1.0,M4.1.0", 2026, ["2026-04-04T15:00:00Z 37800", "2026-10-03T15:30:00Z 39600"]),
        ("EET-2EEST,M3.4.4/50,M10.4.4/50", 2026, ["2026-03-28T00:00:00Z 10800", "2026-10-23T23:00:00Z 7200"]),
        ("<-02>2<-01>,M3.5.0/-1,M10.5.0/0", 2026, ["2026-03-29T01:00:00Z -3600", "2026-10-25T01:00:00Z -7200"]),
        // Winter time as daylight saving time that goes back.
        ("IST-1GMT0,M10.5.0,M3.5.0/1", 2026, ["2026-03-29T01:00:00Z 3600", "2026-10-25T01:00:00Z 0"]),
        // J60 is 1 March in every year; 59 is 29 February in a leap year.
        ("AAA0BBB,J60/0,J300/0", 2024, ["2024-03-01T00:00:00Z 3600", "2024-10-26T23:00:00Z 0"]),
        ("AAA0BBB,J60/0,J300/0", 2026, ["2026-03-01T00:00:00Z 3600", "2026-10-26T23:00:00Z 0"]),
        ("AAA0BBB,59/0,299/0", 2024, ["2024-02-29T00:00:00Z 3600", "2024-10-25T23:00:00Z 0"]),
        ("AAA0BBB,59/0,299/0", 2026, ["2026-03-01T00:00:00Z 3600", "2026-10-26T23:00:00Z 0"]),
        // Turns that leave their year: on 31 December 167 hours late, on 1 January 167 hours early.
        ("AAA0BBB,J100/0,J365/167", 2026, ["2026-01-06T22:00:00Z 0", "2026-04-10T00:00:00Z 3600"]),
        ("AAA0BBB,J1/-167,J100/0", 2026, ["2026-04-09T23:00:00Z 0", "2026-12-25T01:00:00Z 3600"]),
        (
            "AAA0:30:15BBB-1:15,M5.1.1/1:02:03,M9.5.6", 2026,
            ["2026-05-04T01:32:18Z 4500", "2026-09-26T00:45:00Z -1815"]
        ),
        // Daylight saving time for ever: each end is the next start.
        ("EST5EDT,0/0,J365/25", 2026, []),
        ("<+0545>-5:45", 2026, []), ("AAA-3BBB-3,M3.5.0,M10.5.0", 2026, []),
    ])
    func `a rule changes clocks where it says`(rule: String, year: Int, expected: [String]) throws {
        #expect(try changes(rule, in: year) == expected)
    }

    @Test func `daylight saving time for ever is daylight saving time`() throws {
        let zone = try zone("EST5EDT,0/0,J365/25")
        for text in ["1900-01-01T00:00:00Z", "2026-01-01T03:59:59Z", "2026-01-01T04:00:00Z", "2026-07-01T00:00:00Z"] {
            #expect(try zone.offsetSeconds(at: instant(text)) == -14_400, "\(text)")
        }
    }

    @Test(arguments: [
        "X", "UTC", "UT0", "<UT0", "<>0", "<A>0", "CE1-1", "CET-25", "CET24:01", "CET-1:60", "CET-1:00:60", "CET-1:",
        "CET--1",
        "CET-1CEST", "CET-1CEST,", "CET-1CEST,M3.5.0", "CET-1CEST,M3.5.0,", "CET-1CEST,M0.5.0,M10.5.0",
        "CET-1CEST,M13.5.0,M10.5.0", "CET-1CEST,M3.0.0,M10.5.0", "CET-1CEST,M3.6.0,M10.5.0", "CET-1CEST,M3.5.7,M10.5.0",
        "CET-1CEST,M3.5,M10.5.0", "CET-1CEST,J0,M10.5.0", "CET-1CEST,J366,M10.5.0", "CET-1CEST,366,M10.5.0",
        "CET-1CEST,M3.5.0/168,M10.5.0", "CET-1CEST,M3.5.0/167:01,M10.5.0", "CET-1CEST,M3.5.0/,M10.5.0",
        "CET-1CEST,M3.5.0,M10.5.0/3x", "CET-1CEST,M3.5.0,M10.5.0,", "CET-1C,M3.5.0,M10.5.0",
        "CET-1 CEST,M3.5.0,M10.5.0",
        "CET-0001", "CET-1CEST-2,M3.5.0M10.5.0", "\u{1}", "CÉT-1",
    ])
    func `what is no rule is refused at its byte`(rule: String) throws {
        do throws(TimeZoneProblem) {
            var file = TZifFile()
            file.rule = rule
            _ = try TimeZoneRules(tzif: file.bytes)
            Issue.record("\(rule) was taken")
        } catch {
            guard case .rule = error.reason else {
                Issue.record("\(rule): \(error)")
                return
            }
            let start = TZifFile().bytes.count - 1
            #expect((start...(start + rule.utf8.count)).contains(error.offset), "\(rule): \(error)")
        }
    }

    /// Goal: the rule's arithmetic is what its notation says. Method: random rules, and a slow reading that walks through the days
    /// of each year from its first one; both say the offset at random seconds and at those around each turn.
    @Test func `random rules mean what a walk through the days finds`() throws {
        let seed = announcedSeed("YearlyRuleTests")
        var random = TestSupport.SeededGenerator(seed: seed)
        var compared = 0
        for _ in 0..<300 {
            let slow = SlowRule(&random)
            let zone = try zone(slow.text)
            for _ in 0..<4 {
                let year = Int.random(in: 1...9_998, using: &random)
                var seconds = slow.turns(in: year).flatMap { [$0.at - 1, $0.at] }
                let newYear = Instant(startOf: CivilDate(year: year, month: 1, day: 1)!).flooredSeconds
                for _ in 0..<8 { seconds.append(newYear + Int64.random(in: 0..<31_536_000, using: &random)) }
                for second in seconds {
                    let found = zone.offsetSeconds(at: Instant(microseconds: second * 1_000_000))
                    let expected = slow.offset(at: second, year: year)
                    guard found == expected else {
                        Issue.record("seed \(seed): \(slow.text) at \(second): \(found), not \(expected)")
                        return
                    }
                    compared += 1
                }
            }
        }
        #expect(compared >= 10_000)
    }
}

/// A rule with its slow meaning: days are found by walking, and the offset is that of the last turn of all in some years.
private struct SlowRule {
    enum Day {
        case julian(Int)
        case ordinal(Int)
        case month(Int, Int, Int)
    }

    let standard: Int
    let daylight: Int
    struct Turn {
        var day: Day
        var seconds: Int
    }

    let start: Turn
    let end: Turn

    init(_ random: inout TestSupport.SeededGenerator) {
        standard = Int.random(in: -48...48, using: &random) * 900
        daylight = standard + [3_600, 1_800, 7_200, -3_600, 3_599].randomElement(using: &random)!
        // Half a year apart, so that neither turn is in doubt.
        let spring = Int.random(in: 1...6, using: &random)
        let first = SlowRule.turn(in: spring, &random)
        let second = SlowRule.turn(in: spring + 6, &random)
        let isSouthern = random.chance(50)
        start = isSouthern ? second : first
        end = isSouthern ? first : second
    }

    private static func turn(in month: Int, _ random: inout TestSupport.SeededGenerator) -> Turn {
        let days = (month * 30 - 25)...(month * 30 - 5)
        let day: Day =
            switch Int.random(in: 0..<3, using: &random) {
            case 0: .julian(Int.random(in: days, using: &random))
            case 1: .ordinal(Int.random(in: days, using: &random))
            default: .month(month, Int.random(in: 1...5, using: &random), Int.random(in: 0...6, using: &random))
            }
        return Turn(day: day, seconds: Int.random(in: -167 * 3_600...167 * 3_600, using: &random))
    }

    var text: String {
        "<std>\(clock(-standard))<dst>\(clock(-daylight)),\(turnText(start)),\(turnText(end))"
    }

    private func clock(_ seconds: Int) -> String {
        let all = abs(seconds)
        return "\(seconds < 0 ? "-" : "")\(all / 3_600):\(all / 60 % 60):\(all % 60)"
    }

    private func turnText(_ turn: Turn) -> String {
        let day =
            switch turn.day {
            case .julian(let day): "J\(day)"
            case .ordinal(let day): "\(day)"
            case .month(let month, let week, let weekday): "M\(month).\(week).\(weekday)"
            }
        return "\(day)/\(clock(turn.seconds))"
    }

    func turns(in year: Int) -> [(at: Int64, offset: Int)] {
        [
            (second(of: start, in: year) - Int64(standard), daylight),
            (second(of: end, in: year) - Int64(daylight), standard),
        ]
    }

    func offset(at second: Int64, year: Int) -> Int {
        let turns = ((year - 2)...(year + 1)).flatMap(turns(in:)).sorted { $0.at < $1.at }
        return turns.last { $0.at <= second }!.offset
    }

    private func second(of turn: Turn, in year: Int) -> Int64 {
        var date = CivilDate(uncheckedYear: year, month: 1, day: 1)
        var number = date.dayNumber
        var matching: [Int] = []
        while date.year == year {
            switch turn.day {
            case .julian(let day):
                // Days of a year without 29 February.
                let common = CivilDate(
                    uncheckedYear: 2001, month: date.month, day: date.day == 29 && date.month == 2 ? 28 : date.day)
                let isLeapDay = date.month == 2 && date.day == 29
                if !isLeapDay, common.dayNumber - CivilDate(uncheckedYear: 2001, month: 1, day: 1).dayNumber + 1 == day
                {
                    matching.append(number)
                }
            case .ordinal(let day):
                if matching.isEmpty, number - CivilDate(uncheckedYear: year, month: 1, day: 1).dayNumber == day {
                    matching.append(number)
                }
            case .month(let month, _, let weekday):
                // 2000-01-02 was a Sunday.
                let sinceSunday = number - CivilDate(uncheckedYear: 2000, month: 1, day: 2).dayNumber
                if date.month == month, (sinceSunday - weekday) % 7 == 0 { matching.append(number) }
            }
            number += 1
            date = CivilDate(dayNumber: number)
        }
        let day: Int =
            switch turn.day {
            case .month(_, let week, _): week == 5 ? matching.last! : matching[week - 1]
            default: matching[0]
            }
        return Int64(day) * 86_400 + Int64(turn.seconds)
    }
}
