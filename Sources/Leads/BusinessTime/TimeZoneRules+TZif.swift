// Reading a TZif file (RFC 8536): a header and a block of 32-bit data, which are stepped over, then the same with 64 bits, then
// the rule for later years. Integers are big-endian.
//
//     offset  size                    of a header, 44 bytes
//     0       4                       "TZif"
//     4       1                       version: "2", "3" or "4"
//     5       15                      unused
//     20      4                       UT/local indicators: 0 or as many as types
//     24      4                       standard/wall indicators: 0 or as many as types
//     28      4                       leap seconds
//     32      4                       changes
//     36      4                       types
//     40      4                       bytes of abbreviations
//
//     size                            of the block after it; T is 4 in the first, 8 in the second
//     T                               of each change: the second since 1970 UTC, ascending
//     1                               of each change: the type that holds from then on
//     6                               of each type: i32 offset from UTC in seconds, u8 daylight saving, u8 place of its abbreviation
//     1                               of each abbreviation byte; each ends with a zero
//     T + 4                           of each leap second
//     1                               of each standard/wall indicator, then of each UT/local indicator
//
// and at the end a line feed, the rule, a line feed: "0a 43 45 54 2d 31 43 45 53 54 2c 4d 33 2e 35 2e 30 2c ... 0a".

extension TimeZoneRules {
    /// Reads the content of a TZif file of version 2 to 4. Whatever is wrong with it is an error, and what passes obeys Z1 and Z2.
    ///
    /// Before the first change the first type holds, as RFC 8536 section 3.2 says. A file without a rule goes on with its last
    /// offset. Of the types only the offset is kept: whether it is called daylight saving time moves no clock.
    package init(tzif bytes: [UInt8]) throws(TimeZoneProblem) {
        var reader = TZifReader(bytes: bytes)

        // 1. The 32-bit part: only as long as it says.
        let first = try reader.header()
        try reader.skip(first.blockBytes(timeBytes: 4))

        // 2. The 64-bit part.
        let header = try reader.header()
        guard header.version == first.version else {
            throw TimeZoneProblem(.version(header.version), at: reader.at - 40)
        }
        let start = reader.at
        try reader.skip(header.blockBytes(timeBytes: 8))
        let types = try reader.types(header, blockAt: start)
        let changes = try reader.changes(header, blockAt: start, types: types)
        try reader.checkIndicators(header, blockAt: start)

        // 3. The rule, which has to continue what the changes say.
        let rule = try reader.rule()
        guard reader.at == bytes.count else { throw TimeZoneProblem(.trailing, at: reader.at) }
        let ruleFrom = changes.last?.at ?? .min
        if let rule, let last = changes.last {
            // Some files list a change at the Big Bang, of which no calendar date can be made.
            let at = min(max(last.at, TimeZoneRules.datable.lowerBound), TimeZoneRules.datable.upperBound)
            guard rule.stretch(at: at).offsetSeconds == last.offsetSeconds else {
                throw TimeZoneProblem(.ruleContradictsChanges, at: start)
            }
        }
        self.init(
            changes: changes, firstOffsetSeconds: types[0], rule: rule, ruleFrom: rule == nil ? .max : ruleFrom)
    }

    /// Seconds of about a million years to either side: arithmetic on their dates is far from any overflow.
    private static let datable: ClosedRange<Int64> = -31_556_952_000_000...31_556_952_000_000
}

private struct TZifHeader {
    var version: UInt8
    var utIndicators: Int
    var standardIndicators: Int
    var leapSeconds: Int
    var changes: Int
    var types: Int
    var abbreviationBytes: Int

    /// Counts are of 32 bits, so that this cannot overflow.
    func blockBytes(timeBytes: Int) -> Int {
        changes * (timeBytes + 1) + types * 6 + abbreviationBytes + leapSeconds * (timeBytes + 4) + standardIndicators
            + utIndicators
    }
}

private struct TZifReader {
    let bytes: [UInt8]
    var at = 0

    init(bytes: [UInt8]) {
        self.bytes = bytes
    }

    mutating func skip(_ count: Int) throws(TimeZoneProblem) {
        guard count <= bytes.count - at else { throw TimeZoneProblem(.truncated, at: bytes.count) }
        at += count
    }

