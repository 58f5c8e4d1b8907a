import CLMDB
import Glibc
import Synchronization

/// What makes a file the same file: its device and inode.
package struct FileIdentity: Hashable, Sendable {
    package let device: UInt64
    package let inode: UInt64

    package init(device: UInt64, inode: UInt64) {
        self.device = device
        self.inode = inode
    }

    init(_ status: stat) {
        self.init(device: UInt64(status.st_dev), inode: UInt64(status.st_ino))
    }

    /// Of an open file; nil where the system does not tell.
    package init?(descriptor: Int32) {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { return nil }
        self.init(status)
    }
}

extension Environment {
    /// Opens the environment in `directory`, which is created (0700, with 0600 files) unless opened read-only.
    ///
    /// Refuses, naming the path and the reason: a file system that is not local; a directory or file of another user,
    /// or that others may write; a file cut short; a file that is open in this process already.
    package static func open(directory: String, options: Options) throws(LMDBError) -> Environment {
        // One opening at a time in the process: two could otherwise both find the file unregistered (E1).
        switch OpenEnvironments.opening.withLock({ _ in
            Result { () throws(LMDBError) in try openLocked(directory: directory, options: options) }
        }) {
        case .success(let environment): return environment
        case .failure(let error): throw error
        }
    }

    private static func openLocked(directory: String, options: Options) throws(LMDBError) -> Environment {
        // 1. The directory: there, ours, and on a file system whose locks and flushes hold.
        if !options.readOnly, mkdir(directory, 0o700) != 0, errno != EEXIST {
            throw LMDBError(code: errno, operation: .createDirectory, context: directory)
        }
        try checkOwner(of: directory, isDirectory: true)
        try FileSystemKind.check(directory, mayUseTmpfs: options.mayUseTmpfs)

        // 2. The files: ours, and not open here. Before any of them is opened, since closing a second descriptor of
        //    lock.mdb would drop this process's locks.
        let dataPath = directory + "/data.mdb"
        let lockPath = directory + "/lock.mdb"
        if let identity = try checkOwner(of: dataPath, isDirectory: false) {
            try OpenEnvironments.checkFree(identity, path: dataPath)
        }
        try checkOwner(of: lockPath, isDirectory: false)
        try allocateLockFile(lockPath, maxReaders: options.maxReaders, readOnly: options.readOnly)

        // 3. LMDB.
        let handle = try openMapped(directory: directory, options: options)
        do throws(LMDBError) {
            var descriptor: mdb_filehandle_t = -1
            try LMDBError.check(mdb_env_get_fd(handle, &descriptor), .open, directory)
            // LMDB 0.9.24 opens its lock file and its meta descriptor with O_CLOEXEC, but not the data file's.
            guard fcntl(descriptor, F_SETFD, FD_CLOEXEC) == 0 else {
                throw LMDBError(code: errno, operation: .open, context: directory)
            }
            // 4. The file is as long as it says (E3). Reading beyond its end would be a SIGBUS.
            let identity = try checkLength(handle, descriptor: descriptor, path: dataPath)
            // 5. Slots of readers that were killed.
            var dead: Int32 = 0
            try LMDBError.check(mdb_reader_check(handle, &dead), .checkReaders, directory)

            OpenEnvironments.register(identity)
            return Environment(
                handle: handle, directory: directory, options: options, fileDescriptor: descriptor, identity: identity)
        } catch {
            mdb_env_close(handle)
            throw error
        }
    }

    private static func openMapped(directory: String, options: Options) throws(LMDBError) -> OpaquePointer {
        var flags = UInt32(MDB_NOTLS)
        if options.durability == .cache { flags |= UInt32(MDB_NOSYNC) }
        if options.readOnly { flags |= UInt32(MDB_RDONLY) }
        if options.readsSinglePages { flags |= UInt32(MDB_NORDAHEAD) }

        var mapSize = AddressSpace.mapSize(wanted: options.mapSize)
        while true {
            var opened: OpaquePointer?
            try LMDBError.check(mdb_env_create(&opened), .open)
            guard let handle = opened else { throw LMDBError(code: ENOMEM, operation: .open) }
            var code = mdb_env_set_mapsize(handle, mapSize)
            if code == MDB_SUCCESS { code = mdb_env_set_maxreaders(handle, options.maxReaders) }
            if code == MDB_SUCCESS { code = mdb_env_set_maxdbs(handle, options.maxTables) }
            if code == MDB_SUCCESS { code = mdb_env_open(handle, directory, flags, 0o600) }
            if code == MDB_SUCCESS { return handle }
            // LMDB wants a handle closed whose opening failed.
            mdb_env_close(handle)
            // Address space can be short for reasons that no limit tells (sanitizers; valgrind says EINVAL): take less.
            guard code == ENOMEM || code == EINVAL, mapSize > AddressSpace.mapSizeSmall else {
                throw LMDBError(code: code, operation: .open, context: directory)
            }
            mapSize /= 4
        }
    }

