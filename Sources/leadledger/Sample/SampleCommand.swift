import ArgumentParser

struct SampleCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "sample",
        abstract: "Write events of made-up leads, one CloudEvent a line, for append.",
        discussion: """
            The same numbers give the same bytes on any machine. Instants lie in the first half of 2026. Nobody in it exists; \
            addresses are of example.com.
            """)

    @Option(help: "How many leads.")
    var leads: Int
    @Option(help: "Another seed gives other leads, under other ids.")
    var seed: UInt64 = 1

    func validate() throws {
        guard (0...100_000_000).contains(leads) else {
            throw ValidationError("--leads takes a number from 0 to 100000000")
        }
    }

    func run() throws {
        let output = Output()
        try finishing(output) {
            var generator = SampleGenerator(leads: leads, seed: seed)
            var hasMore = true
            while hasMore { output.append { hasMore = generator.writeNext(to: &$0) } }
        }
    }
}
