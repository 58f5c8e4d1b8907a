import Control
import Crypto
import JSON
import Leads
import Ledger

// QueueCommands: pull (SEMANTICS 5.2): members lease leads that wait, and take them or give them back; and routing and assigning by
// hand.

/// What a claim asks for.
struct ClaimRequest: Sendable {
    var member: String
    var pool: String?
    var lead: String?
    var order: PullOrder?
    var leaseSeconds: Int64?
}

/// What names a lease to its holder: 128 random bits. The log has its hash only, so that who reads the log can take nothing.
enum LeaseToken128 {
    static func make() -> String {
        var random = SystemRandomNumberGenerator()
        return hex([random.next(), random.next()].flatMap { (word: UInt64) in word.bigEndianBytes })
    }

    static func hash(_ token: String) -> String { hex(SHA256.hash(data: Array(token.utf8))) }

    private static func hex(_ bytes: some Sequence<UInt8>) -> String {
        bytes.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
    }
}

extension DeskCommand {
    static func claim(_ claim: ClaimRequest, actor: UInt32, _ call: ConsumerCall) -> DeskCommand {
        DeskCommand(call) { cycle throws(ErrorReply) in
            let plan = try cycle.plan()
            let member = try cycle.member(claim.member, plan)
            let number = plan.members[Int(member.rawValue)]
            let found: ClaimedLead?
            if let lead = claim.lead {
                found = try cycle.claimable(named: lead, claim, number, plan)
            } else {
                found = try cycle.nextClaimable(claim, number, plan)
            }
            guard let found else {
                return .answer {
                    $0.beginObject()
                    $0.key("claim")
                    $0.null()
                    $0.endObject()
                }
            }
            // A member's claims go one after the other: each counts against the caps of the next.
            guard cycle.take("member " + claim.member, "lead " + found.id) else { return .wait }
            return cycle.lease(found, claim, number, plan, actor: actor)
        }
    }

    static func heartbeat(_ token: String, seconds: Int64?, _ call: ConsumerCall) -> DeskCommand {
        DeskCommand(call) { cycle throws(ErrorReply) in
            let lease = try cycle.lease(of: token)
            try cycle.checkIsMember(lease)
            let length = seconds.map { $0 * Instant.microsecondsPerSecond } ?? lease.length
            let until = cycle.now.advanced(byMicroseconds: length)
            cycle.desk.state.leases.extend(lease.lead, until: until)
            let (id, end) = (try cycle.id(of: lease.lead), cycle.state.leases[lease.lead]?.until ?? until)
            return .answer {
                $0.beginObject()
                $0.member("lead", id)
                $0.member("until", end)
                $0.endObject()
            }
        }
    }

    static func take(_ token: String, role: String?, actor: UInt32, _ call: ConsumerCall) -> DeskCommand {
        DeskCommand(call) { cycle throws(ErrorReply) in
            let lease = try cycle.lease(of: token)
            let id = try cycle.id(of: lease.lead)
            try cycle.checkIsMember(lease)
            guard cycle.take("lead " + id, "member " + lease.member) else { return .wait }
            let version = cycle.state.version(of: lease.lead)
            let end = DaemonEvent(
                .leaseEnded, of: id, by: .queue, id: "lease-taken-\(lease.position)", actor: actor,
                cause: lease.position
            ) {
                $0.member("how", "taken")
                $0.member("member", lease.member)
            }
            var assigned = DaemonEvent(
                .assigned, of: id, by: .queue, id: "taken-\(lease.position)", actor: actor, cause: lease.position,
                at: cycle.now
            ) {
                $0.member("member", lease.member)
                $0.member("mode", "pull")
                $0.member("role", role)
            }
            if let decision = try cycle.turn(of: lease) {
                var decision = decision
                decision.basis = cycle.state.scanned
                decision.unit = 1
                var data: [UInt8] = []
                decision.appendData(to: &data, cycle.state.router)
                assigned.members = Array(data.dropFirst().dropLast())
                if let role {
                    var writer = JSONWriter()
                    writer.beginObject()
                    writer.member("role", role)
                    writer.endObject()
                    assigned.members += [UInt8(ascii: ",")] + writer.bytes.dropFirst().dropLast()
                }
            }
            let plan = UnitPlan(events: [end, assigned], expected: [(StreamKey(.lead, id), .version(version))])
            return .append(plan) { writer, receipt in
                writer.beginObject()
                writer.member("lead", id)
                writer.member("member", lease.member)
                writer.member("position", receipt.last.rawValue)
                writer.member("version", receipt.events.last?.version.rawValue)
                writer.endObject()
            }
        }
    }

