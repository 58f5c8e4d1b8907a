import ArgumentParser
import Glibc

/// `bare`: the bare LMDB loop alone. To hold it against the same loop in another language, or one disk against another.
struct BareBenchmark: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bare", abstract: "Writes to LMDB without a daemon, and prints the events per second of each run.")

    @Option(help: "Where to make the temporary directory, on a real disk.")
    var directory = "."
    @Option(help: "Events in a commit.")
    var batch = 1_000
    @Option(help: "Events of a run.")
    var events = 800_000
    @Option(help: "Runs.")
    var runs = 5

    func validate() throws {
        guard 1...1_000_000 ~= batch else { throw ValidationError("--batch takes 1 to 1000000") }
        guard 1...100_000_000 ~= events else { throw ValidationError("--events takes 1 to 100000000") }
        guard 1...1_000 ~= runs else { throw ValidationError("--runs takes 1 to 1000") }
    }

    func run() throws {
        Interruption.install()
        for _ in 0..<runs {
            try Interruption.check()
            let loop = BareLoop(directory: directory, events: events, leads: 1_000_000, seed: 42)
            print(fixed(try loop.run(batch: batch), 0))
        }
    }
}
