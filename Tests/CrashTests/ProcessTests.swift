import Glibc
import TestSupport
import Testing

extension ProgramTests {
    /// Who may use a directory and a socket, and how the daemon starts and ends.
    @Suite struct ProcessTests {
        private let place = LedgerPlace()

        @Test func `a second daemon on the directory is refused and leaves the first alone`() throws {
            let first = try place.serve()
            let second = try DaemonProcess(place)
            #expect(try second.process.waitForEnd() == .exited(73))
            #expect(second.process.errorOutput.contains("another daemon"), "\(second.process.errorOutput)")
            #expect(try place.connect().ask("status")["head"].integer == 0)
            #expect(try first.terminate() == .exited(0))
        }

        @Test func `SIGTERM ends it with 0, removes the socket and leaves every cache clean`() throws {
            let daemon = try place.serve()
            try capture(100, try place.connect())
            #expect(
                states().allSatisfy { $0.contains("state=open") } && states().count == 1 + LineClient.modelNames.count)
            #expect(try daemon.terminate() == .exited(0))
            #expect(access(place.socket, F_OK) != 0)
            #expect(
                states().allSatisfy { $0.contains("state=clean") } && states().count == 1 + LineClient.modelNames.count,
                "\(states())")
            #expect(try place.check().status == .exited(0))
        }

        @Test func `what was asked before SIGTERM is answered or stored once, never half`() throws {
            let daemon = try place.serve()
            let client = try place.connect()
            for number in 0..<200 { try client.send(line: request(number, "append", captureParams("L-\(number)"))) }
            daemon.process.send(signal: SIGTERM)
            var stored: Set<Int> = []
            while let line = try client.line() {
                let reply = try JSONTree(line)
                if reply["result"].isPresent {
                    stored.insert(reply["id"].integer!)
                } else {
                    #expect(reply["error"]["data"]["name"].string == "shutting_down", "\(reply)")
                }
            }
            #expect(try daemon.process.waitForEnd() == .exited(0))
            let again = try place.serve()
            let events = try place.connect().ask("log.read", #"{"from":0,"limit":1000}"#)["events"].elements
            let found = events.map { Int($0["subject"].string!.dropFirst(2))! }
            #expect(Set(found).count == found.count)
            #expect(stored.isSubset(of: found))
            try again.terminate()
        }

        @Test func `the socket file of a killed daemon is replaced`() throws {
            let first = try place.serve()
            try first.process.killAndWait()
            #expect(access(place.socket, F_OK) == 0)
            let second = try place.serve()
            #expect(try place.connect().ask("status")["head"].integer == 0)
            #expect(try second.terminate() == .exited(0))
        }

        @Test func `a socket on which another daemon answers is left to it`() throws {
            let first = try place.serve()
            let other = LedgerPlace()
            let second = try ChildProcess(
                Programs.daemon, ["--data", other.data, "--socket", place.socket], scratch: other.scratch)
            #expect(try second.waitForEnd() == .exited(73))
            #expect(second.errorOutput.contains("another daemon answers"), "\(second.errorOutput)")
            #expect(try place.connect().ask("status")["head"].integer == 0)
            #expect(try first.terminate() == .exited(0))
        }

        @Test func `a file that is no socket is left alone`() throws {
            try write("precious", toFile: place.socket)
            let daemon = try DaemonProcess(place)
            #expect(try daemon.process.waitForEnd() == .exited(73))
            #expect(try text(ofFile: place.socket) == "precious")
        }

        @Test func `tmpfs is refused, and taken with --test`() throws {
            let memory = LedgerPlace(below: "/dev/shm")
            let refused = try DaemonProcess(memory)
            let status = try refused.process.waitForEnd()
            #expect(status == .exited(78))
            #expect(refused.process.errorOutput.contains("tmpfs"), "\(refused.process.errorOutput)")
            let taken = try memory.serve(["--test"])
            #expect(try memory.connect().ask("append", captureParams("L"))["first"].integer == 0)
            #expect(try taken.terminate() == .exited(0))
        }

        @Test func `a socket path that the kernel has no room for is refused by its length`() throws {
            let long = place.scratch + "/" + String(repeating: "s", count: 100)
            let daemon = try ChildProcess(
                Programs.daemon, ["--data", place.data, "--socket", long], scratch: place.scratch)
            #expect(try daemon.waitForEnd() == .exited(78))
            #expect(daemon.errorOutput.contains("at most 107 bytes"), "\(daemon.errorOutput)")
        }

        @Test(arguments: [
            ("colour: 3\n", "unknown setting `colour`"), ("event_loops: 0\n", "whole number from 1 to 16"),
            ("event_loops: 2\nevent_loops: 2\n", "event_loops"), ("- 1\n", "no mapping"), ("a: [\n", "not YAML"),
        ])
        func `a configuration that cannot be used ends it with 78 and says where`(_ yaml: String, _ reason: String)
            throws
        {
            let path = place.scratch + "/config.yaml"
            try write(yaml, toFile: path)
            let daemon = try DaemonProcess(place, arguments: ["--config", path])
            #expect(try daemon.process.waitForEnd() == .exited(78))
            let complaint = daemon.process.errorOutput
            #expect(complaint.contains(path) && complaint.contains(reason), "\(complaint)")
            #expect(access(place.data, F_OK) != 0)
        }

        @Test func `a configuration file that is not there ends it with 78`() throws {
            let daemon = try DaemonProcess(place, arguments: ["--config", place.scratch + "/none.yaml"])
            #expect(try daemon.process.waitForEnd() == .exited(78))
        }

        @Test func `a ledger of another format is refused and not touched`() throws {
            try place.serve().terminate()
            let path = place.data + "/FORMAT"
            let changed = try text(ofFile: path).replacing("format=0", with: "format=9")
            try write(changed, toFile: path)
            let before = try bytes(ofFile: place.data + "/log/data.mdb")
            let daemon = try DaemonProcess(place)
            #expect(try daemon.process.waitForEnd() == .exited(78))
            #expect(daemon.process.errorOutput.contains("format 9"), "\(daemon.process.errorOutput)")
            #expect(try text(ofFile: path) == changed)
            #expect(try bytes(ofFile: place.data + "/log/data.mdb") == before)
        }

        @Test func `a FORMAT without a log, and a log with events without a FORMAT, are refused`() throws {
            let daemon = try place.serve()
            try capture(3, try place.connect())
            try daemon.terminate()
            let format = place.data + "/FORMAT"
            let log = place.data + "/log"

            rename(format, format + ".away")
            let withoutFormat = try DaemonProcess(place)
            #expect(try withoutFormat.process.waitForEnd() == .exited(78))
            rename(format + ".away", format)

            rename(log, log + ".away")
            let withoutLog = try DaemonProcess(place)
            #expect(try withoutLog.process.waitForEnd() == .exited(78))
            #expect(access(log, F_OK) != 0)
            rename(log + ".away", log)

            let whole = try place.serve()
            #expect(try place.connect().ask("status")["head"].integer == 3)
            try whole.terminate()
        }

        @Test func `without a directory to serve it says how it is used`() throws {
            let result = try run(Programs.daemon, [], scratch: place.scratch)
            #expect(result.status == .exited(64))
            #expect(result.errorOutput.contains("--data"))
        }

        /// The STATE files of the index and of the read models.
        private func states() -> [String] {
            let models = names(in: place.data + "/models").filter { $0.contains("@") }.map { "models/\($0)" }
            return (["index"] + models).map { (try? text(ofFile: "\(place.data)/\($0)/STATE")) ?? "missing: \($0)" }
        }
    }
}

func captureParams(_ lead: String, id: String = "1") -> String {
    #"{"events":[{"id":"\#(id)","source":"urn:test","type":"lead.captured","subject":"\#(lead)","data":{"channel":"fair","campaign":"spring"}}]}"#
}

/// Captures leads L-0, L-1, ...
func capture(_ count: Int, _ client: LineClient) throws {
    for number in 0..<count { try client.ask("append", captureParams("L-\(number)")) }
}