    /// A data file is trusted input, since LMDB follows its page numbers blindly: nobody else may have written it.
    /// - Returns: nil when there is no such file.
    @discardableResult
    private static func checkOwner(of path: String, isDirectory: Bool) throws(LMDBError) -> FileIdentity? {
        var status = stat()
        // A directory may be reached through a link, a file may not.
        guard (isDirectory ? stat(path, &status) : lstat(path, &status)) == 0 else {
            if errno == ENOENT, !isDirectory { return nil }
            throw LMDBError(code: errno, operation: .checkOwner, context: path)
        }
        let kind = status.st_mode & S_IFMT
        guard kind == (isDirectory ? S_IFDIR : S_IFREG) else {
            let code = isDirectory ? ENOTDIR : EINVAL
            throw LMDBError(
                code: code, operation: .checkOwner,
                context: "\(path) is not a \(isDirectory ? "directory" : "regular file")")
        }
        guard status.st_uid == geteuid() else {
            throw LMDBError(
                code: EPERM, operation: .checkOwner,
                context: "\(path) belongs to uid \(status.st_uid), we are \(geteuid())")
        }
        guard status.st_mode & (S_IWGRP | S_IWOTH) == 0 else {
            let mode = String(status.st_mode & 0o7777, radix: 8)
            throw LMDBError(
                code: EPERM, operation: .checkOwner, context: "\(path) is writable by others (mode \(mode))")
        }
        return FileIdentity(status)
    }

    /// LMDB makes its lock file with `ftruncate` and maps it: on a full disk, the first touch would be a SIGBUS (E2).
    ///
    /// ```
    /// offset 0    128 bytes  header and the two mutexes
    ///        128   64 bytes  a reader slot, times maxReaders
    /// ```
    private static func allocateLockFile(_ path: String, maxReaders: UInt32, readOnly: Bool) throws(LMDBError) {
        let bytes = off_t(128 + 64 * max(maxReaders, 1))
        // `Glibc.open`, since this is a member of a type with an `open` of its own.
        let descriptor = Glibc.open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else {
            // LMDB reads a medium that cannot be written without a lock file.
            if readOnly, errno == EROFS { return }
            throw LMDBError(code: errno, operation: .allocateLockFile, context: path)
        }
        defer { Glibc.close(descriptor) }
        var code = posix_fallocate(descriptor, 0, bytes)
        while code == EINTR { code = posix_fallocate(descriptor, 0, bytes) }
        try LMDBError.check(code, .allocateLockFile, path)
    }

    private static func checkLength(
        _ handle: OpaquePointer, descriptor: Int32, path: String
    ) throws(LMDBError) -> FileIdentity {
        var info = MDB_envinfo()
        var page = MDB_stat()
        try LMDBError.check(mdb_env_info(handle, &info), .open, path)
        try LMDBError.check(mdb_env_stat(handle, &page), .open, path)
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw LMDBError(code: errno, operation: .open, context: path) }
        let needed = (UInt64(info.me_last_pgno) + 1) * UInt64(page.ms_psize)
        guard UInt64(status.st_size) >= needed else {
            throw LMDBError(
                code: MDB_CORRUPTED, operation: .checkLength,
                context: "\(path) has \(status.st_size) bytes and needs \(needed)")
        }
        return FileIdentity(status)
    }
}

/// The environments open in this process (E1). fcntl locks belong to a process: closing any descriptor of a lock
/// file drops them all, so that a second opening would break the first.
enum OpenEnvironments {
    static let opening = Mutex(())
    private static let identities = Mutex<Set<FileIdentity>>([])

