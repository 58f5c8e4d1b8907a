import Glibc
import JSON
import Leads
import TestSupport
import Testing

@testable import LeadLedger

private let data =
    #filePath.split(separator: "/").dropLast(4).reduce("") { $0 + "/" + $1 } + "/../shared/data"
private let leadsFile = data + "/olist_marketing_qualified_leads_dataset.csv"
private let dealsFile = data + "/olist_closed_deals_dataset.csv"

private func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

/// The real leads, one day after the other, through a rule set with the 32 real SDRs. Skipped where the data is not there.
@Suite(
    .timeLimit(.minutes(10)), .enabled(if: exists(leadsFile) && exists(dealsFile), "../shared/data has no Olist files"))
struct OlistRoutingTests {
    private struct Row {
        var lead: String
        var date: String
        var page: String
        var origin: String
    }

    /// In the order of their days, of one day in that of the file.
    private func rows() throws -> [Row] {
        let lines = try text(ofFile: leadsFile).split(separator: "\n").dropFirst()
        let rows = lines.map { line in
            let fields = line.split(separator: ",", omittingEmptySubsequences: false).map { String($0) }
            return Row(lead: fields[0], date: fields[1], page: fields[2], origin: fields[3])
        }
        return rows.enumerated().sorted { ($0.element.date, $0.offset) < ($1.element.date, $1.offset) }.map(\.element)
    }

    private func developers() throws -> [String] {
        let lines = try text(ofFile: dealsFile).split(separator: "\n").dropFirst()
        return Set(lines.map { String($0.split(separator: ",", omittingEmptySubsequences: false)[2]) }).sorted()
    }

    @Test func `all 8,000 leads have an owner, nobody lags by a turn, and each can be explained`() throws {
        let (rows, developers) = (try rows(), try developers())
        #expect(rows.count == 8_000 && developers.count == 32)
        let place = try DeskPlace(zones: TimeZoneDatabase())
        defer { place.close() }
        place.movesClock = false
        place.clock.set(try Instant(rfc3339: "2017-06-13T09:00:00Z").microseconds)
        var rules = "policy: sales\nseed: olist\nmembers:\n"
        for id in developers { rules += "  - { id: \(id) }\n" }
        rules += "pools:\n  - { id: bought, members: [\(developers[..<16].joined(separator: ", "))] }\n"
        rules += "  - { id: found, members: [\(developers[16...].joined(separator: ", "))] }\n"
        rules +=
            "territories:\n  - { id: bought, when: 'channel in [\"paid search\", \"display\", \"social\"]', pool: bought }\n"
        rules += "catch_all: found\n"
        try place.enforce(rules)

        // 1. Each day's leads, on their day.
        var bought = 0
        for (day, leads) in Dictionary(grouping: rows, by: \.date).sorted(by: { $0.key < $1.key }) {
            place.clock.set(try Instant(rfc3339: day + "T09:00:00Z").microseconds)
            for row in leads {
                if ["paid search", "display", "social"].contains(row.origin) { bought += 1 }
                let event = ForeignEvent(
                    .captured, row.lead, #""channel":"\#(row.origin)","landing_page":"\#(row.page)""#)
                _ = place.submit([event])
            }
            try place.rest()
        }

        // 2. Everybody in their pool has the same weight, and is there all the time.
        let events = try PlainEvent.all(of: place.log)
        var lags: [String: Lag] = [:]
        var owners: [String: String] = [:]
        for event in events where event.data["decision"].isPresent {
            let turn = try #require(event.turn)
            #expect(turn.gains.count == 16)
            lags[turn.pool, default: Lag()].add(turn)
            #expect(lags[turn.pool]!.greatest < Lag.turn, "after \(event)")
            #expect(owners.updateValue(turn.winner, forKey: event.subject) == nil)
        }
        #expect(owners.count == 8_000 && lags.count == 2 && bought > 0)
        #expect(owners.values.count { developers[..<16].contains($0) } == bought)
        #expect(Set(owners.values).count == 32)

        // 3. Each is explained.
        var parser = JSONParser()
        for row in rows {
            let query = try parser.withDocument(#"{"lead":"\#(row.lead)"}"#) { try LeadExplain($0) }
            var writer = JSONWriter()
            try query.write(to: &writer, log: place.log)
            let answer = try JSONTree(writer.string)
            let owner = answer["now"]["holder"].string
            let explained = answer["steps"].elements.contains { !$0["explanation"].elements.isEmpty }
            #expect(owner == owners[row.lead] && explained, "\(answer)")
        }
        // The leads of a day came together, and were decided in the order in which they came.
        let captured = events.filter { $0.type == .captured }.map(\.subject)
        let decided = events.filter { $0.data["decision"].isPresent }.map(\.subject)
        #expect(captured == decided)
    }
}
