/// The leads that wait in one queue, in the order in which they are taken: oldest due first, then the higher score, then the one
/// claimed less often, then the earlier capture (SEMANTICS 5.2). A lead without a due instant comes after all that have one.
///
/// Kept in sorted chunks, so that one more costs the move of a few hundred neighbours however many wait.
package struct DueQueue: Sendable {
    package struct Entry: Comparable, Sendable, BitwiseCopyable {
        /// Microseconds; `Int64.max` without one.
        package var due: Int64
        package var score: Int32
        package var pulls: UInt16
        package var captured: UInt64
        package var lead: LeadNumber

        package init(due: Int64, score: Int32, pulls: UInt16, captured: UInt64, lead: LeadNumber) {
            self.due = due
            self.score = score
            self.pulls = pulls
            self.captured = captured
            self.lead = lead
        }

        package static func < (left: Entry, right: Entry) -> Bool {
            if left.due != right.due { return left.due < right.due }
            if left.score != right.score { return left.score > right.score }
            if left.pulls != right.pulls { return left.pulls < right.pulls }
            return left.captured < right.captured
        }
    }

    /// None is empty; all of one before all of the next.
    private var chunks: [[Entry]] = []
    package private(set) var count = 0

    package init() {}

    package var isEmpty: Bool { count == 0 }
    package var first: Entry? { chunks.first?.first }

    package mutating func insert(_ entry: Entry) {
        count += 1
        guard !chunks.isEmpty else {
            chunks.append([entry])
            return
        }
        let chunk = self.chunk(for: entry)
        let at = Self.firstIndex(notBefore: entry, in: chunks[chunk])
        chunks[chunk].insert(entry, at: at)
        guard chunks[chunk].count > RoutingLimits.queueChunkMax else { return }
        // Usually entries come at the end, and then a full chunk is left behind full.
        let half = chunk == chunks.count - 1 ? RoutingLimits.queueChunkMax : RoutingLimits.queueChunkMax / 2
        let rest = Array(chunks[chunk][half...])
        chunks[chunk].removeSubrange(half...)
        chunks.insert(rest, at: chunk + 1)
    }

    /// Whether the entry was there.
    @discardableResult
    package mutating func remove(_ entry: Entry) -> Bool {
        guard !chunks.isEmpty else { return false }
        let chunk = self.chunk(for: entry)
        let at = Self.firstIndex(notBefore: entry, in: chunks[chunk])
        guard at < chunks[chunk].count, chunks[chunk][at] == entry else { return false }
        chunks[chunk].remove(at: at)
        if chunks[chunk].isEmpty { chunks.remove(at: chunk) }
        count -= 1
        return true
    }

    /// The entry that comes next after `entry`, which need not be there any more; the first one for nil.
    package func next(after entry: Entry?) -> Entry? {
        guard let entry else { return first }
        guard !chunks.isEmpty else { return nil }
        var chunk = self.chunk(for: entry)
        var at = Self.firstIndex(notBefore: entry, in: chunks[chunk])
        if at < chunks[chunk].count, chunks[chunk][at] == entry { at += 1 }
        if at == chunks[chunk].count {
            chunk += 1
            at = 0
        }
        return chunk < chunks.count ? chunks[chunk][at] : nil
    }

    package func contains(_ entry: Entry) -> Bool {
        guard !chunks.isEmpty else { return false }
        let chunk = chunks[self.chunk(for: entry)]
        let at = Self.firstIndex(notBefore: entry, in: chunk)
        return at < chunk.count && chunk[at] == entry
    }

    package var inOrder: [Entry] { chunks.flatMap { $0 } }

    /// The last chunk whose first entry is not after `entry`, or the first chunk.
    private func chunk(for entry: Entry) -> Int {
        var low = 0
        var high = chunks.count
        while low < high {
            let middle = (low + high) / 2
            if entry < chunks[middle][0] { high = middle } else { low = middle + 1 }
        }
        return max(0, low - 1)
    }

    private static func firstIndex(notBefore entry: Entry, in chunk: [Entry]) -> Int {
        var low = 0
        var high = chunk.count
        while low < high {
            let middle = (low + high) / 2
            if chunk[middle] < entry { low = middle + 1 } else { high = middle }
        }
        return low
    }
}