    static func release(_ token: String, reason: String, actor: UInt32, _ call: ConsumerCall) -> DeskCommand {
        DeskCommand(call) { cycle throws(ErrorReply) in
            let lease = try cycle.lease(of: token)
            let id = try cycle.id(of: lease.lead)
            guard cycle.take("lead " + id, "member " + lease.member) else { return .wait }
            let end = DaemonEvent(
                .leaseEnded, of: id, by: .queue, id: "lease-released-\(lease.position)", actor: actor,
                cause: lease.position
            ) {
                $0.member("how", "released")
                $0.member("member", lease.member)
                $0.member("reason", reason)
            }
            let version = cycle.state.version(of: lease.lead)
            let plan = UnitPlan(events: [end], expected: [(StreamKey(.lead, id), .version(version))])
            return .append(plan) { writer, receipt in
                writer.beginObject()
                writer.member("lead", id)
                writer.member("position", receipt.last.rawValue)
                writer.endObject()
            }
        }
    }

    static func peek(_ pool: String, member: String?, limit: Int, _ call: ConsumerCall) -> DeskCommand {
        DeskCommand(call) { cycle throws(ErrorReply) in
            let plan = try cycle.plan()
            let index = try cycle.pool(pool, plan)
            let number = try member.map { id throws(ErrorReply) in
                plan.members[Int(try cycle.member(id, plan).rawValue)]
            }
            var shown: [(entry: DueQueue.Entry, id: String)] = []
            let entries = cycle.entries(of: index, nil, plan)
            let router = cycle.state.router
            for entry in entries where shown.count < limit {
                if let number {
                    // Nobody claims what they have.
                    if router[entry.lead].holder == number { continue }
                    if try !cycle.eligibility(of: number, for: entry.lead, in: index, plan).isEligible { continue }
                }
                shown.append((entry, try cycle.id(of: entry.lead)))
            }
            let (waiting, head) = (entries.count, cycle.state.scanned)
            return .answer { writer in
                writer.beginObject()
                writer.member("pool", pool)
                writer.key("leads")
                writer.beginArray()
                for (entry, id) in shown {
                    writer.beginObject()
                    writer.member("lead", id)
                    writer.member("due", entry.due == .max ? nil : Instant(microseconds: entry.due))
                    writer.member("score", entry.score)
                    writer.member("pulls", entry.pulls)
                    writer.member("captured", entry.captured)
                    let holder = router[entry.lead].holder
                    writer.member("pushed_to", holder == .nobody ? nil : router.id(of: holder))
                    writer.endObject()
                }
                writer.endArray()
                writer.member("waiting", waiting)
                writer.member("position", head)
                writer.endObject()
            }
        }
    }

    static func route(_ lead: String, _ call: ConsumerCall) -> DeskCommand {
        DeskCommand(call) { cycle throws(ErrorReply) in
            _ = try cycle.plan()
            let number = try cycle.lead(lead)
            try cycle.checkNotLeased(number)
            let custody = cycle.state.router[number].state.custody
            guard custody == .inbox || custody == .queue else {
                throw ErrorReply(.notWaiting, "the lead is in custody \(custody.name)", at: .params("/lead"))
            }
            guard cycle.take("lead " + lead) else { return .wait }
            return .route(number)
        }
    }

