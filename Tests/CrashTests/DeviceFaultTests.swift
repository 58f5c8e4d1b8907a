import Glibc
import Synchronization
import TestSupport
import Testing

extension ProgramTests {
    /// What the daemon does when its device says no.
    @Suite struct DeviceFaultTests {
        private let place = LedgerPlace()

        /// After a failed sync nobody knows what is on the disk, and the next sync would lie: the daemon says so and ends.
        @Test(arguments: [DeviceFault.Kind.sync, .meta])
        func `the first I/O error makes the outcome unknown, ends the daemon with 74, and a retry tells`(
            _ kind: DeviceFault.Kind
        ) throws {
            let fault = try DeviceFault(kind, scratch: place.scratch)
            let daemon = try place.serve(variables: fault.variables)
            let client = try place.connect()
            try capture(10, client)
            try fault.begin()
            // In one go: the first of them may end the connection.
            let lines = (10..<30).map { request($0, "append", captureParams("L-\($0)")) + "\n" }
            try client.send(bytes: Array(lines.joined().utf8))
            var names: [String] = []
            while let line = try client.line() {
                let reply = try JSONTree(line)
                #expect(reply["result"] == .absent, "acknowledged after the device failed: \(reply)")
                names.append(reply["error"]["data"]["name"].string ?? "?")
            }
            #expect(try daemon.process.waitForEnd() == .exited(74), "\(daemon.process.errorOutput)")
            #expect(names.contains("outcome_unknown"), "\(names)")
            #expect(Set(names).isSubset(of: ["outcome_unknown", "poisoned", "shutting_down"]), "\(names)")
            #expect(!daemon.process.errorOutput.isEmpty)
            // Never again a sync in that process: it would be told that all is well.
            #expect(fault.calls == "F")

            fault.end()
            let again = try place.serve()
            let second = try place.connect()
            let before = try second.readLog().map { $0["subject"].string! }
            #expect(Array(before.prefix(10)) == (0..<10).map { "L-\($0)" })
            for number in 0..<30 {
                let answer = try second.ask("append", captureParams("L-\(number)"))
                #expect(answer["duplicate"].boolean == before.contains("L-\(number)"), "\(number): \(answer)")
            }
            let after = try second.readLog().map { $0["subject"].string! }
            #expect(after.count == 30 && Set(after).count == 30, "\(after)")
            #expect(try again.terminate() == .exited(0))
            let check = try place.check()
            #expect(check.status == .exited(0) && check.findings == [], "\(check)")
        }

        @Test func `a full disk refuses appends, stores nothing of them, and goes on when there is room`() throws {
            let (fault, daemon, client) = try serve(.logFull)
            try fault.begin()
            let (stored, refusal) = try fillUp(client, from: 0)
            #expect(refusal.name == "disk_full", "\(refusal)")

            // Reads go on, appends are refused again, and the log is what it was.
            #expect(try client.askWhenFresh("lead.get", #"{"lead":"L-0"}"#)["lead"]["version"].integer == 1 + stored)
            #expect(try client.readLog().count == 5 + stored)
            #expect(try client.refusal("append", longNote(stored))?.name == "disk_full")
            #expect(try client.readLog().count == 5 + stored)

            fault.end()
            #expect(try client.ask("append", longNote(stored))["duplicate"].boolean == false)
            #expect(try client.readLog().count == 6 + stored)
            #expect(try daemon.terminate() == .exited(0))
            let check = try place.check(["--test"])
            #expect(check.status == .exited(0) && check.findings == [], "\(check)")
        }

        @Test func `when index and read models have no room either they pause, and catch up when there is`() throws {
            let (fault, daemon, client) = try serve(.allFull)
            try client.waitForModels(at: 5)
            try fault.begin()
            let (stored, refusal) = try fillUp(client, from: 0)
            #expect(refusal.name == "disk_full", "\(refusal)")
            let queue = try client.ask("queue.list")
            #expect(queue["total"].integer == 5)
            #expect(try client.readLog().count == 5 + stored)
            fault.end()
            #expect(try client.ask("append", longNote(stored))["duplicate"].boolean == false)
            try client.waitForModels(at: 6 + stored)
            #expect(try daemon.terminate() == .exited(0))
            let check = try place.check(["--test"])
            #expect(check.status == .exited(0) && check.findings == [], "\(check)")
        }

