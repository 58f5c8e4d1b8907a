import TestSupport
import Testing

@testable import Ledger

/// The queue against plain arrays: units of several sinks, handed over in arrays of all sizes and in all ways, and taken within bounds.
@Suite struct AppendQueueTests {
    private let sinks = (0..<3).map { _ in TestSink() }

    private func unit(_ token: UInt64, of sink: TestSink, events: Int, bytes: Int) throws -> AppendUnit {
        let unit = AppendUnit(ledgerID: LedgerID(high: 0, low: 0), replyTo: sink, token: token)
        let text = #""text":""# + String(repeating: "x", count: bytes) + #"""#
        for event in 0..<events { try unit.add(TestEvent(id: "\(token)-\(event)", text: text)) }
        return unit
    }

    @Test func `units come out once, in their order, in groups of the bounds`() throws {
        let seed = announcedSeed("AppendQueueTests")
        var random = SeededGenerator(seed: seed)
        let (bytesMax, unitsMax) = (40_000, 60)
        let queue = AppendQueue(bytesMax: bytesMax, unitsMax: unitsMax)
        var waiting: [AppendUnit] = []
        var next: UInt64 = 0
        var (handedOver, refused, split, mixed) = (0, 0, 0, 0)

        /// Of `units`, those that a queue with `waiting` in it takes.
        func accepted(_ units: some Collection<AppendUnit>) -> Int {
            var (count, bytes) = (waiting.count, waiting.reduce(0) { $0 + $1.byteCount })
            var accepted = 0
            for unit in units {
                bytes += unit.byteCount
                guard count == 0 || (bytes <= bytesMax && count < unitsMax) else { break }
                count += 1
                accepted += 1
            }
            return accepted
        }

        for _ in 0..<3_000 {
            if Bool.random(using: &random) {
                // 1. Some more: mostly of one sink.
                let areMixed = Int.random(in: 0..<4, using: &random) == 0
                let sink = sinks[Int.random(in: 0..<3, using: &random)]
                var units: [AppendUnit] = []
                for _ in 0..<Int.random(in: 1...20, using: &random) {
                    let own = areMixed ? sinks[Int.random(in: 0..<3, using: &random)] : sink
                    units.append(
                        try unit(
                            next, of: own, events: Int.random(in: 1...3, using: &random),
                            bytes: Int.random(in: 0...2_000, using: &random)))
                    next += 1
                }
                let expected = accepted(units)
                let all = units
                if Bool.random(using: &random) {
                    queue.submit(removingFrom: &units)
                    #expect(units.map(\.token) == all[expected...].map(\.token), "seed \(seed)")
                    if units.isEmpty { handedOver += 1 }
                } else {
                    #expect(queue.submit(units) == expected, "seed \(seed)")
                }
                if expected < all.count { refused += 1 }
                waiting += all[..<expected]
            } else {
                // 2. Take, by the rule unit for unit.
                let writesMost = Int.random(in: 1...60, using: &random)
                let bytesMost = Int.random(in: 1...30_000, using: &random)
                var (count, writes, bytes) = (0, 0, 0)
                while count < waiting.count, writes < writesMost, bytes < bytesMost {
                    writes += waiting[count].writeCount
                    bytes += waiting[count].byteCount
                    count += 1
                }
                if count < waiting.count { split += 1 }
                var group = UnitGroup()
                #expect(queue.take(eventsMax: writesMost, bytesMax: bytesMost, into: &group) == (count > 0))
                #expect(group.tokens == waiting[..<count].map(\.token), "seed \(seed)")
                #expect(group.count == count && group.writes == writes && group.isEmpty == (count == 0))
                // 3. Each array is of one sink.
                let batches = group.take()
                #expect(batches.allSatisfy { batch in batch.units.allSatisfy { $0.sink === batch.sink } })
                #expect(batches.flatMap(\.units).map(\.token) == waiting[..<count].map(\.token))
                #expect(group.isEmpty && group.take().isEmpty)
                if Set(batches.map { ObjectIdentifier($0.sink) }).count > 1 { mixed += 1 }
                waiting.removeFirst(count)
            }
            let sums = (waiting.count, waiting.reduce(0) { $0 + $1.byteCount })
            #expect(queue.load == sums, "seed \(seed)")
            #expect(queue.isIdle == waiting.isEmpty)
        }
        #expect(handedOver > 50 && refused > 50 && split > 50 && mixed > 50)
    }

    @Test func `a group of several sinks goes back to each whole, in the order of submission, once`() throws {
        let ledger = try TestLedger()
        // The first group keeps the appender busy while the others gather.
        for round in 0..<20 as Range<UInt64> {
            let units = try (0..<60 as Range<UInt64>).map { number in
                try unit(round * 100 + number, of: sinks[Int(number / 4 % 3)], events: 1, bytes: 10)
            }
            var rest = units[...]
            while !rest.isEmpty { rest = rest.dropFirst(ledger.log.submit(rest)) }
            for (index, sink) in sinks.enumerated() {
                let own = units.map(\.token).filter { Int($0 % 100 / 4 % 3) == index }
                #expect(sink.wait(for: own).allSatisfy { $0.receipt != nil })
            }
        }
        for (index, sink) in sinks.enumerated() {
            let own = (0..<2_000 as Range<UInt64>).filter { $0 % 100 < 60 && Int($0 % 100 / 4 % 3) == index }
            #expect(sink.tokensInOrder == own)
        }
    }
}
