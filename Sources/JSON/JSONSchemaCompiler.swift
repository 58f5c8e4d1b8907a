import CSimdJSON

/// Turns the text of a schema into the tables `JSONSchema` walks. Runs once a schema, so it is written to be plain.
struct SchemaCompiler {
    private(set) var name = "without $id"
    var rules: [Rule] = []
    var properties: [Property] = []
    var words: [Word] = []
    var slots: [UInt16] = []
    var characters: [UInt8] = []
    var emittedBy: String?

    private var definitions: [String: Int32] = [:]

    mutating func compile(_ text: [UInt8]) throws(JSONSchemaError) {
        var parser = JSONParser()
        var failure: JSONSchemaError?
        do throws(JSONError) {
            failure = try parser.withDocument(text) { root in
                do throws(JSONSchemaError) {
                    try compile(root: root)
                    return nil
                } catch {
                    return error
                }
            }
        } catch {
            throw refusal("", "\(error)")
        }
        if let failure { throw failure }
    }

    private mutating func compile(root: JSONValue) throws(JSONSchemaError) {
        if let id = root["$id"]?.string { name = id }
        // Rule 0 is the root, then come the definitions, so that a $ref is known wherever it stands.
        rules = [Rule()]
        if let defs = root["$defs"] {
            guard defs.kind == .object else { throw refusal("/$defs", "must be an object") }
            for member in defs.members {
                definitions[member.name.string!] = Int32(rules.count)  // a name node is a string
                rules.append(Rule())
            }
            for member in defs.members {
                let place = "/$defs/" + member.name.string!
                if member.value["$ref"] != nil { throw refusal(place, "a definition may not be a $ref alone") }
                try fill(definitions[member.name.string!]!, from: member.value, at: place, level: .inside)
            }
        }
        if root["$ref"] != nil { throw refusal("", "the root may not be a $ref") }
        try fill(0, from: root, at: "", level: .root)
    }

    private enum Level { case root, member, inside }

    /// The rule for a subschema: the one it refers to, or a new one.
    private mutating func rule(for schema: JSONValue, at place: String, level: Level) throws(JSONSchemaError) -> Int32 {
        if let reference = schema["$ref"] {
            guard let text = reference.string, text.hasPrefix("#/$defs/"),
                let target = definitions[String(text.dropFirst("#/$defs/".utf8.count))]
            else { throw refusal(place + "/$ref", "must name an entry of #/$defs") }
            for member in schema.members {
                switch member.name.string! {
                case "$ref", "$comment", "title", "description", "default", "examples": continue
                case "x-personal" where level == .member, "x-emitted-by" where level == .member: continue
                case let other: throw refusal(place, "\"\(other)\" may not stand beside $ref")
                }
            }
            return target
        }
        let index = Int32(rules.count)
        rules.append(Rule())
        try fill(index, from: schema, at: place, level: level)
        return index
    }

    private mutating func fill(
        _ index: Int32, from schema: JSONValue, at place: String, level: Level
    ) throws(JSONSchemaError) {
        guard schema.kind == .object else { throw refusal(place, "a schema must be an object") }
        var rule = Rule()
        for member in schema.members {
            let keyword = member.name.string!
            let value = member.value
            let here = place + "/" + keyword
            switch keyword {
            case "type": rule.types = try types(value, here)
            case "properties": try compileProperties(value, into: &rule, at: here, level: level)
            case "required": break  // below, when the properties are known
            case "additionalProperties":
                switch value.boolean {
                case true?: rule.additional = Rule.anything
                case false?: rule.additional = Rule.nothing
                case nil: rule.additional = try self.rule(for: value, at: here, level: .inside)
                }
            case "items": rule.items = try self.rule(for: value, at: here, level: .inside)
            case "enum":
                guard value.kind == .array, value.count > 0 else { throw refusal(here, "must be an array of strings") }
                try choose(value.elements.map { $0 }, into: &rule, at: here)
            case "const": try choose([value], into: &rule, at: here)
            case "minLength": rule.minLength = try size(value, here)
            case "maxLength": rule.maxLength = try size(value, here)
            case "minItems": rule.minItems = try size(value, here)
            case "maxItems": rule.maxItems = try size(value, here)
            case "minProperties":
                rule.minProperties = try size(value, here)
                rule.countsMembers = true
            case "maxProperties":
                rule.maxProperties = try size(value, here)
                rule.countsMembers = true
            case "minimum":
                rule.minimum = try bound(value, here)
                rule.hasMinimum = true
            case "maximum":
                rule.maximum = try bound(value, here)
                rule.hasMaximum = true
            case "$schema":
                guard level == .root, value.equals("https://json-schema.org/draft/2020-12/schema") else {
                    throw refusal(here, "must be 2020-12, on the root")
                }
            case "$defs" where level == .root, "$id" where level == .root: break
            case "$comment", "title", "description", "default", "examples": break
            case "x-personal" where level == .member: _ = try flag(value, here)
            case "x-emitted-by" where level != .inside:
                guard value.equals("daemon") else { throw refusal(here, "must be \"daemon\"") }
                if level == .root { emittedBy = "daemon" }
            default: throw refusal(here, "this keyword is not interpreted here")
            }
        }
        if let required = schema["required"] {
            let here = place + "/required"
            guard required.kind == .array else { throw refusal(here, "must be an array of names") }
            for element in required.elements {
                guard let name = element.string else { throw refusal(here, "must be an array of names") }
                guard let bit = wordIndex(name, in: rule.members) else {
                    throw refusal(here, "\"\(name)\" is not among the properties")
                }
                rule.required |= 1 << UInt64(bit)
            }
        }
        rule.settle()
        rules[Int(index)] = rule
    }

