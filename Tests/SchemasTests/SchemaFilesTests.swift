import Foundation
import JSON
import Schemas
import Testing

let schemaFolder = URL(filePath: #filePath).resolvingSymlinksInPath()
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent().appending(path: "schemas")

func fileNames(in folder: String) throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: schemaFolder.appending(path: folder).path)
        .filter { $0.hasSuffix(".json") }
        .sorted()
}

@Suite struct SchemaFilesTests {
    @Test func `every event schema and method schema compiles`() throws {
        _ = try JSONSchema(Schemas.envelope)
        for event in Schemas.events { _ = try JSONSchema(event.text) }
        for method in Schemas.methods { _ = try JSONSchema(method.text) }
        #expect(try JSONSchema(Schemas.mapping).name == "leadledger:mapping")
        #expect(try JSONSchema(Schemas.policy).name == "leadledger:policy")
    }

    @Test func `the lists name every file of the directories and no other`() throws {
        let events = Schemas.events.map { "\($0.name).v\($0.version).json" } + ["envelope.json"]
        #expect(try fileNames(in: "events") == events.sorted())
        #expect(try fileNames(in: "methods") == Schemas.methods.map { "\($0.name).json" }.sorted())
    }

    @Test func `what is embedded under a name is the file of that name`() throws {
        func file(_ path: String) throws -> [UInt8] {
            [UInt8](try Data(contentsOf: schemaFolder.appending(path: path)))
        }
        #expect(try file("events/envelope.json") == Schemas.envelope)
        #expect(try file("mapping.json") == Schemas.mapping)
        #expect(try file("policy/policy.schema.json") == Schemas.policy)
        for event in Schemas.events { #expect(try file("events/\(event.name).v\(event.version).json") == event.text) }
        for method in Schemas.methods { #expect(try file("methods/\(method.name).json") == method.text) }
    }

    @Test func `versions of a type ascend`() {
        for (name, events) in Dictionary(grouping: Schemas.events, by: { $0.name }) {
            #expect(events.map { $0.version } == (1...UInt8(events.count)).map { $0 }, "\(name)")
        }
    }

    /// Events that clients send; the others have no fields of a sender's own, and what people write into them is asked for by
    /// methods that refuse what looks personal.
    private func isClients(_ schema: JSONValue) -> Bool { schema["x-emitted-by"] == nil }

    @Test func `the first events of a lead are all there`() throws {
        let expected = [
            "captured", "touched", "noted", "enriched", "marketing_qualified", "offered", "accepted", "rejected",
            "queued", "assigned",
            "released", "contact_attempted", "contacted", "qualified", "opportunity_opened", "won", "won_revised",
            "lost", "disqualified",
            "recycled", "reopened",
        ]
        var parser = JSONParser()
        let ours = try Schemas.events.filter { event in try parser.withDocument(event.text) { isClients($0) } }
        #expect(ours.map { $0.name } == expected.map { "lead.\($0)" })
    }

    @Test func `each schema is named as its file and refuses unknown fields`() throws {
        for event in Schemas.events {
            let schema = try JSONSchema(event.text)
            #expect(schema.name == "leadledger:events/\(event.name).v\(event.version)")
            var parser = JSONParser()
            let violation = try parser.withDocument(#"{"no such field":1}"#) { schema.validate($0) }
            #expect(violation?.keyword == "additionalProperties", "\(event.name)")
        }
    }

    @Test func `what speaks of a person is marked personal`() throws {
        let personal: Set = [
            "first_name", "last_name", "email", "phone", "job_title", "address", "message", "custom", "text", "note",
        ]
        var parser = JSONParser()
        for event in Schemas.events {
            try parser.withDocument(event.text) { schema in
                guard isClients(schema) else { return }
                for property in schema["properties"]!.members {
                    let name = property.name.string!
                    #expect(
                        (property.value["x-personal"]?.boolean == true) == personal.contains(name),
                        "\(event.name).\(name)")
                }
                #expect(schema["properties"]?["custom"] != nil, "\(event.name)")
            }
        }
    }
}
