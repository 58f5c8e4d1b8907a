/// A condition as a tree: what the parser makes, the compiler flattens, and the search for unreachable rules reads.
package indirect enum ConditionExpression: Sendable, Hashable {
    case constant(Bool)
    case test(ConditionTest)
    case not(ConditionExpression)
    /// Two or more, none of them an `and` itself.
    case and([ConditionExpression])
    /// Two or more, none of them an `or` itself.
    case or([ConditionExpression])
}

/// One question about one field.
package struct ConditionTest: Sendable, Hashable {
    /// A number as of `LeadFacts.values`.
    package var field: Int
    /// As conditions name it.
    package var name: String
    package var question: Question

    package enum Question: Sendable, Hashable {
        case isPresent
        case compare(Comparison, FactValue)
        case isOneOf([FactValue])
        case isWithin(FactValue, FactValue)
        case startsWith([UInt8])
    }

    package enum Comparison: String, Sendable, CaseIterable {
        case equal = "=="
        case notEqual = "!="
        case less = "<"
        case lessOrEqual = "<="
        case greater = ">"
        case greaterOrEqual = ">="
    }

    package init(field: Int, name: String, question: Question) {
        self.field = field
        self.name = name
        self.question = question
    }
}

extension ConditionTest {
    /// The answer for a value of the field, as `Condition` says. The flat program has its own way to it; a test holds one
    /// against the other.
    func holds(for value: FactValue) -> Bool {
        switch question {
        case .isPresent: return value != .absent
        case .compare(let comparison, let literal):
            guard let order = value.order(against: literal) else { return false }
            return switch comparison {
            case .equal: order == 0
            case .notEqual: order != 0
            case .less: order < 0
            case .lessOrEqual: order <= 0
            case .greater: order > 0
            case .greaterOrEqual: order >= 0
            }
        case .isOneOf(let literals): return literals.contains(value)
        case .isWithin(let low, let high):
            guard let above = value.order(against: low), let below = value.order(against: high) else { return false }
            return above >= 0 && below <= 0
        case .startsWith(let prefix):
            guard case .text(let text) = value else { return false }
            return text.starts(with: prefix)
        }
    }
}

extension FactValue {
    /// Nil where one is of another type than the other.
    func isEqual(to literal: FactValue) -> Bool? {
        switch (self, literal) {
        case (.integer(let a), .integer(let b)): a == b
        case (.boolean(let a), .boolean(let b)): a == b
        case (.text(let a), .text(let b)): a == b
        default: nil
        }
    }

    /// Below 0, 0 or above 0; nil for values of unlike types, which no comparison is true of.
    func order(against literal: FactValue) -> Int? {
        switch (self, literal) {
        case (.integer(let a), .integer(let b)): return a < b ? -1 : a == b ? 0 : 1
        case (.boolean(let a), .boolean(let b)): return a == b ? 0 : a ? 1 : -1
        case (.text(let a), .text(let b)):
            if a == b { return 0 }
            return a.lexicographicallyPrecedes(b) ? -1 : 1
        default: return nil
        }
    }
}

// MARK: - As text again

extension ConditionExpression {
    /// The condition as a person would write it, with as few parentheses as make it plain. Parsing it gives this tree.
    package var text: String {
        switch self {
        case .constant(let value): value ? "true" : "false"
        case .test(let test): test.text
        case .not(let inner):
            switch inner {
            case .constant: "not \(inner.text)"
            case .test(let test) where test.question == .isPresent: "not \(inner.text)"
            default: "not (\(inner.text))"
            }
        case .and(let parts):
            parts.map { part in
                if case .or = part { "(\(part.text))" } else { part.text }
            }.joined(separator: " and ")
        case .or(let parts): parts.map(\.text).joined(separator: " or ")
        }
    }
}

extension ConditionTest {
    var text: String {
        switch question {
        case .isPresent: "present \(name)"
        case .compare(let comparison, let value): "\(name) \(comparison.rawValue) \(value.literalText)"
        case .isOneOf(let values): "\(name) in [\(values.map(\.literalText).joined(separator: ", "))]"
        case .isWithin(let low, let high): "\(name) in \(low.literalText)..\(high.literalText)"
        case .startsWith(let prefix): "\(name) starts_with \(FactValue.text(prefix).literalText)"
        }
    }
}

extension FactValue {
    /// As conditions write it.
    package var literalText: String {
        switch self {
        case .absent: "absent"
        case .integer(let number): "\(number)"
        case .boolean(let value): value ? "true" : "false"
        case .text(let bytes): quotedForCondition(String(decoding: bytes, as: UTF8.self))
        }
    }
}

func quotedForCondition(_ text: String) -> String {
    var quoted = "\""
    for scalar in text.unicodeScalars {
        if scalar == "\"" || scalar == "\\" { quoted += "\\" }
        quoted.unicodeScalars.append(scalar)
    }
    return quoted + "\""
}

// MARK: - As a flat program

extension Condition {
    package init(_ expression: ConditionExpression) {
        var compiler = ConditionCompiler()
        compiler.emit(expression)
        text = expression.text
        instructions = compiler.instructions
        literals = compiler.literals
    }
}

/// The parser bounds nodes so that every number here fits into 16 bits.
private struct ConditionCompiler {
    var instructions: [Condition.Instruction] = []
    var literals: [FactValue] = []

    mutating func emit(_ expression: ConditionExpression) {
        switch expression {
        case .constant(let value): instructions.append(.init(code: value ? .constantTrue : .constantFalse))
        case .test(let test): emit(test)
        case .not(let inner):
            emit(inner)
            instructions.append(.init(code: .not))
        case .and(let parts): emit(parts, leavingOn: .jumpIfFalse)
        case .or(let parts): emit(parts, leavingOn: .jumpIfTrue)
        }
    }

    private mutating func emit(_ parts: [ConditionExpression], leavingOn jump: Condition.Instruction.Code) {
        var jumps: [Int] = []
        for (number, part) in parts.enumerated() {
            emit(part)
            guard number < parts.count - 1 else { break }
            jumps.append(instructions.count)
            instructions.append(.init(code: jump))
        }
        for at in jumps { instructions[at].operand = UInt16(instructions.count) }
    }

    private mutating func emit(_ test: ConditionTest) {
        var instruction = Condition.Instruction(code: .present, field: UInt16(test.field))
        instruction.operand = UInt16(literals.count)
        switch test.question {
        case .isPresent: break
        case .compare(let comparison, let value):
            literals.append(value)
            instruction.code =
                switch comparison {
                case .equal: .equal
                case .notEqual: .notEqual
                case .less: .less
                case .lessOrEqual: .lessOrEqual
                case .greater: .greater
                case .greaterOrEqual: .greaterOrEqual
                }
        case .isOneOf(let values):
            literals += values
            instruction.code = .oneOf
            instruction.count = UInt16(values.count)
        case .isWithin(let low, let high):
            literals += [low, high]
            instruction.code = .range
        case .startsWith(let prefix):
            literals.append(.text(prefix))
            instruction.code = .startsWith
        }
        instructions.append(instruction)
    }
}
