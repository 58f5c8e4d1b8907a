import JSON
import Leads
import Ledger
import Schemas
import Testing

@testable import leadledger_bench

@Suite struct EventStreamTests {
    let templates = EventTemplates(tag: "t")

    private func lines(of stream: EventStream, count: Int) -> [[UInt8]] {
        var stream = stream
        return (0..<count).map { _ in
            [UInt8](unsafeUninitializedCapacity: templates.lineBytes) { buffer, filled in
                stream.writeLine(to: UnsafeMutableRawPointer(buffer.baseAddress!))
                filled = templates.lineBytes
            }
        }
    }

    @Test func `the same seed gives the same bytes and another seed gives others`() {
        let first = lines(of: EventStream(templates: templates, seed: 7, leads: 100), count: 500)
        #expect(lines(of: EventStream(templates: templates, seed: 7, leads: 100), count: 500) == first)
        #expect(lines(of: EventStream(templates: templates, seed: 8, leads: 100), count: 500) != first)
    }

    @Test func `every line is a request whose event the schemas take and whose length is that of the others`() throws {
        let parameters = try JSONSchema(#require(Schemas.methods.first { $0.name == "append.params" }).text)
        let envelope = try JSONSchema(Schemas.envelope)
        var data: [String: JSONSchema] = [:]
        for event in Schemas.events { data[event.name] = try JSONSchema(event.text) }
        var parser = JSONParser()
        var types: Set<String> = []
        for line in lines(of: EventStream(templates: templates, seed: 1, leads: 300), count: 2_000) {
            #expect(line.count == templates.lineBytes)
            #expect(line.last == 0x0A)
            try parser.withDocument(line) { root in
                #expect(root["method"]?.string == "append")
                #expect(root["id"]?.int64 != nil)
                let params = try #require(root["params"])
                #expect(parameters.validate(params) == nil)
                let event = try #require(params["events"]?.elements.first { _ in true })
                #expect(event.raw.count == EventTemplate.eventBytes)
                #expect(envelope.validate(event) == nil)
                let type = try #require(event["type"]?.string)
                types.insert(type)
                let schema = try #require(data[type])
                let payload = try #require(event["data"])
                #expect(schema.validate(payload) == nil)
                let time = try #require(event["time"])
                _ = try Instant(rfc3339: time.utf8)
            }
        }
        #expect(types == ["lead.captured", "lead.touched"])
    }

    @Test
    func `the lifecycle refuses no event of several connections however they are interleaved, and no name repeats`()
        throws
    {
        let members = 7
        var streams = (0..<members).map {
            EventStream(templates: templates, seed: 3, leads: 1_000, member: $0, of: members)
        }
        var random = RandomBits(state: 11)
        var states: [String: LeadState] = [:]
        var owners: [String: Int] = [:]
        var names: Set<String> = []
        var parser = JSONParser()
        var line = [UInt8](repeating: 0, count: templates.lineBytes)
        for _ in 0..<8_000 {
            let member = Int(random.next() % UInt64(members))
            line.withUnsafeMutableBytes { streams[member].writeLine(to: $0.baseAddress!) }
            try parser.withDocument(line) { root in
                let event = try #require(root["params"]?["events"]?.elements.first { _ in true })
                let subject = try #require(event["subject"]?.string)
                let type = try #require(event["type"]?.string.flatMap(EventType.init(name:)))
                #expect((type == .captured) == (states[subject] == nil))
                guard case .next(let state) = Lifecycle.evolve(states[subject], type) else {
                    Issue.record("\(type.name) is refused")
                    return
                }
                states[subject] = state
                #expect(
                    owners.updateValue(member, forKey: subject) ?? member == member, "two connections have \(subject)")
                let id = try #require(event["id"]?.string)
                #expect(names.insert("\(subject) \(id)").inserted)
            }
        }
        // Uniformly chosen, hardly any of 1,000 leads is left out by 8,000 events.
        #expect(states.count > 990)
        #expect(states.count <= 1_000)
    }

