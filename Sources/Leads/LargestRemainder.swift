/// Dividing a whole number among shares so that the parts are whole numbers too and add up to it exactly: each share gets the
/// floor of its exact part, and what is left goes, one each, to the largest remainders.
package enum LargestRemainder {
    /// Divides `total` in proportion to `weights`; the result has a part for each weight, in their order.
    ///
    /// A negative total is divided by its magnitude and gets its sign back, so that a correction takes away what the original
    /// gave. Among equal remainders `isEarlier(i, j)` says whether share `i` comes before share `j`; it must be a strict order
    /// that does not depend on where the shares stand in the list, since that is what makes the order of input irrelevant.
    /// It is asked only where a tie decides something.
    ///
    /// The weights are not negative and not all 0, and `|total| * weight` fits into 127 bits: both are the caller's to keep.
    package static func divide(
        _ total: Int128, by weights: some RandomAccessCollection<Int64>, isEarlier: (Int, Int) -> Bool
    ) -> [Int128] {
        var sum: Int128 = 0
        for weight in weights {
            precondition(weight >= 0, "a share cannot weigh less than nothing")
            sum += Int128(weight)
        }
        precondition(sum > 0, "nothing to divide by")
        let magnitude = total < 0 ? -total : total

        // 1. The floors, and the remainders over the common denominator `sum`.
        var parts: [Int128] = []
        var remainders: [(share: Int, rest: Int128)] = []
        parts.reserveCapacity(weights.count)
        var left = magnitude
        for (share, weight) in weights.enumerated() {
            let (part, rest) = (magnitude * Int128(weight)).quotientAndRemainder(dividingBy: sum)
            parts.append(part)
            left -= part
            if rest != 0 { remainders.append((share, rest)) }
        }

        // 2. What is left is less than the number of remainders, since each of them is less than one.
        if left > 0 {
            remainders.sort { $0.rest != $1.rest ? $0.rest > $1.rest : isEarlier($0.share, $1.share) }
            for (share, _) in remainders.prefix(Int(left)) { parts[share] += 1 }
        }
        return total < 0 ? parts.map { -$0 } : parts
    }
}
