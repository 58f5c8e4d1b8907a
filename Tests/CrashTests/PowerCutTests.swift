import Glibc
import TestSupport
import Testing

extension ProgramTests {
    /// Goal: P1 to P3 across power cuts (T2). Method: a run of the driver is traced, creation and restarts included; from the
    /// trace, disks are made as a cut at any moment may leave them (see `CutDisk`), and each is opened and held against the
    /// script. Where up to ten changes of the log were pending at a sync, all their subsets are made. A sixth of the disks
    /// are of a log whose space is written ahead past the page cache, as in service.
    ///
    /// `LEADLEDGER_CUT_IMAGES` says how many disks; `LEADLEDGER_TEST_SEED` repeats them.
    @Suite struct PowerCutTests {
        private static let units = 50

        @Test func `no acknowledged event is lost or changed whatever a power cut leaves of what was not synced`()
            throws
        {
            let seed = announcedSeed("PowerCutTests")
            let images = amount("LEADLEDGER_CUT_IMAGES", 2_000)
            var exhaustiveSyncs = 0
            var withUnacknowledged = 0
            for space in DriverSpace.allCases {
                // Disks with written space are larger, and take longer.
                let share = space == .written ? (images + 5) / 6 : images - images / 6
                let began = Monotonic.milliseconds()
                let trace = try traced(space)
                let result = try cut(trace, space, images: share, seed: seed)
                let pastCache = trace.calls.count { $0.isPastCache && $0.length > 0 }
                print(
                    "PowerCutTests: space \(space): \(result.summary), of \(trace.calls.count) calls, \(pastCache) of them "
                        + "past the page cache, \((Monotonic.milliseconds() - began) / 1_000) s")
                for fault in result.faults.prefix(10) { Issue.record("seed \(seed), space \(space): \(fault)") }
                // Disks that prove little do not count for much.
                #expect(result.images >= share)
                #expect(trace.calls.count > 250 && result.moments > share / 12 && result.beforeFirst > 0)
                #expect(space == .written ? pastCache >= 2 : pastCache == 0)
                exhaustiveSyncs += result.exhaustiveSyncs
                withUnacknowledged += result.withUnacknowledged
            }
            #expect(exhaustiveSyncs >= min(20, images / 50) && withUnacknowledged > images / 200)
        }

        @Test func `a log that does not sync loses events to the same cuts`() throws {
            let seed = announcedSeed("PowerCutTests, planted")
            let result = try cut(traced(.allocated, plant: .noSync), .allocated, images: 150, seed: seed)
            #expect(result.faults.count > 20, "only \(result.faults.count) of \(result.images) cuts noticed")
        }

        /// The names of a new ledger are as safe as what is in its files, or it is gone with all that was acknowledged.
        @Test func `directories that are not synced lose the ledger to the same cuts`() throws {
            let seed = announcedSeed("PowerCutTests, directories")
            var trace = try traced(.allocated)
            let directories = Set(trace.calls.filter { $0.kind == .createDirectory }.map(\.inode))
            trace.calls.removeAll { $0.kind == .sync && directories.contains($0.inode) }
            let result = try cut(trace, .allocated, images: 150, seed: seed)
            #expect(result.faults.count > 20, "only \(result.faults.count) of \(result.images) cuts noticed")
        }

        /// What the thread that writes space ahead must never do.
        @Test func `zeros over pages that are used lose events to the same cuts`() throws {
            let seed = announcedSeed("PowerCutTests, zeros")
            var trace = try traced(.written)
            var zeros = try #require(trace.calls.last { $0.isPastCache && $0.length > 0 })
            // Behind the meta pages.
            zeros.offset = 2 * 4_096
            let acknowledgements = trace.calls.indices.filter { trace.calls[$0].kind == .acknowledgement }
            trace.calls.insert(zeros, at: acknowledgements[acknowledgements.count / 2])
            let result = try cut(trace, .written, images: 100, seed: seed)
            #expect(result.faults.count > 10, "only \(result.faults.count) of \(result.images) cuts noticed")
        }

        // MARK: Tracing

