import JSON

/// The parser accepts what a plain recursive one accepts, and what it gives back as text is the same document.
enum JSONTarget {
    static func run(_ bytes: UnsafeRawBufferPointer) {
        var parser = JSONParser()
        let minified: [UInt8]
        do throws(JSONError) { minified = [UInt8](try parser.parse(bytes).raw) } catch {
            promise(error.offset.map { 0...bytes.count ~= $0 } ?? true, "an offset outside the document: \(error)")
            promise(!PlainJSON.accepts(bytes), "refused, and it is JSON: \(error)")
            return
        }
        promise(PlainJSON.accepts(bytes), "accepted, and it is no JSON")
        promise(minified.count <= bytes.count, "minified to more than it was")
        // Minifying again changes nothing, and all of it can be walked.
        do throws(JSONError) {
            let root = try parser.parse(minified)
            promise([UInt8](root.raw) == minified, "minified twice is not minified once")
            walk(root)
        } catch { fatalError("the minified document is refused: \(error)") }
    }

    private static func walk(_ value: JSONValue) {
        switch value.kind {
        case .object:
            var count = 0
            for member in value.members {
                promise(member.name.string != nil, "a name is no text")
                promise(member.raw.count > member.value.raw.count, "a member without its name")
                walk(member.value)
                count += 1
            }
            promise(count == value.count, "\(value.count) members, of which \(count) came")
        case .array:
            var count = 0
            for element in value.elements {
                walk(element)
                count += 1
            }
            promise(count == value.count, "\(value.count) elements, of which \(count) came")
        case .string: promise(value.string.map { Array($0.utf8) } == [UInt8](value.utf8), "a text is not its bytes")
        case .number:
            _ = value.int64
            _ = value.uint64
        case .boolean: promise(value.boolean != nil, "a boolean without a value")
        case .null: promise(value.isNull, "null is not null")
        }
    }
}

/// JSON as the parser promises to take it, written to be read, not to be fast: RFC 8259, UTF-8 without a byte order mark, no lone
/// surrogates, no name twice in one object, at most 32 deep.
private struct PlainJSON {
    private let bytes: UnsafeRawBufferPointer
    private var at = 0
    private var depth = 0

    private struct Refused: Error {}

    static func accepts(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard String(validating: bytes, as: UTF8.self) != nil else { return false }
        var reader = PlainJSON(bytes: bytes)
        do {
            try reader.value()
            reader.blanks()
            return reader.at == bytes.count
        } catch { return false }
    }

    private init(bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    private var next: UInt8? { at < bytes.count ? bytes[at] : nil }

    private mutating func blanks() {
        while let byte = next, [0x20, 0x09, 0x0A, 0x0D].contains(byte) { at += 1 }
    }

    private mutating func take(_ text: StaticString) throws {
        for index in 0..<text.utf8CodeUnitCount {
            guard next == text.utf8Start[index] else { throw Refused() }
            at += 1
        }
    }

    private mutating func takes(_ byte: UInt8) -> Bool {
        blanks()
        guard next == byte else { return false }
        at += 1
        return true
    }

    private mutating func value() throws {
        blanks()
        switch next {
        case UInt8(ascii: "{"):
            try enter()
            var names: Set<[UInt16]> = []
            if takes(UInt8(ascii: "}")) { break }
            repeat {
                blanks()
                guard names.insert(try string()).inserted else { throw Refused() }
                guard takes(UInt8(ascii: ":")) else { throw Refused() }
                try value()
            } while takes(UInt8(ascii: ","))
            guard takes(UInt8(ascii: "}")) else { throw Refused() }
        case UInt8(ascii: "["):
            try enter()
            if takes(UInt8(ascii: "]")) { break }
            repeat { try value() } while takes(UInt8(ascii: ","))
            guard takes(UInt8(ascii: "]")) else { throw Refused() }
        case UInt8(ascii: "\""):
            _ = try string()
            return
        case UInt8(ascii: "t"): return try take("true")
        case UInt8(ascii: "f"): return try take("false")
        case UInt8(ascii: "n"): return try take("null")
        default: return try number()
        }
        depth -= 1
    }

    private mutating func enter() throws {
        at += 1
        depth += 1
        guard depth <= 32 else { throw Refused() }
    }

    /// - Returns: UTF-16 of the text, without its escapes.
    private mutating func string() throws -> [UInt16] {
        try take("\"")
        var units: [UInt16] = []
        var plain: [UInt8] = []
        func flush() {
            units += Array(String(decoding: plain, as: UTF8.self).utf16)
            plain = []
        }
        while let byte = next {
            at += 1
            switch byte {
            case UInt8(ascii: "\""):
                flush()
                return units
            case UInt8(ascii: "\\"):
                flush()
                let unit = try escape()
                guard unit & 0xF800 == 0xD800 else {
                    units.append(unit)
                    continue
                }
                guard unit & 0xFC00 == 0xD800 else { throw Refused() }
                try take("\\")
                let low = try escape()
                guard low & 0xFC00 == 0xDC00 else { throw Refused() }
                units += [unit, low]
            case ..<0x20: throw Refused()
            default: plain.append(byte)
            }
        }
        throw Refused()
    }

    private mutating func escape() throws -> UInt16 {
        guard let byte = next else { throw Refused() }
        at += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return UInt16(byte)
        case UInt8(ascii: "b"): return 0x08
        case UInt8(ascii: "f"): return 0x0C
        case UInt8(ascii: "n"): return 0x0A
        case UInt8(ascii: "r"): return 0x0D
        case UInt8(ascii: "t"): return 0x09
        case UInt8(ascii: "u"):
            var unit: UInt16 = 0
            for _ in 0..<4 {
                guard let digit = next.flatMap({ Character(UnicodeScalar($0)).hexDigitValue }), bytes[at] < 0x80 else {
                    throw Refused()
                }
                unit = unit << 4 | UInt16(digit)
                at += 1
            }
            return unit
        default: throw Refused()
        }
    }

    private mutating func digits() throws {
        let start = at
        while let byte = next, UInt8(ascii: "0")...UInt8(ascii: "9") ~= byte { at += 1 }
        guard at > start else { throw Refused() }
    }

    private mutating func number() throws {
        if next == UInt8(ascii: "-") { at += 1 }
        if next == UInt8(ascii: "0") { at += 1 } else { try digits() }
        if next == UInt8(ascii: ".") {
            at += 1
            try digits()
        }
        if next == UInt8(ascii: "e") || next == UInt8(ascii: "E") {
            at += 1
            if next == UInt8(ascii: "+") || next == UInt8(ascii: "-") { at += 1 }
            try digits()
        }
    }
}
