// Reading and writing instants as RFC 3339, on bytes and without allocating: each event that comes in is read once here,
// and each one that is read back is written here.
//
//     2026-03-01T09:00:00Z              20 bytes, whole seconds
//     2026-03-01T09:00:00.250000Z       27 bytes, always six digits where the microseconds are not zero
//
// Accepted: exactly four digits of year; `T` or `t`, `Z` or `z` (RFC 3339 5.6 asks readers to take both cases); an offset
// +hh:mm or -hh:mm (-00:00 too) in place of Z; one to six digits of fraction. Refused: a seventh digit, because it could
// not be given back; the second 60, because no count of microseconds since 1970 can tell it from the next one; a blank
// in place of T; anything before or after.

/// What is wrong with a text that should be an instant or a date, and at which byte.
package struct InstantProblem: Error, Equatable, Sendable {
    package enum Reason: Equatable, Sendable {
        case empty
        /// Fewer or more than four digits of year: 10000-01-01, 999-01-01.
        case yearNotFourDigits
        /// With its offset taken into account the instant lies outside the years 0000 to 9999.
        case outsideYears
        case expected(StaticStringText)
        case noSuchMonth
        case noSuchDay
        case noSuchTime
        case leapSecond
        case fractionTooLong
        case noSuchOffset
        case trailing
    }
    package var reason: Reason
    /// The byte of the text where reading stopped.
    package var offset: Int

    /// A clause for a person: "the year must have four digits (0000 to 9999), at byte 0".
    package var message: String {
        let what =
            switch reason {
            case .empty: "it is empty"
            case .yearNotFourDigits: "the year must have exactly four digits (0000 to 9999)"
            case .outsideYears: "the instant lies outside the years 0000 to 9999 in UTC"
            case .expected(let token): "expected \(token.text)"
            case .noSuchMonth: "there is no such month"
            case .noSuchDay: "there is no such day in that month"
            case .noSuchTime: "there is no such time of day"
            case .leapSecond: "the leap second 60 is not taken; send 59 or the next second"
            case .fractionTooLong: "at most six digits of fraction are kept"
            case .noSuchOffset: "the offset from UTC must be Z or +hh:mm up to 23:59"
            case .trailing: "there is more text after the end"
            }
        return "\(what), at byte \(offset)"
    }
}

/// A `StaticString` that can be compared, so that a problem can be.
package struct StaticStringText: Equatable, Sendable, ExpressibleByStringLiteral {
    let value: StaticString
    package init(stringLiteral value: StaticString) { self.value = value }
    package var text: String { value.description }
    package static func == (left: StaticStringText, right: StaticStringText) -> Bool { left.text == right.text }
}

// MARK: - Reading

extension Instant {
    /// Reads an RFC 3339 date and time.
    package init(rfc3339 text: UnsafeRawBufferPointer) throws(InstantProblem) {
        if let usual = Instant(usualForm: text) {
            self = usual
            return
        }
        var reader = TimeReader(text: text)
        let day = try reader.date()
        guard let separator = reader.peek(), separator | 0x20 == UInt8(ascii: "t") else {
            throw reader.problem(.expected("the letter T between date and time"))
        }
        reader.at += 1
        let secondOfDay = try reader.timeOfDay()
        let fraction = try reader.fraction()
        let offsetSeconds = try reader.offset()
        guard reader.at == text.count else { throw reader.problem(.trailing) }
        let seconds = Int64(day) * 86_400 + Int64(secondOfDay) - Int64(offsetSeconds)
        self.init(microseconds: seconds * Instant.microsecondsPerSecond + Int64(fraction))
        guard self >= .earliest, self <= .latest else {
            throw InstantProblem(reason: .outsideYears, offset: 0)
        }
    }

