import CSimdJSON

/// A compiled JSON Schema (2020-12) of just the keywords this project uses.
///
/// Compiling refuses any keyword it does not know, so a schema never asks for more than is checked. Its verdict on a
/// value is that of a complete validator for the same schema. Checking a good value allocates nothing.
///
/// - Assertions: `type` (one or a list), `properties`, `required`, `additionalProperties` (a boolean or a schema),
///   `minProperties`, `maxProperties`, `items`, `minItems`, `maxItems`, `enum` and `const` (of strings), `minLength`,
///   `maxLength` (in code points), `minimum`, `maximum` (64-bit integers, compared exactly), `$ref` to `#/$defs/...`.
/// - Annotations: `$schema`, `$id`, `$defs`, `$comment`, `title`, `description`, `default`, `examples`,
///   `x-personal` (on members of the root) and `x-emitted-by` (on the root or members of the root).
///
/// Limits of the compiled form, refused when exceeded: 64 properties an object; each required name is declared.
package final class JSONSchema: @unchecked Sendable {
    // Sendable: everything below is written by `init` alone and only read afterwards.
    /// Its `$id`, which is what messages call it.
    package let name: String
    /// The root's `x-emitted-by`.
    package let emittedBy: String?

    let rules: UnsafeMutablePointer<Rule>
    let properties: UnsafeMutablePointer<Property>
    fileprivate let words: UnsafeMutablePointer<Word>
    fileprivate let slots: UnsafeMutablePointer<UInt16>
    fileprivate let characters: UnsafeMutablePointer<UInt8>

    package init(_ text: [UInt8]) throws(JSONSchemaError) {
        var compiler = SchemaCompiler()
        try compiler.compile(text)
        name = compiler.name
        emittedBy = compiler.emittedBy
        rules = allocated(compiler.rules)
        properties = allocated(compiler.properties)
        words = allocated(compiler.words)
        slots = allocated(compiler.slots)
        // Words are compared 8 bytes at a time from their start, so the last one needs bytes behind it.
        characters = allocated(compiler.characters + [UInt8](repeating: 0, count: 8))
    }

    deinit {
        rules.deallocate()
        properties.deallocate()
        words.deallocate()
        slots.deallocate()
        characters.deallocate()
    }

    /// What is wrong with the value, or nil. The value may be any part of a document.
    package func validate(_ value: JSONValue) -> SchemaViolation? {
        var marks = MemberMarks()
        return validate(value, marks: &marks)
    }

    /// As above, and tells which direct members of `value` carry a mark. Meaningful only where nil is returned.
    package func validate(_ value: JSONValue, marks: inout MemberMarks) -> SchemaViolation? {
        marks = MemberMarks()
        let fault = check(rule: 0, of: value.document, at: value.index, marks: &marks)
        return fault.keyword == .none ? nil : describe(fault, in: value)
    }
}

/// Marks on the direct members of a validated object: bit i stands for its i-th member in text order. A schema has at
/// most 64 properties; further members, which only `additionalProperties` can let in, carry no mark.
package struct MemberMarks: Sendable, Equatable {
    /// `x-personal`: the member belongs in the personal part of the record.
    package var personal: UInt64 = 0
    /// `x-emitted-by`: only the daemon may write this member.
    package var reserved: UInt64 = 0
    /// Here bit i stands for the schema's own i-th property: it is there. See `JSONSchema.property(named:)`.
    package var seen: UInt64 = 0

    package init() {}

    mutating func mark(_ member: UInt64, _ property: Property) {
        if property.isPersonal { personal |= member }
        if property.isReserved { reserved |= member }
    }
}

/// How a value breaks its schema. Says where and what, and never quotes a value, which may be personal.
package struct SchemaViolation: Error, Equatable, CustomStringConvertible {
    /// JSON pointer from the validated value; empty for the value itself.
    package let pointer: String
    package let keyword: String
    package let message: String

    package var description: String { "\(pointer.isEmpty ? "the value" : pointer): \(message)" }
}

