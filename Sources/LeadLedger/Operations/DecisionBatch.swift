import JSON
import Leads
import Ledger

/// Decisions that go into the log as one unit, all or none. Each is folded into the router's state as soon as it is taken, as if it
/// lay at the position that is foreseen for it; see `OperationsDesk`.
final class DecisionBatch {
    struct Entry {
        var decision: Decision
        var lead: LeadNumber
        var leadID: String
        var undo: RouterState.Undo
        /// Where the lead stood.
        var before: LeadStanding
        /// As the event says.
        var mode: AssignmentMode { if case .matched = decision.outcome { .match } else { .push } }
        /// Who asked for it.
        var command: DeskCommand?
    }

    /// The position that the first decision will have if nobody appends meanwhile.
    let first: UInt64
    let unit: AppendUnit
    private let actor: UInt32
    /// Whether it is stored only where nothing has happened to its leads meanwhile. False in tests that plant this mistake.
    var expectsVersions = true
    var entries: [Entry] = []
    private var bytes = 0
    /// Decisions of a lead in this unit, so far.
    private var ofLead: [LeadNumber: UInt64] = [:]

    init(first: UInt64, unit: AppendUnit, actor: UInt32) {
        self.first = first
        self.unit = unit
        self.actor = actor
    }

    var hasRoom: Bool { entries.count < Limits.deskBatchDecisions && bytes < Limits.deskBatchBytes }

    /// Puts a decision that was just taken into the unit.
    ///
    /// - Parameters:
    ///   - router: the state it was taken in, without it.
    ///   - version: that of the lead's stream, without what this unit adds.
    /// - Throws: `recordTooLarge`, which the bounds of rule sets leave no room for.
    func add(
        _ decision: Decision, of lead: LeadNumber, _ router: RouterState, version: StreamVersion
    ) throws(LedgerError) {
        var decision = decision
        // All that lies before the unit was seen, and the decisions of this unit as if they lay there already.
        decision.basis = first
        decision.unit = entries.count
        let undo = router.undo(for: decision)
        let earlier = ofLead[lead, default: 0]
        let (kind, cause) = (decision.trigger.kind, decision.trigger.position)
        var event = DaemonEvent(
            decision.member == nil ? .queued : .assigned, of: decision.leadID, by: .router,
            id: "\(kind.word)-\(cause)-\(version.rawValue + earlier)", actor: actor, cause: cause, at: decision.instant)
        var data: [UInt8] = []
        decision.appendData(to: &data, router)
        event.members = Array(data.dropFirst().dropLast())
        try unit.add(event)
        if earlier == 0, expectsVersions { unit.expect(stream: StreamKey(decision.lead), .version(version)) }
        ofLead[lead] = earlier + 1
        bytes += data.count
        entries.append(
            Entry(
                decision: decision, lead: lead, leadID: decision.leadID, undo: undo,
                before: router.standing(of: decision.lead)))
    }
}

extension JSONWriter {
    /// What `queue.route` answers.
    mutating func routed(_ lead: String, _ decision: Decision, _ router: RouterState, at position: Position) {
        beginObject()
        member("lead", lead)
        if let winner = decision.member {
            member("outcome", "assigned")
            member("member", router.id(of: winner))
        } else {
            member("outcome", "queued")
            if let pool = decision.pool { member("queue", decision.plan.ruleSet.pools[pool].id) }
        }
        member("position", position.rawValue)
        endObject()
    }
}
