// The custody of one lead as it is told: a sentence for each event by which the lead came into other hands, or that says why it
// should. The rest of its events is silent.

import JSON
import Leads
import Ledger

/// Follows a lead from its first event on, and says what each one did to who has it.
///
/// ```swift
/// var story = CustodyStory()
/// try story.take(record, data)?.summary    // "Leased by kim until 2026-03-02T09:15:00Z, from queue triage."
/// ```
struct CustodyStory {
    /// Nil before the first event.
    private(set) var state: LeadState?
    /// The latest decision by which somebody got the lead for a turn: what a disqualification may void.
    private(set) var turn: (decision: Position, pool: String)?
    private var lastHolder: String?
    private var lastQueue: String?

    /// Who owns or leases the lead.
    var holder: String? { state?.custody == .owner || state?.custody == .leased ? lastHolder : nil }
    /// Where it waits, if in a queue.
    var queue: String? { state?.custody == .queue ? lastQueue : nil }

    /// One step of the story.
    struct Step {
        var summary: String
        /// Who has the lead behind it.
        var custody: Custody
        var decision: DecisionRecord?
        var override: AssignmentOverride?
        /// The decision or the override is none that this daemon writes.
        var problem: DecisionProblem?

        fileprivate init(_ summary: String, _ custody: Custody) {
            self.summary = summary
            self.custody = custody
        }
    }

    /// Takes the lead's next event in; nil where it does nothing to custody.
    ///
    /// - Parameter data: the event's data, without its personal members.
    mutating func take(_ record: RecordView, _ data: JSONValue) -> Step? {
        guard let type = EventType(rawValue: record.type), let variant = EventVariant(rawValue: record.variant) else {
            return nil
        }
        let before = state
        // What is in the log was accepted by these rules, so a refusal is an event of a later version: it is passed over.
        guard case .next(let after) = Lifecycle.evolve(before, type, variant, backfill: record.isBackfill) else {
            return nil
        }
        state = after
        remember(type, data, before)
        let event = CustodyEvent(type: type, variant: variant, record: record, data: data, before: before, after: after)
        guard let sentence = event.sentence else { return nil }
        let isVoid = before?.custody == .leased && after.custody != .leased && type != .leaseEnded
        let void = isVoid ? ", and the lease is void" : ""
        var step = Step("\(sentence)\(void)\(event.sender).", after.custody)
        guard type == .assigned || type == .queued else { return step }
        do throws(DecisionProblem) {
            step.override = try AssignmentOverride(data: data)
            let lead = String(decoding: record.subject, as: UTF8.self)
            step.decision = try DecisionRecord(data: data, leadID: lead, at: record.position.rawValue)
        } catch { step.problem = error }
        if let pool = step.decision?.turn?.pool { turn = (record.position, pool) }
        return step
    }

    private mutating func remember(_ type: EventType, _ data: JSONValue, _ before: LeadState?) {
        switch type {
        case .assigned, .claimed: lastHolder = data["member"]?.string
        case .contactAttempted, .contacted:
            // Who calls a lead that nobody has, has it by that.
            if before?.custody != .owner, state?.custody == .owner { lastHolder = data["by"]?.string }
        case .queued: lastQueue = data["queue"]?.string
        default: break
        }
        if state?.custody != .owner, state?.custody != .leased { lastHolder = nil }
    }
}

/// One event in words.
private struct CustodyEvent {
    let type: EventType
    let variant: EventVariant
    let record: RecordView
    let data: JSONValue
    let before: LeadState?
    let after: LeadState

    /// Sources of the daemon's own events begin so.
    private static let daemon = "urn:leadledger:"

