import TestSupport
import Testing

@testable import Leads

/// Goal: a calendar says what a look at every minute says. Method: random zones (real ones around their changes, and ones that
/// exist nowhere, as files), hours, holidays and leave; all questions at random instants of some days, at the same instants
/// asked of `SlowCalendar`. The comparison has to catch five planted mistakes.
@Suite struct BusinessCalendarModelTests {
    private typealias Random = TestSupport.SeededGenerator

    /// What is compared: the calendar itself, or one with a mistake.
    private struct Subject {
        var isOpen: (Instant) -> Bool
        var business: (Instant, Instant) -> Int64
        var due: (Instant, Int64) -> Instant?
        var nextOpening: (Instant) -> Instant?
        var nextClosed: (Instant) -> Instant?

        init(_ calendar: BusinessCalendar) {
            isOpen = calendar.isOpen(at:)
            business = calendar.business(from:to:)
            due = calendar.due(from:target:)
            nextOpening = calendar.nextOpening(after:)
            nextClosed = calendar.nextClosed(from:)
        }
    }

    private struct Case {
        var zone: TimeZoneRules
        var slow: SlowCalendar
        var span: Range<Int64>
        var name: String

        func calendar(
            zone: TimeZoneRules? = nil, intervals: [OpenInterval]? = nil, holidays: [Int]? = nil,
            leave: [Range<Instant>]? = nil
        ) throws -> BusinessCalendar {
            try BusinessCalendar(
                in: zone ?? self.zone, open: intervals ?? slow.intervals,
                holidays: (holidays ?? slow.holidays).map { CivilDate(dayNumber: $0) }
            ).closed(during: leave ?? slow.leave)
        }
    }

    /// What was found out over many cases, so that a run that looked at nothing cannot pass.
    private struct Work {
        var compared = 0
        var openings = 0
        var dues = 0
        var changes = 0
    }

    @Test func `random calendars say what a look at every minute says`() throws {
        let seed = announcedSeed("BusinessCalendarModelTests")
        var random = Random(seed: seed)
        let real = try ZoneFiles.names.map { ($0, try ZoneFiles.zone($0)) }
        var work = Work()
        for round in 0..<2_500 {
            let one = try makeCase(real, &random)
            if let difference = try difference(Subject(one.calendar()), one, &random, &work) {
                Issue.record("seed \(seed), round \(round): \(difference)")
                return
            }
        }
        print("BusinessCalendarModelTests: \(work)")
        #expect(work.compared >= 20_000 && work.openings >= 5_000 && work.dues >= 50_000 && work.changes >= 1_000)
    }

    @Test(arguments: [
        "no holidays", "no leave", "one offset", "due late by a microsecond", "an interval shorter by a unit",
    ])
    func `the comparison catches a planted mistake`(mistake: String) throws {
        let seed = announcedSeed("BusinessCalendarModelTests, \(mistake)")
        var random = Random(seed: seed)
        let real = try ZoneFiles.names.map { ($0, try ZoneFiles.zone($0)) }
        var work = Work()
        for _ in 0..<400 {
            let one = try makeCase(real, &random)
            var subject = Subject(try one.calendar())
            switch mistake {
            case "no holidays": subject = Subject(try one.calendar(holidays: []))
            case "no leave": subject = Subject(try one.calendar(leave: []))
            case "one offset":
                var file = TZifFile()
                file.types[0].offsetSeconds = one.zone.offsetSeconds(at: Instant(microseconds: one.span.lowerBound))
                subject = Subject(try one.calendar(zone: TimeZoneRules(tzif: file.bytes)))
            case "an interval shorter by a unit":
                var intervals = one.slow.intervals
                let end = intervals[0].end.seconds - Int(one.slow.unit / 1_000_000)
                guard end > intervals[0].start.seconds else { continue }
                intervals[0].end = TimeOfDay(seconds: end)!
                subject = Subject(try one.calendar(intervals: intervals))
            default:
                let right = subject.due
                subject.due = { right($0, $1)?.advanced(byMicroseconds: $1 > 0 ? 1 : 0) }
            }
            if try difference(subject, one, &random, &work) != nil { return }
        }
        Issue.record("seed \(seed): not caught: \(mistake)")
    }

