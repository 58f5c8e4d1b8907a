// Money is a whole number of minor units beside the code of its currency. Two currencies are never added. Only where a person
// reads it does the exponent of ISO 4217 matter: 61784006.00 for 6178400600 centavos of BRL, 500 for 500 yen.

/// An ISO 4217 currency code.
package struct Currency: Hashable, Sendable, BitwiseCopyable {
    /// The three letters as ASCII, the first one in bits 16...23.
    package let packed: UInt32

    /// Nil unless these are the letters of a currency in the table below.
    package init?(utf8 code: UnsafeRawBufferPointer) {
        guard code.count == 3 else { return nil }
        let packed = UInt32(code[0]) << 16 | UInt32(code[1]) << 8 | UInt32(code[2])
        guard Currency.exponents[packed] != nil else { return nil }
        self.packed = packed
    }

    package init?(_ code: String) {
        var code = code
        guard let found = code.withUTF8({ Currency(utf8: UnsafeRawBufferPointer($0)) }) else { return nil }
        self = found
    }

    package var code: String {
        String(decoding: [UInt8(packed >> 16 & 255), UInt8(packed >> 8 & 255), UInt8(packed & 255)], as: UTF8.self)
    }

    /// Decimal digits of the minor unit: 2 for BRL, 0 for JPY, 3 for KWD.
    /// Every code there is, in no order.
    package static var allCodes: [String] {
        table.flatMap { $0.codes.description.split(separator: " ").map(String.init) }
    }

    package var exponent: Int { Int(Currency.exponents[packed] ?? 2) }

    /// ISO 4217 list one, without the codes that have no minor unit (metals, SDR, testing), and codes withdrawn in the last years,
    /// since imports bring the past.
    private static let table: [(exponent: UInt8, codes: StaticString)] = [
        (0, "BIF BYR CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"),
        (
            2,
            """
            AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF CHW CNY COP COU \
            CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES \
            KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR \
            NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP \
            TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XAD XCD XCG YER ZAR ZMW ZWG \
            ANG BGN CUC EEK HRK LTL LVL MRO SLL STD VEF ZMK ZWL
            """
        ),
        (3, "BHD IQD JOD KWD LYD OMR TND"),
        (4, "CLF UYW"),
    ]

    private static let exponents: [UInt32: UInt8] = {
        var exponents: [UInt32: UInt8] = [:]
        for (exponent, codes) in table {
            for code in codes.description.utf8.split(separator: UInt8(ascii: " ")) {
                exponents[code.reduce(0) { $0 << 8 | UInt32($1) }] = exponent
            }
        }
        return exponents
    }()
}

extension Currency: CustomStringConvertible {
    package var description: String { code }
}

package enum Money {
    /// An amount of minor units as a decimal number: `61784006.00`, `-0.05`, `500`.
    package static func text(minorUnits: Int128, of currency: Currency) -> String {
        DecimalText.string(minorUnits, fractionDigits: currency.exponent, .fixed)
    }

    /// Value credit (millionths of a minor unit) as a decimal number with at least the digits of the currency:
    /// `46.66666667`, `140.00`.
    package static func text(valueCredit: Int128, of currency: Currency) -> String {
        DecimalText.string(
            valueCredit, fractionDigits: currency.exponent + Credit.minorUnitDigits, .trimmed(least: currency.exponent))
    }

    /// A decimal number as minor units: `61784006.0` of BRL is 6178400600. Nil unless it is a sign, digits, and a fraction that
    /// the currency has (zeros beyond it are taken), and fits into 64 bits.
    package static func minorUnits(_ text: String, of currency: Currency) -> Int64? {
        DecimalText.parse(text, fractionDigits: currency.exponent)
    }
}

/// Whole numbers of small units written with a decimal point.
package enum DecimalText {
    package enum Style: Equatable, Sendable {
        /// All digits: 2.500000000.
        case fixed
        /// Without zeros at the end, but at least so many digits: 2.5 with 0, 2.50 with 2.
        case trimmed(least: Int)

        package static let trimmed = Style.trimmed(least: 0)
    }

    /// `number` units of 10^-fractionDigits: `string(2_500_000_000, fractionDigits: 9, .trimmed)` is `2.5`.
    package static func string(_ number: Int128, fractionDigits: Int, _ style: Style) -> String {
        var digits = Array(String(number.magnitude).utf8)
        if digits.count <= fractionDigits {
            digits.insert(contentsOf: repeatElement(UInt8(ascii: "0"), count: fractionDigits + 1 - digits.count), at: 0)
        }
        let point = digits.count - fractionDigits
        if case .trimmed(let least) = style {
            while digits.count > point + least, digits.last == UInt8(ascii: "0") { digits.removeLast() }
        }
        if digits.count > point { digits.insert(UInt8(ascii: "."), at: point) }
        if number < 0 { digits.insert(UInt8(ascii: "-"), at: 0) }
        return String(decoding: digits, as: UTF8.self)
    }

    /// The reverse, exact or nil: digits, at most one point, an optional sign before.
    package static func parse(_ text: String, fractionDigits: Int) -> Int64? {
        var rest = text.utf8[...]
        let isNegative = rest.first == UInt8(ascii: "-")
        if isNegative || rest.first == UInt8(ascii: "+") { rest.removeFirst() }
        var value: Int64 = 0
        var digits = 0
        var fraction: Int?
        for byte in rest {
            if byte == UInt8(ascii: ".") {
                guard fraction == nil, digits > 0 else { return nil }
                fraction = 0
                continue
            }
            let digit = byte &- UInt8(ascii: "0")
            guard digit < 10 else { return nil }
            digits += 1
            if let places = fraction {
                fraction = places + 1
                if places >= fractionDigits {
                    guard digit == 0 else { return nil }
                    continue
                }
            }
            guard let next = shifted(value, adding: Int64(digit), isNegative) else { return nil }
            value = next
        }
        guard digits > 0, fraction != 0 else { return nil }
        for _ in min(fraction ?? 0, fractionDigits)..<fractionDigits {
            guard let next = shifted(value, adding: 0, isNegative) else { return nil }
            value = next
        }
        return value
    }

    /// Another decimal digit at the end, away from zero, so that the least Int64 can be read too.
    private static func shifted(_ value: Int64, adding digit: Int64, _ isNegative: Bool) -> Int64? {
        let (tenfold, overflow) = value.multipliedReportingOverflow(by: 10)
        let (sum, overflowToo) = tenfold.addingReportingOverflow(isNegative ? -digit : digit)
        return overflow || overflowToo ? nil : sum
    }
}