    /// Gives a lead to a member by hand.
    ///
    /// - Parameter reason: why them, although they are not eligible.
    static func assign(
        _ lead: String, to member: String, role: String?, reason: String?, actor: UInt32, _ call: ConsumerCall
    ) -> DeskCommand {
        DeskCommand(call) { cycle throws(ErrorReply) in
            let plan = try cycle.plan()
            let index = try cycle.member(member, plan)
            let number = try cycle.lead(lead)
            try cycle.checkNotLeased(number)
            let record = cycle.state.router[number]
            guard record.state.stage.isOpen else {
                throw ErrorReply(
                    .transitionRefused, "\(lead) has come to an end: \(record.state.stage.name)", at: .params("/lead"))
            }
            var candidate = try cycle.eligibility(
                of: plan.members[Int(index.rawValue)], for: number, in: nil, plan, pulls: false)
            // Whoever gives a lead back to somebody by hand means it.
            candidate.refusals.remove(.earlierHolder)
            let refused = candidate.isEligible ? nil : candidate.refusalText
            if let refused, reason == nil {
                throw ErrorReply(
                    .memberIneligible, "\(member) is not eligible: \(refused)", at: .params("/member"),
                    members: { $0.member("refused", refused) })
            }
            guard cycle.take("lead " + lead, "member " + member) else { return .wait }
            let version = cycle.state.version(of: number)
            let event = DaemonEvent(
                .assigned, of: lead, by: .queue, id: "by-hand-\(version.rawValue)", actor: actor, at: cycle.now
            ) { writer in
                writer.member("member", member)
                writer.member("mode", "manual")
                writer.member("role", role)
                if let refused, let reason {
                    writer.key("override")
                    writer.beginObject()
                    writer.member("refused", refused)
                    writer.member("reason", reason)
                    writer.endObject()
                }
            }
            let unit = UnitPlan(
                events: [event], expected: [(StreamKey(.lead, lead), .version(version))],
                receiver: plan.members[Int(index.rawValue)])
            return .append(unit) { writer, receipt in
                writer.beginObject()
                writer.member("lead", lead)
                writer.member("member", member)
                writer.member("position", receipt.last.rawValue)
                writer.member("version", receipt.events.last?.version.rawValue)
                writer.member("override", refused != nil)
                writer.endObject()
            }
        }
    }
}

/// A lead that a member may lease.
private struct ClaimedLead {
    var lead: LeadNumber
    var id: String
    /// Whose queue it waits in; nil: the inbox.
    var pool: PoolIndex?
    var entry: DueQueue.Entry?
    var isPicked: Bool
}

extension DeskCycle {
    fileprivate func id(of lead: LeadNumber) throws(ErrorReply) -> String {
        do { return try state.id(of: lead, from: log) } catch { throw ErrorReply(.corrupted, "\(error)") }
    }

    fileprivate func lease(of token: String) throws(ErrorReply) -> LeaseBook.Lease {
        guard let lease = state.leases.lease(withTokenHash: LeaseToken128.hash(token)), lease.until > now else {
            throw ErrorReply(
                .staleLease, "no lease has this token any more: it expired, or the lead was taken or released",
                at: .params("/token"))
        }
        return lease
    }

    /// Whom the rule set in force does not know any more keeps nothing: their lease runs out, or is released.
    fileprivate func checkIsMember(_ lease: LeaseBook.Lease) throws(ErrorReply) {
        guard try plan().ruleSet.member(named: lease.member) == nil else { return }
        throw ErrorReply(
            .unknownMember, "the rule set in force has no member \(lease.member) any more", at: .params("/token"))
    }

    fileprivate func checkNotLeased(_ lead: LeadNumber) throws(ErrorReply) {
        guard state.router[lead].state.custody == .leased else { return }
        throw held(lead)
    }

    /// The error that says who has a lead.
    private func held(_ lead: LeadNumber) -> ErrorReply {
        let record = state.router[lead]
        let lease = state.leases[lead]
        let holder = lease?.member ?? state.router.id(of: record.holder)
        let until = lease?.until
        return ErrorReply(
            .leadHeld, "\(holder) has the lead" + (until.map { ", until \($0)" } ?? ""), at: .params("/lead"),
            members: {
                $0.member("holder", holder)
                $0.member("custody", record.state.custody.name)
                $0.member("until", until)
            })
    }

