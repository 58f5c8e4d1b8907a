import Control
import JSON
import Leads
import Ledger
import NIOCore
import Projections
import Synchronization

// ConsumerHandler: one event loop's share of the consumer groups: reads what a request says, where its line lies, and hands it to the
// desk. A request waits for the appends before it on its connection, and takes one of the connection's places for reads until it is
// answered.

/// Lives on its event loop and is touched nowhere else.
// Sendable: see above.
final class ConsumerHandler: @unchecked Sendable {
    private let desk: ConsumerDesk
    private let reader: UnitReader
    private let eventLoop: any EventLoop
    private let now: @Sendable () -> Int64
    /// The connections that have claimed, by the number that the desk knows them by.
    private var owners: [ObjectIdentifier: UInt64] = [:]
    private static let lastOwner = Atomic<UInt64>(0)

    init(
        desk: ConsumerDesk, reader: UnitReader, eventLoop: any EventLoop, now: @escaping @Sendable () -> Int64
    ) {
        self.desk = desk
        self.reader = reader
        self.eventLoop = eventLoop
        self.now = now
    }

    func connectionClosed(_ connection: Connection) {
        guard let owner = owners.removeValue(forKey: ObjectIdentifier(connection)) else { return }
        let desk = desk
        desk.home.execute { desk.disconnected(owner) }
    }

    // MARK: Requests

    /// - Parameter request: one whose parameters passed their schema.
    func receive(_ request: Request, reply: ReplySlot) {
        do {
            let work = try read(request)
            let (desk, eventLoop, connection) = (desk, eventLoop, request.connection)
            let state = ConnectionState.of(connection)
            state.read(for: reply) {
                let call = ConsumerCall(ReadSlot(reply: reply, state: state), on: eventLoop)
                // The number is given no earlier: a connection that closed before has none to take back.
                let owner = self.owner(of: connection)
                desk.home.execute { work(desk, owner, call) }
            }
        } catch let fault as AppendFault {
            reply.fail(ErrorReply(fault.name, fault.message, at: .params(fault.pointer)))
        } catch { reply.fail(ErrorReply(answering: error)) }
    }

    private func owner(of connection: Connection) -> UInt64 {
        if let owner = owners[ObjectIdentifier(connection)] { return owner }
        let owner = Self.lastOwner.wrappingAdd(1, ordering: .relaxed).newValue
        if !connection.isClosed { owners[ObjectIdentifier(connection)] = owner }
        return owner
    }

    /// What the desk is to do for a request.
    private typealias Work = @Sendable (_ desk: ConsumerDesk, _ owner: UInt64, _ call: ConsumerCall) -> Void

    /// - Throws: `QueryFault` or `AppendFault`.
    private func read(_ request: Request) throws -> Work {
        let params = request.params
        let name = params?["group"]?.string ?? ""
        switch request.method {
        case .consumerCreate: return try create(name, params)
        case .consumerDelete: return { desk, _, call in desk.delete(name, call) }
        case .consumerClaim:
            let consumer = params?["consumer"]?.string ?? ""
            let limit = params.integer("limit", default: 1)
            let wait = Int64(params.integer("wait_ms", default: 0))
            let lease = lease(params)
            return { desk, owner, call in
                desk.claim(
                    ConsumerDesk.Claim(
                        group: name, consumer: consumer, owner: owner, limit: limit, waitMilliseconds: wait,
                        leaseNanoseconds: lease, call: call))
            }
        case .consumerAck: return try ack(name, request)
        case .consumerNack:
            let verdict = ConsumerVerdict.nack(
                delay: UInt64(params.integer("delay_ms", default: 0)) * 1_000_000, error: params?["error"]?.string ?? ""
            )
            let verdicts = try tokens(params).map { (token: $0, verdict: verdict) }
            return { desk, _, call in desk.settle(name, verdicts, with: nil, expectedLeads: [], call) }
        case .consumerExtend:
            let tokens = try tokens(params)
            let lease = lease(params)
            return { desk, _, call in desk.extend(name, tokens, leaseNanoseconds: lease, call) }
        case .consumerReplayParked:
            let positions = try params?["positions"].map { value in
                try value.elements.enumerated().map { index, position in
                    try number(position, "/positions/\(index)")
                }
            }
            let limit = params.integer("limit", default: Limits.consumerEventsPerRequest)
            return { desk, _, call in desk.replay(name, positions, limit: limit, call) }
        case .consumerStatus:
            guard params?["group"] != nil else { return Self.listGroups }
            return try status(name, params)
        default: preconditionFailure("\(request.method.name) is no method of consumer groups")
        }
    }

    private func lease(_ params: JSONValue?) -> UInt64? {
        params?["lease_ms"]?.uint64.map { $0 * 1_000_000 }
    }

