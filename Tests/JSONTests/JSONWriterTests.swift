import JSON
import Testing

@Suite struct JSONWriterTests {
    @Test func `commas come by themselves`() {
        var writer = JSONWriter(reserving: 64)
        writer.beginObject()
        writer.key("a")
        writer.integer(1)
        writer.key("list")
        writer.beginArray()
        writer.beginObject()
        writer.endObject()
        writer.bool(true)
        writer.bool(false)
        writer.null()
        writer.beginArray()
        writer.endArray()
        writer.raw("[1, 2]")
        writer.raw(Array("{}".utf8))
        writer.endArray()
        writer.key(String("k\"\u{e9}"))
        writer.string("v")
        writer.endObject()
        #expect(writer.string == #"{"a":1,"list":[{},true,false,null,[],[1, 2],{}],"k\"é":"v"}"#)
    }

    @Test func `raw members join those around them, and none leave no comma`() {
        var writer = JSONWriter()
        writer.beginObject()
        Array("\"a\":1,\"b\":2".utf8).withUnsafeBytes { writer.rawMembers($0) }
        [UInt8]().withUnsafeBytes { writer.rawMembers($0) }
        writer.key("c")
        writer.null()
        writer.endObject()
        #expect(writer.string == #"{"a":1,"b":2,"c":null}"#)
    }

    @Test func `strings come back as they went in`() throws {
        var parser = JSONParser()
        let all = (0..<0x300).compactMap { Unicode.Scalar($0) }.map { String($0) }
        for text in all + [all.joined(), "", "\u{1F600}", "a\"b\\c/d", "\u{2028}\u{FFFF}"] {
            var writer = JSONWriter()
            writer.string(text)
            let back = try parser.withDocument(writer.bytes) { $0.string }
            #expect(back.map { Array($0.utf8) } == Array(text.utf8))
        }
    }

    @Test func `integers of every width are written in full`() throws {
        func written(_ write: (inout JSONWriter) -> Void) -> String {
            var writer = JSONWriter()
            write(&writer)
            return writer.string
        }
        #expect(written { $0.integer(UInt8(0)) } == "0")
        #expect(written { $0.integer(Int64.min) } == "\(Int64.min)")
        #expect(written { $0.integer(UInt64.max) } == "\(UInt64.max)")
        #expect(written { $0.integer(Int8.min) } == "-128")
        for value: Int128 in [
            .min, .max, 0, -1, 10_000_000_000_000_000_000, 10_000_000_000_000_000_001, 99_999_999_999_999_999_999_999,
        ] {
            #expect(written { $0.integer(value) } == "\(value)")
        }
    }

    @Test func `a cursor writes numbers of every length`() {
        var values: [UInt64] = [0, .max]
        var power: UInt64 = 1
        for _ in 0..<19 {
            for factor in 1...9 as ClosedRange<UInt64> {
                values += [power * factor, power * factor - 1, power * factor + 1]
            }
            power *= 10
        }
        values += [power, power - 1, power + 1]
        for value in values {
            let text = withUnsafeTemporaryAllocation(byteCount: 20, alignment: 1) { place in
                var cursor = TextCursor(place.baseAddress!)  // not empty
                cursor.digits(value)
                return String(decoding: place.prefix(cursor.at - place.baseAddress!), as: UTF8.self)
            }
            #expect(text == "\(value)")
        }
    }

    @Test func `a writer starts again after reset and take`() {
        var writer = JSONWriter()
        writer.integer(1)
        #expect(writer.take() == Array("1".utf8))
        writer.integer(2)
        #expect(writer.string == "2")
        writer.reset()
        writer.integer(3)
        #expect(writer.string == "3")
        var appended = JSONWriter(appendingTo: Array("x".utf8))
        appended.integer(4)
        #expect(appended.string == "x4")
    }
}
