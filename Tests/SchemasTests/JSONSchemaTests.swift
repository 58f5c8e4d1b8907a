import JSON
import Schemas
import Testing

private func schema(_ text: String) throws -> JSONSchema { try JSONSchema(Array(text.utf8)) }

private func violation(_ schema: JSONSchema, _ value: String) throws -> SchemaViolation? {
    var parser = JSONParser()
    return try parser.withDocument(value) { schema.validate($0) }
}

@Suite struct JSONSchemaTests {
    @Test(arguments: [
        "anyOf", "allOf", "oneOf", "not", "if", "pattern", "format", "patternProperties", "propertyNames",
        "dependentRequired", "prefixItems",
        "contains", "uniqueItems", "multipleOf", "exclusiveMinimum", "exclusiveMaximum", "unevaluatedProperties",
        "$anchor", "$dynamicRef",
        "deprecated", "definitions", "Type", "x-other",
    ])
    func `a keyword that is not interpreted is refused wherever it stands`(_ keyword: String) {
        for (text, pointer) in [
            (#"{"\#(keyword)":{}}"#, "/\(keyword)"),
            (#"{"properties":{"a":{"\#(keyword)":{}}}}"#, "/properties/a/\(keyword)"),
            (#"{"items":{"\#(keyword)":{}}}"#, "/items/\(keyword)"),
            (#"{"additionalProperties":{"\#(keyword)":{}}}"#, "/additionalProperties/\(keyword)"),
            (#"{"$defs":{"d":{"\#(keyword)":{}}}}"#, "/$defs/d/\(keyword)"),
        ] {
            do throws(JSONSchemaError) {
                _ = try JSONSchema(Array(text.utf8))
                Issue.record("\(text) was compiled")
            } catch {
                #expect(error.pointer == pointer)
            }
        }
    }

    @Test(arguments: [
        "", "[]", "true", #"{"type":"text"}"#, #"{"type":[]}"#, #"{"type":1}"#, #"{"maxLength":-1}"#,
        #"{"maxLength":1.5}"#, #"{"maxLength":"1"}"#,
        #"{"minimum":"0"}"#, #"{"minimum":0.5}"#, #"{"maximum":1e30}"#, #"{"enum":[]}"#, #"{"enum":[1]}"#,
        #"{"const":null}"#,
        #"{"enum":["a"],"const":"a"}"#, #"{"required":["a"]}"#, #"{"properties":{"a":{}},"required":"a"}"#,
        #"{"properties":[]}"#,
        #"{"properties":{"a":true}}"#, ##"{"properties":{"a":{"$ref":"#/$defs/b"}}}"##,
        ##"{"$ref":"#/$defs/a","$defs":{"a":{}}}"##,
        ##"{"$defs":{"a":{"$ref":"#/$defs/a"}}}"##,
        ##"{"properties":{"a":{"$ref":"#/$defs/b","type":"string"}},"$defs":{"b":{}}}"##,
        #"{"x-personal":true}"#, #"{"properties":{"a":{"x-personal":1}}}"#,
        #"{"properties":{"a":{"x-emitted-by":"me"}}}"#,
        #"{"properties":{"a":{"properties":{"b":{"x-personal":true}}}}}"#,
        #"{"$schema":"http://json-schema.org/draft-07/schema#"}"#,
        #"{"additionalProperties":1}"#, #"{"items":[]}"#, #"{"properties":{"a":{"$defs":{}}}}"#,
        #"{"type":"object","type":"object"}"#,
    ])
    func `a schema that is not sound is refused`(_ text: String) {
        #expect(throws: JSONSchemaError.self) { try JSONSchema(Array(text.utf8)) }
    }

    @Test func `more than 64 properties are refused, 64 are taken`() throws {
        func wide(_ count: Int) -> String {
            let names = (0..<count).map { "p\($0)" }
            let properties = names.map { "\"\($0)\":{\"type\":\"integer\"}" }.joined(separator: ",")
            return
                "{\"properties\":{\(properties)},\"required\":[\(names.map { "\"\($0)\"" }.joined(separator: ","))],\"additionalProperties\":false}"
        }
        #expect(throws: JSONSchemaError.self) { try schema(wide(65)) }
        let full = try schema(wide(64))
        let all = (0..<64).reversed().map { "\"p\($0)\":\($0)" }
        #expect(try violation(full, "{\(all.joined(separator: ","))}") == nil)
        #expect(try violation(full, "{\(all.dropLast().joined(separator: ","))}")?.message == "missing field \"p0\"")
    }

    @Test func `a violation says where, what was expected and what is allowed`() throws {
        let lead = try schema(
            #"""
            {"type":"object","properties":{"name":{"type":"string","minLength":2,"maxLength":4},"size":{"type":["integer","null"],"minimum":1,"maximum":9},
             "tags":{"type":"array","items":{"enum":["a","b"]},"minItems":1,"maxItems":2},"more":{"type":"object","minProperties":1,
             "maxProperties":2,"additionalProperties":{"type":"number"}},"a/b~c":{"const":"x"}},"required":["name","size"],"additionalProperties":false}
            """#)
        let cases: [(String, String, String, String)] = [
            (#"[]"#, "", "type", "expected object, found array"),
            (#"{}"#, "", "required", "missing field \"name\", \"size\""),
            (#"{"name":"ab"}"#, "", "required", "missing field \"size\""),
            (#"{"name":1,"size":1}"#, "/name", "type", "expected string, found integer"),
            (#"{"name":"a","size":1}"#, "/name", "minLength", "shorter than 2 characters"),
            (#"{"name":"abcde","size":1}"#, "/name", "maxLength", "longer than 4 characters"),
            (#"{"name":"ab","size":1.5}"#, "/size", "type", "expected null or integer, found number"),
            (#"{"name":"ab","size":0}"#, "/size", "minimum", "less than 1"),
            (#"{"name":"ab","size":10}"#, "/size", "maximum", "greater than 9"),
            (#"{"name":"ab","size":true}"#, "/size", "type", "expected null or integer, found boolean"),
            (#"{"name":"ab","size":1,"tags":[]}"#, "/tags", "minItems", "fewer than 1 elements"),
            (#"{"name":"ab","size":1,"tags":["a","b","a"]}"#, "/tags", "maxItems", "more than 2 elements"),
            (#"{"name":"ab","size":1,"tags":["a","c"]}"#, "/tags/1", "enum", "must be one of a, b"),
            (#"{"name":"ab","size":1,"more":{}}"#, "/more", "minProperties", "fewer than 1 fields"),
            (#"{"name":"ab","size":1,"more":{"a":1,"b":2,"c":3}}"#, "/more", "maxProperties", "more than 2 fields"),
            (#"{"name":"ab","size":1,"more":{"a":1,"b":"2"}}"#, "/more/b", "type", "expected number, found string"),
            (#"{"name":"ab","size":1,"a/b~c":"y"}"#, "/a~1b~0c", "enum", "must be one of x"),
            (
                #"{"name":"ab","size":1,"nmae":1}"#, "/nmae", "additionalProperties",
                "unknown field \"nmae\"; known are name, size, tags, more, a/b~c"
            ),
        ]
        for (value, pointer, keyword, message) in cases {
            let found = try violation(lead, value)
            #expect(found?.pointer == pointer, "\(value)")
            #expect(found?.keyword == keyword, "\(value)")
            #expect(found?.message == message, "\(value)")
        }
        #expect(
            try violation(lead, #"{"size":null,"name":"\u0061b","tags":["b"],"more":{"x":1e400},"a/b~c":"\u0078"}"#)
                == nil)
    }

    @Test func `lengths count code points, not bytes`() throws {
        let short = try schema(#"{"minLength":2,"maxLength":3}"#)
        for (text, good) in [
            ("é", false), ("😀", false), ("😀😀", true), ("😀😀😀", true), ("😀😀😀😀", false), ("abcd", false), ("ééé", true),
        ] {
            #expect((try violation(short, "\"\(text)\"") == nil) == good, "\(text)")
        }
        #expect(try violation(short, "17") == nil)
    }

    @Test func `bounds are compared exactly`() throws {
        let bounded = try schema(#"{"type":"number","minimum":-2,"maximum":9007199254740991}"#)
        let cases: [(String, Bool)] = [
            ("-2", true), ("-2.0", true), ("-2.5", false), ("-2.0000000000000000000000001", false), ("-1.9", true),
            ("-1e400", false),
            ("9007199254740991", true), ("9007199254740991.5", false), ("9007199254740992", false),
            ("9007199254740990.5", true),
            ("1e400", false), ("1e-400", true), ("0.5", true), ("-0", true), ("-3e0", false),
            ("90071992547409910e-1", true),
            ("123456789012345678901234567890123456789", false), ("-123456789012345678901234567890123456789", false),
        ]
        for (text, good) in cases { #expect((try violation(bounded, text) == nil) == good, "\(text)") }
    }

    @Test func `a definition may contain itself`() throws {
        let tree = try schema(
            ##"{"properties":{"next":{"$ref":"#/$defs/n"}},"$defs":{"n":{"type":"object","properties":{"next":{"$ref":"#/$defs/n"}},"additionalProperties":false}}}"##
        )
        #expect(try violation(tree, #"{"next":{"next":{"next":{}}}}"#) == nil)
        #expect(try violation(tree, #"{"next":{"next":{"next":{"x":1}}}}"#)?.pointer == "/next/next/next/x")
    }

    @Test func `a part of a document is validated as a value of its own`() throws {
        let one = try schema(#"{"type":"object","properties":{"a":{"type":"integer"}},"additionalProperties":false}"#)
        var parser = JSONParser()
        try parser.withDocument(#"{"x":{"a":1},"y":{"a":"1"},"z":[{"b":{}}]}"#) { root in
            #expect(one.validate(root["x"]!) == nil)
            #expect(one.validate(root["y"]!)?.pointer == "/a")
            #expect(one.validate(root["z"]!.elements.first { _ in true }!)?.pointer == "/b")
        }
    }

    @Test func `personal and reserved members are marked by their place in the text`() throws {
        let captured = try JSONSchema(Schemas.events.first { $0.name == "lead.captured" }!.text)
        let assigned = try JSONSchema(Schemas.events.first { $0.name == "lead.assigned" }!.text)
        var parser = JSONParser()
        var marks = MemberMarks()
        try parser.withDocument(
            ##"{"email":"a@b","channel":"x","click_ids":{"email":"y"},"\u0063ustom":{"channel":1},"phone":"1"}"##
        ) {
            #expect(captured.validate($0, marks: &marks) == nil)
        }
        #expect(marks.personal == 0b11001)
        #expect(marks.reserved == 0)
        try parser.withDocument(
            #"{"member":"m","decision":{"policy":"p","version":1,"basis":3,"at":"2026-03-02T09:00:00Z","zones":"2025b","#
                + #""seed":"s","trigger":{"kind":"arrival","position":2}}}"#
        ) {
            #expect(assigned.validate($0, marks: &marks) == nil)
        }
        #expect(marks.personal == 0)
        #expect(marks.reserved == 0b10)
        #expect(captured.emittedBy == nil)
        #expect(try schema(#"{"x-emitted-by":"daemon"}"#).emittedBy == "daemon")
    }
}
