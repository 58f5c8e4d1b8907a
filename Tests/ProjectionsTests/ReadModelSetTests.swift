import Glibc
import Leads
import Synchronization
import Testing

@testable import Ledger
@testable import Projections

/// What holds of all read models: rebuilt = live, however the events came; and what goes wrong stays where it is.
@Suite(.timeLimit(.minutes(10))) struct ReadModelSetTests {
    // MARK: P5

    /// Random logs; each is followed live in random steps, rebuilt, followed by other sets in other batch sizes, and resumed after
    /// an end in the middle. All have the same bytes.
    @Test(arguments: [UInt64(1), 2, 3, 4, 5]) func `a rebuilt model has the bytes of the one kept up to date`(
        seed: UInt64
    ) throws {
        print("seed \(seed)")
        let log = try LeadLog()
        var events = RandomEvents(seed: seed, leads: 40)
        let models = try Models(of: log)
        var generator = Seeded(seed &* 77)
        for _ in 0..<12 {
            let positions = try log.append(events.next(Int.random(in: 1...120, using: &generator)))
            #expect(positions.allSatisfy { $0 != nil })
            if Bool.random(using: &generator) { try models.wait(for: log.log.end) }
        }
        try models.wait(for: log.log.end)
        let live = try models.digests()

        for model in ReadModels.all {
            #expect(try models.rebuild(model.name) == log.log.end)
            #expect(try models.digest(of: model.name) == live[model.name], "\(model.name)")
        }
        for commitEvents in [1, 7, 10_000] {
            var configuration = ProjectionConfiguration.test
            configuration.commitEvents = commitEvents
            let others = try Models(of: log, configuration)
            try others.wait(for: log.log.end)
            #expect(try others.digests() == live, "batches of \(commitEvents)")
        }
        models.close()
        let resumed = try Models(of: log, in: models.folder)
        try log.append(events.next(50))
        try resumed.wait(for: log.log.end)
        let whole = try Models(of: log)
        try whole.wait(for: log.log.end)
        #expect(try resumed.digests() == whole.digests())
    }

    /// A change of what a model computes must come with a new version: these are the bytes of version 1.
    @Test func `the fingerprint and the digest of a known log are pinned for each version`() throws {
        func digests(
            _ models: [any Projection.Type], of events: RandomEvents, _ count: Int = 400
        ) throws -> [String: String] {
            let log = try LeadLog()
            var events = events
            try log.append(events.next(count))
            let built = try Models(of: log)
            try built.wait(for: log.log.end)
            var found: [String: String] = [:]
            for model in models { found[model.fingerprint] = try hexadecimal(built.digest(of: model.name)) }
            return found
        }
        // The older models were pinned before there were clocks and decisions.
        let (routed, older) = (ReadModels.all.dropFirst(4), ReadModels.all.prefix(4))
        var found = try digests(
            Array(older), of: RandomEvents(seed: 42, leads: 20, types: RandomEvents.withoutRouting))
        found.merge(try digests(Array(routed), of: RandomEvents(seed: 42, leads: 20), 3_000)) { $1 }
        let pinned = [
            "attribution@1 captures and inbound touches with their dimensions, wins that stand; touches 1, wins 1, conversions":
                "68a8b07192f2dc9ae181cd04158e255b0579d2b103aca8bb70106b6904e97778",
            "fairness@1 turns pushed and pulled, by instant: pool, winner, gains of the eligible; voided decisions; decisions 1, voided 1":
                "ca0e7268731eee401494ed42a506cd41e508cf9ebc0609e6300ac17617b87dd0",
            "funnel@1 earliest own instants of the stages, history included, channel, source, campaign of the earliest capture; row 1, wins 1":
                "3f9cfb475ebc433a6ece91ff322e06f461c3c13e2e7b6edce0162f74d92e5f5a",
            "leads@1 state, owner, queue, earliest capture, counts, current conversion, last reason; row 1, wins 1":
                "6b885aeb77cc4ff4c0afa2f2a811353ea15137e0a0905b11865e47ecf2d6d058",
            "response@1 clocks with start, due, elapsed, answer or stop; owner, furthest stage, first care of each lead; leads 1, clocks 1":
                "a385907938434c64c2bce1b2eadc5642197903f5baf342e4182059f730d92b5d",
            "queue@1 leads in inbox or queue by since, with stage, channel and queue; leads 1, waiting 1":
                "0955e0604d72b2ace9fbe304ba8fb6b514a78d1932b6d9bd68b5e980e936b60b",
        ]
        #expect(found == pinned, "\(found)")
    }

    // MARK: Starting again

    @Test func `after a clean end and after a kill the models are as they were`() throws {
        let log = try LeadLog()
        var events = RandomEvents(seed: 7, leads: 10)
        try log.append(events.next(100))
        let folder = Folder()
        let models = try Models(of: log, in: folder)
        try models.wait(for: log.log.end)
        let digests = try models.digests()
        models.close()
        let again = try Models(of: log, in: folder)
        #expect(again.set.status.allSatisfy { $0.origin == .kept && $0.state == .live })
        #expect(try again.digests() == digests)
        again.kill()
        let killed = try Models(of: log, in: folder)
        #expect(killed.set.status.allSatisfy { $0.origin == .kept })
        #expect(try killed.digests() == digests)
    }

    @Test func `after a crash of the system the models are built anew, equal to what they were`() throws {
        let log = try LeadLog()
        var events = RandomEvents(seed: 8, leads: 10)
        try log.append(events.next(100))
        let folder = Folder()
        let models = try Models(of: log, in: folder)
        try models.wait(for: log.log.end)
        let digests = try models.digests()
        models.kill()
        var configuration = ProjectionConfiguration.test
        configuration.bootID = "another"
        let again = try Models(of: log, in: folder, configuration)
        #expect(again.set.status.allSatisfy { $0.origin == .created(.otherBoot) })
        try again.wait(for: log.log.end)
        #expect(try again.digests() == digests)
    }

    @Test func `builds that do not answer are removed at the start`() throws {
        let log = try LeadLog()
        let folder = Folder()
        try Models(of: log, in: folder).close()
        for name in ["leads@1.9", "queue@1.2", "leads@1.1.tmp"] { mkdir(folder.path + "/models/" + name, 0o700) }
        let models = try Models(of: log, in: folder)
        #expect(
            try DurableFiles.names(in: folder.path + "/models")
                == [
                    "ACTIVE", "attribution@1.1", "fairness@1.1", "funnel@1.1", "leads@1.1", "queue@1.1", "response@1.1",
                ])
        models.close()
    }

    @Test func `an empty ledger's models answer at once, and can be rebuilt`() throws {
        let log = try LeadLog()
        let models = try Models(of: log)
        #expect(models.set.status.allSatisfy { $0.state == .live })
        #expect(try models.read(LeadsProjection.self) { try $0.leadCount() } == 0)
        #expect(try models.rebuild("leads") == .zero)
    }

    // MARK: Rebuilding

    @Test func `a rebuild beside appends switches without going back, and removes the old build`() throws {
        let log = try LeadLog()
        var events = RandomEvents(seed: 9, leads: 30)
        try log.append(events.next(2_000))
        let models = try Models(of: log)
        try models.wait(for: log.log.end)
        let set = models.set
        let isDone = Atomic<Bool>(false)
        let outcome = Mutex<Result<Position, ProjectionError>?>(nil)
        let started = try set.rebuild("leads") { result in
            outcome.withLock { $0 = result }
            isDone.store(true, ordering: .releasing)
        }
        #expect(started.fromBuild == 1 && started.build == 2)
        var last = Position.zero
        var looks = 0
        while !isDone.load(ordering: .acquiring) || looks < 20 {
            try log.append(events.next(5))
            let position = try models.read(LeadsProjection.self) { $0.position }
            #expect(position >= last, "an answer went back")
            last = position
            looks += 1
        }
        #expect(throws: Never.self) { try outcome.withLock { $0 }?.get() }
        try models.wait(for: log.log.end)
        #expect(set.status.first { $0.name == "leads" }?.build == 2)
        #expect(try DurableFiles.names(in: models.folder.path + "/models").contains("leads@1.1") == false)
        let fresh = try Models(of: log)
        try fresh.wait(for: log.log.end)
        #expect(try models.digest(of: "leads") == fresh.digest(of: "leads"))
    }

    @Test func `a snapshot that is open while its build is replaced keeps what it sees`() throws {
        let log = try LeadLog()
        try log.append([LeadEvent(lead: "A", type: .captured, at: 0)])
        let models = try Models(of: log)
        try models.wait(for: log.log.end)
        try models.read(LeadsProjection.self) { snapshot in
            try log.append([LeadEvent(lead: "B", type: .captured, at: 1)])
            try models.rebuild("leads")
            #expect(try snapshot.leadCount() == 1)
        }
        #expect(try models.read(LeadsProjection.self) { try $0.leadCount() } == 2)
    }

    @Test func `unknown models are refused`() throws {
        let log = try LeadLog()
        let models = try Models(of: log)
        #expect(throws: ProjectionError.self) { try models.set.rebuild("ledas") }
        #expect(throws: ProjectionError.self) { try models.set.whenReached(.zero, in: "ledas") { _ in } }
    }

    // MARK: What goes wrong

    /// The types that today's lifecycle knows and no read model takes come with later versions of the program.
    @Test
    func `an event that cannot be projected stops its model with position and reason, and what came before answers`()
        throws
    {
        let log = try LeadLog()
        try log.append([
            LeadEvent(lead: "A", type: .captured, at: 0),
            LeadEvent(lead: "A", type: .won, at: 1, data: #""currency":"EUR""#),
            LeadEvent(lead: "B", type: .captured, at: 2),
        ])
        let models = try Models(of: log)
        func status(_ name: String) -> ProjectionStatus? { models.set.status.first { $0.name == name } }
        while status("leads")?.state != .stopped || status("queue")?.position != log.log.end { usleep(1_000) }
        #expect(status("leads")?.position == Position(rawValue: 1))
        #expect(status("leads")?.reason?.contains("position 1") == true)
        #expect(status("leads")?.reason?.contains("amount") == true)
        #expect(status("queue")?.state == .live)
    }

    @Test func `a full disk pauses a model, which answers what it has and goes on when there is room`() throws {
        let log = try LeadLog()
        let isFull = Atomic<Bool>(false)
        var configuration = ProjectionConfiguration.test
        configuration.faults = ProjectionFaults { point, model in
            point == .space && model == "leads" && isFull.load(ordering: .relaxed) ? ENOSPC : nil
        }
        let models = try Models(of: log, configuration)
        try log.append([LeadEvent(lead: "A", type: .captured, at: 0)])
        try models.wait(for: log.log.end)
        isFull.store(true, ordering: .relaxed)
        try log.append([LeadEvent(lead: "B", type: .captured, at: 1)])
        while models.set.status.first(where: { $0.name == "leads" })?.state != .paused { usleep(1_000) }
        #expect(try models.read(LeadsProjection.self) { try $0.leadCount() } == 1)
        isFull.store(false, ordering: .relaxed)
        try models.wait(for: log.log.end)
        #expect(try models.read(LeadsProjection.self) { try $0.leadCount() } == 2)
        #expect(models.set.status.first { $0.name == "leads" }?.state == .live)
    }

    /// The error comes from the model's own table, while the log is being read: it is not the log's.
    @Test func `a full map pauses a model and does not speak against the log`() throws {
        let log = try LeadLog()
        var configuration = ProjectionConfiguration.test
        configuration.mapBytes = 160 << 10
        let models = try Models(of: log, configuration)
        let long = String(repeating: "c", count: 200)
        try log.append(
            (0..<2_000).map { LeadEvent(lead: "L\($0)", type: .captured, at: 0, data: #""channel":"\#(long)""#) })
        func leads() -> ProjectionStatus? { models.set.status.first { $0.name == "leads" } }
        while leads()?.state != .paused { usleep(1_000) }
        #expect(leads()?.reason?.contains("MAP_FULL") == true, "\(leads()?.reason ?? "")")
        #expect(try models.read(LeadsProjection.self) { try $0.leadCount() } >= 0)
    }

    @Test func `a model whose environment fails is rebuilt from the log`() throws {
        let log = try LeadLog()
        let failures = Atomic<Int>(0)
        let fails = Atomic<Bool>(false)
        var configuration = ProjectionConfiguration.test
        configuration.faults = ProjectionFaults { point, model in
            guard point == .commit, model == "leads", fails.exchange(false, ordering: .relaxed) else { return nil }
            failures.add(1, ordering: .relaxed)
            return EIO
        }
        let models = try Models(of: log, configuration)
        try log.append([LeadEvent(lead: "A", type: .captured, at: 0)])
        try models.wait(for: log.log.end)
        fails.store(true, ordering: .relaxed)
        try log.append([LeadEvent(lead: "B", type: .captured, at: 1)])
        try models.wait(for: log.log.end)
        #expect(failures.load(ordering: .relaxed) == 1)
        #expect(try models.read(LeadsProjection.self) { try $0.leadCount() } == 2)
        #expect(models.set.status.first { $0.name == "leads" }?.build == 2)
    }

    // MARK: Waiting

    @Test func `who waits for a position is told when it is there, and at once where it is`() throws {
        let log = try LeadLog()
        var configuration = ProjectionConfiguration.test
        // Nobody else has the model commit.
        configuration.commitInterval = .seconds(600)
        let models = try Models(of: log, configuration)
        let told = Atomic<Int>(0)
        _ = try models.set.whenReached(Position(rawValue: 1), in: "queue") { _ in told.add(1, ordering: .relaxed) }
        let cancelled = try models.set.whenReached(Position(rawValue: 1), in: "queue") { _ in
            told.add(100, ordering: .relaxed)
        }
        models.set.cancelWait(cancelled, in: "queue")
        #expect(told.load(ordering: .relaxed) == 0)
        try log.append([LeadEvent(lead: "A", type: .captured, at: 0)])
        while told.load(ordering: .relaxed) == 0 { usleep(1_000) }
        _ = try models.set.whenReached(.zero, in: "queue") { _ in told.add(10, ordering: .relaxed) }
        #expect(told.load(ordering: .relaxed) == 11)
    }
}
