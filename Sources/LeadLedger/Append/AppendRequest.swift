import Control
import JSON
import Ledger

// AppendRequest: what stands in the parameters of `append` besides the events.

/// When an append is answered.
enum AppendWait: Equatable, Sendable {
    /// When the events are durable.
    case synced
    /// When they are also in this read model, or at the deadline.
    case projection(String, milliseconds: Int64)

    /// - Parameter value: the member `wait`, whose form its schema leaves open.
    init(_ value: JSONValue?) throws(AppendFault) {
        guard let value, !value.equals("synced") else {
            self = .synced
            return
        }
        guard value.kind == .object else {
            throw AppendFault(.invalidValue, "/wait", "wait is \"synced\" or an object with `projection`")
        }
        var name: String?
        var milliseconds = Limits.waitDefaultMilliseconds
        for member in value.members {
            if member.name.equals("projection") {
                name = member.value.string
                guard name != nil else {
                    throw AppendFault(.wrongType, "/wait/projection", "it is the name of a read model")
                }
            } else if member.name.equals("deadline_ms") {
                guard let number = member.value.int64, (0...Limits.waitMaxMilliseconds).contains(number) else {
                    throw AppendFault(
                        .invalidValue, "/wait/deadline_ms",
                        "it is a whole number of milliseconds from 0 to \(Limits.waitMaxMilliseconds)")
                }
                milliseconds = number
            } else {
                throw AppendFault(.unknownField, "/wait", "wait has no member \"\(member.name.string ?? "")\"")
            }
        }
        guard let name else { throw AppendFault(.missingField, "/wait", "projection is required") }
        self = .projection(name, milliseconds: milliseconds)
    }
}

extension ExpectedVersion {
    /// The member `version` of an expectation.
    init(_ value: JSONValue?, at pointer: String) throws(AppendFault) {
        if let number = value?.uint64 {
            self = .version(StreamVersion(rawValue: number))
        } else if value?.equals("none") == true {
            self = .none
        } else if value?.equals("any") == true {
            self = .any
        } else {
            throw AppendFault(
                .invalidValue, pointer + "/version", "version is a whole number from 0, \"none\" or \"any\"")
        }
    }

    func write(to writer: inout JSONWriter) {
        switch self {
        case .version(let version): writer.integer(version.rawValue)
        case .none: writer.string("none")
        case .any: writer.string("any")
        }
    }
}
