import Glibc
import TestSupport
import Testing

extension ProgramTests {
    /// A limit on the length of files (RLIMIT_FSIZE) is met like a full disk (T6).
    @Suite struct FileLimitTests {
        private let place = LedgerPlace()

        @Test func `at the limit of a file's length appends are refused, reads go on, and a higher limit lets them in`()
            throws
        {
            let daemon = try DaemonProcess(
                place, arguments: ["--test"], wrapper: ["prlimit", "--fsize=\(2 << 20):unlimited"])
            try daemon.waitUntilServing()
            let client = try place.connect()
            try capture(5, client)
            var stored = 0
            var refusal: Refusal?
            while refusal == nil, stored < 200 {
                refusal = try client.refusal("append", longNote(stored))
                if refusal == nil { stored += 1 }
            }
            #expect(refusal?.name == "disk_full", "\(String(describing: refusal)) after \(stored)")
            #expect(stored > 3)
            #expect(try client.readLog().count == 5 + stored)
            #expect(try client.refusal("append", longNote(stored))?.name == "disk_full")
            #expect(try client.ask("append", captureParams("L-0"))["duplicate"].boolean == true)

            let raised = try run(
                "prlimit", ["--pid", "\(daemon.process.identifier)", "--fsize=unlimited:unlimited"],
                scratch: place.scratch)
            try #require(raised.status == .exited(0), "\(raised.errorOutput)")
            #expect(try client.ask("append", longNote(stored))["duplicate"].boolean == false)
            try client.waitForModels(at: 6 + stored)
            #expect(try daemon.terminate() == .exited(0))
            let check = try place.check(["--test"])
            #expect(check.status == .exited(0) && check.findings == [], "\(check)")
        }
    }
}

/// A note of 48 KiB on lead L-0, numbered.
func longNote(_ number: Int) -> String {
    let custom = (0..<3).map { #""k\#($0)":"\#(String(repeating: "n", count: 16_000))""# }.joined(separator: ",")
    return
        #"{"events":[{"id":"note-\#(number)","source":"urn:test","type":"lead.noted","subject":"L-0","data":{"custom":{\#(custom)}}}]}"#
}