    static func checkFree(_ identity: FileIdentity, path: String) throws(LMDBError) {
        guard !identities.withLock({ $0.contains(identity) }) else {
            throw LMDBError(code: EBUSY, operation: .register, context: "\(path) is open in this process")
        }
    }

    static func register(_ identity: FileIdentity) {
        identities.withLock { _ = $0.insert(identity) }
    }

    /// Closes, and lets the file be opened again. No opening comes between the two: if the file was deleted, a new
    /// one may get its inode as soon as it is closed, and would lose its registration to the removal.
    static func close(_ handle: OpaquePointer, identity: FileIdentity) {
        // Sendable: the handle is passed on to the lock's closure, which runs here and now.
        nonisolated(unsafe) let handle = handle
        opening.withLock { _ in
            mdb_env_close(handle)
            identities.withLock { _ = $0.remove(identity) }
        }
    }
}

/// The file systems LMDB is safe on: local ones, with working fcntl locks, mmap and flushes.
package enum FileSystemKind {
    /// From linux/magic.h.
    private static let btrfs: UInt32 = 0x9123_683E
    private static let allowed: [UInt32: String] = [0xEF53: "ext4", 0x5846_5342: "xfs", btrfs: "btrfs"]
    private static let tmpfs: UInt32 = 0x0102_1994
    private static let refused: [UInt32: String] = [
        0x6969: "NFS", 0xFF53_4D42: "CIFS", 0xFE53_4D42: "SMB2", 0x6573_5546: "FUSE", 0x794C_7630: "overlayfs",
        0x0102_1997: "9p", 0x8584_58F6: "ramfs", 0x00C3_6400: "Ceph",
    ]

    static func check(_ path: String, mayUseTmpfs: Bool) throws(LMDBError) {
        var status = statfs()
        guard statfs(path, &status) == 0 else {
            throw LMDBError(code: errno, operation: .checkFileSystem, context: path)
        }
        if let problem = problem(magic: UInt32(truncatingIfNeeded: status.f_type), mayUseTmpfs: mayUseTmpfs) {
            throw LMDBError(code: EOPNOTSUPP, operation: .checkFileSystem, context: "\(path) is on \(problem)")
        }
    }

    /// Whether a block that was written once is put elsewhere when it is written again, so that this takes room anew.
    package static func isCopyOnWrite(_ descriptor: Int32) -> Bool {
        var status = statfs()
        return fstatfs(descriptor, &status) == 0 && UInt32(truncatingIfNeeded: status.f_type) == btrfs
    }

    /// Nil when the file system will do.
    static func problem(magic: UInt32, mayUseTmpfs: Bool) -> String? {
        if allowed[magic] != nil { return nil }
        if magic == tmpfs { return mayUseTmpfs ? nil : "tmpfs, which only tests may use" }
        return refused[magic] ?? "a file system we do not know (0x\(String(magic, radix: 16)))"
    }
}

/// How much address space a map may take.
enum AddressSpace {
    /// Below this a map is too small to be worth opening in place of the wanted one.
    static let mapSizeSmall = 1 << 28

    static func mapSize(wanted: Int) -> Int {
        var limit = rlimit()
        // RLIMIT_AS is an enum constant in glibc's header, and the call wants its own enum type.
        let isKnown = getrlimit(__rlimit_resource_t(RLIMIT_AS.rawValue), &limit) == 0
        let isValgrind = getenv("LD_PRELOAD").map { String(cString: $0).contains("vgpreload") } ?? false
        return mapSize(
            wanted: wanted, limit: isKnown && limit.rlim_cur != .max ? limit.rlim_cur : nil, isValgrind: isValgrind)
    }

    /// An eighth of the limit, since the log, the index and a few read models share it with everything else; 64 GiB
    /// below valgrind, which fails beyond 7 TiB in all. Whole pages of 64 KiB, so that any page size divides it.
    static func mapSize(wanted: Int, limit: rlim_t?, isValgrind: Bool) -> Int {
        var size = wanted
        if let limit { size = min(size, Int(clamping: limit / 8)) }
        if isValgrind { size = min(size, 64 << 30) }
        return max(size, 1 << 16) & ~0xFFFF
    }
}
