import Foundation
import Glibc
import JSON
import Testing

/// Parses and hands out a copy of the minified text.
func minified(_ text: String) throws -> String {
    var parser = JSONParser()
    return try parser.withDocument(text) { String(decoding: $0.raw, as: UTF8.self) }
}

func refusal(_ bytes: [UInt8]) -> JSONError? {
    var parser = JSONParser()
    do throws(JSONError) {
        _ = try parser.withDocument(bytes) { _ in }
        return nil
    } catch {
        return error
    }
}

func refusal(_ text: String) -> JSONError? { refusal(Array(text.utf8)) }

/// The kinds of all nodes in text order, and the texts of the scalars.
func shape(_ value: JSONValue) -> [String] {
    switch value.kind {
    case .object: ["{"] + value.members.flatMap { shape($0.name) + shape($0.value) } + ["}"]
    case .array: ["["] + value.elements.flatMap { shape($0) } + ["]"]
    default: ["\(value.kind)" + String(decoding: value.raw, as: UTF8.self)]
    }
}

@Suite struct JSONParserTests {
    @Test func `a document is read by kind, member and element`() throws {
        var parser = JSONParser()
        let text =
            #" { "a" : [ 1 , -2.5 , true , false , null ] , "b\u0031" : "x\n\u00e9\ud83d\ude00" , "empty" : { } } "#
        try parser.withDocument(text) { root in
            #expect(root.kind == .object)
            #expect(root.count == 3)
            #expect(root.members.map { $0.name.string } == ["a", "b1", "empty"])
            let a = try #require(root["a"])
            #expect(a.elements.map { $0.kind } == [.number, .number, .boolean, .boolean, .null])
            #expect(a.elements.map { $0.boolean } == [nil, nil, true, false, nil])
            #expect(root["b1"]?.string == "x\n\u{e9}\u{1F600}")
            #expect(root["b1"]?.isEscaped == true)
            #expect(root["b1"]?.equals("x\n\u{e9}\u{1F600}") == true)
            #expect(root["empty"]?.count == 0)
            #expect(root["absent"] == nil)
            #expect(root.member(named: "b1")?.kind == .string)
            let compact = #"{"a":[1,-2.5,true,false,null],"b\u0031":"x\n\u00e9\ud83d\ude00","empty":{}}"#
            #expect(String(decoding: root.raw, as: UTF8.self) == compact)
            #expect(
                root.members.map { String(decoding: $0.raw, as: UTF8.self) }.joined(separator: ",")
                    == compact.dropFirst().dropLast())
            #expect(String(decoding: a.raw, as: UTF8.self) == "[1,-2.5,true,false,null]")
        }
    }

    @Test func `asking a value for what it is not gives nothing`() throws {
        var parser = JSONParser()
        try parser.withDocument("[1,\"x\"]") { root in
            #expect(root["a"] == nil)
            #expect(Array(root.members.map { $0.name.string }).isEmpty)
            let elements = Array(root.elements)
            #expect(elements[0].string == nil)
            #expect(elements[0].utf8.isEmpty)
            #expect(elements[0].count == 0)
            #expect(elements[1].int64 == nil)
            #expect(elements[1].boolean == nil)
            #expect(!elements[1].isInteger)
        }
    }

    @Test(arguments: ["0", "true", "null", "\"\"", "\"x\"", "-1.5e3", "[]", "{}", " 7 ", "\n\"a b\"\t"])
    func `any value may be the root`(_ text: String) throws {
        #expect(try minified(text) == text.trimmingCharacters(in: .whitespacesAndNewlines))
    }

    @Test func `white space inside strings stays`() throws {
        #expect(try minified("[ \"a  b\" , \" \" ]") == "[\"a  b\",\" \"]")
    }

    @Test func `a parser is reused, small documents after large ones`() throws {
        var parser = JSONParser()
        for size in [10, 100_000, 3, 5_000, 200_000, 1] {
            let text = "[" + (0..<size).map { "{\"k\":\($0)}" }.joined(separator: " , ") + "]"
            let sum = try parser.withDocument(text) { root in root.elements.reduce(0) { $0 + ($1["k"]!.int64 ?? -1) } }
            #expect(sum == Int64(size) * Int64(size - 1) / 2)
        }
    }

    @Test func `what is not JSON is refused with the place of the first offence`() {
        let cases: [(String, JSONError.Kind, Int)] = [
            ("", .notJSON, 0), ("   ", .notJSON, 3), ("[1,]", .notJSON, 3), ("{\"a\":1,}", .notJSON, 7),
            ("{\"a\" 1}", .notJSON, 5),
            ("{a:1}", .notJSON, 1), ("[1 2]", .notJSON, 3), ("[01]", .notJSON, 1), ("[1.]", .notJSON, 1),
            ("[+1]", .notJSON, 1),
            ("[.5]", .notJSON, 1), ("[1e]", .notJSON, 1), ("[-]", .notJSON, 1), ("nul", .notJSON, 0),
            ("truex", .notJSON, 4),
            ("[1] x", .notJSON, 4), ("{} {}", .notJSON, 3), ("\"a", .notJSON, 0), ("\"a\tb\"", .notJSON, 2),
            (#""\x""#, .notJSON, 1),
            (#""\u12""#, .notJSON, 1), (#"["\ud800"]"#, .notJSON, 2), (#"["\udc00"]"#, .notJSON, 2),
            (#"["\ud800\u0041"]"#, .notJSON, 2),
            ("[1}", .notJSON, 2), ("[", .notJSON, 1), ("NaN", .notJSON, 0), ("[1,\u{0}]", .notJSON, 3),
            ("[\"\u{0}\"]", .notJSON, 2),
            ("\u{FEFF}{}", .notJSON, 0), ("[1\u{A0}]", .notJSON, 2), ("// c\n1", .notJSON, 0), ("1,", .notJSON, 1),
            ("]", .notJSON, 0),
        ]
        for (text, kind, offset) in cases {
            let error = refusal(text)
            #expect(error?.kind == kind, "\(text.debugDescription)")
            #expect(error?.offset == offset, "\(text.debugDescription): \(String(describing: error))")
        }
    }

    @Test func `bad UTF-8 is refused wherever it stands`() {
        let bad: [[UInt8]] = [
            [0xFF], [0xC0, 0x80], [0xED, 0xA0, 0x80], [0xF4, 0x90, 0x80, 0x80], [0xE2, 0x82], [0x80],
            [0xF5, 0x80, 0x80, 0x80],
        ]
        for bytes in bad {
            let inString = Array("[\"a".utf8) + bytes + Array("\"]".utf8)
            #expect(refusal(inString) == JSONError(kind: .badUTF8, offset: 3, reason: "not valid UTF-8"), "\(bytes)")
            #expect(refusal(Array("[1,".utf8) + bytes)?.kind == .badUTF8, "\(bytes)")
        }
    }

    @Test func `depth 32 is read, depth 33 is refused, of every sort of container`() throws {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            for inner in ["1", "[]", "{}"] {
                let levels = inner == "1" ? 32 : 31
                let good = String(repeating: open, count: levels) + inner + String(repeating: close, count: levels)
                #expect(try minified(good) == good)
                let deep = open + good + close
                #expect(refusal(deep)?.kind == .tooDeep)
                #expect(refusal(deep)?.offset == 32 * open.utf8.count)
            }
        }
    }

    @Test func `a hundred thousand levels are refused without a crash`() {
        for text in ["[", "{\"a\":", "[{\"a\":"] {
            #expect(refusal(String(repeating: text, count: 100_000))?.kind == .tooDeep)
        }
        let closed = String(repeating: "[", count: 100_000) + String(repeating: "]", count: 100_000)
        #expect(refusal(closed)?.kind == .tooDeep)
    }

    @Test func `a member name twice in one object is refused, however it is spelt`() {
        let error = refusal(#"{"a":1, "b":{"x":1,"y":2,"x":3}}"#)
        #expect(
            error == JSONError(kind: .duplicateMember, offset: 25, reason: "a member name twice in one object: \"x\""))
        #expect(refusal(#"{"ab":1,"\u0061b":2}"#)?.kind == .duplicateMember)
        #expect(refusal(#"{"\u00e9":1,"é":2}"#)?.kind == .duplicateMember)
        #expect(refusal(#"{"":1,"":2}"#)?.kind == .duplicateMember)
        #expect(refusal(#"{"abcdefghijklmnop":1,"abcdefghijklmnop":2}"#)?.kind == .duplicateMember)
        #expect(refusal(#"{"a":{"a":{"a":1}},"b":[{"a":1},{"a":2}],"A":1}"#) == nil)
        // Equal to a reader, but other code points and so other names.
        #expect(refusal("{\"\u{e9}\":1,\"e\u{301}\":2}") == nil)
    }

    @Test func `an object of 100,000 members is checked for duplicates without quadratic work`() throws {
        var text = "{" + (0..<100_000).map { "\"member\($0)\":\($0)" }.joined(separator: ",")
        var parser = JSONParser()
        // Of this thread: others have their own to do. Quadratic work would be 5 * 10^9 comparisons.
        func processorSeconds() -> Int {
            var time = timespec()
            clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
            return time.tv_sec
        }
        let before = processorSeconds()
        try parser.withDocument(text + "}") { root in #expect(root.count == 100_000) }
        #expect(processorSeconds() - before < 3)
        text += ",\"member77777\":0}"
        #expect(refusal(text)?.kind == .duplicateMember)
    }

    @Test func `documents over the parser's limit are refused before anything is read`() {
        var parser = JSONParser(bytesMax: 10)
        #expect(throws: JSONError.self) { try parser.withDocument(Array("[1,2,3,4,5]".utf8)) { (_: JSONValue) in } }
        #expect(throws: Never.self) { try parser.withDocument(Array("[1,2,3,45]".utf8)) { (_: JSONValue) in } }
    }
}

@Suite struct JSONNumberTests {
    @Test func `any grammatical number is kept as text`() throws {
        let numbers = [
            "1e400", "-1e400", "1e-400", "123456789012345678901234567890", "-0", "-0.0", "0e0", "1E+2",
            "18446744073709551616",
            "0.1000000000000000055511151231257827021181583404541015625", "9" + String(repeating: "0", count: 400),
        ]
        for number in numbers {
            #expect(
                try minified("[ \(number) , \"1e400 \\u0031\",{\"n\" :\(number)}]")
                    == "[\(number),\"1e400 \\u0031\",{\"n\":\(number)}]")
            #expect(try minified(number) == number)
        }
    }

    @Test func `a number too large for simdjson hides no other fault`() {
        #expect(refusal("[1e400, 01]")?.offset == 8)
        #expect(refusal("[1e400,]")?.offset == 7)
        #expect(refusal(#"{"a":1e400,"a":1}"#)?.kind == .duplicateMember)
        #expect(refusal("1e400 1")?.offset == 6)
    }

    @Test func `integers are exact however they are written`() throws {
        let cases: [(String, Int64?, Bool)] = [
            ("0", 0, true), ("-0", 0, true), ("-0.0e5", 0, true), ("1.0", 1, true), ("1e2", 100, true),
            ("100e-2", 1, true), ("12.50e1", 125, true),
            ("1.5", nil, false), ("15e-1", nil, false), ("0.1e1", 1, true), ("0.001e3", 1, true), ("1e-1", nil, false),
            ("9223372036854775807", .max, true), ("-9223372036854775808", .min, true),
            ("9223372036854775808", nil, true),
            ("1e400", nil, true), ("1e-400", nil, false), ("1e99999999999999999999", nil, true),
            ("0e99999999999999999999", 0, true),
            ("9007199254740993", 9_007_199_254_740_993, true), ("120.00", 120, true), ("100", 100, true),
            ("1000e-3", 1, true),
            ("92233720368547758070e-1", .max, true), ("0.00000", 0, true), ("10.0", 10, true),
        ]
        var parser = JSONParser()
        for (text, value, isInteger) in cases {
            try parser.withDocument(text) { root in
                #expect(root.int64 == value, "\(text)")
                #expect(root.isInteger == isInteger, "\(text)")
            }
        }
    }

    @Test func `integers up to 128 bits are exact`() throws {
        var parser = JSONParser()
        for value in [Int128.max, .min, 0, 18_446_744_073_709_551_616] {
            #expect(try parser.withDocument("\(value)") { $0.int128 } == value)
        }
        #expect(try parser.withDocument("170141183460469231731687303715884105728") { $0.int128 } == nil)
        #expect(try parser.withDocument("18446744073709551615") { $0.uint64 } == UInt64.max)
        #expect(try parser.withDocument("-1") { $0.uint64 } == nil)
        #expect(try parser.withDocument("0.25") { $0.double } == 0.25)
        #expect(try parser.withDocument("1e400") { $0.double } == .infinity)
    }
}
