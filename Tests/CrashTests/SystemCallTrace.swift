import Glibc

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
        var name: String
        /// The line as it is, ended by a zero: a trace has lines of many pages, and the C library searches them fast.
        var line: [CChar]
        /// The last bytes of the line, where the arguments end.
        var tail: String
        var result: Int
        /// Numbers of the lines where it began and returned.
        var began: Int
        var returned: Int
        var isLog: Bool

        func mentions(_ text: String) -> Bool { strstr(line, text) != nil }
    }

    /// The calls in the order they began.
    private var calls: [Call] = []

    init(_ text: [UInt8]) {
        var unfinished: [String: Int] = [:]
        for (number, line) in text.split(separator: UInt8(ascii: "\n")).enumerated() {
            // `18937  fdatasync(4</...`
            let head = String(decoding: line.prefix(200), as: UTF8.self)
            let tail = String(decoding: line.suffix(120), as: UTF8.self)
            let words = head.split(separator: " ", maxSplits: 1)
            guard words.count == 2 else { continue }
            let thread = String(words[0])
            let rest = words[1].drop { $0 == " " }
            if rest.hasPrefix("<... ") {
                guard let index = unfinished.removeValue(forKey: thread) else { continue }
                calls[index].returned = number
                calls[index].result = Self.result(tail)
            } else if let parenthesis = rest.firstIndex(of: "("), !rest.hasPrefix("+++"), !rest.hasPrefix("---") {
                let isUnfinished = tail.hasSuffix("<unfinished ...>")
                if isUnfinished { unfinished[thread] = calls.count }
                let descriptor = rest[parenthesis...].prefix { $0 != ">" }
                calls.append(
                    Call(
                        name: String(rest[..<parenthesis]), line: line.map { CChar(bitPattern: $0) } + [0], tail: tail,
                        result: isUnfinished ? -1 : Self.result(tail), began: number,
                        returned: isUnfinished ? .max : number, isLog: descriptor.hasSuffix("/log/data.mdb")))
            }
        }
    }

    /// What follows the last ` = `.
    private static func result(_ tail: String) -> Int {
        guard let equals = tail.ranges(of: " = ").last else { return -1 }
        return Int(tail[equals.upperBound...].prefix { $0 == "-" || $0.isNumber }) ?? -1
    }

    /// Descriptors of the log that write through to the device.
    private var synchronousDescriptors: Set<Int> {
        Set(
            calls.filter { $0.name == "openat" && $0.mentions("/log/data.mdb\"") && $0.mentions("O_DSYNC") }.map(
                \.result))
    }

    /// Where the order above was broken, for the replies that name one of `subjects`; and how many of these there were.
    func faults(subjects: [String]) -> (faults: [String], replies: Int) {
        let synchronous = synchronousDescriptors
        let writes = calls.filter { ["pwrite64", "writev", "pwritev"].contains($0.name) && $0.isLog && !isMeta($0) }
        let syncs = calls.filter { $0.name == "fdatasync" && $0.isLog && $0.result == 0 }
        let metas = calls.filter { isMeta($0) && synchronous.contains(descriptor($0)) && $0.result == 120 }
        let replies = calls.filter {
            ["write", "writev", "sendto", "sendmsg"].contains($0.name) && !$0.isLog && $0.mentions("\\\"result\\\":")
        }
        var faults: [String] = []
        var found = 0
        for subject in subjects {
            guard let reply = replies.first(where: { $0.mentions(subject) }) else { continue }
            found += 1
            guard let write = writes.first(where: { $0.mentions(subject) }), write.returned < reply.began else {
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
            let late = writes.first { $0.began > sync.began && $0.returned < meta.began }
            if let late {
                faults.append(
                    "\(subject): pages were written between the sync and the meta page, in line \(late.began)")
            }
        }
        return (faults, found)
    }

    /// The meta write of LMDB 0.9.24: from `mm_mapsize` on, 120 bytes, in page 0 or page 1.
    private func isMeta(_ call: Call) -> Bool {
        call.name == "pwrite64" && call.isLog && (call.tail.contains(", 120, 32") || call.tail.contains(", 120, 4128"))
    }

    private func descriptor(_ call: Call) -> Int {
        let line = call.line.prefix(64).map { UInt8(bitPattern: $0) }
        let arguments = line.drop { $0 != UInt8(ascii: "(") }.dropFirst()
        return Int(String(decoding: arguments.prefix { $0 != UInt8(ascii: "<") }, as: UTF8.self)) ?? -1
    }
}
