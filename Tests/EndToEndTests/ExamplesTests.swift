import Synchronization
import TestSupport
import Testing

/// The programs of `scripts/examples`, as they run.
@Suite(.timeLimit(.minutes(10))) struct ExamplesTests {
    @Test func `notify tells each recipient, and acks what it has told`() throws {
        let script = packageRoot + "/scripts/examples/notify.py"
        #expect(try text(ofFile: script).split(separator: "\n").count <= 20)
        let lines = Mutex<[String]>([])
        let token = #"{"position":1234,"attempt":1,"epoch":7}"#
        let daemon = try FakeDaemon { connection in
            while let line = connection.line() {
                let count = lines.withLock { lines in
                    lines.append(line)
                    return lines.count
                }
                switch count {
                case 1:
                    let event =
                        #"{"type":"lead.escalated","subject":"L-1","recordedtime":"2026-03-02T09:00:00Z","data":{"to":["ana","bo"]}}"#
                    let told = ["ana", "bo"].map {
                        #"{"recipient":"\#($0)","dedupe_key":"1234/\#($0)","kind":"escalated"}"#
                    }
                    let delivery =
                        #"{"token":\#(token),"event":\#(event),"notifications":[\#(told.joined(separator: ","))]}"#
                    connection.send(#"{"jsonrpc":"2.0","id":1,"result":{"deliveries":[\#(delivery)]}}"#)
                case 2: connection.send(#"{"jsonrpc":"2.0","id":1,"result":{}}"#)
                default: return
                }
            }
        }
        let place = LedgerPlace()
        let ran = try run(
            "/usr/bin/env", ["python3", script], variables: ["LEADLEDGER_SOCKET": daemon.path], scratch: place.scratch)
        let bodies = try ran.output.split(separator: "\n").map { try JSONTree(String($0)) }
        #expect(bodies.map { $0["recipient"].string } == ["ana", "bo"])
        #expect(bodies.map { $0["dedupe_key"].string } == ["1234/ana", "1234/bo"])
        #expect(bodies.allSatisfy { $0["lead"].string == "L-1" && $0["kind"].string == "escalated" })
        let sent = try lines.withLock { $0 }.map { try JSONTree($0) }
        #expect(sent.map { $0["method"].string } == ["consumer.claim", "consumer.ack", "consumer.claim"])
        #expect(sent.allSatisfy { $0["params"]["group"].string == "notifications" })
        #expect(sent.dropFirst().first?["params"]["tokens"] == .array([try JSONTree(token)]))
        // The daemon has gone: the program ends, and says so.
        #expect(ran.status == .exited(1) && ran.errorOutput.contains("the daemon has gone"))
    }
}
