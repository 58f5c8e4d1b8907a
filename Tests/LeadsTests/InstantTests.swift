import TestSupport
import Testing

@testable import Leads

@Suite struct InstantTests {
    @Test(arguments: [
        ("1970-01-01T00:00:00Z", Int64(0)),
        ("2026-03-01T09:00:00Z", 1_772_355_600_000_000),
        ("2026-03-01t09:00:00z", 1_772_355_600_000_000),
        ("2026-03-01T10:30:00+01:30", 1_772_355_600_000_000),
        ("2026-02-28T22:30:00-10:30", 1_772_355_600_000_000),
        ("2026-03-01T09:00:00-00:00", 1_772_355_600_000_000),
        ("2026-03-01T09:00:00.5Z", 1_772_355_600_500_000),
        ("2026-03-01T09:00:00.000001Z", 1_772_355_600_000_001),
        ("1969-12-31T23:59:59.999999Z", -1),
        ("2000-02-29T00:00:00Z", 951_782_400_000_000),
        ("0000-01-01T00:00:00Z", -62_167_219_200_000_000),
        ("9999-12-31T23:59:59.999999Z", 253_402_300_799_999_999),
    ])
    func `An RFC 3339 text is read as microseconds since 1970 in UTC`(text: String, microseconds: Int64) throws {
        #expect(try Instant(rfc3339: text) == Instant(microseconds: microseconds))
    }

    static let refusals: [(String, InstantProblem.Reason, Int)] = [
        ("", .empty, 0),
        ("10000-01-01T00:00:00Z", .yearNotFourDigits, 0),
        ("999-01-01T00:00:00Z", .yearNotFourDigits, 0),
        ("-001-01-01T00:00:00Z", .expected("four digits of year"), 0),
        ("0000-01-01T00:00:00+00:01", .outsideYears, 0),
        ("9999-12-31T23:59:59-00:01", .outsideYears, 0),
        ("2026/03/01T09:00:00Z", .expected("a hyphen after the year"), 4),
        ("2026-13-01T09:00:00Z", .noSuchMonth, 5),
        ("2026-00-01T09:00:00Z", .noSuchMonth, 5),
        ("2026-02-29T09:00:00Z", .noSuchDay, 8),
        ("1900-02-29T09:00:00Z", .noSuchDay, 8),
        ("2026-04-31T09:00:00Z", .noSuchDay, 8),
        ("2026-04-00T09:00:00Z", .noSuchDay, 8),
        ("2026-3-01T09:00:00Z", .expected("two digits of month"), 5),
        ("2026-03-01 09:00:00Z", .expected("the letter T between date and time"), 10),
        ("2026-03-01", .expected("the letter T between date and time"), 10),
        ("2026-03-01T24:00:00Z", .noSuchTime, 11),
        ("2026-03-01T09:60:00Z", .noSuchTime, 14),
        ("2026-03-01T09:00:61Z", .noSuchTime, 17),
        ("2016-12-31T23:59:60Z", .leapSecond, 17),
        ("2026-03-01T09:00Z", .expected("a colon after the minute"), 16),
        ("2026-03-01T09:00:00.Z", .expected("a digit of fraction"), 20),
        ("2026-03-01T09:00:00.1234567Z", .fractionTooLong, 26),
        ("2026-03-01T09:00:00", .expected("Z or an offset as +hh:mm"), 19),
        ("2026-03-01T09:00:00+0130", .expected("a colon in the offset"), 22),
        ("2026-03-01T09:00:00+24:00", .noSuchOffset, 20),
        ("2026-03-01T09:00:00+01:60", .noSuchOffset, 23),
        ("2026-03-01T09:00:00ZZ", .trailing, 20),
        ("2026-03-01T09:00:00Z ", .trailing, 20),
        (" 2026-03-01T09:00:00Z", .expected("four digits of year"), 0),
        ("２026-03-01T09:00:00Z", .expected("four digits of year"), 0),
    ]

    @Test(arguments: refusals.indices)
    func `A text that is no instant is refused with what is wrong and where`(index: Int) {
        let (text, reason, offset) = InstantTests.refusals[index]
        #expect(throws: InstantProblem(reason: reason, offset: offset)) { try Instant(rfc3339: text) }
    }

