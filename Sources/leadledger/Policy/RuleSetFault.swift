import JSON
import PolicyDocuments

/// One thing that is wrong with a rule set, found here or by the daemon. A newer daemon may know other codes.
struct RuleSetFault: Equatable {
    var code: String
    /// A JSON pointer into the document.
    var pointer: String
    /// From 1, of the text that was sent.
    var line: Int
    var column: Int
    var reason: String
    /// For a condition: its line and a caret under the offence.
    var excerpt: String?

    init(_ fault: PolicyFault) {
        code = fault.code.rawValue
        pointer = fault.pointer
        line = fault.line
        column = fault.column
        reason = fault.reason
        excerpt = fault.excerpt
    }

    /// One of `faults` in the data of a refusal `rule_set_refused`.
    init(_ value: JSONValue) {
        code = value["code"]?.string ?? ""
        pointer = value["pointer"]?.string ?? ""
        line = Int(value["line"]?.int64 ?? 1)
        column = Int(value["column"]?.int64 ?? 1)
        reason = value["reason"]?.string ?? ""
        excerpt = value["excerpt"]?.string
    }
}

/// Faults are the data that was asked for, so they go to stdout; as JSON with `--json`.
func tell(_ faults: [RuleSetFault], of file: String, isJSON: Bool, to output: Output) {
    guard isJSON else {
        for fault in faults {
            let place = fault.pointer.isEmpty ? "" : "\(fault.pointer): "
            output.line(printable("\(file):\(fault.line):\(fault.column): \(place)\(fault.reason)"))
            for line in (fault.excerpt ?? "").split(separator: "\n") { output.line("    \(printable(String(line)))") }
        }
        output.line("\(printable(file)): \(faults.count) \(faults.count == 1 ? "thing is" : "things are") wrong")
        return
    }
    output.line(
        object {
            $0.key("ok")
            $0.bool(false)
            $0.member("file", file)
            $0.key("faults")
            $0.beginArray()
            for fault in faults {
                $0.beginObject()
                $0.member("code", fault.code)
                $0.member("pointer", fault.pointer)
                $0.member("line", fault.line)
                $0.member("column", fault.column)
                $0.member("reason", fault.reason)
                $0.member("excerpt", fault.excerpt)
                $0.endObject()
            }
            $0.endArray()
        })
}
