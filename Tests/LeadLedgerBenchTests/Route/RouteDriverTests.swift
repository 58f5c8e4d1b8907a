import JSON
import Synchronization
import TestSupport
import Testing

@testable import leadledger_bench

/// The routing benchmark's driver on a real daemon, with a client of the test's that plays the router: what is counted, not how fast
/// it is.
@Suite(.timeLimit(.minutes(10))) struct RouteDriverTests {
    private let place = LedgerPlace()

    private func start() throws -> leadledger_bench.DaemonProcess {
        try leadledger_bench.DaemonProcess.start(Programs.daemon, in: place.scratch)
    }

    /// Decides on the first `count` captures of the log, and queues one in ten.
    private func route(_ count: Int) throws {
        let (captures, decisions) = (try place.connect(), try place.connect())
        try captures.ask(
            "log.subscribe", #"{"from":0,"credit":1000000,"filter":{"types":["lead.captured"]}}"#)
        var decided = 0
        while decided < count {
            guard let line = try captures.line() else { throw TimedOut("captures") }
            for event in try JSONTree(line)["params"]["events"].elements {
                let lead = event["subject"].string ?? ""
                let (type, data) =
                    decided % 10 == 9
                    ? ("lead.queued", #"{"queue":"pool"}"#) : ("lead.assigned", #"{"member":"m","mode":"push"}"#)
                try decisions.ask(
                    "append",
                    #"{"events":[{"id":"d","source":"router","type":"\#(type)","subject":"\#(lead)","data":\#(data)}]}"#
                )
                decided += 1
            }
        }
    }

    @Test func `captures at a rate are each acknowledged, decided and measured`() throws {
        let daemon = try start()
        defer { daemon.end() }
        let subscription = try DecisionSubscription(daemon, from: 0)
        let outcome = Mutex<Result<RouteResult, any Error>?>(nil)
        let fault = Mutex<String?>(nil)
        // It goes to the one thread that drives, and is touched nowhere else.
        nonisolated(unsafe) let (process, subscriber) = (daemon, subscription)
        onThreads([
            { do { try self.route(300) } catch { fault.withLock { $0 = "\(error)" } } },
            {
                let result = Result {
                    try RouteDriver(daemon: process, connections: 3, inFlightMax: .max).send(
                        SendSchedule(count: 300, rate: 1_000), RouteCaptures(seed: 1), warmUp: 50, deciding: subscriber)
                }
                outcome.withLock { $0 = result }
            },
        ])
        #expect(fault.withLock { $0 } == nil)
        let result = try #require(outcome.withLock { $0 }).get()
        #expect(result.matching.assigned == 270 && result.matching.queued == 30)
        #expect(result.matching.afterAcknowledgement.count == 250 && result.matching.acknowledgement.count == 250)
        #expect(result.matching.afterSending.largest > 0 && result.lateness.count == 250)
        // The last one is due after 299 ms: nothing is sent before it is due.
        #expect(result.nanoseconds >= 299_000_000)
        #expect(try ControlClient(daemon).head() == 600)
        try daemon.stop()
    }

    @Test func `a backlog is sent with bounded requests in flight, and its decisions are awaited later`() throws {
        let daemon = try start()
        defer { daemon.end() }
        let driver = RouteDriver(daemon: daemon, connections: 2, inFlightMax: 5)
        var matching = try driver.send(SendSchedule(count: 200), RouteCaptures(seed: 1), deciding: nil).matching
        #expect(matching.isAcknowledged && matching.decided == 0)
        let client = try ControlClient(daemon)
        let subscription = try DecisionSubscription(daemon, from: try client.head())
        let fault = Mutex<String?>(nil)
        onThreads([{ do { try self.route(200) } catch { fault.withLock { $0 = "\(error)" } } }])
        #expect(fault.withLock { $0 } == nil)
        let start = monotonicNanoseconds()
        _ = try driver.awaitDecisions(since: start, on: &matching, from: subscription)
        #expect(matching.assigned == 180 && matching.queued == 20 && matching.isDecided)
        try client.checkHead(is: 400)
        try daemon.stop()
    }

    @Test func `a capture that is refused ends the run, and so does a daemon that is gone`() throws {
        let daemon = try start()
        defer { daemon.end() }
        let driver = RouteDriver(daemon: daemon, connections: 1, inFlightMax: 5)
        _ = try driver.send(SendSchedule(count: 1), RouteCaptures(seed: 1), deciding: nil)
        // The same event with another content.
        #expect(throws: BenchError.self) {
            try driver.send(SendSchedule(count: 1), RouteCaptures(seed: 2), deciding: nil)
        }
        let subscription = try DecisionSubscription(daemon, from: 1)
        try daemon.kill()
        var matching = RouteMatching(count: 1)
        #expect(throws: BenchError.self) { try driver.awaitDecisions(since: 0, on: &matching, from: subscription) }
    }

    @Test func `a call that is refused says why, and one that is granted gives its result`() throws {
        let daemon = try start()
        defer { daemon.end() }
        let client = try ControlClient(daemon)
        do {
            try client.callPatiently("consumer.status", #"{"group":"x"}"#) { (_) throws(BenchError) in }
            Issue.record("there is no such group")
        } catch { #expect("\(error)".contains("unknown_group")) }
        #expect(try client.callPatiently("status") { (result) throws(BenchError) in result["head"]?.int64 } == 0)
        try daemon.stop()
    }
}
