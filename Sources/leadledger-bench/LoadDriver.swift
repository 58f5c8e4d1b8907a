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
    var pick = EventStream.Pick.uniform
    var firstNumber = EventTemplate.firstNumber

    /// As many leads as `leadsMax`, or, in a small load, so many that it has captures and touches in the proportion of
    /// 800,000 events over 1,000,000 leads, which is 11 to 5.
    static func leads(for events: Int, leadsMax: Int, connections: Int) -> Int {
        max(connections, min(leadsMax, events + events / 4))
    }

    /// The events of connection `member`; the first connections take those that are left over.
    func events(of member: Int) -> Int { events / connections + (member < events % connections ? 1 : 0) }

    func stream(of member: Int, _ templates: EventTemplates) -> EventStream {
        EventStream(
            templates: templates, seed: seed, leads: leads, member: member, of: connections, pick: pick,
            firstNumber: firstNumber)
    }
}

/// What a load measured.
struct LoadResult {
    /// Events answered.
    var events: Int
    var nanoseconds: UInt64
    var latency = LatencyHistogram()
    /// Shares of one processor. The load is believable while its own is well below 1.
    var driverShare = 0.0
    var daemonShare = 0.0
    /// When each `markEvery` events were answered, in nanoseconds since the start.
    var marks: [UInt64] = []
    /// The run in pieces of equal time, where that was asked for.
    var slices: [LoadSlice] = []
    /// Replies that were not results, and the first of them as it came.
    var errorCount = 0
    var firstError: String?
    /// Replies that asked to come again, and were obeyed.
    var busyCount = 0

    var eventsPerSecond: Double { Double(events) * 1e9 / Double(max(nanoseconds, 1)) }
}

/// What was answered in a piece of a load's time.
struct LoadSlice {
    var events = 0
    var nanoseconds: UInt64 = 0
    var latency = LatencyHistogram()
}

/// Runs a load from one thread: requests are copies of templates, replies are compared with a prefix, and nothing is parsed
/// or allocated per event, so that the daemon is what is measured.
struct LoadDriver {
    /// Without any reply for this long, the daemon is taken to be stuck.
    private static let silenceMaxNanoseconds: UInt64 = 60_000_000_000

    let daemon: DaemonProcess

    /// When a load ends before its events do, and what is told meanwhile.
    struct Course {
        /// `atMark` is called after each so many answered events.
        var markEvery = Int.max
        /// Nothing new is sent after this time.
        var nanosecondsMax = UInt64.max
        var sliceNanoseconds = UInt64.max
    }

    /// Runs `load`.
    ///
    /// - Throws: `BenchError` when a connection fails, when the daemon falls silent, and when any reply was an error; then
    ///   with how many there were and the first of them.
    func run(
        _ load: Load, _ course: Course = Course(),
        atMark: (LoadResult) throws(BenchError) -> Void = { _ throws(BenchError) in }
    ) throws(BenchError) -> LoadResult {
        try Self.withoutErrors(try attempt(load, course, atMark: atMark))
    }

    /// As `run`, and leaves it to the caller what errors among the replies mean.
    func attempt(
        _ load: Load, _ course: Course = Course(),
        atMark: (LoadResult) throws(BenchError) -> Void = { _ throws(BenchError) in }
    ) throws(BenchError) -> LoadResult {
        let templates = EventTemplates(tag: load.tag)
        var connections: [LoadConnection] = []
        for member in 0..<load.connections {
            connections.append(
                LoadConnection(
                    descriptor: try daemon.connect(), stream: load.stream(of: member, templates),
                    events: load.events(of: member), inFlightMax: load.inFlight, obeysBusy: load.obeysBusy))
        }
        return try drive(connections, course, atMark: atMark)
    }

