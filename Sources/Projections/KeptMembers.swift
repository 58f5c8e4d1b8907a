import Glibc
import JSON

/// The members of an event's data that some read model keeps, where they lie.
struct KeptMembers {
    /// By the raw value of `DataText`; empty where absent, or no string.
    private(set) var texts = InlineArray<9, UnsafeRawBufferPointer>(repeating: .empty)
    private(set) var isOutbound = false
    private(set) var amount: Int64?
    private(set) var currency: UnsafeRawBufferPointer?

    /// From any data.
    init(_ data: JSONValue) {
        for member in data.members {
            let value = member.value
            switch Name(member.name.utf8) {
            case .text(let text): texts[text.rawValue] = value.utf8
            case .direction: isOutbound = value.equals("outbound")
            case .amount: amount = value.int64
            case .currency: currency = value.utf8
            case nil: break
            }
        }
    }

    /// From a member list of strings without escapes, integers and words, which nearly all are; nil for any other, and for whatever
    /// looks wrong: the parser then says what it is. The log holds only lists that a parser has accepted and minified, so this one
    /// does not judge what nobody keeps.
    init?(simple members: UnsafeRawBufferPointer) {
        guard let base = members.baseAddress, members.count > 0 else { return }
        let count = members.count
        var seen: UInt16 = 0
        var next = 0
        while true {
            // 1. The name.
            guard let name = Self.string(base, at: &next, count), next < count, base[next] == UInt8(ascii: ":") else {
                return nil
            }
            next += 1
            // 2. The value.
            guard next < count else { return nil }
            let known = Name(name)
            let isString = base[next] == UInt8(ascii: "\"")
            let value: UnsafeRawBufferPointer
            if isString {
                guard let string = Self.string(base, at: &next, count) else { return nil }
                value = string
            } else {
                guard let word = Self.word(base, at: &next, count) else { return nil }
                value = word
            }
            // 3. What is kept of it.
            if let known {
                guard seen & known.bit == 0 else { return nil }
                seen |= known.bit
                switch known {
                case .text(let text): if isString { texts[text.rawValue] = value }
                case .direction: isOutbound = isString && value.equals("outbound")
                case .currency: if isString { currency = value }
                case .amount:
                    if !isString {
                        guard let integer = Self.integer(value) else { return nil }
                        amount = integer
                    }
                }
            }
            // 4. The end, or another one.
            if next == count { return }
            guard base[next] == UInt8(ascii: ",") else { return nil }
            next += 1
        }
    }

    /// The bytes of the string whose opening quote is at `next`, which is left behind the closing one; nil where it has escapes.
    @inline(__always)
    private static func string(
        _ base: UnsafeRawPointer, at next: inout Int, _ count: Int
    ) -> UnsafeRawBufferPointer? {
        guard next < count, base[next] == UInt8(ascii: "\"") else { return nil }
        let start = next + 1
        guard let quote = memchr(base + start, Int32(UInt8(ascii: "\"")), count - start) else { return nil }
        let length = UnsafeRawPointer(quote) - (base + start)
        guard memchr(base + start, Int32(UInt8(ascii: "\\")), length) == nil else { return nil }
        next = start + length + 1
        return UnsafeRawBufferPointer(start: base + start, count: length)
    }

    /// A number or a word, up to the comma or the end; nil for what it may not hold, such as a list or an object.
    @inline(__always)
    private static func word(_ base: UnsafeRawPointer, at next: inout Int, _ count: Int) -> UnsafeRawBufferPointer? {
        let start = next
        while next < count, base[next] != UInt8(ascii: ",") {
            switch base[next] {
            case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "-"),
                UInt8(ascii: "+"), UInt8(ascii: "."), UInt8(ascii: "E"):
                next += 1
            default: return nil
            }
        }
        return next > start ? UnsafeRawBufferPointer(start: base + start, count: next - start) : nil
    }

    /// Up to 18 digits, as JSON writes them; nil for any other number.
    private static func integer(_ word: UnsafeRawBufferPointer) -> Int64? {
        let isNegative = word[0] == UInt8(ascii: "-")
        let digits = word.dropFirst(isNegative ? 1 : 0)
        guard 1...18 ~= digits.count, digits.count == 1 || digits.first != UInt8(ascii: "0") else { return nil }
        var value: Int64 = 0
        for byte in digits {
            guard UInt8(ascii: "0")...UInt8(ascii: "9") ~= byte else { return nil }
            value = value * 10 + Int64(byte - UInt8(ascii: "0"))
        }
        return isNegative ? -value : value
    }

    private enum Name {
        case text(DataText), direction, amount, currency

        /// Nil for members that no model keeps.
        @inline(__always)
        init?(_ name: UnsafeRawBufferPointer) {
            switch name.count {
            case 2 where name.equals("by"): self = .text(.by)
            case 5 where name.equals("queue"): self = .text(.queue)
            case 6 where name.equals("source"): self = .text(.source)
            case 6 where name.equals("medium"): self = .text(.medium)
            case 6 where name.equals("member"): self = .text(.member)
            case 6 where name.equals("reason"): self = .text(.reason)
            case 6 where name.equals("amount"): self = .amount
            case 7 where name.equals("channel"): self = .text(.channel)
            case 8 where name.equals("campaign"): self = .text(.campaign)
            case 8 where name.equals("currency"): self = .currency
            case 9 where name.equals("direction"): self = .direction
            case 12 where name.equals("landing_page"): self = .text(.landingPage)
            default: return nil
            }
        }

        var bit: UInt16 {
            switch self {
            case .text(let text): text.bit
            case .direction: 1 << 9
            case .amount: 1 << 10
            case .currency: 1 << 11
            }
        }
    }
}

extension UnsafeRawPointer {
    @inline(__always)
    fileprivate subscript(offset: Int) -> UInt8 { load(fromByteOffset: offset, as: UInt8.self) }
}
