import Glibc
import Synchronization

/// A way to misbehave.
enum PressureKind: CaseIterable {
    /// They subscribe to the whole log and read nothing.
    case subscribersThatDoNotRead
    /// They ask for pages of the log, many at once, and read nothing.
    case askersThatDoNotRead
    /// They begin a line and send a byte of it a second.
    case oneByteASecond
    /// Far more connections at once than are served, which then stay.
    case flood
    /// The same again and again, 5,000 a second.
    case storm

    /// A good client's p99 has to stay below so many times its quiet one.
    static let ratioAsked = 3.0

    /// How much more a good client may have to wait than another pressure's: connecting takes a core of its own, which on a small
    /// machine is one of those that the daemon has.
    var leeway: Double { self == .storm ? 5 / 3 : 1 }

    var name: String {
        switch self {
        case .subscribersThatDoNotRead: "64 subscribers that do not read"
        case .askersThatDoNotRead: "64 clients that ask and do not read"
        case .oneByteASecond: "64 clients that send a byte a second"
        case .flood: "2,000 connections tried at once"
        case .storm: "2,000 connections again and again, 5,000 a second"
        }
    }
}

/// What became of those who misbehaved.
struct PressureTally {
    var connections = 0
    var served = 0
    var toldBusy = 0
    var toldNothing = 0
    var cutOff = 0

    mutating func add(_ other: PressureTally) {
        connections += other.connections
        served += other.served
        toldBusy += other.toldBusy
        toldNothing += other.toldNothing
        cutOff += other.cutOff
    }

    var text: String {
        "\(grouped(connections)) connections, \(grouped(served)) served, \(grouped(toldBusy)) told that it is busy, \(grouped(toldNothing)) told nothing, \(grouped(cutOff)) cut off"
    }
}

/// A pressure that is on, from a thread of its own, until `end`.
final class Pressure: Sendable {
    private struct State {
        var tally = PressureTally()
        var failure: BenchError?
        var thread: pthread_t?
    }

    private let state = Mutex(State())
    private let isEnding = Atomic<Bool>(false)
    private let kind: PressureKind
    private let daemon: SocketPath
    private let clients: Int
    private let flood: Int

    var tally: PressureTally { state.withLock { $0.tally } }
    var failure: BenchError? { state.withLock { $0.failure } }

    /// Returns when it presses.
    static func begin(
        _ kind: PressureKind, on daemon: DaemonProcess, clients: Int, flood: Int
    ) throws(BenchError) -> Pressure {
        let pressure = Pressure(kind, daemon.socket, clients, flood)
        var thread = pthread_t()
        let code = pthread_create(
            &thread, nil,
            { argument in
                guard let argument else { return nil }
                Unmanaged<Pressure>.fromOpaque(argument).takeRetainedValue().work()
                return nil
            }, Unmanaged.passRetained(pressure).toOpaque())
        guard code == 0 else { throw BenchError("a thread: \(String(cString: strerror(code)))") }
        pressure.state.withLock { $0.thread = thread }
        // All 2,000 connections of a flood are tried within this time, and what is to be measured is the trying.
        if kind != .flood { try pause(milliseconds: 500) }
        return pressure
    }

    private init(_ kind: PressureKind, _ daemon: SocketPath, _ clients: Int, _ flood: Int) {
        self.kind = kind
        self.daemon = daemon
        self.clients = clients
        self.flood = flood
    }

    /// Ends it, once; its connections are closed when this returns.
    func end() {
        isEnding.store(true, ordering: .relaxed)
        let thread = state.withLock { state in
            defer { state.thread = nil }
            return state.thread
        }
        if let thread { pthread_join(thread, nil) }
    }

