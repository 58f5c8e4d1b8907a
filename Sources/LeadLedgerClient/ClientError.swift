package import Control
package import JSON

/// Why a call did not give its result.
public enum ClientError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The daemon refused the request: nothing was stored, unless `name` is `outcome_unknown` or `deadline_exceeded`.
    case server(ServerError)
    /// No daemon answers at the path. Nothing was sent.
    case unreachable(path: String, reason: String)
    /// The daemon answers, and does not serve this connection: it has too many, or this user may not ask. Nothing that
    /// was sent has been looked at.
    case notServed(ServerError)
    /// The connection ended while so many requests had no reply. What they asked for happened or did not: append the same
    /// events again, none is stored twice.
    case closed(unanswered: Int, reason: String)
    /// The other side does not speak this protocol.
    case protocolBroken(reason: String)

    public var description: String {
        switch self {
        case .server(let error), .notServed(let error): error.description
        case .unreachable(let path, let reason): "no daemon answers at \(path): \(reason)"
        case .closed(let unanswered, let reason):
            "the connection ended (\(reason))" + (unanswered > 0 ? " with \(unanswered) requests unanswered" : "")
        case .protocolBroken(let reason): "the daemon's reply cannot be read: \(reason)"
        }
    }
}

/// The daemon's refusal of one request.
public struct ServerError: Error, Sendable, Equatable, CustomStringConvertible {
    /// What programs compare: `version_conflict`. Every name stands in `schemas/errors.json`.
    public let name: String
    public let code: Int
    public let message: String
    /// What to look at or to run, for people.
    public let hint: String
    /// The place in the request: `/params/events/0/data/amount`.
    public let pointer: String?
    /// Where retrying later helps: when.
    public let retryAfterMilliseconds: Int?
    /// The whole error object as it came, with what else it carries (`current`, `allowed`, ...).
    public let json: [UInt8]

    public var description: String { "\(name): \(message)" + (pointer.map { " (at \($0))" } ?? "") }
}

extension ServerError {
    /// From the `error` of a reply.
    package init(_ error: JSONValue) {
        let data = error["data"]
        name = data?["name"]?.string ?? "internal_error"
        code = Int(error["code"]?.int64 ?? 0)
        message = error["message"]?.string ?? ""
        hint = data?["hint"]?.string ?? ""
        pointer = data?["pointer"]?.string
        retryAfterMilliseconds = data?["retry_after_ms"]?.int64.map { Int($0) }
        json = Array(error.raw)
    }

    /// A refusal that the client makes itself, before anything is sent, in the form the daemon gives its own.
    package init(_ name: ErrorName, _ message: String, offset: Int? = nil) {
        self.name = name.rawValue
        code = name.code
        self.message = message
        hint = name.hint.description
        pointer = nil
        retryAfterMilliseconds = nil
        var writer = JSONWriter(reserving: 256)
        writer.beginObject()
        writer.key("code")
        writer.integer(name.code)
        writer.key("message")
        writer.string(message)
        writer.key("data")
        writer.beginObject()
        writer.key("name")
        writer.string(name.rawValue)
        writer.key("hint")
        writer.string(hint)
        if let offset {
            writer.key("offset")
            writer.integer(offset)
        }
        writer.endObject()
        writer.endObject()
        json = writer.bytes
    }

    /// What the command line exits with; a name of a newer daemon counts as refused input.
    package var exitCode: Int32 { ErrorName(rawValue: name)?.exitCode ?? 65 }
}

extension ClientError {
    package var exitCode: Int32 {
        switch self {
        case .server(let error), .notServed(let error): error.exitCode
        case .unreachable: 69
        case .closed(let unanswered, _): unanswered > 0 ? 75 : 69
        case .protocolBroken: 70
        }
    }
}
