import Synchronization
import TestSupport
import Testing

@testable import Ledger

@Suite struct OverlayTests {
    private func key(_ number: UInt64) -> StreamKey {
        // Few homes, so that runs are long.
        StreamKey(high: number &* 0x9E37_79B9_7F4A_7C15, low: number % 7 == 0 ? 1_020 : number)
    }

    @Test(arguments: [1, 2, 3] as [UInt64])
    func `the position table finds every position, through growth, moves and removals`(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        let start: UInt64 = (1 << 32) - 1_000
        var table = PositionTable(capacity: 16)
        var model: Set<UInt64> = []
        // Bits of few values: many entries share them.
        func bits(_ position: UInt64) -> UInt32 { UInt32(position % 50) << 1 | 1 }
        for step in 0..<20_000 {
            let position = start + UInt64.random(in: 0..<2_000, using: &generator)
            let other = start + (position - start + 50 * UInt64.random(in: 1..<40, using: &generator)) % 2_000
            switch (model.contains(position), Int.random(in: 0..<3, using: &generator)) {
            case (true, 0) where bits(position) == bits(other) && !model.contains(other):
                table.move(bits(position), from: position, to: other)
                model.remove(position)
                model.insert(other)
            case (true, _):
                let wasThere = table.remove(bits(position), position: position)
                #expect(wasThere)
                model.remove(position)
            case (false, 0):
                let wasThere = table.remove(bits(position), position: position)
                #expect(!wasThere)
            case (false, _):
                table.insert(bits(position), position: position)
                model.insert(position)
            }
            if step == 10_000 {
                table.removeAll()
                model = []
            }
        }
        let count = table.count
        #expect(count == model.count)
        for value in 0..<50 as Range<UInt64> {
            var found: Set<UInt64> = []
            var walk = table.walk(UInt32(value) << 1 | 1)
            while let position = table.next(&walk, from: start) { found.insert(position) }
            #expect(found == model.filter { $0 % 50 == value })
        }
    }

    private func event(_ stream: UInt64, _ name: UInt64, _ version: UInt64, previous: UInt64) -> TailEvent {
        TailEvent(
            key: key(stream),
            name: NameHash(tag: UInt32(truncatingIfNeeded: name), rest: name &* 0xD1B5_4A32_D192_ED03),
            first: position(stream), version: StreamVersion(rawValue: version), state: name, previous: previous,
            type: 5,
            variant: 0, isBackfill: false)
    }

    @Test(arguments: [1, 2, 3] as [UInt64])
    func `a group finds what it has, whatever was taken back`(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        var group = StagedGroup()
        var start: UInt64 = (1 << 32) - 700
        var name: UInt64 = 0
        for round in 0..<60 {
            group.begin(at: start)
            var model: [TailEvent] = []
            for _ in 0..<Int.random(in: 1...(round % 10 == 0 ? 9_000 : 90), using: &generator) {
                let stream = UInt64.random(in: 0..<40, using: &generator)
                let before = model.lastIndex { $0.key == key(stream) }
                name += 1
                let event = event(
                    stream, name, before.map { model[$0].version.rawValue + 1 } ?? 7,
                    previous: before.map { start + UInt64($0) } ?? [TailEvent.none, start - 1].randomElement(
                        using: &generator)!)
                group.stage(event)
                model.append(event)
                if Int.random(in: 0..<5, using: &generator) == 0 {
                    let kept = model.count - Int.random(in: 0...min(4, model.count), using: &generator)
                    group.takeBack(keeping: kept)
                    model.removeLast(model.count - kept)
                }
                let count = group.count
                #expect(count == model.count)
            }
            for stream in 0..<40 as Range<UInt64> {
                let newest = model.lastIndex { $0.key == key(stream) }
                let row = group.row(of: key(stream))
                #expect(row == newest.map { model[$0].row(at: start + UInt64($0)) })
            }
            for at in model.indices {
                let found = group.firstPosition(of: model[at].key, model[at].name) { _ in true }
                #expect(found == start + UInt64(at))
            }
            group.removeAll()
            let (isEmpty, row) = (group.isEmpty, group.row(of: key(1)))
            #expect(isEmpty && row == nil)
            if let gone = model.first {
                let found = group.firstPosition(of: gone.key, gone.name) { _ in true }
                #expect(found == nil)
            }
            start += UInt64(model.count)
        }
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
            let wanted = event(step % 100, step, 1, previous: 0)
            #expect(overlay.firstPosition(of: wanted.key, wanted.name) { _ in true } == at)
        }
        let gone = event(0, 0, 1, previous: 0)
        #expect(overlay.firstPosition(of: gone.key, gone.name) { _ in true } == nil)
        for (stream, newest) in last {
            let row = overlay.row(of: key(stream))
            #expect(row?.last.rawValue == newest.position && row?.version.rawValue == newest.version)
            #expect(row?.first.rawValue == stream)
        }
        // All of it.
        overlay.trimTarget.store(end, ordering: .relaxed)
        overlay.trim(budget: .max)
        #expect(overlay.count == 0)
        for stream in last.keys { #expect(overlay.row(of: key(stream)) == nil) }
    }

    @Test func `a stream that was forgotten comes again`() {
        let overlay = Overlay(floor: 0, eventsMax: 1_000)
        overlay.join([event(1, 1, 1, previous: TailEvent.none), event(2, 2, 1, previous: TailEvent.none)])
        overlay.trimTarget.store(2, ordering: .relaxed)
        overlay.trim(budget: .max)
        #expect(overlay.row(of: key(1)) == nil && overlay.floor == 2)
        overlay.join([event(1, 3, 2, previous: 0), event(1, 4, 3, previous: 2)])
        #expect(overlay.row(of: key(1))?.last == position(3) && overlay.row(of: key(2)) == nil)
        overlay.trimTarget.store(3, ordering: .relaxed)
        overlay.trim(budget: .max)
        #expect(overlay.row(of: key(1))?.last == position(3))
        overlay.trimTarget.store(4, ordering: .relaxed)
        overlay.trim(budget: .max)
        #expect(overlay.row(of: key(1)) == nil && overlay.count == 0)
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
