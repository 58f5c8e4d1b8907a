import CLMDB
import Glibc

/// What was being done when LMDB, or a check of ours around it, said no.
package enum LMDBOperation: String, Sendable {
    // LMDB's own calls.
    case open, beginRead, renew, beginWrite, openTable, get, put, delete, clear, cursor, commit, sync, checkReaders
    // Our checks before and after `mdb_env_open`.
    case createDirectory, checkFileSystem, checkOwner, checkLength, register, allocateLockFile
}

/// An error of LMDB or of the checks around it: the raw code, untranslated, and the operation that met it.
///
/// The code is an `errno` value when positive and one of LMDB's `MDB_...` codes when negative. "Not found" is never
/// an error here but an optional.
package struct LMDBError: Error, Equatable, Sendable {
    package let code: Int32
    package let operation: LMDBOperation
    /// The file or directory concerned, or what a check found. Absent on the hot path.
    package let context: String?

    package init(code: Int32, operation: LMDBOperation, context: String? = nil) {
        self.code = code
        self.operation = operation
        self.context = context
    }

    /// The map size fixed at open is used up. The transaction was dropped whole, and nothing else is affected.
    package var isMapFull: Bool { code == MDB_MAP_FULL }

    /// A key that was to be new is there. Nothing was changed, and the transaction goes on.
    package var isKeyExist: Bool { code == MDB_KEYEXIST }

    /// The disk or the quota is full. Only from a `posix_fallocate` ahead of the transaction is this known to have
    /// changed nothing; from `commit` see ``isOutcomeUnknown``.
    package var isDiskFull: Bool { code == ENOSPC || code == EDQUOT }

    /// The device or the file cannot be trusted any more: never call `commit` again in this process.
    ///
    /// Everything from commit and sync that is not known to be clean counts, because a failed flush marks the pages
    /// clean in the kernel, and the next commit would then succeed without them.
    package var isIOError: Bool {
        switch code {
        case EIO, ENXIO, EROFS, MDB_PANIC, MDB_CORRUPTED, MDB_PAGE_NOTFOUND: true
        default: isOutcomeUnknown && !isDiskFull
        }
    }

    /// The transaction may or may not be durable; only reading it back after a restart tells.
    ///
    /// MAP_FULL and BAD_TXN are found by LMDB before it writes a byte; every other error of a commit or a sync is not.
    package var isOutcomeUnknown: Bool {
        switch operation {
        case .commit, .sync: code != MDB_MAP_FULL && code != MDB_BAD_TXN && code != MDB_TXN_FULL
        default: false
        }
    }

    /// `put` with `.insert` or `.append` met a key that is there already, or is not beyond the last one.
    package var isKeyPresent: Bool { code == MDB_KEYEXIST }

    /// Too many readers at once: worth another try a little later.
    package var isReadersFull: Bool { code == MDB_READERS_FULL }

    /// The file is not an LMDB environment of this version, or is damaged.
    package var isCorruption: Bool {
        switch code {
        case MDB_CORRUPTED, MDB_PAGE_NOTFOUND, MDB_INVALID, MDB_VERSION_MISMATCH: true
        default: false
        }
    }

    /// What the operator should look at. Nil where the message says it all.
    package var hint: String? {
        switch (operation, code) {
        case (.checkFileSystem, _):
            "put the data on a local ext4, xfs or btrfs; LMDB's locks and flushes are not safe on anything else"
        case (.checkOwner, _):
            "files and directory must belong to the daemon's user and be writable by nobody else (chmod go-w, chown)"
        case (.checkLength, _): "the file was cut short; restore it from an export, or rebuild it if it is a cache"
        case (.register, _): "one process opens an environment once; share the Environment that is open"
        case (_, MDB_MAP_FULL): "the map size in the configuration is used up; raise it and restart"
        case (_, MDB_READERS_FULL): "too many readers at once; retry later"
        case (_, MDB_VERSION_MISMATCH), (_, MDB_INVALID): "the file was not written by this version of LMDB"
        case (_, MDB_CORRUPTED), (_, MDB_PAGE_NOTFOUND): "the file is damaged; run the checker and look at the disk"
        case (.open, ENOMEM): "address space is limited (ulimit -v); lower the map size"
        case (_, ENOSPC), (_, EDQUOT): "free some space on the device"
        case (_, EIO), (_, ENXIO), (_, EROFS), (_, MDB_PANIC): "look at the kernel's log and at the disk"
        default: nil
        }
    }

    static func check(_ code: Int32, _ operation: LMDBOperation, _ context: String? = nil) throws(LMDBError) {
        guard code == MDB_SUCCESS else { throw LMDBError(code: code, operation: operation, context: context) }
    }
}

extension LMDBError: CustomStringConvertible {
    package var description: String {
        var text = "LMDB \(operation.rawValue): \(String(cString: mdb_strerror(code))) (\(code))"
        if let context { text += ": \(context)" }
        if let hint { text += ". Hint: \(hint)" }
        return text
    }
}
