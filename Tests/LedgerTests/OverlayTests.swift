import Synchronization
import TestSupport
import Testing

@testable import Ledger

@Suite struct OverlayTests {
    private func key(_ number: UInt64) -> StreamKey {
        // Few homes, so that runs are long.
        StreamKey(high: number &* 0x9E37_79B9_7F4A_7C15, low: number % 7 == 0 ? 1_020 : number)
    }

    private func row(_ number: UInt64) -> StreamRow {
        StreamRow(first: position(number), last: position(number + 1), version: version(2), state: number)
    }

    @Test(arguments: [1, 2, 3] as [UInt64])
    func `the row table is a dictionary, through growth and removals`(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        var table = RowTable(capacity: 16)
        var model: [StreamKey: StreamRow] = [:]
        for step in 0..<20_000 as Range<UInt64> {
            let key = key(.random(in: 0..<600, using: &generator))
            if Bool.random(using: &generator), model[key] != nil {
                table.remove(key)
                model[key] = nil
            } else {
                let before = table.set(row(step), for: key)
                #expect(before == model.updateValue(row(step), forKey: key))
            }
            #expect(table.count == model.count)
        }
        for number in 0..<600 as Range<UInt64> { #expect(table[key(number)] == model[key(number)]) }
    }

    @Test(arguments: [1, 2, 3] as [UInt64])
    func `the name table finds every position, through growth and removals`(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        var table = NameTable(capacity: 16)
        var model: Set<UInt64> = []
        // Bits of few values: many entries share them.
        func bits(_ position: UInt64) -> UInt32 { UInt32(position % 50) << 1 | 1 }
        for _ in 0..<20_000 {
            let position = UInt64.random(in: 0..<2_000, using: &generator)
            if model.remove(position) != nil {
                table.remove(bits(position), position: position)
            } else {
                table.insert(bits(position), position: position)
                model.insert(position)
            }
        }
        #expect(table.count == model.count)
        for value in 0..<50 as Range<UInt64> {
            var found: Set<UInt64> = []
            var walk = table.walk(bits(value))
            while let low = table.next(&walk) { found.insert(UInt64(low)) }
            #expect(found == model.filter { $0 % 50 == value })
        }
    }

    private func event(_ stream: UInt64, _ name: UInt64, _ version: UInt64, previous: UInt64) -> StagedEvent {
        StagedEvent(
            event: TailEvent(
                key: key(stream), name: NameHash(tag: UInt32(name), rest: name &* 0xD1B5_4A32_D192_ED03),
                version: StreamVersion(rawValue: version), state: name, previous: previous, type: 5, variant: 0,
                isBackfill: false), first: position(0))
    }

    @Test func `the overlay holds what is between floor and end, across the wrap of its ring`() {
        let start: UInt64 = (1 << 32) - 5_000
        let overlay = Overlay(floor: start, eventsMax: 10_000)
        var last: [UInt64: (position: UInt64, version: UInt64)] = [:]
        for step in 0..<100_000 as Range<UInt64> {
            let stream = step % 100
            let at = start + step
            let before = last[stream]
            overlay.join([
                event(stream, step, (before?.version ?? 0) + 1, previous: before?.position ?? TailEvent.none)
            ])
            last[stream] = (at, (before?.version ?? 0) + 1)
            if step % 1_000 == 999 {
                overlay.trimTarget.store(at - min(step, 5_000), ordering: .relaxed)
                overlay.trim(budget: 1_500)
            }
        }
        let end = start + 100_000
        #expect(overlay.end == end && overlay.count <= 10_000 && overlay.floor > start)
        for at in overlay.floor..<end {
            let step = at - start
            let wanted = event(step % 100, step, 1, previous: 0).event
            #expect(overlay.firstPosition(of: wanted.key, wanted.name) { _ in true } == at)
        }
        let gone = event(0, 0, 1, previous: 0).event
        #expect(overlay.firstPosition(of: gone.key, gone.name) { _ in true } == nil)
        for (stream, newest) in last {
            #expect(overlay.row(of: key(stream))?.last.rawValue == newest.position)
        }
        // All of it.
        overlay.trimTarget.store(end, ordering: .relaxed)
        overlay.trim(budget: .max)
        #expect(overlay.count == 0)
        for stream in last.keys { #expect(overlay.row(of: key(stream)) == nil) }
    }

    @Test func `a row keeps its newest 12 and says what leaves it`() throws {
        var row = IndexRow(first: 100)
        for version in 1...40 as ClosedRange<UInt64> {
            let leaving = row.append(tag: UInt32(version), position: 100 + version, state: version)
            #expect(leaving?.version == (version > 12 ? version - 12 : nil))
            #expect(leaving?.position == (version > 12 ? 100 + version - 12 : nil))
            try row.withBytes { bytes in
                #expect(bytes.count == [80, 128, 176][min(2, Int(version - 1) / 4)])
                let read = try #require(IndexRow(bytes))
                #expect(read.first == 100 && read.last == 100 + version && read.version == version)
                #expect(read.state == version && read.oldestRecent == (version > 12 ? version - 11 : 1))
                for known in read.oldestRecent...version {
                    #expect(
                        read.recents[IndexRow.slot(ofVersion: known)]
                            == .init(tag: UInt32(known), position: 100 + known))
                }
                #expect(IndexRow(UnsafeRawBufferPointer(rebasing: bytes.dropLast())) == nil)
            }
        }
    }
}
