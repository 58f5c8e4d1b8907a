import Glibc
import Synchronization
import TestSupport
import Testing

extension ProgramTests {
    /// Goal: a reactor that acks with the events that follow has done each once, however often the daemon dies. Method: workers
    /// claim captured leads and note each with an event that has a new name every time, so that nothing but the commit they share
    /// with the ack keeps them from being doubled; the daemon is killed at random moments. The same with an append and then an
    /// ack must give doubles, or the storm proves nothing.
    @Suite struct ReactorStormTests {
        @Test func `acks with events happen exactly once when the daemon is killed at random moments`() throws {
            let seed = announcedSeed("ReactorStormTests")
            let kills = environmentVariable("LEADLEDGER_REACTOR_KILLS").flatMap { Int($0) } ?? 20
            let storm = try ReactorStorm(seed: seed, isTogether: true)
            let found = try storm.run(kills: kills)
            print("ReactorStormTests: \(kills) kills, \(found)")
            #expect(found.doubled == 0 && found.missing == 0, "seed \(seed): \(found)")
            #expect(found.stranger == 0, "seed \(seed): \(found)")
            #expect(found.captured >= kills * 5 && found.redelivered > 0, "seed \(seed): \(found)")
            #expect(storm.faults.isEmpty, "seed \(seed): \(storm.faults.prefix(3))")
        }

        @Test func `the storm finds a reactor that appends first and acks then`() throws {
            let seed = announcedSeed("ReactorStormTests, apart")
            let storm = try ReactorStorm(seed: seed, isTogether: false)
            let found = try storm.run(kills: 30, until: { $0 > 0 })
            print("ReactorStormTests, apart: \(found)")
            #expect(found.doubled > 0 && found.missing == 0, "seed \(seed): \(found)")
        }
    }
}

// Sendable: everything mutable is under the lock or atomic.
private final class ReactorStorm: Sendable {
    struct Found: CustomStringConvertible {
        var captured = 0
        /// Captured leads that were noted more than once, and never; and notes of leads that were not captured.
        var doubled = 0
        var missing = 0
        var stranger = 0
        var redelivered = 0

        var description: String {
            "\(captured) captured, \(doubled) doubled, \(missing) missing, \(stranger) strangers, \(redelivered) redelivered"
        }
    }

    private let place = LedgerPlace()
    private let isTogether: Bool
    private let random: Mutex<SeededGenerator>
    private let nextLead = Atomic<Int>(0)
    /// Leads that were delivered, and how many came again.
    private let delivered = Mutex<(leads: Set<String>, again: Int)>(([], 0))
    private let named: Mutex<Int>
    private let told = Mutex<[String]>([])

    var faults: [String] { told.withLock { $0 } }

