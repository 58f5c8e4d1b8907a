import Glibc
import Synchronization
import TestSupport

/// Sends attacks to a socket and holds each answer against what the wire promises. Knows nothing of how the other side works, so
/// that it can be held against one that does wrong.
final class FrameHarness: Sendable {
    private let socket: String
    private let timeoutSeconds: Int
    private let state = Mutex(Tally())

    struct Tally: Sendable {
        var frames = 0
        /// Of these, what no good client says.
        var malformed = 0
        var connections = 0
        var results = 0
        /// Results by method, those of dry runs apart.
        var served: [String: Int] = [:]
        var notifications = 0
        var errors: [String: Int] = [:]
        var kinds: [Attack.Kind: Int] = [:]
        /// What was not as promised.
        var faults: [String] = []
    }

    /// - Parameter timeoutSeconds: without an answer for this long, the other side hangs.
    init(socket: String, timeoutSeconds: Int = 30) {
        self.socket = socket
        self.timeoutSeconds = timeoutSeconds
    }

    var tally: Tally { state.withLock { $0 } }

    func run(_ attack: Attack) {
        let promise = WirePromise(for: attack.bytes)
        var fault: String?
        var replies: [JSONTree] = []
        var subscriptions = SubscriptionJudge()
        do {
            let client = try LineClient(socket, timeoutSeconds: timeoutSeconds)
            try send(attack, by: client)
            if attack.isAbandoned { return note(attack, promise, [], subscriptions, nil) }
            client.endSending()
            // Who has a subscription keeps its connection though it has shut down its own direction: the end is not due then, and
            // when all is answered and nothing more comes at once the client goes.
            while !subscriptions.areOpen || promise.endsByItself || replies.count < promise.replies || client.hasLine {
                guard let line = try client.line() else { break }
                let reply = try JSONTree(line)
                if reply["method"].isPresent {
                    subscriptions.take(notification: reply)
                } else {
                    if replies.count < promise.replies {
                        subscriptions.take(reply: reply, to: promise.requests[replies.count].tree)
                    }
                    replies.append(reply)
                }
            }
            if replies.count != promise.replies {
                fault = "\(promise.replies) replies were due, \(replies.count) came"
            } else if let pair = zip(promise.requests, replies).first(where: { $0.id != nil && $0.id != $1["id"] }) {
                fault = "the reply to the request \(pair.0.id ?? .absent) has another id: \(pair.1)"
            } else if let bad = replies.first(where: { !isReply($0) }) {
                fault = "no reply is: \(String(bad.description.prefix(300)))"
            } else if promise.endsByItself,
                replies.last?["error"]["data"]["name"].string != "frame_too_large"
            {
                fault = "a line over the limit was answered \(replies.last ?? .absent)"
            } else if attack.kind == .whole,
                let bad = zip(promise.requests, replies).first(where: { !isServed($0, $1) })
            {
                fault = "a good request was refused: \(bad.1)"
            } else {
                fault = subscriptions.fault
            }
        } catch { fault = "\(error)" }
        note(attack, promise, replies, subscriptions, fault)
    }

    /// What a good request may be told where another before it, or one that was changed, has left things so.
    private static let goodRefusals: [String: Set<String>] = [
        "log.subscribe": ["subscription_limit"],
        "log.credit": ["unknown_subscription"],
        "log.unsubscribe": ["unknown_subscription"],
        "consumer.create": ["unknown_group", "group_limit", "busy"],
        "consumer.claim": ["unknown_group"],
        "consumer.status": ["unknown_group"],
        "consumer.ack": ["unknown_group", "stale_token"],
        "consumer.nack": ["unknown_group", "stale_token"],
        "consumer.extend": ["unknown_group", "stale_token"],
        "consumer.replay_parked": ["unknown_group", "not_parked"],
        "consumer.delete": ["unknown_group"],
    ]

    private func isServed(_ request: WirePromise.Request, _ reply: JSONTree) -> Bool {
        if reply["result"].isPresent { return true }
        guard let method = request.tree["method"].string, let name = reply["error"]["data"]["name"].string else {
            return false
        }
        return Self.goodRefusals[method]?.contains(name) == true
    }

    private func send(_ attack: Attack, by client: LineClient) throws {
        let promise = WirePromise(for: attack.bytes)
        do {
            for (index, piece) in attack.pieces.enumerated() {
                if index == 0, attack.files > 0 {
                    let files = (0..<attack.files).map { _ in open("/dev/null", O_RDONLY | O_CLOEXEC) }
                    defer { for file in files { close(file) } }
                    // The first bytes carry the files; the kernel keeps messages with files apart.
                    try client.send(bytes: Array(piece.prefix(1)), files: files)
                    try client.send(bytes: Array(piece.dropFirst()))
                } else {
                    try client.send(bytes: piece)
                }
            }
        } catch {
            // It may be told that its line is too long while it still writes.
            guard promise.endsByItself else { throw error }
        }
    }

