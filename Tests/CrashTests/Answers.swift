import TestSupport

extension LineClient {
    static var modelNames: [String] { ["leads", "queue", "funnel", "attribution", "response", "fairness"] }

    /// Waits until every read model has all events below `head`, and maybe more: the router and the clocks go on writing.
    func waitForModels(at head: Int) throws {
        try Monotonic.wait(for: "the read models to reach \(head)", milliseconds: 60_000) {
            let models = try ask("projection.list")["projections"].elements
            return models.count == Self.modelNames.count && models.allSatisfy { ($0["position"].integer ?? 0) >= head }
        }
    }

    /// What all read models say, by question; as of a fixed instant, so that two answers can be compared.
    func answers(about leads: [String]) throws -> [String: JSONTree] {
        let instant = #""as_of":"2100-01-01T00:00:00Z""#
        var questions = [
            ("queue.list", #"{"limit":10000,\#(instant)}"#),
            ("report.funnel", #"{"by":"channel","horizon_days":30,\#(instant)}"#),
            ("report.funnel", #"{"by":"channel"}"#),
            ("report.funnel", #"{"by":"channel","mode":"flow"}"#),
            ("report.attribution", #"{"by":"channel","models":["first","last","linear"]}"#),
            ("report.response", #"{"by":"hour",\#(instant)}"#),
            ("report.leaks", #"{"by":"channel",\#(instant)}"#),
            ("report.fairness", #"{"to":"2100-01-01T00:00:00Z"}"#),
        ]
        questions += leads.map { ("lead.get", #"{"lead":"\#($0)"}"#) }
        var answers: [String: JSONTree] = [:]
        for (method, params) in questions { answers["\(method) \(params)"] = try ask(method, params) }
        return answers
    }

    /// Events of the log from `start` to its head.
    func readLog(from start: Int = 0) throws -> [JSONTree] {
        var events: [JSONTree] = []
        while true {
            let page = try ask("log.read", #"{"from":\#(start + events.count),"limit":10000}"#)
            events += page["events"].elements
            guard let head = page["head"].integer, start + events.count < head else { return events }
            if page["events"].elements.isEmpty {
                throw TimedOut("events at \(start + events.count) before head \(head)")
            }
        }
    }
}

/// How two sets of answers differ, in words; empty where they do not.
func differences(_ before: [String: JSONTree], _ after: [String: JSONTree]) -> [String] {
    before.compactMap { question, answer in
        after[question] == answer ? nil : "\(question) said \(answer), and then \(after[question] ?? .absent)"
    }
}

/// Fills a ledger with what the storm's writers write: shared leads, and `units` units of one writer.
func fill(_ place: LedgerPlace, units: Int, seed: UInt64) throws {
    let client = try place.connect()
    for lead in StormWriter.sharedLeads {
        try client.ask("append", StormWriter.setupParams(lead))
    }
    let writer = StormWriter(number: 0, seed: seed, acknowledged: AcknowledgedHead())
    writer.write(to: place.socket, isDone: { writer.units.count >= units })
    if let fault = writer.faults.first { throw SystemFailure(fault, code: 0) }
}
