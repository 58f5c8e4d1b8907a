import Glibc
import Ledger
import Leads
import TestSupport
import Testing

@testable import LeadLedger

/// The time zones of this machine and its version, and directories in which something is wrong.
@Suite struct TimeZoneDatabaseTests {
    private static let system = TimeZoneDatabase.systemDirectory

    /// A directory that can be filled, with one zone of the system in it.
    private func directory(release: String? = "# version 2031q\nR d 1916 o\n") throws -> TemporaryDirectory {
        let directory = TemporaryDirectory()
        mkdir(directory.path + "/Europe", 0o700)
        try write(
            bytes(ofFile: TimeZoneDatabaseTests.system + "/Europe/Paris"), toFile: directory.path + "/Europe/Paris")
        if let release { try write(release, toFile: directory.path + "/tzdata.zi") }
        return directory
    }

    private func error(_ name: String, in database: TimeZoneDatabase) -> TimeZoneDatabaseError? {
        do throws(TimeZoneDatabaseError) {
            _ = try database.rules(of: name)
            return nil
        } catch {
            return error
        }
    }

    // MARK: Zones

    @Test func `a zone is had by its name, and by its other names`() throws {
        let database = try TimeZoneDatabase()
        let amsterdam = try database.rules(of: "Europe/Amsterdam")
        let summer = try Instant(date: "2026-07-01")
        #expect(amsterdam.offsetSeconds(at: summer) == 7_200)
        #expect(try database.rules(of: "America/Argentina/ComodRivadavia").offsetSeconds(at: summer) == -10_800)
        #expect(try database.rules(of: "Etc/GMT+5").offsetSeconds(at: summer) == -18_000)
        #expect(try database.rules(of: "UTC").offsetChanges(in: .earliest ..< .latest).isEmpty)
        #expect(try database.rules(of: "Asia/Calcutta") == database.rules(of: "Asia/Kolkata"))
    }

    @Test(arguments: [
        "", "/", "/etc/localtime", "..", ".", "../zoneinfo/UTC", "Europe/../UTC", "Europe/./Paris", "Europe//Paris",
        "Europe/",
        "/Europe/Paris", "Europe/Par is", "Europe/Par\0is", "Europe/Paris\n", "Europa/Zürich", "-h", "Europe/-x",
        "localtime",
        "posixrules", "right/Europe/Paris", "posix/Europe/Paris", String(repeating: "a", count: 65), "~root", "$HOME",
    ])
    func `what cannot be a name is refused before any file is looked at`(name: String) throws {
        #expect(try error(name, in: TimeZoneDatabase()) == .invalidName(name))
    }

    @Test(arguments: ["Europe/Atlantis", "Europe", "UTC/x", "tzdata", "europe/paris", "Mars"])
    func `a name that is no zone is unknown`(name: String) throws {
        #expect(try error(name, in: TimeZoneDatabase()) == .unknownZone(name))
    }

    @Test func `files that are no zones are refused and say what is wrong`() throws {
        let database = try TimeZoneDatabase()
        // Text beside the zones.
        #expect(error("zone.tab", in: database) == .malformed("zone.tab", TimeZoneProblem(.notTZif, at: 0)))
        #expect(error("zone.tab", in: database)?.message.contains("zone.tab") == true)

        let directory = try directory()
        let paris = try bytes(ofFile: directory.path + "/Europe/Paris")
        try write(paris.dropLast(), toFile: directory.path + "/Short")
        try write([], toFile: directory.path + "/Empty")
        try write([UInt8](repeating: 0, count: 1 << 17), toFile: directory.path + "/Long")
        mkfifo(directory.path + "/Pipe", 0o600)
        symlink("Circle", directory.path + "/Circle")
        symlink("Europe/Paris", directory.path + "/Link")
        let own = try TimeZoneDatabase(directory: directory.path)
        #expect(error("Short", in: own) == .malformed("Short", TimeZoneProblem(.truncated, at: paris.count - 1)))
        #expect(error("Empty", in: own) == .malformed("Empty", TimeZoneProblem(.truncated, at: 0)))
        #expect(error("Long", in: own) == .tooLong("Long", bytesMax: Limits.timeZoneFileBytesMax))
        #expect(error("Pipe", in: own) == .unknownZone("Pipe"))
        let path = directory.path + "/Circle"
        #expect(error("Circle", in: own) == .unreadable(FileError(operation: "open", path: path, code: ELOOP)))
        #expect(try own.rules(of: "Link") == own.rules(of: "Europe/Paris"))
    }

