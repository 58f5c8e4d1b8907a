import JSON
import Leads

// ReportNumbers: how reports write shares and spans of time: exact decimals, never doubles.

extension JSONWriter {
    /// A share with its Wilson 95 % interval, each with nine decimals; null without trials.
    mutating func member(_ name: StaticString, _ share: Proportion?) {
        key(name)
        guard let share, let billionths = share.billionths, let interval = share.wilson95 else { return null() }
        beginObject()
        member("share", billionths: billionths)
        member("lower", billionths: interval.lowerBillionths)
        member("upper", billionths: interval.upperBillionths)
        endObject()
    }

    /// 10^-9 as a number with nine decimals, or null.
    mutating func member(_ name: StaticString, billionths: (some FixedWidthInteger)?) {
        decimal(name, billionths, fractionDigits: 9)
    }

    /// Seconds with six decimals, or null.
    mutating func member(_ name: StaticString, microseconds: Int64?) {
        decimal(name, microseconds, fractionDigits: 6)
    }

    private mutating func decimal(_ name: StaticString, _ units: (some FixedWidthInteger)?, fractionDigits: Int) {
        key(name)
        guard let units else { return null() }
        raw(Array(DecimalText.string(Int128(units), fractionDigits: fractionDigits, .fixed).utf8))
    }
}
