/// What is fuzzed: code that meets bytes from a socket or a disk, each with what must hold of any bytes at all.
///
/// The fuzzer (`scripts/fuzz`) and the test that replays the corpus call the same `run`. A promise that does not hold traps:
/// that is what a fuzzer takes for a find.
enum FuzzTarget: String, CaseIterable {
    /// The line splitter and the request parser, as one connection has them.
    case lines
    /// A stored record: decoding, and decoding what was encoded.
    case record
    /// An event against envelope and schema, encoded, told again, and taken in again.
    case schema
    /// The JSON parser, against a plain one of a hundred lines.
    case json

    func run(_ bytes: UnsafeRawBufferPointer) {
        switch self {
        case .lines: LinesTarget.run(bytes)
        case .record: RecordTarget.run(bytes)
        case .schema: SchemaTarget.run(bytes)
        case .json: JSONTarget.run(bytes)
        }
    }
}

/// A promise that any bytes must leave whole.
func promise(_ holds: Bool, _ what: @autoclosure () -> String, file: StaticString = #file, line: UInt = #line) {
    guard holds else { fatalError(what(), file: file, line: line) }
}
