/// Rows of a CSV file (RFC 4180), one at a time and in flat memory, however long the file is.
///
/// Taken: quoted fields with delimiters, line breaks and doubled quotes inside; LF and CRLF; a byte order mark; no line
/// break at the end; a quote inside an unquoted field, which stands for itself. Skipped: lines without any byte. A row that
/// cannot be read is reported by the line it begins in, and the next row goes on behind it.
///
/// ```swift
/// var reader = CSVReader(delimiter: UInt8(ascii: ",")) { buffer in read(0, buffer.baseAddress, buffer.count) }
/// while let row = try reader.next() { ... reader.withField(0) { ... } }
/// ```
struct CSVReader: ~Copyable {
    enum RowState: Equatable {
        case row
        /// What is wrong with the row; its fields are not there.
        case broken(String)
    }

    /// The line the row of the last `next` begins in, from 1.
    private(set) var line = 0
    /// Fields of that row.
    var fieldCount: Int { ends.count }

    private let delimiter: UInt8
    private let source: (UnsafeMutableRawBufferPointer) throws -> Int
    private var chunk: [UInt8]
    private var at = 0
    private var end = 0
    private var isAtEnd = false
    private var lineHere = 1
    /// The fields of the row one behind the other, without quotes, and where each ends.
    private var bytes: [UInt8] = []
    private var ends: [Int] = []

    /// A unit of events is at most 1 MiB; a row longer than this is none.
    static let rowBytesMax = 1 << 20
    private static let columnsMax = 16_384

    /// - Parameter source: reads some bytes into a buffer and says how many; 0 at the end.
    init(
        delimiter: UInt8 = UInt8(ascii: ","), chunkBytes: Int = 256 << 10,
        source: @escaping (UnsafeMutableRawBufferPointer) throws -> Int
    ) {
        self.delimiter = delimiter
        self.source = source
        chunk = [UInt8](repeating: 0, count: chunkBytes)
    }

    /// A field of the row, lent as bytes.
    func withField<Result>(_ index: Int, _ body: (UnsafeRawBufferPointer) throws -> Result) rethrows -> Result {
        let start = index == 0 ? 0 : ends[index - 1]
        return try bytes.withUnsafeBytes { try body(UnsafeRawBufferPointer(rebasing: $0[start..<ends[index]])) }
    }

    func field(_ index: Int) -> ArraySlice<UInt8> { bytes[(index == 0 ? 0 : ends[index - 1])..<ends[index]] }

    private enum State { case fieldStart, unquoted, quoted, quoteInQuoted }

    /// Reads the next row; nil at the end of the file.
    mutating func next() throws -> RowState? {
        if line == 0 { try skipByteOrderMark() }
        bytes.removeAll(keepingCapacity: true)
        ends.removeAll(keepingCapacity: true)
        var state = State.fieldStart
        var isStarted = false
        var fault: String?
        while true {
            guard try at < end || fill() else {
                guard isStarted else { return nil }
                if state == .quoted {
                    fault =
                        fault
                        ?? "a quoted field does not end, so lines \(line) to \(lineHere) are one row; is a quote missing before?"
                }
                return finish(fault)
            }
            let byte = chunk[at]
            at += 1
            if !isStarted {
                line = lineHere
                if byte == newline {
                    lineHere += 1
                    continue
                }
                // CR LF on its own is an empty line too.
                if byte == carriageReturn, try at < end || fill(), chunk[at] == newline { continue }
                isStarted = true
            }
            if byte == newline { lineHere += 1 }
            switch state {
            case .fieldStart:
                if byte == quote {
                    state = .quoted
                } else if byte == delimiter {
                    endField(&fault)
                } else if byte == newline {
                    return finish(fault)
                } else if byte == carriageReturn, try at < end || fill(), chunk[at] == newline {
                    continue
                } else {
                    state = .unquoted
                    take(byte, &fault)
                }
            case .unquoted:
                if byte == delimiter {
                    endField(&fault)
                    state = .fieldStart
                } else if byte == newline {
                    return finish(fault)
                } else if byte == carriageReturn, try at < end || fill(), chunk[at] == newline {
                    continue
                } else {
                    take(byte, &fault)
                }
            case .quoted:
                if byte == quote { state = .quoteInQuoted } else { take(byte, &fault) }
            case .quoteInQuoted:
                if byte == quote {
                    take(byte, &fault)
                    state = .quoted
                } else if byte == delimiter {
                    endField(&fault)
                    state = .fieldStart
                } else if byte == newline {
                    return finish(fault)
                } else if byte == carriageReturn, try at < end || fill(), chunk[at] == newline {
                    continue
                } else {
                    fault = fault ?? "text follows the closing quote of field \(ends.count + 1)"
                    state = .unquoted
                }
            }
        }
    }

    private mutating func take(_ byte: UInt8, _ fault: inout String?) {
        guard bytes.count < Self.rowBytesMax else {
            fault = fault ?? "longer than \(Self.rowBytesMax) bytes; is a quote missing?"
            return
        }
        bytes.append(byte)
    }

    private mutating func endField(_ fault: inout String?) {
        guard ends.count < Self.columnsMax else {
            fault = fault ?? "more than \(Self.columnsMax) fields"
            return
        }
        ends.append(bytes.count)
    }

    private mutating func finish(_ fault: String?) -> RowState {
        if let fault {
            bytes.removeAll(keepingCapacity: true)
            ends.removeAll(keepingCapacity: true)
            return .broken(fault)
        }
        ends.append(bytes.count)
        return .row
    }

    private mutating func fill() throws -> Bool {
        guard !isAtEnd else { return false }
        end = try chunk.withUnsafeMutableBytes { try source($0) }
        at = 0
        isAtEnd = end == 0
        return !isAtEnd
    }

    /// The mark may come in pieces; a file that begins with a part of it begins with that part.
    private mutating func skipByteOrderMark() throws {
        let mark: [UInt8] = [0xEF, 0xBB, 0xBF]
        var start: [UInt8] = []
        while start.count < mark.count, mark.starts(with: start), try at < end || fill() {
            start.append(chunk[at])
            at += 1
        }
        guard start != mark else { return }
        // Put back what was looked at, before what is left of the chunk.
        let rest = start + chunk[at..<end]
        if rest.count > chunk.count { chunk += [UInt8](repeating: 0, count: rest.count - chunk.count) }
        chunk.replaceSubrange(0..<rest.count, with: rest)
        at = 0
        end = rest.count
    }
}

private let quote = UInt8(ascii: "\"")
private let newline = UInt8(ascii: "\n")
private let carriageReturn = UInt8(ascii: "\r")
