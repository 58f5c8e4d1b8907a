import JSON
import Leads

/// What a mapping says, ready to be applied to rows. Columns are numbers into `columns`, which a header gives places.
struct Mapping {
    struct Event {
        let type: String
        let source: Template
        let id: Template
        let subject: Template
        let time: Value?
        let isBackfill: Bool
        let conditions: [Condition]
        let data: [Member]
    }

    struct Member {
        let name: String
        let value: Value
    }

    indirect enum Value {
        /// JSON.
        case constant([UInt8])
        case template(Template)
        case members([Member])
        case column(Int, Conversion, blank: Blank, trims: Bool)
    }

    enum Conversion {
        case string, integer, number, boolean
        case instant(InstantFormat, offsetSeconds: Int)
        case money(CurrencyOrColumn)
    }

    enum InstantFormat: String {
        case rfc3339
        case date
        case dateAndTime = "yyyy-MM-dd HH:mm:ss"
    }

    enum CurrencyOrColumn {
        case currency(Currency)
        case column(Int)
    }

    enum Blank: String { case omit, keep, refuse }

    enum Condition {
        /// The flag: with the blanks around the field taken away, as the mapping's `trim` says.
        case equals(Int, [UInt8], Bool)
        case isBlank(Int, Bool)
    }

    enum Part {
        case text([UInt8])
        case column(Int)
    }

    typealias Template = [Part]

    let events: [Event]
    let delimiter: UInt8
    /// All events of a row are one unit.
    let rowIsUnit: Bool
    /// The names of the columns that are asked for, each once.
    private(set) var columns: [String] = []

    init(yaml: String) throws(MappingError) {
        let file = try MappingFile(yaml: yaml)
        var parser = JSONParser(depthMax: 64)
        let root: JSONValue
        do throws(JSONError) { root = try parser.parse(file.text) } catch {
            throw MappingError(pointer: "", line: nil, reason: "\(error)")
        }
        var compiler = Compiler(file: file)
        let delimiter = root["delimiter"]?.utf8.first ?? UInt8(ascii: ",")
        guard delimiter < 0x80, ![UInt8(ascii: "\""), UInt8(ascii: "\n"), UInt8(ascii: "\r")].contains(delimiter) else {
            throw file.error("/delimiter", "must be an ASCII character, and neither a quote nor a line break")
        }
        self.delimiter = delimiter
        rowIsUnit = root["unit"]?.equals("event") != true
        try compiler.takeDefaults(root)
        var events: [Event] = []
        for (index, event) in (root["events"] ?? root).elements.enumerated() {
            events.append(try compiler.event(event, at: "/events/\(index)"))
        }
        self.events = events
        columns = compiler.columns
    }
}

/// Turns a mapping that keeps its schema into its compiled form; what the schema cannot say is checked here.
private struct Compiler {
    let file: MappingFile
    var columns: [String] = []
    private var source: Mapping.Template = []
    private var isBackfill = false
    private var offsetSeconds = 0
    private var trims = false
    private var blank = Mapping.Blank.omit

    init(file: MappingFile) { self.file = file }

    mutating func takeDefaults(_ root: JSONValue) throws(MappingError) {
        source = try template(root["source"], at: "/source")
        isBackfill = root["backfill"]?.boolean ?? false
        trims = root["trim"]?.boolean ?? false
        offsetSeconds = try zone(root["zone"], at: "/zone") ?? 0
        blank = root["blank"]?.string.flatMap { Mapping.Blank(rawValue: $0) } ?? .omit
    }

    mutating func event(_ event: JSONValue, at place: String) throws(MappingError) -> Mapping.Event {
        let type = event["type"]?.string ?? ""
        guard let known = EventType(name: type), known.isSupported else {
            throw file.error(place + "/type", "there is no event type \(type)")
        }
        var time: Mapping.Value?
        if let value = event["time"] {
            time = try self.value(value, at: place + "/time", isTime: true)
        }
        var conditions: [Mapping.Condition] = []
        if let when = event["when"] {
            for (index, condition) in when.elements.enumerated() {
                conditions.append(try self.condition(condition, at: "\(place)/when/\(index)"))
            }
        }
        return Mapping.Event(
            type: type, source: source, id: try template(event["id"], at: place + "/id"),
            subject: try template(event["subject"], at: place + "/subject"), time: time,
            isBackfill: event["backfill"]?.boolean ?? isBackfill, conditions: conditions,
            data: try members(event["data"], at: place + "/data"))
    }

    private mutating func condition(
        _ condition: JSONValue, at place: String
    ) throws(MappingError) -> Mapping.Condition {
        let column = column(condition["column"])
        switch (condition["equals"], condition["blank"]?.boolean) {
        case (let text?, nil): return .equals(column, Array(text.utf8), trims)
        case (nil, let isBlank?): return .isBlank(column, isBlank)
        default: throw file.error(place, "takes either equals or blank")
        }
    }

    private mutating func members(_ object: JSONValue?, at place: String) throws(MappingError) -> [Mapping.Member] {
        guard let object else { return [] }
        var members: [Mapping.Member] = []
        for member in object.members {
            let name = member.name.string ?? ""
            members.append(Mapping.Member(name: name, value: try value(member.value, at: "\(place)/\(name)")))
        }
        return members
    }

