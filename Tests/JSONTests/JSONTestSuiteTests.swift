import Foundation
import JSON
import Testing

/// The files of https://github.com/nst/JSONTestSuite, which lie beside the repository where they are present.
private let vectors = URL(filePath: #filePath).resolvingSymlinksInPath()
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    .appending(path: "shared/vectors/JSONTestSuite/test_parsing")

private let files: [URL] =
    ((try? FileManager.default.contentsOfDirectory(at: vectors, includingPropertiesForKeys: nil)) ?? [])
    .filter { $0.pathExtension == "json" }
    .sorted { $0.lastPathComponent < $1.lastPathComponent }

@Suite(.enabled(if: !files.isEmpty, "JSONTestSuite is absent: ../shared/vectors/JSONTestSuite/test_parsing"))
struct JSONTestSuiteTests {
    @Test func `y files are read, n files are refused, and no file crashes`() throws {
        var seen: [Character: Int] = [:]
        for file in files {
            let name = file.lastPathComponent
            let bytes = [UInt8](try Data(contentsOf: file))
            let error = refusal(bytes)
            seen[name.first!, default: 0] += 1
            switch name.first {
            // The suite calls a repeated name good; here it is refused by its own name.
            case "y" where name.hasPrefix("y_object_duplicated_key"):
                #expect(error?.kind == .duplicateMember, "\(name)")
            case "y": #expect(error == nil, "\(name)")
            case "n": #expect(error != nil && error?.kind != .duplicateMember, "\(name)")
            default: break
            }
            if let error { #expect(error.offset != nil, "\(name): the place is unknown: \(error)") }
        }
        #expect(seen["y"] == 95 && seen["n"] == 188 && seen["i"] == 35, "\(seen)")
    }

    @Test func `what is read has the same shape after minifying`() throws {
        var parser = JSONParser()
        for file in files {
            let bytes = [UInt8](try Data(contentsOf: file))
            guard refusal(bytes) == nil else { continue }
            let (first, text) = try parser.withDocument(bytes) { (shape($0), [UInt8]($0.raw)) }
            let (second, again) = try parser.withDocument(text) { (shape($0), [UInt8]($0.raw)) }
            #expect(first == second, "\(file.lastPathComponent)")
            #expect(text == again, "\(file.lastPathComponent)")
        }
    }

    @Test func `what is read says what Foundation reads`() throws {
        var parser = JSONParser()
        for file in files where file.lastPathComponent.hasPrefix("y_") {
            let data = try Data(contentsOf: file)
            guard let theirs = try? JSONSerialization.jsonObject(with: data, options: .fragmentsAllowed) else {
                continue
            }
            guard refusal([UInt8](data)) == nil else { continue }
            try parser.withDocument([UInt8](data)) { root in
                #expect(agrees(root, theirs), "\(file.lastPathComponent)")
            }
        }
    }

    private func agrees(_ ours: JSONValue, _ theirs: Any) -> Bool {
        switch ours.kind {
        case .null: return theirs is NSNull
        case .boolean: return (theirs as? Bool) == ours.boolean
        case .number:
            // Foundation's last digit may differ from the nearest double.
            guard let a = ours.double, let b = (theirs as? NSNumber)?.doubleValue else { return false }
            return a == b || abs(a - b) <= 1e-12 * max(abs(a), abs(b))
        case .string: return (theirs as? String) == ours.string
        case .array:
            guard let list = theirs as? [Any], list.count == ours.count else { return false }
            return zip(ours.elements, list).allSatisfy { agrees($0, $1) }
        case .object:
            guard let table = theirs as? [String: Any], table.count == ours.count else { return false }
            return ours.members.allSatisfy { member in
                member.name.string.flatMap { table[$0] }.map { agrees(member.value, $0) } ?? false
            }
        }
    }
}
