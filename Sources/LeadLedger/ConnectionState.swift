import Control
import DequeModule

// ConnectionState: what the service keeps of one connection: the reads that wait for their turn, and the waits for read models.
//
//   read ------> waiting ------> running ------> answered
//                 |               at most `Limits.readsAtOnceMax`
//                 first in, first out; the first starts when
//                   - the outcome of every append before it is known, so that a client that pipelines both reads what it wrote
//                   - few enough of this connection run: nobody keeps the reader threads for himself
//                   - the client takes its answers: what nobody reads is not computed
//                   - its answer would not pile up behind an earlier request's: see `Connection.takesAnswer`
//
// When the connection closes, what has not begun is never computed: `connectionClosed()` lets go of it, since a body mostly holds
// this, and so would be kept by what it is kept in. So do the waits for read models.

/// Lives on its connection's event loop.
final class ConnectionState {
    /// It holds this one, and lets go of it when it closes. Not weak: that would make every mention of a connection dearer.
    private unowned let connection: Connection
    private var running = 0
    private var waiting = Deque<(gate: UInt64, reply: ReplySlot, body: () -> Void)>()

    private var modelWaits: [ObjectIdentifier: ModelWait] = [:]

    private init(_ connection: Connection) { self.connection = connection }

    /// The state of a connection, made when it is first asked for.
    static func of(_ connection: Connection) -> ConnectionState {
        // Nothing else is ever put there.
        if let state = connection.serviceState { return unsafeDowncast(state, to: ConnectionState.self) }
        let state = ConnectionState(connection)
        guard !connection.isClosed else { return state }
        connection.serviceState = state
        connection.onTurnEnded = { state.startWaiting() }
        return state
    }

    /// The outcome of an append of this connection is known, and answered: a read may have waited for it.
    static func appendSettled(_ connection: Connection) {
        connection.countAppendSettled()
        // A client that only appends has no state.
        if let state = connection.serviceState { unsafeDowncast(state, to: ConnectionState.self).startWaiting() }
    }

    /// Nothing is computed for a client that has gone, and nothing kept.
    func connectionClosed() {
        waiting = []
        for wait in modelWaits.values { wait.cancel() }
        modelWaits = [:]
    }

    func add(_ wait: ModelWait) { modelWaits[ObjectIdentifier(wait)] = wait }
    func remove(_ wait: ModelWait) { modelWaits[ObjectIdentifier(wait)] = nil }

    /// Runs `body`, which answers `reply`, when it is its turn; `readEnded()` must follow, now or later.
    func read(for reply: ReplySlot, _ body: @escaping () -> Void) {
        guard !connection.isClosed else { return }
        waiting.append((connection.appendsSubmitted, reply, body))
        startWaiting()
    }

    func readEnded() {
        running -= 1
        startWaiting()
    }

    private func startWaiting() {
        while running < Limits.readsAtOnceMax, let first = waiting.first, first.gate <= connection.appendsSettled,
            connection.takesAnswer(to: first.reply)
        {
            waiting.removeFirst()
            running += 1
            first.body()
        }
    }
}
