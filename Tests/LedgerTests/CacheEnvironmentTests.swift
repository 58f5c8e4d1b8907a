import Glibc
import LMDB
import Testing

@testable import Ledger

@Suite struct CacheEnvironmentTests {
    let parent = CacheDirectory()

    /// Opens the cache as boot `boot`, with the log's head at `head`.
    private func open(
        boot: String? = "boot-1", ledger: String = "ledger-1", fingerprint: String = "index/1", head: UInt64 = 100,
        spaceStep: Int = 64 << 10
    ) throws(CacheError) -> (cache: CacheEnvironment, origin: CacheEnvironment.Origin) {
        try CacheEnvironment.open(
            directory: parent.cache, ledgerID: ledger, fingerprint: fingerprint, tables: ["rows"],
            options: .init(mapSize: 16 << 20, durability: .cache, mayUseTmpfs: true), spaceStep: spaceStep,
            bootID: boot
        ) { environment in try progress(of: environment) <= head }
    }

    private func progress(of environment: Environment) throws -> UInt64 {
        let rows = try environment.openTables("rows")[0]
        return try environment.read { try $0.withValue(in: rows, at: 0) { $0.unsafeLoad(as: UInt64.self) } ?? 0 }
    }

    private func store(_ progress: UInt64, in cache: CacheEnvironment) throws {
        let rows = try cache.environment.openTables("rows")[0]
        try cache.reserveSpace(bytes: 64 << 10)
        try cache.environment.write { transaction in
            try withUnsafeBytes(of: progress) { try transaction.put($0, in: rows, at: 0) }
        }
    }

    /// A cache with progress 42, left as a kill (open) or a clean shutdown leaves it.
    private func prepare(clean: Bool, boot: String = "boot-1") throws {
        let (cache, origin) = try open(boot: boot)
        #expect(origin == .created(.absent))
        try store(42, in: cache)
        if clean { try cache.closeCleanly() } else { cache.environment.close() }
    }

