import Testing

@testable import Leads

@Suite struct MoneyTests {
    @Test func `A currency has the digits of its minor unit`() {
        for (code, exponent) in [("BRL", 2), ("EUR", 2), ("JPY", 0), ("KWD", 3), ("CLF", 4), ("HRK", 2), ("ISK", 0)] {
            #expect(Currency(code)?.exponent == exponent)
            #expect(Currency(code)?.code == code)
        }
        for code in ["", "BR", "brl", "BRLX", "XXX", "XAU", "R$ "] { #expect(Currency(code) == nil) }
    }

    @Test func `Amounts are written with all digits of the currency`() throws {
        let brl = try #require(Currency("BRL"))
        #expect(Money.text(minorUnits: 6_178_400_600, of: brl) == "61784006.00")
        #expect(Money.text(minorUnits: -5, of: brl) == "-0.05")
        #expect(Money.text(minorUnits: 0, of: brl) == "0.00")
        #expect(Money.text(minorUnits: 500, of: try #require(Currency("JPY"))) == "500")
        #expect(Money.text(minorUnits: Int128(Int64.min), of: brl) == "-92233720368547758.08")
        #expect(Money.text(valueCredit: 4_666_666_667, of: brl) == "46.66666667")
        #expect(Money.text(valueCredit: 14_000_000_000, of: brl) == "140.00")
    }

    @Test func `Credit is written with or without the zeros at its end`() {
        #expect(DecimalText.string(2_500_000_000, fractionDigits: 9, .trimmed) == "2.5")
        #expect(DecimalText.string(2_500_000_000, fractionDigits: 9, .fixed) == "2.500000000")
        #expect(DecimalText.string(842_000_000_000, fractionDigits: 9, .trimmed) == "842")
        #expect(DecimalText.string(1, fractionDigits: 9, .trimmed) == "0.000000001")
        #expect(DecimalText.string(0, fractionDigits: 9, .trimmed) == "0")
        #expect(DecimalText.string(-100, fractionDigits: 0, .trimmed) == "-100")
    }

    @Test func `A decimal number is read as minor units exactly or not at all`() throws {
        let brl = try #require(Currency("BRL"))
        for (text, amount) in [
            ("61784006.00", Int64(6_178_400_600)), ("20000.0", 2_000_000), ("5", 500), ("0.05", 5), ("-0.05", -5),
            ("+1.5", 150),
            ("1.2300", 123), ("-92233720368547758.08", .min), ("92233720368547758.07", .max),
        ] {
            #expect(Money.minorUnits(text, of: brl) == amount, "\(text)")
        }
        for text in [
            "", "-", ".", ".5", "5.", "1.2.3", "1,5", "1.234", "1e3", " 1", "92233720368547758.08", "NaN", "--1",
        ] {
            #expect(Money.minorUnits(text, of: brl) == nil, "\(text)")
        }
    }
}