    fileprivate func eligibility(
        of member: MemberNumber, for lead: LeadNumber, in pool: PoolIndex?, _ plan: RoutingPlan, pulls: Bool = true
    ) throws(ErrorReply) -> Candidate {
        let details = try details(lead, plan)
        return state.router.eligibility(
            of: member,
            for: RoutingRequest(
                trigger: RoutingTrigger(.byHand, lead: lead, position: state.router[lead].heldSince),
                leadID: details.id, facts: details.facts, instant: now, due: details.due),
            pool: pool, plan: plan, pulls: pulls)
    }

    /// What waits in a pool's queue or has opened to claims, in the order in which it is claimed.
    fileprivate func entries(of pool: PoolIndex, _ order: PullOrder?, _ plan: RoutingPlan) -> [DueQueue.Entry] {
        let number = plan.pools[Int(pool.rawValue)].number
        var entries = state.router.queue(of: number).inOrder
        let opened = (state.pushed[number] ?? []).filter { isOpened($0, pool, plan) }
        if !opened.isEmpty {
            for lead in opened {
                let record = state.router[lead]
                let due = state.clocks.instant(ofPercent: 100, of: .firstResponse, record.key)
                entries.append(
                    DueQueue.Entry(
                        due: due?.microseconds ?? .max, score: 0, pulls: record.pulls, captured: record.captured,
                        lead: lead))
            }
            entries.sort()
        }
        switch order ?? plan.ruleSet.pools[pool].pull?.order ?? .due {
        case .due: return entries
        case .freshest: return entries.sorted { $0.captured > $1.captured }
        }
    }

    /// Whether a lead that was pushed has waited so long for its first answer that others may claim it.
    private func isOpened(_ lead: LeadNumber, _ pool: PoolIndex, _ plan: RoutingPlan) -> Bool {
        let record = state.router[lead]
        guard record.state.custody == .owner, let percent = plan.ruleSet.pools[pool].pull?.opensAtPercent,
            let instant = state.clocks.instant(ofPercent: percent, of: .firstResponse, record.key)
        else { return false }
        return instant <= now
    }

    /// The next lead of the pool that is asked for, or of all the member's, in their order.
    fileprivate func nextClaimable(
        _ claim: ClaimRequest, _ member: MemberNumber, _ plan: RoutingPlan
    ) throws(ErrorReply) -> ClaimedLead? {
        var pools: [PoolIndex] = []
        if let name = claim.pool {
            let pool = try pool(name, plan)
            guard plan.ruleSet.pools[pool].pull != nil else {
                throw ErrorReply(
                    .pickingRefused, "leads of \(name) are pushed and not claimed", at: .params("/pool"))
            }
            pools = [pool]
        } else {
            pools = plan.ruleSet.pools.indices.map { PoolIndex($0) }.filter { plan.ruleSet.pools[$0].pull != nil }
        }
        for pool in pools {
            guard plan.pools[Int(pool.rawValue)].places.contains(where: { $0.number == member }) else { continue }
            var looked = 0
            for entry in entries(of: pool, claim.order, plan) {
                guard looked < Limits.claimScanMax else { break }
                // What another request of this round leases is gone.
                let id = try id(of: entry.lead)
                if touches("lead " + id) { continue }
                if state.router[entry.lead].holder == member { continue }
                looked += 1
                if try eligibility(of: member, for: entry.lead, in: pool, plan).isEligible {
                    return ClaimedLead(lead: entry.lead, id: id, pool: pool, entry: entry, isPicked: false)
                }
            }
        }
        return nil
    }

