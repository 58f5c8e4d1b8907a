import ArgumentParser
import Control
import JSON
import LeadLedgerClient

struct AppendCommand: LedgerCommand {
    static let configuration = CommandConfiguration(
        commandName: "append",
        abstract: "Append events: each line of the input is one CloudEvent.",
        discussion: """
            One result line an input line, in order: position, subject, version, and "duplicate" where the event was stored \
            before; or the line's number and why it was refused. Exits with 75 if any outcome is unknown, else 69 if the daemon \
            could not be reached or was busy, else 65 if any line was refused.
            """)

    @OptionGroup var common: CommonOptions
    @Argument(help: "A file of events; stdin when absent or \"-\".")
    var file: String?

    func run(in context: Context) throws {
        let output = context.output
        let isJSON = context.isJSON
        var reader = try LineReader(path: file)
        var tally = ExitTally()
        let pipeline = UnitPipeline(client: try context.connect(), keepsJSON: isJSON) { line, outcome in
            tally.add(outcome)
            outcome.write(line: line, isJSON: isJSON, to: output)
        }
        // The request around an event takes three of the 32 levels.
        var parser = JSONParser(depthMax: 29)
        while pipeline.broken == nil {
            guard let line = reader.nextBuffered() else {
                pipeline.wait(untilReadable: reader.descriptor) { output.flush() }
                guard pipeline.broken == nil, try reader.fill() else { break }
                continue
            }
            guard !line.allSatisfy(isBlank) else { continue }
            // The line goes into a request as it is, so it must be one JSON value and nothing else.
            if let error = parser.fault(in: line) {
                pipeline.refuse(error, tag: reader.number)
            } else {
                pipeline.append(events: [UInt8(ascii: "[")] + line + [UInt8(ascii: "]")], tag: reader.number)
            }
        }
        pipeline.finish()
        if let broken = pipeline.broken {
            output.flush()
            complain("\(broken); stopped at line \(reader.number). Append the same lines again: none is stored twice")
            tally.add(exitCode: broken.exitCode)
        }
        if tally.exitCode != 0 { throw ExitCode(tally.exitCode) }
    }
}

private func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 || byte == 0x0D }

extension JSONParser {
    /// What the daemon would say of these bytes before it looks at what they mean; nil for a JSON value.
    mutating func fault(in line: ArraySlice<UInt8>) -> ServerError? {
        // The envelope of the request takes some of the line.
        guard line.count <= WireLimits().frameBytesMax - 128 else {
            return ServerError(.frameTooLarge, "the line has \(line.count) bytes")
        }
        do throws(JSONError) {
            _ = try line.withUnsafeBufferPointer { (bytes) throws(JSONError) in
                try parse(UnsafeRawBufferPointer(bytes))
            }
            return nil
        } catch {
            let name: ErrorName = error.kind == .duplicateMember ? .duplicateMember : .parseError
            return ServerError(name, error.reason, offset: error.offset)
        }
    }
}

extension UnitOutcome {
    /// One line for one line of input.
    func write(line: Int, isJSON: Bool, to output: Output) {
        switch self {
        case .stored(let position, let subject, let version, _, let isDuplicate, let json):
            if isJSON { return output.line(json) }
            output.line("\(position) \(printable(subject)) \(version)\(isDuplicate ? " duplicate" : "")")
        case .refused(let error):
            if isJSON { return output.line(error.json) }
            output.line("line \(line): \(error.described)")
        case .unknown:
            let error = ServerError(.outcomeUnknown, "the connection ended before the reply")
            if isJSON { return output.line(error.json) }
            output.line("line \(line): \(error.described)")
        }
    }
}

extension ServerError {
    /// Name, place in the event and reason, for one line on a terminal.
    var described: String {
        var place = pointer ?? ""
        for prefix in ["/params/events/0", "/params"] where place.hasPrefix(prefix) {
            place.removeFirst(prefix.count)
            break
        }
        return printable(place.isEmpty ? "\(name): \(message)" : "\(name) at \(place): \(message)")
    }
}
