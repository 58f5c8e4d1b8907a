import Glibc

/// Says on stderr what is being done; the figures alone are on stdout.
func tell(_ text: String) {
    let line = Array("leadledger-bench: \(text)\n".utf8)
    // A progress line that cannot be written is nobody's loss.
    _ = line.withUnsafeBytes { write(STDERR_FILENO, $0.baseAddress, $0.count) }
}
