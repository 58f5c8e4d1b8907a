import JSON
import Leads
import Ledger
import PolicyDocuments

/// The text of a rule set as the log has it: a `policy.published`, and the `policy.part` events before it in its unit: the one reader of both.
struct PublishedText {
    let policy: String
    /// The canonical text: JSON.
    let text: [UInt8]
    /// SHA-256 of the text, in hex.
    let digest: String

    /// Reads what was published at `version`; nil where no rule set was.
    ///
    /// - Throws: `ReadingFault` where its parts are not the text that was announced.
    init?(version: Position, in log: EventLog) throws {
        let reader = EventReader()
        func event<R>(at position: Position, _ type: EventType, _ body: (String, JSONValue) -> R?) throws -> R? {
            try log.record(at: position) { record -> R? in
                guard record.type == type.rawValue else { return nil }
                let subject = String(decoding: record.subject, as: UTF8.self)
                return try reader.withData(of: record) { body(subject, $0) }
            } ?? nil
        }
        let published = try event(at: version, .policyPublished) { policy, data -> (String, UInt64, String)? in
            guard let count = data["parts"]?.uint64, let digest = data["sha256"]?.string else { return nil }
            return (policy, count, digest)
        }
        guard let (policy, count, digest) = published else { return nil }
        guard count <= min(version.rawValue, UInt64(DocumentLimits.textBytesMax)) else {
            throw ReadingFault(position: version.rawValue, reason: "it announces more parts than there can be")
        }
        var parts: [(index: Int, text: [UInt8])] = []
        for position in (version.rawValue - count)..<version.rawValue {
            let part = try event(at: Position(rawValue: position), .policyPart) { owner, data -> (Int, [UInt8])? in
                guard owner == policy, let index = data["index"]?.int64, let text = data["text"] else { return nil }
                return (Int(clamping: index), Array(text.utf8))
            }
            guard let part else {
                throw ReadingFault(position: position, reason: "no part of \(policy) lies where one should")
            }
            parts.append(part)
        }
        do throws(PolicyParts.Fault) {
            text = try PolicyParts.join(parts, count: Int(count), digest: digest)
        } catch {
            throw ReadingFault(
                position: version.rawValue, reason: "its parts are not the text that was published: \(error)")
        }
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
