import Glibc
import Ledger

// ledger-driver: a ledger without a socket around it, for tests that take its disk away. It plays a fixed script of units to
// an EventLog and says what was acknowledged; and it looks at directories that such a run has left.
//
// usage: ledger-driver run DIRECTORY ACKS UNITS
//            ACKS gets a line `UNIT` for each acknowledged unit, in one write a batch. Three openings: one that makes the
//            ledger, one after a clean close, one whose index has lost its STATE and is rebuilt.
//            Exit codes are the daemon's: 0; 74 the device failed; 73 and 78 at opening. 3: refused again and again.
//        ledger-driver verify UNITS
//            Reads lines `DIRECTORY ACKED SUBMITTED BOOT play|look` and answers each with a line: `ok UNITS` or `bad WHY`. ACKED
//            units must be there, SUBMITTED ones may; then, with `play`, the whole script is played, and must be told the truth.

let arguments = CommandLine.arguments
// A full file (RLIMIT_FSIZE) is an answer, not a signal; a closed pipe as well.
signal(SIGXFSZ, SIG_IGN)
signal(SIGPIPE, SIG_IGN)
switch arguments.dropFirst().first {
case "run" where arguments.count == 5:
    guard let units = Int(arguments[4]) else { end(64, "UNITS is no number") }
    run(arguments[2], acknowledgements: arguments[3], Script(units: units))
case "verify" where arguments.count == 3:
    guard let units = Int(arguments[2]) else { end(64, "UNITS is no number") }
    let script = Script(units: units)
    while let line = readLine() {
        let words = line.split(separator: " ").map(String.init)
        guard words.count == 5, let acked = Int(words[1]), let submitted = Int(words[2]) else { end(64, line) }
        let verdict =
            verify(words[0], script, acked: acked, submitted: submitted, boot: words[3], isPlayed: words[4] == "play")
            + "\n"
        guard write(STDOUT_FILENO, verdict, verdict.utf8.count) == verdict.utf8.count else { end(64, "stdout is gone") }
    }
default: end(64, "usage: see main.swift")
}

// MARK: Running

func run(_ directory: String, acknowledgements: String, _ script: Script) {
    let acks = open(acknowledgements, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
    guard acks >= 0 else { end(64, "cannot write \(acknowledgements)") }
    let thirds = [script.batches.count / 2, script.batches.count * 3 / 4, script.batches.count]
    var next = 0
    for (phase, last) in thirds.enumerated() {
        if phase == 2 { unlink(directory + "/index/STATE") }
        let driving: Driving
        do throws(LedgerError) { driving = try Driving(directory, boot: nil) } catch {
            end(exitCode(error), "\(error)")
        }
        while next < last {
            append(script.batches[next], of: script, to: driving, acks)
            next += 1
        }
        driving.close()
        if driving.log.isPoisoned { end(74, "the device failed") }
    }
    let line = "done\n"
    _ = write(acks, line, line.utf8.count)
}

/// Appends a batch until each unit of it is acknowledged. A full disk is met with patience, and the log must not be touched by it.
func append(_ batch: Range<Int>, of script: Script, to driving: Driving, _ acks: Int32) {
    var missing = Array(batch)
    for _ in 0..<50 {
        var lines = ""
        var refused: [Int] = []
        let before = driving.log.end
        // In the script's order: with the first that is refused, the later ones wait.
        let outcomes = driving.append(missing[0]..<missing[0] + missing.count, of: script)
        for (unit, outcome) in zip(missing, outcomes) {
            switch outcome {
            case .appended: lines += "\(unit)\n"
            case .refused(.diskFull), .refused(.tailFull), .refused(.ledgerFull): refused.append(unit)
            case .refused(.poisoned), .unknown: break
            default: end(70, "unit \(unit): \(outcome)")
            }
        }
        if !lines.isEmpty, write(acks, lines, lines.utf8.count) != lines.utf8.count { end(64, "acks") }
        if driving.log.isPoisoned || outcomes.contains(where: { if case .unknown = $0 { true } else { false } }) {
            end(74, "the device failed")
        }
        if refused.isEmpty { return }
        do {
            // A batch is one group: all of it is refused.
            guard refused.count == missing.count, driving.log.end == before,
                try driving.readAll().count == Int(before.rawValue)
            else { end(70, "a refusal left something behind") }
        } catch { end(70, "reading after a refusal: \(error)") }
        missing = refused
        usleep(1_000)
    }
    end(3, "refused again and again")
}

func exitCode(_ error: LedgerError) -> Int32 {
    switch error.kind {
    case .cannotCreate, .locked: 73
    case .format: 78
    case .diskFull, .ledgerFull, .corruption, .io, .readersFull: 74
    case .recordTooLarge, .invalidRecord: 70
    }
}

// MARK: Verifying

/// Whether the log is a beginning of the script's that has every acknowledged unit, and whether the script played to it
/// again is told so.
func verify(
    _ directory: String, _ script: Script, acked: Int, submitted: Int, boot: String, isPlayed: Bool
) -> String {
    let driving: Driving
    do throws(LedgerError) { driving = try Driving(directory, boot: boot == "-" ? nil : boot) } catch {
        return "bad cannot be opened: \(error)"
    }
    defer { driving.close() }
    let names: [String]
    do { names = try driving.readAll() } catch { return "bad cannot be read: \(error)" }
    let expected = script.units.joined().map(\.id)
    guard names.elementsEqual(expected.prefix(names.count)) else { return "bad other events: \(names)" }
    let ends = script.ends
    guard let units = ends.firstIndex(of: UInt64(names.count)) else { return "bad half a unit: \(names.count) events" }
    guard units >= acked else { return "bad lost: \(acked) units were acknowledged, \(units) are there" }
    guard units <= submitted else { return "bad from nowhere: \(submitted) units were submitted, \(units) are there" }
    do {
        let (found, due) = (try driving.readRegister(), (0..<units).last(where: Script.writesRegister))
        guard found == due else {
            return "bad register of unit \(found.map(String.init) ?? "none") with \(units) units"
        }
    } catch { return "bad registers cannot be read: \(error)" }
    guard isPlayed else { return "ok \(units)" }

    for (unit, outcome) in driving.append(0..<script.units.count, of: script).enumerated() {
        // A duplicate is one whose content is the stored one's, byte for byte.
        guard case .appended(let receipt) = outcome, receipt.isDuplicate == (unit < units),
            receipt.first.rawValue == ends[unit], receipt.last.rawValue == ends[unit + 1] - 1,
            receipt.recordedAt == Script.now
        else { return "bad unit \(unit) of \(units) stored: \(outcome)" }
    }
    do {
        guard try driving.readAll() == expected else { return "bad other events after all was played" }
        // A duplicate writes its registers as well, so the last one's is there.
        guard try driving.readRegister() == script.units.indices.last(where: Script.writesRegister) else {
            return "bad register after all was played"
        }
    } catch { return "bad cannot be read after all was played: \(error)" }
    return "ok \(units)"
}
