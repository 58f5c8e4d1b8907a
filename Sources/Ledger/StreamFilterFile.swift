import Glibc
import LMDB

/// The filter of an index as a file beside it, so that a start has it at once: to go through the rows of ten million streams takes
/// seconds, and in a load that begins with the start they are those in which event loops would ask the index of every new lead.
///
/// ```
/// offset size
///    0     8   "LLFILTER", as a number in the machine's order: a file of another order is not taken
///    8     8   device and      of the index's data.mdb: a copy put in its place is not what this speaks of
///   16     8   inode
///   24     8   LMDB's number of the last transaction in it
///   32     8   number of words
///   40   8 n   the words
///    .    32   SHA-256 of all before
/// ```
///
/// Invariant K2: what is read has every stream of the index (a filter that denies one would have its events stored twice). So it is
/// written only when whole, with nobody writing to the index any more, and taken only by an index in the very state that it was
/// written of. Each commit of the index makes it stale, and the index's directory takes it along when it is discarded.
///
/// Any other file, or none, is no error: the filter is then filled from the rows.
enum StreamFilterFile {
    static let name = "FILTER"

    private static let magic: UInt64 = 0x4C4C_4649_4C54_4552
    private static let headerBytes = 40
    private static func path(of index: Environment) -> String { index.directory + "/" + name }

    private static func header(of index: Environment, words: Int) -> [UInt64] {
        let file = index.fileIdentity
        return [magic, file.device, file.inode, index.info.lastTransaction, UInt64(words)]
    }

    /// Writes it, durably and whole or not at all. Nobody may change filter or index meanwhile.
    static func write(_ filter: StreamFilter, of index: Environment) throws(FileError) {
        precondition(filter.isWhole, "K2")
        let words = UnsafeRawBufferPointer(filter.bytes)
        let header = header(of: index, words: words.count / 8)
        var sum = SHA256()
        header.withUnsafeBytes { sum.update($0) }
        sum.update(words)
        let digest = sum.finalize { [UInt8]($0) }
        try DurableFiles.replaceFile(path(of: index)) { (write) throws(FileError) in
            try write(header.span.bytes)
            try write(words.bytes)
            try write(digest.span.bytes)
        }
    }

    /// The filter that was written of the index as it is; nil where there is none.
    static func read(of index: Environment) -> StreamFilter? {
        let descriptor = open(path(of: index), O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        // 1. Of this index, and as long as it says.
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return nil }
        var header = [UInt64](repeating: 0, count: headerBytes / 8)
        guard header.withUnsafeMutableBytes({ fill($0, from: descriptor) }) else { return nil }
        let wordBytes = Int(status.st_size) - headerBytes - SHA256.byteCount
        guard wordBytes > 0, wordBytes % 8 == 0, (wordBytes / 8).nonzeroBitCount == 1,
            header == Self.header(of: index, words: wordBytes / 8)
        else { return nil }
        // 2. As it was written.
        guard let filter = StreamFilter(words: wordBytes / 8), fill(filter.bytes, from: descriptor) else { return nil }
        var digest = [UInt8](repeating: 0, count: SHA256.byteCount)
        guard digest.withUnsafeMutableBytes({ fill($0, from: descriptor) }) else { return nil }
        var sum = SHA256()
        header.withUnsafeBytes { sum.update($0) }
        sum.update(UnsafeRawBufferPointer(filter.bytes))
        guard sum.finalize({ $0.elementsEqual(digest) }) else { return nil }
        filter.setFilledTo(.max)
        return filter
    }

    private static func fill(_ bytes: UnsafeMutableRawBufferPointer, from descriptor: Int32) -> Bool {
        var count = 0
        while count < bytes.count {
            let taken = Glibc.read(descriptor, bytes.baseAddress! + count, bytes.count - count)
            if taken < 0, errno == EINTR { continue }
            guard taken > 0 else { return false }
            count += taken
        }
        return true
    }
}
