// How a decision is stored: the data of `lead.assigned` or `lead.queued`, as JSON. Drawn here, described in the schemas, read back
// as a `DecisionRecord`.
//
//     {"member":"kim","mode":"push","decision":{
//       "policy":"sales","version":41,            the rule set: its policy, and the position of its policy.published
//       "basis":812,"at":"2026-03-02T09:00:00Z",  the first position not seen, and the instant that stood for now
//       "zones":"2025b","seed":"spring",
//       "trigger":{"kind":"arrival","position":811},
//       "owners":[{"match":"account","member":"lea","refused":"leave"}],
//       "matched":["emea","big"],"pool":"emea","language":"de",
//       "candidates":[
//         {"member":"kim","weight":1,"gain":2147483648,"owed":0,"open":3},
//         {"member":"bo","weight":1,"gain":2147483648,"owed":0,"open":4},
//         {"member":"al","refused":"pause open:12/12"}],
//       "path":[{"by":"least_open","left":1}]}}
//
// A refused candidate has the codes of all reasons (`Refusals.code`), with the count and the cap, or the seconds left, behind a
// colon. Under `"absence_ignored":true` the absent ones take part: `away` says h (out of hours), l (leave), p (paused). `won` is
// [won, won or lost]; `last` the position of the last assignment in this pool, left out for never.
//
// Several decisions may be stored in one unit, each having looked at those before it. Such a one says by `"unit":3` how many events
// of its unit lie before it, and a `last` of `basis` + i stands for the i-th event of the unit: it was written before the unit had a
// place in the log. Reading turns it into that event's position.

extension Decision {
    /// Appends the data of the event that this decision becomes. The ids are those of `state`.
    package func appendData(to bytes: inout [UInt8], _ state: RouterState) {
        var text = JSONText(bytes: bytes)
        bytes = []
        text.begin("{")
        switch outcome {
        case .matched(let member), .picked(let member), .manager(let member):
            text.member("member", state.id(of: member))
            if case .matched = outcome {
                text.member("mode", "match")
            } else if trigger.kind == .pull {
                text.member("mode", "pull")
            } else {
                text.member("mode", "push")
            }
        case .queued(let reason):
            if let pool { text.member("queue", plan.ruleSet.pools[pool].id) }
            text.member("reason", reason.text)
            if let due { text.member("due", due) }
        }
        text.key("decision")
        append(to: &text, state)
        text.end("}")
        bytes = text.bytes
    }

    private func append(to text: inout JSONText, _ state: RouterState) {
        let rules = plan.ruleSet
        text.begin("{")
        text.member("policy", rules.id)
        text.member("version", plan.version)
        text.member("basis", basis)
        if unit > 0 { text.member("unit", unit) }
        text.member("at", instant)
        text.member("zones", plan.environment.timeZoneVersion)
        text.member("seed", rules.seed)
        text.key("trigger")
        text.begin("{")
        text.member("kind", trigger.kind.word)
        text.member("position", trigger.position)
        text.end("}")
        if !owners.isEmpty {
            text.key("owners")
            text.begin("[")
            for owner in owners {
                text.begin("{")
                text.member("match", owner.match.rawValue)
                text.member("member", state.id(of: owner.candidate.member))
                if !owner.candidate.isEligible { owner.candidate.appendRefusals(to: &text) }
                text.end("}")
            }
            text.end("]")
        }
        if !matched.isEmpty {
            text.key("matched")
            text.begin("[")
            for territory in matched { text.string(rules.territories[territory].id) }
            text.end("]")
        }
        if let pool { text.member("pool", rules.pools[pool].id) }
        if let language { text.member("language", language) }
        if !candidates.isEmpty {
            text.key("candidates")
            text.begin("[")
            for candidate in candidates { candidate.append(to: &text, state) }
            text.end("]")
        }
        if ignoresAbsence { text.member("absence_ignored", true) }
        if explores { text.member("explored", true) }
        if !path.isEmpty {
            text.key("path")
            text.begin("[")
            for step in path {
                text.begin("{")
                text.member("by", step.by.word)
                text.member("left", step.left)
                text.end("}")
            }
            text.end("]")
        }
        if case .manager = outcome { text.member("manager", true) }
        text.end("}")
    }
}

extension Candidate {
    func append(to text: inout JSONText, _ state: RouterState) {
        text.begin("{")
        text.member("member", state.id(of: member))
        guard looked.contains(.rotation) else {
            appendRefusals(to: &text)
            text.end("}")
            return
        }
        text.member("weight", weight)
        text.member("gain", gain)
        text.member("owed", owed)
        if looked.contains(.skill) { text.member("skill", skill) }
        if looked.contains(.open) { text.member("open", Self.written(open)) }
        if looked.contains(.performance) {
            text.key("won")
            text.begin("[")
            text.integer(Self.written(won))
            text.integer(Self.written(ended))
            text.end("]")
        }
        if looked.contains(.last), last > 0 { text.member("last", last - 1) }
        if !refusals.isEmpty {
            text.key("away")
            text.quote()
            if refusals.contains(.outOfHours) { text.bytes.append(UInt8(ascii: "h")) }
            if refusals.contains(.leave) { text.bytes.append(UInt8(ascii: "l")) }
            if refusals.contains(.paused) { text.bytes.append(UInt8(ascii: "p")) }
            text.unquote()
        }
        text.end("}")
    }

