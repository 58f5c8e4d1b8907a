import Glibc

@testable import LMDB

/// A directory that goes away with its last reference, and environments in it.
final class TemporaryDirectory {
    let path: String

    init(below parent: String = "/tmp") {
        var template = Array("\(parent)/lmdb-tests.XXXXXX".utf8CString)
        path = template.withUnsafeMutableBufferPointer { String(cString: mkdtemp($0.baseAddress!)) }
    }

    deinit {
        guard let stream = opendir(path) else { return }
        defer {
            closedir(stream)
            rmdir(path)
        }
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != ".", name != ".." { unlink(path + "/" + name) }
        }
    }

    func open(
        mapSize: Int = 64 << 20, durability: Environment.Durability = .cache, readOnly: Bool = false
    ) throws(LMDBError) -> Environment {
        try Environment.open(
            directory: path,
            options: .init(mapSize: mapSize, durability: durability, readOnly: readOnly, mayUseTmpfs: true))
    }

    var dataPath: String { path + "/data.mdb" }
    var lockPath: String { path + "/lock.mdb" }
}

extension WriteTransaction {
    mutating func put(
        _ text: String, in table: Table, at key: UInt64, _ placement: Placement = .replace
    ) throws(LMDBError) {
        let bytes = Array(text.utf8)
        do {
            try bytes.withUnsafeBytes { try put($0, in: table, at: key, placement) }
        } catch {
            // `withUnsafeBytes` forgets the type of what it rethrows; only `put` throws above.
            throw error as! LMDBError
        }
    }
}

extension ReadingTransaction where Self: ~Copyable {
    func text(in table: Table, at key: UInt64) throws(LMDBError) -> String? {
        try withValue(in: table, at: key) { span in
            span.withUnsafeBytes { String(decoding: $0, as: UTF8.self) }
        }
    }
}

func status(of path: String) -> stat {
    var status = stat()
    precondition(stat(path, &status) == 0)
    return status
}

/// Where LMDB keeps things in its lock file on 64-bit Linux:
///
/// ```
/// offset 0   4  magic
///        4   4  format
///        8  40  the readers' mutex
///       48   8  last transaction
///       56   4  reader slots in use
///       64  64  the writer's mutex
///      128  64  a reader slot: 8 transaction, 4 pid, 4 padding, 8 thread
/// ```
enum LockFile {
    static let readerCountOffset = 56
    static func slotOffset(_ slot: Int) -> Int { 128 + 64 * slot }
}

/// Runs `body` on a thread of its own: a task might find itself on the one it should not be on.
func onAnotherThread(_ body: @escaping @Sendable () -> Void) {
    let box = Unmanaged.passRetained(UncheckedBox(body))
    var thread = pthread_t()
    let code = pthread_create(
        &thread, nil,
        { argument in
            Unmanaged<UncheckedBox<@Sendable () -> Void>>.fromOpaque(argument!).takeRetainedValue().value()
            return nil
        }, box.toOpaque())
    precondition(code == 0)
    pthread_join(thread, nil)
}

// Sendable: tests use it to look at what is not meant to be shared from another thread, on purpose.
final class UncheckedBox<Value>: @unchecked Sendable {
    let value: Value
    init(_ value: Value) { self.value = value }
}

/// A child process, made without fork.
final class SleepingProcess {
    let identifier: pid_t

    init() throws {
        var identifier: pid_t = 0
        var arguments: [UnsafeMutablePointer<CChar>?] = [strdup("sleep"), strdup("100"), nil]
        defer { arguments.forEach { free($0) } }
        precondition(posix_spawnp(&identifier, "sleep", nil, nil, &arguments, nil) == 0)
        self.identifier = identifier
    }

    func kill() {
        Glibc.kill(identifier, SIGKILL)
        waitpid(identifier, nil, 0)
    }
}

extension Environment {
    /// Lends the lock file, mapped, without closing a descriptor of it here: that would drop this process's locks.
    func withLockFileMapped(_ body: (UnsafeMutableRawPointer) -> Void) throws {
        // Left open until the test's process ends.
        let descriptor = Glibc.open(directory + "/lock.mdb", O_RDWR | O_CLOEXEC)
        let base = mmap(nil, 4_096, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0)!
        defer { munmap(base, 4_096) }
        body(base)
    }
}