        @Test func `an event that cannot be parked on a full disk says so, and is parked when there is room`() throws {
            let (fault, daemon, client) = try serve(.logFull)
            try client.ask("consumer.create", #"{"group":"g","from":0,"max_attempts":1,"lease_ms":200}"#)
            try fault.begin()
            // To the last page: what a group has to store is small.
            var refusal: Refusal?
            for number in 5..<2_000 where refusal == nil {
                refusal = try client.refusal("append", captureParams("L-\(number)"))
            }
            #expect(refusal?.name == "disk_full")
            let claimed = try client.ask("consumer.claim", #"{"group":"g","limit":1}"#)
            #expect(claimed["deliveries"].elements.count == 1, "\(claimed)")
            try Monotonic.wait(for: "a try to park it") {
                let reason = try client.ask("consumer.status", #"{"group":"g"}"#)["reason"]
                return reason["state"].string == "park_refused" && reason["error"].string == "disk_full"
                    && reason["position"].integer == 0
            }
            fault.end()
            try Monotonic.wait(for: "it to be parked") {
                try client.ask("consumer.status", #"{"group":"g"}"#)["parked"].integer == 1
            }
            #expect(try daemon.terminate() == .exited(0))
            let check = try place.check(["--test"])
            #expect(check.status == .exited(0) && check.findings == [], "\(check)")
        }

        @Test func `appends that wait for a read model that stands still are bounded, and answered when it goes on`()
            throws
        {
            let (fault, daemon, client) = try serve(.modelsFull)
            try client.waitForModels(at: 5)
            try fault.begin()
            let count = 20_000
            let bytes = waitingAppends(5..<5 + count)
            // One thread sends to it, which stands still with the daemon, the other one reads from it.
            let talk = Talk(asker: try place.connect(), client: client)
            onThreads([
                { try? talk.asker.send(bytes: bytes) },
                {
                    // Until no more is taken.
                    var still = 0
                    while still < 20 {
                        Monotonic.sleep(microseconds: 100_000)
                        let now = (try? talk.client.ask("status")["head"].integer) ?? -1
                        still = now == talk.taken.exchange(now, ordering: .relaxed) && now > 100 ? still + 1 : 0
                    }
                    fault.end()
                    while talk.answered.load(ordering: .relaxed) < count, let line = try? talk.asker.line(),
                        (try? JSONTree(line))?["result"]["projection"]["name"].string == "leads"
                    { talk.answered.add(1, ordering: .relaxed) }
                },
            ])
            let taken = talk.taken.load(ordering: .relaxed)
            print("DeviceFaultTests: \(taken) of \(count) appends were taken while the read model stood still")
            // Before it met the full disk it answered some; of the others 8 MiB are kept, at a kilobyte and more each.
            #expect(taken < 14_000)
            #expect(talk.answered.load(ordering: .relaxed) == count)
            #expect(try client.ask("status")["head"].integer == 5 + count)
            #expect(try daemon.terminate() == .exited(0))
        }

        @Test func `who hangs up while waiting for a read model leaves nothing behind`() throws {
            let (fault, daemon, client) = try serve(.modelsFull)
            try client.waitForModels(at: 5)
            try fault.begin()
            // Fewer than a connection may have waiting; from the second time on all are duplicates, and wait all the same.
            let bytes = waitingAppends(5..<5_005)
            var before = 0
            for round in 0..<6 {
                do {
                    let asker = try place.connect()
                    try asker.send(bytes: bytes)
                    // Answered behind all of them.
                    let other = try place.connect()
                    try other.ask("append", captureParams("round-\(round)"))
                    Monotonic.sleep(microseconds: 300_000)
                }
                try Monotonic.wait(for: "them to be gone") { try client.ask("status")["connections"].integer == 1 }
                if round == 1 { before = try allocated(daemon) }
            }
            let growth = try allocated(daemon) - before
            print("DeviceFaultTests: memory grew by \(growth >> 10) KiB while four times 5,000 waits were given up")
            // Each takes a kilobyte and more for a minute, if nobody ends it: 20 MiB and more.
            #expect(growth < 10 << 20)
            fault.end()
            try client.waitForModels(at: 5_011)
            #expect(try daemon.terminate() == .exited(0))
        }

        /// A daemon that allocates in small steps, so that a full disk is met soon, with five leads in it.
        private func serve(_ kind: DeviceFault.Kind) throws -> (DeviceFault, DaemonProcess, LineClient) {
            let fault = try DeviceFault(kind, scratch: place.scratch)
            let daemon = try place.serve(["--test"], variables: fault.variables)
            let client = try place.connect()
            try capture(5, client)
            return (fault, daemon, client)
        }

        /// Captures that are answered when a read model has them.
        private func waitingAppends(_ numbers: Range<Int>) -> [UInt8] {
            let wait = #","wait":{"projection":"leads","deadline_ms":60000}}"#
            let lines = numbers.map { request($0, "append", captureParams("L-\($0)").dropLast() + wait) + "\n" }
            return Array(lines.joined().utf8)
        }

        /// Long notes until one is refused.
        private func fillUp(_ client: LineClient, from start: Int) throws -> (stored: Int, Refusal) {
            for number in start..<start + 200 {
                if let refusal = try client.refusal("append", longNote(number)) { return (number, refusal) }
            }
            throw TimedOut("a refusal: 10 MiB were taken")
        }
    }
}

/// What two threads share: one sends to `asker`, the other one reads from it and asks by `client`.
private final class Talk: @unchecked Sendable {
    // Sendable: sending and reading have nothing of a client in common but its socket.
    let asker: LineClient
    let client: LineClient
    let taken = Atomic<Int>(0)
    let answered = Atomic<Int>(0)

    init(asker: LineClient, client: LineClient) {
        self.asker = asker
        self.client = client
    }
}
