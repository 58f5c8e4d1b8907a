import JSON
import Testing

@testable import leadledger_bench

@Suite struct LogNotificationTests {
    private func read(_ text: String, from position: Int) throws -> LogNotification {
        var parser = JSONParser()
        return try parser.withDocument(text) { try LogNotification($0, from: position) }
    }

    private let events =
        #"{"jsonrpc":"2.0","method":"log.events","params":{"subscription":1,"events":[{"position":4},{"position":5}],"next":6}}"#

    @Test func `events that go on where they should are counted`() throws {
        #expect(try read(events, from: 4) == .events(count: 2, next: 6))
    }

    @Test(arguments: [3, 5]) func `events that leave one out or come again end the run`(position: Int) {
        #expect(throws: BenchError.self) { try read(events, from: position) }
    }

    @Test func `the mark that all was sent has its position`() throws {
        let text = #"{"jsonrpc":"2.0","method":"log.caught_up","params":{"subscription":1,"position":6}}"#
        #expect(try read(text, from: 6) == .caughtUp(position: 6))
    }

    @Test func `what is no notification ends the run`() {
        #expect(throws: BenchError.self) { try read(#"{"jsonrpc":"2.0","id":1,"result":{}}"#, from: 0) }
        #expect(throws: BenchError.self) { try read(#"{"jsonrpc":"2.0","method":"log.x","params":{}}"#, from: 0) }
    }
}
