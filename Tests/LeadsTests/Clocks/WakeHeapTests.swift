import TestSupport
import Testing

@testable import Leads

@Suite struct WakeHeapTests {
    @Test func `entries come out in the order of instant, then cause, and pruned ones not at all`() {
        var random = SeededGenerator(seed: announcedSeed("WakeHeapTests"))
        for _ in 0..<200 {
            var heap = WakeHeap()
            var entries: [WakeHeap.Entry] = []
            for stamp in 0..<Int.random(in: 0...60, using: &random) {
                let entry = WakeHeap.Entry(
                    instant: Instant(microseconds: Int64.random(in: 0...9, using: &random)),
                    cause: UInt64.random(in: 0...9, using: &random), slot: 0, stamp: UInt64(stamp))
                entries.append(entry)
                heap.push(entry)
            }
            if random.chance(50) {
                heap.prune { $0.stamp % 3 != 0 }
                entries.removeAll { $0.stamp % 3 == 0 }
            }
            #expect(heap.count == entries.count)
            for entry in entries.sorted() { #expect(heap.pop() == entry) }
            #expect(heap.pop() == nil)
        }
    }
}
