import Glibc
import TestSupport
import Testing

extension ProgramTests {
    /// Goal: P1 to P3 across kills (T1). Method: four writers on the socket, the daemon killed at random moments, some of them
    /// in the middle of a start, of the rebuilding of index and read models after another boot, or of `projection.rebuild`;
    /// after each restart the log is read and held against what the writers were told. (A kill at every call that changes a
    /// file, in turn, is ErrorSweepTests'.)
    ///
    /// `LEADLEDGER_KILLS` says how many kills; `LEADLEDGER_TEST_SEED` repeats the choices, though not the scheduler's.
    @Suite struct KillStormTests {
        @Test func `no acknowledged event is lost or doubled when the daemon is killed at random moments`() throws {
            let seed = announcedSeed("KillStormTests")
            let kills = environmentVariable("LEADLEDGER_KILLS").flatMap { Int($0) } ?? 200
            var storm = try Storm(seed: seed)
            let began = Monotonic.milliseconds()
            while storm.kills < kills, storm.faults.isEmpty { try storm.round() }
            try storm.finish()
            print(
                "KillStormTests: \(storm.summary), \((Monotonic.milliseconds() - began) / 1_000) s")
            for fault in storm.faults { Issue.record("seed \(seed): \(fault)") }
            // A storm in which little was written proves little.
            #expect(storm.kills >= kills)
            #expect(storm.history.entries.count >= kills * 20)
            #expect(storm.repeatedAndThere + storm.repeatedAndNew >= kills)
            if kills >= 100 {
                #expect(storm.repeatedAndThere > 0 && storm.repeatedAndNew > 0)
                #expect(storm.killsOfRecovery >= kills / 20 && storm.killsAfterBoots >= kills / 50)
                #expect(storm.roundsWithRebuilds >= kills / 20)
            }
        }

        /// The kernel keeps what was written, so a kill shows nothing of a sync that is left out: `DurabilityTraceTests` has that.
        @Test func `a daemon that answers before it commits is caught by the storm`() throws {
            let seed = announcedSeed("KillStormTests, planted")
            var storm = try Storm(seed: seed, program: Programs.plantedDaemon, arguments: ["--early"])
            while storm.kills < 40, storm.faults.isEmpty { try storm.round() }
            print("KillStormTests: planted, \(storm.summary), \(storm.faults.first ?? "nothing found")")
            // It was the kill that lost something, not a daemon that ended by itself.
            #expect(storm.faults.contains { $0.hasPrefix("acked-is-there") }, "seed \(seed): \(storm.faults)")
        }