    /// A whole number that its schema let through, but that may not fit.
    private func number(_ value: JSONValue, _ pointer: String) throws(QueryFault) -> UInt64 {
        guard let number = value.uint64, number < .max else {
            throw QueryFault(.invalidValue, "it is a whole number below \(UInt64.max)", pointer: pointer)
        }
        return number
    }

    private func tokens(_ params: JSONValue?) throws(QueryFault) -> [LeaseToken] {
        var tokens: [LeaseToken] = []
        guard let values = params?["tokens"] else { return [] }
        for value in values.elements {
            let place = "/tokens/\(tokens.count)"
            guard let position = value["position"], let attempt = value["attempt"], let epoch = value["epoch"] else {
                throw QueryFault(.missingField, "a token has position, attempt and epoch", pointer: place)
            }
            tokens.append(
                LeaseToken(
                    position: try number(position, place + "/position"),
                    attempt: try number(attempt, place + "/attempt"),
                    epoch: try number(epoch, place + "/epoch")))
        }
        return tokens
    }

    // MARK: Creating

    private func create(_ name: String, _ params: JSONValue?) throws(QueryFault) -> Work {
        let rule = params?["group"].flatMap {
            IdentifierRules.fault(in: $0.utf8, bytesMax: Limits.consumerNameBytesMax)
        }
        switch rule {
        case nil: break
        case .personal:
            throw QueryFault(
                .personalID, "the name looks like an e-mail address or a phone number, and it is kept in the clear",
                pointer: "/group")
        case .length(let bytes, let bytesMax):
            throw QueryFault(
                .invalidValue, "a name takes 1 to \(bytesMax) bytes of UTF-8, not \(bytes)", pointer: "/group")
        case .controlCharacter:
            throw QueryFault(.invalidValue, "the name holds a control character", pointer: "/group")
        }
        let filter = try EventFilter(params?["filter"])
        let text = params?["filter"].map { Array($0.raw) } ?? []
        guard text.count <= Limits.consumerFilterBytesMax else {
            throw QueryFault(
                .invalidValue, "a filter takes at most \(Limits.consumerFilterBytesMax) bytes, not \(text.count)",
                pointer: "/filter")
        }
        var from: UInt64 = 0
        var isAtHead = false
        if let value = params?["from"] {
            isAtHead = value.equals("head")
            if !isAtHead {
                guard let position = value.uint64, position < .max else {
                    throw QueryFault(.invalidValue, "from is a position or \"head\"", pointer: "/from")
                }
                from = position
            }
        }
        let definition = ConsumerDefinition(
            name: name, maxAttempts: UInt64(params.integer("max_attempts", default: Limits.consumerAttemptsDefault)),
            leaseNanoseconds: lease(params) ?? UInt64(Limits.consumerLeaseDefaultMilliseconds) * 1_000_000, from: from,
            createdAt: now(), filter: text)
        return { [isAtHead] desk, _, call in desk.create(definition, filter: filter, isAtHead: isAtHead, call) }
    }

    // MARK: Acking

    private func ack(_ name: String, _ request: Request) throws -> Work {
        let verdicts = try tokens(request.params).map { (token: $0, verdict: ConsumerVerdict.ack) }
        guard let params = request.params, params["events"] != nil || params["expect"] != nil else {
            return { desk, _, call in desk.settle(name, verdicts, with: nil, expectedLeads: [], call) }
        }
        let unit = desk.makeUnitForEvents()
        let expectedLeads = try reader.readEvents(params, into: unit, actor: request.peer.uid, now: now())
        return { desk, _, call in
            desk.settle(name, verdicts, with: unit, expectedLeads: expectedLeads, call)
        }
    }

    // MARK: Looking

    private func status(_ name: String, _ params: JSONValue?) throws(QueryFault) -> Work {
        let listed = params.integer("limit", default: Limits.consumerListed)
        var after: UInt64?
        if let value = params?["after"] { after = try number(value, "/after") }
        return { [after] desk, _, call in
            desk.look(at: name, call) { group, now in
                let log = desk.log
                let status = ConsumerStatus(
                    group, head: log.end.rawValue, listed: listed, after: after, now: now, wall: desk.clock())
                desk.answer(call) { try status.write(to: &$0, from: log) }
            }
        }
    }

    private static let listGroups: Work = { desk, _, call in
        let head = desk.log.end.rawValue
        let now = MonotonicClock.nanoseconds()
        call.succeed { writer in
            writer.beginObject()
            writer.member("head", head)
            writer.key("groups")
            writer.beginArray()
            for group in desk.allGroups { writer.consumerLine(group, head: head, now: now) }
            writer.endArray()
            writer.endObject()
        }
    }
}
