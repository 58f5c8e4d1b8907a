import Control
import DequeModule
import Glibc
import JSON
import LeadLedgerClient

// UnitPipeline: many appends on one connection, their outcomes in the order they were given.
//
//   1. a unit is sent, or refused here, and joins the line of those without outcome
//   2. replies come in the order of sending; outcomes at the front of the line are delivered
//   3. "busy" says that the daemon had no room for a unit. Those behind it may have been refused because of that, so: nothing
//      more is sent until all replies are here, then the unit and those behind it that were refused are sent again, in order.
//      What was stored stays stored: the daemon knows each event by its name.
//   4. where the connection ends, what has no reply has an unknown outcome, and nothing more is sent

/// What became of one unit.
enum UnitOutcome: Equatable {
    /// `json` is the daemon's result, empty unless asked for.
    case stored(first: Int64, subject: String, version: Int64, events: Int, isDuplicate: Bool, json: [UInt8])
    case refused(ServerError)
    /// The connection ended before the reply.
    case unknown
}

final class UnitPipeline {
    /// Called for each unit, in order, with the tag it came with.
    private let deliver: (_ tag: Int, _ outcome: UnitOutcome) -> Void
    private let client: LedgerClient
    private let keepsJSON: Bool

    private struct Unit {
        let tag: Int
        /// The params; empty for a unit that was never sent.
        let params: [UInt8]
        var outcome: UnitOutcome?
    }

    /// Units not delivered yet. Their numbers count from the first unit ever; `delivered` is the number of the front one.
    private var line: Deque<Unit> = []
    private var delivered = 0
    /// Numbers of the units on the wire, in the order of their replies.
    private var sent: Deque<Int> = []
    /// The reply that the daemon is busy was seen: what it said, until everything is sent again.
    private var busy: ServerError?
    private var triesWithoutProgress = 0
    /// Why nothing more can be sent.
    private(set) var broken: ClientError?

    /// About a minute at the 200 ms that the daemon advises.
    private static let triesMax = 300

    init(client: LedgerClient, keepsJSON: Bool, deliver: @escaping (_ tag: Int, _ outcome: UnitOutcome) -> Void) {
        self.client = client
        self.keepsJSON = keepsJSON
        self.deliver = deliver
    }

    /// Appends the events of a unit, a JSON array. Takes replies where the window is full.
    func append(events: some Collection<UInt8>, tag: Int) {
        var params: [UInt8] = []
        params.reserveCapacity(events.count + 16)
        params += #"{"events":"#.utf8
        params += events
        params.append(UInt8(ascii: "}"))
        while broken == nil, client.isFull || busy != nil { settle() }
        guard broken == nil else { return }
        send(number: delivered + line.count, params)
        line.append(Unit(tag: tag, params: params))
    }

    /// A unit that is refused without asking the daemon; its outcome is delivered in its turn.
    func refuse(_ error: ServerError, tag: Int) {
        line.append(Unit(tag: tag, params: [], outcome: .refused(error)))
        deliverFront()
    }

    /// Takes replies until `descriptor` can be read. `beforeWaiting` runs when there is nothing to do but wait.
    func wait(untilReadable descriptor: Int32, beforeWaiting: () -> Void) {
        while broken == nil {
            while client.hasMessage || busy != nil, broken == nil { settle() }
            var wait = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            if poll(&wait, 1, 0) != 0 { return }
            beforeWaiting()
            attempt { () throws(ClientError) in try client.wait(orReadable: descriptor) }
        }
    }

    /// Takes all replies that are to come.
    func finish() {
        while broken == nil, !line.isEmpty { settle() }
    }

    private func send(number: Int, _ params: [UInt8]) {
        params.withUnsafeBytes { client.send(.append, params: $0) }
        sent.append(number)
    }

    /// Takes one reply, or waits and sends again where the daemon was busy.
    private func settle() {
        guard !sent.isEmpty else { return sendAgain() }
        attempt { () throws(ClientError) in
            let outcome: UnitOutcome? = try client.receive { message in
                switch message {
                case .result(let result): self.outcome(result)
                case .refused(let error): .refused(error)
                case .notification: nil
                }
            }
            guard let outcome else { return }
            let number = sent.removeFirst()
            if case .refused(let error) = outcome {
                if error.name == ErrorName.busy.rawValue { busy = error }
                if busy != nil { return }
            } else {
                triesWithoutProgress = 0
            }
            line[number - delivered].outcome = outcome
            deliverFront()
        }
    }

    private func sendAgain() {
        guard let busy else { return }
        guard triesWithoutProgress < Self.triesMax else { return end(with: .server(busy)) }
        self.busy = nil
        triesWithoutProgress += 1
        usleep(UInt32(min(max(busy.retryAfterMilliseconds ?? 200, 1), 5_000)) * 1_000)
        for (index, unit) in line.enumerated() where unit.outcome == nil {
            send(number: delivered + index, unit.params)
        }
    }

    private func outcome(_ result: JSONValue) -> UnitOutcome {
        var count = 0
        var subject = ""
        var version: Int64 = 0
        for event in result["events"]?.elements ?? result.elements {
            count += 1
            subject = event["subject"]?.string ?? ""
            version = event["version"]?.int64 ?? 0
        }
        return .stored(
            first: result["first"]?.int64 ?? -1, subject: subject, version: version, events: count,
            isDuplicate: result["duplicate"]?.boolean ?? false, json: keepsJSON ? Array(result.raw) : [])
    }

    private func deliverFront() {
        while let outcome = line.first?.outcome {
            let unit = line.removeFirst()
            delivered += 1
            deliver(unit.tag, outcome)
        }
    }

    private func attempt(_ body: () throws(ClientError) -> Void) {
        do throws(ClientError) { try body() } catch { end(with: error) }
    }

    /// Gives every unit its outcome and stops.
    private func end(with error: ClientError) {
        broken = error
        let outcome: UnitOutcome =
            switch error {
            // Nothing was looked at, or all that is left was refused while the daemon was busy.
            case .notServed(let refusal), .server(let refusal): .refused(refusal)
            case .unreachable, .closed, .protocolBroken: .unknown
            }
        for index in line.indices where line[index].outcome == nil { line[index].outcome = outcome }
        sent.removeAll()
        deliverFront()
    }
}

/// What a run of many appends exits with: the worst that happened decides.
///
/// An unknown outcome asks for another run and comes first; then what stops the daemon or the run; then what is wrong with
/// the input, since it is what a new run meets again.
struct ExitTally: Equatable {
    private var codes: Set<Int32> = []

    static let order: [Int32] = [75, 70, 77, 74, 69, 65, 64]

    mutating func add(_ outcome: UnitOutcome) {
        switch outcome {
        case .stored: break
        case .refused(let error): codes.insert(error.exitCode)
        case .unknown: codes.insert(75)
        }
    }

    mutating func add(exitCode: Int32) { codes.insert(exitCode) }

    var exitCode: Int32 {
        Self.order.first { codes.contains($0) } ?? codes.filter { $0 != 0 }.min() ?? 0
    }
}
