import Control
import JSON
import Leads
import Ledger

// PolicyBook: which rule sets there are: every version that was published, who approved it, and from when on it was in force. A fold
// over the policies' streams. Texts stay in the log and are read when they are needed.

struct PolicyBook {
    struct Version {
        /// The position of its `policy.published`.
        var position: UInt64
        var recordedAt: Instant
        var actor: UInt32
        var parts: Int
        var bytes: Int
        var digest: String
        var needsApproval: Bool
        var note: String?
        var approvals: [Approval] = []
        var activations: [Activation] = []

        /// Whether it may be activated: where two people are asked for, somebody else than the publisher agreed.
        var isApproved: Bool { !needsApproval || approvals.contains { $0.actor != actor } }
    }

    struct Approval {
        var position: UInt64
        var recordedAt: Instant
        var actor: UInt32
        var note: String?
    }

    struct Activation {
        var position: UInt64
        var from: Instant
        var actor: UInt32
        var isRollback: Bool
        var note: String?
    }

    struct Policy {
        var id: String
        /// In the order of their positions.
        var versions: [Version] = []
        /// Events on its stream.
        var length: UInt64 = 0
        /// Versions by the activations that put them in force, in the order of the log.
        var inForce: [(version: UInt64, activation: Activation)] = []

        func version(at position: UInt64) -> Version? { versions.first { $0.position == position } }

        /// The version in force at an instant, by the rule of `RouterState.plan(at:)`: of the latest activations until then the
        /// one recorded last.
        func version(inForceAt instant: Instant) -> UInt64? {
            var found: (version: UInt64, from: Instant)?
            for (version, activation) in inForce where activation.from <= instant {
                if let best = found, activation.from < best.from { continue }
                found = (version, activation.from)
            }
            return found?.version
        }
    }

    /// In the order in which they were first published.
    private(set) var policies: [Policy] = []

    subscript(id: String) -> Policy? { policies.first { $0.id == id } }

    /// The policy whose activation is the latest until an instant, which is the one the router decides by.
    func policy(inForceAt instant: Instant) -> (policy: Policy, version: UInt64)? {
        var found: (policy: Policy, version: UInt64, from: Instant, position: UInt64)?
        for policy in policies {
            for (version, activation) in policy.inForce where activation.from <= instant {
                if let best = found, (activation.from, activation.position) < (best.from, best.position) { continue }
                found = (policy, version, activation.from, activation.position)
            }
        }
        return found.map { ($0.policy, $0.version) }
    }

    /// What an event of a policy's stream put in force.
    struct Activated {
        var policy: String
        var version: Version
        var from: Instant
    }

    /// Takes an event in.
    mutating func fold(_ record: RecordView, _ type: EventType, _ reader: EventReader) throws -> Activated? {
        let id = String(decoding: record.subject, as: UTF8.self)
        let position = record.position.rawValue
        let index = policies.firstIndex { $0.id == id } ?? policies.count
        if index == policies.count { policies.append(Policy(id: id)) }
        policies[index].length = record.version.rawValue
        guard type != .policyPart else { return nil }
        let recordedAt = Instant(microseconds: record.recordedAt)
        let actor = record.actor
        return try reader.withData(of: record) { data in
            let note = data["note"]?.string
            if type == .policyPublished {
                guard let parts = data["parts"]?.int64, (1...1_000).contains(parts), UInt64(parts) <= position,
                    let bytes = data["bytes"]?.int64, let digest = data["sha256"]?.string
                else { throw ReadingFault(position: position, reason: "policy.published lacks what says its text") }
                policies[index].versions.append(
                    Version(
                        position: position, recordedAt: recordedAt, actor: actor, parts: Int(parts), bytes: Int(bytes),
                        digest: digest, needsApproval: data["approval"]?.equals("two_people") == true, note: note))
                return nil
            }
            guard let named = data["version"]?.uint64,
                let version = policies[index].versions.firstIndex(where: { $0.position == named })
            else { throw ReadingFault(position: position, reason: "\(type.name) names no version of its policy") }
            if type == .policyApproved {
                policies[index].versions[version].approvals.append(
                    Approval(position: position, recordedAt: recordedAt, actor: actor, note: note))
                return nil
            }
            guard let at = data["at"]?.string else {
                throw ReadingFault(position: position, reason: "\(type.name) says no instant")
            }
            let activation = Activation(
                position: position, from: try EventReader.instant(at, position), actor: actor,
                isRollback: type == .policyRolledBack, note: note)
            policies[index].versions[version].activations.append(activation)
            policies[index].inForce.append((named, activation))
            return Activated(policy: id, version: policies[index].versions[version], from: activation.from)
        }
    }
}
