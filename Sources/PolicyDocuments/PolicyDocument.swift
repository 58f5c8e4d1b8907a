import Crypto
import JSON
package import Leads
import Schemas

/// A rule set that was read from a document and in which nothing is wrong.
///
/// ```swift
/// let document = try PolicyDocument(yaml, isKnownZone: ZoneDirectory().contains)
/// document.ruleSet.pools.count
/// ```
package struct PolicyDocument: Sendable {
    package let ruleSet: RuleSet
    /// The document as JSON: minified, members sorted by the bytes of their names, nothing else changed. Two documents that
    /// differ in comments, spaces, the order of members, or YAML against JSON have the same canonical text. Reading it gives
    /// the same rule set.
    package let canonicalText: [UInt8]
    /// SHA-256 of the canonical text, in hex: what the document is called.
    package let digest: String
    /// Examples that were tried, and hold.
    package let exampleCount: Int

    /// Reads YAML or JSON.
    ///
    /// - Parameter isKnownZone: whether a text names a time zone. Which there are depends on the time zone data of who decides.
    /// - Throws: `PolicyRefusal` with everything that is wrong, up to `DocumentLimits.faultsMax`.
    package init(_ bytes: [UInt8], isKnownZone: @escaping (String) -> Bool) throws(PolicyRefusal) {
        let text: PolicyText
        do throws(PolicyFault) { text = try PolicyText(bytes) } catch { throw PolicyRefusal(faults: [error]) }
        var parser = JSONParser(depthMax: 2 * DocumentLimits.depthMax)
        let root: JSONValue
        do throws(JSONError) { root = try parser.parse(text.json) } catch {
            // Two names that are one when unescaped, or a text that JSON cannot hold.
            throw PolicyRefusal(faults: [text.fault(.unreadable, at: "", "cannot be read as JSON: \(error)")])
        }
        var reader = PolicyReader(text: text, root: root, isKnownZone: isKnownZone)
        reader.read(schema: Self.schema)
        var writer = JSONWriter(reserving: text.json.count)
        writeCanonical(root, to: &writer)
        let canonicalText = writer.bytes
        if reader.faults.isEmpty, canonicalText.count > DocumentLimits.textBytesMax {
            reader.note(.tooLarge, at: "", "longer than \(DocumentLimits.textBytesMax) bytes in canonical text")
        }
        guard reader.faults.isEmpty else {
            let sorted = reader.faults.enumerated().sorted {
                ($0.element.line, $0.element.column, $0.offset) < ($1.element.line, $1.element.column, $1.offset)
            }
            throw PolicyRefusal(faults: sorted.map(\.element))
        }
        assert(
            reader.rules.invariantBroken == nil, "a rule set was read that breaks \(reader.rules.invariantBroken ?? "")"
        )
        ruleSet = reader.rules
        self.canonicalText = canonicalText
        digest = hexDigest(canonicalText)
        exampleCount = root["examples"]?.count ?? 0
    }

    // A test compiles the schema, which is part of the program.
    private static let schema: JSONSchema = {
        do throws(JSONSchemaError) { return try JSONSchema(Schemas.policy) } catch { fatalError("\(error)") }
    }()
}

private func writeCanonical(_ value: JSONValue, to writer: inout JSONWriter) {
    switch value.kind {
    case .object:
        writer.beginObject()
        let members = value.members.sorted { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }
        for member in members {
            writer.key(member.name.string ?? "")
            writeCanonical(member.value, to: &writer)
        }
        writer.endObject()
    case .array:
        writer.beginArray()
        for element in value.elements { writeCanonical(element, to: &writer) }
        writer.endArray()
    case .string: writer.string(utf8: value.utf8)
    case .null, .boolean, .number: writer.raw(value.raw)
    }
}

func hexDigest(_ bytes: [UInt8]) -> String {
    SHA256.hash(data: bytes).map { byte in
        let hex = String(byte, radix: 16)
        return byte < 16 ? "0" + hex : hex
    }.joined()
}
