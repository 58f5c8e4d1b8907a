import ArgumentParser
import Foundation
import PolicyDocuments
import TestSupport
import Testing

@testable import leadledger

@Suite struct PolicyCommandTests {
    private let example = packageFolder.appending(path: "scripts/policies/example.yaml").path

    private func run(_ arguments: [String]) throws -> (text: String, code: Int32) {
        let output = Output(descriptor: nil)
        var code: Int32 = 0
        do {
            switch try LeadLedgerCommand.parseAsRoot(["policy"] + arguments) {
            case let check as PolicyCommand.Check: try check.run(to: output)
            case let diff as PolicyCommand.Diff: try diff.run(to: output)
            default: Issue.record("no such verb")
            }
        } catch let error as ExitCode { code = error.rawValue } catch let error as InputError { code = error.exitCode }
        return (String(decoding: output.bytes, as: UTF8.self), code)
    }

    @Test func `a good rule set is told with its numbers and its digest`() throws {
        let human = try run(["check", example])
        #expect(human.code == 0 && human.text.contains("nothing is wrong"))
        let json = try run(["check", "--json", example])
        #expect(json.code == 0)
        let tree = try JSONTree(json.text)
        #expect(tree["ok"].boolean == true && tree["members"].integer == 12 && tree["examples"].integer == 4)
        #expect(tree["sha256"].string?.count == 64 && tree["parts"].integer == 1)
    }

    @Test func `every fault is told with file, line and column, and the exit code is 65`() throws {
        let text = try String(contentsOfFile: example, encoding: .utf8)
        let file = try TemporaryFile(
            text.replacing("catch_all: triage", with: "catch_all: triag").replacing(
                #"when: country == "BR" or"#, with: #"when: country = "BR" or"#))
        let human = try run(["check", file.path])
        #expect(human.code == 65)
        #expect(human.text.contains("\(file.path):"))
        #expect(human.text.contains("/territories/1/when: write == for ="))
        #expect(human.text.contains("^"))
        #expect(human.text.contains("/catch_all: there is no pool \"triag\"; did you mean \"triage\"?"))
        #expect(human.text.hasSuffix("2 things are wrong\n"))
        let json = try run(["check", "--json", file.path])
        #expect(json.code == 65)
        let faults = try JSONTree(json.text)["faults"].elements
        #expect(faults.map { $0["code"].string } == ["bad_condition", "unknown_pool"])
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        let line = try #require(faults[0]["line"].integer)
        #expect(lines[line - 1].contains(#"when: country == "BR" or"#))
        #expect(faults[0]["column"].integer == 19)
    }

    @Test func `a diff names what was added, removed and changed`() throws {
        let text = try String(contentsOfFile: example, encoding: .utf8)
        let file = try TemporaryFile(
            text.replacing("{ id: vera, team: sdr }", with: "{ id: vera, team: sdr, weight: 4 }\n  - { id: zoe }"))
        let human = try run(["diff", example, file.path])
        #expect(human.code == 0)
        #expect(
            human.text
                == "~ member vera\n    weight: 1 -> 4\n+ member zoe\n~ pool triage\n    member vera: weight 1 -> weight 4\n"
        )
        let json = try JSONTree(try run(["diff", "--json", example, file.path]).text)
        #expect(json["changes"].elements.map { $0["change"].string } == ["changed", "added", "changed"])
        #expect(try run(["diff", example, example]).text == "they decide alike\n")
    }

    @Test func `a diff with a wrong rule set tells its faults, and one that is not there is an I/O error`() throws {
        let file = try TemporaryFile("policy: p\n")
        #expect(try run(["diff", example, file.path]).code == 65)
        #expect(try run(["check", "/no/such/file"]).code == 74)
    }
}
