import TestSupport

// SystemCallTrace: what strace saw of a daemon, and whether each reply followed the commit that stored its event.
//
//   write     of pages with the event, to log/data.mdb       lseek+writev or pwrite64, whole pages
//   sync      fdatasync of log/data.mdb, returned 0           begun after the write had returned
//   meta      pwrite64 of 120 bytes into page 0 or 1,         begun after the sync had returned
//             on a descriptor opened with O_DSYNC
//   reply     to the socket                                   begun after the meta write had returned
//
// A line of strace is a call; a call of one thread during which another thread did something takes two:
//
//   18937 fdatasync(4</…/log/data.mdb> <unfinished ...>
//   18940 write(9<socket:[5]>, "{\"jsonrpc\"…", 90) = 90
//   18937 <... fdatasync resumed>) = 0

struct SystemCallTrace {
    private struct Call {
        var name: Substring
        var text: Substring
        var result: Int
        /// Numbers of the lines where it began and returned.
        var began: Int
        var returned: Int
        var isLog: Bool { text.utf8.firstRange(of: SystemCallTrace.logFile) != nil }
    }

    /// The calls in the order they began.
    private var calls: [Call] = []
    private static let logFile = Array("/log/data.mdb>".utf8)

    init(_ text: String) {
        var unfinished: [Substring: Int] = [:]
        for (number, line) in text.split(separator: "\n").enumerated() {
            guard let space = line.firstIndex(of: " ") else { continue }
            let thread = line[..<space]
            let rest = line[space...].drop { $0 == " " }
            if rest.hasPrefix("<... ") {
                guard let index = unfinished.removeValue(forKey: thread) else { continue }
                calls[index].returned = number
                calls[index].result = Self.result(rest)
            } else if let parenthesis = rest.firstIndex(of: "("), !rest.hasPrefix("+++"), !rest.hasPrefix("---") {
                let isUnfinished = rest.hasSuffix("<unfinished ...>")
                if isUnfinished { unfinished[thread] = calls.count }
                calls.append(
                    Call(
                        name: rest[..<parenthesis], text: rest, result: isUnfinished ? -1 : Self.result(rest),
                        began: number, returned: isUnfinished ? .max : number))
            }
        }
    }

    /// What follows the last ` = `.
    private static func result(_ line: Substring) -> Int {
        let bytes = Array(line.utf8.suffix(80))
        guard let equals = bytes.indices.dropLast(3).last(where: { bytes[$0...].starts(with: " = ".utf8) }) else {
            return -1
        }
        return Int(
            String(
                decoding: bytes[(equals + 3)...].prefix { $0 != UInt8(ascii: " ") && $0 != UInt8(ascii: "<") },
                as: UTF8.self)) ?? -1
    }

    /// Descriptors of the log that write through to the device.
    private var synchronousDescriptors: Set<Int> {
        Set(
            calls.filter { $0.name == "openat" && $0.text.contains("/log/data.mdb\"") && $0.text.contains("O_DSYNC") }
                .map(\.result))
    }

    private static func descriptor(_ call: Call) -> Int {
        Int(call.text.dropFirst(call.name.utf8.count + 1).prefix { $0.isNumber }) ?? -1
    }

    /// Where the order above was broken, for the replies that name one of `subjects`; and how many of these there were.
    func faults(subjects: [String]) -> (faults: [String], replies: Int) {
        let synchronous = synchronousDescriptors
        let writes = calls.filter { ["pwrite64", "writev", "pwritev"].contains($0.name) && $0.isLog && !isMeta($0) }
        let syncs = calls.filter { $0.name == "fdatasync" && $0.isLog && $0.result == 0 }
        let metas = calls.filter { isMeta($0) && synchronous.contains(Self.descriptor($0)) && $0.result == 120 }
        let replies = calls.filter {
            ["write", "writev", "sendto", "sendmsg"].contains($0.name) && $0.text.contains("\\\"result\\\":")
                && !$0.isLog
        }
        var faults: [String] = []
        var found = 0
        for subject in subjects {
            let bytes = Array(subject.utf8)
            guard let reply = replies.first(where: { $0.text.utf8.firstRange(of: bytes) != nil }) else { continue }
            found += 1
            guard let write = writes.first(where: { $0.text.utf8.firstRange(of: bytes) != nil }),
                write.returned < reply.began
            else {
                faults.append("\(subject): replied before its pages were written")
                continue
            }
            guard let sync = syncs.first(where: { $0.began > write.returned }), sync.returned < reply.began else {
                faults.append("\(subject): replied before an fdatasync that followed its pages")
                continue
            }
            guard let meta = metas.first(where: { $0.began > sync.returned }), meta.returned < reply.began else {
                faults.append("\(subject): replied before the meta page was written through")
                continue
            }
            if let late = writes.first(where: { $0.began > sync.began && $0.returned < meta.began }) {
                faults.append(
                    "\(subject): pages were written between the sync and the meta page: \(late.text.prefix(100))")
            }
        }
        return (faults, found)
    }

    /// The meta write of LMDB 0.9.24: from `mm_mapsize` on, 120 bytes, in page 0 or page 1.
    private func isMeta(_ call: Call) -> Bool {
        guard call.name == "pwrite64", call.isLog else { return false }
        let head = String(decoding: call.text.utf8.suffix(60), as: UTF8.self)
        return head.contains(", 120, 32") || head.contains(", 120, 4128")
    }
}
