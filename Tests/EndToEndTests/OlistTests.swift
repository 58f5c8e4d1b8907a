import TestSupport
import Testing

private let data = packageRoot + "/../shared/data"
private let leads = data + "/olist_marketing_qualified_leads_dataset.csv"
private let deals = data + "/olist_closed_deals_dataset.csv"

/// The real data, through the programs: the figures are those that its SOURCES.md lists. Skipped where the data is not there.
@Suite(.timeLimit(.minutes(10)), .enabled(if: exists(leads) && exists(deals), "../shared/data has no Olist files"))
struct OlistTests {
    private static let byChannel: [(label: String, leads: Int, won: Int)] = [
        ("organic search", 2296, 271), ("paid search", 1586, 195), ("social", 1350, 75), ("unknown", 1099, 179),
        ("direct traffic", 499, 56), ("email", 493, 15), ("referral", 284, 24), ("other", 150, 4), ("display", 118, 6),
        ("other publicities", 65, 3), ("(none)", 60, 14),
    ]
    private static let byMonth: [(month: String, leads: Int, won: Int)] = [
        ("2017-06", 4, 0), ("2017-07", 239, 2), ("2017-08", 386, 9), ("2017-09", 312, 7), ("2017-10", 416, 14),
        ("2017-11", 445, 18), ("2017-12", 200, 11), ("2018-01", 1141, 152), ("2018-02", 1028, 149),
        ("2018-03", 1174, 167),
        ("2018-04", 1352, 183), ("2018-05", 1303, 130),
    ]

    private func command(_ arguments: [String], _ place: LedgerPlace) throws -> (
        status: TestSupport.ExitStatus, output: String, errorOutput: String
    ) {
        try run(
            Programs.commandLine, ["--socket", place.socket] + arguments, scratch: place.scratch, milliseconds: 120_000)
    }

    private func importBoth(_ place: LedgerPlace) throws -> [JSONTree] {
        try [("olist-leads.yaml", leads), ("olist-deals.yaml", deals)].map { mapping, file in
            let ran = try command(
                ["--json", "import", "--mapping", packageRoot + "/scripts/mappings/" + mapping, file], place)
            #expect(ran.status == .exited(0), "\(ran.errorOutput)")
            return try JSONTree(ran.output)
        }
    }

    @Test func `both files give the published figures, and a second import adds nothing`() throws {
        let place = LedgerPlace()
        let daemon = try place.serve()
        _ = try importBoth(place)
        let client = try place.connect()
        let head = 8_000 + 3 * 842
        #expect(try client.ask("status")["head"].integer == head)
        try Monotonic.wait(for: "the read models", milliseconds: 60_000) {
            try client.ask("projection.list")["projections"].elements.allSatisfy { $0["position"].integer == head }
        }

        // The funnel: by channel, and by month of the first contact.
        let funnel = try client.ask("report.funnel")
        #expect(funnel["total"]["leads"].integer == 8_000 && funnel["total"]["won"].integer == 842)
        #expect(funnel["rows"].elements.count == Self.byChannel.count)
        for expected in Self.byChannel {
            let row = funnel["rows"].elements.first { $0["label"].string == expected.label }
            #expect(row?["leads"].integer == expected.leads && row?["won"].integer == expected.won, "\(expected)")
        }
        let months = try client.ask("report.funnel", #"{"period":"month"}"#)["periods"].elements
        #expect(months.map { $0["month"].string } == Self.byMonth.map(\.month))
        #expect(months.map { $0["leads"].integer } == Self.byMonth.map(\.leads))
        #expect(months.map { $0["won"].integer } == Self.byMonth.map(\.won))

        // The attribution: one touch each, so the models agree; the win before its first contact is flagged.
        let attribution = try client.ask("report.attribution")
        #expect(attribution["flagged"].integer == 1)
        let total = attribution["totals"][0]
        #expect(total["currency"].string == "BRL" && total["conversions"].integer == 842)
        #expect(total["value"].string == "6178400600" && attribution["totals"].elements.count == 1)
        for expected in Self.byChannel {
            let row = attribution["rows"].elements.first { $0["label"].string == expected.label }
            for model in ["first", "last", "linear"] {
                #expect(row?["credits"][model]["conversions"].string == String(expected.won), "\(expected) \(model)")
            }
            #expect(
                row?["credits"]["first"] == row?["credits"]["last"]
                    && row?["credits"]["first"] == row?["credits"]["linear"])
        }
        let values = attribution["rows"].elements.compactMap {
            $0["credits"]["linear"]["value"].string.flatMap { Int($0) }
        }
        #expect(values.count == Self.byChannel.count && values.reduce(0, +) == 6_178_400_600)

        // Once more.
        let again = try importBoth(place)
        #expect(try client.ask("status")["head"].integer == head)
        #expect(again.map { $0["events_appended"].integer ?? $0["appended"].integer } == [0, 0], "\(again)")
        #expect(try daemon.terminate() == .exited(0))
        #expect(try place.check().status == .exited(0))
    }

    @Test func `a row with too few columns is named by its line, and the others are imported`() throws {
        let place = LedgerPlace()
        let daemon = try place.serve()
        let file = place.scratch + "/leads.csv"
        try write(
            "mql_id,first_contact_date,landing_page_id,origin\na,2018-01-01,p,social\nb,2018-01-02\nc,2018-01-03,\"p,\"\"q\"\"\",\n",
            toFile: file)
        let ran = try command(["import", "--mapping", packageRoot + "/scripts/mappings/olist-leads.yaml", file], place)
        #expect(ran.status == .exited(65))
        #expect(ran.errorOutput.contains("leads.csv:3: 2 fields where the header has 4"), "\(ran.errorOutput)")
        let client = try place.connect()
        #expect(try client.ask("status")["head"].integer == 2)
        #expect(try client.askWhenFresh("lead.get", #"{"lead":"c"}"#)["lead"]["landing_page"].string == #"p,"q""#)
        #expect(try daemon.terminate() == .exited(0))
    }
}
