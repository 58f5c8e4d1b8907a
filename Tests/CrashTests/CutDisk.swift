import Glibc
import TestSupport

// CutDisk: what a disk may hold when the power goes, worked out from a trace of what a program did to it.
//
//   settled   what a sync, or a write through to the device, has made safe
//   pending   what was done since then: at the cut, any part of it may be on the disk, in any order
//
//   of a file        each write is there, is not, or is there in some of its sectors of 512 bytes; of the sectors that are
//                    missing, some hold noise. A meta page's 120 bytes lie in one sector: it is there, is not, or only its
//                    beginning is. Lengths are there or not.
//   of a directory   the changes of its names are there up to some point: each directory for itself, as file systems with a
//                    journal do it, and without help from syncs of the files in it.
//
// The call that was on its way when the power went is pending.

/// How much of what is pending a cut leaves.
struct CutChoices {
    enum Style: CaseIterable { case nothing, everything, some, torn, noise }

    var style: Style
    /// Which of the log's pending changes are there whole, bit by bit, whatever the style; nil leaves it to chance.
    var logSubset: Int?
}

final class CutDisk {
    private enum Change {
        case write(offset: Int, bytes: [UInt8], isMetaPage: Bool, sectorBytes: Int)
        case truncate(Int)
        case allocate(Int)
    }

    private enum NameChange {
        case link(String, Node)
        case unlink(String)
        case move(String, String, Node)
    }

    private final class Node {
        let inode: UInt64
        let isDirectory: Bool
        // Of a file.
        var content: [UInt8] = []
        var changes: [Change] = []
        // Of a directory.
        var names: [String: Node] = [:]
        var nameChanges: [NameChange] = []
        /// Names as the program sees them.
        var currentNames: [String: Node] = [:]

        init(_ inode: UInt64, isDirectory: Bool) {
            self.inode = inode
            self.isDirectory = isDirectory
        }
    }

    private let top: Node
    private var nodes: [UInt64: Node] = [:]
    private(set) var acknowledged = 0

    /// - Parameter trace: one that begins with the making of the ledger's directory, in a directory that is there.
    init(for trace: DiskTrace) throws {
        guard let first = trace.calls.first, first.kind == .createDirectory else {
            throw TimedOut("a trace that begins with the directory")
        }
        top = Node(first.parent, isDirectory: true)
        nodes[top.inode] = top
    }

    // MARK: Following the trace

    /// Takes in that the call was made, and nothing of its being finished.
    func begin(_ call: DiskTrace.Call) throws {
        switch call.kind {
        case .write where call.length > 0:
            guard call.bytes.count == call.length else { throw SystemFailure("a trace without bytes", code: 0) }
            try file(call).changes.append(
                .write(
                    offset: call.offset, bytes: call.bytes, isMetaPage: call.isMetaPage,
                    sectorBytes: call.isPastCache ? Self.zerosBytes : Self.sectorBytes))
        case .truncate: try file(call).changes.append(.truncate(call.offset))
        case .allocate: try file(call).changes.append(.allocate(call.offset + call.length))
        case .createFile, .createDirectory:
            let node = Node(call.inode, isDirectory: call.kind == .createDirectory)
            nodes[call.inode] = node
            try directory(call).nameChanges.append(.link(call.name, node))
            try directory(call).currentNames[call.name] = node
        case .rename:
            let parent = try directory(call)
            guard let node = parent.currentNames.removeValue(forKey: call.name) else {
                throw SystemFailure("a trace that renames what is not there: \(call.path)", code: 0)
            }
            parent.currentNames[call.newName] = node
            parent.nameChanges.append(.move(call.name, call.newName, node))
        case .remove:
            try directory(call).currentNames[call.name] = nil
            try directory(call).nameChanges.append(.unlink(call.name))
        case .acknowledgement: acknowledged += call.bytes.count { $0 == UInt8(ascii: "\n") }
        case .write, .sync, .fault, .laterFault: break
        }
    }

    /// Takes in that the call returned, and with it what it makes safe.
    func finish(_ call: DiskTrace.Call) throws {
        guard !call.hasFailed else { return }
        switch call.kind {
        case .write where call.isWrittenThrough && call.length > 0:
            let node = try file(call)
            // What it wrote, and what of the length that needs; other changes of the file stay pending.
            guard let change = node.changes.popLast() else { return }
            apply(change, to: &node.content)
        case .sync:
            guard let node = nodes[call.inode] else { return }
            for change in node.changes { apply(change, to: &node.content) }
            node.changes = []
            for change in node.nameChanges { apply(change, to: &node.names) }
            node.nameChanges = []
        default: break
        }
    }

    private func file(_ call: DiskTrace.Call) throws -> Node {
        guard let node = nodes[call.inode], !node.isDirectory else {
            throw SystemFailure("a trace that changes an unknown file: \(call.path)", code: 0)
        }
        return node
    }

    private func directory(_ call: DiskTrace.Call) throws -> Node {
        guard let node = nodes[call.parent], node.isDirectory else {
            throw SystemFailure("a trace that changes an unknown directory: \(call.path)", code: 0)
        }
        return node
    }

    private func apply(_ change: Change, to content: inout [UInt8]) {
        switch change {
        case .write(let offset, let bytes, _, _): put(bytes[...], at: offset, in: &content)
        case .truncate(let size):
            if size < content.count {
                content.removeSubrange(size...)
            } else {
                extend(&content, to: size)
            }
        case .allocate(let size):
            extend(&content, to: size)
        }
    }

