import Glibc

/// What goes to stdout: buffered, written when 64 KiB are there, and flushed before the program waits and at its end.
///
/// A reader that goes away ends the program quietly (SIGPIPE); any other failure to write says why and exits with 74: data
/// that was not written must never look complete.
final class Output {
    private(set) var bytes: [UInt8] = []
    /// Nil keeps everything in `bytes`, for tests.
    private let descriptor: Int32?

    private static let flushBytes = 64 << 10

    init(descriptor: Int32? = STDOUT_FILENO) {
        self.descriptor = descriptor
        bytes.reserveCapacity(Self.flushBytes + 4_096)
    }

    func write(_ text: String) { append { $0.append(contentsOf: text.utf8) } }

    func line(_ text: String) {
        append {
            $0.append(contentsOf: text.utf8)
            $0.append(UInt8(ascii: "\n"))
        }
    }

    func line(_ text: some Collection<UInt8>) {
        append {
            $0.append(contentsOf: text)
            $0.append(UInt8(ascii: "\n"))
        }
    }

    func write(_ text: some Collection<UInt8>) { append { $0.append(contentsOf: text) } }

    /// Appends in place, for those who write many bytes.
    func append(_ body: (inout [UInt8]) -> Void) {
        body(&bytes)
        if bytes.count >= Self.flushBytes { flush() }
    }

    func flush() {
        guard let descriptor else { return }
        var written = 0
        while written < bytes.count {
            let count = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress! + written, $0.count - written) }
            if count >= 0 {
                written += count
            } else if errno != EINTR {
                // Where SIGPIPE is blocked or ignored by who started us, the end is as quiet.
                if errno != EPIPE { complain("stdout: \(String(cString: strerror(errno)))") }
                exit(errno == EPIPE ? 0 : 74)
            }
        }
        bytes.removeAll(keepingCapacity: true)
    }
}

/// Says something to the person at the terminal; data goes to stdout.
func complain(_ text: String) { talk("leadledger: \(text)\n") }

/// Text on stderr, as it is. Who talks about failures has nowhere to report its own.
func talk(_ text: String) {
    var rest = Array(text.utf8)[...]
    while !rest.isEmpty {
        let count = rest.withUnsafeBytes { Glibc.write(STDERR_FILENO, $0.baseAddress, $0.count) }
        guard count > 0 || errno == EINTR else { return }
        rest.removeFirst(max(count, 0))
    }
}

/// A line on a terminal that is written over again and again; nothing where stderr is no terminal.
struct ProgressLine {
    private let isTerminal: Bool
    private var shownAt: Int64 = 0
    private var isShown = false

    init(isTerminal: Bool = isatty(STDERR_FILENO) == 1) { self.isTerminal = isTerminal }

    /// At most ten times a second; `text` is asked for only then.
    mutating func show(_ text: () -> String) {
        guard isTerminal else { return }
        let now = monotonicMilliseconds()
        guard now - shownAt >= 100 else { return }
        shownAt = now
        isShown = true
        talk("\r\u{1B}[K\(text())")
    }

    /// Before anything else is said.
    mutating func clear() {
        guard isShown else { return }
        isShown = false
        talk("\r\u{1B}[K")
    }
}

func monotonicMilliseconds() -> Int64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Int64(time.tv_sec) * 1_000 + Int64(time.tv_nsec) / 1_000_000
}