    // MARK: Cases

    private func makeCase(_ real: [(String, TimeZoneRules)], _ random: inout Random) throws -> Case {
        // Seconds are looked at for an hour or so, minutes for some days.
        let bySecond = random.chance(20)
        let unit: Int64 = bySecond ? 1_000_000 : 60_000_000
        let length =
            bySecond
            ? Int64.random(in: 1...90, using: &random) * minute
            : [6, 12, 24, 48, 96].randomElement(using: &random)! * hour
        var name: String
        var zone: TimeZoneRules
        var base: Int64
        var offset: (Int64) -> Int
        if random.chance(50) {
            (name, zone) = real.randomElement(using: &random)!
            // Before 1973 offsets have seconds; what is far away is by the rule.
            let years = bySecond ? 1880...2060 : 1973...(random.chance(20) ? 9_990 : 2060)
            let year = Int.random(in: years, using: &random)
            let start = Instant(startOf: CivilDate(year: year, month: 1, day: 1)!)
            let changes = zone.offsetChanges(in: start..<start.advanced(byMicroseconds: 366 * 24 * hour))
            if let change = changes.randomElement(using: &random), random.chance(80) {
                base = change.at.microseconds - length / 2
            } else {
                base = start.microseconds + Int64.random(in: 0..<365, using: &random) * 24 * hour
            }
            let found = zone
            offset = { found.offsetSeconds(at: Instant(microseconds: $0 * 1_000_000)) }
        } else {
            name = "made up"
            base = Int64.random(in: -2_000_000_000...60_000_000_000, using: &random) * 1_000_000
            base -= base % unit
            (zone, offset) = try madeUpZone(around: base / 1_000_000, seconds: length / 1_000_000, unit, &random)
        }
        base += Int64.random(in: 0..<60_000_000, using: &random) * (random.chance(50) ? 0 : 1)

        let firstDay = Int(base / (24 * hour)) - 2
        let slow = SlowCalendar(
            offset: offset, intervals: intervals(unit, &random),
            holidays: (0..<10).filter { _ in random.chance(12) }.map { firstDay + $0 },
            leave: (0..<Int.random(in: 0...3, using: &random)).map { _ in
                let start = base + Int64.random(in: -length / 4..<length, using: &random)
                return Instant(
                    microseconds: start)..<Instant(
                        microseconds: start + Int64.random(in: 0..<length / 2, using: &random))
            },
            unit: unit)
        return Case(zone: zone, slow: slow, span: base..<base + length, name: name)
    }

    /// A zone with some changes in the span, by a file and by a list that is looked through.
    private func madeUpZone(
        around base: Int64, seconds: Int64, _ unit: Int64, _ random: inout Random
    ) throws -> (TimeZoneRules, (Int64) -> Int) {
        let step = Int(unit / 1_000_000)
        var file = TZifFile()
        file.types = (0..<4).map { _ in
            .init(offsetSeconds: Int.random(in: -86_000 / step...90_000 / step, using: &random) * step)
        }
        // Most changes are by an hour or less, some by a day.
        for index in 1..<4 where random.chance(70) {
            file.types[index].offsetSeconds =
                file.types[0].offsetSeconds + [3_600, -3_600, 1_800, -1_800, 7_200, 86_400, -86_400].randomElement(
                    using: &random)!
            if !TimeZoneRules.offsetRange.contains(file.types[index].offsetSeconds) {
                file.types[index].offsetSeconds = 0
            }
        }
        let places = Set(
            (0..<Int.random(in: 0...4, using: &random)).map { _ in
                base + Int64.random(in: 0..<seconds, using: &random) / Int64(step) * Int64(step)
            })
        file.changes = places.sorted().map { ($0, UInt8.random(in: 0..<4, using: &random)) }
        let (types, changes) = (file.types, file.changes)
        return (
            try TimeZoneRules(tzif: file.bytes),
            { second in types[Int(changes.last { $0.at <= second }?.type ?? 0)].offsetSeconds }
        )
    }

