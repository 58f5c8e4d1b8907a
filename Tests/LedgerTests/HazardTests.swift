import Glibc
import Synchronization
import Testing

@testable import LMDB
@testable import Ledger

/// The hazards of LMDB and of disks, by their numbers in the article on durability, as the log meets them. Those that the
/// wrapper alone meets are in LMDBTests.
@Suite struct HazardTests {
    // MARK: Errors of the device

    @Test func `L1: after a failed commit there is no other, and nobody is left waiting`() throws {
        let gate = Gate()
        let commits = Shared(Atomic<Int>(0))
        var configuration = LogConfiguration.test
        configuration.queueUnitsMax = 8
        configuration.faults = LogFaults { point in
            guard point == .commit else { return nil }
            commits.value.add(1, ordering: .relaxed)
            return gate.passes() ? nil : EIO
        }
        let ledger = try TestLedger(LedgerFolder(), configuration)
        ledger.append(TestEvent(id: "stored"))
        // Hold the appender before its commit, fill the queue behind it, and be turned away.
        gate.close()
        let units = (0..<10).map { ledger.unit([TestEvent(id: "\($0)")]) }
        #expect(ledger.log.submit(units[..<1]) == 1)
        gate.waitUntilReached()
        #expect(ledger.log.submit(units[1...]) == 8)
        ledger.log.whenRoom(ledger.sink)
        #expect(ledger.sink.roomCalls == 0)
        gate.open(passing: false)
        let outcomes = ledger.sink.wait(for: units[..<9].map(\.token))
        #expect(outcomes.allSatisfy { $0.isUnknown })
        waitUntil { ledger.sink.roomCalls == 1 }
        // One that still comes among those that were waiting is told the same as they.
        waitUntil { ledger.append(TestEvent(id: "later")).refusal == .poisoned }
        #expect(commits.value.load(ordering: .relaxed) == 2)
        #expect(ledger.log.end == position(1) && ledger.poison.reports.count == 1)
        #expect(try ledger.log.record(at: .zero) { $0.eventID.text } == "stored")
    }

