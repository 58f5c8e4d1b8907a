import ArgumentParser
import Control
import Foundation
import JSON
import LeadLedgerClient
import Testing

@testable import leadledger

@Suite struct ArgumentTests {
    private func parse<Verb: ParsableCommand>(_ line: String, as verb: Verb.Type) throws -> Verb {
        let parsed = try LeadLedgerCommand.parseAsRoot(line.split(separator: " ").map(String.init))
        return try #require(parsed as? Verb)
    }

    @Test func `common options stand before the verb or behind it`() throws {
        for line in ["--socket S --json status", "status --socket S --json", "--json status --socket S"] {
            let status = try parse(line, as: StatusCommand.self)
            #expect(status.common.socket == "S")
            #expect(status.common.json)
        }
        let list = try parse("--json queue list --stage mql --as-of 2026-01-01", as: QueueCommand.List.self)
        #expect(list.common.json)
        #expect(list.stage == "mql")
        #expect(list.asOf == "2026-01-01")
    }

    @Test func `an option wins over the variable, and an empty variable is none`() {
        #expect(socketPath(given: "a", environment: "b") == "a")
        #expect(socketPath(given: nil, environment: "b") == "b")
        #expect(socketPath(given: nil, environment: "") == nil)
        #expect(socketPath(given: nil, environment: nil) == nil)
    }

    @Test func `without a socket the exit code is 64`() throws {
        let context = Context(socketPath: nil, isJSON: false, output: Output(descriptor: nil))
        let error = #expect(throws: InputError.self) { _ = try context.connect() }
        #expect(error?.exitCode == 64)
    }

    @Test(arguments: [
        "append", "append f.ndjson", "import --mapping m.yaml f.csv", "sample --leads 5", "sample --leads 5 --seed 7",
        "show L-1", "history L-1", "replay", "replay --from 3 --to 9 --type lead.won --type lead.lost --lead L-1",
        "replay --source form --channel web --channel fair",
        "tail",
        "tail --follow", "tail -n 3 -f", "queue list --custody inbox --queue q --limit 5 --channel web",
        "report funnel --by source --cohort --from 2018-01-01 --to 2018-02-01 --period month --horizon 30",
        "report funnel --flow --as-of 2018-01-01",
        "report attribution --by landing_page --model first --model linear --conversion won",
        "report response --by hour --zone Europe/Amsterdam --from 2026-01-01 --to 2026-02-01 --clock accept --as-of 2026-02-01",
        "report leaks --by owner --limit 5 --as-of 2026-02-01", "report fairness --window 30d --pool emea",
        "projection list",
        "projection rebuild leads", "status", "schema", "schema lead.won", "consumer create g --from head",
        "consumer create g --from 7 --type lead.won --type lead.lost --lead L-1 --max-attempts 3 --lease-ms 500",
        "consumer status", "consumer status g --limit 5 --after 9",
        "consumer replay-parked g --position 3 --position 4",
        "consumer replay-parked g --limit 2", "consumer delete g", "policy check p.yaml",
        "--json policy diff a.yaml b.yaml", "policy publish p.yaml --activate --at 2026-01-01T00:00:00Z --note n",
        "policy history", "policy show", "policy rollback sales", "member list", "explain L-1 --json",
    ])
    func `every verb takes its options`(_ line: String) throws {
        _ = try LeadLedgerCommand.parseAsRoot(line.split(separator: " ").map(String.init))
    }

    @Test(arguments: [
        "nonsense", "show", "import f.csv", "sample", "sample --leads -1", "sample --leads x", "replay --from -1",
        "report funnel --cohort --flow", "tail -n 10001", "queue", "projection rebuild",
        "consumer create", "consumer create g --from tail", "consumer delete", "consumer replay-parked g --position -1",
    ])
    func `what cannot be meant exits with 64, or shows the help of a group`(_ line: String) {
        do {
            var command = try LeadLedgerCommand.parseAsRoot(line.split(separator: " ").map(String.init))
            #expect(line == "queue")
            try command.run()
            Issue.record("\(line) ran")
        } catch {
            #expect(LeadLedgerCommand.exitCode(for: error).rawValue == (line == "queue" ? 0 : 64))
        }
    }

    @Test func `the version is the daemon's`() throws {
        let file = packageFolder.appending(path: "Sources/LeadLedger/Version.swift")
        let text = try String(contentsOf: file, encoding: .utf8)
        #expect(text.contains("= \"\(LeadLedgerCommand.version)\""))
    }

    @Test func `each kind of failure has its exit code`() {
        #expect(ClientError.unreachable(path: "", reason: "").exitCode == 69)
        #expect(ClientError.closed(unanswered: 0, reason: "").exitCode == 69)
        #expect(ClientError.closed(unanswered: 1, reason: "").exitCode == 75)
        #expect(ClientError.protocolBroken(reason: "").exitCode == 70)
        for name in ErrorName.allCases { #expect(ServerError(name, "").exitCode == name.exitCode) }
    }
}