/// Why a text is not a schema this interpreter takes.
package struct JSONSchemaError: Error, Equatable, CustomStringConvertible {
    package let schema: String
    package let pointer: String
    package let reason: String

    package var description: String { "schema \(schema) at #\(pointer): \(reason)" }
}

// MARK: - The compiled form

/// One schema. 0 is the root.
struct Rule {
    /// Bit k: values of `JSONKind` k are allowed. Bit 6: integers are.
    var types: UInt8 = 0xFF
    var hasMinimum = false
    var hasMaximum = false
    var hasChoices = false
    /// The rule for members not in `properties`.
    var additional: Int32 = Rule.anything
    var items: Int32 = Rule.anything
    var countsMembers = false
    var minProperties: UInt32 = 0
    var maxProperties: UInt32 = .max
    var minItems: UInt32 = 0
    var maxItems: UInt32 = .max
    var minLength: UInt32 = 0
    var maxLength: UInt32 = .max
    var minimum: Int64 = 0
    var maximum: Int64 = 0
    /// Bit i: property i of `members` must be there.
    var required: UInt64 = 0
    /// Words that name properties; word i of the table belongs to property `firstProperty + i`.
    var members = WordTable()
    var firstProperty: Int32 = 0
    /// Words a string must be one of.
    var choices = WordTable()
    /// A string of so many bytes, at least and at most, is good whatever it says; more than at most where none is.
    var goodBytesMin: UInt32 = 1
    var goodBytesMax: UInt32 = 0

    /// Sets the last two by the rest.
    mutating func settle() {
        guard types & (1 << UInt8(CSJ_STRING)) != 0, !hasChoices else { return }
        // A string has at least a quarter as many code points as bytes and at most as many.
        let (least, isBeyond) = minLength.multipliedReportingOverflow(by: 4)
        guard !isBeyond else { return }
        goodBytesMin = least < 4 ? 0 : least - 3
        goodBytesMax = maxLength
    }

    /// Whether a value is a string that this has nothing against, as far as its bytes can tell without being read.
    @inline(__always)
    func isGoodString(_ value: csj_node) -> Bool {
        guard value.kind == UInt8(CSJ_STRING), value.flags & UInt8(CSJ_FLAG_ESCAPED) == 0 else { return false }
        let count = value.end &- value.start &- 2
        return count >= goodBytesMin && count <= goodBytesMax
    }

    static let anything: Int32 = -1
    static let nothing: Int32 = -2
    static let integerBit: UInt8 = 1 << 6
}

struct Property {
    var rule: Int32
    var isPersonal: Bool
    var isReserved: Bool

    var isMarked: Bool { isPersonal || isReserved }
}

struct Word {
    /// Its first 8 bytes as they lie in memory, zeros behind a shorter one.
    var head: UInt64
    var offset: UInt32
    var length: UInt32

    /// Reads 8 bytes whatever the count.
    @inline(__always)
    static func head(_ start: UnsafeRawPointer, _ count: Int) -> UInt64 {
        let head = UInt64(littleEndian: start.loadUnaligned(as: UInt64.self))
        return count >= 8 ? head : head & ((1 &<< UInt64(count &* 8)) &- 1)
    }
}

/// A small open-addressing table: slot -> index of the word plus 1, 0 where free. At most half full.
struct WordTable {
    var firstWord: Int32 = 0
    var count: Int32 = 0
    var firstSlot: Int32 = 0
    /// 32 minus the binary logarithm of the number of slots: the slot of a word is that many bits less of its hash.
    var shift: UInt8 = 31
}

/// One table of a schema, ready to be searched.
private struct WordSearch {
    let slots: UnsafePointer<UInt16>
    let words: UnsafePointer<Word>
    let characters: UnsafePointer<UInt8>
    let shift: UInt32
    let mask: Int
    let isEmpty: Bool

    @inline(__always)
    init(_ table: WordTable, _ schema: JSONSchema) {
        isEmpty = table.count == 0
        slots = UnsafePointer(schema.slots + Int(table.firstSlot))
        words = UnsafePointer(schema.words + Int(table.firstWord))
        characters = UnsafePointer(schema.characters)
        shift = UInt32(table.shift)
        mask = (1 &<< (32 &- Int(table.shift))) &- 1
    }

