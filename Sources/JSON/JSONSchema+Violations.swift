import CSimdJSON

extension JSONSchema {
    /// All that is wrong with the value, in the order of its text: for documents that people write and want to mend in one
    /// go. Empty exactly where `validate` gives nil; else its violation is among them.
    ///
    /// Slower than `validate`, since a part that is wrong is looked at once for each level above it.
    ///
    /// - Parameter max: no more than so many are looked for.
    package func violations(in value: JSONValue, max: Int) -> [SchemaViolation] {
        var faults: [SchemaFault] = []
        collect(rule: 0, of: value.document, at: value.index, into: &faults, max: max)
        return faults.map { describe($0, in: value) }
    }

    /// Recursion follows the nesting of the document, which the parser bounds.
    private func collect(
        rule ruleIndex: Int32, of document: UnsafePointer<csj_document>, at index: UInt32,
        into faults: inout [SchemaFault],
        max: Int
    ) {
        guard faults.count < max else { return }
        let first = check(rule: ruleIndex, of: document, at: index, marks: nil)
        guard first.keyword != .none else { return }
        // 1. What concerns the value as a whole. Where it is no value of its kind, its parts have nothing to be held against.
        if first.node == index, first.keyword != .required {
            faults.append(first)
            if first.keyword == .type || first.keyword == .choice { return }
        }
        let rule = rules[Int(ruleIndex)]
        let node = document.pointee.nodes[Int(index)]
        let end = node.next
        // 2. Its parts.
        if node.kind == UInt8(CSJ_ARRAY), rule.items >= 0 {
            var element = index + 1
            while element < end {
                collect(rule: rule.items, of: document, at: element, into: &faults, max: max)
                element = document.pointee.nodes[Int(element)].next
            }
        }
        guard node.kind == UInt8(CSJ_OBJECT) else { return }
        var seen: UInt64 = 0
        var name = index + 1
        while name < end {
            let found = find(JSONValue(document: document, index: name).utf8, in: rule.members)
            var memberRule = rule.additional
            if found >= 0 {
                seen |= 1 << UInt64(found)
                memberRule = properties[Int(rule.firstProperty) + found].rule
            } else if rule.additional == Rule.nothing, faults.count < max {
                faults.append(SchemaFault(keyword: .unknown, node: name + 1, rule: ruleIndex))
            }
            if memberRule >= 0 { collect(rule: memberRule, of: document, at: name + 1, into: &faults, max: max) }
            name = document.pointee.nodes[Int(name) + 1].next
        }
        // 3. What it lacks.
        if seen & rule.required != rule.required, faults.count < max {
            faults.append(SchemaFault(keyword: .required, node: index, rule: ruleIndex))
        }
    }
}
