package import JSON
package import Leads

extension FactValue {
    /// Nil for what conditions cannot compare with: lists and objects. A fraction or a number beyond 64 bits neither.
    package init?(_ value: JSONValue) {
        switch value.kind {
        case .null: self = .absent
        case .boolean: self = .boolean(value.boolean ?? false)
        case .string: self = .text(Array(value.utf8))
        case .number:
            guard let number = value.int64 else { return nil }
            self = .integer(number)
        case .array, .object: return nil
        }
    }
}
