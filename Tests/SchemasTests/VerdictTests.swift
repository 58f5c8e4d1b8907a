import Foundation
import JSON
import Schemas
import Testing

/// Goal: our interpreter and Python's `jsonschema` say the same of every event. Method: a seeded generator reads the
/// schemas themselves, makes a good value for each, and breaks about half of them in one place; both sides judge all lines.
///
/// `LEADLEDGER_TEST_SEED` repeats a run, `LEADLEDGER_TEST_PYTHON` names another interpreter.
@Suite struct VerdictTests {
    @Test func `our verdict is that of another validator on thousands of good and bad events`() throws {
        let environment = ProcessInfo.processInfo.environment
        let seed = environment["LEADLEDGER_TEST_SEED"].flatMap { UInt64($0) } ?? UInt64.random(in: 0..<1_000_000)
        print("VerdictTests: LEADLEDGER_TEST_SEED=\(seed)")
        let sources = [("envelope", Schemas.envelope)] + Schemas.events.map { ($0.name, $0.text) }
        var cases: [(schema: String, value: String)] = []
        for (name, text) in sources {
            let model = try JSONSerialization.jsonObject(with: Data(text)) as! [String: Any]
            var generator = Generator(
                root: model, state: seed ^ UInt64(name.utf8.reduce(5381) { $0 &* 33 &+ Int($1) }.magnitude))
            for _ in 0..<200 { cases.append((name, generator.document())) }
        }

        var ours: [String] = []
        var parser = JSONParser()
        let compiled = Dictionary(uniqueKeysWithValues: try sources.map { ($0.0, try JSONSchema($0.1)) })
        for (name, value) in cases {
            ours.append(try parser.withDocument(value) { compiled[name]!.validate($0) == nil ? "good" : "bad" })
        }
        let theirs = try verdicts(of: cases, under: sources)

        try #require(theirs.count == cases.count)
        for (index, entry) in cases.enumerated() where ours[index] != theirs[index] {
            Issue.record("seed \(seed), \(entry.schema): ours \(ours[index]), theirs \(theirs[index]): \(entry.value)")
        }
        let good = ours.count { $0 == "good" }
        print("VerdictTests: \(good) good of \(cases.count)")
        #expect(cases.count >= 2_000)
        #expect(
            good >= cases.count / 4 && cases.count - good >= cases.count / 4,
            "seed \(seed): \(good) good of \(cases.count)")
    }

    private func verdicts(of cases: [(schema: String, value: String)], under sources: [(String, [UInt8])]) throws
        -> [String]
    {
        let folder = FileManager.default.temporaryDirectory.appending(path: "verdicts-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let schemas = sources.map { name, text in
            "{\"name\":\"\(name)\",\"schema\":\(String(decoding: text, as: UTF8.self).replacing("\n", with: " "))}\n"
        }
        try Data(schemas.joined().utf8).write(to: folder.appending(path: "schemas"))
        let lines = cases.map { "{\"schema\":\"\($0.schema)\",\"value\":\($0.value)}\n" }
        try Data(lines.joined().utf8).write(to: folder.appending(path: "cases"))

        let process = Process()
        let python = ProcessInfo.processInfo.environment["LEADLEDGER_TEST_PYTHON"] ?? "/usr/bin/python3"
        process.executableURL = URL(filePath: python)
        process.arguments = [
            URL(filePath: #filePath).deletingLastPathComponent().appending(path: "verdicts.py").path,
            folder.appending(path: "schemas").path, folder.appending(path: "cases").path,
        ]
        let output = folder.appending(path: "verdicts")
        _ = FileManager.default.createFile(atPath: output.path, contents: nil)
        process.standardOutput = try FileHandle(forWritingTo: output)
        try process.run()
        process.waitUntilExit()
        try #require(
            process.terminationStatus == 0, "\(python) with python3-jsonschema is needed; scripts/setup installs it")
        return try String(contentsOf: output, encoding: .utf8).split(separator: "\n").map { String($0) }
    }
}

/// Makes values from a schema: mostly good ones at the edges of what is allowed, or with one thing wrong.
private struct Generator {
    let root: [String: Any]
    var state: UInt64
    /// Faults still to be planted in the value being made.
    var faults = 0

    mutating func document() -> String {
        faults = chance(50) ? 1 : 0
        return value(root, depth: 0)
    }