    fileprivate func claimable(
        named id: String, _ claim: ClaimRequest, _ member: MemberNumber, _ plan: RoutingPlan
    ) throws(ErrorReply) -> ClaimedLead {
        let lead = try lead(id)
        let record = state.router[lead]
        var pool: PoolIndex?
        switch record.state.custody {
        case .inbox, .queue: break
        case .leased: throw held(lead)
        case .owner:
            let opened = plan.ruleSet.pools.indices.map { PoolIndex($0) }.first {
                state.pushed[plan.pools[Int($0.rawValue)].number]?.contains(lead) ?? false
            }
            guard let opened, isOpened(lead, opened, plan), record.holder != member else { throw held(lead) }
            pool = opened
        case .nurture, .none:
            throw ErrorReply(
                .notWaiting, "\(id) is in custody \(record.state.custody.name), stage \(record.state.stage.name)",
                at: .params("/lead"))
        }
        if record.state.custody == .queue { pool = plan.pool(numbered: record.queue) }
        if let pool {
            guard plan.ruleSet.pools[pool].pull?.permitsPicking ?? false else {
                throw ErrorReply(
                    .pickingRefused, "leads of \(plan.ruleSet.pools[pool].id) cannot be claimed by name",
                    at: .params("/lead"))
            }
        } else if record.state.custody == .inbox {
            throw ErrorReply(
                .pickingRefused, "\(id) is in the inbox: the router decides about it", at: .params("/lead"))
        }
        let candidate = try eligibility(of: member, for: lead, in: pool, plan)
        guard candidate.isEligible else {
            throw ErrorReply(
                .memberIneligible, "\(claim.member) is not eligible: \(candidate.refusalText)", at: .params("/member"),
                members: { $0.member("refused", candidate.refusalText) })
        }
        return ClaimedLead(lead: lead, id: id, pool: pool, entry: nil, isPicked: true)
    }

    fileprivate func lease(
        _ found: ClaimedLead, _ claim: ClaimRequest, _ member: MemberNumber, _ plan: RoutingPlan, actor: UInt32
    ) -> DeskCommand.Step {
        let pull = found.pool.flatMap { plan.ruleSet.pools[$0].pull }
        let seconds = claim.leaseSeconds ?? pull?.leaseSeconds ?? Limits.leaseSecondsDefault
        let until = now.advanced(byMicroseconds: seconds * Instant.microsecondsPerSecond)
        let token = LeaseToken128.make()
        let record = state.router[found.lead]
        var queue = record.state.custody == .queue ? state.router.id(of: record.queue) : nil
        var events: [DaemonEvent] = []
        if record.state.custody == .owner, let pool = found.pool {
            // Out of its slow owner's hands, and leased, in one unit.
            queue = plan.ruleSet.pools[pool].id
            events.append(
                DaemonEvent(
                    .queued, of: found.id, by: .queue, id: "opened-\(state.version(of: found.lead).rawValue)",
                    actor: actor
                ) {
                    $0.member("queue", queue)
                    $0.member("reason", RoutingReasons.openedToPull)
                    $0.member("due", state.clocks.instant(ofPercent: 100, of: .firstResponse, record.key))
                })
        }
        let version = state.version(of: found.lead)
        let event = DaemonEvent(
            .claimed, of: found.id, by: .queue, id: "claimed-\(version.rawValue)", actor: actor
        ) {
            $0.member("member", claim.member)
            $0.member("token_hash", LeaseToken128.hash(token))
            $0.member("until", until)
            $0.member("queue", queue)
            if found.isPicked { $0.member("picked", true) }
        }
        events.append(event)
        let unit = UnitPlan(
            events: events, expected: [(StreamKey(.lead, found.id), .version(version))], receiver: member)
        return .append(unit) { [queue] writer, receipt in
            writer.beginObject()
            writer.key("claim")
            writer.beginObject()
            writer.member("token", token)
            writer.member("lead", found.id)
            writer.member("member", claim.member)
            writer.member("pool", queue)
            writer.member("until", until)
            writer.member("due", record.queueDue)
            writer.member("position", receipt.last.rawValue)
            writer.member("pulls", record.pulls)
            writer.member("captured", record.captured)
            writer.endObject()
            writer.endObject()
        }
    }

    /// The turn that taking a leased lead is, in a pool with rotation.
    fileprivate func turn(of lease: LeaseBook.Lease) throws(ErrorReply) -> Decision? {
        guard lease.queue != nil, let plan = state.router.plan(at: now) else { return nil }
        let details = try details(lease.lead, plan)
        return state.router.take(
            RoutingRequest(
                trigger: RoutingTrigger(.pull, lead: lease.lead, position: lease.position), leadID: details.id,
                facts: details.facts, instant: now, due: details.due),
            by: state.router.member(named: lease.member), plan: plan)
    }
}
