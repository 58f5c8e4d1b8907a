import CSimdJSON

// Numbers stay text until they are asked for, and are then exact or nil. `1.0` and `1e2` are integers, as JSON Schema says.

extension JSONValue {
    /// Whether this is a number without a fractional part, however it is written and however large it is.
    @inlinable
    package var isInteger: Bool {
        guard kind == .number else { return false }
        return hasIntegerText || Decimal(raw).isInteger
    }

    /// The exact value, nil where this is no integer or does not fit.
    @inlinable
    package var int64: Int64? {
        guard kind == .number else { return nil }
        if hasIntegerText, let short = shortInteger { return short }
        return Decimal(raw).integer.flatMap { Int64(exactly: $0) }
    }

    @inlinable
    package var uint64: UInt64? { int128.flatMap { UInt64(exactly: $0) } }

    /// The exact value, nil where this is no integer or does not fit.
    @inlinable
    package var int128: Int128? {
        guard kind == .number else { return nil }
        if hasIntegerText, let short = shortInteger { return Int128(short) }
        return Decimal(raw).integer
    }

    /// The nearest double (infinite beyond its range), nil for other kinds than numbers.
    package var double: Double? {
        kind == .number ? Double(String(decoding: raw, as: UTF8.self)) : nil
    }

    @usableFromInline
    var hasIntegerText: Bool { node.pointee.flags & UInt8(CSJ_FLAG_INTEGER) != 0 }

    /// The value of up to 18 digits, which cannot overflow. The usual case by far.
    @usableFromInline
    var shortInteger: Int64? {
        let text = raw
        let negative = text[0] == UInt8(ascii: "-")
        let first = negative ? 1 : 0
        guard text.count - first <= 18 else { return nil }
        var value: Int64 = 0
        for i in first..<text.count { value = value &* 10 &+ Int64(text[i] &- UInt8(ascii: "0")) }
        return negative ? -value : value
    }

    /// Compares a number with a bound, exactly: -1, 0 or 1.
    func compare(with bound: Int64) -> Int {
        if hasIntegerText, let short = shortInteger { return short < bound ? -1 : short == bound ? 0 : 1 }
        return Decimal(raw).compare(with: bound)
    }
}

/// A JSON number taken apart: (-1)^negative * digits * 10^exponent, where the digits neither begin nor end with 0.
/// Zero has no digits. Exponents beyond +-10^9 are held there, which is far beyond any text a parser takes.
@usableFromInline
struct Decimal {
    private let text: UnsafeRawBufferPointer
    private let negative: Bool
    /// The range in `text` from the first to the last digit that is not 0; a decimal point may lie inside.
    private let digits: Range<Int>
    private let digitCount: Int
    private let exponent: Int

    /// `text` is a grammatical JSON number.
    @usableFromInline
    init(_ text: UnsafeRawBufferPointer) {
        self.text = text
        negative = text[0] == UInt8(ascii: "-")
        var i = negative ? 1 : 0
        var point: Int?
        var first: Int?
        var last = 0
        while i < text.count {
            let c = text[i]
            if c == UInt8(ascii: ".") {
                point = i
            } else if c >= UInt8(ascii: "0"), c <= UInt8(ascii: "9") {
                if c != UInt8(ascii: "0") {
                    if first == nil { first = i }
                    last = i
                }
            } else {
                break
            }
            i += 1
        }
        let mantissaEnd = i
        var written = 0
        if i < text.count {
            i += 1  // e or E
            let minus = text[i] == UInt8(ascii: "-")
            if minus || text[i] == UInt8(ascii: "+") { i += 1 }
            while i < text.count {
                written = min(written * 10 + Int(text[i] - UInt8(ascii: "0")), 1_000_000_000)
                i += 1
            }
            if minus { written = -written }
        }
        guard let first else {
            digits = 0..<0
            digitCount = 0
            exponent = 0
            return
        }
        digits = first..<(last + 1)
        let pointInside = point.map { $0 > first && $0 < last } ?? false
        digitCount = last + 1 - first - (pointInside ? 1 : 0)
        // The power of ten of the last digit: before the point it counts the places up to the point.
        let place = point.map { last < $0 ? $0 - last - 1 : $0 - last } ?? (mantissaEnd - last - 1)
        exponent = written + place
    }

    @usableFromInline
    var isInteger: Bool { exponent >= 0 }

    /// The exact value, nil where there is a fraction or 128 bits do not hold it.
    @usableFromInline
    var integer: Int128? {
        guard exponent >= 0, digitCount + exponent <= 39 else { return nil }
        return magnitude(digitsUsed: digitCount, zeros: exponent)
    }

    private func magnitude(digitsUsed: Int, zeros: Int) -> Int128? {
        var value: Int128 = 0
        func push(_ digit: Int128) -> Bool {
            let (product, overflow) = value.multipliedReportingOverflow(by: 10)
            let (sum, carried) = product.addingReportingOverflow(negative ? -digit : digit)
            value = sum
            return !overflow && !carried
        }
        var used = 0
        for i in digits where text[i] != UInt8(ascii: ".") && used < digitsUsed {
            guard push(Int128(text[i] - UInt8(ascii: "0"))) else { return nil }
            used += 1
        }
        for _ in 0..<zeros {
            guard push(0) else { return nil }
        }
        return value
    }

    func compare(with bound: Int64) -> Int {
        let bound = Int128(bound)
        // A magnitude of 10^25 and more is beyond any bound.
        if digitCount + exponent > 25 { return negative ? -1 : 1 }
        if exponent >= 0 {
            guard let value = integer else { return negative ? -1 : 1 }
            return value < bound ? -1 : value == bound ? 0 : 1
        }
        // With a fraction the value lies strictly between `whole` and the next integer away from zero.
        guard let whole = magnitude(digitsUsed: max(0, digitCount + exponent), zeros: 0) else {
            return negative ? -1 : 1
        }
        if negative { return whole <= bound ? -1 : 1 }
        return whole >= bound ? 1 : -1
    }
}