    /// Fills with zeros; by the C library, since tests are built without optimization.
    private func extend(_ content: inout [UInt8], to size: Int) {
        guard size > content.count else { return }
        let count = size - content.count
        content += [UInt8](unsafeUninitializedCapacity: count) { zeros, initialized in
            memset(zeros.baseAddress!, 0, count)
            initialized = count
        }
    }

    private func put(_ bytes: ArraySlice<UInt8>, at offset: Int, in content: inout [UInt8]) {
        let end = offset + bytes.count
        extend(&content, to: end)
        content.withUnsafeMutableBytes { content in
            bytes.withUnsafeBytes {
                UnsafeMutableRawBufferPointer(rebasing: content[offset..<end]).copyMemory(from: $0)
            }
        }
    }

    private func apply(_ change: NameChange, to names: inout [String: Node]) {
        switch change {
        case .link(let name, let node): names[name] = node
        case .unlink(let name): names[name] = nil
        case .move(let old, let new, let node):
            names[old] = nil
            names[new] = node
        }
    }

    // MARK: Cutting

    /// Changes of the log's file that are pending: 2 to this power are the subsets that may be there.
    var logChanges: Int {
        guard let data = top.currentNames.values.first(where: { $0.currentNames["log"] != nil }),
            let log = data.currentNames["log"]?.currentNames["data.mdb"]
        else { return 0 }
        return log.changes.count
    }

    /// Writes into the empty directory `path` what a disk might hold if the power went now.
    func writeImage(_ path: String, _ choices: CutChoices, using random: inout SeededGenerator) throws {
        try writeDirectory(top, path, choices, &random)
    }

    private func writeDirectory(
        _ node: Node, _ path: String, _ choices: CutChoices, _ random: inout SeededGenerator
    ) throws {
        var names = node.names
        let kept =
            switch choices.style {
            case .nothing: 0
            case .everything: node.nameChanges.count
            default: Int.random(in: 0...node.nameChanges.count, using: &random)
            }
        for change in node.nameChanges.prefix(kept) { apply(change, to: &names) }
        // In an order that the seed repeats.
        for (name, child) in names.sorted(by: { $0.key < $1.key }) {
            let childPath = path + "/" + name
            if child.isDirectory {
                guard mkdir(childPath, 0o700) == 0 else { throw SystemFailure("mkdir \(childPath)") }
                try writeDirectory(child, childPath, choices, &random)
            } else if name == "lock.mdb" || name == "ledger.lock" {
                // Of no meaning after a boot, and written through a map, which no trace shows.
                continue
            } else {
                let isLog = name == "data.mdb" && path.hasSuffix("/log")
                var content = child.content
                for (index, change) in child.changes.enumerated() {
                    var style = choices.style
                    if isLog, let subset = choices.logSubset {
                        style = subset & 1 << index != 0 ? .everything : .nothing
                    }
                    applyPartly(change, style, &content, &random)
                }
                try write(content, toFile: childPath)
                chmod(childPath, 0o600)
            }
        }
        // STATE speaks of a file by its number, which is another here.
        if let state = names["STATE"], let data = names["data.mdb"], !state.isDirectory, !data.isDirectory {
            try correctState(path, tracedInode: data.inode)
        }
    }

    private static let sectorBytes = 512
    /// Zeros past the page cache are a mebibyte each, and tests are built without optimization.
    private static let zerosBytes = 16 << 10

    private func applyPartly(
        _ change: Change, _ style: CutChoices.Style, _ content: inout [UInt8], _ random: inout SeededGenerator
    ) {
        switch (style, change) {
        case (.nothing, _): return
        case (.everything, _): apply(change, to: &content)
        case (.some, _), (_, .truncate), (_, .allocate): if random.chance(50) { apply(change, to: &content) }
        case (_, .write(let offset, let bytes, let isMetaPage, let sectorBytes)):
            if isMetaPage {
                put(bytes.prefix(Int.random(in: 0...bytes.count, using: &random)), at: offset, in: &content)
                return
            }
            let likelihood = Int.random(in: 0...100, using: &random)
            var start = 0
            while start < bytes.count {
                let end = min(bytes.count, start + sectorBytes - (offset + start) % sectorBytes)
                if random.chance(likelihood) {
                    put(bytes[start..<end], at: offset + start, in: &content)
                } else if style == .noise, random.chance(30) {
                    let byte = UInt8.random(in: 0...255, using: &random)
                    put([UInt8](repeating: byte, count: end - start)[...], at: offset + start, in: &content)
                }
                start = end
            }
        }
    }

    private func correctState(_ directory: String, tracedInode: UInt64) throws {
        let path = directory + "/STATE"
        guard let state = try? text(ofFile: path) else { return }
        var status = stat()
        guard stat(directory + "/data.mdb", &status) == 0 else { throw SystemFailure("stat \(directory)/data.mdb") }
        let lines = state.split(separator: "\n", omittingEmptySubsequences: false).map { line in
            if line.hasPrefix("dev=") { return "dev=\(status.st_dev)" }
            if line == "ino=\(tracedInode)" { return "ino=\(status.st_ino)" }
            return line.hasPrefix("ino=") ? "ino=1" : String(line)
        }
        try write(lines.joined(separator: "\n"), toFile: path)
        chmod(path, 0o600)
    }
}
