import JSON
import Yams

/// A document as it stands in its file: YAML (or JSON, which is YAML) as the JSON it means, with the place of each part.
///
/// Plain scalars are null, booleans (`true`, `false`), whole numbers, and else texts; `yes`, `no` and dates are texts.
/// Quoted ones are always texts.
struct PolicyText {
    /// JSON.
    private(set) var json: [UInt8] = []
    private var lines: [Substring.UnicodeScalarView] = []
    /// By JSON pointer, where a value begins, and where its name does.
    private var values: [String: Mark] = [:]
    private var names: [String: Mark] = [:]

    init(_ bytes: [UInt8]) throws(PolicyFault) {
        guard bytes.count <= DocumentLimits.textBytesMax else {
            throw Self.fault(.tooLarge, nil, "longer than \(DocumentLimits.textBytesMax) bytes")
        }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw Self.fault(.unreadable, nil, "is not UTF-8")
        }
        // NUL ends a text for the library behind Yams, which would then read less than was written.
        guard !bytes.contains(0) else { throw Self.fault(.unreadable, nil, "holds a NUL character") }
        lines = text.split(separator: "\n", omittingEmptySubsequences: false).map(\.unicodeScalars)
        let document: Node?
        do { document = try Yams.compose(yaml: text) } catch {
            throw Self.fault(.unreadable, Self.mark(of: error), Self.reason(of: error))
        }
        guard let document else { throw Self.fault(.unreadable, nil, "is empty") }
        var writer = JSONWriter(reserving: bytes.count)
        try write(document, at: "", depth: 1, to: &writer)
        json = writer.bytes
    }

    /// A fault at a pointer's value, or at what is around it.
    func fault(_ code: PolicyFault.Code, at pointer: String, _ reason: String) -> PolicyFault {
        let mark = mark(of: pointer, in: values)
        return PolicyFault(
            code: code, pointer: pointer, line: mark?.line ?? 1, column: mark?.column ?? 1, reason: reason, excerpt: nil
        )
    }

    /// A fault of the name of a member.
    func fault(_ code: PolicyFault.Code, atNameOf pointer: String, _ reason: String) -> PolicyFault {
        var fault = fault(code, at: pointer, reason)
        if let mark = names[pointer] { (fault.line, fault.column) = (mark.line, mark.column) }
        return fault
    }

    /// A fault inside a text: at line `line`, column `column` of it. Where the text stands in the file as it is, the place is
    /// that of the offence; where it is folded or escaped, that of the text.
    func fault(
        _ code: PolicyFault.Code, at pointer: String, text: String, line: Int, column: Int, _ reason: String,
        excerpt: String
    ) -> PolicyFault {
        var fault = fault(code, at: pointer, reason)
        fault.excerpt = excerpt
        let wanted = Array(text.split(separator: "\n", omittingEmptySubsequences: false)[line - 1].unicodeScalars)
        guard !wanted.isEmpty, let mark = values[pointer] else { return fault }
        // A block begins on the line behind its `|`, and lines before the one that is wanted may be blank.
        for number in mark.line - 1..<min(mark.line + line + 1, lines.count) {
            let from = number == mark.line - 1 ? mark.column - 1 : 0
            let written = Array(lines[number].dropFirst(from))
            guard written.count >= wanted.count else { continue }
            for start in 0...(written.count - wanted.count) where written[start...].starts(with: wanted) {
                (fault.line, fault.column) = (number + 1, from + start + column)
                return fault
            }
        }
        return fault
    }

    private func mark(of pointer: String, in marks: [String: Mark]) -> Mark? {
        var place = pointer[...]
        while marks[String(place)] == nil, let slash = place.lastIndex(of: "/") { place = place[..<slash] }
        return marks[String(place)]
    }

    // MARK: Writing JSON

    private mutating func write(
        _ node: Node, at pointer: String, depth: Int, to writer: inout JSONWriter
    ) throws(PolicyFault) {
        if let mark = node.mark { values[pointer] = mark }
        // Aliases can make a small file huge.
        guard writer.bytes.count <= 4 * DocumentLimits.textBytesMax else {
            throw Self.fault(.tooLarge, node.mark, "too long with its aliases in place")
        }
        guard depth <= DocumentLimits.depthMax else {
            throw Self.fault(.tooLarge, node.mark, "more than \(DocumentLimits.depthMax) levels inside each other")
        }
        switch node {
        case .scalar(let scalar): write(scalar, to: &writer)
        case .sequence(let sequence):
            writer.beginArray()
            for (index, element) in sequence.enumerated() {
                try write(element, at: "\(pointer)/\(index)", depth: depth + 1, to: &writer)
            }
            writer.endArray()
        case .mapping(let mapping):
            writer.beginObject()
            for (key, value) in mapping {
                guard let name = key.scalar?.string else {
                    throw Self.fault(.unreadable, key.mark, "a name is a text")
                }
                let place = "\(pointer)/\(JSONPointer.token(name))"
                if let mark = key.mark { names[place] = mark }
                writer.key(name)
                try write(value, at: place, depth: depth + 1, to: &writer)
            }
            writer.endObject()
        case .alias: throw Self.fault(.unreadable, node.mark, "an alias without its anchor")
        }
    }

    private func write(_ scalar: Node.Scalar, to writer: inout JSONWriter) {
        guard scalar.style == .plain || scalar.style == .any else { return writer.string(scalar.string) }
        switch scalar.string {
        case "", "~", "null": writer.null()
        case "true": writer.bool(true)
        case "false": writer.bool(false)
        default:
            // Only a number that is spelled as JSON does is one: 007 and 1_000 are texts, which the form refuses.
            if let number = Int64(scalar.string), "\(number)" == scalar.string {
                writer.integer(number)
            } else {
                writer.string(scalar.string)
            }
        }
    }

    // MARK: What Yams says

    private static func fault(_ code: PolicyFault.Code, _ mark: Mark?, _ reason: String) -> PolicyFault {
        PolicyFault(
            code: code, pointer: "", line: mark?.line ?? 1, column: mark?.column ?? 1, reason: reason, excerpt: nil)
    }

    private static func mark(of error: any Error) -> Mark? {
        switch error as? YamlError {
        case .scanner(_, _, let mark, _), .parser(_, _, let mark, _), .composer(_, _, let mark, _): mark
        case .duplicatedKeysInMapping(_, let context): context.mark
        default: nil
        }
    }

    private static func reason(of error: any Error) -> String {
        switch error as? YamlError {
        case .scanner(_, let problem, _, _), .parser(_, let problem, _, _), .composer(_, let problem, _, _):
            "is not YAML: \(problem)"
        case .duplicatedKeysInMapping(let names, _): "a name stands twice: \(names.joined(separator: ", "))"
        default: "is not YAML"
        }
    }
}
