import Glibc
import TestSupport
import Testing

extension ProgramTests {
    /// Whatever comes on the socket gets a named error that says where and what; the connection and all other work go on, and
    /// nothing is stored.
    @Suite struct BadInputTests {
        struct BadLine: Sendable, CustomTestStringConvertible {
            var what: String
            var line: [UInt8]
            var name: String
            /// A JSON pointer into the request, or nil where an offset is to stand.
            var pointer: String?
            /// Must stand in the message.
            var message: String
            /// Members of the error's data, compared where named.
            var data: [String: String] = [:]
            var testDescription: String { what }
        }

        private static func event(
            _ type: String = "lead.captured", id: String = "bad", subject: String = #""L-new""#, extra: String = "",
            data: String = #""data":{"channel":"fair"}"#
        ) -> String {
            #"{"id":"\#(id)","source":"urn:test","type":"\#(type)","subject":\#(subject)\#(extra),\#(data)}"#
        }

        private static func append(_ events: String...) -> [UInt8] {
            Array(request(7, "append", #"{"events":[\#(events.joined(separator: ","))]}"#).utf8)
        }

        private static let place = "/params/events/0"
        private static var badLines: [BadLine] {
            [
                BadLine(what: "not JSON", line: Array("hello".utf8), name: "parse_error", message: ""),
                BadLine(
                    what: "trailing comma", line: Array(request(7, "status", #"{"a":1,}"#).utf8), name: "parse_error",
                    message: ""
                ),
                BadLine(
                    what: "bad UTF-8",
                    line: Array(#"{"jsonrpc":"2.0","id":7,"method":"st"#.utf8) + [0xC3, 0x28] + Array(#""}"#.utf8),
                    name: "parse_error", message: "UTF-8"),
                BadLine(
                    what: "depth 100,000",
                    line: Array(
                        request(
                            7, "append", String(repeating: "[", count: 100_000) + String(repeating: "]", count: 100_000)
                        ).utf8),
                    name: "parse_error", message: "deep"),
                BadLine(
                    what: "unknown method", line: Array(request(7, "lead.forget").utf8), name: "method_not_found",
                    pointer: "/method", message: "lead.forget"),
                BadLine(
                    what: "missing parameter", line: Array(request(7, "append").utf8), name: "missing_field",
                    pointer: "/params", message: "events"),
                BadLine(
                    what: "missing field of the envelope",
                    line: append(#"{"id":"bad","type":"lead.captured","subject":"L-new","data":{}}"#),
                    name: "missing_field",
                    pointer: place, message: "source"),
                BadLine(
                    what: "missing field of the data", line: append(event("lead.won", data: #""data":{"amount":1}"#)),
                    name: "missing_field", pointer: place + "/data", message: "currency"),
                BadLine(
                    what: "wrong type", line: append(event(subject: "5")), name: "wrong_type",
                    pointer: place + "/subject",
                    message: "string"),
                BadLine(
                    what: "unknown event type", line: append(event("lead.abducted")), name: "unknown_event_type",
                    pointer: place + "/type", message: "lead.abducted"),
                BadLine(
                    what: "unknown field of the data", line: append(event(data: #""data":{"colour":"red"}"#)),
                    name: "unknown_field",
                    pointer: place + "/data/colour", message: "colour"),
                BadLine(
                    what: "unknown attribute", line: append(event(extra: #","colour":"red""#)), name: "unknown_field",
                    pointer: place + "/colour", message: "colour"),
                BadLine(
                    what: "a member name twice", line: append(event(data: #""data":{"channel":"a","channel":"b"}"#)),
                    name: "duplicate_member", message: "channel"),
                BadLine(
                    what: "an instant in the year 10000",
                    line: append(event(extra: #","time":"10000-01-01T00:00:00Z""#)),
                    name: "invalid_time", pointer: place + "/time", message: ""),
                BadLine(
                    what: "an instant an hour ahead",
                    line: append(event(extra: #","time":"\#(instant(secondsAhead: 3_600))""#)),
                    name: "time_in_future", pointer: place + "/time", message: "five minutes"),
                BadLine(
                    what: "a lead id that is an e-mail address", line: append(event(subject: #""ada@example.org""#)),
                    name: "personal_id", pointer: place + "/subject", message: "e-mail"),
                BadLine(
                    what: "a lead id that is a phone number", line: append(event(subject: #""+4915112345678""#)),
                    name: "personal_id", pointer: place + "/subject", message: "phone"),
                BadLine(
                    what: "an event over 60 KiB",
                    line: append(event(data: #""data":{"custom":{\#(members(5, bytes: 15_000))}}"#)),
                    name: "event_too_large", pointer: place, message: "61440"),
                BadLine(
                    what: "an event for an unknown lead",
                    line: append(event("lead.touched", data: #""data":{"channel":"a","kind":"visit"}"#)),
                    name: "unknown_lead",
                    pointer: place, message: ""),
                BadLine(
                    what: "a win after a loss",
                    line: append(
                        event("lead.won", subject: #""L-lost""#, data: #""data":{"amount":1,"currency":"EUR"}"#)),
                    name: "transition_refused", pointer: place + "/type", message: "",
                    data: ["lead": #""L-lost""#, "stage": #""lost""#, "custody": #""none""#, "cycle": "0"]),
                BadLine(
                    what: "the same name with another body",
                    line: append(event(id: "1", subject: #""L-0""#, data: #""data":{"channel":"other"}"#)),
                    name: "id_reused",
                    pointer: place, message: "", data: ["position": "0"]),
                BadLine(
                    what: "a unit half stored already",
                    line: append(
                        event(),
                        event(id: "1", subject: #""L-0""#, data: #""data":{"channel":"fair","campaign":"spring"}"#)),
                    name: "partial_duplicate", pointer: "/params/events/1", message: "",
                    data: ["stored": #"[{"event":1,"position":0}]"#]),
                BadLine(
                    what: "a name twice in one unit", line: append(event(), event()), name: "duplicate_name_in_unit",
                    pointer: "/params/events/1", message: "", data: ["first": "0"]),
                BadLine(
                    what: "a version that is not the lead's",
                    line: Array(
                        request(
                            7, "append",
                            #"{"events":[\#(event(subject: #""L-0""#))],"expect":[{"lead":"L-0","version":7}]}"#
                        ).utf8),
                    name: "version_conflict", pointer: "/params/expect/0", message: "",
                    data: ["lead": #""L-0""#, "expected": "7", "current": "1"]),
            ]
        }

        @Test func `each bad line gets its error, and the connection and the log are as they were`() throws {
            let ledger = LedgerPlace()
            let daemon = try ledger.serve()
            let client = try ledger.connect()
            try prepare(client)
            let head = try client.readLog().count
            for bad in Self.badLines {
                try client.send(bytes: bad.line + [UInt8(ascii: "\n")])
                let reply = try JSONTree(try client.line() ?? "")
                let context: Comment = "\(bad.what): \(String(reply.description.prefix(500)))"
                let data = reply["error"]["data"]
                #expect(data["name"].string == bad.name, context)
                if let pointer = bad.pointer {
                    #expect(data["pointer"].string == pointer, context)
                    #expect(reply["id"].integer == 7, context)
                } else {
                    #expect(data["offset"].integer.map { $0 < bad.line.count } == true, context)
                }
                #expect((reply["error"]["message"].string ?? "").contains(bad.message), context)
                #expect(data["hint"].string?.isEmpty == false, context)
                for (member, value) in bad.data {
                    #expect(data[member].description == value, "\(member) of \(context)")
                }
                // The connection goes on, and nothing is stored.
                #expect(try client.ask("status")["head"].integer == head, context)
            }
            #expect(Self.badLines.count >= 20)
            #expect(try daemon.terminate() == .exited(0))
            let check = try ledger.check()
            #expect(check.status == .exited(0) && check.findings == [], "\(check)")
        }

        @Test func `a good event in a unit with a bad one is not stored`() throws {
            let ledger = LedgerPlace()
            let daemon = try ledger.serve()
            let client = try ledger.connect()
            try prepare(client)
            let head = try client.readLog().count
            let good = Self.event(id: "good", subject: #""L-good""#)
            let bad = [
                Self.event("lead.abducted"), Self.event(data: #""data":{"colour":"red"}"#),
                Self.event(subject: #""a@b.example""#),
                Self.event("lead.noted", data: #""data":{}"#), Self.event(id: "1", subject: #""L-0""#),
                Self.event("lead.won", subject: #""L-lost""#, data: #""data":{"amount":1,"currency":"EUR"}"#),
            ]
            for bad in bad {
                let refusal = try client.refusal("append", #"{"events":[\#(good),\#(bad)]}"#)
                #expect(
                    refusal?.data["pointer"].string?.hasPrefix("/params/events/1") == true, "\(bad): \(refusal as Any)")
            }
            #expect(try client.readLog().count == head)
            #expect(try client.ask("append", #"{"events":[\#(good)]}"#)["duplicate"].boolean == false)
            try daemon.terminate()
        }

        @Test func `a line of 2 MiB is answered, then the connection closes, and others go on`() throws {
            let ledger = LedgerPlace()
            let daemon = try ledger.serve()
            let client = try ledger.connect()
            let other = try ledger.connect()
            let line = Self.append(Self.event(data: #""data":{"custom":{\#(Self.members(140, bytes: 15_000))}}"#))
            #expect(line.count > 2 << 20)
            try client.send(bytes: line + [UInt8(ascii: "\n")])
            let reply = try JSONTree(try client.line() ?? "")
            #expect(reply["error"]["data"]["name"].string == "frame_too_large", "\(reply)")
            #expect(try client.line() == nil)
            #expect(try other.ask("status")["head"].integer == 0)
            try daemon.terminate()
        }

        @Test func `an array and a request without an id are refused, and blank lines are passed over`() throws {
            let ledger = LedgerPlace()
            let daemon = try ledger.serve()
            let client = try ledger.connect()
            for line in ["[\(request(1, "status"))]", #"{"jsonrpc":"2.0","method":"status"}"#, "[]", "17"] {
                try client.send(line: line)
                let reply = try JSONTree(try client.line() ?? "")
                #expect(
                    reply["error"]["data"]["name"].string == "invalid_request" && reply["id"] == .null,
                    "\(line): \(reply)")
            }
            try client.send(line: "\n\n  ")
            #expect(try client.ask("status")["head"].integer == 0)
            try daemon.terminate()
        }

        /// The files of https://github.com/nst/JSONTestSuite as the parameters of an append.
        @Test(
            .enabled(
                if: !jsonTestSuite.isEmpty, "JSONTestSuite is absent: ../shared/vectors/JSONTestSuite/test_parsing"))
        func `JSONTestSuite as parameters: n files are a parse error, y files anything else, and nothing crashes`()
            throws
        {
            let ledger = LedgerPlace()
            let daemon = try ledger.serve()
            let client = try ledger.connect()
            var seen: [Character: Int] = [:]
            for path in jsonTestSuite {
                let name = path.split(separator: "/").last!
                let text = try bytes(ofFile: path)
                // Those with a newline inside would be two lines; the parser's own tests read them.
                if text.contains(UInt8(ascii: "\n")) { continue }
                try client.send(
                    bytes: Array(#"{"jsonrpc":"2.0","id":1,"method":"append","params":"#.utf8) + text
                        + Array("}\n".utf8))
                let reply = try JSONTree(try client.line() ?? "")
                let error = reply["error"]["data"]["name"].string
                switch name.first {
                case "n": #expect(error == "parse_error", "\(name): \(reply)")
                case "y": #expect(error != nil && error != "parse_error", "\(name): \(reply)")
                default: #expect(error != nil, "\(name): \(reply)")
                }
                seen[name.first!, default: 0] += 1
            }
            print("BadInputTests: JSONTestSuite \(seen)")
            #expect(seen["y", default: 0] > 60 && seen["n", default: 0] > 150, "\(seen)")
            #expect(try client.ask("status")["head"].integer == 0)
            #expect(try daemon.terminate() == .exited(0))
        }

        /// L-0 captured, L-lost captured and lost.
        private func prepare(_ client: LineClient) throws {
            try client.ask("append", captureParams("L-0"))
            try client.ask("append", captureParams("L-lost"))
            try client.ask(
                "append",
                #"{"events":[\#(Self.event("lead.lost", id: "2", subject: #""L-lost""#, data: #""data":{"reason":"x"}"#))]}"#
            )
        }

        /// `count` members with texts of `bytes` bytes.
        private static func members(_ count: Int, bytes: Int) -> String {
            (0..<count).map { #""k\#($0)":"\#(String(repeating: "z", count: bytes))""# }.joined(separator: ",")
        }

        private static func instant(secondsAhead: Int) -> String {
            var seconds = time(nil) + secondsAhead
            var parts = tm()
            gmtime_r(&seconds, &parts)
            var text = [CChar](repeating: 0, count: 32)
            let count = strftime(&text, text.count, "%Y-%m-%dT%H:%M:%SZ", &parts)
            return String(decoding: text[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
        }
    }
}

/// Beside the repository, where it is present.
let jsonTestSuite: [String] = {
    var resolved = [CChar](repeating: 0, count: Int(PATH_MAX))
    guard realpath(#filePath, &resolved) != nil else { return [] }
    var path = resolved.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
    for _ in 0..<4 { path = String(path[..<path.lastIndex(of: "/")!]) }
    let folder = path + "/shared/vectors/JSONTestSuite/test_parsing"
    return names(in: folder).filter { $0.hasSuffix(".json") }.map { folder + "/" + $0 }
}()