    /// Without its full stop; nil where custody is not what the event is about.
    var sentence: String? {
        switch type {
        case .captured: before == nil ? "Captured: in the inbox" : nil
        case .assigned: assigned
        case .queued: queued
        case .claimed: claimed
        case .leaseEnded: leaseEnded
        case .released: "Given back by its owner\(because): in the \(after.custody.name)"
        case .rejected: "The offer was rejected by \(text("by"))\(because): in the \(after.custody.name)"
        case .contactAttempted, .contacted:
            isMoved
                ? "\(type == .contacted ? "Contacted" : "Tried") by \(text("by")), who has it by that" : nil
        case .recycled: recycled
        case .reopened: "Reopened (\(variant.word))\(because): \(place)"
        case .won: "Won: nobody has it any more"
        case .lost: "Lost\(because): nobody has it any more"
        case .disqualified: "Disqualified\(because): nobody has it any more"
        case .escalated: escalated
        case .inboxAlarmed: "Alarm: nobody has decided since \(text("since"))"
        case .clockBreached: "The clock \(text("clock")) has run out: due \(text("due"))"
        default: isMoved ? "\(type.name): \(place)" : nil
        }
    }

    private var isMoved: Bool { before?.custody != after.custody }

    private var assigned: String {
        let decision = data["decision"]
        let how =
            switch text("mode") {
            case "pull": ", who took it"
            case "manual": " by hand, by uid \(record.actor)"
            case "import": ", imported"
            case "match": decision == nil ? " as its owner" : " by the router, as its owner"
            default:
                decision == nil ? "" : decision?["manager"] == nil ? " by the router" : " by the router, as the manager"
            }
        let role = data["role"]?.string.map { ", as \($0)" } ?? ""
        return "Assigned to \(text("member"))\(how)\(role)\(override)"
    }

    private var override: String {
        guard let override = try? AssignmentOverride(data: data) else { return "" }
        return ", although \(override.refusals.map { $0.words() }.joined(separator: ", ")): \(override.reason)"
    }

    private var queued: String {
        let due = data["due"]?.string.map { ", due \($0)" } ?? ""
        // Why the router put it there is part of its decision.
        let how = data["decision"] == nil ? "\(because)" : " by the router"
        return "Put in queue \(text("queue"))\(how)\(due)"
    }

    private var claimed: String {
        let from = data["queue"]?.string.map { "queue \($0)" } ?? "the inbox"
        let picked = data["picked"]?.boolean == true ? ", picked by name" : ""
        return "Leased by \(text("member")) until \(text("until")), from \(from)\(picked)"
    }

    private var leaseEnded: String {
        let member = text("member")
        return switch text("how") {
        case "taken": "The lease ended: \(member) took the lead"
        case "expired": "The lease of \(member) expired: back in the \(after.custody.name)"
        default: "The lease ended: \(member) gave the lead back\(because): back in the \(after.custody.name)"
        }
    }

    private var recycled: String {
        let until = data["not_before"]?.string.map { " until \($0)" } ?? ""
        return "Recycled\(because): \(place)\(until)"
    }

    private var escalated: String {
        let action =
            switch text("action") {
            case "notify": ""
            case "queue_again": ", to be queued again"
            case "reassign": ", to be given to somebody else"
            case "manager": ", to be given to the manager"
            case "recycle": ", to be recycled"
            default: ", \(text("action"))"
            }
        let told = (data["to"].map { Array($0.elements) } ?? []).compactMap(\.string)
        let to = told.isEmpty ? "" : ", told to \(told.joined(separator: ", "))"
        let target = data["target"]?.string.map { " of target \($0)" } ?? ""
        return "Escalated at \(data["step"]?.int64 ?? 0) %\(target), clock \(text("clock"))\(action)\(to)"
    }

    // MARK: Parts

    private var place: String {
        switch after.custody {
        case .none: "nobody has it"
        case .inbox: "in the inbox"
        case .queue: "in the queue"
        case .leased: "leased"
        case .owner: "with its owner"
        case .nurture: "in nurture"
        }
    }

    private var because: String { data["reason"]?.string.map { " (\($0))" } ?? "" }

    /// Who sent the event, unless the daemon did.
    var sender: String {
        let source = String(decoding: record.source, as: UTF8.self)
        return source.hasPrefix(Self.daemon) ? "" : " [\(source), uid \(record.actor)]"
    }

    /// Required by the schema of its event, and so there in whatever this daemon stored.
    private func text(_ name: StaticString) -> String { data[name]?.string ?? "?" }
}