    private mutating func next() -> UInt64 {
        // SplitMix64.
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    private mutating func below(_ limit: Int) -> Int { Int(next() % UInt64(limit)) }
    private mutating func chance(_ percent: Int) -> Bool { below(100) < percent }
    private mutating func pick<T>(_ list: [T]) -> T { list[below(list.count)] }

    /// Whether the fault goes here. It goes deeper more often than not.
    private mutating func breaks(_ percent: Int) -> Bool {
        guard faults > 0, chance(percent) else { return false }
        faults -= 1
        return true
    }

    private mutating func value(_ given: [String: Any], depth: Int) -> String {
        var schema = given
        if let reference = given["$ref"] as? String {
            schema = (root["$defs"] as! [String: Any])[String(reference.dropFirst(8))] as! [String: Any]
        }
        let types = schema["type"] as? [String] ?? (schema["type"] as? String).map { [$0] } ?? []
        if !types.isEmpty, breaks(depth == 0 ? 3 : 30) {
            return pick([
                "null", "true", "17", "-17", "1.5", "2.0", "1e3", "\"x\"", "\"\"", "[]", "{}", "[\"x\"]", "{\"x\":1}",
            ])
        }
        if let choices = schema["enum"] as? [String] ?? (schema["const"] as? String).map({ [$0] }) {
            if breaks(60) {
                return quoted(pick([pick(choices) + "x", "", pick(choices).lowercased(), pick(choices).uppercased()]))
            }
            return quoted(pick(choices))
        }
        switch types.isEmpty ? "any" : pick(types) {
        case "object": return object(schema, depth: depth)
        case "array": return array(schema, depth: depth)
        case "string": return string(schema)
        case "integer": return number(schema, integer: true)
        case "number": return number(schema, integer: false)
        case "boolean": return pick(["true", "false"])
        case "null": return "null"
        default: return anything(depth: 0)
        }
    }

    private mutating func object(_ schema: [String: Any], depth: Int) -> String {
        let properties = schema["properties"] as? [String: Any] ?? [:]
        let required = Set(schema["required"] as? [String] ?? [])
        let drops = !required.isEmpty && breaks(25)
        let dropped = drops ? pick(required.sorted()) : nil
        var members: [String] = []
        for name in properties.keys.sorted() where name != dropped {
            guard required.contains(name) || chance(45) else { continue }
            members.append(quoted(name) + ":" + value(properties[name] as! [String: Any], depth: depth + 1))
        }
        if let additional = schema["additionalProperties"] as? [String: Any] {
            let most = schema["maxProperties"] as? Int ?? 4
            let count = breaks(30) ? most + 1 : chance(10) ? most : below(4)
            for i in 0..<count { members.append("\"k\(i)\":" + value(additional, depth: depth + 1)) }
        } else if schema["additionalProperties"] as? Bool != false {
            let least = schema["minProperties"] as? Int ?? 0
            for i in 0..<(least + below(4)) { members.append("\"free\(i)\":" + anything(depth: 0)) }
        } else if breaks(depth == 0 ? 25 : 50) {
            let near = properties.keys.sorted().first.map { [$0 + "x", $0.uppercased(), " " + $0] } ?? []
            members.append(quoted(pick(near + ["unknown", "", "ключ"])) + ":" + anything(depth: 0))
        }
        for i in members.indices.dropFirst() { members.swapAt(i, below(i + 1)) }
        return "{" + members.joined(separator: ",") + "}"
    }

    private mutating func array(_ schema: [String: Any], depth: Int) -> String {
        let least = schema["minItems"] as? Int ?? 0
        let most = schema["maxItems"] as? Int ?? 5
        let count =
            breaks(40)
            ? (least > 0 && chance(50) ? least - 1 : most + 1) : chance(15) ? most : min(most, least + below(4))
        let items = schema["items"] as? [String: Any]
        return "["
            + (0..<count).map { _ in items.map { value($0, depth: depth + 1) } ?? anything(depth: 0) }.joined(
                separator: ",") + "]"
    }

    private mutating func string(_ schema: [String: Any]) -> String {
        let least = schema["minLength"] as? Int ?? 0
        let most = schema["maxLength"] as? Int ?? 40
        let length =
            breaks(70)
            ? (least > 0 && chance(50) ? least - 1 : most + 1)
            : chance(20) ? pick([least, most]) : min(most, least + below(12))
        let alphabet = pick([
            ["a", "b", " ", "-"], ["é", "ß", "я"], ["😀", "x"], ["\"", "\\", "\n", "/"], ["\u{301}", "e"],
        ])
        return quoted((0..<length).map { _ in pick(alphabet) }.joined())
    }

    private mutating func number(_ schema: [String: Any], integer: Bool) -> String {
        let least = schema["minimum"] as? Int
        let most = schema["maximum"] as? Int
        if breaks(60) {
            var bad = integer ? ["0.5", "1.25e1", "-7.5"] : []
            if let least { bad += ["\(least - 1)", "\(least - 1).5", "-1e30"] }
            if let most { bad += ["\(most + 1)", "1e30", "1\(most)"] }
            if !bad.isEmpty { return pick(bad) }
        }
        let low = least ?? -1_000_000
        let high = most ?? 1_000_000
        let inside = low + below(max(1, min(high - low, 1_000_000)))
        var good = ["\(low)", "\(high)", "\(inside)", "\(inside).0", "\(inside)e0"]
        if inside != 0 { good.append("\(inside)0e-1") }
        if !integer, low <= 0, high >= 1 { good += ["0.5", "0.25", "1e-9"] }
        return pick(good)
    }

    private mutating func anything(depth: Int) -> String {
        switch below(depth > 2 ? 5 : 7) {
        case 0: return "null"
        case 1: return pick(["true", "false"])
        case 2: return "\(below(1_000))"
        case 3: return "-\(below(1_000)).\(below(100))"
        case 4: return quoted(pick(["", "x", "é\n\"", "a longer text with spaces"]))
        case 5: return "[" + (0..<below(3)).map { _ in anything(depth: depth + 1) }.joined(separator: ",") + "]"
        default:
            return "{" + (0..<below(3)).map { "\"n\($0)\":" + anything(depth: depth + 1) }.joined(separator: ",") + "}"
        }
    }

    private func quoted(_ text: String) -> String {
        var writer = JSONWriter()
        writer.string(text)
        return writer.string
    }
}
