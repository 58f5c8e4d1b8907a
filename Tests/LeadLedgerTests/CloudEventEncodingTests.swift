import JSON
import Leads
import Ledger
import TestSupport
import Testing

@testable import LeadLedger

/// The fast way to write an event, against one that writes field by field.
@Suite struct CloudEventEncodingTests {
    @Test func `random records are written as field by field, with one encoder for all`() throws {
        let seed = announcedSeed("CloudEventEncodingTests")
        var random = SeededGenerator(seed: seed)
        var encoder = CloudEventEncoder()
        var escaped = 0
        for number in 0..<5_000 {
            let sample = record(&random)
            let expected = plain(sample)
            let written = try sample.bytes.withUnsafeBytes { bytes in
                var writer = JSONWriter()
                writer.cloudEvent(try RecordView(validating: bytes), with: &encoder)
                return writer.string
            }
            #expect(written == expected, "seed \(seed), record \(number)")
            if expected.contains("\\") { escaped += 1 }
        }
        #expect(escaped > 1_000, "seed \(seed)")
    }

    /// The room asked for is kept: what lies behind it is not touched.
    @Test func `the longest texts fit the room that was asked for`() throws {
        let worst = String(repeating: "\u{1}", count: 128)
        let sample = SampleRecord(
            type: 6, subject: worst, source: worst, eventID: worst, correlation: worst, causation: worst,
            traceparent: worst, members: #""a":1"#, personal: #""b":2"#, occurredAt: Instant.latest.microseconds,
            isBackfill: true, position: .max, recordedAt: Instant.latest.microseconds, version: .max, actor: .max)
        try sample.bytes.withUnsafeBytes { bytes in
            let record = try RecordView(validating: bytes)
            var encoder = CloudEventEncoder()
            let room = encoder.bytesMax(of: record)
            var place = [UInt8](repeating: 0xEE, count: room + 64)
            let count = place.withUnsafeMutableBytes { encoder.write(record, to: $0.baseAddress!) }
            #expect(count <= room && place[room...].allSatisfy { $0 == 0xEE })
            #expect(String(decoding: place[..<count], as: UTF8.self) == plain(sample))
        }
    }

    private func record(_ random: inout SeededGenerator) -> SampleRecord {
        func text(_ counts: ClosedRange<Int>, _ random: inout SeededGenerator) -> String {
            let letters =
                Array("abcdefghijklmnopqrstuvwxyz0123456789-_:/. äß€")
                + (random.chance(20) ? ["\"", "\\", "\n", "\u{1}"] : [])
            var text = ""
            for _ in 0..<Int.random(in: counts, using: &random) { text.append(letters.randomElement(using: &random)!) }
            return text
        }
        // The first instant again, its day, any other, before 1970, and at the ends of what can be written.
        func instant(_ random: inout SeededGenerator) -> Int64 {
            let day: Int64 = 1_772_323_200_000_000
            switch Int.random(in: 0..<8, using: &random) {
            case 0, 1: return day
            case 2, 3: return day + Int64.random(in: 0..<86_400, using: &random) * 1_000_000
            case 4: return day + Int64.random(in: 0..<86_400_000_000, using: &random)
            case 5: return Int64.random(in: -10_000_000_000_000...10_000_000_000_000_000, using: &random)
            case 6: return [-1, 0, 1, 86_399_999_999, 86_400_000_000].randomElement(using: &random)!
            default:
                return [Instant.earliest.microseconds, Instant.latest.microseconds, .min, .max].randomElement(
                    using: &random)!
            }
        }
        return SampleRecord(
            type: random.chance(90)
                ? [1, 2, 5, 64].randomElement(using: &random)! : UInt8.random(in: 1...255, using: &random),
            subject: text(1...40, &random), source: text(1...60, &random), eventID: text(1...40, &random),
            correlation: random.chance(30) ? text(1...30, &random) : "",
            causation: random.chance(30) ? text(1...30, &random) : "",
            traceparent: random.chance(30) ? text(1...30, &random) : "",
            members: ["", #""a":1"#, #""channel":"w\"eb","x":[1,2,{}]"#].randomElement(using: &random)!,
            personal: ["", #""email":"x@example.com""#].randomElement(using: &random)!,
            occurredAt: random.chance(80) ? instant(&random) : nil, isBackfill: random.chance(20),
            position: UInt64.random(in: 0...(random.chance(50) ? 200 : .max), using: &random),
            recordedAt: instant(&random),
            version: UInt64.random(in: 1...(random.chance(50) ? 12 : .max), using: &random),
            actor: UInt32.random(in: 0...(.max), using: &random))
    }

    private func plain(_ sample: SampleRecord) -> String {
        var writer = JSONWriter()
        func member(_ name: String, _ text: String) {
            writer.key(name)
            writer.string(text)
        }
        writer.beginObject()
        member("specversion", "1.0")
        member("id", sample.eventID)
        member("source", sample.source)
        member("type", EventType(rawValue: sample.type)?.name ?? "unknown.\(sample.type)")
        member("subject", sample.subject)
        if let occurredAt = sample.occurredAt { member("time", Instant(microseconds: occurredAt).text) }
        if sample.isBackfill {
            writer.key("backfill")
            writer.bool(true)
        }
        for (name, text) in [
            ("correlationid", sample.correlation), ("causationid", sample.causation),
            ("traceparent", sample.traceparent),
        ] where !text.isEmpty {
            member(name, text)
        }
        writer.key("data")
        let members = [sample.members, sample.personal].filter { !$0.isEmpty }.joined(separator: ",")
        writer.raw(Array("{\(members)}".utf8))
        writer.key("position")
        writer.integer(sample.position)
        writer.key("version")
        writer.integer(sample.version)
        member("recordedtime", Instant(microseconds: sample.recordedAt).text)
        writer.key("actor")
        writer.integer(sample.actor)
        writer.endObject()
        return writer.string
    }
}
