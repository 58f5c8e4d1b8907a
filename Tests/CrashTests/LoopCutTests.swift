import Glibc
import TestSupport
import Testing

extension ProgramTests {
    /// Goal: P1 across power cuts on the file system that people use (T3). Method: a daemon on an ext4 on a loop device is
    /// stopped amid its writing, and the image is copied: what ext4 had not written by then is not in it. The copy is mounted,
    /// a daemon started on it, and its log held against the acknowledgements. Some cuts come at the creation of the ledger.
    ///
    /// `LEADLEDGER_LOOP_CUTS` says how many; `LEADLEDGER_TEST_SEED` repeats the choices, though not the scheduler's.
    @Suite(.enabled(if: LoopDisk.obstacle == nil, "power cuts on a loop device: \(LoopDisk.obstacle ?? "")"))
    struct LoopCutTests {
        @Test func `what was acknowledged is on the disk that a power cut leaves`() throws {
            let seed = announcedSeed("LoopCutTests")
            let began = Monotonic.milliseconds()
            let result = try cut(amount("LEADLEDGER_LOOP_CUTS", 10), seed: seed)
            print("LoopCutTests: \(result), \((Monotonic.milliseconds() - began) / 1_000) s")
            for fault in result.faults.prefix(10) { Issue.record("seed \(seed): \(fault)") }
            #expect(result.acknowledged >= 20 * result.cuts && result.atCreation > 0)
        }

        @Test func `a log that does not sync loses what it acknowledged to the same cuts`() throws {
            let seed = announcedSeed("LoopCutTests, planted")
            let result = try cut(2, seed: seed, plant: .noSync)
            #expect(result.cutsWithLoss == 2, "\(result)")
        }

        private struct Result: CustomStringConvertible {
            var cuts = 0
            var atCreation = 0
            var acknowledged = 0
            var cutsWithLoss = 0
            var faults: [String] = []
            var description: String {
                "\(cuts) cuts, \(atCreation) of them at creation, \(acknowledged) acknowledged events, "
                    + "\(cutsWithLoss) cuts that lost some"
            }
        }

        private func cut(_ count: Int, seed: UInt64, plant: DiskShim.Plant = .none) throws -> Result {
            var random = SeededGenerator(seed: seed)
            var result = Result()
            let disk = try LoopDisk(megabytes: 512)
            /// By position: the leads whose capture was acknowledged, over all cuts.
            var acknowledged: [Int: String] = [:]
            var captured = 0
            let scratch = TemporaryDirectory()
            var shim = try DiskShim(root: disk.path + "/data", scratch: scratch.path)
            shim.plant = plant
            let variables = plant == .none ? [:] : shim.variables
            // Space is written ahead past the page cache, as in service.
            let written = scratch.path + "/written.yaml"
            try write("allocation_step_bytes: 1048576\nspace_reserve_bytes: 8388608\n", toFile: written)
            while result.cuts < count {
                result.cuts += 1
                let isAtCreation = plant == .none && result.cuts % 4 == 1
                if isAtCreation {
                    removeTree(disk.path + "/data")
                    acknowledged = [:]
                    result.atCreation += 1
                }
                let faultsBefore = result.faults.count

                // 1. It writes, and is stopped.
                let socket = scratch.path + "/\(result.cuts).sock"
                let daemon = try ChildProcess(
                    Programs.daemon,
                    ["--data", disk.path + "/data", "--socket", socket, "--test", "--config", written],
                    variables: variables, scratch: scratch.path)
                // From its start on where it creates the ledger; otherwise from when it serves, however long that takes.
                let time = Int64.random(in: isAtCreation ? 20...400 : 100...400, using: &random)
                var moment = Monotonic.milliseconds() + (isAtCreation ? time : 30_000)
                var client: LineClient?
                var waiting: [String] = []
                func take(_ line: String) throws {
                    let answer = try JSONTree(line)["result"]
                    let lead = waiting.removeFirst()
                    guard let first = answer["first"].integer else { throw TimedOut("an answer: \(line)") }
                    acknowledged[first] = lead
                    result.acknowledged += 1
                }
                while Monotonic.milliseconds() < moment {
                    guard let connected = client ?? (try? LineClient(socket)) else {
                        Monotonic.sleep(microseconds: 500)
                        continue
                    }
                    if client == nil, !isAtCreation { moment = Monotonic.milliseconds() + time }
                    client = connected
                    while waiting.count < 16 {
                        captured += 1
                        waiting.append("L-\(captured)")
                        try connected.send(line: request(captured, "append", captureParams("L-\(captured)")))
                    }
                    if let line = try connected.line() { try take(line) }
                }
                daemon.send(signal: SIGSTOP)
                try Monotonic.wait(for: "the daemon to stand still") { isStopped(daemon.identifier) }
                // What it had answered by then counts.
                if let client { while client.hasLine, let line = try client.line() { try take(line) } }

                // 2. The power goes.
                let copy = try LoopDisk(cutting: disk)
                daemon.send(signal: SIGKILL)
                try daemon.waitForEnd()

                // 3. What is on the disk.
                let second = try ChildProcess(
                    Programs.daemon,
                    ["--data", copy.path + "/data", "--socket", socket, "--test", "--config", written],
                    scratch: scratch.path)
                var found: [String] = []
                do {
                    try Monotonic.wait(for: "the daemon on the copy", milliseconds: 30_000) {
                        if let status = second.poll() {
                            throw TimedOut("a start on the copy: \(status), \(second.errorOutput)")
                        }
                        return (try? LineClient(socket)) != nil
                    }
                    let reader = try LineClient(socket)
                    found = try reader.readLog().map { $0["subject"].string ?? "?" }
                    for lead in found.suffix(3) {
                        let again = try reader.ask("append", captureParams(lead))
                        if again["duplicate"].boolean != true {
                            result.faults.append("\(lead) is there, and yet: \(again)")
                        }
                    }
                } catch {
                    result.faults.append("cut \(result.cuts): \(error)")
                }
                second.send(signal: SIGTERM)
                if try second.waitForEnd() != .exited(0) { result.faults.append(second.errorOutput) }
                let lost = acknowledged.filter { !found.indices.contains($0.key) || found[$0.key] != $0.value }
                if !lost.isEmpty {
                    result.faults.append(
                        "cut \(result.cuts): \(lost.count) of \(acknowledged.count) acknowledged are gone")
                }
                if Set(found).count != found.count { result.faults.append("cut \(result.cuts): events twice") }
                if result.faults.count > faultsBefore { result.cutsWithLoss += 1 }
            }
            return result
        }

        /// Whether every thread of the process stands still.
        private func isStopped(_ process: Int32) -> Bool {
            names(in: "/proc/\(process)/task").allSatisfy { thread in
                // One that has ended since.
                guard let status = try? text(ofFile: "/proc/\(process)/task/\(thread)/stat") else { return true }
                return status[(status.lastIndex(of: ")") ?? status.startIndex)...].dropFirst(2).hasPrefix("T")
            }
        }
    }
}
