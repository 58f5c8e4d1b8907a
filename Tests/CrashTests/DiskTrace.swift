import TestSupport

/// What a program did to the files below one directory, call by call, as DiskShim.c wrote it down.
struct DiskTrace: Sendable {
    enum Kind: UInt8, Sendable {
        case write = 0x77
        case sync = 0x73
        case truncate = 0x74
        case allocate = 0x61
        case createFile = 0x6F
        case createDirectory = 0x64
        case rename = 0x72
        case remove = 0x75
        case acknowledgement = 0x6B
        /// The fault happened to the call whose record follows.
        case fault = 0x46
        case laterFault = 0x53
    }

    struct Call: Sendable {
        var kind: Kind
        /// Through a descriptor that writes through to the device.
        var isWrittenThrough: Bool
        var isMetaPage: Bool
        /// Zeros where the log will grow: nothing that was acknowledged depends on them.
        var isPastCache: Bool
        var hasFailed: Bool
        var path: String
        /// Of a rename: the new path.
        var newPath: String
        var process: Int
        var inode: UInt64
        /// Of the directory whose names changed.
        var parent: UInt64
        var offset: Int
        var length: Int
        var bytes: [UInt8]

        /// Of a fault: the class of the call, as DiskShim.c has it.
        var faultClass: Character { Character(UnicodeScalar(UInt8(truncatingIfNeeded: offset))) }
        var isLog: Bool { path.hasSuffix("/log/data.mdb") }
        var name: String { Self.lastComponent(path) }
        var newName: String { Self.lastComponent(newPath) }

        private static func lastComponent(_ path: String) -> String {
            path.lastIndex(of: "/").map { String(path[path.index(after: $0)...]) } ?? path
        }
    }

    var calls: [Call] = []

    init(_ trace: [UInt8]) throws {
        try trace.withUnsafeBytes { bytes in
            var offset = 0
            while offset + 48 <= bytes.count {
                func load<T: FixedWidthInteger>(_ place: Int, _: T.Type) -> T {
                    T(littleEndian: bytes.loadUnaligned(fromByteOffset: offset + place, as: T.self))
                }
                guard load(0, UInt32.self) == 0x4D49_4853, let kind = Kind(rawValue: bytes[offset + 4]) else {
                    throw SystemFailure("no record at \(offset) of a trace", code: 0)
                }
                let flags = bytes[offset + 5]
                let pathCount = Int(load(6, UInt16.self))
                let byteCount = Int(load(8, UInt32.self))
                let start = offset + 48
                // A process that was killed may have left half a record.
                guard start + pathCount + byteCount <= bytes.count else { break }
                let paths = bytes[start..<start + pathCount].split(separator: 0, omittingEmptySubsequences: false)
                calls.append(
                    Call(
                        kind: kind, isWrittenThrough: flags & 1 != 0, isMetaPage: flags & 2 != 0,
                        isPastCache: flags & 8 != 0, hasFailed: flags & 4 != 0,
                        path: String(decoding: paths[0], as: UTF8.self),
                        newPath: paths.count > 1 ? String(decoding: paths[1], as: UTF8.self) : "",
                        process: Int(load(12, UInt32.self)), inode: load(16, UInt64.self),
                        parent: load(24, UInt64.self), offset: Int(truncatingIfNeeded: load(32, UInt64.self)),
                        length: Int(truncatingIfNeeded: load(40, UInt64.self)),
                        bytes: Array(bytes[start + pathCount..<start + pathCount + byteCount])))
                offset = start + pathCount + byteCount
            }
        }
    }

    /// The index of the call that the fault happened to; nil: it did not come to that.
    var faultIndex: Int? { calls.firstIndex { $0.kind == .fault }.map { $0 + 1 } }

    /// The commits of the log that a process went on to after a write, sync or meta page of the log had failed it. There must
    /// be none: the kernel takes pages for clean whose flush has failed, and a commit after that would succeed without them.
    var commitsAfterFailure: [String] {
        var failed: Set<Int> = []
        var found: [String] = []
        for call in calls where call.isLog && !call.isPastCache {
            switch call.kind {
            case .write, .sync:
                if failed.contains(call.process), !call.hasFailed, call.kind == .sync || call.isWrittenThrough {
                    found.append("process \(call.process): \(call.kind) at \(call.offset) after a failure")
                }
                if call.hasFailed { failed.insert(call.process) }
            default: break
            }
        }
        return found
    }
}
