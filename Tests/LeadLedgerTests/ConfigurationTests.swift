import Testing

@testable import LeadLedger

@Suite struct ConfigurationTests {
    private func applying(_ yaml: String) throws(ConfigurationError) -> Configuration {
        var configuration = Configuration(dataDirectory: "/data")
        try configuration.apply(yaml: yaml, path: "ledger.yaml")
        return configuration
    }

    @Test func `the socket lies in the data directory unless told otherwise`() {
        #expect(Configuration(dataDirectory: "/data").socketPath == "/data/ledger.sock")
        #expect(Configuration(dataDirectory: "/data", socketPath: "/run/l.sock").socketPath == "/run/l.sock")
    }

    @Test func `a file's settings stand over the defaults`() throws {
        let configuration = try applying("event_loops: 3\nlog_map_bytes: 1073741824\n")
        #expect(configuration.eventLoops == 3)
        #expect(configuration.logMapBytes == 1 << 30)
        #expect(configuration.connectionsMax == Configuration(dataDirectory: "/data").connectionsMax)
    }

    @Test func `an empty file changes nothing`() throws {
        #expect(try applying("") == Configuration(dataDirectory: "/data"))
    }

    @Test func `an unknown key is refused by name and line`() {
        let error = #expect(throws: ConfigurationError.self) { try applying("event_loops: 2\nevent_lops: 3\n") }
        #expect(error?.place == "ledger.yaml:2")
        #expect(error?.reason.contains("event_lops") == true)
    }

    @Test(arguments: [
        "event_loops: many", "event_loops: 0", "event_loops: -1", "event_loops: [1]", "- 1", "{",
        "event_loops: 1\nevent_loops: 2",
    ])
    func `a value that does not fit is refused`(yaml: String) {
        #expect(throws: ConfigurationError.self) { try applying(yaml) }
    }
}
