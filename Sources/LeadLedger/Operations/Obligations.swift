import Control
import JSON
import Leads
import Ledger

// Obligations: what follows from the log without anybody's asking (E3 of OperationsDesk): leases that ran out, turns that are given back,
// leads whose owner has left. Each is worked out from the state again and again until the event that fulfils it is folded in.

extension OperationsDesk {
    func owed(_ cycle: inout DeskCycle) throws -> [UnitPlan] {
        var plans: [UnitPlan] = []
        try endLeases(&cycle, &plans)
        try voidDecisions(&cycle, &plans)
        try returnLeads(&cycle, &plans)
        try sayClocks(&cycle, &plans)
        return plans
    }

    // MARK: Leases

    private func endLeases(_ cycle: inout DeskCycle, _ plans: inout [UnitPlan]) throws {
        for lease in state.leases.expired(at: cycle.now).prefix(Limits.deskDeparturesPerUnit) {
            let id = try state.id(of: lease.lead, from: log)
            guard cycle.take("lead " + id) else { continue }
            let event = DaemonEvent(
                .leaseEnded, of: id, by: .queue, id: "lease-expired-\(lease.position)", actor: ownUser,
                cause: lease.position
            ) {
                $0.member("how", "expired")
                $0.member("member", lease.member)
            }
            plans.append(
                UnitPlan(
                    events: [event],
                    expected: [(StreamKey(.lead, id), .version(state.version(of: lease.lead)))]))
        }
    }

    // MARK: Voided decisions

    private func voidDecisions(_ cycle: inout DeskCycle, _ plans: inout [UnitPlan]) throws {
        guard state.router.hasDecisionsToVoid else { return }
        for (decision, lead, cause) in state.router.decisionsToVoid.prefix(Limits.deskDeparturesPerUnit) {
            let leadID = try state.id(of: lead, from: log)
            guard let turn = try log.turn(ofDecisionAt: decision) else {
                throw ReadingFault(position: decision, reason: "it moved no balances, although it should have")
            }
            let reader = EventReader()
            let reason = try log.record(at: Position(rawValue: cause)) { record in
                try reader.withData(of: record) { $0["reason"]?.string ?? "" }
            }
            let event = DaemonEvent(
                .poolDecisionVoided, of: turn.pool, by: .router, id: "void-\(decision)", actor: ownUser, cause: cause
            ) {
                $0.member("decision", decision)
                $0.member("reason", reason ?? "")
                $0.member("lead", leadID)
                $0.member("cause", cause)
            }
            plans.append(UnitPlan(events: [event]))
        }
    }

    // MARK: Leads of who left

    /// The leads of a member who went on leave, as the rule set says, and of one whom the rule set no longer knows: by events, so that
    /// nobody has to guess where they went.
    private func returnLeads(_ cycle: inout DeskCycle, _ plans: inout [UnitPlan]) throws {
        guard let plan = state.router.plan(at: cycle.now) else { return }
        var rest: [OperationsState.Departure] = []
        for departure in state.departures {
            if let until = departure.until, until <= cycle.now { continue }
            guard departure.from <= cycle.now else {
                rest.append(departure)
                continue
            }
            // Somebody who is back in the rule set keeps what they have.
            if departure.why == .removal, plan.index(of: departure.member) != nil { continue }
            // Of a leave the rule set decides by which it began, so that a start decides alike whatever came since.
            let atFirst = state.router.plan(at: departure.from) ?? plan
            if departure.why == .leave, atFirst.ruleSet.onLeave == .keep { continue }
            let leads = try leads(leftBy: departure)
            if leads.isEmpty { continue }
            rest.append(departure)
            guard cycle.take("member " + state.router.id(of: departure.member)) else { continue }
            var unit = UnitPlan(events: [])
            for lead in leads.prefix(Limits.deskDeparturesPerUnit) {
                let id = try state.id(of: lead, from: log)
                guard cycle.take("lead " + id) else { continue }
                unit.events.append(try handOn(lead, departure, atFirst, plan))
                unit.expected.append((StreamKey(.lead, id), .version(state.version(of: lead))))
            }
            if !unit.events.isEmpty { plans.append(unit) }
        }
        state.departures = rest
    }

