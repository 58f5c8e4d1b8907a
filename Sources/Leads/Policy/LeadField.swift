/// A field of a lead that conditions may read. This table is all there is to know about one: its name in conditions, its
/// type, where it lies in a capture, and how it is read.
package enum LeadField: Int, CaseIterable, Sendable {
    case channel, source, medium, campaign, content, term, landingPage, referrer
    case leadType, product, country, region, language
    case companyName, companyDomain, companySize, companyIndustry
    case amount, currency
    case stage, cycle

    /// Fields of every rule set. Those after them are the sender's own, `RuleSet.customFields`.
    package static let fixedCount = allCases.count

    package var name: String { staticName.description }

    /// Member names in the `data` of `lead.captured`; `stage` and `cycle` come from the lead's state.
    package var path: [String] { name.split(separator: ".").map(String.init) }

    private var staticName: StaticString {
        switch self {
        case .channel: "channel"
        case .source: "source"
        case .medium: "medium"
        case .campaign: "campaign"
        case .content: "content"
        case .term: "term"
        case .landingPage: "landing_page"
        case .referrer: "referrer"
        case .leadType: "lead_type"
        case .product: "product"
        case .country: "country"
        case .region: "region"
        case .language: "language"
        case .companyName: "company.name"
        case .companyDomain: "company.domain"
        case .companySize: "company.size"
        case .companyIndustry: "company.industry"
        case .amount: "amount"
        case .currency: "currency"
        case .stage: "stage"
        case .cycle: "cycle"
        }
    }

    package var type: FieldType {
        switch self {
        case .companySize, .amount, .cycle: .integer
        case .stage: .word(Stage.open.map(\.name))
        default: .text
        }
    }

    /// What is done to a value before it is compared, so that `br` and `BR` are one country.
    package var reading: FieldReading {
        switch self {
        case .companyDomain, .language: .lowercased
        case .country, .currency: .uppercased
        case .companySize: .lowerEndOfBand
        default: .asGiven
        }
    }

    package init?(name: String) {
        guard let found = LeadField.allCases.first(where: { $0.name == name }) else { return nil }
        self = found
    }
}

/// What a field can be compared with.
package enum FieldType: Sendable, Equatable {
    case text
    case integer
    /// A text that is one of these.
    case word([String])
    /// A field of the sender's own: what it holds shows only when it is read.
    case any
}

package enum FieldReading: Sendable {
    /// As it is, byte for byte.
    case asGiven
    /// `A` to `Z` as `a` to `z`.
    case lowercased
    case uppercased
    /// A number as it is; of a band such as `11-50` or `200+` the number it begins with.
    case lowerEndOfBand
}

/// What a field of a lead holds. Text is UTF-8.
package enum FactValue: Sendable, Hashable {
    case absent
    case text([UInt8])
    case integer(Int64)
    case boolean(Bool)
}

/// What conditions see of a lead: a value for each fixed field and for each of the rule set's own ones, absent until it is set.
///
/// A blank text (nothing but spaces and tabs) is absent, as a blank channel is no channel.
package struct LeadFacts: Sendable, Equatable {
    package private(set) var values: [FactValue]

    /// - Parameter customFieldCount: `RuleSet.customFields.count`.
    package init(customFieldCount: Int) {
        values = Array(repeating: .absent, count: LeadField.fixedCount + customFieldCount)
    }

    package subscript(_ field: LeadField) -> FactValue { values[field.rawValue] }

    package func custom(_ number: Int) -> FactValue { values[LeadField.fixedCount + number] }

    /// Sets a field as its `reading` says. A value of another type than the field's counts as absent.
    package mutating func set(_ field: LeadField, _ value: FactValue) {
        values[field.rawValue] = Self.read(field, value)
    }

    /// Sets the sender's own field with that number; any type.
    package mutating func setCustom(_ number: Int, _ value: FactValue) {
        values[LeadField.fixedCount + number] = Self.withoutBlank(value)
    }

    private static func read(_ field: LeadField, _ value: FactValue) -> FactValue {
        switch (field.type, withoutBlank(value)) {
        case (.integer, .integer(let number)): .integer(number)
        case (.integer, .text(let text)) where field.reading == .lowerEndOfBand: lowerEnd(text)
        case (.word(let words), .text(let text)):
            words.contains { $0.utf8.elementsEqual(text) } ? .text(text) : .absent
        case (.text, .text(let text)):
            switch field.reading {
            case .lowercased: .text(text.map(lowercasedASCII))
            case .uppercased: .text(text.map(uppercasedASCII))
            case .asGiven, .lowerEndOfBand: .text(text)
            }
        default: .absent
        }
    }

    private static func withoutBlank(_ value: FactValue) -> FactValue {
        guard case .text(let text) = value, text.allSatisfy({ $0 == 0x20 || $0 == 0x09 }) else { return value }
        return .absent
    }

    /// `11-50`, `200+`, `1,000 to 5,000`: the first number, thousands separators left out.
    private static func lowerEnd(_ text: [UInt8]) -> FactValue {
        let start = text.drop { $0 == 0x20 }
        var number: Int64 = 0
        var digits = 0
        for byte in start {
            if byte == UInt8(ascii: ","), digits > 0 { continue }
            guard byte &- UInt8(ascii: "0") < 10, digits < 18 else { break }
            number = number * 10 + Int64(byte - UInt8(ascii: "0"))
            digits += 1
        }
        return digits > 0 ? .integer(number) : .absent
    }
}

func lowercasedASCII(_ byte: UInt8) -> UInt8 { (0x41...0x5A).contains(byte) ? byte | 0x20 : byte }

func uppercasedASCII(_ byte: UInt8) -> UInt8 { (0x61...0x7A).contains(byte) ? byte & ~0x20 : byte }
