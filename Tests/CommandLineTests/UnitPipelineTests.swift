import Control
import JSON
import LeadLedgerClient
import Synchronization
import TestSupport
import Testing

@testable import leadledger

@Suite struct UnitPipelineTests {
    @Test func `outcomes come in the order of the units, those refused here among them`() throws {
        let daemon = try FakeDaemon { connection in
            while let line = connection.line() { connection.reply(to: line, result: stored(7, duplicate: false)) }
        }
        var seen: [Int] = []
        var refused: [Int] = []
        let pipeline = UnitPipeline(client: try LedgerClient(socket: daemon.path), keepsJSON: false) { tag, outcome in
            seen.append(tag)
            if case .refused = outcome { refused.append(tag) }
        }
        for tag in 1...5_000 {
            if tag % 3 == 0 {
                pipeline.refuse(ServerError(.parseError, "bad"), tag: tag)
            } else {
                pipeline.append(events: Array("[{}]".utf8), tag: tag)
            }
        }
        pipeline.finish()
        #expect(seen == Array(1...5_000))
        #expect(refused == (1...5_000).filter { $0 % 3 == 0 })
    }

    /// The third unit finds no room; the fourth is refused because it needs the third, the fifth is stored. All are sent
    /// again but the fifth and those before the third, and nothing is delivered twice or out of order.
    @Test func `a unit that found the daemon busy is sent again, with those behind it that were refused`() throws {
        let requests = Mutex<[String]>([])
        let daemon = try FakeDaemon { connection in
            var tries = 0
            while let line = connection.line() {
                let name = String(line[line.firstRange(of: "U-")!.upperBound...].prefix { $0.isNumber })
                requests.withLock { $0.append(name) }
                switch name {
                case "3" where tries == 0:
                    tries += 1
                    connection.refuse(line, name: "busy", code: -32_004, more: #","retry_after_ms":1"#)
                case "4" where tries == 1:
                    tries += 1
                    connection.refuse(line, name: "unknown_lead", code: -32_022)
                default: connection.reply(to: line, result: stored(Int(name)!, duplicate: false))
                }
            }
        }
        var seen: [Int] = []
        let pipeline = UnitPipeline(client: try LedgerClient(socket: daemon.path), keepsJSON: false) { tag, outcome in
            guard case .stored(Int64(tag), "L-1", 1, 1, false, _) = outcome else {
                return #expect(Bool(false), "\(tag): \(outcome)")
            }
            seen.append(tag)
        }
        for tag in 1...5 { pipeline.append(events: Array(#"["U-\#(tag)"]"#.utf8), tag: tag) }
        pipeline.finish()
        #expect(seen == [1, 2, 3, 4, 5])
        #expect(requests.withLock { $0 } == ["1", "2", "3", "4", "5", "3", "4"])
    }

    @Test func `a connection that breaks leaves unanswered units unknown and ends with 75`() throws {
        let daemon = try FakeDaemon { connection in
            for _ in 0..<2 {
                guard let line = connection.line() else { return }
                connection.reply(to: line, result: stored(1, duplicate: true))
            }
        }
        var outcomes: [UnitOutcome] = []
        var tally = ExitTally()
        let pipeline = UnitPipeline(client: try LedgerClient(socket: daemon.path), keepsJSON: false) { _, outcome in
            outcomes.append(outcome)
            tally.add(outcome)
        }
        for tag in 1...6 { pipeline.append(events: Array("[1]".utf8), tag: tag) }
        pipeline.finish()
        #expect(outcomes.count == 6)
        #expect(outcomes[2...].allSatisfy { $0 == .unknown })
        #expect(tally.exitCode == 75)
        #expect(pipeline.broken != nil)
    }

    @Test func `a run exits with the worst that happened`() {
        func exit(_ names: [ErrorName], unknown: Bool = false) -> Int32 {
            var tally = ExitTally()
            tally.add(.stored(first: 0, subject: "L", version: 1, events: 1, isDuplicate: false, json: []))
            for name in names { tally.add(.refused(ServerError(name, ""))) }
            if unknown { tally.add(.unknown) }
            return tally.exitCode
        }
        #expect(exit([]) == 0)
        #expect(exit([.unknownLead, .parseError]) == 65)
        #expect(exit([.unknownLead, .busy]) == 69)
        #expect(exit([.unknownLead, .busy], unknown: true) == 75)
        #expect(exit([.outcomeUnknown, .poisoned]) == 75)
        #expect(exit([.busy, .diskFull, .idReused]) == 74)
        #expect(exit([.notAllowed, .unknownLead]) == 77)
    }
}

func stored(_ position: Int, duplicate: Bool) -> String {
    #"{"first":\#(position),"last":\#(position),"events":[{"position":\#(position),"stream":"lead","subject":"L-1","version":1,"leaf":""}],"recordedtime":"2026-03-01T09:00:01Z","duplicate":\#(duplicate),"durability":"synced"}"#
}
