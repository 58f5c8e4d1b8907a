/// JSON pointers (RFC 6901): where a value stands in a document, such as `/events/0/data`.
package enum JSONPointer {
    /// A member's name as a pointer writes it: `~` as `~0`, `/` as `~1`.
    package static func token(_ name: String) -> String {
        var token = ""
        for scalar in name.unicodeScalars {
            switch scalar {
            case "~": token += "~0"
            case "/": token += "~1"
            default: token.unicodeScalars.append(scalar)
            }
        }
        return token
    }
}