    @Test func `a new cache is open, durable and empty`() throws {
        let (cache, origin) = try open()
        #expect(origin == .created(.absent))
        #expect(try progress(of: cache.environment) == 0)
        let state = try #require(try DurableFiles.readFile(parent.state))
        let identity = cache.environment.fileIdentity
        #expect(
            state == """
                ledger=ledger-1
                fingerprint=index/1
                boot=boot-1
                dev=\(identity.device)
                ino=\(identity.inode)
                state=open

                """)
        #expect(access(parent.cache + ".tmp", F_OK) != 0)
    }

    @Test func `after a kill within this boot it is kept`() throws {
        try prepare(clean: false)
        let (cache, origin) = try open()
        #expect(origin == .kept)
        #expect(try progress(of: cache.environment) == 42)
    }

    @Test func `after a kill and another boot it is made anew`() throws {
        try prepare(clean: false)
        let (cache, origin) = try open(boot: "boot-2")
        #expect(origin == .created(.otherBoot))
        #expect(try progress(of: cache.environment) == 0)
        #expect(try DurableFiles.readFile(parent.state)?.contains("boot=boot-2\n") == true)
    }

    @Test func `after a clean shutdown it is kept, on any boot, and open again`() throws {
        try prepare(clean: true)
        #expect(try DurableFiles.readFile(parent.state)?.contains("state=clean\n") == true)
        do {
            let (cache, origin) = try open(boot: "boot-2")
            #expect(origin == .kept)
            #expect(try progress(of: cache.environment) == 42)
            #expect(try DurableFiles.readFile(parent.state)?.contains("boot=boot-2\n") == true)
            #expect(try DurableFiles.readFile(parent.state)?.contains("state=open\n") == true)
            cache.environment.close()
        }
        // So a crash of the system now is noticed.
        #expect(try open(boot: "boot-3").origin == .created(.otherBoot))
    }

    @Test func `the system's boot id is used by default`() throws {
        #expect(try open(boot: nil).origin == .created(.absent))
        #expect(try open(boot: nil).origin == .kept)
        #expect(try open(boot: "boot-1").origin == .created(.otherBoot))
    }

    @Test func `another ledger or fingerprint is not ours`() throws {
        try prepare(clean: true)
        #expect(try open(ledger: "ledger-2").origin == .created(.otherLedger))
        #expect(try open(ledger: "ledger-2", fingerprint: "index/2").origin == .created(.otherFingerprint))
        #expect(try open(ledger: "ledger-2", fingerprint: "index/2").origin == .kept)
    }

    @Test(arguments: [false, true]) func `a copy put in its place is not believed`(clean: Bool) throws {
        try prepare(clean: clean)
        let path = parent.cache + "/data.mdb"
        let bytes = try #require(contents(of: path))
        // The old file keeps its inode for as long as it has a name.
        #expect(rename(path, path + ".old") == 0)
        write(bytes, to: path)
        #expect(try open().origin == .created(.otherFile))
    }

    @Test func `without STATE, or with one that is not understood, nothing is believed`() throws {
        try prepare(clean: true)
        #expect(unlink(parent.state) == 0)
        #expect(try open().origin == .created(.stateMissing))
        let good = try #require(try DurableFiles.readFile(parent.state))
        for bad in [
            "", "nonsense", good + "state=clean\n", good.replacing("state=open", with: "state=maybe"),
            good.replacing("boot=boot-1\n", with: ""), good.replacing("dev=", with: "dev=-"), good + "more=1\n",
        ] {
            try DurableFiles.replaceFile(parent.state, with: bad)
            #expect(try open().origin == .created(.stateUnreadable), "\(bad)")
        }
        write([0xFF, 0xFE, 0x0A], to: parent.state)
        #expect(try open().origin == .created(.stateUnreadable))
        #expect(try open().origin == .kept)
    }

    @Test func `progress beyond the log's head is not believed`() throws {
        try prepare(clean: true)
        #expect(try open(head: 42).origin == .kept)
        #expect(try open(head: 41).origin == .created(.progressBeyondLog))
        #expect(try open(head: 0).origin == .kept)
    }

    @Test func `a progress that cannot be read is not believed`() throws {
        try prepare(clean: true)
        let (_, origin) = try CacheEnvironment.open(
            directory: parent.cache, ledgerID: "ledger-1", fingerprint: "index/1", tables: ["rows"],
            options: .init(mapSize: 16 << 20, durability: .cache, mayUseTmpfs: true), bootID: "boot-1"
        ) { _ in throw CancellationError() }
        guard case .created(.unreadable) = origin else {
            Issue.record("\(origin)")
            return
        }
    }

    @Test func `a file cut short is made anew`() throws {
        try prepare(clean: true)
        #expect(truncate(parent.cache + "/data.mdb", 8_192) == 0)
        guard case .created(.unreadable(let why)) = try open().origin else {
            Issue.record("kept")
            return
        }
        #expect(why.contains("8192"))
    }

    @Test func `what discarding would not mend is thrown, and nothing is deleted`() throws {
        let (cache, _) = try open()
        try store(7, in: cache)
        let error = #expect(throws: CacheError.self) { try open() }
        guard case .lmdb(let busy) = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(busy.operation == .register)
        #expect(try progress(of: cache.environment) == 7)
        cache.environment.close()
        #expect(try open().origin == .kept)
    }

    @Test func `a creation that was cut short leaves only a tmp, which the next one replaces`() throws {
        let temporary = parent.cache + ".tmp"
        #expect(mkdir(temporary, 0o700) == 0)
        write([1, 2, 3], to: temporary + "/data.mdb")
        #expect(try open().origin == .created(.absent))
        #expect(access(temporary, F_OK) != 0)
        #expect(mkdir(temporary, 0o700) == 0)
        write([1, 2, 3], to: temporary + "/data.mdb")
        #expect(try DurableFiles.sweepLeftovers(in: parent.path) == ["cache.tmp"])
        #expect(try DurableFiles.sweepLeftovers(in: parent.path) == [])
        #expect(try open().origin == .kept)
    }
}

/// Bytes of pages that the calling thread has made dirty; nil where the system does not count them.
private func writtenBytes() -> UInt64? {
    guard let text = try? DurableFiles.readFile("/proc/thread-self/io"),
        let line = text.split(separator: "\n").first(where: { $0.hasPrefix("write_bytes:") })
    else { return nil }
    return line.split(separator: " ").last.flatMap { UInt64($0) }
}

@Suite struct SpaceAheadTests {
    let parent = CacheDirectory()

