import JSON
import Schemas
import Testing

@Suite struct SchemaViolationsTests {
    private func violations(_ schema: String, _ value: String, max: Int = 100) throws -> [String] {
        let schema = try JSONSchema(Array(schema.utf8))
        var parser = JSONParser()
        return try parser.withDocument(value) { root in
            let all = schema.violations(in: root, max: max)
            let first = schema.validate(root)
            #expect((first == nil) == all.isEmpty)
            if let first, all.count < max { #expect(all.contains(first)) }
            return all.map { "\($0.pointer) \($0.keyword)" }
        }
    }

    private static let schema = #"""
        {"type":"object","required":["a","b"],"additionalProperties":false,"maxProperties":4,"properties":{
         "a":{"type":"integer","minimum":1},"b":{"type":"array","maxItems":2,"items":{"$ref":"#/$defs/word"}},
         "c":{"type":"object","required":["x"],"properties":{"x":{"type":"boolean"}},"additionalProperties":{"type":"null"}}},
         "$defs":{"word":{"type":"string","maxLength":3,"minLength":1}}}
        """#

    @Test(
        arguments: [
            (#"{"a":1,"b":["x"]}"#, []),
            (#"[]"#, [" type"]),
            (
                #"{"a":0,"b":["x","",5],"z":1}"#,
                ["/a minimum", "/b maxItems", "/b/1 minLength", "/b/2 type", "/z additionalProperties"]
            ),
            (#"{"c":{"y":1,"q":null}}"#, ["/c/y type", "/c required", " required"]),
            (
                #"{"a":1,"b":[],"c":{"x":0},"d":1,"e":2}"#,
                [" maxProperties", "/c/x type", "/d additionalProperties", "/e additionalProperties"]
            ),
            (#"{"a":"1","b":{"x":"long"}}"#, ["/a type", "/b type"]),
        ] as [(String, [String])])
    func `all that is wrong is found, in the order of the text`(_ value: String, _ expected: [String]) throws {
        #expect(try violations(Self.schema, value) == expected)
    }

    @Test func `no more than asked for are looked for`() throws {
        let value = "{" + (0..<50).map { "\"k\($0)\":0" }.joined(separator: ",") + "}"
        for max in [1, 2, 7] { #expect(try violations(Self.schema, value, max: max).count == max) }
    }
}
