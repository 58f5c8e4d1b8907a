/// What is wrong with the bytes of a time zone file, and at which byte.
package struct TimeZoneProblem: Error, Equatable, Sendable {
    package enum Reason: Equatable, Sendable {
        /// It does not begin with `TZif`.
        case notTZif
        /// Version 1 has no times beyond 2037 and no rule for what comes after; later ones than 4 are not known. The byte as it
        /// stands in the file.
        case version(UInt8)
        /// The bytes end before what their own counts announce.
        case truncated
        /// A header announces no local time type, or more than the 256 that a byte can name.
        case typeCount
        /// There are neither no standard/wall (or UT/local) indicators nor as many as types, or one is neither 0 nor 1.
        case indicators
        /// The file counts leap seconds (as those below `right/` do), and this ledger's instants do not.
        case leapSeconds
        case changesNotAscending
        case noSuchType
        /// An offset from UTC outside -24:59:59 to 25:59:59 (RFC 8536, section 3.2).
        case offsetOutOfRange
        /// The daylight saving mark is neither 0 nor 1.
        case daylightMark
        /// The abbreviation of a type lies outside the table of them, or does not end there.
        case abbreviation
        /// The rule for the time after the last change does not read as one.
        case rule(StaticStringText)
        /// The rule says another offset than the last change that it is to continue.
        case ruleContradictsChanges
        case trailing
    }

    package var reason: Reason
    /// The byte of the file where reading stopped.
    package var offset: Int

    package init(_ reason: Reason, at offset: Int) {
        self.reason = reason
        self.offset = offset
    }

    /// A clause for a person: "the changes of its offset are not in ascending order, at byte 812".
    package var message: String {
        let what =
            switch reason {
            case .notTZif: "it does not begin with TZif"
            case .version(let byte):
                byte == 0
                    ? "it is a TZif file of version 1, which has 32 bits of time and no rule for later years"
                    : "TZif version \(Character(Unicode.Scalar(byte)).debugDescription) is not known"
            case .truncated: "it ends before what its header announces"
            case .typeCount: "it must announce 1 to 256 local time types"
            case .indicators: "its indicators are not one 0 or 1 for each local time type"
            case .leapSeconds: "it counts leap seconds; take the file without right/ in its name"
            case .changesNotAscending: "the changes of its offset are not in ascending order"
            case .noSuchType: "a change names a local time type that is not there"
            case .offsetOutOfRange: "an offset from UTC lies outside -24:59:59 to 25:59:59"
            case .daylightMark: "a daylight saving mark is neither 0 nor 1"
            case .abbreviation: "an abbreviation lies outside the table of abbreviations"
            case .rule(let expected): "the rule for later years: expected \(expected.text)"
            case .ruleContradictsChanges: "the rule for later years says another offset than the last change before it"
            case .trailing: "there are more bytes after the end"
            }
        return "\(what), at byte \(offset)"
    }
}
