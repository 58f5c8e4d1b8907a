import JSON

/// The members of an event's data as they are stored, such as `"channel":"web","source":"ads"`: looks one up without parsing
/// what follows it, and nothing at all where the text is simple, which it almost always is.
///
/// The text was a valid document when it was stored. Where it is not one any more, no member is found.
struct StoredMembers {
    private let text: UnsafeRawBufferPointer

    init(_ text: UnsafeRawBufferPointer) { self.text = text }

    /// Lends the decoded text of the member `name`; nil where there is no such member, or it is not a string.
    ///
    /// - Parameter name: plain characters, without an escape in JSON.
    func withText<R>(of name: StaticString, _ body: (UnsafeRawBufferPointer?) -> R) -> R {
        switch find(name) {
        case .text(let range): return body(UnsafeRawBufferPointer(rebasing: text[range]))
        case .none: return body(nil)
        case .escaped: break
        }
        // An escape in a name before it, or in the value itself: rare, so the whole is parsed.
        var parser = JSONParser(bytesMax: text.count + 2)
        let root = try? parser.parse([UInt8(ascii: "{")] + text + [UInt8(ascii: "}")])
        guard let value = root?[name], value.kind == .string else { return body(nil) }
        return body(value.utf8)
    }

    private enum Found {
        case text(Range<Int>)
        case escaped
        case none
    }

    private func find(_ name: StaticString) -> Found {
        var at = 0
        while at < text.count {
            guard let key = string(at: at) else { return .none }
            if key.isEscaped { return .escaped }
            let value = key.range.upperBound + 2
            guard value < text.count, text[value - 1] == UInt8(ascii: ":") else { return .none }
            if UnsafeRawBufferPointer(rebasing: text[key.range]).equals(name) {
                guard text[value] == UInt8(ascii: "\"") else { return .none }
                guard let found = string(at: value) else { return .none }
                return found.isEscaped ? .escaped : .text(found.range)
            }
            guard let end = endOfValue(at: value), end == text.count || text[end] == UInt8(ascii: ",") else {
                return .none
            }
            at = end + 1
        }
        return .none
    }

    /// The inside of the string whose quote stands at `start`.
    private func string(at start: Int) -> (range: Range<Int>, isEscaped: Bool)? {
        guard start < text.count, text[start] == UInt8(ascii: "\"") else { return nil }
        var isEscaped = false
        var index = start + 1
        while index < text.count {
            switch text[index] {
            case UInt8(ascii: "\""): return ((start + 1)..<index, isEscaped)
            case UInt8(ascii: "\\"):
                isEscaped = true
                index += 2
            default: index += 1
            }
        }
        return nil
    }

    /// Where the value that begins at `start` ends, which may be the end of the text.
    private func endOfValue(at start: Int) -> Int? {
        var depth = 0
        var index = start
        while index < text.count {
            switch text[index] {
            case UInt8(ascii: "\""):
                guard let string = string(at: index) else { return nil }
                index = string.range.upperBound
            case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
            case UInt8(ascii: "}"), UInt8(ascii: "]"): depth -= 1
            case UInt8(ascii: ",") where depth == 0: return index
            default: break
            }
            index += 1
        }
        return depth == 0 ? text.count : nil
    }
}
