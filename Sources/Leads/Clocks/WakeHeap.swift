/// When to look at which lead next: a binary heap of instants, the earliest first.
///
/// An entry is not taken out when a lead's next instant changes, only outdated: the owner gives each change a new stamp and asks
/// an entry's stamp to be the lead's latest. `prune` is called by the owner when outdated ones prevail.
struct WakeHeap: Sendable {
    struct Entry: Sendable, BitwiseCopyable, Comparable {
        var instant: Instant
        /// Among equal instants: the position of the event that started what is looked for, so that the order is the log's.
        var cause: UInt64
        var slot: Int32
        var stamp: UInt64

        static func < (left: Entry, right: Entry) -> Bool {
            if left.instant != right.instant { return left.instant < right.instant }
            if left.cause != right.cause { return left.cause < right.cause }
            return left.stamp < right.stamp
        }
    }

    private var entries: [Entry] = []

    var count: Int { entries.count }
    var first: Entry? { entries.first }

    mutating func push(_ entry: Entry) {
        entries.append(entry)
        var child = entries.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            guard entries[child] < entries[parent] else { break }
            entries.swapAt(child, parent)
            child = parent
        }
    }

    @discardableResult
    mutating func pop() -> Entry? {
        guard let top = entries.first, let last = entries.popLast() else { return nil }
        if !entries.isEmpty {
            entries[0] = last
            sift(from: 0)
        }
        return top
    }

    /// Drops the entries for which `isValid` is false.
    mutating func prune(_ isValid: (Entry) -> Bool) {
        entries.removeAll { !isValid($0) }
        for parent in stride(from: entries.count / 2 - 1, through: 0, by: -1) { sift(from: parent) }
    }

    private mutating func sift(from start: Int) {
        var parent = start
        while true {
            var least = parent
            for child in [2 * parent + 1, 2 * parent + 2] where child < entries.count {
                if entries[child] < entries[least] { least = child }
            }
            if least == parent { return }
            entries.swapAt(parent, least)
            parent = least
        }
    }
}
