import Glibc
import Synchronization
import TestSupport
import Testing

extension ProgramTests {
    /// Goal: nothing that comes on the socket brings the daemon down, holds it up, makes it grow, or changes what a good client
    /// is answered. Method: what a good client says is broken in a dozen ways and sent on connections beside it; each line
    /// must get its reply, or the connection its end, as the wire promises; and the same harness over servers with a fault
    /// planted, which it must find.
    ///
    /// `LEADLEDGER_TEST_SEED` repeats a run, `LEADLEDGER_FRAMES` says how many lines (scripts/test: 20,000).
    @Suite struct MalformedFrameTests {
        /// Those that wait for a read model come seldom, or their waiting would be most of the run.
        private static let conversation = simple + simple + simple + waiting
        private static let simple = [
            #"{"jsonrpc":"2.0","id":#,"method":"append","params":{"events":[{"id":"m-#","source":"urn:test","type":"lead.captured","subject":"M-#","time":"2026-03-01T09:00:00Z","data":{"channel":"fair","campaign":"spring"}}]}}"#,
            #"{"jsonrpc":"2.0","id":"a-#","method":"status"}"#,
            #"{"jsonrpc":"2.0","id":#,"method":"append","params":{"events":[{"id":"u-#","source":"urn:test","type":"lead.captured","subject":"U-#","data":{"channel":"web","email":"ada@example.org","amount":1200,"currency":"EUR"}},{"id":"v-#","source":"urn:test","type":"lead.touched","subject":"U-#","data":{"channel":"mail","kind":"visit"}}],"expect":[{"lead":"U-#","version":"none"}]}}"#,
            #"{"jsonrpc":"2.0","id":#,"method":"log.read","params":{"from":0,"limit":2,"filter":{"types":["lead.captured"]}}}"#,
            #"{"jsonrpc":"2.0","id":null,"method":"schema.get","params":{"name":"lead.won"}}"#,
            #"{"jsonrpc":"2.0","id":#,"method":"projection.list","params":{}}"#,
            "  \t",
        ]
        private static let waiting = [
            #"{"jsonrpc":"2.0","id":-1.5,"method":"queue.list","params":{"limit":1}}"#,
            #"{"jsonrpc":"2.0","id":#,"method":"report.funnel","params":{"by":"channel"}}"#,
        ]

        @Test func `twenty thousand malformed lines neither hurt the daemon nor a good client's answers`() throws {
            let seed = announcedSeed("MalformedFrameTests")
            let framesMin = environmentVariable("LEADLEDGER_FRAMES").flatMap { Int($0) } ?? 20_000
            let place = LedgerPlace()
            let daemon = try place.serve()
            var mutator = FrameMutator(
                seed: seed, conversation: Self.conversation, suite: jsonTestSuite.compactMap { try? bytes(ofFile: $0) })
            let harness = FrameHarness(socket: place.socket)

            // Once of each kind, before what the daemon takes is measured: its parsers keep room for the longest line. Twice,
            // since connections go to two event loops by turns.
            for _ in 0..<2 {
                for kind in kinds {
                    for _ in 0..<2 { harness.run(mutator.attack(kind, frames: 20)) }
                }
            }
            let filesBefore = try openFiles(of: daemon)
            let memoryBefore = try allocated(daemon)

            let good = GoodClient(socket: place.socket)
            let attacks = AttackQueue(mutator: mutator, kinds: kinds, framesLeft: framesMin)
            onThreads([
                { good.run(until: { attacks.isDone }) },
                {
                    while let attack = attacks.next() { harness.run(attack) }
                    attacks.end()
                },
            ])
            let tally = harness.tally
            print("MalformedFrameTests: \(tally.frames) lines over \(tally.connections) connections,")
            print("  \(tally.results) results, errors \(tally.errors.sorted { $0.key < $1.key })")
            print(
                "  by kind \(tally.kinds.map { "\($0.key) \($0.value)" }.sorted()), good client \(good.answers) answers"
            )
            for fault in tally.faults + good.faults { Issue.record("seed \(seed): \(fault)") }
            // A run that does little proves little.
            #expect(tally.frames >= framesMin && good.answers >= 300)
            #expect(tally.kinds.count == kinds.count && tally.kinds.values.allSatisfy { $0 >= 5 }, "\(tally.kinds)")
            for name in [
                "parse_error", "invalid_request", "method_not_found", "duplicate_member", "frame_too_large",
                "unknown_field",
                "invalid_params",
            ] { #expect(tally.errors[name, default: 0] > 0, "\(name)") }
            #expect(tally.results > framesMin / 10)

            // It is as it was: no file too many, the memory bounded, and all that was stored is whole.
            try Monotonic.wait(for: "the files of closed connections to be closed", milliseconds: 20_000) {
                try openFiles(of: daemon) <= filesBefore
            }
            let growth = try allocated(daemon) - memoryBefore
            print("  memory grew by \(growth >> 10) KiB")
            #expect(growth < 16 << 20)
            #expect(daemon.process.poll() == nil, "\(daemon.process.errorOutput)")
            #expect(try daemon.terminate() == .exited(0))
            let check = try place.check()
            #expect(check.status == .exited(0) && check.findings == [], "\(check.findings.prefix(5))")
        }

        /// What the harness must find. The first is no fault, and it must find nothing.
        @Test(arguments: PlantedServer.Fault.allCases) func `a server that errs is found by the harness`(
            _ fault: PlantedServer.Fault
        ) throws {
            let server = try PlantedServer(fault)
            let harness = FrameHarness(socket: server.path, timeoutSeconds: 2)
            var mutator = FrameMutator(seed: 3, conversation: Self.conversation, suite: [Array("[1,]".utf8)])
            // Without those that only a daemon knows how to end.
            let kinds = kinds.filter { ![.overlong, .endless].contains($0) }
            for _ in 0..<4 where harness.tally.faults.isEmpty {
                for kind in kinds { harness.run(mutator.attack(kind, frames: 20)) }
            }
            let tally = harness.tally
            #expect(tally.faults.isEmpty == (fault == .none), "\(fault): \(tally.faults.first ?? "nothing found")")
            #expect(fault != .none || tally.frames > 800)
        }

        private var kinds: [Attack.Kind] { Attack.Kind.allCases.filter { $0 != .suite || !jsonTestSuite.isEmpty } }

        private func openFiles(of daemon: DaemonProcess) throws -> Int {
            names(in: "/proc/\(daemon.process.identifier)/fd").count
        }
    }
}

/// Attacks in turn, for as long as lines are left.
private final class AttackQueue: Sendable {
    private struct State {
        var mutator: FrameMutator
        var framesLeft: Int
        var number = 0
        var isDone = false
    }

