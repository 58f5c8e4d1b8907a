package import CSimdJSON

/// The one reader of JSON: strict, whole-document, and without an allocation per document once its buffers have grown.
///
/// A document is accepted only when all of it is good: RFC 8259 grammar, valid UTF-8 without a byte order mark, no lone
/// surrogate escape, no member name twice in one object (compared after unescaping), nesting at most `depthMax`. Any
/// grammatical number is accepted, of any size and precision, and kept as text.
///
/// ```swift
/// var parser = JSONParser()
/// try parser.withDocument(line) { root in root["id"]?.string }     // "web-1"
/// try parser.withDocument(#"{"a":1,"a":2}"#) { _ in }              // throws JSONError: duplicateMember at 7
/// ```
///
/// A parser owns scratch memory of several times its largest document so far, by how many values that had; keep one per thread, not
/// one per request.
package struct JSONParser: ~Copyable {
    @usableFromInline let handle: OpaquePointer

    /// - Parameters:
    ///   - bytesMax: longer documents are refused as `tooLarge`. 16 MiB is chosen by taste: far above a frame.
    ///   - depthMax: containers nested deeper are refused as `tooDeep`; at most 255.
    package init(bytesMax: Int = 16 << 20, depthMax: Int = 32) {
        guard let handle = csj_parser_create(bytesMax, UInt32(depthMax)) else {
            fatalError("no memory for a JSON parser")
        }
        self.handle = handle
    }

    deinit { csj_parser_free(handle) }

    /// Parses and lends the document. Nothing reached from `root` is valid after `body` returns: copy out what must stay.
    @inlinable
    package mutating func withDocument<Result>(
        _ bytes: UnsafeRawBufferPointer, _ body: (_ root: JSONValue) -> Result
    ) throws(JSONError) -> Result {
        body(try parse(bytes))
    }

    /// As above for a body that throws; parse errors come as `JSONError` too.
    @inlinable
    package mutating func withDocument<Result>(
        _ bytes: UnsafeRawBufferPointer, _ body: (_ root: JSONValue) throws -> Result
    ) throws -> Result {
        try body(try parse(bytes))
    }

    @inlinable
    package mutating func withDocument<Result>(
        _ bytes: [UInt8], _ body: (_ root: JSONValue) -> Result
    ) throws(JSONError) -> Result {
        body(try parse(bytes))
    }

    @inlinable
    package mutating func withDocument<Result>(
        _ bytes: [UInt8], _ body: (_ root: JSONValue) throws -> Result
    ) throws -> Result {
        try body(try parse(bytes))
    }

    @inlinable
    package mutating func withDocument<Result>(
        _ text: String, _ body: (_ root: JSONValue) throws -> Result
    ) throws -> Result {
        try withDocument(Array(text.utf8), body)
    }

    /// Parses and returns the root, which is valid until this parser parses again or ends. The bytes themselves are no
    /// longer needed: the document lies in the parser. Prefer `withDocument`, whose closure shows how long that is.
    @inlinable
    package mutating func parse(_ bytes: UnsafeRawBufferPointer) throws(JSONError) -> JSONValue {
        var error = csj_error()
        let start = bytes.baseAddress?.assumingMemoryBound(to: UInt8.self)
        guard let document = csj_parse(handle, start, bytes.count, &error) else { throw JSONError(error) }
        return JSONValue(document: document, index: 0)
    }

    @inlinable
    package mutating func parse(_ bytes: [UInt8]) throws(JSONError) -> JSONValue {
        try bytes.withUnsafeBufferPointer { (buffer) throws(JSONError) in try parse(UnsafeRawBufferPointer(buffer)) }
    }
}

/// Why bytes are not a document, and where.
package struct JSONError: Error, Equatable, CustomStringConvertible {
    package enum Kind: Sendable {
        case notJSON
        case badUTF8
        case tooDeep
        case duplicateMember
        case tooLarge
        /// The parser could not grow its buffers. Nothing is wrong with the bytes.
        case outOfMemory
    }

    package let kind: Kind
    /// The first offence, counted in bytes from 0 in the bytes as given.
    package let offset: Int?
    package let reason: String

    package init(kind: Kind, offset: Int?, reason: String) {
        self.kind = kind
        self.offset = offset
        self.reason = reason
    }

    @usableFromInline
    init(_ error: csj_error) {
        kind =
            switch Int(error.kind) {
            case CSJ_BAD_UTF8: .badUTF8
            case CSJ_TOO_DEEP: .tooDeep
            case CSJ_DUPLICATE_MEMBER: .duplicateMember
            case CSJ_TOO_LARGE: .tooLarge
            case CSJ_NO_MEMORY: .outOfMemory
            default: .notJSON
            }
        offset = error.offset < 0 ? nil : Int(error.offset)
        var reason = String(cString: error.reason)
        if let name = error.name {
            let shown = UnsafeBufferPointer(start: name, count: Int(min(error.name_length, 64)))
            reason += ": \"" + String(decoding: shown, as: UTF8.self) + "\""
        }
        self.reason = reason
    }

    package var description: String {
        if let offset { "\(reason) (at byte \(offset))" } else { reason }
    }
}
