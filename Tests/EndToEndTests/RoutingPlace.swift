import Foundation
import TestSupport

/// What the tests of routing share: rule sets in few words, and requests.
enum RoutingPlace {
    /// A rule set of one policy, `sales`, whose members are there all the time.
    ///
    /// - Parameters:
    ///   - members: by id, with more settings as YAML: `["ana": "caps: { open: 1 }"]`.
    ///   - pools: by id, their members and more settings; the last one catches all.
    ///   - territories: condition and pool.
    static func rules(
        members: [(id: String, more: String)], pools: [(id: String, members: [String], more: String)],
        territories: [(when: String, pool: String)] = [], more: String = ""
    ) -> String {
        var text = "policy: sales\nseed: s\n\(more)\nmembers:\n"
        for (id, more) in members { text += "  - { id: \(id)\(more.isEmpty ? "" : ", " + more) }\n" }
        text += "pools:\n"
        for (id, members, more) in pools {
            text +=
                "  - { id: \(id), members: [\(members.joined(separator: ", "))]\(more.isEmpty ? "" : ", " + more) }\n"
        }
        if !territories.isEmpty {
            text += "territories:\n"
            for (index, territory) in territories.enumerated() {
                text += "  - { id: t\(index), when: '\(territory.when)', pool: \(territory.pool) }\n"
            }
        }
        return text + "catch_all: \(pools.last?.id ?? "")\n"
    }

    static func quoted(_ text: String) -> String {
        let escaped = text.replacingOccurrences(of: "\\", with: "\\\\").replacingOccurrences(of: "\"", with: "\\\"")
            .replacingOccurrences(of: "\n", with: "\\n")
        return "\"\(escaped)\""
    }
}

extension LineClient {
    /// Publishes a rule set and puts it in force; its version.
    @discardableResult
    func publish(_ rules: String) throws -> Int {
        let published = try ask("policy.publish", #"{"document":\#(RoutingPlace.quoted(rules))}"#)
        let version = published["version"].integer ?? -1
        try ask("policy.activate", #"{"policy":"sales","version":\#(version)}"#)
        return version
    }

    func capture(_ lead: String, _ data: String = #"{"channel":"web"}"#) throws {
        try append("lead.captured", lead, "c", data)
    }

    @discardableResult
    func append(_ type: String, _ lead: String, _ id: String, _ data: String) throws -> JSONTree {
        try ask(
            "append",
            #"{"events":[{"id":"\#(id)","source":"test","type":"\#(type)","subject":"\#(lead)","data":\#(data)}]}"#)
    }

    /// All events of a lead, when there are so many.
    func history(_ lead: String, count: Int) throws -> [JSONTree] {
        var events: [JSONTree] = []
        try Monotonic.wait(for: "\(count) events of \(lead)", milliseconds: 10_000) {
            events = try ask("lead.history", #"{"lead":"\#(lead)"}"#)["events"].elements
            return events.count >= count
        }
        return events
    }

    /// Who was given a lead, when somebody was.
    func owner(_ lead: String, milliseconds: Int64 = 10_000) throws -> String {
        var owner: String?
        try Monotonic.wait(for: "an owner of \(lead)", milliseconds: milliseconds) {
            let events = try ask("lead.history", #"{"lead":"\#(lead)"}"#)["events"].elements
            owner = events.last { $0["type"].string == "lead.assigned" }?["data"]["member"].string
            return owner != nil
        }
        return owner ?? ""
    }
}

enum Instants {
    /// RFC 3339, in UTC.
    static func text(secondsFromNow seconds: Int) -> String {
        var time = time(nil) + seconds
        var parts = tm()
        gmtime_r(&time, &parts)
        var text = [CChar](repeating: 0, count: 32)
        strftime(&text, text.count, "%Y-%m-%dT%H:%M:%SZ", &parts)
        return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