    /// The same load in another language, one connection a member.
    func run<Wire: PeerWire>(
        _ load: Load, _ makeWire: (EventStream) -> Wire
    ) throws(BenchError) -> LoadResult {
        let templates = EventTemplates(tag: load.tag)
        var connections: [PeerConnection<Wire>] = []
        for member in 0..<load.connections {
            connections.append(
                PeerConnection(
                    descriptor: try daemon.connect(), wire: makeWire(load.stream(of: member, templates)),
                    events: load.events(of: member), inFlightMax: load.inFlight))
        }
        return try Self.withoutErrors(try drive(connections, Course()) { _ throws(BenchError) in })
    }

    private static func withoutErrors(_ result: LoadResult) throws(BenchError) -> LoadResult {
        guard let firstError = result.firstError else { return result }
        throw BenchError("\(result.errorCount) of \(result.events) replies were errors; the first: \(firstError)")
    }

    private func drive(
        _ connections: [any LoadConnecting], _ course: Course, atMark: (LoadResult) throws(BenchError) -> Void
    ) throws(BenchError) -> LoadResult {
        var polled = connections.map { pollfd(fd: $0.descriptor, events: Int16(POLLIN), revents: 0) }
        func send(_ index: Int) throws(BenchError) {
            let connection = connections[index]
            try connection.send()
            polled[index].events = Int16(connection.wantsToWrite ? POLLIN | POLLOUT : POLLIN)
        }

        var result = LoadResult(events: 0, nanoseconds: 0)
        var slice = LoadSlice()
        var sliceStart: UInt64 = 0
        let daemonBefore = try daemon.processorNanoseconds()
        let driverBefore = threadNanoseconds()
        let start = monotonicNanoseconds()
        var lastReply = start
        var nextMark = course.markEvery
        var isOver = false
        for index in connections.indices { try send(index) }
        while connections.contains(where: { !$0.isDone }) {
            let isWaiting = connections.contains(where: \.isWaiting)
            let ready = poll(&polled, nfds_t(polled.count), isWaiting ? 1 : 100)
            if ready < 0, errno != EINTR { throw .system("poll") }
            try Interruption.check()
            let now = monotonicNanoseconds()
            try daemon.memory.sampleIfDue(now: now)
            if now - start >= course.nanosecondsMax, !isOver {
                isOver = true
                for connection in connections { connection.finish() }
            }
            // What comes after the end is of the last slice: it is no more than was in flight.
            if now - start - sliceStart >= course.sliceNanoseconds, !isOver {
                slice.nanoseconds = now - start - sliceStart
                sliceStart = now - start
                result.slices.append(slice)
                result.latency.merge(slice.latency)
                slice = LoadSlice()
            }
            if isWaiting {
                for index in connections.indices where connections[index].isWaiting { try send(index) }
            }
            if ready <= 0 {
                try daemon.checkIsRunning()
                guard now - lastReply < Self.silenceMaxNanoseconds else {
                    throw BenchError(
                        "no reply for \(Self.silenceMaxNanoseconds / 1_000_000_000) s, \(result.events) events are answered"
                    )
                }
                continue
            }
            lastReply = now
            for index in polled.indices where polled[index].revents != 0 {
                let connection = connections[index]
                let before = connection.answered
                try connection.receive(into: &slice.latency)
                slice.events += connection.answered - before
                result.events += connection.answered - before
                try send(index)
                // What is done is not polled any more.
                if connection.isDone { polled[index].fd = -1 }
            }
            while result.events >= nextMark {
                result.marks.append(monotonicNanoseconds() - start)
                nextMark += course.markEvery
                try atMark(result)
            }
        }
        result.nanoseconds = monotonicNanoseconds() - start
        result.driverShare = Double(threadNanoseconds() - driverBefore) / Double(result.nanoseconds)
        result.daemonShare = Double(try daemon.processorNanoseconds() - daemonBefore) / Double(result.nanoseconds)
        result.latency.merge(slice.latency)
        slice.nanoseconds = result.nanoseconds - sliceStart
        result.slices.append(slice)

        result.errorCount = connections.reduce(0) { $0 + $1.errorCount }
        result.busyCount = connections.reduce(0) { $0 + $1.busyCount }
        result.firstError = connections.lazy.compactMap(\.firstError).first
        return result
    }
}