    @Test func `zones that count leap seconds are refused`() throws {
        let directory = try directory()
        try write(
            bytes(ofFile: TimeZoneDatabaseTests.system + "/right/Europe/Paris"), toFile: directory.path + "/Leaping")
        guard
            case .malformed("Leaping", let problem)? = try error(
                "Leaping", in: TimeZoneDatabase(directory: directory.path))
        else {
            Issue.record("it was taken")
            return
        }
        #expect(problem.reason == .leapSeconds)
    }

    @Test func `a zone that was read once is kept`() throws {
        let directory = try directory()
        let database = try TimeZoneDatabase(directory: directory.path)
        let paris = try database.rules(of: "Europe/Paris")
        unlink(directory.path + "/Europe/Paris")
        #expect(try database.rules(of: "Europe/Paris") == paris)
        #expect(
            try error("Europe/Paris", in: TimeZoneDatabase(directory: directory.path)) == .unknownZone("Europe/Paris"))
    }

    // MARK: Version

    @Test func `the version is the release that the system's database names`() throws {
        let version = try TimeZoneDatabase().version(forZones: [])
        let line = try text(ofFile: TimeZoneDatabaseTests.system + "/tzdata.zi").prefix { $0 != "\n" }
        #expect("# version \(version)" == line)
    }

    @Test func `the release comes from tzdata.zi, else from the file +VERSION`() throws {
        let both = try directory()
        try write("2030a\n", toFile: both.path + "/+VERSION")
        #expect(try TimeZoneDatabase(directory: both.path).version(forZones: ["Europe/Paris"]) == "2031q")
        let second = try directory(release: nil)
        try write("2030a\n", toFile: second.path + "/+VERSION")
        #expect(try TimeZoneDatabase(directory: second.path).version(forZones: ["Europe/Paris"]) == "2030a")
    }

    @Test(arguments: [
        nil, "", "R d 1916 o\n", "# version \n", "# version a b\n", "# version \u{1}\n",
        "# version \(String(repeating: "1", count: 80))\n",
    ])
    func `a database that does not name itself is known by the digest of the files used`(release: String?) throws {
        let directory = try directory(release: release)
        let paris = try bytes(ofFile: directory.path + "/Europe/Paris")
        try write(paris, toFile: directory.path + "/Copy")
        let database = try TimeZoneDatabase(directory: directory.path)
        let version = try database.version(forZones: ["Europe/Paris", "Copy"])
        #expect(version.hasPrefix("sha256:") && version.utf8.count == 71)
        #expect(try database.version(forZones: ["Copy", "Europe/Paris", "Copy"]) == version)
        #expect(try database.version(forZones: ["Copy"]) != version)
        #expect(throws: TimeZoneDatabaseError.unknownZone("None")) { try database.version(forZones: ["None"]) }

        // The same zones with one of them changed, to another daemon.
        try write(bytes(ofFile: TimeZoneDatabaseTests.system + "/Europe/Berlin"), toFile: directory.path + "/Copy")
        #expect(try TimeZoneDatabase(directory: directory.path).version(forZones: ["Europe/Paris", "Copy"]) != version)
        #expect(try database.version(forZones: ["Europe/Paris", "Copy"]) == version)
    }

    @Test func `a zone that is first read after the files were replaced is refused`() throws {
        let directory = try directory()
        let database = try TimeZoneDatabase(directory: directory.path)
        let paris = try database.rules(of: "Europe/Paris")
        try write(bytes(ofFile: directory.path + "/Europe/Paris"), toFile: directory.path + "/Other")
        try write("# version 2032a\n", toFile: directory.path + "/tzdata.zi")
        #expect(error("Other", in: database) == .versionChanged(from: "2031q", to: "2032a"))
        // What it had it still has, and says so.
        #expect(try database.rules(of: "Europe/Paris") == paris)
        #expect(try database.version(forZones: ["Europe/Paris"]) == "2031q")
    }

    // MARK: All zones

    /// The zones and links of the system, as the compact source of its database lists them.
    private func zoneNames() throws -> [String] {
        var names: [String] = []
        for line in try text(ofFile: TimeZoneDatabaseTests.system + "/tzdata.zi").split(separator: "\n") {
            let words = line.split(separator: " ")
            if words.first == "Z" { names.append(String(words[1])) }
            if words.first == "L" { names.append(String(words[2])) }
        }
        return names
    }

    /// Goal: our reading of every zone is that of another reader. Method: Python's `zoneinfo` says the offset of each zone of the
    /// system at random instants, at the ends of its years, and around the changes that we found; we say ours.
    @Test func `every zone of this machine has the offsets that Python reads`() throws {
        let seed = announcedSeed("TimeZoneDatabaseTests")
        var random = SeededGenerator(seed: seed)
        let names = try zoneNames()
        let database = try TimeZoneDatabase()
        var questions: [(name: String, second: Int64, ours: Int)] = []
        for name in names {
            let rules = try database.rules(of: name)
            // Years that Python's dates have: 1 to 9999, and a day to either side.
            var seconds: [Int64] = [-62_135_000_000, 253_402_000_000]
            for _ in 0..<20 {
                seconds.append(Int64.random(in: -4_000_000_000...6_000_000_000, using: &random))
                seconds.append(Int64.random(in: -62_135_000_000...253_402_000_000, using: &random))
            }
            let start = Instant(
                microseconds: Int64.random(in: -5_000_000_000...20_000_000_000, using: &random) * 1_000_000)
            let changes = rules.offsetChanges(in: start..<start.advanced(byMicroseconds: 40 * 366 * 86_400_000_000))
            for change in changes.shuffled(using: &random).prefix(20) {
                let second = change.at.microseconds / 1_000_000
                seconds += [second - 1, second]
            }
            for second in seconds {
                let ours = rules.offsetSeconds(at: Instant(microseconds: second * 1_000_000))
                questions.append((name, second, ours))
            }
        }

        let directory = TemporaryDirectory()
        try write(questions.map { "\($0.name) \($0.second)\n" }.joined(), toFile: directory.path + "/questions")
        let script = """
            import sys, zoneinfo
            from datetime import datetime, timedelta, timezone
            epoch = datetime(1970, 1, 1, tzinfo=timezone.utc)
            for line in sys.stdin:
                name, second = line.split()
                at = (epoch + timedelta(seconds=int(second))).astimezone(zoneinfo.ZoneInfo(name))
                print(int(at.utcoffset().total_seconds()))
            """
        let python = environmentVariable("LEADLEDGER_TEST_PYTHON") ?? "/usr/bin/python3"
        let answer = try run(
            python, ["-c", script], variables: ["PYTHONTZPATH": TimeZoneDatabaseTests.system],
            input: directory.path + "/questions", scratch: directory.path)
        try #require(answer.status == .exited(0), "\(answer.errorOutput)")
        let theirs = answer.output.split(separator: "\n").map { Int($0) }
        try #require(theirs.count == questions.count)
        var differences = 0
        for (question, theirs) in zip(questions, theirs) where question.ours != theirs {
            differences += 1
            if differences <= 20 {
                Issue.record(
                    "seed \(seed): \(question.name) at \(question.second): \(question.ours), Python \(theirs ?? -1)")
            }
        }
        print("TimeZoneDatabaseTests: \(names.count) zones, \(questions.count) offsets compared")
        #expect(names.count >= 500 && questions.count >= 25_000 && Set(questions.map(\.ours)).count >= 100)
    }
}