    private mutating func value(
        _ value: JSONValue, at place: String, isTime: Bool = false
    ) throws(MappingError) -> Mapping.Value {
        let origins = [value["column"], value["template"], value["constant"], value["members"]]
        guard origins.count(where: { $0 != nil }) == 1 else {
            throw file.error(place, "takes exactly one of column, template, constant and members")
        }
        if value["column"] == nil {
            for member in value.members {
                let name = member.name.string ?? ""
                guard ["template", "constant", "members"].contains(name) else {
                    throw file.error("\(place)/\(name)", "stands beside column only")
                }
            }
        }
        if isTime, value["members"] != nil { throw file.error(place, "a time is no object") }
        if let text = value["template"] { return .template(try template(text, at: place + "/template")) }
        if let constant = value["constant"] { return .constant(Array(constant.raw)) }
        if let members = value["members"] { return .members(try self.members(members, at: place + "/members")) }
        let conversion = try conversion(value, at: place, isTime: isTime)
        // A time that is blank by mistake would become the instant of the import.
        let blank = value["blank"]?.string.flatMap { Mapping.Blank(rawValue: $0) } ?? (isTime ? .refuse : self.blank)
        if blank == .keep, value["blank"] != nil {
            guard case .string = conversion else {
                throw file.error(place + "/blank", "only a string can be kept blank")
            }
        }
        return .column(
            column(value["column"]), conversion, blank: blank, trims: value["trim"]?.boolean ?? trims)
    }

    private mutating func conversion(
        _ value: JSONValue, at place: String, isTime: Bool
    ) throws(MappingError) -> Mapping.Conversion {
        let kind = value["as"]?.string ?? (isTime ? "instant" : "string")
        if isTime, kind != "instant" { throw file.error(place + "/as", "a time is an instant") }
        for (name, owner) in [
            ("format", "instant"), ("zone", "instant"), ("currency", "money"), ("currency_column", "money"),
        ] {
            if value.member(named: name) != nil, kind != owner {
                throw file.error("\(place)/\(name)", "stands beside `as: \(owner)` only")
            }
        }
        switch kind {
        case "integer": return .integer
        case "number": return .number
        case "boolean": return .boolean
        case "instant":
            let format = value["format"]?.string.flatMap { Mapping.InstantFormat(rawValue: $0) } ?? .rfc3339
            if format == .rfc3339, value["zone"] != nil {
                throw file.error(place + "/zone", "an instant of RFC 3339 has its own offset")
            }
            return .instant(format, offsetSeconds: try zone(value["zone"], at: place + "/zone") ?? offsetSeconds)
        case "money":
            switch (value["currency"]?.string, value["currency_column"]) {
            case (let code?, nil):
                guard let currency = Currency(code) else {
                    throw file.error(place + "/currency", "\(code) is no currency of ISO 4217 with a minor unit")
                }
                return .money(.currency(currency))
            case (nil, let name?): return .money(.column(column(name)))
            default: throw file.error(place, "money takes either currency or currency_column")
            }
        default: return .string
        }
    }

    private func zone(_ value: JSONValue?, at place: String) throws(MappingError) -> Int? {
        guard let name = value?.string else { return nil }
        if name == "UTC" || name == "Z" { return 0 }
        let text = Array(name.utf8)
        let digits = [1, 2, 4, 5].compactMap { $0 < text.count ? Int(text[$0]) - 48 : nil }
        if text.count == 6, text[0] == UInt8(ascii: "+") || text[0] == UInt8(ascii: "-"), text[3] == UInt8(ascii: ":"),
            digits.allSatisfy((0...9).contains)
        {
            let (hours, minutes) = (digits[0] * 10 + digits[1], digits[2] * 10 + digits[3])
            if hours < 24, minutes < 60 {
                return (text[0] == UInt8(ascii: "-") ? -60 : 60) * (hours * 60 + minutes)
            }
        }
        throw file.error(
            place,
            "the zone \(name) is not known: write UTC or an offset such as -03:00 (zones with rules are not read)")
    }

    private mutating func column(_ name: JSONValue?) -> Int { column(named: name?.string ?? "") }

    private mutating func column(named name: String) -> Int {
        if let index = columns.firstIndex(of: name) { return index }
        columns.append(name)
        return columns.count - 1
    }

    private mutating func template(_ value: JSONValue?, at place: String) throws(MappingError) -> Mapping.Template {
        var parts: Mapping.Template = []
        var text: [UInt8] = []
        var rest = Array(value?.utf8 ?? UnsafeRawBufferPointer(start: nil, count: 0))[...]
        let (open, close) = (UInt8(ascii: "{"), UInt8(ascii: "}"))
        while let byte = rest.popFirst() {
            if byte == open, rest.first != open {
                guard let end = rest.firstIndex(of: close), end > rest.startIndex else {
                    throw file.error(place, "a { needs a column's name and }; {{ stands for a brace")
                }
                if !text.isEmpty { parts.append(.text(text)) }
                text = []
                parts.append(.column(column(named: String(decoding: rest[..<end], as: UTF8.self))))
                rest = rest[(end + 1)...]
            } else {
                if byte == open || byte == close {
                    guard rest.first == byte else {
                        throw file.error(place, "a } without its {; }} stands for a brace")
                    }
                    rest.removeFirst()
                }
                text.append(byte)
            }
        }
        if !text.isEmpty { parts.append(.text(text)) }
        return parts
    }
}
