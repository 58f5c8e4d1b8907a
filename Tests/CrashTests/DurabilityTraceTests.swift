import Glibc
import TestSupport
import Testing

extension ProgramTests {
    /// Goal: an acknowledgement follows its sync (P1). A kill shows nothing of that, since the kernel keeps what was written;
    /// so the system calls of the daemon are looked at, and a daemon whose log does not sync must fail the same look.
    @Suite struct DurabilityTraceTests {
        @Test func `every reply follows its pages, their fdatasync and the meta page`() throws {
            let (trace, subjects) = try traced(Programs.daemon)
            let result = trace.faults(subjects: subjects)
            #expect(result.replies == subjects.count)
            #expect(result.faults.isEmpty, "\(result.faults.count): \(result.faults.prefix(5))")
            print("DurabilityTraceTests: \(result.replies) replies, each after its sync")
        }

        @Test func `a log that does not sync is caught`() throws {
            let (trace, subjects) = try traced(Programs.plantedDaemon)
            let result = trace.faults(subjects: subjects)
            #expect(result.replies == subjects.count)
            #expect(result.faults.count == subjects.count, "\(result.faults.count) of \(subjects.count)")
        }

        /// Appends 50 units one at a time and 300 pipelined, under strace.
        private func traced(_ program: String) throws -> (SystemCallTrace, subjects: [String]) {
            let place = LedgerPlace()
            let path = place.scratch + "/trace"
            // -D: strace is not the daemon's parent, so that signals and the exit status are the daemon's own.
            let daemon = try DaemonProcess(
                place, program: program,
                wrapper: [
                    "strace", "-D", "-f", "-y", "-s", "1000000", "-o", path, "-e",
                    "trace=openat,writev,pwrite64,pwritev,fdatasync,write,sendto,sendmsg",
                ])
            try daemon.waitUntilServing()
            let client = try place.connect()
            let subjects = (0..<350).map { "traced-\(1_000 + $0)-lead" }
            func params(_ subject: String) -> String {
                #"{"events":[{"id":"1","source":"urn:trace","type":"lead.captured","subject":"\#(subject)","data":{"channel":"fair"}}]}"#
            }
            for subject in subjects.prefix(50) { try client.ask("append", params(subject)) }
            let pipelined = subjects.dropFirst(50)
            let lines = pipelined.enumerated().map { request($0, "append", params($1)) + "\n" }
            try client.send(bytes: Array(lines.joined().utf8))
            for subject in pipelined {
                let reply = try client.line() ?? ""
                #expect(reply.contains(subject), "\(reply)")
            }
            let status = try daemon.terminate()
            #expect(status == .exited(0), "\(daemon.process.errorOutput)")
            // strace pads process ids to five characters.
            let last = "\(daemon.process.identifier) +++ exited"
            var end = ""
            do {
                try Monotonic.wait(for: "strace's last line", milliseconds: 30_000) {
                    end = String(decoding: ((try? bytes(ofFile: path)) ?? []).suffix(4_000), as: UTF8.self)
                    return end.split(separator: " ").joined(separator: " ").contains(last)
                }
            } catch {
                throw TimedOut("\"\(last)\" from strace; is ptrace allowed here? Its trace ends: \(end.suffix(1_000))")
            }
            return (SystemCallTrace(try bytes(ofFile: path)), subjects)
        }
    }
}
