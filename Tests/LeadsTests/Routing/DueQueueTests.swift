import TestSupport
import Testing

@testable import Leads

@Suite struct DueQueueTests {
    @Test func `random comings and goings leave it in order, as a sorted array would be`() {
        let seed = announcedSeed("DueQueueTests")
        var random = SeededGenerator(seed: seed)
        var queue = DueQueue()
        var model: [DueQueue.Entry] = []
        var removed = 0
        for step in 0..<8_000 {
            if model.isEmpty || Int.random(in: 0..<10, using: &random) < 6 {
                let entry = DueQueue.Entry(
                    due: Int64.random(in: 0..<40, using: &random), score: Int32.random(in: -2...2, using: &random),
                    pulls: UInt16.random(in: 0..<3, using: &random), captured: UInt64(step),
                    lead: LeadNumber(rawValue: UInt32(step + 1)))
                queue.insert(entry)
                model.append(entry)
            } else {
                let gone = model.remove(at: Int.random(in: 0..<model.count, using: &random))
                #expect(queue.contains(gone))
                let wasThere = [queue.remove(gone), queue.remove(gone)]
                #expect(wasThere == [true, false])
                removed += 1
                if step % 97 == 0 { #expect(queue.next(after: gone) == model.filter { gone < $0 }.min()) }
            }
        }
        model.sort()
        #expect(removed > 1_000)
        #expect(model.count > 600, "too few for more than one chunk")
        #expect(queue.inOrder == model)
        #expect(queue.count == model.count)
        var walked: [DueQueue.Entry] = []
        while let entry = queue.next(after: walked.last) { walked.append(entry) }
        #expect(walked == model)
    }

    @Test func `due comes first, then score, then pulls, then capture`() {
        func entry(_ due: Int64, _ score: Int32, _ pulls: UInt16, _ captured: UInt64) -> DueQueue.Entry {
            DueQueue.Entry(
                due: due, score: score, pulls: pulls, captured: captured,
                lead: LeadNumber(rawValue: UInt32(captured)))
        }
        let ordered = [
            entry(1, 0, 9, 9), entry(2, 5, 3, 8), entry(2, 4, 0, 7), entry(2, 4, 1, 2), entry(2, 4, 1, 3),
            entry(.max, 9, 0, 1),
        ]
        var queue = DueQueue()
        for entry in ordered.reversed() { queue.insert(entry) }
        #expect(queue.inOrder == ordered)
    }
}

@Suite struct InstantWindowTests {
    @Test func `counts and removals agree with a plain list, in whatever order the instants come`() {
        let seed = announcedSeed("InstantWindowTests")
        var random = SeededGenerator(seed: seed)
        var window = InstantWindow()
        var model: [Int64] = []
        let day = Instant.microsecondsPerDay
        for step in 0..<4_000 {
            let value = Int64(step) * day / 20 + Int64.random(in: -2 * day...2 * day, using: &random)
            window.insert(Instant(microseconds: value))
            model.append(value)
            let newest = model.max()!
            model.removeAll { $0 < newest - InstantWindow.keptMicroseconds }
            if step % 5 == 0, let gone = model.randomElement(using: &random) {
                window.remove(Instant(microseconds: gone))
                model.remove(at: model.firstIndex(of: gone)!)
            }
            let since = Int64(step) * day / 20 - Int64.random(in: 0...95, using: &random) * day
            #expect(window.count(since: Instant(microseconds: since)) == model.count { $0 >= since })
        }
        #expect(model.count > 1_000)
        #expect(Array(window.instants) == model.sorted())
    }
}
