import Glibc
import Ledger
import Synchronization

/// A log that the script is played to, one batch after the other.
final class Driving {
    let log: EventLog
    private let sink = Outcomes()

    private static let writesSpaceAhead =
        getenv("LEDGER_DRIVER_SPACE").map { String(cString: $0) == "written" } ?? false

    /// - Parameter boot: a boot id of its own, to look as if the system had gone down; nil is this system's.
    init(_ directory: String, boot: String?) throws(LedgerError) {
        var configuration = LogConfiguration()
        configuration.logMapBytes = 64 << 20
        configuration.indexMapBytes = 64 << 20
        if Self.writesSpaceAhead {
            // As in service, where space is written ahead by a thread of its own, and all over the run, since it is hardly ever busy.
            configuration.spaceStepBytes = 1 << 20
            configuration.spaceReserveBytes = 3 << 20
            configuration.spaceQuiet = .microseconds(100)
        } else {
            // Small, so that there are many allocations.
            configuration.spaceStepBytes = 64 << 10
        }
        // Small, so that there are many commits of the index beside the log's.
        configuration.indexCommitEvents = 9
        configuration.indexCommitInterval = .milliseconds(20)
        configuration.mayUseTmpfs = true
        configuration.ledgerID = Script.ledgerID
        configuration.bootID = boot
        log = try EventLog.open(
            directory: directory, configuration: configuration, lifecycle: Script.lifecycle, clock: { Script.now })
    }

    /// Submits units together and waits for what becomes of each.
    func append(_ units: Range<Int>, of script: Script) -> [AppendOutcome] {
        let made = units.map { script.makeUnit($0, for: sink) }
        var rest = made[...]
        while !rest.isEmpty {
            rest = rest.dropFirst(log.submit(rest))
            if !rest.isEmpty { usleep(100) }
        }
        return sink.wait(for: units)
    }

    /// Reads all there is, with every check the log has.
    /// - Returns: the names of its events.
    func readAll() throws -> [String] {
        var names: [String] = []
        while UInt64(names.count) < log.end.rawValue {
            let before = names.count
            _ = try log.read(from: Position(rawValue: UInt64(names.count)), limit: .max, maxBytes: .max) { record in
                names.append(String(decoding: record.eventID, as: UTF8.self))
                return true
            }
            guard names.count > before else { throw LedgerError(.corruption, "the log ends at \(before)") }
        }
        return names
    }

    /// What the script's register holds, as a number; nil: there is none.
    func readRegister() throws -> Int? {
        var number: Int?
        try log.registers(withPrefix: Script.registerKey) { _, value in
            guard let value, value.count == Script.registerBytes,
                let read = Int(String(decoding: value.prefix { $0 != UInt8(ascii: " ") }, as: UTF8.self))
            else { throw LedgerError(.corruption, "a register is not what was written") }
            number = read
            return true
        }
        return number
    }

    func close() { log.close() }
}

/// Collects what becomes of units.
private final class Outcomes: AppendReplySink, Sendable {
    private let outcomes = Mutex<[UInt64: AppendOutcome]>([:])

    func deliver(_ batches: [[AppendUnit]]) {
        outcomes.withLock { outcomes in for unit in batches.joined() { outcomes[unit.replyToken] = unit.outcome } }
    }

    func queueHasRoom() {}

    func wait(for units: Range<Int>) -> [AppendOutcome] {
        while true {
            let found: [AppendOutcome]? = outcomes.withLock { outcomes in
                guard outcomes.count == units.count else { return nil }
                defer { outcomes = [:] }
                return units.compactMap { outcomes[UInt64($0)] }
            }
            if let found { return found }
            usleep(50)
        }
    }
}
