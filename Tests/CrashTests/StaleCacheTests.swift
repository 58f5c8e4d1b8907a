import Glibc
import TestSupport
import Testing

extension ProgramTests {
    /// Goal: a start believes the device, not the memory of the system that failed it (T5, hazard L3). Method: the flush of a
    /// write fails; the pages stay in memory, marked clean, and the device never gets them (as ext4, xfs and btrfs do it:
    /// Rebello et al., ATC'20). The process ends, another starts, and what it says is there must still be there when the
    /// power goes, which brings the device's pages back.
    ///
    /// `LEADLEDGER_STALE_CASES` says how many; `LEADLEDGER_TEST_SEED` repeats the choices.
    @Suite struct StaleCacheTests {
        private static let units = 40

        @Test func `what a start finds after a failed flush is on the device`() throws {
            let seed = announcedSeed("StaleCacheTests")
            let count = amount("LEADLEDGER_STALE_CASES", 24)
            let began = Monotonic.milliseconds()
            let result = try failFlushes(count, seed: seed)
            print("StaleCacheTests: \(result.summary), \((Monotonic.milliseconds() - began) / 1_000) s")
            for fault in result.faults.prefix(10) { Issue.record("seed \(seed): \(fault)") }
            #expect(result.cases == count && result.withLostPages >= count / 2)
        }

        /// LMDB goes on in the place of the meta page that it found at opening: it must not have found one that is not there.
        @Test func `a meta page that only memory has is not chosen`() throws {
            let seed = announcedSeed("StaleCacheTests, meta pages")
            let result = try failFlushes(8, seed: seed, classes: ["m"], lasting: true)
            for fault in result.faults { Issue.record("seed \(seed): \(fault)") }
            #expect(result.withLostPages == 8, "\(result.summary)")
        }

        @Test func `a start that believes its memory is caught`() throws {
            let seed = announcedSeed("StaleCacheTests, planted")
            let result = try failFlushes(20, seed: seed, plant: .keepCache, classes: ["m"], lasting: true)
            #expect(result.faults.count > 2, "\(result.summary)")
        }

        private struct Result {
            var cases = 0
            /// In which the device has other pages than memory had when the process ended.
            var withLostPages = 0
            var faults: [String] = []
            var summary: String {
                "\(cases) failed flushes, \(withLostPages) of them lost pages, \(faults.count) faults"
            }
        }

        private func failFlushes(
            _ count: Int, seed: UInt64, plant: DiskShim.Plant = .none, classes: [String] = ["s", "m", "w"],
            lasting: Bool? = nil
        ) throws -> Result {
            var random = SeededGenerator(seed: seed)
            var result = Result()
            var attempts = 0
            while result.cases < count {
                attempts += 1
                guard attempts < 3 * count else { throw TimedOut("\(count) faults that come to pass") }
                let scratch = TemporaryDirectory(below: "/dev/shm")
                let directory = scratch.path + "/data"
                let verifier = ScriptVerifier(units: Self.units, scratch: scratch.path)

                // 1. The flush fails.
                let space = DriverSpace.allCases.randomElement(using: &random)!
                var shim = try DiskShim(root: directory, scratch: scratch.path)
                shim.usesUndo = true
                let fault = DiskShim.Fault(
                    classes: classes.randomElement(using: &random)!, kind: .swallow,
                    number: Int.random(in: 1...30, using: &random), isLasting: lasting ?? random.chance(50))
                shim.fault = fault
                let first = try run(
                    Programs.ledgerDriver, ["run", directory, shim.acknowledgements, "\(Self.units)"],
                    variables: shim.variables.merging(space.variables) { $1 }, scratch: scratch.path)
                guard try shim.takeTrace().faultIndex != nil else { continue }
                result.cases += 1
                let what = "\(fault), space \(space), after \(result.cases) cases"
                guard first.status == .exited(74) else {
                    result.faults.append("\(what): \(first.status), \(first.errorOutput)")
                    continue
                }
                if try !bytes(ofFile: shim.undo).isEmpty { result.withLostPages += 1 }
                let acknowledged = shim.takeAcknowledgements().count

                // 2. A start, by which something is said to be there; now and then more is appended.
                shim.fault = nil
                shim.plant = plant
                let isPlayed = plant == .none && random.chance(50)
                let second = try verifier.verify(
                    .init(
                        path: directory, acknowledged: acknowledged, submitted: Self.units, isPlayed: isPlayed),
                    variables: shim.variables.merging(space.variables) { $1 })
                guard let found = second.units else {
                    result.faults.append("\(what), \(acknowledged) acknowledged, at the start: \(second.fault ?? "")")
                    continue
                }

                // 3. The power goes: memory is what the device has.
                try restore(shim.undo, directory + "/log/data.mdb")
                let third = try verifier.verify(
                    .init(
                        path: directory, acknowledged: isPlayed ? Self.units : found, submitted: Self.units,
                        boot: "00000000-0000-4000-8000-000000000001"), variables: space.variables)
                if let why = third.fault {
                    result.faults.append(
                        "\(what), \(found) found\(isPlayed ? ", all played" : ""), after the cut: \(why)")
                }
            }
            return result
        }

        /// Puts back the pages that the device has: 8 bytes of offset, 4,096 of page.
        private func restore(_ undo: String, _ path: String) throws {
            let pages = try bytes(ofFile: undo)
            let descriptor = open(path, O_WRONLY | O_CLOEXEC)
            guard descriptor >= 0 else { throw SystemFailure("open \(path)") }
            defer { close(descriptor) }
            try pages.withUnsafeBytes { pages in
                for start in stride(from: 0, to: pages.count, by: 8 + 4_096) {
                    let offset = pages.loadUnaligned(fromByteOffset: start, as: Int64.self)
                    guard pwrite(descriptor, pages.baseAddress! + start + 8, 4_096, off_t(offset)) == 4_096 else {
                        throw SystemFailure("write \(path)")
                    }
                }
            }
        }
    }
}
