import Control
import JSON
import Leads
import Ledger
import NIOCore
import NIOPosix
import PolicyDocuments

// OperationsHandler: one event loop's share of what the desk does: reads what a request says, where its line lies, and hands it over. A
// request waits for the appends before it on its connection, and takes one of the connection's places for reads until it is answered.

/// Lives on its event loop and is touched nowhere else.
// Sendable: see above.
final class OperationsHandler: @unchecked Sendable {
    private let desk: OperationsDesk
    private let pool: NIOThreadPool
    private let eventLoop: any EventLoop

    init(desk: OperationsDesk, pool: NIOThreadPool, eventLoop: any EventLoop) {
        self.desk = desk
        self.pool = pool
        self.eventLoop = eventLoop
    }

    /// - Parameter request: one whose parameters passed their schema.
    func receive(_ request: Request, reply: ReplySlot) {
        let make: (ConsumerCall) -> DeskCommand
        do throws(QueryFault) {
            if request.method == .policyPublish { return try publish(request, reply: reply) }
            make = try read(request)
        } catch { return reply.fail(ErrorReply(error)) }
        let (desk, eventLoop) = (desk, eventLoop)
        let state = ConnectionState.of(request.connection)
        state.read(for: reply) {
            let command = make(ConsumerCall(ReadSlot(reply: reply, state: state), on: eventLoop))
            desk.home.execute { desk.take(command) }
        }
    }

    /// A document takes milliseconds to read: on a reader thread.
    private func publish(_ request: Request, reply: ReplySlot) throws(QueryFault) {
        let text = request.params?["document"].map { Array($0.utf8) } ?? []
        let note = try self.text(request.params, "note", "/note")
        let (desk, pool, eventLoop, actor) = (desk, pool, eventLoop, request.peer.uid)
        let state = ConnectionState.of(request.connection)
        state.read(for: reply) {
            let call = ConsumerCall(ReadSlot(reply: reply, state: state), on: eventLoop)
            pool.submit { poolState in
                guard poolState == .active else { return }
                do throws(PolicyRefusal) {
                    let document = try PolicyDocument(text, isKnownZone: { desk.zones.isKnown($0) })
                    let policy = ReadPolicy(document: document, note: note)
                    desk.home.execute { desk.take(.publish(policy, actor: actor, call)) }
                } catch { call.fail(ErrorReply(error)) }
            }
        }
    }

    private func read(_ request: Request) throws(QueryFault) -> (ConsumerCall) -> DeskCommand {
        let (params, actor) = (request.params, request.peer.uid)
        func string(_ name: StaticString) -> String { params?[name]?.string ?? "" }
        func optional(_ name: StaticString) -> String? { params?[name]?.string }
        func number(_ name: StaticString) throws(QueryFault) -> UInt64? {
            guard let value = params?[name] else { return nil }
            guard let number = value.uint64 else {
                throw QueryFault(.invalidValue, "it is a position, a whole number", pointer: "/\(name)")
            }
            return number
        }
        func instant(_ name: StaticString) throws(QueryFault) -> Instant? {
            guard let text = params?[name]?.string else { return nil }
            do throws(InstantProblem) { return try Instant(rfc3339: text) } catch {
                throw QueryFault(.invalidTime, error.message, pointer: "/\(name)")
            }
        }
        let seconds = params?["lease_seconds"]?.int64

        switch request.method {
        case .policyApprove:
            let (id, version, note) = (string("policy"), try number("version") ?? 0, try text(params, "note", "/note"))
            return { .approve(id, version: version, note: note, actor: actor, $0) }
        case .policyActivate:
            let (id, version, note) = (string("policy"), try number("version"), try text(params, "note", "/note"))
            let at = try instant("at")
            return { .activate(id, version: version, at: at, note: note, actor: actor, $0) }
        case .policyRollback:
            let (id, version, note) = (string("policy"), try number("version"), try text(params, "note", "/note"))
            let at = try instant("at")
            return { .rollback(id, version: version, at: at, note: note, actor: actor, $0) }
        case .policyHistory:
            let id = optional("policy")
            return { .history(id, $0) }
        case .policyShow:
            let (id, version) = (optional("policy"), try number("version"))
            return { .show(id, version: version, $0) }

        case .queueClaim:
            let claim = ClaimRequest(
                member: string("member"), pool: optional("pool"), lead: optional("lead"),
                order: optional("order").flatMap { PullOrder(rawValue: $0) }, leaseSeconds: seconds)
            return { .claim(claim, actor: actor, $0) }
        case .queueHeartbeat:
            let token = string("token")
            return { .heartbeat(token, seconds: seconds, $0) }
        case .queueTake:
            let (token, role) = (string("token"), try text(params, "role", "/role"))
            return { .take(token, role: role, actor: actor, $0) }
        case .queueRelease:
            let (token, reason) = (string("token"), try text(params, "reason", "/reason") ?? "")
            return { .release(token, reason: reason, actor: actor, $0) }
        case .queuePeek:
            let (name, member, limit) = (string("pool"), optional("member"), params.integer("limit", default: 100))
            return { .peek(name, member: member, limit: limit, $0) }
        case .queueRoute:
            let lead = string("lead")
            return { .route(lead, $0) }
        case .queueAssign:
            let (lead, member) = (string("lead"), string("member"))
            let (role, reason) = (try text(params, "role", "/role"), try text(params, "reason", "/reason"))
            return { .assign(lead, to: member, role: role, reason: reason, actor: actor, $0) }

        case .memberPause, .memberResume, .memberLeave, .memberReturn:
            let (id, reason) = (string("member"), try text(params, "reason", "/reason"))
            let (from, until) = (try instant("from"), try instant("until"))
            let type: EventType =
                switch request.method {
                case .memberPause: .memberPaused
                case .memberResume: .memberResumed
                case .memberLeave: .memberOnLeave
                default: .memberReturned
                }
            return { .presence(type, of: id, reason: reason, from: from, until: until, actor: actor, $0) }
        case .memberList:
            let name = optional("pool")
            return { .members(ofPool: name, $0) }
        case .clockPause, .clockResume:
            let (lead, clock) = (string("lead"), optional("clock").flatMap { ClockKind(rawValue: $0) })
            let reason = try text(params, "reason", "/reason")
            if request.method == .clockResume {
                return { .resumeClock(lead, clock, reason: reason, actor: actor, $0) }
            }
            return { .pauseClock(lead, clock, reason: reason ?? "", actor: actor, $0) }
        default: preconditionFailure("\(request.method.name) is no method of the desk")
        }
    }

    /// A text that is kept in the clear for ever: nothing in it may look like an address or a number of somebody's.
    private func text(_ params: JSONValue?, _ name: StaticString, _ pointer: String) throws(QueryFault) -> String? {
        guard let value = params?[name] else { return nil }
        if case .personal = IdentifierRules.fault(in: value.utf8, bytesMax: .max) {
            throw QueryFault(
                .personalID, "it looks like an e-mail address or a phone number, and it is kept in the clear",
                pointer: pointer)
        }
        return value.string
    }
}
