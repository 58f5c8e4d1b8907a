import Foundation
import JSON
import Schemas
import Testing

@testable import leadledger

let packageFolder = URL(filePath: #filePath).resolvingSymlinksInPath()
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
private let leadsFile = packageFolder.appending(path: "../shared/data/olist_marketing_qualified_leads_dataset.csv")
private let dealsFile = packageFolder.appending(path: "../shared/data/olist_closed_deals_dataset.csv")

private var filesAreHere: Bool {
    [leadsFile, dealsFile].allSatisfy { FileManager.default.fileExists(atPath: $0.standardizedFileURL.path) }
}

/// The files of others that the mappings in `scripts/mappings` are written for, as `SOURCES.md` beside them counts them.
@Suite(.enabled(if: filesAreHere, "the Olist files are not in ../shared/data"))
struct OlistMappingTests {
    @Test func `every lead is captured once, at midnight, with its channel as it stands`() throws {
        let (units, faults) = try mapped(leadsFile, "olist-leads")
        #expect(faults.isEmpty)
        #expect(units.count == 8_000)
        var channels: [String: Int] = [:]
        var subjects: Set<String> = []
        try forEachEvent(units) { event in
            channels[event["data"]?["channel"]?.string ?? "absent", default: 0] += 1
            subjects.insert(event["subject"]?.string ?? "")
            #expect(event["time"]?.string?.hasSuffix("T00:00:00Z") == true)
            #expect(event["backfill"]?.boolean == true)
        }
        #expect(subjects.count == 8_000)
        #expect(
            channels == [
                "organic search": 2_296, "paid search": 1_586, "social": 1_350, "unknown": 1_099, "direct traffic": 499,
                "email": 493, "referral": 284, "other": 150, "display": 118, "other publicities": 65, "": 60,
            ])
        #expect(units[0].contains(#""id":"captured-dac32acd4db4c29c230538b72f8dd87d""#))
        #expect(units[0].contains(#""time":"2018-02-01T00:00:00Z""#))
    }

    @Test func `every deal is one unit of two assignments and a win, and the money adds up`() throws {
        let (units, faults) = try mapped(dealsFile, "olist-deals")
        #expect(faults.isEmpty)
        #expect(units.count == 842)
        var types: [String: Int] = [:]
        var centavos: Int64 = 0
        var withRevenue = 0
        var profiles: [String: Int] = [:]
        try forEachEvent(units) { event in
            let data = event["data"]
            let role = data?["role"]?.string.map { " \($0)" } ?? ""
            types[(event["type"]?.string ?? "") + role, default: 0] += 1
            guard event["type"]?.equals("lead.won") == true else { return }
            centavos += data?["amount"]?.int64 ?? 0
            withRevenue += data?["amount"]?.int64 ?? 0 > 0 ? 1 : 0
            #expect(data?["currency"]?.string == "BRL")
            if let profile = data?["custom"]?["lead_behaviour_profile"]?.string { profiles[profile, default: 0] += 1 }
        }
        #expect(types == ["lead.assigned sdr": 842, "lead.assigned closer": 842, "lead.won": 842])
        #expect(centavos == 6_178_400_600)
        #expect(withRevenue == 45)
        // These stand in quotes in the file, for the commas in them.
        let quoted = profiles.filter { $0.key.contains(",") }.values.reduce(0, +)
        #expect(quoted == 16)
        #expect(profiles["cat, wolf"] ?? 0 > 0)
    }

    private func mapped(_ file: URL, _ name: String) throws -> (units: [String], faults: [(line: Int, reason: String)])
    {
        let yaml = packageFolder.appending(path: "scripts/mappings/\(name).yaml")
        return try map(
            try String(contentsOf: yaml, encoding: .utf8), [UInt8](Data(contentsOf: file.standardizedFileURL)))
    }

    /// Each event is checked against the schemas, as the daemon does, before it is looked at.
    private func forEachEvent(_ units: [String], _ body: (JSONValue) -> Void) throws {
        let checker = try EventChecker()
        var parser = JSONParser()
        for unit in units {
            try parser.withDocument(unit) { events in
                for event in events.elements {
                    #expect(checker.fault(in: event) == nil)
                    body(event)
                }
            }
        }
    }
}

/// The schemas of envelope and data.
struct EventChecker {
    private let envelope: JSONSchema
    private let data: [String: JSONSchema]

    init() throws {
        envelope = try JSONSchema(Schemas.envelope)
        data = Dictionary(uniqueKeysWithValues: try Schemas.events.map { ($0.name, try JSONSchema($0.text)) })
    }

    func fault(in event: JSONValue) -> String? {
        if let violation = envelope.validate(event) { return "\(violation)" }
        guard let type = event["type"]?.string, let schema = data[type] else { return "no such type" }
        return event["data"].flatMap { schema.validate($0) }.map { "\(type) \($0)" }
    }
}
