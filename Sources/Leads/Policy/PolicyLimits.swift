/// Every bound of rule sets, with its unit and its reason.
package enum PolicyLimits {
    /// Members of a pool: a decision records each candidate in at most 200 bytes, and an event holds 60 KiB (SEMANTICS 5.3).
    package static let poolMembersMax = 200

    /// A member's weight in a pool: 200 of them times 2^32 stay far inside 64 bits. By taste.
    package static let weightMax: UInt32 = 10_000

    /// Bytes of a condition's text: a few thousand words are a document of its own, not a rule. By taste.
    package static let conditionBytesMax = 16 << 10

    /// Parentheses and `not` inside each other: reading recurses, and nobody reads a deeper one.
    package static let conditionDepthMax = 32

    /// Tests, operators and values of a condition: a list of all countries takes 250. Numbers of instructions and values are
    /// kept in 16 bits.
    package static let conditionNodesMax = 2_000

    /// Fields of the sender's own that the conditions of a rule set read: each is a value to fetch for every decision.
    package static let customFieldsMax = 256

    /// Bytes of the name of one.
    package static let customNameBytesMax = 255

    /// Comparisons that the search for unreachable rules may make for one question about one rule, and for a rule set. Where
    /// they do not suffice the rule counts as reachable. A set of 200 ordinary rules takes a small part of them.
    package static let reachTestsPerRule = 500_000
    package static let reachTestsMax = 20_000_000
}