        @Test func `the storm's checker finds a lost, a doubled, a moved, a changed and a half-stored event`() {
            func event(_ position: Int, _ id: String, version: Int) -> JSONTree {
                .object([
                    "position": .number("\(position)"), "subject": .string("L"), "source": .string("s"),
                    "id": .string(id), "type": .string("lead.captured"), "version": .number("\(version)"),
                ])
            }
            func name(_ id: String) -> EventName { EventName(subject: "L", source: "s", id: id) }
            func answer(_ first: Int, _ versions: [Int]) -> JSONTree {
                .object([
                    "first": .number("\(first)"), "last": .number("\(first + versions.count - 1)"),
                    "durability": .string("synced"),
                    "events": .array(
                        versions.enumerated().map { index, version in
                            .object([
                                "position": .number("\(first + index)"), "subject": .string("L"),
                                "version": .number("\(version)"),
                            ])
                        }),
                ])
            }
            let unit = Unit(names: [name("b"), name("c")], params: "", floor: 0)
            func faults(_ events: [JSONTree], _ body: (inout History) -> Void = { _ in }) -> [String] {
                var history = History()
                for event in events { history.read(event) }
                body(&history)
                return history.faults
            }
            let (a, b, c) = (event(0, "a", version: 1), event(1, "b", version: 2), event(2, "c", version: 3))

            // As it should be.
            #expect(faults([a, b, c]) { $0.check(unit, at: answer(1, [2, 3])) }.isEmpty)
            var places: [ClosedRange<Int>?] = []
            #expect(faults([a]) { places.append($0.look(for: unit)) }.isEmpty)
            #expect(faults([a, b, c]) { places.append($0.look(for: unit)) }.isEmpty)
            #expect(places == [nil, 1...2])
            // Lost at the end, and in the middle.
            #expect(!faults([a, b]) { $0.check(unit, at: answer(1, [2, 3])) }.isEmpty)
            #expect(!faults([a, c]).isEmpty)
            // Doubled.
            #expect(!faults([a, b, c, event(3, "b", version: 4)]).isEmpty)
            // Moved, and with another version than was said.
            #expect(
                !faults([a, event(1, "c", version: 2), event(2, "b", version: 3)]) {
                    $0.check(unit, at: answer(1, [2, 3]))
                }.isEmpty)
            #expect(!faults([a, b, c]) { $0.check(unit, at: answer(1, [2, 4])) }.isEmpty)
            // Half stored.
            #expect(!faults([a, b]) { _ = $0.look(for: unit) }.isEmpty)
            // Before what was acknowledged earlier.
            let late = Unit(names: unit.names, params: "", floor: 1)
            #expect(!faults([a, b, c]) { $0.check(late, at: answer(1, [2, 3])) }.isEmpty)
            // Refused and there, and from nobody.
            #expect(!faults([a, b, c]) { $0.checkAbsence(of: unit) }.isEmpty)
            #expect(!faults([a, b, c]) { $0.checkNames([name("a"), name("b")]) }.isEmpty)
        }
    }
}

/// The daemon, its writers, and what is known of the log.
private struct Storm {
    private let place = LedgerPlace()
    /// The daemon that is killed, and what it is told besides the usual.
    private let program: String
    private let arguments: [String]?
    /// A configuration file.
    private let small: String
    private let writers: [StormWriter]
    private var random: SeededGenerator
    /// Microseconds until a kill: several commits, also where a commit takes long.
    private let momentMax: Int
    private var rounds = 0
    private(set) var kills = 0
    /// Before the daemon served; and of these, while it made index and read models anew.
    private(set) var killsOfRecovery = 0
    private(set) var killsAfterBoots = 0
    /// In which read models were being rebuilt, on request, when the kill came.
    private(set) var roundsWithRebuilds = 0
    private(set) var checks = 0
    private(set) var modelComparisons = 0
    private(set) var history = History()
    private var ownFaults: [String] = []

    var faults: [String] { history.faults + writers.flatMap(\.faults) + ownFaults }
    var repeatedAndThere: Int { writers.reduce(0) { $0 + $1.repeatedAndThere } }
    var repeatedAndNew: Int { writers.reduce(0) { $0 + $1.repeatedAndNew } }
    var summary: String {
        "\(kills) kills (\(killsOfRecovery) of a start, \(killsAfterBoots) of one after another boot, \(roundsWithRebuilds) amid "
            + "rebuilds of read models), \(history.entries.count) events, unanswered and there \(repeatedAndThere), unanswered and new "
            + "\(repeatedAndNew), \(modelComparisons) comparisons of read models, \(checks) checks"
    }

    /// - Parameter arguments: nil for now these, now those of the daemon as it is.
    init(seed: UInt64, program: String = Programs.daemon, arguments: [String]? = nil) throws {
        self.program = program
        self.arguments = arguments
        small = place.scratch + "/small.yaml"
        random = SeededGenerator(seed: seed)
        let acknowledged = AcknowledgedHead()
        writers = (0..<4).map { StormWriter(number: $0, seed: seed, acknowledged: acknowledged) }
        // Commits of index and models, and with them the trimming of the tail, many times a round.
        try write(
            """
            index_commit_events: 40
            index_commit_ms: 15
            model_commit_events: 25
            model_commit_ms: 5
            """, toFile: small)
        let daemon = try place.serve()
        let client = try place.connect()
        let began = Monotonic.milliseconds()
        for lead in StormWriter.sharedLeads { try client.ask("append", StormWriter.setupParams(lead)) }
        let each = Int(Monotonic.milliseconds() - began) * 1_000 / StormWriter.sharedLeads.count
        momentMax = max(50_000, 8 * each)
        try daemon.process.killAndWait()
    }

