import TestSupport
import Testing

/// What the README tells a newcomer to type does what it says.
@Suite(.timeLimit(.minutes(10))) struct ReadmeTests {
    /// The code of the README's fences of a language, in order.
    private func blocks(_ language: String) throws -> [String] {
        let readme = try text(ofFile: packageRoot + "/README.md")
        return readme.split(separator: "```").enumerated().compactMap { index, part in
            guard index % 2 == 1, part.hasPrefix(language + "\n") else { return nil }
            return String(part.dropFirst(language.count + 1))
        }
    }

    @Test func `the captures from the shell and from Python are stored, and a retry is a duplicate`() throws {
        let place = LedgerPlace()
        let daemon = try place.serve()
        let variables = ["LEADLEDGER_SOCKET": place.socket]
        let shell = try #require(try blocks("sh").first)
        for isDuplicate in [false, true] {
            let ran = try run("/bin/bash", ["-c", shell], variables: variables, scratch: place.scratch)
            #expect(ran.status == .exited(0), "\(ran.errorOutput)")
            let reply = try JSONTree(ran.output)
            #expect(reply["result"]["events"][0]["subject"].string == "L-1", "\(reply)")
            #expect(reply["result"]["duplicate"].boolean == isDuplicate)
        }
        let python = try #require(try blocks("python").first)
        #expect(python.split(separator: "\n").count == 5)
        let ran = try run("/usr/bin/env", ["python3", "-c", python], variables: variables, scratch: place.scratch)
        #expect(ran.status == .exited(0), "\(ran.errorOutput)")
        #expect(ran.output.contains("'subject': 'L-2'"), "\(ran.output)")
        #expect(try place.connect().ask("status")["head"].integer == 2)
        #expect(try daemon.terminate() == .exited(0))
    }

    @Test func `every file that the README names is there`() throws {
        let readme = try text(ofFile: packageRoot + "/README.md")
        let links = readme.split(separator: "](").dropFirst().compactMap {
            $0.split(separator: ")").first.map(String.init)
        }
        #expect(links.count >= 10)
        for link in links { #expect(exists(packageRoot + "/" + link), "\(link)") }
    }
}