    /// The index of the word in its table, or -1.
    ///
    /// - Parameter start: of `count` bytes of a document, in which at least 8 bytes can be read from anywhere.
    @inline(__always)
    func find(_ start: UnsafeRawPointer, _ count: Int, _ hash: UInt32) -> Int {
        if isEmpty { return -1 }
        let head = Word.head(start, count)
        var slot = Int(hash &>> shift)
        while true {
            let entry = Int(slots[slot])
            if entry == 0 { return -1 }
            let word = words + (entry &- 1)
            if word.pointee.head == head, Int(word.pointee.length) == count,
                count <= 8
                    || UnsafeRawBufferPointer(start: start, count: count).equals(
                        characters + Int(word.pointee.offset))
            {
                return entry &- 1
            }
            slot = (slot &+ 1) & mask
        }
    }
}

private func allocated<T>(_ array: [T]) -> UnsafeMutablePointer<T> {
    let memory = UnsafeMutablePointer<T>.allocate(capacity: max(array.count, 1))
    memory.initialize(from: array, count: array.count)
    return memory
}

// MARK: - Checking

enum SchemaKeyword: UInt8 {
    case none, type, choice, minLength, maxLength, minimum, maximum, minItems, maxItems, minProperties, maxProperties
    case required, unknown
}

/// The first thing found wrong, small enough for registers: words are made from it only when there is one.
struct SchemaFault {
    var keyword: SchemaKeyword
    /// The node it is about.
    var node: UInt32 = 0
    var rule: Int32 = 0

    static let none = SchemaFault(keyword: .none)
}

extension JSONSchema {
    /// Recursion follows the nesting of the document, which the parser bounds.
    func check(
        rule ruleIndex: Int32, of document: UnsafePointer<csj_document>, at index: UInt32,
        marks: UnsafeMutablePointer<MemberMarks>?
    ) -> SchemaFault {
        let rule = rules + Int(ruleIndex)
        let node = document.pointee.nodes + Int(index)
        let kind = node.pointee.kind
        func fault(_ keyword: SchemaKeyword) -> SchemaFault {
            SchemaFault(keyword: keyword, node: index, rule: ruleIndex)
        }

        if rule.pointee.types & (1 << kind) == 0 {
            let isAllowedInteger =
                kind == UInt8(CSJ_NUMBER) && rule.pointee.types & Rule.integerBit != 0
                && JSONValue(document: document, index: index).isInteger
            if !isAllowedInteger { return fault(.type) }
        }
        switch Int(kind) {
        case CSJ_STRING:
            let bytes = JSONValue(document: document, index: index).utf8
            if rule.pointee.hasChoices {
                let start = bytes.baseAddress!  // of a string node: never nil
                let hash = csj_name_hash(start.assumingMemoryBound(to: UInt8.self), UInt32(bytes.count))
                if WordSearch(rule.pointee.choices, self).find(start, bytes.count, hash) < 0 { return fault(.choice) }
            }
            // A string has at least a quarter as many code points as bytes and at most as many.
            if bytes.count > Int(rule.pointee.maxLength), codePoints(bytes) > Int(rule.pointee.maxLength) {
                return fault(.maxLength)
            }
            if rule.pointee.minLength > 0, bytes.count < 4 * Int(rule.pointee.minLength),
                codePoints(bytes) < Int(rule.pointee.minLength)
            {
                return fault(.minLength)
            }
            return .none
        case CSJ_OBJECT:
            return checkMembers(ruleIndex, document, index, marks)
        case CSJ_ARRAY:
            if rule.pointee.hasChoices { return fault(.choice) }
            let count = node.pointee.count
            if count < rule.pointee.minItems { return fault(.minItems) }
            if count > rule.pointee.maxItems { return fault(.maxItems) }
            let items = rule.pointee.items
            if items < 0 { return .none }
            var element = index + 1
            while element < node.pointee.next {
                let found = check(rule: items, of: document, at: element, marks: nil)
                if found.keyword != .none { return found }
                element = document.pointee.nodes[Int(element)].next
            }
            return .none
        case CSJ_NUMBER:
            if rule.pointee.hasChoices { return fault(.choice) }
            if rule.pointee.hasMinimum || rule.pointee.hasMaximum {
                let value = JSONValue(document: document, index: index)
                if rule.pointee.hasMinimum, value.compare(with: rule.pointee.minimum) < 0 { return fault(.minimum) }
                if rule.pointee.hasMaximum, value.compare(with: rule.pointee.maximum) > 0 { return fault(.maximum) }
            }
            return .none
        default:
            return rule.pointee.hasChoices ? fault(.choice) : .none
        }
    }

