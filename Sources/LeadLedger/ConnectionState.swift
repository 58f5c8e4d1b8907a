import Control
import DequeModule

// ConnectionState: what the service keeps of one connection: reads wait for the appends before them, so that a client that
// pipelines both reads what it wrote.

/// Lives on its connection's event loop.
final class ConnectionState {
    /// Appends handed to the log, and those whose outcome is known.
    private var submitted: UInt64 = 0
    private var settled: UInt64 = 0
    private var waiting = Deque<(gate: UInt64, body: () -> Void)>()

    /// The state of a connection, made when it is first asked for.
    static func of(_ connection: Connection) -> ConnectionState {
        if let state = connection.serviceState as? ConnectionState { return state }
        let state = ConnectionState()
        connection.serviceState = state
        return state
    }

    func appendSubmitted() { submitted += 1 }

    func appendSettled() {
        settled += 1
        while let first = waiting.first, first.gate <= settled {
            waiting.removeFirst()
            first.body()
        }
    }

    /// Runs `body` when the outcome of every append submitted so far is known: now, where it is.
    func afterAppends(_ body: @escaping () -> Void) {
        if settled == submitted { body() } else { waiting.append((submitted, body)) }
    }
}
