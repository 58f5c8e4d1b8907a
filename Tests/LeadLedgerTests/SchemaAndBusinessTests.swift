import JSON
import Leads
import Schemas
import Testing

/// What the schemas let in, the business understands: an event that was stored and cannot be projected stops a read model.
@Suite struct SchemaAndBusinessTests {
    @Test func `every currency that a schema lists is one that the business knows`() throws {
        var parser = JSONParser()
        var lists = 0
        for event in Schemas.events {
            let codes = try parser.withDocument(event.text) { root in
                root["$defs"]?["currency"]?["enum"]?.elements.map { $0.string ?? "" } ?? []
            }
            if !codes.isEmpty { lists += 1 }
            for code in codes { #expect(Currency(code)?.code == code, "\(event.name) lists \(code)") }
        }
        #expect(lists >= 4)
    }

    @Test func `every currency that the business knows is in the schemas`() throws {
        var parser = JSONParser()
        let won = try #require(Schemas.events.first { $0.name == "lead.won" })
        let listed = try parser.withDocument(won.text) { root in
            Set(root["$defs"]?["currency"]?["enum"]?.elements.compactMap(\.string) ?? [])
        }
        #expect(listed == Set(Currency.allCodes))
    }

    @Test func `the event types that have a schema are those that the business supports`() {
        let withSchema = Set(Schemas.events.compactMap { EventType(name: $0.name) })
        #expect(withSchema == Set(EventType.allCases.filter(\.isSupported)))
    }

    @Test func `the types that only the daemon says are those whose schema says so`() throws {
        var parser = JSONParser()
        for event in Schemas.events {
            let type = try #require(EventType(name: event.name))
            let isReserved = try parser.withDocument(event.text) { $0["x-emitted-by"]?.equals("daemon") == true }
            #expect(type.isReserved == isReserved, "\(event.name)")
        }
    }
}
