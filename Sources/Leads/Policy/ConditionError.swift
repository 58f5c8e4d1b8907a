/// Why a text is no condition, and where in it.
package struct ConditionError: Error, Equatable, Sendable, CustomStringConvertible {
    /// In bytes of the text.
    package var offset: Int
    /// From 1; columns count Unicode scalars, as editors and YAML do.
    package var line: Int
    package var column: Int
    /// What was expected, and what stands there.
    package var reason: String
    /// The line and, under it, a caret below the offence; of a long line the part around it.
    package var excerpt: String

    package var description: String { "\(line):\(column): \(reason)\n\(excerpt)" }

    init(in text: [UInt8], at offset: Int, _ reason: String) {
        self.offset = offset
        self.reason = reason
        let newline = UInt8(ascii: "\n")
        line = 1 + text[..<offset].count { $0 == newline }
        let start = text[..<offset].lastIndex(of: newline).map { $0 + 1 } ?? 0
        let end = text[offset...].firstIndex(of: newline) ?? text.count
        let before = Array(String(decoding: text[start..<offset], as: UTF8.self).unicodeScalars)
        let behind = Array(String(decoding: text[offset..<end], as: UTF8.self).unicodeScalars)
        column = before.count + 1

        // A terminal shows 80 columns; what is on either side of the caret is what helps.
        let shownBefore = before.suffix(48), shownBehind = behind.prefix(28)
        var shown = String.UnicodeScalarView()
        var blank = String.UnicodeScalarView()
        if shownBefore.count < before.count {
            shown.append(contentsOf: "...".unicodeScalars)
            blank.append(contentsOf: "   ".unicodeScalars)
        }
        for scalar in shownBefore {
            shown.append(Self.printable(scalar))
            blank.append(scalar == "\t" ? "\t" : " ")
        }
        for scalar in shownBehind { shown.append(Self.printable(scalar)) }
        if shownBehind.count < behind.count { shown.append(contentsOf: "...".unicodeScalars) }
        excerpt = String(shown) + "\n" + String(blank) + "^"
    }

    /// Nothing that a terminal would obey.
    private static func printable(_ scalar: Unicode.Scalar) -> Unicode.Scalar {
        let isControl = scalar.properties.generalCategory == .control || scalar.properties.generalCategory == .format
        return isControl && scalar != "\t" ? "\u{FFFD}" : scalar
    }
}
