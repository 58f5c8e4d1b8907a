import CLMDB
import Glibc
import Testing

@testable import LMDB

@Suite struct EnvironmentTests {
    let directory = TemporaryDirectory()

    @Test func `L22: directories are 0700, files 0600, and a log's flags leave no sync out`() throws {
        let path = directory.path + "/inner"
        let environment = try Environment.open(
            directory: path, options: .init(mapSize: 1 << 20, durability: .synced, mayUseTmpfs: true))
        defer { _ = [unlink(path + "/data.mdb"), unlink(path + "/lock.mdb"), rmdir(path)] }
        #expect(status(of: path).st_mode & 0o777 == 0o700)
        #expect(status(of: path + "/data.mdb").st_mode & 0o777 == 0o600)
        #expect(status(of: path + "/lock.mdb").st_mode & 0o777 == 0o600)
        let unwanted = MDB_NOSYNC | MDB_NOMETASYNC | MDB_MAPASYNC | MDB_WRITEMAP | MDB_NOLOCK | MDB_NOMEMINIT
        #expect(environment.flags & UInt32(unwanted) == 0)
        #expect(environment.flags & UInt32(MDB_NOTLS) != 0)
        #expect(environment.info.readersMax == 256)
    }

    @Test func `L22: only a cache is opened without sync`() throws {
        let environment = try directory.open(durability: .cache)
        #expect(environment.flags & UInt32(MDB_NOSYNC) != 0)
        #expect(environment.flags & UInt32(MDB_NOMETASYNC | MDB_MAPASYNC | MDB_WRITEMAP) == 0)
    }