    func appendRefusals(to text: inout JSONText) {
        text.key("refused")
        text.quote()
        var isFirst = true
        var rest = refusals.rawValue
        while rest != 0 {
            let reason = Refusals(rawValue: rest & (0 &- rest))
            rest &= rest - 1
            if !isFirst { text.bytes.append(UInt8(ascii: " ")) }
            isFirst = false
            text.plain(reason.code)
            switch reason {
            case .openCap: text.ratio(Self.written(open), Self.written(openCap))
            case .dailyCap: text.ratio(Self.written(today), Self.written(dailyCap))
            case .rollingCap: text.ratio(Self.written(rolling), Self.written(rollingCap))
            case .coolDown:
                text.bytes.append(UInt8(ascii: ":"))
                text.digits(UInt64(min(coolSeconds, RoutingLimits.writtenSecondsMax)))
            default: break
            }
        }
        text.unquote()
    }

    private static func written(_ count: Int32) -> Int32 { min(count, Int32(RoutingLimits.writtenCountMax)) }
}

/// JSON text under construction, for decisions and the entries of clocks: Leads knows no other module, and writes nothing else.
struct JSONText {
    var bytes: [UInt8]
    private var needsComma = false

    init(bytes: consuming [UInt8]) { self.bytes = bytes }

    mutating func begin(_ bracket: Unicode.Scalar) {
        separate()
        bytes.append(UInt8(ascii: bracket))
        needsComma = false
    }

    mutating func end(_ bracket: Unicode.Scalar) {
        bytes.append(UInt8(ascii: bracket))
        needsComma = true
    }

    mutating func key(_ name: StaticString) {
        separate()
        bytes.append(UInt8(ascii: "\""))
        plain(name)
        bytes.append(UInt8(ascii: "\""))
        bytes.append(UInt8(ascii: ":"))
        needsComma = false
    }

    /// A name or word of ours, which needs no escaping.
    mutating func plain(_ text: StaticString) {
        text.withUTF8Buffer { bytes.append(contentsOf: $0) }
    }

    mutating func quote() {
        separate()
        bytes.append(UInt8(ascii: "\""))
    }

    mutating func unquote() {
        bytes.append(UInt8(ascii: "\""))
        needsComma = true
    }

    mutating func string(_ text: String) {
        var text = text
        text.withUTF8 { string($0) }
    }

    mutating func string(_ text: UnsafeBufferPointer<UInt8>) {
        quote()
        if text.allSatisfy({ $0 >= 0x20 && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "\\") }) {
            bytes.append(contentsOf: text)
        } else {
            for byte in text { escaped(byte) }
        }
        unquote()
    }

    private mutating func escaped(_ byte: UInt8) {
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"):
            bytes.append(UInt8(ascii: "\\"))
            bytes.append(byte)
        case 0..<0x20:
            plain("\\u00")
            for digit in [byte >> 4, byte & 15] {
                bytes.append(digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10)
            }
        default: bytes.append(byte)
        }
    }

    mutating func integer(_ value: some FixedWidthInteger) {
        separate()
        if value < 0 { bytes.append(UInt8(ascii: "-")) }
        digits(UInt64(value.magnitude))
        needsComma = true
    }

    mutating func digits(_ value: UInt64) {
        var buffer = InlineArray<20, UInt8>(repeating: 0)
        var at = 20
        var rest = value
        repeat {
            let (quotient, digit) = rest.quotientAndRemainder(dividingBy: 10)
            at -= 1
            buffer[at] = UInt8(ascii: "0") + UInt8(truncatingIfNeeded: digit)
            rest = quotient
        } while rest > 0
        for index in at..<20 { bytes.append(buffer[index]) }
    }

    /// `:11/12`, inside a string.
    mutating func ratio(_ count: Int32, _ cap: Int32) {
        bytes.append(UInt8(ascii: ":"))
        digits(UInt64(max(0, count)))
        bytes.append(UInt8(ascii: "/"))
        digits(UInt64(max(0, cap)))
    }

    mutating func member(_ name: StaticString, _ value: String) {
        key(name)
        string(value)
    }

    mutating func member(_ name: StaticString, _ value: StaticString) {
        key(name)
        quote()
        plain(value)
        unquote()
    }

    mutating func member(_ name: StaticString, _ value: [UInt8]) {
        key(name)
        value.withUnsafeBufferPointer { string($0) }
    }

    mutating func member(_ name: StaticString, _ value: some FixedWidthInteger) {
        key(name)
        integer(value)
    }

    mutating func member(_ name: StaticString, _ value: Bool) {
        key(name)
        value ? plain("true") : plain("false")
        needsComma = true
    }

    mutating func member(_ name: StaticString, _ value: Instant) {
        key(name)
        quote()
        value.append(to: &bytes)
        unquote()
    }

    private mutating func separate() {
        if needsComma { bytes.append(UInt8(ascii: ",")) }
        needsComma = false
    }
}
