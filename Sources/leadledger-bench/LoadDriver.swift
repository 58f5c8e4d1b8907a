import Glibc

/// A load: how many events, over how many connections, and how many of them unanswered on each.
struct Load {
    var tag: Character
    var events: Int
    var leads: Int
    var connections: Int
    var inFlight: Int
    var seed: UInt64
    /// Whether a request that is told to come again does so. Otherwise that is an error like any other.
    var obeysBusy = false

    /// As many leads as `leadsMax`, or, in a small load, so many that it has captures and touches in the proportion of
    /// 800,000 events over 1,000,000 leads, which is 11 to 5.
    static func leads(for events: Int, leadsMax: Int, connections: Int) -> Int {
        max(connections, min(leadsMax, events + events / 4))
    }
}

/// What a load measured.
struct LoadResult {
    var events: Int
    var nanoseconds: UInt64
    var latency = LatencyHistogram()
    /// Shares of one processor. The load is believable while its own is well below 1.
    var driverShare = 0.0
    var daemonShare = 0.0
    /// When each `markEvery` events were answered, in nanoseconds since the start.
    var marks: [UInt64] = []
    /// Replies that were not results, and the first of them as it came.
    var errorCount = 0
    var firstError: String?
    /// Replies that asked to come again, and were obeyed.
    var busyCount = 0

    var eventsPerSecond: Double { Double(events) * 1e9 / Double(max(nanoseconds, 1)) }
}

/// Runs a load from one thread: requests are copies of templates, replies are compared with a prefix, and nothing is parsed
/// or allocated per event, so that the daemon is what is measured.
struct LoadDriver {
    /// Without any reply for this long, the daemon is taken to be stuck.
    private static let silenceMaxNanoseconds: UInt64 = 60_000_000_000

    let daemon: DaemonProcess

    /// Runs `load`; `atMark` is called after each `markEvery` answered events.
    ///
    /// - Throws: `BenchError` when a connection fails, when the daemon falls silent, and when any reply was an error; then
    ///   with how many there were and the first of them.
    func run(
        _ load: Load, markEvery: Int = .max,
        atMark: (LoadResult) throws(BenchError) -> Void = { _ throws(BenchError) in }
    ) throws(BenchError) -> LoadResult {
        let result = try attempt(load, markEvery: markEvery, atMark: atMark)
        if let firstError = result.firstError {
            throw BenchError("\(result.errorCount) of \(load.events) replies were errors; the first: \(firstError)")
        }
        return result
    }

    /// As `run`, and leaves it to the caller what errors among the replies mean.
    func attempt(
        _ load: Load, markEvery: Int = .max,
        atMark: (LoadResult) throws(BenchError) -> Void = { _ throws(BenchError) in }
    ) throws(BenchError) -> LoadResult {
        let templates = EventTemplates(tag: load.tag)
        var connections: [LoadConnection] = []
        for member in 0..<load.connections {
            // The first connections take the events that are left over.
            let events = load.events / load.connections + (member < load.events % load.connections ? 1 : 0)
            let stream = EventStream(
                templates: templates, seed: load.seed, leads: load.leads, member: member, of: load.connections)
            connections.append(
                LoadConnection(
                    descriptor: try daemon.connect(), stream: stream, events: events, inFlightMax: load.inFlight,
                    obeysBusy: load.obeysBusy))
        }
        var polled = connections.map { pollfd(fd: $0.descriptor, events: Int16(POLLIN), revents: 0) }

        var result = LoadResult(events: load.events, nanoseconds: 0)
        var answered = 0
        let daemonBefore = try daemon.processorNanoseconds()
        let driverBefore = threadNanoseconds()
        let start = monotonicNanoseconds()
        var lastReply = start
        var nextMark = markEvery
        for (index, connection) in connections.enumerated() {
            try connection.send()
            polled[index].events = Int16(connection.wantsToWrite ? POLLIN | POLLOUT : POLLIN)
        }
        while answered < load.events {
            let isWaiting = connections.contains(where: \.isWaiting)
            let ready = poll(&polled, nfds_t(polled.count), isWaiting ? 1 : 100)
            if ready < 0, errno != EINTR { throw .system("poll") }
            try Interruption.check()
            let now = monotonicNanoseconds()
            try daemon.memory.sampleIfDue(now: now)
            if isWaiting {
                for (index, connection) in connections.enumerated() where connection.isWaiting {
                    try connection.send()
                    polled[index].events = Int16(connection.wantsToWrite ? POLLIN | POLLOUT : POLLIN)
                }
            }
            if ready <= 0 {
                try daemon.checkIsRunning()
                guard now - lastReply < Self.silenceMaxNanoseconds else {
                    throw BenchError(
                        "no reply for \(Self.silenceMaxNanoseconds / 1_000_000_000) s, \(answered) of \(load.events) are answered"
                    )
                }
                continue
            }
            lastReply = now
            for index in polled.indices where polled[index].revents != 0 {
                let connection = connections[index]
                let before = connection.answered
                try connection.receive(into: &result.latency)
                answered += connection.answered - before
                try connection.send()
                polled[index].events = Int16(connection.wantsToWrite ? POLLIN | POLLOUT : POLLIN)
                // What is done is not polled any more.
                if connection.isDone { polled[index].fd = -1 }
            }
            while answered >= nextMark {
                result.marks.append(monotonicNanoseconds() - start)
                nextMark += markEvery
                try atMark(result)
            }
        }
        result.nanoseconds = monotonicNanoseconds() - start
        result.driverShare = Double(threadNanoseconds() - driverBefore) / Double(result.nanoseconds)
        result.daemonShare = Double(try daemon.processorNanoseconds() - daemonBefore) / Double(result.nanoseconds)

        result.errorCount = connections.reduce(0) { $0 + $1.errorCount }
        result.busyCount = connections.reduce(0) { $0 + $1.busyCount }
        result.firstError = connections.lazy.compactMap(\.firstError).first
        return result
    }
}