    @Test func `space is allocated in steps, ahead of what is used`() throws {
        let environment = try Environment.open(
            directory: parent.cache, options: .init(mapSize: 16 << 20, durability: .cache, mayUseTmpfs: true))
        let space = SpaceAhead(environment: environment, step: 64 << 10)
        try space.ensure(bytes: 1)
        let path = parent.cache + "/data.mdb"
        #expect(status(of: path).st_size == 64 << 10)
        #expect(status(of: path).st_blocks * 512 >= 56 << 10)
        let table = try environment.openTables("t")[0]
        let value = [UInt8](repeating: 1, count: 3_000)
        for key in 0..<200 as Range<UInt64> {
            try space.ensure(bytes: 64 << 10)
            try environment.write { transaction in
                try value.withUnsafeBytes { try transaction.put($0, in: table, at: key, .append) }
            }
            // The commit has not had to make the file longer.
            #expect(status(of: path).st_size % (64 << 10) == 0)
            #expect(UInt64(status(of: path).st_size) >= environment.info.usedBytes)
        }
        // Beyond the map size there is nothing to allocate: LMDB will say that it is full.
        try space.ensure(bytes: 1 << 40)
        #expect(status(of: path).st_size == 16 << 20)
    }

    /// Where a kernel keeps pages that were written together as one, a changed one would make all of them count.
    @Test(.enabled(if: writtenBytes() != nil)) func `a changed page of a cache makes no other page dirty`() throws {
        let (cache, _) = try CacheEnvironment.open(
            directory: parent.cache, ledgerID: "l", fingerprint: "f", tables: ["t"],
            options: .init(mapSize: 64 << 20, durability: .cache, mayUseTmpfs: true), spaceStep: 8 << 20, bootID: "b"
        ) { _ in true }
        let table = try cache.environment.openTables("t")[0]
        func put(_ keys: Range<UInt64>) throws {
            try cache.reserveSpace(bytes: 4 << 20)
            try cache.environment.write { transaction in
                for key in keys {
                    // A page for each.
                    try [UInt8](repeating: UInt8(key & 0xFF), count: 3_000).withUnsafeBytes {
                        try transaction.put($0, in: table, at: key)
                    }
                }
            }
            try cache.environment.sync(force: true)
        }
        // Pages side by side, first written together, and then free for later changes.
        try put(0..<512)
        try put(0..<512)
        try put(0..<512)
        let before = try #require(writtenBytes())
        let changes = 32
        for change in 0..<changes { try put(UInt64(change * 16)..<UInt64(change * 16 + 1)) }
        // Its row, the page above, the root, the table of tables and the free list, and a meta; twice that, to be safe.
        #expect(try #require(writtenBytes()) - before <= UInt64(changes * 12 * 4_096))
    }

    @Test(.enabled(if: CacheDirectory.canMount)) func `a full disk is a clean error, after which things go on`() throws
    {
        let mount = parent.path + "/small"
        #expect(mkdir(mount, 0o700) == 0)
        try #require(Glibc.mount("tmpfs", mount, "tmpfs", 0, "size=1m,mode=0700") == 0)
        defer { umount2(mount, Int32(MNT_DETACH)) }
        let (cache, _) = try CacheEnvironment.open(
            directory: mount + "/cache", ledgerID: "l", fingerprint: "f", tables: ["t"],
            options: .init(mapSize: 16 << 20, durability: .cache, mayUseTmpfs: true), spaceStep: 256 << 10,
            bootID: "b"
        ) { _ in true }
        let table = try cache.environment.openTables("t")[0]
        let value = [UInt8](repeating: 1, count: 3_000)
        var stored: UInt64 = 0
        var refusal: FileError?
        while refusal == nil, stored < 1_000 {
            do throws(FileError) {
                try cache.reserveSpace(bytes: 64 << 10)
            } catch {
                refusal = error
                break
            }
            try cache.environment.write { transaction in
                try value.withUnsafeBytes { try transaction.put($0, in: table, at: stored, .append) }
            }
            stored += 1
        }
        #expect(refusal?.isDiskFull == true)
        #expect(refusal?.path == mount + "/cache/data.mdb")
        #expect(stored > 100)
        #expect(try cache.environment.read { try $0.count(of: table) } == Int(stored))
        // Nor can a cache be made there now, which is said and not discarded over and over.
        let error = #expect(throws: CacheError.self) {
            _ = try CacheEnvironment.open(
                directory: mount + "/second", ledgerID: "l", fingerprint: "f", tables: ["t"],
                options: cache.environment.options, bootID: "b"
            ) { _ in true }
        }
        #expect(error?.isDiskFull == true)
        // Room again: the same cache goes on.
        try DurableFiles.sweepLeftovers(in: mount)
        #expect(Glibc.mount("tmpfs", mount, "tmpfs", UInt(MS_REMOUNT), "size=4m") == 0)
        try cache.reserveSpace(bytes: 64 << 10)
        try cache.closeCleanly()
    }
}