    /// What they own since before they left. What came to them afterwards somebody gave them knowingly.
    private func leads(leftBy departure: OperationsState.Departure) throws -> [LeadNumber] {
        guard state.router.openCount(of: departure.member) > 0 else { return [] }
        return try state.router.leads(heldBy: departure.member).filter { lead in
            let record = state.router[lead]
            guard record.state.custody == .owner else { return false }
            if record.heldSince < departure.position { return true }
            guard departure.isAnnounced else { return false }
            let heldAt = try log.record(at: Position(rawValue: record.heldSince)) { $0.recordedAt }
            return heldAt.map { $0 < departure.from.microseconds } ?? false
        }
    }

    /// - Parameters:
    ///   - atFirst: the rule set by which the departure began.
    ///   - plan: the one in force.
    private func handOn(
        _ lead: LeadNumber, _ departure: OperationsState.Departure, _ atFirst: RoutingPlan, _ plan: RoutingPlan
    ) throws -> DaemonEvent {
        let leadID = try state.id(of: lead, from: log)
        let id = "departure-\(departure.position)-\(state.version(of: lead).rawValue)"
        if departure.why == .leave, case .handOver(let index) = atFirst.ruleSet.onLeave,
            case let heir = atFirst.members[Int(index.rawValue)], heir != departure.member,
            plan.index(of: heir) != nil
        {
            return DaemonEvent(
                .assigned, of: leadID, by: .members, id: id, actor: ownUser, cause: departure.position
            ) {
                $0.member("member", state.router.id(of: heir))
                $0.member("mode", "push")
            }
        }
        // To the inbox: whoever is eligible now gets it at once, and if nobody is, the pool's queue.
        return DaemonEvent(.released, of: leadID, by: .members, id: id, actor: ownUser, cause: departure.position) {
            $0.member(
                "reason", departure.why == .leave ? RoutingReasons.ownerOnLeave : RoutingReasons.ownerRemoved)
        }
    }

    // MARK: Clocks

    /// What the response clocks say, each in its time, and what their ladders and cadences move.
    private func sayClocks(_ cycle: inout DeskCycle, _ plans: inout [UnitPlan]) throws {
        // Lent, since the book asks the rest of the state about leads.
        var clocks = ClockBook()
        swap(&clocks, &state.clocks)
        defer { swap(&clocks, &state.clocks) }
        let (state, log) = (state, log)
        let actions = try clocks.due(at: cycle.now, limit: Limits.deskClockActions) { key, plan, position throws in
            try state.background(key, plan, upTo: position, from: log)
        }
        // What is said of a lead in a round is one unit, and must find the lead where it was: a clock that started after what ends it
        // would run for ever.
        var units: [LeadNumber: Int] = [:]
        for action in actions {
            let lead = state.router.lead(action.lead)
            let id = try state.id(of: lead, from: log)
            let events = action.events.map { Self.event($0, of: id, actor: ownUser) }
            // That a lead lay in the inbox is true also of one that is given out in this round.
            if action.events.contains(where: { $0.type == .inboxAlarmed }) {
                plans.append(UnitPlan(events: events))
            } else if let unit = units[lead] {
                plans[unit].events += events
            } else if cycle.take("lead " + id) {
                units[lead] = plans.count
                plans.append(
                    UnitPlan(events: events, expected: [(StreamKey(.lead, id), .version(state.version(of: lead)))]))
            }
        }
    }

    private static func event(_ said: ClockAction.Event, of lead: String, actor: UInt32) -> DaemonEvent {
        var event = DaemonEvent(
            said.type, of: lead, by: .clocks, id: said.id, actor: actor, cause: said.causation, at: said.time)
        event.variant = said.variant
        var data: [UInt8] = []
        said.appendData(to: &data)
        event.members = Array(data.dropFirst().dropLast())
        return event
    }
}
