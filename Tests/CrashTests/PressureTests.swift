import CLMDB
import Glibc
import Synchronization
import TestSupport
import Testing

extension ProgramTests {
    /// Clients that cost the daemon something without giving anything back. What they cost a good client in time,
    /// `leadledger-bench pressure` measures; here is what must hold at any speed.
    @Suite struct PressureTests {
        private let place = LedgerPlace()

        @Test func `64 subscribers that stop reading hold nothing up, are cut off, and resume where they were`() throws
        {
            let daemon = try place.serve(["--test"])
            let client = try place.connect()
            // More than is kept for one of them: 1 MiB here, and the kernel's buffer.
            var stored = 0
            for _ in 0..<24 { stored += try append(100, from: stored, client) }
            let storedBefore = stored
            let bytesBefore = blocks(below: place.data + "/log")
            let slow = try (0..<64).map { _ in
                let client = try place.connect()
                try client.send(line: request(1, "log.subscribe", #"{"from":0,"credit":1000000000}"#))
                return client
            }

            // Appends, reads and read models go on meanwhile, and the log's readers are not theirs.
            var readers = LogReaders(lockFile: place.data + "/log/lock.mdb")
            let cutOff = Monotonic.milliseconds() + 60_000
            var isOver = false
            while !isOver {
                stored += try append(2, from: stored, client)
                let history = try client.ask("lead.history", #"{"lead":"N-\#(stored - 1)"}"#)
                #expect(history["events"][0]["position"].integer == stored - 1)
                let status = try client.ask("status")
                try readers.look()
                isOver = status["connections"].integer == 1
                guard Monotonic.milliseconds() < cutOff else { throw TimedOut("64 clients to be cut off") }
            }
            // One that held a transaction while its socket blocked would hold it for most of the ten seconds.
            print(
                "PressureTests: \(readers.looks) looks, one transaction seen at most \(readers.longest) times in a row")
            #expect(readers.looks > 40 && readers.seen > 0)
            #expect(readers.longest * 2 < readers.looks)
            // And while pages cannot be used again, each commit takes new ones: 10 KiB an event.
            let growth = blocks(below: place.data + "/log") - bytesBefore
            #expect(
                growth < (stored - storedBefore) * 2_048 + (4 << 20),
                "\(growth) bytes for \(stored - storedBefore) events")

            // Each has what it was sent before, whole and in order, and goes on from there.
            let head = try client.ask("status")["head"].integer!
            for (number, client) in slow.enumerated() {
                var next = 0
                _ = try client.line()
                while let line = try client.line() {
                    let params = try JSONTree(line)["params"]
                    for event in params["events"].elements {
                        guard event["position"].integer == next else {
                            Issue.record("client \(number): \(event["position"]) after \(next)")
                            return
                        }
                        next += 1
                    }
                    #expect(params["next"].integer == next)
                }
                #expect(next > 0 && next < head, "client \(number) was cut off at \(next) of \(head)")
                guard number % 16 == 0 else { continue }
                let again = try place.connect()
                try again.ask("log.subscribe", #"{"from":\#(next),"credit":1000000000}"#)
                while next < head {
                    let params = try JSONTree(try again.line() ?? "")["params"]
                    #expect(params["events"][0]["position"].integer == next)
                    next = try #require(params["next"].integer)
                }
            }
            #expect(daemon.process.errorOutput.contains("a client that does not read was cut off"))
            #expect(try daemon.terminate() == .exited(0))
        }

        /// The control of the test before: a transaction that is held, as a daemon would that kept one open while a socket blocks, is
        /// seen for as long as that lasts, and by far oftener in a row than it allows; and no longer.
        @Test func `a read transaction that is held while the log goes on is noticed`() throws {
            let daemon = try place.serve(["--test"])
            let client = try place.connect()
            var stored = try append(10, from: 0, client)
            func looks(_ count: Int) throws -> LogReaders {
                var readers = LogReaders(lockFile: place.data + "/log/lock.mdb")
                for _ in 0..<count {
                    stored += try append(1, from: stored, client)
                    try client.ask("status")
                    try readers.look()
                }
                return readers
            }
            let held = try HeldTransaction(on: place.data + "/log")
            let during = try looks(200)
            held.end()
            let after = try looks(200)
            print("PressureTests: held, a transaction was seen \(during.longest) times, and then \(after.longest)")
            #expect(during.looks == 200 && during.longest == 200)
            #expect(after.longest * 4 < after.looks)
            #expect(try daemon.terminate() == .exited(0))
        }

        @Test(.enabled(if: openFilesMax > 3_000, "the hard limit of open files is too low for 2,000 connections"))
        func `of 2,000 connections at once, with 300 files, each is served or told that it is busy, and work goes on`()
            throws
        {
            raiseOpenFiles()
            let daemon = try DaemonProcess(place, wrapper: ["prlimit", "--nofile=300"])
            try daemon.waitUntilServing()
            let client = try place.connect()
            try capture(20, client)
            #expect(daemon.process.errorOutput.contains("fewer connections are served than configured"))
            // The two that are to be served are in before the crowd is, or they may be among those that are told that it is busy.
            let flood = Flood(good: try place.connect(), slow: try place.connect())
            try Monotonic.wait(for: "the two to be served") { try client.ask("status")["connections"].integer == 3 }
            let filesBefore = names(in: "/proc/\(daemon.process.identifier)/fd").count

            let place = place
            let openers: [@Sendable () -> Void] = (0..<8).map { _ in
                { @Sendable in flood.noting("a connection") { for _ in 0..<250 { flood.hold(try place.connect()) } } }
            }
            onThreads(
                [
                    {
                        // The good client.
                        flood.noting("the good client") {
                            while !flood.isOver.load(ordering: .relaxed) {
                                let number = flood.appended.load(ordering: .relaxed)
                                let answer = try flood.good.ask("append", captureParams("L-\(number)"))
                                guard answer["first"].integer == number else {
                                    return flood.note("append \(number) was answered \(answer)")
                                }
                                flood.appended.add(1, ordering: .relaxed)
                            }
                        }
                    },
                    {
                        // One that sends a byte a second is told at its tenth second, and ends the test.
                        defer { flood.isOver.store(true, ordering: .relaxed) }
                        flood.noting("a byte a second") {
                            var bytes = 0
                            while !flood.slow.hasLine, bytes < 30 {
                                try? flood.slow.send(bytes: Array("{".utf8))
                                bytes += 1
                                for _ in 0..<20 where !flood.slow.hasLine { Monotonic.sleep(microseconds: 50_000) }
                            }
                            let reply = try JSONTree(try flood.slow.line() ?? "null")
                            guard reply["error"]["data"]["name"].string == "line_unfinished" else {
                                return flood.note("a byte a second was answered \(reply) after \(bytes) bytes")
                            }
                        }
                    },
                ] + openers)
            // None has been closed from here, so all were there at once.
            var told: [String: Int] = [:]
            for client in flood.takeHeld() {
                flood.noting("a connection over the limit") {
                    // One that was told and closed does not take this any more.
                    try? client.send(line: request(1, "status"))
                    let reply = try JSONTree(try client.line() ?? "null")
                    let refusal = reply["error"]["data"]
                    if reply["result"].isPresent {
                        told["served", default: 0] += 1
                    } else if refusal["name"].string == "busy", refusal["retry_after_ms"].integer == 200 {
                        told["busy", default: 0] += 1
                    } else {
                        flood.note("a connection was told \(reply)")
                    }
                }
            }
            let appended = flood.appended.load(ordering: .relaxed)
            print("PressureTests: 2,000 connections: \(told), appends meanwhile \(appended)")
            for fault in flood.faults.prefix(10) { Issue.record("\(fault)") }
            #expect(told["served", default: 0] + told["busy", default: 0] == 2_000)
            #expect(150...207 ~= told["served", default: 0])
            #expect(appended >= 40)
            // Who knocks must not fill the disk either.
            let lines = daemon.process.errorOutput.split(separator: "\n").count { $0.contains("refused") }
            #expect(1...60 ~= lines, "\(lines) lines about refused connections")

            try Monotonic.wait(for: "the files of the connections to be closed", milliseconds: 20_000) {
                names(in: "/proc/\(daemon.process.identifier)/fd").count <= filesBefore
            }
            #expect(try place.connect().ask("status")["head"].integer == appended)
            #expect(try daemon.terminate() == .exited(0))
        }

        /// Replies leave in the order of their requests, so a request that takes long has the answers behind it wait. They are
        /// not to be computed meanwhile, or one client takes all the memory there is.
        @Test func `what is asked behind a rebuild is answered behind it, and does not pile up meanwhile`() throws {
            let daemon = try place.serve()
            let client = try place.connect()
            var stored = 0
            for _ in 0..<150 { stored += try append(100, from: stored, client, bytes: 20) }
            // What the read models take for these is not what is asked about.
            try client.waitForModels(at: stored)
            let before = try allocated(daemon)
            let asker = try place.connect()
            // Sent in one go, so that they are all read before the first of them could be answered.
            let lines =
                [request(0, "projection.rebuild", #"{"name":"leads","wait":true}"#)]
                + (1..<400).map { request($0, "log.read", #"{"from":0,"limit":1000}"#) }
            try asker.send(bytes: Array((lines.joined(separator: "\n") + "\n").utf8))
            var peak = before
            while !asker.hasLine {
                peak = max(peak, try allocated(daemon))
                Monotonic.sleep(microseconds: 2_000)
            }
            for number in 0..<400 {
                let reply = try JSONTree(try asker.line() ?? "null")
                #expect(reply["id"].integer == number && reply["result"].isPresent)
                peak = max(peak, try allocated(daemon))
            }
            print("PressureTests: behind a rebuild of \(stored) events the memory grew by \((peak - before) >> 20) MiB")
            #expect(peak - before < 48 << 20, "\((peak - before) >> 20) MiB")
            #expect(try daemon.terminate() == .exited(0))
        }

        private func append(_ count: Int, from start: Int, _ client: LineClient, bytes: Int = 600) throws -> Int {
            let text = String(repeating: "n", count: bytes)
            let events = (start..<start + count).map {
                #"{"id":"1","source":"urn:test","type":"lead.captured","subject":"N-\#($0)","data":{"custom":{"k":"\#(text)"}}}"#
            }
            try client.ask("append", #"{"events":[\#(events.joined(separator: ","))]}"#)
            return count
        }

        /// Bytes on the disk.
        private func blocks(below path: String) -> Int {
            var status = stat()
            guard lstat(path, &status) == 0 else { return 0 }
            return names(in: path).reduce(Int(status.st_blocks) * 512) { $0 + blocks(below: path + "/" + $1) }
        }
    }
}

/// Who reads the log, as LMDB's lock file has it, which a daemon maps and others may read: from byte 128 on a slot of 64 bytes for
/// each reader, of which the first eight are the transaction it reads at, all ones where it rests.
private struct LogReaders {
    private let lockFile: String
    private var last: [Int: (transaction: UInt64, count: Int)] = [:]
    /// How often was looked, and how often somebody was reading.
    private(set) var looks = 0
    private(set) var seen = 0
    /// The most looks in a row at which one reader was at one transaction.
    private(set) var longest = 0

    init(lockFile: String) { self.lockFile = lockFile }

    mutating func look() throws {
        looks += 1
        let bytes = try bytes(ofFile: lockFile)
        guard bytes.count >= 128 + 64 else { throw SystemFailure("\(lockFile) is short", code: 0) }
        for (slot, start) in stride(from: 128, to: bytes.count - 63, by: 64).enumerated() {
            let (transaction, process) = bytes.withUnsafeBytes {
                (
                    $0.loadUnaligned(fromByteOffset: start, as: UInt64.self),
                    $0.loadUnaligned(fromByteOffset: start + 8, as: Int32.self)
                )
            }
            guard process != 0, transaction != .max else {
                last[slot] = nil
                continue
            }
            seen += 1
            let before = last[slot]
            let count = before?.transaction == transaction ? (before?.count ?? 0) + 1 : 1
            last[slot] = (transaction, count)
            longest = max(longest, count)
        }
    }
}

/// A read transaction of this process on a daemon's log. It belongs to the thread that made it.
private final class HeldTransaction {
    private var environment: OpaquePointer?
    private var transaction: OpaquePointer?

    init(on directory: String) throws {
        try check(mdb_env_create(&environment), "create")
        try check(mdb_env_set_maxdbs(environment, 32), "maxdbs")
        try check(mdb_env_open(environment, directory, UInt32(MDB_RDONLY), 0o600), "open \(directory)")
        try check(mdb_txn_begin(environment, nil, UInt32(MDB_RDONLY), &transaction), "begin")
    }

    func end() {
        if let transaction { mdb_txn_abort(transaction) }
        if let environment { mdb_env_close(environment) }
        transaction = nil
        environment = nil
    }

    deinit { end() }

    private func check(_ code: Int32, _ what: String) throws {
        if code != 0 { throw SystemFailure("\(what): \(String(cString: mdb_strerror(code)))", code: 0) }
    }
}

/// What the threads of a flood share.
private final class Flood: @unchecked Sendable {
    // Sendable: each client is used by one thread at a time; those of the crowd are behind the lock.
    /// Appends one event after the other.
    let good: LineClient
    /// Sends a byte a second.
    let slow: LineClient
    let isOver = Atomic<Bool>(false)
    let appended = Atomic<Int>(20)
    private let lock = Mutex(())
    private var held: [LineClient] = []
    private var noted: [String] = []

    init(good: LineClient, slow: LineClient) {
        self.good = good
        self.slow = slow
    }

    var faults: [String] { lock.withLock { _ in noted } }
    func note(_ fault: String) { lock.withLock { _ in noted.append(fault) } }
    func hold(_ client: LineClient) { lock.withLock { _ in held.append(client) } }

    /// The connections; they close as the caller lets go of them.
    func takeHeld() -> [LineClient] {
        lock.withLock { _ in
            defer { held = [] }
            return held
        }
    }

    func noting(_ who: String, _ body: () throws -> Void) {
        do { try body() } catch { note("\(who): \(error)") }
    }
}

private func openFiles() -> rlimit {
    var limit = rlimit()
    getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    return limit
}

private var openFilesMax: UInt64 { UInt64(openFiles().rlim_max) }

private func raiseOpenFiles() {
    var limit = openFiles()
    limit.rlim_cur = max(limit.rlim_cur, 3_000)
    setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
}
