/// Every bound of rule sets, with its unit and its reason.
package enum PolicyLimits {
    /// Members of a pool: a decision records each candidate in at most 200 bytes, and an event holds 60 KiB (SEMANTICS 5.3).
    package static let poolMembersMax = 200

    /// A member's weight in a pool: 200 of them times 2^32 stay far inside 64 bits. By taste.
    package static let weightMax: UInt32 = 10_000
}