    private func work() {
        do throws(BenchError) {
            switch kind {
            case .subscribersThatDoNotRead:
                try hold(#"{"jsonrpc":"2.0","id":1,"method":"log.subscribe","params":{"from":0,"credit":1000000000}}"#)
            case .askersThatDoNotRead:
                try hold(#"{"jsonrpc":"2.0","id":1,"method":"log.read","params":{"from":0,"limit":1000}}"#, times: 500)
            case .oneByteASecond: try dawdle()
            case .flood: try floodOnce { while !self.isOver { usleep(20_000) } }
            case .storm:
                while !isOver {
                    let start = monotonicNanoseconds()
                    try floodOnce {}
                    let due = start + UInt64(flood) * 200_000
                    while !isOver, monotonicNanoseconds() < due { usleep(5_000) }
                }
            }
        } catch { state.withLock { $0.failure = error } }
    }

    private var isOver: Bool { isEnding.load(ordering: .relaxed) }

    /// Connections that send this and do not read; those that are cut off are made again.
    private func hold(_ line: String, times: Int = 1) throws(BenchError) {
        let bytes = Array(String(repeating: line + "\n", count: times).utf8)
        var held: [Int32] = []
        defer { for descriptor in held { close(descriptor) } }
        while !isOver {
            while held.count < clients {
                let descriptor = try connect()
                held.append(descriptor)
                _ = send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL | MSG_DONTWAIT))
            }
            usleep(20_000)
            removeCutOff(&held)
        }
    }

    private func dawdle() throws(BenchError) {
        var held: [Int32] = []
        defer { for descriptor in held { close(descriptor) } }
        var turns = 0
        while !isOver {
            while held.count < clients { held.append(try connect()) }
            if turns % 50 == 0 {
                for descriptor in held { _ = send(descriptor, "{", 1, Int32(MSG_NOSIGNAL | MSG_DONTWAIT)) }
            }
            turns += 1
            usleep(20_000)
            removeCutOff(&held)
        }
    }

    /// As many as asked for, none closed before all are there; then each is looked at for what it was told, and they stay for as
    /// long as `stay` takes.
    private func floodOnce(_ stay: () -> Void) throws(BenchError) {
        var held: [Int32] = []
        defer { for descriptor in held { close(descriptor) } }
        while held.count < flood, !isOver { held.append(try connect()) }
        guard !isOver else { return }
        let ask = Array(#"{"jsonrpc":"2.0","id":1,"method":"status"}"#.utf8) + [0x0A]
        var tally = PressureTally()
        for descriptor in held {
            var interval = timeval(tv_sec: 10, tv_usec: 0)
            setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &interval, socklen_t(MemoryLayout<timeval>.size))
            _ = send(descriptor, ask, ask.count, Int32(MSG_NOSIGNAL | MSG_DONTWAIT))
            var answer = [UInt8](repeating: 0, count: 4_096)
            let count = recv(descriptor, &answer, answer.count, 0)
            let text = String(decoding: answer[..<max(0, count)], as: UTF8.self)
            if text.contains(#""result""#) {
                tally.served += 1
            } else if text.contains(#""name":"busy""#) {
                tally.toldBusy += 1
            } else {
                tally.toldNothing += 1
            }
        }
        state.withLock { [tally] in $0.tally.add(tally) }
        stay()
    }

    private func connect() throws(BenchError) -> Int32 {
        guard let descriptor = try connectToSocket(daemon.path) else { throw BenchError("the daemon does not listen") }
        state.withLock { $0.tally.connections += 1 }
        return descriptor
    }

    private func removeCutOff(_ held: inout [Int32]) {
        held.removeAll { descriptor in
            // POLLHUP: the other end is gone, whatever lies there to be read.
            var entry = pollfd(fd: descriptor, events: 0, revents: 0)
            guard poll(&entry, 1, 0) > 0, entry.revents & Int16(POLLHUP | POLLERR) != 0 else { return false }
            close(descriptor)
            state.withLock { $0.tally.cutOff += 1 }
            return true
        }
    }
}

/// Where a daemon listens.
struct SocketPath: Sendable {
    let path: String
}

/// The descriptors that this process may have open.
enum Descriptors {
    static func raise(to wanted: UInt) throws(BenchError) {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { throw .system("getrlimit") }
        guard limit.rlim_cur < wanted else { return }
        guard limit.rlim_max >= wanted else {
            throw BenchError("\(wanted) open files are needed, and the hard limit is \(limit.rlim_max)")
        }
        limit.rlim_cur = wanted
        guard setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { throw .system("setrlimit") }
    }
}