    private mutating func compileProperties(
        _ value: JSONValue, into rule: inout Rule, at place: String, level: Level
    ) throws(JSONSchemaError) {
        guard value.kind == .object else { throw refusal(place, "must be an object") }
        guard value.count <= 64 else { throw refusal(place, "more than 64 properties") }
        let below: Level = level == .root ? .member : .inside
        var compiled: [Property] = []
        var names: [[UInt8]] = []
        for member in value.members {
            let here = place + "/" + member.name.string!
            let index = try self.rule(for: member.value, at: here, level: below)
            let personal = try member.value["x-personal"].map { value throws(JSONSchemaError) in try flag(value, here) }
            compiled.append(
                Property(rule: index, isPersonal: personal ?? false, isReserved: member.value["x-emitted-by"] != nil))
            names.append(Array(member.name.utf8))
        }
        // Those of nested objects were appended meanwhile; a rule's own stand together.
        rule.firstProperty = Int32(properties.count)
        properties += compiled
        rule.members = table(names)
    }

    private mutating func choose(
        _ values: [JSONValue], into rule: inout Rule, at place: String
    ) throws(JSONSchemaError) {
        guard !rule.hasChoices else { throw refusal(place, "enum and const do not stand together") }
        guard values.allSatisfy({ $0.kind == .string }) else {
            throw refusal(place, "only strings are interpreted here")
        }
        rule.hasChoices = true
        rule.choices = table(values.map { Array($0.utf8) })
    }

    private mutating func table(_ entries: [[UInt8]]) -> WordTable {
        var table = WordTable()
        table.firstWord = Int32(words.count)
        table.count = Int32(entries.count)
        table.firstSlot = Int32(slots.count)
        var bits = 1
        while (1 << bits) < 2 * entries.count { bits += 1 }
        table.shift = UInt8(32 - bits)
        var own = [UInt16](repeating: 0, count: 1 << bits)
        for (number, entry) in entries.enumerated() {
            let padded = entry + [UInt8](repeating: 0, count: 8)
            let head = padded.withUnsafeBytes { Word.head($0.baseAddress!, entry.count) }
            words.append(Word(head: head, offset: UInt32(characters.count), length: UInt32(entry.count)))
            characters += entry
            let hash = csj_name_hash(padded, UInt32(entry.count))
            var slot = Int(hash >> UInt32(table.shift))
            while own[slot] != 0 { slot = (slot + 1) & (own.count - 1) }
            own[slot] = UInt16(number + 1)
        }
        slots += own
        return table
    }

    private func wordIndex(_ name: String, in table: WordTable) -> Int? {
        (0..<Int(table.count)).first {
            let word = words[Int(table.firstWord) + $0]
            return characters[Int(word.offset)..<Int(word.offset + word.length)].elementsEqual(name.utf8)
        }
    }

    private func types(_ value: JSONValue, _ place: String) throws(JSONSchemaError) -> UInt8 {
        if value.kind == .array {
            guard value.count > 0 else { throw refusal(place, "names no type") }
            var all: UInt8 = 0
            for element in value.elements { all |= try type(element, place) }
            return all
        }
        return try type(value, place)
    }

    private func type(_ value: JSONValue, _ place: String) throws(JSONSchemaError) -> UInt8 {
        let kind: JSONKind
        switch value.string {
        case "null": kind = .null
        case "boolean": kind = .boolean
        case "number": kind = .number
        case "string": kind = .string
        case "array": kind = .array
        case "object": kind = .object
        case "integer": return Rule.integerBit
        default: throw refusal(place, "not a type")
        }
        return 1 << kind.rawValue
    }

    private func size(_ value: JSONValue, _ place: String) throws(JSONSchemaError) -> UInt32 {
        guard let number = value.int64, let size = UInt32(exactly: number) else {
            throw refusal(place, "must be an integer from 0 to 4294967295")
        }
        return size
    }

    private func bound(_ value: JSONValue, _ place: String) throws(JSONSchemaError) -> Int64 {
        guard let number = value.int64 else { throw refusal(place, "must be a 64-bit integer") }
        return number
    }

    private func flag(_ value: JSONValue, _ place: String) throws(JSONSchemaError) -> Bool {
        guard let flag = value.boolean else { throw refusal(place, "must be true or false") }
        return flag
    }

    private func refusal(_ pointer: String, _ reason: String) -> JSONSchemaError {
        JSONSchemaError(schema: name, pointer: pointer, reason: reason)
    }
}
