/// A compiled condition over the fields of a lead: a flat program that always ends, since it only ever jumps forward.
///
/// The language, from loose to tight:
///
///     a or b      a and b      not a      (a)      true      false
///     F == V   F != V   F < V   F <= V   F > V   F >= V
///     F in [V, V, ...]      F in V..V (both ends belong to it)      F starts_with "text"
///     present F
///
/// F is a field (`LeadField`, or `custom.name`, `custom."any name"`). V is a text in double quotes, a whole number, `true` or
/// `false`. Texts are compared by their bytes, so `<` orders them as their UTF-8 does.
///
/// What a missing field means: every comparison with it is false, `!=` as much as `==`. Only `present F` tells, and `not`
/// turns either around: `not (country == "BR")` is true of a lead without a country, `country != "BR"` is not. A field of the
/// sender's own that holds another type than it is compared with counts as missing in that comparison, and is present.
///
/// Evaluating allocates nothing and reads each instruction at most once.
package struct Condition: Sendable, Equatable {
    /// As a person would write it again: one spelling for each meaning of the source's parts, spaces and parentheses.
    package let text: String
    let instructions: [Instruction]
    /// What instructions compare with.
    let literals: [FactValue]

    /// The result so far is one boolean; `and` and `or` jump over what can no longer change it.
    struct Instruction: Sendable, Equatable {
        enum Code: UInt8, Sendable {
            case constantTrue, constantFalse, present
            case equal, notEqual, less, lessOrEqual, greater, greaterOrEqual, startsWith
            /// `literals[operand..<operand + count]`.
            case oneOf
            /// From `literals[operand]` to `literals[operand + 1]`, both included.
            case range
            case not
            /// To instruction `operand`.
            case jumpIfFalse, jumpIfTrue
        }

        var code: Code
        var field: UInt16 = 0
        var operand: UInt16 = 0
        var count: UInt16 = 0
    }

    /// Whether it is true of a lead.
    package func holds(for facts: LeadFacts) -> Bool {
        // A rule set asks hundreds of them for each lead: elements are lent and not retained.
        instructions.withUnsafeBufferPointer { instructions in
            literals.withUnsafeBufferPointer { literals in
                facts.values.withUnsafeBufferPointer { Self.run(instructions, literals, $0) }
            }
        }
    }

    private static func run(
        _ instructions: UnsafeBufferPointer<Instruction>, _ literals: UnsafeBufferPointer<FactValue>,
        _ values: UnsafeBufferPointer<FactValue>
    ) -> Bool {
        var result = false
        var at = 0
        while at < instructions.count {
            let instruction = instructions[at]
            at += 1
            switch instruction.code {
            case .constantTrue: result = true
            case .constantFalse: result = false
            case .not: result.toggle()
            case .jumpIfFalse: if !result { at = Int(instruction.operand) }
            case .jumpIfTrue: if result { at = Int(instruction.operand) }
            default: result = test(instruction, values[Int(instruction.field)], literals)
            }
        }
        return result
    }

    @inline(__always)
    private static func test(
        _ instruction: Instruction, _ value: FactValue, _ literals: UnsafeBufferPointer<FactValue>
    ) -> Bool {
        if case .absent = value { return false }
        let operand = Int(instruction.operand)
        switch instruction.code {
        case .present: return true
        case .equal: return value.isEqual(to: literals[operand]) ?? false
        case .notEqual: return value.isEqual(to: literals[operand]).map { !$0 } ?? false
        case .oneOf:
            for index in operand..<operand + Int(instruction.count) where value == literals[index] { return true }
            return false
        case .range:
            guard let low = value.order(against: literals[operand]),
                let high = value.order(against: literals[operand + 1])
            else {
                return false
            }
            return low >= 0 && high <= 0
        case .startsWith:
            guard case .text(let text) = value, case .text(let prefix) = literals[operand] else { return false }
            return text.starts(with: prefix)
        default:
            guard let order = value.order(against: literals[operand]) else { return false }
            switch instruction.code {
            case .less: return order < 0
            case .lessOrEqual: return order <= 0
            case .greater: return order > 0
            default: return order >= 0
            }
        }
    }
}
