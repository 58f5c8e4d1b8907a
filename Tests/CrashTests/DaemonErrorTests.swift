import Glibc
import TestSupport
import Testing

extension ProgramTests {
    /// Goal and method as in `ErrorSweepTests`, with the daemon as it is: read models, their rebuild and the socket included.
    /// A start of it is slow, so a run picks some of the calls; `LEADLEDGER_DAEMON_FAULTS` says how many.
    @Suite struct DaemonErrorTests {
        private struct Run {
            var fault: DiskShim.Fault
            /// What the fault happened to.
            var call: DiskTrace.Call?
            var calls = 0
            /// Which of the syncs, counted from 1, were the log's.
            var logSyncs: [Int] = []
            var status: TestSupport.ExitStatus
            var acknowledged: [String: Int] = [:]
            var refusals: Set<String> = []
            var faults: [String] = []
        }

        private static let leads = (0..<48).map { "L-\($0)" }

        @Test func `an error of any call ends the daemon as promised, or is lived with, and loses nothing`() throws {
            let seed = announcedSeed("DaemonErrorTests")
            let count = amount("LEADLEDGER_DAEMON_FAULTS", 24)
            var random = SeededGenerator(seed: seed)
            let began = Monotonic.milliseconds()
            let kinds: [DiskShim.Kind] = [.eio, .noSpace, .interrupted, .short, .late]
            var last = 500
            var runs: [Run] = []
            while runs.count < count {
                let run = try play(
                    .init(
                        kind: kinds.randomElement(using: &random)!, number: Int.random(in: 1...last, using: &random)),
                    writesSpaceAhead: random.chance(50))
                // There are fewer calls than was thought, and fewer writes than calls.
                if run.call == nil { last = min(last, max(60, run.calls)) }
                runs.append(run)
            }
            let hits = runs.count { $0.call != nil }
            let poisoned = runs.count { $0.status == .exited(74) }
            print(
                "DaemonErrorTests: \(runs.count) runs, \(hits) met an error, \(poisoned) ended with 74, "
                    + "refusals \(runs.reduce(into: Set()) { $0.formUnion($1.refusals) }.sorted()), "
                    + "\((Monotonic.milliseconds() - began) / 1_000) s")
            for run in runs { for fault in run.faults { Issue.record("seed \(seed), \(run.fault): \(fault)") } }
            #expect(hits >= count / 2 && poisoned > 0 && runs.contains { $0.call != nil && $0.status == .exited(0) })
        }

        @Test func `a daemon that goes on after a failed sync is caught`() throws {
            var caught = 0
            let whole = try play(.init(classes: "s", kind: .eio, number: 1_000_000))
            try #require(whole.logSyncs.count > 40 && whole.faults.isEmpty, "\(whole)")
            for number in whole.logSyncs.suffix(12).prefix(1) {
                let run = try play(.init(classes: "s", kind: .eio, number: number), plant: .ignoreErrors)
                if !run.faults.isEmpty { caught += 1 }
            }
            #expect(caught == 1)
        }

        /// - Parameter writesSpaceAhead: whether steps are as long as those that are written past the page cache.
        private func play(
            _ fault: DiskShim.Fault, writesSpaceAhead: Bool = false, plant: DiskShim.Plant = .none
        ) throws -> Run {
            let place = LedgerPlace(below: "/dev/shm")
            var shim = try DiskShim(root: place.data, scratch: place.scratch)
            shim.fault = fault
            shim.plant = plant
            let small = place.scratch + "/small.yaml"
            try write(
                "index_commit_events: 10\nindex_commit_ms: 20\nmodel_commit_events: 10\nmodel_commit_ms: 20\n"
                    + (writesSpaceAhead ? "allocation_step_bytes: 1048576\nspace_reserve_bytes: 3145728\n" : ""),
                toFile: small)
            let daemon = try DaemonProcess(
                place, arguments: ["--test", "--config", small], variables: shim.variables)
            var run = Run(fault: fault, status: .exited(0))
            do {
                try daemon.waitUntilServing()
                try talk(place, &run)
            } catch {
                // It ended: what it said by then, and how, is looked at below.
            }
            daemon.process.send(signal: SIGTERM)
            run.status = try daemon.process.waitForEnd()
            let trace = try shim.takeTrace()
            run.calls = trace.calls.count
            run.call = trace.faultIndex.map { trace.calls[$0 - 1] }
            let syncs = trace.calls.filter { $0.kind == .sync }
            run.logSyncs = syncs.indices.filter { syncs[$0].isLog }.map { $0 + 1 }

            let what = "\(run.call?.path ?? "no call"), \(run.status), \(daemon.process.errorOutput.suffix(400))"
            if ![.exited(0), .exited(73), .exited(74)].contains(run.status) {
                run.faults.append("it ended badly: \(what)")
            }
            let known: Set = ["outcome_unknown", "poisoned", "disk_full", "shutting_down"]
            if !run.refusals.isSubset(of: known) { run.faults.append("refused with \(run.refusals): \(what)") }
            if run.refusals.contains("outcome_unknown"), run.status != .exited(74) {
                run.faults.append("unknown outcomes, and yet: \(what)")
            }
            // LMDB repeats a write that was interrupted, which is right: nothing of it was done.
            let isRepeated = fault.kind == .interrupted && run.call.map { "wm".contains($0.faultClass) } ?? false
            if !isRepeated { run.faults += trace.commitsAfterFailure }
            if run.faults.isEmpty { try checkWhatIsLeft(place, &run, what) }
            return run
        }

        /// About sixty steps; stops where the daemon does.
        private func talk(_ place: LedgerPlace, _ run: inout Run) throws {
            let client = try place.connect()
            for (step, lead) in Self.leads.enumerated() {
                do {
                    run.acknowledged[lead] = try client.ask("append", captureParams(lead))["first"].integer
                } catch let refusal as Refusal {
                    run.refusals.insert(refusal.name)
                }
                if step % 12 == 5 { _ = try? client.ask("queue.list") }
                if step == 30 {
                    _ = try? client.ask("projection.rebuild", #"{"name":"leads","wait":true}"#)
                }
            }
        }

        /// A start without faults: what was acknowledged is there, and retries are told the truth.
        private func checkWhatIsLeft(_ place: LedgerPlace, _ run: inout Run, _ what: String) throws {
            let again = try DaemonProcess(place, arguments: ["--test"])
            do { try again.waitUntilServing() } catch { return run.faults.append("the next start: \(error); \(what)") }
            let client = try place.connect()
            let before = try client.readLog().map { $0["subject"].string ?? "?" }
            for (lead, position) in run.acknowledged
            where !before.indices.contains(position) || before[position] != lead {
                run.faults.append("lost: \(lead) was acknowledged at \(position); \(what)")
            }
            for lead in Self.leads {
                let answer = try client.ask("append", captureParams(lead))
                if answer["duplicate"].boolean != before.contains(lead) {
                    run.faults.append("\(lead) was \(before.contains(lead) ? "" : "not ")there: \(answer); \(what)")
                }
            }
            try client.waitForModels(at: Self.leads.count)
            let after = try client.readLog().map { $0["subject"].string ?? "?" }
            if after.count != Self.leads.count || Set(after).count != after.count {
                run.faults.append("the log is \(after)")
            }
            if try again.terminate() != .exited(0) { run.faults.append("the second: \(again.process.errorOutput)") }
        }
    }
}
