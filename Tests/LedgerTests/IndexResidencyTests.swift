import Glibc
import Testing

@testable import LMDB
@testable import Ledger

@Suite struct IndexResidencyTests {
    @Test func `an index is in memory soon after a start, and again after it has left it`() throws {
        // A disk: what is in memory of a tmpfs is all of it.
        let folder = LedgerFolder(below: "/var/tmp")
        let path = folder.path + "/index/data.mdb"
        let used: Int
        do {
            let ledger = try TestLedger(folder)
            for group in 0..<100 {
                let units = (0..<300).map { ledger.unit([TestEvent(stream: "S\(group)-\($0)", id: "1")]) }
                for outcome in ledger.submit(units) { #expect(outcome.receipt != nil) }
            }
            ledger.log.flushIndex()
            waitUntil { ledger.log.status.indexProgress == ledger.log.end }
            used = Int(ledger.log.status.indexUsedBytes)
            ledger.close()
        }
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        defer { close(descriptor) }
        func drop() {
            #expect(fsync(descriptor) == 0 && posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED) == 0)
        }
        drop()
        let pages = used / 4_096
        #expect(pages > 500)
        try #require(pagesInMemory(descriptor, bytes: used) < pages / 10)

        let ledger = try TestLedger(folder)
        #expect(ledger.log.indexOrigin == .kept)
        waitUntil { pagesInMemory(descriptor, bytes: used) == pages }

        // What a look-up had to wait for is a sign, and a few pages of it are enough for all: here all but the end of each piece that
        // is read at once.
        for piece in stride(from: 0, to: used, by: 1 << 20) {
            #expect(posix_fadvise(descriptor, off_t(piece), off_t(768 << 10), POSIX_FADV_DONTNEED) == 0)
        }
        try #require(pagesInMemory(descriptor, bytes: used) < pages * 3 / 4)
        for group in 0..<20 { #expect(try ledger.log.stream(StreamKey("S\(group)-7")) != nil) }
        waitUntil { pagesInMemory(descriptor, bytes: used) == pages }
        ledger.close()
    }

    private func pagesInMemory(_ descriptor: Int32, bytes: Int) -> Int {
        let map = mmap(nil, bytes, PROT_READ, MAP_SHARED, descriptor, 0)
        guard let map, map != MAP_FAILED else { return -1 }
        defer { munmap(map, bytes) }
        return residentPages(map, bytes / 4_096)
    }
}
