import Glibc
import Testing

@testable import leadledger_bench

/// How sending, acknowledgement and decision of a capture find each other.
@Suite struct RouteMatchingTests {
    @Test func `what is measured of a capture does not depend on what comes first`() throws {
        var matching = RouteMatching(count: 3)
        for number in 0..<3 { matching.sent(number, at: 1_000) }
        try matching.acknowledged(0, at: 1_100)
        try matching.delivered(0, isAssigned: true, at: 1_130)
        // The decision is read first: no time after the acknowledgement.
        try matching.delivered(1, isAssigned: false, at: 1_150)
        try matching.acknowledged(1, at: 1_190)
        #expect(matching.afterAcknowledgement.count == 2 && matching.afterAcknowledgement.largest == 30)
        #expect(matching.afterAcknowledgement.percentile(perThousand: 500) == 0)
        #expect(matching.afterSending.percentile(perThousand: 500) == 130 && matching.afterSending.largest == 150)
        #expect(matching.early == 1 && matching.assigned == 1 && matching.queued == 1 && !matching.isDecided)
        try matching.acknowledged(2, at: 1_200)
        #expect(matching.isAcknowledged && matching.acknowledgement.count == 3)
        try matching.delivered(2, isAssigned: true, at: 1_300)
        #expect(matching.isDecided)
        // From its queue, later: it was decided before, and is not measured again.
        try matching.delivered(1, isAssigned: true, at: 9_000)
        #expect(matching.drained == 1 && matching.decided == 3 && matching.afterSending.largest == 300)
    }

    @Test func `what comes twice, or for nothing, ends the run`() throws {
        var matching = RouteMatching(count: 2)
        matching.sent(0, at: 10)
        #expect(throws: BenchError.self) { try matching.acknowledged(1, at: 20) }
        #expect(throws: BenchError.self) { try matching.delivered(1, isAssigned: true, at: 20) }
        #expect(throws: BenchError.self) { try matching.delivered(2, isAssigned: true, at: 20) }
        try matching.acknowledged(0, at: 20)
        #expect(throws: BenchError.self) { try matching.acknowledged(0, at: 21) }
        try matching.delivered(0, isAssigned: true, at: 30)
        #expect(throws: BenchError.self) { try matching.delivered(0, isAssigned: true, at: 31) }
        #expect(throws: BenchError.self) { try matching.delivered(0, isAssigned: false, at: 31) }
    }

    @Test func `the warm-up is counted and not measured`() throws {
        var matching = RouteMatching(count: 2, warmUp: 1)
        for number in 0..<2 {
            matching.sent(number, at: 1)
            try matching.acknowledged(number, at: UInt64(100 * (2 - number)))
            try matching.delivered(number, isAssigned: true, at: 500)
        }
        #expect(matching.isDecided && matching.assigned == 2)
        #expect(matching.acknowledgement.count == 1 && matching.acknowledgement.largest == 99)
        #expect(matching.afterAcknowledgement.count == 1 && matching.afterAcknowledgement.largest == 400)
    }
}

/// What the subscriber finds in a line without parsing it.
@Suite struct DecisionLineTests {
    private let start = #"{"jsonrpc":"2.0","method":"log.events","params":{"subscription":1,"events":["#

    private func event(_ type: String, _ number: String, data: String = "{}") -> String {
        #"{"specversion":"1.0","id":"d","source":"urn:leadledger:router","type":"\#(type)","subject":"lead-q-\#(number)","causationid":"7","data":\#(data),"position":9,"version":2}"#
    }

    private func decisions(_ text: String) throws -> [String]? {
        try Array(text.utf8).withUnsafeBytes { line in
            guard let line = DecisionLine(line) else { return nil }
            var found: [String] = []
            try line.forEach { (number, isAssigned) throws(BenchError) in
                found.append("\(number) \(isAssigned)")
            }
            return found
        }
    }

