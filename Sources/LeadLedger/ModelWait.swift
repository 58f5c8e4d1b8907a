import Control
import Ledger
import NIOCore
import Projections

/// One wait for a read model, with a deadline, on behalf of a request. It ends with its connection: what is kept of those who wait is
/// bounded by connection, and who has gone would otherwise leave it behind.
///
/// ```swift
/// ModelWait.begin(models, "leads", position, 5_000, for: reply.connection) { isThere in ... }
/// ```
// Sendable: touched on the connection's event loop only.
final class ModelWait: @unchecked Sendable {
    private let models: ReadModelSet
    private let name: String
    private let state: ConnectionState
    private var body: ((Bool) -> Void)?
    private var token: UInt64?
    private var deadline: Scheduled<Void>?

    private init(_ models: ReadModelSet, _ name: String, _ state: ConnectionState, _ body: @escaping (Bool) -> Void) {
        self.models = models
        self.name = name
        self.state = state
        self.body = body
    }

    /// Calls `body` once, on the event loop: true when the model has all events below `position`, false at the deadline or when the
    /// daemon stops; never when the connection closes before.
    static func begin(
        _ models: ReadModelSet, _ name: String, _ position: Position, _ milliseconds: Int64,
        for connection: Connection, _ body: @escaping (Bool) -> Void
    ) {
        guard !connection.isClosed else { return }
        let eventLoop = connection.eventLoop
        let wait = ModelWait(models, name, .of(connection), body)
        do throws(ProjectionError) {
            wait.token = try models.whenReached(position, in: name) { isThere in
                eventLoop.execute { wait.end(isThere) }
            }
        } catch { return body(false) }
        wait.deadline = eventLoop.assumeIsolated().scheduleTask(in: .milliseconds(milliseconds)) { wait.end(false) }
        wait.state.add(wait)
    }

    private func end(_ isThere: Bool) {
        guard let body else { return }
        letGo(isThere: isThere)
        state.remove(self)
        body(isThere)
    }

    /// The connection has closed.
    func cancel() { letGo(isThere: false) }

    private func letGo(isThere: Bool) {
        body = nil
        deadline?.cancel()
        deadline = nil
        if !isThere, let token { models.cancelWait(token, in: name) }
    }
}
