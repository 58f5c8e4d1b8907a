import ArgumentParser
import Control
import JSON
import LeadLedgerClient

struct ShowCommand: LedgerCommand {
    static let configuration = CommandConfiguration(commandName: "show", abstract: "Show what is known of a lead.")

    @OptionGroup var common: CommonOptions
    @Argument(help: "The lead's id.")
    var lead: String

    func run(in context: Context) throws {
        try context.ask(.leadGet, { $0.member("lead", lead) }, human: Self.write)
    }

    static func write(_ result: JSONValue, to output: Output) {
        guard let lead = result["lead"] else { return }
        var facts: [(String, String)] = []
        for member in lead.members {
            let name = member.name.string ?? ""
            let value = member.value
            switch name {
            case "counts":
                let counts = value.members.filter { $0.value.int64 != 0 }.map { "\($0.value.shown) \($0.name.shown)" }
                facts.append(("counts", counts.joined(separator: ", ")))
            case "conversion" where value.kind == .object:
                let money = moneyText(value["amount"], value["currency"])
                facts.append(("conversion", "\(money) at \(value["at"].shown), position \(value["position"].shown)"))
            default: facts.append((printable(name.replacing("_", with: " ")), value.shown))
            }
        }
        facts.append(("as of position", result["position"].shown))
        writeFacts(facts, to: output)
    }
}

struct HistoryCommand: LedgerCommand {
    static let configuration = CommandConfiguration(
        commandName: "history", abstract: "Show all events of a lead, oldest first.")

    @OptionGroup var common: CommonOptions
    @Argument(help: "The lead's id.")
    var lead: String

    func run(in context: Context) throws {
        let output = context.output
        let client = try context.connect()
        var from: Int64? = 1
        var position = ""
        var isFirst = true
        while let version = from {
            let params = object {
                $0.member("lead", lead)
                $0.member("from_version", Int(version))
                $0.member("limit", 1_000)
            }
            from = try client.call(.leadHistory, params: params) { result in
                if isFirst, context.isJSON { output.write(#"{"lead":\#(result["lead"].raw),"events":["#) }
                for event in result["events"]?.elements ?? result.elements {
                    if context.isJSON {
                        if !isFirst { output.write(",") }
                        output.write(event.raw)
                    } else {
                        output.line(Self.line(event))
                    }
                    isFirst = false
                }
                position = result["position"].shown
                return result["next_version"]?.int64
            }
            // A daemon that did not move on would be asked for ever.
            if let next = from, next <= version {
                throw ClientError.protocolBroken(reason: "next_version does not advance")
            }
        }
        if context.isJSON { output.line(#"],"next_version":null,"position":\#(position)}"#) }
    }

    /// `version position time type data`.
    static func line(_ event: JSONValue) -> String {
        let place = "\(event["version"].shown)  \(event["position"].shown)"
        let time = event["time"]?.shown ?? event["recordedtime"].shown
        return "\(place)  \(time)  \(event["type"].shown)  \(event["data"].shown)"
    }
}

extension JSONValue? {
    /// The text as it stands in the answer.
    fileprivate var raw: String { self.map { String(decoding: $0.raw, as: UTF8.self) } ?? "null" }
}

struct StatusCommand: LedgerCommand {
    static let configuration = CommandConfiguration(commandName: "status", abstract: "Show how the daemon is.")

    @OptionGroup var common: CommonOptions

    func run(in context: Context) throws { try context.ask(.status, human: Self.write) }

    static func write(_ result: JSONValue, to output: Output) {
        var facts: [(String, String)] = []
        for member in result.members where member.name.string != "projections" {
            let name = member.name.shown
            if member.value.kind == .object {
                for inner in member.value.members {
                    facts.append(("\(name) \(inner.name.shown)".replacing("_", with: " "), inner.value.shown))
                }
            } else if name == "uptime_seconds", let seconds = member.value.int64 {
                facts.append(("uptime", ageText(seconds: seconds)))
            } else {
                facts.append((name.replacing("_", with: " "), member.value.shown))
            }
        }
        writeFacts(facts, to: output)
        guard let projections = result["projections"], projections.count > 0 else { return }
        var table = TextTable([
            ("projection", .left), ("position", .right), ("lag", .right), ("state", .left),
        ])
        for projection in projections.elements {
            table.add([
                projection["name"].shown, projection["position"].shown, projection["lag"].shown,
                projection["state"].shown,
            ])
        }
        output.line("")
        table.write(to: output)
    }
}

struct SchemaCommand: LedgerCommand {
    static let configuration = CommandConfiguration(
        commandName: "schema", abstract: "List the schemas, or show one.",
        discussion:
            "A name is an event type (lead.captured), a method's parameters (append.params), envelope or errors.")

    @OptionGroup var common: CommonOptions
    @Argument(help: "Which schema.")
    var name: String?

    func run(in context: Context) throws {
        try context.ask(.schemaGet, { $0.member("name", name) }) { result, output in
            if let schema = result["schema"] {
                output.line(indented(schema))
            } else {
                for name in result["schemas"]?.elements ?? result.elements { output.line(name.shown) }
            }
        }
    }
}

/// JSON for people: two blanks a level, empty containers on one line.
func indented(_ value: JSONValue, level: Int = 0) -> String {
    let margin = String(repeating: "  ", count: level + 1)
    func lines(_ parts: [String], _ brackets: (String, String)) -> String {
        if parts.isEmpty { return brackets.0 + brackets.1 }
        return brackets.0 + "\n" + parts.map { margin + $0 }.joined(separator: ",\n") + "\n" + margin.dropLast(2)
            + brackets.1
    }
    switch value.kind {
    case .object:
        let members = value.members.map {
            String(decoding: $0.name.raw, as: UTF8.self) + ": " + indented($0.value, level: level + 1)
        }
        return lines(members, ("{", "}"))
    case .array: return lines(value.elements.map { indented($0, level: level + 1) }, ("[", "]"))
    case .null, .boolean, .number, .string: return String(decoding: value.raw, as: UTF8.self)
    }
}