    init(seed: UInt64, isTogether: Bool) throws {
        self.isTogether = isTogether
        random = Mutex(SeededGenerator(seed: seed))
        named = Mutex(0)
        let daemon = try place.serve()
        // Leases that are over soon: a worker that was cut off keeps nobody.
        try place.connect().ask(
            "consumer.create",
            #"{"group":"reactor","filter":{"types":["lead.captured"]},"max_attempts":1000,"lease_ms":5000}"#)
        try daemon.process.killAndWait()
    }

    /// - Parameter until: given the doubled so far, whether it may end early; looked at every few kills.
    func run(kills: Int, until isEnough: (Int) -> Bool = { _ in false }) throws -> Found {
        for kill in 1...kills {
            let daemon = try place.serve()
            let moment = random.withLock { Int.random(in: 5_000..<120_000, using: &$0) }
            let process = daemon.process
            var bodies: [@Sendable () -> Void] = (0..<3).map { worker in { self.work(worker) } }
            bodies.append { self.capture() }
            let before = nextLead.load(ordering: .relaxed)
            bodies.append {
                Monotonic.sleep(microseconds: moment)
                // On a slow device, too, something is to have happened by then.
                try? Monotonic.wait(for: "captures", milliseconds: 10_000) {
                    self.nextLead.load(ordering: .relaxed) >= before + 7
                }
                process.send(signal: SIGKILL)
            }
            onThreads(bodies)
            let status = try process.waitForEnd()
            if status != .killed(signal: SIGKILL) { fault("the daemon ended with \(status): \(process.errorOutput)") }
            if kill.isMultiple(of: 5) {
                let found = try look()
                if isEnough(found.doubled) || !faults.isEmpty { break }
            }
        }
        // The rest is worked off in peace.
        let daemon = try place.serve()
        work(
            9,
            until: { client in
                try client.ask("consumer.status", #"{"group":"reactor"}"#)["reason"]["state"].string == "caught_up"
            })
        let found = try count(try place.connect())
        if try daemon.terminate() != .exited(0) { fault("SIGTERM: \(daemon.process.errorOutput)") }
        let check = try place.check()
        if !check.findings.isEmpty { fault("check: \(check.findings.prefix(3))") }
        return found
    }

    private func fault(_ what: String) { told.withLock { $0.append(what) } }

    private func look() throws -> Found {
        let daemon = try place.serve()
        let found = try count(try place.connect())
        try daemon.process.killAndWait()
        return found
    }

    private func count(_ client: LineClient) throws -> Found {
        var notes: [String: Int] = [:]
        var captured: Set<String> = []
        for event in try client.readLog() {
            let lead = event["subject"].string ?? ""
            if event["type"].string == "lead.captured" { captured.insert(lead) } else { notes[lead, default: 0] += 1 }
        }
        return Found(
            captured: captured.count, doubled: notes.values.count { $0 > 1 },
            missing: captured.count { notes[$0] == nil }, stranger: notes.keys.count { !captured.contains($0) },
            redelivered: delivered.withLock { $0.again })
    }

    /// Captures leads until the daemon dies.
    private func capture() {
        do {
            let client = try place.connect()
            while true {
                let lead = nextLead.wrappingAdd(1, ordering: .relaxed).newValue
                try client.ask(
                    "append",
                    #"{"events":[{"id":"c","source":"storm","type":"lead.captured","subject":"L\#(lead)","data":{"channel":"web"}}]}"#
                )
            }
        } catch let refusal as Refusal { fault("a capture was refused: \(refusal)") } catch {}
    }

    /// Claims, notes and acks until the daemon dies, or until all is done.
    private func work(_ worker: Int, until isDone: ((LineClient) throws -> Bool)? = nil) {
        do {
            let client = try place.connect()
            while true {
                let deliveries = try client.ask(
                    "consumer.claim", #"{"group":"reactor","consumer":"w\#(worker)","limit":4,"wait_ms":100}"#)[
                        "deliveries"
                    ].elements
                if deliveries.isEmpty, let isDone, try isDone(client) { return }
                for delivery in deliveries {
                    let lead = delivery["event"]["subject"].string ?? ""
                    delivered.withLock { if !$0.leads.insert(lead).inserted { $0.again += 1 } }
                    let id = named.withLock { named in
                        named += 1
                        return named
                    }
                    let events =
                        #"[{"id":"note-\#(id)","source":"storm","type":"lead.noted","subject":"\#(lead)","data":{"text":"x"}}]"#
                    if isTogether {
                        try settle(client, #"{"group":"reactor","tokens":[\#(delivery["token"])],"events":\#(events)}"#)
                    } else {
                        try client.ask("append", #"{"events":\#(events)}"#)
                        try settle(client, #"{"group":"reactor","tokens":[\#(delivery["token"])]}"#)
                    }
                }
            }
        } catch let refusal as Refusal {
            fault("worker \(worker) was refused: \(refusal)")
        } catch {}
    }

    /// A lease that ran out on a slow machine is no fault.
    private func settle(_ client: LineClient, _ params: String) throws {
        do { try client.ask("consumer.ack", params) } catch let refusal as Refusal {
            guard refusal.name == "stale_token" else { throw refusal }
        }
    }
}