    private func isReply(_ reply: JSONTree) -> Bool {
        guard reply["jsonrpc"].string == "2.0", reply["id"].isPresent else { return false }
        if reply["result"].isPresent { return !reply["error"].isPresent }
        let error = reply["error"]
        return error["code"].integer != nil && error["message"].string != nil && error["data"]["name"].string != nil
            && error["data"]["hint"].string?.isEmpty == false && error["data"]["name"].string != "internal_error"
    }

    private func note(
        _ attack: Attack, _ promise: WirePromise, _ replies: [JSONTree], _ subscriptions: SubscriptionJudge,
        _ fault: String?
    ) {
        state.withLock { tally in
            tally.connections += 1
            tally.frames += max(1, promise.replies)
            tally.malformed += attack.malformed
            tally.kinds[attack.kind, default: 0] += max(1, promise.replies)
            tally.notifications += subscriptions.notifications
            for (request, reply) in zip(promise.requests, replies) {
                if let name = reply["error"]["data"]["name"].string {
                    tally.errors[name, default: 0] += 1
                } else {
                    tally.results += 1
                    if let name = request.method { tally.served[name, default: 0] += 1 }
                }
            }
            guard let fault, tally.faults.count < 20 else { return }
            let shown = String(decoding: attack.bytes.prefix(600), as: UTF8.self)
            tally.faults.append("\(attack.kind): \(fault); sent \(attack.bytes.count) bytes: \(shown)")
        }
    }
}

extension WirePromise.Request {
    /// What is asked for, where the line says so: the method, dry runs apart.
    var method: String? {
        tree["method"].string.map { tree["params"]["dry_run"].boolean == true ? "\($0), dry run" : $0 }
    }
}

/// Holds what a connection is sent unasked against what its subscriptions promise: nothing before one is granted or after it has
/// ended, events in the order of their positions and none twice, and no more of them than there is credit.
private struct SubscriptionJudge {
    private struct Subscription {
        /// The position that everything before was said of; nil: nothing was said yet.
        var next: Int?
        /// nil: the request did not say it in a way that is understood here.
        var credit: Int?
    }

    private var open: [Int: Subscription] = [:]
    private(set) var notifications = 0
    /// The first thing that was not as promised.
    private(set) var fault: String?

    var areOpen: Bool { !open.isEmpty }

    mutating func take(reply: JSONTree, to request: JSONTree) {
        let result = reply["result"]
        guard let id = result["subscription"].integer else { return }
        switch request["method"].string {
        case "log.subscribe":
            if open[id] != nil { note("a subscription was granted twice", reply) }
            open[id] = Subscription(credit: request["params"]["credit"].integer)
        case "log.credit":
            if open[id] == nil { note("credit for a subscription that is not there", reply) }
            open[id]?.credit = result["credit"].integer
        case "log.unsubscribe":
            guard let ended = open.removeValue(forKey: id) else {
                return note("an end of a subscription that is not there", reply)
            }
            if let next = ended.next, result["next"].integer.map({ $0 >= next }) != true {
                note("a subscription ended before what it had sent", reply)
            }
        default: note("a subscription that was not asked for", reply)
        }
    }

    mutating func take(notification: JSONTree) {
        notifications += 1
        let params = notification["params"]
        guard notification["jsonrpc"].string == "2.0", !notification["id"].isPresent,
            let id = params["subscription"].integer, var subscription = open[id]
        else { return note("a notification of no subscription", notification) }
        switch notification["method"].string {
        case "log.events":
            var positions = params["events"].elements.map { $0["position"].integer ?? -1 }
            guard let next = params["next"].integer, let first = positions.first, first >= subscription.next ?? 0
            else { return note("events out of their order", notification) }
            positions.append(next)
            if zip(positions, positions.dropFirst()).contains(where: { $0 >= $1 }) {
                note("events out of their order", notification)
            }
            subscription.next = next
            if let credit = subscription.credit {
                subscription.credit = credit - (positions.count - 1)
                if credit < positions.count - 1 { note("more events than credit", notification) }
            }
        case "log.caught_up", "log.fell_behind", "log.heartbeat":
            guard let position = params["position"].integer, position >= subscription.next ?? 0 else {
                return note("a position before the one before", notification)
            }
            subscription.next = position
        // Every event can be read here: `log.ended` is a fault, too.
        default: return note("no notification is", notification)
        }
        open[id] = subscription
    }

    private mutating func note(_ what: String, _ line: JSONTree) {
        if fault == nil { fault = "\(what): \(String(line.description.prefix(300)))" }
    }
}
