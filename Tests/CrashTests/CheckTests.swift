import Glibc
import TestSupport
import Testing

extension ProgramTests {
    /// What `leadledgerd check` finds, and that it finds nothing else.
    @Suite struct CheckTests {
        @Test func `a sound directory is clean, whether it was closed or killed, and is left as it is`() throws {
            let seed = announcedSeed("CheckTests")
            let place = LedgerPlace()
            var daemon = try place.serve(["--test"])
            try fill(place, units: 200, seed: seed)
            try daemon.terminate()
            for _ in 0..<2 {
                let before = try contents(of: place.data)
                let result = try place.check(["--test"])
                #expect(result.status == .exited(0) && result.findings == [], "\(result)")
                #expect(result.errorOutput.contains("clean"))
                #expect(try contents(of: place.data) == before)
                daemon = try place.serve(["--test"])
                try place.connect().ask("append", captureParams("late"))
                try daemon.process.killAndWait()
            }
        }

        @Test func `a directory that a daemon has is refused`() throws {
            let place = LedgerPlace()
            let daemon = try place.serve()
            let result = try place.check()
            #expect(result.status == .exited(73), "\(result)")
            #expect(result.errorOutput.contains("another daemon"), "\(result.errorOutput)")
            #expect(try place.connect().ask("status")["head"].integer == 0)
            #expect(try daemon.terminate() == .exited(0))
        }

        /// Flips one bit of a value that is in use, eight times in each environment; each must be found, and there.
        @Test func `flipped bits are found in the log, in the index and in every read model`() throws {
            let seed = announcedSeed("CheckTests")
            var random = SeededGenerator(seed: seed)
            let place = LedgerPlace()
            let daemon = try place.serve(["--test"])
            let client = try place.connect()
            // With a rule set in force, so that the model of decisions has some.
            let rules =
                #"{\"policy\":\"p\",\"seed\":\"s\",\"members\":[{\"id\":\"m\"}],"#
                + #"\"pools\":[{\"id\":\"all\",\"members\":[\"m\"]}],\"catch_all\":\"all\"}"#
            try client.ask("policy.publish", #"{"document":"\#(rules)"}"#)
            try client.ask("policy.activate", #"{"policy":"p"}"#)
            try fill(place, units: 150, seed: seed)
            try Monotonic.wait(for: "decisions") {
                try client.ask("log.read", #"{"from":0,"filter":{"types":["lead.assigned"]}}"#)["events"].elements
                    .contains { $0["data"]["decision"].isPresent }
            }
            try client.waitForModels(at: try client.ask("status")["head"].integer!)
            try daemon.terminate()

            let models = names(in: place.data + "/models").filter { $0.contains("@") }.map { "models/\($0)" }
            #expect(models.count == LineClient.modelNames.count)
            var flips = 0
            var found = 0
            for environment in ["log", "index"] + models {
                // The log's `meta` holds its creation time, which nothing else tells.
                let values = try liveValues(in: "\(place.data)/\(environment)").filter {
                    $0.table != "meta" && $0.count > 0
                }
                let tables = Set(values.map(\.table)).sorted()
                for number in 0..<8 {
                    let table = tables[number % tables.count]
                    let value = values.filter { $0.table == table }.randomElement(using: &random)!
                    let bit = Int.random(in: 0..<value.count * 8, using: &random)
                    let path = "\(place.data)/\(environment)/data.mdb"
                    try flip(bit: value.offset * 8 + bit, of: path)
                    let result = try place.check(["--test"])
                    let context: Comment =
                        "seed \(seed): bit \(bit) of \(value.count) bytes at \(value.offset) of \(environment) \(table): \(result)"
                    let isFound = result.findings.contains { $0.hasPrefix(environment + "\t") }
                    #expect(result.status == .exited(1) && isFound, context)
                    try flip(bit: value.offset * 8 + bit, of: path)
                    flips += 1
                    if isFound { found += 1 }
                }
            }
            let result = try place.check(["--test"])
            #expect(result.status == .exited(0) && result.findings == [], "\(result)")
            print("CheckTests: \(found) of \(flips) flips found")
            #expect(flips == 8 * (2 + models.count))
            // What a check computes for comparison is gone again.
            #expect(names(in: place.scratch).filter { $0.hasPrefix("leadledger-check") } == [])
        }

        /// A bit anywhere, page headers and tree pages included: LMDB may crash there, and `check` may not.
        @Test func `a bit flipped anywhere gives a verdict and no crash of the checker`() throws {
            let seed = announcedSeed("CheckTests")
            var random = SeededGenerator(seed: seed)
            let place = LedgerPlace()
            let daemon = try place.serve(["--test"])
            try fill(place, units: 60, seed: seed)
            try daemon.terminate()
            var found = 0
            for _ in 0..<12 {
                let path = place.data + "/log/data.mdb"
                // Where there are pages in use: the rest is allocated ahead.
                let used = try liveValues(in: place.data + "/log").map { $0.offset + $0.count }.max()!
                let bit = Int.random(in: 0..<used * 8, using: &random)
                try flip(bit: bit, of: path)
                let result = try place.check(["--test"])
                let isVerdict = result.status == .exited(0) && result.findings == []
                let isFinding = result.status == .exited(1) && result.findings != []
                #expect(isVerdict || isFinding, "seed \(seed), bit \(bit): \(result)")
                if isFinding { found += 1 }
                try flip(bit: bit, of: path)
            }
            print("CheckTests: \(found) of 12 flips anywhere in the log mattered")
            #expect(found > 0)
        }

        @Test func `a log cut short is found`() throws {
            let place = LedgerPlace()
            let daemon = try place.serve(["--test"])
            try capture(50, try place.connect())
            try daemon.terminate()
            let path = place.data + "/log/data.mdb"
            let used = try liveValues(in: place.data + "/log").map(\.offset).max()!
            truncate(path, off_t(used / 4_096 * 4_096))
            let result = try place.check(["--test"])
            #expect(result.status == .exited(1), "\(result)")
            #expect(result.findings.contains { $0.hasPrefix("log\t") }, "\(result)")
        }

        private func flip(bit: Int, of path: String) throws {
            let descriptor = open(path, O_RDWR | O_CLOEXEC)
            guard descriptor >= 0 else { throw SystemFailure("open \(path)") }
            defer { close(descriptor) }
            var byte: UInt8 = 0
            guard pread(descriptor, &byte, 1, off_t(bit / 8)) == 1 else { throw SystemFailure("read \(path)") }
            byte ^= 1 << UInt8(bit % 8)
            guard pwrite(descriptor, &byte, 1, off_t(bit / 8)) == 1 else { throw SystemFailure("write \(path)") }
        }

        /// Every file but lock files, in which LMDB notes its readers.
        private func contents(of directory: String) throws -> [String: [UInt8]] {
            var contents: [String: [UInt8]] = [:]
            for name in names(in: directory) where !name.hasSuffix("lock.mdb") {
                let path = directory + "/" + name
                if let file = try? bytes(ofFile: path), names(in: path).isEmpty {
                    contents[path] = file
                } else {
                    contents.merge(try self.contents(of: path)) { $1 }
                }
            }
            return contents
        }
    }
}
