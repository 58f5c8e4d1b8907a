import Glibc
import LMDB

/// The filter of an index as a file beside it, so that a start has it at once: to go through the rows of ten million streams takes
/// seconds, and in a load that begins with the start they are those in which event loops would ask the index of every new lead.
///
/// ```
/// offset size
///    0     8   "LLFILTER", as a number in the machine's order: a file of another order is not taken
///    8     8   the format, 1: which bits a key has, and what a key is
///   16     8   the device of the index's data.mdb,
///   24     8   and its inode: a copy put in its place is not what this speaks of
///   32     8   LMDB's number of the last transaction in it
///   40     8   number of words
///   48   8 n   the words
///    .    32   SHA-256 of all before
/// ```
///
/// Invariant K2: what is taken has every stream of the index (a filter that denies one would have its events stored twice). So it is
/// written only when whole, with nobody writing to the index any more, and taken only by an index in the very state that it was
/// written of, and only once: the file goes before the index may change. With the index's directory it is discarded.
///
/// Any other file, or none, is no error: the filter is then filled from the rows.
struct StreamFilterFile {
    static let name = "FILTER"

    private static let magic: UInt64 = 0x4C4C_4649_4C54_4552
    private static let format: UInt64 = 1

    private let path: String
    /// All of the header but the number of words.
    private let header: [UInt64]

    /// - Parameter index: as it is now; it may be closed when the file is written.
    init(of index: Environment) {
        path = index.directory + "/" + Self.name
        let file = index.fileIdentity
        header = [Self.magic, Self.format, file.device, file.inode, index.info.lastTransaction]
    }

    /// Writes it, durably and whole or not at all. Nobody may change filter or index any more.
    func write(_ filter: StreamFilter) throws(FileError) {
        precondition(filter.isWhole, "K2")
        let words = UnsafeRawBufferPointer(filter.bytes)
        let header = header + [UInt64(words.count / 8)]
        let sum = Self.sum(header, words)
        try DurableFiles.replaceFile(path) { (write) throws(FileError) in
            try write(header.span.bytes)
            try write(words.bytes)
            try write(sum.span.bytes)
        }
    }

    /// The filter that was written of the index as it is; nil where there is none. The file is gone then.
    /// - Parameter streams: of the index. A file far larger than they need is none of ours, and not read.
    func take(streams: Int) -> StreamFilter? {
        defer {
            unlink(path)
            // Of a writing that a kill cut short.
            unlink(path + DurableFiles.temporarySuffix)
        }
        // Something else of that name, a pipe for one, must not make the start wait.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        // 1. Of this index, and as long as it says.
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return nil }
        var found = [UInt64](repeating: 0, count: header.count + 1)
        guard found.withUnsafeMutableBytes({ Self.fill($0, from: descriptor) }) else { return nil }
        let wordBytes = Int(status.st_size) - found.count * 8 - SHA256.byteCount
        let words = wordBytes / 8
        guard wordBytes > 0, wordBytes % 8 == 0, words.nonzeroBitCount == 1,
            words <= max(StreamFilter.wordsMin, streams), found == header + [UInt64(words)]
        else { return nil }
        // 2. As it was written.
        guard let filter = StreamFilter(words: words), Self.fill(filter.bytes, from: descriptor) else { return nil }
        var sum = [UInt8](repeating: 0, count: SHA256.byteCount)
        guard sum.withUnsafeMutableBytes({ Self.fill($0, from: descriptor) }),
            sum == Self.sum(found, UnsafeRawBufferPointer(filter.bytes))
        else { return nil }
        filter.setFilledTo(.max)
        return filter
    }

    private static func sum(_ header: [UInt64], _ words: UnsafeRawBufferPointer) -> [UInt8] {
        var sum = SHA256()
        header.withUnsafeBytes { sum.update($0) }
        sum.update(words)
        return sum.finalize { [UInt8]($0) }
    }

    private static func fill(_ bytes: UnsafeMutableRawBufferPointer, from descriptor: Int32) -> Bool {
        var count = 0
        while count < bytes.count {
            let taken = read(descriptor, bytes.baseAddress! + count, bytes.count - count)
            if taken < 0, errno == EINTR { continue }
            guard taken > 0 else { return false }
            count += taken
        }
        return true
    }
}
