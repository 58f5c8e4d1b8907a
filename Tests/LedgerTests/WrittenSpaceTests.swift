import Glibc
import TestSupport
import Testing

@testable import LMDB
@testable import Ledger

@Suite struct WrittenSpaceTests {
    /// Steps as small as a thread still writes them, so that the log runs after it all the time and often has to wait for it.
    @Test func `space that is written ahead never lies over what was stored`() throws {
        let folder = LedgerFolder()
        var configuration = LogConfiguration.test
        configuration.spaceStepBytes = 1 << 20
        let count: Int
        do {
            let ledger = try TestLedger(folder, configuration)
            var number = 0
            while ledger.log.status.logUsedBytes < 48 << 20 {
                // Groups of 1 to 200 events of about 3 kB.
                let units = (0..<(1 + number % 200)).map { _ in
                    number += 1
                    return ledger.unit([
                        TestEvent(
                            stream: "S\(number % 97)", id: "\(number)",
                            text: #""text":""# + String(repeating: "x", count: 2_900) + #"""#)
                    ])
                }
                for outcome in ledger.submit(units) { #expect(outcome.receipt != nil) }
            }
            count = number
            ledger.close()
        }
        var findings: [LogChecker.Finding] = []
        LogChecker.checkLog(directory: folder.path, lifecycle: testLifecycle, mayUseTmpfs: true) { findings.append($0) }
        #expect(findings.isEmpty, "\(findings)")
        let again = try TestLedger(folder, configuration)
        #expect(again.log.end.rawValue == UInt64(count) && count > 10_000)
    }

    @Test func `what lies ahead of a log is written, not only allocated`() throws {
        let folder = LedgerFolder()
        var configuration = LogConfiguration.test
        configuration.spaceStepBytes = 4 << 20
        let ledger = try TestLedger(folder, configuration)
        ledger.append(TestEvent(stream: "S", id: "1"))
        // SEEK_DATA, which Swift's Glibc does not show.
        let seekData: Int32 = 3
        let ahead = off_t(ledger.log.status.logUsedBytes + 2 << 20)
        let descriptor = open(folder.path + "/log/data.mdb", O_RDONLY | O_CLOEXEC)
        defer { close(descriptor) }
        // File systems call a block that was only allocated a hole.
        waitUntil { lseek(descriptor, ahead, seekData) == ahead }
        var bytes = [UInt8](repeating: 1, count: 4_096)
        #expect(pread(descriptor, &bytes, bytes.count, ahead) == 4_096)
        #expect(bytes.allSatisfy { $0 == 0 })
    }

    /// Where, from what is used on, the first block of the log's file begins that is not written.
    private func endOfWritten(_ ledger: TestLedger) -> UInt64 {
        let environment = ledger.log.log.environment
        return SpaceWriter.endOfWritten(environment.directory + "/data.mdb", from: environment.info.usedBytes)
    }

    private static func reserving(_ reserve: Int, quiet: Duration = .milliseconds(1)) -> LogConfiguration {
        var configuration = LogConfiguration.test
        configuration.spaceStepBytes = 1 << 20
        configuration.spaceReserveBytes = reserve
        configuration.spaceQuiet = quiet
        return configuration
    }

    @Test func `while nothing is appended, the reserve is written, and again after it was used`() throws {
        let ledger = try TestLedger(LedgerFolder(), Self.reserving(24 << 20))
        for round in 0..<3 {
            for number in 0..<40 {
                ledger.append(TestEvent(stream: "S", id: "\(round)-\(number)", text: Self.text(50_000)))
            }
            let wanted = ledger.log.status.logUsedBytes + 24 << 20
            waitUntil { endOfWritten(ledger) >= wanted }
            // That is the whole of it, but for the step it ends in and one that was prepared for the append.
            usleep(20_000)
            #expect(endOfWritten(ledger) <= wanted + 3 << 20)
        }
    }

    @Test func `where much is appended, only the steps are written`() throws {
        let ledger = try TestLedger(LedgerFolder(), Self.reserving(24 << 20, quiet: .seconds(3_600)))
        ledger.append(TestEvent(stream: "S", id: "1"))
        waitUntil { endOfWritten(ledger) > ledger.log.status.logUsedBytes }
        usleep(100_000)
        #expect(endOfWritten(ledger) <= ledger.log.status.logUsedBytes + 3 << 20)
    }

    @Test func `a disk that has not far more room than the reserve is left alone`() throws {
        let folder = LedgerFolder()
        var disk = statvfs()
        #expect(statvfs(folder.path, &disk) == 0)
        let free = Int(disk.f_bavail) * Int(disk.f_frsize)
        let ledger = try TestLedger(folder, Self.reserving(free / 4))
        ledger.append(TestEvent(stream: "S", id: "1"))
        usleep(200_000)
        #expect(endOfWritten(ledger) <= ledger.log.status.logUsedBytes + 3 << 20)
    }

    @Test func `what is written ahead is not written again at the next start`() throws {
        let folder = LedgerFolder()
        let configuration = Self.reserving(8 << 20)
        let used: UInt64
        do {
            let ledger = try TestLedger(folder, configuration)
            ledger.append(TestEvent(stream: "S", id: "1"))
            used = ledger.log.status.logUsedBytes
            waitUntil { endOfWritten(ledger) >= used + 8 << 20 }
            ledger.close()
        }
        // A mark where zeros lie: what is beyond the used pages may be anything.
        let mark = [UInt8](repeating: 0xA5, count: 4_096)
        let place = off_t(used + 4 << 20)
        let descriptor = open(folder.path + "/log/data.mdb", O_RDWR | O_CLOEXEC)
        defer { close(descriptor) }
        #expect(pwrite(descriptor, mark, mark.count, place) == mark.count && fsync(descriptor) == 0)
        let ledger = try TestLedger(folder, configuration)
        ledger.append(TestEvent(stream: "S", id: "2"))
        usleep(100_000)
        var found = [UInt8](repeating: 0, count: mark.count)
        #expect(pread(descriptor, &found, found.count, place) == found.count && found == mark)
        // And is written over in its time.
        for number in 3..<150 {
            #expect(ledger.append(TestEvent(stream: "S", id: "\(number)", text: Self.text(50_000))).receipt != nil)
        }
        ledger.close()
        #expect(Self.findings(folder).isEmpty)
    }

    /// The reserve is begun in every pause, and appends come in the middle of it; the log is closed and opened in between.
    @Test func `appends that interrupt the writing of the reserve lose nothing`() throws {
        let seed = announcedSeed("WrittenSpaceTests")
        var random = SeededGenerator(seed: seed)
        let folder = LedgerFolder()
        var count = 0
        for _ in 0..<6 {
            let ledger = try TestLedger(folder, Self.reserving(6 << 20))
            for _ in 0..<60 {
                let units = (0..<Int.random(in: 1...80, using: &random)).map { _ in
                    count += 1
                    return ledger.unit([TestEvent(stream: "S\(count % 97)", id: "\(count)", text: Self.text(2_900))])
                }
                for outcome in ledger.submit(units) { #expect(outcome.receipt != nil, "seed \(seed)") }
                usleep(UInt32.random(in: 0...6_000, using: &random))
            }
            ledger.close()
            #expect(Self.findings(folder).isEmpty, "seed \(seed)")
        }
        #expect(try TestLedger(folder, Self.reserving(0)).log.end.rawValue == UInt64(count))
    }

    /// A restored ledger was put where one lies that still runs.
    @Test func `zeros never go to another file that has come to have the path`() throws {
        let folder = LedgerFolder()
        let ledger = try TestLedger(folder, Self.reserving(8 << 20, quiet: .seconds(3_600)))
        ledger.append(TestEvent(stream: "S", id: "1"))
        let path = folder.path + "/log/data.mdb"
        #expect(rename(path, folder.path + "/log/aside") == 0)
        let other = [UInt8](repeating: 0xA5, count: 32 << 20)
        let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        defer { close(descriptor) }
        #expect(pwrite(descriptor, other, other.count, 0) == other.count)
        for number in 2..<200 {
            #expect(ledger.append(TestEvent(stream: "S", id: "\(number)", text: Self.text(50_000))).receipt != nil)
        }
        ledger.close()
        var found = [UInt8](repeating: 0, count: other.count)
        #expect(pread(descriptor, &found, found.count, 0) == found.count && found == other)
    }

    private static func text(_ bytes: Int) -> String { #""text":""# + String(repeating: "x", count: bytes) + #"""# }

    private static func findings(_ folder: LedgerFolder) -> [LogChecker.Finding] {
        var findings: [LogChecker.Finding] = []
        LogChecker.checkLog(directory: folder.path, lifecycle: testLifecycle, mayUseTmpfs: true) { findings.append($0) }
        return findings
    }
}