    @Test(arguments: [ENOSPC, EDQUOT]) func `L1: without room a retry is still told that it is stored`(code: Int32)
        throws
    {
        let isFull = Shared(Atomic<Bool>(false))
        var configuration = LogConfiguration.test
        configuration.faults = LogFaults { $0 == .space && isFull.value.load(ordering: .relaxed) ? code : nil }
        let ledger = try TestLedger(LedgerFolder(), configuration)
        ledger.append(TestEvent(id: "1"), TestEvent(id: "2"))
        isFull.value.store(true, ordering: .relaxed)
        #expect(ledger.append(TestEvent(id: "3")).refusal == .diskFull)
        #expect(ledger.append(TestEvent(id: "1"), TestEvent(id: "2")).receipt?.isDuplicate == true)
        #expect(
            ledger.append(TestEvent(id: "2"), TestEvent(id: "3")).refusal
                == .partialDuplicate(stored: [(0, position(1))]))
        #expect(ledger.append(TestEvent(id: "1", text: "\"n\":2")).refusal == .idReused(event: 0, position: .zero))
        #expect(
            ledger.append([TestEvent(id: "4")], expecting: [("L-1", .none)]).refusal
                == .versionConflict(
                    expectation: 0, current: version(2),
                    since: [StoredEvent(position: .zero, type: 5), StoredEvent(position: position(1), type: 5)]))
        #expect(!ledger.log.isPoisoned && ledger.log.end == position(2))
        isFull.value.store(false, ordering: .relaxed)
        #expect(ledger.append(TestEvent(id: "3")).receipt?.first == position(2))
    }

    @Test func `L6: a put that finds the map full drops its group, whose own retries are not found in it`() throws {
        let gate = Gate()
        // Puts that succeed before the map is full.
        let putsLeft = Shared(Atomic<Int>(1_000))
        var configuration = LogConfiguration.test
        configuration.faults = LogFaults { point in
            switch point {
            case .commit: gate.passes() ? nil : EIO
            // MDB_MAP_FULL.
            case .put: putsLeft.value.subtract(1, ordering: .relaxed).newValue < 0 ? -30792 : nil
            default: nil
            }
        }
        let ledger = try TestLedger(LedgerFolder(), configuration)
        ledger.append(TestEvent(id: "stored"))
        gate.close()
        let first = ledger.unit([TestEvent(id: "first")])
        #expect(ledger.log.submit([first]) == 1)
        gate.waitUntilReached()
        // One group: a retry, a new event, its retry, and one for which there is no room.
        putsLeft.value.store(1, ordering: .relaxed)
        let units = ["stored", "new", "new", "newer"].map { ledger.unit([TestEvent(id: $0)]) }
        #expect(ledger.log.submit(units) == 4)
        gate.open(passing: true)
        let outcomes = ledger.sink.wait(for: units.map(\.token))
        #expect(outcomes[0].receipt?.isDuplicate == true)
        #expect(outcomes[1...].allSatisfy { $0.refusal == .ledgerFull })
        #expect(!ledger.log.isPoisoned && ledger.log.end == position(2))
        putsLeft.value.store(1_000, ordering: .relaxed)
        #expect(
            ledger.append(TestEvent(id: "new"), TestEvent(id: "newer")).receipt?.events.map(\.version.rawValue) == [
                3, 4,
            ])
    }

    @Test(.enabled(if: SmallDisk.canMount, "mounting needs root"), arguments: SmallDisk.Kind.allCases)
    func `L1, L13: a full disk refuses appends, loses nothing, and takes them again when there is room`(
        kind: SmallDisk.Kind
    ) throws {
        let disk = try SmallDisk(kind, bytes: 8 << 20)
        try disk.fill(bytes: 2 << 20)
        let text = "\"t\":\"\(String(repeating: "x", count: 3_000))\""
        func event(_ index: Int) -> TestEvent { TestEvent(stream: "L-\(index % 50)", id: "\(index)", text: text) }
        var stored = 0
        do {
            let ledger = try TestLedger(LedgerFolder(at: disk.path + "/data"))
            var refused = 0
            while refused < 20, stored < 5_000 {
                let outcome = ledger.append(event(stored))
                if outcome.receipt != nil {
                    stored += 1
                } else {
                    try #require(outcome.refusal == .diskFull)
                    refused += 1
                }
            }
            #expect(stored > 200 && refused == 20)
            #expect(!ledger.log.isPoisoned && ledger.log.end.rawValue == UInt64(stored))
            #expect(ledger.append(event(0)).receipt?.isDuplicate == true)
            var read = 0
            while read < stored {
                read = Int(
                    try ledger.log.read(from: position(UInt64(read)), limit: .max, maxBytes: .max) { record in
                        record.eventID.text == "\(record.position)"
                    }.rawValue)
            }
            // Room again.
            try disk.free()
            for _ in 0..<50 {
                #expect(ledger.append(event(stored)).receipt?.first.rawValue == UInt64(stored))
                stored += 1
            }
            ledger.flushIndex()
        }
        let ledger = try TestLedger(LedgerFolder(at: disk.path + "/data"))
        #expect(ledger.log.end.rawValue == UInt64(stored) && ledger.log.indexOrigin == .kept)
        for index in 0..<stored { #expect(ledger.append(event(index)).receipt?.first.rawValue == UInt64(index)) }
    }

    // MARK: Reading

    @Test(.enabled(if: isPageCacheDropped("/tmp"), "tmpfs has no device below it"))
    func `L3: a start reads the end of the log from the device, not from memory`() throws {
        let folder = LedgerFolder()
        do {
            let ledger = try TestLedger(folder)
            let text = "\"t\":\"\(String(repeating: "x", count: 40_000))\""
            for index in 0..<50 { ledger.append(TestEvent(id: "\(index)", text: text)) }
        }
        let environment = try Environment.open(
            directory: folder.path + "/log", options: LedgerDirectory.options(.test))
        let map = try #require(try PageCache.mapAddress(of: environment.fileIdentity))
        let pages = Int(environment.info.lastPage + 1)
        var sum = 0
        for page in 0..<pages { sum &+= Int(map.load(fromByteOffset: page * 4_096, as: UInt8.self)) }
        #expect(residentPages(map, pages) == pages && pages > 400)
        // Only the end, then all.
        try PageCache.rereadTail(of: environment, bytes: 100 * 4_096)
        #expect((2...pages - 100).contains(residentPages(map, pages)))
        try PageCache.rereadTail(of: environment, bytes: LedgerLimits.tailBytesReread)
        #expect(residentPages(map, pages) <= 2)
        let log = try LogStore(environment: environment)
        try log.verifyTail(end: try log.findEnd().end, records: 50)
    }

    @Test func `L7: a reading is one slice, of 10,000 events or 50 ms, and then gives its snapshot up`() throws {
        let ledger = try TestLedger()
        for unit in 0..<11 {
            ledger.append((0..<1_000).map { TestEvent(stream: "L-\($0 % 100)", id: "\(unit)-\($0)") })
        }
        let before = ledger.log.log.environment.readersLent
        let next = try ledger.log.read(from: .zero, limit: .max, maxBytes: .max) { _ in true }
        #expect(next.rawValue <= 10_000)
        let slow = try ledger.log.read(from: .zero, limit: .max, maxBytes: .max) { _ in
            usleep(1_000)
            return true
        }
        // The clock is looked at every 64 events.
        #expect((64...192).contains(slow.rawValue))
        #expect(
            try ledger.log.read(from: position(10_990), limit: .max, maxBytes: .max) { _ in true } == position(11_000))
        struct Stop: Error {}
        #expect(throws: Stop.self) { try ledger.log.read(from: .zero, limit: 1, maxBytes: 1) { _ in throw Stop() } }
        #expect(ledger.log.log.environment.readersLent == before)
    }

    @Test func `L8: readers that were killed are noticed at the start and again and again`() throws {
        let folder = LedgerFolder()
        try TestLedger(folder).close()
        var configuration = LogConfiguration.test
        configuration.readerCheckInterval = .milliseconds(20)
        configuration.indexCommitInterval = .milliseconds(10)
        let child = try EndedProcess()
        // A slot of a dead process is there before the start: its opening frees it, or it could never be used again.
        try LockFile(folder.path + "/log/lock.mdb").plantReader(child.identifier, slot: 0, readers: 1)
        let ledger = try TestLedger(folder, configuration)
        let readers = ledger.log.log.environment.info.readersInUse
        #expect(readers < 8)
        for name in ["log", "index"] {
            let lockFile = try LockFile("\(folder.path)/\(name)/lock.mdb")
            lockFile.plantReader(child.identifier, slot: 20, readers: 21)
            waitUntil { lockFile.reader(inSlot: 20) == 0 }
        }
    }

    @Test func `L9: where all readers are lent, reading is refused at once and appending goes on`() throws {
        let ledger = try TestLedger()
        ledger.append((0..<20).map { TestEvent(id: "\($0)") })
        let environment = ledger.log.log.environment
        func lendAll(_ body: () throws -> Void) throws {
            guard let snapshot = try? environment.beginRead() else { return try body() }
            try lendAll(body)
            #expect(snapshot.number > 0)
        }
        try lendAll {
            let refusals = [
                #expect(throws: LedgerError.self) { try ledger.log.record(at: .zero) { _ in } },
                #expect(throws: LedgerError.self) {
                    try ledger.log.read(from: .zero, limit: 1, maxBytes: 1) { _ in true }
                },
                #expect(throws: LedgerError.self) { _ = try ledger.log.leaf(at: .zero) },
                #expect(throws: LedgerError.self) { _ = try ledger.log.stream(StreamKey("L-1")) },
                #expect(throws: LedgerError.self) { _ = try ledger.log.makeIndexSnapshot() },
            ]
            #expect(refusals.allSatisfy { $0?.kind == .readersFull && $0?.hint != nil })
            // New ones, retries old and new, and what the index needs of the log.
            for round in 0..<5 {
                #expect(ledger.append(TestEvent(id: "new-\(round)")).receipt?.isDuplicate == false)
                #expect(ledger.append(TestEvent(id: "3")).receipt?.isDuplicate == true)
                ledger.flushIndex()
            }
        }
        #expect(try ledger.log.record(at: .zero) { $0.eventID.text } == "0")
        #expect(!ledger.log.isPoisoned)
    }

    @Test func `the positions of a stream are found however long its part of the tail is`() throws {
        var configuration = LogConfiguration.test
        // The index never follows, so that all is in the tail.
        configuration.faults = LogFaults { $0 == .indexSpace ? ENOSPC : nil }
        let ledger = try TestLedger(LedgerFolder(), configuration)
        // Around the steps in which the tail is walked.
        for count in [1_022, 1, 1, 1, 1_023] {
            let end = ledger.log.end.rawValue
            ledger.append((0..<count).map { TestEvent(id: "\(end)-\($0)") })
            let found = Mutex<[Position]?>(nil)
            let log = ledger.log
            let thread = try WorkerThread.start("reader") {
                let positions = try! log.positions(of: StreamKey("L-1"), from: version(1), limit: 9_999)
                found.withLock { $0 = positions }
            }
            waitUntil { found.withLock { $0 != nil } }
            // One that walks for ever is not waited for: it goes with the process.
            let positions = try #require(found.withLock { $0 })
            #expect(positions.map(\.rawValue) == Array(0..<ledger.log.end.rawValue))
            thread.join()
        }
    }

    // MARK: Places and processes

    @Test func `L11: a second opening of the directory is refused, here and in another process`() throws {
        let ledger = try TestLedger()
        let error = #expect(throws: LedgerError.self) { try TestLedger(ledger.folder) }
        #expect(error?.kind == .locked && error?.hint != nil)
        // flock(1) is another process.
        #expect(try run("/usr/bin/flock", ["-n", ledger.folder.path + "/ledger.lock", "true"]) != 0)
        #expect(ledger.append(TestEvent(id: "still")).receipt != nil)
        ledger.close()
        #expect(try run("/usr/bin/flock", ["-n", ledger.folder.path + "/ledger.lock", "true"]) == 0)
        try TestLedger(ledger.folder).close()
    }

    @Test func `L11: no code of the log or of the wrapper starts a process`() throws {
        let root = #filePath.split(separator: "/").dropLast(3).reduce("") { $0 + "/" + $1 }
        var files = 0
        for target in ["LMDB", "Ledger"] {
            for name in try names(in: "\(root)/Sources/\(target)") where name.hasSuffix(".swift") {
                let text = String(decoding: try #require(fileBytes("\(root)/Sources/\(target)/\(name)")), as: UTF8.self)
                for word in ["fork(", "vfork(", "posix_spawn", "Process(", "system(", "popen("] {
                    #expect(!text.contains(word), "\(target)/\(name) has \(word)")
                }
                files += 1
            }
        }
        #expect(files > 30)
    }

    @Test(.enabled(if: access("/dev/shm", W_OK) == 0, "there is no tmpfs to write to"))
    func `L12: a ledger on tmpfs is refused but in tests`() throws {
        var configuration = LogConfiguration.test
        configuration.mayUseTmpfs = false
        let folder = LedgerFolder(below: "/dev/shm")
        let error = #expect(throws: LedgerError.self) { try TestLedger(folder, configuration) }
        #expect(error?.kind == .format && error?.description.contains("tmpfs") == true)
        #expect(access(folder.path + "/FORMAT", F_OK) != 0 && access(folder.path + "/log", F_OK) != 0)
        try TestLedger(folder).close()
    }

    @Test(.enabled(if: SmallDisk.canMount, "mounting needs root"))
    func `L12: a ledger on an overlay is refused by name`() throws {
        let folder = LedgerFolder()
        for name in ["lower", "upper", "work", "merged"] { #expect(mkdir("\(folder.path)/\(name)", 0o700) == 0) }
        let options = "lowerdir=\(folder.path)/lower,upperdir=\(folder.path)/upper,workdir=\(folder.path)/work"
        try #require(try run("/bin/mount", ["-t", "overlay", "overlay", "-o", options, folder.path + "/merged"]) == 0)
        defer { umount2(folder.path + "/merged", Int32(MNT_DETACH)) }
        let error = #expect(throws: LedgerError.self) { try TestLedger(LedgerFolder(at: folder.path + "/merged/data")) }
        #expect(error?.kind == .format && error?.description.contains("overlayfs") == true)
    }

    // MARK: Creation

    @Test func `L14: a creation cut short at any step is finished, or begun again`() throws {
        let made = LedgerFolder()
        let copies = LedgerFolder()
        let data = made.path + "/data"
        let steps = Mutex<[String]>([])
        var finalID: LedgerID?
        try DurableFiles.$beforeStep.withValue({ operation, path in
            guard path.hasPrefix(made.path) else { return }
            let number = steps.withLock { steps in
                steps.append("\(operation) \(path.dropFirst(made.path.utf8.count))")
                return steps.count - 1
            }
            copyTree(data, to: "\(copies.path)/\(number)")
        }) {
            let ledger = try TestLedger(LedgerFolder(at: data))
            finalID = ledger.log.ledgerID
            ledger.close()
        }
        let all = steps.withLock { $0 }
        for step in [
            "rename /data/log.tmp", "sync /data", "rename /data/FORMAT.tmp", "rename /data/index.tmp", "sync ",
        ] {
            #expect(all.contains(step), "\(all)")
        }
        #expect(all.count > 15)
        let logIsThere = try #require(all.firstIndex(of: "rename /data/log.tmp"))

        for (number, step) in all.enumerated() {
            // As a kill leaves it; and as a power cut may, which keeps only half of what was not synced yet.
            for isCutShort in [false, true] {
                let copy = LedgerFolder(at: "\(copies.path)/\(number)")
                let folder = LedgerFolder()
                copyTree(copy.path, to: folder.path + "/data")
                if isCutShort { try halveTemporaries(in: folder.path + "/data") }
                for round in 0..<2 {
                    do {
                        let ledger = try TestLedger(LedgerFolder(at: folder.path + "/data"))
                        #expect(
                            number <= logIsThere || ledger.log.ledgerID == finalID, "step \(number), \(step)")
                        #expect(ledger.append(TestEvent(id: "1")).receipt?.isDuplicate == (round == 1))
                        ledger.close()
                    } catch {
                        Issue.record("cut before step \(number), \(step), cut short \(isCutShort): \(error)")
                    }
                }
            }
        }
    }

    @Test func `L14: FORMAT without a log, a log without FORMAT, or of another ledger, is refused and left as it is`()
        throws
    {
        let folder = LedgerFolder()
        let ledger = try TestLedger(folder)
        ledger.append(TestEvent(id: "1"))
        ledger.close()
        let format = folder.path + "/FORMAT"
        let text = try #require(try DurableFiles.readFile(format))
        func refusal(_ what: Comment) {
            let error = #expect(throws: LedgerError.self, what) { try TestLedger(folder) }
            #expect(error?.kind == .format && error?.hint != nil, what)
        }
        #expect(rename(format, format + ".old") == 0)
        refusal("no FORMAT")
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        for bad in [
            "", "nonsense\n", text + "more\n", text.replacing("format=0", with: "format=1"),
            text.replacing(lines[2], with: "ledger=00000000-0000-4000-8000-000000000000"),
            text.replacing("ledger=", with: "ledger=x"), String(text.dropLast()),
        ] {
            try DurableFiles.replaceFile(format, with: bad)
            refusal("\(bad)")
        }
        #expect(rename(format + ".old", format) == 0)
        #expect(rename(folder.path + "/log", folder.path + "/elsewhere") == 0)
        refusal("no log")
        #expect(rename(folder.path + "/elsewhere", folder.path + "/log") == 0)
        #expect(try TestLedger(folder).append(TestEvent(id: "1")).receipt?.isDuplicate == true)
    }

    @Test func `the parent of a path is found with and without slashes at its end`() {
        for (path, parent) in [
            ("/a/b", "/a"), ("/a/b/", "/a"), ("/a/b///", "/a"), ("/a", "/"), ("/a/", "/"), ("/", "/"), ("a", "."),
            ("a/", "."),
        ] { #expect(DurableFiles.parent(of: path) == parent, "\(path)") }
    }

    // MARK: Sizes and flags

    @Test func `L18: no transaction comes near the dirty pages where LMDB spills`() throws {
        let spilling = 131_071
        // A group: its bound, a unit of the wire's largest frame, and what goes with them.
        let group = LedgerLimits.groupBytesMax + 2 << 20
        #expect(Appender.bytesAtWorst(events: LogConfiguration().groupEventsMax, bytes: group) / 4_096 < spilling / 3)
        #expect(6 * LedgerLimits.indexTransactionEventsMax < spilling)
        // No configuration makes the index's larger, and a log far behind is taken in by such pieces.
        var configuration = LogConfiguration.test
        configuration.indexCommitEvents = 1_000_000
        let folder = LedgerFolder()
        let ledger = try TestLedger(folder, configuration)
        #expect(ledger.log.follower.batchEvents == LedgerLimits.indexTransactionEventsMax)
    }

    @Test func `L18: a group takes no more bytes than its bound and a unit`() throws {
        let queue = AppendQueue(bytesMax: 1 << 30, unitsMax: 1_000)
        let units = try (0..<20 as Range<UInt64>).map { token in
            let unit = AppendUnit(ledgerID: LedgerID(high: 0, low: 0), replyTo: TestSink(), token: token)
            try unit.add(TestEvent(id: "\(token)", text: String(repeating: "x", count: 9_000)))
            return unit
        }
        #expect(queue.submit(units) == 20)
        var taken = UnitGroup()
        var tokens: [UInt64] = []
        for count in [4, 4, 4, 4, 4] {
            #expect(queue.take(eventsMax: 100, bytesMax: 30_000, into: &taken) && taken.count == count)
            tokens += taken.tokens
        }
        #expect(tokens == Array(0..<20) && queue.load == (0, 0))
    }

    @Test func `L22: the log is opened with every sync, and only the caches without`() throws {
        let ledger = try TestLedger()
        // MDB_NOSYNC, MDB_NOMETASYNC, MDB_MAPASYNC, MDB_WRITEMAP, MDB_NOLOCK.
        let unwanted: [UInt32] = [0x10000, 0x40000, 0x10_0000, 0x80000, 0x40_0000]
        for flag in unwanted { #expect(ledger.log.log.environment.flags & flag == 0) }
        for flag in unwanted.dropFirst() { #expect(ledger.log.index.environment.flags & flag == 0) }
        #expect(ledger.log.index.environment.flags & unwanted[0] != 0)
    }

    // MARK: The index

    @Test(arguments: [LogFaults.Point.indexSpace, .indexCommit], [ENOSPC, EDQUOT])
    func `a full disk pauses the index, wherever it is met, and nothing is lost`(
        point: LogFaults.Point, code: Int32
    ) throws {
        let isFull = Shared(Atomic<Bool>(true))
        var configuration = LogConfiguration.test
        configuration.indexCommitInterval = .milliseconds(5)
        configuration.faults = LogFaults { $0 == point && isFull.value.load(ordering: .relaxed) ? code : nil }
        let ledger = try TestLedger(LedgerFolder(), configuration)
        for index in 0..<30 { ledger.append(TestEvent(id: "\(index)")) }
        waitUntil { ledger.log.status.indexPausedBecause != nil }
        #expect(!ledger.log.isPoisoned && ledger.log.status.indexProgress == .zero)
        #expect(ledger.append(TestEvent(id: "3")).receipt?.isDuplicate == true)
        isFull.value.store(false, ordering: .relaxed)
        ledger.flushIndex()
        #expect(ledger.append(TestEvent(id: "3")).receipt?.isDuplicate == true)
        #expect(try ledger.log.stream(StreamKey("L-1"))?.version == version(30))
    }

    @Test func `a batch that does not begin at the index's progress is refused`() throws {
        let ledger = try TestLedger()
        ledger.append(TestEvent(id: "1"), TestEvent(id: "2"))
        ledger.flushIndex()
        // A stream's first event, so that no version tells.
        let event = TailEvent(
            key: StreamKey("new"), name: NameHash(tag: 1, rest: 2), first: .zero, version: version(1),
            state: 256,
            previous: TailEvent.none, type: 5, variant: 0, isBackfill: false)
        let reader = try LogReader(ledger.log.log)
        for start in [0, 1, 3] as [UInt64] {
            let error = #expect(throws: Index.FollowError.self) {
                try ledger.log.index.apply([event], from: start, log: reader)
            }
            guard case .broken(let reason) = error else {
                Issue.record("from \(start): \(String(describing: error))")
                continue
            }
            #expect(reason.kind == .corruption && reason.position == position(start))
        }
        #expect(try ledger.log.index.progress() == 2)
    }

    @Test func `a stream that begins twice is found by the index`() throws {
        let ledger = try TestLedger()
        ledger.append(TestEvent(id: "1"), TestEvent(id: "2"))
        ledger.flushIndex()
        let event = TailEvent(
            key: StreamKey("L-1"), name: NameHash(tag: 1, rest: 2), first: .zero, version: version(1),
            state: 256,
            previous: TailEvent.none, type: 5, variant: 0, isBackfill: false)
        let reader = try LogReader(ledger.log.log)
        let error = #expect(throws: Index.FollowError.self) {
            try ledger.log.index.apply([event], from: 2, log: reader)
        }
        guard case .broken(let reason) = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(reason.kind == .corruption && reason.position == position(2))
        #expect(try ledger.log.index.progress() == 2)
        #expect(try ledger.log.stream(StreamKey("L-1"))?.version == version(2))
    }

    @Test func `a row whose newest event is none of the stream's is an error, not a trap`() throws {
        let folder = LedgerFolder()
        do {
            let ledger = try TestLedger(folder)
            ledger.append(TestEvent(id: "1"), TestEvent(id: "2"))
        }
        do {
            let environment = try Environment.open(
                directory: folder.path + "/index",
                options: .init(mapSize: 256 << 20, durability: .cache, mayUseTmpfs: true))
            let rows = try environment.openTables("rows")[0]
            try environment.write { transaction in
                try StreamKey("L-1").withBytes { key in
                    var row = try #require(try transaction.unsafeValue(in: rows, at: key).flatMap { IndexRow($0) })
                    _ = row.append(tag: 7, position: 1_000, state: row.state)
                    try row.withBytes { try transaction.put($0, in: rows, at: key) }
                }
            }
        }
        let ledger = try TestLedger(folder)
        #expect(ledger.log.indexOrigin == .kept)
        #expect(ledger.append(TestEvent(id: "3")).isUnknown)
        waitUntil { ledger.poison.reports.count == 1 }
        #expect(ledger.poison.reports[0].kind == .corruption && ledger.poison.reports[0].position == position(1_000))
        #expect(ledger.log.end == position(2))
    }

    @Test func `an index that lacks a table is made anew, and nothing is written to it before STATE says open`() throws
    {
        let folder = LedgerFolder()
        do {
            let ledger = try TestLedger(folder)
            ledger.append(TestEvent(id: "1"))
            ledger.flushIndex()
        }
        // An empty environment in its place, of which STATE speaks.
        let path = folder.path + "/index"
        #expect(unlink(path + "/data.mdb") == 0)
        let identity: FileIdentity
        do {
            let environment = try Environment.open(
                directory: path, options: .init(mapSize: 1 << 20, durability: .cache, mayUseTmpfs: true))
            identity = environment.fileIdentity
        }
        let state = try #require(try DurableFiles.readFile(path + "/STATE").flatMap { CacheState($0) })
        try DurableFiles.replaceFile(path + "/STATE", with: state.with(file: identity, isClean: true).text)
        let ledger = try TestLedger(folder)
        guard case .created(.unreadable(let why)) = ledger.log.indexOrigin else {
            Issue.record("\(ledger.log.indexOrigin)")
            return
        }
        #expect(why.contains("no table"))
        #expect(ledger.append(TestEvent(id: "1")).receipt?.isDuplicate == true)
    }

    @Test func `a snapshot that could not be renewed leaves the look-up to the appender`() throws {
        let ledger = try TestLedger()
        ledger.append(TestEvent(id: "1"))
        var snapshot = try ledger.log.makeIndexSnapshot()
        snapshot.reset()
        let unit = ledger.unit([TestEvent(id: "1")])
        ledger.log.prepare(unit, using: &snapshot)
        #expect(ledger.submit([unit])[0].receipt?.isDuplicate == true)
    }
}

// MARK: - Means

/// Holds the appender before a commit until it is let go, so that what is submitted meanwhile waits, and forms one group.
final class Gate: Sendable {
    private let isClosed = Atomic<Bool>(false)
    private let isReached = Atomic<Bool>(false)
    private let letsPass = Atomic<Bool>(true)

    func close() { isClosed.store(true, ordering: .sequentiallyConsistent) }
    func open(passing: Bool) {
        letsPass.store(passing, ordering: .sequentiallyConsistent)
        isClosed.store(false, ordering: .sequentiallyConsistent)
    }
    func waitUntilReached() { waitUntil { isReached.load(ordering: .sequentiallyConsistent) } }

    /// Whether the commit may go on. Waits while the gate is closed.
    func passes() -> Bool {
        guard isClosed.load(ordering: .sequentiallyConsistent) else {
            return letsPass.load(ordering: .sequentiallyConsistent)
        }
        isReached.store(true, ordering: .sequentiallyConsistent)
        waitUntil { !isClosed.load(ordering: .sequentiallyConsistent) }
        return letsPass.load(ordering: .sequentiallyConsistent)
    }
}

/// A file system of a few MiB that can be filled and freed.
final class SmallDisk {
    enum Kind: String, CaseIterable, Sendable { case tmpfs, ext4 }

    /// Mounting needs root and CAP_SYS_ADMIN; an unmount of nothing says which.
    static let canMount = geteuid() == 0 && umount2("/nonexistent", 0) != 0 && errno == ENOENT

    private let folder: LedgerFolder
    var path: String { folder.path + "/mount" }

    /// - Parameter parent: where the image of an ext4 lies.
    init(_ kind: Kind, bytes: Int, below parent: String = "/tmp") throws {
        folder = LedgerFolder(below: parent)
        try #require(mkdir(path, 0o700) == 0)
        switch kind {
        case .tmpfs: try #require(mount("tmpfs", path, "tmpfs", 0, "size=\(bytes),mode=0700") == 0)
        case .ext4:
            let image = folder.path + "/image"
            try #require(try run("/usr/bin/truncate", ["-s", "\(bytes)", image]) == 0)
            try #require(try run("/sbin/mkfs.ext4", ["-q", "-F", image]) == 0)
            try #require(try run("/bin/mount", ["-o", "loop", image, path]) == 0)
            #expect(chmod(path, 0o700) == 0)
        }
    }

    deinit { umount2(path, Int32(MNT_DETACH)) }

    /// Takes `bytes` away, until `free()`.
    func fill(bytes: Int) throws {
        // A process that another test starts meanwhile would keep it.
        let descriptor = open(path + "/filler", O_WRONLY | O_CREAT | O_CLOEXEC, 0o600)
        defer { close(descriptor) }
        try #require(posix_fallocate(descriptor, 0, off_t(bytes)) == 0)
    }

    func free() throws { try #require(unlink(path + "/filler") == 0) }
}

/// Runs a program and gives its exit status.
func run(_ path: String, _ arguments: [String]) throws -> Int32 {
    var identifier: pid_t = 0
    var pointers = ([path] + arguments).map { strdup($0) } + [nil]
    defer { pointers.forEach { free($0) } }
    try #require(posix_spawn(&identifier, path, nil, nil, &pointers, environ) == 0)
    var status: Int32 = 0
    while waitpid(identifier, &status, 0) < 0, errno == EINTR {}
    return status == 0 ? 0 : (status >> 8) & 0xFF == 0 ? -1 : (status >> 8) & 0xFF
}

/// The id of a process that was, and is no more.
struct EndedProcess {
    let identifier: pid_t
    init() throws {
        var identifier: pid_t = 0
        var pointers: [UnsafeMutablePointer<CChar>?] = [strdup("true"), nil]
        defer { pointers.forEach { free($0) } }
        try #require(posix_spawn(&identifier, "/bin/true", nil, nil, &pointers, environ) == 0)
        waitpid(identifier, nil, 0)
        self.identifier = identifier
    }
}

/// LMDB's lock file, mapped. Its descriptor stays open until the tests end: closing one would drop the locks that this
/// process has on the file. (Its layout is drawn in LMDBTests.)
private struct LockFile {
    private let base: UnsafeMutableRawPointer

    init(_ path: String) throws {
        let descriptor = open(path, O_RDWR | O_CLOEXEC)
        try #require(descriptor >= 0)
        base = try #require(mmap(nil, 8_192, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0))
        try #require(base != MAP_FAILED)
    }

    /// Writes a reader of process `identifier` into a slot, as LMDB does, and how many slots are in use.
    func plantReader(_ identifier: pid_t, slot: Int, readers: UInt32) {
        base.storeBytes(of: 1, toByteOffset: 128 + 64 * slot, as: UInt.self)
        base.storeBytes(of: identifier, toByteOffset: 128 + 64 * slot + 8, as: Int32.self)
        base.storeBytes(of: readers, toByteOffset: 56, as: UInt32.self)
    }

    func reader(inSlot slot: Int) -> pid_t { base.load(fromByteOffset: 128 + 64 * slot + 8, as: Int32.self) }
}

/// How many of the first `pages` pages of a mapped file are in memory.
func residentPages(_ map: UnsafeMutableRawPointer, _ pages: Int) -> Int {
    var flags = [UInt8](repeating: 0, count: pages)
    precondition(mincore(map, pages * 4_096, &flags) == 0)
    return flags.count { $0 & 1 == 1 }
}

private func isPageCacheDropped(_ path: String) -> Bool {
    (try? FileSystemKind.check(path, mayUseTmpfs: false)) != nil
}

func names(in directory: String) throws -> [String] {
    let stream = try #require(opendir(directory))
    defer { closedir(stream) }
    var names: [String] = []
    while let entry = readdir(stream) {
        let name = withUnsafePointer(to: &entry.pointee.d_name) {
            $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
        }
        if name != ".", name != ".." { names.append(name) }
    }
    return names.sorted()
}

/// Copies files and directories. Of lock files only the name: LMDB makes them anew, and closing one would drop the locks
/// that this process has on it.
func copyTree(_ source: String, to target: String) {
    var status = stat()
    guard lstat(source, &status) == 0 else { return }
    if status.st_mode & S_IFMT == S_IFDIR {
        mkdir(target, 0o700)
        for name in (try? names(in: source)) ?? [] { copyTree(source + "/" + name, to: target + "/" + name) }
        return
    }
    let bytes = source.hasSuffix(".lock") || source.hasSuffix("lock.mdb") ? [] : fileBytes(source) ?? []
    let descriptor = open(target, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
    precondition(descriptor >= 0 && write(descriptor, bytes, bytes.count) == bytes.count)
    close(descriptor)
}

/// Cuts every file in half that has, or lies below, a name with `.tmp`.
private func halveTemporaries(in path: String) throws {
    var status = stat()
    guard lstat(path, &status) == 0 else { return }
    if status.st_mode & S_IFMT == S_IFDIR {
        for name in try names(in: path) { try halveTemporaries(in: path + "/" + name) }
    } else if path.contains(".tmp") {
        #expect(truncate(path, status.st_size / 2) == 0)
    }
}
