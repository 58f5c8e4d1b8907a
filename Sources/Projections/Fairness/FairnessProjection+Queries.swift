package import Leads
package import Ledger
import LMDB

/// Which decisions are asked for.
package struct FairnessQuery: Equatable, Sendable {
    /// By the instant of the assignment: [from, to), open at an end that is nil.
    package var from: Instant?
    package var to: Instant?
    /// Nil: all pools.
    package var pool: String?

    package init(from: Instant? = nil, to: Instant? = nil, pool: String? = nil) {
        self.from = from
        self.to = to
        self.pool = pool
    }
}

package struct FairnessReport: Equatable, Sendable {
    /// The position it reflects: all events below it.
    package var position: Position
    package var query: FairnessQuery
    /// In the order of their ids' bytes; those with a decision in the window, voided ones included.
    package var pools: [PoolFairness]
}

package struct PoolFairness: Equatable, Sendable {
    package var pool: String
    /// Decisions that count.
    package var decisions: Int
    /// Those that were taken out.
    package var voided: Int
    package var fairness: Fairness
}

extension Snapshot where Model == FairnessProjection {
    /// Adds up what each member was entitled to and received. Looks at every decision of the window once.
    package func fairness(_ query: FairnessQuery) throws -> FairnessReport {
        var counts = FairnessCounts()
        let wanted = query.pool.map { Array($0.utf8) }
        let hasVoided = try transaction.count(of: model.voided) > 0
        var cursor = try transaction.makeCursor(on: model.decisions)
        var entry: Cursor.Entry?
        if let from = query.from {
            entry = try Occurrence(time: from, position: 0).withKey { (key) throws(LMDBError) in
                try cursor.seek(to: key)
            }
        } else {
            entry = try cursor.first()
        }
        while let found = entry {
            let place = Occurrence(key: found.key)
            if let to = query.to, place.time >= to { break }
            let row = try RowView(found.value, FairnessProjection.layout)
            if wanted.map({ row.text(0).elementsEqual($0) }) ?? true {
                var isVoided = false
                if hasVoided {
                    isVoided = try transaction.unsafeValue(in: model.voided, at: place.position) != nil
                }
                try counts.add(row, isVoided: isVoided)
            }
            entry = try cursor.next()
        }
        return FairnessReport(position: position, query: query, pools: counts.pools)
    }
}

/// The sums of all pools, while decisions go by.
private struct FairnessCounts {
    private var ids = ByteInterner()
    /// Places in `sums` by (pool, member), the pool in the upper half.
    private var places: [UInt64: Int] = [:]
    private var sums: ContiguousArray<Sum> = []
    private var decisions: [Int: (counted: Int, voided: Int)] = [:]

    private struct Sum {
        var pool: Int
        var member: Int
        var decisions = 0
        var entitled: Int128 = 0
        var received = 0
    }

    mutating func add(_ row: RowView, isVoided: Bool) throws {
        let pool = ids.intern(row.text(0))
        guard !isVoided else {
            decisions[pool, default: (0, 0)].voided += 1
            return
        }
        decisions[pool, default: (0, 0)].counted += 1
        let isWhole = KeptTurn.forEachGain(in: row.text(2)) { member, gain in
            let place = place(pool, ids.intern(member))
            sums[place].decisions += 1
            sums[place].entitled += Int128(gain)
        }
        guard isWhole else { throw ProjectionError.brokenRow }
        sums[place(pool, ids.intern(row.text(1)))].received += 1
    }

    private mutating func place(_ pool: Int, _ member: Int) -> Int {
        let key = UInt64(pool) << 32 | UInt64(member)
        if let place = places[key] { return place }
        places[key] = sums.count
        sums.append(Sum(pool: pool, member: member))
        return sums.count - 1
    }

    var pools: [PoolFairness] {
        var shares: [Int: [Fairness.Share]] = [:]
        for sum in sums {
            var share = Fairness.Share(member: String(decoding: ids[sum.member], as: UTF8.self))
            share.decisions = sum.decisions
            share.entitled = sum.entitled
            share.received = sum.received
            shares[sum.pool, default: []].append(share)
        }
        return decisions.map { pool, count in
            PoolFairness(
                pool: String(decoding: ids[pool], as: UTF8.self), decisions: count.counted, voided: count.voided,
                fairness: Fairness(shares[pool] ?? []))
        }.sorted { $0.pool.utf8.lexicographicallyPrecedes($1.pool.utf8) }
    }
}