    private func intervals(_ unit: Int64, _ random: inout Random) -> [OpenInterval] {
        let step = Int(unit / 1_000_000)
        let days = Weekday.allCases.filter { _ in random.chance(80) }
        var intervals: [OpenInterval] = []
        for day in days + [Weekday.allCases.randomElement(using: &random)!] {
            for _ in 0..<Int.random(in: 1...3, using: &random) {
                var start = Int.random(in: 0..<86_400 / step, using: &random) * step
                var end = start + Int.random(in: 1...86_400 / step, using: &random) * step / 4 / step * step
                // Nights, where clocks change; whole days; ends of days.
                if random.chance(30) { start = Int.random(in: 0...3 * 3_600 / step, using: &random) * step }
                if random.chance(30) { start = 0 }
                if random.chance(30) { end = 86_400 }
                if end <= start { end = start + step }
                intervals.append(OpenInterval(day, TimeOfDay(seconds: start)!, TimeOfDay(seconds: min(end, 86_400))!))
            }
        }
        return intervals.shuffled(using: &random)
    }

    // MARK: Comparison

    private func difference(
        _ subject: Subject, _ one: Case, _ random: inout Random, _ work: inout Work
    ) throws -> String? {
        let (start, end) = (one.span.lowerBound, one.span.upperBound)
        let runs = one.slow.runs(from: start, to: end)
        let edges = zip(runs, runs.dropFirst()).filter { $0.isOpen != $1.isOpen }.map(\.1.start)
        let span = Instant(microseconds: start)..<Instant(microseconds: end)
        work.changes += one.zone.offsetChanges(in: span).count
        let what =
            "\(one.name), \(start)..<\(end), \(one.slow.intervals), holidays \(one.slow.holidays), leave \(one.slow.leave)"

        // Instants of interest: the ends, where it opens or closes and just before, and any.
        var instants = [start, end - 1]
        for _ in 0..<3 {
            instants.append(Int64.random(in: start..<end, using: &random))
            if let edge = edges.randomElement(using: &random) { instants += [edge, edge - 1] }
        }
        for at in instants {
            let instant = Instant(microseconds: at)
            work.compared += 1
            guard subject.isOpen(instant) == one.slow.isOpen(at: at) else { return "open at \(at)? \(what)" }

            let other = instants.randomElement(using: &random)!
            let business = runs.business(from: at, to: other)
            let found = subject.business(instant, Instant(microseconds: other))
            guard found == business else { return "from \(at) to \(other) \(found), not \(business): \(what)" }

            let all = runs.business(from: at, to: end)
            let exact = runs.business(from: at, to: edges.randomElement(using: &random) ?? end)
            for target in [0, 1, exact, Int64.random(in: 0...all + 1, using: &random), all, all + 1] {
                let due = subject.due(instant, target)
                if let expected = runs.due(from: at, target: target) {
                    work.dues += 1
                    guard due?.microseconds == expected else {
                        return "due \(target) after \(at): \(due?.microseconds ?? -1), not \(expected): \(what)"
                    }
                } else if let due, due.microseconds <= end {
                    return "due \(target) after \(at): \(due.microseconds), but not within the span: \(what)"
                }
            }

            let opening = subject.nextOpening(instant)
            if let expected = runs.nextOpening(after: at) {
                work.openings += 1
                guard opening?.microseconds == expected else { return "opening after \(at), not \(expected): \(what)" }
            } else if let opening, opening.microseconds < end {
                return "opening after \(at): \(opening.microseconds), but not within the span: \(what)"
            }
            let closed = subject.nextClosed(instant)
            if let expected = runs.nextClosed(from: at) {
                guard closed?.microseconds == expected else { return "closed from \(at), not \(expected): \(what)" }
            } else if let closed, closed.microseconds < end {
                return "closed from \(at): \(closed.microseconds), but not within the span: \(what)"
            }
        }
        return nil
    }
}
