import Glibc
import TestSupport
import Testing

extension ProgramTests {
    /// Goal: no error of the disk loses, doubles or changes what was acknowledged (T4, and T1 for kills at every call).
    /// Method: the driver plays its script and the N-th call that changes a file fails, for every N until there is no N-th
    /// call: writes, LMDB's meta pages, syncs, allocations, renames, creations, removals. Then a start without faults is held
    /// against the script.
    ///
    /// Each N gets one kind of error, by chance; `LEADLEDGER_FAULTS=all` gives each N every kind. By chance, too, space is written
    /// ahead past the page cache, as in service, or only allocated.
    @Suite struct ErrorSweepTests {
        private static let units = 50

        /// What a case says when it is looked at.
        private struct Case {
            var fault: DiskShim.Fault
            var space: DriverSpace
            var status: TestSupport.ExitStatus
            /// The call it happened to; nil: there was none.
            var call: DiskTrace.Call?
            var acknowledged: Int
            var commitsAfterFailure: [String]
            var errorOutput: String
        }

        @Test func `whichever call fails, and however, nothing that was acknowledged is lost`() throws {
            let seed = announcedSeed("ErrorSweepTests")
            var random = SeededGenerator(seed: seed)
            let kinds: [DiskShim.Kind] = [.eio, .noSpace, .interrupted, .short, .late, .kill]
            let isWhole = environmentVariable("LEADLEDGER_FAULTS") == "all"
            let began = Monotonic.milliseconds()
            let workshop = TemporaryDirectory(below: "/dev/shm")
            let verifier = ScriptVerifier(units: Self.units, scratch: workshop.path)
            let directory = workshop.path + "/data"
            var cases: [Case] = []
            var faults: [String] = []
            func look(at run: Case) throws {
                if let fault = judge(run) { faults.append(fault) }
                let verdict = try verifier.verify(
                    .init(path: directory, acknowledged: run.acknowledged, submitted: Self.units),
                    variables: run.space.variables)
                if let why = verdict.fault { faults.append("\(run.fault) (\(describe(run))): \(why)") }
                cases.append(run)
                removeTree(directory)
            }
            var number = 0
            var isBeyond = false
            while !isBeyond {
                number += 1
                for kind in isWhole ? kinds : [kinds.randomElement(using: &random)!] {
                    let space: [DriverSpace] = random.chance(50) ? [.written, .allocated] : [.allocated, .written]
                    var run = try play(.init(kind: kind, number: number), directory, space[0])
                    // There are fewer writes than calls, and fewer calls in one way than in the other.
                    for other in space where run.call == nil {
                        removeTree(directory)
                        run = try play(.init(kind: kind == .short ? .eio : kind, number: number), directory, other)
                    }
                    if run.call == nil {
                        isBeyond = run.status == .exited(0)
                        if !isBeyond { faults.append("without a fault: \(run.status), \(run.errorOutput)") }
                    }
                    try look(at: run)
                }
            }
            // They are few, so that chance may miss them: each kind for the first and the second.
            for kind in kinds {
                for number in 1...2 {
                    try look(at: play(.init(classes: "z", kind: kind, number: number), directory, .written))
                }
            }
            var hit: [String: Int] = [:]
            for run in cases {
                if let call = run.call {
                    let which = call.isMetaPage ? " of a meta page" : call.isPastCache ? " past the page cache" : ""
                    hit["\(call.kind)\(which)", default: 0] += 1
                }
            }
            let poisoned = cases.count { $0.status == .exited(74) }
            let survived = cases.count { $0.call != nil && $0.status == .exited(0) }
            print(
                "ErrorSweepTests: \(cases.count) runs, every one of \(number - 1) calls failed, \(hit.sorted { $0.key < $1.key }), "
                    + "\(poisoned) ended with 74, \(survived) lived, \((Monotonic.milliseconds() - began) / 1_000) s")
            for fault in faults.prefix(10) { Issue.record("seed \(seed): \(fault)") }
            #expect(number > 200 && poisoned > 30 && survived > 20)
            for kind in ["write", "sync", "allocate", "rename", "createFile", "createDirectory", "remove"] {
                #expect(hit[kind] ?? 0 > 0, "no \(kind) failed: \(hit)")
            }
            #expect(hit["write of a meta page"] ?? 0 > 0, "no meta page failed: \(hit)")
            #expect(hit["write past the page cache"] ?? 0 >= 2 * kinds.count, "\(hit)")
        }

