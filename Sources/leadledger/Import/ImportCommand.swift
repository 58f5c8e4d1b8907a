import ArgumentParser
import Glibc
import JSON
import LeadLedgerClient

struct ImportCommand: LedgerCommand {
    static let configuration = CommandConfiguration(
        commandName: "import",
        abstract: "Append the events that a mapping makes of the rows of a CSV file.",
        discussion: """
            A row that cannot be read or is refused is named by its line; the others are imported. Importing a file again adds \
            nothing. Exit codes as of append; 65 if any row was left out.
            """)

    @OptionGroup var common: CommonOptions
    @Option(help: "A YAML file that says what events a row becomes.")
    var mapping: String
    @Argument(help: "The CSV file; stdin for \"-\".")
    var file: String

    func run(in context: Context) throws {
        let mapping: Mapping
        do throws(MappingError) { mapping = try Mapping(yaml: try readText(self.mapping)) } catch {
            throw InputError(exitCode: 65, "\(self.mapping): \(error)")
        }
        let descriptor = file == "-" ? STDIN_FILENO : open(file, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw InputError(exitCode: 65, "\(file): cannot be read: \(String(cString: strerror(errno)))")
        }
        defer { if file != "-" { close(descriptor) } }
        var reader = CSVReader(delimiter: mapping.delimiter) { try readSome(descriptor, $0) }
        let mapper = try RowMapper(mapping, header: try header(&reader))

        let run = ImportRun(file: file)
        let pipeline = UnitPipeline(client: try context.connect(), keepsJSON: false) { run.take($1, line: $0) }
        while pipeline.broken == nil, let state = try reader.next() {
            run.summary.rows += 1
            run.showProgress()
            if case .broken(let reason) = state {
                run.report(line: reader.line, reason)
                continue
            }
            do throws(RowFault) {
                for unit in try mapper.units(of: reader) { pipeline.append(events: unit, tag: reader.line) }
            } catch {
                run.report(line: reader.line, error.reason)
            }
        }
        pipeline.finish()
        run.end(broken: pipeline.broken)
        if context.isJSON { context.output.line(run.summary.json) }
        if run.tally.exitCode != 0 { throw ExitCode(run.tally.exitCode) }
    }

    private func header(_ reader: inout CSVReader) throws -> [String] {
        switch try reader.next() {
        case nil: throw InputError(exitCode: 65, "\(file): is empty; the first line names the columns")
        case .broken(let reason): throw InputError(exitCode: 65, "\(file):1: \(reason)")
        case .row: return (0..<reader.fieldCount).map { String(decoding: reader.field($0), as: UTF8.self) }
        }
    }
}

/// What an import has done so far.
struct ImportSummary: Equatable {
    var rows = 0
    /// Events: stored by this run, there before it, refused by the daemon, and without an answer.
    var appended = 0
    var duplicates = 0
    var refusedUnits = 0
    var unknownUnits = 0
    /// Rows that made no events because they could not be read or converted.
    var rowsInError = 0

    var text: String {
        var text = "\(rows) rows: \(appended) events appended, \(duplicates) duplicates"
        text += ", \(refusedUnits) refused, \(rowsInError) rows in error"
        if unknownUnits > 0 { text += ", \(unknownUnits) with unknown outcome: run it again, nothing is stored twice" }
        if appended == 0, duplicates > 0, refusedUnits + unknownUnits + rowsInError == 0 {
            text += "; everything was there already"
        }
        return text
    }

    var json: [UInt8] {
        object {
            $0.member("rows", rows)
            $0.member("appended", appended)
            $0.member("duplicates", duplicates)
            $0.member("refused", refusedUnits)
            $0.member("rows_in_error", rowsInError)
            $0.member("unknown", unknownUnits)
        }
    }
}

/// One import while it runs: counts, says what goes wrong, shows how far it is.
private final class ImportRun {
    var summary = ImportSummary()
    private(set) var tally = ExitTally()
    private let file: String
    private var progress = ProgressLine()
    private let startedAt = monotonicMilliseconds()

    init(file: String) { self.file = file }

    func take(_ outcome: UnitOutcome, line: Int) {
        tally.add(outcome)
        switch outcome {
        case .stored(_, _, _, let events, let isDuplicate, _):
            if isDuplicate { summary.duplicates += events } else { summary.appended += events }
        case .refused(let error):
            summary.refusedUnits += 1
            say("\(file):\(line): \(error.described)")
        case .unknown: summary.unknownUnits += 1
        }
    }

    func report(line: Int, _ reason: String) {
        summary.rowsInError += 1
        tally.add(exitCode: 65)
        say("\(file):\(line): \(reason)")
    }

    func showProgress() {
        progress.show {
            let seconds = max(monotonicMilliseconds() - startedAt, 1)
            return
                "\(summary.rows) rows, \(summary.appended) events appended, \(summary.rows * 1_000 / Int(seconds)) rows/s"
        }
    }

    func end(broken: ClientError?) {
        progress.clear()
        if let broken {
            tally.add(exitCode: broken.exitCode)
            complain("\(broken); the import stopped")
        }
        talk("\(file): \(summary.text)\n")
    }

    private func say(_ text: String) {
        progress.clear()
        talk("\(printable(text))\n")
    }
}

func readSome(_ descriptor: Int32, _ buffer: UnsafeMutableRawBufferPointer) throws(InputError) -> Int {
    while true {
        let count = read(descriptor, buffer.baseAddress, buffer.count)
        if count >= 0 { return count }
        if errno != EINTR { throw InputError(exitCode: 74, "the input: \(String(cString: strerror(errno)))") }
    }
}

/// A small file as text. It is bounded, since a mapping is written by hand.
private func readText(_ path: String) throws(MappingError) -> String {
    func failure(_ reason: String) -> MappingError { MappingError(pointer: "", line: nil, reason: reason) }
    guard let file = fopen(path, "re") else {
        throw failure("cannot be read: \(String(cString: strerror(errno)))")
    }
    defer { fclose(file) }
    var bytes = [UInt8](repeating: 0, count: 1 << 20)
    let count = fread(&bytes, 1, bytes.count, file)
    guard ferror(file) == 0 else { throw failure("cannot be read: \(String(cString: strerror(errno)))") }
    guard count < bytes.count else { throw failure("is longer than 1 MiB") }
    guard let text = String(validating: bytes[..<count], as: UTF8.self) else { throw failure("is not UTF-8") }
    return text
}
