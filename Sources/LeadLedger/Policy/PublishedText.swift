import JSON
import Leads
import Ledger
import PolicyDocuments

/// The text of a rule set as the log has it: a `policy.published`, and the `policy.part` events before it in its unit.
struct PublishedText {
    let policy: String
    /// The canonical text: JSON.
    let text: [UInt8]
    /// SHA-256 of the text, in hex.
    let digest: String

    /// Reads what was published at `version`; nil where no rule set was, or where its parts are not the text that was announced.
    init?(version: Position, in log: EventLog) throws {
        var parser = JSONParser(bytesMax: LedgerLimits.recordBytesMax)
        func event<R>(at position: Position, _ type: EventType, _ body: (String, JSONValue) -> R?) throws -> R? {
            try log.record(at: position) { record -> R? in
                guard record.type == type.rawValue else { return nil }
                return try record.withPublicData(&parser) { body(String(decoding: record.subject, as: UTF8.self), $0) }
            } ?? nil
        }
        let published = try event(at: version, .policyPublished) { policy, data -> (String, Int, String)? in
            guard let count = data["parts"]?.int64, let digest = data["sha256"]?.string else { return nil }
            return (policy, Int(count), digest)
        }
        guard let (policy, count, digest) = published, count >= 0, UInt64(count) <= version.rawValue else { return nil }
        var parts: [(index: Int, text: [UInt8])] = []
        for position in (version.rawValue - UInt64(count))..<version.rawValue {
            let part = try event(at: Position(rawValue: position), .policyPart) { owner, data -> (Int, [UInt8])? in
                guard owner == policy, let index = data["index"]?.int64, let text = data["text"] else { return nil }
                return (Int(index), Array(text.utf8))
            }
            guard let part else { return nil }
            parts.append(part)
        }
        do throws(PolicyParts.Fault) {
            text = try PolicyParts.join(parts, count: count, digest: digest)
        } catch { return nil }
        self.policy = policy
        self.digest = digest
    }

    /// The ids of the territories, in the order in which they are tried; nil where the text has no such list.
    func territories() -> [String]? {
        var parser = JSONParser(bytesMax: DocumentLimits.textBytesMax, depthMax: 2 * DocumentLimits.depthMax)
        guard let root = try? parser.parse(text) else { return nil }
        return root["territories"]?.elements.map { $0["id"]?.string ?? "" }
    }
}

extension RecordView {
    /// Lends the public members of the event's data as one object.
    ///
    /// - Parameter parser: keeps the document until it parses again.
    func withPublicData<R>(_ parser: inout JSONParser, _ body: (JSONValue) throws -> R) throws -> R {
        try parser.withDocument([UInt8(ascii: "{")] + publicMembers + [UInt8(ascii: "}")], body)
    }
}
