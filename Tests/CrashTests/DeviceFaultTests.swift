import Glibc
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
            let fault = try DeviceFault(.logFull, scratch: place.scratch)
            // --test allocates in small steps, so the fault is met soon.
            let daemon = try place.serve(["--test"], variables: fault.variables)
            let client = try place.connect()
            try capture(5, client)
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
            let fault = try DeviceFault(.allFull, scratch: place.scratch)
            let daemon = try place.serve(["--test"], variables: fault.variables)
            let client = try place.connect()
            try capture(5, client)
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

        /// Long notes until one is refused.
        private func fillUp(_ client: LineClient, from start: Int) throws -> (stored: Int, Refusal) {
            for number in start..<start + 200 {
                if let refusal = try client.refusal("append", longNote(number)) { return (number, refusal) }
            }
            throw TimedOut("a refusal: 10 MiB were taken")
        }
    }
}
