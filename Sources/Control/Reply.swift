package import JSON

// Reply: what goes back for a request.
//
//   {"jsonrpc":"2.0","id":1,"result":...}
//   {"jsonrpc":"2.0","id":1,"error":{"code":-32010,"message":"...","data":{"name":"version_conflict","hint":"...",
//     "pointer":"/params/expect/0","retry_after_ms":200, ...}}}
//
// `pointer` is a JSON pointer from the whole request, `offset` counts bytes from 0 in the line; at most one of them stands.

/// The place of one reply in its connection's order. Answer it once, on the connection's event loop, now or later;
/// replies leave in the order of their requests whatever the order of these calls, and an answer to a closed connection is
/// dropped. What is answered in one turn of the loop leaves in one write, or in a few where answers became known while it read.
package struct ReplySlot: Sendable {
    package let connection: Connection
    let sequence: UInt64

    /// Counts `bytes` that the service keeps of the request from now until it is answered, beside what a wait takes by itself: with too
    /// many of them the connection's next lines wait unread.
    package func keep(_ bytes: Int) {
        connection.keep(WireLimits.keptBytes(ofLine: 0) + bytes, for: sequence)
    }

    /// Answers with the one JSON value that `body` writes.
    package func succeed(_ body: (inout JSONWriter) -> Void) {
        connection.complete(sequence) { writer in
            writer.key("result" as StaticString)
            body(&writer)
        }
    }

    /// Answers with a JSON value as text, without a newline in it.
    package func succeed(raw result: [UInt8]) {
        connection.complete(sequence) { writer in
            writer.key("result" as StaticString)
            writer.raw(result)
        }
    }

    /// Answers with the one JSON value that `body` writes in at most `bytesMax` bytes, without a newline in it.
    package func succeed(bytesMax: Int, _ body: (inout TextCursor) -> Void) {
        connection.complete(sequence, bytesMax: bytesMax, result: body)
    }

    package func fail(_ error: ErrorReply) {
        connection.complete(sequence) { error.write(to: &$0) }
    }
}

/// A reply's place as plain bytes, for a queue of many: it is copied and moved without counting references. It holds its
/// connection until it is taken back, which has to happen once.
package struct KeptReplySlot {
    private let connection: Unmanaged<Connection>
    private let sequence: UInt64

    package init(_ reply: ReplySlot) {
        connection = .passRetained(reply.connection)
        sequence = reply.sequence
    }

    package func take() -> ReplySlot { ReplySlot(connection: connection.takeRetainedValue(), sequence: sequence) }

    /// Only before it is taken back.
    package func withConnection(_ body: (Connection) -> Void) { connection._withUnsafeGuaranteedRef(body) }
}

/// An error as it is answered.
package struct ErrorReply: Error, Sendable {
    package enum Place: Sendable, Equatable {
        /// JSON pointer from the whole request: `/method`.
        case request(String)
        /// JSON pointer from `params`: `/events/0/data`; it is answered as `/params/events/0/data`.
        case params(String)
        /// Bytes from the start of the line.
        case offset(Int)
    }

    package var name: ErrorName
    /// What is wrong with this request. Never quotes values, which may be personal; names and identifiers it may.
    package var message: String
    package var place: Place?
    package var retryAfterMilliseconds: Int?
    /// More members for `data`, as JSON text without the braces: `"current":3,"since":[]`.
    package var details: [UInt8]

    package init(
        _ name: ErrorName, _ message: String, at place: Place? = nil, retryAfterMilliseconds: Int? = nil,
        details: [UInt8] = []
    ) {
        self.name = name
        self.message = message
        self.place = place
        self.retryAfterMilliseconds = retryAfterMilliseconds
        self.details = details
    }

    /// Writes the member `error`.
    package func write(to writer: inout JSONWriter) {
        let entry = name.entry
        writer.key("error")
        writer.beginObject()
        writer.key("code")
        writer.integer(entry.code)
        writer.key("message")
        writer.string(message)
        writer.key("data")
        writer.beginObject()
        writer.key("name")
        writer.string(name.rawValue)
        writer.key("hint")
        entry.hint.withUTF8Buffer { writer.string(utf8: UnsafeRawBufferPointer($0)) }
        switch place {
        case .request(let pointer):
            writer.key("pointer")
            writer.string(pointer)
        case .params(let pointer):
            writer.key("pointer")
            writer.string("/params" + pointer)
        case .offset(let offset):
            writer.key("offset")
            writer.integer(offset)
        case nil: break
        }
        if let retryAfterMilliseconds {
            writer.key("retry_after_ms")
            writer.integer(retryAfterMilliseconds)
        }
        details.withUnsafeBytes { writer.rawMembers($0) }
        writer.endObject()
        writer.endObject()
    }
}
