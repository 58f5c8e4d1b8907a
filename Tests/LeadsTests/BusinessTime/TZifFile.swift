/// What goes into a TZif file, and its bytes: for zones that exist nowhere, and for files that are wrong in one place.
struct TZifFile {
    struct LocalType {
        var offsetSeconds: Int
        var isDaylight: UInt8 = 0
        var abbreviationAt: UInt8 = 0
    }

    var version = UInt8(ascii: "2")
    var secondVersion: UInt8?
    var types = [LocalType(offsetSeconds: 0)]
    /// The second since 1970 and the type from then on.
    var changes: [(at: Int64, type: UInt8)] = []
    var abbreviations = Array("LMT\0".utf8)
    var leapSeconds = 0
    var standardIndicators: [UInt8] = []
    var utIndicators: [UInt8] = []
    var rule = ""

    /// The second block begins here, after its header.
    static let blockAt = 44 + 6 + 4 + 44

    /// The first block has one type and no changes, as the RFC advises writers.
    var bytes: [UInt8] {
        var bytes = TZifFile.header(version, 0, 0, 0, 0, 1, 4)
        bytes += [0, 0, 0, 0, 0, 0] + Array("LMT\0".utf8)
        bytes += TZifFile.header(
            secondVersion ?? version, utIndicators.count, standardIndicators.count, leapSeconds, changes.count,
            types.count,
            abbreviations.count)
        for change in changes { bytes += TZifFile.integer(UInt64(bitPattern: change.at), 8) }
        bytes += changes.map(\.type)
        for type in types {
            bytes += TZifFile.integer(UInt64(bitPattern: Int64(type.offsetSeconds)), 4)
            bytes += [type.isDaylight, type.abbreviationAt]
        }
        bytes += abbreviations
        bytes += [UInt8](repeating: 0, count: leapSeconds * 12)
        bytes += standardIndicators + utIndicators
        return bytes + Array("\n\(rule)\n".utf8)
    }

    private static func header(_ version: UInt8, _ counts: Int...) -> [UInt8] {
        Array("TZif".utf8) + [version] + [UInt8](repeating: 0, count: 15) + counts.flatMap { integer(UInt64($0), 4) }
    }

    private static func integer(_ value: UInt64, _ count: Int) -> [UInt8] {
        (0..<count).reversed().map { UInt8(truncatingIfNeeded: value >> (8 * UInt64($0))) }
    }
}
