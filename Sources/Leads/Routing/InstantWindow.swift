/// The instants of something that happens again and again, in ascending order, to count those of the last hour, day or quarter.
///
/// Old ones are dropped when newer ones come, by the instants alone, so that every replay keeps the same.
struct InstantWindow: Sendable {
    /// Dropped ones first, until they are worth the move.
    private var all: [Int64] = []
    private var head = 0

    /// Microseconds that an instant is kept behind the newest one.
    static let keptMicroseconds = RoutingLimits.windowDaysMax * Instant.microsecondsPerDay

    var instants: ArraySlice<Int64> { all[head...] }
    var latest: Instant? { head < all.count ? Instant(microseconds: all[all.count - 1]) : nil }

    /// Usually the latest so far, and then without a search.
    mutating func insert(_ instant: Instant) {
        let value = instant.microseconds
        if head == all.count || value >= all[all.count - 1] {
            all.append(value)
        } else {
            all.insert(value, at: firstIndex(notBefore: value))
        }
        let floor = all[all.count - 1].subtractingReportingOverflow(Self.keptMicroseconds)
        guard !floor.overflow else { return }
        while all[head] < floor.partialValue { head += 1 }
        if head > 32 && head * 2 > all.count {
            all.removeFirst(head)
            head = 0
        }
    }

    /// Takes one out again, as where a win is revoked. Which of several equal ones makes no difference.
    mutating func remove(_ instant: Instant) {
        let at = firstIndex(notBefore: instant.microseconds)
        if at < all.count, all[at] == instant.microseconds { all.remove(at: at) }
    }

    /// How many are at or after `instant`.
    func count(since instant: Instant) -> Int {
        all.count - firstIndex(notBefore: instant.microseconds)
    }

    private func firstIndex(notBefore value: Int64) -> Int {
        // Newest first in steps that double: what is asked for is nearly always near the end.
        var low = all.count
        var step = 1
        while low > head, all[low - 1] >= value {
            low = max(head, low - step)
            step *= 2
            if all[low] < value { break }
        }
        var high = all.count
        while low < high {
            let middle = (low + high) / 2
            if all[middle] < value { low = middle + 1 } else { high = middle }
        }
        return low
    }
}

extension InstantWindow: Equatable {
    static func == (left: InstantWindow, right: InstantWindow) -> Bool { left.instants == right.instants }
}
