import Control
import JSON

// QueryFault: why a query has no answer: an error's name, what is wrong, and where in the parameters.

struct QueryFault: Error {
    var name: ErrorName
    var message: String
    var pointer: String?

    init(_ name: ErrorName, _ message: String, pointer: String? = nil) {
        self.name = name
        self.message = message
        self.pointer = pointer
    }
}