    private let state: Mutex<State>
    private let kinds: [Attack.Kind]

    init(mutator: FrameMutator, kinds: [Attack.Kind], framesLeft: Int) {
        state = Mutex(State(mutator: mutator, framesLeft: framesLeft))
        self.kinds = kinds
    }

    var isDone: Bool { state.withLock { $0.isDone } }
    func end() { state.withLock { $0.isDone = true } }

    func next() -> Attack? {
        state.withLock { state in
            guard state.framesLeft > 0 else { return nil }
            // Long lines are slow to send, and there is little about them that varies: each tenth round has them.
            var kind = kinds[state.number % kinds.count]
            if [.overlong, .endless].contains(kind), state.number / kinds.count % 10 != 0 { kind = .flippedBits }
            state.number += 1
            let attack = state.mutator.attack(kind, frames: 100)
            state.framesLeft -= WirePromise(for: attack.bytes).replies
            return attack
        }
    }
}

/// Works on a lead of its own, one request at a time, and looks at every answer.
private final class GoodClient: Sendable {
    private struct State {
        var answers = 0
        var faults: [String] = []
    }

    private let state = Mutex(State())
    private let socket: String

    init(socket: String) { self.socket = socket }

    var answers: Int { state.withLock { $0.answers } }
    var faults: [String] { state.withLock { $0.faults } }

    func run(until isDone: () -> Bool) {
        do {
            let client = try LineClient(socket)
            let reader = try LineClient(socket)
            try client.ask("append", captureParams("good-client", id: "0"))
            try reader.ask("log.subscribe", #"{"from":0,"credit":1000000000,"filter":{"leads":["good-client"]}}"#)
            var version = 1
            var seen = 0
            while !isDone() {
                let answer = try client.ask(
                    "append",
                    #"{"events":[{"id":"\#(version)","source":"urn:test","type":"lead.noted","subject":"good-client","data":{"custom":{"n":\#(version)}}}],"expect":[{"lead":"good-client","version":\#(version)}]}"#
                )
                version += 1
                guard answer["duplicate"].boolean == false, answer["events"][0]["version"].integer == version else {
                    return note("the append of version \(version) was answered \(answer)")
                }
                if version % 10 == 0 {
                    let history = try client.ask(
                        "lead.history", #"{"lead":"good-client","from_version":\#(version - 2)}"#)
                    let ids = history["events"].elements.compactMap { $0["id"].string }
                    guard ids == ["\(version - 3)", "\(version - 2)", "\(version - 1)"] else {
                        return note("the history at version \(version) ended in \(ids)")
                    }
                }
                while reader.hasLine {
                    let events = try JSONTree(try reader.line() ?? "")["params"]["events"].elements
                    for event in events {
                        guard event["version"].integer == seen + 1, event["id"].string == "\(seen)" else {
                            return note("the subscription sent \(event) after version \(seen)")
                        }
                        seen += 1
                    }
                }
                state.withLock { $0.answers += 1 }
                // It is to be there all the time, not to take the machine from those it is there with.
                Monotonic.sleep(microseconds: 1_000)
            }
            guard seen * 2 > version else { return note("the subscription is at version \(seen) of \(version)") }
        } catch { note("\(error)") }
    }

    private func note(_ fault: String) { state.withLock { $0.faults.append("good client: \(fault)") } }
}
