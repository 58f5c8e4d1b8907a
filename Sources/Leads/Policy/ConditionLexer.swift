/// A word of a condition.
enum ConditionToken: Equatable {
    case field(String)
    case and, or, not, present, startsWith, isIn, boolean(Bool)
    case text([UInt8])
    case integer(Int64)
    case comparison(ConditionTest.Comparison)
    case range, comma, openBracket, closeBracket, openParenthesis, closeParenthesis
    case end

    /// As messages call it.
    var shown: String {
        switch self {
        case .field(let name): "the field \(name)"
        case .and: "and"
        case .or: "or"
        case .not: "not"
        case .present: "present"
        case .startsWith: "starts_with"
        case .isIn: "in"
        case .boolean(let value): value ? "true" : "false"
        case .text(let bytes): shortened(quotedForCondition(String(decoding: bytes, as: UTF8.self)))
        case .integer(let number): "\(number)"
        case .comparison(let comparison): comparison.rawValue
        case .range: ".."
        case .comma: "a comma"
        case .openBracket: "["
        case .closeBracket: "]"
        case .openParenthesis: "("
        case .closeParenthesis: ")"
        case .end: "the end"
        }
    }

    private func shortened(_ text: String) -> String {
        text.unicodeScalars.count <= 40
            ? text : String(String.UnicodeScalarView(text.unicodeScalars.prefix(40))) + "...\""
    }
}

/// Cuts a condition into words, one at a time.
struct ConditionLexer {
    let text: [UInt8]
    private(set) var offset = 0

    init(_ text: [UInt8]) { self.text = text }

    func failure(at offset: Int, _ reason: String) -> ConditionError { ConditionError(in: text, at: offset, reason) }

    /// The next word and where it begins.
    mutating func next() throws(ConditionError) -> (token: ConditionToken, start: Int) {
        while let byte = peek(), byte == 0x20 || byte == 0x09 || byte == 0x0A || byte == 0x0D { offset += 1 }
        let start = offset
        guard let byte = peek() else { return (.end, start) }
        switch byte {
        case UInt8(ascii: "("): return (single(.openParenthesis), start)
        case UInt8(ascii: ")"): return (single(.closeParenthesis), start)
        case UInt8(ascii: "["): return (single(.openBracket), start)
        case UInt8(ascii: "]"): return (single(.closeBracket), start)
        case UInt8(ascii: ","): return (single(.comma), start)
        case UInt8(ascii: "\""), UInt8(ascii: "'"): return (.text(try quoted()), start)
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"): return (.integer(try integer()), start)
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "_"):
            return (try word(), start)
        default: return (try sign(), start)
        }
    }

    private func peek(_ distance: Int = 0) -> UInt8? {
        offset + distance < text.count ? text[offset + distance] : nil
    }

    private mutating func single(_ token: ConditionToken) -> ConditionToken {
        offset += 1
        return token
    }

    private mutating func sign() throws(ConditionError) -> ConditionToken {
        for sign in ["==", "!=", "<=", ">=", "<", ">"] where text[offset...].starts(with: sign.utf8) {
            // "<>" is how some languages write "!=".
            if sign == "<", peek(1) == UInt8(ascii: ">") { throw failure(at: offset, "write != for unequal") }
            offset += sign.utf8.count
            return .comparison(ConditionTest.Comparison(rawValue: sign)!)  // the list above is its raw values
        }
        if text[offset...].starts(with: "..".utf8) {
            offset += 2
            return .range
        }
        for (written, right) in [("=", "=="), ("&&", "and"), ("||", "or"), ("!", "not")]
        where text[offset...].starts(with: written.utf8) {
            throw failure(at: offset, "write \(right) for \(written)")
        }
        let rest = String(decoding: text[offset...].prefix(4), as: UTF8.self)
        let scalar = rest.unicodeScalars.first.map { String($0) } ?? ""
        throw failure(at: offset, "\(quotedForCondition(scalar)) has no meaning here")
    }

    /// In double or single quotes; a backslash keeps the next quote or backslash from ending the text or meaning itself.
    private mutating func quoted() throws(ConditionError) -> [UInt8] {
        let start = offset
        let quote = text[offset]
        offset += 1
        var bytes: [UInt8] = []
        while let byte = peek() {
            offset += 1
            switch byte {
            case quote: return bytes
            case UInt8(ascii: "\\"):
                guard let escaped = peek(),
                    [UInt8(ascii: "\\"), UInt8(ascii: "\""), UInt8(ascii: "'")].contains(escaped)
                else { throw failure(at: offset - 1, "after a backslash: expected a quote or a backslash") }
                bytes.append(escaped)
                offset += 1
            case 0..<0x20, 0x7F:
                throw failure(at: offset - 1, "a control character inside a text; the quote may be open")
            default: bytes.append(byte)
            }
        }
        throw failure(at: start, "the quote that opens here is never closed")
    }

    private mutating func integer() throws(ConditionError) -> Int64 {
        let start = offset
        let isNegative = peek() == UInt8(ascii: "-")
        if isNegative { offset += 1 }
        var number: Int64 = 0
        var digits = 0
        while let byte = peek() {
            if byte == UInt8(ascii: "_"), digits > 0 {
                offset += 1
                continue
            }
            guard byte &- UInt8(ascii: "0") < 10 else { break }
            let (product, overflows) = number.multipliedReportingOverflow(by: 10)
            let (sum, overflowsToo) = product.subtractingReportingOverflow(Int64(byte - UInt8(ascii: "0")))
            if overflows || overflowsToo { throw failure(at: start, "the number does not fit into 64 bits") }
            number = sum
            digits += 1
            offset += 1
        }
        guard digits > 0 else { throw failure(at: start, "expected digits after the sign") }
        if peek() == UInt8(ascii: "."), peek(1) != UInt8(ascii: ".") {
            throw failure(at: start, "numbers are whole here; amounts are in minor units (1299 for 12.99)")
        }
        if let byte = peek(), isWordByte(byte) { throw failure(at: offset, "a number ends before a letter") }
        // Counted downwards, since there is one number more below zero than above.
        if isNegative { return number }
        guard number != .min else { throw failure(at: start, "the number does not fit into 64 bits") }
        return -number
    }

    /// A keyword or a field. What follows `custom.` may be in quotes, since senders name their fields as they like.
    private mutating func word() throws(ConditionError) -> ConditionToken {
        let start = offset
        while let byte = peek(), isWordByte(byte) || (byte == UInt8(ascii: ".") && peek(1) != UInt8(ascii: ".")) {
            offset += 1
        }
        let name = String(decoding: text[start..<offset], as: UTF8.self)
        if name == "custom." {
            let quote = peek()
            guard quote == UInt8(ascii: "\"") || quote == UInt8(ascii: "'") else {
                throw failure(at: offset, "expected a name after custom.")
            }
            return .field(name + String(decoding: try quoted(), as: UTF8.self))
        }
        switch name {
        case "and": return .and
        case "or": return .or
        case "not": return .not
        case "present": return .present
        case "starts_with": return .startsWith
        case "in": return .isIn
        case "true": return .boolean(true)
        case "false": return .boolean(false)
        case "AND", "OR", "NOT", "IN", "And", "Or", "Not", "In", "TRUE", "FALSE", "True", "False":
            throw failure(at: start, "write \(name.lowercased()) for \(name)")
        default: return .field(name)
        }
    }

    private func isWordByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"):
            true
        default: false
        }
    }
}
