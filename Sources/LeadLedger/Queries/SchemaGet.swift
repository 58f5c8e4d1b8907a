import Control
import JSON
import Projections
import Schemas

// SchemaGet: `schema.get`: the texts that the daemon checks by, or the list of them.

struct SchemaGet: Query {
    private let name: String?

    init(_ params: JSONValue?) throws(QueryFault) { name = params?["name"]?.string }

    func write(to writer: inout JSONWriter, from context: QueryContext) throws {
        writer.beginObject()
        if let name {
            guard let text = Self.all.last(where: { $0.name == name })?.text else {
                throw QueryFault(.unknownSchema, "no schema is called \(name)", pointer: "/name")
            }
            writer.member("name", name)
            writer.key("schema")
            writer.raw(try Self.minified(text))
        } else {
            writer.key("schemas")
            writer.beginArray()
            for entry in Self.all { writer.string(entry.name) }
            writer.endArray()
        }
        writer.endObject()
    }

    /// In the order of the answer; the newest version of an event type stands last.
    private static var all: [(name: String, text: [UInt8])] {
        [("envelope", Schemas.envelope), ("errors", Schemas.errors), ("mapping", Schemas.mapping)]
            + Schemas.events.map { ($0.name, $0.text) } + Schemas.methods.map { ($0.name, $0.text) }
    }

    /// The files have lines; an answer is one.
    private static func minified(_ text: [UInt8]) throws -> [UInt8] {
        var parser = JSONParser()
        return try parser.withDocument(text) { Array($0.raw) }
    }
}
