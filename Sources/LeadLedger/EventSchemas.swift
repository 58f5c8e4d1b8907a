import JSON
import Leads
import Schemas

// EventSchemas: the compiled schemas of the envelope, of every event type and of every method's parameters. Compiled once
// at start; a schema that does not compile is our bug, and the daemon does not start with it.

struct EventSchemas: Sendable {
    let envelope: JSONSchema
    /// By type code; nil for a type that clients may not append.
    private let byType: [(schema: JSONSchema, version: UInt8)?]
    /// The same, to be looked at for each event without counting references: `byType` holds them.
    private let lent: [EventSchema?]
    /// By method name.
    let parameters: [String: JSONSchema]

    init() throws(JSONSchemaError) {
        envelope = try JSONSchema(Schemas.envelope)
        var byType: [(schema: JSONSchema, version: UInt8)?] = Array(repeating: nil, count: 256)
        for entry in Schemas.events {
            guard let type = EventType(name: entry.name) else { continue }
            byType[Int(type.rawValue)] = (try JSONSchema(entry.text), entry.version)
        }
        self.byType = byType
        lent = byType.map { entry in entry.map { EventSchema($0.schema, $0.version) } }
        var parameters: [String: JSONSchema] = [:]
        for entry in Schemas.methods where entry.name.hasSuffix(".params") {
            parameters[String(entry.name.dropLast(".params".count))] = try JSONSchema(entry.text)
        }
        self.parameters = parameters
    }

    /// The schema is lent, and lives as long as this.
    subscript(_ type: EventType) -> EventSchema? { lent[Int(type.rawValue)] }
}

/// The schema of one event's data, lent.
struct EventSchema {
    let schema: Unmanaged<JSONSchema>
    let version: UInt8
    /// The bits of its members for money in `MemberMarks.seen`; 0 where it has none.
    let amount: UInt64
    let currency: UInt64

    init(_ schema: JSONSchema, _ version: UInt8) {
        self.schema = .passUnretained(schema)
        self.version = version
        amount = schema.property(named: "amount")
        currency = schema.property(named: "currency")
    }

    func validate(_ data: JSONValue, marks: inout MemberMarks) -> SchemaViolation? {
        schema._withUnsafeGuaranteedRef { $0.validate(data, marks: &marks) }
    }
}
