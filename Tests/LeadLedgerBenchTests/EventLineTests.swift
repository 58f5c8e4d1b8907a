import Testing

@testable import leadledger_bench

/// What the replay benchmark's client checks of each line, without parsing it.
@Suite struct EventLineTests {
    private let start = #"{"jsonrpc":"2.0","method":"log.events","params":{"subscription":1,"events":["#

    private func event(_ position: Int, padding: Int = 0) -> String {
        #"{"id":"\#(String(repeating: "p", count: padding))","data":{"product":"x:y"},"position":\#(position),"version":1}"#
    }

    private func check(_ line: String, from position: Int) throws -> Int? {
        try Array(line.utf8).withUnsafeBytes { try EventLine($0)?.check(from: position) }
    }

    /// The position falls on every place of a block, and events are as short as they can be.
    @Test func `events that follow one another are counted, wherever they lie`() throws {
        for padding in 0..<70 {
            let events = (7..<12).map { event($0, padding: padding * ($0 - 6)) }.joined(separator: ",")
            #expect(try check(start + events + #"],"next":12}}"#, from: 7) == 12)
        }
        #expect(try check(start + #"{"position":0}],"next":1}}"#, from: 0) == 1)
    }

    @Test(arguments: [
        #"{"position":7},{"position":9}],"next":10}}"#, #"{"position":7},{"position":7}],"next":9}}"#,
        #"{"position":8}],"next":9}}"#, #"{"position":7}],"next":9}}"#, #"{"position":7}],"next":7}}"#,
        #"{"position":7}]}}"#, #"{"position":7}],"next":8}"#, #"{"position":7}],"next":8}}}"#,
        #"{"position":7}],"head":8}}"#, #"{"position":x}],"next":8}}"#, #"],"next":8}}"#, "",
        #"{"position":7},{"positiom":8}],"next":9}}"#,
    ])
    func `events that are left out, come again, or end otherwise than next says end the run`(rest: String) {
        #expect(throws: BenchError.self) { try check(start + rest, from: 7) }
    }

    @Test func `another line is for the parser`() throws {
        #expect(try check(#"{"jsonrpc":"2.0","method":"log.caught_up","params":{}}"#, from: 0) == nil)
        #expect(try check("", from: 0) == nil)
    }
}
