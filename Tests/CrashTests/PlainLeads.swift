import TestSupport

/// What the read models should say, kept by the plainest means: dictionaries, from the events that the storm writes. It
/// shares no code with the daemon.
struct PlainLeads: Sendable {
    struct Lead: Sendable, Equatable {
        var stage = "captured"
        var stageBeforeEnd = "captured"
        var custody = "inbox"
        var first: Int
        var last: Int
        var version = 0
        var counts: [String: Int] = [:]
    }

    private(set) var leads: [String: Lead] = [:]
    private(set) var wins = 0
    private(set) var wonAmount = 0

    /// Leads that somebody has to take up.
    var waiting: Int { leads.values.count { $0.custody == "inbox" || $0.custody == "queue" } }
    var won: Int { leads.values.count { $0.stage == "won" } }

    /// - Returns: what is wrong with the event's place in its lead's history.
    mutating func apply(_ event: JSONTree, at position: Int) -> String? {
        let subject = event["subject"].string ?? ""
        let type = event["type"].string ?? ""
        var lead = leads[subject] ?? Lead(first: position, last: position)
        lead.last = position
        lead.version += 1
        guard event["version"].integer == lead.version else {
            return "version \(event["version"]) of \(subject) at \(position) should be \(lead.version)"
        }
        switch type {
        case "lead.captured": lead.counts["captures", default: 0] += 1
        case "lead.touched": lead.counts["touches", default: 0] += 1
        case "lead.noted": break
        case "lead.contact_attempted", "lead.contacted":
            let isContact = type == "lead.contacted"
            lead.counts[isContact ? "contacts" : "attempts", default: 0] += 1
            if isContact { lead.stage = "contacted" } else if lead.stage == "captured" { lead.stage = "working" }
            if lead.custody != "none" { lead.custody = "owner" }
        case "lead.assigned":
            lead.counts["assignments", default: 0] += 1
            lead.custody = "owner"
        case "lead.queued": lead.custody = "queue"
        case "lead.won", "lead.lost":
            lead.counts[type == "lead.won" ? "wins" : "lost", default: 0] += 1
            lead.stageBeforeEnd = lead.stage
            lead.stage = type == "lead.won" ? "won" : "lost"
            lead.custody = "none"
            if type == "lead.won" {
                wins += 1
                wonAmount += event["data"]["amount"].integer ?? 0
            }
        case "lead.reopened":
            lead.counts["reopens", default: 0] += 1
            lead.stage = lead.stageBeforeEnd
            lead.custody = "inbox"
        default: return "\(type) at \(position) is none of the storm's events"
        }
        leads[subject] = lead
        return nil
    }

    /// How `lead.get`'s answer differs from what is known here; nil where it does not.
    func difference(_ answer: JSONTree, _ subject: String) -> String? {
        guard let lead = leads[subject] else { return "\(subject) is not known here" }
        var found = Lead(
            stage: answer["stage"].string ?? "", stageBeforeEnd: lead.stageBeforeEnd,
            custody: answer["custody"].string ?? "",
            first: answer["first"].integer ?? -1, last: answer["last"].integer ?? -1,
            version: answer["version"].integer ?? -1)
        if case .object(let counts) = answer["counts"] {
            found.counts = counts.compactMapValues { $0.integer }.filter { $0.value > 0 }
        }
        return found == lead ? nil : "lead.get says \(found), the log says \(lead)"
    }
}
