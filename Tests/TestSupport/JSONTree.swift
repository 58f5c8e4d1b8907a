import JSON

/// A JSON document that outlives its parser: to compare answers as a whole, and to look into them. Numbers stay text.
package enum JSONTree: Equatable, Sendable {
    case absent
    case null
    case boolean(Bool)
    case number(String)
    case string(String)
    case array([JSONTree])
    case object([String: JSONTree])

    package init(_ text: String) throws {
        var parser = JSONParser()
        self = try parser.withDocument(text) { JSONTree($0) }
    }

    private init(_ value: JSONValue) {
        switch value.kind {
        case .null: self = .null
        case .boolean: self = .boolean(value.boolean ?? false)
        case .number: self = .number(String(decoding: value.raw, as: UTF8.self))
        case .string: self = .string(value.string ?? "")
        case .array: self = .array(value.elements.map { JSONTree($0) })
        case .object:
            self = .object(
                Dictionary(
                    value.members.map { ($0.name.string ?? "", JSONTree($0.value)) },
                    uniquingKeysWith: { first, _ in first }))
        }
    }

    /// A member; `absent` where there is none or this is no object.
    package subscript(_ name: String) -> JSONTree {
        if case .object(let members) = self { members[name] ?? .absent } else { .absent }
    }

    /// An element; `absent` where there is none or this is no array.
    package subscript(_ index: Int) -> JSONTree {
        if case .array(let elements) = self, elements.indices.contains(index) { elements[index] } else { .absent }
    }

    package var string: String? { if case .string(let text) = self { text } else { nil } }
    package var integer: Int? { if case .number(let text) = self { Int(text) } else { nil } }
    package var boolean: Bool? { if case .boolean(let value) = self { value } else { nil } }
    package var elements: [JSONTree] { if case .array(let elements) = self { elements } else { [] } }
    package var isPresent: Bool { self != .absent }

    /// Without the members of these names, at any depth: what differs between two answers for good reason.
    package func without(_ names: Set<String>) -> JSONTree {
        switch self {
        case .array(let elements): .array(elements.map { $0.without(names) })
        case .object(let members):
            .object(members.filter { !names.contains($0.key) }.mapValues { $0.without(names) })
        default: self
        }
    }
}

extension JSONTree: CustomStringConvertible {
    package var description: String {
        switch self {
        case .absent: "nothing"
        case .null: "null"
        case .boolean(let value): "\(value)"
        case .number(let text): text
        case .string(let text): "\"\(text)\""
        case .array(let elements): "[" + elements.map(\.description).joined(separator: ",") + "]"
        case .object(let members):
            "{" + members.sorted { $0.key < $1.key }.map { "\"\($0.key)\":\($0.value)" }.joined(separator: ",") + "}"
        }
    }
}
