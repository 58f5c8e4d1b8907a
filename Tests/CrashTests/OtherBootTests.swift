import Glibc
import TestSupport
import Testing

extension ProgramTests {
    /// Goal: after the system went down, nothing that was committed without a sync is believed, and what is rebuilt is what
    /// there was. Method: another boot's id in the STATE files, which is all that a start can see of it.
    @Suite struct OtherBootTests {
        @Test func `index and read models are made anew from the log, equal to what they were`() throws {
            let seed = announcedSeed("OtherBootTests")
            let place = LedgerPlace()
            let first = try place.serve(["--test"])
            try fill(place, units: 600, seed: seed)
            let client = try place.connect()
            let log = try client.readLog()
            #expect(log.count >= 600)
            try client.waitForModels(at: log.count)
            let leads = StormWriter.sharedLeads + log.suffix(30).compactMap { $0["subject"].string }
            let before = try client.answers(about: leads)
            try first.process.killAndWait()

            // Control: within the same boot a kill alone rebuilds nothing.
            let second = try place.serve(["--test"])
            let kept = try origins(place)
            #expect(kept.allSatisfy { $0.value == "kept" }, "\(kept)")
            try place.connect().waitForModels(at: log.count)
            #expect(differences(before, try place.connect().answers(about: leads)) == [])
            try second.process.killAndWait()

            #expect(try pretendAnotherBoot(place) == 1 + LineClient.modelNames.count)
            let third = try place.serve(["--test"])
            // An append is decided by the index, which is there before the first one is taken.
            for lead in StormWriter.sharedLeads.prefix(5) {
                let again = try place.connect().ask("append", StormWriter.setupParams(lead))
                #expect(again["duplicate"].boolean == true, "\(again)")
            }
            let found = try origins(place)
            #expect(found.count == 1 + LineClient.modelNames.count)
            #expect(found.allSatisfy { $0.value.contains("boot") }, "\(found)")
            try place.connect().waitForModels(at: log.count)
            #expect(differences(before, try place.connect().answers(about: leads)) == [])
            #expect(try place.connect().readLog() == log)
            #expect(try third.terminate() == .exited(0))
            let check = try place.check(["--test"])
            #expect(check.status == .exited(0) && check.findings == [], "\(check)")
        }

        /// Where the index and each read model come from, as the daemon says.
        private func origins(_ place: LedgerPlace) throws -> [String: String] {
            let client = try place.connect()
            var origins = ["index": try client.ask("status")["index"]["origin"].string ?? "?"]
            for model in try client.ask("projection.list")["projections"].elements {
                origins[model["name"].string ?? "?"] = model["origin"].string ?? "?"
            }
            return origins
        }
    }
}

/// Changes the boot id in every STATE file of a stopped ledger: to the next start, the system has gone down since.
/// - Returns: how many there were.
@discardableResult
func pretendAnotherBoot(_ place: LedgerPlace) throws -> Int {
    let builds = names(in: place.data + "/models").filter { $0.contains("@") }.map { "models/\($0)" }
    var count = 0
    for directory in ["index"] + builds {
        let path = "\(place.data)/\(directory)/STATE"
        // One that was killed while it was being made has none yet.
        guard access(path, F_OK) == 0 else { continue }
        var lines = try text(ofFile: path).split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        guard let boot = lines.firstIndex(where: { $0.hasPrefix("boot=") }), lines.contains("state=open") else {
            continue
        }
        lines[boot] = "boot=00000000-0000-4000-8000-000000000000"
        try write(lines.joined(separator: "\n"), toFile: path)
        count += 1
    }
    return count
}