    @inline(__always)
    private func checkMembers(
        _ ruleIndex: Int32, _ document: UnsafePointer<csj_document>, _ index: UInt32,
        _ marks: UnsafeMutablePointer<MemberMarks>?
    ) -> SchemaFault {
        let rule = rules + Int(ruleIndex)
        let nodes = document.pointee.nodes!  // a document has a root
        let node = nodes + Int(index)
        func fault(_ keyword: SchemaKeyword) -> SchemaFault {
            SchemaFault(keyword: keyword, node: index, rule: ruleIndex)
        }

        if rule.pointee.hasChoices { return fault(.choice) }
        if rule.pointee.countsMembers {
            if node.pointee.count < rule.pointee.minProperties { return fault(.minProperties) }
            if node.pointee.count > rule.pointee.maxProperties { return fault(.maxProperties) }
        }
        let additional = rule.pointee.additional
        let table = rule.pointee.members
        if table.count == 0, additional == Rule.anything { return .none }
        let text = UnsafeRawPointer(document.pointee.text!)
        let properties = properties + Int(rule.pointee.firstProperty)
        let search = WordSearch(table, self)
        let rules = rules
        var marked = MemberMarks()
        var bit: UInt64 = 1
        var name = node + 1
        let end = nodes + Int(node.pointee.next)
        while name < end {
            let value = name + 1
            var found = -1
            if name.pointee.flags & UInt8(CSJ_FLAG_ESCAPED) == 0 {
                // A name's node has the hash of it.
                found = search.find(
                    text + Int(name.pointee.start) + 1, Int(name.pointee.end &- name.pointee.start &- 2),
                    name.pointee.next)
            } else {
                found = find(name: UInt32(name - nodes), of: document, in: table)
            }
            var memberRule = additional
            if found >= 0 {
                marked.seen |= 1 &<< UInt64(truncatingIfNeeded: found)
                let property = properties + found
                memberRule = property.pointee.rule
                if property.pointee.isMarked { marked.mark(bit, property.pointee) }
            } else if additional == Rule.nothing {
                return SchemaFault(keyword: .unknown, node: UInt32(value - nodes), rule: ruleIndex)
            }
            if memberRule >= 0, !(rules + Int(memberRule)).pointee.isGoodString(value.pointee) {
                let found = check(rule: memberRule, of: document, at: UInt32(value - nodes), marks: nil)
                if found.keyword != .none { return found }
            }
            bit &<<= 1  // 0 from the 65th member on
            name = nodes + Int(value.pointee.next)
        }
        if let marks { marks.pointee = marked }
        return marked.seen & rule.pointee.required == rule.pointee.required ? .none : fault(.required)
    }

    /// The index of a member's name in the table, or -1.
    @inline(never)
    func find(name: UInt32, of document: UnsafePointer<csj_document>, in table: WordTable) -> Int {
        let bytes = JSONValue(document: document, index: name).utf8
        guard let start = bytes.baseAddress else { return -1 }
        return WordSearch(table, self).find(start, bytes.count, document.pointee.nodes[Int(name)].next)
    }

    /// The bit of `MemberMarks.seen` for a property of the root; 0 where it has no such property.
    package func property(named name: String) -> UInt64 {
        let table = rules[0].members
        for index in 0..<Int(table.count) where word(index, of: table) == name { return 1 << UInt64(index) }
        return 0
    }

    private func codePoints(_ bytes: UnsafeRawBufferPointer) -> Int {
        var count = 0
        for byte in bytes where byte & 0xC0 != 0x80 { count += 1 }
        return count
    }
}