        private func traced(_ space: DriverSpace, plant: DiskShim.Plant = .none) throws -> DiskTrace {
            let place = LedgerPlace(below: "/dev/shm")
            var shim = try DiskShim(root: place.data, scratch: place.scratch)
            shim.plant = plant
            shim.keepsBytes = true
            let result = try run(
                Programs.ledgerDriver, ["run", place.data, shim.acknowledgements, "\(Self.units)"],
                variables: shim.variables.merging(space.variables) { $1 }, scratch: place.scratch)
            try #require(result.status == .exited(0), "\(result.errorOutput)")
            #expect(shim.takeAcknowledgements().count == Self.units + 1)
            return try shim.takeTrace()
        }

        // MARK: Cutting

        private struct Result {
            var images = 0
            var moments = 0
            var exhaustiveSyncs = 0
            var beforeFirst = 0
            var withUnacknowledged = 0
            var faults: [String] = []

            var summary: String {
                "\(images) disks at \(moments) moments, all subsets at \(exhaustiveSyncs) syncs, \(beforeFirst) before the "
                    + "first acknowledgement, \(withUnacknowledged) with more than was acknowledged, \(faults.count) faults"
            }
        }

        private struct Cut {
            var moment: Int
            var choices: CutChoices
        }

        private func cut(_ trace: DiskTrace, _ space: DriverSpace, images: Int, seed: UInt64) throws -> Result {
            var random = SeededGenerator(seed: seed)
            let workshop = TemporaryDirectory(below: "/dev/shm")
            let verifier = ScriptVerifier(units: Self.units, scratch: workshop.path)
            var result = Result()
            let cuts = try plan(trace, images: images, &result, using: &random)

            let disk = try CutDisk(for: trace)
            var directories: [ScriptVerifier.Directory] = []
            var labels: [String] = []
            func judge() throws {
                for (index, verdict) in try verifier.verify(directories, variables: space.variables).enumerated() {
                    let acknowledged = directories[index].acknowledged
                    switch verdict {
                    case .sound(let units): if units > acknowledged { result.withUnacknowledged += 1 }
                    case .unsound(let why): result.faults.append("\(labels[index]): \(why)")
                    }
                    if acknowledged == 0 { result.beforeFirst += 1 }
                    removeTree(workshop.path + "/\(index)")
                }
                result.images += directories.count
                directories = []
                labels = []
            }
            var next = 0
            for (moment, call) in trace.calls.enumerated() {
                try disk.begin(call)
                if next < cuts.count, cuts[next].moment == moment { result.moments += 1 }
                while next < cuts.count, cuts[next].moment == moment {
                    let path = workshop.path + "/\(directories.count)"
                    guard mkdir(path, 0o700) == 0 else { throw SystemFailure("mkdir \(path)") }
                    try disk.writeImage(path, cuts[next].choices, using: &random)
                    directories.append(
                        .init(
                            // `done` is a line of its own.
                            path: path + "/data", acknowledged: min(disk.acknowledged, Self.units),
                            // At most four are submitted together.
                            submitted: min(disk.acknowledged + 4, Self.units),
                            boot: "00000000-0000-4000-8000-00000000000\(next % 10)"))
                    labels.append("cut \(next) at call \(moment), \(call.kind) of \(call.path), \(cuts[next].choices)")
                    next += 1
                    if directories.count == 250 { try judge() }
                }
                try disk.finish(call)
            }
            try judge()
            return result
        }

        /// Which disks to make: all subsets at syncs, as far as half the number goes, and the rest by chance.
        private func plan(
            _ trace: DiskTrace, images: Int, _ result: inout Result, using random: inout SeededGenerator
        ) throws -> [Cut] {
            var syncs: [(moment: Int, changes: Int)] = []
            let disk = try CutDisk(for: trace)
            for (moment, call) in trace.calls.enumerated() {
                try disk.begin(call)
                if call.kind == .sync, call.isLog, 1...10 ~= disk.logChanges { syncs.append((moment, disk.logChanges)) }
                try disk.finish(call)
            }
            var cuts: [Cut] = []
            for (moment, changes) in syncs.shuffled(using: &random) where cuts.count + 1 << changes <= images / 2 {
                result.exhaustiveSyncs += 1
                for subset in 0..<1 << changes {
                    cuts.append(Cut(moment: moment, choices: CutChoices(style: .some, logSubset: subset)))
                }
            }
            while cuts.count < images {
                cuts.append(
                    Cut(
                        moment: Int.random(in: trace.calls.indices, using: &random),
                        choices: CutChoices(style: CutChoices.Style.allCases.randomElement(using: &random)!)))
            }
            return cuts.sorted { $0.moment < $1.moment }
        }
    }
}
