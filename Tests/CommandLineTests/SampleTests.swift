import Crypto
import JSON
import Leads
import Testing

@testable import leadledger

@Suite struct SampleTests {
    private func sample(_ leads: Int, seed: UInt64) -> [UInt8] {
        var generator = SampleGenerator(leads: leads, seed: seed)
        var bytes: [UInt8] = []
        while generator.writeNext(to: &bytes) {}
        return bytes
    }

    /// Pinned, since a demonstration and a benchmark mean the same input on every machine and in every version. A change of the
    /// generator that is wanted pins the new hash and says so.
    @Test func `the same numbers give the same bytes, on any machine`() {
        let digest = SHA256.hash(data: sample(100, seed: 42)).map {
            String($0 >> 4, radix: 16) + String($0 & 15, radix: 16)
        }
        #expect(digest.joined() == "e03f9a4fb3b9dc2e0226efebfee419f749dbcfb817d3712a28d191c57606cda3")
    }

    @Test func `another seed gives other leads`() {
        #expect(sample(20, seed: 1) != sample(20, seed: 2))
        #expect(sample(0, seed: 1).isEmpty)
    }

    @Test func `every event keeps its schema, the order of time and the lifecycle`() throws {
        let checker = try EventChecker()
        var parser = JSONParser()
        var states: [String: LeadState] = [:]
        var names: Set<String> = []
        var types: [EventType: Int] = [:]
        var earlier = try Instant(rfc3339: "2026-01-01T00:00:00Z")
        let end = try Instant(rfc3339: "2026-07-01T00:00:00Z")
        for line in sample(3_000, seed: 7).split(separator: UInt8(ascii: "\n")) {
            try parser.withDocument(Array(line)) { event in
                #expect(checker.fault(in: event) == nil)
                let subject = try #require(event["subject"]?.string)
                let type = try #require(EventType(name: event["type"]?.string ?? ""))
                let time = try Instant(rfc3339: event["time"]?.string ?? "")
                #expect(time >= earlier && time < end)
                earlier = time
                let isNew = names.insert(event["id"]?.string ?? "").inserted
                #expect(isNew)
                types[type, default: 0] += 1
                guard case .next(let state) = Lifecycle.evolve(states[subject], type) else {
                    return #expect(Bool(false), "\(subject): \(type) refused in \(states[subject] as Any)")
                }
                states[subject] = state
            }
        }
        #expect(states.count == 3_000)
        for type in [
            EventType.captured, .touched, .noted, .enriched, .marketingQualified, .offered, .accepted, .rejected,
            .queued,
            .assigned, .released, .contactAttempted, .contacted, .qualified, .opportunityOpened, .won, .lost,
            .disqualified,
            .recycled,
        ] {
            #expect(types[type] ?? 0 > 0, "\(type.name)")
        }
        let stages = Dictionary(grouping: states.values, by: \.stage).mapValues(\.count)
        #expect(stages[.won] ?? 0 > 150)
        // A demonstration wants somebody to wait in the queue.
        #expect(states.values.count { $0.custody == .inbox || $0.custody == .queue } > 100)
    }
}
