/// How long requests took: a count for each bucket of a log-linear scale, as HdrHistogram has it.
///
/// Values below 256 ns have a bucket each; above, every power of two is cut into 128 equal buckets. A percentile is given
/// as the upper end of its bucket, so it is never too small, and too large by less than 1/128.
///
/// ```
/// value       0 ... 255 | 256 ... 511       | 512 ... 1023     | ...
/// bucket      0 ... 255 | 256 ... 383       | 384 ... 511      | ...
/// width in ns     1     |     2             |     4            | ...
/// ```
struct LatencyHistogram {
    private static let stepBits = 7
    private static let bucketsMax = (64 - stepBits + 1) << stepBits

    private var buckets = [UInt64](repeating: 0, count: bucketsMax)
    private(set) var count: UInt64 = 0
    private(set) var largest: UInt64 = 0

    mutating func record(nanoseconds value: UInt64) {
        buckets[Self.bucket(of: value)] += 1
        count += 1
        largest = max(largest, value)
    }

    /// Takes in all that `other` has counted.
    mutating func merge(_ other: LatencyHistogram) {
        for (bucket, amount) in other.buckets.enumerated() { buckets[bucket] += amount }
        count += other.count
        largest = max(largest, other.largest)
    }

    /// The smallest value that at least `perThousand` thousandths of all values do not exceed (nearest rank); 0 for none.
    func percentile(perThousand: UInt64) -> UInt64 {
        precondition(perThousand <= 1_000)
        let rank = max(1, (count * perThousand + 999) / 1_000)
        var seen: UInt64 = 0
        for (bucket, amount) in buckets.enumerated() {
            seen += amount
            if seen >= rank { return min(Self.upperEnd(of: bucket), largest) }
        }
        return 0
    }

    static func bucket(of value: UInt64) -> Int {
        let shift = max(0, 63 - (value | 1).leadingZeroBitCount - stepBits)
        return (shift << stepBits) + Int(value >> UInt64(shift))
    }

    private static func upperEnd(of bucket: Int) -> UInt64 {
        let shift = max(0, (bucket >> stepBits) - 1)
        let step = UInt64(bucket - (shift << stepBits))
        // The very last bucket ends at 2^64, which wraps to 0.
        return ((step &+ 1) << UInt64(shift)) &- 1
    }
}
