import Glibc
import TestSupport
import Testing

extension ProgramTests {
    /// Goal: a process that runs out of something loses nothing that it acknowledged (T18). It may refuse, end or crash, but
    /// not hang and not lie. Method: the driver plays its script while the N-th allocation, mapping or thread is refused, once
    /// or from then on, or under limits of address space, descriptors and file size; then a start without limits is held
    /// against the script. The daemon gets the limits, too.
    ///
    /// `LEADLEDGER_SCARCITY_CASES` says how many; `LEADLEDGER_TEST_SEED` repeats the choices.
    @Suite struct ScarcityTests {
        private static let units = 50

        private struct Shortage: CustomStringConvertible {
            var scarce: String?
            var limit: String?
            var description: String { scarce ?? limit ?? "" }

            static func random(using random: inout SeededGenerator) -> Shortage {
                let always = random.chance(50) ? ":always" : ""
                switch Int.random(in: 0..<100, using: &random) {
                // The runtime and the script take about ten thousand allocations.
                case 0..<60: return Shortage(scarce: "malloc:\(Int.random(in: 1...10_000, using: &random))\(always)")
                case 60..<68: return Shortage(scarce: "mmap:\(Int.random(in: 1...12, using: &random))\(always)")
                case 68..<75: return Shortage(scarce: "thread:\(Int.random(in: 1...6, using: &random))\(always)")
                case 75..<85: return Shortage(limit: "--as=\(Int.random(in: 20...120, using: &random) << 20)")
                case 85..<93: return Shortage(limit: "--nofile=\(Int.random(in: 3...20, using: &random))")
                default: return Shortage(limit: "--fsize=\(Int.random(in: 0...500, using: &random) << 10)")
                }
            }
        }

        @Test func `whatever runs out, nothing that was acknowledged is lost`() throws {
            let seed = announcedSeed("ScarcityTests")
            let count = amount("LEADLEDGER_SCARCITY_CASES", 200)
            var random = SeededGenerator(seed: seed)
            let began = Monotonic.milliseconds()
            let workshop = TemporaryDirectory(below: "/dev/shm")
            let library = workshop.path + "/scarcity.so"
            try compileShim("ScarcityShim", to: library, scratch: workshop.path)
            let verifier = ScriptVerifier(units: Self.units, scratch: workshop.path)
            var ends: [String: Int] = [:]
            var faults: [String] = []
            var struck = 0
            var struckAmidAcknowledgements = 0
            for _ in 0..<count {
                let shortage = Shortage.random(using: &random)
                let directory = workshop.path + "/data"
                let acks = workshop.path + "/acks"
                let mark = workshop.path + "/mark"
                var words = [Programs.ledgerDriver, "run", directory, acks, "\(Self.units)"]
                var variables: [String: String] = [:]
                if let scarce = shortage.scarce {
                    variables = ["LD_PRELOAD": library, "SCARCE": scarce, "SCARCE_MARK": mark]
                }
                if let limit = shortage.limit { words = ["prlimit", limit] + words }
                let result = try run(
                    words[0], Array(words.dropFirst()), variables: variables, scratch: workshop.path)
                let lines = ((try? text(ofFile: acks)) ?? "").split(separator: "\n")
                let acknowledged = lines.count { $0 != "done" }
                let isStruck = result.status != .exited(0) || access(mark, F_OK) == 0
                if isStruck { struck += 1 }
                if isStruck, 1..<Self.units ~= acknowledged { struckAmidAcknowledgements += 1 }
                ends["\(result.status)", default: 0] += 1
                let verdict = try verifier.verify(
                    .init(path: directory, acknowledged: acknowledged, submitted: Self.units))
                if let why = verdict.fault {
                    faults.append("\(shortage), \(result.status), \(acknowledged) acknowledged: \(why)")
                }
                if result.status == .exited(70) || result.status == .exited(64) {
                    faults.append("\(shortage): \(result.errorOutput.suffix(500))")
                }
                for path in [directory, acks, mark] { removeTree(path) }
            }
            print(
                "ScarcityTests: \(count) runs, \(struck) met a refusal, \(struckAmidAcknowledgements) of them amid "
                    + "acknowledgements; \(ends.sorted { $0.key < $1.key }), \((Monotonic.milliseconds() - began) / 1_000) s"
            )
            for fault in faults.prefix(10) { Issue.record("seed \(seed): \(fault)") }
            #expect(struck >= count / 2 && struckAmidAcknowledgements >= count / 8)
        }

