import Glibc
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
}
