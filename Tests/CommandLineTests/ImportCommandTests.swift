import ArgumentParser
import Foundation
import LeadLedgerClient
import Synchronization
import TestSupport
import Testing

@testable import leadledger

@Suite struct ImportCommandTests {
    private static let mapping = """
        source: urn:test
        events:
          - { type: lead.captured, id: "c{n}", subject: "L-{n}", data: { channel: { column: c } } }
          - { type: lead.noted, id: "n{n}", subject: "L-{n}", when: [{ column: c, blank: false }] }
        """

    /// Stores what it has not seen, knows what it has, and refuses lead 13.
    private func ledger() throws -> FakeDaemon {
        let stored = Mutex<Set<Substring>>([])
        return try FakeDaemon { connection in
            while let line = connection.line() {
                if line.contains("\"L-13\"") {
                    connection.refuse(line, name: "invalid_value", code: -32_011)
                    continue
                }
                let events = line[line.firstRange(of: #""events":"#)!.upperBound...]
                let isNew = stored.withLock { $0.insert(events).inserted }
                let count = line.components(separatedBy: #""subject""#).count - 1
                let event = #"{"position":1,"stream":"lead","subject":"L","version":1,"leaf":""}"#
                let list = Array(repeating: event, count: count).joined(separator: ",")
                connection.reply(
                    to: line, result: #"{"first":1,"last":2,"events":[\#(list)],"duplicate":\#(!isNew)}"#)
            }
        }
    }

    private func run(_ csv: String, on daemon: FakeDaemon) throws -> (summary: String, code: Int32) {
        let (mapping, file) = (try TemporaryFile(Self.mapping), try TemporaryFile(csv))
        let command = try ImportCommand.parse(["--mapping", mapping.path, file.path])
        let output = Output(descriptor: nil)
        var code: Int32 = 0
        do {
            try command.run(in: Context(socketPath: daemon.path, isJSON: true, output: output))
        } catch let error as ExitCode {
            code = error.rawValue
        }
        return (String(decoding: output.bytes, as: UTF8.self), code)
    }

    @Test func `the second import of a file adds nothing and says so`() throws {
        let daemon = try ledger()
        let csv = "n,c\n" + (20..<2_020).map { "\($0),web\n" }.joined()
        let first = try run(csv, on: daemon)
        #expect(
            first.summary
                == #"{"rows":2000,"appended":4000,"duplicates":0,"refused":0,"rows_in_error":0,"unknown":0}"# + "\n")
        let second = try run(csv, on: daemon)
        #expect(
            second.summary
                == #"{"rows":2000,"appended":0,"duplicates":4000,"refused":0,"rows_in_error":0,"unknown":0}"# + "\n")
        #expect(first.code == 0 && second.code == 0)
    }

    @Test func `rows that are wrong or refused are left out, the others are imported, and the exit code is 65`() throws
    {
        let (summary, code) = try run("n,c\n1,web\n2\n13,web\n4,\"x\"y\n5,\n,web\n7,web\n", on: try ledger())
        #expect(
            summary == #"{"rows":7,"appended":5,"duplicates":0,"refused":1,"rows_in_error":3,"unknown":0}"# + "\n")
        #expect(code == 65)
    }

    @Test func `a header without a column of the mapping stops before anything is sent`() throws {
        let error = #expect(throws: InputError.self) { try run("n,x\n1,2\n", on: try ledger()) }
        #expect(error?.exitCode == 65)
    }

    @Test func `the mapping in the documentation is one`() throws {
        let article = packageFolder.appending(path: "Sources/LeadLedger/Documentation.docc/Importing.md")
        let text = try String(contentsOf: article, encoding: .utf8)
        let yaml = try #require(text.components(separatedBy: "```yaml\n").last?.components(separatedBy: "```").first)
        let mapping = try Mapping(yaml: yaml)
        #expect(mapping.columns.sorted() == ["closed", "created", "deal_id", "origin", "revenue", "segment", "status"])
    }

    @Test func `the summary of a repeated import says that everything was there`() {
        #expect(ImportSummary(rows: 1, duplicates: 2).text.hasSuffix("everything was there already"))
        #expect(!ImportSummary(rows: 1, duplicates: 2, rowsInError: 1).text.contains("everything"))
    }
}
