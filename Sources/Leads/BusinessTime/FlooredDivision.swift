extension BinaryInteger {
    /// Division that rounds towards the past, so that what lies before 1970 falls into its own day, week or second too: the
    /// remainder is never negative. The divisor is positive.
    @inlinable
    func flooredQuotientAndRemainder(dividingBy divisor: Self) -> (quotient: Self, remainder: Self) {
        var (quotient, remainder) = quotientAndRemainder(dividingBy: divisor)
        if remainder < 0 {
            quotient -= 1
            remainder += divisor
        }
        return (quotient, remainder)
    }
}
