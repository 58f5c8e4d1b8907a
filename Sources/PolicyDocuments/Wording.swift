import Leads

// Small texts inside a document: durations, hours of a day, dates. Nil is a text that is none.

/// Seconds of `90s`, `5m`, `1h30m`, `2d`: units from large to small, each at most once.
///
/// - Returns: also whether it counts days, which have no fixed length in business time.
package func durationSeconds(_ text: String) -> (seconds: Int64, hasDays: Bool)? {
    let units: [(letter: UInt8, seconds: Int64)] = [
        (UInt8(ascii: "d"), 86_400), (UInt8(ascii: "h"), 3_600), (UInt8(ascii: "m"), 60), (UInt8(ascii: "s"), 1),
    ]
    var rest = Array(text.utf8)[...]
    var seconds: Int64 = 0
    var next = 0
    var hasDays = false
    guard !rest.isEmpty else { return nil }
    while !rest.isEmpty {
        let digits = rest.prefix { $0 &- UInt8(ascii: "0") < 10 }
        rest = rest[digits.endIndex...]
        // 9 digits of days stay inside 64 bits.
        guard (1...9).contains(digits.count), let letter = rest.popFirst(),
            let unit = units.indices.first(where: { $0 >= next && units[$0].letter == letter })
        else { return nil }
        seconds += digits.reduce(0) { $0 * 10 + Int64($1 - UInt8(ascii: "0")) } * units[unit].seconds
        hasDays = hasDays || unit == 0
        next = unit + 1
    }
    return seconds <= DocumentLimits.durationSecondsMax ? (seconds, hasDays) : nil
}

/// `09:00-12:30`; it ends at 24:00 at the latest, and not before it starts.
func dayInterval(_ text: String) -> DayInterval? {
    let ends = text.utf8.split(separator: UInt8(ascii: "-"), omittingEmptySubsequences: false).map(minute)
    guard ends.count == 2, let start = ends[0], let end = ends[1], start < end else { return nil }
    return DayInterval(startMinute: start, endMinute: end)
}

private func minute(_ text: Substring.UTF8View) -> Int? {
    let bytes = Array(text)
    guard bytes.count == 5, bytes[2] == UInt8(ascii: ":"), let hour = digits(bytes[..<2]),
        let minute = digits(bytes[3...]),
        minute < 60, hour * 60 + minute <= 1_440
    else { return nil }
    return hour * 60 + minute
}

/// `2026-12-25`.
func civilDate(_ text: String) -> CivilDate? {
    let bytes = Array(text.utf8)
    guard bytes.count == 10, bytes[4] == UInt8(ascii: "-"), bytes[7] == UInt8(ascii: "-"),
        let year = digits(bytes[..<4]),
        let month = digits(bytes[5..<7]), let day = digits(bytes[8...])
    else { return nil }
    return CivilDate(year: year, month: month, day: day)
}

private func digits(_ bytes: ArraySlice<UInt8>) -> Int? {
    guard bytes.allSatisfy({ $0 &- UInt8(ascii: "0") < 10 }) else { return nil }
    return bytes.reduce(0) { $0 * 10 + Int($1 - UInt8(ascii: "0")) }
}

/// The intervals of a day sorted and united, so that no two overlap or touch.
func united(_ intervals: [DayInterval]) -> [DayInterval] {
    var result: [DayInterval] = []
    for interval in intervals.sorted(by: { ($0.startMinute, $0.endMinute) < ($1.startMinute, $1.endMinute) }) {
        if let last = result.last, interval.startMinute <= last.endMinute {
            result[result.count - 1].endMinute = max(last.endMinute, interval.endMinute)
        } else {
            result.append(interval)
        }
    }
    return result
}

/// Why an id cannot stand in a ledger: as ids of leads, it is kept in the clear for ever.
func idFault(_ id: String) -> String? {
    let bytes = Array(id.utf8)
    if bytes.count > DocumentLimits.idBytesMax { return "longer than \(DocumentLimits.idBytesMax) bytes" }
    if bytes.contains(where: { $0 < 0x20 || $0 == 0x7F }) { return "holds a control character" }
    if bytes.contains(UInt8(ascii: "@")) { return "looks like an e-mail address" }
    for (index, byte) in bytes.enumerated() where byte == UInt8(ascii: "+") {
        let count = bytes[(index + 1)...].prefix { $0 &- UInt8(ascii: "0") < 10 }.count
        if (7...15).contains(count) { return "looks like a phone number" }
    }
    if bytes.first == 0x20 || bytes.last == 0x20 { return "begins or ends with a space" }
    return nil
}
