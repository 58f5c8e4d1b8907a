import Control
import JSON
import Leads
import Ledger
import PolicyDocuments

// PolicyCommands: publishing rule sets, agreeing with them, putting them in force, and looking at them.

/// A document that was read and in which nothing is wrong, on its way into the ledger.
struct ReadPolicy: Sendable {
    var document: PolicyDocument
    var note: String?
}

extension DeskCommand {
    static func publish(_ policy: ReadPolicy, actor: UInt32, _ call: ConsumerCall) -> DeskCommand {
        DeskCommand(call, beginsUse: true) { cycle throws(ErrorReply) in
            let (document, id) = (policy.document, policy.document.ruleSet.id)
            let known = cycle.state.policies[id]
            if let same = known?.versions.first(where: { $0.digest == document.digest }) {
                return .answer { $0.published(id, same.position, parts: same.parts, document, isDuplicate: true) }
            }
            guard cycle.take("policy " + id) else { return .wait }
            let parts = PolicyParts.split(document.canonicalText, bytesMax: Limits.policyPartBytesMax)
            var events = parts.enumerated().map { index, text in
                DaemonEvent(
                    .policyPart, of: id, by: .policy, id: "part-\(document.digest)-\(index)", actor: actor
                ) {
                    $0.member("index", index)
                    $0.member("text", String(decoding: text, as: UTF8.self))
                }
            }
            events.append(
                DaemonEvent(.policyPublished, of: id, by: .policy, id: "published-\(document.digest)", actor: actor) {
                    $0.member("parts", parts.count)
                    $0.member("bytes", document.canonicalText.count)
                    $0.member("sha256", document.digest)
                    $0.member("approval", document.ruleSet.approval.rawValue)
                    $0.member("note", policy.note)
                })
            let plan = UnitPlan(
                events: events,
                expected: [(StreamKey(.policy, id), .version(StreamVersion(rawValue: known?.length ?? 0)))],
                beginsUse: true)
            return .append(plan) { writer, receipt in
                writer.published(id, receipt.last.rawValue, parts: parts.count, document, isDuplicate: false)
            }
        }
    }

    static func approve(
        _ id: String, version: UInt64, note: String?, actor: UInt32, _ call: ConsumerCall
    ) -> DeskCommand {
        DeskCommand(call) { cycle throws(ErrorReply) in
            let (policy, known) = try cycle.version(version, of: id)
            guard known.actor != actor else {
                throw ErrorReply(
                    .approvalRequired, "whoever published a version cannot be the second person who agrees with it")
            }
            guard cycle.take("policy " + id) else { return .wait }
            let event = DaemonEvent(
                .policyApproved, of: id, by: .policy, id: "approved-\(version)-\(policy.length)", actor: actor,
                cause: version
            ) {
                $0.member("version", version)
                $0.member("note", note)
            }
            return .append(UnitPlan(events: [event], expected: [policy.asItIs])) { writer, receipt in
                writer.policyEvent(id, version, receipt.last.rawValue, at: nil)
            }
        }
    }

    /// - Parameters:
    ///   - version: nil: the newest.
    ///   - instant: nil: now.
    static func activate(
        _ id: String, version: UInt64?, at instant: Instant?, note: String?, actor: UInt32, _ call: ConsumerCall
    ) -> DeskCommand {
        DeskCommand(call) { cycle throws(ErrorReply) in
            let (policy, known) = try cycle.version(version, of: id)
            guard known.isApproved else {
                throw ErrorReply(
                    .approvalRequired,
                    "the version at position \(known.position) asks for the consent of a second person")
            }
            return try cycle.putInForce(
                known, of: policy, at: instant, note: note, actor: actor, .policyActivated, from: nil)
        }
    }

