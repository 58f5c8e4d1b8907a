package import JSON

// Request: a line as a typed request, or an error that says where.
//
//   {"jsonrpc":"2.0","id":1,"method":"status","params":{}}
//
// `jsonrpc`, `id` and `method` are required, `params` may be left out, and nothing else may stand there. An `id` is a
// string, a number or null, and is echoed as it came (minified). Arrays (batches) are refused: pipelined lines do the same.

/// One request, lent to the service: it is valid until `receive` returns.
package struct Request {
    package let method: Method
    /// An object; nil where the request has none.
    package let params: JSONValue?
    // Not counted: the connection makes the request and lends it.
    package unowned(unsafe) let connection: Connection

    package var peer: Peer { connection.peer }
}

/// The `id` of a request that has no reply yet, as it stood in the line, where it is short: one is kept for every request in
/// flight, and is nothing but bytes, so that it costs little to keep.
struct ShortID {
    /// A UUID in quotes has 38.
    static let bytesMax = 47

    private var bytes = InlineArray<47, UInt8>(repeating: 0)
    private(set) var count: UInt8

    /// - Parameter text: at most `bytesMax` bytes.
    @inline(__always)
    init(_ text: UnsafeRawBufferPointer) {
        precondition(text.count <= Self.bytesMax, "a short id is not longer than there is room")
        count = UInt8(truncatingIfNeeded: text.count)
        withUnsafeMutableBytes(of: &bytes) { $0.copyMemory(from: text) }
    }

    @inline(__always)
    func withText(_ body: (UnsafeRawBufferPointer) -> Void) {
        withUnsafeBytes(of: bytes) {
            // `init` made sure that it is no more.
            body(UnsafeRawBufferPointer(start: $0.baseAddress, count: Int(count)))
        }
    }
}

/// The members of a request that were found. Views into the line and its document.
struct RequestEnvelope {
    /// `null` until one was read.
    private(set) var id = Self.noID
    private(set) var params: JSONValue?

    static var noID: UnsafeRawBufferPointer {
        let text: StaticString = "null"
        return UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount)
    }

    /// Reads a request, or throws the first thing that is wrong with it.
    mutating func read(_ root: JSONValue, idBytesMax: Int) throws(ErrorReply) -> Method {
        guard root.kind == .object else {
            let isBatch = root.kind == .array
            throw Self.fault(
                .invalidRequest, isBatch ? "batches are not served: send one request a line" : "a request is an object",
                "")
        }
        var version: JSONValue?
        var idValue: JSONValue?
        var methodValue: JSONValue?
        var stranger: JSONValue?
        for member in root.members {
            let name = member.name.utf8
            switch name.count {
            case 7 where name.equals("jsonrpc"): version = member.value
            case 2 where name.equals("id"): idValue = member.value
            case 6 where name.equals("method"): methodValue = member.value
            case 6 where name.equals("params"): params = member.value
            default: stranger = member.name
            }
        }
        // The id comes first, so that whatever else is wrong is answered under it.
        guard let idValue else {
            throw Self.fault(.invalidRequest, "a request has an id: notifications from clients are not served", "")
        }
        guard idValue.kind == .string || idValue.kind == .number || idValue.isNull else {
            throw Self.fault(.invalidRequest, "an id is a string, a number or null", "/id")
        }
        guard idValue.raw.count <= idBytesMax else {
            throw Self.fault(.invalidRequest, "an id takes at most \(idBytesMax) bytes", "/id")
        }
        id = idValue.raw
        guard let version, version.equals("2.0" as StaticString) else {
            throw Self.fault(.invalidRequest, "jsonrpc must be \"2.0\"", "/jsonrpc")
        }
        guard let methodValue, methodValue.kind == .string else {
            throw Self.fault(.invalidRequest, "method must be a string", "/method")
        }
        if let stranger {
            let shown = String(decoding: stranger.utf8.prefix(64), as: UTF8.self)
            throw Self.fault(.invalidRequest, "a request has no member \"\(shown)\"", "")
        }
        guard let method = Method(utf8: methodValue.utf8) else {
            let shown = String(decoding: methodValue.utf8.prefix(64), as: UTF8.self)
            throw Self.fault(.methodNotFound, "no method is called \"\(shown)\"", "/method")
        }
        if let params, params.kind != .object {
            throw Self.fault(.invalidParams, "params must be an object", "/params")
        }
        return method
    }

    private static func fault(_ name: ErrorName, _ message: String, _ pointer: String) -> ErrorReply {
        ErrorReply(name, message, at: .request(pointer))
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

extension RequestEnvelope {
    /// The `id` of a line that is JSON but was refused as a whole, because of a member name that stands twice somewhere:
    /// so that the refusal finds its request. Looks at the members of the outermost object only; an escaped name, or an
    /// id that itself stands twice, is not recognised and gives null.
    static func id(scanning line: UnsafeRawBufferPointer, idBytesMax: Int) -> UnsafeRawBufferPointer {
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
                    if found != nil { return noID }
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
                    if found != nil { return noID }
                    found = start..<index
                }
            default: index += 1
            }
        }
        guard let found, found.count <= idBytesMax else { return noID }
        return UnsafeRawBufferPointer(rebasing: line[found])
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
