import ArgumentParser
import Glibc
import JSON
import Leads
import PolicyDocuments

struct PolicyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "policy", abstract: "Write rule sets and put them in force: who gets which lead, and by when.",
        subcommands: [
            Check.self, Diff.self, Publish.self, Approve.self, Activate.self, Rollback.self, History.self, Show.self,
        ])

    struct Check: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Say everything that is wrong with a rule set, each with its place, without a daemon.",
            discussion: "Tries the examples in it too. Exit codes: 0 nothing is wrong, 65 something is, 74 I/O.")

        @OptionGroup var common: CommonOptions
        @Argument(help: "A YAML or JSON file; stdin for \"-\".")
        var file: String

        func run() throws {
            let output = Output()
            try finishing(output) { try run(to: output) }
        }

        func run(to output: Output) throws {
            switch try readPolicy(file).read {
            case .success(let document): write(document, to: output)
            case .failure(let refusal):
                tell(refusal.faults.map { RuleSetFault($0) }, of: file, isJSON: common.json, to: output)
                throw ExitCode(65)
            }
        }

        private func write(_ document: PolicyDocument, to output: Output) {
            let rules = document.ruleSet
            let parts = PolicyParts.split(document.canonicalText).count
            let counts = [
                ("members", rules.members.count), ("pools", rules.pools.count), ("rules", rules.territories.count),
                ("examples", document.exampleCount), ("parts", parts),
            ]
            if common.json {
                output.line(
                    object {
                        $0.key("ok")
                        $0.bool(true)
                        $0.member("policy", rules.id)
                        $0.member("sha256", document.digest)
                        $0.member("bytes", document.canonicalText.count)
                        for (name, count) in counts {
                            $0.key(name)
                            $0.integer(count)
                        }
                    })
            } else {
                output.line("\(printable(file)): nothing is wrong")
                writeFacts(
                    [("policy", rules.id), ("sha256", document.digest), ("bytes", "\(document.canonicalText.count)")]
                        + counts.map { ($0.0, "\($0.1)") }, to: output)
            }
        }
    }

    struct Diff: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Say what is different between two rule sets, without a daemon.",
            discussion: "Exit codes: 0 also where they differ, 65 if one of them is wrong, 74 I/O.")

        @OptionGroup var common: CommonOptions
        @Argument(help: "The rule set as it was.")
        var old: String
        @Argument(help: "As it is to be.")
        var new: String

        func run() throws {
            let output = Output()
            try finishing(output) { try run(to: output) }
        }

        func run(to output: Output) throws {
            var documents: [PolicyDocument] = []
            for file in [old, new] {
                switch try readPolicy(file).read {
                case .success(let document): documents.append(document)
                case .failure(let refusal):
                    tell(refusal.faults.map { RuleSetFault($0) }, of: file, isJSON: common.json, to: output)
                }
            }
            guard documents.count == 2 else { throw ExitCode(65) }
            let diff = RuleSetDiff(from: documents[0].ruleSet, to: documents[1].ruleSet)
            if common.json {
                output.line(object { writeChanges(diff, to: &$0) })
            } else if diff.changes.isEmpty {
                output.line("they decide alike")
            } else {
                for change in diff.changes { write(change, to: output) }
            }
        }

        private func write(_ change: RuleSetDiff.Change, to output: Output) {
            let title = "\(change.kind) \(printable(change.id))"
            switch change.what {
            case .added: output.line("+ \(title)")
            case .removed: output.line("- \(title)")
            case .changed(let settings):
                output.line("~ \(title)")
                for setting in settings {
                    let (old, new) = (setting.old ?? "(none)", setting.new ?? "(none)")
                    output.line("    \(printable(setting.name)): \(printable(old)) -> \(printable(new))")
                }
            }
        }

        private func writeChanges(_ diff: RuleSetDiff, to writer: inout JSONWriter) {
            writer.key("changes")
            writer.beginArray()
            for change in diff.changes {
                writer.beginObject()
                writer.member("kind", change.kind)
                writer.member("id", change.id)
                switch change.what {
                case .added: writer.member("change", "added")
                case .removed: writer.member("change", "removed")
                case .changed(let settings):
                    writer.member("change", "changed")
                    writer.key("settings")
                    writer.beginArray()
                    for setting in settings {
                        writer.beginObject()
                        writer.member("name", setting.name)
                        writer.member("old", setting.old)
                        writer.member("new", setting.new)
                        writer.endObject()
                    }
                    writer.endArray()
                }
                writer.endObject()
            }
            writer.endArray()
        }
    }
}

/// Reads a rule set from a file, or from stdin for `-`. No more is read than shows that it is too long.
func readPolicy(_ path: String) throws(InputError) -> (text: [UInt8], read: Result<PolicyDocument, PolicyRefusal>) {
    let zones = ZoneDirectory()
    guard zones.isPresent else {
        throw InputError(exitCode: 74, "no time zones in /usr/share/zoneinfo to check names with: install tzdata")
    }
    let descriptor = path == "-" ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else {
        throw InputError(exitCode: 74, "\(path): cannot be read: \(String(cString: strerror(errno)))")
    }
    defer { if path != "-" { close(descriptor) } }
    var bytes: [UInt8] = []
    let chunk = UnsafeMutableRawBufferPointer.allocate(byteCount: 64 << 10, alignment: 1)
    defer { chunk.deallocate() }
    while bytes.count <= DocumentLimits.textBytesMax {
        let got = try readSome(descriptor, chunk)
        if got == 0 { break }
        bytes += chunk[..<got]
    }
    do throws(PolicyRefusal) {
        return (bytes, .success(try PolicyDocument(bytes, isKnownZone: zones.contains)))
    } catch {
        return (bytes, .failure(error))
    }
}
