import Control
import JSON
import Leads
import Ledger

/// A request that the desk is to do: read on an event loop, run on the desk's thread with everything folded in.
// Sendable: it goes to the desk and is touched nowhere else from then on.
struct DeskCommand: @unchecked Sendable {
    /// What becomes of it, in this round.
    enum Step {
        /// It changes nothing.
        case answer((inout JSONWriter) -> Void)
        /// The answer is written when the unit is durable.
        case append(UnitPlan, (inout JSONWriter, AppendReceipt) -> Void)
        /// The router decides about the lead.
        case route(LeadNumber)
        /// Another request of this round has to do with the same lead or member: in the next one.
        case wait
    }

    var call: ConsumerCall
    /// Whether it begins to use routing where nobody has yet.
    var beginsUse = false
    /// Asked again where another client was faster: it must not change anything itself.
    var run: (inout DeskCycle) throws(ErrorReply) -> Step
    var attempts = 0

    init(_ call: ConsumerCall, beginsUse: Bool = false, run: @escaping (inout DeskCycle) throws(ErrorReply) -> Step) {
        self.call = call
        self.beginsUse = beginsUse
        self.run = run
    }
}

/// What one unit is made of.
struct UnitPlan {
    var events: [DaemonEvent]
    var expected: [(stream: StreamKey, version: ExpectedVersion)] = []
    /// Who has one lead more by it, which counts against their caps.
    var receiver: MemberNumber?
    /// Whether routing is used from here on, which the next start must know.
    var beginsUse = false
}

/// One round of the desk, as requests see it.
struct DeskCycle {
    let desk: OperationsDesk
    let now: Instant
    /// Leads that the router was asked to decide about.
    var toRoute: [(LeadNumber, DeskCommand)] = []
    /// What a request of this round has to do with already.
    private var touched: Set<String> = []

    init(desk: OperationsDesk, now: Instant) {
        self.desk = desk
        self.now = now
    }

    var log: EventLog { desk.log }
    var state: OperationsState { _read { yield desk.state } }

    /// Whether nobody of this round has to do with any of these; they are taken then.
    mutating func take(_ names: String...) -> Bool {
        guard touched.isDisjoint(with: names) else { return false }
        touched.formUnion(names)
        return true
    }

    /// Nobody else of this round has to do with it from here on.
    mutating func touch(_ name: String) { touched.insert(name) }

    /// Whether another request of this round has to do with it.
    func touches(_ name: String) -> Bool { touched.contains(name) }

    /// The rule set in force.
    func plan() throws(ErrorReply) -> RoutingPlan {
        guard let plan = state.router.plan(at: now) else { throw .noRuleSet }
        return plan
    }

    func member(_ id: String, _ plan: RoutingPlan) throws(ErrorReply) -> MemberIndex {
        guard let member = plan.ruleSet.member(named: id) else {
            throw ErrorReply(.unknownMember, "the rule set in force has no member \(id)", at: .params("/member"))
        }
        return member
    }

    func pool(_ id: String, _ plan: RoutingPlan) throws(ErrorReply) -> PoolIndex {
        guard let pool = plan.ruleSet.pool(named: id) else {
            throw ErrorReply(.unknownPool, "the rule set in force has no pool \(id)", at: .params("/pool"))
        }
        return pool
    }

    func lead(_ id: String) throws(ErrorReply) -> LeadNumber {
        let lead = state.router.lead(RoutingKey(StreamKey(.lead, id)))
        guard lead != .none else {
            throw ErrorReply(.unknownLead, "no lead is called \(id)", at: .params("/lead"))
        }
        return lead
    }

    /// What the log says of a lead; what cannot be read is the answer.
    func details(_ lead: LeadNumber, _ plan: RoutingPlan) throws(ErrorReply) -> LeadDetails {
        do { return try desk.state.details(lead, state.router[lead], plan, from: log) } catch {
            throw ErrorReply(.corrupted, "\(error)")
        }
    }
}

extension ErrorReply {
    static var noRuleSet: ErrorReply { ErrorReply(.noRuleSet, "no rule set is in force") }
}
