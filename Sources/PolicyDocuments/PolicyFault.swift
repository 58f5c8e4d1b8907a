/// One thing that is wrong with a rule set, and where.
package struct PolicyFault: Error, Equatable, Sendable, CustomStringConvertible {
    package enum Code: String, Sendable, CaseIterable {
        /// Not YAML or JSON at all, or not UTF-8.
        case unreadable
        /// Longer, deeper or more than is taken.
        case tooLarge = "too_large"
        /// Against the schema: a missing or unknown field, a wrong type, a value out of its bounds.
        case form
        case badID = "bad_id"
        case duplicateID = "duplicate_id"
        case duplicate
        case unknownMember = "unknown_member"
        case unknownTeam = "unknown_team"
        case unknownPool = "unknown_pool"
        case unknownCalendar = "unknown_calendar"
        case unknownSkill = "unknown_skill"
        case unknownTarget = "unknown_response_target"
        case unknownCadence = "unknown_cadence"
        case unknownZone = "unknown_zone"
        case unknownField = "unknown_field"
        case badInterval = "bad_interval"
        case badDate = "bad_date"
        case badDuration = "bad_duration"
        case badCondition = "bad_condition"
        case badOrder = "bad_order"
        /// Two settings that do not go together, or one that needs another.
        case contradiction
        case emptyCalendar = "empty_calendar"
        case emptyPool = "empty_pool"
        case poolTooLarge = "pool_too_large"
        case neverTrue = "never_true"
        case unreachable
        case exampleFails = "example_fails"
    }

    package var code: Code
    /// A JSON pointer into the document: `/pools/0/members/3`.
    package var pointer: String
    /// From 1, of the text as it was given.
    package var line: Int
    package var column: Int
    package var reason: String
    /// For a condition: its line and a caret under the offence.
    package var excerpt: String?

    package var description: String {
        "\(line):\(column): " + (pointer.isEmpty ? "" : "\(pointer): ") + reason + (excerpt.map { "\n" + $0 } ?? "")
    }
}

/// A document that is no rule set: everything that is wrong with it, in the order of its text, and at least one thing.
package struct PolicyRefusal: Error, Equatable, Sendable, CustomStringConvertible {
    package var faults: [PolicyFault]

    package var description: String { faults.map(\.description).joined(separator: "\n") }
}
