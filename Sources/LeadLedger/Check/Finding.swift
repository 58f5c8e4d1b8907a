// Finding: what `leadledgerd check` reports, and how a child process hands it to its parent.

/// One thing that is wrong, or that could not be looked at.
package struct Finding: Sendable, Equatable {
    /// The environment: `log`, `index`, `models/leads@1.1`, ...
    package var environment: String
    /// Where in it: a position, a lead's key, a file.
    package var place: String
    /// What is wrong, and against what it was held.
    package var what: String

    package init(environment: String, place: String, what: String) {
        self.environment = environment
        self.place = place
        self.what = what
    }

    /// One line of text: the environment, the place and what is wrong, parted by tabs.
    package var line: String {
        [environment, place, what].map { $0.replacing("\t", with: " ").replacing("\n", with: " ") }
            .joined(separator: "\t")
    }

    /// Reads what `line` wrote; nil where it is something else.
    package init?(line: Substring) {
        let fields = line.split(separator: "\t", maxSplits: 2, omittingEmptySubsequences: false)
        guard fields.count == 3 else { return nil }
        self.init(environment: String(fields[0]), place: String(fields[1]), what: String(fields[2]))
    }
}