    @Test func `what was committed is there after reopening`() throws {
        do {
            let environment = try directory.open(durability: .synced)
            let table = try environment.openTables("t")[0]
            try environment.write { try $0.put("seven", in: table, at: 7) }
        }
        let environment = try directory.open(readOnly: true)
        let table = try #require(try environment.existingTable(named: "t"))
        #expect(try environment.read { try $0.text(in: table, at: 7) } == "seven")
        #expect(try environment.existingTable(named: "u") == nil)
        #expect(throws: LMDBError(code: MDB_NOTFOUND, operation: .openTable, context: "u")) {
            try environment.openTables("u")
        }
    }

    @Test func `L11: a second opening in the process is refused, and possible after close`() throws {
        let first = try directory.open()
        let error = #expect(throws: LMDBError.self) { try directory.open() }
        #expect(error?.operation == .register)
        #expect(error?.code == EBUSY)
        // The refusal has not taken the first one's locks: another process still finds the file locked.
        let table = try first.openTables("t")[0]
        try first.write { try $0.put("x", in: table, at: 1) }
        first.close()
        _ = try directory.open()
    }

    @Test func `L11: a renamed directory is still the same open file`() throws {
        let environment = try directory.open()
        let moved = directory.path + ".moved"
        #expect(rename(directory.path, moved) == 0)
        defer { #expect(rename(moved, directory.path) == 0) }
        let error = #expect(throws: LMDBError.self) {
            try Environment.open(directory: moved, options: environment.options)
        }
        #expect(error?.operation == .register)
    }

    @Test func `L11: every descriptor is closed on exec`() throws {
        let environment = try directory.open(durability: .synced)
        let table = try environment.openTables("t")[0]
        try environment.write { try $0.put("x", in: table, at: 1) }
        var found = 0
        for descriptor in Int32(0)..<1_024 {
            var target = [UInt8](repeating: 0, count: 4_096)
            let count = target.withUnsafeMutableBytes {
                readlink("/proc/self/fd/\(descriptor)", $0.baseAddress!, $0.count)
            }
            guard count > 0, String(decoding: target[..<count], as: UTF8.self).hasPrefix(directory.path + "/") else {
                continue
            }
            found += 1
            #expect(fcntl(descriptor, F_GETFD) & FD_CLOEXEC != 0, "descriptor \(descriptor)")
        }
        // The data file twice, for pages and for the synchronous meta page, and the lock file.
        #expect(found == 3)
        #expect(environment.fileDescriptor >= 0)
    }

    @Test func `L13: the lock file is allocated, not sparse, before it is mapped`() throws {
        let environment = try directory.open()
        let lock = status(of: directory.lockPath)
        // LMDB's own arithmetic must not have found it too small, and grown it sparsely.
        #expect(lock.st_size == 128 + 64 * 256)
        #expect(Int(lock.st_blocks) * 512 >= Int(lock.st_size))
        #expect(environment.info.readersMax == 256)
    }

    @Test func `L13: a file cut short is refused before a page is read`() throws {
        do {
            let environment = try directory.open(durability: .synced)
            let table = try environment.openTables("t")[0]
            let text = String(repeating: "x", count: 3_000)
            try environment.write { transaction in
                for key in 0..<100 as Range<UInt64> { try transaction.put(text, in: table, at: key, .append) }
            }
        }
        #expect(truncate(directory.dataPath, off_t(status(of: directory.dataPath).st_size) - 4_096) == 0)
        let error = #expect(throws: LMDBError.self) { try directory.open() }
        #expect(error?.operation == .checkLength)
        #expect(error?.isCorruption == true)
        #expect(error?.description.contains(directory.dataPath) == true)
    }

    // Of 1,200 such commits, 16 leave the file too short without `coverLastPage`.
    @Test(arguments: 0..<20 as Range<UInt64>)
    func `pages taken and given up at the end of the file do not make it look cut short`(seed: UInt64) throws {
        var state = seed &* 7919 &+ 1
        func random(below bound: UInt64) -> UInt64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return (state >> 33) % bound
        }
        let environment = try directory.open()
        let table = try environment.openTables("t")[0]
        for _ in 0..<60 {
            try environment.write { transaction in
                for _ in 0..<(1 + random(below: 60)) {
                    let key = random(below: 80)
                    if random(below: 3) == 0 {
                        try transaction.delete(in: table, at: key)
                    } else {
                        let length = random(below: 2) == 0 ? random(below: 1_900) : random(below: 9_000)
                        try transaction.put(String(repeating: "x", count: Int(length)), in: table, at: key)
                    }
                }
            }
            #expect(UInt64(status(of: directory.dataPath).st_size) >= environment.info.usedBytes)
        }
        environment.close()
        try directory.open().close()
    }

    @Test func `L5: a file or directory others may write is refused`() throws {
        try directory.open().close()
        for path in [directory.dataPath, directory.lockPath, directory.path] {
            let mode = status(of: path).st_mode & 0o777
            #expect(chmod(path, mode | 0o020) == 0)
            let error = #expect(throws: LMDBError.self) { try directory.open() }
            #expect(error?.operation == .checkOwner)
            #expect(error?.code == EPERM)
            #expect(error?.hint != nil)
            #expect(chmod(path, mode) == 0)
        }
        _ = try directory.open()
    }

    @Test(.enabled(if: geteuid() == 0)) func `L5: a file of another user is refused, even to root`() throws {
        try directory.open().close()
        #expect(chown(directory.dataPath, 65_534, 65_534) == 0)
        let error = #expect(throws: LMDBError.self) { try directory.open() }
        #expect(error?.operation == .checkOwner)
        #expect(error?.context?.contains("65534") == true)
    }

    @Test func `L5: a link in place of the data file is refused`() throws {
        let other = TemporaryDirectory()
        try other.open().close()
        #expect(symlink(other.dataPath, directory.dataPath) == 0)
        #expect(throws: LMDBError.self) { try directory.open() }
    }

    @Test func `something else than an environment is refused`() throws {
        let descriptor = Glibc.open(directory.dataPath, O_WRONLY | O_CREAT, 0o600)
        let bytes = [UInt8](repeating: 0x41, count: 16_384)
        #expect(write(descriptor, bytes, bytes.count) == bytes.count)
        close(descriptor)
        let error = #expect(throws: LMDBError.self) { try directory.open() }
        #expect(error?.isCorruption == true)
    }

    @Test func `L12: local file systems are accepted and others named`() {
        for magic: UInt32 in [0xEF53, 0x5846_5342, 0x9123_683E] {
            #expect(FileSystemKind.problem(magic: magic, mayUseTmpfs: false) == nil)
        }
        #expect(FileSystemKind.problem(magic: 0x0102_1994, mayUseTmpfs: true) == nil)
        #expect(FileSystemKind.problem(magic: 0x0102_1994, mayUseTmpfs: false)?.contains("tmpfs") == true)
        #expect(FileSystemKind.problem(magic: 0x6969, mayUseTmpfs: true) == "NFS")
        #expect(FileSystemKind.problem(magic: 0xFF53_4D42, mayUseTmpfs: true) == "CIFS")
        #expect(FileSystemKind.problem(magic: 0x6573_5546, mayUseTmpfs: true) == "FUSE")
        #expect(FileSystemKind.problem(magic: 0x794C_7630, mayUseTmpfs: true) == "overlayfs")
        #expect(FileSystemKind.problem(magic: 0x1234, mayUseTmpfs: true)?.contains("0x1234") == true)
    }

    @Test(.enabled(if: access("/dev/shm", W_OK) == 0)) func `L12: tmpfs is for tests only`() throws {
        let memory = TemporaryDirectory(below: "/dev/shm")
        let options = Environment.Options(mapSize: 1 << 20, durability: .cache, mayUseTmpfs: false)
        let error = #expect(throws: LMDBError.self) { try Environment.open(directory: memory.path, options: options) }
        #expect(error?.operation == .checkFileSystem)
        try memory.open().close()
    }

    @Test func `the map takes an eighth of limited address space`() {
        #expect(AddressSpace.mapSize(wanted: 4 << 40, limit: nil, isValgrind: false) == 4 << 40)
        #expect(AddressSpace.mapSize(wanted: 4 << 40, limit: 8 << 30, isValgrind: false) == 1 << 30)
        #expect(AddressSpace.mapSize(wanted: 4 << 40, limit: nil, isValgrind: true) == 64 << 30)
        #expect(AddressSpace.mapSize(wanted: 1 << 20, limit: 8 << 30, isValgrind: false) == 1 << 20)
    }

    @Test func `L6: a map of four tebibytes opens`() throws {
        let environment = try directory.open(mapSize: 4 << 40)
        // Less only where address space is short, as under a sanitizer.
        #expect(environment.info.mapSize > 1 << 28)
    }

    @Test func `L6: a full map is a clean error, and the rest goes on`() throws {
        let environment = try directory.open(mapSize: 1 << 20, durability: .synced)
        let table = try environment.openTables("t")[0]
        try environment.write { try $0.put("kept", in: table, at: 0) }
        let text = String(repeating: "x", count: 60_000)
        let error = #expect(throws: LMDBError.self) {
            try environment.write { transaction in
                for key in 1..<1_000 as Range<UInt64> { try transaction.put(text, in: table, at: key) }
            }
        }
        #expect(error?.isMapFull == true)
        #expect(error?.isOutcomeUnknown == false)
        #expect(error?.isIOError == false)
        #expect(try environment.read { try $0.text(in: table, at: 0) } == "kept")
        #expect(try environment.read { try $0.count(of: table) } == 1)
        try environment.write { try $0.put("small", in: table, at: 1) }
        #expect(environment.info.mapSize == 1 << 20)
    }

    @Test func `L8: a reader that was killed loses its slot`() throws {
        // A Swift process must not fork, so the dead reader is written into the lock file as LMDB keeps it.
        let environment = try directory.open()
        let table = try environment.openTables("t")[0]
        try environment.write { try $0.put("x", in: table, at: 1) }
        _ = try environment.read { try $0.text(in: table, at: 1) }
        #expect(try environment.checkReaders() == 0)
        let child = try SleepingProcess()
        child.kill()
        try environment.withLockFileMapped { base in
            // Slot 0 belongs to this process (from the read above); slot 1 to the dead one.
            base.storeBytes(of: 1, toByteOffset: LockFile.slotOffset(1), as: UInt.self)
            base.storeBytes(of: child.identifier, toByteOffset: LockFile.slotOffset(1) + 8, as: Int32.self)
            base.storeBytes(of: 2, toByteOffset: LockFile.readerCountOffset, as: UInt32.self)
        }
        #expect(environment.info.readersInUse == 2)
        #expect(try environment.checkReaders() == 1)
        #expect(try environment.checkReaders() == 0)
    }

    @Test func `L1: errors carry code, operation, text and hint`() {
        let full = LMDBError(code: MDB_MAP_FULL, operation: .put)
        #expect(full.description.contains("put") && full.description.contains("-30792"))
        #expect(full.hint?.contains("map size") == true)
        #expect(LMDBError(code: ENOSPC, operation: .commit).isDiskFull)
        #expect(LMDBError(code: ENOSPC, operation: .commit).isOutcomeUnknown)
        #expect(!LMDBError(code: ENOSPC, operation: .commit).isIOError)
        for code in [EIO, ENXIO, EROFS, MDB_PANIC] {
            #expect(LMDBError(code: code, operation: .put).isIOError)
        }
        #expect(LMDBError(code: 9_999, operation: .commit).isIOError)
        #expect(!LMDBError(code: MDB_MAP_FULL, operation: .commit).isOutcomeUnknown)
        #expect(!LMDBError(code: 9_999, operation: .put).isIOError)
    }
}
