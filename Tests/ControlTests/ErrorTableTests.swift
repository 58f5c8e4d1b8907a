import Foundation
import Testing

@testable import Control

@Suite struct ErrorTableTests {
    private struct Registry: Decodable {
        struct Line: Decodable, Equatable {
            var name: String
            var code: Int
            var exit: Int32
            var hint: String
        }
        var errors: [Line]
    }

    @Test func `the registry and the table say the same, in the same order`() throws {
        let file = URL(filePath: #filePath).resolvingSymlinksInPath().deletingLastPathComponent()
            .deletingLastPathComponent()
            .deletingLastPathComponent().appending(path: "schemas/errors.json")
        let registry = try JSONDecoder().decode(Registry.self, from: Data(contentsOf: file)).errors
        let table = ErrorName.allCases.map {
            Registry.Line(name: $0.rawValue, code: $0.code, exit: $0.exitCode, hint: "\($0.hint)")
        }
        #expect(registry.count == table.count)
        for (line, entry) in zip(registry, table) { #expect(line == entry) }
    }

    @Test func `codes are unique and exit codes are of the list`() {
        #expect(Set(ErrorName.allCases.map(\.code)).count == ErrorName.allCases.count)
        for name in ErrorName.allCases {
            #expect([64, 65, 69, 70, 73, 74, 75, 77, 78].contains(name.exitCode), "\(name)")
        }
    }

    @Test func `a method is found by its name and by nothing else`() {
        for method in Method.allCases {
            let name = Array("\(method.name)".utf8)
            #expect(name.withUnsafeBytes { Method(utf8: $0) } == method)
            #expect((name + [0]).withUnsafeBytes { Method(utf8: $0) } == nil)
            #expect(name.dropLast().withUnsafeBytes { Method(utf8: $0) } == nil)
        }
        #expect(Method(utf8: UnsafeRawBufferPointer(start: nil, count: 0)) == nil)
    }
}
