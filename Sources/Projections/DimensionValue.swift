/// What a row of a report is about: a value of the dimension asked for, or why there is none.
package enum DimensionValue: Hashable, Sendable {
    case named(String)
    /// The event had no such field, or a blank one. Not the same as a channel named `unknown`.
    case absent
    /// A conversion without a touch.
    case unattributed

    /// The text for people: a value as it stands, `(none)`, `(unattributed)`.
    package var label: String {
        switch self {
        case .named(let name): name
        case .absent: "(none)"
        case .unattributed: "(unattributed)"
        }
    }

    /// From the text of a row or of a filter, where blank means none.
    package init(text: [UInt8]) {
        self = text.withUnsafeBytes { $0.isBlank } ? .absent : .named(String(decoding: text, as: UTF8.self))
    }

    init(text: UnsafeRawBufferPointer) {
        self = text.isEmpty ? .absent : .named(text.utf8String)
    }
}

/// The order of rows that are equal in all else: by bytes, values before `(none)` before `(unattributed)`.
extension DimensionValue: Comparable {
    private var rank: Int {
        switch self {
        case .named: 0
        case .absent: 1
        case .unattributed: 2
        }
    }

    package static func < (left: DimensionValue, right: DimensionValue) -> Bool {
        if case .named(let left) = left, case .named(let right) = right {
            return left.utf8.lexicographicallyPrecedes(right.utf8)
        }
        return left.rank < right.rank
    }
}