    /// Reads `2026-03-01T09:00:00Z`, in just this form; nil for all else, good or not. Eight bytes at once: most of what is read are these.
    private init?(usualForm text: UnsafeRawBufferPointer) {
        guard text.count == 20 else { return nil }
        func load(_ offset: Int) -> UInt64 {
            UInt64(littleEndian: text.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
        }
        // Each byte from the lowest: 0...9 where a digit stands, and 0 where the right punctuation does.
        let date = load(0) ^ 0x2D30_302D_3030_3030  // 0000-00-
        let time = load(8) ^ 0x3030_3A30_3054_3030  // 00T00:00
        let rest = load(12) ^ 0x5A30_303A_3030_3A30  // 0:00:00Z
        // A byte gets its top bit, or has it, where it is more than 9, or than 0.
        let isOther =
            (date &+ 0x7F76_767F_7676_7676) | date | (time &+ 0x7676_7F76_767F_7676) | time
            | (rest &+ 0x7F76_767F_7676_7F76) | rest
        guard isOther & 0x8080_8080_8080_8080 == 0 else { return nil }
        func two(_ word: UInt64, _ byte: UInt64) -> Int {
            Int(truncatingIfNeeded: (word &>> (8 &* byte)) & 15 &* 10 &+ (word &>> (8 &* byte &+ 8)) & 15)
        }
        let (year, month, day) = (two(date, 0) * 100 + two(date, 2), two(date, 5), two(time, 0))
        let (hour, minute, second) = (two(time, 3), two(time, 6), two(rest, 5))
        guard 1...12 ~= month, day >= 1, day <= CivilDate.daysIn(month: month, year: year), hour < 24, minute < 60,
            second < 60
        else { return nil }
        let days = CivilDate(uncheckedYear: year, month: month, day: day).dayNumber
        let seconds = days * 86_400 + hour * 3600 + minute * 60 + second
        self.init(microseconds: Int64(seconds) * Instant.microsecondsPerSecond)
    }

    package init(rfc3339 text: String) throws(InstantProblem) {
        self = try Instant.reading(text) { bytes throws(InstantProblem) in try Instant(rfc3339: bytes) }
    }

    /// Reads `2018-02-01` as that date's midnight UTC.
    package init(date text: UnsafeRawBufferPointer) throws(InstantProblem) {
        var reader = TimeReader(text: text)
        let day = try reader.date()
        guard reader.at == text.count else { throw reader.problem(.trailing) }
        self.init(microseconds: Int64(day) * Instant.microsecondsPerDay)
    }

    package init(date text: String) throws(InstantProblem) {
        self = try Instant.reading(text) { bytes throws(InstantProblem) in try Instant(date: bytes) }
    }

    /// Reads either form, as `--from` and `--to` take them.
    package init(dateOrRFC3339 text: String) throws(InstantProblem) {
        self =
            text.utf8.count == 10 ? try Instant(date: text) : try Instant(rfc3339: text)
    }

    private static func reading(
        _ text: String, _ body: (UnsafeRawBufferPointer) throws(InstantProblem) -> Instant
    ) throws(InstantProblem) -> Instant {
        var text = text
        let result: Result<Instant, InstantProblem> = text.withUTF8 { utf8 in
            do throws(InstantProblem) {
                return .success(try body(UnsafeRawBufferPointer(utf8)))
            } catch {
                return .failure(error)
            }
        }
        return try result.get()
    }
}

extension CivilDate {
    /// Reads `2018-02-01`.
    package init(_ text: String) throws(InstantProblem) {
        self = try Instant(date: text).date
    }
}

private struct TimeReader {
    let text: UnsafeRawBufferPointer
    var at = 0

    func peek() -> UInt8? { at < text.count ? text[at] : nil }

    func problem(_ reason: InstantProblem.Reason) -> InstantProblem {
        InstantProblem(reason: reason, offset: at)
    }

    func digit(at index: Int) -> Int? {
        guard index < text.count else { return nil }
        let value = text[index] &- UInt8(ascii: "0")
        return value < 10 ? Int(value) : nil
    }

    /// yyyy-mm-dd as days since 1970-01-01.
    mutating func date() throws(InstantProblem) -> Int {
        guard !text.isEmpty else { throw problem(.empty) }
        var year = 0
        var digits = 0
        while let value = digit(at: at + digits), digits < 5 {
            year = year * 10 + value
            digits += 1
        }
        guard digits > 0 else { throw problem(.expected("four digits of year")) }
        guard digits == 4 else { throw problem(.yearNotFourDigits) }
        at += 4
        try take("-", "a hyphen after the year")
        let month = try twoDigits("two digits of month")
        guard (1...12).contains(month) else { throw back(2, .noSuchMonth) }
        try take("-", "a hyphen after the month")
        let day = try twoDigits("two digits of day")
        guard day >= 1, day <= CivilDate.daysIn(month: month, year: year) else { throw back(2, .noSuchDay) }
        return CivilDate(uncheckedYear: year, month: month, day: day).dayNumber
    }

    /// hh:mm:ss as seconds since midnight.
    mutating func timeOfDay() throws(InstantProblem) -> Int {
        let hour = try twoDigits("two digits of hour")
        guard hour < 24 else { throw back(2, .noSuchTime) }
        try take(":", "a colon after the hour")
        let minute = try twoDigits("two digits of minute")
        guard minute < 60 else { throw back(2, .noSuchTime) }
        try take(":", "a colon after the minute")
        let second = try twoDigits("two digits of second")
        guard second != 60 else { throw back(2, .leapSecond) }
        guard second < 60 else { throw back(2, .noSuchTime) }
        return hour * 3600 + minute * 60 + second
    }

    /// A fraction as microseconds; 0 where there is none.
    mutating func fraction() throws(InstantProblem) -> Int {
        guard peek() == UInt8(ascii: ".") else { return 0 }
        at += 1
        var value = 0
        var digits = 0
        while let next = digit(at: at) {
            guard digits < 6 else { throw problem(.fractionTooLong) }
            value = value * 10 + next
            digits += 1
            at += 1
        }
        guard digits > 0 else { throw problem(.expected("a digit of fraction")) }
        while digits < 6 {
            value *= 10
            digits += 1
        }
        return value
    }