        @Test func `a log that goes on after a failed commit is caught`() throws {
            let workshop = TemporaryDirectory(below: "/dev/shm")
            let verifier = ScriptVerifier(units: Self.units, scratch: workshop.path)
            var caught = 0
            for number in 15..<25 {
                let directory = workshop.path + "/data"
                let run = try play(
                    .init(classes: "s", kind: .eio, number: number), directory, .allocated, plant: .ignoreErrors)
                let verdict = try verifier.verify(
                    .init(path: directory, acknowledged: run.acknowledged, submitted: Self.units))
                if judge(run) != nil || verdict.fault != nil { caught += 1 }
                removeTree(directory)
            }
            // Some of the ten are no syncs of the log.
            #expect(caught >= 6, "\(caught) of 10")
        }

        /// Runs the script in `directory`, which is new.
        private func play(
            _ fault: DiskShim.Fault, _ directory: String, _ space: DriverSpace, plant: DiskShim.Plant = .none
        ) throws -> Case {
            let scratch = TemporaryDirectory(below: "/dev/shm")
            var shim = try DiskShim(root: directory, scratch: scratch.path)
            shim.fault = fault
            shim.plant = plant
            let result = try run(
                Programs.ledgerDriver, ["run", directory, shim.acknowledgements, "\(Self.units)"],
                variables: shim.variables.merging(space.variables) { $1 }, scratch: scratch.path)
            let trace = try shim.takeTrace()
            var call: DiskTrace.Call?
            if let index = trace.faultIndex {
                // Of a call that changed nothing there is no record: the fault's own names it.
                let record = trace.calls[index - 1]
                call = record
                call?.isMetaPage = record.faultClass == "m"
                call?.isPastCache = record.faultClass == "z"
                call?.kind =
                    "mz".contains(record.faultClass)
                    ? .write : .init(rawValue: record.faultClass.asciiValue ?? 0) ?? .fault
            }
            return Case(
                fault: fault, space: space, status: result.status, call: call,
                acknowledged: shim.takeAcknowledgements().count { $0 != "done" },
                commitsAfterFailure: trace.commitsAfterFailure, errorOutput: result.errorOutput)
        }

        /// What is wrong with how the process took it; nil where it is right.
        private func judge(_ run: Case) -> String? {
            let what = "\(run.fault), space \(run.space) (\(describe(run)))"
            guard let call = run.call else { return nil }
            // Space that cannot be written ahead is allocated; what cannot be allocated ahead is tried again by who needs it.
            let isAhead = call.isPastCache || run.space == .written && call.kind == .allocate
            let isLog = call.isLog && !isAhead
            switch (run.fault.kind, run.status) {
            case (.kill, .killed(SIGKILL)): return nil
            case (.kill, _): return "\(what): not killed"
            // Repeating is right where nothing was done, and stopping always is.
            case (.interrupted, .exited(0)), (.interrupted, .exited(74)), (.interrupted, .exited(73)): return nil
            case (_, .exited(74)), (_, .exited(73)): break
            case (.noSpace, .exited(0)):
                // A cache pauses; the log is refused its room before it begins, and nowhere else.
                if isLog, call.kind != .allocate { return "\(what): it went on without room for what it had begun" }
            case (.short, .exited(0)) where !isLog: break
            case (_, .exited(0)):
                // A leftover that cannot be removed, or whatever else can wait: but never the log.
                if isLog { return "\(what): it went on" }
            default: return "\(what): it ended badly"
            }
            if call.isLog, run.fault.kind == .noSpace, call.kind == .allocate, run.status != .exited(0) {
                return "\(what): a full disk ended it"
            }
            return run.commitsAfterFailure.first.map { "\(what): \($0)" }
        }

        private func describe(_ run: Case) -> String {
            "\(run.call.map { "\($0.kind)\($0.isMetaPage ? ", meta page," : "") of \($0.path)" } ?? "none"), "
                + "\(run.status), \(run.acknowledged) units acknowledged, \(run.errorOutput.suffix(300))"
        }
    }
}
