import Glibc
import TestSupport

/// The library that sees what a program writes and lets its disk fail: see Tests/DiskShim/DiskShim.c, which is compiled here
/// once a test run.
///
/// ```swift
/// var shim = try DiskShim(root: place.data, scratch: place.scratch)
/// shim.fault = .init(classes: "s", kind: .eio, number: 3)     // the third sync fails
/// try run(program, arguments, variables: shim.variables, scratch: place.scratch)
/// let trace = try shim.trace()
/// ```
struct DiskShim {
    enum Kind: String, CaseIterable, Sendable {
        case eio = "EIO"
        case noSpace = "ENOSPC"
        case interrupted = "EINTR"
        /// Half of a write is done.
        case short = "short"
        /// All is done, and reported as failed.
        case late = "late"
        /// The process dies before the call.
        case kill = "kill"
        /// A write or sync of the log fails, and what was written since the last one is in memory only.
        case swallow = "swallow"
    }

    struct Fault: Sendable, CustomStringConvertible {
        /// w write, m meta page, z write past the page cache, s sync, a allocate, t truncate, r rename, o create,
        /// d create a directory, u remove.
        var classes = "wmzsatrodu"
        var kind: Kind
        /// Which of the calls of these classes, from 1.
        var number: Int
        var isLasting = false

        var description: String { "\(classes):\(kind.rawValue):\(number)\(isLasting ? ":always" : "")" }
    }

    enum Plant: String, Sendable {
        case none = ""
        case noSync = "nosync"
        case ignoreErrors = "ignore"
        case keepCache = "keepcache"
    }

    var fault: Fault?
    var plant = Plant.none
    /// Whether the trace has the bytes that were written.
    var keepsBytes = false
    /// What the program writes there stands in the trace.
    let acknowledgements: String
    /// Pages that the device has and memory has not.
    let undo: String
    var usesUndo = false
    private let root: String
    private let tracePath: String

    /// - Parameter root: the directory that it looks at.
    init(root: String, scratch: String) throws {
        self.root = root
        tracePath = scratch + "/shim.trace"
        acknowledgements = scratch + "/acks"
        undo = scratch + "/shim.undo"
        _ = try Self.library.get()
    }

    var variables: [String: String] {
        var variables = [
            "LD_PRELOAD": (try? Self.library.get().path) ?? "", "SHIM_ROOT": root, "SHIM_TRACE": tracePath,
            "SHIM_ACKS": acknowledgements, "SHIM_PLANT": plant.rawValue,
        ]
        if let fault { variables["SHIM_FAULT"] = fault.description }
        if keepsBytes { variables["SHIM_BYTES"] = "1" }
        if usesUndo { variables["SHIM_UNDO"] = undo }
        return variables
    }

    /// What happened since the last call.
    func takeTrace() throws -> DiskTrace {
        defer { unlink(tracePath) }
        return try DiskTrace(access(tracePath, F_OK) == 0 ? bytes(ofFile: tracePath) : [])
    }

    /// The program's acknowledgements since the last call, a line each.
    func takeAcknowledgements() -> [String] {
        defer { unlink(acknowledgements) }
        return ((try? text(ofFile: acknowledgements)) ?? "").split(separator: "\n").map(String.init)
    }

    private struct Library {
        let directory: TemporaryDirectory
        var path: String { directory.path + "/shim.so" }
    }

    private static let library = Result {
        let directory = TemporaryDirectory()
        try compileShim("DiskShim", to: directory.path + "/shim.so", scratch: directory.path)
        // What is static is never let go of.
        atexit { DiskShim.removeLibrary() }
        return Library(directory: directory)
    }

    private static func removeLibrary() {
        if let library = try? library.get() { removeTree(library.directory.path) }
    }
}

/// Compiles Tests/DiskShim/NAME.c into a library to be preloaded.
func compileShim(_ name: String, to library: String, scratch: String) throws {
    let tests = #filePath.split(separator: "/").dropLast(2).reduce("") { $0 + "/" + $1 }
    let result = try run(
        "cc",
        [
            "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o", library, "\(tests)/DiskShim/\(name).c",
            "-ldl", "-pthread",
        ], scratch: scratch)
    guard result.status == .exited(0) else { throw SystemFailure("cc: \(result.errorOutput)", code: 0) }
}
