import ArgumentParser
import Foundation
import Glibc
import JSON
import LeadLedgerClient
import TestSupport
import Testing

@testable import leadledger

@Suite struct AppendCommandTests {
    @Test func `each line has one result line, in order, with its number where it was refused`() throws {
        let file = try TemporaryFile(
            """
            {"id":"a"}

            {"id":"b",}
            {"id":"c"}\r
            {"id":"again"}
            """)
        let (text, code) = try append(file, isJSON: false)
        #expect(
            text == """
                0 L-1 1
                line 3: parse_error: \(parseError)
                line 4: transition_refused at /type: no
                3 L-1 1 duplicate

                """)
        #expect(code == 65)
    }

    @Test func `with --json the daemon's objects come as they are`() throws {
        let file = try TemporaryFile("{\"id\":\"a\"}\n{\"id\":\"c\"}\n")
        let (text, code) = try append(file, isJSON: true)
        let lines = text.split(separator: "\n")
        #expect(lines.count == 2)
        #expect(lines[0] == stored(0, duplicate: false))
        #expect(
            lines[1]
                == #"{"code":-32021,"message":"no","data":{"name":"transition_refused","hint":"look","pointer":"/params/events/0/type"}}"#
        )
        #expect(code == 65)
    }

    @Test func `a line that would end the request's events early is refused here`() throws {
        let file = try TemporaryFile(#"{"id":"a"}],"expect":[{"lead":"x","version":0}"# + "\n")
        let (text, code) = try append(file, isJSON: false)
        #expect(text.hasPrefix("line 1: parse_error"))
        #expect(code == 65)
    }

    @Test func `lines that are too long or too deep are refused here and the rest goes on`() throws {
        let long = #"{"id":"\#(String(repeating: "x", count: 1 << 20))"}"#
        let deep = String(repeating: "[", count: 30) + String(repeating: "]", count: 30)
        let file = try TemporaryFile("\(long)\n\(deep)\n{\"id\":\"a\"}\n")
        let (text, _) = try append(file, isJSON: false)
        let lines = text.split(separator: "\n")
        #expect(lines[0].hasPrefix("line 1: frame_too_large"))
        #expect(lines[1].hasPrefix("line 2: parse_error"))
        #expect(lines[2] == "0 L-1 1")
    }

    private var parseError: String {
        var parser = JSONParser()
        return parser.fault(in: Array(#"{"id":"b",}"#.utf8)[...])?.message ?? ""
    }

    /// Runs `append` against a daemon that stores `a`, refuses `c` and knows `again`.
    private func append(_ file: TemporaryFile, isJSON: Bool) throws -> (String, Int32) {
        let daemon = try FakeDaemon { connection in
            var position = 0
            while let line = connection.line() {
                if line.contains(#""c""#) {
                    connection.refuse(
                        line, name: "transition_refused", code: -32_021, more: #","pointer":"/params/events/0/type""#)
                } else {
                    let isAgain = line.contains("again")
                    connection.reply(to: line, result: stored(isAgain ? 3 : position, duplicate: isAgain))
                    position += 1
                }
            }
        }
        let output = Output(descriptor: nil)
        let command = try AppendCommand.parse([file.path])
        var code: Int32 = 0
        do {
            try command.run(in: Context(socketPath: daemon.path, isJSON: isJSON, output: output))
        } catch let error as ExitCode {
            code = error.rawValue
        }
        return (String(decoding: output.bytes, as: UTF8.self), code)
    }
}

/// A file that is gone with the test.
final class TemporaryFile {
    let path: String

    init(_ text: String) throws {
        path = "/tmp/leadledger-test-\(getpid())-\(UInt32.random(in: .min ... .max))"
        try Data(text.utf8).write(to: URL(filePath: path))
    }

    deinit { unlink(path) }
}
