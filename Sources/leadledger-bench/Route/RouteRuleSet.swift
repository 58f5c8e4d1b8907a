import JSON

/// The rule set that the routing benchmark publishes: 1,000 members in 50 pools of 20 each, and 200 territory rules over country,
/// region and channel.
///
/// Each of 50 countries has four rules of its own, from narrow to wide, and each rule has one of the pools; what comes from other
/// countries goes to the catch-all. So a lead has between 0 and 4 matching rules, which are found among all 200. Half of the pools
/// give leads in rotation, half to who has the fewest. All members are there at all hours, and nobody has a cap: every lead can be
/// assigned, and every decision has 20 eligible candidates, which is the most work.
enum RouteRuleSet {
    static let policy = "bench"
    static let poolCount = 50
    static let membersPerPool = 20
    static let territoriesPerCountry = 4

    static let countries = [
        "AR", "AT", "AU", "BE", "BR", "CA", "CH", "CL", "CN", "CO", "CZ", "DE", "DK", "EG", "ES", "FI", "FR", "GB",
        "GR",
        "HK", "HU", "ID", "IE", "IL", "IN", "IT", "JP", "KE", "KR", "LU", "MA", "MX", "MY", "NG", "NL", "NO", "NZ",
        "PE",
        "PH", "PL", "PT", "RO", "SE", "SG", "TH", "TR", "UA", "US", "VN", "ZA",
    ]
    /// Of countries without a rule: their leads go to the catch-all.
    static let otherCountries = ["IS", "UY"]
    static let regions = ["north", "south", "east", "west"]
    static let channels = ["paid-search", "social", "email", "webinar"]

    static func pool(_ number: Int) -> String { "pool-\(number)" }
    static func member(_ number: Int) -> String { "member-\(number)" }

    /// The document, as JSON.
    ///
    /// - Parameter reroutesWaiting: whether leads that wait when it is activated are decided.
    static func document(reroutesWaiting: Bool) -> String {
        var writer = JSONWriter(reserving: 128 << 10)
        writer.beginObject()
        writer.text("policy", policy)
        writer.text("seed", "bench")
        writer.key("reroute_waiting")
        writer.bool(reroutesWaiting)
        writer.key("members")
        writer.beginArray()
        for number in 0..<poolCount * membersPerPool {
            writer.beginObject()
            writer.text("id", member(number))
            writer.endObject()
        }
        writer.endArray()
        writer.key("pools")
        writer.beginArray()
        for number in 0..<poolCount {
            writer.beginObject()
            writer.text("id", pool(number))
            writer.key("members")
            writer.beginArray()
            for place in 0..<membersPerPool { writer.string(member(number * membersPerPool + place)) }
            writer.endArray()
            writer.key("strategies")
            writer.beginArray()
            if number % 2 == 1 { writer.string("least_open") }
            writer.string("rotation")
            writer.endArray()
            writer.endObject()
        }
        writer.endArray()
        writer.key("territories")
        writer.beginArray()
        for (number, country) in countries.enumerated() {
            for (step, condition) in conditions(country).enumerated() {
                let rule = number * territoriesPerCountry + step
                writer.beginObject()
                writer.text("id", "\(country.lowercased())-\(step)")
                writer.text("when", condition)
                // Of one country to different pools, and each pool in turn.
                writer.text("pool", pool((rule * 7) % poolCount))
                writer.endObject()
            }
        }
        writer.endArray()
        writer.text("catch_all", pool(0))
        writer.endObject()
        return writer.string
    }

    private static func conditions(_ country: String) -> [String] {
        [
            #"country == "\#(country)" and region == "north" and channel in ["paid-search", "social"]"#,
            #"country == "\#(country)" and region in ["north", "south"]"#,
            #"country == "\#(country)" and channel in ["email", "webinar"]"#,
            #"country == "\#(country)""#,
        ]
    }
}
