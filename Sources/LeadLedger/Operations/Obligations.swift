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
        beginReroutes(cycle.now)
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
            let reader = EventReader()
            let turn = try log.record(at: Position(rawValue: decision)) { record in
                try reader.withData(of: record) { try EventReader.turn($0, decision) }
            }
            guard let turn = turn ?? nil else {
                throw ReadingFault(position: decision, reason: "it moved no balances, although it should have")
            }
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
            if departure.why == .leave, plan.ruleSet.onLeave == .keep { continue }
            let leads = state.router.leads(heldBy: departure.member).filter {
                state.router[$0].state.custody == .owner && state.router[$0].heldSince < departure.position
            }
            if leads.isEmpty { continue }
            rest.append(departure)
            guard cycle.take("member " + state.router.id(of: departure.member)) else { continue }
            plans.append(
                UnitPlan(
                    events: try leads.prefix(Limits.deskDeparturesPerUnit).map { try handOn($0, departure, plan) },
                    expected: try leads.prefix(Limits.deskDeparturesPerUnit).map {
                        (StreamKey(.lead, try state.id(of: $0, from: log)), .version(state.version(of: $0)))
                    }))
        }
        state.departures = rest
    }

    private func handOn(
        _ lead: LeadNumber, _ departure: OperationsState.Departure, _ plan: RoutingPlan
    ) throws -> DaemonEvent {
        let leadID = try state.id(of: lead, from: log)
        let id = "departure-\(departure.position)-\(state.version(of: lead).rawValue)"
        if departure.why == .leave, case .handOver(let index) = plan.ruleSet.onLeave,
            plan.members[Int(index.rawValue)] != departure.member
        {
            return DaemonEvent(
                .assigned, of: leadID, by: .members, id: id, actor: ownUser, cause: departure.position
            ) {
                $0.member("member", plan.ruleSet.members[index].id)
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
        for action in actions {
            let lead = state.router.lead(action.lead)
            let id = try state.id(of: lead, from: log)
            let moves = action.events.contains { $0.type == .queued || $0.type == .recycled }
            // One that moves the lead must find it where it was.
            if moves, !cycle.take("lead " + id) { continue }
            let events = action.events.map { said in
                var event = DaemonEvent(
                    said.type, of: id, by: .clocks, id: said.id, actor: ownUser, cause: said.causation, at: said.time)
                event.variant = said.variant
                var data: [UInt8] = []
                said.appendData(to: &data)
                event.members = Array(data.dropFirst().dropLast())
                return event
            }
            plans.append(
                UnitPlan(
                    events: events,
                    expected: moves ? [(StreamKey(.lead, id), .version(state.version(of: lead)))] : []))
        }
    }

    // MARK: New rule sets

    /// Where a rule set that has come into force asks for it, all that wait are decided again.
    private func beginReroutes(_ now: Instant) {
        for due in state.reroutesToCome where due.from <= now {
            for lead in state.router.waitingLeads where state.router[lead].heldSince < due.position {
                state.reroutes.append(OperationsState.Reroute(lead: lead, cause: due.position))
            }
        }
        state.reroutesToCome.removeAll { $0.from <= now }
    }
}
