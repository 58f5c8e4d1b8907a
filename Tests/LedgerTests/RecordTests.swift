import Foundation
import Testing

@testable import Ledger

@Suite struct RecordTests {
    struct Vectors: Decodable {
        struct Record: Decodable {
            var name: String
            var type, schemaVersion, variant, streamKind: UInt8
            var backfill: Bool
            var occurredAt: Int64?
            var actor: UInt32
            var ledger, subject, source, id: String
            var correlation, causation, traceparent: String?
            var `public`, personal: [String]
            var position: UInt64
            var recordedAt: Int64
            var version: UInt64
            var record, leaf, streamKey, nameHash: String
        }
        var records: [Record]
    }

    static func vectors() throws -> [Vectors.Record] {
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let data = try Data(contentsOf: root.appendingPathComponent("schemas/vectors/records.json"))
        return try JSONDecoder().decode(Vectors.self, from: data).records
    }

    private static func bytes(hex: String) -> [UInt8] {
        stride(from: 0, to: hex.utf8.count, by: 2).map { offset in
            let start = hex.index(hex.startIndex, offsetBy: offset)
            return UInt8(hex[start..<hex.index(start, offsetBy: 2)], radix: 16)!
        }
    }

    private static func hex(_ bytes: some Sequence<UInt8>) -> String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }

    /// Lends the bytes of several texts at once.
    private func withBytes<R>(_ texts: [String], _ body: ([UnsafeRawBufferPointer]) throws -> R) rethrows -> R {
        let copies = texts.map { text in
            let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: text.utf8.count, alignment: 1)
            copy.copyBytes(from: text.utf8)
            return copy
        }
        defer { copies.forEach { $0.deallocate() } }
        return try body(copies.map { UnsafeRawBufferPointer($0) })
    }

    private func encode(_ vector: Vectors.Record, into unit: AppendUnit) throws {
        let texts = [
            vector.subject, vector.source, vector.id, vector.correlation ?? "", vector.causation ?? "",
            vector.traceparent ?? "",
        ]
        try withBytes(texts) { texts in
            unit.beginEvent(
                EventDraft(
                    type: vector.type, schemaVersion: vector.schemaVersion, variant: vector.variant,
                    isBackfill: vector.backfill, occurredAt: vector.occurredAt, streamKind: vector.streamKind,
                    actor: vector.actor, subject: texts[0], source: texts[1], eventID: texts[2],
                    correlation: texts[3], causation: texts[4], traceparent: texts[5]))
            // As in a request: public and personal members mixed.
            for index in 0..<max(vector.public.count, vector.personal.count) {
                if index < vector.personal.count {
                    withBytes([vector.personal[index]]) { unit.addPersonalMember($0[0]) }
                }
                if index < vector.public.count { withBytes([vector.public[index]]) { unit.addPublicMember($0[0]) } }
            }
            try unit.endEvent()
        }
    }

    @Test func `the golden vectors are encoded to the byte`() throws {
        let vectors = try Self.vectors()
        #expect(vectors.count >= 4)
        for vector in vectors {
            let unit = AppendUnit(ledgerID: try #require(LedgerID(vector.ledger)), replyTo: TestSink(), token: 1)
            try encode(vector, into: unit)
            let leaf = unit.finish(
                0, position: vector.position, recordedAt: vector.recordedAt, version: vector.version)
            #expect(Self.hex(unit.record(0).whole) == vector.record, "\(vector.name)")
            #expect(leaf.description == vector.leaf, "\(vector.name)")
            let key = unit.slots[0].key
            #expect(key.withBytes { Self.hex($0) } == vector.streamKey)
            let name = unit.slots[0].name
            let nameBytes =
                withUnsafeBytes(of: name.tag.bigEndian) { Array($0) }
                + withUnsafeBytes(of: name.rest.bigEndian) { Array($0) }
            #expect(Self.hex(nameBytes) == vector.nameHash)
        }
    }

    @Test func `the golden vectors are decoded to their inputs`() throws {
        for vector in try Self.vectors() {
            try Self.bytes(hex: vector.record).withUnsafeBytes { bytes in
                let record = try RecordView(validating: bytes)
                #expect(record.type == vector.type && record.schemaVersion == vector.schemaVersion)
                #expect(record.variant == vector.variant && record.streamKind == vector.streamKind)
                #expect(record.isBackfill == vector.backfill && record.occurredAt == vector.occurredAt)
                #expect(record.actor == vector.actor && record.ledgerID.description == vector.ledger)
                #expect(record.subject.text == vector.subject && record.source.text == vector.source)
                #expect(record.eventID.text == vector.id && record.correlation.text == vector.correlation ?? "")
                #expect(record.causation.text == vector.causation ?? "")
                #expect(record.traceparent.text == vector.traceparent ?? "")
                #expect(record.publicMembers.text == vector.public.joined(separator: ","))
                #expect(record.personalMembers.text == vector.personal.joined(separator: ","))
                #expect(record.position.rawValue == vector.position && record.version.rawValue == vector.version)
                #expect(record.recordedAt == vector.recordedAt)
                #expect(record.instant == vector.occurredAt ?? vector.recordedAt)
                #expect(LeafHash(of: bytes).description == vector.leaf)
            }
        }
    }

    /// Each way to be broken: what is done to a good record, and the fault that it is.
    private static let breakages: [(RecordFault, @Sendable ([UInt8]) -> [UInt8])] = [
        (.tooShort, { Array($0.prefix(40)) }),
        (.tooLong, { $0 + [UInt8](repeating: 0, count: LedgerLimits.recordBytesMax) }),
        (.unknownFormat, { $0.replacing(1, at: 0) }),
        (.unknownFlags, { $0.replacing($0[3] | 4, at: 3) }),
        (.headerReserved, { $0.replacing(1, at: 7) }),
        (.occurredAtUnflagged, { $0.replacing($0[3] & ~2, at: 3) }),
        (.subjectLength, { $0.replacing(0, at: 36) }),
        (.subjectLength, { $0.replacing(129, at: 36) }),
        (.sourceLength, { $0.replacing(0, at: 37) }),
        (.eventIDLength, { $0.replacing(0, at: 38) }),
        (.eventIDLength, { $0.replacing(200, at: 38) }),
        (.partsBeyondEnd, { $0.replacing(255, at: 41) }),
        (.partsBeyondEnd, { $0.replacing(255, at: 42) }),
        // The personal part begins 5 + 44 bytes before the trailer in the third vector.
        (.unknownScheme, { $0.replacing(7, at: personalStart($0)) }),
        (.personalLength, { $0.replacing(0, at: personalStart($0) + 4) }),
        (.partsBeyondEnd, { $0.replacing($0[personalStart($0) + 4] + 1, at: personalStart($0) + 4) }),
        (.partsShort, { $0.replacing($0[personalStart($0) + 4] - 1, at: personalStart($0) + 4) }),
        (.partsShort, { $0.replacing(0, at: personalStart($0)) }),
        (.trailerReserved, { $0.replacing(1, at: $0.count - 1) }),
        (.versionZero, { $0.replacing(0, at: $0.count - 9) }),
    ]

    private static func personalStart(_ bytes: [UInt8]) -> Int {
        bytes.withUnsafeBytes { bytes in
            var start = 46 + Int(bytes.bigEndian(at: 42, as: UInt32.self))
            for index in 36..<42 { start += Int(bytes[index]) }
            return start
        }
    }

    @Test func `each way to be broken is named`() throws {
        let good = Self.bytes(hex: try Self.vectors()[2].record)
        #expect(good.withUnsafeBytes { RecordView.fault(in: $0) } == nil)
        for (expected, breaking) in Self.breakages {
            let broken = breaking(good)
            #expect(broken.withUnsafeBytes { RecordView.fault(in: $0) } == expected)
            #expect(throws: LedgerError.self) {
                try broken.withUnsafeBytes { try RecordView(validating: $0).version.rawValue }
            }
        }
        #expect(Set(Self.breakages.map(\.0)) == Set(RecordFault.allCases))
    }

    @Test func `any flipped bit and any cut gives a fault or another record, never a crash`() throws {
        for vector in try Self.vectors() {
            let good = Self.bytes(hex: vector.record)
            for index in 0..<good.count * 8 {
                let flipped = good.replacing(good[index / 8] ^ 1 << (index % 8), at: index / 8)
                flipped.withUnsafeBytes { bytes in
                    #expect(LeafHash(of: bytes).description != vector.leaf)
                    guard let record = try? RecordView(validating: bytes) else { return }
                    // Reads every part.
                    _ = record.subject.count + record.traceparent.count + record.publicMembers.count
                    _ = record.personalMembers.count + Int(record.position.rawValue & 1)
                }
            }
            for count in 0..<good.count {
                #expect(good.prefix(count).withUnsafeBytes { RecordView.fault(in: $0) } != nil)
            }
        }
    }

    // MARK: The encoder's refusals

    @Test func `L17: an event that is too large is refused and leaves the unit as it was`() throws {
        let unit = AppendUnit(ledgerID: LedgerID(high: 1, low: 2), replyTo: TestSink(), token: 1)
        try unit.add(TestEvent(id: "small"))
        let bytes = unit.byteCount
        for (text, personal) in [(60_000, 2_000), (100, 70_000), (70_000, 0), (61_440 - 46 - 32, 0)] {
            let event = TestEvent(
                id: "large", text: String(repeating: "x", count: text),
                personal: String(repeating: "y", count: personal))
            #expect(throws: LedgerError.self) { try unit.add(event) }
            #expect(unit.byteCount == bytes && unit.eventCount == 1)
        }
        // The largest that fits: 46 header, 3 + 4 + 5 names, 1 scheme, 32 trailer.
        try unit.add(
            TestEvent(id: "exact", text: String(repeating: "x", count: 61_440 - 46 - 3 - 4 - 5 - 1 - 32)))
        #expect(unit.record(1).whole.count == LedgerLimits.recordBytesMax)
        #expect(unit.record(0).eventID.text == "small")
    }

    /// Personal members are gathered in memory that units share: what one leaves there must not get into another's record.
    @Test func `units that share their scratch memory keep their personal members apart`() throws {
        let scratch = MemberScratch()
        func unit() -> AppendUnit {
            AppendUnit(ledgerID: LedgerID(high: 1, low: 2), replyTo: TestSink(), token: 1, scratch: scratch)
        }
        let (first, second, third) = (unit(), unit(), unit())
        try first.add(TestEvent(id: "a", personal: "\"p\":1"))
        // Refused, after its personal members were gathered; and one that is never ended.
        let long = String(repeating: "x", count: LedgerLimits.recordBytesMax)
        #expect(throws: LedgerError.self) { try second.add(TestEvent(id: "b", text: long, personal: "\"p\":2")) }
        let abandoned = Array("\"p\":3".utf8)
        abandoned.withUnsafeBytes { third.addPersonalMember($0) }
        try second.add(TestEvent(id: "c", text: "\"n\":1"))
        try third.add(TestEvent(id: "d", personal: "\"p\":4"))
        #expect(first.record(0).personalMembers.text == "\"p\":1")
        #expect(second.record(0).personalMembers.isEmpty && second.record(0).publicMembers.text == "\"n\":1")
        #expect(third.record(0).personalMembers.text == "\"p\":4")
    }

    /// However the units of a turn are hashed ahead, or not at all, the appender's hash is that of the record.
    @Test(arguments: [[], [1], [1, 1], [3], [2, 1, 4, 1]])
    func `a leaf is the hash of its record, hashed ahead or not`(counts: [Int]) throws {
        var number = 0
        let units = try counts.map { count in
            let unit = AppendUnit(ledgerID: LedgerID(high: 1, low: 2), replyTo: TestSink(), token: 1)
            for _ in 0..<count {
                number += 1
                try unit.add(
                    TestEvent(
                        id: "e\(number)", text: String(repeating: "x", count: number * 83),
                        personal: number % 2 == 0 ? "\"p\":1" : ""))
            }
            return unit
        }
        for isAhead in [false, true] {
            if isAhead { AppendUnit.hashAhead(units) }
            for unit in units {
                for event in 0..<unit.eventCount {
                    let leaf = unit.finish(event, position: 7 + UInt64(event), recordedAt: 5, version: 4)
                    #expect(leaf == LeafHash(withLibraryOf: unit.record(event).whole))
                }
            }
        }
    }

    @Test func `L16: names that no record can hold are refused`() throws {
        let unit = AppendUnit(ledgerID: LedgerID(high: 1, low: 2), replyTo: TestSink(), token: 1)
        for event in [
            TestEvent(stream: "", id: "a"), TestEvent(stream: String(repeating: "s", count: 129), id: "a"),
            TestEvent(source: "", id: "a"), TestEvent(source: String(repeating: "s", count: 256), id: "a"),
            TestEvent(id: ""), TestEvent(id: String(repeating: "s", count: 129)),
        ] {
            #expect(throws: LedgerError.self) { try unit.add(event) }
            #expect(unit.eventCount == 0)
        }
    }

    @Test func `the same content is what the sender said, whoever sent it`() throws {
        func record(_ event: TestEvent, actor: UInt32 = 1_000, ledger: UInt64 = 1) throws -> AppendUnit {
            let unit = AppendUnit(ledgerID: LedgerID(high: ledger, low: 0), replyTo: TestSink(), token: 1)
            try unit.add(event)
            return unit
        }
        let event = TestEvent(id: "a", text: "\"n\":1", personal: "\"p\":1")
        let unit = try record(event)
        let later = try record(event, ledger: 2)
        _ = later.finish(0, position: 9, recordedAt: 5, version: 4)
        #expect(later.record(0).hasSameContent(as: unit.record(0)))
        var other = event
        for change: (inout TestEvent) -> Void in [
            { $0.text = "\"n\":2" }, { $0.personal = "\"p\":2" }, { $0.id = "b" }, { $0.source = "tesu" },
            { $0.stream = "L-2" }, { $0.type = 2 }, { $0.occurredAt = 0 }, { $0.isBackfill = true },
            {
                $0.text += $0.personal; $0.personal = ""
            },
        ] {
            other = event
            change(&other)
            let changed = try record(other)
            #expect(!changed.record(0).hasSameContent(as: unit.record(0)))
        }
    }

    @Test func `a name twice in a unit is found, in small units and in large ones`() throws {
        for count in [2, 10, 40, 400] {
            let unit = AppendUnit(ledgerID: LedgerID(high: 1, low: 2), replyTo: TestSink(), token: 1)
            for index in 0..<count { try unit.add(TestEvent(stream: "L-\(index % 3)", id: "e\(index)")) }
            #expect(unit.nameTwice == nil)
            try unit.add(TestEvent(stream: "L-1", id: "e1"))
            #expect(unit.nameTwice?.event == count && unit.nameTwice?.first == 1)
        }
        // The same id in another stream or from another source is another name.
        let unit = AppendUnit(ledgerID: LedgerID(high: 1, low: 2), replyTo: TestSink(), token: 1)
        try unit.add(TestEvent(id: "a"))
        try unit.add(TestEvent(stream: "L-2", id: "a"))
        try unit.add(TestEvent(source: "other", id: "a"))
        #expect(unit.nameTwice == nil)
    }
}

extension [UInt8] {
    fileprivate func replacing(_ byte: UInt8, at index: Int) -> [UInt8] {
        var copy = self
        copy[index] = byte
        return copy
    }
}
