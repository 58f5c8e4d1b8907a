import JSON
import Schemas
import Yams

/// Why a mapping cannot be used, and where in its file.
struct MappingError: Error, Equatable, CustomStringConvertible {
    /// A JSON pointer into the mapping.
    var pointer: String
    /// From 1; nil where the file has no such place.
    var line: Int?
    var reason: String

    var description: String {
        (line.map { "line \($0): " } ?? "") + (pointer.isEmpty ? "" : "\(pointer): ") + reason
    }
}

/// A mapping as it stands in its file: YAML read as the JSON it means, and checked against `schemas/mapping.json`.
///
/// Plain scalars are null, booleans (`true`, `false`), numbers as JSON writes them, and else texts; `yes`, `no` and
/// dates are texts. Quoted ones are always texts.
struct MappingFile {
    /// JSON.
    let text: [UInt8]
    private let lines: [String: Int]

    /// Aliases can make a small file huge.
    private static let textBytesMax = 1 << 20

    init(yaml: String) throws(MappingError) {
        let document: Node?
        do { document = try Yams.compose(yaml: yaml) } catch {
            throw MappingError(pointer: "", line: Self.line(of: error), reason: "is not YAML: \(error)")
        }
        guard let document else { throw MappingError(pointer: "", line: 1, reason: "is empty") }
        var writer = JSONWriter()
        var lines: [String: Int] = [:]
        try Self.write(document, at: "", to: &writer, lines: &lines)
        text = writer.bytes
        self.lines = lines
        if let violation = try Self.violation(text) { throw error(violation.pointer, violation.message) }
    }

    private static func violation(_ text: [UInt8]) throws(MappingError) -> SchemaViolation? {
        let schema: JSONSchema
        // A test compiles the schema, which is part of the program.
        do throws(JSONSchemaError) { schema = try JSONSchema(Schemas.mapping) } catch { fatalError("\(error)") }
        var parser = JSONParser(depthMax: 64)
        do throws(JSONError) { return try parser.withDocument(text) { schema.validate($0) } } catch {
            throw MappingError(pointer: "", line: nil, reason: "\(error)")
        }
    }

    /// An error at a place, with its line: that of the place itself, or of what is around it.
    func error(_ pointer: String, _ reason: String) -> MappingError {
        var place = pointer
        while lines[place] == nil, let slash = place.lastIndex(of: "/") { place = String(place[..<slash]) }
        return MappingError(pointer: pointer, line: lines[place], reason: reason)
    }

    private static func write(
        _ node: Node, at pointer: String, to writer: inout JSONWriter, lines: inout [String: Int]
    ) throws(MappingError) {
        if let mark = node.mark, lines[pointer] == nil { lines[pointer] = mark.line }
        guard writer.bytes.count <= textBytesMax else {
            throw MappingError(pointer: pointer, line: node.mark?.line, reason: "the mapping is longer than 1 MiB")
        }
        switch node {
        case .scalar(let scalar): write(scalar, to: &writer)
        case .sequence(let sequence):
            writer.beginArray()
            for (index, element) in sequence.enumerated() {
                try write(element, at: "\(pointer)/\(index)", to: &writer, lines: &lines)
            }
            writer.endArray()
        case .mapping(let mapping):
            writer.beginObject()
            for (key, value) in mapping {
                guard let name = key.scalar?.string else {
                    throw MappingError(pointer: pointer, line: key.mark?.line, reason: "a name is a text")
                }
                let place = "\(pointer)/\(JSONPointer.token(name))"
                if let mark = key.mark { lines[place] = mark.line }
                writer.key(name)
                try write(value, at: place, to: &writer, lines: &lines)
            }
            writer.endObject()
        case .alias:
            throw MappingError(pointer: pointer, line: node.mark?.line, reason: "an alias without its anchor")
        }
    }

    private static func write(_ scalar: Node.Scalar, to writer: inout JSONWriter) {
        guard scalar.style == .plain || scalar.style == .any else { return writer.string(scalar.string) }
        switch scalar.string {
        case "", "~", "null": writer.null()
        case "true": writer.bool(true)
        case "false": writer.bool(false)
        default:
            let text = Array(scalar.string.utf8)
            if isJSONNumber(text[...]) { writer.raw(text) } else { writer.string(scalar.string) }
        }
    }

    private static func line(of error: any Error) -> Int? {
        switch error as? YamlError {
        case .scanner(_, _, let mark, _), .parser(_, _, let mark, _), .composer(_, _, let mark, _): mark.line
        case .duplicatedKeysInMapping(_, let context): context.mark.line
        default: nil
        }
    }
}

/// Whether a text is a number as RFC 8259 writes it.
func isJSONNumber(_ text: ArraySlice<UInt8>) -> Bool {
    var rest = text
    func digits() -> Int {
        var count = 0
        while let byte = rest.first, byte &- UInt8(ascii: "0") < 10 {
            rest.removeFirst()
            count += 1
        }
        return count
    }
    if rest.first == UInt8(ascii: "-") { rest.removeFirst() }
    let leadsWithZero = rest.first == UInt8(ascii: "0")
    let whole = digits()
    guard whole > 0, !leadsWithZero || whole == 1 else { return false }
    if rest.first == UInt8(ascii: ".") {
        rest.removeFirst()
        guard digits() > 0 else { return false }
    }
    if let byte = rest.first, byte | 0x20 == UInt8(ascii: "e") {
        rest.removeFirst()
        if let sign = rest.first, sign == UInt8(ascii: "+") || sign == UInt8(ascii: "-") { rest.removeFirst() }
        guard digits() > 0 else { return false }
    }
    return rest.isEmpty
}
