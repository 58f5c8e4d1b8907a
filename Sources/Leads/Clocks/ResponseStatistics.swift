/// How long answers take: percentiles, mean, and the share within five minutes, of clocks that were answered and of those that
/// were not yet (SEMANTICS 6).
///
/// All of it is exact arithmetic on microseconds: the same numbers every time, in whatever order the clocks came.
package struct ResponseStatistics: Sendable {
    /// Microseconds from start to answer, ascending.
    package let answered: [Int64]
    /// Microseconds that open clocks had waited at the as-of instant, ascending.
    package let open: [Int64]
    /// Microseconds from start to stop of clocks that an end stopped before any answer, ascending.
    package let stopped: [Int64]
    /// Both: what was waited at least, when the view ended.
    private let unanswered: [Int64]

    package init(
        answered: some Sequence<Int64>, open: some Sequence<Int64> = EmptyCollection(),
        stopped: some Sequence<Int64> = EmptyCollection()
    ) {
        self.answered = answered.sorted()
        self.open = open.sorted()
        self.stopped = stopped.sorted()
        unanswered = (self.open + self.stopped).sorted()
    }

    /// The smallest time within which at least `permille` thousandths of the answers came (nearest rank). Nil without answers.
    ///
    /// It looks only at those that were answered, and so makes a team that answers nothing look quick; see `percentile`.
    package func answeredPercentile(permille: Int) -> Int64? {
        Percentile.nearestRank(permille: permille, of: answered)
    }

    /// The mean of the answered ones, rounded half up; nil without answers.
    package var mean: Int64? {
        guard !answered.isEmpty else { return nil }
        let sum = answered.reduce(Int128(0)) { $0 + Int128($1) }
        let count = Int128(answered.count)
        return Int64((2 * sum + count).flooredQuotientAndRemainder(dividingBy: 2 * count).quotient)
    }

    /// The percentile that takes the unanswered ones into account (Kaplan-Meier): the smallest time t with S(t) <= 1 - p, where
    /// S(t) is the product, over the times up to t at which answers came, of 1 - answers / those still waiting just before. One that
    /// leaves at the very time of an answer was still waiting. Nil if S never falls so far: too many are still open to tell.
    ///
    /// S is compared exactly. Factors between which nobody left unanswered cancel, so without unanswered clocks S is one fraction
    /// and this is the nearest rank. Otherwise S is kept between two bounds of 62 bits, and only where the threshold lies between
    /// them, which it does if S is equal to it or closer than a millionth of a millionth, are the factors multiplied out.
    package func percentile(permille: Int) -> Int64? {
        precondition((0...1_000).contains(permille))
        let threshold = SurvivalFraction(waiting: UInt64(1_000 - permille), of: 1_000)
        var survival = Survival()
        var left = 0
        var at = 0
        while at < answered.count {
            let time = answered[at]
            var next = at
            while next < answered.count, answered[next] == time { next += 1 }
            while left < unanswered.count, unanswered[left] < time { left += 1 }
            let waiting = answered.count - at + unanswered.count - left
            survival.multiply(by: SurvivalFraction(waiting: UInt64(waiting - (next - at)), of: UInt64(waiting)))
            if survival.isAtMost(threshold) { return time }
            at = next
        }
        return nil
    }

    /// The share of clocks answered within `limit` microseconds, the limit included. Clocks that have been open for less than
    /// `limit` could still be answered in time: they are in neither number, and stand apart as `tooEarly`.
    package func share(within limit: Int64) -> (share: Proportion, tooEarly: Int) {
        let inTime = answered.prefixCount { $0 <= limit }
        let tooEarly = open.prefixCount { $0 < limit }
        return (Proportion(inTime, of: answered.count + unanswered.count - tooEarly), tooEarly)
    }
}

/// Of so many that waited, so many go on waiting.
private struct SurvivalFraction {
    var waiting: UInt64
    var of: UInt64
}

/// A product of fractions, none greater than 1, that can be compared exactly.
private struct Survival {
    private var factors: [SurvivalFraction] = []
    /// The product of all factors but the last lies between these, in units of 2^-62.
    private var lower: UInt64 = 1 << 62
    private var upper: UInt64 = 1 << 62

    mutating func multiply(by factor: SurvivalFraction) {
        // (a/n) * (b/a) = b/n: nobody left between the two.
        if let last = factors.last, last.waiting == factor.of {
            factors[factors.count - 1].waiting = factor.waiting
            return
        }
        if let last = factors.last {
            lower = Survival.product(lower, last).floor
            upper = Survival.product(upper, last).ceiling
        }
        factors.append(factor)
    }

    /// `bound * factor`, which is not greater than `bound`.
    private static func product(_ bound: UInt64, _ factor: SurvivalFraction) -> (floor: UInt64, ceiling: UInt64) {
        let (quotient, remainder) = factor.of.dividingFullWidth(bound.multipliedFullWidth(by: factor.waiting))
        return (quotient, remainder == 0 ? quotient : quotient + 1)
    }

    func isAtMost(_ threshold: SurvivalFraction) -> Bool {
        guard let last = factors.last else { return threshold.waiting >= threshold.of }
        let wanted = Survival.product(1 << 62, threshold)
        if Survival.product(upper, last).ceiling <= wanted.floor { return true }
        if Survival.product(lower, last).floor > wanted.ceiling { return false }
        // The bounds do not say: multiply out both sides of (a1 a2 ... / n1 n2 ...) <= t / u.
        var left = LargeProduct(threshold.of)
        var right = LargeProduct(threshold.waiting)
        for factor in factors {
            left.multiply(by: factor.waiting)
            right.multiply(by: factor.of)
        }
        return !(right < left)
    }
}

/// A natural number of any size, as a product of small ones.
private struct LargeProduct {
    /// The lowest first, the last one not 0; none for 0.
    private var digits: [UInt64]

    init(_ number: UInt64) {
        digits = number == 0 ? [] : [number]
    }

    mutating func multiply(by factor: UInt64) {
        var carry: UInt64 = 0
        for index in digits.indices {
            let (high, low) = digits[index].multipliedFullWidth(by: factor)
            let (sum, overflow) = low.addingReportingOverflow(carry)
            digits[index] = sum
            carry = overflow ? high + 1 : high
        }
        if carry > 0 { digits.append(carry) }
        while digits.last == 0 { digits.removeLast() }
    }

    static func < (left: LargeProduct, right: LargeProduct) -> Bool {
        if left.digits.count != right.digits.count { return left.digits.count < right.digits.count }
        for (one, other) in zip(left.digits.reversed(), right.digits.reversed()) where one != other {
            return one < other
        }
        return false
    }
}
