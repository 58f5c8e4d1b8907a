import Control
import JSON

// AppendFault: why an `append` request was refused before it reached the log: an error's name, the place in the request
// and what is wrong there.

struct AppendFault: Error {
    var name: ErrorName
    /// JSON pointer into `params`, such as `/events/0/data/channel`.
    var pointer: String
    var message: String

    init(_ name: ErrorName, _ pointer: String, _ message: String) {
        self.name = name
        self.pointer = pointer
        self.message = message
    }

    /// A value that its schema refuses; `place` is where that value stands in the parameters.
    init(_ violation: SchemaViolation, at place: String) {
        self.init(ErrorName(violation), place + violation.pointer, violation.message)
    }
}

extension ErrorName {
    /// The name of what a schema found.
    init(_ violation: SchemaViolation) {
        switch violation.keyword {
        case "required": self = .missingField
        case "type": self = .wrongType
        case "additionalProperties": self = .unknownField
        default: self = .invalidValue
        }
    }
}

extension ErrorReply {
    init(_ fault: AppendFault) { self.init(fault.name, fault.message, at: .params(fault.pointer)) }

    static let outcomeUnknown = ErrorReply(
        .outcomeUnknown, "the log's device failed while this was being stored")

    /// The same where the parameters it speaks of stand at `pointer`.
    func below(_ pointer: String) -> ErrorReply {
        var error = self
        if case .params(let rest) = place { error.place = .params(pointer + rest) }
        return error
    }
}