    /// - Parameter version: nil: the one that was in force before the present one.
    static func rollback(
        _ id: String, version: UInt64?, at instant: Instant?, note: String?, actor: UInt32, _ call: ConsumerCall
    ) -> DeskCommand {
        DeskCommand(call) { cycle throws(ErrorReply) in
            guard let policy = cycle.state.policies[id] else { throw .unknownPolicy(id) }
            let current = policy.version(inForceAt: cycle.now)
            var wanted = version
            if wanted == nil {
                guard let current,
                    let earlier = policy.inForce.last(where: {
                        $0.version != current && $0.activation.from <= cycle.now
                    })
                else {
                    throw ErrorReply(.unknownVersion, "no other version of \(id) was in force before the present one")
                }
                wanted = earlier.version
            }
            let (_, known) = try cycle.version(wanted, of: id)
            guard !known.activations.isEmpty else {
                throw ErrorReply(
                    .unknownVersion,
                    "the version at position \(known.position) was never in force: it can be activated",
                    at: .params("/version"))
            }
            return try cycle.putInForce(
                known, of: policy, at: instant, note: note, actor: actor, .policyRolledBack, from: current)
        }
    }

    static func history(_ id: String?, _ call: ConsumerCall) -> DeskCommand {
        DeskCommand(call) { cycle throws(ErrorReply) in
            let book = cycle.state.policies
            if let id, book[id] == nil { throw .unknownPolicy(id) }
            let (now, head) = (cycle.now, cycle.state.scanned)
            return .answer { $0.policyHistory(book.policies.filter { id == nil || $0.id == id }, now, head: head) }
        }
    }

    static func show(_ id: String?, version: UInt64?, _ call: ConsumerCall) -> DeskCommand {
        DeskCommand(call) { cycle throws(ErrorReply) in
            let book = cycle.state.policies
            let inForce = book.policy(inForceAt: cycle.now)
            guard let id = id ?? inForce?.policy.id ?? book.policies.last?.id else { throw .noRuleSet }
            let wanted = version ?? book[id]?.version(inForceAt: cycle.now)
            let (_, known) = try cycle.version(wanted, of: id)
            let text: [UInt8]
            do {
                text = try PublishedText(version: Position(rawValue: known.position), in: cycle.log)?.text ?? []
            } catch { throw ErrorReply(.corrupted, "\(error)") }
            return .answer {
                $0.beginObject()
                $0.member("policy", id)
                $0.member("version", known.position)
                $0.member("sha256", known.digest)
                $0.member("recordedtime", known.recordedAt)
                $0.member("actor", UInt64(known.actor))
                $0.member("text", String(decoding: text, as: UTF8.self))
                $0.endObject()
            }
        }
    }
}

extension DeskCycle {
    /// - Parameter version: nil: the newest.
    fileprivate func version(
        _ version: UInt64?, of id: String
    ) throws(ErrorReply) -> (policy: PolicyBook.Policy, version: PolicyBook.Version) {
        guard let policy = state.policies[id] else { throw .unknownPolicy(id) }
        guard let known = version.map({ policy.version(at: $0) }) ?? policy.versions.last else {
            throw ErrorReply(
                .unknownVersion, "\(id) has no version at position \(version ?? 0)", at: .params("/version"))
        }
        return (policy, known)
    }

    fileprivate mutating func putInForce(
        _ version: PolicyBook.Version, of policy: PolicyBook.Policy, at instant: Instant?, note: String?,
        actor: UInt32, _ type: EventType, from: UInt64?
    ) throws(ErrorReply) -> DeskCommand.Step {
        let at = instant ?? now
        guard at >= now else {
            throw ErrorReply(
                .activationInPast, "\(at) is before the daemon's clock, \(now)", at: .params("/at"))
        }
        // What could not be decided by is not put in force: the machine's time zones may have changed since it was published.
        do { _ = try OperationsState.rules(of: version, from: log, desk.zones) } catch {
            throw ErrorReply(.corrupted, "\(error)")
        }
        guard take("policy " + policy.id) else { return .wait }
        let id = policy.id
        let event = DaemonEvent(
            type, of: id, by: .policy, id: "in-force-\(version.position)-\(policy.length)", actor: actor,
            cause: version.position
        ) {
            $0.member("version", version.position)
            if type == .policyRolledBack { $0.member("from", from) }
            $0.member("at", at)
            $0.member("note", note)
        }
        return .append(UnitPlan(events: [event], expected: [policy.asItIs])) { writer, receipt in
            writer.policyEvent(id, version.position, receipt.last.rawValue, at: at)
        }
    }
}

