import Glibc
import TestSupport

/// Has the driver look at directories that a run of its script, cut short somewhere, has left.
///
/// The driver opens each as a start does, and holds it against the script: see Tests/LedgerDriver. It may crash on one; then
/// that is the verdict, and another process goes on.
struct ScriptVerifier {
    struct Directory {
        var path: String
        /// Units that were acknowledged, and so must be there.
        var acknowledged: Int
        /// Units that were submitted, and so may be there.
        var submitted: Int
        /// Another boot's id, after which nothing that was not synced is believed; nil: this boot's.
        var boot: String?
        /// Whether the script is played after the look.
        var isPlayed = true
    }

    enum Verdict {
        /// As it must be; with so many units before the script was played again.
        case sound(units: Int)
        case unsound(String)

        var fault: String? { if case .unsound(let why) = self { why } else { nil } }
        var units: Int? { if case .sound(let units) = self { units } else { nil } }
    }

    /// Units of the script.
    let units: Int
    let scratch: String

    /// - Parameter variables: of the process that looks.
    func verify(_ directories: [Directory], variables: [String: String] = [:]) throws -> [Verdict] {
        var verdicts: [Verdict] = []
        while verdicts.count < directories.count {
            let list = scratch + "/verify.list"
            let lines = directories[verdicts.count...].map {
                "\($0.path) \($0.acknowledged) \($0.submitted) \($0.boot ?? "-") \($0.isPlayed ? "play" : "look")\n"
            }
            try write(lines.joined(), toFile: list)
            let result = try run(
                Programs.ledgerDriver, ["verify", "\(units)"], variables: variables, input: list, scratch: scratch,
                milliseconds: 300_000)
            for line in result.output.split(separator: "\n") {
                if line.hasPrefix("ok "), let units = Int(line.dropFirst(3)) {
                    verdicts.append(.sound(units: units))
                } else {
                    verdicts.append(.unsound(String(line)))
                }
            }
            if result.status != .exited(0) {
                verdicts.append(.unsound("the start ended with \(result.status): \(result.errorOutput.suffix(500))"))
            } else if verdicts.count < directories.count {
                throw TimedOut("a verdict on \(directories[verdicts.count].path)")
            }
        }
        return verdicts
    }

    func verify(_ directory: Directory, variables: [String: String] = [:]) throws -> Verdict {
        try verify([directory], variables: variables)[0]
    }
}

/// What the driver does about the space ahead of its log.
enum DriverSpace: String, CaseIterable {
    case allocated
    /// Written with zeros past the page cache, as in service.
    case written

    /// For the driver.
    var variables: [String: String] { ["LEDGER_DRIVER_SPACE": rawValue] }
}

/// A number that a variable of the environment says, or that is taken without it.
func amount(_ variable: String, _ usual: Int) -> Int { environmentVariable(variable).flatMap { Int($0) } ?? usual }
