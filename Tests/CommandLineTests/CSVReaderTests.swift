import Testing

@testable import leadledger

@Suite struct CSVReaderTests {
    typealias Row = (line: Int, fields: [String]?)

    /// All rows of a text, read in chunks of so many bytes; fields are nil where a row is broken.
    private func rows(_ text: String, chunk: Int = 1 << 10, delimiter: Character = ",") throws -> [(Int, [String]?)] {
        var rest = Array(text.utf8)[...]
        var reader = CSVReader(delimiter: delimiter.asciiValue!, chunkBytes: chunk) { buffer in
            let count = min(buffer.count, rest.count)
            buffer.copyBytes(from: rest.prefix(count))
            rest.removeFirst(count)
            return count
        }
        var rows: [(Int, [String]?)] = []
        while let state = try reader.next() {
            switch state {
            case .row:
                let fields = (0..<reader.fieldCount).map { String(decoding: reader.field($0), as: UTF8.self) }
                rows.append((reader.line, fields))
            case .broken: rows.append((reader.line, nil))
            }
        }
        return rows
    }

    private static let torture: [(String, [(Int, [String]?)])] = [
        ("", []),
        ("a,b", [(1, ["a", "b"])]),
        ("a,b\n", [(1, ["a", "b"])]),
        ("a,b\r\nc,d\r\n", [(1, ["a", "b"]), (2, ["c", "d"])]),
        (",\n,,", [(1, ["", ""]), (2, ["", "", ""])]),
        ("\"a,1\",\"say \"\"hi\"\"\"\n", [(1, ["a,1", "say \"hi\""])]),
        ("\"two\nlines\",b\nc,d", [(1, ["two\nlines", "b"]), (3, ["c", "d"])]),
        ("\"two\r\nlines\",b\r\nc,d", [(1, ["two\r\nlines", "b"]), (3, ["c", "d"])]),
        ("\"\"\n\"\",\"\"", [(1, [""]), (2, ["", ""])]),
        ("\u{FEFF}a,b\n", [(1, ["a", "b"])]),
        ("\u{FEFF}\"a\",b\n", [(1, ["a", "b"])]),
        ("é,\u{1F600}", [(1, ["é", "\u{1F600}"])]),
        ("\n\r\na\n\n\nb\n", [(3, ["a"]), (6, ["b"])]),
        ("5\" disk,b\n", [(1, ["5\" disk", "b"])]),
        ("a\rb,c\n", [(1, ["a\rb", "c"])]),
        (" a , \"b\"\n", [(1, [" a ", " \"b\""])]),
        ("\"a\"x,b\nc,d\n", [(1, nil), (2, ["c", "d"])]),
        ("a,b\n\"open,c\nd,e\n", [(1, ["a", "b"]), (2, nil)]),
        ("\"a\"\r\n\"b\"\r", [(1, ["a"]), (2, nil)]),
    ]

    @Test(arguments: torture.indices, [1, 2, 3, 7, 1_024])
    func `fields come out as RFC 4180 means them, wherever a chunk ends`(_ index: Int, _ chunk: Int) throws {
        let (text, expected) = Self.torture[index]
        let found = try rows(text, chunk: chunk)
        #expect(found.map(\.0) == expected.map(\.0), "\(text.debugDescription)")
        #expect(found.map(\.1) == expected.map(\.1), "\(text.debugDescription)")
    }

    @Test func `another delimiter leaves commas alone`() throws {
        #expect(try rows("a,1;b\n", delimiter: ";").map(\.1) == [["a,1", "b"]])
    }

    @Test func `a row that does not end is given up in flat memory and the next row is read`() throws {
        let long = "\"" + String(repeating: "x", count: 3 << 20) + "\",b\nc,d\n"
        #expect(try rows(long, chunk: 64 << 10).map(\.1) == [nil, ["c", "d"]])
    }
}