// MARK: - Saying what is wrong

extension JSONSchema {
    func describe(_ fault: SchemaFault, in root: JSONValue) -> SchemaViolation {
        let rule = rules[Int(fault.rule)]
        let value = JSONValue(document: root.document, index: fault.node)
        let (keyword, message) =
            switch fault.keyword {
            case .none: ("", "")
            case .type: ("type", "expected \(typeNames(rule.types)), found \(typeName(value))")
            case .choice: ("enum", "must be one of \(list(rule.choices))")
            case .minLength: ("minLength", "shorter than \(rule.minLength) characters")
            case .maxLength: ("maxLength", "longer than \(rule.maxLength) characters")
            case .minimum: ("minimum", "less than \(rule.minimum)")
            case .maximum: ("maximum", "greater than \(rule.maximum)")
            case .minItems: ("minItems", "fewer than \(rule.minItems) elements")
            case .maxItems: ("maxItems", "more than \(rule.maxItems) elements")
            case .minProperties: ("minProperties", "fewer than \(rule.minProperties) fields")
            case .maxProperties: ("maxProperties", "more than \(rule.maxProperties) fields")
            case .required: ("required", "missing field \(missing(rule, in: value))")
            case .unknown:
                (
                    "additionalProperties",
                    "unknown field \"\(shown(JSONValue(document: root.document, index: fault.node - 1)))\"; "
                        + (rule.members.count == 0 ? "no field is known here" : "known are \(list(rule.members))")
                )
            }
        return SchemaViolation(pointer: pointer(to: fault.node, in: root), keyword: keyword, message: message)
    }

    /// The path is found again from the node's place in the table, so checking need not keep it.
    private func pointer(to node: UInt32, in root: JSONValue) -> String {
        var path = ""
        var at = root
        descent: while at.index != node {
            var position = 0
            for member in at.members {
                if node < member.value.node.pointee.next {
                    path += "/" + JSONPointer.token(shown(member.name))
                    at = member.value
                    continue descent
                }
            }
            for element in at.elements {
                if node < element.node.pointee.next {
                    path += "/\(position)"
                    at = element
                    continue descent
                }
                position += 1
            }
            break
        }
        return path
    }

    /// A member name, cut where it would fill the message.
    private func shown(_ name: JSONValue) -> String {
        let bytes = name.utf8
        if bytes.count <= 64 { return String(decoding: bytes, as: UTF8.self) }
        return String(decoding: bytes.prefix(64), as: UTF8.self) + "..."
    }

    private func word(_ index: Int, of table: WordTable) -> String {
        let word = words[Int(table.firstWord) + index]
        let bytes = UnsafeBufferPointer(start: characters + Int(word.offset), count: Int(word.length))
        return String(decoding: bytes, as: UTF8.self)
    }

    /// 64 names are all a schema can have; of long enumerations (currencies) the beginning is shown.
    private func list(_ table: WordTable) -> String {
        let shown = (0..<min(Int(table.count), 64)).map { word($0, of: table) }
        return shown.joined(separator: ", ") + (Int(table.count) > shown.count ? ", ..." : "")
    }

    private func missing(_ rule: Rule, in value: JSONValue) -> String {
        let names = (0..<Int(rule.members.count))
            .filter { rule.required & (1 << UInt64($0)) != 0 }
            .map { word($0, of: rule.members) }
        let absent = names.filter { value.member(named: $0) == nil }
        return absent.map { "\"\($0)\"" }.joined(separator: ", ")
    }

    private func typeName(_ value: JSONValue) -> String {
        switch value.kind {
        case .null: "null"
        case .boolean: "boolean"
        case .number: value.isInteger ? "integer" : "number"
        case .string: "string"
        case .array: "array"
        case .object: "object"
        }
    }

    private func typeNames(_ types: UInt8) -> String {
        let names = ["null", "boolean", "number", "string", "array", "object", "integer"]
        return names.indices.filter { types & (1 << UInt8($0)) != 0 }.map { names[$0] }.joined(separator: " or ")
    }
}
