import Control
import JSON
import Leads
import Ledger

// MemberCommands: who is there, and who is not.

extension DeskCommand {
    /// One of pause, resume, leave and return.
    ///
    /// - Parameters:
    ///   - from: of a leave; nil: now.
    ///   - until: the first instant at which it is over; nil: until somebody says so.
    static func presence(
        _ type: EventType, of id: String, reason: String?, from: Instant? = nil, until: Instant? = nil, actor: UInt32,
        _ call: ConsumerCall
    ) -> DeskCommand {
        DeskCommand(call) { cycle throws(ErrorReply) in
            let plan = try cycle.plan()
            let index = try cycle.member(id, plan)
            let member = plan.members[Int(index.rawValue)]
            let start = from ?? cycle.now
            if let until, until <= max(start, cycle.now) {
                throw ErrorReply(
                    .invalidValue, "it would be over at \(until), before it begins", at: .params("/until"))
            }
            guard cycle.take("member " + id) else { return .wait }
            let event = DaemonEvent(
                type, of: id, by: .members, id: "\(type.name)-\(cycle.state.scanned)", actor: actor, at: cycle.now
            ) {
                $0.member("reason", reason)
                if type == .memberOnLeave { $0.member("from", start) }
                $0.member("until", until)
            }
            // The events of that follow; here is what they will be.
            var (returned, handedOver) = (0, 0)
            if type == .memberOnLeave, start <= cycle.now, plan.ruleSet.onLeave != .keep {
                let count = cycle.state.router.leads(heldBy: member).count {
                    cycle.state.router[$0].state.custody == .owner
                }
                if case .handOver = plan.ruleSet.onLeave { handedOver = count } else { returned = count }
            }
            return .append(UnitPlan(events: [event])) { [returned, handedOver] writer, receipt in
                writer.beginObject()
                writer.member("member", id)
                writer.member("position", receipt.last.rawValue)
                writer.member("returned", returned)
                writer.member("handed_over", handedOver)
                writer.endObject()
            }
        }
    }

    static func members(ofPool pool: String?, _ call: ConsumerCall) -> DeskCommand {
        DeskCommand(call) { cycle throws(ErrorReply) in
            let plan = try cycle.plan()
            let only = try pool.map { name throws(ErrorReply) in try cycle.pool(name, plan) }
            let (rules, router, now, head) = (plan.ruleSet, cycle.state.router, cycle.now, cycle.state.scanned)
            return .answer { writer in
                writer.beginObject()
                writer.member("policy", rules.id)
                writer.member("version", plan.version)
                writer.member("position", head)
                writer.key("members")
                writer.beginArray()
                for (index, member) in rules.members.enumerated() {
                    let pools = rules.pools.filter { $0.members.contains { $0.member == MemberIndex(index) } }
                    if let only, !pools.contains(where: { $0.id == rules.pools[only].id }) { continue }
                    let presence = router.presence(of: plan.members[index], member, at: now, plan)
                    writer.beginObject()
                    writer.member("member", member.id)
                    writer.member("team", member.team.map { rules.teams[$0].id })
                    writer.member("state", presence.word)
                    writer.member("until", presence.until)
                    writer.member("open", router.openCount(of: plan.members[index]))
                    writer.member("open_cap", member.caps.open)
                    writer.key("pools")
                    writer.beginArray()
                    for pool in pools { writer.string(pool.id) }
                    writer.endArray()
                    writer.endObject()
                }
                writer.endArray()
                writer.endObject()
            }
        }
    }
}