    @Test func `the leads of all decisions are found, whatever their data says`() throws {
        let events = [
            event("lead.assigned", "0000000042"),
            event("lead.queued", "0000000007", data: #"{"queue":"\",\"subject\":\"lead-q-0000000009","a":"\\"}"#),
            event("lead.assigned", "0099999999"),
        ]
        #expect(
            try decisions(start + events.joined(separator: ",") + #"],"next":12}}"#) == [
                "42 true", "7 false", "99999999 true",
            ])
        #expect(try decisions(#"{"jsonrpc":"2.0","method":"log.heartbeat","params":{}}"#) == nil)
        #expect(try decisions("") == nil)
    }

    @Test(arguments: [
        #"{"type":"lead.captured","subject":"lead-q-0000000001"}],"next":1}}"#,
        #"{"x":1,"type":"lead.captured","subject":"lead-q-0000000001"}],"next":1}}"#,
        #"{"x":1,"type":"lead.assigned","subject":"lead-q-000000001"}],"next":1}}"#,
        #"{"x":1,"type":"lead.assigned","subject":"lead-q-00000"#, #"{"x":1,"type":"lead.assigned","subject":"lead-q-"#,
        #"{"x":1,"type":"lead.assigned","subject":"L-1"}],"next":1}}"#, #"],"next":1}}"#, "",
    ])
    func `an event that is no decision on a lead of the benchmark ends the run`(rest: String) {
        #expect(throws: BenchError.self) { try decisions(start + rest) }
    }
}

/// Lines of a connection, in whatever pieces they come.
@Suite struct LineInputTests {
    private func pair() throws -> (near: Int32, far: Int32) {
        var ends: [Int32] = [0, 0]
        try #require(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0)
        _ = fcntl(ends[0], F_SETFL, O_NONBLOCK)
        return (ends[0], ends[1])
    }

    private func lines(_ input: LineInput) throws -> [String] {
        var lines: [String] = []
        try input.read { (line) throws(BenchError) in lines.append(String(decoding: line, as: UTF8.self)) }
        return lines
    }

    @Test func `lines are lent once they are whole, and one that is too long ends the run`() throws {
        let (near, far) = try pair()
        defer {
            close(near)
            close(far)
        }
        let input = LineInput(descriptor: near, lineBytesMax: 8)
        func send(_ text: String) throws { try #require(write(far, text, text.utf8.count) == text.utf8.count) }
        #expect(try lines(input).isEmpty)
        try send("ab\ncd")
        #expect(try lines(input) == ["ab"])
        try send("e\n\n1234567\n12345")
        #expect(try lines(input) == ["cde", "", "1234567"])
        try send("678")
        #expect(throws: BenchError.self) { try lines(input) }
    }

    @Test func `an end is an error`() throws {
        let (near, far) = try pair()
        defer { close(near) }
        close(far)
        #expect(throws: BenchError.self) { try lines(LineInput(descriptor: near, lineBytesMax: 8)) }
    }

    @Test func `captures leave in their order, and replies are for the oldest`() throws {
        let (near, far) = try pair()
        defer { close(far) }
        let connection = CaptureConnection(descriptor: near)
        var captures = RouteCaptures(seed: 1)
        var matching = RouteMatching(count: 4)
        for number in [1, 3] {
            connection.add(number, wallClock: 1_772_355_600, &captures)
            matching.sent(number, at: 1)
        }
        try connection.flush()
        #expect(connection.unanswered == 2 && !connection.wantsToWrite)
        var bytes = [UInt8](repeating: 0, count: 1 << 16)
        let count = recv(far, &bytes, bytes.count, Int32(MSG_DONTWAIT))
        #expect(count == 2 * captures.lineBytes)
        func answer(_ text: String) throws {
            try #require(write(far, text + "\n", text.utf8.count + 1) == text.utf8.count + 1)
            try connection.receive(into: &matching)
        }
        try answer(#"{"jsonrpc":"2.0","id":1000000001,"result":{"first":0}}"#)
        #expect(matching.acknowledged == 1 && connection.unanswered == 1)
        #expect(throws: BenchError.self) { try answer(#"{"jsonrpc":"2.0","id":1000000001,"result":{"first":0}}"#) }
    }
}