    /// Z or +hh:mm as seconds east of Greenwich.
    mutating func offset() throws(InstantProblem) -> Int {
        guard let sign = peek() else { throw problem(.expected("Z or an offset as +hh:mm")) }
        if sign | 0x20 == UInt8(ascii: "z") {
            at += 1
            return 0
        }
        guard sign == UInt8(ascii: "+") || sign == UInt8(ascii: "-") else {
            throw problem(.expected("Z or an offset as +hh:mm"))
        }
        at += 1
        let hour = try twoDigits("two digits of offset hour")
        guard hour < 24 else { throw back(2, .noSuchOffset) }
        try take(":", "a colon in the offset")
        let minute = try twoDigits("two digits of offset minute")
        guard minute < 60 else { throw back(2, .noSuchOffset) }
        let seconds = hour * 3600 + minute * 60
        return sign == UInt8(ascii: "-") ? -seconds : seconds
    }

    mutating func twoDigits(_ expected: StaticString) throws(InstantProblem) -> Int {
        guard let tens = digit(at: at), let ones = digit(at: at + 1) else {
            throw problem(.expected(StaticStringText(stringLiteral: expected)))
        }
        at += 2
        return tens * 10 + ones
    }

    mutating func take(_ byte: Unicode.Scalar, _ expected: StaticString) throws(InstantProblem) {
        guard peek() == UInt8(ascii: byte) else {
            throw problem(.expected(StaticStringText(stringLiteral: expected)))
        }
        at += 1
    }

    func back(_ bytes: Int, _ reason: InstantProblem.Reason) -> InstantProblem {
        InstantProblem(reason: reason, offset: at - bytes)
    }
}

// MARK: - Writing

extension Instant {
    /// The most bytes `write(to:)` writes.
    package static let textBytesMax = 27

    /// Writes the instant in UTC as RFC 3339 and returns how many bytes that took (20 or 27). The buffer must hold
    /// `textBytesMax` bytes. An instant outside the years 0000 to 9999 is written as the nearest one inside.
    @discardableResult
    package func write(to buffer: UnsafeMutableRawBufferPointer) -> Int {
        precondition(buffer.count >= Instant.textBytesMax)
        let instant = min(max(self, .earliest), .latest)
        let dayNumber = instant.dayNumber
        let date = CivilDate(dayNumber: dayNumber)
        let inDay = instant.microseconds - Int64(dayNumber) * Instant.microsecondsPerDay
        let (second, fraction) = inDay.quotientAndRemainder(dividingBy: Instant.microsecondsPerSecond)
        let secondOfDay = Int(second)
        date.write(to: buffer)
        buffer[10] = UInt8(ascii: "T")
        digits(secondOfDay / 3600, 2, at: 11, in: buffer)
        buffer[13] = UInt8(ascii: ":")
        digits(secondOfDay / 60 % 60, 2, at: 14, in: buffer)
        buffer[16] = UInt8(ascii: ":")
        digits(secondOfDay % 60, 2, at: 17, in: buffer)
        guard fraction != 0 else {
            buffer[19] = UInt8(ascii: "Z")
            return 20
        }
        buffer[19] = UInt8(ascii: ".")
        digits(Int(fraction), 6, at: 20, in: buffer)
        buffer[26] = UInt8(ascii: "Z")
        return 27
    }

    /// Appends what `write(to:)` writes; allocates only if the array must grow.
    package func append(to bytes: inout [UInt8]) {
        withUnsafeTemporaryAllocation(byteCount: Instant.textBytesMax, alignment: 1) { buffer in
            let count = write(to: buffer)
            bytes.append(contentsOf: UnsafeRawBufferPointer(rebasing: buffer[..<count]))
        }
    }

    /// RFC 3339 in UTC: `2026-03-01T09:00:00Z`.
    package var text: String {
        String(unsafeUninitializedCapacity: Instant.textBytesMax) { write(to: UnsafeMutableRawBufferPointer($0)) }
    }
}

extension Instant: CustomStringConvertible {
    package var description: String { text }
}

extension CivilDate: CustomStringConvertible {
    /// `2018-02-01`.
    package var text: String {
        String(unsafeUninitializedCapacity: 10) {
            write(to: UnsafeMutableRawBufferPointer($0))
            return 10
        }
    }

    /// `2018-02`.
    package var monthText: String {
        String(unsafeUninitializedCapacity: 10) {
            write(to: UnsafeMutableRawBufferPointer($0))
            return 7
        }
    }

    package var description: String { text }

    func write(to buffer: UnsafeMutableRawBufferPointer) {
        digits(min(max(year, 0), 9999), 4, at: 0, in: buffer)
        buffer[4] = UInt8(ascii: "-")
        digits(month, 2, at: 5, in: buffer)
        buffer[7] = UInt8(ascii: "-")
        digits(day, 2, at: 8, in: buffer)
    }
}

/// Writes a number that fits into exactly `count` decimal digits.
private func digits(_ number: Int, _ count: Int, at start: Int, in buffer: UnsafeMutableRawBufferPointer) {
    var rest = UInt(bitPattern: number)
    var index = start + count
    while index > start {
        index -= 1
        let (tenth, digit) = rest.quotientAndRemainder(dividingBy: 10)
        buffer[index] = UInt8(ascii: "0") + UInt8(truncatingIfNeeded: digit)
        rest = tenth
    }
}
