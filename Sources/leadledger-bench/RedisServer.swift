import Glibc

/// A Redis of our own: a stream in memory, and every command in a file that is synced before it is answered.
struct RedisServer {
    let process: DaemonProcess

    /// Starts one on `directory`/redis.
    static func start(_ executable: String, in directory: String) throws(BenchError) -> RedisServer {
        let data = directory + "/redis"
        guard mkdir(data, 0o700) == 0 else { throw .system("make \(data)") }
        let socket = directory + "/redis.sock"
        // No snapshots and no rewriting of its file in the background, which would take from its speed.
        let words =
            PeerProgram.diesWithUs + [
                executable, "--port", "0", "--unixsocket", socket, "--dir", data, "--daemonize", "no", "--save", "",
                "--appendonly", "yes", "--appendfsync", "always", "--auto-aof-rewrite-percentage", "0",
            ]
        return RedisServer(
            process: try .spawn("Redis", words, socketPath: socket, logPath: directory + "/redis.log"))
    }

    func end() { process.end() }
    func stop() throws(BenchError) { try process.stop() }

    /// That it syncs as it is told to, and that the stream has as many entries as were acknowledged.
    func check(entries: Int) throws(BenchError) {
        let client = try RedisClient(process)
        let policy = try client.call("CONFIG", "GET", "appendfsync")
        guard policy == ["appendfsync", "always"] else {
            throw BenchError("Redis does not sync always: \(policy)")
        }
        let count = try client.call("XLEN", XAddWire.key)
        guard count == ["\(entries)"] else {
            throw BenchError("\(entries) entries were acknowledged, and the stream has \(count)")
        }
    }
}

/// A connection for one request at a time.
final class RedisClient {
    /// Nil for a test that is the server itself.
    private let process: DaemonProcess?
    private let descriptor: Int32
    private let input: UnsafeMutableRawBufferPointer
    private var start = 0
    private var end = 0

    convenience init(_ process: DaemonProcess) throws(BenchError) {
        self.init(descriptor: try process.connect(), process)
    }

    /// Takes over `descriptor`.
    init(descriptor: Int32, _ process: DaemonProcess? = nil) {
        self.process = process
        self.descriptor = descriptor
        input = .allocate(byteCount: 1 << 20, alignment: 16)
    }

    deinit {
        close(descriptor)
        input.deallocate()
    }

    /// The words of a reply that is a string, a number or a flat array of them.
    func call(_ words: String...) throws(BenchError) -> [String] {
        var request = "*\(words.count)\r\n"
        for word in words { request += "$\(word.utf8.count)\r\n\(word)\r\n" }
        try send(Array(request.utf8))
        var found: [String] = []
        var missing = 1
        while missing > 0 {
            try withItem { (item, reader) throws(BenchError) in
                missing -= 1
                switch item {
                case .array(let count): missing += count ?? 0
                case .bulk(let range): found.append(range.map(reader.text) ?? "")
                case .integer(let value): found.append("\(value)")
                case .simple(let range): found.append(reader.text(range))
                case .error(let range): throw BenchError("\(words[0]): \(reader.text(range))")
                }
            }
        }
        return found
    }

    /// Reads a whole stream by XRANGE, `page` entries at a time, and copies each event out as a program would that uses it.
    /// - Returns: entries, and bytes of their events.
    func readStream(_ key: String, page: Int) throws(BenchError) -> (entries: Int, bytes: Int) {
        var entries = 0
        var bytes = 0
        var from = "-"
        let event = UnsafeMutableRawBufferPointer.allocate(byteCount: 64 << 10, alignment: 16)
        defer { event.deallocate() }
        while true {
            try send(respRequest("XRANGE", key, from, "+", "COUNT", "\(page)"))
            let count = try array("entries")
            if count == 0 { return (entries, bytes) }
            for index in 0..<count {
                guard try array("id and fields") == 2 else { throw BenchError("XRANGE: an entry of another shape") }
                try withBulk("id") { (range, reader) throws(BenchError) in
                    if index == count - 1 { from = "(" + reader.text(range) }
                }
                guard try array("fields") == 2 else { throw BenchError("XRANGE: fields of another shape") }
                try withBulk("field") { _, _ throws(BenchError) in }
                try withBulk("event") { (range, reader) throws(BenchError) in
                    guard range.count <= event.count else { throw BenchError("XRANGE: an event is too long") }
                    event.copyMemory(from: UnsafeRawBufferPointer(rebasing: reader.bytes[range]))
                    bytes += range.count
                }
            }
            entries += count
        }
    }

    private func array(_ what: String) throws(BenchError) -> Int {
        try withItem { (item, reader) throws(BenchError) in
            if case .array(let count?) = item { return count }
            if case .error(let range) = item { throw BenchError("XRANGE: \(reader.text(range))") }
            throw BenchError("XRANGE: no array of \(what)")
        }
    }

    private func withBulk(
        _ what: String, _ body: (Range<Int>, RESPReader) throws(BenchError) -> Void
    ) throws(BenchError) {
        try withItem { (item, reader) throws(BenchError) in
            guard case .bulk(let range?) = item else { throw BenchError("XRANGE: no \(what)") }
            try body(range, reader)
        }
    }

    /// Lends the next item, reading until it is whole.
    private func withItem<R>(_ body: (RESPReader.Item, RESPReader) throws(BenchError) -> R) throws(BenchError) -> R {
        while true {
            var reader = RESPReader(UnsafeRawBufferPointer(rebasing: input[..<end]), from: start)
            if let item = try reader.next() {
                start = reader.offset
                return try body(item, reader)
            }
            try fill()
        }
    }

    private func fill() throws(BenchError) {
        let base = input.baseAddress!
        memmove(base, base + start, end - start)
        end -= start
        start = 0
        guard end < input.count else { throw BenchError("a string of Redis is longer than \(input.count) bytes") }
        while true {
            let count = read(descriptor, base + end, input.count - end)
            let code = errno
            try Interruption.check()
            if count > 0 {
                end += count
                return
            }
            if count == 0 { throw BenchError("Redis closed the connection") }
            guard code == EINTR else { throw .system("read from Redis") }
            try process?.checkIsRunning()
        }
    }

    private func send(_ bytes: [UInt8]) throws(BenchError) {
        var sent = 0
        while sent < bytes.count {
            let written = bytes.withUnsafeBytes { write(descriptor, $0.baseAddress! + sent, $0.count - sent) }
            if written >= 0 {
                sent += written
            } else if errno != EINTR {
                throw .system("write to Redis")
            }
        }
    }
}
