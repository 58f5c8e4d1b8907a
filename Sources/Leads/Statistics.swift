/// A share of something, with what chance allows it to be.
///
/// The arithmetic runs in doubles in the order written (Swift neither reorders nor fuses it, and the square root is correctly
/// rounded everywhere), and is rounded once, to 10^-9: the same bits on any machine.
package struct Proportion: Equatable, Sendable {
    package var successes: Int
    package var trials: Int

    package init(_ successes: Int, of trials: Int) {
        precondition(trials >= 0 && (0...trials).contains(successes))
        self.successes = successes
        self.trials = trials
    }

    package struct Interval: Equatable, Sendable {
        /// In units of 10^-9.
        package var lowerBillionths: Int64
        package var upperBillionths: Int64
    }

    /// The normal quantile of 97.5 %.
    package static let z95 = 1.959963984540054

    /// The share itself in units of 10^-9, rounded half up; nil without trials.
    package var billionths: Int64? {
        guard trials > 0 else { return nil }
        return Int64((Int128(successes) * 2_000_000_000 + Int128(trials)) / (2 * Int128(trials)))
    }

    /// The Wilson 95 % interval; nil without trials. 842 of 8,000: .098713828 to .112165094.
    package var wilson95: Interval? {
        guard trials > 0 else { return nil }
        let n = Double(trials)
        let share = Double(successes) / n
        let z2 = Proportion.z95 * Proportion.z95
        let denominator = 1 + z2 / n
        let centre = (share + z2 / (2 * n)) / denominator
        let half = Proportion.z95 * (share * (1 - share) / n + z2 / (4 * n * n)).squareRoot() / denominator
        // At the ends the interval touches 0 and 1 exactly; doubles could miss that by an ulp.
        let lower = successes == 0 ? 0 : max(0, centre - half)
        let upper = successes == trials ? 1 : min(1, centre + half)
        return Interval(
            lowerBillionths: Int64(lower * 1e9 + 0.5),
            upperBillionths: Int64(upper * 1e9 + 0.5))
    }
}

package enum Percentile {
    /// The nearest-rank percentile of values in ascending order: the smallest one such that at least `permille` thousandths of
    /// all are not greater. 500 is the median, 999 is p99.9. Nil of nothing.
    package static func nearestRank<Value>(permille: Int, of sorted: some RandomAccessCollection<Value>) -> Value? {
        precondition((0...1000).contains(permille))
        guard !sorted.isEmpty else { return nil }
        let rank = max(1, (permille * sorted.count + 999) / 1000)
        return sorted[sorted.index(sorted.startIndex, offsetBy: rank - 1)]
    }
}