extension PolicyBook.Policy {
    /// Nobody else has said anything about it.
    fileprivate var asItIs: (stream: StreamKey, version: ExpectedVersion) {
        (StreamKey(.policy, id), .version(StreamVersion(rawValue: length)))
    }
}

extension ErrorReply {
    fileprivate static func unknownPolicy(_ id: String) -> ErrorReply {
        ErrorReply(.unknownPolicy, "no policy is called \(id)", at: .params("/policy"))
    }

    /// A document in which something is wrong, with everything that is.
    init(_ refusal: PolicyRefusal) {
        let count = refusal.faults.count
        self.init(
            .ruleSetRefused, "\(count) \(count == 1 ? "thing is" : "things are") wrong in the rule set",
            at: .params("/document"),
            members: { writer in
                writer.key("faults")
                writer.beginArray()
                for fault in refusal.faults { writer.policyFault(fault) }
                writer.endArray()
            })
    }
}

extension JSONWriter {
    fileprivate mutating func policyFault(_ fault: PolicyFault) {
        beginObject()
        member("code", fault.code.rawValue)
        member("pointer", fault.pointer)
        member("line", fault.line)
        member("column", fault.column)
        member("reason", fault.reason)
        member("excerpt", fault.excerpt)
        endObject()
    }

    fileprivate mutating func published(
        _ id: String, _ version: UInt64, parts: Int, _ document: PolicyDocument, isDuplicate: Bool
    ) {
        beginObject()
        member("policy", id)
        member("version", version)
        member("parts", parts)
        member("bytes", document.canonicalText.count)
        member("sha256", document.digest)
        member("approval", document.ruleSet.approval.rawValue)
        key("duplicate")
        bool(isDuplicate)
        endObject()
    }

    fileprivate mutating func policyEvent(_ id: String, _ version: UInt64, _ position: UInt64, at instant: Instant?) {
        beginObject()
        member("policy", id)
        member("version", version)
        member("position", position)
        member("at", instant)
        endObject()
    }

    fileprivate mutating func policyHistory(_ policies: [PolicyBook.Policy], _ now: Instant, head: UInt64) {
        beginObject()
        key("policies")
        beginArray()
        for policy in policies {
            beginObject()
            member("policy", policy.id)
            key("in_force")
            if let version = policy.version(inForceAt: now) { integer(version) } else { null() }
            key("versions")
            beginArray()
            for version in policy.versions { policyVersion(version) }
            endArray()
            endObject()
        }
        endArray()
        member("position", head)
        endObject()
    }

    private mutating func policyVersion(_ version: PolicyBook.Version) {
        beginObject()
        member("version", version.position)
        member("recordedtime", version.recordedAt)
        member("actor", UInt64(version.actor))
        member("sha256", version.digest)
        member("bytes", version.bytes)
        member("approval", version.needsApproval ? Approval.twoPeople.rawValue : Approval.none.rawValue)
        member("note", version.note)
        key("approvals")
        beginArray()
        for approval in version.approvals {
            beginObject()
            member("position", approval.position)
            member("recordedtime", approval.recordedAt)
            member("actor", UInt64(approval.actor))
            member("note", approval.note)
            endObject()
        }
        endArray()
        key("activations")
        beginArray()
        for activation in version.activations {
            beginObject()
            member("position", activation.position)
            member("at", activation.from)
            member("actor", UInt64(activation.actor))
            key("rolled_back")
            bool(activation.isRollback)
            member("note", activation.note)
            endObject()
        }
        endArray()
        endObject()
    }
}
