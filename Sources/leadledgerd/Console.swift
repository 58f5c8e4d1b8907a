import Glibc

// Console: what the program says. Straight to the file descriptor: C's streams are shared mutable state, and a line that was
// printed must be out when the process crashes after it.

/// A line of data, on stdout.
func say(_ line: String) { put(line, to: STDOUT_FILENO) }

/// A line of talk, on stderr.
func remark(_ line: String) { put(line, to: STDERR_FILENO) }

/// Says on stderr why the program ends.
func complain(_ text: String) { remark("leadledgerd: \(text)") }

private func put(_ line: String, to descriptor: Int32) {
    var rest = Array((line + "\n").utf8)[...]
    while !rest.isEmpty {
        let written = rest.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
        if written < 0, errno == EINTR { continue }
        // Nobody reads it any more: there is no place to say so.
        guard written > 0 else { return }
        rest = rest.dropFirst(written)
    }
}