    @Test func `every lead is as likely as the others`() {
        var stream = EventStream(templates: templates, seed: 5, leads: 30, member: 1, of: 3)
        var counts: [UInt64: Int] = [:]
        for _ in 0..<20_000 { counts[stream.next().lead, default: 0] += 1 }
        #expect(Set(counts.keys) == Set(stride(from: 1, to: 30, by: 3)))
        for (lead, count) in counts { #expect((1_800...2_200).contains(count), "\(lead): \(count)") }
    }

    @Test func `a small load has captures and touches in the proportion of a large one`() {
        let leads = Load.leads(for: 8_000, leadsMax: 1_000_000, connections: 8)
        #expect(leads == 10_000)
        #expect(Load.leads(for: 10_000_000, leadsMax: 1_000_000, connections: 8) == 1_000_000)
        #expect(Load.leads(for: 1, leadsMax: 1_000_000, connections: 8) == 8)
        var stream = EventStream(templates: templates, seed: 5, leads: leads)
        let captures = (0..<8_000).count { _ in templates.all[stream.next().template].isCapture }
        // 1 - exp(-0.8) of the leads are hit.
        #expect((5_400...5_620).contains(captures))
    }

    @Test(arguments: [0, 59, 60, 86_399, 86_400, 2_419_200, 29_030_399, 29_030_400, 999_999_999_999] as [UInt64])
    func `every second is an instant of 2025`(second: UInt64) throws {
        var text = Array("2025-01-01T00:00:00Z".utf8)
        text.withUnsafeMutableBytes { storeInstant(second, at: $0.baseAddress!) }
        let instant = try text.withUnsafeBytes { try Instant(rfc3339: $0) }
        #expect("\(instant)".hasPrefix("2025-"))
        #expect(text.count == 20)
    }

    @Test func `a record is one that the log reads and says what the request says`() throws {
        let schemas = try ["lead.captured", "lead.touched"].map { name in
            try JSONSchema(#require(Schemas.events.first { $0.name == name }).text)
        }
        var lineStream = EventStream(templates: templates, seed: 9, leads: 50)
        var recordStream = lineStream
        var parser = JSONParser()
        var line = [UInt8](repeating: 0, count: templates.lineBytes)
        var room = [UInt8](repeating: 0, count: templates.recordBytesMax)
        for position: UInt64 in 0..<200 {
            line.withUnsafeMutableBytes { lineStream.writeLine(to: $0.baseAddress!) }
            let count = room.withUnsafeMutableBytes {
                recordStream.writeRecord(to: $0.baseAddress!, position: position)
            }
            try room.withUnsafeBytes { bytes in
                let record = try RecordView(validating: UnsafeRawBufferPointer(rebasing: bytes[..<count]))
                #expect(record.position.rawValue == position)
                try parser.withDocument(line) { root in
                    let event = try #require(root["params"]?["events"]?.elements.first { _ in true })
                    #expect(EventType(rawValue: record.type)?.name == event["type"]?.string)
                    #expect(String(decoding: record.subject, as: UTF8.self) == event["subject"]?.string)
                    #expect(String(decoding: record.source, as: UTF8.self) == event["source"]?.string)
                    #expect(String(decoding: record.eventID, as: UTF8.self) == event["id"]?.string)
                    #expect(record.occurredAt != nil)
                    // The daemon splits the data by the schema's marks.
                    let data = try #require(event["data"])
                    var marks = MemberMarks()
                    #expect(schemas[record.type == 1 ? 0 : 1].validate(data, marks: &marks) == nil)
                    var parts: [[String]] = [[], []]
                    for (index, member) in data.members.enumerated() {
                        parts[Int(marks.personal >> UInt64(index) & 1)].append(
                            String(decoding: member.raw, as: UTF8.self))
                    }
                    #expect(String(decoding: record.publicMembers, as: UTF8.self) == parts[0].joined(separator: ","))
                    #expect(String(decoding: record.personalMembers, as: UTF8.self) == parts[1].joined(separator: ","))
                }
            }
        }
    }

    @Test
    func `in turn every lead is captured once, and over captured leads all are touches with numbers of their own`() {
        var leads: Set<UInt64> = []
        var numbers: Set<UInt64> = []
        for member in 0..<3 {
            var stream = EventStream(
                templates: templates, seed: 1, leads: 100, member: member, of: 3, pick: .inTurn)
            for _ in 0..<(member == 0 ? 34 : 33) {
                let draw = stream.next()
                #expect(draw.template < EventTemplates.variants)
                #expect(leads.insert(draw.lead).inserted)
                numbers.insert(draw.number)
            }
        }
        #expect(leads == Set(0..<100))
        var touches = EventStream(
            templates: templates, seed: 1, leads: 100, pick: .captured, firstNumber: 2 * EventTemplate.firstNumber)
        for _ in 0..<500 {
            let draw = touches.next()
            #expect(draw.template >= EventTemplates.variants)
            #expect(leads.contains(draw.lead))
            #expect(numbers.insert(draw.number).inserted)
        }
    }

    @Test func `an event alone has the bytes that it has in its request`() {
        var alone = EventStream(templates: templates, seed: 5, leads: 50)
        for line in lines(of: alone, count: 200) {
            let event = [UInt8](unsafeUninitializedCapacity: EventTemplate.eventBytes) { buffer, count in
                alone.writeEvent(to: UnsafeMutableRawPointer(buffer.baseAddress!))
                count = EventTemplate.eventBytes
            }
            let start = templates.all[0].event.lowerBound
            #expect(Array(line[start..<start + EventTemplate.eventBytes]) == event)
        }
    }
}
