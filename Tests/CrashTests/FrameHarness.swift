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
        var connections = 0
        var results = 0
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
        do {
            let client = try LineClient(socket, timeoutSeconds: timeoutSeconds)
            try send(attack, by: client)
            if attack.isAbandoned { return note(attack, promise, [], nil) }
            client.endSending()
            while let line = try client.line() {
                let reply = try JSONTree(line)
                // Mutations may turn one method into another that notifies.
                if reply["method"].isPresent { continue }
                replies.append(reply)
            }
            if replies.count != promise.replies {
                fault = "\(promise.replies) replies were due, \(replies.count) came"
            } else if let pair = zip(promise.ids, replies).first(where: { $0 != nil && $0 != $1["id"] }) {
                fault = "the reply to the request \(pair.0 ?? .absent) has another id: \(pair.1)"
            } else if let bad = replies.first(where: { !isReply($0) }) {
                fault = "no reply is: \(String(bad.description.prefix(300)))"
            } else if promise.endsByItself,
                replies.last?["error"]["data"]["name"].string != "frame_too_large"
            {
                fault = "a line over the limit was answered \(replies.last ?? .absent)"
            } else if attack.kind == .whole, let bad = replies.first(where: { !$0["result"].isPresent }) {
                fault = "a good request was refused: \(bad)"
            }
        } catch { fault = "\(error)" }
        note(attack, promise, replies, fault)
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

    private func note(_ attack: Attack, _ promise: WirePromise, _ replies: [JSONTree], _ fault: String?) {
        state.withLock { tally in
            tally.connections += 1
            tally.frames += max(1, promise.replies)
            tally.kinds[attack.kind, default: 0] += max(1, promise.replies)
            for reply in replies {
                if let name = reply["error"]["data"]["name"].string {
                    tally.errors[name, default: 0] += 1
                } else {
                    tally.results += 1
                }
            }
            guard let fault, tally.faults.count < 20 else { return }
            let shown = String(decoding: attack.bytes.prefix(600), as: UTF8.self)
            tally.faults.append("\(attack.kind): \(fault); sent \(attack.bytes.count) bytes: \(shown)")
        }
    }
}