        /// The control: a driver whose log takes no room ahead, and which takes a commit that failed for a success.
        @Test func `a log that acknowledges what it has no room for is caught`() throws {
            let workshop = TemporaryDirectory(below: "/dev/shm")
            let library = workshop.path + "/no-room-ahead.so"
            try NoRoomAhead.compile(to: library, scratch: workshop.path)
            let verifier = ScriptVerifier(units: Self.units, scratch: workshop.path)
            let directory = workshop.path + "/data"
            let acks = workshop.path + "/acks"
            var found: [String] = []
            // From hardly more than an empty log to what the first half of the script takes.
            for limit in stride(from: 84, through: 156, by: 8) {
                let result = try run(
                    "prlimit",
                    ["--fsize=\(limit << 10)", Programs.ledgerDriver, "run", directory, acks, "\(Self.units)"],
                    variables: NoRoomAhead.variables(library, claimsSuccess: true), scratch: workshop.path)
                let acknowledged = ((try? text(ofFile: acks)) ?? "").split(separator: "\n").count { $0 != "done" }
                let verdict = try verifier.verify(
                    .init(path: directory, acknowledged: acknowledged, submitted: Self.units))
                if let why = verdict.fault, acknowledged > 0 { found.append("\(limit) KiB, \(result.status): \(why)") }
                for path in [directory, acks] { removeTree(path) }
            }
            print("ScarcityTests: planted, \(found.count) of 10 caught, such as \(found.first ?? "none")")
            // Some may never meet the limit, or do so before anything is acknowledged.
            #expect(found.count >= 5, "\(found)")
        }

        @Test func `a daemon under limits refuses, ends or serves, and keeps what it acknowledged`() throws {
            let seed = announcedSeed("ScarcityTests, daemon")
            var random = SeededGenerator(seed: seed)
            var served = 0
            for round in 0..<8 {
                let place = LedgerPlace(below: "/dev/shm")
                // The last two are enough to serve with, whatever the others are.
                let space = round == 6 ? 16_384 : Int.random(in: 120...3_000, using: &random)
                let files = round == 7 ? 256 : Int.random(in: 8...120, using: &random)
                let limit = round.isMultiple(of: 2) ? "--as=\(space << 20)" : "--nofile=\(files)"
                let daemon = try DaemonProcess(place, arguments: ["--test"], wrapper: ["prlimit", limit])
                var acknowledged: [String: Int] = [:]
                if (try? daemon.waitUntilServing()) != nil {
                    served += 1
                    do {
                        let client = try place.connect()
                        for number in 0..<30 {
                            let answer = try client.ask("append", captureParams("L-\(number)"))
                            acknowledged["L-\(number)"] = answer["first"].integer
                        }
                    } catch {
                        // It ended, or turned us away: both are answers.
                    }
                    try daemon.process.killAndWait()
                } else {
                    let status = try daemon.process.waitForEnd()
                    #expect(
                        status != .exited(0) && status != .exited(64), "seed \(seed), \(limit): \(status)")
                }
                let again = try place.serve(["--test"])
                let found = try place.connect().readLog().map { $0["subject"].string ?? "?" }
                for (lead, position) in acknowledged {
                    #expect(
                        found.indices.contains(position) && found[position] == lead,
                        "seed \(seed), \(limit): \(lead) is not at \(position)")
                }
                #expect(try again.terminate() == .exited(0))
            }
            #expect(served >= 2, "seed \(seed)")
        }
    }
}