    private func start() throws -> DaemonProcess {
        let usual = rounds.isMultiple(of: 2) ? [] : ["--test", "--config", small]
        return try DaemonProcess(place, program: program, arguments: arguments ?? usual)
    }

    /// Starts, compares, writes, kills.
    mutating func round() throws {
        rounds += 1
        if rounds.isMultiple(of: 20) { try checkStopped() }

        // 1. Start; on some rounds the first attempts are killed in the middle of recovery, or of a rebuild of all caches.
        let isOtherBoot = random.chance(15)
        if isOtherBoot { try pretendAnotherBoot(place) }
        while random.chance(isOtherBoot ? 60 : 25) {
            let daemon = try start()
            Monotonic.sleep(microseconds: Int.random(in: 0..<120_000, using: &random))
            try daemon.process.killAndWait()
            kills += 1
            killsOfRecovery += 1
            if isOtherBoot { killsAfterBoots += 1 }
        }
        let daemon = try start()
        try daemon.waitUntilServing()

        // 2. What is there now, against what was said before.
        try compareLog()
        // Read models that are being made anew say so, and answer later.
        if isOtherBoot { try place.connect().waitForModels(at: history.entries.count) }
        try compareModels(thoroughly: rounds.isMultiple(of: 20))

        // 3. Write, until the kill.
        let moment = Int.random(in: 1_000..<momentMax, using: &random)
        let socket = place.socket
        let process = daemon.process
        var bodies: [@Sendable () -> Void] = writers.map { writer in { writer.write(to: socket) } }
        bodies.append {
            Monotonic.sleep(microseconds: moment)
            process.send(signal: SIGKILL)
        }
        if random.chance(20) {
            roundsWithRebuilds += 1
            let first = Int.random(in: 0..<4, using: &random)
            bodies.append {
                // Until the kill: an answer is as good as none.
                guard let client = try? LineClient(socket) else { return }
                for number in 0..<1_000 {
                    let model = LineClient.modelNames[(first + number) % LineClient.modelNames.count]
                    do {
                        _ = try client.refusal("projection.rebuild", #"{"name":"\#(model)","wait":true}"#)
                    } catch { return }
                }
            }
        }
        onThreads(bodies)
        let status = try process.waitForEnd()
        if status != .killed(signal: SIGKILL) {
            ownFaults.append("the daemon ended by itself with \(status): \(process.errorOutput)")
        }
        kills += 1
    }

    /// All is answered; the log once more from its beginning; every answer once more.
    mutating func finish() throws {
        guard faults.isEmpty else { return }
        let daemon = try start()
        try daemon.waitUntilServing()
        try compareLog()
        let socket = place.socket
        onThreads(writers.map { writer in { writer.write(to: socket, isDone: { true }) } })
        try compareLog()
        try compareModels(thoroughly: true)
        for writer in writers where !writer.unanswered.isEmpty {
            ownFaults.append("\(writer.unanswered.count) units of writer \(writer.number) have no answer")
        }

        // What was read round by round is what stands there now.
        let again = try place.connect().readLog()
        if again.count != history.entries.count || zip(again, history.entries).contains(where: { $0 != $1.text }) {
            ownFaults.append("the log read again from its beginning differs from what was read before")
        }
        var sent = Set(StormWriter.sharedLeads.map { EventName(subject: $0, source: "urn:storm:setup", id: "first") })
        for writer in writers { for unit in writer.units { sent.formUnion(unit.names) } }
        history.checkNames(sent)
        try repeatAnswers()

        let status = try daemon.terminate()
        if status != .exited(0) { ownFaults.append("SIGTERM ended it with \(status): \(daemon.process.errorOutput)") }
        try checkStopped()
    }

    // MARK: Comparing

    private mutating func compareLog() throws {
        for event in try place.connect().readLog(from: history.entries.count) { history.read(event) }
        for writer in writers {
            for unit in writer.takeAnswered() {
                switch unit.outcome {
                case .acked(let answer): history.check(unit, at: answer)
                case .refused: history.checkAbsence(of: unit)
                case .unanswered: break
                }
            }
            writer.look(in: &history)
        }
    }

    /// The read models against the plain model, and on some rounds against one that is built anew.
    private mutating func compareModels(thoroughly: Bool) throws {
        let client = try place.connect()
        let plain = history.leads
        modelComparisons += 1
        // `lead.get` waits for its model by itself.
        let sample =
            StormWriter.sharedLeads.prefix(3)
            + history.entries.suffix(200).map(\.name.subject).shuffled(using: &random).prefix(4)
        for lead in sample {
            let answer = try client.askWhenFresh("lead.get", #"{"lead":"\#(lead)"}"#)
            if let difference = plain.difference(answer["lead"], lead) { ownFaults.append("\(lead): \(difference)") }
        }
        try client.waitForModels(at: history.entries.count)
        let queue = try client.ask("queue.list", #"{"limit":1}"#)
        let funnel = try client.ask("report.funnel", #"{"by":"channel"}"#)["total"]
        let attribution = try client.ask("report.attribution", #"{"by":"channel"}"#)["totals"][0]
        expect("waiting leads", queue["total"].integer, plain.waiting)
        expect("leads of the funnel", funnel["leads"].integer, plain.leads.count)
        expect("won leads of the funnel", funnel["won"].integer, plain.won)
        expect("conversions", attribution["conversions"].integer ?? 0, plain.wins)
        expect("won amount", attribution["value"].string.flatMap { Int($0) } ?? 0, plain.wonAmount)
        guard thoroughly else { return }
        let before = try client.answers(about: Array(sample))
        for model in LineClient.modelNames {
            try client.ask("projection.rebuild", #"{"name":"\#(model)","wait":true}"#)
        }
        ownFaults += differences(before, try client.answers(about: Array(sample)))
    }

    /// told-for-ever, for every unit that was ever acknowledged: leaf hashes and recorded times included.
    private mutating func repeatAnswers() throws {
        for writer in writers {
            let client = try place.connect()
            let acked = writer.units.compactMap { unit in
                if case .acked(let answer) = unit.outcome { (unit, answer) } else { nil }
            }
            for start in stride(from: 0, to: acked.count, by: 100) {
                let slice = acked[start..<min(start + 100, acked.count)]
                for (index, entry) in slice.enumerated() {
                    try client.send(line: request(index, "append", entry.0.params))
                }
                for (unit, answer) in slice {
                    let again = try client.line().map { try JSONTree($0)["result"] } ?? .absent
                    let told: Set = ["duplicate", "projection"]
                    if again["duplicate"].boolean != true || again.without(told) != answer.without(told) {
                        ownFaults.append("told-for-ever: \(unit.names) got \(answer) and later \(again)")
                    }
                }
            }
        }
    }

    private mutating func checkStopped() throws {
        checks += 1
        let result = try place.check()
        if result.status != .exited(0) || !result.findings.isEmpty {
            ownFaults.append("check: \(result.status), \(result.findings.prefix(5)), \(result.errorOutput)")
        }
    }

    private mutating func expect(_ what: String, _ found: Int?, _ expected: Int) {
        if found != expected {
            ownFaults.append("\(what): \(found.map(String.init) ?? "none"), the log says \(expected)")
        }
    }
}