    func integer(at offset: Int, bytes count: Int) -> UInt64 {
        bytes[offset..<offset + count].reduce(0) { $0 << 8 | UInt64($1) }
    }

    mutating func header() throws(TimeZoneProblem) -> TZifHeader {
        let start = at
        guard bytes[start...].starts(with: "TZif".utf8.prefix(bytes.count - start)) else {
            throw TimeZoneProblem(.notTZif, at: start)
        }
        try skip(44)
        let version = bytes[start + 4]
        guard (UInt8(ascii: "2")...UInt8(ascii: "4")).contains(version) else {
            throw TimeZoneProblem(.version(version), at: start + 4)
        }
        let counts = (0..<6).map { Int(integer(at: start + 20 + 4 * $0, bytes: 4)) }
        return TZifHeader(
            version: version, utIndicators: counts[0], standardIndicators: counts[1], leapSeconds: counts[2],
            changes: counts[3], types: counts[4], abbreviationBytes: counts[5])
    }

    /// The offset of each type.
    func types(_ header: TZifHeader, blockAt start: Int) throws(TimeZoneProblem) -> [Int] {
        guard (1...256).contains(header.types) else { throw TimeZoneProblem(.typeCount, at: start - 8) }
        guard header.leapSeconds == 0 else { throw TimeZoneProblem(.leapSeconds, at: start - 16) }
        let typesAt = start + header.changes * 9
        let abbreviations = bytes[(typesAt + header.types * 6)...].prefix(header.abbreviationBytes)
        var types: [Int] = []
        for place in stride(from: typesAt, to: typesAt + header.types * 6, by: 6) {
            let offset = Int(Int32(truncatingIfNeeded: integer(at: place, bytes: 4)))
            guard TimeZoneRules.offsetRange.contains(offset) else {
                throw TimeZoneProblem(.offsetOutOfRange, at: place)
            }
            guard bytes[place + 4] <= 1 else { throw TimeZoneProblem(.daylightMark, at: place + 4) }
            guard abbreviations.dropFirst(Int(bytes[place + 5])).contains(0) else {
                throw TimeZoneProblem(.abbreviation, at: place + 5)
            }
            types.append(offset)
        }
        return types
    }

    func changes(
        _ header: TZifHeader, blockAt start: Int, types: [Int]
    ) throws(TimeZoneProblem) -> [TimeZoneRules.Change] {
        var changes: [TimeZoneRules.Change] = []
        changes.reserveCapacity(header.changes)
        for index in 0..<header.changes {
            let at = Int64(bitPattern: integer(at: start + index * 8, bytes: 8))
            if let last = changes.last, last.at >= at {
                throw TimeZoneProblem(.changesNotAscending, at: start + index * 8)
            }
            let typeAt = start + header.changes * 8 + index
            guard Int(bytes[typeAt]) < types.count else { throw TimeZoneProblem(.noSuchType, at: typeAt) }
            changes.append(TimeZoneRules.Change(at: at, offsetSeconds: types[Int(bytes[typeAt])]))
        }
        return changes
    }

    func checkIndicators(_ header: TZifHeader, blockAt start: Int) throws(TimeZoneProblem) {
        guard [0, header.types].contains(header.utIndicators), [0, header.types].contains(header.standardIndicators)
        else { throw TimeZoneProblem(.indicators, at: start - 24) }
        let end = start + header.blockBytes(timeBytes: 8)
        for place in (end - header.utIndicators - header.standardIndicators)..<end where bytes[place] > 1 {
            throw TimeZoneProblem(.indicators, at: place)
        }
    }

    /// The rule between two line feeds; nil where there is nothing between them.
    mutating func rule() throws(TimeZoneProblem) -> YearlyRule? {
        let start = at
        try skip(1)
        guard bytes[start] == UInt8(ascii: "\n") else {
            throw TimeZoneProblem(.rule("a line feed before it"), at: start)
        }
        guard let end = bytes[at...].firstIndex(of: UInt8(ascii: "\n")) else {
            throw TimeZoneProblem(.truncated, at: bytes.count)
        }
        let range = at..<end
        at = end + 1
        return range.isEmpty ? nil : try YearlyRule(bytes, in: range)
    }
}
