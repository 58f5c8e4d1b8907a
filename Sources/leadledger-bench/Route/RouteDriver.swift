import Glibc

/// What a run of captures measured.
struct RouteResult {
    var matching: RouteMatching
    /// From the first request to the last thing that was waited for.
    var nanoseconds: UInt64 = 0
    /// How long after it was due each capture was handed to the kernel: where this is long, the driver was the bottleneck, and the rate
    /// is not what was asked for.
    var lateness = LatencyHistogram()
    /// Shares of one processor.
    var driverShare = 0.0
    var daemonShare = 0.0
}

/// Sends captures when they are due and takes in acknowledgements and decisions, all from one thread, so that their instants can be
/// compared.
struct RouteDriver {
    /// Without an acknowledgement or a decision for this long, the daemon is taken to be stuck.
    private static let silenceMaxNanoseconds: UInt64 = 60_000_000_000

    let daemon: DaemonProcess
    let connections: Int
    /// Captures without acknowledgement on one connection, beyond which even a due one waits.
    let inFlightMax: Int

    /// Sends every capture of `schedule`, and returns when all are acknowledged, and, where there is a subscription, decided.
    func send(
        _ schedule: SendSchedule, _ captures: RouteCaptures, warmUp: Int = 0,
        deciding subscription: DecisionSubscription?
    ) throws(BenchError) -> RouteResult {
        var senders: [CaptureConnection] = []
        for _ in 0..<connections { senders.append(CaptureConnection(descriptor: try daemon.connect())) }
        var result = RouteResult(matching: RouteMatching(count: schedule.count, warmUp: warmUp))
        try drive(senders, schedule, captures, subscription, &result)
        return result
    }

    /// Waits for the decisions on captures that were all sent before.
    /// - Returns: nanoseconds from `start`, an instant of the monotonic clock, to the last decision.
    func awaitDecisions(
        since start: UInt64, on matching: inout RouteMatching, from subscription: DecisionSubscription
    ) throws(BenchError) -> UInt64 {
        var result = RouteResult(matching: matching)
        try drive([], SendSchedule(count: 0), RouteCaptures(seed: 0), subscription, &result)
        matching = result.matching
        return monotonicNanoseconds() - start
    }

    private func drive(
        _ senders: [CaptureConnection], _ schedule: SendSchedule, _ captures: RouteCaptures,
        _ subscription: DecisionSubscription?, _ result: inout RouteResult
    ) throws(BenchError) {
        var captures = captures
        let daemonBefore = try daemon.processorNanoseconds()
        let driverBefore = threadNanoseconds()
        let start = monotonicNanoseconds()
        var lastNews = start
        var made = 0

        while !(result.matching.isAcknowledged && (subscription == nil || result.matching.isDecided)) {
            // 1. What is due is sent, in turn over the connections.
            let now = monotonicNanoseconds()
            let due = schedule.due(after: now - start)
            if made < due {
                let wallClock = time(nil)
                let first = made
                while made < due, senders[made % senders.count].unanswered < inFlightMax {
                    senders[made % senders.count].add(made, wallClock: wallClock, &captures)
                    made += 1
                }
                let sending = monotonicNanoseconds()
                for number in first..<made {
                    result.matching.sent(number, at: sending)
                    if number >= result.matching.warmUp {
                        result.lateness.record(
                            nanoseconds: sending - min(sending, start + schedule.instant(of: number)))
                    }
                }
            }
            var wanted = ReadyDescriptors()
            for sender in senders {
                try sender.flush()
                wanted.addReading(sender.descriptor)
                if sender.wantsToWrite { wanted.addWriting(sender.descriptor) }
            }
            if let subscription { wanted.addReading(subscription.descriptor) }

            // 2. Until something comes, or the next is due.
            let isNextInTime = made == due && made < schedule.count
            let isAnyReady = try wanted.wait(
                until: isNextInTime ? start + schedule.instant(of: made) : nil, nanosecondsMax: 100_000_000)
            try Interruption.check()
            let woken = monotonicNanoseconds()
            try daemon.memory.sampleIfDue(now: woken)
            // 3. What came. Of a subscription that may be a heartbeat, which is no news.
            let before = (result.matching.acknowledged, result.matching.decided)
            if isAnyReady {
                for sender in senders where wanted.canRead(sender.descriptor) {
                    try sender.receive(into: &result.matching)
                }
                if let subscription, wanted.canRead(subscription.descriptor) {
                    try subscription.receive(into: &result.matching)
                }
            }
            if before != (result.matching.acknowledged, result.matching.decided) {
                lastNews = woken
            } else if woken - lastNews > 1_000_000_000 {
                try checkIsAlive(since: lastNews, now: woken, sent: made, result.matching)
            }
        }
        result.nanoseconds = monotonicNanoseconds() - start
        result.driverShare = Double(threadNanoseconds() - driverBefore) / Double(max(result.nanoseconds, 1))
        result.daemonShare =
            Double(try daemon.processorNanoseconds() - daemonBefore) / Double(max(result.nanoseconds, 1))
    }

    private func checkIsAlive(
        since lastNews: UInt64, now: UInt64, sent: Int, _ matching: RouteMatching
    ) throws(BenchError) {
        try daemon.checkIsRunning()
        guard now - lastNews < Self.silenceMaxNanoseconds else {
            throw BenchError(
                "nothing came for \(Self.silenceMaxNanoseconds / 1_000_000_000) s: of \(grouped(matching.count)) captures, "
                    + "\(grouped(sent)) are sent, \(grouped(matching.acknowledged)) acknowledged, "
                    + "\(grouped(matching.decided)) decided")
        }
    }
}

/// Descriptors that are waited for, and afterwards those that are ready. `poll` counts in milliseconds, which is ten captures.
struct ReadyDescriptors {
    private var reading = fd_set()
    private var writing = fd_set()
    private var highest: Int32 = -1

    mutating func addReading(_ descriptor: Int32) {
        highest = max(highest, descriptor)
        Self.add(descriptor, to: &reading)
    }

    mutating func addWriting(_ descriptor: Int32) {
        highest = max(highest, descriptor)
        Self.add(descriptor, to: &writing)
    }

    private static func add(_ descriptor: Int32, to set: inout fd_set) {
        precondition(0..<FD_SETSIZE ~= descriptor, "the benchmark has a few hundred descriptors at most")
        withUnsafeMutableBytes(of: &set) { $0[Int(descriptor / 8)] |= 1 << UInt8(descriptor % 8) }
    }

    func canRead(_ descriptor: Int32) -> Bool {
        withUnsafeBytes(of: reading) { $0[Int(descriptor / 8)] >> UInt8(descriptor % 8) & 1 == 1 }
    }

    /// Waits until one is ready, or `instant` of the monotonic clock, or for `nanosecondsMax`.
    /// - Returns: whether one is.
    mutating func wait(until instant: UInt64?, nanosecondsMax: UInt64) throws(BenchError) -> Bool {
        let now = monotonicNanoseconds()
        let left = min(nanosecondsMax, instant.map { $0 > now ? $0 - now : 0 } ?? .max)
        var timeout = timespec(tv_sec: Int(left / 1_000_000_000), tv_nsec: Int(left % 1_000_000_000))
        let ready = pselect(highest + 1, &reading, &writing, nil, &timeout, nil)
        if ready < 0 {
            guard errno == EINTR else { throw .system("pselect") }
            // The sets are not to be looked at then.
            return false
        }
        return ready > 0
    }
}