@Suite struct DurableFilesTests {
    let parent = CacheDirectory()

    @Test func `a file is replaced whole`() throws {
        let path = parent.path + "/FORMAT"
        #expect(try DurableFiles.readFile(path) == nil)
        try DurableFiles.replaceFile(path, with: "one")
        try DurableFiles.replaceFile(path, with: "two\n")
        #expect(try DurableFiles.readFile(path) == "two\n")
        #expect(status(of: path).st_mode & 0o777 == 0o600)
        #expect(access(path + ".tmp", F_OK) != 0)
        #expect(throws: FileError(operation: "read", path: path, code: EFBIG)) {
            try DurableFiles.readFile(path, bytesMax: 3)
        }
    }

    @Test func `a directory whose filling fails does not appear`() throws {
        struct Stop: Error {}
        let path = parent.path + "/made"
        #expect(throws: Stop.self) {
            try DurableFiles.createDirectory(at: path, failure: { _ in Stop() }) { temporary throws(Stop) in
                write([1], to: temporary + "/half")
                throw Stop()
            }
        }
        #expect(access(path, F_OK) != 0)
        try DurableFiles.createDirectory(at: path, failure: { $0 }) { temporary throws(FileError) in
            #expect(access(temporary + "/half", F_OK) != 0)
            try DurableFiles.replaceFile(temporary + "/whole", with: "")
        }
        #expect(access(path + "/whole", F_OK) == 0)
        // One that holds something is never replaced.
        let error = #expect(throws: FileError.self) {
            try DurableFiles.createDirectory(at: path, failure: { $0 }) { _ throws(FileError) in }
        }
        #expect(error?.operation == "rename")
    }

    @Test func `removal takes all below, follows no link, and is content with nothing`() throws {
        let path = parent.path + "/old"
        let outside = parent.path + "/outside"
        #expect(mkdir(path, 0o700) == 0)
        #expect(mkdir(path + "/inner", 0o700) == 0)
        write([1], to: path + "/inner/file")
        write([1], to: outside)
        #expect(symlink(parent.path, path + "/link") == 0)
        try DurableFiles.removeDirectory(path)
        #expect(access(path, F_OK) != 0)
        #expect(access(path + ".tmp", F_OK) != 0)
        #expect(access(outside, F_OK) == 0)
        try DurableFiles.removeDirectory(path)
    }
}

/// A directory that goes away with its last reference; `cache` is a name in it.
final class CacheDirectory {
    let path: String
    var cache: String { path + "/cache" }
    var state: String { cache + "/STATE" }

    static let canMount: Bool = {
        // Mounting needs root and CAP_SYS_ADMIN; an unmount of nothing says which.
        geteuid() == 0 && umount2("/nonexistent", 0) != 0 && errno == ENOENT
    }()

    init() {
        var template = Array("/tmp/cache-tests.XXXXXX".utf8CString)
        path = template.withUnsafeMutableBufferPointer { String(cString: mkdtemp($0.baseAddress!)) }
    }

    deinit {
        try? DurableFiles.removeDirectory(path)
    }
}

private func status(of path: String) -> stat {
    var status = stat()
    precondition(stat(path, &status) == 0)
    return status
}

private func contents(of path: String) -> [UInt8]? {
    let descriptor = open(path, O_RDONLY)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var bytes = [UInt8](repeating: 0, count: Int(status(of: path).st_size))
    let count = bytes.withUnsafeMutableBytes { read(descriptor, $0.baseAddress, $0.count) }
    return count == bytes.count ? bytes : nil
}

private func write(_ bytes: [UInt8], to path: String) {
    let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
    precondition(descriptor >= 0 && Glibc.write(descriptor, bytes, bytes.count) == bytes.count)
    close(descriptor)
}
