// The router's own numbers for members, pools, leads and accounts: dense, given in the order in which the log first named each,
// and so the same after every replay. They never leave the process: what is stored names ids.

/// A member of the sales team, by the order in which the log or a rule set first named it. 0 is nobody.
package struct MemberNumber: Hashable, Sendable, BitwiseCopyable {
    package let rawValue: UInt32

    @inlinable
    package init(rawValue: UInt32) { self.rawValue = rawValue }

    package static let nobody = MemberNumber(rawValue: 0)

    @inlinable package var index: Int { Int(rawValue) }
}

/// A pool, which is also the name of its queue. A queue that no rule set knows has a number too.
package struct PoolNumber: Hashable, Sendable, BitwiseCopyable {
    package let rawValue: UInt32

    @inlinable
    package init(rawValue: UInt32) { self.rawValue = rawValue }

    /// Number 0, which no pool has.
    package static let none = PoolNumber(rawValue: 0)

    @inlinable package var index: Int { Int(rawValue) }
}

/// A lead, by the order of first captures. 0 is none.
package struct LeadNumber: Hashable, Sendable, BitwiseCopyable {
    package let rawValue: UInt32

    @inlinable
    package init(rawValue: UInt32) { self.rawValue = rawValue }

    package static let none = LeadNumber(rawValue: 0)

    @inlinable package var index: Int { Int(rawValue) }
}

/// 16 bytes that stand for an id: the log's stream key of a lead, or a keyed hash of the account a lead belongs to. Taken from
/// SHA-256 by the caller, so that two ids never share one and a table needs no other hash.
package struct RoutingKey: Hashable, Sendable, BitwiseCopyable {
    package let high: UInt64
    package let low: UInt64

    @inlinable
    package init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }
}

/// Numbers for ids, from 1, in the order in which they were first asked for.
struct NumberedIDs: Sendable, Equatable {
    private(set) var ids: [String] = [""]
    private var numbers: [String: UInt32] = [:]

    /// The number of an id, a new one if it has none.
    mutating func number(of id: String) -> UInt32 {
        if let known = numbers[id] { return known }
        let number = UInt32(ids.count)
        ids.append(id)
        numbers[id] = number
        return number
    }

    /// 0 if the id was never given a number.
    func known(_ id: String) -> UInt32 { numbers[id] ?? 0 }

    subscript(number: UInt32) -> String { ids[Int(number)] }
}
