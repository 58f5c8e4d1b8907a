import Glibc
import LMDB

/// What the kernel remembers of a file.
enum PageCache {
    /// Bytes asked for at once: a kernel takes no more of one request than its device's read-ahead, 128 KiB unless set.
    private static let fetchedBytes: UInt64 = 128 << 10

    /// Has a part of a file in the page cache, in single pages, which is what this advice brings about in all kernels that
    /// know larger folios; what is there already stays as it is. Advice, so nothing is told where it is not taken.
    static func fetch(_ descriptor: Int32, _ range: Range<UInt64>) {
        for start in stride(from: range.lowerBound, to: range.upperBound, by: Int(fetchedBytes)) {
            let count = min(fetchedBytes, range.upperBound - start)
            posix_fadvise(descriptor, off_t(start), off_t(count), POSIX_FADV_WILLNEED)
        }
    }

    /// `fetch`, and waits until the device has read it.
    static func read(_ descriptor: Int32, _ range: Range<UInt64>) {
        fetch(descriptor, range)
        var last: UInt8 = 0
        pread(descriptor, &last, 1, off_t(range.upperBound - 1))
    }

    /// The stretch of a part of a file, which begins at a page, that has all its pages which are not in the page cache; nil where there
    /// are none, or it cannot be told.
    static func missing(_ descriptor: Int32, in range: Range<UInt64>) -> Range<UInt64>? {
        let count = Int(range.upperBound - range.lowerBound)
        // A map of its own, of which nothing is touched: what is asked is the file, not who has mapped it.
        let map = mmap(nil, count, PROT_READ, MAP_SHARED, descriptor, off_t(range.lowerBound))
        guard let map, map != MAP_FAILED else { return nil }
        defer { munmap(map, count) }
        let page = sysconf(Int32(_SC_PAGESIZE))
        return withUnsafeTemporaryAllocation(of: UInt8.self, capacity: (count + page - 1) / page) { states in
            guard let start = states.baseAddress, mincore(map, count, start) == 0,
                let first = states.firstIndex(where: { $0 & 1 == 0 }),
                let last = states.lastIndex(where: { $0 & 1 == 0 })
            else { return nil }
            let end = min(range.lowerBound + UInt64((last + 1) * page), range.upperBound)
            return range.lowerBound + UInt64(first * page)..<end
        }
    }

    /// A number that grows when something may have left the page cache: how often this process has waited for the disk with a page
    /// of a map (whoever has dropped that page), and, where the system tells it, how many pages of files the kernel has taken for others.
    static func losses() -> UInt64 {
        var usage = rusage()
        getrusage(Int32(RUSAGE_SELF.rawValue), &usage)
        let taken = (try? DurableFiles.readFile("/proc/vmstat")).flatMap { number("pgsteal_file", in: $0) }
        return UInt64(usage.ru_majflt) + (taken ?? 0)
    }

    /// Of a line that is a name, blanks, and a number.
    private static func number(_ name: String, in text: String) -> UInt64? {
        for line in text.split(separator: "\n") where line.hasPrefix(name) {
            let words = line.split(separator: " ")
            if words.count >= 2, words[0] == name { return UInt64(words[1]) }
        }
        return nil
    }

    /// Bytes of memory that programs can still have without others being put on the disk; nil where the system does not tell.
    static func availableBytes() -> UInt64? {
        let kibibytes = (try? DurableFiles.readFile("/proc/meminfo")).flatMap { number("MemAvailable:", in: $0) }
        return kibibytes.map { $0 << 10 }
    }

    /// Forgets the end of the log, so that it is read from the device.
    ///
    /// After a failed flush the kernel may keep pages in memory that never reached the disk, and a plain restart would read
    /// them. So at a start everything is flushed once more, and the metas and the last stretch of the file are dropped from
    /// the map and from the page cache (fadvise alone leaves pages that are mapped).
    static func rereadTail(of environment: Environment, bytes: Int) throws(LedgerError) {
        do throws(LMDBError) { try environment.sync(force: true) } catch { throw LedgerError(error) }
        let info = environment.info
        let used = Int(info.usedBytes)
        let start = max(0, used - bytes) / Int(info.pageSize) * Int(info.pageSize)
        let ranges = [(0, 2 * Int(info.pageSize)), (start, used - start)]
        let map = try mapAddress(of: environment.fileIdentity)
        for (offset, count) in ranges where count > 0 {
            if let map { madvise(map + offset, count, MADV_DONTNEED) }
            posix_fadvise(environment.fileDescriptor, off_t(offset), off_t(count), POSIX_FADV_DONTNEED)
        }
    }

    /// Where the file is mapped; nil when it cannot be seen. LMDB does not tell, /proc/self/maps does:
    ///
    ///     7f0c40000000-7f0c80000000 r--s 00000000 fe:00 1311234      /data/log/data.mdb
    ///
    /// Dropping clean pages of the wrong file would do no harm, so inode and name are enough (btrfs shows another
    /// device here than `stat` does).
    static func mapAddress(of file: FileIdentity) throws(LedgerError) -> UnsafeMutableRawPointer? {
        let maps: String?
        do throws(FileError) { maps = try DurableFiles.readFile("/proc/self/maps", bytesMax: 16 << 20) } catch {
            throw LedgerError(error)
        }
        for line in (maps ?? "").split(separator: "\n") {
            let fields = line.split(separator: " ", maxSplits: 5)
            guard fields.count == 6, UInt64(fields[4]) == file.inode, UInt64(fields[2], radix: 16) == 0,
                fields[5].hasSuffix("data.mdb"), fields[1].hasSuffix("s"),
                let start = fields[0].split(separator: "-").first.flatMap({ UInt(String($0), radix: 16) })
            else { continue }
            return UnsafeMutableRawPointer(bitPattern: start)
        }
        return nil
    }
}
