import JSON
import Leads

// How values of answers are shown to people.

extension JSONValue {
    /// A text as it is, a number or a boolean as it is written, and nothing for null.
    var shown: String {
        switch kind {
        case .null: ""
        case .string: printable(string ?? "")
        case .boolean, .number, .array, .object: printable(String(decoding: raw, as: UTF8.self))
        }
    }
}

extension JSONValue? {
    var shown: String { self?.shown ?? "" }
}

/// Names and their values, one a line, the values under each other.
func writeFacts(_ facts: [(name: String, value: String)], to output: Output) {
    let width = facts.map(\.name.count).max() ?? 0
    for fact in facts where !fact.value.isEmpty {
        output.line(fact.name + String(repeating: " ", count: width - fact.name.count) + "  " + fact.value)
    }
}

/// An amount of minor units, a number or (where sums may be large) a text, in the currency's unit: `1299.00`.
func amountText(_ amount: JSONValue?, _ currency: JSONValue?) -> String {
    guard let minorUnits = amount?.int128 ?? amount?.string.flatMap({ Int128($0) }),
        let known = currency?.string.flatMap({ Currency($0) })
    else { return amount.shown }
    return Money.text(minorUnits: minorUnits, of: known)
}

/// An amount of minor units with its currency: `1299.00 EUR`.
func moneyText(_ amount: JSONValue?, _ currency: JSONValue?) -> String {
    "\(amountText(amount, currency)) \(currency.shown)"
}

/// Credit of value, which the daemon gives in minor units with six decimals, in the currency's unit.
func creditText(_ value: JSONValue?, _ currency: JSONValue?) -> String {
    guard let text = value?.string else { return value.shown }
    guard let code = currency?.string, let known = Currency(code), let credit = exactUnits(text, fractionDigits: 6)
    else {
        return printable(text)
    }
    return Money.text(valueCredit: credit, of: known)
}

/// Conversions, exact, without zeros at the end.
func conversionsText(_ value: JSONValue?) -> String {
    guard let text = value?.string, let units = exactUnits(text, fractionDigits: 9) else { return value.shown }
    return DecimalText.string(units, fractionDigits: 9, .trimmed)
}

/// A decimal text as so many units of 10^-fractionDigits; nil where it is none or has more digits.
func exactUnits(_ text: String, fractionDigits: Int) -> Int128? {
    let parts = text.split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
    let fraction = parts.count == 2 ? parts[1] : ""
    guard fraction.utf8.count <= fractionDigits, fraction.utf8.allSatisfy({ $0 &- UInt8(ascii: "0") < 10 }) else {
        return nil
    }
    return Int128(parts[0] + fraction + String(repeating: "0", count: fractionDigits - fraction.utf8.count))
}

/// A share of 1 with one decimal of a percent, rounded half up: `12.5 %`. The daemon gives nine decimals; empty for null.
func percentText(_ share: JSONValue?) -> String {
    guard let share, share.kind == .number,
        let units = exactUnits(String(decoding: share.raw, as: UTF8.self), fractionDigits: 9)
    else { return "" }
    let tenths = (units * 1_000 + 500_000_000) / 1_000_000_000
    return DecimalText.string(tenths, fractionDigits: 1, .fixed) + " %"
}

/// A number with so many decimals, rounded half away from zero. The daemon gives nine; empty for null.
func decimalText(_ value: JSONValue?, fractionDigits: Int) -> String {
    guard let value, value.kind == .number,
        let units = exactUnits(String(decoding: value.raw, as: UTF8.self), fractionDigits: 9)
    else { return "" }
    let step = (fractionDigits..<9).reduce(Int128(1)) { step, _ in step * 10 }
    let rounded = (abs(units) + step / 2) / step
    return DecimalText.string(units < 0 ? -rounded : rounded, fractionDigits: fractionDigits, .fixed)
}

/// Seconds with decimals as a span; empty for null.
func spanText(_ seconds: JSONValue?) -> String {
    guard let seconds, seconds.kind == .number,
        let microseconds = exactUnits(String(decoding: seconds.raw, as: UTF8.self), fractionDigits: 6),
        let whole = Int64(exactly: microseconds / 1_000_000)
    else { return "" }
    return ageText(seconds: whole)
}

/// A time span a person can judge: `3 d 4 h`, `2 h 5 min`, `40 s`.
func ageText(seconds: Int64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60)
    if days > 0 { return "\(days) d \(hours) h" }
    if hours > 0 { return "\(hours) h \(minutes) min" }
    if minutes > 0 { return "\(minutes) min" }
    return "\(seconds) s"
}
