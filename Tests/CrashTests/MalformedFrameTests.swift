import Glibc
import Synchronization
import TestSupport
import Testing

extension ProgramTests {
    /// Goal: nothing that comes on the socket brings the daemon down, holds it up, makes it grow, or changes what a good client
    /// is answered. Method: what a good client says is broken in a dozen ways and sent on connections beside it; each line
    /// must get its reply, or the connection its end, as the wire promises, and no notification that is not due; and the same
    /// harness over servers with a fault planted, which it must find.
    ///
    /// `LEADLEDGER_TEST_SEED` repeats a run, `LEADLEDGER_FRAMES` says how many malformed lines (scripts/test: 20,000). Beside them are
    /// two well-formed ones for five, since some ways of sending only cut or delay what is good.
    @Suite struct MalformedFrameTests {
        /// Those that wait for a read model come seldom, or their waiting would be most of the run; and those of consumer groups, each of
        /// which is a commit of its own. Little credit, and no claim that waits: what is not read, or is asked to wait, holds up a run.
        private static let conversation =
            [subscribing, simple, ending, simple, waiting, simple, working].flatMap { $0 }
        private static let simple = [
            #"{"jsonrpc":"2.0","id":#,"method":"append","params":{"events":[{"id":"m-#","source":"urn:test","type":"lead.captured","subject":"M-#","time":"2026-03-01T09:00:00Z","data":{"channel":"fair","campaign":"spring"}}]}}"#,
            #"{"jsonrpc":"2.0","id":"a-#","method":"status"}"#,
            #"{"jsonrpc":"2.0","id":#,"method":"append","params":{"events":[{"id":"u-#","source":"urn:test","type":"lead.captured","subject":"U-#","data":{"channel":"web","email":"ada@example.org","amount":1200,"currency":"EUR"}},{"id":"v-#","source":"urn:test","type":"lead.touched","subject":"U-#","data":{"channel":"mail","kind":"visit"}}],"expect":[{"lead":"U-#","version":"none"}]}}"#,
            #"{"jsonrpc":"2.0","id":#,"method":"log.read","params":{"from":0,"limit":2,"filter":{"types":["lead.captured"]}}}"#,
            #"{"jsonrpc":"2.0","id":null,"method":"schema.get","params":{"name":"lead.won"}}"#,
            #"{"jsonrpc":"2.0","id":#,"method":"projection.list","params":{}}"#,
            #"{"jsonrpc":"2.0","id":#,"method":"append.many","params":{"units":[{"events":[{"id":"n-#","source":"urn:test","type":"lead.captured","subject":"N-#","data":{"channel":"fair"}}]},{"events":[{"id":"o-#","source":"urn:test","type":"lead.touched","subject":"N-#","data":{"channel":"mail","kind":"visit"}}],"expect":[{"lead":"N-#","version":1}]}]}}"#,
            #"{"jsonrpc":"2.0","id":#,"method":"append","params":{"events":[{"id":"d-#","source":"urn:test","type":"lead.captured","subject":"D-#","data":{"channel":"web"}}],"dry_run":true}}"#,
            "  \t",
        ]
        private static let subscribing = [
            #"{"jsonrpc":"2.0","id":#,"method":"log.subscribe","params":{"from":0,"credit":3,"filter":{"types":["lead.captured"]}}}"#,
            #"{"jsonrpc":"2.0","id":#,"method":"log.credit","params":{"subscription":1,"events":2}}"#,
        ]
        /// Of the subscriptions that a connection may have by then, one is there.
        private static let ending = (1...3).map {
            #"{"jsonrpc":"2.0","id":#,"method":"log.unsubscribe","params":{"subscription":\#($0)}}"#
        }
        private static let working = [
            #"{"jsonrpc":"2.0","id":#,"method":"consumer.create","params":{"group":"brief","from":"head","filter":{"types":["lead.touched"]},"max_attempts":3}}"#,
            #"{"jsonrpc":"2.0","id":#,"method":"consumer.claim","params":{"group":"worked","consumer":"c-#","limit":2}}"#,
            #"{"jsonrpc":"2.0","id":#,"method":"consumer.ack","params":{"group":"worked","tokens":[TOKEN],"events":[{"id":"w-#","source":"urn:test","type":"lead.captured","subject":"W-#","data":{"channel":"web"}}]}}"#,
            #"{"jsonrpc":"2.0","id":#,"method":"consumer.nack","params":{"group":"worked","tokens":[TOKEN],"error":"no such town"}}"#,
            #"{"jsonrpc":"2.0","id":#,"method":"consumer.extend","params":{"group":"worked","tokens":[TOKEN],"lease_ms":43200000}}"#,
            #"{"jsonrpc":"2.0","id":#,"method":"consumer.replay_parked","params":{"group":"worked","limit":1}}"#,
            #"{"jsonrpc":"2.0","id":#,"method":"consumer.status","params":{"group":"worked","limit":1}}"#,
            #"{"jsonrpc":"2.0","id":#,"method":"consumer.delete","params":{"group":"brief"}}"#,
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
            let worker = try place.connect()
            var mutator = FrameMutator(
                seed: seed, conversation: Self.conversation, suite: jsonTestSuite.compactMap { try? bytes(ofFile: $0) },
                tokens: try claimed(500, by: worker))
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
            let warmUp = harness.tally.malformed
            let attacks = AttackQueue(mutator: mutator, kinds: kinds, malformedLeft: framesMin)
            onThreads([
                { good.run(until: { attacks.isDone }) },
                {
                    while let attack = attacks.next() { harness.run(attack) }
                    attacks.end()
                },
            ])
            let tally = harness.tally
            print("MalformedFrameTests: \(tally.frames) lines over \(tally.connections) connections,")
            print("  \(tally.malformed) of them malformed, \(warmUp) of these before the run,")
            print("  \(tally.results) results, errors \(tally.errors.sorted { $0.key < $1.key })")
            print("  \(tally.notifications) notifications, served \(tally.served.sorted { $0.key < $1.key })")
            print(
                "  by kind \(tally.kinds.map { "\($0.key) \($0.value)" }.sorted()), good client \(good.answers) answers"
            )
            for fault in tally.faults + good.faults { Issue.record("seed \(seed): \(fault)") }
            // A run that does little proves little.
            #expect(tally.malformed - warmUp >= framesMin && good.answers >= 300)
            for method in Self.methods { #expect(tally.served[method, default: 0] > 0, "\(method) was never served") }
            #expect(tally.notifications > 20)
            #expect(tally.kinds.count == kinds.count && tally.kinds.values.allSatisfy { $0 >= 5 }, "\(tally.kinds)")
            for name in [
                "parse_error", "invalid_request", "method_not_found", "duplicate_member", "frame_too_large",
                "unknown_field",
                "invalid_params", "unknown_subscription", "unknown_group",
            ] { #expect(tally.errors[name, default: 0] > 0, "\(name)") }
            #expect(tally.results > framesMin / 10)

            // Its leases would have ended with its connection.
            withExtendedLifetime(worker) {}

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
            // The faults are seldom, and some can be told in one way of sending alone.
            for _ in 0..<(fault == .none ? 4 : 40) where harness.tally.faults.isEmpty {
                for kind in kinds { harness.run(mutator.attack(kind, frames: 20)) }
            }
            let tally = harness.tally
            #expect(tally.faults.isEmpty == (fault == .none), "\(fault): \(tally.faults.first ?? "nothing found")")
            #expect(fault != .none || tally.frames > 800)
        }

        /// As `FrameHarness.Tally` counts them.
        private static let methods = Set(
            conversation.compactMap { line in
                let text = line.replacing("#", with: "1").replacing("TOKEN", with: "{}")
                return (try? JSONTree(text)).flatMap { WirePromise.Request(tree: $0).method }
            })

        /// Appends events of as many leads, and claims them for longer than any run: what the consumers of the conversation work on.
        /// - Returns: their tokens.
        private func claimed(_ count: Int, by client: LineClient) throws -> [String] {
            let events = (0..<count).map {
                #"{"id":"1","source":"urn:test","type":"lead.captured","subject":"C-\#($0)","data":{"channel":"web"}}"#
            }
            try client.ask("append", #"{"events":[\#(events.joined(separator: ","))]}"#)
            try client.ask("consumer.create", #"{"group":"worked","max_attempts":1,"lease_ms":43200000}"#)
            var tokens: [String] = []
            while tokens.count < count {
                let claim = try client.ask("consumer.claim", #"{"group":"worked","limit":1000,"wait_ms":5000}"#)
                let deliveries = claim["deliveries"].elements
                try #require(!deliveries.isEmpty)
                tokens += deliveries.map { "\($0["token"])" }
            }
            return tokens
        }

        private var kinds: [Attack.Kind] { Attack.Kind.allCases.filter { $0 != .suite || !jsonTestSuite.isEmpty } }

        private func openFiles(of daemon: DaemonProcess) throws -> Int {
            names(in: "/proc/\(daemon.process.identifier)/fd").count
        }
    }
}

/// Attacks in turn, until so many malformed lines were among them.
private final class AttackQueue: Sendable {
    private struct State {
        var mutator: FrameMutator
        var malformedLeft: Int
        var number = 0
        var isDone = false
    }

    private let state: Mutex<State>
    private let kinds: [Attack.Kind]

    init(mutator: FrameMutator, kinds: [Attack.Kind], malformedLeft: Int) {
        state = Mutex(State(mutator: mutator, malformedLeft: malformedLeft))
        self.kinds = kinds
    }

    var isDone: Bool { state.withLock { $0.isDone } }
    func end() { state.withLock { $0.isDone = true } }

    func next() -> Attack? {
        state.withLock { state in
            guard state.malformedLeft > 0 else { return nil }
            // Long lines are slow to send, and there is little about them that varies: each tenth round has them.
            var kind = kinds[state.number % kinds.count]
            if [.overlong, .endless].contains(kind), state.number / kinds.count % 10 != 0 { kind = .flippedBits }
            state.number += 1
            let attack = state.mutator.attack(kind, frames: 100)
            state.malformedLeft -= attack.malformed
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
