import TestSupport
import Testing

@testable import Leads

/// The bytes of a TZif file: one fixture for each way to be wrong, and then anything.
@Suite struct TimeZoneFileTests {
    /// Two types, two changes, both kinds of indicators, a rule.
    private static var good: TZifFile {
        var file = TZifFile()
        file.types = [.init(offsetSeconds: 3_600), .init(offsetSeconds: 7_200, isDaylight: 1, abbreviationAt: 4)]
        file.abbreviations = Array("CET\0CEST\0".utf8)
        file.changes = [(1_648_342_800, 1), (1_667_091_600, 0)]
        file.standardIndicators = [1, 1]
        file.utIndicators = [1, 0]
        file.rule = "CET-1CEST,M3.5.0,M10.5.0/3"
        return file
    }

    private func problem(_ change: (inout TZifFile) -> Void) -> TimeZoneProblem? {
        var file = TimeZoneFileTests.good
        change(&file)
        do throws(TimeZoneProblem) {
            _ = try TimeZoneRules(tzif: file.bytes)
            return nil
        } catch {
            return error
        }
    }

    @Test func `a good file is read, of each version`() throws {
        for version in "234".utf8 { #expect(problem { $0.version = version } == nil) }
        let zone = try TimeZoneRules(tzif: TimeZoneFileTests.good.bytes)
        #expect(zone.offsetSeconds(at: Instant(microseconds: .min)) == 3_600)
        #expect(try zone.offsetSeconds(at: instant("2022-03-27T01:00:00Z")) == 7_200)
        #expect(try zone.offsetSeconds(at: instant("2022-10-30T01:00:00Z")) == 3_600)
        #expect(try zone.offsetSeconds(at: instant("2023-07-01T00:00:00Z")) == 7_200)
    }

    @Test func `without a rule the last offset goes on, and without changes the first one holds`() throws {
        var file = TimeZoneFileTests.good
        file.rule = ""
        file.changes = [(1_648_342_800, 1)]
        #expect(try TimeZoneRules(tzif: file.bytes).offsetSeconds(at: instant("9000-01-01T00:00:00Z")) == 7_200)
        file.changes = []
        #expect(try TimeZoneRules(tzif: file.bytes).offsetSeconds(at: instant("9000-01-01T00:00:00Z")) == 3_600)
    }

    @Test func `a change that changes no offset is none, and one at the Big Bang is taken`() throws {
        var file = TimeZoneFileTests.good
        file.types.append(.init(offsetSeconds: 3_600, isDaylight: 1))
        file.standardIndicators = []
        file.utIndicators = []
        file.changes = [(-1 << 59, 0), (1_648_342_800, 2)]
        file.rule = "CET-1"
        let zone = try TimeZoneRules(tzif: file.bytes)
        #expect(zone.changes.isEmpty)
        #expect(zone.offsetChanges(in: .earliest ..< .latest).isEmpty)
    }

    @Test func `each wrong file is refused with what is wrong and where`() {
        let block = TZifFile.blockAt
        let cases: [(TimeZoneProblem.Reason, Int, (inout TZifFile) -> Void)] = [
            (.version(0), 4, { $0.version = 0 }),
            (.version(UInt8(ascii: "5")), 4, { $0.version = UInt8(ascii: "5") }),
            (.version(UInt8(ascii: "3")), block - 40, { $0.secondVersion = UInt8(ascii: "3") }),
            (
                .typeCount, block - 8,
                {
                    $0.types = []; $0.changes = []; $0.standardIndicators = []; $0.utIndicators = []
                }
            ),
            (.typeCount, block - 8, { $0.types = Array(repeating: .init(offsetSeconds: 0), count: 257) }),
            (.leapSeconds, block - 16, { $0.leapSeconds = 1 }),
            (.indicators, block - 24, { $0.standardIndicators = [1] }),
            (.indicators, block - 24, { $0.utIndicators = [1, 1, 1] }),
            (.indicators, block + 18 + 12 + 9 + 1, { $0.standardIndicators = [0, 2] }),
            (.changesNotAscending, block + 8, { $0.changes[1].at = $0.changes[0].at }),
            (.changesNotAscending, block + 8, { $0.changes.swapAt(0, 1) }),
            (.noSuchType, block + 17, { $0.changes[1].type = 2 }),
            (.offsetOutOfRange, block + 18, { $0.types[0].offsetSeconds = 93_600 }),
            (.offsetOutOfRange, block + 24, { $0.types[1].offsetSeconds = -90_000 }),
            (.offsetOutOfRange, block + 18, { $0.types[0].offsetSeconds = Int(Int32.min) }),
            (.daylightMark, block + 28, { $0.types[1].isDaylight = 2 }),
            (.abbreviation, block + 29, { $0.types[1].abbreviationAt = 9 }),
            (.abbreviation, block + 29, { $0.abbreviations.removeLast() }),
            (.ruleContradictsChanges, block, { $0.rule = "EET-2" }),
            (.trailing, TimeZoneFileTests.good.bytes.count, { $0.rule += "\n" }),
        ]
        for (index, (reason, offset, change)) in cases.enumerated() {
            let found = problem(change)
            #expect(found == TimeZoneProblem(reason, at: offset), "case \(index)")
            #expect(found?.message.hasSuffix("at byte \(offset)") == true)
        }
    }

    @Test func `bytes of anything else are refused`() {
        for bytes in [
            [], Array("TZ".utf8), Array("# version 2025b".utf8), Array("TZif".utf8), [0x7F, 0x45, 0x4C, 0x46],
        ] {
            #expect(throws: TimeZoneProblem.self) { try TimeZoneRules(tzif: bytes) }
        }
        // Counts that announce four billion of everything.
        var bytes = TimeZoneFileTests.good.bytes
        for place in 20..<44 { bytes[place] = 0xFF }
        #expect(throws: TimeZoneProblem(.truncated, at: bytes.count)) { try TimeZoneRules(tzif: bytes) }
    }

    @Test func `every prefix of a file is refused`() throws {
        let bytes = try ZoneFiles.content("Europe/Amsterdam")
        for length in bytes.indices {
            #expect(throws: TimeZoneProblem.self) { try TimeZoneRules(tzif: Array(bytes[..<length])) }
        }
    }

    /// Goal: no bytes trap, and what is taken can be asked anything. Method: files with some bytes changed, half of them where
    /// counts and the rule stand; each zone that results answers at the ends of time and around its changes.
    @Test func `changed bytes are refused or make a zone that answers`() throws {
        let seed = announcedSeed("TimeZoneFileTests")
        var random = TestSupport.SeededGenerator(seed: seed)
        let files =
            try ["Europe/Amsterdam", "Asia/Gaza", "Pacific/Apia"].map(ZoneFiles.content) + [
                TimeZoneFileTests.good.bytes
            ]
        var taken = 0
        var refused = 0
        for round in 0..<4_000 {
            var bytes = files[round % files.count]
            for _ in 0..<Int.random(in: 1...3, using: &random) {
                let place =
                    random.chance(50)
                    ? Int.random(in: bytes.indices, using: &random)
                    : [Int.random(in: 0..<44, using: &random), bytes.count - Int.random(in: 1...28, using: &random)]
                        .randomElement(using: &random)!
                bytes[place] = random.chance(50) ? UInt8.random(in: 0...255, using: &random) : bytes[place] ^ 1
            }
            guard let zone = try? TimeZoneRules(tzif: bytes) else {
                refused += 1
                continue
            }
            taken += 1
            let changes = zone.offsetChanges(in: .earliest..<Instant(microseconds: 2_208_988_800_000_000))
            let instants = [.earliest, .latest, Instant(microseconds: 0)] + changes.prefix(20).map(\.at)
            let calendar = try BusinessCalendar(in: zone, open: [OpenInterval(.monday, time("09:00"), time("17:00"))])
            for instant in instants {
                let wall = zone.wallTime(at: instant)
                guard zone.instants(showing: wall).contains(instant), zone.start(of: wall.date) <= instant,
                    let due = calendar.due(from: instant, target: hour) ?? (instant == .latest ? instant : nil)
                else {
                    Issue.record("seed \(seed), round \(round): \(instant.text) shows \(wall.date.text)")
                    return
                }
                #expect(due >= instant)
            }
        }
        print("TimeZoneFileTests: \(taken) taken, \(refused) refused")
        #expect(taken >= 200 && refused >= 1_000)
    }
}
