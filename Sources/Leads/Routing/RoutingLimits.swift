/// Every bound of routing, with its unit and its reason.
package enum RoutingLimits {
    /// Bytes of one candidate's entry in a decision: 200 of them fit an event of 60 KiB with room for the rest (SEMANTICS 5.3).
    package static let candidateBytesMax = 200

    /// Bytes of a member's id, which need no escaping in JSON: what keeps an entry with every number and every refusal within
    /// `candidateBytesMax`.
    package static let memberIDBytesMax = 48

    /// True territories that a decision names, the deciding one first: with 200 candidates an event still has room for them.
    package static let matchedMax = 150

    /// The greatest count, cap or number of ended leads that an entry writes; more is written as this. A member with that many
    /// open leads has other troubles, and the entry's length stays bounded.
    package static let writtenCountMax = 99_999

    /// The most seconds of a cool-down that an entry writes: 31 years.
    package static let writtenSecondsMax: Int64 = 999_999_999

    /// Days that the instants of assignments, releases, wins and losses are kept for: the 90 of `performance` and the longest
    /// rolling cap, and two more, since an event may say that it happened before the one recorded last.
    package static let windowDaysMax: Int64 = 92

    /// Days of wins and losses that `performance` looks at (SEMANTICS 5.1).
    package static let performanceDays: Int64 = 90

    /// Leads of a queue that are looked at for one freed place: the first ones due may need what the free member lacks. Beyond
    /// so many the next trigger goes on, so that a queue of 100,000 does not hold up an arrival; those behind are looked at in
    /// turn. By taste.
    package static let drainScanMax = 256

    /// Leads in one chunk of a queue: as many as are moved at once for one that comes in the middle.
    static let queueChunkMax = 512
}
