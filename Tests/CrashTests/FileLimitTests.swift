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
            let found = try meetLimit()
            #expect(found.fault == nil, "\(found.fault ?? "")")
            #expect(found.stored > 3)
        }

        /// The control: a daemon that finds out at its commit that there is no room.
        @Test func `a daemon that takes no room ahead is found`() throws {
            let library = place.scratch + "/no-room-ahead.so"
            try NoRoomAhead.compile(to: library, scratch: place.scratch)
            let found = try meetLimit(variables: NoRoomAhead.variables(library))
            print("FileLimitTests: planted, \(found.fault ?? "nothing found") after \(found.stored)")
            #expect(found.fault != nil)
            #expect(found.stored > 3)
        }

        /// Appends up to the limit, and beyond a higher one.
        /// - Returns: the notes that were stored before the limit, and the first thing that was not as it must be.
        private func meetLimit(variables: [String: String] = [:]) throws -> (stored: Int, fault: String?) {
            let daemon = try DaemonProcess(
                place, arguments: ["--test"], wrapper: ["prlimit", "--fsize=\(2 << 20):unlimited"],
                variables: variables)
            try daemon.waitUntilServing()
            let client = try place.connect()
            try capture(5, client)
            var stored = 0
            do {
                var refusal: Refusal?
                while refusal == nil, stored < 200 {
                    refusal = try client.refusal("append", longNote(stored))
                    if refusal == nil { stored += 1 }
                }
                try hold(refusal?.name == "disk_full", "\(String(describing: refusal)) after \(stored)")
                try hold(client.readLog().count == 5 + stored, "the log has not what was stored")
                let again = try client.refusal("append", longNote(stored))
                try hold(again?.name == "disk_full", "\(String(describing: again)) after a refusal")
                let repeated = try client.ask("append", captureParams("L-0"))
                try hold(repeated["duplicate"].boolean == true, "what is stored was repeated: \(repeated)")

                let raised = try run(
                    "prlimit", ["--pid", "\(daemon.process.identifier)", "--fsize=unlimited:unlimited"],
                    scratch: place.scratch)
                try #require(raised.status == .exited(0), "\(raised.errorOutput)")
                let stillThere = try client.ask("append", longNote(stored))
                try hold(stillThere["duplicate"].boolean == false, "with room: \(stillThere)")
                try client.waitForModels(at: 6 + stored)
                let end = try daemon.terminate()
                try hold(end == .exited(0), "the daemon ended with \(end)")
                let check = try place.check(["--test"])
                try hold(check.status == .exited(0) && check.findings == [], "\(check)")
            } catch let fault as Fault {
                return (stored, fault.description)
            } catch let fault as TimedOut {
                // An answer that did not come.
                return (stored, fault.description)
            }
            return (stored, nil)
        }

        private struct Fault: Error { var description: String }

        private func hold(_ holds: Bool, _ otherwise: @autoclosure () -> String) throws {
            if !holds { throw Fault(description: otherwise()) }
        }
    }
}

/// A note of 48 KiB on lead L-0, numbered.
func longNote(_ number: Int) -> String {
    let custom = (0..<3).map { #""k\#($0)":"\#(String(repeating: "n", count: 16_000))""# }.joined(separator: ",")
    return
        #"{"events":[{"id":"note-\#(number)","source":"urn:test","type":"lead.noted","subject":"L-0","data":{"custom":{\#(custom)}}}]}"#
}
