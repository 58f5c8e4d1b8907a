import Foundation
import Testing

@testable import Control

/// The files of https://github.com/nst/JSONTestSuite, which lie beside the repository where they are present.
private let files: [URL] = {
    let folder = URL(filePath: #filePath).resolvingSymlinksInPath()
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        .appending(path: "shared/vectors/JSONTestSuite/test_parsing")
    return ((try? FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil)) ?? [])
        .filter { $0.pathExtension == "json" }.sorted { $0.lastPathComponent < $1.lastPathComponent }
}()

@Suite(.enabled(if: !files.isEmpty, "JSONTestSuite is absent: ../shared/vectors/JSONTestSuite/test_parsing"))
struct WireJSONTestSuiteTests {
    @Test func `as the params of a request, n files are a parse error and y files anything else`() throws {
        let server = try TestServer()
        let client = try server.connect()
        var seen: [Character: Int] = [:]
        for file in files {
            let name = file.lastPathComponent
            let text = [UInt8](try Data(contentsOf: file))
            // Those with a newline inside would be two lines; the parser's own tests read them.
            if text.contains(UInt8(ascii: "\n")) { continue }
            try client.send(
                Array(#"{"jsonrpc":"2.0","id":1,"method":"schema.get","params":"#.utf8) + text + Array("}\n".utf8))
            let reply = try #require(try client.line(), "\(name)")
            let isParseError = reply.contains(#""name":"parse_error""#)
            switch name.first {
            case "n": #expect(isParseError, "\(name): \(reply)")
            case "y": #expect(!isParseError, "\(name): \(reply)")
            default: break
            }
            seen[name.first!, default: 0] += 1
        }
        #expect(seen["y", default: 0] > 60 && seen["n", default: 0] > 150, "\(seen)")
        #expect(try client.ask(request(2, .schemaGet)) == result(2))
    }
}
