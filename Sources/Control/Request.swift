package import JSON

// Request: a line as a typed request, or an error that says where.
//
//   {"jsonrpc":"2.0","id":1,"method":"status","params":{}}
//
// `jsonrpc`, `id` and `method` are required, `params` may be left out, and nothing else may stand there. An `id` is a
// string, a number or null, and is echoed as it came (minified). Arrays (batches) are refused: pipelined lines do the same.

/// One request, lent to the service: the parameters are valid until `receive` returns.
package struct Request {
    package let method: Method
    /// An object; nil where the request has none.
    package let params: JSONValue?
    package let connection: Connection

    package var peer: Peer { connection.peer }
}

/// The `id` of a request that has no reply yet: the text as it stood in the line.
struct RequestID {
    // Most ids are short, and one of them is kept for every request in flight.
    private var short = InlineArray<31, UInt8>(repeating: 0)
    private var shortCount: UInt8 = 0
    private var long: [UInt8]?

    /// No `id` could be read.
    static let null = RequestID()

    private init() {
        for (i, byte) in "null".utf8.enumerated() { short[i] = byte }
        shortCount = 4
    }

    init(_ text: UnsafeRawBufferPointer) {
        if text.count <= 31 {
            for i in 0..<text.count { short[i] = text[i] }
            shortCount = UInt8(text.count)
        } else {
            long = [UInt8](text)
        }
    }

    func withText(_ body: (UnsafeRawBufferPointer) -> Void) {
        if let long {
            long.withUnsafeBytes(body)
        } else {
            withUnsafeBytes(of: short) { body(UnsafeRawBufferPointer(rebasing: $0[..<Int(shortCount)])) }
        }
    }
}

/// The members of a request that were found, and the first thing that is wrong with them.
struct RequestEnvelope {
    private(set) var id: RequestID = .null
    private(set) var method: Method?
    private(set) var params: JSONValue?
    private(set) var fault: ErrorReply?

    init(_ root: JSONValue, idBytesMax: Int) { read(root, idBytesMax: idBytesMax) }

    private mutating func read(_ root: JSONValue, idBytesMax: Int) {
        guard root.kind == .object else {
            let isBatch = root.kind == .array
            return fail(
                .invalidRequest, isBatch ? "batches are not served: send one request a line" : "a request is an object",
                "")
        }
        var version: JSONValue?
        var idValue: JSONValue?
        var methodValue: JSONValue?
        var stranger: JSONValue?
        for member in root.members {
            let name = member.name.utf8
            if name.equals("jsonrpc") {
                version = member.value
            } else if name.equals("id") {
                idValue = member.value
            } else if name.equals("method") {
                methodValue = member.value
            } else if name.equals("params") {
                params = member.value
            } else {
                stranger = member.name
            }
        }
        // The id comes first, so that whatever else is wrong is answered under it.
        guard let idValue else {
            return fail(.invalidRequest, "a request has an id: notifications from clients are not served", "")
        }
        guard idValue.kind == .string || idValue.kind == .number || idValue.isNull else {
            return fail(.invalidRequest, "an id is a string, a number or null", "/id")
        }
        guard idValue.raw.count <= idBytesMax else {
            return fail(.invalidRequest, "an id takes at most \(idBytesMax) bytes", "/id")
        }
        id = RequestID(idValue.raw)
        guard let version, version.equals("2.0" as StaticString) else {
            return fail(.invalidRequest, "jsonrpc must be \"2.0\"", "/jsonrpc")
        }
        guard let methodValue, methodValue.kind == .string else {
            return fail(.invalidRequest, "method must be a string", "/method")
        }
        if let stranger {
            let shown = String(decoding: stranger.utf8.prefix(64), as: UTF8.self)
            return fail(.invalidRequest, "a request has no member \"\(shown)\"", "")
        }
        guard let method = Method(utf8: methodValue.utf8) else {
            let shown = String(decoding: methodValue.utf8.prefix(64), as: UTF8.self)
            return fail(.methodNotFound, "no method is called \"\(shown)\"", "/method")
        }
        if let params, params.kind != .object {
            return fail(.invalidParams, "params must be an object", "/params")
        }
        self.method = method
    }

    private mutating func fail(_ name: ErrorName, _ message: String, _ pointer: String) {
        fault = ErrorReply(name, message, at: .request(pointer))
    }
}

extension ErrorReply {
    /// What the parser found. Everything that is not JSON as we take it is one name; the reason and the offset differ.
    init(_ error: JSONError) {
        let name: ErrorName =
            switch error.kind {
            case .notJSON, .badUTF8, .tooDeep: .parseError
            case .duplicateMember: .duplicateMember
            case .tooLarge: .frameTooLarge
            case .outOfMemory: .internalError
            }
        self.init(name, error.reason, at: error.offset.map { .offset($0) })
    }
}

extension RequestID {
    /// The `id` of a line that is JSON but was refused as a whole, because of a member name that stands twice somewhere:
    /// so that the refusal finds its request. Looks at the members of the outermost object only; an escaped name, or an
    /// id that itself stands twice, is not recognised and gives null.
    init(scanning line: UnsafeRawBufferPointer, idBytesMax: Int) {
        self = .null
        var found: Range<Int>?
        var depth = 0
        var index = 0
        var isName = false
        var nameIsID = false
        while index < line.count {
            let start = index
            switch line[index] {
            case UInt8(ascii: "\""):
                index += 1
                while index < line.count, line[index] != UInt8(ascii: "\"") {
                    index += line[index] == UInt8(ascii: "\\") ? 2 : 1
                }
                index += 1
                guard depth == 1 else { continue }
                if isName {
                    nameIsID = UnsafeRawBufferPointer(rebasing: line[start..<min(index, line.count)]).equals("\"id\"")
                    isName = false
                } else if nameIsID {
                    if found != nil { return }
                    found = start..<min(index, line.count)
                }
            case UInt8(ascii: "{"), UInt8(ascii: "["):
                depth += 1
                isName = depth == 1
                index += 1
            case UInt8(ascii: "}"), UInt8(ascii: "]"):
                depth -= 1
                index += 1
            case UInt8(ascii: ","):
                if depth == 1 { (isName, nameIsID) = (true, false) }
                index += 1
            case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"):
                while index < line.count, Self.isNumberText(line[index]) { index += 1 }
                if depth == 1, nameIsID {
                    if found != nil { return }
                    found = start..<index
                }
            default: index += 1
            }
        }
        if let found, found.count <= idBytesMax {
            self = RequestID(UnsafeRawBufferPointer(rebasing: line[found]))
        }
    }

    private static func isNumberText(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "+"), UInt8(ascii: "."),
            UInt8(ascii: "e"), UInt8(ascii: "E"):
            true
        default: false
        }
    }
}