    @Test func `Every prefix of an instant and every changed byte is refused or read, and never traps`() {
        let good = Array("2026-03-01T09:00:00.123456+01:30".utf8)
        for length in 0..<good.count {
            #expect(throws: InstantProblem.self) {
                try good[..<length].withUnsafeBytes { try Instant(rfc3339: $0) }
            }
        }
        var accepted = 0
        for place in good.indices {
            for byte in UInt8.min...UInt8.max {
                var bytes = good
                bytes[place] = byte
                if (try? bytes.withUnsafeBytes({ try Instant(rfc3339: $0) })) != nil { accepted += 1 }
            }
        }
        #expect(accepted > good.count)
    }

    /// The form that is read eight bytes at once, beside the same instant in a form that is not: any byte in any place, and every
    /// pair of digits where a part of the time stands.
    @Test func `The usual form is read as any other`() {
        func read(_ bytes: [UInt8]) -> Instant? { try? bytes.withUnsafeBytes { try Instant(rfc3339: $0) } }
        func isAlike(_ bytes: [UInt8]) -> Bool {
            read(bytes) == read(Array(bytes.dropLast()) + (bytes.last == UInt8(ascii: "Z") ? Array("+00:00".utf8) : []))
        }
        for text in ["2024-02-29T23:59:59Z", "0000-01-01T00:00:00Z", "1999-12-31T10:08:07Z", "9999-12-31T23:59:59Z"] {
            let good = Array(text.utf8)
            #expect(read(good) != nil && isAlike(good))
            for place in 0..<19 {
                for byte in UInt8.min...UInt8.max {
                    var bytes = good
                    bytes[place] = byte
                    #expect(isAlike(bytes), "\(byte) at \(place) of \(text)")
                }
            }
            for place in [0, 2, 5, 8, 11, 14, 17] {
                for number in 0..<100 as Range<UInt8> {
                    var bytes = good
                    bytes[place] = UInt8(ascii: "0") + number / 10
                    bytes[place + 1] = UInt8(ascii: "0") + number % 10
                    #expect(isAlike(bytes), "\(number) at \(place) of \(text)")
                }
            }
        }
    }

    @Test func `What is wrong is said in words`() {
        #expect(throws: InstantProblem.self) { try Instant(rfc3339: "10000-01-01T00:00:00Z") }
        do throws(InstantProblem) {
            _ = try Instant(rfc3339: "10000-01-01T00:00:00Z")
        } catch {
            #expect(error.message == "the year must have exactly four digits (0000 to 9999), at byte 0")
        }
    }

    @Test func `Any instant of the years 0000 to 9999 comes back from its text`() throws {
        var generator = SeededGenerator(seed: 1)
        for round in 0..<20_000 {
            var instant = Instant(
                microseconds: .random(
                    in: Instant.earliest.microseconds...Instant.latest.microseconds, using: &generator))
            if round % 2 == 0 { instant.microseconds -= instant.microseconds % 1_000_000 }
            var bytes: [UInt8] = []
            instant.append(to: &bytes)
            let again = try bytes.withUnsafeBytes { try Instant(rfc3339: $0) }
            guard again == instant, bytes.count == (instant.microseconds % 1_000_000 == 0 ? 20 : 27) else {
                Issue.record("seed 1: \(instant.microseconds) became \(instant.text)")
                return
            }
        }
    }

    @Test func `The fraction is absent or has six digits`() {
        #expect(Instant(microseconds: 1_772_355_600_000_000).text == "2026-03-01T09:00:00Z")
        #expect(Instant(microseconds: 1_772_355_600_250_000).text == "2026-03-01T09:00:00.250000Z")
        #expect(Instant(microseconds: -1).text == "1969-12-31T23:59:59.999999Z")
    }

    @Test func `An instant outside the years that can be written is written as the nearest one inside`() {
        #expect(Instant(microseconds: .max).text == "9999-12-31T23:59:59.999999Z")
        #expect(Instant(microseconds: .min).text == "0000-01-01T00:00:00Z")
    }

    @Test func `Day and month are those of UTC, also before 1970`() throws {
        let instant = try Instant(rfc3339: "2018-03-06T19:38:55Z")
        #expect(instant.date.text == "2018-03-06")
        #expect(instant.monthText == "2018-03")
        #expect(instant.startOfDay.text == "2018-03-06T00:00:00Z")
        #expect(instant.startOfMonth.text == "2018-03-01T00:00:00Z")
        #expect(instant.startOfNextMonth.text == "2018-04-01T00:00:00Z")
        #expect(try Instant(rfc3339: "2018-12-31T23:59:59Z").startOfNextMonth.text == "2019-01-01T00:00:00Z")
        #expect(Instant(microseconds: -1).date.text == "1969-12-31")
    }

    @Test func `A date stands for its midnight in UTC`() throws {
        #expect(try Instant(date: "2018-02-01").text == "2018-02-01T00:00:00Z")
        #expect(try Instant(dateOrRFC3339: "2018-02-01") == Instant(date: "2018-02-01"))
        #expect(try Instant(dateOrRFC3339: "2018-02-01T01:00:00+01:00") == Instant(date: "2018-02-01"))
        #expect(throws: InstantProblem(reason: .trailing, offset: 10)) { try Instant(date: "2018-02-01T00:00:00Z") }
        #expect(throws: InstantProblem(reason: .noSuchDay, offset: 8)) { try Instant(date: "2018-02-29") }
    }

    @Test func `Days between dates ignore the time of day`() throws {
        let contact = try Instant(date: "2018-03-08")
        let won = try Instant(rfc3339: "2018-03-06T19:38:55Z")
        #expect(CivilDate.days(from: contact.date, to: won.date) == -2)
    }

    @Test func `Every day of four centuries has the number after the one before`() {
        var date = CivilDate(year: 1800, month: 1, day: 1)!
        var number = date.dayNumber
        #expect(number == -62_091)
        while date.year < 2200 {
            let day = date.day + 1
            let next =
                CivilDate(year: date.year, month: date.month, day: day)
                ?? CivilDate(year: date.year, month: date.month + 1, day: 1)
                ?? CivilDate(year: date.year + 1, month: 1, day: 1)!
            number += 1
            guard next.dayNumber == number, CivilDate(dayNumber: number) == next else {
                Issue.record("\(next) has not the number \(number)")
                return
            }
            date = next
        }
    }
}
